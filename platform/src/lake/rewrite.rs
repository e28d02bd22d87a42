//! Files taken out of a table and others put in their place, in one snapshot: what compaction, retention and forgetting a
//! person have in common.
//!
//! Only whole files are replaced: a table never has row-level deletes of ours. One that has them from another engine is
//! refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use futures::TryStreamExt as _;
use iceberg::expr::Reference;
use iceberg::scan::FileScanTask;
use iceberg::spec::{Datum, Operation, Snapshot, TableMetadataBuildResult};
use iceberg::table::Table;

use super::scan::is_of;
use super::snapshot::{Replacement, SnapshotFiles};
use super::versions::rollback_of;
use super::writer::write_files;
use super::{Lake, TableName, failed, tables};
use crate::store::MasterKey;

/// How often a rewrite that lost against a commit is done again from the start.
const ATTEMPTS: u32 = 20;
/// Files of a partition below this size are put together.
const SMALL_BYTES: u64 = 64 << 20;

/// What forgetting a person did to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Forgotten {
    /// Rows that were theirs, in the newest snapshot.
    pub rows: u64,
    /// Tags whose snapshots were made anew without them.
    pub tags: u64,
    /// Rows that were theirs in those, summed over the tags.
    pub tagged_rows: u64,
    /// Files that were deleted.
    pub files: u64,
    /// Older versions of deleted files that S3 had kept, and that were deleted for good.
    pub versions: u64,
}

/// What cleaning did to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Cleaned {
    /// Rows that are not in the newest snapshot any more.
    pub rows: u64,
    /// Data files that it has less.
    pub files_less: u64,
    /// Older snapshots that were dropped.
    pub snapshots: u64,
    /// Files that nothing refers to any more and that were deleted.
    pub files_deleted: u64,
}

