//! The people whose state is in memory: read when first met, kept while something of them is not written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foretap::bundle::Bundle;
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use moka::sync::Cache;

use super::{Folded, ForgottenPeople, MasterKey, OnlineStore, PersonState, Row, ToWrite, UserHash, Written};
use crate::wire::PhoneEvent;

/// One person's state, behind its lock.
type Shared = Arc<Mutex<PersonState>>;

/// Everybody's state: the store's rows, and above them what no commit has written yet. At most one state of a person is in
/// memory.
pub struct People {
    store: Arc<dyn OnlineStore>,
    master: MasterKey,
    cache: Cache<UserId, Shared>,
    /// Those with something unwritten: they stay in memory, whatever the cache does.
    unwritten: Mutex<HashMap<UserId, Shared>>,
    /// Who was forgotten, and when.
    forgotten: Mutex<HashMap<UserId, i64>>,
    /// Whom other processes on the same lake have forgotten, too.
    learned: Mutex<Arc<ForgottenPeople>>,
    /// One reader of a person's row at a time, so that nobody is read twice; people share these by their ids.
    reading: Vec<tokio::sync::Mutex<()>>,
}

/// Rows that are read at once, at most.
const READERS: usize = 64;

/// A lock that a panicking holder left is taken all the same: each change is whole before the next begins.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Folds an event into a state, which stays in memory until it is written.
fn fold_into(unwritten: &mut HashMap<UserId, Shared>, shared: &Shared, event: PhoneEvent) -> Folded {
    let user = event.user;
    let folded = lock(shared).fold(event);
    if folded == Folded::Applied {
        unwritten.insert(user, Arc::clone(shared));
    }
    folded
}

