//! Events from files that others deliver, in a folder or under a prefix of a bucket: each file one batch, or a batch a line.
//!
//! ```text
//! reader (a task): list, number what is new, read file by file --a megabyte of records--> a channel of one --> next
//!        ^                                                            acknowledge --> the file is done, in the ledger
//!        \-- what is done is moved or deleted, where the settings say so
//! ```
//!
//! All files are one partition: a position is the file's number in the ledger, and the record's in the file. So what a table of
//! the lake knows of positions does not grow with the files, and a file that is read again after a crash has its positions again.
//! A file that is delivered once more, under another name or longer than before, is read as another one; its events are known
//! by their identities.

mod ledger;
mod place;
mod read;

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foretap::{Error, ErrorKind, Result};
use metrics::counter;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::ledger::{Ended, Entry, Fate, Ledger};
use self::place::{Listed, Listing, Place};
use self::read::{FileRecords, Format, Stop};
use super::{EventSource, Record, RecordKind};
use crate::config::{Config, FilesAfter, FilesConfig};
use crate::ingest::now_us;
use crate::lake::Positions;

/// Bytes of records that are read at once: so much is handed out, so much waits in the channel, and so much at its door.
const READ_BYTES: usize = 1 << 20;
/// Bits of a position that count the records of a file. The rest count files; the lake's positions are below 2^63.
const RECORD_BITS: u32 = 32;

/// The reading end of a folder or a prefix.
pub struct FilesSource {
    chunks: mpsc::Receiver<Chunk>,
    /// Read, and not handed out yet.
    waiting: VecDeque<Record>,
    /// The file that ends with what waits.
    ends: Option<Ended>,
    /// Files whose last record was handed out, and the position of that record.
    handed_out: VecDeque<(u64, Ended)>,
    /// Of the last record that was handed out, and of the last that is in store and lake.
    last: u64,
    acknowledged: u64,
    ledger: Arc<Ledger>,
    reader: JoinHandle<()>,
    is_closed: bool,
}

/// Some records of one file.
struct Chunk {
    records: Vec<Record>,
    /// The file, if these are its last ones.
    ends: Option<Ended>,
}

impl FilesSource {
    /// A source of the settings' folder or prefix, which keeps account of files in `ledger`. While the place cannot be listed, it
    /// has no records. This must run inside a Tokio runtime.
    ///
    /// # Errors
    /// The ledger cannot be opened, or the place is none.
    pub fn open(config: &Config, ledger: &Path) -> Result<Self> {
        let ledger = Arc::new(Ledger::open(ledger)?);
        let (sender, chunks) = mpsc::channel(1);
        let reader = Reader {
            place: Place::of(config)?,
            config: config.files.clone(),
            max_bytes: config.http.max_batch_bytes,
            ledger: Arc::clone(&ledger),
            sender,
            read: HashSet::new(),
            unnamed: HashSet::new(),
        };
        Ok(Self {
            chunks,
            waiting: VecDeque::new(),
            ends: None,
            handed_out: VecDeque::new(),
            last: 0,
            acknowledged: 0,
            ledger,
            reader: tokio::spawn(reader.run()),
            is_closed: false,
        })
    }

    /// Files that are in store and lake, as the ledger is to know.
    fn take_done(&mut self) -> Vec<Ended> {
        let done = self.handed_out.iter().take_while(|(until, _)| *until <= self.acknowledged).count();
        self.handed_out.drain(..done).map(|(_, ended)| ended).collect()
    }

    /// Goes on by itself where nobody waits for it.
    fn finish(&self, done: Vec<Ended>) -> JoinHandle<Result<()>> {
        let ledger = Arc::clone(&self.ledger);
        tokio::task::spawn_blocking(move || ledger.finish(&done))
    }
}

impl Drop for FilesSource {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[async_trait]
impl EventSource for FilesSource {
    async fn next(&mut self, budget: usize) -> Result<Vec<Record>> {
        loop {
            let (mut records, mut bytes) = (Vec::new(), 0);
            while bytes < budget
                && let Some(record) = self.waiting.pop_front()
            {
                self.last = record.position;
                bytes += record.bytes.len();
                records.push(record);
            }
            if self.waiting.is_empty()
                && let Some(ended) = self.ends.take()
            {
                self.handed_out.push_back((self.last, ended));
                if records.is_empty() {
                    // It had none, and perhaps no commit follows.
                    let done = self.take_done();
                    drop(self.finish(done));
                }
            }
            if !records.is_empty() {
                return Ok(records);
            }
            if self.is_closed {
                std::future::pending::<()>().await;
            }
            match self.chunks.recv().await {
                Some(chunk) => (self.waiting, self.ends) = (chunk.records.into(), chunk.ends),
                None => return Err(Error::new(ErrorKind::Io, "the reader of files ended early")),
            }
        }
    }

