//! A real Apache Kafka of a test's own (`tests/peers/kafka.sh`), and what it is filled with.

// Not each test uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use foretap_platform::config::KafkaConfig;
use foretap_platform::wire::{PhoneEvent, encode};
use krafka::Kafka;
use krafka::admin::{ConsumerGroupLagOptions, CreateTopicsOptions, NewTopic};

pub const TOPIC: &str = "events";
pub const GROUP: &str = "foretap";

/// A broker of its own, ended when it is dropped.
pub struct Broker {
    folder: tempfile::TempDir,
    port: u16,
    is_guarded: bool,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.script(&["stop", self.path()], None);
    }
}

impl Broker {
    /// `None` where the peer is not wanted.
    pub fn start() -> Option<Self> {
        Self::is_wanted().then(|| Self::new(false))
    }

    fn is_wanted() -> bool {
        let is_wanted = std::env::var_os("FORETAP_TEST_KAFKA").is_some();
        assert!(
            is_wanted || std::env::var_os("CI").is_none(),
            "CI sets FORETAP_TEST_KAFKA=1, and has Java and Maven"
        );
        is_wanted
    }

    /// The same with TLS and SASL, on further ports.
    pub fn start_guarded() -> Option<Self> {
        Self::is_wanted().then(|| Self::new(true))
    }

    /// Starts one.
    pub fn new(is_guarded: bool) -> Self {
        // The controller has the port after the broker's; what is guarded has the three after that.
        let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        let port = loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if free < u16::MAX - 4 && (1..=4).all(|next| is_free(free + next)) {
                break free;
            }
        };
        let broker = Self { folder: tempfile::tempdir().unwrap(), port, is_guarded };
        broker.begin();
        broker
    }

    pub fn begin(&self) {
        let port = self.port.to_string();
        let mut arguments = vec!["start", self.path(), &port];
        arguments.extend(self.is_guarded.then_some("guarded"));
        self.script(&arguments, None);
    }

    /// The address of another of its listeners: see `tests/peers/kafka.sh`.
    pub fn address_at(&self, further: u16) -> String {
        format!("127.0.0.1:{}", self.port + further)
    }

    pub fn end(&self) {
        self.script(&["stop", self.path()], None);
    }

    pub fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    pub fn script(&self, arguments: &[&str], input: Option<&str>) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kafka.sh");
        let mut command = Command::new("bash");
        // The broker outlives the script: it must not hold our output.
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "kafka.sh {arguments:?}");
    }

    /// Runs one of Kafka's own tools, and returns what it says.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kafka.sh");
        let mut command = Command::new("bash");
        command.arg(script).args(["tool", self.path(), class]).args(arguments);
        let done = command.stderr(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "kafka.sh tool {class}");
        String::from_utf8(done.stdout).unwrap()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn config(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.address(),
            topic: TOPIC.to_owned(),
            group: GROUP.to_owned(),
            session_secs: 3,
            ..KafkaConfig::default()
        }
    }

    pub async fn client(&self) -> Kafka {
        Kafka::builder(self.address()).connect().await.unwrap()
    }

    pub async fn make_topic(&self, partitions: i32) {
        let topic = NewTopic::new(TOPIC, partitions, 1).unwrap();
        let admin = self.client().await.admin();
        let made = admin.create_topics([topic], CreateTopicsOptions::default()).await.unwrap();
        made.into_values().for_each(|made| made.unwrap());
    }

    /// Committed offset and end of each partition that the group has an offset of.
    pub async fn offsets(&self) -> BTreeMap<i32, (i64, i64)> {
        let admin = self.client().await.admin();
        let lag = admin.consumer_group_lag(GROUP, ConsumerGroupLagOptions::default()).await.unwrap();
        lag.into_iter()
            .map(|(part, lag)| (part.partition, lag.unwrap()))
            .map(|(partition, lag)| (partition, (lag.committed_offset.unwrap_or(-1), lag.end_offset)))
            .collect()
    }

    /// Settings of a process that comes back at once after a kill.
    pub fn settings(&self) -> Vec<(String, String)> {
        [("BROKERS", &*self.address()), ("TOPIC", TOPIC), ("GROUP", GROUP), ("INSTANCE", "one")]
            .map(|(key, value)| (format!("FORETAP_KAFKA_{key}"), value.to_owned()))
            .to_vec()
    }
}

pub fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (&**key, &**value)).collect()
}

/// Batches of one person's events each, as phones would have them sent, in about the order of time.
pub fn batches(events: &[PhoneEvent], size: usize) -> Vec<Vec<PhoneEvent>> {
    let mut open: BTreeMap<u64, Vec<PhoneEvent>> = BTreeMap::new();
    let mut done = Vec::new();
    for event in events {
        let batch = open.entry(event.user.0).or_default();
        batch.push(event.clone());
        if batch.len() == size {
            done.push(std::mem::take(batch));
        }
    }
    done.extend(open.into_values().filter(|batch| !batch.is_empty()));
    done
}

pub async fn produce(kafka: &Kafka, batches: &[Vec<PhoneEvent>]) {
    let producer = kafka.producer().build().await.unwrap();
    let mut handles = Vec::new();
    for batch in batches {
        let key = batch[0].user.to_string();
        let record = krafka::Record::new(TOPIC, encode("k1", batch)).key(key);
        handles.push(producer.enqueue(record).await.unwrap());
    }
    for handle in handles {
        assert!(handle.await.unwrap().offset >= 0);
    }
    producer.close().await.unwrap();
}
