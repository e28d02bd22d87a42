//! Events from a stream of Amazon Kinesis: one record is one batch of events, or several that the producer library has put
//! together.
//!
//! ```text
//! keeper (a task): leases in DynamoDB <--> the shards that this process reads
//!                                              | a reader (a task) each
//!                                              v
//!                                          a channel of one read --> next
//!                                                             acknowledge --> leases
//! ```
//!
//! Each shard has a lease, which names its owner and the last record that is in store and lake. What is read again after a crash
//! or by another process does no harm: the lake knows positions, and a person's state knows events.
//!
//! Records are asked for (`GetRecords`) and not pushed (`SubscribeToShard`): a push of up to 2 MB a second for each shard cannot
//! be stopped while nothing can be committed, and costs more.

mod content;
mod keeper;
mod leases;
mod parts;
mod reader;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foretap::{Error, ErrorKind, Result};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::task::JoinHandle;

use self::keeper::Keeper;
use self::leases::{Leases, Owned};
use self::parts::Shared;
use self::reader::Chunk;
use self::stream::Stream;
use super::{EventSource, Record};
use crate::config::{AwsConfig, KinesisConfig};
use crate::lake::Positions;

/// Reads that are in memory at once, of 10 MB each at most, whatever the number of shards.
const CHUNKS: usize = 4;
/// For leases to be given up at the end.
const CLOSE: Duration = Duration::from_secs(10);

/// The reading end of a stream, as one of the processes that share its shards.
pub struct KinesisSource {
    chunks: mpsc::Receiver<Chunk>,
    /// Read, and not handed out yet.
    waiting: Option<Chunk>,
    shared: Arc<OnceCell<Arc<Shared>>>,
    keeper: JoinHandle<()>,
    is_closed: bool,
}

impl KinesisSource {
    /// A source that reads what it can: while stream or lease table cannot be used, it has no records. This must run inside a
    /// Tokio runtime.
    pub fn open(config: &KinesisConfig, aws: &AwsConfig) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        let shared = Arc::new(OnceCell::new());
        let (config, aws, made) = (config.clone(), aws.clone(), Arc::clone(&shared));
        let keeper = tokio::spawn(async move {
            let sdk = crate::aws::sdk_config(&aws).await;
            let stream = Arc::new(Stream::new(&sdk, &config.stream, aws.attempts));
            let leases = Leases::new(&sdk, &config.lease_table, aws.attempts);
            let shared = Arc::new(Shared::new(process_name(&config), leases));
            // Nobody else sets it.
            let _ = made.set(Arc::clone(&shared));
            let permits = Arc::new(Semaphore::new(CHUNKS));
            Keeper::new(&config, stream, shared, (sender, permits)).run().await;
        });
        Self { chunks, waiting: None, shared, keeper, is_closed: false }
    }

    /// Shards that this process reads at the moment.
    pub fn shards(&self) -> Vec<String> {
        self.shared.get().map(|shared| shared.parts().keys().cloned().collect()).unwrap_or_default()
    }

    /// The next records of what waits; none where nothing does, or where its shard is another's by now.
    fn hand_out(&mut self, budget: usize) -> Vec<Record> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let (Some(chunk), Some(shared)) = (&mut self.waiting, self.shared.get()) else { return records };
        let mut parts = shared.parts();
        let part = parts.get_mut(&chunk.shard);
        // A stream that is made anew has the same shards' names and epochs, and other partitions.
        let part =
            part.filter(|part| (part.epoch, &part.name) == (chunk.epoch, &chunk.name) && !part.is_leaving);
        let Some(part) = part else {
            drop(parts);
            self.waiting = None;
            return records;
        };
        let mut last = None;
        while bytes < budget
            && let Some((record, place)) = chunk.records.pop_front()
        {
            bytes += record.bytes.len();
            last = Some(place);
            records.push(record);
        }
        part.marks.extend(last);
        if chunk.records.is_empty() {
            part.is_read = chunk.is_end;
            if part.is_read && part.is_done() {
                shared.wake.notify_one();
            }
            drop(parts);
            self.waiting = None;
        }
        records
    }
}

/// Of this process alone, and known again by its instance.
fn process_name(config: &KinesisConfig) -> String {
    let id = uuid::Uuid::now_v7().simple();
    match &config.instance {
        Some(instance) => format!("{instance}/{id}"),
        None => id.to_string(),
    }
}

impl Drop for KinesisSource {
    fn drop(&mut self) {
        self.keeper.abort();
        // Readers hold what is shared.
        if let Some(shared) = self.shared.get() {
            shared.drop_all();
        }
    }
}

#[async_trait]
impl EventSource for KinesisSource {
    async fn next(&mut self, budget: usize) -> Result<Vec<Record>> {
        loop {
            if self.is_closed {
                std::future::pending::<()>().await;
            }
            if self.waiting.is_none() {
                self.waiting = self.chunks.recv().await;
                if self.waiting.is_none() {
                    return Err(Error::new(ErrorKind::Io, "Kinesis's reader ended early"));
                }
            }
            let records = self.hand_out(budget);
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// Never fails: what cannot be written to a lease now is written later, and is read again after a crash until then.
    async fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        if let Some(shared) = self.shared.get() {
            shared.acknowledge(positions);
            shared.save().await;
        }
        Ok(())
    }

    /// Gives all leases up.
    async fn close(&mut self) {
        self.is_closed = true;
        self.keeper.abort();
        // It may be in the middle of a write.
        let _ = (&mut self.keeper).await;
        self.waiting = None;
        let Some(shared) = self.shared.get() else { return };
        let closed = tokio::time::timeout(CLOSE, async {
            shared.save().await;
            let parts = std::mem::take(&mut *shared.parts());
            for (shard, part) in &parts {
                let owned = Owned { stream: &part.stream, shard, owner: &shared.process, epoch: part.epoch };
                match part.is_read && part.is_done() {
                    true => shared.leases.end(owned).await?,
                    false => shared.leases.release(owned).await?,
                };
            }
            match shared.stream() {
                Some(stream) => shared.leases.forget_process(&stream, &shared.process, None).await,
                None => Ok(()),
            }
        });
        if !matches!(closed.await, Ok(Ok(()))) {
            tracing::warn!("not all leases were given up: others take them over when their time has passed");
        }
    }
}

/// Whether stream and lease table can be used, as a line for whoever runs the program. Nothing is made.
///
/// # Errors
/// They are not there, or this process may not read them.
pub async fn check_kinesis(config: &KinesisConfig, aws: &AwsConfig) -> Result<String> {
    let sdk = crate::aws::sdk_config(aws).await;
    let stream = Stream::new(&sdk, &config.stream, aws.attempts);
    let described = stream.describe().await?.ok_or_else(|| stream.missing())?;
    let shards = stream.shards().await?;
    if let Some(shard) = shards.first() {
        stream.check_read(&shard.id).await?;
    }
    let hours = described.retention.as_secs() / 3_600;
    let found =
        format!("stream `{}` of {} shards, which keeps records {hours} hours", config.stream, shards.len());
    let leases = Leases::new(&sdk, &config.lease_table, aws.attempts);
    if config.create_lease_table && !leases.is_there().await? {
        return Ok(format!("{found}; the table `{}` is made at the first start", config.lease_table));
    }
    leases.open(false).await?;
    let read =
        leases.rows(&described.id).await?.leases.values().filter(|lease| lease.owner.is_some()).count();
    Ok(format!("{found}; {read} of them are read by the table `{}`", config.lease_table))
}
