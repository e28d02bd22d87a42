//! The way in by a topic of Apache Kafka, beside Kafka's own `kafka-consumer-perf-test` on the same topic. The broker has the same
//! two cores.

use std::path::Path;
use std::time::{Duration, Instant};

use foretap_platform::config::KafkaConfig;
use foretap_platform::say;
use foretap_platform::source::{EventSource as _, KafkaSource};
use foretap_platform::wire::{PhoneEvent, encode};
use serde_json::json;

use crate::door::start;
use crate::peer::{Broker, TOPIC, batches, produce};
use crate::{Arguments, Rates, most_resident_mb};

/// The figures, of a broker of its own.
pub fn measure(events: &[PhoneEvent], arguments: &Arguments) -> serde_json::Map<String, serde_json::Value> {
    let broker = Broker::new(false);
    let folder = tempfile::tempdir().unwrap();
    rates(events, arguments, &broker, folder.path())
}

fn rates(
    events: &[PhoneEvent],
    arguments: &Arguments,
    broker: &Broker,
    folder: &Path,
) -> serde_json::Map<String, serde_json::Value> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = batches(events, arguments.record);
    let bytes: usize = batches.iter().map(|batch| encode("k1", batch).len()).sum();
    runtime.block_on(async {
        broker.make_topic(arguments.partitions).await;
        produce(&broker.client().await, &batches).await;
    });
    let records = batches.len();
    say(&format!("{records} records of {:.1} MB in {} partitions", bytes as f64 / 1e6, arguments.partitions));

    let count = events.len() as f64;
    let (mut perf, mut source, mut known, mut kept, mut rss_mb) = (vec![], vec![], vec![], vec![], 0.0_f64);
    // In turn, so that a slow minute of the machine meets all of them.
    for round in 0..arguments.repeat {
        perf.push(count / consumer_perf(broker, records, round));
        source.push(count / runtime.block_on(source_alone(broker, records, round)).as_secs_f64());
        let up = up(broker, &folder.join(format!("data-{round}")), events.len(), round);
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
fn consumer_perf(broker: &Broker, records: usize, round: usize) -> f64 {
    let (number, group) = (records.to_string(), format!("perf-{round}"));
    let report = broker.tool(
        "org.apache.kafka.tools.ConsumerPerformance",
        &[
            "--bootstrap-server",
            &broker.address(),
            "--topic",
            TOPIC,
            "--num-records",
            &number,
            "--group",
            &group,
        ],
    );
    // start, end, MB, MB/s, records, records/s, ms of rebalancing, ms of fetching, and the last two of fetching alone.
    let cells: Vec<&str> = report.lines().last().unwrap().split(", ").collect();
    cells[7].trim().parse::<f64>().unwrap() / 1e3
}

async fn source_alone(broker: &Broker, records: usize, round: usize) -> Duration {
    let config = KafkaConfig {
        brokers: broker.address(),
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

fn up(broker: &Broker, folder: &Path, events: usize, round: usize) -> Took {
    let (address, group) = (broker.address(), format!("foretap-{round}"));
    let settings = [
        ("FORETAP_KAFKA_BROKERS", &*address),
        ("FORETAP_KAFKA_TOPIC", TOPIC),
        ("FORETAP_KAFKA_GROUP", &group),
    ];
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
