//! One TOML file says all: every key has a default that works on one machine. `foretap config --example` prints it with a
//! sentence a key; environment variables `FORETAP_SECTION_KEY` override it; a key that is not known is refused.

use std::path::{Path, PathBuf};

use foretap::router::Routing;
use foretap::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::s3::S3Location;

/// All settings. Paths that are not absolute are taken from the folder in which the program runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the embedded parts keep their files.
    pub data: DataConfig,
    /// The door for events and questions.
    pub http: HttpConfig,
    /// Who may ask for what.
    pub guard: GuardConfig,
    /// What is accepted, and when it is committed.
    pub ingest: IngestConfig,
    /// A person's state.
    pub store: StoreConfig,
    /// All events, for good.
    pub lake: LakeConfig,
    /// How questions are answered.
    pub answer: AnswerConfig,
    /// Events from Apache Kafka.
    pub kafka: KafkaConfig,
    /// Events from Amazon Kinesis.
    pub kinesis: KinesisConfig,
    /// Events from files.
    pub files: FilesConfig,
    /// How Amazon's services are reached, or servers that speak as they do.
    pub aws: AwsConfig,
}

/// See [`Config::data`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The folder of store, journal, lake and models.
    pub folder: PathBuf,
}

/// See [`Config::http`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port to listen on.
    pub listen: String,
    /// Bytes of a request's body, compressed as it arrives.
    pub max_body_bytes: usize,
    /// Bytes of a request's body once it is decompressed.
    pub max_batch_bytes: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Seconds for a TLS handshake, a connection's first byte, a request's head.
    pub head_secs: u64,
    /// Seconds for a request with events, a question or feedback, its body included.
    pub request_secs: u64,
    /// Seconds that a connection may be without a request.
    pub idle_secs: u64,
    /// Seconds that a connection may be used.
    pub max_age_secs: u64,
    /// Seconds that a stop goes on answering after `/readyz` has begun to say no.
    pub unready_secs: u64,
    /// Seconds that a stop waits for requests that are under way.
    pub drain_secs: u64,
    /// Which protocols of other model servers are answered, too, with commas between; empty: none. See [`Protocol`].
    pub protocols: String,
    /// The model's name in them.
    pub model_name: String,
    /// Rows of one request in them.
    pub max_rows: usize,
}

/// See [`HttpConfig::protocols`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The calls that Amazon SageMaker makes to a container.
    SageMaker,
    /// Open Inference Protocol 2, of KServe and Triton.
    OpenInference,
    /// TensorFlow Serving's REST interface.
    TensorFlowServing,
    /// TorchServe's calls for predictions and for looking at models.
    TorchServe,
}

impl Protocol {
    /// All of them, with their names in the settings.
    pub const ALL: [(&str, Self); 4] = [
        ("sagemaker", Self::SageMaker),
        ("open-inference", Self::OpenInference),
        ("tf-serving", Self::TensorFlowServing),
        ("torchserve", Self::TorchServe),
    ];
}

impl HttpConfig {
    /// The protocols that [`protocols`](Self::protocols) names.
    ///
    /// # Errors
    /// A name is none of them.
    pub fn answered(&self) -> Result<Vec<Protocol>> {
        let names = self.protocols.split(',').map(str::trim).filter(|name| !name.is_empty());
        let named = |name: &str| {
            let found = Protocol::ALL.iter().find(|(known, _)| *known == name);
            found.map(|(_, protocol)| *protocol).ok_or_else(|| {
                let known = Protocol::ALL.map(|(known, _)| known).join(", ");
                Error::new(ErrorKind::Config, format!("`{name}` is none of the protocols"))
                    .field("http.protocols")
                    .next_step(format!("name some of {known}, with commas between"))
            })
        };
        names.map(named).collect()
    }
}

