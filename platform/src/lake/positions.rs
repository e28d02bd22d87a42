//! How far each partition of each source has been taken into a table.

use std::collections::BTreeMap;

use foretap::{Error, ErrorKind, Result};
use iceberg::spec::{Snapshot, TableMetadata};

/// Partition -> position of the last record that is in. A position only rises.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Positions(BTreeMap<String, u64>);

/// The table property, and the entry of a snapshot's summary.
pub(super) const PROPERTY: &str = "foretap.positions";

impl Positions {
    /// Whether the record is in.
    pub fn holds(&self, partition: &str, position: u64) -> bool {
        self.last(partition).is_some_and(|last| position <= last)
    }

    /// The last record of a partition that is in.
    pub fn last(&self, partition: &str) -> Option<u64> {
        self.0.get(partition).copied()
    }

    /// Takes a record in.
    pub fn add(&mut self, partition: &str, position: u64) {
        match self.0.get_mut(partition) {
            Some(last) => *last = position.max(*last),
            None => {
                self.0.insert(partition.to_owned(), position);
            }
        }
    }

    /// Takes in what another holds.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(partition, position)| self.add(partition, *position));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each partition and the position of its last record.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(partition, position)| (partition.as_str(), *position))
    }

    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Data, format!("positions cannot be written: {error}")))
    }

    pub(super) fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Data, format!("the table's `{PROPERTY}` is damaged: {error}"))
                .next_step("restore the property from an older metadata file of the table")
        })
    }
}

/// The positions that a table says it holds.
pub(super) fn held(metadata: &TableMetadata) -> Result<Positions> {
    match metadata.properties().get(PROPERTY) {
        Some(text) => Positions::from_json(text),
        None => Ok(Positions::default()),
    }
}

/// What a snapshot that is made of `base` says of them, unless it adds to them.
pub(super) fn handed_on(metadata: &TableMetadata, base: &Snapshot) -> Option<String> {
    let own = base.summary().additional_properties.get(PROPERTY);
    let is_current = metadata.current_snapshot_id() == Some(base.snapshot_id());
    own.or_else(|| metadata.properties().get(PROPERTY).filter(|_| is_current)).cloned()
}
