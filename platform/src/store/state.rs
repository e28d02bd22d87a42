//! One person's state: a snapshot that ends a day before the newest event, and the tail after it.
//!
//! ```text
//!  ----- snapshot: a Person, and the identities of its last week -----|------- tail: single events -------|
//!                                                                  horizon                             newest
//! ```
//!
//! An event after the horizon goes into the tail, at its own time's place; one that is there already is a duplicate. An event
//! at or before the horizon is a duplicate where the snapshot's identities have it, and otherwise late: it is counted, and
//! only the lake has it. The horizon moves when a snapshot is made, to [`LATENESS_US`] before the newest event: so whatever is
//! at most so late is folded in, in whatever order it comes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foretap::bundle::Bundle;
use foretap::data::{UserId, Vocabulary};
use foretap::router::{Person, SuggestionSettings};
use foretap::storage::vault::{self, Key};
use foretap::{Error, ErrorKind, Result};
use prost::Message as _;

use crate::wire::{Border, EventKey, Identity, PhoneEvent, proto};

const SEC_US: i64 = 1_000_000;
/// An event that is at most so much older than the person's newest is folded in.
pub const LATENESS_US: i64 = 24 * 3_600 * SEC_US;
/// Identities of the snapshot's events are kept for so long: a duplicate of an event at most so old is known to be one.
pub const IDENTITIES_US: i64 = 7 * 24 * 3_600 * SEC_US;
/// A snapshot is made when the tail reaches so much further back than [`LATENESS_US`]: once in half a day of use.
const SNAPSHOT_EVERY_US: i64 = 12 * 3_600 * SEC_US;
/// Or, where it holds so many events that an answer would wait for them, by so much.
const SNAPSHOT_EVENTS: usize = 2_000;
const SNAPSHOT_EVERY_BUSY_US: i64 = 3_600 * SEC_US;

/// Of zstd: a higher one takes longer, and gains some percent.
const LEVEL: i32 = 3;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// It is in the tail now.
    Applied,
    /// It was there already.
    Duplicate,
    /// Older than the horizon: the lake alone has it.
    Late,
    /// Its person was forgotten after it arrived: nothing has it.
    Forgotten,
}

/// What is kept beside a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The snapshot holds all events at or before.
    pub horizon_us: i64,
    /// Its events of the last [`IDENTITIES_US`].
    pub identities: BTreeSet<(i64, Identity)>,
}

/// What a write changes in memory once it is done.
#[derive(Debug)]
pub struct Pending {
    keys: BTreeSet<EventKey>,
    summary: Option<Summary>,
}

/// What is to be written of a person.
#[derive(Debug)]
pub enum ToWrite {
    /// Nothing.
    Nothing,
    /// This, and what it changes in memory.
    Write(super::Write, Pending),
    /// The store has another snapshot than this state stands on: the row is to be read again first.
    Stale,
}

impl ToWrite {
    /// The write, if there is one.
    pub fn write(self) -> Option<(super::Write, Pending)> {
        match self {
            Self::Write(write, pending) => Some((write, pending)),
            Self::Nothing | Self::Stale => None,
        }
    }
}

/// One person.
#[derive(Debug, Clone)]
pub struct PersonState {
    user: UserId,
    key: Key,
    sealed_key: Vec<u8>,
    version: u64,
    summary: Option<Summary>,
    tail: BTreeMap<EventKey, PhoneEvent>,
    /// Keys of events that no commit has written yet.
    unwritten: BTreeSet<EventKey>,
    /// The snapshot with events of the tail folded in, for answers; made when it is asked for.
    current: Option<Current>,
}

/// A person as of some event, under the ids of one bundle.
#[derive(Debug, Clone)]
struct Current {
    person: Person,
    vocabulary: Vocabulary,
    until: Option<EventKey>,
    /// Of which bundle the ids and favourites are.
    model: Arc<str>,
}

impl PersonState {
    /// Somebody of whom nothing is known.
    pub fn new(user: UserId, key: Key, sealed_key: Vec<u8>) -> Self {
        Self {
            user,
            key,
            sealed_key,
            version: 0,
            summary: None,
            tail: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            current: None,
        }
    }

    /// The state that a row holds.
    ///
    /// # Errors
    /// A part is damaged, or sealed under another key.
    pub fn read(user: UserId, row: &super::Row, key: Key) -> Result<Self> {
        let mut state = Self::new(user, key, row.key.clone());
        state.version = row.version;
        if !row.summary.is_empty() {
            state.summary = Some(Summary::read(&open(&row.summary, &state.key)?)?);
        }
        for (_, chunk) in &row.tail {
            for event in read_events(&open(chunk, &state.key)?)? {
                state.tail.insert(event.key(), event);
            }
        }
        Ok(state)
    }

