//! Versions of the events: their snapshots, the names that keep them, and going back to one.
//!
//! Going back ([`Lake::rollback`]) makes an older snapshot the newest one again. Later ones stay, so that it can be taken back,
//! until retention or forgetting a person drops them. The source positions become those of the snapshot: records behind them
//! are taken in again where their source still has them. A process that wrote to the table before may not go on: what it
//! holds in memory begins behind records that the lake has no more, so its next commit is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use foretap::{Error, ErrorKind, Result};
use iceberg::spec::{
    MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention, TableMetadata, TableMetadataBuildResult,
    TableMetadataBuilder,
};
use iceberg::table::Table;

use super::positions::{self, PROPERTY};
use super::rewrite::location;
use super::{Lake, Positions, TableName, failed, tables};

/// A snapshot as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotInfo {
    /// Iceberg's id.
    pub id: i64,
    /// When it was committed, in milliseconds since 1970.
    pub at_ms: i64,
    /// Rows in the table then.
    pub rows: u64,
    /// Whether it is what readers of the table see now. After a rollback that is not the last one that was committed.
    pub is_current: bool,
    /// Names that keep it: data versions.
    pub tags: Vec<String>,
    /// What was noted of a name.
    pub notes: BTreeMap<String, String>,
}

/// What going back did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RolledBack {
    /// The snapshot that is the newest one again.
    pub snapshot: i64,
    /// Its rows.
    pub rows: u64,
    /// The one that was the newest until now. Going back to it takes this back.
    pub from: Option<i64>,
    /// Its rows.
    pub rows_before: u64,
    /// The last record of each partition that the events have now.
    pub positions: Positions,
    /// The last record of each partition that they had.
    pub positions_before: Positions,
}

/// The table property that tells one rollback from the next.
const ROLLBACK: &str = "foretap.rollback";
/// What a table property of a tag's note begins with.
const NOTE: &str = "foretap.note.";
/// Characters of a note, at most: every metadata file of the table has it.
const NOTE_CHARACTERS: usize = 500;

impl Lake {
    /// The table's snapshots, in the order of their commits.
    ///
    /// # Errors
    /// The catalog or the table's metadata cannot be read.
    pub async fn snapshots(&self, name: TableName) -> Result<Vec<SnapshotInfo>> {
        let table = self.table(name).await?;
        let metadata = table.metadata();
        let tags = tables::tags(metadata)?;
        let mut found: Vec<SnapshotInfo> = metadata
            .snapshots()
            .map(|snapshot| {
                let id = snapshot.snapshot_id();
                let is_its = |(_, tagged): &(&String, &i64)| **tagged == id;
                let tags: Vec<String> = tags.iter().filter(is_its).map(|(tag, _)| tag.clone()).collect();
                let note = |tag: &String| {
                    let note = metadata.properties().get(&format!("{NOTE}{tag}"))?;
                    Some((tag.clone(), note.clone()))
                };
                SnapshotInfo {
                    id,
                    at_ms: snapshot.timestamp_ms(),
                    rows: rows(snapshot),
                    is_current: metadata.current_snapshot_id() == Some(id),
                    notes: tags.iter().filter_map(note).collect(),
                    tags,
                }
            })
            .collect();
        found.sort_by_key(|snapshot| (snapshot.at_ms, snapshot.id));
        Ok(found)
    }

