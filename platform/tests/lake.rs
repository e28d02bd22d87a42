//! The lake by itself: commits whose answers are lost, two processes at once, tags, compaction, retention; and as PyIceberg and
//! DuckDB read it.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use foretap::data::{Battery, Network, UserId};
use foretap_platform::lake::{
    Commit, DeadLetter, Impression, Lake, LakeEvent, Positions, TableName, people, row_count,
};
use foretap_platform::wire::{PhoneEvent, SignalKind};

const DAY_US: i64 = 86_400_000_000;
/// 2026-11-01.
const START_US: i64 = 1_793_491_200_000_000;

fn event(user: u64, at_us: i64, position: u64, partition: &str) -> LakeEvent {
    let event = PhoneEvent {
        user: UserId(user),
        at_us,
        number: 0,
        utc_offset_secs: 3_600,
        signal: if position.is_multiple_of(2) { SignalKind::Launch } else { SignalKind::Unlock },
        app: position.is_multiple_of(2).then(|| "org.example.mail".into()),
        place: "u05kq".parse().ok(),
        battery: Battery { percent: Some(50), charging: None },
        network: Network::Wifi,
    };
    LakeEvent { event, key_id: "k1".into(), received_at_us: at_us, partition: partition.into(), position }
}

fn commit(rows: Vec<LakeEvent>) -> Commit {
    let mut positions = Positions::default();
    rows.iter().for_each(|row| positions.add(&row.partition, row.position));
    Commit { events: rows, positions, ..Commit::default() }
}

/// Two days of five people, a commit a position.
async fn filled(folder: &Path, commits: u64) -> Lake {
    let lake = Lake::open(folder, 4).await.unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 3).await;
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
    let other = Lake::open(folder.path(), 4).await.unwrap();
    assert_eq!(other.positions().await.unwrap(), positions);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_at_once_none_loses_a_row() {
    let folder = tempfile::tempdir().unwrap();
    Lake::open(folder.path(), 4).await.unwrap();
    let writers: Vec<_> = ["p/0", "p/1"]
        .map(|partition| {
            let folder = folder.path().to_owned();
            tokio::spawn(async move {
                // A connection of its own, as another process has.
                let lake = Lake::open(&folder, 4).await.unwrap();
                for position in 1..=20 {
                    lake.commit(&commit(vec![event(position, START_US, position, partition)])).await.unwrap();
                }
            })
        })
        .into_iter()
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let lake = Lake::open(folder.path(), 4).await.unwrap();
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 40);
    let positions = lake.positions().await.unwrap();
    assert!(positions.holds("p/0", 20) && positions.holds("p/1", 20));
    assert_eq!(lake.snapshots(TableName::Events).await.unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_loses_no_row_and_no_tag() {
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 6).await;
    let tagged = lake.tag("v1").await.unwrap();
    assert!(lake.tag("v1").await.unwrap_err().to_string().contains("`v1`"), "taken");
    for bad in ["", "main", "a b", "../x"] {
        assert!(lake.tag(bad).await.unwrap_err().to_string().contains("names no data version"), "{bad}");
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
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 4).await;
    lake.tag("v1").await.unwrap();
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
    let output = Command::new(python)
        .arg(script)
        .arg(folder.path().canonicalize().unwrap())
        .arg("v1")
        .output()
        .unwrap();
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