impl People {
    /// People of `store`, at most `cached` of them in memory beside those with something unwritten.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(store: Arc<dyn OnlineStore>, master: MasterKey, cached: u64) -> Result<Self> {
        let forgotten = store.forgotten().await?.into_iter().collect();
        Ok(Self {
            store,
            master,
            cache: Cache::new(cached),
            unwritten: Mutex::new(HashMap::new()),
            forgotten: Mutex::new(forgotten),
            learned: Mutex::default(),
            reading: (0..READERS).map(|_| tokio::sync::Mutex::new(())).collect(),
        })
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    async fn reading(&self, user: UserId) -> tokio::sync::MutexGuard<'_, ()> {
        self.reading[(user.0 % READERS as u64) as usize].lock().await
    }

    fn in_memory(&self, user: UserId) -> Option<Shared> {
        lock(&self.unwritten).get(&user).cloned().or_else(|| self.cache.get(&user))
    }

    /// The state of somebody known, in memory or in the store, and the sealed snapshot where it was read with it.
    async fn known(&self, user: UserId) -> Result<Option<(Shared, Option<Vec<u8>>)>> {
        if let Some(found) = self.in_memory(user) {
            return Ok(Some((found, None)));
        }
        let _reading = self.reading(user).await;
        if let Some(found) = self.in_memory(user) {
            return Ok(Some((found, None)));
        }
        let Some((row, snapshot)) = self.store.row_with_person(user).await? else { return Ok(None) };
        let shared = self.state_of(user, &row)?;
        self.cache.insert(user, Arc::clone(&shared));
        Ok(Some((shared, snapshot)))
    }

    fn state_of(&self, user: UserId, row: &Row) -> Result<Shared> {
        let key = self.master.open_person(&row.key)?;
        let state = PersonState::read(user, row, key).map_err(|error| error.of(user))?;
        Ok(Arc::new(Mutex::new(state)))
    }

    /// Folds an event that arrived at `received_at_us` into its person's state. A new person is made. Several tasks may fold at
    /// once, and answers read meanwhile; but not while [`write`](Self::write) runs: what is folded in must be in the lake before.
    ///
    /// # Errors
    /// The person's row cannot be read.
    pub async fn fold(&self, event: PhoneEvent, received_at_us: i64) -> Result<Folded> {
        let user = event.user;
        // What happened before is not brought back by a phone that sends it again, either.
        let arrived_us = received_at_us.min(event.at_us);
        if lock(&self.forgotten).get(&user).is_some_and(|at_us| arrived_us <= *at_us) {
            return Ok(Folded::Forgotten);
        }
        let event = match self.fold_in_memory(event) {
            Ok(folded) => return Ok(folded),
            Err(event) => event,
        };
        if self.was_forgotten_elsewhere(user).is_some_and(|at_us| arrived_us <= at_us) {
            return Ok(Folded::Forgotten);
        }
        // Held until the event is in: so nobody else makes a second state of the same person.
        let _reading = self.reading(user).await;
        let event = match self.fold_in_memory(event) {
            Ok(folded) => return Ok(folded),
            Err(event) => event,
        };
        let shared = match self.store.row(user).await? {
            Some(row) => self.state_of(user, &row)?,
            None => {
                let (key, sealed) = self.master.new_person()?;
                Arc::new(Mutex::new(PersonState::new(user, key, sealed)))
            }
        };
        self.cache.insert(user, Arc::clone(&shared));
        Ok(fold_into(&mut lock(&self.unwritten), &shared, event))
    }

    /// When another process has forgotten a person who is not in memory. From then on it is known by the id.
    fn was_forgotten_elsewhere(&self, user: UserId) -> Option<i64> {
        let at_us = lock(&self.learned).at_us(user)?;
        let mut forgotten = lock(&self.forgotten);
        let known = forgotten.entry(user).or_insert(at_us);
        *known = at_us.max(*known);
        Some(*known)
    }

    /// Folds an event into a state that is in memory; otherwise the event comes back. The state is looked up and marked as
    /// unwritten under one lock: between the two the cache might forget it and a reader bring an older one.
    fn fold_in_memory(&self, event: PhoneEvent) -> std::result::Result<Folded, PhoneEvent> {
        let mut unwritten = lock(&self.unwritten);
        let found = unwritten.get(&event.user).cloned().or_else(|| self.cache.get(&event.user));
        match found {
            Some(shared) => Ok(fold_into(&mut unwritten, &shared, event)),
            None => Err(event),
        }
    }

    /// Shows `visit` the person of `user` with everything folded in, and `further` events, in their order,
    /// that the state keeps nothing of, under the ids of the model's bundle; `None` where nobody of this id is known.
    ///
    /// # Errors
    /// The person's row cannot be read.
    pub async fn with_current<T>(
        &self,
        user: UserId,
        (bundle, model): (&Bundle, &Arc<str>),
        further: &[PhoneEvent],
        visit: impl FnOnce(&foretap::router::Person, &foretap::data::Vocabulary, Option<i64>) -> T,
    ) -> Result<Option<T>> {
        let Some((known, mut snapshot)) = self.known(user).await? else { return Ok(None) };
        // A snapshot and events may come meanwhile.
        for attempt in 1..=ATTEMPTS {
            let is_copy = !lock(&known).is_before(further);
            let shared = if is_copy {
                // Some belong between those of the state: a copy takes them in.
                let mut copy = lock(&known).clone();
                for event in further {
                    copy.fold(event.clone());
                }
                Arc::new(Mutex::new(copy))
            } else {
                Arc::clone(&known)
            };
            if snapshot.is_none() && lock(&shared).needs_snapshot(model) {
                snapshot = self.store.person(user).await?;
            }
            {
                let mut state = lock(&shared);
                let newest = state.newest_us();
                let is_unread = snapshot.is_none() && state.needs_snapshot(model) && attempt < ATTEMPTS;
                let is_in_order = is_copy || state.is_before(further);
                if !is_unread
                    && is_in_order
                    && let Some((person, vocabulary)) = state.current((bundle, model), snapshot.as_deref())?
                {
                    let Some(last) = further.last().filter(|_| !is_copy) else {
                        return Ok(Some(visit(person, vocabulary, newest)));
                    };
                    let (mut person, mut vocabulary) = (person.clone(), vocabulary.clone());
                    drop(state);
                    further.iter().for_each(|event| person.observe(&event.to_event(&mut vocabulary)));
                    return Ok(Some(visit(&person, &vocabulary, Some(last.at_us).max(newest))));
                }
            }
            snapshot = None;
            if attempt > 1 {
                // Another process has made the snapshot, and this one's state stands on an older one.
                self.reread(user, &known).await?;
            }
        }
        let message = format!("the row of {user} changes all the time");
        Err(Error::new(ErrorKind::Io, message).next_step("ask again"))
    }

    /// How many single events the state of a person holds.
    ///
    /// # Errors
    /// The person's row cannot be read.
    pub async fn tail_events(&self, user: UserId) -> Result<usize> {
        Ok(self.known(user).await?.map_or(0, |(shared, _)| lock(&shared).tail().count()))
    }

    /// Writes all that is not written yet. A write that lost against another process's is folded in and done again. Where the
    /// store does not take a person's, the others' are written all the same.
    ///
    /// # Errors
    /// The store cannot be read or written: what was not written stays, for the next call.
    pub async fn write(&self, bundle: &Bundle) -> Result<()> {
        loop {
            let people: Vec<(UserId, Shared)> =
                lock(&self.unwritten).iter().map(|(user, shared)| (*user, Arc::clone(shared))).collect();
            if people.is_empty() {
                return Ok(());
            }
            let mut failed = 0;
            for part in people.chunks(WRITES_AT_ONCE) {
                failed += self.write_part(part, bundle).await?;
            }
            if failed > 0 {
                let message = format!("the store did not take what came of {failed} people");
                return Err(Error::new(ErrorKind::Io, message)
                    .next_step("see the log: it is tried again, and nothing is lost meanwhile"));
            }
        }
    }

    /// The snapshot in whose place another one is due.
    async fn snapshot_to_renew(&self, user: UserId, shared: &Shared) -> Result<Option<Vec<u8>>> {
        let is_due = lock(shared).is_snapshot_due();
        if is_due { self.store.person(user).await } else { Ok(None) }
    }

    /// Returns how many writes failed.
    async fn write_part(&self, people: &[(UserId, Shared)], bundle: &Bundle) -> Result<usize> {
        let snapshots = people.iter().map(|(user, shared)| self.snapshot_to_renew(*user, shared).boxed());
        let snapshots: Vec<_> = futures::stream::iter(snapshots.collect::<Vec<_>>())
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let mut writes = Vec::with_capacity(people.len());
        let mut writers = Vec::with_capacity(people.len());
        for (prepared, (user, shared)) in prepare(people, &snapshots, bundle)?.into_iter().zip(people) {
            match prepared {
                ToWrite::Nothing => {}
                // What is left is written by the next round.
                ToWrite::Stale => self.reread(*user, shared).await?,
                ToWrite::Write(write, pending) => {
                    writes.push(write);
                    writers.push((*user, shared, pending));
                }
            }
        }
        let written = self.store.write(writes).await?;
        let mut failed = 0;
        for ((user, shared, pending), written) in writers.into_iter().zip(written) {
            match written {
                Written::Version(version) => {
                    let mut unwritten = lock(&self.unwritten);
                    let mut state = lock(shared);
                    state.written(version, pending);
                    if !state.has_unwritten() {
                        unwritten.remove(&user);
                    }
                }
                Written::Failed => failed += 1,
                Written::Conflict => self.reread(user, shared).await?,
            }
        }
        Ok(failed)
    }

    /// Folds what is not written yet into what the row holds by now: after another process has written it.
    async fn reread(&self, user: UserId, shared: &Shared) -> Result<()> {
        match self.store.row(user).await? {
            Some(row) => {
                let key = self.master.open_person(&row.key)?;
                let mut unwritten = lock(&self.unwritten);
                let mut state = lock(shared);
                state.reread(&row, key)?;
                // The row has it all where the other writer had the same events, or it was this one, and nobody knew.
                if !state.has_unwritten() {
                    unwritten.remove(&user);
                }
            }
            // Another process has forgotten the person: what came since begins anew.
            None => {
                let (key, sealed) = self.master.new_person()?;
                lock(shared).restart(key, sealed);
            }
        }
        Ok(())
    }

    /// Forgets a person in memory and in the store; what happened or arrived by `at_us` is not taken in again. `false` where nobody of this
    /// id was known.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn forget(&self, user: UserId, at_us: i64) -> Result<bool> {
        lock(&self.forgotten).insert(user, at_us);
        // Not while somebody reads the row that is about to go.
        let _reading = self.reading(user).await;
        let was_in_memory = self.drop_from_memory(user);
        Ok(self.store.forget(user, at_us).await? || was_in_memory)
    }

    /// Whether there was something unwritten.
    fn drop_from_memory(&self, user: UserId) -> bool {
        // Under one lock: between the two an event could find the state that is about to go.
        let mut unwritten = lock(&self.unwritten);
        self.cache.invalidate(&user);
        unwritten.remove(&user).is_some()
    }

    /// Forgets in memory and in the store whom other processes on the same lake have forgotten. Returns them: what came after that
    /// and is not written yet has to be folded in again. Not while events are folded in.
    ///
    /// # Errors
    /// The store cannot be read or written. Call it again.
    pub async fn learn(&self, list: &Arc<ForgottenPeople>) -> Result<HashSet<UserId>> {
        let mut found = HashSet::new();
        if lock(&self.learned).version() >= list.version() {
            return Ok(found);
        }
        // One that shares the store has forgotten them there.
        for (user, at_us) in self.store.forgotten().await? {
            let is_new = lock(&self.forgotten).get(&user).is_none_or(|known| *known < at_us);
            if is_new {
                lock(&self.forgotten).insert(user, at_us);
                let _reading = self.reading(user).await;
                self.drop_from_memory(user);
                found.insert(user);
            }
        }
        let known: HashMap<UserHash, i64> = lock(&self.forgotten)
            .iter()
            .map(|(user, at_us)| (ForgottenPeople::hash(*user), *at_us))
            .collect();
        let is_new = |(hash, at_us): &(UserHash, i64)| known.get(hash).is_none_or(|known| known < at_us);
        let new = ForgottenPeople::new(list.version(), list.iter().filter(is_new));
        if new.iter().next().is_some() {
            let mut users: Vec<UserId> = lock(&self.unwritten).keys().copied().collect();
            users.extend(self.cache.iter().map(|(user, _)| *user));
            let mut after = None;
            loop {
                for user in users {
                    if let Some(at_us) = new.at_us(user).filter(|_| !found.contains(&user)) {
                        self.forget(user, at_us).await?;
                        found.insert(user);
                    }
                }
                users = self.store.users(after, USERS_AT_ONCE).await?;
                after = users.last().copied();
                if after.is_none() {
                    break;
                }
            }
        }
        *lock(&self.learned) = Arc::clone(list);
        Ok(found)
    }
}

