//! What the HTTP door has accepted and lake and store do not have yet: a durable queue in one redb file. It makes the door a
//! source like any other. Records are sealed under the master key: pages that redb has freed keep old bytes for a while.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use foretap::{Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{EventSource, Record, RecordKind};
use crate::lake::Positions;
use crate::store::MasterKey;

/// Position -> when it arrived, kind, bytes.
const RECORDS: TableDefinition<'_, u64, (i64, u8, &[u8])> = TableDefinition::new("records");
/// One entry: the journal's own name, and the last position that it gave.
const STATE: TableDefinition<'_, u8, (&str, u64)> = TableDefinition::new("state");

/// Records that wait for a commit of the journal, at most: then the door waits, too.
const WAITING: usize = 256;
/// What its partition's name begins with, and no other source's.
const PREFIX: &str = "http/";
/// The file's pages in memory.
const CACHE_BYTES: usize = 64 << 20;
/// Records in one commit of the journal.
const AT_ONCE: usize = 256;

/// The writing end, shared by all requests.
#[derive(Clone)]
pub struct Journal {
    master: MasterKey,
    queue: mpsc::Sender<Waiting>,
    is_failing: Arc<AtomicBool>,
}

/// The reading end.
pub struct JournalSource {
    master: MasterKey,
    database: Arc<Database>,
    partition: Arc<str>,
    /// The last position that was handed out.
    read: u64,
    /// A read that whoever asked for it did not wait for.
    reading: Option<JoinHandle<Found>>,
    written: Arc<Notify>,
}

type Found = std::result::Result<VecDeque<(u64, i64, u8, Bytes)>, redb::Error>;

struct Waiting {
    received_at_us: i64,
    kind: RecordKind,
    sealed: Vec<u8>,
    done: oneshot::Sender<Result<u64>>,
}

impl Journal {
    /// Opens `file`, or makes it. This must run inside a Tokio runtime.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or another process has it open.
    pub fn open(file: &Path, master: &MasterKey) -> Result<(Self, JournalSource)> {
        let failed = |error: redb::Error| crate::redb_file::failed("open the journal", &error).file(file);
        let database = Arc::new(crate::redb_file::open(file, CACHE_BYTES)?);
        let (name, last) = begin(&database).map_err(failed)?;
        check_key(&database, master).map_err(|error| error.file(file))?;
        let written = Arc::new(Notify::new());
        let (queue, waiting) = mpsc::channel(WAITING);
        let is_failing = Arc::new(AtomicBool::new(false));
        let reported = (Arc::clone(&written), Arc::clone(&is_failing));
        tokio::spawn(write_all(Arc::clone(&database), waiting, last, reported));
        let partition = format!("{PREFIX}{name}").into();
        let source =
            JournalSource { master: master.clone(), database, partition, read: 0, reading: None, written };
        Ok((Self { master: master.clone(), queue, is_failing }, source))
    }

    /// Whether a partition is a journal's.
    pub fn is_of(partition: &str) -> bool {
        partition.starts_with(PREFIX)
    }

    /// Whether the last write failed: nothing is accepted then. After an error of the disk redb writes no more until it is opened
    /// anew.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    /// Adds a record, and returns its position once it is on the disk.
    ///
    /// # Errors
    /// The journal cannot be written: the record is not accepted.
    pub async fn add(&self, received_at_us: i64, kind: RecordKind, bytes: Bytes) -> Result<u64> {
        let (done, answer) = oneshot::channel();
        let gone = || {
            Error::new(ErrorKind::Io, "the journal is closed")
                .next_step("start `foretap up` again and send again")
        };
        let sealed = self.master.seal(&bytes)?;
        self.queue.send(Waiting { received_at_us, kind, sealed, done }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The journal's name, made where there is none, and the last position given.
fn begin(database: &Database) -> std::result::Result<(String, u64), redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        transaction.open_table(RECORDS)?;
        let mut state = transaction.open_table(STATE)?;
        let found = state.get(0)?.map(|found| {
            let (name, last) = found.value();
            (name.to_owned(), last)
        });
        match found {
            Some(found) => found,
            None => {
                // A journal that is made anew begins its positions anew: they must not be taken for those of the one before.
                let name = uuid::Uuid::now_v7().simple().to_string();
                state.insert(0, (name.as_str(), 0))?;
                (name, 0)
            }
        }
    };
    transaction.commit()?;
    Ok(found)
}

/// Whether the records that are there were sealed under this key.
fn check_key(database: &Database, master: &MasterKey) -> Result<()> {
    let first = read(database, 0, 1).map_err(|error| crate::redb_file::failed("read the journal", &error))?;
    for (_, _, _, sealed) in &first {
        master.open(sealed).map_err(|error| {
            error.next_step("give the master key under which the journal was written (`key_file` of [store])")
        })?;
    }
    Ok(())
}

/// Commits what waits, as much as there is at once.
async fn write_all(
    database: Arc<Database>,
    mut waiting: mpsc::Receiver<Waiting>,
    mut last: u64,
    (written, is_failing): (Arc<Notify>, Arc<AtomicBool>),
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
        let records = std::mem::take(&mut batch);
        let database = Arc::clone(&database);
        let first = last + 1;
        let done = tokio::task::spawn_blocking(move || {
            let done = write(&database, first, &records);
            (records, done)
        })
        .await;
        let Ok((records, done)) = done else { return };
        let failed =
            done.as_ref().err().map(|error| crate::redb_file::failed("write the journal", error).to_string());
        is_failing.store(failed.is_some(), Ordering::Release);
        match &failed {
            None => {
                last += records.len() as u64;
                written.notify_one();
            }
            Some(error) => tracing::error!(error, "nothing is accepted: the journal cannot be written"),
        }
        for (record, position) in records.into_iter().zip(first..) {
            let answer = match &failed {
                None => Ok(position),
                Some(message) => Err(Error::new(ErrorKind::Io, message.clone())),
            };
            // Who asked may have left: the record is kept all the same.
            let _ = record.done.send(answer);
        }
    }
}

