//! From a source to the answers, the lake and the store: each event once.
//!
//! ```text
//! source --record--> decode --event--> a person's state in memory (answers know it at once)
//!                          \--> rows that wait
//!                                 |  every minute, or 64 MB
//!                                 v
//!          1. the lake commits the rows, with the positions that they came from
//!          2. the store writes the people whose state changed
//!          3. the source learns that all up to these positions is kept
//! ```
//!
//! After a crash the source begins behind the last step 3. A record that the lake has (step 1) is not added to it again, by its
//! position; an event that a person's state has (step 2) is not folded in again, by its identity. The lake comes first, so
//! that what the store knows is in the lake: an event that the store knows and whose record the lake lacks was sent twice,
//! and is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use foretap::bundle::Bundle;
use foretap::{Error, Result};
use metrics::counter;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::{Config, IngestConfig};
use crate::lake::{Commit, DeadLetter, Impression, Lake, LakeEvent};
use crate::source::{EventSource, Journal, Record, RecordKind};
use crate::store::{Folded, ForgottenPeople, MasterKey, People};
use crate::wire::{self, Border, Encoding, PhoneEvent, Refusal};

/// Bytes of records that are read at once.
const READ_BYTES: usize = 1 << 20;
/// How long is read for somebody who waits for a commit.
const READ_FOR: Duration = Duration::from_secs(2);
/// Commits that fail in a row until the process ends: an opened file may have to be opened anew.
const MOST_FAILURES: u32 = 60;
/// Between two commits, at least: an idle loop sleeps.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// How often a commit is made again where somebody was forgotten meanwhile.
const LEARNED_AGAIN: u32 = 20;
/// Seconds after a failed commit until the next attempt.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes that a dead letter keeps: a longer record is cut, and its reason says how long it was.
const DEAD_BYTES: usize = 32 << 20;

/// What has come of all events since the start. After a commit `received` is the sum of the others; before it, events that are
/// late or were sent again are not known from one another yet.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events in records that were read.
    pub received: AtomicU64,
    /// Folded into a person's state, and added to the lake.
    pub applied: AtomicU64,
    /// Known already.
    pub duplicate: AtomicU64,
    /// Older than the state reaches back: in the lake alone.
    pub late: AtomicU64,
    /// Of people who were forgotten after it arrived: nowhere. Dead letters that name them among these.
    pub forgotten: AtomicU64,
    /// Dead letters.
    pub dead: AtomicU64,
}

/// The loop's parts that others look at.
#[derive(Debug, Default)]
pub struct IngestStatus {
    /// See [`Counts`].
    pub counts: Counts,
    /// Whether the last commit failed: what is accepted meanwhile waits in its source.
    pub is_failing: AtomicBool,
    /// Commits that were asked for, and those that were done since.
    wanted: AtomicU64,
    done: watch::Sender<u64>,
    /// The journal's last record that answers know.
    taken: watch::Sender<u64>,
    wake: Notify,
}

impl IngestStatus {
    /// Whether answers know the journal's record at `position` by now, or will within `limit`.
    pub async fn has_taken(&self, position: u64, limit: Duration) -> bool {
        let mut taken = self.taken.subscribe();
        let known = tokio::time::timeout(limit, taken.wait_for(|taken| *taken >= position)).await;
        matches!(known, Ok(Ok(_)))
    }

    /// Commits all that the journal has and all that was read from elsewhere by now, and returns when it is done.
    ///
    /// # Errors
    /// The loop has ended.
    pub async fn flush(&self) -> Result<()> {
        let mut done = self.done.subscribe();
        let number = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake.notify_one();
        done.wait_for(|done| *done >= number)
            .await
            .map(|_| ())
            .map_err(|_| Error::new(foretap::ErrorKind::Io, "the loop that commits has ended"))
    }
}

/// The loop.
pub struct Ingest {
    source: Box<dyn EventSource>,
    people: Arc<People>,
    lake: Lake,
    master: MasterKey,
    bundle: Box<dyn Fn() -> Arc<Bundle> + Send>,
    border: Border,
    config: IngestConfig,
    status: Arc<IngestStatus>,
    /// Rows that wait for a commit, and what they take.
    rows: Commit,
    /// Events too old for their person's state.
    late: Vec<LakeEvent>,
    /// Who was forgotten by any process on this lake: nothing of theirs waits.
    forgotten: Arc<ForgottenPeople>,
    /// Commits that failed in a row.
    failures: u32,
    bytes: usize,
    since: Instant,
}

