//! A lake whose catalog is a server's, by Iceberg's own server of its REST protocol: several writers, all that is done to tables,
//! answers that are lost, tokens, the whole program. With FORETAP_TEST_REST=1, skipped without, except in CI.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;
#[path = "common/lake.rs"]
mod rows;
#[path = "common/s3.rs"]
mod s3;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use common::{ALL_KEPT, Up, events, kept_in, runtime};
use foretap::data::UserId;
use foretap_platform::config::{CatalogKind, LakeConfig};
use foretap_platform::lake::{Lake, TableName, people, row_count};
use rows::{DAY_US, START_US, by_python, commit, event, files_with, five};
use s3::{Faults, Proxy};

/// A server of its own, ended when it is dropped.
struct Server {
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// `None` where it is not wanted.
    fn start() -> Option<Self> {
        if std::env::var_os("FORETAP_TEST_REST").is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_REST=1");
            eprintln!("skipped: set FORETAP_TEST_REST=1");
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder: tempfile::tempdir().unwrap(), port };
        server.script(&["start", &server.path("catalog"), &port.to_string(), &server.path("lake")]);
        Some(server)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().canonicalize().unwrap().join(name).display().to_string()
    }

    fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/rest_catalog.sh");
        assert!(Command::new("bash").arg(script).args(arguments).status().unwrap().success());
    }

    /// A lake by it, through `port`.
    async fn open_by(&self, port: u16) -> foretap::Result<Lake> {
        let config = LakeConfig { catalog_uri: format!("http://127.0.0.1:{port}"), ..settings() };
        Lake::open_by_rest(Path::new(&self.path("lake")), &config).await
    }

    async fn open(&self) -> Lake {
        self.open_by(self.port).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script(&["stop", &self.path("catalog")]);
    }
}

