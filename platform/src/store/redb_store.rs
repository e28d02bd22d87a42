//! The embedded store: one redb file, written in transactions.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition,
};

use super::{OnlineStore, Row, Sizes, Write, Written};

/// User -> version and sealed key.
const HEADS: TableDefinition<'_, u64, (u64, &[u8])> = TableDefinition::new("heads");
/// User -> sealed summary.
const SUMMARIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("summaries");
/// User -> sealed person.
const PEOPLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("people");
/// User and number of the chunk -> sealed events.
const TAILS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("tails");
/// User -> when they were forgotten.
const FORGOTTEN: TableDefinition<'_, u64, i64> = TableDefinition::new("forgotten");
/// What shows the right master key.
const PROOF: TableDefinition<'_, (), &[u8]> = TableDefinition::new("proof");

/// The file's pages in memory. redb would take a gibibyte, for which a read of 100,000 people is not faster (benches/ingest).
const CACHE_BYTES: usize = 256 << 20;

/// Rows in one file of this process alone.
#[derive(Debug, Clone)]
pub struct RedbStore {
    database: Arc<Database>,
}

impl RedbStore {
    /// Opens `file`, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or another process has it open.
    pub fn open(file: &Path) -> Result<Self> {
        let database = crate::redb_file::open(file, CACHE_BYTES)?;
        let store = Self { database: Arc::new(database) };
        let made = store.make_tables();
        made.map_err(|error| crate::redb_file::failed("make its tables", &error).file(file))?;
        Ok(store)
    }

    fn make_tables(&self) -> std::result::Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(HEADS)?;
        transaction.open_table(SUMMARIES)?;
        transaction.open_table(PEOPLE)?;
        transaction.open_table(TAILS)?;
        transaction.open_table(FORGOTTEN)?;
        transaction.open_table(PROOF)?;
        Ok(transaction.commit()?)
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Database) -> std::result::Result<T, redb::Error> + Send + 'static,
    ) -> Result<T> {
        let database = Arc::clone(&self.database);
        let done = tokio::task::spawn_blocking(move || work(&database)).await;
        match done {
            Ok(done) => done.map_err(|error| crate::redb_file::failed(doing, &error)),
            Err(_) => {
                Err(Error::new(ErrorKind::Io, format!("cannot {doing} in the store: the task ended early")))
            }
        }
    }
}

fn row_of(transaction: &ReadTransaction, user: UserId) -> std::result::Result<Option<Row>, redb::Error> {
    let heads = transaction.open_table(HEADS)?;
    let Some(head) = heads.get(user.0)? else { return Ok(None) };
    let (version, key) = head.value();
    let summary = transaction.open_table(SUMMARIES)?.get(user.0)?.map(|found| found.value().to_vec());
    let mut row = Row { version, key: key.to_vec(), summary: summary.unwrap_or_default(), tail: Vec::new() };
    for entry in transaction.open_table(TAILS)?.range((user.0, 0)..=(user.0, u64::MAX))? {
        let (number, chunk) = entry?;
        row.tail.push((number.value().1, chunk.value().to_vec()));
    }
    Ok(Some(row))
}

fn person_of(
    transaction: &ReadTransaction,
    user: UserId,
) -> std::result::Result<Option<Vec<u8>>, redb::Error> {
    let found = transaction.open_table(PEOPLE)?.get(user.0)?;
    Ok(found.map(|found| found.value().to_vec()))
}

#[async_trait]
impl OnlineStore for RedbStore {
    async fn row(&self, user: UserId) -> Result<Option<Row>> {
        self.blocking("read a person's row", move |database| row_of(&database.begin_read()?, user)).await
    }

    async fn person(&self, user: UserId) -> Result<Option<Vec<u8>>> {
        self.blocking("read a person's snapshot", move |database| person_of(&database.begin_read()?, user))
            .await
    }

