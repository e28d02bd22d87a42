//! How S3 is spoken to: by OpenDAL, with time limits and retries as the settings say, and with names and passwords from where
//! Amazon's own tools have them (environment, profile, role of the machine).

use std::time::Duration;

use foretap::{Error, ErrorKind, Result};
use futures::TryStreamExt as _;
use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::services::S3;
use opendal::{Entry, Operator};

use super::S3Location;
use crate::config::AwsConfig;

/// Between two attempts: a tenth of a second, twice as long each time, at most so long; spread at random.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A client of one bucket.
///
/// # Errors
/// The settings do not suffice.
pub fn operator(bucket: &str, aws: &AwsConfig) -> Result<Operator> {
    let mut service = S3::default().bucket(bucket);
    if !aws.region.is_empty() {
        service = service.region(&aws.region);
    }
    if !aws.endpoint.is_empty() {
        // A server of one's own is known by one name: the bucket stands in the path.
        service = service.endpoint(&aws.endpoint);
    } else if !bucket.contains('.') {
        service = service.enable_virtual_host_style();
    }
    let limit = Duration::from_secs(aws.attempt_secs);
    // The limit is within the retries: each attempt has its own.
    let limits = TimeoutLayer::new().with_timeout(limit).with_io_timeout(limit);
    let retries = RetryLayer::new()
        .with_max_times(aws.attempts.saturating_sub(1) as usize)
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .with_notify(count);
    let made = Operator::new(service).map_err(|error| {
        Error::new(ErrorKind::Config, error.message().to_owned())
            .field("aws.region")
            .next_step("give `region` in [aws], or set AWS_REGION")
    })?;
    Ok(made.layer(limits).layer(retries).finish())
}

/// Counts what is tried again.
fn count(event: RetryEvent<'_>) {
    metrics::counter!("foretap_s3_retries_total").increment(1);
    tracing::debug!(kind = %event.err.kind(), message = event.err.message(), "S3 is asked again");
}

/// An error of OpenDAL as ours.
pub fn failed(doing: &str, error: &opendal::Error) -> Error {
    let next_step = match error.kind() {
        opendal::ErrorKind::NotFound | opendal::ErrorKind::ConfigInvalid => {
            "look whether the bucket is there, and at `region` in [aws]"
        }
        opendal::ErrorKind::PermissionDenied => {
            "look at the credentials (AWS_PROFILE, the machine's role) and at the bucket's policy"
        }
        _ => "look whether S3 answers, and at [aws] in the settings",
    };
    let message = said(error.message()).unwrap_or_else(|| error.message().to_owned());
    Error::new(ErrorKind::Io, format!("cannot {doing}: {}: {message}", error.kind())).next_step(next_step)
}

/// What S3 itself said, of OpenDAL's message: a debug print of S3's answer, most of it empty fields.
fn said(message: &str) -> Option<String> {
    let field = |name: &str| {
        let (_, rest) = message.split_once(&format!("{name}: \""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let (code, text) = (field("code")?, field("message")?);
    Some(if text.is_empty() { code } else { format!("{code}: {text}") })
}

/// Deletes for good what was deleted or replaced under `prefix`, and returns how much: a bucket with object versions keeps it
/// otherwise, and a forgotten person would live on in it.
///
/// # Errors
/// Versions cannot be listed or deleted.
pub async fn purge_versions(operator: &Operator, prefix: &str) -> Result<u64> {
    let list = |error: opendal::Error| failed("list old versions of objects", &error);
    let found = operator.lister_with(prefix).recursive(true).versions(true).deleted(true);
    let mut found = found.await.map_err(list)?;
    let mut markers: Vec<Entry> = Vec::new();
    let remove = |error: opendal::Error| failed("delete old versions of objects", &error);
    let mut deleter = operator.deleter().await.map_err(remove)?;
    let mut purged = 0;
    while let Some(entry) = found.try_next().await.map_err(list)? {
        if entry.metadata().is_deleted() {
            markers.push(entry);
        } else if entry.metadata().is_current() == Some(false) {
            deleter.delete(entry).await.map_err(remove)?;
            purged += 1;
        }
    }
    deleter.close().await.map_err(remove)?;
    // Only then the marks of deletion: without its mark, an older version would be the object again.
    let mut deleter = operator.deleter().await.map_err(remove)?;
    purged += markers.len() as u64;
    for marker in markers {
        deleter.delete(marker).await.map_err(remove)?;
    }
    deleter.close().await.map_err(remove)?;
    Ok(purged)
}

/// Whether a bucket can be written, read, listed and cleared, as a line for whoever runs the program.
///
/// # Errors
/// One of these is not allowed, or nothing answers.
pub async fn check_bucket(location: &S3Location, aws: &AwsConfig) -> Result<String> {
    let operator = operator(&location.bucket, aws)?;
    let key = location.key(&format!("foretap-check-{}", uuid::Uuid::now_v7().simple()));
    let fine = |doing: &'static str| move |error: opendal::Error| failed(doing, &error);
    let written = operator.write(&key, "probe").await.map_err(fine("write to the bucket"))?;
    operator.read(&key).await.map_err(fine("read from the bucket"))?;
    operator.delete(&key).await.map_err(fine("delete from the bucket"))?;
    // Also where versions are off: who may not list them could not tell.
    purge_versions(&operator, &key).await?;
    let versions = match written.version() {
        None | Some("null") => "object versions are off",
        Some(_) => "object versions are on, and foretap removes them with what it deletes",
    };
    Ok(format!("{location} can be written, read and cleared; {versions}"))
}
