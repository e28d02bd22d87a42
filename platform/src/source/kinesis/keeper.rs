//! The task that keeps this process's leases: says that it lives, takes shards and gives them up, and follows splits and merges.
//!
//! All processes reckon the same from the same rows: those that live, sorted by name, share the shards that can be read, and the
//! first ones have one more where they do not divide evenly. Who has more gives some up, once what it has handed out is in store
//! and lake; who has fewer takes those that are free or whose owner has died.
//!
//! A shard can be read when its parents have been: to their end, and all of it in store and lake.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foretap::Result;
use metrics::{counter, gauge};
use tokio::sync::{Semaphore, mpsc};

use super::leases::{Lease, Owned, Rows};
use super::parts::{Part, Shared};
use super::reader::{Chunk, Reader};
use super::stream::{Described, Shard, Stream};
use crate::config::KinesisConfig;
use crate::source::RecordKind;

/// After an error.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks, at least.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Looks within the time of a lease.
const LOOKS: u32 = 3;
/// Leases' times for which a shard may be without an owner before it is said.
const UNOWNED: u32 = 2;

/// See the module.
pub(super) struct Keeper {
    config: KinesisConfig,
    stream: Arc<Stream>,
    shared: Arc<Shared>,
    chunks: mpsc::Sender<Chunk>,
    permits: Arc<Semaphore>,
    is_open: bool,
    /// The stream at the last look.
    known: Option<Described>,
    /// Beats of other processes, and since when they are these.
    beats: HashMap<String, (u64, Instant)>,
    /// Names that this process had before a crash.
    before: BTreeSet<String>,
    /// Since when shards have been without an owner, and without being listed.
    unowned: HashMap<String, Instant>,
    unlisted: HashMap<String, Instant>,
}

impl Keeper {
    pub fn new(
        config: &KinesisConfig,
        stream: Arc<Stream>,
        shared: Arc<Shared>,
        (chunks, permits): (mpsc::Sender<Chunk>, Arc<Semaphore>),
    ) -> Self {
        Self {
            config: config.clone(),
            stream,
            shared,
            chunks,
            permits,
            is_open: false,
            known: None,
            beats: HashMap::new(),
            before: BTreeSet::new(),
            unowned: HashMap::new(),
            unlisted: HashMap::new(),
        }
    }

    fn lease_time(&self) -> Duration {
        Duration::from_secs(self.config.lease_secs)
    }

    pub async fn run(mut self) {
        loop {
            let pause = match self.look().await {
                Ok(()) => self.lease_time() / LOOKS,
                Err(error) => {
                    counter!("foretap_kinesis_errors_total", "what" => "leases").increment(1);
                    tracing::error!(%error, "shards cannot be shared out; trying again");
                    RETRY
                }
            };
            tokio::time::sleep(LEAST_PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.wake.notified() => {}
            }
        }
    }

