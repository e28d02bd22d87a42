//! Events per second through the door into state, lake and store; and what a read and a write of the store take.
//!
//! ```text
//! cargo bench -p foretap-platform --bench ingest -- --json out.json
//! ```
//!
//! The sender runs in the same process and on the same cores: it builds and compresses the batches within the time.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use foretap::Silent;
use foretap::data::UserId;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::config::Config;
use foretap_platform::say;
use foretap_platform::store::{OnlineStore as _, RedbStore, SnapshotWrite, Write};
use foretap_platform::up::up;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Measure intake and store
#[derive(Debug, Parser)]
struct Arguments {
    /// People whose events are sent
    #[arg(long, default_value_t = 200)]
    people: usize,
    /// Days of each
    #[arg(long, default_value_t = 7)]
    days: u32,
    /// Events in a request
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// People in the store whose rows are read and written
    #[arg(long, default_value_t = 100_000)]
    stored: u64,
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
        (arguments.people, arguments.days, arguments.stored) = (5, 2, 500);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (events_per_s, events) = intake(&arguments, &runtime);
    let store = runtime.block_on(store(arguments.stored));
    let rss_mb = resident_mb();
    say(&format!("{events} events: {events_per_s:.0} events/s from the sender to state, lake and store"));
    for (name, times) in
        [("get", &store.get_us), ("append", &store.append_us), ("snapshot", &store.snapshot_us)]
    {
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        say(&format!(
            "store of {} people, {name}: median {:.0} us, 99 % under {:.0} us",
            arguments.stored,
            at(0.5),
            at(0.99)
        ));
    }
    say(&format!("{rss_mb:.0} MB resident in the end, {} MB of store file", store.file_mb));
    if let Some(file) = &arguments.json {
        let at = |times: &[f64], share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let figures = serde_json::json!({
            "events": events,
            "events_per_s": events_per_s,
            "store_people": arguments.stored,
            "store_get_p50_us": at(&store.get_us, 0.5),
            "store_get_p99_us": at(&store.get_us, 0.99),
            "store_append_p99_us": at(&store.append_us, 0.99),
            "store_put_p99_us": at(&store.snapshot_us, 0.99),
            "rss_mb": rss_mb,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    }
}

/// Events per second of one sender, until all is committed.
fn intake(arguments: &Arguments, runtime: &tokio::runtime::Runtime) -> (f64, usize) {
    let simulation = SimulationConfig {
        people: arguments.people,
        days: arguments.days,
        law: Law::named("broad").unwrap(),
        ..SimulationConfig::default()
    };
    let simulated = simulate(&simulation, &Silent).unwrap();
    let events = phone_events(&simulated.log, &simulated.vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.data.folder = folder.path().to_owned();
    config.http.listen = "127.0.0.1:0".to_owned();
    let (started, is_started) = std::sync::mpsc::channel();
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(up(config, move |address| started.send(address).unwrap(), async move {
        is_stopped.await.unwrap_or_default()
    }));
    let client =
        Client::new(&format!("http://{}", is_started.recv_timeout(Duration::from_secs(60)).unwrap()));
    let begin = Instant::now();
    let sent = client.send(&events, "bench", (arguments.batch, None), |_| {}).unwrap();
    client.flush().unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let status = client.status().unwrap();
    assert_eq!((sent.refused, status.applied), (0, events.len() as u64));
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap().unwrap();
    (events.len() as f64 / seconds, events.len())
}

struct StoreTimes {
    get_us: Vec<f64>,
    append_us: Vec<f64>,
    snapshot_us: Vec<f64>,
    file_mb: u64,
}

/// Reads and writes of single rows of the sizes that a person's have: a snapshot of 40 kB, a summary of 20 kB, a tail in ten
/// chunks of 600 bytes. Each write waits for the disk.
async fn store(people: u64) -> StoreTimes {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = RedbStore::open(&file).unwrap();
    let row = |user: u64, expected: u64| Write {
        user: UserId(user),
        expected,
        key: vec![1; 80],
        append: None,
        snapshot: Some(SnapshotWrite {
            summary: vec![2; 20_000],
            person: vec![3; 40_000],
            tail: Some(vec![4; 6_000]),
        }),
    };
    for first in (0..people).step_by(500) {
        store.write((first..people.min(first + 500)).map(|user| row(user, 0)).collect()).await.unwrap();
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut get_us, mut append_us, mut snapshot_us) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..5_000_u64.min(people * 10) {
        let user = random.random_range(0..people);
        let begin = Instant::now();
        let found = store.row(UserId(user)).await.unwrap().unwrap();
        store.person(UserId(user)).await.unwrap().unwrap();
        get_us.push(begin.elapsed().as_secs_f64() * 1e6);
        if round % 10 == 0 {
            let begin = Instant::now();
            let append = Write { snapshot: None, append: Some(vec![5; 600]), ..row(user, found.version) };
            store.write(vec![append]).await.unwrap();
            append_us.push(begin.elapsed().as_secs_f64() * 1e6);
            let begin = Instant::now();
            store.write(vec![row(user, found.version + 1)]).await.unwrap();
            snapshot_us.push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
    for times in [&mut get_us, &mut append_us, &mut snapshot_us] {
        times.sort_by(f64::total_cmp);
    }
    StoreTimes { get_us, append_us, snapshot_us, file_mb: std::fs::metadata(&file).unwrap().len() >> 20 }
}

/// Resident memory of this process, in MB; 0 where the system does not say.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1_024.0
}
