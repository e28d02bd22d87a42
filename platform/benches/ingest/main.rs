//! Events per second through the door and from Kafka into state, lake and store; and what a read and a write of the store take.
//!
//! ```text
//! cargo bench -p foretap-platform --bench ingest -- --json out.json
//! bash platform/benches/run ingest --json out.json      # with Kafka: needs Java 17 and Maven, as the tests do
//! ```

#![allow(clippy::unwrap_used)]

mod door;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
#[path = "../../tests/common/kafka.rs"]
mod peer;
mod store;

use std::path::PathBuf;

use clap::Parser;
use foretap::Silent;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap_platform::client::phone_events;
use foretap_platform::say;
use foretap_platform::wire::PhoneEvent;
use serde_json::json;

/// Measure intake and store
#[derive(Debug, Parser)]
struct Arguments {
    /// Events that are sent, at most
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// People that they are of
    #[arg(long, default_value_t = 500)]
    people: usize,
    /// Events in a request of the door
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Events in a record of Kafka
    #[arg(long, default_value_t = 50)]
    record: usize,
    /// Partitions of Kafka's topic
    #[arg(long, default_value_t = 3)]
    partitions: i32,
    /// How often each rate is measured: the median is given, and the least and the most
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// People in the store whose rows are read and written
    #[arg(long, default_value_t = 100_000)]
    stored: u64,
    /// Bytes of a person's snapshot there; a summary has half of it
    #[arg(long, default_value_t = 40_000)]
    snapshot_bytes: usize,
    /// Measure the store alone
    #[arg(long)]
    store_only: bool,
    /// Write the figures for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// A short run, as in CI
    #[arg(long)]
    test: bool,
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.test {
        (arguments.events, arguments.people, arguments.stored, arguments.repeat) = (5_000, 10, 500, 1);
    }
    let mut figures = serde_json::Map::new();
    if !arguments.store_only {
        let events = events(&arguments);
        say(&format!("{} events of {} people", events.len(), arguments.people));
        figures.insert("events".to_owned(), json!(events.len()));
        let runs: Vec<_> = (0..arguments.repeat).map(|_| door::send(&events, arguments.batch)).collect();
        let door = Rates::new(runs.iter().map(|run| run.events_per_s).collect());
        say(&format!("through the door, from the sender to state, lake and store: {}", door.in_words()));
        let lake_bytes = runs[0].lake_bytes as f64 / events.len() as f64;
        let store_bytes = runs[0].store_bytes as f64 / arguments.people as f64;
        say(&format!("the lake has {lake_bytes:.1} bytes an event, the store {store_bytes:.0} a person"));
        figures.insert("door_events_per_s".to_owned(), json!(door.median()));
        figures.insert("lake_bytes_an_event".to_owned(), json!(lake_bytes));
        figures.insert("store_bytes_a_person".to_owned(), json!(store_bytes));
        #[cfg(feature = "kafka")]
        figures.extend(kafka::measure(&events, &arguments));
    }
    figures.extend(store::measure(arguments.stored, arguments.snapshot_bytes));
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    }
}

/// Events of simulated people, in the order of time.
fn events(arguments: &Arguments) -> Vec<PhoneEvent> {
    let law = Law::named("broad").unwrap();
    let mut days = arguments.events.div_ceil(arguments.people * 300).max(1) as u32;
    loop {
        let config =
            SimulationConfig { people: arguments.people, days, law: law.clone(), ..Default::default() };
        let simulation = simulate(&config, &Silent).unwrap();
        let mut events = phone_events(&simulation.log, &simulation.vocabulary);
        if events.len() >= arguments.events {
            events.truncate(arguments.events);
            return events;
        }
        days += 1;
    }
}

/// A rate, measured several times.
pub struct Rates(Vec<f64>);

impl Rates {
    fn new(mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        Self(rates)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn in_words(&self) -> String {
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        format!("{:.0} events/s (of {}: {least:.0} to {most:.0})", self.median(), self.0.len())
    }
}

/// The most memory that a process has had, in MB; 0 where the system does not say.
fn most_resident_mb(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1_024.0
}
