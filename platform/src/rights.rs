//! What a person may ask of us: all that is held of them, and that it be forgotten.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::ingest::{IngestStatus, now_us};
use crate::lake::{Forgotten, Lake, TableName};
use crate::registry::Registry;
use crate::store::{MasterKey, People};

/// Does both, in store, memory and lake.
pub struct Rights {
    people: Arc<People>,
    lake: Lake,
    master: MasterKey,
    registry: Registry,
    ingest: Arc<IngestStatus>,
    /// One at a time: each rewrites tables.
    one: tokio::sync::Mutex<()>,
    audit: PathBuf,
}

/// What was done when a person was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// Whether the store knew them.
    pub was_in_store: bool,
    /// Each table of the lake.
    pub events: Forgotten,
    /// Each table of the lake.
    pub impressions: Forgotten,
    /// Each table of the lake.
    pub dead_letters: Forgotten,
    /// Versions that learned from data with them: a model is not unlearned, train it again without them.
    pub models: Vec<u32>,
}

/// All that is held of a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// The keyed hash of their id.
    pub user: String,
    /// What their phone noticed, as the lake and its tagged versions have it.
    pub events: Vec<serde_json::Value>,
    /// What was answered, and what was opened then.
    pub impressions: Vec<serde_json::Value>,
    /// Events of the last day in the store. The rest of their state, counts over all events, follows from the events.
    pub in_store: usize,
    /// What could not be used, as it came.
    pub dead_letters: Vec<String>,
}

impl Rights {
    /// Over everything that holds people; what is done is added to `audit`.
    pub fn new(
        people: Arc<People>,
        lake: Lake,
        (master, registry): (MasterKey, Registry),
        ingest: Arc<IngestStatus>,
        audit: PathBuf,
    ) -> Self {
        Self { people, lake, master, registry, ingest, one: tokio::sync::Mutex::new(()), audit }
    }

    /// Forgets a person: memory, store, journal, and every version of the lake's tables. After an error, call it again: it goes
    /// on.
    ///
    /// # Errors
    /// A part cannot be read or written. The person may be forgotten in some places only.
    pub async fn forget(&self, user: UserId) -> Result<ForgetReport> {
        let _one = self.one.lock().await;
        // What waits in the journal goes to store and lake first: there it is found.
        self.ingest.flush().await?;
        let at_us = now_us();
        let models = self.models_with(user).await?;
        let was_in_store = self.people.forget(user, at_us).await?;
        // From now on no other process on this lake writes what it holds of them or reads again.
        self.lake.keep_forgotten(user, at_us).await?;
        // What was folded in between is in rows that wait.
        self.ingest.flush().await?;
        self.people.forget(user, at_us).await?;
        let report = ForgetReport {
            at_us,
            was_in_store,
            events: self.lake.forget(TableName::Events, user).await?,
            impressions: self.lake.forget(TableName::Impressions, user).await?,
            dead_letters: self.lake.forget_dead_letters(user, &self.master).await?,
            models,
        };
        self.record("forget", user, &report)?;
        Ok(report)
    }

    /// All that is held of a person.
    ///
    /// # Errors
    /// A part cannot be read.
    pub async fn export(&self, user: UserId) -> Result<Export> {
        self.ingest.flush().await?;
        let export = Export {
            user: user.to_string(),
            events: self.rows(TableName::Events, user).await?,
            impressions: self.rows(TableName::Impressions, user).await?,
            in_store: self.people.tail_events(user).await?,
            dead_letters: self.lake.dead_letters_of(user, &self.master).await?,
        };
        self.record("export", user, &export.events.len())?;
        Ok(export)
    }

    /// Their rows in the newest version of a table and in every tagged one, each once.
    async fn rows(&self, name: TableName, user: UserId) -> Result<Vec<serde_json::Value>> {
        let mut rows = self.lake.rows_of(name, user, None).await?;
        let mut seen: BTreeSet<String> = rows.iter().map(serde_json::Value::to_string).collect();
        for snapshot in self.lake.snapshots(name).await?.iter().filter(|snapshot| !snapshot.tags.is_empty()) {
            for row in self.lake.rows_of(name, user, Some(snapshot.id)).await? {
                if seen.insert(row.to_string()) {
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }

    /// Versions whose data version has rows of the person.
    async fn models_with(&self, user: UserId) -> Result<Vec<u32>> {
        let snapshots = self.lake.snapshots(TableName::Events).await?;
        let mut found = Vec::new();
        for version in self.registry.versions()? {
            let Some(data) = self.registry.card(version)?.data_version else { continue };
            // A version of the data that is gone cannot say who was in it; the person's rows of today can, by when they arrived.
            let is_there = snapshots.iter().any(|snapshot| snapshot.id == data);
            let rows = self.lake.rows_of(TableName::Events, user, is_there.then_some(data)).await?;
            if !rows.is_empty() {
                found.push(version);
            }
        }
        Ok(found)
    }

    /// Who asked for what, when, and what came of it. A forgotten person's id is not kept here either: its hash is.
    fn record(&self, what: &str, user: UserId, outcome: &impl Serialize) -> Result<()> {
        use sha2::Digest as _;
        let hash: String =
            sha2::Sha256::digest(user.to_string()).iter().take(8).map(|b| format!("{b:02x}")).collect();
        let line =
            serde_json::json!({ "at_us": now_us(), "what": what, "user_sha256": hash, "outcome": outcome });
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(&self.audit);
        let added = opened.and_then(|mut file| {
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_all()
        });
        added.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot add to the record: {error}")).file(&self.audit)
        })
    }
}