/// See [`Config::guard`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Whether whoever asks must say who they are.
    pub authenticate: bool,
    /// Whether anybody may ask although the address is not of the loopback interface.
    pub allow_anybody: bool,
    /// The server's certificate, and those up to the authority's, as PEM.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, as PEM.
    pub key_file: Option<PathBuf>,
    /// Certificates that those of services come from, as PEM.
    pub client_ca_file: Option<PathBuf>,
    /// The file of API keys' hashes.
    pub api_keys_file: Option<PathBuf>,
    /// The issuer of tokens, as it names itself.
    pub issuer: String,
    /// For whom its tokens are.
    pub audience: String,
    /// The claim that names a role.
    pub role_claim: String,
    /// The claim that names the person that a device speaks for.
    pub user_claim: String,
    /// Seconds that clocks may differ.
    pub leeway_secs: u64,
    /// Certificates that the issuer's must come from, as PEM.
    pub issuer_ca_file: Option<PathBuf>,
    /// Requests a second of each caller; 0: any number.
    pub requests_per_sec: u32,
    /// Requests of each caller at once; 0: as many as in a second.
    pub burst: u32,
}

/// See [`Config::ingest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Events in one batch.
    pub max_events: usize,
    /// Seconds that a phone's clock may be ahead of ours; an event beyond is a dead letter.
    pub max_ahead_secs: u64,
    /// Seconds between two commits of lake and store, at most.
    pub commit_secs: u64,
    /// Bytes of events between two commits, at most.
    pub commit_bytes: usize,
}

/// See [`Config::store`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Where rows are kept.
    pub kind: StoreKind,
    /// The table of DynamoDB. Several processes may share it.
    pub table: String,
    /// Whether a table that is missing is made.
    pub create_table: bool,
    /// People whose state is kept in memory.
    pub cached_people: u64,
    /// The file of the key that seals each person's own key; made where it is missing. It is needed to read the store.
    pub key_file: Option<PathBuf>,
    /// The key of Amazon's KMS that seals the key in the file; without it the file holds the key itself.
    pub kms_key: Option<String>,
}

/// See [`StoreConfig::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// A file of this process alone.
    Redb,
    /// A table of Amazon DynamoDB.
    Dynamodb,
}

/// See [`Config::lake`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// The folder of the catalog, and of the tables' files if these are not on S3; without it `lake` in [`DataConfig::folder`].
    /// Several processes of a machine may share it, with one master key.
    pub folder: Option<PathBuf>,
    /// Where the tables' files are, as `s3://bucket/prefix`; empty: in the folder above.
    pub location: String,
    /// Where the catalog is.
    pub catalog: CatalogKind,
    /// Of a catalog on a server: its address up to `/v1`.
    pub catalog_uri: String,
    /// The server's name for the warehouse; empty where it has one alone.
    pub catalog_warehouse: String,
    /// Certificates that the server's must come from, as PEM; without it those of the public web.
    pub catalog_ca_file: Option<PathBuf>,
    /// The file of a token. [`LAKE_TOKEN`] in the environment is above it.
    pub token_file: Option<PathBuf>,
    /// The client that asks for tokens by OAuth 2, instead.
    pub client_id: Option<String>,
    /// The file of the client's secret. [`LAKE_SECRET`] in the environment is above it.
    pub client_secret_file: Option<PathBuf>,
    /// Where tokens are asked for; without it at the catalog itself.
    pub oauth_uri: Option<String>,
    /// What tokens are asked for.
    pub catalog_scope: String,
    /// Buckets over people within a day.
    pub buckets: u32,
}

/// See [`LakeConfig::catalog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogKind {
    /// In a file of the lake's folder.
    Sqlite,
    /// On a server, by Iceberg's REST protocol.
    Rest,
}

/// The environment variable with the token of the lake's catalog.
pub const LAKE_TOKEN: &str = "FORETAP_LAKE_TOKEN";
/// The environment variable with the secret of the client that asks for such tokens.
pub const LAKE_SECRET: &str = "FORETAP_LAKE_SECRET";

