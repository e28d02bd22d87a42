//! Where events come from. A source hands records out in the order of their positions, and learns which of them are in store
//! and lake for good; after a crash it begins behind the last of those, so that every record is seen at least once.

mod files;
mod journal;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "aws")]
mod kinesis;
mod merged;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use foretap::Result;

pub use files::{FilesSource, check_files};
pub use journal::{Journal, JournalSource};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaSource, check_kafka};
#[cfg(feature = "aws")]
pub use kinesis::{KinesisSource, check_kinesis};
pub use merged::Merged;

use crate::config::BatchEncoding;
use crate::lake::Positions;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A batch of events as JSON.
    JsonBatch = 0,
    /// A batch of events as Protobuf.
    ProtobufBatch = 1,
    /// An [`Impression`](crate::lake::Impression) as JSON, of our own making.
    Impression = 2,
    /// What could not be read at all: its bytes say why, as text.
    Unreadable = 3,
}

impl RecordKind {
    /// Of a source whose settings say how its records are written.
    pub fn of(encoding: BatchEncoding) -> Self {
        match encoding {
            BatchEncoding::Protobuf => Self::ProtobufBatch,
            BatchEncoding::Json => Self::JsonBatch,
        }
    }
}

/// One record of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition, by a name that no other source uses.
    pub partition: Arc<str>,
    /// Its place in the partition. Positions rise.
    pub position: u64,
    /// When it arrived, in microseconds since 1970: the clock by which it is judged, now and after a crash.
    pub received_at_us: i64,
    /// What it is.
    pub kind: RecordKind,
    /// The file that it is of, where it is of one: a dead letter names it.
    pub file: Option<Arc<str>>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Where events come from.
#[async_trait]
pub trait EventSource: Send {
    /// The next records, of about `budget` bytes together; waits for one where there is none. Whoever no longer waits may drop the
    /// future: no record is lost by it.
    ///
    /// # Errors
    /// The source cannot be read.
    async fn next(&mut self, budget: usize) -> Result<Vec<Record>>;

    /// As [`next`](Self::next), without waiting, and only what somebody waits for to be committed. Nobody does with a source that
    /// keeps its records anyway, and may have days of them.
    ///
    /// # Errors
    /// The source cannot be read.
    async fn waited_for(&mut self, _budget: usize) -> Result<Vec<Record>> {
        Ok(Vec::new())
    }

    /// All records up to these positions are in store and lake: they are not handed out again.
    ///
    /// # Errors
    /// The source cannot be written.
    async fn acknowledge(&mut self, positions: &Positions) -> Result<()>;

    /// Nothing is read or acknowledged after this.
    async fn close(&mut self) {}
}