impl Lake {
    /// Removes a person's rows from the newest snapshot and from every tagged one, drops all other snapshots, and deletes the
    /// files that had them. What is left of the table holds no byte of theirs.
    ///
    /// # Errors
    /// A file cannot be read or written, or the table changes all the time. Call it again: it goes on.
    pub async fn forget(&self, name: TableName, user: UserId) -> Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        let mut seen = None;
        for attempt in 0.. {
            let now = named(&self.table(name).await?)?;
            // Somebody may have named a version that still had them, or have gone back to one.
            if seen.as_ref() == Some(&now) {
                break;
            }
            if attempt == ATTEMPTS {
                return Err(Error::new(ErrorKind::Io, "versions are named or gone back to all the time")
                    .next_step("try again when nobody does"));
            }
            for reference in now.0.iter().map(Some).chain([None]) {
                let rows = self.forget_in(name, user, reference.map(String::as_str), None).await?;
                match reference {
                    Some(_) => {
                        forgotten.tags += u64::from(rows > 0);
                        forgotten.tagged_rows += rows;
                    }
                    None => forgotten.rows += rows,
                }
            }
            forgotten.files += self.expire(name, i64::MAX).await?.files_deleted;
            seen = Some(now);
        }
        forgotten.versions = self.purge(name).await?;
        Ok(forgotten)
    }

    /// Deletes for good what was deleted of a table's files before: S3 may keep older versions.
    pub(super) async fn purge(&self, name: TableName) -> Result<u64> {
        let table = self.table(name).await?;
        self.files.purge(table.metadata().location()).await
    }

    /// The same of dead letters, whose bytes have to be opened to see whose they are.
    ///
    /// # Errors
    /// As [`forget`](Self::forget), or they were sealed under another key.
    pub async fn forget_dead_letters(&self, user: UserId, master: &MasterKey) -> Result<Forgotten> {
        let rows = self.forget_in(TableName::DeadLetters, user, None, Some(master)).await?;
        let files = self.expire(TableName::DeadLetters, i64::MAX).await?.files_deleted;
        let versions = self.purge(TableName::DeadLetters).await?;
        Ok(Forgotten { rows, files, versions, ..Forgotten::default() })
    }

    /// The same of one reference's snapshot: a tag's, or the newest. Returns the rows that were removed.
    async fn forget_in(
        &self,
        name: TableName,
        user: UserId,
        tag: Option<&str>,
        master: Option<&MasterKey>,
    ) -> Result<u64> {
        let theirs = user.to_string();
        let theirs = theirs.as_str();
        let wrong = |column: &str| {
            Error::new(ErrorKind::Data, "not what foretap writes").field(format!("{}.{column}", name.name()))
        };
        let keep = |batch: &RecordBatch| -> Result<BooleanArray> {
            match master {
                None => {
                    let users = batch.column_by_name("user").and_then(|column| column.as_string_opt::<i32>());
                    let users = users.ok_or_else(|| wrong("user"))?;
                    Ok(users.iter().map(|found| Some(found != Some(theirs))).collect())
                }
                Some(master) => {
                    let raw =
                        batch.column_by_name("raw_sealed").and_then(|column| column.as_binary_opt::<i64>());
                    let raw = raw.ok_or_else(|| wrong("raw_sealed"))?;
                    let is_other = |sealed: Option<&[u8]>| -> Result<bool> {
                        let opened =
                            sealed.map(|sealed| master.open(sealed)).transpose()?.unwrap_or_default();
                        Ok(!holds(&opened, theirs.as_bytes()))
                    };
                    raw.iter().map(|sealed| is_other(sealed).map(Some)).collect()
                }
            }
        };
        let keep = &keep;
        self.retry(name, |table| async move {
            let read = |error: iceberg::Error| failed("find a person's rows", &error);
            let Some(base) = base(&table, tag) else { return Ok(Some(0)) };
            let mut scan = table.scan().snapshot_id(base.snapshot_id());
            if master.is_none() {
                scan = scan.with_filter(is_of(user));
            }
            let scan = scan.build().map_err(read)?;
            let tasks: Vec<FileScanTask> =
                scan.plan_files().await.map_err(read)?.try_collect().await.map_err(read)?;
            let (mut replacement, mut rows) = (Replacement::default(), 0);
            for task in whole_files(&table, &base, tasks).await? {
                let batch = read_whole(&table, vec![task.clone()]).await?;
                let left = filter_record_batch(&batch, &keep(&batch)?)
                    .map_err(|error| Error::new(ErrorKind::Data, error.to_string()))?;
                if left.num_rows() == batch.num_rows() {
                    continue;
                }
                rows += (batch.num_rows() - left.num_rows()) as u64;
                replacement.removed.insert(task.data_file_path);
                if left.num_rows() > 0 {
                    replacement.added.extend(write_files(&table, &left).await.map_err(read)?);
                }
            }
            if replacement.removed.is_empty() {
                return Ok(Some(0));
            }
            let done = self.replace(&table, &base, replacement, Operation::Overwrite, tag).await?;
            Ok(done.then_some(rows))
        })
        .await
    }

    /// Puts the small files of each partition together.
    ///
    /// # Errors
    /// A file cannot be read or written, or the table changes all the time.
    pub async fn compact(&self, name: TableName) -> Result<Cleaned> {
        self.retry(name, |table| async move {
            let Some(base) = base(&table, None) else { return Ok(Some(Cleaned::default())) };
            let mut by_partition: HashMap<_, Vec<FileScanTask>> = HashMap::new();
            for task in all_files(&table, &base).await? {
                if task.file_size_in_bytes < SMALL_BYTES {
                    by_partition.entry(task.partition.clone()).or_default().push(task);
                }
            }
            let mut replacement = Replacement::default();
            for tasks in by_partition.into_values().filter(|tasks| tasks.len() > 1) {
                replacement.removed.extend(tasks.iter().map(|task| task.data_file_path.clone()));
                let batch = read_whole(&table, tasks).await?;
                let files = write_files(&table, &batch).await;
                replacement.added.extend(files.map_err(|error| failed("write rows", &error))?);
            }
            let files_less = replacement.removed.len().saturating_sub(replacement.added.len()) as u64;
            if replacement.removed.is_empty() {
                return Ok(Some(Cleaned::default()));
            }
            let done = self.replace(&table, &base, replacement, Operation::Replace, None).await?;
            Ok(done.then_some(Cleaned { files_less, ..Cleaned::default() }))
        })
        .await
    }

    /// Removes the rows of days that ended before `until_us` (microseconds since 1970) from the newest snapshot, and drops older
    /// snapshots that have them. Tagged ones stay, and so does the list of who was forgotten. Where `is_trial`, it only counts.
    ///
    /// # Errors
    /// A file cannot be read or written, or the table changes all the time.
    pub async fn retain(&self, name: TableName, until_us: i64, is_trial: bool) -> Result<Cleaned> {
        if name == TableName::Forgotten {
            // They are forgotten for good: whoever sends their past again is refused.
            return if is_trial { Ok(Cleaned::default()) } else { self.expire(name, i64::MAX).await };
        }
        let until_day = until_us.div_euclid(DAY_US);
        let day = tables::day(name);
        let removed = self
            .retry(name, |table| async move {
                let read = |error: iceberg::Error| failed("find old rows", &error);
                let Some(base) = base(&table, None) else { return Ok(Some(Cleaned::default())) };
                let is_old = Reference::new(day)
                    .less_than(Datum::timestamptz_micros(until_day.saturating_mul(DAY_US)));
                let scan =
                    table.scan().snapshot_id(base.snapshot_id()).with_filter(is_old).build().map_err(read)?;
                let tasks: Vec<FileScanTask> =
                    scan.plan_files().await.map_err(read)?.try_collect().await.map_err(read)?;
                let mut replacement = Replacement::default();
                let mut rows = 0;
                for task in tasks {
                    rows += task.record_count.unwrap_or(0);
                    replacement.removed.insert(task.data_file_path);
                }
                let files_less = replacement.removed.len() as u64;
                if files_less == 0 || is_trial {
                    return Ok(Some(Cleaned { rows, files_less, ..Cleaned::default() }));
                }
                let done = self.replace(&table, &base, replacement, Operation::Delete, None).await?;
                Ok(done.then_some(Cleaned { rows, files_less, ..Cleaned::default() }))
            })
            .await?;
        if is_trial {
            return Ok(removed);
        }
        let expired = self.expire(name, i64::MAX).await?;
        self.purge(name).await?;
        Ok(Cleaned { rows: removed.rows, files_less: removed.files_less, ..expired })
    }

    /// Drops the snapshots before `before_ms` (milliseconds since 1970) that are neither the newest nor tagged, and then deletes
    /// the files that only they referred to.
    ///
    /// # Errors
    /// A file cannot be read or written, or the table changes all the time.
    pub async fn expire(&self, name: TableName, before_ms: i64) -> Result<Cleaned> {
        self.retry(name, |table| async move {
            let metadata = table.metadata();
            let tagged: BTreeSet<i64> = tables::tags(metadata)?.into_values().collect();
            let (old, kept): (Vec<_>, Vec<_>) = metadata.snapshots().cloned().partition(|snapshot| {
                let id = snapshot.snapshot_id();
                metadata.current_snapshot_id() != Some(id)
                    && !tagged.contains(&id)
                    && snapshot.timestamp_ms() < before_ms
            });
            if old.is_empty() {
                return Ok(Some(Cleaned::default()));
            }
            let mut needed = BTreeSet::new();
            for snapshot in &kept {
                needed.extend(files_of(&table, snapshot).await?);
            }
            let mut unneeded = BTreeSet::new();
            for snapshot in &old {
                unneeded.extend(
                    files_of(&table, snapshot).await?.into_iter().filter(|file| !needed.contains(file)),
                );
            }
            let ids: Vec<i64> = old.iter().map(|snapshot| snapshot.snapshot_id()).collect();
            let before = location(&table)?;
            let new = metadata.clone().into_builder(Some(before)).remove_snapshots(&ids).build();
            let new = new.map_err(|error| failed("drop snapshots", &error))?;
            if !self.swap(&table, new).await? {
                return Ok(None);
            }
            // Only now does nothing refer to them.
            let files_deleted = unneeded.len() as u64;
            let deleted = table.file_io().delete_stream(futures::stream::iter(unneeded)).await;
            deleted.map_err(|error| {
                failed("delete files", &error)
                    .next_step("run `foretap lake orphans` when a day has passed: it finds what was left")
            })?;
            Ok(Some(Cleaned { snapshots: ids.len() as u64, files_deleted, ..Cleaned::default() }))
        })
        .await
    }

    /// Runs `work` on the table as it is, again as long as it says by `None` that a commit came first.
    pub(super) async fn retry<T, F: Future<Output = Result<Option<T>>>>(
        &self,
        name: TableName,
        work: impl Fn(Table) -> F,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS {
            if let Some(done) = work(self.table(name).await?).await? {
                return Ok(done);
            }
        }
        Err(Error::new(ErrorKind::Io, format!("the table `{}` is committed to all the time", name.name()))
            .next_step("try again when less is committed"))
    }

    /// Makes `new` the table's metadata; `false` where a commit came first.
    pub(super) async fn swap(&self, table: &Table, new: TableMetadataBuildResult) -> Result<bool> {
        match self.catalog().replace(table, new).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == iceberg::ErrorKind::CatalogCommitConflicts => Ok(false),
            Err(error) => Err(failed("commit", &error)),
        }
    }

    /// A snapshot of `base` with the replacement, for the newest one's place or for a tag's; `false` where a commit came first.
    async fn replace(
        &self,
        table: &Table,
        base: &Snapshot,
        replacement: Replacement,
        operation: Operation,
        tag: Option<&str>,
    ) -> Result<bool> {
        let failed = |error: iceberg::Error| failed("make a snapshot", &error);
        let made =
            SnapshotFiles::write(table, Some(base), &replacement, operation, []).await.map_err(failed)?;
        let new = made.metadata(table, tag, []).map_err(failed)?;
        let done = self.swap(table, new).await?;
        if !done {
            made.delete(table).await;
            for file in &replacement.added {
                // Nothing refers to them. One that cannot be deleted is an orphan.
                table.file_io().delete(file.file_path()).await.unwrap_or_default();
            }
        }
        Ok(done)
    }
}

