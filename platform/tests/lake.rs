//! The lake by itself, in a folder and on S3: commits whose answers are lost, two processes at once, tags, compaction, retention,
//! files that nothing refers to; and as PyIceberg and DuckDB read it.
//!
//! On S3 with `--features aws` and FORETAP_TEST_AWS=1, by moto and by ministack; skipped without, except in CI.

#![allow(clippy::unwrap_used)]

#[path = "common/lake.rs"]
mod rows;
#[cfg(feature = "aws")]
#[path = "common/s3.rs"]
mod s3;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use foretap::data::UserId;
use foretap_platform::lake::{DeadLetter, Impression, Lake, TableName, people, row_count};
use rows::{DAY_US, START_US, commit, event};

/// Where a test's lake is: always a folder with the catalog, and perhaps a bucket with the tables' files.
struct Place {
    folder: tempfile::TempDir,
    #[cfg(feature = "aws")]
    s3: Option<(s3::Peer, foretap_platform::s3::S3Location)>,
}

#[cfg(feature = "aws")]
const BUCKET: &str = "lakes";

/// A folder, and where they are wanted a bucket with object versions on each of the servers.
fn places() -> Vec<Place> {
    #[cfg(not(feature = "aws"))]
    return vec![Place { folder: tempfile::tempdir().unwrap() }];
    #[cfg(feature = "aws")]
    {
        let on = |name| {
            let peer = s3::Peer::start(name);
            peer.make_bucket(BUCKET, true);
            let location = foretap_platform::s3::S3Location::parse("lake.location", "s3://lakes/deep/one");
            Place { folder: tempfile::tempdir().unwrap(), s3: Some((peer, location.unwrap().unwrap())) }
        };
        let mut places = vec![Place { folder: tempfile::tempdir().unwrap(), s3: None }];
        if s3::is_wanted() {
            places.extend(["moto", "ministack"].map(on));
        }
        places
    }
}

impl Place {
    /// Opens the lake as a process does.
    async fn open(&self) -> Lake {
        #[cfg(feature = "aws")]
        if let Some((peer, location)) = &self.s3 {
            let (location, aws) = (location.clone(), peer.config());
            return Lake::open_on_s3(self.folder.path(), location, &aws, 4).await.unwrap();
        }
        Lake::open(self.folder.path(), 4).await.unwrap()
    }

    /// Writes a file below the table of events, as a process that was killed leaves it.
    fn leave(&self, path: &str) {
        #[cfg(feature = "aws")]
        if let Some((peer, location)) = &self.s3 {
            return peer.put(
                &format!(
                    "{BUCKET}/{}",
                    location.key(&format!("foretap/events/{}", path.replace(' ', "%20")))
                ),
                b"left",
            );
        }
        let file = self.folder.path().join("foretap/events").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "left").unwrap();
    }
}

