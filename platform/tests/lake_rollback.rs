//! Going back to an older version of the events: what is read then, what is taken in again, who is refused; forgotten people stay
//! forgotten; and each version as PyIceberg and DuckDB read it.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;
#[path = "common/lake.rs"]
mod rows;

use std::path::Path;
use std::process::{Command, Output};

use common::{Up, assert_kept, events};
use foretap::data::UserId;
use foretap_platform::lake::{Lake, SnapshotInfo, TableName, people, row_count};
use rows::{by_python, files_with, filled, five};

async fn current(lake: &Lake) -> SnapshotInfo {
    let snapshots = lake.snapshots(TableName::Events).await.unwrap();
    snapshots.into_iter().find(|snapshot| snapshot.is_current).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_the_newest_again_and_later_records_are_taken_in_anew() {
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 3).await;
    let tagged = lake.tag("v1", "before the wrong build").await.unwrap();
    for position in 4..=6 {
        lake.commit(&five(position)).await.unwrap();
    }
    lake.compact(TableName::Events).await.unwrap();
    let all = people(&lake, None).await.unwrap();
    let snapshots = lake.snapshots(TableName::Events).await.unwrap().len();
    let other_process = Lake::open(folder.path(), 4).await.unwrap();

    let done = lake.rollback("v1").await.unwrap();
    assert_eq!((done.snapshot, done.rows, done.rows_before), (tagged, 15, 30));
    assert_eq!((done.positions.last("p/0"), done.positions_before.last("p/0")), (Some(3), Some(6)));
    assert_eq!(lake.positions().await.unwrap(), done.positions);
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 15);
    let now = current(&lake).await;
    assert_eq!(
        (now.id, now.tags, &now.notes["v1"][..]),
        (tagged, vec!["v1".to_owned()], "before the wrong build")
    );
    assert_eq!(lake.snapshots(TableName::Events).await.unwrap().len(), snapshots, "history stays");

    // Positions 4 to 6 would be a hole behind what it holds in memory.
    let error = other_process.commit(&five(7)).await.unwrap_err().to_string();
    assert!(error.contains("set back to an older version"), "{error}");
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 15);

    // What the source still has comes again, each once.
    for position in [3, 4, 5, 6, 6] {
        lake.commit(&five(position)).await.unwrap();
    }
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 30);
    assert_eq!(people(&lake, None).await.unwrap(), all);

    // And forward again, to what compaction had made: it holds the records of what it was made of.
    let back = lake.rollback(&done.from.unwrap().to_string()).await.unwrap();
    assert_eq!((back.rows, back.positions.last("p/0")), (30, Some(6)));
    assert_eq!(people(&lake, None).await.unwrap(), all);
    lake.commit(&five(7)).await.unwrap();
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 35);

    for (to, expected) in
        [("v9", "no version `v9`"), ("17", "no version `17`"), ("main", "no version `main`")]
    {
        let error = lake.rollback(to).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("foretap lake snapshots"), "{error}");
    }
    let now = current(&lake).await.id.to_string();
    let error = lake.rollback(&now).await.unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
    for note in ["two\nlines", &"x".repeat(501)] {
        let error = lake.tag("v2", note).await.unwrap_err().to_string();
        assert!(error.contains("one line"), "{error}");
    }
    // What was gone back from is dropped as any older version is; the tag stays whole.
    lake.expire(TableName::Events, i64::MAX).await.unwrap();
    assert_eq!(lake.snapshots(TableName::Events).await.unwrap().len(), 2);
    assert_eq!(
        people(&lake, Some(tagged)).await.unwrap().values().map(|lived| lived.len()).sum::<usize>(),
        15
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_was_forgotten_comes_back_with_an_older_version() {
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 3).await;
    let before = lake.tag("v1", "").await.unwrap();
    lake.commit(&five(4)).await.unwrap();
    let untagged = current(&lake).await.id;
    lake.commit(&five(5)).await.unwrap();
    let forgotten = UserId(2);
    let report = lake.forget(TableName::Events, forgotten).await.unwrap();
    assert_eq!((report.rows, report.tags, report.tagged_rows), (5, 1, 3));
    for gone in [before, untagged] {
        let error = lake.rollback(&gone.to_string()).await.unwrap_err().to_string();
        assert!(error.contains("no version") && error.contains("forgetting a person"), "{error}");
    }
    let done = lake.rollback("v1").await.unwrap();
    assert_eq!(
        (done.rows, done.positions.last("p/0")),
        (12, Some(3)),
        "what was made anew holds the same records"
    );
    let left = people(&lake, None).await.unwrap();
    assert_eq!((left.len(), left.contains_key(&forgotten)), (4, false));
    assert!(files_with(folder.path(), forgotten.to_string().as_bytes()).is_empty());
}