    /// Names the newest snapshot of the events: a data version, which keeps it from being expired. Something may be noted of it.
    ///
    /// # Errors
    /// There is no snapshot, the name is no name or is taken, the note is too long, or the catalog cannot be written.
    pub async fn tag(&self, name: &str, note: &str) -> Result<i64> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > 64 || name == MAIN_BRANCH || !name.bytes().all(is_name) {
            let message = format!("`{}` names no data version", name.escape_debug());
            return Err(Error::new(ErrorKind::Config, message)
                .next_step("give 1 to 64 letters, digits, `.`, `-`, `_`; not `main`"));
        }
        if note.chars().count() > NOTE_CHARACTERS || note.chars().any(char::is_control) {
            return Err(Error::new(ErrorKind::Config, "the note is too long, or has more than one line")
                .next_step(format!("give at most {NOTE_CHARACTERS} characters in one line")));
        }
        self.retry(TableName::Events, |table| async move {
            let metadata = table.metadata();
            let refused = |message: String| {
                Error::new(ErrorKind::Config, message).next_step("see `foretap lake snapshots`")
            };
            let Some(snapshot) = metadata.current_snapshot_id() else {
                return Err(refused("the table has no snapshot yet".to_owned()));
            };
            if metadata.snapshot_for_ref(name).is_some() {
                return Err(refused(format!("`{name}` names a snapshot already")));
            }
            let reference = SnapshotReference::new(snapshot, SnapshotRetention::Tag { max_ref_age_ms: None });
            let mut properties = Vec::new();
            if !note.is_empty() {
                properties.push((format!("{NOTE}{name}"), note.to_owned()));
            }
            let new = changed(&table, |new| {
                new.set_ref(name, reference)?.set_properties(properties.into_iter().collect())
            })?;
            Ok(self.swap(&table, new).await?.then_some(snapshot))
        })
        .await
    }

    /// Makes an older snapshot of the events, named by its tag or its id, the newest one again. Nothing is deleted. No process may
    /// write to this lake meanwhile; one that does is refused from then on.
    ///
    /// # Errors
    /// There is no such snapshot, it is the newest, it does not say which records it holds, or the catalog cannot be written.
    pub async fn rollback(&self, to: &str) -> Result<RolledBack> {
        let id = uuid::Uuid::now_v7().to_string();
        let mark = id.as_str();
        let done = self
            .retry(TableName::Events, |table| async move {
                let metadata = table.metadata();
                let wanted = found(metadata, to)?;
                let current = metadata.current_snapshot();
                if current.is_some_and(|current| current.snapshot_id() == wanted.snapshot_id()) {
                    let message = format!("the events are at `{}` already", to.escape_debug());
                    return Err(Error::new(ErrorKind::Config, message).next_step("there is nothing to do"));
                }
                let positions = positions_of(metadata, &wanted)?;
                let done = RolledBack {
                    snapshot: wanted.snapshot_id(),
                    rows: rows(&wanted),
                    from: current.map(|current| current.snapshot_id()),
                    rows_before: current.map_or(0, |current| rows(current)),
                    positions_before: positions::held(metadata)?,
                    positions,
                };
                let retention = SnapshotRetention::branch(None, None, None);
                let reference = SnapshotReference::new(done.snapshot, retention);
                let properties = [
                    (PROPERTY.to_owned(), done.positions.to_json()?),
                    (ROLLBACK.to_owned(), mark.to_owned()),
                ];
                let new = changed(&table, |new| {
                    new.set_ref(MAIN_BRANCH, reference)?.set_properties(properties.into())
                })?;
                Ok(self.swap(&table, new).await?.then_some(done))
            })
            .await?;
        self.set_rollback(Some(id));
        Ok(done)
    }

    /// The last rollback that this process knows of: that of when it opened the lake, or one that it made itself.
    pub fn last_rollback(&self) -> Option<String> {
        self.rollback.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_rollback(&self, id: Option<String>) {
        *self.rollback.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// Remembers where the events are when the lake is opened.
    pub(super) async fn learn_rollback(&self) -> Result<()> {
        let table = self.table(TableName::Events).await?;
        self.set_rollback(rollback_of(&table));
        Ok(())
    }

    /// Refuses a commit where the events were set back since this process opened the lake.
    pub(super) fn check_rollback(&self, name: TableName, table: &Table) -> Result<()> {
        if name != TableName::Events || rollback_of(table) == self.last_rollback() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Data,
            "the events were set back to an older version while this process ran",
        )
        .next_step(
            "stop it, and see what `foretap lake rollback` says of the store before you start it again",
        ))
    }
}

/// What tells whether a table was set back, and to what, since it was looked at before.
pub(super) fn rollback_of(table: &Table) -> Option<String> {
    table.metadata().properties().get(ROLLBACK).cloned()
}

/// The table's metadata with a change.
pub(super) fn changed(
    table: &Table,
    change: impl FnOnce(TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder>,
) -> Result<TableMetadataBuildResult> {
    let builder = table.metadata().clone().into_builder(Some(location(table)?));
    let built = change(builder).and_then(TableMetadataBuilder::build);
    built.map_err(|error| failed("change a table", &error))
}

fn found(metadata: &TableMetadata, wanted: &str) -> Result<Arc<Snapshot>> {
    let tags = tables::tags(metadata)?;
    let id = tags.get(wanted).copied().or_else(|| wanted.parse().ok());
    id.and_then(|id| metadata.snapshot_by_id(id)).cloned().ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("no version `{}` of the events", wanted.escape_debug()))
            .next_step("see `foretap lake snapshots`; forgetting a person drops all but the newest and the tagged ones")
    })
}

/// The records that a snapshot holds: it says so, or the one that it was made of.
fn positions_of(metadata: &TableMetadata, snapshot: &Arc<Snapshot>) -> Result<Positions> {
    let mut of = Some(snapshot);
    while let Some(snapshot) = of {
        if let Some(text) = snapshot.summary().additional_properties.get(PROPERTY) {
            return Positions::from_json(text);
        }
        // Builds before this one kept them out of the summaries of compaction and of what was forgotten.
        if metadata.current_snapshot_id() == Some(snapshot.snapshot_id()) {
            return positions::held(metadata);
        }
        of = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
    }
    let message = format!("snapshot {} does not say which records it holds", snapshot.snapshot_id());
    Err(Error::new(ErrorKind::Data, message)
        .next_step("go back to another one: see `foretap lake snapshots`"))
}

fn rows(snapshot: &Snapshot) -> u64 {
    let rows = snapshot.summary().additional_properties.get("total-records");
    rows.and_then(|rows| rows.parse().ok()).unwrap_or(0)
}
