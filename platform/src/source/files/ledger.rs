//! Which files are known, in one redb file: a number for each, given before it is read and never again, and whether it is in lake
//! and store.
//!
//! A record's position is its file's number and its place in the file, so all files are one partition, and a table of the lake
//! keeps one position for all of them. What becomes of the numbers after a crash: a file that was not done is read again under
//! its number, so its records have their positions again, and the lake knows them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foretap::Result;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::place::Listed;

/// The file's pages in memory.
const CACHE_BYTES: usize = 16 << 20;
/// Path -> number, when it was first seen, bytes, version, what became of it.
const FILES: TableDefinition<'_, &str, (u64, i64, u64, &str, u8)> = TableDefinition::new("files");
/// One entry: the ledger's own name, and the next number.
const STATE: TableDefinition<'_, u8, (&str, u64)> = TableDefinition::new("state");

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not in store and lake yet.
    Waiting,
    /// All of it is.
    Whole,
    /// What could be read of it is, and a dead letter that says so: the file itself is the only one that has the rest.
    InPart,
}

impl Fate {
    const ALL: [Self; 3] = [Self::Waiting, Self::Whole, Self::InPart];
}

/// A file that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub path: String,
    pub number: u64,
    pub is_whole: bool,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub number: u64,
    /// The clock by which its events are judged, now and after a crash.
    pub seen_at_us: i64,
    bytes: u64,
    version: String,
    pub fate: Fate,
}

impl Entry {
    pub fn is_of(&self, listed: &Listed) -> bool {
        (self.bytes, self.version.as_str()) == (listed.bytes, listed.version.as_str())
    }
}

/// The file, and what it holds in memory. It blocks: each call is one transaction.
pub(super) struct Ledger {
    database: Database,
    /// The partition's name.
    pub partition: Arc<str>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    next: u64,
    files: BTreeMap<String, Entry>,
}

type Done<T> = std::result::Result<T, redb::Error>;

fn failed(error: &redb::Error) -> foretap::Error {
    crate::redb_file::failed("keep account of files", error)
}

impl Ledger {
    /// Opens `file`, or makes it.
    pub fn open(file: &Path) -> Result<Self> {
        let database = crate::redb_file::open(file, CACHE_BYTES)?;
        let (name, known) = read(&database).map_err(|error| failed(&error).file(file))?;
        Ok(Self { database, partition: format!("files/{name}").into(), known: Mutex::new(known) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn entry(&self, path: &str) -> Option<Entry> {
        self.known().files.get(path).cloned()
    }

    /// Numbers for files that are new, in this order, on the disk when this returns. Files that are not listed any more are
    /// dropped.
    pub fn begin(&self, new: &[Listed], all: &[Listed], now_us: i64) -> Result<()> {
        let mut known = self.known();
        let there: HashSet<&str> = all.iter().map(|listed| listed.path.as_str()).collect();
        let gone: Vec<String> =
            known.files.keys().filter(|path| !there.contains(path.as_str())).cloned().collect();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let first = known.next;
        let entries = new.iter().zip(first..).map(|(listed, number)| {
            let (bytes, version) = (listed.bytes, listed.version.clone());
            (listed.path.clone(), Entry { number, seen_at_us: now_us, bytes, version, fate: Fate::Waiting })
        });
        let entries: Vec<(String, Entry)> = entries.collect();
        self.write(&entries, &gone, Some(first + entries.len() as u64)).map_err(|error| failed(&error))?;
        known.next = first + entries.len() as u64;
        known.files.extend(entries);
        gone.iter().for_each(|path| drop(known.files.remove(path)));
        Ok(())
    }

    /// These are in lake and store.
    pub fn finish(&self, files: &[Ended]) -> Result<()> {
        let mut known = self.known();
        let done = files.iter().filter_map(|Ended { path, number, is_whole }| {
            let entry = known.files.get(path).filter(|entry| entry.number == *number)?;
            let fate = if *is_whole { Fate::Whole } else { Fate::InPart };
            Some((path.clone(), Entry { fate, ..entry.clone() }))
        });
        let done: Vec<(String, Entry)> = done.collect();
        if done.is_empty() {
            return Ok(());
        }
        self.write(&done, &[], None).map_err(|error| failed(&error))?;
        known.files.extend(done);
        Ok(())
    }

    /// A file that could not be read to its end: later it is read from its beginning, under another number, since files behind
    /// it may be done by then.
    pub fn give_up(&self, path: &str) -> Result<()> {
        let mut known = self.known();
        self.write(&[], &[path.to_owned()], None).map_err(|error| failed(&error))?;
        known.files.remove(path);
        Ok(())
    }

    fn write(&self, entries: &[(String, Entry)], gone: &[String], next: Option<u64>) -> Done<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut files = transaction.open_table(FILES)?;
            for (path, entry) in entries {
                let Entry { number, seen_at_us, bytes, version, fate } = entry;
                files.insert(path.as_str(), (*number, *seen_at_us, *bytes, version.as_str(), *fate as u8))?;
            }
            for path in gone {
                files.remove(path.as_str())?;
            }
            if let Some(next) = next {
                let mut state = transaction.open_table(STATE)?;
                let name = state.get(0)?.map(|found| found.value().0.to_owned()).unwrap_or_default();
                state.insert(0, (name.as_str(), next))?;
            }
        }
        Ok(transaction.commit()?)
    }
}

/// The name, made where there is none, and all that is known.
fn read(database: &Database) -> Done<(String, Known)> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(FILES)?;
        let mut state = transaction.open_table(STATE)?;
        if state.get(0)?.is_none() {
            // A ledger that is made anew begins its numbers anew: they must not be taken for those of the one before.
            let name = uuid::Uuid::now_v7().simple().to_string();
            state.insert(0, (name.as_str(), 1))?;
        }
    }
    transaction.commit()?;
    let transaction = database.begin_read()?;
    let state = transaction.open_table(STATE)?.get(0)?.map(|found| {
        let (name, next) = found.value();
        (name.to_owned(), next)
    });
    let (name, next) = state.unwrap_or_default();
    let mut files = BTreeMap::new();
    for entry in transaction.open_table(FILES)?.iter()? {
        let (path, value) = entry?;
        let (number, seen_at_us, bytes, version, fate) = value.value();
        // A fate of a later version: it is read once more, which does no harm.
        let fate = Fate::ALL.get(usize::from(fate)).copied().unwrap_or(Fate::Waiting);
        let entry = Entry { number, seen_at_us, bytes, version: version.to_owned(), fate };
        files.insert(path.value().to_owned(), entry);
    }
    Ok((name, Known { next, files }))
}
