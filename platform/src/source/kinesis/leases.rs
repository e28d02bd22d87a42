//! Who reads which shard, and how far it was read: rows of a table in DynamoDB, written on conditions.
//!
//! The rows of a stream have one partition key (`pk`, its name and when it was made), and these sort keys (`sk`):
//!
//! ```text
//! process/<name>   `beats`, a number that the process raises while it lives
//! shard/<shard>    `lease_owner`, absent where it is free; `lease_epoch`, raised by each owner that takes it;
//!                  `last_ordinal`, `last_sequence`, `last_count`: the last record that is in store and lake;
//!                  `read_until_us`, a time up to which all that had arrived is; `shard_ended` once it was read to its end
//! ```
//!
//! Whether a process lives is judged by each other one's own clock: it has died when its beats have not changed for as long as
//! a lease is. No two clocks are compared. A write by an owner names owner and epoch: one that was stopped, and goes on after
//! others have taken its shards, writes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use foretap::{Error, ErrorKind, Result};

use crate::aws::{is_passing, retrying};
use crate::dynamo_table::{self, Setting};

/// What names the table.
const TABLE: Setting = Setting {
    field: "kinesis.lease_table",
    named_by: "`lease_table` of [kinesis]",
    made_by: "`create_lease_table = true` in [kinesis]",
};
const PROCESS: &str = "process/";
const SHARD: &str = "shard/";

/// The table.
#[derive(Debug)]
pub(super) struct Leases {
    client: Client,
    table: String,
    attempts: u32,
}

/// A record of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its position: records of the shard are counted from the first that was ever read.
    pub ordinal: u64,
    /// The record of Kinesis that it is in.
    pub sequence: Arc<str>,
    /// How many of the records in that one are done with it; 0: none of them.
    pub count: u64,
}

/// A shard's row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub owner: Option<String>,
    pub epoch: u64,
    /// The last record that is in store and lake.
    pub place: Option<Place>,
    /// What had arrived by then was read, up to `place`.
    pub read_until_us: i64,
    pub is_ended: bool,
}

/// All rows of a stream.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub leases: BTreeMap<String, Lease>,
    /// Processes and their beats.
    pub processes: BTreeMap<String, u64>,
}

/// A shard as its owner names it in a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owned<'a> {
    pub stream: &'a str,
    pub shard: &'a str,
    pub owner: &'a str,
    pub epoch: u64,
}

type Item = HashMap<String, AttributeValue>;

