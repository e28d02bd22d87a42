//! Events from a real Apache Kafka, which each test starts for itself (`tests/peers/kafka.sh`). Skipped without
//! `FORETAP_TEST_KAFKA=1`, except in CI.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::kafka::{Broker, TOPIC, batches, borrowed, produce};
use common::{Up, assert_kept, events, runtime};
use foretap_platform::config::KafkaConfig;
use foretap_platform::lake::{Lake, Positions, TableName, row_count};
use foretap_platform::source::{EventSource as _, KafkaSource, Record, check_kafka};
use foretap_platform::wire::PhoneEvent;
use krafka::admin::DeleteTopicsOptions;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Waits until `is_done`, and tells `what` when it takes too long.
fn wait(what: &str, limit: Duration, mut is_done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_done() {
        assert!(started.elapsed() < limit, "{what} within {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_and_a_broker_that_restarts() {
    let Some(broker) = Broker::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    // One day: what waits in Kafka while the door brings what came later is never too late for a state.
    let events = events(18, 1);
    let batches = batches(&events, 10);
    let mut settings = broker.settings();
    // Commits all the time, so that kills fall into them.
    settings.push(("FORETAP_INGEST_COMMIT_SECS".to_owned(), "0".to_owned()));
    let settings = borrowed(&settings);
    // It starts before there is a topic.
    let mut up = Up::start(folder.path(), &settings);
    runtime.block_on(broker.make_topic(3));
    let parts: Vec<&[Vec<PhoneEvent>]> = batches.chunks(batches.len().div_ceil(16)).collect();
    let mut produced = 0;
    for (number, part) in parts.iter().enumerate() {
        // People come by Kafka, by HTTP, or by both.
        if number % 4 != 1 {
            runtime.block_on(async { produce(&broker.client().await, part).await });
            produced += part.len();
        }
        if number % 4 < 2 {
            let events: Vec<PhoneEvent> = part.iter().flatten().cloned().collect();
            up.client.send(&events, "k1", (50, None), |_| {}).unwrap();
        }
        match number {
            4 | 6 | 9 | 11 | 14 => {
                std::thread::sleep(Duration::from_millis(random.random_range(0..800)));
                up.kill();
                up = Up::start(folder.path(), &settings);
            }
            8 => {
                broker.end();
                // What comes by HTTP is kept meanwhile.
                up.client.send(&part[0], "k1", (50, None), |_| {}).unwrap();
                up.client.flush().unwrap();
                broker.begin();
            }
            _ => {}
        }
    }
    let started = Instant::now();
    loop {
        up.client.flush().unwrap();
        let offsets = runtime.block_on(broker.offsets());
        if offsets.values().all(|(committed, end)| committed == end)
            && offsets.values().map(|(_, end)| end).sum::<i64>() == produced as i64
        {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(90), "the group is not at the end: {offsets:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = up.client.status().unwrap();
    assert_eq!((status.dead, status.late), (0, 0));
    up.stop();
    assert_kept(folder.path(), &events);
}

#[test]
fn a_record_that_cannot_be_read_is_a_dead_letter_and_the_next_goes_on() {
    let Some(broker) = Broker::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let missing = check_kafka(&broker.config()).await.unwrap_err().to_string();
        assert!(missing.contains("no topic `events`"), "{missing}");
        let nobody = KafkaConfig { brokers: "127.0.0.1:1".to_owned(), ..broker.config() };
        let error = check_kafka(&nobody).await.unwrap_err().to_string();
        assert!(error.contains("`brokers`"), "{error}");
        broker.make_topic(1).await;
        let found = check_kafka(&broker.config()).await.unwrap();
        assert!(found.contains("1 partitions") && !found.contains("CreateTime"), "{found}");
    });
    let event = |second: u32, app: &str| {
        format!(
            r#"{{"user":"u00000000000000aa","at":"2026-11-20T08:00:{second:02}Z","signal":"launch","app":"{app}"}}"#
        )
    };
    let batch =
        |events: &[String]| format!(r#"{{"version":1,"key_id":"k1","events":[{}]}}"#, events.join(","));
    let long = batch(&vec![event(9, "org.example.long"); 900]);
    let records = [
        batch(&[event(1, "org.example.mail")]),
        "{ damaged".to_owned(),
        // One of two events: the other is used.
        batch(&[event(2, "jane@example.org"), event(3, "org.example.maps")]),
        long,
        "NULL".to_owned(),
        batch(&[event(4, "org.example.chat")]),
    ];
    // By Kafka's own producer.
    let producer = [
        "tool",
        broker.path(),
        "org.apache.kafka.tools.ConsoleProducer",
        "--bootstrap-server",
        &broker.address(),
        "--topic",
        TOPIC,
        "--property",
        "null.marker=NULL",
        "--property",
        "parse.key=true",
        "--property",
        "key.separator=#",
    ];
    let lines: String = records.iter().map(|record| format!("u00000000000000aa#{record}\n")).collect();
    broker.script(&producer, Some(&lines));
    let mut settings = broker.settings();
    settings.push(("FORETAP_KAFKA_ENCODING".to_owned(), "json".to_owned()));
    settings.push(("FORETAP_HTTP_MAX_BATCH_BYTES".to_owned(), "65536".to_owned()));
    let up = Up::start(folder.path(), &borrowed(&settings));
    wait("all records are read", Duration::from_secs(60), || up.client.status().unwrap().received == 7);
    up.client.flush().unwrap();
    let status = up.client.status().unwrap();
    assert_eq!((status.applied, status.dead), (3, 4));
    assert_eq!(runtime.block_on(broker.offsets())[&0], (6, 6));
    up.stop();
    runtime.block_on(async {
        let lake = Lake::open(&folder.path().join("lake"), 16).await.unwrap();
        assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 3);
        assert_eq!(row_count(&lake, TableName::DeadLetters).await.unwrap(), 4);
    });
}

/// What a member of a group has read.
struct Member {
    source: KafkaSource,
    read: Vec<Record>,
}

impl Member {
    fn new(broker: &Broker) -> Self {
        Self { source: KafkaSource::open(&broker.config()).unwrap(), read: Vec::new() }
    }

    /// Reads for a while, small parts at a time.
    async fn read(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while let Ok(records) = tokio::time::timeout_at(until, self.source.next(500)).await {
            self.read.extend(records.unwrap());
        }
    }

    fn positions(&self) -> Positions {
        let mut positions = Positions::default();
        self.read.iter().for_each(|record| positions.add(&record.partition, record.position));
        positions
    }
}

fn seen<'a>(members: impl IntoIterator<Item = &'a Member>) -> BTreeSet<(&'a str, u64)> {
    let records = members.into_iter().flat_map(|member| &member.read);
    records.map(|record| (&*record.partition, record.position)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_loses_nothing_and_sets_nothing_back() {
    let Some(broker) = Broker::start() else { return };
    broker.make_topic(4).await;
    let kafka = broker.client().await;
    let events = events(8, 2);
    let batches = batches(&events, 2);
    let (first, rest) = batches.split_at(batches.len() / 2);
    produce(&kafka, first).await;
    let mut a = Member::new(&broker);
    while a.source.assigned().len() < 4 || a.read.len() < 40 {
        a.read(Duration::from_millis(50)).await;
    }
    let early = a.positions();
    // Another member: two partitions move. What is in between was handed out and not acknowledged.
    let mut b = Member::new(&broker);
    let started = Instant::now();
    while (a.source.assigned().len(), b.source.assigned().len()) != (2, 2) {
        assert!(started.elapsed() < Duration::from_secs(30), "two partitions each");
        a.read(Duration::from_millis(100)).await;
        b.read(Duration::from_millis(100)).await;
    }
    let kept = a.source.assigned();
    a.source.acknowledge(&early).await.unwrap();
    let offsets = broker.offsets().await;
    assert!(
        offsets.iter().all(|(partition, (committed, _))| kept.contains(partition) || *committed < 0),
        "a position of a partition that moved was committed: {offsets:?}, {kept:?}"
    );
    produce(&kafka, rest).await;
    let started = Instant::now();
    while seen([&a, &b]).len() < batches.len() {
        assert!(started.elapsed() < Duration::from_secs(30), "{} of {}", seen([&a, &b]).len(), batches.len());
        a.read(Duration::from_millis(100)).await;
        b.read(Duration::from_millis(100)).await;
    }
    a.source.acknowledge(&a.positions()).await.unwrap();
    b.source.acknowledge(&b.positions()).await.unwrap();
    let offsets = broker.offsets().await;
    let end: i64 = offsets.values().map(|(_, end)| end).sum();
    assert!(offsets.values().all(|(committed, end)| committed == end), "{offsets:?}");
    assert_eq!(end, batches.len() as i64, "{offsets:?}");
    // One dies without a word, after more was read that nobody acknowledged: the other reads it again.
    produce(&kafka, first).await;
    b.read(Duration::from_millis(500)).await;
    let Member { source, read } = a;
    drop(source);
    let started = Instant::now();
    while b.source.assigned().len() < 4 || !is_at_end(&broker, &mut b).await {
        assert!(started.elapsed() < Duration::from_secs(60), "one member has all partitions");
        b.read(Duration::from_millis(100)).await;
    }
    b.read.extend(read);
    assert_eq!(seen([&b]).len(), batches.len() + first.len());
    // The same record, read by whomever, has the same time: that of the broker.
    let mut times: BTreeMap<(&str, u64), BTreeSet<i64>> = BTreeMap::new();
    for record in &b.read {
        times.entry((&record.partition, record.position)).or_default().insert(record.received_at_us);
    }
    assert!(times.values().all(|times| times.len() == 1));
    b.source.close().await;
}

/// Acknowledges all that was read, and says whether that is all there is.
async fn is_at_end(broker: &Broker, member: &mut Member) -> bool {
    let positions = member.positions();
    member.source.acknowledge(&positions).await.unwrap();
    broker.offsets().await.values().all(|(committed, end)| committed == end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_is_another_one() {
    let Some(broker) = Broker::start() else { return };
    broker.make_topic(1).await;
    let kafka = broker.client().await;
    let batches = batches(&events(2, 2), 2);
    let mut member = Member::new(&broker);
    produce(&kafka, &batches[..20]).await;
    while member.read.len() < 20 {
        member.read(Duration::from_millis(100)).await;
    }
    member.source.acknowledge(&member.positions()).await.unwrap();
    let deleted = kafka.admin().delete_topics([TOPIC], DeleteTopicsOptions::default()).await.unwrap();
    deleted.into_values().for_each(|deleted| deleted.unwrap());
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.make_topic(1).await;
    // More than the old one had: its offset would hide some of these.
    produce(&kafka, &batches[..30]).await;
    let started = Instant::now();
    while seen([&member]).len() < 50 {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", seen([&member]));
        member.read(Duration::from_millis(100)).await;
    }
    let names: BTreeSet<&str> = seen([&member]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("kafka/") && name.ends_with("/0")), "{names:?}");
}

#[test]
fn brokers_that_are_guarded_are_read_and_what_is_wrong_is_named() {
    use foretap_platform::config::{KafkaMechanism as Mechanism, KafkaSecurity as Security};
    let Some(broker) = Broker::start_guarded() else { return };
    let file = |name: &str| Some(std::path::Path::new(broker.path()).join(name));
    std::fs::write(file("password").unwrap(), "secret\n").unwrap();
    std::fs::write(file("wrong").unwrap(), "wrong").unwrap();
    let of = |further, security, mechanism| KafkaConfig {
        brokers: broker.address_at(further),
        security,
        mechanism,
        ca_file: file("ca.pem"),
        username: "phones".to_owned(),
        password_file: file("password"),
        ..broker.config()
    };
    let (certificate_file, key_file) = (file("client.pem"), file("client.key"));
    let tls = KafkaConfig { certificate_file, key_file, ..of(2, Security::Tls, Mechanism::Plain) };
    let scram = of(3, Security::SaslTls, Mechanism::ScramSha512);
    runtime().block_on(async {
        broker.make_topic(1).await;
        produce(&broker.client().await, &batches(&events(1, 1), 10)[..1]).await;
        let readable = [
            tls.clone(),
            of(3, Security::SaslTls, Mechanism::Plain),
            of(3, Security::SaslTls, Mechanism::ScramSha256),
            scram.clone(),
            of(4, Security::SaslPlaintext, Mechanism::ScramSha512),
        ];
        for (number, config) in readable.into_iter().enumerate() {
            let name = format!("{:?} {:?}", config.security, config.mechanism);
            let found = check_kafka(&config).await.map_err(|error| format!("{name}: {error}")).unwrap();
            assert!(found.contains("1 partitions"), "{name}: {found}");
            let config = KafkaConfig { group: format!("group-{number}"), ..config };
            let mut source = KafkaSource::open(&config).unwrap();
            let read = tokio::time::timeout(Duration::from_secs(30), source.next(1)).await.unwrap().unwrap();
            assert_eq!(read.len(), 1, "{name}");
            source.close().await;
        }
        let wrong = [
            ("no certificate", KafkaConfig { certificate_file: None, key_file: None, ..tls.clone() }),
            ("another authority", KafkaConfig { ca_file: file("client.pem"), ..scram.clone() }),
            ("no such authority", KafkaConfig { ca_file: file("none.pem"), ..scram.clone() }),
            ("wrong password", KafkaConfig { password_file: file("wrong"), ..scram.clone() }),
            ("nobody", KafkaConfig { username: "nobody".to_owned(), ..scram.clone() }),
            ("plaintext to TLS", KafkaConfig { security: Security::Plaintext, ..tls.clone() }),
            ("TLS to plaintext", KafkaConfig { brokers: broker.address(), ..tls.clone() }),
        ];
        for (name, config) in wrong {
            let error = check_kafka(&config).await.unwrap_err().to_string();
            eprintln!("{name}: {error}");
            assert!(error.contains("[kafka]") && !error.contains("secret"), "{name}: {error}");
        }
    });
}