impl Ingest {
    /// A loop from `source`; `bundle` says which model is live.
    pub fn new(
        source: Box<dyn EventSource>,
        (people, lake, master): (Arc<People>, Lake, MasterKey),
        bundle: Box<dyn Fn() -> Arc<Bundle> + Send>,
        config: &Config,
        status: Arc<IngestStatus>,
    ) -> Self {
        Self {
            source,
            people,
            lake,
            master,
            bundle,
            border: border(config),
            config: config.ingest.clone(),
            status,
            rows: Commit::default(),
            late: Vec::new(),
            forgotten: Arc::default(),
            failures: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Runs until `stop` is true, and commits what it has then.
    ///
    /// # Errors
    /// The source, the store or the lake cannot be read. What was accepted is in the source still.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let (status, stopping) = (Arc::clone(&self.status), stop.clone());
        loop {
            let pause = match self.failures {
                0 => Duration::from_secs(self.config.commit_secs).max(LEAST_PAUSE),
                // A commit that failed has waited for the next attempt already.
                _ => Duration::ZERO,
            };
            let due = self.since + pause;
            tokio::select! {
                biased;
                () = async { stop.wait_for(|stop| *stop).await.map(drop).unwrap_or_default() } => break,
                records = self.source.next(READ_BYTES) => {
                    for record in records? {
                        self.take(record).await?;
                    }
                    // Nothing more is read while what is in memory cannot be committed.
                    while self.bytes >= self.config.commit_bytes && !self.commit().await && !*stopping.borrow() {}
                    // A source that always has more would keep the clock below from being looked at.
                    if Instant::now() >= due && !self.rows.positions.is_empty() {
                        self.commit().await;
                    }
                }
                () = status.wake.notified() => {}
                () = tokio::time::sleep_until(due) => {
                    self.commit().await;
                }
            }
            if self.failures >= MOST_FAILURES {
                return Err(Error::new(
                    foretap::ErrorKind::Io,
                    format!("{MOST_FAILURES} commits failed in a row"),
                )
                .next_step("look for a full disk in the messages above, then start again: nothing is lost"));
            }
            // Whoever waits for a commit waits for what was sent before: read that first.
            let wanted = status.wanted.load(Ordering::Acquire);
            if wanted > *status.done.borrow() {
                self.take_all_there().await?;
                if self.commit().await {
                    status.done.send_replace(wanted);
                }
            }
        }
        self.take_all_there().await?;
        let is_done = self.commit().await;
        self.source.close().await;
        if !is_done {
            let message = "stopped before everything was committed";
            return Err(Error::new(foretap::ErrorKind::Io, message)
                .next_step("start again: its source has it, and it is read again"));
        }
        Ok(())
    }

    /// Reads what somebody waits for: what the source has now, and not what comes meanwhile without an end.
    async fn take_all_there(&mut self) -> Result<()> {
        let until = Instant::now() + READ_FOR;
        while Instant::now() < until {
            let records = self.source.waited_for(READ_BYTES).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                self.take(record).await?;
            }
            if self.bytes >= self.config.commit_bytes && !self.commit().await {
                break;
            }
        }
        Ok(())
    }

    /// Takes one record in: rows that wait, and people's states.
    async fn take(&mut self, record: Record) -> Result<()> {
        let journalled = Journal::is_of(&record.partition).then_some(record.position);
        self.take_rows(record).await?;
        if let Some(position) = journalled {
            self.status.taken.send_replace(position);
        }
        Ok(())
    }

