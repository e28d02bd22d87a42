//! The catalog on one machine: an SQLite file with the tables of Iceberg's JDBC catalog, which PyIceberg's `SqlCatalog` reads
//! and writes, too.
//!
//! Not `iceberg-catalog-sql`: Cargo links one SQLite into a program, and the crate's readers of phones' databases have
//! another release of it. What it takes is a swap of one text under a condition.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuildResult, TableMetadataBuilder};
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, MetadataLocation, Namespace, NamespaceIdent, Result, Runtime, TableCommit,
    TableCreation, TableIdent,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::LakeCatalog;

/// Tables of one folder. Several processes may have it open: a commit names the metadata that it began with, and one that
/// comes second gets an error that says so.
#[derive(Debug)]
pub struct SqliteCatalog {
    connection: Mutex<Connection>,
    warehouse: String,
    files: FileIO,
    runtime: Runtime,
}

/// The catalog's name inside the file, as PyIceberg's `load_catalog("foretap", ..)` has it.
const NAME: &str = "foretap";
/// How long a writer waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);
/// The property of a namespace that tells its lake from others.
#[cfg(feature = "aws")]
const LAKE_ID: &str = "foretap.lake";
/// Of a namespace, as PyIceberg marks one that has no properties.
const EXISTS: &str = "exists";

impl SqliteCatalog {
    /// Opens the catalog in `file`, or makes it; tables that it makes lie below `warehouse`, a folder's or a prefix's address, and
    /// are read and written by `files`.
    ///
    /// # Errors
    /// The file cannot be opened, or is no SQLite database. This must run inside a Tokio runtime.
    pub fn open(file: &Path, warehouse: String, files: FileIO) -> foretap::Result<Self> {
        let connection = connect(file).map_err(|error| {
            foretap::Error::new(foretap::ErrorKind::Io, format!("cannot open the lake's catalog: {error}"))
                .file(file)
                .next_step("look for a full disk or a folder that cannot be written, or move the file away")
        })?;
        Ok(Self {
            connection: Mutex::new(connection),
            warehouse,
            files,
            runtime: Runtime::try_current().map_err(|error| super::failed("find a runtime", &error))?,
        })
    }

