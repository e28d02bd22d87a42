//! Where the tables' files are: in the lake's folder, or under a prefix of a bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretap::{Error, ErrorKind, Result};
use iceberg::io::{FileIO, FileIOBuilder, LocalFsStorageFactory};

#[cfg(feature = "aws")]
use super::storage::S3Files;
#[cfg(feature = "aws")]
use crate::s3::{S3Location, failed, purge_versions};

/// A lake's files.
#[derive(Debug, Clone)]
pub(super) enum Files {
    /// In a folder, given by its absolute path.
    Folder(PathBuf),
    /// Under a prefix of a bucket.
    #[cfg(feature = "aws")]
    S3 { location: S3Location, store: S3Files },
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Its path or its address.
    pub location: String,
    pub bytes: u64,
    /// When it was last changed, in milliseconds since 1970; unknown: it counts as new.
    pub changed_ms: Option<i64>,
}

impl Files {
    /// What the locations of new tables begin with.
    pub fn warehouse(&self) -> String {
        match self {
            Self::Folder(folder) => format!("file://{}", folder.display()),
            #[cfg(feature = "aws")]
            Self::S3 { location, .. } => location.to_string(),
        }
    }

    /// How Iceberg reads and writes them.
    pub fn io(&self) -> FileIO {
        match self {
            Self::Folder(_) => FileIOBuilder::new(Arc::new(LocalFsStorageFactory)).build(),
            #[cfg(feature = "aws")]
            Self::S3 { store, .. } => FileIOBuilder::new(Arc::new(store.clone())).build(),
        }
    }

    /// Every file below a table's location.
    pub async fn list(&self, location: &str) -> Result<Vec<FoundFile>> {
        match self {
            Self::Folder(_) => {
                let folder = PathBuf::from(location.strip_prefix("file://").unwrap_or(location));
                let walked = tokio::task::spawn_blocking(move || walk(&folder)).await;
                walked.map_err(|_| Error::new(ErrorKind::Io, "the walk over the files ended early"))?
            }
            #[cfg(feature = "aws")]
            Self::S3 { store, .. } => store.list(location).await,
        }
    }

    /// Deletes for good what was deleted below a table's location before: on S3 older versions may be kept.
    #[cfg_attr(not(feature = "aws"), allow(unused_variables))]
    pub async fn purge(&self, location: &str) -> Result<u64> {
        match self {
            Self::Folder(_) => Ok(0),
            #[cfg(feature = "aws")]
            Self::S3 { store, .. } => purge_versions(store.operator()?, &store.prefix(location)?).await,
        }
    }

    /// Refuses a place that has another lake's files: each would take the other's for its own. `lake` is this lake's own id.
    #[cfg(feature = "aws")]
    pub async fn claim(&self, lake: &str) -> Result<()> {
        let Self::S3 { location, store } = self else { return Ok(()) };
        let (operator, key) = (store.operator()?, location.key(MARKER));
        let marked = operator.exists(&key).await.map_err(|error| failed("read the lake's mark", &error))?;
        if !marked {
            self.stand_apart().await?;
        }
        let write = operator.write_with(&key, lake.to_owned()).if_not_exists(true).await;
        match write {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == opendal::ErrorKind::ConditionNotMatch => {}
            Err(error) => return Err(failed("write to the lake's bucket", &error)),
        }
        let found = operator.read(&key).await.map_err(|error| failed("read the lake's mark", &error))?;
        if found.to_bytes() == lake.as_bytes() {
            return Ok(());
        }
        Err(other_lake(location))
    }
}

#[cfg(feature = "aws")]
impl Files {
    /// Refuses a prefix below another lake's, or above one: what cleans up the outer one would delete the inner one's files.
    async fn stand_apart(&self) -> Result<()> {
        use futures::TryStreamExt as _;
        let Self::S3 { location, store } = self else { return Ok(()) };
        let operator = store.operator()?;
        let read = |error: opendal::Error| failed("look for other lakes", &error);
        let mut outer = location.prefix.as_str();
        let mut found = None;
        while !outer.is_empty() && found.is_none() {
            outer = outer.rsplit_once('/').map_or("", |(outer, _)| outer);
            let key = S3Location { bucket: location.bucket.clone(), prefix: outer.to_owned() }.key(MARKER);
            found = operator.exists(&key).await.map_err(read)?.then_some(key);
        }
        if found.is_none() {
            let inner = format!("/{MARKER}");
            let mut keys = operator.lister_with(&location.key("")).recursive(true).await.map_err(read)?;
            while let Some(entry) = keys.try_next().await.map_err(read)? {
                if entry.path().ends_with(&inner) {
                    found = Some(entry.path().to_owned());
                    break;
                }
            }
        }
        let Some(key) = found else { return Ok(()) };
        let message = format!("{location} and another lake are not apart: s3://{}/{key}", location.bucket);
        Err(Error::new(ErrorKind::Config, message)
            .field("lake.location")
            .next_step("give each lake a prefix of its own, beside the others"))
    }

    /// Whether the place can be a new lake's, without taking it.
    ///
    /// # Errors
    /// Another lake is there, or around it, or in it.
    pub async fn check_free(&self) -> Result<()> {
        let Self::S3 { location, store } = self else { return Ok(()) };
        let read = |error: opendal::Error| failed("read the lake's mark", &error);
        if store.operator()?.exists(&location.key(MARKER)).await.map_err(read)? {
            return Err(other_lake(location));
        }
        self.stand_apart().await
    }
}

#[cfg(feature = "aws")]
fn other_lake(location: &S3Location) -> Error {
    Error::new(ErrorKind::Data, format!("{location} has the files of another lake"))
        .field("lake.location")
        .next_step("bring back the catalog.sqlite that they were made with, or give another prefix")
}

/// The object that says whose files lie under a prefix.
#[cfg(feature = "aws")]
const MARKER: &str = "foretap-lake";

fn walk(folder: &Path) -> Result<Vec<FoundFile>> {
    let read = |error: std::io::Error| Error::io(folder, "list the files", error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Deleted meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(read(error)),
        };
        if metadata.is_dir() {
            found.extend(walk(&entry.path())?);
        } else if metadata.is_file() {
            let changed = metadata.modified().ok().and_then(|at| jiff::Timestamp::try_from(at).ok());
            found.push(FoundFile {
                location: entry.path().display().to_string(),
                bytes: metadata.len(),
                changed_ms: changed.map(jiff::Timestamp::as_millisecond),
            });
        }
    }
    Ok(found)
}