    async fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        let mine = positions.iter().find(|(partition, _)| *partition == &*self.ledger.partition);
        let Some((_, last)) = mine else { return Ok(()) };
        self.acknowledged = self.acknowledged.max(last);
        let done = self.take_done();
        if done.is_empty() {
            return Ok(());
        }
        let finished = self.finish(done).await;
        finished.map_err(|_| Error::new(ErrorKind::Io, "the ledger of files ended early"))?
    }

    async fn close(&mut self) {
        self.reader.abort();
        self.chunks.close();
        self.waiting.clear();
        self.ends = None;
        self.is_closed = true;
    }
}

/// The task that reads.
struct Reader {
    place: Place,
    config: FilesConfig,
    max_bytes: usize,
    ledger: Arc<Ledger>,
    sender: mpsc::Sender<Chunk>,
    /// Numbers of files that were read to their end since the start.
    read: HashSet<u64>,
    /// Names that were said to be none.
    unnamed: HashSet<String>,
}

/// The source is gone.
struct Gone;

impl Reader {
    async fn run(mut self) {
        let pause = Duration::from_secs(self.config.poll_secs);
        loop {
            match self.look().await {
                Ok(Ok(())) => {}
                Ok(Err(Gone)) => return,
                Err(error) => {
                    counter!("foretap_files_errors_total", "what" => "list").increment(1);
                    tracing::warn!(%error, "files cannot be looked for; trying again");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks once at what is there, and reads what is new.
    async fn look(&mut self) -> Result<std::result::Result<(), Gone>> {
        let Listing { files: listed, unnamed } = self.place.list().await?;
        for name in unnamed {
            if self.unnamed.insert(name.clone()) {
                counter!("foretap_files_errors_total", "what" => "name").increment(1);
                tracing::warn!(name, "a file whose name is not UTF-8 is not read: rename it");
            }
        }
        let is_new =
            |listed: &&Listed| !self.ledger.entry(&listed.path).is_some_and(|entry| entry.is_of(listed));
        let new: Vec<Listed> = listed.iter().filter(is_new).cloned().collect();
        let (ledger, all) = (Arc::clone(&self.ledger), listed.clone());
        let begun = tokio::task::spawn_blocking(move || ledger.begin(&new, &all, now_us())).await;
        begun.map_err(|_| Error::new(ErrorKind::Io, "the ledger of files ended early"))??;
        let entry = |listed: Listed| self.ledger.entry(&listed.path).map(|entry| (entry, listed));
        let mut known: Vec<(Entry, Listed)> = listed.into_iter().filter_map(entry).collect();
        // Those of before a crash first: positions rise.
        known.sort_by_key(|(entry, _)| entry.number);
        let there: HashSet<u64> = known.iter().map(|(entry, _)| entry.number).collect();
        self.read.retain(|number| there.contains(number));
        for (entry, listed) in known {
            if entry.fate != Fate::Waiting {
                self.put_away(entry.fate, &listed).await;
            } else if !self.read.contains(&entry.number)
                && let Err(Gone) = self.read(&entry, &listed).await
            {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(()))
    }

    async fn put_away(&self, fate: Fate, listed: &Listed) {
        // Nothing else has what could not be read.
        let after = match (self.config.after, fate) {
            (FilesAfter::Delete, Fate::InPart) => FilesAfter::Move,
            (after, _) => after,
        };
        if let Err(error) = self.place.put_away(listed, after).await {
            counter!("foretap_files_errors_total", "what" => "put away").increment(1);
            tracing::warn!(%error, "a file that was read stays where it is; trying again");
        }
    }

    async fn read(&mut self, entry: &Entry, listed: &Listed) -> std::result::Result<(), Gone> {
        let opened = {
            let (place, listed, max_bytes) = (self.place.clone(), listed.clone(), self.max_bytes);
            tokio::task::spawn_blocking(move || open(&place, &listed, max_bytes)).await
        };
        let mut reading = Reading {
            entry: entry.clone(),
            path: listed.path.as_str().into(),
            partition: Arc::clone(&self.ledger.partition),
            next: 0,
            max_bytes: self.max_bytes,
            is_whole: true,
        };
        let mut records = match opened {
            Ok(Ok(records)) => Some(records),
            Ok(Err(Stop::Damaged(why))) => {
                let last = vec![reading.unreadable(&why)];
                return self.end(last, entry, listed, &reading).await;
            }
            Ok(Err(Stop::Later(error))) => {
                self.later(&listed.path, &error);
                return Ok(());
            }
            Err(_) => return Err(Gone),
        };
        while let Some(mut from) = records.take() {
            let read = tokio::task::spawn_blocking(move || {
                let (found, end) = reading.some(&mut from);
                (from, reading, found, end)
            });
            let Ok((from, now, found, end)) = read.await else { return Err(Gone) };
            reading = now;
            match end {
                None => {
                    self.sender.send(Chunk { records: found, ends: None }).await.map_err(|_| Gone)?;
                    records = Some(from);
                }
                Some(Ok(())) => return self.end(found, entry, listed, &reading).await,
                Some(Err(error)) => {
                    // What was read of it is taken, and known when it is read again.
                    self.sender.send(Chunk { records: found, ends: None }).await.map_err(|_| Gone)?;
                    self.later(&listed.path, &error);
                }
            }
        }
        Ok(())
    }

    async fn end(
        &mut self,
        records: Vec<Record>,
        entry: &Entry,
        listed: &Listed,
        reading: &Reading,
    ) -> std::result::Result<(), Gone> {
        let (path, number, count) = (listed.path.clone(), entry.number, reading.next);
        let is_whole = reading.is_whole;
        if !self.place.is_same(listed) {
            tracing::warn!(
                path,
                "the file was changed while it was read: it is read again; deliver files under another name and rename them"
            );
        }
        tracing::info!(path, number, records = count, is_whole, "a file was read");
        counter!("foretap_files_read_total").increment(1);
        self.read.insert(number);
        self.sender
            .send(Chunk { records, ends: Some(Ended { path, number, is_whole }) })
            .await
            .map_err(|_| Gone)
    }

    fn later(&self, path: &str, error: &std::io::Error) {
        counter!("foretap_files_errors_total", "what" => "read").increment(1);
        tracing::warn!(path, %error, "a file cannot be read now; trying again");
        if let Err(error) = self.ledger.give_up(path) {
            tracing::warn!(path, %error, "and the ledger cannot be written");
        }
    }
}

fn open(place: &Place, listed: &Listed, max_bytes: usize) -> std::result::Result<FileRecords, Stop> {
    let Some(format) = Format::of_name(&listed.path) else {
        let why = "the name ends neither in .json, .jsonl, .ndjson nor .pb, with or without .gz or .zst";
        return Err(Stop::Damaged(why.to_owned()));
    };
    FileRecords::new(place.open(listed).map_err(Stop::Later)?, format, max_bytes)
}

/// Where the reader is in a file.
struct Reading {
    entry: Entry,
    path: Arc<str>,
    partition: Arc<str>,
    next: u32,
    max_bytes: usize,
    /// Whether all of it was read, and no record was cut.
    is_whole: bool,
}

impl Reading {
    /// The next records, about a megabyte; and `Ok` at the file's end, an error where it cannot be read on now.
    fn some(
        &mut self,
        from: &mut FileRecords,
    ) -> (Vec<Record>, Option<std::result::Result<(), std::io::Error>>) {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < READ_BYTES {
            match from.next() {
                Ok(Some((kind, content))) => {
                    bytes += content.len();
                    records.push(self.record(kind, content));
                }
                Ok(None) => return (records, Some(Ok(()))),
                Err(Stop::Damaged(why)) => {
                    records.push(self.unreadable(&why));
                    return (records, Some(Ok(())));
                }
                Err(Stop::Later(error)) => return (records, Some(Err(error))),
            }
        }
        (records, None)
    }

    fn record(&mut self, kind: RecordKind, bytes: bytes::Bytes) -> Record {
        let position = self.entry.number << RECORD_BITS | u64::from(self.next);
        self.next = self.next.saturating_add(1);
        self.is_whole &= bytes.len() <= self.max_bytes;
        let (partition, file) = (Arc::clone(&self.partition), Some(Arc::clone(&self.path)));
        Record { partition, position, received_at_us: self.entry.seen_at_us, kind, file, bytes }
    }

    fn unreadable(&mut self, why: &str) -> Record {
        counter!("foretap_files_damaged_total").increment(1);
        tracing::warn!(path = &*self.path, why, "a file cannot be read on: it is a dead letter");
        self.is_whole = false;
        self.record(RecordKind::Unreadable, why.to_owned().into())
    }
}

/// Whether files can be looked for, as a line for whoever runs the program.
///
/// # Errors
/// The place cannot be listed.
pub async fn check_files(config: &Config) -> Result<String> {
    let place = Place::of(config)?;
    let found = place.list().await?;
    if let Some(name) = found.unnamed.first() {
        let message = format!("the name of a file is not UTF-8: `{name}`");
        return Err(Error::new(ErrorKind::Data, message)
            .field("files.path")
            .next_step("rename it: such files are not read"));
    }
    Ok(format!("{} has {} files", place.name(), found.files.len()))
}