fn write(database: &Database, first: u64, records: &[Waiting]) -> std::result::Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (record, position) in records.iter().zip(first..) {
            table.insert(position, (record.received_at_us, record.kind as u8, record.sealed.as_slice()))?;
        }
        let mut state = transaction.open_table(STATE)?;
        let name = state.get(0)?.map(|found| found.value().0.to_owned()).unwrap_or_default();
        state.insert(0, (name.as_str(), first + records.len() as u64 - 1))?;
    }
    Ok(transaction.commit()?)
}

fn read(database: &Database, after: u64, budget: usize) -> Found {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(RECORDS)?;
    let (mut found, mut bytes) = (VecDeque::new(), 0);
    for entry in table.range(after + 1..)? {
        let (position, value) = entry?;
        let (received_at_us, kind, content) = value.value();
        bytes += content.len();
        found.push_back((position.value(), received_at_us, kind, Bytes::copy_from_slice(content)));
        if bytes >= budget {
            break;
        }
    }
    Ok(found)
}

impl JournalSource {
    /// The next records that are there. A read that was begun and not waited for goes on here, so that another source which is
    /// always quicker does not keep this one from ever being read.
    async fn read(&mut self, budget: usize) -> Result<Vec<Record>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                let (database, after) = (Arc::clone(&self.database), self.read);
                none.insert(tokio::task::spawn_blocking(move || read(&database, after, budget)))
            }
        };
        let found = reading.await;
        self.reading = None;
        let found = found
            .map_err(|_| Error::new(ErrorKind::Io, "the journal's reader ended early"))?
            .map_err(|error| crate::redb_file::failed("read the journal", &error))?;
        let kinds = [RecordKind::JsonBatch, RecordKind::ProtobufBatch, RecordKind::Impression];
        let mut records = Vec::with_capacity(found.len());
        for (position, received_at_us, kind, bytes) in found {
            let kind = kinds.get(usize::from(kind)).copied().ok_or_else(|| {
                Error::new(ErrorKind::Data, format!("the journal's record {position} is of an unknown kind"))
                    .next_step("use the version of foretap that wrote it")
            })?;
            self.read = position;
            let partition = Arc::clone(&self.partition);
            let bytes = Bytes::from(self.master.open(&bytes)?);
            records.push(Record { partition, position, received_at_us, kind, file: None, bytes });
        }
        Ok(records)
    }
}

#[async_trait]
impl EventSource for JournalSource {
    async fn next(&mut self, budget: usize) -> Result<Vec<Record>> {
        loop {
            let records = self.read(budget).await?;
            if !records.is_empty() {
                return Ok(records);
            }
            self.written.notified().await;
        }
    }

    /// All there is: whoever sent it may wait for its commit.
    async fn waited_for(&mut self, budget: usize) -> Result<Vec<Record>> {
        // A read that was begun may be older than what is waited for.
        if self.reading.is_some() {
            let records = self.read(budget).await?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
        self.read(budget).await
    }

    async fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        let found = positions.iter().find(|(partition, _)| *partition == &*self.partition);
        let Some((_, last)) = found else { return Ok(()) };
        let database = Arc::clone(&self.database);
        let removed = tokio::task::spawn_blocking(move || -> std::result::Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(RECORDS)?.retain_in(..=last, |_, _| false)?;
            Ok(transaction.commit()?)
        });
        removed
            .await
            .map_err(|_| Error::new(ErrorKind::Io, "the journal's cleaner ended early"))?
            .map_err(|error| crate::redb_file::failed("clear the journal", &error))
    }
}