    /// The metadata of a table that lies outside the folder, if there is one: the folder was copied or moved.
    pub(super) fn elsewhere(&self) -> Result<Option<String>> {
        let locations = self.with(|connection| {
            let select = "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ?1";
            let mut statement = connection.prepare(select)?;
            let rows = statement.query_map(params![NAME], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        let inside = format!("{}/", self.warehouse);
        Ok(locations.into_iter().find(|location| !location.starts_with(&inside)))
    }

    /// The lake's own id, made where there is none.
    #[cfg(feature = "aws")]
    pub(super) fn lake_id(&self, namespace: &str) -> Result<String> {
        self.with(|connection| {
            let insert = "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?1, ?2, ?3, ?4)";
            let new = uuid::Uuid::now_v7().to_string();
            connection.execute(insert, params![NAME, namespace, LAKE_ID, new])?;
            let select = "SELECT property_value FROM iceberg_namespace_properties \
                          WHERE catalog_name = ?1 AND namespace = ?2 AND property_key = ?3";
            connection.query_row(select, params![NAME, namespace, LAKE_ID], |row| row.get(0))
        })
    }

    /// Runs `work` on the connection. It is short: one statement.
    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| {
            let kind = ErrorKind::Unexpected;
            Error::new(kind, format!("the catalog's database: {error}")).with_retryable(is_busy(&error))
        })
    }

    fn found(&self, table: &TableIdent) -> Result<String> {
        let found = self.with(|connection| {
            let select = "SELECT metadata_location FROM iceberg_tables \
                          WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3";
            let of = params![NAME, table.namespace().to_url_string(), table.name()];
            connection.query_row(select, of, |row| row.get::<_, String>(0)).optional()
        })?;
        found.ok_or_else(|| Error::new(ErrorKind::TableNotFound, format!("no table `{}`", table.name())))
    }

    fn built(&self, ident: TableIdent, metadata: TableMetadata, location: String) -> Result<Table> {
        Table::builder()
            .identifier(ident)
            .metadata(metadata)
            .metadata_location(location)
            .file_io(self.files.clone())
            .runtime(self.runtime.clone())
            .build()
    }

    /// Makes `after` the table's metadata, if `before` still is: durably. The files that it refers to are on the disk.
    async fn swap(&self, before: &str, after: &Table) -> Result<()> {
        let location = after.metadata_location_result()?.to_owned();
        let parsed: MetadataLocation = location.parse()?;
        after.metadata().write_to(&self.files, &parsed).await?;
        sync(&location)?;
        let ident = after.identifier();
        let changed = self.with(|connection| {
            let update = "UPDATE iceberg_tables SET metadata_location = ?1, previous_metadata_location = ?2 \
                          WHERE catalog_name = ?3 AND table_namespace = ?4 AND table_name = ?5 \
                          AND metadata_location = ?2";
            let values = params![location, before, NAME, ident.namespace().to_url_string(), ident.name()];
            connection.execute(update, values)
        })?;
        if changed == 0 {
            // Ours was never the table's: nobody reads it.
            self.files.delete(&location).await?;
            let message = "another commit came first: read the table again and commit again";
            return Err(Error::new(ErrorKind::CatalogCommitConflicts, message).with_retryable(true));
        }
        Ok(())
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS iceberg_tables (
             catalog_name VARCHAR(255) NOT NULL,
             table_namespace VARCHAR(255) NOT NULL,
             table_name VARCHAR(255) NOT NULL,
             metadata_location VARCHAR(1000),
             previous_metadata_location VARCHAR(1000),
             iceberg_type VARCHAR(5) DEFAULT 'TABLE',
             PRIMARY KEY (catalog_name, table_namespace, table_name));
         CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
             catalog_name VARCHAR(255) NOT NULL,
             namespace VARCHAR(255) NOT NULL,
             property_key VARCHAR(255) NOT NULL,
             property_value VARCHAR(1000) NOT NULL,
             PRIMARY KEY (catalog_name, namespace, property_key));",
    )?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked))
}

/// Waits until a file's bytes are on the disk, and its folder's entry for it. What S3 has answered to is durable.
pub(super) fn sync(location: &str) -> Result<()> {
    if location.contains("://") && !location.starts_with("file://") {
        return Ok(());
    }
    let path = Path::new(location.strip_prefix("file://").unwrap_or(location));
    let synced =
        std::fs::File::open(path).and_then(|file| file.sync_all()).and_then(|()| match path.parent() {
            Some(folder) => std::fs::File::open(folder).and_then(|folder| folder.sync_all()),
            None => Ok(()),
        });
    synced.map_err(|error| {
        Error::new(ErrorKind::Unexpected, format!("cannot sync {}: {error}", path.display()))
    })
}

/// The manifests that the newest snapshot brought.
async fn sync_written(table: &Table) -> Result<()> {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(()) };
    sync(snapshot.manifest_list())?;
    let list = table.manifest_list_reader(snapshot).load().await?;
    let new = list.entries().iter().filter(|entry| entry.added_snapshot_id == snapshot.snapshot_id());
    for manifest in new {
        sync(&manifest.manifest_path)?;
    }
    Ok(())
}

