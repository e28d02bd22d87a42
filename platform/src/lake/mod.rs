//! All events, for good: Iceberg tables that Spark, DuckDB and PyIceberg read.
//!
//! ```text
//! lake/catalog.sqlite     where each table's newest metadata is (the tables of PyIceberg's and Iceberg's own SQL catalogs)
//! lake/foretap/events     what phones noticed, a row an event; by day and by bucket of the user
//! lake/foretap/impressions   what was answered, and what was opened then
//! lake/foretap/dead_letters  what could not be used, with the reason and where it came from; the bytes sealed
//! lake/foretap/forgotten     who was forgotten, by a hash of their id: every process on the lake goes by it
//! ```
//!
//! The tables' files may lie on S3 instead (`[lake] location`); the catalog stays in the folder.
//!
//! A commit is one snapshot. Its summary and the table's properties say which source positions it holds
//! ([`Positions`]), so that what is read again after a crash is not added twice.

mod catalog;
mod files;
mod forgotten;
mod orphans;
mod positions;
mod rest;
mod rewrite;
mod rows;
mod scan;
mod snapshot;
#[cfg(feature = "aws")]
mod storage;
mod tables;
mod versions;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use foretap::{Error, ErrorKind, Result};
use iceberg::spec::TableMetadataBuildResult;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableCreation, TableIdent};

use files::Files;
use rest::RestCatalog;

use crate::store::ForgottenPeople;

#[cfg(feature = "aws")]
use crate::config::AwsConfig;
use crate::config::LakeConfig;
#[cfg(feature = "aws")]
use crate::s3::S3Location;

pub use catalog::SqliteCatalog;
pub use orphans::Orphans;
pub use positions::Positions;
pub use rewrite::{Cleaned, Forgotten};
pub use rows::{DeadLetter, Impression, LakeEvent};
pub use scan::{dead_letters, people, row_count};
pub use tables::TableName;
pub use versions::{RolledBack, SnapshotInfo};
pub use writer::Commit;

/// The tables, and the catalog that knows them.
#[derive(Debug, Clone)]
pub struct Lake {
    catalog: Arc<dyn LakeCatalog>,
    files: Files,
    /// The last rollback of the events that this process knows of.
    rollback: Arc<Mutex<Option<String>>>,
    /// Who was forgotten, as the list's metadata at this address had it.
    forgotten: Arc<tokio::sync::Mutex<(String, Arc<ForgottenPeople>)>>,
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

    /// The same of a lake whose catalog is a server's, that `config` names; its tables' files are in `folder`.
    ///
    /// # Errors
    /// As [`open`](Self::open); the server does not answer, or refuses us.
    pub async fn open_by_rest(folder: &Path, config: &LakeConfig) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "make the lake's folder", error))?;
        let folder = folder.canonicalize().map_err(|error| Error::io(folder, "find the folder", error))?;
        Self::by_rest(Files::Folder(folder), config).await
    }

    /// The same of a lake whose tables' files are on S3.
    ///
    /// # Errors
    /// As [`open_by_rest`](Self::open_by_rest); the bucket cannot be used.
    #[cfg(feature = "aws")]
    pub async fn open_by_rest_on_s3(
        location: S3Location,
        aws: &AwsConfig,
        config: &LakeConfig,
    ) -> Result<Self> {
        let store = storage::S3Files::new(&location.bucket, aws)?;
        Self::by_rest(Files::S3 { location, store }, config).await
    }

    async fn by_rest(files: Files, config: &LakeConfig) -> Result<Self> {
        let catalog = RestCatalog::open(config, files.warehouse(), files.io()).await?;
        Self::with_catalog(Arc::new(catalog), files, config.buckets).await
    }

    /// Whether a server's catalog, that `config` names, has a lake.
    ///
    /// # Errors
    /// The server does not answer, or refuses us.
    pub async fn is_served(folder: &Path, config: &LakeConfig) -> Result<bool> {
        let files = Files::Folder(folder.to_owned());
        let catalog = RestCatalog::open(config, files.warehouse(), files.io()).await?;
        match catalog.load(&ident(TableName::Events)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == iceberg::ErrorKind::TableNotFound => Ok(false),
            Err(error) => Err(failed("look for the lake", &error)),
        }
    }

    async fn with_files(folder: &Path, files: Files, buckets: u32) -> Result<Self> {
        let catalog = SqliteCatalog::open(&folder.join(CATALOG), files.warehouse(), files.io())?;
        if let Some(found) = catalog.elsewhere().map_err(|error| failed("read the catalog", &error))? {
            return Err(elsewhere(&found).file(folder));
        }
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        catalog.make_namespace(&namespace).await.map_err(|error| failed("make the namespace", &error))?;
        #[cfg(feature = "aws")]
        {
            let id = catalog.lake_id(NAMESPACE).map_err(|error| failed("read the catalog", &error))?;
            files.claim(&id).await?;
        }
        Self::with_catalog(Arc::new(catalog), files, buckets).await
    }

    async fn with_catalog(catalog: Arc<dyn LakeCatalog>, files: Files, buckets: u32) -> Result<Self> {
        let lake = Self { catalog, files, rollback: Arc::default(), forgotten: Arc::default() };
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        let made = lake.catalog.make_namespace(&namespace).await;
        made.map_err(|error| failed("make the namespace", &error))?;
        let inside = format!("{}/", lake.files.warehouse());
        for name in TableName::ALL {
            let made = lake.catalog.make_table(&namespace, tables::creation(name, buckets)?).await;
            if made.map_err(|error| failed("make a table", &error))? {
                continue;
            }
            let table = lake.table(name).await?;
            if !table.metadata().location().starts_with(&inside) {
                return Err(elsewhere(table.metadata().location()));
            }
            // What it lacks is added when it is first written.
            tables::evolved(name, table.metadata())?;
        }
        lake.learn_rollback().await?;
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
        self.catalog.load(&ident).await.map_err(|error| failed("read a table", &error))
    }

    fn catalog(&self) -> &dyn LakeCatalog {
        &*self.catalog
    }
}

/// Where each table's newest metadata is, and how another takes its place.
#[async_trait]
trait LakeCatalog: std::fmt::Debug + Send + Sync {
    /// Makes a namespace where there is none of this name.
    async fn make_namespace(&self, namespace: &NamespaceIdent) -> iceberg::Result<()>;

    /// Makes a table; `false` where there is one of this name.
    async fn make_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> iceberg::Result<bool>;

    /// A table as it is now.
    async fn load(&self, table: &TableIdent) -> iceberg::Result<Table>;

    /// Where a table's metadata is now: another address once it was committed to.
    async fn location(&self, table: &TableIdent) -> iceberg::Result<String>;

    /// Makes `new` the metadata of `table`, if nothing was committed since it was read: otherwise the error is
    /// [`CatalogCommitConflicts`](iceberg::ErrorKind::CatalogCommitConflicts). After any other error it may be done.
    async fn replace(&self, table: &Table, new: TableMetadataBuildResult) -> iceberg::Result<()>;
}

fn elsewhere(found: &str) -> Error {
    let message = format!("this lake was made in another folder or bucket: a table is {found}");
    Error::new(ErrorKind::Data, message).next_step(
        "move it back to where it was, or give `location` in [lake] as it was: Iceberg's paths are absolute, and a copy would \
         write into the original",
    )
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