/// See [`Config::answer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerConfig {
    /// Apps in an answer where the question asks for no other number.
    pub apps: usize,
    /// An answer whose apps together are less probable says that it abstains.
    pub least_probability: f64,
    /// Share of the questions that the transformer is asked, too; without it as many as pay.
    pub routed_share: Option<f32>,
    /// Questions that are worked on at once; 0: 8 a core.
    pub at_once: usize,
    /// Questions that wait for their turn; what comes beyond is refused with 503.
    pub max_waiting: usize,
    /// Milliseconds that a question waits for its turn.
    pub wait_ms: u64,
    /// Milliseconds for reading a person; after them the answer is for anybody, and says so.
    pub state_ms: u64,
}

/// See [`Config::kafka`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port` of some brokers, with commas between; empty: no Kafka.
    pub brokers: String,
    /// The topic whose records are batches of events.
    pub topic: String,
    /// The consumer group that keeps how far was read.
    pub group: String,
    /// This process's name in the group: one that comes back under it has its partitions back at once, however it ended.
    pub instance: Option<String>,
    /// Seconds without a sign of life after which the group gives a process's partitions to another.
    pub session_secs: u64,
    /// How a record's value is written.
    pub encoding: BatchEncoding,
    /// How the brokers are spoken to.
    pub security: KafkaSecurity,
    /// Certificates that a broker's must come from, as PEM; without it those of the public web.
    pub ca_file: Option<PathBuf>,
    /// This process's own certificate, as PEM, where brokers ask for one.
    pub certificate_file: Option<PathBuf>,
    /// The certificate's key.
    pub key_file: Option<PathBuf>,
    /// How a name and a password are shown to the brokers.
    pub mechanism: KafkaMechanism,
    /// The name.
    pub username: String,
    /// The file of the password. [`KAFKA_PASSWORD`] in the environment is above it.
    pub password_file: Option<PathBuf>,
}

/// See [`Config::kinesis`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KinesisConfig {
    /// The stream whose records are batches of events; empty: no Kinesis.
    pub stream: String,
    /// The table of DynamoDB that says who reads which shard, and how far it was read.
    pub lease_table: String,
    /// Whether a lease table that is missing is made.
    pub create_lease_table: bool,
    /// This process's name among those that share the stream: one that comes back under it has its shards back at once, however
    /// it ended.
    pub instance: Option<String>,
    /// Seconds without a sign of life after which a process's shards are taken over by others.
    pub lease_secs: u64,
    /// Milliseconds between two reads of a shard that has nothing new.
    pub poll_ms: u64,
    /// How a record's data is written.
    pub encoding: BatchEncoding,
}

/// See [`Config::files`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// The folder, or `s3://bucket/prefix`, in which files are delivered; empty: none are.
    pub path: String,
    /// What becomes of a file that is in store and lake.
    pub after: FilesAfter,
    /// Seconds between two looks for new files.
    pub poll_secs: u64,
}

/// See [`FilesConfig::after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesAfter {
    /// It stays.
    Keep,
    /// It goes into the folder `done` beside the others.
    Move,
    /// It is deleted.
    Delete,
}

/// The environment variable that may hold Kafka's password. The settings never do.
pub const KAFKA_PASSWORD: &str = "FORETAP_KAFKA_PASSWORD";

/// See [`Config::aws`]. Credentials come from the environment, a profile or a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwsConfig {
    /// The region; empty: as the environment or the profile says.
    pub region: String,
    /// The URL of another service of the same protocol; empty: Amazon's own.
    pub endpoint: String,
    /// Seconds that one attempt of a request may take; of a large upload, one part of it.
    pub attempt_secs: u64,
    /// How often a request is sent before it has failed.
    pub attempts: u32,
}

/// See [`KafkaConfig::encoding`] and [`KinesisConfig::encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchEncoding {
    /// An `EventBatch` as Protobuf.
    Protobuf,
    /// The same as JSON.
    Json,
}

/// See [`KafkaConfig::security`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaSecurity {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Tls,
    /// Name and password, not encrypted.
    SaslPlaintext,
    /// Name and password under TLS.
    SaslTls,
}

