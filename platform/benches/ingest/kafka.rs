//! The way in by a topic of Apache Kafka, beside Kafka's own `kafka-consumer-perf-test` on the same topic. The broker has the same
//! two cores.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use foretap_platform::config::KafkaConfig;
use foretap_platform::say;
use foretap_platform::source::{EventSource as _, KafkaSource};
use foretap_platform::wire::{PhoneEvent, encode};
use krafka::Kafka;
use krafka::admin::{CreateTopicsOptions, NewTopic};
use serde_json::json;

use crate::door::start;
use crate::{Arguments, Rates, most_resident_mb};

const TOPIC: &str = "events";
const ADDRESS: &str = "127.0.0.1:29092";

/// The figures, of a broker of its own.
pub fn measure(events: &[PhoneEvent], arguments: &Arguments) -> serde_json::Map<String, serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let broker = folder.path().join("kafka");
    kafka_sh(&["start", broker.to_str().unwrap(), "29092"]);
    let measured = std::panic::catch_unwind(|| rates(events, arguments, folder.path()));
    kafka_sh(&["stop", broker.to_str().unwrap()]);
    measured.unwrap()
}

fn rates(
    events: &[PhoneEvent],
    arguments: &Arguments,
    folder: &Path,
) -> serde_json::Map<String, serde_json::Value> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = batches(events, arguments.record);
    let bytes = runtime.block_on(produce(&batches, arguments.partitions));
    let records = batches.len();
    say(&format!("{records} records of {:.1} MB in {} partitions", bytes as f64 / 1e6, arguments.partitions));

    let count = events.len() as f64;
    let (mut perf, mut source, mut known, mut kept, mut rss_mb) = (vec![], vec![], vec![], vec![], 0.0_f64);
    // In turn, so that a slow minute of the machine meets all of them.
    for round in 0..arguments.repeat {
        perf.push(count / consumer_perf(&folder.join("kafka"), records, round));
        source.push(count / runtime.block_on(source_alone(records, round)).as_secs_f64());
        let up = up(&folder.join(format!("data-{round}")), events.len(), round);
        known.push(count / up.known.as_secs_f64());
        kept.push(count / up.kept.as_secs_f64());
        rss_mb = rss_mb.max(up.rss_mb);
    }
    let ratios = Rates::new(kept.iter().zip(&perf).map(|(kept, perf)| 100.0 * kept / perf).collect());
    let [perf, source, known, kept] = [perf, source, known, kept].map(Rates::new);
    say(&format!("kafka-consumer-perf-test, its fetching alone: {}", perf.in_words()));
    say(&format!("the source alone, from its first record: {}", source.in_words()));
    say(&format!("foretap up, from its start until answers know all: {}", known.in_words()));
    say(&format!("foretap up, from its start until lake and store have all: {}", kept.in_words()));
    let (least, most) = (ratios.0[0], ratios.0[ratios.0.len() - 1]);
    say(&format!(
        "{:.0} % of kafka-consumer-perf-test ({least:.0} to {most:.0}); {rss_mb:.0} MB resident at most",
        ratios.median()
    ));
    let figures = [
        ("events_per_s", kept.median()),
        ("known_events_per_s", known.median()),
        ("source_events_per_s", source.median()),
        ("consumer_perf_events_per_s", perf.median()),
        ("ratio", ratios.median() / 100.0),
        ("kafka_rss_mb", rss_mb),
    ];
    figures.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// Seconds that Kafka's own tool fetches for.
fn consumer_perf(broker: &Path, records: usize, round: usize) -> f64 {
    let (number, group) = (records.to_string(), format!("perf-{round}"));
    let report = kafka_sh(&[
        "tool",
        broker.to_str().unwrap(),
        "org.apache.kafka.tools.ConsumerPerformance",
        "--bootstrap-server",
        ADDRESS,
        "--topic",
        TOPIC,
        "--num-records",
        &number,
        "--group",
        &group,
    ]);
    // start, end, MB, MB/s, records, records/s, ms of rebalancing, ms of fetching, and the last two of fetching alone.
    let cells: Vec<&str> = report.lines().last().unwrap().split(", ").collect();
    cells[7].trim().parse::<f64>().unwrap() / 1e3
}

async fn source_alone(records: usize, round: usize) -> Duration {
    let config = KafkaConfig {
        brokers: ADDRESS.to_owned(),
        topic: TOPIC.to_owned(),
        group: format!("source-{round}"),
        ..KafkaConfig::default()
    };
    let mut source = KafkaSource::open(&config).unwrap();
    let mut read = source.next(1).await.unwrap().len();
    let started = Instant::now();
    while read < records {
        read += source.next(1 << 20).await.unwrap().len();
    }
    let took = started.elapsed();
    source.close().await;
    took
}

/// What one run of the program took.
struct Took {
    known: Duration,
    kept: Duration,
    rss_mb: f64,
}

fn up(folder: &Path, events: usize, round: usize) -> Took {
    let group = format!("foretap-{round}");
    let settings =
        [("FORETAP_KAFKA_BROKERS", ADDRESS), ("FORETAP_KAFKA_TOPIC", TOPIC), ("FORETAP_KAFKA_GROUP", &group)];
    let (mut child, client) = start(folder, &settings);
    let started = Instant::now();
    while client.status().unwrap().received < events as u64 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let known = started.elapsed();
    client.flush().unwrap();
    let kept = started.elapsed();
    let rss_mb = most_resident_mb(&child.id().to_string());
    child.kill().unwrap();
    child.wait().unwrap();
    Took { known, kept, rss_mb }
}

/// Batches of one person's events each, in about the order of time.
fn batches(events: &[PhoneEvent], size: usize) -> Vec<Vec<PhoneEvent>> {
    let (mut open, mut done) = (BTreeMap::<u64, Vec<PhoneEvent>>::new(), Vec::new());
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

/// Bytes of all records' values.
async fn produce(batches: &[Vec<PhoneEvent>], partitions: i32) -> usize {
    let kafka = Kafka::builder(ADDRESS).connect().await.unwrap();
    let topic = NewTopic::new(TOPIC, partitions, 1).unwrap();
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