    /// Whose state it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// When the newest event happened, in microseconds since 1970.
    pub fn newest_us(&self) -> Option<i64> {
        let in_tail = self.tail.last_key_value().map(|(key, _)| key.at_us);
        in_tail.or(self.summary.as_ref().map(|summary| summary.horizon_us))
    }

    /// Whether all of these events, which are in order, come after everything that is known.
    pub fn is_before(&self, events: &[PhoneEvent]) -> bool {
        let Some(first) = events.first() else { return true };
        match self.tail.last_key_value() {
            Some((last, _)) => *last < first.key(),
            None => self.summary.as_ref().is_none_or(|summary| summary.horizon_us < first.at_us),
        }
    }

    /// Events after the snapshot.
    pub fn tail(&self) -> impl Iterator<Item = &PhoneEvent> {
        self.tail.values()
    }

    /// Whether something was not written yet.
    pub fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Takes an event in.
    pub fn fold(&mut self, event: PhoneEvent) -> Folded {
        let key = event.key();
        if let Some(summary) = self.summary.as_ref().filter(|summary| key.at_us <= summary.horizon_us) {
            return match summary.identities.contains(&(key.at_us, key.identity)) {
                true => Folded::Duplicate,
                false => Folded::Late,
            };
        }
        if self.tail.contains_key(&key) {
            return Folded::Duplicate;
        }
        // What was folded further than this event has to be folded again.
        if self.current.as_ref().is_some_and(|current| current.until.is_some_and(|until| key < until)) {
            self.current = None;
        }
        self.tail.insert(key, event);
        self.unwritten.insert(key);
        Folded::Applied
    }

    /// Whether [`current`](Self::current) needs the snapshot's sealed person first.
    pub fn needs_snapshot(&self, model: &str) -> bool {
        self.summary.is_some() && self.current.as_ref().is_none_or(|current| &*current.model != model)
    }

    /// The person with every event folded in, under the ids of `bundle`, the model `model`. `snapshot` is the sealed person,
    /// where [`needs_snapshot`](Self::needs_snapshot). `None` where that is another snapshot than this state's: one was made
    /// meanwhile.
    ///
    /// # Errors
    /// The snapshot is damaged.
    pub fn current(
        &mut self,
        (bundle, model): (&Bundle, &Arc<str>),
        snapshot: Option<&[u8]>,
    ) -> Result<Option<(&Person, &Vocabulary)>> {
        if self.current.as_ref().is_none_or(|current| current.model != *model) {
            let Some((person, vocabulary)) = self.base(bundle, snapshot)? else { return Ok(None) };
            self.current = Some(Current { person, vocabulary, until: None, model: Arc::clone(model) });
        }
        // Just made where there was none.
        let Some(current) = &mut self.current else { return Err(no_snapshot()) };
        let from = current.until.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        for (key, event) in self.tail.range((from, std::ops::Bound::Unbounded)) {
            current.person.observe(&event.to_event(&mut current.vocabulary));
            current.until = Some(*key);
        }
        Ok(Some((&current.person, &current.vocabulary)))
    }

    /// Whether a snapshot is due.
    pub fn is_snapshot_due(&self) -> bool {
        let (Some((oldest, _)), Some((newest, _))) =
            (self.tail.first_key_value(), self.tail.last_key_value())
        else {
            return false;
        };
        let span = newest.at_us.saturating_sub(oldest.at_us);
        let beyond = span - LATENESS_US;
        beyond > SNAPSHOT_EVERY_US || (self.tail.len() > SNAPSHOT_EVENTS && beyond > SNAPSHOT_EVERY_BUSY_US)
    }

    /// What is to be written: a chunk of the events that were not yet; or, where one is due, a snapshot, for which `snapshot` is
    /// the sealed person before. Nothing changes here until [`written`](Self::written).
    ///
    /// # Errors
    /// The snapshot is damaged, or a part is larger than the vault takes.
    pub fn to_write(&self, bundle: &Bundle, snapshot: Option<&[u8]>) -> Result<ToWrite> {
        if self.unwritten.is_empty() {
            return Ok(ToWrite::Nothing);
        }
        let mut pending = Pending { keys: self.unwritten.clone(), summary: None };
        let (mut append, mut new_snapshot) = (None, None);
        if self.is_snapshot_due() {
            let Some((summary, sealed)) = self.renew(bundle, snapshot)? else { return Ok(ToWrite::Stale) };
            pending.summary = Some(summary);
            new_snapshot = Some(sealed);
        } else {
            append = Some(self.seal_events(self.unwritten.iter().filter_map(|key| self.tail.get(key)))?);
        }
        let write = super::Write {
            user: self.user,
            expected: self.version,
            key: self.sealed_key.clone(),
            append,
            snapshot: new_snapshot,
        };
        Ok(ToWrite::Write(write, pending))
    }