/// See [`KafkaConfig::mechanism`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KafkaMechanism {
    /// The password itself.
    #[serde(rename = "plain")]
    Plain,
    /// A proof of the password.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A proof of the password.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { folder: PathBuf::from("foretap-data") }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8310".to_owned(),
            max_body_bytes: 4 << 20,
            max_batch_bytes: 16 << 20,
            max_connections: 10_000,
            head_secs: 10,
            request_secs: 60,
            idle_secs: 75,
            max_age_secs: 3_600,
            unready_secs: 0,
            drain_secs: 10,
            protocols: Protocol::ALL.map(|(name, _)| name).join(", "),
            model_name: "foretap".to_owned(),
            max_rows: 1_000,
        }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            authenticate: false,
            allow_anybody: false,
            certificate_file: None,
            key_file: None,
            client_ca_file: None,
            api_keys_file: None,
            issuer: String::new(),
            audience: "foretap".to_owned(),
            role_claim: "foretap_role".to_owned(),
            user_claim: "foretap_user".to_owned(),
            leeway_secs: 60,
            issuer_ca_file: None,
            requests_per_sec: 0,
            burst: 0,
        }
    }
}

impl GuardConfig {
    /// Refuses what would let anybody in from elsewhere, or nobody at all.
    fn check(&self, listen: std::net::SocketAddr) -> Result<()> {
        let wrong = |field: &str, message: &str, next_step: &str| {
            Err(Error::new(ErrorKind::Config, message.to_owned()).field(field).next_step(next_step))
        };
        if !listen.ip().is_loopback() && !self.authenticate && !self.allow_anybody {
            return wrong(
                "guard.authenticate",
                "whoever reaches this address could read and forget people",
                "set `authenticate = true` in [guard]; or `listen` on 127.0.0.1; or, behind a door of your own, `allow_anybody = true`",
            );
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            let next_step = "give both `certificate_file` and `key_file`, or neither";
            return wrong("guard.key_file", "a certificate and its key belong together", next_step);
        }
        if self.client_ca_file.is_some() && self.certificate_file.is_none() {
            let next_step = "give `certificate_file` and `key_file`, too";
            return wrong("guard.client_ca_file", "without TLS nobody shows a certificate", next_step);
        }
        if !self.issuer.is_empty() {
            let is_url = ["https://", "http://127.0.0.1", "http://localhost"];
            if !is_url.iter().any(|start| self.issuer.starts_with(start)) {
                return wrong("guard.issuer", "no https URL", "write it as the issuer's tokens name it");
            }
            if self.audience.is_empty() {
                return wrong(
                    "guard.audience",
                    "tokens for anybody",
                    "give the audience that is this server",
                );
            }
        }
        Ok(())
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { max_events: 20_000, max_ahead_secs: 600, commit_secs: 60, commit_bytes: 64 << 20 }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: StoreKind::Redb,
            table: "foretap".to_owned(),
            create_table: false,
            cached_people: 2_000,
            key_file: None,
            kms_key: None,
        }
    }
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            folder: None,
            location: String::new(),
            catalog: CatalogKind::Sqlite,
            catalog_uri: String::new(),
            catalog_warehouse: String::new(),
            catalog_ca_file: None,
            token_file: None,
            client_id: None,
            client_secret_file: None,
            oauth_uri: None,
            catalog_scope: "catalog".to_owned(),
            buckets: 16,
        }
    }
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            apps: 3,
            least_probability: 0.0,
            routed_share: None,
            at_once: 0,
            max_waiting: 256,
            wait_ms: 20,
            state_ms: 100,
        }
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            topic: "foretap-events".to_owned(),
            group: "foretap".to_owned(),
            instance: None,
            session_secs: 45,
            encoding: BatchEncoding::Protobuf,
            security: KafkaSecurity::Plaintext,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            mechanism: KafkaMechanism::ScramSha512,
            username: String::new(),
            password_file: None,
        }
    }
}

impl Default for KinesisConfig {
    fn default() -> Self {
        Self {
            stream: String::new(),
            lease_table: "foretap-leases".to_owned(),
            create_lease_table: false,
            instance: None,
            lease_secs: 30,
            poll_ms: 1_000,
            encoding: BatchEncoding::Protobuf,
        }
    }
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self { region: String::new(), endpoint: String::new(), attempt_secs: 10, attempts: 8 }
    }
}

