//! Commits: rows become files, files a snapshot, once.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use foretap::{Error, ErrorKind, Result};
use iceberg::arrow::{RecordBatchPartitionSplitter, schema_to_arrow_schema};
use iceberg::spec::{DataFile, DataFileFormat, Operation, PartitionKey};
use iceberg::table::Table;
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::partitioning::PartitioningWriter as _;
use iceberg::writer::partitioning::fanout_writer::FanoutWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::forgotten::marked;
use super::positions::{PROPERTY, held};
use super::snapshot::{Replacement, SnapshotFiles};
use super::versions::changed;
use super::{DeadLetter, Impression, Lake, LakeEvent, Positions, TableName, catalog, failed, rows, tables};

/// The entry of a snapshot's summary that tells our commits apart.
const COMMIT: &str = "foretap.commit";
/// How often a commit that lost against another's is done again.
const ATTEMPTS: u32 = 20;

/// Rows that are committed together, and the source positions that they are all the rows of.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Of the table of events.
    pub events: Vec<LakeEvent>,
    /// Of the table of impressions: each with its partition and position.
    pub impressions: Vec<(Impression, Arc<str>, u64)>,
    /// Of the table of dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// What is in the tables after this commit.
    pub positions: Positions,
    /// The version of [`Lake::forgotten`] by which the rows were gone through: none is of somebody who was forgotten.
    pub forgotten: i64,
}

impl Commit {
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.impressions.is_empty() && self.dead_letters.is_empty()
    }
}

/// What a table was when files were written for it.
struct Base {
    schema: i32,
    forgotten: i64,
    positions: Positions,
}

/// Where a row came from.
trait FromRecord {
    fn record(&self) -> (&str, u64);
}

impl FromRecord for LakeEvent {
    fn record(&self) -> (&str, u64) {
        (&self.partition, self.position)
    }
}

impl FromRecord for DeadLetter {
    fn record(&self) -> (&str, u64) {
        (&self.partition, self.position)
    }
}

impl FromRecord for (Impression, Arc<str>, u64) {
    fn record(&self) -> (&str, u64) {
        (&self.1, self.2)
    }
}

impl Lake {
    /// Adds the rows that are not in yet, in one snapshot a table, and reads it back. Rows of a record whose position a table
    /// holds are in it already. Call again with the same rows after an error: what was done is not done twice. `false` where
    /// somebody was forgotten since [`Commit::forgotten`], by this process or another one: go through the rows once more, and call
    /// again.
    ///
    /// # Errors
    /// A file or the catalog cannot be written. Some tables may have their rows.
    pub async fn commit(&self, commit: &Commit) -> Result<bool> {
        let Commit { events, impressions, dead_letters, positions, forgotten } = commit;
        let after = (positions, *forgotten);
        let columns = |rows: &[(Impression, Arc<str>, u64)], schema: &SchemaRef| {
            let rows: Vec<Impression> = rows.iter().map(|(impression, ..)| impression.clone()).collect();
            rows::impressions(&rows, schema)
        };
        Ok(self.append(TableName::DeadLetters, dead_letters, after, rows::dead_letters).await?
            && self.append(TableName::Impressions, impressions, after, columns).await?
            && self.append(TableName::Events, events, after, rows::events).await?)
    }

    /// How far the table of events has been filled.
    ///
    /// # Errors
    /// The table cannot be read, or its positions are damaged.
    pub async fn positions(&self) -> Result<Positions> {
        held(self.table(TableName::Events).await?.metadata())
    }

    async fn append<R: FromRecord + Clone>(
        &self,
        name: TableName,
        rows: &[R],
        (positions, forgotten): (&Positions, i64),
        columns: impl Fn(&[R], &SchemaRef) -> Result<RecordBatch>,
    ) -> Result<bool> {
        if rows.is_empty() {
            return Ok(true);
        }
        for _ in 0..ATTEMPTS {
            let table = self.fitted(name).await?;
            // Before anything is written that nobody would find again.
            self.check_rollback(name, &table)?;
            if marked(table.metadata())? > forgotten {
                return Ok(false);
            }
            let in_already = held(table.metadata())?;
            let new = not_in(rows, &in_already);
            if new.is_empty() {
                return Ok(true);
            }
            let schema = schema_to_arrow_schema(table.metadata().current_schema())
                .map_err(|error| failed("describe a table", &error))?;
            let batch = columns(&new, &Arc::new(schema))?;
            let files = write_files(&table, &batch).await.map_err(|error| failed("write rows", &error))?;
            let files = Replacement { added: files, ..Replacement::default() };
            let schema = table.metadata().current_schema_id();
            let base = Base { schema, forgotten, positions: in_already };
            if self.add_files(name, &files, (&base, positions)).await? {
                return Ok(true);
            }
            for file in &files.added {
                // Nothing refers to them. One that cannot be deleted is an orphan.
                table.file_io().delete(file.file_path()).await.unwrap_or_default();
            }
        }
        let message = "others commit records of the same partitions all the time";
        Err(Error::new(ErrorKind::Io, message).next_step("let one process read each partition"))
    }

    /// The table with the columns that this build writes. Those that it lacks are added; who writes without them goes on.
    async fn fitted(&self, name: TableName) -> Result<Table> {
        self.retry(name, |table| async move {
            let Some(schema) = tables::evolved(name, table.metadata())? else { return Ok(Some(table)) };
            let columns: Vec<String> =
                schema.as_struct().fields().iter().map(|field| field.name.clone()).collect();
            let new = changed(&table, |new| new.add_current_schema(schema))?;
            if self.swap(&table, new).await? {
                tracing::warn!(
                    table = name.name(),
                    ?columns,
                    "a table of an older build has this one's columns now"
                );
            }
            Ok(None)
        })
        .await
    }

