//! `foretap send`: logs, or simulated people, played into a running system as phones would.

use std::path::PathBuf;

use clap::Args;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap::data::{LogOptions, PrivacyKey, Vocabulary, read_logs};
use foretap::{Error, ErrorKind, Progress as _, Result};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::say;

use crate::ServerArguments;
use crate::bar::Bar;

#[derive(Debug, Args)]
pub struct SendArguments {
    /// Log files or folders of them, in any format that the crate reads
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "simulate")]
    log: Vec<PathBuf>,

    /// The zone of the logs' wall clocks, where they have none
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// The key under which raw ids are hashed before they leave this machine; made where it is missing
    #[arg(long, value_name = "FILE", default_value = "foretap-data/privacy.key")]
    key: PathBuf,

    /// A label of that key, never the key
    #[arg(long, default_value = "k1")]
    key_id: String,

    /// Simulate so many people instead
    #[arg(long, value_name = "PEOPLE", conflicts_with = "log")]
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
            if let Some(folder) = arguments.key.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|error| Error::io(folder, "make the key's folder", error))?;
            }
            let mut options = LogOptions::new(PrivacyKey::load_or_create(&arguments.key)?);
            options.time_zone.clone_from(&arguments.time_zone);
            let mut vocabulary = Vocabulary::new();
            let (log, warnings) = read_logs(&arguments.log, &options, &mut vocabulary, &bar)?;
            for warning in warnings.iter() {
                eprintln!("warning: {warning}");
            }
            (log, vocabulary)
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
