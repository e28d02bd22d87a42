//! Reads and writes of single rows of the sizes that a person's have: a snapshot, a summary of half of it, a tail of some
//! kilobytes. Each write waits for the disk.

use std::time::Instant;

use foretap::data::UserId;
use foretap_platform::say;
use foretap_platform::store::{OnlineStore as _, RedbStore, SnapshotWrite, Write};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::most_resident_mb;

/// People in one transaction while the store is filled.
const FILLED_AT_ONCE: u64 = 500;
/// Reads; a tenth as many writes of each kind.
const READS: u64 = 5_000;

pub fn measure(people: u64, snapshot_bytes: usize) -> serde_json::Map<String, serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let times = runtime.block_on(store(people, snapshot_bytes));
    let mut figures = serde_json::Map::new();
    for (name, times) in [("get", &times.get_us), ("append", &times.append_us), ("put", &times.put_us)] {
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        say(&format!(
            "store of {people} people, {name}: median {:.0} us, 99 % under {:.0} us",
            at(0.5),
            at(0.99)
        ));
        figures.insert(format!("store_{name}_p50_us"), json!(at(0.5)));
        figures.insert(format!("store_{name}_p99_us"), json!(at(0.99)));
    }
    let rss_mb = most_resident_mb("self");
    say(&format!("{rss_mb:.0} MB resident at most, {} MB of store file", times.file_mb));
    figures.insert("store_people".to_owned(), json!(people));
    figures.insert("store_file_mb".to_owned(), json!(times.file_mb));
    figures.insert("rss_mb".to_owned(), json!(rss_mb));
    figures
}

struct Times {
    get_us: Vec<f64>,
    append_us: Vec<f64>,
    put_us: Vec<f64>,
    file_mb: u64,
}

async fn store(people: u64, snapshot_bytes: usize) -> Times {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = RedbStore::open(&file).unwrap();
    let row = |user: u64, expected: u64| Write {
        user: UserId(user),
        expected,
        key: vec![1; 80],
        append: None,
        snapshot: Some(SnapshotWrite {
            summary: vec![2; snapshot_bytes / 2],
            person: vec![3; snapshot_bytes],
            tail: Some(vec![4; snapshot_bytes / 8]),
        }),
    };
    for first in (0..people).step_by(FILLED_AT_ONCE as usize) {
        let part = first..people.min(first + FILLED_AT_ONCE);
        store.write(part.map(|user| row(user, 0)).collect()).await.unwrap();
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut get_us, mut append_us, mut put_us) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..READS.min(people * 10) {
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
            put_us.push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
    for times in [&mut get_us, &mut append_us, &mut put_us] {
        times.sort_by(f64::total_cmp);
    }
    Times { get_us, append_us, put_us, file_mb: std::fs::metadata(&file).unwrap().len() >> 20 }
}
