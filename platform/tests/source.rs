//! What every source promises, asked of the journal, of files in a folder and on S3, and of Kinesis: records in order, nothing lost
//! by a reader that leaves, and all again from behind the last acknowledgement. And files end to end, through kills and damage.
//!
//! S3 and Kinesis with `--features aws` and FORETAP_TEST_AWS=1; skipped without, except in CI.

#![allow(clippy::unwrap_used)]

mod common;
#[cfg(feature = "aws")]
#[path = "common/s3.rs"]
mod s3;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Up, assert_kept, events, runtime};
use foretap_platform::config::{Config, FilesAfter, FilesConfig};
use foretap_platform::lake::{Lake, Positions, dead_letters};
use foretap_platform::source::{EventSource, FilesSource, Journal, Record, RecordKind, check_files};
use foretap_platform::store::MasterKey;
use foretap_platform::wire::{PhoneEvent, encode};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
#[cfg(feature = "aws")]
use s3::aws;

/// How long a record may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source that a test fills: opened again it is what it is after a crash.
#[async_trait::async_trait]
trait Subject {
    fn name(&self) -> String;
    /// Adds these records, after all others.
    async fn add(&mut self, records: &[&str]);
    async fn open(&mut self) -> Box<dyn EventSource>;
}

struct OfJournal {
    folder: tempfile::TempDir,
    master: MasterKey,
    journal: Option<Journal>,
}

#[async_trait::async_trait]
impl Subject for OfJournal {
    fn name(&self) -> String {
        "journal".to_owned()
    }

    async fn add(&mut self, records: &[&str]) {
        for record in records {
            let bytes = bytes::Bytes::from((*record).to_owned());
            self.journal.as_ref().unwrap().add(1, RecordKind::JsonBatch, bytes).await.unwrap();
        }
    }

