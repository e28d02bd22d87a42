//! A snapshot made by ourselves: files taken out of a table, others added, properties set, in one piece of metadata.
//!
//! `iceberg`'s own transaction reads the table once more before it commits, and puts its changes on what it then finds. An append
//! may stand on another's commit so; a property that was worked out from the older table may not: it would put back what the
//! other has written. And it takes no file out.

use std::collections::BTreeSet;
use std::sync::Arc;

use iceberg::spec::{
    DataFile, MAIN_BRANCH, ManifestContentType, ManifestFile, ManifestListWriter, ManifestMetadata,
    ManifestWriter, ManifestWriterBuilder, Operation, Snapshot, SnapshotReference, SnapshotRetention,
    Summary, TableMetadataBuildResult,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::{catalog, positions};

/// Files out, files in.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    /// Paths of files that are in the table.
    pub removed: BTreeSet<String>,
    /// Files that are written.
    pub added: Vec<DataFile>,
}

/// A snapshot whose manifests and list are written, and that no metadata has yet.
#[derive(Debug)]
pub(super) struct SnapshotFiles {
    snapshot: Snapshot,
    /// Its list and the manifests that only it refers to.
    written: Vec<String>,
}

/// What a replacement takes out of a table.
#[derive(Debug, Default)]
struct Removed {
    files: u64,
    rows: u64,
    bytes: u64,
}

impl SnapshotFiles {
    /// Writes the manifests of `base` with the replacement, durably: those that name a removed file anew, the others stay, and one
    /// more names the added files. `summary` goes into the snapshot's beside the figures.
    pub async fn write<const N: usize>(
        table: &Table,
        base: Option<&Snapshot>,
        replacement: &Replacement,
        operation: Operation,
        summary: [(&str, String); N],
    ) -> Result<Self> {
        let metadata = table.metadata();
        let mut files = NewManifests::of(table);
        let mut removed = Removed::default();
        let mut manifests = match base {
            Some(base) => files.kept(base, replacement, &operation, &mut removed).await?,
            None => Vec::new(),
        };
        let sequence_number = metadata.last_sequence_number() + 1;
        if !replacement.added.is_empty() {
            let mut writer = files.writer(None)?;
            for file in &replacement.added {
                writer.add_file(file.clone(), sequence_number)?;
            }
            manifests.push(writer.write_manifest_file().await?);
        }
        let list = files.path(format!("snap-{}-0-{}.avro", files.snapshot, files.commit));
        let out = table.file_io().new_output(list.clone())?.writer().await?;
        let parent = base.map(Snapshot::snapshot_id);
        let mut writer = ManifestListWriter::v2(out, files.snapshot, parent, sequence_number);
        writer.add_manifests(manifests.into_iter())?;
        writer.close().await?;
        files.written.push(list.clone());
        files.written.iter().try_for_each(|file| catalog::sync(file))?;

        let figures = figures(base, replacement, &removed);
        // Whoever goes back to this snapshot needs to know which records it holds.
        let positions = base.and_then(|base| positions::handed_on(metadata, base));
        let positions = positions.map(|positions| (positions::PROPERTY.to_owned(), positions));
        let summary = summary.map(|(key, value)| (key.to_owned(), value));
        let summary = figures.chain(positions).chain(summary);
        let snapshot = Snapshot::builder()
            .with_snapshot_id(files.snapshot)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence_number)
            .with_timestamp_ms(jiff::Timestamp::now().as_millisecond().max(metadata.last_updated_ms()))
            .with_manifest_list(list)
            .with_summary(Summary { operation, additional_properties: summary.collect() })
            .with_schema_id(metadata.current_schema_id())
            .build();
        Ok(Self { snapshot, written: files.written })
    }

    /// The table's metadata with this snapshot, as its newest or in a tag's place, and with `properties` set.
    pub fn metadata<const N: usize>(
        &self,
        table: &Table,
        tag: Option<&str>,
        properties: [(&str, String); N],
    ) -> Result<TableMetadataBuildResult> {
        let retention = match tag {
            Some(_) => SnapshotRetention::Tag { max_ref_age_ms: None },
            None => SnapshotRetention::branch(None, None, None),
        };
        let reference = SnapshotReference::new(self.snapshot.snapshot_id(), retention);
        let before = table.metadata_location_result()?.to_owned();
        let new = table
            .metadata()
            .clone()
            .into_builder(Some(before))
            .add_snapshot(self.snapshot.clone())?
            .set_ref(tag.unwrap_or(MAIN_BRANCH), reference)?
            .set_properties(properties.map(|(key, value)| (key.to_owned(), value)).into())?;
        new.build()
    }

    /// Deletes what was written, where another commit came first. A file that cannot be deleted is an orphan.
    pub async fn delete(&self, table: &Table) {
        for file in &self.written {
            table.file_io().delete(file).await.unwrap_or_default();
        }
    }
}