    /// Makes a snapshot of `files`: tried again where another commit came first, and not where it turns out to be done. `false`
    /// where the table is not any more what the files were written for. Somebody else has brought records of these partitions in:
    /// a process that read on after its partitions were given away; then the files may have rows that are in. Or the columns are
    /// others: a file's least and greatest values have the types of its time. Or somebody was forgotten.
    async fn add_files(
        &self,
        name: TableName,
        files: &Replacement,
        (base, positions): (&Base, &Positions),
    ) -> Result<bool> {
        let id = uuid::Uuid::now_v7().to_string();
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 20)).await;
            }
            // What an attempt without an answer did is found here.
            let table = self.table(name).await?;
            self.check_rollback(name, &table)?;
            if has_commit(&table, &id) {
                return Ok(true);
            }
            let mut all = held(table.metadata())?;
            let is_other = |partition| all.last(partition) != base.positions.last(partition);
            let has_changed = table.metadata().current_schema_id() != base.schema
                || marked(table.metadata())? > base.forgotten;
            if has_changed || positions.iter().any(|(partition, _)| is_other(partition)) {
                return Ok(false);
            }
            all.merge(positions);
            match self.append_files(&table, files, &id, all.to_json()?).await {
                Ok(true) => return Ok(true),
                Ok(false) => last = None,
                Err(error) => {
                    tracing::warn!(table = name.name(), attempt, %error, "a commit of the lake failed; trying again");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(ErrorKind::Io, format!("the table `{}` is committed to all the time", name.name()))
                .next_step("let fewer processes write to this lake, or commit less often")
        }))
    }

    /// One attempt: the files in a snapshot of the table as it was read, with its positions; `false` where a commit came first.
    async fn append_files(
        &self,
        table: &Table,
        files: &Replacement,
        id: &str,
        positions: String,
    ) -> Result<bool> {
        let failed = |error: iceberg::Error| failed("commit rows", &error);
        let base = table.metadata().current_snapshot();
        let summary = [(COMMIT, id.to_owned()), (PROPERTY, positions.clone())];
        let made = SnapshotFiles::write(table, base.map(Arc::as_ref), files, Operation::Append, summary);
        let made = made.await.map_err(failed)?;
        let new = made.metadata(table, None, [(PROPERTY, positions)]).map_err(failed)?;
        let done = self.swap(table, new).await?;
        if !done {
            made.delete(table).await;
        }
        Ok(done)
    }
}

/// The rows of records that are not in yet. As a rule these are all, and a commit may have a million.
fn not_in<'a, R: FromRecord + Clone>(rows: &'a [R], in_already: &Positions) -> Cow<'a, [R]> {
    let is_new = |row: &R| {
        let (partition, position) = row.record();
        !in_already.holds(partition, position)
    };
    match rows.iter().all(is_new) {
        true => Cow::Borrowed(rows),
        false => rows.iter().filter(|row| is_new(row)).cloned().collect(),
    }
}

fn has_commit(table: &Table, id: &str) -> bool {
    table
        .metadata()
        .snapshots()
        .any(|snapshot| snapshot.summary().additional_properties.get(COMMIT).is_some_and(|found| found == id))
}

/// Writes one file a partition, and waits until all are on the disk.
pub(super) async fn write_files(table: &Table, batch: &RecordBatch) -> iceberg::Result<Vec<DataFile>> {
    let metadata = table.metadata();
    let splitter = RecordBatchPartitionSplitter::try_new_with_computed_values(
        metadata.current_schema().clone(),
        metadata.default_partition_spec().clone(),
    )?;
    let parts = splitter.split(batch)?;
    // Encoding and compressing is most of a commit's work: each core has a share of the partitions.
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len()).max(1);
    let mut shares: Vec<Vec<_>> = vec![Vec::new(); cores];
    for (number, part) in parts.into_iter().enumerate() {
        shares[number % cores].push(part);
    }
    let writing: Vec<_> =
        shares.into_iter().map(|share| tokio::spawn(write_share(table.clone(), share))).collect();
    let mut written = Vec::new();
    for share in writing {
        let ended = |error| iceberg::Error::new(iceberg::ErrorKind::Unexpected, format!("a writer: {error}"));
        written.extend(share.await.map_err(ended)??);
    }
    Ok(written)
}

async fn write_share(
    table: Table,
    parts: Vec<(PartitionKey, RecordBatch)>,
) -> iceberg::Result<Vec<DataFile>> {
    let metadata = table.metadata();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("foretap ", env!("CARGO_PKG_VERSION")).to_owned());
    let parquet = ParquetWriterBuilder::new(properties.build(), metadata.current_schema().clone());
    let names =
        DefaultFileNameGenerator::new(uuid::Uuid::now_v7().to_string(), None, DataFileFormat::Parquet);
    let files = RollingFileWriterBuilder::new_with_default_file_size(
        parquet,
        table.file_io().clone(),
        DefaultLocationGenerator::new(metadata)?,
        names,
    );
    let mut writer = FanoutWriter::new(DataFileWriterBuilder::new(files));
    for (partition, part) in parts {
        writer.write(partition, part).await?;
    }
    let written = writer.close().await?;
    written.iter().try_for_each(|file| catalog::sync(file.file_path()))?;
    Ok(written)
}
