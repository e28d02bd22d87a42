//! The whole system in one process: intake, journal, states, lake, models, answers.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use foretap::{Error, ErrorKind, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;

use crate::config::{CatalogKind, Config, StoreKind};
use crate::guard::{Certificates, Guard};
use crate::ingest::{Ingest, IngestStatus, border};
use crate::lake::Lake;
use crate::registry::Registry;
use crate::rights::Rights;
use crate::serve::{Answers, Models, Server};
use crate::source::{EventSource, FilesSource, Journal, JournalSource, Merged};
use crate::store::{MasterKey, OnlineStore, People, RedbStore};

/// How often the registry is asked what is live.
const REFRESH: Duration = Duration::from_secs(1);

/// Where the embedded parts keep their files.
#[derive(Debug, Clone)]
pub struct Folders {
    root: PathBuf,
    lake: PathBuf,
}

impl Folders {
    /// Those of the settings' folder.
    pub fn of(config: &Config) -> Self {
        let root = config.data.folder.clone();
        let lake = config.lake.folder.clone().unwrap_or_else(|| root.join("lake"));
        Self { root, lake }
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.redb")
    }

    /// What is known of files that were delivered.
    pub fn files(&self) -> PathBuf {
        self.root.join("files.redb")
    }

    /// The lake.
    pub fn lake(&self) -> PathBuf {
        self.lake.clone()
    }

    /// Which rollback of the lake the store was made after.
    pub fn rollback(&self) -> PathBuf {
        self.root.join("lake-rollback")
    }

    /// What was done at whose wish.
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }

    /// The models.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self) -> Result<()> {
        std::fs::create_dir_all(&self.root).map_err(|error| Error::io(&self.root, "make the folder", error))
    }
}

/// While it is there, no `foretap up` of a folder can run.
pub struct Stopped {
    _journal: Option<redb::Database>,
}

impl Stopped {
    /// Sees to it that none runs.
    ///
    /// # Errors
    /// One does.
    pub fn check(config: &Config) -> Result<Self> {
        let journal = Folders::of(config).journal();
        let opened = journal.exists().then(|| crate::redb_file::open(&journal, 1 << 20)).transpose()?;
        Ok(Self { _journal: opened })
    }
}

/// Opens the settings' lake, or makes it.
///
/// # Errors
/// As [`Lake::open`].
pub async fn open_lake(config: &Config) -> Result<Lake> {
    let (folder, buckets) = (Folders::of(config).lake(), config.lake.buckets);
    match (config.lake.s3()?, config.lake.catalog) {
        (None, CatalogKind::Sqlite) => Lake::open(&folder, buckets).await,
        (None, CatalogKind::Rest) => Lake::open_by_rest(&folder, &config.lake).await,
        #[cfg(feature = "aws")]
        (Some(location), CatalogKind::Sqlite) => {
            Lake::open_on_s3(&folder, location, &config.aws, buckets).await
        }
        #[cfg(feature = "aws")]
        (Some(location), CatalogKind::Rest) => {
            Lake::open_by_rest_on_s3(location, &config.aws, &config.lake).await
        }
        #[cfg(not(feature = "aws"))]
        (Some(_), _) => Err(crate::s3::no_s3("lake.location")),
    }
}

/// Whether the settings' lake is there already.
///
/// # Errors
/// The catalog's server does not answer.
pub async fn has_lake(config: &Config) -> Result<bool> {
    let folder = Folders::of(config).lake();
    match config.lake.catalog {
        CatalogKind::Sqlite => Ok(Lake::is_in(&folder)),
        CatalogKind::Rest => Lake::is_served(&folder, &config.lake).await,
    }
}