/// A table's tags, and the last time that it was set back: what decides which snapshots stay.
fn named(table: &Table) -> Result<(BTreeSet<String>, Option<String>)> {
    let tags = tables::tags(table.metadata())?;
    Ok((tags.into_keys().collect(), rollback_of(table)))
}

/// Whether the bytes have these in them.
pub(super) fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

const DAY_US: i64 = 86_400_000_000;

pub(super) fn location(table: &Table) -> Result<String> {
    let location = table.metadata_location_result().map(str::to_owned);
    location.map_err(|error| failed("find the table's metadata", &error))
}

/// The snapshot of a tag, or the newest.
fn base(table: &Table, tag: Option<&str>) -> Option<Arc<Snapshot>> {
    let metadata = table.metadata();
    match tag {
        Some(tag) => metadata.snapshot_for_ref(tag).cloned(),
        None => metadata.current_snapshot().cloned(),
    }
}

async fn all_files(table: &Table, base: &Snapshot) -> Result<Vec<FileScanTask>> {
    let read = |error: iceberg::Error| failed("list files", &error);
    let scan = table.scan().snapshot_id(base.snapshot_id()).build().map_err(read)?;
    let tasks: Vec<FileScanTask> =
        scan.plan_files().await.map_err(read)?.try_collect().await.map_err(read)?;
    if tasks.iter().any(|task| !task.deletes.is_empty()) {
        return Err(Error::new(ErrorKind::Data, "the table has row-level deletes of another engine")
            .next_step(
                "have that engine rewrite its data files (Spark: rewrite_data_files), then try again",
            ));
    }
    Ok(tasks)
}