    /// What [`to_write`](Self::to_write) gave is written, and the row has this version.
    pub fn written(&mut self, version: u64, pending: Pending) {
        self.version = version;
        self.unwritten.retain(|key| !pending.keys.contains(key));
        if let Some(summary) = pending.summary {
            self.tail = self.tail.split_off(&after(summary.horizon_us));
            self.summary = Some(summary);
        }
    }

    /// Folds what was not written yet into what another writer's row holds, and goes on from there: after a conflict.
    ///
    /// # Errors
    /// The row is damaged, or of another person's key.
    pub fn reread(&mut self, row: &super::Row, key: Key) -> Result<()> {
        let mut fresh = Self::read(self.user, row, key)?;
        for key in std::mem::take(&mut self.unwritten) {
            if let Some(event) = self.tail.remove(&key) {
                fresh.fold(event);
            }
        }
        *self = fresh;
        Ok(())
    }

    /// Begins anew under another key with what was not written yet: after the row was removed.
    pub fn restart(&mut self, key: Key, sealed_key: Vec<u8>) {
        let mut fresh = Self::new(self.user, key, sealed_key);
        for key in std::mem::take(&mut self.unwritten) {
            if let Some(event) = self.tail.remove(&key) {
                fresh.fold(event);
            }
        }
        *self = fresh;
    }

    /// A snapshot whose horizon is a day before the newest event.
    fn renew(
        &self,
        bundle: &Bundle,
        snapshot: Option<&[u8]>,
    ) -> Result<Option<(Summary, super::SnapshotWrite)>> {
        let Some((mut person, mut vocabulary)) = self.base(bundle, snapshot)? else { return Ok(None) };
        let newest_us = self.newest_us().unwrap_or_default();
        let horizon_us = newest_us.saturating_sub(LATENESS_US);
        let mut summary = self.summary.clone().unwrap_or_default();
        summary.horizon_us = horizon_us;
        for (key, event) in self.tail.range(..after(horizon_us)) {
            person.observe(&event.to_event(&mut vocabulary));
            summary.identities.insert((key.at_us, key.identity));
        }
        let oldest = (newest_us.saturating_sub(IDENTITIES_US), Identity(0));
        summary.identities = summary.identities.split_off(&oldest);
        let mut stays = self.tail.range(after(horizon_us)..).map(|(_, event)| event).peekable();
        let sealed = super::SnapshotWrite {
            summary: seal(&summary.write(), &self.key)?,
            person: seal(&snapshot_bytes(horizon_us, &person.write(&vocabulary)?), &self.key)?,
            tail: match stays.peek() {
                None => None,
                Some(_) => Some(self.seal_events(stays)?),
            },
        };
        Ok(Some((summary, sealed)))
    }

    /// The snapshot's person, or a new one; `None` where the snapshot is not the one that this state stands on.
    fn base(&self, bundle: &Bundle, snapshot: Option<&[u8]>) -> Result<Option<(Person, Vocabulary)>> {
        let mut vocabulary = bundle.vocabulary();
        let settings = SuggestionSettings::default();
        let person = match (&self.summary, snapshot) {
            (None, _) => Person::new(bundle.favourites(), settings, self.user.0)?,
            (Some(summary), Some(sealed)) => {
                let bytes = open(sealed, &self.key)?;
                let (horizon_us, bytes) = snapshot_of(&bytes)?;
                if horizon_us != summary.horizon_us {
                    return Ok(None);
                }
                Person::read(bytes, &mut vocabulary, bundle.favourites(), settings)?
            }
            (Some(_), None) => return Err(no_snapshot()),
        };
        Ok(Some((person, vocabulary)))
    }

    fn seal_events<'a>(&self, events: impl Iterator<Item = &'a PhoneEvent>) -> Result<Vec<u8>> {
        let events = events.map(PhoneEvent::to_proto).collect();
        let message = proto::EventBatch { version: crate::wire::VERSION, key_id: String::new(), events };
        seal(&message.encode_to_vec(), &self.key)
    }
}