/// Opens the settings' store, or makes it.
///
/// # Errors
/// It cannot be opened, or this build does not have it.
pub async fn open_store(config: &Config) -> Result<Arc<dyn OnlineStore>> {
    match config.store.kind {
        StoreKind::Redb => Ok(Arc::new(RedbStore::open(&Folders::of(config).store())?)),
        #[cfg(feature = "aws")]
        StoreKind::Dynamodb => {
            let sdk = crate::aws::sdk_config(&config.aws).await;
            let (table, may_make) = (&config.store.table, config.store.create_table);
            let store = crate::store::DynamoStore::open(&sdk, table, may_make, config.aws.attempts);
            Ok(Arc::new(store.await?))
        }
        #[cfg(not(feature = "aws"))]
        StoreKind::Dynamodb => Err(no_aws("store.kind")),
    }
}

/// Whether the settings' store is there already.
///
/// # Errors
/// It cannot be asked, or this build does not have it.
pub async fn has_store(config: &Config) -> Result<bool> {
    match config.store.kind {
        StoreKind::Redb => Ok(Folders::of(config).store().exists()),
        #[cfg(feature = "aws")]
        StoreKind::Dynamodb => {
            let sdk = crate::aws::sdk_config(&config.aws).await;
            crate::store::DynamoStore::is_there(&sdk, &config.store.table, config.aws.attempts).await
        }
        #[cfg(not(feature = "aws"))]
        StoreKind::Dynamodb => Err(no_aws("store.kind")),
    }
}

/// Loads the settings' master key; it is made where it is missing and `may_make`.
///
/// # Errors
/// It cannot be read or opened, or this build cannot ask who has sealed it.
pub async fn open_key(config: &Config, may_make: bool) -> Result<MasterKey> {
    let file = config.key_file();
    match &config.store.kms_key {
        None => MasterKey::load(&file, may_make),
        #[cfg(feature = "aws")]
        Some(kms_key) => {
            let sdk = crate::aws::sdk_config(&config.aws).await;
            crate::store::master_key_by_kms(&sdk, &file, kms_key, may_make).await
        }
        #[cfg(not(feature = "aws"))]
        Some(_) => Err(no_aws("store.kms_key")),
    }
}

/// Adds a new master key by the settings: what is sealed from the next start on is sealed by it, and the older ones open what they
/// have sealed.
///
/// # Errors
/// The keys that there are cannot be opened, the file cannot be written, or this build cannot ask who has sealed it.
pub async fn rotate_key(config: &Config) -> Result<MasterKey> {
    let file = config.key_file();
    match &config.store.kms_key {
        None => MasterKey::rotate(&file),
        #[cfg(feature = "aws")]
        Some(kms_key) => {
            let sdk = crate::aws::sdk_config(&config.aws).await;
            crate::store::rotate_by_kms(&sdk, &file, kms_key).await
        }
        #[cfg(not(feature = "aws"))]
        Some(_) => Err(no_aws("store.kms_key")),
    }
}

/// Whether a master key could be made by the settings. None is.
///
/// # Errors
/// KMS does not make one, or this build cannot ask it.
pub async fn check_new_key(config: &Config) -> Result<()> {
    match &config.store.kms_key {
        None => Ok(()),
        #[cfg(feature = "aws")]
        Some(kms_key) => crate::store::check_kms(&crate::aws::sdk_config(&config.aws).await, kms_key).await,
        #[cfg(not(feature = "aws"))]
        Some(_) => Err(no_aws("store.kms_key")),
    }
}

/// What a build without Amazon's services says when a setting needs them.
#[cfg(not(feature = "aws"))]
pub fn no_aws(field: &str) -> Error {
    Error::new(ErrorKind::Config, "this build of foretap has none of Amazon's services")
        .field(field)
        .next_step("build it with `--features aws`")
}