/// Two days of five people, a commit a position.
async fn filled(place: &Place, commits: u64) -> Lake {
    let lake = place.open().await;
    for position in 1..=commits {
        let at =
            |user: u64| START_US + (position as i64 % 2) * DAY_US + position as i64 * 1_000_000 + user as i64;
        let rows = (0..5).map(|user| event(user, at(user), position, "p/0")).collect();
        lake.commit(&commit(rows)).await.unwrap();
    }
    lake
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_again_is_there_once() {
    for place in places() {
        what_in(&place).await;
    }
}

async fn what_in(place: &Place) {
    let lake = filled(place, 3).await;
    let again = commit(vec![
        event(0, START_US, 3, "p/0"),
        event(0, START_US, 4, "p/0"),
        event(1, START_US, 1, "p/1"),
    ]);
    for _ in 0..3 {
        lake.commit(&again).await.unwrap();
    }
    assert_eq!(
        row_count(&lake, TableName::Events).await.unwrap(),
        15 + 2,
        "position 3 was in; 4 and p/1 are new"
    );
    let positions = lake.positions().await.unwrap();
    assert!(positions.holds("p/0", 4) && !positions.holds("p/0", 5) && positions.holds("p/1", 1));
    // Another process opens the same.
    let other = place.open().await;
    assert_eq!(other.positions().await.unwrap(), positions);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_at_once_none_loses_a_row() {
    for place in places() {
        of_in(Arc::new(place)).await;
    }
}

async fn of_in(place: Arc<Place>) {
    place.open().await;
    let writers = ["p/0", "p/1"].map(|partition| {
        let place = Arc::clone(&place);
        tokio::spawn(async move {
            // A connection of its own, as another process has.
            let lake = place.open().await;
            for position in 1..=20 {
                lake.commit(&commit(vec![event(position, START_US, position, partition)])).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    let lake = place.open().await;
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 40);
    let positions = lake.positions().await.unwrap();
    assert!(positions.holds("p/0", 20) && positions.holds("p/1", 20));
    assert_eq!(lake.snapshots(TableName::Events).await.unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_loses_no_row_and_no_tag() {
    for place in places() {
        cleaning_in(&place).await;
    }
}

async fn cleaning_in(place: &Place) {
    let lake = filled(place, 6).await;
    let tagged = lake.tag("v1", "").await.unwrap();
    assert!(lake.tag("v1", "").await.unwrap_err().to_string().contains("`v1`"), "taken");
    for bad in ["", "main", "a b", "../x"] {
        assert!(lake.tag(bad, "").await.unwrap_err().to_string().contains("names no data version"), "{bad}");
    }
    let before = people(&lake, None).await.unwrap();
    let compacted = lake.compact(TableName::Events).await.unwrap();
    assert!(compacted.files_less > 0, "{compacted:?}");
    assert_eq!(people(&lake, None).await.unwrap(), before);
    assert_eq!(lake.compact(TableName::Events).await.unwrap().files_less, 0, "nothing is left to do");
    let expired = lake.expire(TableName::Events, i64::MAX).await.unwrap();
    assert!(expired.snapshots > 0 && expired.files_deleted > 0, "{expired:?}");
    assert_eq!(people(&lake, None).await.unwrap(), before);
    assert_eq!(people(&lake, Some(tagged)).await.unwrap(), before, "the tag's files are there");
    // The first day goes; the tag keeps it.
    let retained = lake.retain(TableName::Events, START_US + DAY_US, true).await.unwrap();
    assert_eq!(
        (retained.rows, row_count(&lake, TableName::Events).await.unwrap()),
        (15, 30),
        "a trial removes nothing"
    );
    let retained = lake.retain(TableName::Events, START_US + DAY_US, false).await.unwrap();
    assert_eq!(retained.rows, 15);
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 15);
    assert_eq!(people(&lake, Some(tagged)).await.unwrap(), before);
    assert_eq!(lake.snapshots(TableName::Events).await.unwrap().last().unwrap().rows, 15);
    // And what comes next is appended as before.
    lake.commit(&commit(vec![event(1, START_US + 9 * DAY_US, 7, "p/0")])).await.unwrap();
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_nothing_refers_to_are_orphans() {
    for place in places() {
        orphans_in(&place).await;
    }
}

async fn orphans_in(place: &Place) {
    let lake = filled(place, 5).await;
    let early = lake.tag("early", "").await.unwrap();
    let in_early = people(&lake, Some(early)).await.unwrap();
    lake.compact(TableName::Events).await.unwrap();
    lake.forget(TableName::Events, UserId(4)).await.unwrap();
    let late = lake.tag("late", "").await.unwrap();
    lake.commit(&commit(vec![event(1, START_US, 6, "p/0")])).await.unwrap();
    let (early, late) = (people(&lake, Some(early)).await.is_err(), people(&lake, Some(late)).await.unwrap());
    assert!(early, "the tag was made anew without a person");
    let newest = people(&lake, None).await.unwrap();
    let left = [
        "data/at_day=2026-11-01/user_bucket=1/left.parquet",
        "data/left with a space.parquet",
        "metadata/left-m0.avro",
        "metadata/snap-1-0-left.avro",
        "metadata/00099-left.metadata.json",
    ];
    left.iter().for_each(|path| place.leave(path));
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let young = lake.orphans(TableName::Events, now_ms - 86_400_000, false).await.unwrap();
    assert_eq!((young.files.len(), young.young), (0, 5), "a commit may be about to refer to them");
    let (later, names) = (now_ms + 3_600_000, |files: &[String]| -> Vec<String> {
        files.iter().map(|file| file.split_once("foretap/events/").unwrap().1.to_owned()).collect()
    });
    let trial = lake.orphans(TableName::Events, later, true).await.unwrap();
    let mut expected = left.to_vec();
    expected.sort_unstable();
    assert_eq!(names(&trial.files), expected);
    assert_eq!(trial.bytes, 5 * 4);
    let done = lake.orphans(TableName::Events, later, false).await.unwrap();
    assert_eq!(done.files, trial.files);
    assert_eq!(lake.orphans(TableName::Events, later, false).await.unwrap(), Default::default());
    // Every tag is there whole, and so is the newest version.
    let lake = place.open().await;
    assert_eq!(people(&lake, None).await.unwrap(), newest);
    for snapshot in lake.snapshots(TableName::Events).await.unwrap() {
        let rows: usize =
            people(&lake, Some(snapshot.id)).await.unwrap().values().map(|events| events.len()).sum();
        assert_eq!(rows as u64, snapshot.rows, "{:?}", snapshot.tags);
    }
    let tags: Vec<_> =
        lake.snapshots(TableName::Events).await.unwrap().into_iter().flat_map(|s| s.tags).collect();
    assert_eq!(tags, ["early", "late"]);
    assert_eq!(late.len(), in_early.len() - 1);
    lake.commit(&commit(vec![event(1, START_US, 7, "p/0")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tables_in_its_place_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalog.sqlite"), "no database, and long enough to be read as one")
        .unwrap();
    let error = Lake::open(folder.path(), 4).await.unwrap_err().to_string();
    assert!(error.contains("catalog.sqlite") && error.contains("move the file away"), "{error}");
}

/// Read by others' libraries: every column, partitions pruned rightly, snapshots, tags.
#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_and_duckdb_read_the_same() {
    let Some(python) = std::env::var_os("FORETAP_PYICEBERG_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_PYICEBERG_PYTHON");
        eprintln!(
            "skipped: set FORETAP_PYICEBERG_PYTHON to a Python with platform/tests/peers/requirements-lake.txt"
        );
        return;
    };
    for place in places() {
        read_by_others(&place, &python).await;
    }
}

async fn read_by_others(place: &Place, python: &std::ffi::OsStr) {
    let lake = filled(place, 4).await;
    lake.tag("v1", "").await.unwrap();
    lake.compact(TableName::Events).await.unwrap();
    lake.forget(TableName::Events, UserId(2)).await.unwrap();
    let impression = Impression {
        answer_id: "a".to_owned(),
        user: UserId(1).to_string(),
        asked_at_us: START_US,
        model: "1".to_owned(),
        apps: vec!["x".to_owned(), "y".to_owned()],
        probabilities: vec![0.5, 0.25],
        confidence: 0.75,
        opened: None,
        opened_at_us: Some(START_US),
    };
    let dead = DeadLetter {
        received_at_us: START_US,
        partition: "p/0".into(),
        position: 9,
        index: 0,
        field: "at".to_owned(),
        reason: "before 2007".to_owned(),
        encoding: "json".to_owned(),
        key_id: "k1".to_owned(),
        raw_sealed: vec![1, 2, 3],
    };
    let partition: Arc<str> = "p/0".into();
    let mut rest = commit(Vec::new());
    rest.positions.add("p/0", 9);
    rest.impressions.push((impression, partition, 9));
    rest.dead_letters.push(dead);
    lake.commit(&rest).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/read_lake.py");
    let mut command = Command::new(python);
    command.arg(script).arg(place.folder.path().canonicalize().unwrap()).arg("v1");
    #[cfg(feature = "aws")]
    if let Some((peer, _)) = &place.s3 {
        command.env("AWS_ENDPOINT_URL", peer.endpoint()).env("AWS_REGION", s3::REGION);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["events"]["rows"], 16, "{found}");
    assert_eq!((&found["impressions"]["rows"], &found["dead_letters"]["rows"]), (&1.into(), &1.into()));
    assert_eq!(found["events"]["tags"], serde_json::json!(["v1"]));
    assert_eq!(found["tagged_rows"], 16, "without the forgotten person");
    assert_eq!(found["one_user"]["filtered"], found["one_user"]["read"]);
    assert_eq!(found["one_user"]["read"], 4);
    assert_eq!(found["launches_in_duckdb"], 8);
    assert_eq!(found["newest_us"], START_US + DAY_US + 3_000_000 + 4);
    assert_eq!(found["events"]["columns"]["at"], "timestamp[us, tz=UTC]");
}
