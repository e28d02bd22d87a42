//! A person's state and last day, for the answer: a snapshot (one [`Person`](foretap::router::Person) of the crate) and a tail
//! of single events.
//!
//! Events arrive late and in any order, so the snapshot ends a day before a person's newest event, and the tail holds what
//! came after: the state is the snapshot with the tail folded in, in the order of the events' own times. It does not depend
//! on the order of arrival within that day ([`state`]). Writing a snapshot with each event would cost a hundred times more.
//!
//! A row has a version, and a write names the version that it read: of two writers one loses, reads again and folds in.
//! Everything is sealed under a key of the person's own, which is sealed under the master key: forgetting the key is
//! forgetting the person.

#[cfg(feature = "aws")]
mod dynamo;
mod forgotten;
mod key;
#[cfg(feature = "aws")]
mod kms;
mod people;
mod redb_store;
pub mod state;

use async_trait::async_trait;
use foretap::Result;
use foretap::data::UserId;

#[cfg(feature = "aws")]
pub use dynamo::{DynamoStore, Units};
pub use forgotten::{ForgottenPeople, UserHash};
pub use key::MasterKey;
#[cfg(feature = "aws")]
pub use kms::{check_kms, master_key as master_key_by_kms, rotate as rotate_by_kms};
pub use people::People;
pub use redb_store::RedbStore;
pub use state::{Folded, PersonState, ToWrite};

/// What is kept of one person, sealed. Versions begin with 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Rises with every write.
    pub version: u64,
    /// The person's own key, sealed under the master key.
    pub key: Vec<u8>,
    /// Until when the snapshot reaches, and the identities of the events in it ([`state::Summary`]); empty without a snapshot.
    pub summary: Vec<u8>,
    /// Events after the snapshot, in chunks by number; each chunk is what one commit added.
    pub tail: Vec<(u64, Vec<u8>)>,
}

/// A write of one person's row. It is done whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Whose row.
    pub user: UserId,
    /// The version that was read; 0 where there was no row.
    pub expected: u64,
    /// The row's own key: of a new row, or as read.
    pub key: Vec<u8>,
    /// A further chunk of the tail.
    pub append: Option<Vec<u8>>,
    /// A new snapshot, in whose place nothing of the tail but these chunks stays.
    pub snapshot: Option<SnapshotWrite>,
}

/// A new snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotWrite {
    /// As in [`Row::summary`].
    pub summary: Vec<u8>,
    /// The person, sealed.
    pub person: Vec<u8>,
    /// All of the tail that is not in the snapshot.
    pub tail: Option<Vec<u8>>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Done; this is the row's version now.
    Version(u64),
    /// Somebody else wrote first: read again, fold in, write again.
    Conflict,
    /// Not done, or nothing is known of it; the log says why. Others of its batch may be done. Written again it is a conflict where
    /// it was done after all.
    Failed,
}

/// Figures for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// People with a row; `None` where counting them would read the whole store.
    pub people: Option<u64>,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Where rows are kept. Every implementation passes the suite in `tests/store.rs`.
#[async_trait]
pub trait OnlineStore: Send + Sync {
    /// A person's row, if there is one.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn row(&self, user: UserId) -> Result<Option<Row>>;

    /// The snapshot's person, sealed; `None` without a snapshot.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn person(&self, user: UserId) -> Result<Option<Vec<u8>>>;

    /// A person's row, and the snapshot's person, sealed: together where the store can.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn row_with_person(&self, user: UserId) -> Result<Option<(Row, Option<Vec<u8>>)>> {
        let Some(row) = self.row(user).await? else { return Ok(None) };
        let person = if row.summary.is_empty() { None } else { self.person(user).await? };
        Ok(Some((row, person)))
    }

    /// Does each write whose version is still the row's, durably, and says what became of each.
    ///
    /// # Errors
    /// The store cannot be written: none is known to be done.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>>;

    /// Removes a person's row, and remembers that it was at `at_us`; `false` where there was none.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn forget(&self, user: UserId, at_us: i64) -> Result<bool>;

    /// Who was forgotten, and when, in microseconds since 1970: what arrived before is not taken in again.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn forgotten(&self) -> Result<Vec<(UserId, i64)>>;

    /// Keeps `proof` where there is none yet, and returns the one that is kept: something sealed, which shows whether a master
    /// key is the one under which the store was made.
    ///
    /// # Errors
    /// The store cannot be read or written.
    async fn proof(&self, proof: Vec<u8>) -> Result<Vec<u8>>;

    /// The next people in the store's own order, at most `limit` after `after`. It may read the whole store.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>>;

    /// How much there is.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn sizes(&self) -> Result<Sizes>;
}