impl StoreConfig {
    /// Whether it needs Amazon's services.
    pub fn needs_aws(&self) -> bool {
        self.kind == StoreKind::Dynamodb || self.kms_key.is_some()
    }
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self { path: String::new(), after: FilesAfter::Keep, poll_secs: 10 }
    }
}

impl FilesConfig {
    /// Whether events come from files at all.
    pub fn is_used(&self) -> bool {
        !self.path.is_empty()
    }
}

impl LakeConfig {
    /// Where the tables' files are, if they are on S3.
    ///
    /// # Errors
    /// The location is none of S3.
    pub fn s3(&self) -> Result<Option<S3Location>> {
        match S3Location::parse("lake.location", &self.location)? {
            None if !self.location.is_empty() => Err(Error::new(ErrorKind::Config, "not on S3")
                .field("lake.location")
                .next_step("write it as s3://bucket/prefix; a folder is named by `folder` of [lake]")),
            found => Ok(found),
        }
    }
}

impl KafkaConfig {
    /// Whether events come from Kafka at all.
    pub fn is_used(&self) -> bool {
        !self.brokers.is_empty()
    }
}

impl KinesisConfig {
    /// Whether events come from Kinesis at all.
    pub fn is_used(&self) -> bool {
        !self.stream.is_empty()
    }

    fn check(&self, store: &StoreConfig) -> Result<()> {
        let wrong = |field: &str, message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Config, message).field(field).next_step(next_step))
        };
        if self.is_used() && !(self.stream.len() <= 128 && self.stream.chars().all(is_name_letter)) {
            let message = format!("`{}` is no name of a stream", self.stream);
            return wrong("kinesis.stream", message, "give its name alone: letters, digits, `_`, `.` or `-`");
        }
        if !is_table_name(&self.lease_table) {
            let message = format!("`{}` is no name of a table", self.lease_table);
            return wrong("kinesis.lease_table", message, TABLE_NAME);
        }
        if self.is_used() && store.kind == StoreKind::Dynamodb && store.table == self.lease_table {
            let next_step = "name another `lease_table` in [kinesis]";
            return wrong("kinesis.lease_table", "this is the store's table".to_owned(), next_step);
        }
        let is_name = |name: &String| !name.is_empty() && name.chars().all(is_name_letter);
        if !self.instance.as_ref().is_none_or(is_name) {
            let next_step = "give letters, digits, `_`, `.` or `-`, or leave it out";
            return wrong("kinesis.instance", "no name of a process".to_owned(), next_step);
        }
        // Kinesis lets a shard be read five times a second, by all of its readers together.
        if self.poll_ms < 200 {
            let message = format!("{} is more often than Kinesis lets a shard be read", self.poll_ms);
            return wrong("kinesis.poll_ms", message, "give 200 or more");
        }
        if self.lease_secs < 2 {
            let message = format!("{} is too short for an answer", self.lease_secs);
            return wrong("kinesis.lease_secs", message, "give 2 or more");
        }
        Ok(())
    }
}

/// What names of tables and streams are made of.
fn is_name_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

fn is_table_name(name: &str) -> bool {
    (3..=255).contains(&name.len()) && name.chars().all(is_name_letter)
}

const TABLE_NAME: &str = "give 3 to 255 letters, digits, `_`, `.` or `-`";

/// The file that `foretap config --example` prints: every key with its default.
pub const EXAMPLE: &str = include_str!("../foretap.example.toml");

const HINT: &str = "see all keys with `foretap config --example`";