    async fn open(&mut self) -> Box<dyn EventSource> {
        self.journal = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The writer of the one before ends by itself.
            match Journal::open(&self.folder.path().join("journal.redb"), &self.master) {
                Ok((journal, source)) => {
                    self.journal = Some(journal);
                    return Box::new(source);
                }
                Err(error) => assert!(Instant::now() <= deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

struct OfFiles {
    folder: tempfile::TempDir,
    /// Files delivered.
    count: u32,
    after: FilesAfter,
    #[cfg(feature = "aws")]
    peer: Option<s3::Peer>,
}

impl OfFiles {
    fn deliver(&self, name: &str, bytes: &[u8]) {
        #[cfg(feature = "aws")]
        if let Some(peer) = &self.peer {
            return peer.put(&format!("inbox/in/{name}"), bytes);
        }
        deliver(&self.folder.path().join("in"), name, bytes);
    }

    fn config(&self) -> Config {
        let path = self.folder.path().join("in").display().to_string();
        let files = FilesConfig { path, poll_secs: 1, after: self.after };
        #[cfg(feature = "aws")]
        if let Some(peer) = &self.peer {
            let files = FilesConfig { path: "s3://inbox/in".to_owned(), ..files };
            return Config { files, aws: peer.config(), ..Config::default() };
        }
        Config { files, ..Config::default() }
    }
}

#[async_trait::async_trait]
impl Subject for OfFiles {
    fn name(&self) -> String {
        #[cfg(feature = "aws")]
        if let Some(peer) = &self.peer {
            return format!("files on S3 by {}", peer.name);
        }
        "files".to_owned()
    }

    /// One file of them all.
    async fn add(&mut self, records: &[&str]) {
        self.count += 1;
        self.deliver(&format!("{:04}.jsonl", self.count), records.join("\n").as_bytes());
    }

    async fn open(&mut self) -> Box<dyn EventSource> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The reader of the one before ends by itself.
            match FilesSource::open(&self.config(), &self.folder.path().join("files.redb")) {
                Ok(source) => return Box::new(source),
                Err(error) => assert!(Instant::now() <= deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Kinesis of one server, and the leases in another one's DynamoDB or its own.
#[cfg(feature = "aws")]
struct OfKinesis {
    name: &'static str,
    kinesis: aws::Aws,
    /// Kinesalite has no DynamoDB.
    _rest: Option<aws::Aws>,
    url: String,
}

#[cfg(feature = "aws")]
impl OfKinesis {
    async fn start(name: &'static str) -> Self {
        let kinesis = aws::Aws::start(name).unwrap();
        let rest = (name == "kinesalite").then(|| aws::Aws::start("moto").unwrap());
        let judge: aws::Judge = std::sync::Arc::new(|_, _| aws::Fate::Answered);
        let url = aws::proxy_of(&kinesis, rest.as_ref().unwrap_or(&kinesis), judge).await;
        let client = aws_sdk_kinesis::Client::new(&kinesis.sdk().await);
        client.create_stream().stream_name("events").shard_count(1).send().await.unwrap();
        // Until it is active.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Self { name, kinesis, _rest: rest, url }
    }
}

#[cfg(feature = "aws")]
#[async_trait::async_trait]
impl Subject for OfKinesis {
    fn name(&self) -> String {
        format!("Kinesis by {}", self.name)
    }

    async fn add(&mut self, records: &[&str]) {
        let client = aws_sdk_kinesis::Client::new(&self.kinesis.sdk().await);
        for record in records {
            let data = aws_sdk_kinesis::primitives::Blob::new(record.as_bytes());
            let put = client.put_record().stream_name("events").partition_key("user").data(data);
            put.send().await.unwrap();
        }
    }

    async fn open(&mut self) -> Box<dyn EventSource> {
        use foretap_platform::config::{AwsConfig, KinesisConfig};
        let config = KinesisConfig {
            stream: "events".to_owned(),
            create_lease_table: true,
            instance: Some("one".to_owned()),
            poll_ms: 200,
            ..KinesisConfig::default()
        };
        let (region, endpoint) = (s3::REGION.to_owned(), self.url.clone());
        let aws = AwsConfig { region, endpoint, ..AwsConfig::default() };
        Box::new(foretap_platform::source::KinesisSource::open(&config, &aws))
    }
}

fn of_files() -> OfFiles {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    OfFiles {
        folder,
        count: 0,
        after: FilesAfter::Keep,
        #[cfg(feature = "aws")]
        peer: None,
    }
}

/// As whoever delivers must: under another name, and then renamed.
fn deliver(folder: &Path, name: &str, bytes: &[u8]) {
    let (written, ready) = (folder.join(format!(".{name}.part")), folder.join(name));
    std::fs::write(&written, bytes).unwrap();
    std::fs::rename(written, ready).unwrap();
}

async fn subjects() -> Vec<Box<dyn Subject>> {
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::load(&folder.path().join("master.key"), true).unwrap();
    #[cfg_attr(not(feature = "aws"), allow(unused_mut))]
    let mut subjects: Vec<Box<dyn Subject>> =
        vec![Box::new(OfJournal { folder, master, journal: None }), Box::new(of_files())];
    #[cfg(feature = "aws")]
    if s3::is_wanted() {
        for name in ["moto", "ministack"] {
            let peer = s3::Peer::start(name);
            peer.make_bucket("inbox", false);
            subjects.push(Box::new(OfFiles { peer: Some(peer), ..of_files() }));
        }
        for name in ["moto", "ministack", "kinesalite"] {
            subjects.push(Box::new(OfKinesis::start(name).await));
        }
    }
    subjects
}

/// The next `count` records, asked for by somebody who leaves all the time.
async fn read(source: &mut dyn EventSource, count: usize) -> Vec<Record> {
    let (mut found, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    let mut patience_us = 1;
    while found.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records came", found.len());
        patience_us = (patience_us * 2).min(200_000);
        let limit = Duration::from_micros(patience_us);
        if let Ok(records) = tokio::time::timeout(limit, source.next(1)).await {
            found.extend(records.unwrap());
        }
    }
    found
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.bytes.to_vec()).unwrap()).collect()
}

async fn has_more(source: &mut dyn EventSource) -> bool {
    tokio::time::timeout(Duration::from_millis(2_500), source.next(1)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_keeps_its_promises() {
    for mut subject in subjects().await {
        let name = subject.name();
        let mut source = subject.open().await;
        subject.add(&["a", "b", "c"]).await;
        subject.add(&["d", "e"]).await;
        let first = read(&mut *source, 5).await;
        assert_eq!(texts(&first), ["a", "b", "c", "d", "e"], "{name}: in order, whoever leaves meanwhile");
        assert!(first.windows(2).all(|two| two[0].position < two[1].position), "{name}: positions rise");
        let partition = &first[0].partition;
        assert!(first.iter().all(|record| record.partition == *partition), "{name}");
        let upto = |last: &Record| {
            let mut positions = Positions::default();
            positions.add(partition, last.position);
            positions.add("another/source", u64::MAX >> 1);
            positions
        };
        assert!(!has_more(&mut *source).await, "{name}: each once");
        // A crash: nothing was acknowledged, all comes again as it was.
        drop(source);
        let mut source = subject.open().await;
        let again = read(&mut *source, 5).await;
        assert_eq!(again, first, "{name}: the same positions, bytes and times");
        source.acknowledge(&upto(&again[2])).await.unwrap();
        source.close().await;
        drop(source);
        // Behind the last acknowledgement.
        let mut source = subject.open().await;
        let rest = read(&mut *source, 2).await;
        assert_eq!(rest, first[3..], "{name}");
        subject.add(&["f"]).await;
        let new = read(&mut *source, 1).await;
        assert_eq!(texts(&new), ["f"], "{name}");
        assert!(new[0].position > first[4].position, "{name}: a position is never given again");
        source.acknowledge(&upto(&new[0])).await.unwrap();
        drop(source);
        let mut source = subject.open().await;
        assert!(!has_more(&mut *source).await, "{name}: what is acknowledged does not come again");
        subject.add(&["g"]).await;
        let last = read(&mut *source, 1).await;
        assert!(last[0].position > new[0].position, "{name}");
        eprintln!("{name} keeps its promises");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_events_is_told_once_and_the_others_go_on() {
    #[cfg_attr(not(feature = "aws"), allow(unused_mut))]
    let mut subjects = vec![OfFiles { after: FilesAfter::Delete, ..of_files() }];
    #[cfg(feature = "aws")]
    if s3::is_wanted() {
        let peer = s3::Peer::start("moto");
        peer.make_bucket("inbox", false);
        subjects.push(OfFiles { peer: Some(peer), ..of_files() });
    }
    for mut subject in subjects {
        let text: String = (0..200_000).map(|line| format!("{{\"line\":{line}}}\n")).collect();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        let gz = gz.finish().unwrap();
        for (name, bytes) in [
            ("1-empty.jsonl", &b""[..]),
            ("2-cut.jsonl.gz", &gz[..gz.len() / 2]),
            ("3-name.csv", b"x"),
            (".4-hidden.jsonl", b"hidden"),
            ("5-written.jsonl.part", b"part"),
            ("6-whole.jsonl.gz", &gz),
            ("7-last.json", b"last"),
        ] {
            subject.deliver(name, bytes);
        }
        let mut source = subject.open().await;
        let mut positions = Positions::default();
        let (mut unreadable, mut lines, mut is_last) = (Vec::new(), 0, false);
        let deadline = Instant::now() + PATIENCE;
        while !is_last {
            let records =
                tokio::time::timeout_at(deadline.into(), source.next(1 << 20)).await.unwrap().unwrap();
            for record in records {
                positions.add(&record.partition, record.position);
                match record.kind {
                    RecordKind::Unreadable => unreadable.push(format!(
                        "{}: {}",
                        record.file.clone().unwrap_or_default(),
                        texts(&[record]).remove(0)
                    )),
                    _ if &record.bytes[..] == b"last" => is_last = true,
                    _ => lines += 1,
                }
            }
        }
        assert!(lines > 200_000 && lines < 400_000, "what stands before the damage is used: {lines}");
        assert_eq!(unreadable.len(), 2, "{unreadable:?}");
        assert!(unreadable[0].starts_with("2-cut.jsonl.gz: ") && unreadable[1].starts_with("3-name.csv: "));
        source.acknowledge(&positions).await.unwrap();
        assert_eq!(positions.iter().count(), 1, "one position for all files");
        drop(source);
        let mut source = subject.open().await;
        assert!(!has_more(&mut *source).await, "{}: all are done, the empty one, too", subject.name());
        if subject.after == FilesAfter::Delete {
            let inbox = subject.folder.path().join("in");
            wait_until("what was read is put away", || !inbox.join("7-last.json").exists());
            for (name, is_kept) in
                [("2-cut.jsonl.gz", true), ("3-name.csv", true), ("6-whole.jsonl.gz", false)]
            {
                assert!(!inbox.join(name).exists(), "{name}");
                assert_eq!(
                    inbox.join("done").join(name).exists(),
                    is_kept,
                    "{name}: only what is whole in the lake goes"
                );
            }
        }
    }
}

#[test]
fn the_programs_own_files_are_no_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let of = |files: &str, data: &str, lake: &str| {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = Config::default();
        config.data.folder = path(data).into();
        config.files.path = if files.starts_with("s3://") { files.to_owned() } else { path(files) };
        config.lake.location = lake.to_owned();
        runtime().block_on(check_files(&config)).map_err(|error| error.to_string())
    };
    std::fs::create_dir_all(folder.path().join("data/in")).unwrap();
    for (files, data, lake, is_refused) in [
        (".", "data", "", true),
        ("data", "data", "", true),
        ("data/../data", "data", "", true),
        ("data/lake/new", "data", "", true),
        ("data/in", "data", "", false),
        ("s3://bbb", "data", "s3://bbb/lake", true),
        ("s3://bbb/lake/in", "data", "s3://bbb/lake", true),
    ] {
        let found = of(files, data, lake);
        let refused =
            found.as_ref().is_err_and(|error| error.contains("files.path") && error.contains("own"));
        assert_eq!(refused, is_refused, "{files} {data} {lake}: {found:?}");
    }
}

fn files_of(events: &[PhoneEvent], count: usize) -> Vec<(String, Vec<u8>)> {
    let files = events.chunks(events.len().div_ceil(count)).enumerate().map(|(number, events)| {
        let lines = || {
            let batch = |event: &PhoneEvent| {
                let at = jiff::Timestamp::from_microsecond(event.at_us).unwrap();
                let mut json = serde_json::json!({
                    "user": event.user.to_string(), "at": at.to_string(), "number": event.number,
                    "utc_offset_secs": event.utc_offset_secs, "signal": event.signal.name(),
                });
                let network = serde_json::json!(format!("{:?}", event.network).to_lowercase());
                let more = [
                    ("app", event.app.as_deref().map(serde_json::Value::from)),
                    ("place", event.place.map(|place| place.to_string().into())),
                    ("battery_percent", event.battery.percent.map(serde_json::Value::from)),
                    ("charging", event.battery.charging.map(serde_json::Value::from)),
                    ("network", (network != "unknown").then_some(network)),
                ];
                for (key, value) in more {
                    if let Some(value) = value {
                        json[key] = value;
                    }
                }
                json
            };
            let batches = events.chunks(20).map(|events| {
                let events: Vec<_> = events.iter().map(batch).collect();
                serde_json::json!({ "version": 1, "key_id": "k1", "events": events }).to_string()
            });
            batches.collect::<Vec<_>>().join("\n")
        };
        match number % 4 {
            0 => (format!("{number:03}.pb"), encode("k1", events)),
            1 => (format!("{number:03}.jsonl"), lines().into_bytes()),
            2 => (format!("{number:03}.jsonl.zst"), zstd::stream::encode_all(lines().as_bytes(), 1).unwrap()),
            _ => {
                let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gz.write_all(lines().as_bytes()).unwrap();
                (format!("day/{number:03}.jsonl.gz"), gz.finish().unwrap())
            }
        }
    });
    files.collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn files_are_taken_once_through_kills_damage_and_second_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let (data, inbox): (PathBuf, PathBuf) = (folder.path().join("data"), folder.path().join("in"));
    std::fs::create_dir_all(inbox.join("day")).unwrap();
    let settings = [
        ("FORETAP_INGEST_COMMIT_SECS", "0"),
        ("FORETAP_FILES_PATH", inbox.to_str().unwrap()),
        ("FORETAP_FILES_AFTER", "move"),
        ("FORETAP_FILES_POLL_SECS", "1"),
    ];
    let events = events(5, 5);
    let files = files_of(&events, 50);
    assert_eq!(files.len(), 50);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut up = Up::start(&data, &settings);
    let mut kills = 0;
    for (number, (name, bytes)) in files.iter().enumerate() {
        if number == 21 {
            // One that is read while it grows: half a line, then the whole.
            std::fs::write(inbox.join(name), &bytes[..bytes.len() / 2]).unwrap();
            std::thread::sleep(Duration::from_millis(1_500));
        }
        std::fs::write(inbox.join(format!("{name}.part")), bytes).unwrap();
        std::fs::rename(inbox.join(format!("{name}.part")), inbox.join(name)).unwrap();
        if number % 7 == 0 {
            let again = name.replace("day/", "").replacen('0', "again-0", 1);
            deliver(&inbox, &again, bytes);
        }
        if random.random_ratio(1, 4) {
            std::thread::sleep(Duration::from_millis(random.random_range(0..1_200)));
            up.kill();
            kills += 1;
            up = Up::start(&data, &settings);
        }
    }
    assert!(kills > 5, "{kills} kills");
    let left = || {
        let of = |folder: PathBuf| {
            std::fs::read_dir(folder).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count()
        };
        of(inbox.clone()) + of(inbox.join("day"))
    };
    wait_until("all files are put away", || left() == 0);
    up.client.flush().unwrap();
    up.stop();
    assert_kept(&data, &events);
    runtime().block_on(async {
        let lake = Lake::open(&data.join("lake"), 16).await.unwrap();
        let positions = lake.positions().await.unwrap();
        assert_eq!(positions.iter().count(), 1, "one position, not one for each file");
        let dead = dead_letters(&lake).await.unwrap();
        assert!(dead.len() <= 1, "at most the half line: {dead:?}");
    });
    eprintln!("{kills} kills over 50 files and {} events", events.len());
}