    async fn take_rows(&mut self, record: Record) -> Result<()> {
        self.bytes += record.bytes.len();
        self.rows.positions.add(&record.partition, record.position);
        let encoding = match record.kind {
            RecordKind::JsonBatch => Encoding::Json,
            RecordKind::ProtobufBatch => Encoding::Protobuf,
            RecordKind::Unreadable => {
                let reason = String::from_utf8_lossy(&record.bytes).into_owned();
                return self.bury(&record, (0, Encoding::Json, ""), &Refusal { field: "file", reason }, b"");
            }
            RecordKind::Impression => {
                match serde_json::from_slice::<Impression>(&record.bytes) {
                    Ok(impression) if is_forgotten(&self.forgotten, &impression) => {}
                    Ok(impression) => {
                        let partition = Arc::clone(&record.partition);
                        self.rows.impressions.push((impression, partition, record.position));
                    }
                    Err(error) => {
                        let refusal = Refusal { field: "impression", reason: error.to_string() };
                        self.bury(&record, (0, Encoding::Json, ""), &refusal, &record.bytes)?;
                    }
                }
                return Ok(());
            }
        };
        let batch = match wire::decode(&record.bytes, encoding, &self.border, record.received_at_us) {
            Ok(batch) => batch,
            Err(refusal) => return self.bury(&record, (0, encoding, ""), &refusal, &record.bytes),
        };
        for dead in &batch.dead {
            let index = u32::try_from(dead.index).unwrap_or(u32::MAX);
            self.bury(&record, (index, encoding, &batch.key_id), &dead.refusal, &dead.raw)?;
        }
        let key_id: Arc<str> = batch.key_id.as_str().into();
        for event in batch.events {
            self.fold(event, &record, &key_id).await?;
        }
        Ok(())
    }

