//! Commits: rows become files, files a snapshot, once.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use foretap::{Error, ErrorKind, Result};
use iceberg::arrow::{RecordBatchPartitionSplitter, schema_to_arrow_schema};
use iceberg::spec::{DataFile, DataFileFormat};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::partitioning::PartitioningWriter as _;
use iceberg::writer::partitioning::fanout_writer::FanoutWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::positions::PROPERTY;
use super::{DeadLetter, Impression, Lake, LakeEvent, Positions, TableName, catalog, failed, rows};

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
}

impl Commit {
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.impressions.is_empty() && self.dead_letters.is_empty()
    }
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
    /// holds are in it already. Call again with the same rows after an error: what was done is not done twice.
    ///
    /// # Errors
    /// A file or the catalog cannot be written. Some tables may have their rows.
    pub async fn commit(&self, commit: &Commit) -> Result<()> {
        let Commit { events, impressions, dead_letters, positions } = commit;
        let columns = |rows: &[(Impression, Arc<str>, u64)], schema: &SchemaRef| {
            let rows: Vec<Impression> = rows.iter().map(|(impression, ..)| impression.clone()).collect();
            rows::impressions(&rows, schema)
        };
        self.append(TableName::DeadLetters, dead_letters, positions, rows::dead_letters).await?;
        self.append(TableName::Impressions, impressions, positions, columns).await?;
        self.append(TableName::Events, events, positions, rows::events).await
    }

    /// How far the table of events has been filled.
    ///
    /// # Errors
    /// The table cannot be read, or its positions are damaged.
    pub async fn positions(&self) -> Result<Positions> {
        held(&self.table(TableName::Events).await?)
    }

    async fn append<R: FromRecord + Clone>(
        &self,
        name: TableName,
        rows: &[R],
        positions: &Positions,
        columns: impl Fn(&[R], &SchemaRef) -> Result<RecordBatch>,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let table = self.table(name).await?;
        let in_already = held(&table)?;
        let new: Vec<R> = rows
            .iter()
            .filter(|row| {
                let (partition, position) = row.record();
                !in_already.holds(partition, position)
            })
            .cloned()
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let schema = schema_to_arrow_schema(table.metadata().current_schema())
            .map_err(|error| failed("describe a table", &error))?;
        let batch = columns(&new, &Arc::new(schema))?;
        let files = write_files(&table, &batch).await.map_err(|error| failed("write rows", &error))?;
        self.add_files(name, &files, positions).await
    }

    /// Makes a snapshot of `files`: tried again where another commit came first, and not where it turns out to be done.
    async fn add_files(&self, name: TableName, files: &[DataFile], positions: &Positions) -> Result<()> {
        let id = uuid::Uuid::now_v7().to_string();
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 20)).await;
            }
            // What an attempt without an answer did is found here.
            let table = self.table(name).await?;
            if has_commit(&table, &id) {
                return Ok(());
            }
            let mut all = held(&table)?;
            all.merge(positions);
            let positions = all.to_json()?;
            let made = async {
                let summary = [(COMMIT.to_owned(), id.clone()), (PROPERTY.to_owned(), positions.clone())];
                let transaction = Transaction::new(&table);
                let append = transaction
                    .fast_append()
                    .with_check_duplicate(false)
                    .set_snapshot_properties(summary.into())
                    .add_data_files(files.iter().cloned());
                let transaction = append.apply(transaction)?;
                let properties = transaction.update_table_properties().set(PROPERTY.to_owned(), positions);
                properties.apply(transaction)?.commit(self.catalog().as_ref()).await
            };
            if let Err(error) = made.await {
                tracing::warn!(table = name.name(), attempt, %error, "a commit of the lake failed; trying again");
                last = Some(error);
            } else if has_commit(&self.table(name).await?, &id) {
                return Ok(());
            }
        }
        Err(match last {
            Some(error) => failed("commit rows", &error),
            None => Error::new(ErrorKind::Io, "a commit of the lake was not found when it was read back")
                .next_step("look for another writer that replaces the table's history"),
        })
    }
}

/// The positions that a table says it holds.
fn held(table: &Table) -> Result<Positions> {
    match table.metadata().properties().get(PROPERTY) {
        Some(text) => Positions::from_json(text),
        None => Ok(Positions::default()),
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
    let schema = metadata.current_schema().clone();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("foretap ", env!("CARGO_PKG_VERSION")).to_owned());
    let parquet = ParquetWriterBuilder::new(properties.build(), schema.clone());
    let names =
        DefaultFileNameGenerator::new(uuid::Uuid::now_v7().to_string(), None, DataFileFormat::Parquet);
    let files = RollingFileWriterBuilder::new_with_default_file_size(
        parquet,
        table.file_io().clone(),
        DefaultLocationGenerator::new(metadata)?,
        names,
    );
    let splitter = RecordBatchPartitionSplitter::try_new_with_computed_values(
        schema,
        metadata.default_partition_spec().clone(),
    )?;
    let mut writer = FanoutWriter::new(DataFileWriterBuilder::new(files));
    for (partition, part) in splitter.split(batch)? {
        writer.write(partition, part).await?;
    }
    let written = writer.close().await?;
    written.iter().try_for_each(|file| catalog::sync(file.file_path()))?;
    Ok(written)
}
