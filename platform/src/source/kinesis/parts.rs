//! The shards that this process has, and of each what was handed out and is not in store and lake yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foretap::Result;
use futures::StreamExt as _;
use metrics::{counter, gauge};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::leases::{Leases, Owned, Place};
use crate::ingest::now_us;
use crate::lake::Positions;

/// Leases that are written at once.
const WRITES_AT_ONCE: usize = 16;
/// For one write with all of its attempts: a commit does not wait longer.
const WRITE: Duration = Duration::from_secs(10);
/// Between two writes of the time up to which a shard was read.
const TIME_EACH_US: i64 = 3_600_000_000;

/// One shard, since its lease was taken.
pub(super) struct Part {
    /// The stream, as leases name it.
    pub stream: Arc<str>,
    pub epoch: u64,
    /// The name of its partition.
    pub name: Arc<str>,
    /// The last records of what was handed out and is not acknowledged, in order. An acknowledgement in between counts as one up
    /// to the mark before: so marks are few.
    pub marks: VecDeque<Place>,
    /// The record that the lease is to name and does not yet.
    pub unsaved: Option<Place>,
    /// The position that it names.
    pub saved: u64,
    /// Up to this time all that had arrived was read, the record of this position the last of it.
    pub current: (i64, u64),
    /// The same as the lease has it.
    pub saved_time_us: i64,
    /// The shard is closed, and all of it was handed out.
    pub is_read: bool,
    /// It is to be given up once all that was handed out is in store and lake.
    pub is_leaving: bool,
    pub reader: JoinHandle<()>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Part {
    /// Whether all that was handed out is in store and lake, and the lease says so.
    pub fn is_done(&self) -> bool {
        self.marks.is_empty() && self.unsaved.is_none()
    }
}

/// What the source, the keeper of leases and the readers share.
pub(super) struct Shared {
    /// This process, as leases name it.
    pub process: String,
    pub leases: Leases,
    /// The stream that it reads, as leases name it.
    stream: Mutex<Option<Arc<str>>>,
    parts: Mutex<BTreeMap<String, Part>>,
    /// Wakes the keeper: a shard has ended, or a lease was lost.
    pub wake: Notify,
    /// How long the stream keeps a record.
    pub retention_us: AtomicI64,
    /// One at a time: an older place must not be written after a newer one.
    saving: tokio::sync::Mutex<()>,
}

impl Shared {
    pub fn new(process: String, leases: Leases) -> Self {
        Self {
            process,
            leases,
            stream: Mutex::default(),
            parts: Mutex::default(),
            wake: Notify::new(),
            retention_us: AtomicI64::new(i64::MAX),
            saving: tokio::sync::Mutex::new(()),
        }
    }

    pub fn parts(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stream(&self) -> Option<Arc<str>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_stream(&self, stream: &Arc<str>) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(stream));
    }

    /// Whether records that arrived after this time may have been removed by their age.
    pub fn may_have_expired(&self, after_us: i64) -> bool {
        after_us < now_us().saturating_sub(self.retention_us.load(Ordering::Acquire))
    }

    /// Positions that are in store and lake. One of an older lease may be among them: it names the same record.
    pub fn acknowledge(&self, positions: &Positions) {
        for part in self.parts().values_mut() {
            let Some(last) = positions.last(&part.name) else { continue };
            while let Some(mark) = part.marks.pop_front_if(|mark| mark.ordinal <= last) {
                part.unsaved = Some(mark);
            }
        }
    }

    /// Writes to the leases what is acknowledged. What cannot be written now is written later; `false` where there is some.
    pub async fn save(&self) -> bool {
        let _alone = self.saving.lock().await;
        let due: Vec<(String, Arc<str>, u64, Place)> = self
            .parts()
            .iter()
            .filter_map(|(shard, part)| {
                Some((shard.clone(), Arc::clone(&part.stream), part.epoch, part.unsaved.clone()?))
            })
            .collect();
        let writes = due.into_iter().map(|(shard, stream, epoch, place)| async move {
            let owned = Owned { stream: &stream, shard: &shard, owner: &self.process, epoch };
            let written = tokio::time::timeout(WRITE, self.leases.save(owned, &place)).await;
            match written {
                Ok(Ok(true)) => {
                    let mut parts = self.parts();
                    if let Some(part) = parts.get_mut(&shard).filter(|part| part.epoch == epoch) {
                        part.saved = place.ordinal;
                        if part.unsaved.as_ref() == Some(&place) {
                            part.unsaved = None;
                        }
                    }
                    return true;
                }
                Ok(Ok(false)) => {
                    self.lose(&shard, epoch);
                    return true;
                }
                Ok(Err(error)) => tracing::warn!(%error, shard, "how far a shard was read is written later"),
                Err(_) => {
                    tracing::warn!(shard, "how far a shard was read is written later: no answer in time")
                }
            }
            counter!("foretap_kinesis_errors_total", "what" => "lease").increment(1);
            false
        });
        let written: Vec<bool> =
            futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).collect().await;
        if self.parts().values().any(|part| (part.is_read || part.is_leaving) && part.is_done()) {
            self.wake.notify_one();
        }
        written.into_iter().all(|is_written| is_written)
    }

    /// Now and then, up to when shards without anything new were read. A record whose lease names it may be removed by its age:
    /// with this time it is known that nothing after it was.
    pub async fn save_times(&self) -> Result<()> {
        let due: Vec<(String, Arc<str>, u64, i64)> = self
            .parts()
            .iter()
            .filter(|(_, part)| {
                let (until_us, ordinal) = part.current;
                part.is_done() && part.saved == ordinal && until_us - part.saved_time_us >= TIME_EACH_US
            })
            .map(|(shard, part)| (shard.clone(), Arc::clone(&part.stream), part.epoch, part.current.0))
            .collect();
        for (shard, stream, epoch, until_us) in due {
            let owned = Owned { stream: &stream, shard: &shard, owner: &self.process, epoch };
            if !self.leases.save_time(owned, until_us).await? {
                self.lose(&shard, epoch);
                continue;
            }
            if let Some(part) = self.parts().get_mut(&shard).filter(|part| part.epoch == epoch) {
                part.saved_time_us = until_us;
            }
        }
        Ok(())
    }

    /// Drops a shard whose lease another process has.
    pub fn lose(&self, shard: &str, epoch: u64) {
        let lost = {
            let mut parts = self.parts();
            match parts.get(shard) {
                Some(part) if part.epoch == epoch => parts.remove(shard),
                _ => None,
            }
        };
        if lost.is_some() {
            counter!("foretap_kinesis_lost_leases_total").increment(1);
            tracing::warn!(
                shard,
                "another process has this shard by now: this one's was silent for too long"
            );
            self.wake.notify_one();
        }
    }

    /// Drops all shards.
    pub fn drop_all(&self) {
        let dropped = std::mem::take(&mut *self.parts());
        for shard in dropped.keys() {
            gauge!("foretap_kinesis_behind_ms", "shard" => shard.clone()).set(0.0);
        }
    }
}