/// The recorder of figures, which a process has once.
fn recorder() -> Result<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let seconds = [0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
    let made = PrometheusBuilder::new()
        .set_buckets(&seconds)
        .map_err(|error| error.to_string())
        .and_then(|builder| builder.install_recorder().map_err(|error| error.to_string()));
    let handle =
        made.map_err(|error| Error::new(ErrorKind::Config, format!("no figures can be kept: {error}")))?;
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// Runs everything until `stop` is done, then commits what there is. `started` gets the URL once questions are answered.
///
/// # Errors
/// A part cannot start, or one failed for good: what was accepted is in the journal, and the next start goes on with it.
pub async fn up(
    config: Config,
    started: impl FnOnce(&str),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let folders = Folders::of(&config);
    folders.make()?;
    let metrics = recorder()?;
    let guard = Guard::open(&config.guard, &config.api_keys_file())?;
    let certificates = Certificates::open(&config.guard)?;
    if certificates.is_none() && config.guard.authenticate {
        tracing::warn!(
            "there is no certificate: keys and tokens are sent in the clear, unless something before this has TLS"
        );
    }
    let store = open_store(&config).await?;
    // A new key would not open what an older one has sealed.
    let is_new = store.users(None, 1).await?.is_empty();
    let master = open_key(&config, is_new).await?;
    check_key(&*store, &master).await.map_err(|error| error.file(config.key_file()))?;
    // Made anew it would be empty, and nobody would notice that all events are gone.
    if !is_new && !has_lake(&config).await? {
        return Err(Error::new(ErrorKind::Data, "there is no lake here, though the store has people")
            .file(folders.lake())
            .next_step(
                "bring the lake's folder back with its catalog.sqlite, or move the whole data folder away",
            ));
    }
    let lake = open_lake(&config).await?;
    check_rollback(&folders, &lake, is_new)?;
    let routing = config.answer.routing()?;
    let registry = Registry::open(&folders.models())?;
    let models = Arc::new(Models::open(registry.clone(), routing)?);
    let people = People::open(store, master.clone(), config.store.cached_people).await?;
    let people = Arc::new(people);
    people.learn(&lake.forgotten().await?).await?;
    let (journal, source) = Journal::open(&folders.journal(), &master)?;
    let source = sources(source, &config)?;
    let status = Arc::new(IngestStatus::default());
    let (stopping, is_stopping) = watch::channel(false);

    let live = Arc::clone(&models);
    let ingest = Ingest::new(
        source,
        (Arc::clone(&people), lake.clone(), master.clone()),
        Box::new(move || Arc::clone(&live.live().bundle)),
        &config,
        Arc::clone(&status),
    );
    let mut ingest = tokio::spawn(ingest.run(is_stopping.clone()));

    let watched = Arc::clone(&models);
    let watcher = tokio::spawn(async move {
        loop {
            tokio::time::sleep(REFRESH).await;
            let models = Arc::clone(&watched);
            match tokio::task::spawn_blocking(move || models.refresh()).await {
                Ok(Ok(Some(version))) => tracing::info!(version, "another model is live"),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the model that is to be live cannot be loaded; the one before goes on")
                }
                Ok(Ok(None)) | Err(_) => {}
            }
        }
    });

    let server = Arc::new(Server {
        answers: Answers::new(
            Arc::clone(&models),
            Arc::clone(&people),
            Arc::clone(&status),
            (config.answer.clone(), border(&config)),
        ),
        journal,
        rights: Rights::new(
            Arc::clone(&people),
            lake,
            (master, registry),
            Arc::clone(&status),
            folders.audit(),
        ),
        people,
        ingest: status,
        border: border(&config),
        is_ready: AtomicBool::new(false),
        metrics,
        guard,
    });
    let renewed = certificates.clone().map(|certificates| tokio::spawn(certificates.watch()));
    let mut ended = is_stopping;
    let stop_serving = async move {
        tokio::select! {
            () = stop => {}
            () = async { ended.wait_for(|stopping| *stopping).await.map(drop).unwrap_or_default() } => {}
        }
    };
    let serving = server.listen(&config.http, certificates, started, stop_serving);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        // It never ends by itself but by an error: then nothing more may be accepted.
        ended = &mut ingest => {
            stopping.send_replace(true);
            serving.await?;
            watcher.abort();
            renewed.inspect(tokio::task::JoinHandle::abort);
            return result(ended);
        }
    };
    watcher.abort();
    renewed.inspect(tokio::task::JoinHandle::abort);
    stopping.send_replace(true);
    let committed = result(ingest.await);
    served.and(committed)
}

