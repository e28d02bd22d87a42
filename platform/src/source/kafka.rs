//! Events from a topic of Apache Kafka: one record is one batch of events.
//!
//! ```text
//! reader (a task): connect, poll --records, each with its assignment's generation--> a channel of one poll --> next
//!                                                                                   acknowledge --> offsets of the group
//! ```
//!
//! The client is `krafka`, not `rdkafka` (librdkafka). Both have what the trait needs: groups with cooperative rebalancing,
//! offsets committed by hand and by partition, pauses, static membership, TLS and SASL. `krafka` tells a topic's id, which the
//! safe interface of `rdkafka` does not: without it the records of a topic that was made anew are taken for those of the one
//! before. It is Rust alone, TLS included, where `rdkafka` builds C by cmake and OpenSSL. And dropping the future of a poll loses no
//! record. The classic group protocol is used: brokers before 4.0 have no other, and in the newer one a static member that was
//! killed is locked out until its session has passed.
//!
//! What is read again after a crash or by another member does no harm: the lake knows positions, and a person's state knows
//! events. So offsets are committed after store and lake have the records, and an offset that cannot be committed now is
//! committed later.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use foretap::{Error, ErrorKind, Result};
use krafka::admin::{
    AdminClient, ConfigResource, DescribeClusterOptions, DescribeConfigsOptions, DescribeTopicsOptions,
};
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, ConsumerRecord, IsolationLevel, OffsetAndMetadata,
    PartitionAssignmentStrategy, TopicPartition,
};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError};
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{EventSource, Record, RecordKind};
use crate::config::{KAFKA_PASSWORD, KafkaConfig, KafkaMechanism, KafkaSecurity};
use crate::ingest::now_us;
use crate::lake::Positions;

/// Bytes of one fetch, and of one partition's part of it. At most three polls are in memory: one that is handed out, one in the
/// channel, and one that waits for room there. A batch of records that is larger still comes by itself.
const FETCH_BYTES: i32 = 4 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// How long a poll waits for records.
const POLL: Duration = Duration::from_secs(1);
/// How often it is asked whether the topic is still the same.
const SAME_TOPIC: Duration = Duration::from_secs(1);
/// After so long without a record, or with nothing but errors, it is asked whether there are some; then the client is made anew.
const STALLED: Duration = Duration::from_secs(60);
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// The reading end of a topic, as one member of a group. Its offsets are those of the group.
pub struct KafkaSource {
    records: mpsc::Receiver<Result<Vec<Polled>>>,
    /// Polled, and not handed out yet.
    waiting: VecDeque<Polled>,
    shared: Arc<Shared>,
    /// After offsets could not be committed: until then nothing is tried, and lake and store do not wait for it.
    not_before: Instant,
    /// Whether some could not be committed.
    owes: bool,
    reader: JoinHandle<()>,
}

/// A record, and the generation of the assignment that it came under.
struct Polled {
    partition: i32,
    generation: u64,
    record: Record,
}

/// What the reader, its rebalance listener and the source share.
#[derive(Default)]
struct Shared {
    assigned: Mutex<Assigned>,
    client: Mutex<Option<Arc<Client>>>,
}

/// The partitions that this member has.
#[derive(Default)]
struct Assigned {
    generation: u64,
    parts: BTreeMap<i32, Part>,
}

/// One partition, since it was assigned.
#[derive(Default)]
struct Part {
    generation: u64,
    /// Where the next record is expected; unknown until the first one where the group had no offset.
    expected: Option<u64>,
    /// Whether the group was asked for its offset.
    is_known: bool,
    /// Offsets of the first and the last record that were handed out.
    handed_out: Option<(u64, u64)>,
    /// The offset that the group is to have, and the one that it has.
    acknowledged: u64,
    committed: u64,
}

