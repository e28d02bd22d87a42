//! Tables whose columns are not this build's: of an older build, which goes on writing, and of a newer one; and what others read then.
//! PyIceberg is the other build.

#![allow(clippy::unwrap_used)]

#[path = "common/lake.rs"]
mod rows;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use foretap::data::UserId;
use foretap_platform::lake::{Lake, TableName, people, row_count};
use rows::{by_python, filled, five, python};

/// The person whose rows the other writer appends.
const OTHERS: UserId = UserId(0xaa);

fn of(folder: &Path) -> String {
    folder.canonicalize().unwrap().display().to_string()
}

/// Runs a task of the other build to its end; `false` where there is no PyIceberg.
fn run(task: &str, folder: &Path) -> bool {
    let Some(mut command) = python("columns_lake.py", &[task, &of(folder)]) else { return false };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// The other build begins to append rows.
fn append(folder: &Path, rows: u32) -> Child {
    let mut command = python("columns_lake.py", &["append", &of(folder), &rows.to_string()]).unwrap();
    let mut writer = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(writer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    writer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_build_goes_on_writing_while_this_one_adds_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 0).await);
    if !run("older", folder.path()) {
        return;
    }
    let mut older = append(folder.path(), 12);
    let lake = Lake::open(folder.path(), 4).await.unwrap();
    for position in 1..=12 {
        lake.commit(&five(position)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(older.wait().unwrap().success());
    let check = async || {
        assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 12 + 60);
        let lived = people(&lake, None).await.unwrap();
        assert_eq!((lived.len(), lived[&OTHERS].len(), lived[&UserId(1)].len()), (6, 12, 12));
        let networks = lived.values().flat_map(|events| events.values());
        let known = networks.filter(|event| event.network != foretap::data::Network::Unknown).count();
        assert_eq!(known, 60, "the older build says nothing of the network");
        assert_eq!(lake.rows_of(TableName::Events, OTHERS, None).await.unwrap().len(), 12);
        assert_eq!(lake.positions().await.unwrap().last("p/0"), Some(12));
        let found = by_python("columns_lake.py", &["read", &of(folder.path())]).unwrap();
        assert_eq!((&found["rows"], &found["types"]["position"]), (&72.into(), &"long".into()), "{found}");
        // It had 13 columns: the new one has the next number, and the others keep theirs.
        assert_eq!((&found["ids"]["network"], &found["ids"]["position"]), (&14.into(), &13.into()));
        assert_eq!((&found["null"]["network"], &found["null"]["user"]), (&12.into(), &0.into()));
        assert_eq!((&found["others"], &found["others_read"]), (&12.into(), &12.into()), "filtered as read");
        let mut expected: Vec<(String, u64)> =
            (1..=12).map(|position| ("other/0".to_owned(), position)).collect();
        expected.extend((1..=12).flat_map(|position| vec![("p/0".to_owned(), position); 5]));
        assert_eq!(found["positions"], serde_json::json!(expected));
    };
    check().await;
    // Each version is read under the columns of its time.
    let snapshots = lake.snapshots(TableName::Events).await.unwrap();
    assert_eq!(snapshots.len(), 24);
    for snapshot in &snapshots {
        let lived = people(&lake, Some(snapshot.id)).await.unwrap();
        assert_eq!(lived.values().map(|events| events.len() as u64).sum::<u64>(), snapshot.rows);
    }
    lake.compact(TableName::Events).await.unwrap();
    lake.expire(TableName::Events, i64::MAX).await.unwrap();
    check().await;
    let report = lake.forget(TableName::Events, OTHERS).await.unwrap();
    assert_eq!(report.rows, 12);
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn this_build_goes_on_writing_where_a_newer_one_has_added_columns() {
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(folder.path(), 3).await;
    let tagged = lake.tag("v1", "").await.unwrap();
    let before = people(&lake, None).await.unwrap();
    let place = folder.path().to_owned();
    let newer = tokio::task::spawn_blocking(move || run("newer", &place));
    let mut written = 3;
    while !newer.is_finished() {
        written += 1;
        lake.commit(&five(written)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    if !newer.await.unwrap() {
        return;
    }
    // A process that starts anew takes the table as it is, too.
    let lake = Lake::open(folder.path(), 4).await.unwrap();
    lake.commit(&five(written + 1)).await.unwrap();
    let rows = 5 * (written + 1);
    let lived = people(&lake, None).await.unwrap();
    assert_eq!(lived.values().map(|events| events.len() as u64).sum::<u64>(), rows);
    assert_eq!(people(&lake, Some(tagged)).await.unwrap(), before);
    let check = || {
        let found = by_python("columns_lake.py", &["read", &of(folder.path())]).unwrap();
        assert_eq!((&found["rows"], &found["null"]["weather"]), (&rows.into(), &rows.into()), "{found}");
        assert_eq!((&found["types"]["number"], &found["ids"]["weather"]), (&"long".into(), &15.into()));
    };
    check();
    lake.compact(TableName::Events).await.unwrap();
    lake.rollback("v1").await.unwrap();
    assert_eq!(people(&lake, None).await.unwrap(), before);
    for position in 4..=written + 1 {
        lake.commit(&five(position)).await.unwrap();
    }
    assert_eq!(people(&lake, None).await.unwrap(), lived);
    check();
}
