//! The stream itself: which one it is, its shards, and records of a shard.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::ShardIteratorType;
use foretap::{Error, ErrorKind, Result};

use crate::aws::{is_passing, retrying};

/// Records of one read. Kinesis gives at most 10 MB anyway.
const RECORDS_AT_ONCE: i32 = 10_000;

/// A stream by its name.
#[derive(Debug)]
pub(super) struct Stream {
    client: Client,
    name: String,
    attempts: u32,
}

/// Which stream has the name at the moment.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// Name and creation: one that is made anew is another one.
    pub id: String,
    /// What the names of its partitions begin with.
    pub prefix: String,
    /// How long it keeps a record.
    pub retention: Duration,
}

/// A shard as it is listed.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    pub id: String,
    /// The shards that it was split or merged from.
    pub parents: Vec<String>,
}

/// Why records could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The iterator is too old, or none of this stream: another one is asked for.
    Iterator,
    /// Too many reads or bytes: later.
    Busy,
    /// There is no such shard or stream.
    Gone,
    /// Anything else.
    Failed(Error),
}

impl Stream {
    pub fn new(sdk: &SdkConfig, name: &str, attempts: u32) -> Self {
        let config = aws_sdk_kinesis::config::Builder::from(sdk).retry_config(RetryConfig::disabled());
        Self { client: Client::from_conf(config.build()), name: name.to_owned(), attempts }
    }

    /// `None` where there is no such stream.
    pub async fn describe(&self) -> Result<Option<Described>> {
        let request = self.client.describe_stream_summary().stream_name(&self.name);
        let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(SdkError::ServiceError(found)) if found.err().is_resource_not_found_exception() => {
                return Ok(None);
            }
            Err(error) => return Err(failed("look at the stream", error)),
        };
        let Some(found) = answer.stream_description_summary else { return Ok(None) };
        let created = found.stream_creation_timestamp();
        let created_ms = created.secs() * 1_000 + i64::from(created.subsec_nanos() / 1_000_000);
        let hours = u64::try_from(found.retention_period_hours()).unwrap_or_default();
        Ok(Some(Described {
            id: format!("{}@{created_ms}", self.name),
            prefix: format!("kinesis/{}@{created_ms}", found.stream_arn()),
            retention: Duration::from_secs(hours * 3_600),
        }))
    }

    /// That there is none, and what to do.
    pub fn missing(&self) -> Error {
        Error::new(ErrorKind::Config, format!("there is no stream `{}`", self.name))
            .field("kinesis.stream")
            .next_step("make it, or see whether `stream` of [kinesis] and `region` of [aws] are right")
    }

    /// All shards of which it still has records, those that are closed, too.
    pub async fn shards(&self) -> Result<Vec<Shard>> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let request = self.client.list_shards();
            let request = match next {
                None => request.stream_name(&self.name),
                Some(token) => request.next_token(token),
            };
            let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
            let answer = sent.map_err(|error| failed("list the stream's shards", error))?;
            for shard in answer.shards() {
                let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
                found.push(Shard {
                    id: shard.shard_id().to_owned(),
                    parents: parents.into_iter().flatten().map(str::to_owned).collect(),
                });
            }
            match answer.next_token {
                Some(token) if !token.is_empty() => next = Some(token),
                _ => return Ok(found),
            }
        }
    }

    /// Where reading begins: at a record, or at the oldest one. `None` where Kinesis does not know the record as one of the shard.
    pub async fn iterator(
        &self,
        shard: &str,
        at: Option<&str>,
    ) -> std::result::Result<Option<String>, Unread> {
        let request = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let request = match at {
            None => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Some(sequence) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence),
        };
        match request.send().await {
            Ok(answer) => Ok(answer.shard_iterator),
            Err(SdkError::ServiceError(found))
                if at.is_some() && found.err().is_invalid_argument_exception() =>
            {
                Ok(None)
            }
            Err(error) => Err(unread("find a place in the shard", error)),
        }
    }

    pub async fn records(&self, iterator: &str) -> std::result::Result<GetRecordsOutput, Unread> {
        let sent = self.client.get_records().shard_iterator(iterator).limit(RECORDS_AT_ONCE).send().await;
        sent.map_err(|error| unread("read the shard", error))
    }

    /// Whether records may be read: one is.
    pub async fn check_read(&self, shard: &str) -> Result<()> {
        let request = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
        let found = sent.map_err(|error| failed("find a place in the stream", error))?;
        let request = self.client.get_records().set_shard_iterator(found.shard_iterator).limit(1);
        let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
        sent.map(drop).map_err(|error| failed("read the stream", error))
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    match error {
        SdkError::ServiceError(found) => found.err().code(),
        _ => None,
    }
}

fn unread<E>(doing: &str, error: SdkError<E>) -> Unread
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match code(&error) {
        Some("ExpiredIteratorException" | "InvalidArgumentException") => Unread::Iterator,
        Some(
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "KMSThrottlingException",
        ) => Unread::Busy,
        Some("ResourceNotFoundException") => Unread::Gone,
        _ => Unread::Failed(failed(doing, error)),
    }
}

/// An error of Kinesis, with what an operator does about it.
fn failed<E>(doing: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let next_step = match code(&error) {
        Some("ResourceNotFoundException") => {
            Some("see whether `stream` of [kinesis] and `region` of [aws] are right")
        }
        Some("AccessDeniedException") => {
            Some("permit it to this role: see \"Events from Kinesis\" in the platform's README")
        }
        Some(code) if code.starts_with("KMS") => {
            Some("see whether the stream's KMS key is enabled, and permit this role to decrypt by it")
        }
        Some("LimitExceededException") => Some("see who else asks for this account's streams all the time"),
        _ => None,
    };
    let error = crate::aws::failed(doing, error);
    match next_step {
        Some(next_step) => error.next_step(next_step),
        None => error,
    }
}