impl Config {
    /// The settings of `file`, or the defaults without one, with the environment's above both.
    ///
    /// # Errors
    /// The file cannot be read, has a key that is not known, or a value is impossible.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let variables = std::env::vars().filter(|(name, _)| name.starts_with(PREFIX));
        Self::load_with(file, variables)
    }

    fn load_with(file: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let text = match file {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|error| Error::io(file, "read the settings", error))?
            }
            None => String::new(),
        };
        let of_file = |error: Error| match file {
            Some(file) => error.file(file),
            None => error,
        };
        let wrong = |error: &toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let found = Error::new(ErrorKind::Config, error.message().to_owned()).next_step(HINT);
            of_file(match line {
                Some(line) => found.line(line as u64),
                None => found,
            })
        };
        let mut table: toml::Table = toml::from_str(&text).map_err(|error| wrong(&error))?;
        // By itself first: an error names the file's line.
        let mut config: Self = toml::from_str(&text).map_err(|error| wrong(&error))?;
        for (name, value) in variables {
            override_by(&mut table, &name, &value)?;
            config = table.clone().try_into().map_err(|error: toml::de::Error| {
                Error::new(ErrorKind::Config, error.message().to_owned()).field(name).next_step(HINT)
            })?;
        }
        config.check().map_err(of_file)?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wrong = |field: &str, message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Config, message).field(field).next_step(next_step))
        };
        let Ok(listen) = self.http.listen.parse::<std::net::SocketAddr>() else {
            let message = format!("`{}` is no address and port", self.http.listen);
            return wrong("http.listen", message, "write it as 127.0.0.1:8310");
        };
        self.guard.check(listen)?;
        let above_zero = [
            ("http.max_body_bytes", self.http.max_body_bytes),
            ("http.max_batch_bytes", self.http.max_batch_bytes),
            ("http.max_connections", self.http.max_connections),
            ("http.head_secs", self.http.head_secs as usize),
            ("http.request_secs", self.http.request_secs as usize),
            ("http.idle_secs", self.http.idle_secs as usize),
            ("http.max_age_secs", self.http.max_age_secs as usize),
            ("http.max_rows", self.http.max_rows),
            ("ingest.max_events", self.ingest.max_events),
            ("ingest.commit_bytes", self.ingest.commit_bytes),
            ("lake.buckets", self.lake.buckets as usize),
            ("aws.attempts", self.aws.attempts as usize),
            ("aws.attempt_secs", self.aws.attempt_secs as usize),
            ("files.poll_secs", usize::try_from(self.files.poll_secs).unwrap_or(usize::MAX)),
            ("answer.apps", self.answer.apps),
        ];
        if let Some((field, _)) = above_zero.iter().find(|(_, value)| *value == 0) {
            return wrong(field, "0".to_owned(), "give a number above 0");
        }
        if !(0.0..=1.0).contains(&self.answer.least_probability) {
            let message = format!("{} is no probability", self.answer.least_probability);
            return wrong("answer.least_probability", message, "give a number from 0 to 1");
        }
        self.http.answered()?;
        let model_name = &self.http.model_name;
        if !(1..=64).contains(&model_name.len()) || !model_name.chars().all(is_name_letter) {
            let message = format!("`{model_name}` is no name of a model");
            return wrong("http.model_name", message, "give 1 to 64 letters, digits, `_`, `.` or `-`");
        }
        if !is_table_name(&self.store.table) {
            let message = format!("`{}` is no name of a table", self.store.table);
            return wrong("store.table", message, TABLE_NAME);
        }
        self.kinesis.check(&self.store)?;
        if self.store.kms_key.as_ref().is_some_and(String::is_empty) {
            let next_step = "name a key of KMS, as alias/foretap, or leave it out";
            return wrong("store.kms_key", "no name".to_owned(), next_step);
        }
        self.lake.s3()?;
        let uri = &self.lake.catalog_uri;
        let is_url = ["http://", "https://"].iter().any(|scheme| uri.starts_with(scheme));
        if self.lake.catalog == CatalogKind::Rest && !is_url {
            let message = format!("`{uri}` is no URL");
            return wrong("lake.catalog_uri", message, "write it as https://catalog.example.org/iceberg");
        }
        S3Location::parse("files.path", &self.files.path)?;
        let endpoint = &self.aws.endpoint;
        if !endpoint.is_empty() && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            let message = format!("`{endpoint}` is no URL");
            return wrong("aws.endpoint", message, "write it as http://127.0.0.1:5000, or leave it empty");
        }
        let kafka = &self.kafka;
        let port_is_there = |broker: &str| {
            broker.trim().rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        if let Some(broker) = kafka.brokers.split(',').find(|b| kafka.is_used() && !port_is_there(b)) {
            let message = format!("`{broker}` is no host and port");
            return wrong("kafka.brokers", message, "write it as broker-1:9092,broker-2:9092");
        }
        if kafka.session_secs == 0 {
            return wrong("kafka.session_secs", "0".to_owned(), "give a number above 0");
        }
        if kafka.certificate_file.is_some() != kafka.key_file.is_some() {
            let message = "a certificate and its key belong together".to_owned();
            return wrong(
                "kafka.key_file",
                message,
                "give both `certificate_file` and `key_file`, or neither",
            );
        }
        let needs_name = matches!(kafka.security, KafkaSecurity::SaslPlaintext | KafkaSecurity::SaslTls);
        if needs_name && kafka.username.is_empty() {
            let message = "`security` asks for a name".to_owned();
            return wrong("kafka.username", message, "give `username`, and the password in `password_file`");
        }
        self.answer.routing().map(|_| ()).map_err(|error| error.field("answer.routed_share"))
    }

    /// The file of API keys' hashes.
    pub fn api_keys_file(&self) -> PathBuf {
        self.guard.api_keys_file.clone().unwrap_or_else(|| self.data.folder.join("api-keys.json"))
    }

    /// The file of the key under which people's keys are sealed.
    pub fn key_file(&self) -> PathBuf {
        self.store.key_file.clone().unwrap_or_else(|| self.data.folder.join("master.key"))
    }
}