#[async_trait]
impl LakeCatalog for SqliteCatalog {
    async fn make_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        match self.create_namespace(namespace, HashMap::new()).await {
            Err(error) if error.kind() != ErrorKind::NamespaceAlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    async fn make_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<bool> {
        match self.create_table(namespace, creation).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TableAlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn load(&self, table: &TableIdent) -> Result<Table> {
        self.load_table(table).await
    }

    async fn location(&self, table: &TableIdent) -> Result<String> {
        self.found(table)
    }

    async fn replace(&self, table: &Table, new: TableMetadataBuildResult) -> Result<()> {
        let before = table.metadata_location_result()?;
        let parsed: MetadataLocation = before.parse()?;
        let location = parsed.with_next_version().with_new_metadata(&new.metadata).to_string();
        self.swap(before, &self.built(table.identifier().clone(), new.metadata, location)?).await
    }
}

fn unsupported<T>(doing: &str) -> Result<T> {
    Err(Error::new(ErrorKind::FeatureUnsupported, format!("this catalog does not {doing}")))
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        if parent.is_some() {
            return Ok(Vec::new());
        }
        let names = self.with(|connection| {
            let select =
                "SELECT DISTINCT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?1";
            let mut statement = connection.prepare(select)?;
            let rows = statement.query_map(params![NAME], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        Ok(names.into_iter().map(NamespaceIdent::new).collect())
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        if self.namespace_exists(namespace).await? {
            let message = format!("the namespace `{}` is there", namespace.to_url_string());
            return Err(Error::new(ErrorKind::NamespaceAlreadyExists, message));
        }
        let mut entries = properties.clone();
        entries.insert(EXISTS.to_owned(), "true".to_owned());
        for (key, value) in entries {
            self.with(|connection| {
                let insert = "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?1, ?2, ?3, ?4)";
                connection.execute(insert, params![NAME, namespace.to_url_string(), key, value])
            })?;
        }
        Ok(Namespace::with_properties(namespace.clone(), properties))
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        if self.namespace_exists(namespace).await? {
            Ok(Namespace::new(namespace.clone()))
        } else {
            Err(Error::new(
                ErrorKind::NamespaceNotFound,
                format!("no namespace `{}`", namespace.to_url_string()),
            ))
        }
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.with(|connection| {
            let select =
                "SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1 AND namespace = ?2";
            let found = connection.query_row(select, params![NAME, namespace.to_url_string()], |_| Ok(()));
            found.optional().map(|found| found.is_some())
        })
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        unsupported("change namespaces")
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        unsupported("drop namespaces")
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let names = self.with(|connection| {
            let select =
                "SELECT table_name FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2";
            let mut statement = connection.prepare(select)?;
            let of = params![NAME, namespace.to_url_string()];
            let rows = statement.query_map(of, |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        Ok(names.into_iter().map(|name| TableIdent::new(namespace.clone(), name)).collect())
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        if self.table_exists(&ident).await? {
            return Err(Error::new(
                ErrorKind::TableAlreadyExists,
                format!("the table `{}` is there", ident.name()),
            ));
        }
        let default = format!("{}/{}/{}", self.warehouse, namespace.to_url_string(), creation.name);
        let location = creation.location.clone().unwrap_or(default);
        let creation = TableCreation { location: Some(location.clone()), ..creation };
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        let parsed = MetadataLocation::new_with_metadata(location, &metadata);
        metadata.write_to(&self.files, &parsed).await?;
        self.register_table(&ident, parsed.to_string()).await
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        let location = self.found(table)?;
        let metadata = TableMetadata::read_from(&self.files, &location).await?;
        self.built(table.clone(), metadata, location)
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.with(|connection| {
            let delete =
                "DELETE FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3";
            connection.execute(delete, params![NAME, table.namespace().to_url_string(), table.name()])
        })
        .map(|_| ())
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        unsupported("purge tables")
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        match self.found(table) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TableNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        unsupported("rename tables")
    }

    async fn register_table(&self, table: &TableIdent, metadata_location: String) -> Result<Table> {
        sync(&metadata_location)?;
        let inserted = self.with(|connection| {
            let insert = "INSERT OR IGNORE INTO iceberg_tables \
                          (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
                          VALUES (?1, ?2, ?3, ?4, 'TABLE')";
            let values = params![NAME, table.namespace().to_url_string(), table.name(), metadata_location];
            connection.execute(insert, values)
        })?;
        if inserted == 0 {
            return Err(Error::new(
                ErrorKind::TableAlreadyExists,
                format!("the table `{}` is there", table.name()),
            ));
        }
        self.load_table(table).await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        let table = self.load_table(commit.identifier()).await?;
        let before = table.metadata_location_result()?.to_owned();
        let after = commit.apply(table)?;
        sync_written(&after).await?;
        self.swap(&before, &after).await?;
        Ok(after)
    }
}