/// A connection.
struct Client {
    consumer: Consumer,
    admin: AdminClient,
    topic: String,
    topic_id: [u8; 16],
    /// `kafka/<cluster's id>/<topic's id>`, or the brokers and the topic where there is none.
    name: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaSource {
    /// A source that connects when it can: until then, and while no broker answers, it has no records. This must run inside a
    /// Tokio runtime.
    ///
    /// # Errors
    /// The password's file or a certificate's cannot be read.
    pub fn open(config: &KafkaConfig) -> Result<Self> {
        let auth = auth(config)?;
        let shared = Arc::new(Shared::default());
        let (sender, records) = mpsc::channel(1);
        let reader = Reader {
            config: config.clone(),
            auth,
            shared: Arc::clone(&shared),
            sender,
            kind: RecordKind::of(config.encoding),
        };
        let reader = tokio::spawn(reader.run());
        Ok(Self {
            records,
            waiting: VecDeque::new(),
            shared,
            not_before: Instant::now(),
            owes: false,
            reader,
        })
    }

    /// Partitions that this member has at the moment.
    pub fn assigned(&self) -> Vec<i32> {
        lock(&self.shared.assigned).parts.keys().copied().collect()
    }

    /// Commits what is acknowledged and not committed yet. What fails is tried again with the next.
    async fn commit(&mut self) {
        if Instant::now() < self.not_before {
            return;
        }
        let Some(client) = lock(&self.shared.client).clone() else {
            // Made anew: the group's offsets are asked for again.
            self.owes = false;
            return;
        };
        let due: Vec<(i32, u64, u64)> = lock(&self.shared.assigned)
            .parts
            .iter()
            .filter(|(_, part)| part.acknowledged > part.committed)
            .map(|(partition, part)| (*partition, part.generation, part.acknowledged))
            .collect();
        if due.is_empty() {
            self.owes = false;
            return;
        }
        let offsets = due.iter().map(|(partition, _, offset)| {
            let offset = i64::try_from(*offset).unwrap_or(i64::MAX);
            (TopicPartition::new(&*client.topic, *partition), OffsetAndMetadata::new(offset))
        });
        let commit = async {
            // An offset of a topic that is gone would hide records of the one that has its name now.
            if !client.is_same_topic().await? {
                return Ok(false);
            }
            client.consumer.commit_offsets(offsets).await.map(|()| true)
        };
        match tokio::time::timeout(REQUEST, commit).await {
            Ok(Ok(true)) => {
                self.owes = false;
                let mut assigned = lock(&self.shared.assigned);
                for (partition, generation, offset) in due {
                    let part = assigned.parts.get_mut(&partition);
                    if let Some(part) = part.filter(|part| part.generation == generation) {
                        part.committed = offset;
                    }
                }
            }
            Ok(Ok(false)) => self.owes = false,
            Ok(Err(error)) => self.later(&error),
            Err(_) => self.later(&"no answer in time"),
        }
    }

    fn later(&mut self, error: &dyn std::fmt::Display) {
        self.owes = true;
        self.not_before = Instant::now() + REQUEST;
        counter!("foretap_kafka_errors_total", "what" => "commit").increment(1);
        tracing::warn!(
            %error,
            "offsets could not be committed: they are later, and until then their records are read again after a crash"
        );
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.reader.abort();
        // The client's listener holds what is shared.
        *lock(&self.shared.client) = None;
    }
}

#[async_trait]
impl EventSource for KafkaSource {
    async fn next(&mut self, budget: usize) -> Result<Vec<Record>> {
        loop {
            if self.waiting.is_empty() {
                tokio::select! {
                    polled = self.records.recv() => match polled {
                        Some(polled) => self.waiting = polled?.into(),
                        None => return Err(Error::new(ErrorKind::Io, "Kafka's reader ended early")),
                    },
                    () = tokio::time::sleep_until(self.not_before.into()), if self.owes => self.commit().await,
                }
            }
            let mut assigned = lock(&self.shared.assigned);
            let (mut records, mut bytes) = (Vec::new(), 0);
            while bytes < budget
                && let Some(polled) = self.waiting.pop_front()
            {
                // Revoked meanwhile: whoever has the partition now reads it from the last committed offset.
                let part = assigned.parts.get_mut(&polled.partition);
                let Some(part) = part.filter(|part| part.generation == polled.generation) else { continue };
                let position = polled.record.position;
                part.handed_out = Some((part.handed_out.map_or(position, |(first, _)| first), position));
                bytes += polled.record.bytes.len();
                records.push(polled.record);
            }
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// Never fails: what cannot be committed now is committed later. A position of a partition that is no longer assigned, or
    /// that was assigned anew and not handed out since, is dropped: it would set back its new owner.
    async fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        {
            let client = lock(&self.shared.client).clone();
            let mut assigned = lock(&self.shared.assigned);
            for (name, last) in positions.iter() {
                let partition = client.as_ref().and_then(|client| client.partition_of(name));
                let part = partition.and_then(|partition| assigned.parts.get_mut(&partition));
                let Some(part) = part else { continue };
                match part.handed_out {
                    Some((first, newest)) if first <= last => {
                        part.acknowledged = part.acknowledged.max(last.min(newest) + 1);
                    }
                    _ => tracing::debug!(name, last, "a position of an older assignment was dropped"),
                }
            }
        }
        self.commit().await;
        Ok(())
    }

    async fn close(&mut self) {
        self.reader.abort();
        let client = lock(&self.shared.client).take();
        if let Some(client) = client {
            let closed = tokio::time::timeout(REQUEST, client.consumer.close()).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::warn!(
                    "the group was not left: it gives the partitions away when the session has passed"
                );
            }
        }
    }
}

impl Client {
    async fn connect(config: &KafkaConfig, auth: AuthConfig, listener: Listener) -> Outcome<Self> {
        let brokers = config.brokers.replace(' ', "");
        let kafka = kafka(&brokers, auth).await?;
        let admin = kafka.admin();
        let cluster = cluster_id(&admin).await?;
        let topic_id = topic_id(&admin, &config.topic).await?;
        let named = match topic_id {
            NO_ID => config.topic.clone(),
            id => uuid::Uuid::from_bytes(id).to_string(),
        };
        let name = format!("kafka/{}/{named}", cluster.unwrap_or(brokers));
        let session = Duration::from_secs(config.session_secs);
        let mut consumer = kafka
            .consumer(&*config.group)
            .enable_auto_commit(false)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted)
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            .session_timeout(session)
            .heartbeat_interval(session / 3)
            .fetch_max_bytes(FETCH_BYTES)
            .max_partition_fetch_bytes(PARTITION_BYTES)
            // A poll hands out all of a fetch, which is bounded above: nothing stays behind in the client.
            .max_poll_records(-1)
            .metrics_push(false)
            .rebalance_listener(listener);
        if let Some(instance) = &config.instance {
            consumer = consumer.group_instance_id(&**instance);
        }
        let consumer = consumer.build().await?;
        consumer.subscribe([&*config.topic]).await?;
        Ok(Self { consumer, admin, topic: config.topic.clone(), topic_id, name })
    }