/// Somebody names versions and goes back while a person is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_named_or_gone_back_to_meanwhile_do_not_keep_a_person() {
    let forgotten = UserId(3);
    for round in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let lake = filled(folder.path(), 4).await;
        let snapshots: Vec<String> = lake
            .snapshots(TableName::Events)
            .await
            .unwrap()
            .iter()
            .map(|snapshot| snapshot.id.to_string())
            .collect();
        let operator = Lake::open(folder.path(), 4).await.unwrap();
        let other = tokio::spawn(async move {
            let mut done = 0;
            for (number, snapshot) in snapshots.iter().cycle().take(12).enumerate() {
                tokio::time::sleep(std::time::Duration::from_millis(round)).await;
                done += u32::from(operator.rollback(snapshot).await.is_ok());
                done += u32::from(operator.tag(&format!("t{number}"), "").await.is_ok());
            }
            done
        });
        lake.forget(TableName::Events, forgotten).await.unwrap();
        let done = other.await.unwrap();
        assert!(done > 0);
        let left = files_with(folder.path(), forgotten.to_string().as_bytes());
        assert!(left.is_empty(), "round {round}, {done} changes: {left:?}");
        for snapshot in lake.snapshots(TableName::Events).await.unwrap() {
            assert!(!people(&lake, Some(snapshot.id)).await.unwrap().contains_key(&forgotten));
        }
    }
}

fn foretap(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.args(arguments).env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_DATA_FOLDER", folder);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_store_that_is_ahead_of_the_lake_is_made_anew_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(3, 4);
    let (first, rest) = events.split_at(events.len() / 2);
    let up = Up::start(folder.path(), &[]);
    up.client.send(first, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let tagged = foretap(folder.path(), &["lake", "tag", "v1", "--note", "the first half"]);
    assert!(tagged.status.success(), "{}", said(&tagged));
    up.client.send(rest, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();

    let rollback = || foretap(folder.path(), &["lake", "rollback", "--to", "v1"]);
    let refused = rollback();
    assert!(!refused.status.success() && said(&refused).contains("another process has this file open"));
    up.stop();
    assert_kept(folder.path(), &events);
    let done = rollback();
    assert!(done.status.success(), "{}", said(&done));
    let expected = format!("{} rows in place of {}", first.len(), events.len());
    for expected in [&expected[..], "  http/", "foretap rebuild"] {
        assert!(said(&done).contains(expected), "{}", said(&done));
    }
    let listed = said(&foretap(folder.path(), &["lake", "snapshots"]));
    assert!(listed.contains("<- now, v1 (the first half)"), "{listed}");

    // Started as it is, it would drop the second half as known when it comes again.
    let refused = foretap(folder.path(), &["up"]);
    assert!(!refused.status.success() && said(&refused).contains("foretap rebuild"), "{}", said(&refused));
    std::fs::remove_file(folder.path().join("store.redb")).unwrap();
    let rebuilt = foretap(folder.path(), &["rebuild"]);
    assert!(said(&rebuilt).contains(&format!("from {} events", first.len())), "{}", said(&rebuilt));
    assert_kept(folder.path(), first);
    let up = Up::start(folder.path(), &[]);
    up.client.send(rest, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    up.stop();
    assert_kept(folder.path(), &events);
    Up::start(folder.path(), &[]).stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_and_duckdb_read_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 2).await;
    let early = lake.tag("early", "").await.unwrap();
    lake.commit(&five(3)).await.unwrap();
    lake.compact(TableName::Events).await.unwrap();
    let late = lake.tag("late", "compacted").await.unwrap();
    lake.commit(&five(4)).await.unwrap();
    lake.rollback("early").await.unwrap();
    lake.commit(&five(3)).await.unwrap();
    lake.commit(&five(4)).await.unwrap();
    let place = folder.path().canonicalize().unwrap().display().to_string();
    let Some(found) = by_python("read_versions.py", &[&place]) else { return };
    let version = |rows: u64, last: u64| serde_json::json!({ "rows": rows, "people": 5, "last": last });
    assert_eq!(found["newest"], version(20, 4), "{found}");
    assert_eq!(found["tags"], serde_json::json!({ "early": version(10, 2), "late": version(15, 3) }));
    assert_eq!(found["properties"]["foretap.note.late"], "compacted");
    assert_eq!(found["current"], current(&lake).await.id);
    let history = found["history"].as_array().unwrap();
    assert_eq!(history.len(), 8, "six commits, a compaction, and going back: {history:?}");
    assert_eq!((&history[1], &history[5]), (&early.into(), &early.into()));
    assert_eq!(history[3], late);
    for snapshot in lake.snapshots(TableName::Events).await.unwrap() {
        assert_eq!(found["snapshots"][snapshot.id.to_string()]["rows"], snapshot.rows);
    }
}