    async fn fold(&mut self, event: PhoneEvent, record: &Record, key_id: &Arc<str>) -> Result<()> {
        let counts = &self.status.counts;
        counts.received.fetch_add(1, Ordering::Relaxed);
        let (count, name) = match self.people.fold(event.clone(), record.received_at_us).await? {
            Folded::Applied => (&counts.applied, "applied"),
            Folded::Duplicate => (&counts.duplicate, "duplicate"),
            // Whether it is one or was sent again, the lake knows: a commit asks it.
            Folded::Late => {
                self.late.push(self.row(event, record, key_id));
                return Ok(());
            }
            Folded::Forgotten => (&counts.forgotten, "forgotten"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        counter!("foretap_events_total", "outcome" => name).increment(1);
        if name == "applied" {
            self.rows.events.push(self.row(event, record, key_id));
        }
        Ok(())
    }

    fn row(&self, event: PhoneEvent, record: &Record, key_id: &Arc<str>) -> LakeEvent {
        LakeEvent {
            event,
            key_id: Arc::clone(key_id),
            received_at_us: record.received_at_us,
            partition: Arc::clone(&record.partition),
            position: record.position,
        }
    }

    /// A dead letter of the event that stands at `index` in the record.
    fn bury(
        &mut self,
        record: &Record,
        (index, encoding, key_id): (u32, Encoding, &str),
        refusal: &Refusal,
        raw: &[u8],
    ) -> Result<()> {
        let counts = &self.status.counts;
        counts.received.fetch_add(1, Ordering::Relaxed);
        if self.forgotten.is_named_in(raw, record.received_at_us) {
            counts.forgotten.fetch_add(1, Ordering::Relaxed);
            counter!("foretap_events_total", "outcome" => "forgotten").increment(1);
            return Ok(());
        }
        counts.dead.fetch_add(1, Ordering::Relaxed);
        counter!("foretap_events_total", "outcome" => "dead").increment(1);
        let reason = match &record.file {
            Some(file) => format!("{} (in {file})", refusal.reason),
            None => refusal.reason.clone(),
        };
        self.rows.dead_letters.push(DeadLetter {
            received_at_us: record.received_at_us,
            partition: Arc::clone(&record.partition),
            position: record.position,
            index,
            field: refusal.field.to_owned(),
            reason,
            encoding: encoding.name().to_owned(),
            key_id: key_id.to_owned(),
            raw_sealed: self.master.seal(&raw[..raw.len().min(DEAD_BYTES)])?,
        });
        Ok(())
    }

    /// The three steps; `false` where one failed: then all of them are done again, and nothing is acknowledged.
    async fn commit(&mut self) -> bool {
        self.since = Instant::now();
        if self.rows.positions.is_empty() {
            // Whom others have forgotten is not answered for either.
            if let Err(error) = self.learn().await {
                tracing::warn!(%error, "who was forgotten by others is not known; it is asked again");
            }
            return true;
        }
        let done = self.try_commit().await;
        self.status.is_failing.store(done.is_err(), Ordering::Release);
        match done {
            Ok(steps) => {
                self.failures = 0;
                let rows = std::mem::take(&mut self.rows);
                self.bytes = 0;
                let [lake_ms, store_ms, source_ms] = steps.map(|step| step.as_millis() as u64);
                tracing::info!(
                    events = rows.events.len(),
                    dead = rows.dead_letters.len(),
                    lake_ms,
                    store_ms,
                    source_ms,
                    "committed"
                );
                true
            }
            Err(error) => {
                self.failures += 1;
                counter!("foretap_commit_errors_total").increment(1);
                tracing::error!(%error, "a commit failed: what was accepted stays in its source, and it is tried again");
                tokio::time::sleep(RETRY).await;
                false
            }
        }
    }

    /// Late events go to the lake alone, but for those that it has.
    async fn sort_late(&mut self) -> Result<()> {
        if self.late.is_empty() {
            return Ok(());
        }
        let events: Vec<PhoneEvent> = self.late.iter().map(|row| row.event.clone()).collect();
        let mut known = self.lake.known(&events).await?;
        for row in std::mem::take(&mut self.late) {
            let is_new = known.insert((row.event.user, row.event.key()));
            let counts = &self.status.counts;
            let (count, name) =
                if is_new { (&counts.late, "late") } else { (&counts.duplicate, "duplicate") };
            count.fetch_add(1, Ordering::Relaxed);
            counter!("foretap_events_total", "outcome" => name).increment(1);
            if is_new {
                self.rows.events.push(row);
            }
        }
        Ok(())
    }

    /// The rows to the lake, but for those of people who were forgotten meanwhile.
    async fn commit_rows(&mut self) -> Result<()> {
        for _ in 0..LEARNED_AGAIN {
            self.learn().await?;
            self.sort_late().await?;
            self.rows.forgotten = self.forgotten.version();
            if self.lake.commit(&self.rows).await? {
                return Ok(());
            }
        }
        Err(Error::new(foretap::ErrorKind::Io, "people are forgotten all the time").next_step(
            "it is tried again; look for a table `forgotten` of the lake that was put back by hand",
        ))
    }

    /// Learns who was forgotten since, by this process or another one on the lake, and drops what waits of theirs.
    async fn learn(&mut self) -> Result<()> {
        let list = self.lake.forgotten().await?;
        if list.version() == self.forgotten.version() {
            return Ok(());
        }
        let found = self.people.learn(&list).await?;
        let is_left = |row: &LakeEvent| !list.has(row.event.user, row.event.at_us.min(row.received_at_us));
        self.rows.events.retain(is_left);
        self.late.retain(is_left);
        self.rows.impressions.retain(|(impression, ..)| !is_forgotten(&list, impression));
        let named = self.rows.dead_letters.iter().map(|letter| -> Result<bool> {
            let raw = self.master.open(&letter.raw_sealed)?;
            Ok(list.is_named_in(&raw, letter.received_at_us))
        });
        let mut named = named.collect::<Result<Vec<bool>>>()?.into_iter();
        self.rows.dead_letters.retain(|_| !named.next().unwrap_or_default());
        self.forgotten = list;
        // What they have sent since begins anew.
        for row in self.rows.events.iter().filter(|row| found.contains(&row.event.user)) {
            self.people.fold(row.event.clone(), row.received_at_us).await?;
        }
        Ok(())
    }

    /// The three steps, and how long each took.
    async fn try_commit(&mut self) -> Result<[Duration; 3]> {
        let started = Instant::now();
        self.commit_rows().await?;
        let in_lake = Instant::now();
        self.people.write(&(self.bundle)()).await?;
        let in_store = Instant::now();
        self.source.acknowledge(&self.rows.positions).await?;
        let steps = [in_lake - started, in_store - in_lake, in_store.elapsed()];
        for (step, took) in ["lake", "store", "source"].into_iter().zip(steps) {
            metrics::histogram!("foretap_commit_seconds", "step" => step).record(took.as_secs_f64());
        }
        Ok(steps)
    }
}

/// Whether an impression is of somebody who was forgotten after the question.
fn is_forgotten(list: &ForgottenPeople, impression: &Impression) -> bool {
    impression.user.parse().is_ok_and(|user| list.has(user, impression.asked_at_us))
}

/// The limits that the settings say.
pub fn border(config: &Config) -> Border {
    let ahead_secs = i64::try_from(config.ingest.max_ahead_secs).unwrap_or(i64::MAX);
    Border {
        max_batch_bytes: config.http.max_batch_bytes,
        max_events: config.ingest.max_events,
        max_ahead_us: ahead_secs.saturating_mul(1_000_000),
    }
}

/// Now, in microseconds since 1970.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
