//! The lake as Spark reads it: the newest version, one that was compacted, tags and snapshots of before. With FORETAP_TEST_SPARK=1,
//! skipped without, except in CI.

#![allow(clippy::unwrap_used)]

#[path = "common/lake.rs"]
mod rows;

use std::path::Path;
use std::process::Command;

use foretap::data::UserId;
use foretap_platform::lake::{TableName, people};
use rows::{DAY_US, START_US, filled, five};

/// What Spark says of a lake; `user` is somebody in it.
fn read(folder: &Path, user: UserId) -> serde_json::Value {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let mut command = Command::new(peers.join("spark.sh"));
    command.arg("run").arg(peers.join("spark_lake.py"));
    let output = command.arg(folder.canonicalize().unwrap()).arg(user.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn spark_reads_every_version_before_and_after_compaction() {
    if std::env::var_os("FORETAP_TEST_SPARK").is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_SPARK=1");
        eprintln!("skipped: set FORETAP_TEST_SPARK=1");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 2).await;
    lake.tag("early", "").await.unwrap();
    for position in 3..=5 {
        lake.commit(&five(position)).await.unwrap();
    }
    // Nobody's rows are left in the tag either.
    lake.forget(TableName::Events, UserId(4)).await.unwrap();
    lake.commit(&five(6)).await.unwrap();
    lake.tag("late", "").await.unwrap();
    let version = |rows: u64, people: u64, last: u64, theirs: u64| serde_json::json!({ "rows": rows, "people": people, "last": last, "theirs": theirs, "theirs_read": theirs });
    let user = UserId(1);
    let before = read(folder.path(), user);
    assert_eq!(before["newest"], version(4 * 5 + 5, 5, 6, 6), "{before}");
    assert_eq!(before["tags"]["early"], version(4 * 2, 4, 2, 2));
    assert_eq!(
        before["newest_us"],
        START_US + DAY_US + 5_000_000 + 3,
        "the day of odd positions is the later one"
    );
    assert_eq!(before["tables"], serde_json::json!(["dead_letters", "events", "forgotten", "impressions"]));

    assert!(lake.compact(TableName::Events).await.unwrap().files_less > 0);
    let after = read(folder.path(), user);
    assert_eq!((&after["newest"], &after["tags"]), (&before["newest"], &before["tags"]));
    assert!(after["files"].as_u64() < before["files"].as_u64(), "{after}");
    for snapshot in lake.snapshots(TableName::Events).await.unwrap() {
        let found = &after["snapshots"][snapshot.id.to_string()];
        let lived = people(&lake, Some(snapshot.id)).await.unwrap();
        assert_eq!((&found["rows"], &found["people"]), (&snapshot.rows.into(), &lived.len().into()));
        assert_eq!(found["theirs"], lived[&user].len());
    }
}