/// People whose keys are tried at the start.
const PEOPLE_TRIED: usize = 200;

/// Whether the store was sealed under this key: before anything is accepted that another key would have to open. Of several
/// processes that begin with an empty store, the first one's key is the store's.
pub(crate) async fn check_key(store: &dyn OnlineStore, master: &MasterKey) -> Result<()> {
    let proof = store.proof(master.seal(b"foretap")?).await?;
    master.open(&proof).map_err(|error| {
        error.next_step("give the master key under which the store was made (`key_file` of [store])")
    })?;
    // Some of them may be under a key that a later rotation has made, and that this file does not have.
    for user in store.users(None, PEOPLE_TRIED).await? {
        if let Some(row) = store.row(user).await? {
            master.open_person(&row.key)?;
        }
    }
    Ok(())
}

/// Whether the store was made after the lake's last rollback: one that was made before has events that the lake lacks, and would
/// drop them as known when they come again.
fn check_rollback(folders: &Folders, lake: &Lake, is_new: bool) -> Result<()> {
    let file = folders.rollback();
    let known = match std::fs::read_to_string(&file) {
        Ok(known) => Some(known),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io(&file, "read which rollback the store knows", error)),
    };
    if known == lake.last_rollback() {
        return Ok(());
    }
    if is_new {
        return note_rollback(folders, lake);
    }
    let message = "the lake was set back to an older version, and the store has what came after it";
    Err(Error::new(ErrorKind::Data, message).file(folders.store()).next_step(
        "move the store away, or name another table, and run `foretap rebuild`; then bring back what is to be taken in again",
    ))
}

/// Keeps that the store is one of after the lake's last rollback.
///
/// # Errors
/// It cannot be written.
pub(crate) fn note_rollback(folders: &Folders, lake: &Lake) -> Result<()> {
    let file = folders.rollback();
    let done = match lake.last_rollback() {
        Some(id) => std::fs::write(&file, id).and_then(|()| std::fs::File::open(&file)?.sync_all()),
        None if file.exists() => std::fs::remove_file(&file),
        None => Ok(()),
    };
    done.map_err(|error| Error::io(&file, "keep which rollback the store knows", error))
}

/// All that events come from: the journal, and what else the settings name.
fn sources(journal: JournalSource, config: &Config) -> Result<Box<dyn EventSource>> {
    let mut sources: Vec<Box<dyn EventSource>> = vec![Box::new(journal)];
    if config.files.is_used() {
        sources.push(Box::new(FilesSource::open(config, &Folders::of(config).files())?));
    }
    if config.kafka.is_used() {
        #[cfg(feature = "kafka")]
        sources.push(Box::new(crate::source::KafkaSource::open(&config.kafka)?));
        #[cfg(not(feature = "kafka"))]
        return Err(no_kafka());
    }
    if config.kinesis.is_used() {
        #[cfg(feature = "aws")]
        sources.push(Box::new(crate::source::KinesisSource::open(&config.kinesis, &config.aws)));
        #[cfg(not(feature = "aws"))]
        return Err(no_aws("kinesis.stream"));
    }
    Ok(Box::new(Merged::new(sources)))
}

/// What a build without Kafka says when the settings name it.
#[cfg(not(feature = "kafka"))]
pub fn no_kafka() -> Error {
    Error::new(ErrorKind::Config, "this build of foretap has no Kafka")
        .field("kafka.brokers")
        .next_step("build it with `--features kafka`")
}

fn result(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Io, format!("the loop that commits ended early: {error}")))
    })
}
