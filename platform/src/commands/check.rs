//! `foretap check`: what the settings name, and whether it can be used.

use std::path::Path;

use foretap::{Error, ErrorKind, Result};
use foretap_platform::config::{Config, StoreKind};
use foretap_platform::guard::Certificates;
use foretap_platform::lake::TableName;
use foretap_platform::registry::Registry;
use foretap_platform::s3::S3Location;
use foretap_platform::say;
use foretap_platform::up::{Folders, check_new_key, has_lake, has_store, open_key, open_lake, open_store};

use super::runtime;

/// Each thing that the settings name, whether it can be used, and what to mend. Nothing is made: that is the first start's.
pub fn check(config: &Config) -> Result<()> {
    let folders = Folders::of(config);
    let mut failed = 0;
    let mut report = |what: &str, found: Result<String>| match found {
        Ok(fine) => say(&format!("fine   {what}: {fine}")),
        Err(error) => {
            failed += 1;
            say(&format!("WRONG  {what}: {error}"));
        }
    };
    report("folder", writable(&config.data.folder));
    report("clock", clock());
    report("address", address(&config.http.listen));
    if config.guard.certificate_file.is_some() {
        report("certificate", certificate(config));
    }
    report("models", models(&folders.models()));
    if let Some(location) = config.lake.s3()? {
        report("bucket", bucket(config, &location));
    }
    report("lake", runtime().and_then(|runtime| runtime.block_on(lake(config))));
    if config.store.kind == StoreKind::Dynamodb {
        report("store", runtime().and_then(|runtime| runtime.block_on(store(config))));
    }
    if config.store.kms_key.is_some() {
        let opened = runtime().and_then(|runtime| runtime.block_on(key(config)));
        report("master key", opened);
    }
    if config.files.is_used() {
        let checked =
            runtime().and_then(|runtime| runtime.block_on(foretap_platform::source::check_files(config)));
        report("files", checked);
    }
    if config.kafka.is_used() {
        report("kafka", kafka(config));
    }
    if config.kinesis.is_used() {
        report("kinesis", kinesis(config));
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::new(ErrorKind::Config, format!("{failed} of these cannot be used"))),
    }
}

/// Not the embedded one: a running `foretap up` has its file open.
async fn store(config: &Config) -> Result<String> {
    if config.store.create_table && !has_store(config).await? {
        return Ok(format!("the table `{}` is made at the first start", config.store.table));
    }
    let store = open_store(config).await?;
    let is_empty = store.users(None, 1).await?.is_empty();
    let bytes = store.sizes().await?.bytes;
    let people = if is_empty { "nobody yet" } else { "people" };
    Ok(format!("the table `{}` has {people} and about {bytes} bytes", config.store.table))
}

fn certificate(config: &Config) -> Result<String> {
    match Certificates::open(&config.guard)? {
        Some(_) => Ok("certificate and key belong together".to_owned()),
        None => Ok("there is no `key_file` of [guard]: it is not used".to_owned()),
    }
}

async fn key(config: &Config) -> Result<String> {
    let file = config.key_file();
    if file.exists() {
        open_key(config, false).await?;
        return Ok(format!("KMS opens {}", file.display()));
    }
    check_new_key(config).await?;
    Ok(format!("{} is made at the first start", file.display()))
}

fn models(folder: &Path) -> Result<String> {
    if !Registry::is_in(folder) {
        return Ok("version 1, the bundle that ships, is live at the first start".to_owned());
    }
    let registry = Registry::open(folder)?;
    let live = registry.live()?.map_or(1, |live| live.version);
    let bundle = registry.bundle(live)?;
    Ok(format!("version {live} answers its {} golden questions", bundle.golden_questions()))
}

async fn lake(config: &Config) -> Result<String> {
    if has_lake(config).await? {
        let snapshots = open_lake(config).await?.snapshots(TableName::Events).await?;
        let newest = snapshots.iter().find(|snapshot| snapshot.is_current);
        return Ok(format!("{} rows of events", newest.map_or(0, |snapshot| snapshot.rows)));
    }
    #[cfg(feature = "aws")]
    if let Some(location) = config.lake.s3()? {
        foretap_platform::lake::Lake::check_free(location, &config.aws).await?;
    }
    Ok("it is made at the first start".to_owned())
}

#[cfg(feature = "aws")]
fn bucket(config: &Config, location: &S3Location) -> Result<String> {
    runtime()?.block_on(foretap_platform::s3::check_bucket(location, &config.aws))
}

#[cfg(not(feature = "aws"))]
fn bucket(_config: &Config, _location: &S3Location) -> Result<String> {
    Err(foretap_platform::s3::no_s3("lake.location"))
}

#[cfg(feature = "kafka")]
fn kafka(config: &Config) -> Result<String> {
    runtime()?.block_on(foretap_platform::source::check_kafka(&config.kafka))
}

#[cfg(not(feature = "kafka"))]
fn kafka(_config: &Config) -> Result<String> {
    Err(foretap_platform::up::no_kafka())
}

#[cfg(feature = "aws")]
fn kinesis(config: &Config) -> Result<String> {
    runtime()?.block_on(foretap_platform::source::check_kinesis(&config.kinesis, &config.aws))
}

#[cfg(not(feature = "aws"))]
fn kinesis(_config: &Config) -> Result<String> {
    Err(foretap_platform::up::no_aws("kinesis.stream"))
}

fn writable(folder: &Path) -> Result<String> {
    if !folder.exists() {
        let parent = folder.ancestors().skip(1).find(|parent| parent.exists());
        writable(parent.filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
        return Ok(format!("{} is made at the first start", folder.display()));
    }
    let probe =
        tempfile::tempfile_in(folder).and_then(|mut file| std::io::Write::write_all(&mut file, b"probe"));
    probe.map_err(|error| {
        Error::io(folder, "write here", error).next_step("give another `folder` in [data]")
    })?;
    Ok(folder.display().to_string())
}

fn clock() -> Result<String> {
    let now = jiff::Timestamp::now();
    // When this was written: a clock before it was never set.
    if now.as_second() < 1_796_000_000 {
        return Err(
            Error::new(ErrorKind::Config, format!("it is {now} by this machine")).next_step("set its clock")
        );
    }
    Ok(now.to_string())
}

fn address(listen: &str) -> Result<String> {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(format!(
            "something listens on {listen}: if that is not foretap, give another `listen` in [http]"
        )),
        Err(error) => Err(Error::new(ErrorKind::Io, format!("cannot listen on {listen}: {error}"))
            .next_step("give another `listen` in [http]")),
    }
}