    /// Looks once at stream and leases, and does what is due.
    async fn look(&mut self) -> Result<()> {
        if !self.is_open {
            self.shared.leases.open(self.config.create_lease_table).await?;
            self.is_open = true;
        }
        let Some(found) = self.stream.describe().await? else {
            self.shared.drop_all();
            self.known = None;
            return Err(self.stream.missing());
        };
        if self.known.as_ref().is_none_or(|known| known.id != found.id) {
            // Another one under the same name: nothing that is known is of it.
            self.shared.drop_all();
            self.beats.clear();
            self.before.clear();
            self.unlisted.clear();
            tracing::info!(stream = found.id, process = self.shared.process, "the stream is there");
        }
        let is_first = self.known.as_ref().is_none_or(|known| known.id != found.id);
        let retention_us = i64::try_from(found.retention.as_micros()).unwrap_or(i64::MAX);
        self.shared.retention_us.store(retention_us, Ordering::Release);
        let id: Arc<str> = found.id.as_str().into();
        self.shared.set_stream(&id);
        self.shared.leases.beat(&id, &self.shared.process).await?;
        self.shared.save().await;
        self.shared.save_times().await?;
        let is_changed = self.finish(&id).await?;
        let mut rows = self.shared.leases.rows(&id).await?;
        let shards = self.stream.shards().await?;
        self.drop_lost(&rows);
        if is_first {
            self.recognise(&rows);
        }
        let living = self.living(&id, &rows).await;
        self.drop_unlisted(&id, &mut rows, &shards).await?;
        self.known = Some(found.clone());
        self.share_out(&id, &found.prefix, &rows, &shards, &living).await?;
        if is_changed {
            // A shard that ended may let its children begin, for others that have looked already, too.
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Ends and gives up shards of which everything is in store and lake.
    async fn finish(&self, id: &str) -> Result<bool> {
        let done: Vec<(String, u64, bool)> = self
            .shared
            .parts()
            .iter()
            .filter(|(_, part)| (part.is_read || part.is_leaving) && part.is_done())
            .map(|(shard, part)| (shard.clone(), part.epoch, part.is_read))
            .collect();
        let is_changed = !done.is_empty();
        for (shard, epoch, is_read) in done {
            let owned = Owned { stream: id, shard: &shard, owner: &self.shared.process, epoch };
            let is_written = match is_read {
                true => self.shared.leases.end(owned).await?,
                false => self.shared.leases.release(owned).await?,
            };
            // Where it was not, it is another's, or was written by a request whose answer was lost.
            tracing::info!(shard, is_read, is_written, "a shard is given up");
            self.shared.parts().remove(&shard);
            gauge!("foretap_kinesis_behind_ms", "shard" => shard).set(0.0);
        }
        Ok(is_changed)
    }

    fn is_mine(&self, shard: &str, lease: Option<&Lease>) -> bool {
        let parts = self.shared.parts();
        let Some((part, lease)) = parts.get(shard).zip(lease) else { return false };
        part.epoch == lease.epoch && lease.owner.as_deref() == Some(&*self.shared.process)
    }

    fn drop_lost(&self, rows: &Rows) {
        let held: Vec<(String, u64)> =
            self.shared.parts().iter().map(|(shard, part)| (shard.clone(), part.epoch)).collect();
        for (shard, epoch) in held {
            if !self.is_mine(&shard, rows.leases.get(&shard)) {
                self.shared.lose(&shard, epoch);
            }
        }
    }

    /// At the start: what has this process's name is of before a crash.
    fn recognise(&mut self, rows: &Rows) {
        let Some(instance) = &self.config.instance else { return };
        let prefix = format!("{instance}/");
        let owners = rows.leases.values().filter_map(|lease| lease.owner.as_ref());
        let names = rows.processes.keys().chain(owners);
        let before = names.filter(|name| name.starts_with(&prefix) && **name != self.shared.process);
        self.before = before.cloned().collect();
    }

    /// The processes that live, this one among them; rows of those that do not are deleted.
    async fn living(&mut self, id: &str, rows: &Rows) -> BTreeSet<String> {
        let now = Instant::now();
        let mut living = BTreeSet::from([self.shared.process.clone()]);
        // An owner may have no row: it has died, and others have deleted it.
        let owners = rows.leases.values().filter_map(|lease| lease.owner.clone());
        let mut others: BTreeMap<String, u64> = owners.map(|owner| (owner, 0)).collect();
        others.extend(rows.processes.iter().map(|(name, beats)| (name.clone(), *beats)));
        others.remove(&self.shared.process);
        self.beats.retain(|name, _| others.contains_key(name));
        let time = self.lease_time();
        for (name, beats) in others {
            let (last, since) = self.beats.entry(name.clone()).or_insert((beats, now));
            if *last != beats {
                (*last, *since) = (beats, now);
            }
            if now - *since < time && !self.before.contains(&name) {
                living.insert(name);
            } else if rows.processes.contains_key(&name) {
                tracing::info!(name, "a process has died: its shards are shared out");
                if let Err(error) = self.shared.leases.forget_process(id, &name, Some(beats)).await {
                    tracing::warn!(%error, "the row of a dead process stays for now");
                }
            }
        }
        living
    }

    /// Rows of shards that the stream no longer has: those that were read to their end are of no use any more, and of others
    /// records were removed before they were read.
    async fn drop_unlisted(&mut self, id: &str, rows: &mut Rows, shards: &[Shard]) -> Result<()> {
        let listed: BTreeSet<&str> = shards.iter().map(|shard| &*shard.id).collect();
        let (now, time) = (Instant::now(), self.lease_time());
        self.unlisted.retain(|shard, _| rows.leases.contains_key(shard) && !listed.contains(&**shard));
        let gone: Vec<(String, Lease)> = rows
            .leases
            .iter()
            .filter(|(shard, _)| !listed.contains(&***shard))
            .map(|(shard, lease)| (shard.clone(), lease.clone()))
            .collect();
        for (shard, lease) in gone {
            // For a while: a list may be older than another process's.
            let since = *self.unlisted.entry(shard.clone()).or_insert(now);
            if now - since < time {
                continue;
            }
            if !lease.is_ended {
                counter!("foretap_kinesis_missing_records_total").increment(1);
                tracing::error!(
                    shard,
                    "records may be missing: the stream no longer has this shard, which was not read to its end"
                );
            }
            self.shared.leases.forget_shard(id, &shard, lease.epoch).await?;
            self.shared.lose(&shard, lease.epoch);
            rows.leases.remove(&shard);
        }
        Ok(())
    }

    async fn share_out(
        &mut self,
        id: &Arc<str>,
        prefix: &str,
        rows: &Rows,
        shards: &[Shard],
        living: &BTreeSet<String>,
    ) -> Result<()> {
        let wanted = readable(rows, shards);
        let rank = living.iter().position(|name| *name == self.shared.process).unwrap_or_default();
        let quota = wanted.len() / living.len() + usize::from(rank < wanted.len() % living.len());
        let held = self.shared.parts().values().filter(|part| !part.is_leaving).count();
        for _ in quota..held {
            self.give_up_one();
        }
        let is_free = |lease: Option<&Lease>| {
            let owner = lease.and_then(|lease| lease.owner.as_ref());
            owner.is_none_or(|owner| *owner == self.shared.process || !living.contains(owner))
        };
        let free = wanted
            .iter()
            .filter(|shard| is_free(rows.leases.get(**shard)) && !self.shared.parts().contains_key(**shard));
        // Each begins elsewhere: so they do not all want the same one.
        let mut free: VecDeque<&str> = free.copied().collect();
        let begin = rank.checked_rem(free.len()).unwrap_or_default();
        free.rotate_left(begin);
        let mut missing = quota.saturating_sub(held);
        let mut unowned = BTreeSet::new();
        for shard in free {
            if missing > 0 && self.take((id, prefix), shard, rows.leases.get(shard)).await? {
                missing -= 1;
            } else {
                unowned.insert(shard);
            }
        }
        self.watch_unowned(&unowned);
        gauge!("foretap_kinesis_shards").set(self.shared.parts().len() as f64);
        Ok(())
    }

    /// The last shard of those that are not given up yet: reading stops, and what was read and not handed out is dropped.
    fn give_up_one(&self) {
        let mut parts = self.shared.parts();
        let last = parts.iter_mut().rev().find(|(_, part)| !part.is_leaving && !part.is_read);
        if let Some((shard, part)) = last {
            tracing::info!(shard, "a shard is to go to another process");
            part.is_leaving = true;
            part.reader.abort();
            if part.is_done() {
                self.shared.wake.notify_one();
            }
        }
    }

    /// Takes a lease and begins to read; `false` where another process was faster.
    async fn take(&self, (id, prefix): (&Arc<str>, &str), shard: &str, seen: Option<&Lease>) -> Result<bool> {
        let Some(lease) = self.shared.leases.take((id, shard), seen, &self.shared.process).await? else {
            return Ok(false);
        };
        tracing::info!(shard, epoch = lease.epoch, from = ?lease.place, "a shard is read");
        let name: Arc<str> = format!("{prefix}/{shard}").into();
        let reader = Reader {
            stream: Arc::clone(&self.stream),
            shared: Arc::clone(&self.shared),
            chunks: self.chunks.clone(),
            permits: Arc::clone(&self.permits),
            stream_id: Arc::clone(id),
            shard: shard.to_owned(),
            epoch: lease.epoch,
            name: Arc::clone(&name),
            kind: RecordKind::of(self.config.encoding),
            poll: Duration::from_millis(self.config.poll_ms),
            place: lease.place.clone(),
            read_until_us: lease.read_until_us,
            last_arrival: None,
            is_unknown: false,
        };
        // Its reader finds the part, whenever it looks.
        let mut parts = self.shared.parts();
        let part = Part {
            stream: Arc::clone(id),
            epoch: lease.epoch,
            name,
            marks: VecDeque::new(),
            unsaved: None,
            saved: lease.place.map_or(0, |place| place.ordinal),
            current: (0, 0),
            saved_time_us: lease.read_until_us,
            is_read: false,
            is_leaving: false,
            reader: tokio::spawn(reader.run()),
        };
        parts.insert(shard.to_owned(), part);
        Ok(true)
    }

    fn watch_unowned(&mut self, unowned: &BTreeSet<&str>) {
        let (now, limit) = (Instant::now(), UNOWNED * self.lease_time());
        self.unowned.retain(|shard, _| unowned.contains(&**shard));
        for shard in unowned {
            self.unowned.entry((*shard).to_owned()).or_insert(now);
        }
        let long: Vec<&str> = self
            .unowned
            .iter()
            .filter(|(_, since)| now - **since >= limit)
            .map(|(shard, _)| &**shard)
            .collect();
        gauge!("foretap_kinesis_unowned_shards").set(long.len() as f64);
        if !long.is_empty() {
            tracing::error!(shards = ?long, "nobody reads these shards: see whether all processes can write the lease table");
        }
    }
}

/// Shards that are not ended and whose parents are: read to their end, or no longer there.
fn readable<'a>(rows: &Rows, shards: &'a [Shard]) -> Vec<&'a str> {
    let listed: BTreeSet<&str> = shards.iter().map(|shard| &*shard.id).collect();
    let is_ended = |shard: &str| match rows.leases.get(shard) {
        Some(lease) => lease.is_ended,
        None => !listed.contains(shard),
    };
    let of_row = |shard: &str| rows.leases.get(shard).is_some_and(|lease| lease.is_ended);
    let ready = shards
        .iter()
        .filter(|shard| !of_row(&shard.id) && shard.parents.iter().all(|parent| is_ended(parent)));
    ready.map(|shard| &*shard.id).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_can_be_read_once_its_parents_are_ended_or_gone() {
        let shard = |id: &str, parents: &[&str]| Shard {
            id: id.to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        };
        let lease = |is_ended| Lease { is_ended, ..Lease::default() };
        let shards = [
            shard("a", &[]),
            shard("b", &[]),
            shard("ab", &["a", "b"]),
            shard("c", &["b"]),
            shard("d", &["old"]),
        ];
        for (leases, expected) in [
            (vec![], vec!["a", "b", "d"]),
            (vec![("a", lease(false)), ("b", lease(false))], vec!["a", "b", "d"]),
            (vec![("a", lease(true))], vec!["b", "d"]),
            (vec![("b", lease(true))], vec!["a", "c", "d"]),
            (vec![("a", lease(true)), ("b", lease(true))], vec!["ab", "c", "d"]),
            // Its row says that it was not read to its end: until the row goes.
            (vec![("old", lease(false))], vec!["a", "b"]),
            (vec![("old", lease(true)), ("d", lease(true))], vec!["a", "b"]),
        ] {
            let leases = leases.into_iter().map(|(shard, lease)| (shard.to_owned(), lease)).collect();
            let rows = Rows { leases, processes: BTreeMap::new() };
            assert_eq!(readable(&rows, &shards), expected, "{rows:?}");
        }
    }
}