impl AnswerConfig {
    /// Which questions the transformer is asked.
    ///
    /// # Errors
    /// The share is none.
    pub fn routing(&self) -> Result<Routing> {
        match self.routed_share {
            None => Ok(Routing::default()),
            Some(share) if (0.0..=1.0).contains(&share) => Ok(Routing::Share(share)),
            Some(share) => Err(Error::new(ErrorKind::Config, format!("{share} is no share"))
                .next_step("give a number from 0 to 1, or leave it out")),
        }
    }
}

const PREFIX: &str = "FORETAP_";
const SECTIONS: [&str; 11] =
    ["data", "http", "guard", "ingest", "store", "lake", "answer", "kafka", "kinesis", "files", "aws"];

/// `FORETAP_HTTP_LISTEN=127.0.0.1:80` sets `listen` of `[http]`.
fn override_by(table: &mut toml::Table, name: &str, value: &str) -> Result<()> {
    if [KAFKA_PASSWORD, LAKE_TOKEN, LAKE_SECRET].contains(&name) {
        // Read where it is used, so that no setting holds it.
        return Ok(());
    }
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    let Some((section, key)) = key.split_once('_').filter(|(section, _)| SECTIONS.contains(section)) else {
        // Not a setting: the tests' and the crate's own variables begin so, too.
        return Ok(());
    };
    let parsed = if let Ok(truth) = value.parse::<bool>() {
        toml::Value::Boolean(truth)
    } else if let Ok(whole) = value.parse::<i64>() {
        toml::Value::Integer(whole)
    } else if let Ok(real) = value.parse::<f64>() {
        toml::Value::Float(real)
    } else {
        toml::Value::String(value.to_owned())
    };
    let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match entry {
        toml::Value::Table(entries) => {
            entries.insert(key.to_owned(), parsed);
            Ok(())
        }
        _ => Err(Error::new(ErrorKind::Config, format!("`{section}` is no section")).next_step(HINT)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_example_holds_every_key_with_its_default() {
        let example: Config = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example, Config::default());
        // A key that is commented out is known, too: it has no default.
        let is_key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let with_all: Vec<&str> = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line))
            .collect();
        let with_all: Config = toml::from_str(&with_all.join("\n")).unwrap();
        assert!(with_all.store.key_file.is_some() && with_all.store.kms_key.is_some());
        assert!(with_all.answer.routed_share.is_some() && with_all.lake.folder.is_some());
        let kafka = with_all.kafka;
        assert!(kafka.instance.is_some() && kafka.ca_file.is_some() && kafka.password_file.is_some());
        assert!(kafka.certificate_file.is_some() && kafka.key_file.is_some());
        assert!(with_all.kinesis.instance.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("foretap.toml");
        for (text, variables, expected) in [
            ("[http]\nlisten = \"here\"\n", vec![], "http.listen"),
            ("[http]\n\nlisten_on = \"127.0.0.1:1\"\n", vec![], "line 3"),
            ("[htp]\n", vec![], "unknown field `htp`"),
            ("[http]\nprotocols = \"triton\"\n", vec![], "http.protocols"),
            ("[http]\nmodel_name = \"a/b\"\n", vec![], "http.model_name"),
            ("[ingest]\nmax_events = 0\n", vec![], "ingest.max_events"),
            ("[ingest]\nmax_events = -1\n", vec![], "line 2"),
            ("[answer]\nrouted_share = 2.0\n", vec![], "answer.routed_share"),
            ("[store]\nkind = \"postgres\"\n", vec![], "line 2"),
            ("[store]\ntable = \"our table\"\n", vec![], "store.table"),
            ("[store]\nkms_key = \"\"\n", vec![], "store.kms_key"),
            ("[aws]\nendpoint = \"127.0.0.1:5000\"\n", vec![], "aws.endpoint"),
            ("[aws]\nattempts = 0\n", vec![], "aws.attempts"),
            ("[lake]\nlocation = \"s3://\"\n", vec![], "lake.location"),
            ("[lake]\nlocation = \"/data/lake\"\n", vec![], "lake.location"),
            ("[lake]\ncatalog = \"rest\"\n", vec![], "lake.catalog_uri"),
            ("[lake]\ncatalog = \"glue\"\n", vec![], "line 2"),
            ("[files]\npath = \"ftp://x\"\n", vec![], "files.path"),
            ("[files]\nafter = \"burn\"\n", vec![], "line 2"),
            ("[aws]\nsecret_access_key = \"x\"\n", vec![], "unknown field `secret_access_key`"),
            ("[kafka]\nbrokers = \"broker-1\"\n", vec![], "kafka.brokers"),
            ("[kafka]\nencoding = \"avro\"\n", vec![], "line 2"),
            ("[kafka]\nsecurity = \"sasl-tls\"\n", vec![], "kafka.username"),
            ("[kafka]\nkey_file = \"key.pem\"\n", vec![], "kafka.key_file"),
            ("[kafka]\npassword = \"secret\"\n", vec![], "unknown field `password`"),
            ("[kinesis]\nstream = \"arn:aws:kinesis\"\n", vec![], "kinesis.stream"),
            ("[kinesis]\nlease_table = \"x\"\n", vec![], "kinesis.lease_table"),
            (
                "[kinesis]\nstream = \"x\"\nlease_table = \"foretap\"\n[store]\nkind = \"dynamodb\"\n",
                vec![],
                "the store's table",
            ),
            ("[kinesis]\ninstance = \"a/b\"\n", vec![], "kinesis.instance"),
            ("[kinesis]\npoll_ms = 100\n", vec![], "kinesis.poll_ms"),
            ("[kinesis]\nlease_secs = 1\n", vec![], "kinesis.lease_secs"),
            ("", vec![("FORETAP_HTTP_LISTEN", "7")], "FORETAP_HTTP_LISTEN"),
            ("", vec![("FORETAP_HTTP_PORT", "7")], "FORETAP_HTTP_PORT"),
        ] {
            std::fs::write(&file, text).unwrap();
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let error = Config::load_with(Some(&file), variables).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_environment_is_above_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("foretap.toml");
        std::fs::write(&file, "[ingest]\ncommit_secs = 5\n[data]\nfolder = \"a\"\n").unwrap();
        let variables = [("FORETAP_INGEST_COMMIT_SECS", "7"), ("FORETAP_OTHER", "x")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::load_with(Some(&file), variables).unwrap();
        assert_eq!((config.ingest.commit_secs, config.data.folder), (7, PathBuf::from("a")));
    }
}