/// How often a person is looked at whose state changes meanwhile.
const ATTEMPTS: usize = 4;
/// People in one transaction: it holds the writes in memory.
const WRITES_AT_ONCE: usize = 1_000;
/// People who are listed at once.
const USERS_AT_ONCE: usize = 10_000;
/// Snapshots that are read at once.
const READS_AT_ONCE: usize = 32;

/// What is to be written of each person, in their order. Folding and sealing take most of a write's time: each core has a share.
fn prepare(
    people: &[(UserId, Shared)],
    snapshots: &[Option<Vec<u8>>],
    bundle: &Bundle,
) -> Result<Vec<ToWrite>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = people.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let shares = people.chunks(share).zip(snapshots.chunks(share));
        let working: Vec<_> = shares
            .map(|(people, snapshots)| {
                let each = people.iter().zip(snapshots);
                let of_each =
                    each.map(|((_, shared), snapshot)| lock(shared).to_write(bundle, snapshot.as_deref()));
                scope.spawn(move || of_each.collect::<Result<Vec<ToWrite>>>())
            })
            .collect();
        let mut prepared = Vec::with_capacity(people.len());
        for share in working {
            let ended = |_| Error::new(ErrorKind::Io, "a thread that prepares writes ended early");
            prepared.extend(share.join().map_err(ended)??);
        }
        Ok(prepared)
    })
}
