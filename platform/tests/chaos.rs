//! Events through a real Kafka while the process is killed and the broker restarted, at random moments: is each in the lake once,
//! and each person's state that of a replay?
//!
//! ```text
//! bash platform/tests/chaos --events 5000000 --people 20000 --kills 50 --broker-restarts 5 --json out.json
//! ```
//!
//! Without arguments it is short, as in CI. Skipped without `FORETAP_TEST_KAFKA=1`, except in CI.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use common::kafka::{Broker, batches, borrowed, produce};
use common::{ALL_KEPT, Kept, Up, events, kept, runtime};
use foretap_platform::say;
use rand::seq::index::sample;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Kill it while events come
#[derive(Debug, Parser)]
struct Arguments {
    /// Events, at most; simulated people have a few hundred a day
    #[arg(long, default_value_t = 40_000)]
    events: usize,
    /// People
    #[arg(long, default_value_t = 50)]
    people: usize,
    /// How often the process is killed
    #[arg(long, default_value_t = 6)]
    kills: usize,
    /// How often the broker is restarted
    #[arg(long, default_value_t = 1)]
    broker_restarts: usize,
    /// Of the random moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write what was found for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is written for machines.
#[derive(serde::Serialize)]
struct Report {
    events: usize,
    people: usize,
    kills: usize,
    broker_restarts: usize,
    seconds: f64,
    #[serde(flatten)]
    kept: Kept,
}

/// Events of one person in a record.
const BATCH: usize = 25;
/// An event of simulated people comes after so many seconds on average, or sooner.
const EVENTS_A_DAY: usize = 250;

fn main() {
    let arguments = Arguments::parse();
    let Some(broker) = Broker::start() else {
        say("skipped: FORETAP_TEST_KAFKA=1 starts a real Kafka");
        return;
    };
    let report = run(&arguments, &broker);
    let text = serde_json::to_string_pretty(&report).unwrap();
    say(&text);
    if let Some(file) = &arguments.json {
        std::fs::write(file, text).unwrap();
    }
    assert_eq!(report.kept, ALL_KEPT);
}

fn run(arguments: &Arguments, broker: &Broker) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let days = arguments.events.div_ceil(arguments.people * EVENTS_A_DAY).max(1);
    let mut events = events(arguments.people, days as u32);
    events.truncate(arguments.events);
    let batches = batches(&events, BATCH);
    runtime.block_on(broker.make_topic(3));
    let mut settings = broker.settings();
    // Commits often, so that kills fall into them.
    settings.push(("FORETAP_INGEST_COMMIT_SECS".to_owned(), "1".to_owned()));
    settings.push(("FORETAP_LOG".to_owned(), "error".to_owned()));
    let settings = borrowed(&settings);

    let started = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed);
    let parts = arguments.kills + arguments.broker_restarts + 1;
    let restarts: Vec<usize> = sample(&mut random, parts - 1, arguments.broker_restarts).into_vec();
    // Counted, not assumed: few batches make fewer parts.
    let (mut kills, mut broker_restarts) = (0, 0);
    let mut up = Up::start(folder.path(), &settings);
    for (number, part) in batches.chunks(batches.len().div_ceil(parts)).enumerate() {
        runtime.block_on(async { produce(&broker.client().await, part).await });
        std::thread::sleep(Duration::from_millis(random.random_range(0..2_000)));
        if restarts.contains(&number) {
            broker.end();
            broker.begin();
            broker_restarts += 1;
        } else if number + 1 < parts {
            up.kill();
            up = Up::start(folder.path(), &settings);
            kills += 1;
        }
    }
    let limit = Duration::from_secs(120 + events.len() as u64 / 10_000);
    let waiting = Instant::now();
    loop {
        up.client.flush().unwrap();
        let offsets = runtime.block_on(broker.offsets());
        let is_at_end = offsets.values().all(|(committed, end)| committed == end);
        if is_at_end && offsets.values().map(|(_, end)| end).sum::<i64>() == batches.len() as i64 {
            break;
        }
        assert!(waiting.elapsed() < limit, "the group is not at the end: {offsets:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    up.stop();
    let seconds = started.elapsed().as_secs_f64();
    Report {
        events: events.len(),
        people: arguments.people,
        kills,
        broker_restarts,
        seconds,
        kept: kept(folder.path(), &events),
    }
}
