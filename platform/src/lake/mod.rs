//! All events, for good: Iceberg tables that Spark, DuckDB and PyIceberg read.
//!
//! ```text
//! lake/catalog.sqlite     where each table's newest metadata is (the tables of PyIceberg's and Iceberg's own SQL catalogs)
//! lake/foretap/events     what phones noticed, a row an event; by day and by bucket of the user
//! lake/foretap/impressions   what was answered, and what was opened then
//! lake/foretap/dead_letters  what could not be used, with the reason and where it came from; the bytes sealed
//! ```
//!
//! The tables' files may lie on S3 instead (`[lake] location`); the catalog stays in the folder.
//!
//! A commit is one snapshot. Its summary and the table's properties say which source positions it holds
//! ([`Positions`]), so that what is read again after a crash is not added twice.

mod catalog;
mod files;
mod orphans;
mod positions;
mod rewrite;
mod rows;
mod scan;
mod snapshot;
#[cfg(feature = "aws")]
mod storage;
mod tables;
mod writer;

use std::path::Path;
use std::sync::Arc;

use foretap::{Error, ErrorKind, Result};
use iceberg::table::Table;
use iceberg::{Catalog as _, NamespaceIdent, TableIdent};

use files::Files;

#[cfg(feature = "aws")]
use crate::config::AwsConfig;
#[cfg(feature = "aws")]
use crate::s3::S3Location;

pub use catalog::SqliteCatalog;
pub use orphans::Orphans;
pub use positions::Positions;
pub use rewrite::{Cleaned, Forgotten};
pub use rows::{DeadLetter, Impression, LakeEvent};
pub use scan::{dead_letters, people, row_count};
pub use tables::TableName;
pub use writer::Commit;

/// The tables, and the catalog that knows them.
#[derive(Debug, Clone)]
pub struct Lake {
    catalog: Arc<SqliteCatalog>,
    files: Files,
}

/// A snapshot as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotInfo {
    /// Iceberg's id.
    pub id: i64,
    /// When it was committed, in milliseconds since 1970.
    pub at_ms: i64,
    /// Rows in the table then.
    pub rows: u64,
    /// Names that keep it: data versions.
    pub tags: Vec<String>,
}

const NAMESPACE: &str = "foretap";
const CATALOG: &str = "catalog.sqlite";