/// The manifests that a commit writes.
#[derive(Debug)]
struct NewManifests<'a> {
    table: &'a Table,
    snapshot: i64,
    commit: Uuid,
    written: Vec<String>,
}

impl<'a> NewManifests<'a> {
    fn of(table: &'a Table) -> Self {
        let random = Uuid::now_v7().as_u64_pair().1;
        let snapshot = i64::try_from(random >> 1).unwrap_or(i64::MAX);
        Self { table, snapshot, commit: Uuid::now_v7(), written: Vec::new() }
    }

    fn path(&self, name: String) -> String {
        format!("{}/metadata/{name}", self.table.metadata().location())
    }

    /// A writer of a manifest like another one, or of the table as it is now.
    fn writer(&mut self, like: Option<&ManifestMetadata>) -> Result<ManifestWriter> {
        let path = self.path(format!("{}-m{}.avro", self.commit, self.written.len()));
        let metadata = self.table.metadata();
        let (schema, spec) = match like {
            Some(like) => (like.schema().clone(), like.partition_spec().clone()),
            None => (metadata.current_schema().clone(), metadata.default_partition_spec().as_ref().clone()),
        };
        let output = self.table.file_io().new_output(path.clone())?;
        self.written.push(path);
        Ok(ManifestWriterBuilder::new(output, Some(self.snapshot), schema, spec).build_v2_data())
    }

    /// The manifests of `base` without the removed files.
    async fn kept(
        &mut self,
        base: &Snapshot,
        replacement: &Replacement,
        operation: &Operation,
        removed: &mut Removed,
    ) -> Result<Vec<ManifestFile>> {
        let mut manifests = Vec::new();
        let list = self.table.manifest_list_reader(&Arc::new(base.clone())).load().await?;
        for manifest in list.entries() {
            if manifest.content == ManifestContentType::Deletes && !replacement.removed.is_empty() {
                let message =
                    "the table has row-level deletes of another engine: have it rewrite its data files first";
                return Err(Error::new(ErrorKind::FeatureUnsupported, message));
            }
            // An append leaves all of them as they are.
            if replacement.removed.is_empty() {
                manifests.push(manifest.clone());
                continue;
            }
            let read = manifest.load_manifest(self.table.file_io()).await?;
            let alive: Vec<_> = read.entries().iter().filter(|entry| entry.is_alive()).collect();
            if !alive.iter().any(|entry| replacement.removed.contains(entry.file_path())) {
                if !alive.is_empty() {
                    manifests.push(manifest.clone());
                }
                continue;
            }
            let mut writer = self.writer(Some(read.metadata()))?;
            for entry in alive {
                // Ours have one number for both; a file that another engine has rewritten keeps the older.
                let number = entry.sequence_number().unwrap_or(manifest.sequence_number);
                let file = entry.data_file().clone();
                if replacement.removed.contains(entry.file_path()) {
                    removed.rows += entry.record_count();
                    removed.files += 1;
                    removed.bytes += entry.file_size_in_bytes();
                    // An entry has the least and the greatest user of its file: of a forgotten person nothing may stay.
                    if *operation != Operation::Overwrite {
                        writer.add_delete_file(file, number, Some(number))?;
                    }
                } else {
                    let added_by = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                    writer.add_existing_file(file, added_by, number, Some(number))?;
                }
            }
            manifests.push(writer.write_manifest_file().await?);
        }
        Ok(manifests)
    }
}

/// The figures of a snapshot's summary, as Iceberg's specification names them.
fn figures(
    base: Option<&Snapshot>,
    replacement: &Replacement,
    removed: &Removed,
) -> impl Iterator<Item = (String, String)> {
    let before = |key: &str| -> u64 {
        let properties = base.map(|base| &base.summary().additional_properties);
        properties.and_then(|all| all.get(key)).and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let total = |key: &str, added: u64, removed: u64| (before(key) + added).saturating_sub(removed);
    let files = replacement.added.len() as u64;
    let rows: u64 = replacement.added.iter().map(DataFile::record_count).sum();
    let bytes: u64 = replacement.added.iter().map(DataFile::file_size_in_bytes).sum();
    let figures = [
        ("added-data-files", files),
        ("deleted-data-files", removed.files),
        ("added-records", rows),
        ("deleted-records", removed.rows),
        ("added-files-size", bytes),
        ("removed-files-size", removed.bytes),
        ("total-data-files", total("total-data-files", files, removed.files)),
        ("total-records", total("total-records", rows, removed.rows)),
        ("total-files-size", total("total-files-size", bytes, removed.bytes)),
        ("total-delete-files", before("total-delete-files")),
        ("total-position-deletes", before("total-position-deletes")),
        ("total-equality-deletes", before("total-equality-deletes")),
    ];
    figures.map(|(key, value)| (key.to_owned(), value.to_string())).into_iter()
}
