//! Events a second from a topic of Apache Kafka to store and lake, beside Kafka's own `kafka-consumer-perf-test` on the same topic:
//! `cargo bench -p foretap-platform --features kafka --bench kafka -- [EVENTS]`. Needs Java 17 and Maven, as the tests do.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use foretap::Silent;
use foretap::data::simulate::{Law, SimulationConfig, simulate};
use foretap_platform::client::{Client, phone_events};
use foretap_platform::config::KafkaConfig;
use foretap_platform::say;
use foretap_platform::source::{EventSource as _, KafkaSource};
use foretap_platform::wire::{PhoneEvent, encode};
use krafka::Kafka;
use krafka::admin::{CreateTopicsOptions, NewTopic};

const TOPIC: &str = "events";
const ADDRESS: &str = "127.0.0.1:29092";
const BATCH: usize = 50;

fn main() {
    let wanted = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let broker = folder.path().join("kafka");
    kafka_sh(&["start", broker.to_str().unwrap(), "29092"]);
    let measured = std::panic::catch_unwind(|| measure(wanted, folder.path()));
    kafka_sh(&["stop", broker.to_str().unwrap()]);
    measured.unwrap();
}

fn measure(wanted: usize, folder: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = batches(wanted);
    let events: usize = batches.iter().map(Vec::len).sum();
    let bytes = runtime.block_on(produce(&batches));
    let records = batches.len();
    say(&format!("{events} events in {records} records of {:.1} MB", bytes as f64 / 1e6));
    let row = |what: &str, took: Duration| {
        let secs = took.as_secs_f64();
        let (a, b, c) = (events as f64 / secs, records as f64 / secs, bytes as f64 / 1e6 / secs);
        say(&format!("{what}: {secs:.1} s, {a:.0} events, {b:.0} records, {c:.1} MB a second"));
    };

    let tool = "org.apache.kafka.tools.ConsumerPerformance";
    let broker = folder.join("kafka");
    let number = records.to_string();
    let report = kafka_sh(&[
        "tool",
        broker.to_str().unwrap(),
        tool,
        "--bootstrap-server",
        ADDRESS,
        "--topic",
        TOPIC,
        "--num-records",
        &number,
        "--group",
        "perf",
    ]);
    let cells: Vec<&str> = report.lines().last().unwrap().split(", ").collect();
    // start, end, MB, MB/s, records, records/s, ms of rebalancing, ms of fetching, and the last two of fetching alone.
    let fetching_ms: f64 = cells[7].trim().parse().unwrap();
    row("kafka-consumer-perf-test, its fetching alone", Duration::from_secs_f64(fetching_ms / 1e3));

    let config = KafkaConfig {
        brokers: ADDRESS.to_owned(),
        topic: TOPIC.to_owned(),
        group: "source".to_owned(),
        ..KafkaConfig::default()
    };
    let took = runtime.block_on(async {
        let mut source = KafkaSource::open(&config).unwrap();
        let mut read = source.next(1).await.unwrap().len();
        let started = Instant::now();
        while read < records {
            read += source.next(1 << 20).await.unwrap().len();
        }
        let took = started.elapsed();
        source.close().await;
        took
    });
    row("the source alone, from its first record", took);

    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.arg("up").env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_LOG", "warn");
    command.env("FORETAP_DATA_FOLDER", folder.join("data"));
    command.env("FORETAP_KAFKA_BROKERS", ADDRESS).env("FORETAP_KAFKA_TOPIC", TOPIC);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let started = Instant::now();
    let client = Client::new(line.split_whitespace().find(|word| word.starts_with("http://")).unwrap());
    while client.status().unwrap().received < events as u64 {
        std::thread::sleep(Duration::from_millis(50));
    }
    row("foretap up, until answers know all", started.elapsed());
    client.flush().unwrap();
    row("foretap up, until store and lake have all", started.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Batches of one person's events each, in about the order of time.
fn batches(wanted: usize) -> Vec<Vec<PhoneEvent>> {
    let law = Law::named("broad").unwrap();
    let mut people = wanted / 2_000 + 1;
    let events = loop {
        let config = SimulationConfig { people, days: 7, law: law.clone(), ..Default::default() };
        let simulation = simulate(&config, &Silent).unwrap();
        let events = phone_events(&simulation.log, &simulation.vocabulary);
        if events.len() >= wanted {
            break events;
        }
        people += people / 2 + 1;
    };
    let (mut open, mut done) = (BTreeMap::<u64, Vec<PhoneEvent>>::new(), Vec::new());
    for event in events.into_iter().take(wanted) {
        let batch = open.entry(event.user.0).or_default();
        batch.push(event);
        if batch.len() == BATCH {
            done.push(std::mem::take(batch));
        }
    }
    done.extend(open.into_values().filter(|batch| !batch.is_empty()));
    done
}

/// Bytes of all records' values.
async fn produce(batches: &[Vec<PhoneEvent>]) -> usize {
    let kafka = Kafka::builder(ADDRESS).connect().await.unwrap();
    let topic = NewTopic::new(TOPIC, 3, 1).unwrap();
    let made = kafka.admin().create_topics([topic], CreateTopicsOptions::default()).await.unwrap();
    made.into_values().for_each(|made| made.unwrap());
    let producer = kafka.producer().build().await.unwrap();
    let mut bytes = 0;
    for part in batches.chunks(1_000) {
        let mut handles = Vec::new();
        for batch in part {
            let value = encode("k1", batch);
            bytes += value.len();
            let record = krafka::Record::new(TOPIC, value).key(batch[0].user.to_string());
            handles.push(producer.enqueue(record).await.unwrap());
        }
        for handle in handles {
            assert!(handle.await.unwrap().offset >= 0);
        }
    }
    producer.close().await.unwrap();
    bytes
}

/// What the script says on standard output.
fn kafka_sh(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kafka.sh");
    let mut command = Command::new("bash");
    command.arg(script).args(arguments).stderr(Stdio::null());
    if arguments[0] != "tool" {
        // The broker outlives the script: it must not hold our output.
        assert!(command.stdout(Stdio::null()).status().unwrap().success(), "kafka.sh {arguments:?}");
        return String::new();
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "kafka.sh {arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}