fn settings() -> LakeConfig {
    LakeConfig { catalog: CatalogKind::Rest, buckets: 4, ..LakeConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_at_once_none_loses_a_row() {
    const COMMITS: u64 = 60;
    let Some(server) = Server::start() else { return };
    let lakes = [server.open().await, server.open().await];
    let writers: Vec<_> = lakes
        .into_iter()
        .zip(["p/0", "p/1"])
        .map(|(lake, partition)| {
            tokio::spawn(async move {
                for position in 1..=COMMITS {
                    let row = event(position, START_US, position, partition);
                    assert!(lake.commit(&commit(vec![row])).await.unwrap());
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let lake = server.open().await;
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 2 * COMMITS);
    let positions = lake.positions().await.unwrap();
    assert!(["p/0", "p/1"].iter().all(|partition| positions.last(partition) == Some(COMMITS)));
    assert_eq!(lake.snapshots(TableName::Events).await.unwrap().len() as u64, 2 * COMMITS);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_done_to_tables_is_done_by_a_server_too() {
    let Some(server) = Server::start() else { return };
    let lake = server.open().await;
    for position in 1..=4 {
        lake.commit(&five(position)).await.unwrap();
    }
    let tagged = lake.tag("v1", "first").await.unwrap();
    let at_tag = people(&lake, None).await.unwrap();
    lake.commit(&five(5)).await.unwrap();
    lake.compact(TableName::Events).await.unwrap();
    let all = people(&lake, None).await.unwrap();

    let other = server.open().await;
    let done = lake.rollback("v1").await.unwrap();
    assert_eq!((done.rows, done.rows_before, done.positions.last("p/0")), (20, 25, Some(4)));
    let error = other.commit(&five(6)).await.unwrap_err().to_string();
    assert!(error.contains("set back"), "{error}");
    assert_eq!(people(&lake, None).await.unwrap(), at_tag);
    for position in 4..=5 {
        lake.commit(&five(position)).await.unwrap();
    }
    assert_eq!(people(&lake, None).await.unwrap(), all);
    if let Some(found) = by_python("read_versions.py", &[&format!("http://127.0.0.1:{}", server.port)]) {
        let version = |rows: u64, last: u64| serde_json::json!({ "rows": rows, "people": 5, "last": last });
        assert_eq!((&found["newest"], &found["tags"]["v1"]), (&version(25, 5), &version(20, 4)), "{found}");
        assert_eq!(found["properties"]["foretap.note.v1"], "first");
    }

    // Forgotten by one process: what the other one holds is refused, though the tables have no row of theirs any more.
    let other = server.open().await;
    let (forgotten, mut waiting) = (UserId(2), five(6));
    for _ in 0..2 {
        lake.keep_forgotten(forgotten, START_US + 30 * DAY_US).await.unwrap();
        lake.forget(TableName::Events, forgotten).await.unwrap();
        assert!(!other.commit(&waiting).await.unwrap());
        waiting.forgotten = other.forgotten().await.unwrap().version();
    }
    waiting.events.retain(|row| row.event.user != forgotten);
    assert!(other.commit(&waiting).await.unwrap());
    assert!(people(&lake, Some(tagged)).await.is_err(), "the tag was made anew");
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 6 * 4);
    let files = Path::new(&server.path("lake")).to_owned();
    assert!(files_with(&files, forgotten.to_string().as_bytes()).is_empty());

    let retained = lake.retain(TableName::Events, START_US + DAY_US, false).await.unwrap();
    assert_eq!((retained.rows, row_count(&lake, TableName::Events).await.unwrap()), (12, 12));
    let later = jiff::Timestamp::now().as_millisecond() + 3_600_000;
    for name in TableName::ALL {
        lake.orphans(name, later, false).await.unwrap();
    }
    let lake = server.open().await;
    for snapshot in lake.snapshots(TableName::Events).await.unwrap() {
        let lived = people(&lake, Some(snapshot.id)).await.unwrap();
        assert_eq!(lived.values().map(|events| events.len() as u64).sum::<u64>(), snapshot.rows);
    }
}

/// The server has done it, and nobody hears of it: looked for before anything is sent again or deleted.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_double_nothing_and_delete_nothing_that_is_needed() {
    let Some(server) = Server::start() else { return };
    drop(server.open().await);
    let proxy = Proxy::start(server.port, Faults { busy: 5, lost: 20, cut: 5, late: 0 }, 11).await;
    let lake = loop {
        if let Ok(lake) = server.open_by(proxy.port).await {
            break lake;
        }
    };
    let mut failed = 0;
    for position in 1..=40 {
        while let Err(error) = lake.commit(&five(position)).await {
            failed += 1;
            assert!(error.to_string().contains("catalog"), "{error}");
        }
    }
    while lake.compact(TableName::Events).await.is_err() {
        failed += 1;
    }
    while lake.forget(TableName::Events, UserId(4)).await.is_err() {
        failed += 1;
    }
    let spoiled = proxy.spoiled.load(Ordering::Relaxed);
    eprintln!("{spoiled} connections were spoiled, {failed} calls failed");
    assert!(spoiled > 30, "{spoiled} spoiled");
    let lake = server.open().await;
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 4 * 40);
    let lived = people(&lake, None).await.unwrap();
    assert!(lived.len() == 4 && lived.values().all(|events| events.len() == 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_a_token_and_a_server_that_is_none_is_an_error() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "catalog secret\n").unwrap();
    let config = LakeConfig {
        catalog_uri: format!("http://127.0.0.1:{}/", server.port),
        client_id: Some("catalog".to_owned()),
        client_secret_file: Some(secret),
        ..settings()
    };
    let place = server.path("lake");
    let lake = Lake::open_by_rest(Path::new(&place), &config).await.unwrap();
    lake.commit(&five(1)).await.unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    drop(silent);
    let nobody = LakeConfig { catalog_uri: closed, ..settings() };
    let error = Lake::open_by_rest(Path::new(&place), &nobody).await.unwrap_err().to_string();
    assert!(error.contains("lake.catalog_uri"), "{error}");
    let unsaid = LakeConfig { client_secret_file: None, ..config };
    let error = Lake::open_by_rest(Path::new(&place), &unsaid).await.unwrap_err().to_string();
    assert!(error.contains("lake.client_secret_file"), "{error}");
    // Elsewhere than where the tables are, it would write where nobody reads.
    let elsewhere = LakeConfig { catalog_uri: format!("http://127.0.0.1:{}", server.port), ..settings() };
    let error = Lake::open_by_rest(folder.path(), &elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("another folder or bucket"), "{error}");
}

#[test]
fn the_whole_program_by_a_server_loses_and_doubles_nothing_by_kills() {
    let Some(server) = Server::start() else { return };
    let (uri, lake, data) =
        (format!("http://127.0.0.1:{}", server.port), server.path("lake"), server.path("data"));
    let settings = [
        ("FORETAP_LAKE_CATALOG", "rest"),
        ("FORETAP_LAKE_CATALOG_URI", uri.as_str()),
        ("FORETAP_LAKE_FOLDER", lake.as_str()),
        ("FORETAP_INGEST_COMMIT_SECS", "0"),
    ];
    let (data, events) = (Path::new(&data), events(3, 4));
    let mut up = Up::start(data, &settings);
    for part in events.chunks(events.len().div_ceil(6)) {
        up.client.send(part, "k1", (200, None), |_| {}).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        up.kill();
        up = Up::start(data, &settings);
    }
    up.client.flush().unwrap();
    up.stop();
    runtime().block_on(async {
        assert_eq!(kept_in(&server.open().await, data, &events).await, ALL_KEPT);
    });
    let mut check = Command::new(env!("CARGO_BIN_EXE_foretap"));
    check
        .arg("check")
        .env("FORETAP_DATA_FOLDER", data)
        .env("FORETAP_HTTP_LISTEN", "127.0.0.1:0")
        .envs(settings);
    let said = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(said.contains(&format!("{} rows of events", events.len())), "{said}");
}