/// The files of `found`, as a whole and with all columns: a filter's plan may name parts.
async fn whole_files(table: &Table, base: &Snapshot, found: Vec<FileScanTask>) -> Result<Vec<FileScanTask>> {
    let paths: BTreeSet<String> = found.into_iter().map(|task| task.data_file_path).collect();
    let all: BTreeMap<String, FileScanTask> =
        all_files(table, base).await?.into_iter().map(|task| (task.data_file_path.clone(), task)).collect();
    Ok(all.into_iter().filter(|(path, _)| paths.contains(path)).map(|(_, task)| task).collect())
}

/// All rows of some files, under the table's newest columns.
async fn read_whole(table: &Table, tasks: Vec<FileScanTask>) -> Result<RecordBatch> {
    let read = |error: iceberg::Error| failed("read rows", &error);
    let schema = iceberg::arrow::schema_to_arrow_schema(table.metadata().current_schema()).map_err(read)?;
    let ids: Vec<i32> =
        table.metadata().current_schema().as_struct().fields().iter().map(|field| field.id).collect();
    let tasks = tasks.into_iter().map(move |task| {
        Ok(FileScanTask {
            schema: table.metadata().current_schema().clone(),
            project_field_ids: ids.clone(),
            ..task
        })
    });
    let tasks: Vec<iceberg::Result<FileScanTask>> = tasks.collect();
    let found = table.reader_builder().build().read(Box::pin(futures::stream::iter(tasks))).map_err(read)?;
    let batches: Vec<RecordBatch> = found.stream().try_collect().await.map_err(read)?;
    let schema = batches.first().map_or_else(|| Arc::new(schema), RecordBatch::schema);
    concat_batches(&schema, &batches).map_err(|error| Error::new(ErrorKind::Data, error.to_string()))
}

/// Every file that a snapshot refers to, its own list included.
pub(super) async fn files_of(table: &Table, snapshot: &Arc<Snapshot>) -> Result<BTreeSet<String>> {
    let read = |error: iceberg::Error| failed("list a snapshot's files", &error);
    let mut files = BTreeSet::from([snapshot.manifest_list().to_owned()]);
    let list = table.manifest_list_reader(snapshot).load().await.map_err(read)?;
    for manifest in list.entries() {
        files.insert(manifest.manifest_path.clone());
        let entries = manifest.load_manifest(table.file_io()).await.map_err(read)?;
        let alive = entries.entries().iter().filter(|entry| entry.is_alive());
        files.extend(alive.map(|entry| entry.file_path().to_owned()));
    }
    Ok(files)
}