impl Lake {
    /// Whether there is a lake in `folder`.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CATALOG).exists()
    }

    /// Opens the lake in `folder`, or makes it, with its tables. `buckets` over people are those of a table that is made now.
    ///
    /// # Errors
    /// The folder or the catalog cannot be read or written, or a table is there with other columns.
    pub async fn open(folder: &Path, buckets: u32) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "make the lake's folder", error))?;
        let folder = folder.canonicalize().map_err(|error| Error::io(folder, "find the folder", error))?;
        Self::with_files(&folder, Files::Folder(folder.clone()), buckets).await
    }

    /// The same of a lake whose catalog is in `folder` and whose tables' files are on S3.
    ///
    /// # Errors
    /// As [`open`](Self::open); the bucket cannot be used, or has the files of another lake there.
    #[cfg(feature = "aws")]
    pub async fn open_on_s3(
        folder: &Path,
        location: S3Location,
        aws: &AwsConfig,
        buckets: u32,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "make the lake's folder", error))?;
        let store = storage::S3Files::new(&location.bucket, aws)?;
        Self::with_files(folder, Files::S3 { location, store }, buckets).await
    }

    async fn with_files(folder: &Path, files: Files, buckets: u32) -> Result<Self> {
        let catalog = SqliteCatalog::open(&folder.join(CATALOG), files.warehouse(), files.io())?;
        if let Some(found) = catalog.elsewhere().map_err(|error| failed("read the catalog", &error))? {
            let message =
                format!("this lake was made in another folder or bucket: a table's metadata is {found}");
            return Err(Error::new(ErrorKind::Data, message).file(folder).next_step(
                "move it back to where it was, or give `location` in [lake] as it was: Iceberg's paths are absolute, and a copy \
                 would write into the original",
            ));
        }
        let lake = Self { catalog: Arc::new(catalog), files };
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        let made = lake.catalog.create_namespace(&namespace, std::collections::HashMap::new()).await;
        if let Err(error) = made
            && error.kind() != iceberg::ErrorKind::NamespaceAlreadyExists
        {
            return Err(failed("make the namespace", &error));
        }
        #[cfg(feature = "aws")]
        {
            let id = lake.catalog.lake_id(NAMESPACE).map_err(|error| failed("read the catalog", &error))?;
            lake.files.claim(&id).await?;
        }
        for name in TableName::ALL {
            let made = lake.catalog.create_table(&namespace, tables::creation(name, buckets)?).await;
            match made {
                Ok(_) => {}
                Err(error) if error.kind() == iceberg::ErrorKind::TableAlreadyExists => {
                    let table = lake.table(name).await?;
                    tables::check(name, &table)?;
                }
                Err(error) => return Err(failed("make a table", &error)),
            }
        }
        Ok(lake)
    }

    /// Whether there could be a new lake under a prefix, which stays as it is.
    ///
    /// # Errors
    /// The bucket cannot be read, or another lake is there, or around it, or in it.
    #[cfg(feature = "aws")]
    pub async fn check_free(location: S3Location, aws: &AwsConfig) -> Result<()> {
        let store = storage::S3Files::new(&location.bucket, aws)?;
        Files::S3 { location, store }.check_free().await
    }

    /// A table as it is now.
    ///
    /// # Errors
    /// The catalog or the table's metadata cannot be read.
    pub async fn table(&self, name: TableName) -> Result<Table> {
        let ident = ident(name);
        self.catalog.load_table(&ident).await.map_err(|error| failed("read a table", &error))
    }

    /// The table's snapshots, oldest first.
    ///
    /// # Errors
    /// The catalog or the table's metadata cannot be read.
    pub async fn snapshots(&self, name: TableName) -> Result<Vec<SnapshotInfo>> {
        let table = self.table(name).await?;
        let metadata = table.metadata();
        let tags = tables::tags(metadata)?;
        let mut found: Vec<SnapshotInfo> = metadata
            .snapshots()
            .map(|snapshot| SnapshotInfo {
                id: snapshot.snapshot_id(),
                at_ms: snapshot.timestamp_ms(),
                rows: snapshot
                    .summary()
                    .additional_properties
                    .get("total-records")
                    .and_then(|rows| rows.parse().ok())
                    .unwrap_or(0),
                tags: tags
                    .iter()
                    .filter(|(_, tagged)| **tagged == snapshot.snapshot_id())
                    .map(|(tag, _)| tag.clone())
                    .collect(),
            })
            .collect();
        found.sort_by_key(|snapshot| (snapshot.at_ms, snapshot.id));
        Ok(found)
    }

    /// Names the newest snapshot of the events: a data version, which keeps it from being expired.
    ///
    /// # Errors
    /// There is no snapshot, the name is no name or is taken, or the catalog cannot be written.
    pub async fn tag(&self, name: &str) -> Result<i64> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > 64 || name == "main" || !name.bytes().all(is_name) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("`{}` names no data version", name.escape_debug()),
            )
            .next_step("give 1 to 64 letters, digits, `.`, `-`, `_`; not `main`"));
        }
        let tagged = self.catalog.tag(&ident(TableName::Events), name).await;
        tagged.map_err(|error| match error.kind() {
            iceberg::ErrorKind::PreconditionFailed => {
                Error::new(ErrorKind::Config, error.message().to_owned())
                    .next_step("see `foretap lake snapshots`")
            }
            _ => failed("tag the events", &error),
        })
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<SqliteCatalog> {
        &self.catalog
    }
}

fn ident(name: TableName) -> TableIdent {
    TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), name.name().to_owned())
}

/// An error of Iceberg as ours.
fn failed(doing: &str, error: &iceberg::Error) -> Error {
    let kind = match error.kind() {
        iceberg::ErrorKind::DataInvalid => ErrorKind::Data,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("cannot {doing} in the lake: {error}")).next_step(
        "look for a full disk, a folder or bucket that cannot be written, or files that were moved away",
    )
}