    async fn is_same_topic(&self) -> Outcome<bool> {
        match topic_id(&self.admin, &self.topic).await {
            Ok(id) => Ok(id == self.topic_id),
            Err(KrafkaError::UnknownTopic { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn partition_name(&self, partition: i32) -> Arc<str> {
        format!("{}/{partition}", self.name).into()
    }

    fn partition_of(&self, name: &str) -> Option<i32> {
        name.strip_prefix(&*self.name)?.strip_prefix('/')?.parse().ok()
    }

    /// Whether a partition has records that were not polled.
    async fn is_behind(&self, partitions: Vec<i32>) -> Outcome<bool> {
        for partition in partitions {
            let (_, end) = self.consumer.fetch_watermarks(&self.topic, partition).await?;
            if self.consumer.position(&self.topic, partition).await.is_some_and(|position| position < end) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

type Outcome<T> = std::result::Result<T, KrafkaError>;

const NO_ID: [u8; 16] = [0; 16];

async fn kafka(brokers: &str, auth: AuthConfig) -> Outcome<Kafka> {
    Kafka::builder(brokers).client_id("foretap").security(auth).request_timeout(REQUEST).connect().await
}

async fn cluster_id(admin: &AdminClient) -> Outcome<Option<String>> {
    let cluster = admin.describe_cluster(DescribeClusterOptions::default()).await?;
    Ok(Some(cluster.cluster_id).filter(|id| !id.is_empty()))
}

/// All zeros where the cluster gives topics no ids.
async fn topic_id(admin: &AdminClient, topic: &str) -> Outcome<[u8; 16]> {
    let mut found = admin.describe_topics([topic], DescribeTopicsOptions::default()).await?;
    match found.remove(topic) {
        Some(Ok(described)) => Ok(described.topic_id),
        Some(Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. })) => {
            Err(KrafkaError::UnknownTopic { topic: topic.to_owned() })
        }
        Some(Err(error)) => Err(error),
        None => Err(KrafkaError::UnknownTopic { topic: topic.to_owned() }),
    }
}

/// Keeps [`Assigned`] as the group has it.
struct Listener(Arc<Shared>);

impl Listener {
    fn remove(&self, partitions: &[TopicPartition]) {
        let mut assigned = lock(&self.0.assigned);
        for lost in partitions {
            assigned.parts.remove(&lost.partition);
        }
        gauge!("foretap_kafka_partitions").set(assigned.parts.len() as f64);
    }
}

impl ConsumerRebalanceListener for Listener {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        let mut assigned = lock(&self.0.assigned);
        for new in partitions {
            assigned.generation += 1;
            let part = Part { generation: assigned.generation, ..Part::default() };
            assigned.parts.insert(new.partition, part);
        }
        gauge!("foretap_kafka_partitions").set(assigned.parts.len() as f64);
        tracing::info!(new = partitions.len(), all = assigned.parts.len(), "partitions were assigned");
    }

    /// Nothing is waited for: what was handed out is committed to lake and store as ever, and its new owner reads it again.
    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        self.remove(partitions);
        tracing::info!(partitions = partitions.len(), "partitions were revoked");
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        self.remove(partitions);
        tracing::warn!(
            partitions = partitions.len(),
            "partitions were lost: no sign of life reached the group in time"
        );
    }
}

/// The task that polls.
struct Reader {
    config: KafkaConfig,
    auth: AuthConfig,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Result<Vec<Polled>>>,
    kind: RecordKind,
}

/// Why a client is given up.
enum End {
    /// Another one is made.
    Anew(&'static str),
    /// Nobody listens any more.
    Closed,
    /// Another process has this one's place in the group.
    Fenced(String),
}

impl Reader {
    async fn run(self) {
        loop {
            let connected =
                Client::connect(&self.config, self.auth.clone(), Listener(Arc::clone(&self.shared)));
            match connected.await {
                Ok(client) => {
                    let client = Arc::new(client);
                    *lock(&self.shared.client) = Some(Arc::clone(&client));
                    tracing::info!(name = client.name, "Kafka answers");
                    let end = self.read(&client).await;
                    *lock(&self.shared.client) = None;
                    lock(&self.shared.assigned).parts.clear();
                    let _ = tokio::time::timeout(REQUEST, client.consumer.close()).await;
                    match end {
                        End::Anew(why) => tracing::warn!("Kafka's client is made anew: {why}"),
                        End::Closed => return,
                        End::Fenced(message) => {
                            let error = Error::new(ErrorKind::Config, message)
                                .field("kafka.instance")
                                .next_step("give each process an `instance` of its own");
                            let _ = self.sender.send(Err(error)).await;
                            return;
                        }
                    }
                }
                Err(error) => {
                    counter!("foretap_kafka_errors_total", "what" => "connect").increment(1);
                    tracing::error!(%error, "Kafka cannot be read; trying again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Polls until the client is of no use any more.
    async fn read(&self, client: &Client) -> End {
        let mut asked = Instant::now();
        let mut progress = Instant::now();
        loop {
            let polled = client.consumer.poll(POLL).await;
            let records = match polled {
                Ok(records) => records,
                Err(
                    KrafkaError::Fenced { message }
                    | KrafkaError::Broker { code: ErrorCode::FencedInstanceId, message },
                ) => {
                    return End::Fenced(message);
                }
                Err(error) if error.is_fatal() => {
                    tracing::error!(%error, "Kafka's client failed");
                    return End::Anew("it failed for good");
                }
                Err(error) => {
                    counter!("foretap_kafka_errors_total", "what" => "poll").increment(1);
                    tracing::error!(%error, "Kafka cannot be read at the moment; trying again");
                    if progress.elapsed() > STALLED {
                        return End::Anew("there were nothing but errors for a minute");
                    }
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if let Err(error) = self.ask_offsets(client).await {
                counter!("foretap_kafka_errors_total", "what" => "offsets").increment(1);
                tracing::warn!(%error, "the group's offsets could not be read: a gap at their end would not be noticed");
            }
            let (polled, is_broken) = self.check(client, records);
            // Records go on as those of the topic that was described; where their offsets jump, and now and then, it is asked
            // whether it is another one by now.
            if is_broken || asked.elapsed() > SAME_TOPIC {
                match client.is_same_topic().await {
                    Ok(true) => asked = Instant::now(),
                    Ok(false) => return End::Anew("the topic is gone, or was made anew"),
                    Err(error) if is_broken => {
                        tracing::error!(%error, "the topic cannot be described");
                        return End::Anew(
                            "offsets jumped, and it is not known whether the topic is the same",
                        );
                    }
                    Err(error) => tracing::warn!(%error, "the topic cannot be described"),
                }
            }
            if !polled.is_empty() {
                if self.sender.send(Ok(polled)).await.is_err() {
                    return End::Closed;
                }
                progress = Instant::now();
            } else if progress.elapsed() > STALLED {
                let partitions = lock(&self.shared.assigned).parts.keys().copied().collect();
                match client.is_behind(partitions).await {
                    Ok(false) => progress = Instant::now(),
                    Ok(true) => {
                        counter!("foretap_kafka_errors_total", "what" => "stalled").increment(1);
                        return End::Anew("it hands out nothing although there are records");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the topic's ends cannot be read");
                        return End::Anew(
                            "there was nothing for a minute, and it is not known whether there are records",
                        );
                    }
                }
            }
        }
    }

    /// Where the group is, of partitions that were assigned since the last time.
    async fn ask_offsets(&self, client: &Client) -> Outcome<()> {
        let new: Vec<i32> = {
            let assigned = lock(&self.shared.assigned);
            assigned
                .parts
                .iter()
                .filter(|(_, part)| !part.is_known)
                .map(|(partition, _)| *partition)
                .collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let asked: Vec<(&str, i32)> = new.iter().map(|partition| (&*client.topic, *partition)).collect();
        let found = client.consumer.committed(&asked).await?;
        let mut assigned = lock(&self.shared.assigned);
        for partition in new {
            let Some(part) = assigned.parts.get_mut(&partition) else { continue };
            let committed = found.get(&(client.topic.clone(), partition));
            part.is_known = true;
            part.expected = committed.and_then(|position| u64::try_from(position.offset).ok());
            part.committed = part.expected.unwrap_or(0);
        }
        Ok(())
    }

    /// Records as the platform has them. Offsets that jump are logged and counted; `true` where some did.
    fn check(&self, client: &Client, records: Vec<ConsumerRecord>) -> (Vec<Polled>, bool) {
        let mut assigned = lock(&self.shared.assigned);
        let (mut polled, mut is_broken) = (Vec::with_capacity(records.len()), false);
        let mut names: BTreeMap<i32, Arc<str>> = BTreeMap::new();
        for record in records {
            let (Some(part), Ok(position)) =
                (assigned.parts.get_mut(&record.partition), u64::try_from(record.offset))
            else {
                continue;
            };
            let expected = part.expected.unwrap_or(position);
            if position < expected {
                is_broken = true;
                tracing::error!(
                    partition = record.partition,
                    from = expected,
                    to = position,
                    "the partition's offsets went back: it was cut, or made anew"
                );
            } else if position > expected + TRANSACTION_ENDS {
                is_broken = true;
                counter!("foretap_kafka_missing_records_total").increment(position - expected);
                tracing::warn!(
                    partition = record.partition,
                    from = expected,
                    to = position,
                    "records are missing: they were removed by age, size or compaction before they were read, or a transaction \
                     was aborted"
                );
            }
            part.expected = Some(position + 1);
            let name =
                names.entry(record.partition).or_insert_with(|| client.partition_name(record.partition));
            polled.push(Polled {
                partition: record.partition,
                generation: part.generation,
                record: Record {
                    partition: Arc::clone(name),
                    position,
                    // Records of a format before 2015 have no time.
                    received_at_us: match record.timestamp {
                        ..0 => now_us(),
                        ms => ms.saturating_mul(1_000),
                    },
                    kind: self.kind,
                    file: None,
                    // One without a value is a batch that cannot be read: a dead letter.
                    bytes: record.value.unwrap_or_default(),
                },
            });
        }
        (polled, is_broken)
    }
}

/// The end of a transaction takes an offset and is no record.
const TRANSACTION_ENDS: u64 = 8;

/// How the brokers are spoken to.
fn auth(config: &KafkaConfig) -> Result<AuthConfig> {
    let path = |path: &Path| path.display().to_string();
    let mut tls = TlsConfig::new();
    if let Some(file) = &config.ca_file {
        tls = tls.with_ca_cert(path(file));
    }
    if let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) {
        tls = tls.with_client_cert(path(certificate), path(key));
    }
    let sasl = || -> Result<AuthConfig> {
        let password = password(config)?;
        Ok(match config.mechanism {
            KafkaMechanism::Plain => AuthConfig::sasl_plain(&*config.username, password),
            KafkaMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(&*config.username, password),
            KafkaMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(&*config.username, password),
        })
    };
    Ok(match config.security {
        KafkaSecurity::Plaintext => AuthConfig::plaintext(),
        KafkaSecurity::Tls => AuthConfig::ssl(tls),
        KafkaSecurity::SaslPlaintext => sasl()?,
        KafkaSecurity::SaslTls => sasl()?.with_tls(tls),
    })
}

fn password(config: &KafkaConfig) -> Result<String> {
    if let Ok(password) = std::env::var(KAFKA_PASSWORD) {
        return Ok(password);
    }
    let Some(file) = &config.password_file else {
        return Err(Error::new(ErrorKind::Config, "there is no password")
            .field("kafka.password_file")
            .next_step(format!("name its file, or set {KAFKA_PASSWORD}")));
    };
    let read = std::fs::read_to_string(file).map_err(|error| Error::io(file, "read the password", error))?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether a broker answers and has the topic, as a line for whoever runs the program.
///
/// # Errors
/// None answers, the topic is not there, or this process may not read it.
pub async fn check_kafka(config: &KafkaConfig) -> Result<String> {
    let auth = auth(config)?;
    let failed = |what: String, next_step: &str| Error::new(ErrorKind::Io, what).next_step(next_step);
    let checked = async {
        let kafka = kafka(&config.brokers.replace(' ', ""), auth).await?;
        let admin = kafka.admin();
        let cluster = cluster_id(&admin).await?;
        let mut topics = admin.describe_topics([&*config.topic], DescribeTopicsOptions::default()).await?;
        let topic = topics.remove(&*config.topic);
        let named = ConfigResource::topic(&*config.topic);
        // Who may not see them may read the topic all the same.
        let configs = admin.describe_configs([named], DescribeConfigsOptions::default()).await.ok();
        let stamps = configs.and_then(|configs| {
            let entries = configs.into_values().next()?.ok()?;
            entries.iter().find(|entry| entry.name == "message.timestamp.type")?.value.clone()
        });
        Ok::<_, KrafkaError>((cluster, topic, stamps))
    };
    let (cluster, topic, stamps) = match tokio::time::timeout(2 * REQUEST, checked).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return Err(failed(error.to_string(), "look at `brokers` and `security` in [kafka]"));
        }
        Err(_) => {
            return Err(failed(
                format!("{} did not answer in time", config.brokers),
                "look at `brokers` in [kafka]",
            ));
        }
    };
    let topic = topic.and_then(Outcome::ok).ok_or_else(|| {
        failed(
            format!("there is no topic `{}`, or it may not be seen", config.topic),
            "make it, or give another `topic` in [kafka]",
        )
    })?;
    let clock = match stamps.as_deref() {
        Some("CreateTime") => {
            "; its records have their producers' clocks: set message.timestamp.type=LogAppendTime"
        }
        _ => "",
    };
    let cluster = cluster.unwrap_or_else(|| config.brokers.clone());
    Ok(format!("cluster {cluster}, topic `{}` of {} partitions{clock}", config.topic, topic.partitions.len()))
}