    async fn row_with_person(&self, user: UserId) -> Result<Option<(Row, Option<Vec<u8>>)>> {
        self.blocking("read a person", move |database| {
            let transaction = database.begin_read()?;
            let Some(row) = row_of(&transaction, user)? else { return Ok(None) };
            Ok(Some((row, person_of(&transaction, user)?)))
        })
        .await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>> {
        self.blocking("write people's rows", move |database| {
            let transaction = database.begin_write()?;
            let mut written = Vec::with_capacity(writes.len());
            {
                let mut heads = transaction.open_table(HEADS)?;
                let mut summaries = transaction.open_table(SUMMARIES)?;
                let mut people = transaction.open_table(PEOPLE)?;
                let mut tails = transaction.open_table(TAILS)?;
                for write in &writes {
                    let user = write.user.0;
                    let found = heads.get(user)?.map_or(0, |head| head.value().0);
                    if found != write.expected {
                        written.push(Written::Conflict);
                        continue;
                    }
                    let version = found + 1;
                    heads.insert(user, (version, write.key.as_slice()))?;
                    if let Some(snapshot) = &write.snapshot {
                        tails.retain_in((user, 0)..=(user, u64::MAX), |_, _| false)?;
                        summaries.insert(user, snapshot.summary.as_slice())?;
                        people.insert(user, snapshot.person.as_slice())?;
                        if let Some(tail) = &snapshot.tail {
                            tails.insert((user, version), tail.as_slice())?;
                        }
                    }
                    if let Some(chunk) = &write.append {
                        tails.insert((user, version), chunk.as_slice())?;
                    }
                    written.push(Written::Version(version));
                }
            }
            transaction.commit()?;
            Ok(written)
        })
        .await
    }

    async fn forget(&self, user: UserId, at_us: i64) -> Result<bool> {
        self.blocking("forget a person", move |database| {
            let transaction = database.begin_write()?;
            let was_there = transaction.open_table(HEADS)?.remove(user.0)?.is_some();
            transaction.open_table(SUMMARIES)?.remove(user.0)?;
            transaction.open_table(PEOPLE)?.remove(user.0)?;
            transaction.open_table(TAILS)?.retain_in((user.0, 0)..=(user.0, u64::MAX), |_, _| false)?;
            transaction.open_table(FORGOTTEN)?.insert(user.0, at_us)?;
            transaction.commit()?;
            Ok(was_there)
        })
        .await
    }

    async fn forgotten(&self) -> Result<Vec<(UserId, i64)>> {
        self.blocking("list who was forgotten", |database| {
            let transaction = database.begin_read()?;
            let mut found = Vec::new();
            for entry in transaction.open_table(FORGOTTEN)?.iter()? {
                let (user, at_us) = entry?;
                found.push((UserId(user.value()), at_us.value()));
            }
            Ok(found)
        })
        .await
    }

    async fn proof(&self, proof: Vec<u8>) -> Result<Vec<u8>> {
        self.blocking("keep what shows the master key", move |database| {
            let transaction = database.begin_write()?;
            let kept = {
                let mut table = transaction.open_table(PROOF)?;
                let kept = table.get(())?.map(|kept| kept.value().to_vec());
                match kept {
                    Some(kept) => kept,
                    None => {
                        table.insert((), proof.as_slice())?;
                        proof
                    }
                }
            };
            transaction.commit()?;
            Ok(kept)
        })
        .await
    }

    async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>> {
        self.blocking("list people", move |database| {
            let transaction = database.begin_read()?;
            let heads = transaction.open_table(HEADS)?;
            let from = after.map_or(std::ops::Bound::Unbounded, |user| std::ops::Bound::Excluded(user.0));
            let mut users = Vec::new();
            for entry in heads.range::<u64>((from, std::ops::Bound::Unbounded))?.take(limit) {
                users.push(UserId(entry?.0.value()));
            }
            Ok(users)
        })
        .await
    }

    async fn sizes(&self) -> Result<Sizes> {
        self.blocking("count people", move |database| {
            let transaction = database.begin_read()?;
            let heads = transaction.open_table(HEADS)?;
            let mut bytes = heads.stats()?.stored_bytes();
            bytes += transaction.open_table(SUMMARIES)?.stats()?.stored_bytes();
            bytes += transaction.open_table(PEOPLE)?.stats()?.stored_bytes();
            bytes += transaction.open_table(TAILS)?.stats()?.stored_bytes();
            Ok(Sizes { people: Some(heads.len()?), bytes })
        })
        .await
    }
}
