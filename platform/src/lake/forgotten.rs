//! The list of who was forgotten, for all processes on one lake: a table of its own, with a hash of each id.
//!
//! Whoever forgets a person adds them to the list first, and then marks each table with the list's version. A commit names the
//! version by which its rows were gone through, and is refused where the table has a newer mark: what a process holds of a
//! person or reads again is not written once they were forgotten. What was committed before the mark is there when the tables
//! are rewritten.

use std::sync::Arc;

use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{Operation, TableMetadata};

use super::snapshot::{Replacement, SnapshotFiles};
use super::writer::write_files;
use super::{Lake, TableName, failed, ident, rows};
use crate::store::ForgottenPeople;

/// The table property with the version of the list.
const MARK: &str = "foretap.forgotten";

impl Lake {
    /// Who was forgotten, by any process on this lake. It is read again only where somebody was since.
    ///
    /// # Errors
    /// The catalog or the list cannot be read.
    pub async fn forgotten(&self) -> Result<Arc<ForgottenPeople>> {
        let location = self.catalog().location(&ident(TableName::Forgotten)).await;
        let location = location.map_err(|error| failed("look for who was forgotten", &error))?;
        let mut known = self.forgotten.lock().await;
        if known.0 != location {
            // Of before the rows are read: they may be newer, and are not older.
            let version = self.table(TableName::Forgotten).await?.metadata().last_sequence_number();
            let people = self.forgotten_people().await?;
            *known = (location, Arc::new(ForgottenPeople::new(version, people)));
        }
        Ok(Arc::clone(&known.1))
    }

    /// Keeps that a person was forgotten at `at_us`: from when this returns, no process on this lake commits anything that
    /// happened or arrived by then.
    ///
    /// # Errors
    /// A file or the catalog cannot be written. Call it again.
    pub async fn keep_forgotten(&self, user: UserId, at_us: i64) -> Result<()> {
        let name = TableName::Forgotten;
        let who: String = ForgottenPeople::hash(user).iter().map(|byte| format!("{byte:02x}")).collect();
        let who = who.as_str();
        let version = self
            .retry(name, |table| async move {
                let failed = |error: iceberg::Error| failed("keep who was forgotten", &error);
                let metadata = table.metadata();
                let schema = schema_to_arrow_schema(metadata.current_schema()).map_err(failed)?;
                let batch = rows::forgotten(&[(who, at_us)], &Arc::new(schema))?;
                let added = write_files(&table, &batch).await.map_err(failed)?;
                let files = Replacement { added, ..Replacement::default() };
                let base = metadata.current_snapshot().map(Arc::as_ref);
                let made = SnapshotFiles::write(&table, base, &files, Operation::Append, []);
                let made = made.await.map_err(failed)?;
                let new = made.metadata(&table, None, []).map_err(failed)?;
                let version = new.metadata.last_sequence_number();
                let done = self.swap(&table, new).await?;
                if !done {
                    made.delete(&table).await;
                    for file in &files.added {
                        // Nothing refers to them. One that cannot be deleted is an orphan.
                        table.file_io().delete(file.file_path()).await.unwrap_or_default();
                    }
                }
                Ok(done.then_some(version))
            })
            .await?;
        for name in [TableName::DeadLetters, TableName::Impressions, TableName::Events] {
            self.mark(name, version).await?;
        }
        Ok(())
    }

    /// From now on a commit to the table needs a list of at least this version.
    async fn mark(&self, name: TableName, version: i64) -> Result<()> {
        self.retry(name, |table| async move {
            if marked(table.metadata())? >= version {
                return Ok(Some(()));
            }
            // A snapshot of its own, with the files of the one before: a catalog on a server tells by it that the table is another.
            let failed = |error: iceberg::Error| failed("mark a table", &error);
            let (base, nothing) =
                (table.metadata().current_snapshot().map(Arc::as_ref), Replacement::default());
            let summary = [(MARK, version.to_string())];
            let made = SnapshotFiles::write(&table, base, &nothing, Operation::Append, summary.clone());
            let made = made.await.map_err(failed)?;
            let new = made.metadata(&table, None, summary).map_err(failed)?;
            let done = self.swap(&table, new).await?;
            if !done {
                made.delete(&table).await;
            }
            Ok(done.then_some(()))
        })
        .await
    }
}

/// The version of the list that a commit to the table needs at least.
pub(super) fn marked(metadata: &TableMetadata) -> Result<i64> {
    let Some(mark) = metadata.properties().get(MARK) else { return Ok(0) };
    mark.parse().map_err(|_| {
        Error::new(ErrorKind::Data, format!("the table's `{MARK}` is no number: `{}`", mark.escape_debug()))
            .next_step("set the property to the last sequence number of the table `foretap.forgotten`")
    })
}