/// Compresses and seals a part of a row: a person's counts and a day's events become a fourth.
fn seal(bytes: &[u8], key: &Key) -> Result<Vec<u8>> {
    let packed = zstd::bulk::compress(bytes, LEVEL).map_err(|error| {
        Error::new(ErrorKind::Data, format!("a part of the row cannot be compressed: {error}"))
    })?;
    vault::seal(&packed, Some(key))
}

thread_local! {
    /// What a thread decompresses with: made once, since it takes more time to make than most parts of a row to read.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What [`seal`] sealed. Nobody else can have: its size needs no bound.
fn open(sealed: &[u8], key: &Key) -> Result<Vec<u8>> {
    let packed = vault::open(sealed, Some(key))?;
    let size = zstd::zstd_safe::get_frame_content_size(&packed).ok().flatten();
    let unpacked = match size.and_then(|size| usize::try_from(size).ok()) {
        Some(size) => DECOMPRESSOR.with_borrow_mut(|made| {
            let decompressor = match made {
                Some(made) => made,
                None => made.insert(zstd::bulk::Decompressor::new()?),
            };
            decompressor.decompress(&packed, size)
        }),
        None => zstd::stream::decode_all(packed.as_slice()),
    };
    unpacked.map_err(|error| {
        Error::new(ErrorKind::Data, format!("a part of the row cannot be decompressed: {error}"))
            .next_step("where an older foretap wrote the store: move it away and run `foretap rebuild`")
    })
}

/// A snapshot as it is sealed: until when it reaches, little-endian, and the person. The summary beside it says the same: a
/// reader between whose reads another snapshot was made sees that they do not belong together.
fn snapshot_bytes(horizon_us: i64, person: &[u8]) -> Vec<u8> {
    [&horizon_us.to_le_bytes(), person].concat()
}

/// The two parts of [`snapshot_bytes`].
fn snapshot_of(bytes: &[u8]) -> Result<(i64, &[u8])> {
    let (horizon, person) = bytes.split_first_chunk().ok_or_else(|| {
        Error::new(ErrorKind::Data, "a snapshot is damaged")
            .next_step("move the store away and run `foretap rebuild`")
    })?;
    Ok((i64::from_le_bytes(*horizon), person))
}

/// The first key behind a horizon.
fn after(horizon_us: i64) -> EventKey {
    EventKey { at_us: horizon_us.saturating_add(1), number: 0, identity: Identity(0) }
}

fn no_snapshot() -> Error {
    Error::new(ErrorKind::Data, "the row says that there is a snapshot, and the store has none")
        .next_step("remove the person's row and replay the lake")
}

fn read_events(bytes: &[u8]) -> Result<Vec<PhoneEvent>> {
    let damaged =
        |what: String| Error::new(ErrorKind::Data, format!("a chunk of the tail is damaged: {what}"));
    let message = proto::EventBatch::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    // They passed the border when they came in; whatever its limits are today, they are in.
    let border = Border { max_batch_bytes: usize::MAX, max_events: usize::MAX, max_ahead_us: 0 };
    let read = message.events.iter().map(|event| {
        border
            .check(event, i64::MAX)
            .map_err(|refusal| damaged(format!("{}: {}", refusal.field, refusal.reason)))
    });
    read.collect()
}

impl Summary {
    /// Little-endian: the horizon, how many, then each identity's time and hash.
    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 16 * self.identities.len());
        bytes.extend(self.horizon_us.to_le_bytes());
        bytes.extend((self.identities.len() as u64).to_le_bytes());
        for (at_us, identity) in &self.identities {
            bytes.extend(at_us.to_le_bytes());
            bytes.extend(identity.0.to_le_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::new(ErrorKind::Data, "the summary of a snapshot is damaged");
        let numbers: Vec<[u8; 8]> =
            bytes.chunks(8).map(|eight| eight.try_into().map_err(|_| damaged())).collect::<Result<_>>()?;
        let [horizon, count, rest @ ..] = numbers.as_slice() else { return Err(damaged()) };
        if rest.len() as u64 != u64::from_le_bytes(*count).saturating_mul(2) {
            return Err(damaged());
        }
        let pair = |pair: &[[u8; 8]]| (i64::from_le_bytes(pair[0]), Identity(u64::from_le_bytes(pair[1])));
        Ok(Self {
            horizon_us: i64::from_le_bytes(*horizon),
            identities: rest.chunks_exact(2).map(pair).collect(),
        })
    }
}
