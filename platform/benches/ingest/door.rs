//! The way in by HTTP. The sender has the same two cores: it builds and compresses the batches within the time.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use foretap_platform::client::Client;
use foretap_platform::lake::{Lake, TableName};
use foretap_platform::wire::PhoneEvent;
use futures::TryStreamExt as _;

/// What came of one run.
pub struct Sent {
    /// Of one sender, until all is committed.
    pub events_per_s: f64,
    /// Of data files, once small ones were put together.
    pub lake_bytes: u64,
    /// Of all rows, without what redb has beside them.
    pub store_bytes: u64,
}

/// Sends all events into a program of its own.
pub fn send(events: &[PhoneEvent], batch: usize) -> Sent {
    let folder = tempfile::tempdir().unwrap();
    let (mut up, client) = start(folder.path(), &[]);
    let begin = Instant::now();
    let sent = client.send(events, "bench", (batch, None), |_| {}).unwrap();
    client.flush().unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let status = client.status().unwrap();
    assert_eq!((sent.refused, status.applied), (0, events.len() as u64));
    up.kill().unwrap();
    up.wait().unwrap();
    let compacted = Command::new(env!("CARGO_BIN_EXE_foretap"))
        .args(["lake", "compact"])
        .env("FORETAP_DATA_FOLDER", folder.path())
        .stdout(Stdio::null())
        .status();
    assert!(compacted.unwrap().success());
    Sent {
        events_per_s: events.len() as f64 / seconds,
        lake_bytes: newest_data_bytes(&folder.path().join("lake")),
        store_bytes: status.store_bytes,
    }
}

/// Bytes of the newest version's data files.
fn newest_data_bytes(lake: &Path) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let lake = Lake::open(lake, 16).await.unwrap();
        let table = lake.table(TableName::Events).await.unwrap();
        let files = table.scan().build().unwrap().plan_files().await.unwrap();
        let sizes = files.map_ok(|file| file.file_size_in_bytes);
        sizes.try_fold(0, |all, size| std::future::ready(Ok(all + size))).await.unwrap()
    })
}

/// The program, with these settings.
pub fn start(folder: &Path, settings: &[(&str, &str)]) -> (Child, Client) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.arg("up").env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_DATA_FOLDER", folder);
    if std::env::var_os("FORETAP_LOG").is_none() {
        command.env("FORETAP_LOG", "error");
    }
    let mut child = command.envs(settings.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let client = Client::new(line.split_whitespace().find(|word| word.starts_with("http://")).unwrap());
    (child, client)
}
