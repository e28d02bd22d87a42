//! `foretap send`: logs, or simulated people, played into a running system as phones would.

use clap::Args;
use foretap::data::Vocabulary;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::{Error, ErrorKind, Progress as _, Result};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::say;

use crate::ServerArguments;
use crate::bar::Bar;
use crate::data::DataArgs;

#[derive(Debug, Args)]
pub struct SendArguments {
    /// A label of the key that ids are hashed under, never the key
    #[arg(long, default_value = "k1")]
    key_id: String,

    /// Simulate so many people instead
    #[arg(long, value_name = "PEOPLE", conflicts_with = "data")]
    simulate: Option<usize>,

    /// The law of simulated people: a name or a file
    #[arg(long, default_value = "broad", requires = "simulate")]
    law: String,

    /// Days of simulated people
    #[arg(long, default_value_t = 14, requires = "simulate")]
    days: u32,

    /// Seed of simulated people
    #[arg(long, default_value_t = 1, requires = "simulate")]
    seed: u64,

    /// Events in a request
    #[arg(long, default_value_t = 2_000)]
    batch: usize,

    /// Seconds of the log that pass in one second [default: as fast as it goes]
    #[arg(long)]
    speed: Option<f64>,

    #[command(flatten)]
    pub server: ServerArguments,

    // Last: its heading is that of all flags after it.
    #[command(flatten)]
    data: DataArgs,
}

pub fn send(arguments: &SendArguments, client: &Client) -> Result<()> {
    if arguments.speed.is_some_and(|speed| !(speed.is_finite() && speed > 0.0)) {
        let error = Error::new(ErrorKind::Config, "no speed").field("--speed");
        return Err(error.next_step("give a number above 0"));
    }
    let bar = Bar::new();
    let (log, vocabulary) = match arguments.simulate {
        Some(people) => {
            let config = SimulationConfig {
                people,
                days: arguments.days,
                law: Law::named_or_read(&arguments.law)?,
                seed: arguments.seed,
                ..SimulationConfig::default()
            };
            let simulation = simulate(&config, &bar)?;
            (simulation.log, simulation.vocabulary)
        }
        None => {
            let mut vocabulary = Vocabulary::new();
            (arguments.data.load(&mut vocabulary, &bar)?, vocabulary)
        }
    };
    let events = phone_events(&log, &vocabulary);
    let people: Vec<String> = log.users().take(3).map(|person| person[0].user.to_string()).collect();
    bar.start("sending", events.len() as u64);
    let pace = (arguments.batch, arguments.speed);
    let sent = client.send(&events, &arguments.key_id, pace, |events| bar.advance(events));
    bar.finish();
    let sent = sent?;
    say(&format!(
        "{} events of {} people accepted, {} refused, in {} requests",
        sent.accepted,
        log.users().count(),
        sent.refused,
        sent.batches
    ));
    for reason in &sent.reasons {
        say(&format!("  refused: {}: {}", reason.field, reason.reason));
    }
    let newest = events.last().and_then(|event| jiff::Timestamp::from_microsecond(event.at_us).ok());
    if let (Some(user), Some(newest)) = (people.first(), newest) {
        say(&format!("ask with: foretap ask --user {user} --at {newest}"));
    }
    Ok(())
}
