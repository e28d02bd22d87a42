//! The task that reads one shard.
//!
//! A position is an ordinal: records of a shard are counted from the first that was ever read, those within an aggregated
//! record each by itself. A sequence number of Kinesis has up to 186 bits, and the lake's positions 63. The lease names an
//! ordinal together with the sequence number that it belongs to, and a shard is only ever appended to: whoever reads on from
//! there counts the same records in the same way, so what is read again after a crash is known by its position.
//!
//! - **The first record** gets its ordinal in the lease before it is handed out: otherwise the count would begin elsewhere once
//!   that record is removed by its age.
//! - **Reading on begins at the record that the lease names**, and not after it: if it is still there, nothing between was
//!   removed. If it is not, and it was long enough ago that something may have been, that is an error in the log and in
//!   `/metrics`, and the count goes on in a range of its own: ordinals behind the lease's may be in the lake already.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::types::Record as StreamRecord;
use bytes::Bytes;
use metrics::{counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::content;
use super::leases::{Owned, Place};
use super::parts::Shared;
use super::stream::{Stream, Unread};
use crate::aws::wait;
use crate::ingest::now_us;
use crate::source::{Record, RecordKind};

/// Between two reads of a shard that has more: Kinesis allows five a second.
const BUSY: Duration = Duration::from_millis(200);
/// After an error that may last.
const RETRY: Duration = Duration::from_secs(1);
/// Attempts after which it is said in the log that a shard is not read.
const TRIES: u32 = 5;
/// Bits of an ordinal that count records; those above count the times that records may be missing.
const COUNT_BITS: u32 = 40;

/// Records of one read.
pub(super) struct Chunk {
    pub shard: String,
    pub epoch: u64,
    /// The name of the partition.
    pub name: Arc<str>,
    pub records: VecDeque<(Record, Place)>,
    /// Whether the shard is closed and these are its last.
    pub is_end: bool,
    /// So many chunks are in memory at once.
    pub _permit: OwnedSemaphorePermit,
}

/// See the module.
pub(super) struct Reader {
    pub stream: Arc<Stream>,
    pub shared: Arc<Shared>,
    pub chunks: mpsc::Sender<Chunk>,
    pub permits: Arc<Semaphore>,
    pub stream_id: Arc<str>,
    pub shard: String,
    pub epoch: u64,
    /// The name of the partition.
    pub name: Arc<str>,
    pub kind: RecordKind,
    pub poll: Duration,
    /// The last record that was read.
    pub place: Option<Place>,
    /// All that had arrived by then was read.
    pub read_until_us: i64,
    /// When the last record arrived that was read by this reader, and whether there were more.
    pub last_arrival: Option<(i64, bool)>,
    /// Kinesis does not know the record of `place`.
    pub is_unknown: bool,
}

/// Why a reader ends: another process has the lease, or nobody listens.
struct Ended;

type Outcome<T> = Result<T, Ended>;

impl Reader {
    pub async fn run(mut self) {
        let mut attempt = 0;
        loop {
            match self.read(&mut attempt).await {
                // Another iterator.
                Ok(false) => {}
                Ok(true) | Err(Ended) => return,
            }
        }
    }

    /// Reads from `place` on; `true` at the end of a closed shard, `false` where another iterator is needed.
    async fn read(&mut self, attempt: &mut u32) -> Outcome<bool> {
        let at = self.place.as_ref().map(|place| Arc::clone(&place.sequence));
        let mut iterator = match self.stream.iterator(&self.shard, at.as_deref()).await {
            Ok(Some(iterator)) => iterator,
            // Not a record of this shard, says Kinesis.
            Ok(None) => match self.stream.iterator(&self.shard, None).await {
                Ok(Some(iterator)) => {
                    self.is_unknown = true;
                    iterator
                }
                Ok(None) => return self.later(Unread::Gone, attempt).await,
                Err(why) => return self.later(why, attempt).await,
            },
            Err(why) => return self.later(why, attempt).await,
        };
        // Whether the first record is the one that `place` names.
        let mut is_unproven = at.is_some();
        loop {
            // A semaphore that nobody closes.
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Err(Ended) };
            let (asked, asked_us) = (Instant::now(), now_us());
            let found = match self.stream.records(&iterator).await {
                Ok(found) => found,
                Err(why) => {
                    drop(permit);
                    return self.later(why, attempt).await;
                }
            };
            *attempt = 0;
            let behind_ms = found.millis_behind_latest.unwrap_or_default();
            gauge!("foretap_kinesis_behind_ms", "shard" => self.shard.clone()).set(behind_ms as f64);
            let (next, is_empty) = (found.next_shard_iterator, found.records.is_empty());
            let records = self.records(found.records, &mut is_unproven, behind_ms > 0).await?;
            // Closed, and not even the record that the lease names is left of it.
            if next.is_none() && is_unproven && self.shared.may_have_expired(self.read_until_us) {
                self.say_missing("the end of the shard");
            }
            if behind_ms == 0 || next.is_none() {
                self.note_read_until(asked_us);
            }
            let is_end = next.is_none();
            if is_end || !records.is_empty() {
                let (shard, epoch, name) = (self.shard.clone(), self.epoch, Arc::clone(&self.name));
                let chunk = Chunk { shard, epoch, name, records, is_end, _permit: permit };
                self.chunks.send(chunk).await.map_err(|_| Ended)?;
            } else {
                drop(permit);
            }
            match next {
                Some(next) => iterator = next,
                None => {
                    tracing::info!(shard = self.shard, "a closed shard was read to its end");
                    return Ok(true);
                }
            }
            let pause = if behind_ms == 0 && is_empty { self.poll } else { BUSY };
            tokio::time::sleep_until(asked + pause).await;
        }
    }

    /// Waits as the reason asks for.
    async fn later(&self, why: Unread, attempt: &mut u32) -> Outcome<bool> {
        *attempt += 1;
        let what = match why {
            Unread::Iterator => {
                if *attempt > TRIES {
                    tracing::error!(
                        shard = self.shard,
                        "Kinesis refuses each iterator that it gives; trying again"
                    );
                }
                "iterator"
            }
            Unread::Busy => {
                if *attempt > TRIES {
                    tracing::warn!(
                        shard = self.shard,
                        "Kinesis is asked too often: see who else reads the stream"
                    );
                }
                "throttled"
            }
            Unread::Gone => {
                tracing::error!(shard = self.shard, "the shard is gone, or its stream");
                self.shared.wake.notify_one();
                "gone"
            }
            Unread::Failed(error) => {
                tracing::error!(%error, shard = self.shard, "the shard cannot be read now; trying again");
                "read"
            }
        };
        counter!("foretap_kinesis_errors_total", "what" => what).increment(1);
        match what {
            "iterator" | "throttled" => {
                tokio::time::sleep(BUSY).await;
                wait(*attempt + 2).await;
            }
            _ => tokio::time::sleep(RETRY).await,
        }
        Ok(false)
    }

    /// Records as the platform has them, but for those that were read before.
    async fn records(
        &mut self,
        found: Vec<StreamRecord>,
        is_unproven: &mut bool,
        is_behind: bool,
    ) -> Outcome<VecDeque<(Record, Place)>> {
        let mut records = VecDeque::with_capacity(found.len());
        for record in found {
            let arrived_us = record.approximate_arrival_timestamp.map_or_else(now_us, |at| {
                at.secs().saturating_mul(1_000_000) + i64::from(at.subsec_nanos() / 1_000)
            });
            let sequence: Arc<str> = record.sequence_number.as_str().into();
            let mut done = 0;
            if std::mem::take(is_unproven) {
                match &self.place {
                    Some(place) if place.sequence == sequence => done = place.count,
                    _ => self.check_expired(&sequence).await?,
                }
            } else if let Some((before_us, true)) = self.last_arrival
                && self.shared.may_have_expired(before_us.max(self.read_until_us))
            {
                self.say_missing(&sequence);
            }
            self.last_arrival = Some((arrived_us, false));
            let mut place = match self.place.take() {
                Some(place) => place,
                None => {
                    let first = Place { ordinal: 0, sequence: Arc::clone(&sequence), count: 0 };
                    self.anchor(&first).await?;
                    first
                }
            };
            let batches = content::batches(Bytes::from(record.data.into_inner()));
            for (batch, count) in
                batches.into_iter().zip(1..).skip(usize::try_from(done).unwrap_or(usize::MAX))
            {
                place = Place { ordinal: place.ordinal + 1, sequence: Arc::clone(&sequence), count };
                let record = Record {
                    partition: Arc::clone(&self.name),
                    position: place.ordinal,
                    received_at_us: arrived_us,
                    kind: self.kind,
                    file: None,
                    bytes: batch,
                };
                records.push_back((record, place.clone()));
            }
            self.place = Some(place);
        }
        if let Some((_, has_more)) = &mut self.last_arrival {
            *has_more = is_behind;
        }
        Ok(records)
    }

    /// The record that the lease names is not there any more.
    async fn check_expired(&mut self, first: &Arc<str>) -> Outcome<()> {
        let Some(ordinal) = self.place.as_ref().map(|place| place.ordinal) else { return Ok(()) };
        if !std::mem::take(&mut self.is_unknown) && !self.shared.may_have_expired(self.read_until_us) {
            return Ok(());
        }
        let ordinal = ((ordinal >> COUNT_BITS) + 1) << COUNT_BITS;
        self.say_missing(first);
        let next = Place { ordinal, sequence: Arc::clone(first), count: 0 };
        self.anchor(&next).await?;
        self.place = Some(next);
        Ok(())
    }

    fn say_missing(&self, first: &str) {
        counter!("foretap_kinesis_missing_records_total").increment(1);
        tracing::error!(
            shard = self.shard,
            first,
            "records may be missing before this one: they were removed by their age before they were read; let the stream \
             keep them longer"
        );
    }

    /// Has the lease say which ordinal a record has, before it is handed out.
    async fn anchor(&self, place: &Place) -> Outcome<()> {
        let (stream, shard) = (&*self.stream_id, &*self.shard);
        let owned = Owned { stream, shard, owner: &self.shared.process, epoch: self.epoch };
        loop {
            match self.shared.leases.save(owned, place).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    self.shared.lose(&self.shard, self.epoch);
                    return Err(Ended);
                }
                Err(error) => {
                    counter!("foretap_kinesis_errors_total", "what" => "lease").increment(1);
                    tracing::error!(%error, shard = self.shard, "reading waits for its lease");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn note_read_until(&mut self, until_us: i64) {
        self.read_until_us = until_us;
        let ordinal = self.place.as_ref().map_or(0, |place| place.ordinal);
        let mut parts = self.shared.parts();
        if let Some(part) = parts.get_mut(&self.shard).filter(|part| part.epoch == self.epoch) {
            part.current = (until_us, ordinal);
        }
    }
}