impl Leases {
    pub fn new(sdk: &SdkConfig, table: &str, attempts: u32) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(sdk).retry_config(RetryConfig::disabled());
        Self { client: Client::from_conf(config.build()), table: table.to_owned(), attempts }
    }

    /// Finds the table, or makes it where it is missing and `may_make`.
    pub async fn open(&self, may_make: bool) -> Result<()> {
        dynamo_table::open(&self.client, (&self.table, TABLE), may_make, self.attempts).await
    }

    pub async fn is_there(&self) -> Result<bool> {
        dynamo_table::is_there(&self.client, &self.table, self.attempts).await
    }

    pub async fn rows(&self, stream: &str) -> Result<Rows> {
        let mut rows = Rows::default();
        let mut next: Option<Item> = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(stream))
                .consistent_read(true)
                .set_exclusive_start_key(next);
            let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
            let answer = sent.map_err(|error| failed("read the leases", error))?;
            for item in answer.items.unwrap_or_default() {
                let key = item.get("sk").and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
                if let Some(process) = key.strip_prefix(PROCESS) {
                    rows.processes.insert(process.to_owned(), number_of(&item, "beats").unwrap_or_default());
                } else if let Some(shard) = key.strip_prefix(SHARD) {
                    rows.leases.insert(shard.to_owned(), Lease::read(&item)?);
                }
            }
            match answer.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => return Ok(rows),
            }
        }
    }

    /// A sign of life.
    pub async fn beat(&self, stream: &str, process: &str) -> Result<()> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(stream, PROCESS, process)))
            .update_expression("ADD beats :one")
            .expression_attribute_values(":one", number(1));
        let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
        sent.map(drop).map_err(|error| failed("say in the lease table that this process lives", error))
    }

    /// Deletes the row of a process that has died, or of this one; `beats` as they were seen.
    pub async fn forget_process(&self, stream: &str, process: &str, beats: Option<u64>) -> Result<()> {
        let mut request =
            self.client.delete_item().table_name(&self.table).set_key(Some(key(stream, PROCESS, process)));
        if let Some(beats) = beats {
            request = request
                .condition_expression("beats = :beats")
                .expression_attribute_values(":beats", number(beats));
        }
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(_) => Ok(()),
            // It lives.
            Err(SdkError::ServiceError(found)) if found.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            Err(error) => Err(failed("delete the row of a process", error)),
        }
    }

    /// Deletes the row of a shard that the stream no longer has.
    pub async fn forget_shard(&self, stream: &str, shard: &str, epoch: u64) -> Result<()> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(stream, SHARD, shard)))
            .condition_expression("lease_epoch = :epoch")
            .expression_attribute_values(":epoch", number(epoch));
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(found)) if found.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            Err(error) => Err(failed("delete a shard's lease", error)),
        }
    }

    /// Makes `owner` the owner of a shard whose row was `seen`; `None` where somebody else was faster.
    pub async fn take(
        &self,
        (stream, shard): (&str, &str),
        seen: Option<&Lease>,
        owner: &str,
    ) -> Result<Option<Lease>> {
        let epoch = seen.map_or(0, |lease| lease.epoch);
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(stream, SHARD, shard)))
            .update_expression("SET lease_owner = :owner, lease_epoch = :next")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":next", number(epoch + 1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            None => request.condition_expression("attribute_not_exists(pk)"),
            Some(_) => request
                .condition_expression("lease_epoch = :seen AND attribute_not_exists(shard_ended)")
                .expression_attribute_values(":seen", number(epoch)),
        };
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(answer) => Lease::read(&answer.attributes.unwrap_or_default()).map(Some),
            Err(error) => {
                // Sent again after its answer was lost, it meets itself.
                let Some(item) = in_the_way(&error) else { return Err(failed("take a lease", error)) };
                let found = Lease::read(item)?;
                Ok((found.owner.as_deref() == Some(owner) && found.epoch == epoch + 1).then_some(found))
            }
        }
    }

    /// Says how far a shard is in store and lake; `false` where the lease is another's by now. It never goes back.
    pub async fn save(&self, owned: Owned<'_>, place: &Place) -> Result<bool> {
        let values = [
            (":ordinal", number(place.ordinal)),
            (":sequence", text(&place.sequence)),
            (":count", number(place.count)),
        ];
        let set = "SET last_ordinal = :ordinal, last_sequence = :sequence, last_count = :count";
        let condition = "(attribute_not_exists(last_ordinal) OR last_ordinal <= :ordinal)";
        self.change(owned, set, Some(condition), values).await
    }

    /// Says up to when all that had arrived is in store and lake.
    pub async fn save_time(&self, owned: Owned<'_>, read_until_us: i64) -> Result<bool> {
        let values = [(":until", AttributeValue::N(read_until_us.to_string()))];
        self.change(owned, "SET read_until_us = :until", None, values).await
    }

    /// Gives a shard up.
    pub async fn release(&self, owned: Owned<'_>) -> Result<bool> {
        self.change(owned, "REMOVE lease_owner", None, []).await
    }

    /// Says that a shard was read to its end, and all of it is in store and lake.
    pub async fn end(&self, owned: Owned<'_>) -> Result<bool> {
        let ended = [(":ended", AttributeValue::Bool(true))];
        self.change(owned, "SET shard_ended = :ended REMOVE lease_owner", None, ended).await
    }

    async fn change(
        &self,
        owned: Owned<'_>,
        expression: &str,
        condition: Option<&str>,
        values: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Result<bool> {
        let mine = "lease_owner = :owner AND lease_epoch = :epoch";
        let condition = condition.map_or_else(|| mine.to_owned(), |more| format!("{mine} AND {more}"));
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(owned.stream, SHARD, owned.shard)))
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_values(":owner", text(owned.owner))
            .expression_attribute_values(":epoch", number(owned.epoch));
        for (name, value) in values {
            request = request.expression_attribute_values(name, value);
        }
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(found)) if found.err().is_conditional_check_failed_exception() => {
                Ok(false)
            }
            Err(error) => Err(failed("write a lease", error)),
        }
    }
}

impl Lease {
    fn read(item: &Item) -> Result<Self> {
        let text_of = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let place = match (number_of(item, "last_ordinal"), text_of("last_sequence")) {
            (Some(ordinal), Some(sequence)) => Some(Place {
                ordinal,
                sequence: sequence.as_str().into(),
                count: number_of(item, "last_count").unwrap_or_default(),
            }),
            (None, None) => None,
            _ => return Err(damaged("last_ordinal")),
        };
        Ok(Self {
            owner: text_of("lease_owner").cloned(),
            epoch: number_of(item, "lease_epoch").ok_or_else(|| damaged("lease_epoch"))?,
            place,
            read_until_us: number_of(item, "read_until_us").unwrap_or_default(),
            is_ended: item.contains_key("shard_ended"),
        })
    }
}

fn key(stream: &str, kind: &str, name: &str) -> Item {
    [("pk".to_owned(), text(stream)), ("sk".to_owned(), text(&format!("{kind}{name}")))].into()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn number_of<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn damaged(attribute: &str) -> Error {
    Error::new(ErrorKind::Data, format!("a lease has no `{attribute}` that can be read"))
        .field("kinesis.lease_table")
        .next_step("see who else writes to this table: it is for foretap alone")
}

/// The item on which a condition failed.
fn in_the_way(error: &SdkError<UpdateItemError>) -> Option<&Item> {
    let SdkError::ServiceError(found) = error else { return None };
    let UpdateItemError::ConditionalCheckFailedException(failed) = found.err() else { return None };
    failed.item()
}

/// An error of DynamoDB, with what an operator does about it.
fn failed<E>(doing: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let next_step = match &error {
        SdkError::ServiceError(found) => match found.err().code() {
            Some("ResourceNotFoundException") => {
                Some("see whether `lease_table` of [kinesis] and `region` of [aws] are right")
            }
            Some("AccessDeniedException") => {
                Some("permit it to this role: see \"Events from Kinesis\" in the platform's README")
            }
            _ => None,
        },
        _ => None,
    };
    let error = crate::aws::failed(doing, error);
    match next_step {
        Some(next_step) => error.next_step(next_step),
        None => error,
    }
}
