//! The store in Amazon DynamoDB: one table, which several processes may share.
//!
//! A person's items have the same partition key (`pk`, the user), and these sort keys (`sk`):
//!
//! ```text
//! head                              the sealed key; `base`, the version from which on the tail is live; how many parts
//! person#<part>, summary#<part>     the snapshot as of `base`
//! tail#<key>#<version>#<part>       what the write of this version added; <key> is a hash of the sealed key
//! ```
//!
//! and those who were forgotten have one partition together. An item is at most 400 KB, so what is larger is cut in parts.
//!
//! **Each version is one item that only one writer can make.** An append to version `n` puts the tail's item `n + 1` on the
//! condition that there is none, and then reads the head: where `base` is at most `n`, the item was free because nobody had
//! written that version, and it is done. Where `base` is higher the writer was so far behind that items were deleted: it takes
//! its own away, and has lost. That is one write unit and one read unit, where a transaction over head and item takes four
//! write units. A snapshot is one transaction: the new `base`, the parts in place of the old ones, and the tail's item of
//! its version, which an append would need, too. Then the tail's items before `base` are deleted; those that a crash leaves
//! are read by nobody, and the next snapshot deletes them.
//!
//! **A write is known by its token.** Where an answer is lost the request is sent again. It then fails its condition, and
//! DynamoDB shows the item in the way: with our token, it is our own write, and done.
//!
//! **Nothing expires.** A person whose phone is off for days has a tail that no snapshot holds, so a time to live on it would
//! lose events; and to mark what is superseded costs as much as to delete it. What is live follows from the head alone,
//! never from a clock.
//!
//! **Reads are strongly consistent,** the tail before the head: what the head names was not deleted when the tail was read,
//! and what is missing shows as a gap, whereupon both are read again.

mod items;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, DeleteRequest, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use futures::StreamExt as _;

use super::{OnlineStore, Row, Sizes, Write, Written};
use crate::aws::{failed, incomplete, is_passing, retrying, wait};
use crate::dynamo_table::{self, Setting};
use items::{Head, Item, Parts, key_of};
use write::in_the_way;

/// People whose requests are under way at once: one who is throttled holds one of these places, no other person.
const PEOPLE_AT_ONCE: usize = 32;
/// Requests of one batch of deletes, as DynamoDB has it.
const DELETES_AT_ONCE: usize = 25;
/// How often a row is read again that somebody changes meanwhile.
const READS: u32 = 10;
/// What names the table.
const TABLE: Setting = Setting {
    field: "store.table",
    named_by: "`table` of [store]",
    made_by: "`create_table = true` in [store]",
};
/// The partition of those who were forgotten.
const FORGOTTEN: &str = "forgotten";

/// What requests have cost, in DynamoDB's units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Units {
    /// Of 4 KB.
    pub read: f64,
    /// Of 1 KB.
    pub write: f64,
}

/// Rows in one table of DynamoDB.
#[derive(Debug)]
pub struct DynamoStore {
    client: Client,
    table: String,
    attempts: u32,
    units: Mutex<Units>,
}

/// Whether a request reads or writes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Read,
    Write,
}

/// Requests are repeated by the store, with the same token, and not by the client.
fn client(sdk: &SdkConfig) -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(sdk).retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

impl DynamoStore {
    /// Opens the table, or makes it where it is missing and `may_make`. A request is sent `attempts` times at most.
    ///
    /// # Errors
    /// DynamoDB cannot be asked, or there is no such table, or it has other keys.
    pub async fn open(sdk: &SdkConfig, table: &str, may_make: bool, attempts: u32) -> Result<Self> {
        let store = Self { client: client(sdk), table: table.to_owned(), attempts, units: Mutex::default() };
        dynamo_table::open(&store.client, (table, TABLE), may_make, attempts).await?;
        Ok(store)
    }

    /// Whether there is such a table.
    ///
    /// # Errors
    /// DynamoDB cannot be asked.
    pub async fn is_there(sdk: &SdkConfig, table: &str, attempts: u32) -> Result<bool> {
        dynamo_table::is_there(&client(sdk), table, attempts).await
    }

    /// What this store's requests have cost so far, those that deletes took included.
    pub fn units(&self) -> Units {
        *self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count<'a>(&self, way: Way, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let found: f64 = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, sum) = match way {
            Way::Read => ("read", &mut units.read),
            Way::Write => ("write", &mut units.write),
        };
        *sum += found;
        metrics::counter!("foretap_dynamodb_units_total", "way" => name).increment(found.ceil() as u64);
    }

    async fn head(&self, user: UserId) -> Result<Option<Head>> {
        let request = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_of(&user.to_string(), items::HEAD)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
        let answer = sent.map_err(|error| failed("read a person's row", error))?;
        self.count(Way::Read, answer.consumed_capacity());
        answer.item.map(|item| Head::read(Item(item))).transpose()
    }

    /// All items of a partition whose sort keys are in this range, in order.
    async fn range(&self, partition: &str, from: &str, to: &str, only_keys: bool) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        let mut next: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let mut request = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()))
                .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
                .expression_attribute_values(":to", AttributeValue::S(to.to_owned()))
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(next);
            if only_keys {
                request = request.projection_expression("sk");
            }
            let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
            let answer = sent.map_err(|error| failed("read a person's items", error))?;
            self.count(Way::Read, answer.consumed_capacity());
            found.extend(answer.items.unwrap_or_default().into_iter().map(Item));
            match answer.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => return Ok(found),
            }
        }
    }

    /// Deletes items of a partition. Of a batch that was done in part, only the rest is sent again.
    async fn delete(&self, partition: &str, sort_keys: Vec<String>) -> Result<()> {
        for part in sort_keys.chunks(DELETES_AT_ONCE) {
            let mut requests = Vec::with_capacity(part.len());
            for key in part {
                let delete = DeleteRequest::builder().set_key(Some(key_of(partition, key))).build();
                let delete = delete.map_err(incomplete)?;
                requests.push(WriteRequest::builder().delete_request(delete).build());
            }
            let mut attempt = 1;
            while !requests.is_empty() {
                let request = self
                    .client
                    .batch_write_item()
                    .request_items(&self.table, requests)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
                let answer = sent.map_err(|error| failed("delete a person's items", error))?;
                self.count(Way::Write, answer.consumed_capacity());
                requests = answer
                    .unprocessed_items
                    .and_then(|mut rest| rest.remove(&self.table))
                    .unwrap_or_default();
                if requests.is_empty() {
                    break;
                }
                if attempt >= self.attempts {
                    let message =
                        format!("{} of a person's items were not deleted: throttled", requests.len());
                    return Err(Error::new(ErrorKind::Io, message)
                        .next_step("give the table more capacity, or more `attempts` in [aws]"));
                }
                wait(attempt).await;
                attempt += 1;
            }
        }
        Ok(())
    }

    /// The snapshot's parts, where all of one snapshot are there.
    async fn blob(&self, user: UserId, parts: Parts) -> Result<Option<Vec<u8>>> {
        for attempt in 1..=READS {
            let (from, to) = parts.range();
            let found = self.range(&user.to_string(), &from, &to, false).await?;
            if found.is_empty() {
                return Ok(None);
            }
            if let Some(whole) = items::join(&found)? {
                return Ok(Some(whole));
            }
            wait(attempt).await;
        }
        Err(damaged(user, "parts of the snapshot are missing"))
    }

    /// Deletes all items of a person; returns how many there were.
    async fn delete_all(&self, user: UserId) -> Result<usize> {
        let partition = user.to_string();
        let (from, to) = items::ALL;
        let found = self.range(&partition, from, to, true).await?;
        self.delete(&partition, found.iter().map(|item| item.sort_key().to_owned()).collect()).await?;
        Ok(found.len())
    }
}

#[async_trait]
impl OnlineStore for DynamoStore {
    async fn row(&self, user: UserId) -> Result<Option<Row>> {
        for attempt in 1..=READS {
            let (from, to) = items::SUMMARY_AND_TAIL;
            let found = self.range(&user.to_string(), from, to, false).await?;
            let Some(head) = self.head(user).await? else { return Ok(None) };
            if let Some(row) = items::row(&head, &found)? {
                return Ok(Some(row));
            }
            wait(attempt).await;
        }
        Err(damaged(user, "a version of the tail is missing"))
    }

    async fn person(&self, user: UserId) -> Result<Option<Vec<u8>>> {
        self.blob(user, Parts::Person).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>> {
        // A person's writes one after the other, as they come; people beside one another.
        let mut of_people: BTreeMap<UserId, Vec<usize>> = BTreeMap::new();
        for (number, write) in writes.iter().enumerate() {
            of_people.entry(write.user).or_default().push(number);
        }
        let writes = &writes;
        let work = of_people.into_values().map(|numbers| async move {
            let mut done = Vec::with_capacity(numbers.len());
            for number in numbers {
                let outcome = self.write_one(&writes[number]).await;
                let is_failed = outcome.is_err();
                done.push((number, outcome));
                // What follows names the version that this one would have made.
                if is_failed {
                    break;
                }
            }
            done
        });
        let done: Vec<_> = futures::stream::iter(work).buffer_unordered(PEOPLE_AT_ONCE).collect().await;
        let mut written = vec![Written::Failed; writes.len()];
        let mut first_error = None;
        for (number, outcome) in done.into_iter().flatten() {
            match outcome {
                Ok(outcome) => written[number] = outcome,
                Err(error) => {
                    tracing::warn!(%error, user = %writes[number].user, "a person's row could not be written");
                    first_error = first_error.or(Some(error));
                }
            }
        }
        match first_error {
            Some(error) if written.iter().all(|outcome| *outcome == Written::Failed) => Err(error),
            _ => Ok(written),
        }
    }

    async fn forget(&self, user: UserId, at_us: i64) -> Result<bool> {
        let record = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(items::forgotten(FORGOTTEN, user, at_us)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let sent = retrying(self.attempts, is_passing, || record.clone().send()).await;
        let answer = sent.map_err(|error| failed("remember who was forgotten", error))?;
        self.count(Way::Write, answer.consumed_capacity());
        // The head first: from then on whoever writes finds no row.
        let head = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key_of(&user.to_string(), items::HEAD)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let sent = retrying(self.attempts, is_passing, || head.clone().send()).await;
        let answer = sent.map_err(|error| failed("forget a person", error))?;
        self.count(Way::Write, answer.consumed_capacity());
        // Every row has items beside its head.
        Ok(self.delete_all(user).await? > 0)
    }

    async fn forgotten(&self) -> Result<Vec<(UserId, i64)>> {
        let (from, to) = items::ALL;
        let found = self.range(FORGOTTEN, from, to, false).await?;
        found.iter().map(items::read_forgotten).collect()
    }

    async fn proof(&self, proof: Vec<u8>) -> Result<Vec<u8>> {
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(items::proof(&proof)))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(answer) => {
                self.count(Way::Write, answer.consumed_capacity());
                Ok(proof)
            }
            Err(error) => match in_the_way(&error) {
                Some(item) => items::read_proof(item),
                None => Err(failed("keep what shows the master key", error)),
            },
        }
    }

    async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>> {
        let mut users = Vec::new();
        let mut next = after.map(|user| key_of(&user.to_string(), items::HEAD));
        while users.len() < limit {
            let request = self
                .client
                .scan()
                .table_name(&self.table)
                .filter_expression("sk = :head")
                .expression_attribute_values(":head", AttributeValue::S(items::HEAD.to_owned()))
                .projection_expression("pk")
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(next);
            let sent = retrying(self.attempts, is_passing, || request.clone().send()).await;
            let answer = sent.map_err(|error| failed("list people", error))?;
            self.count(Way::Read, answer.consumed_capacity());
            for item in answer.items.unwrap_or_default() {
                users.push(Item(item).user()?);
            }
            match answer.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => break,
            }
        }
        users.truncate(limit);
        Ok(users)
    }

    async fn sizes(&self) -> Result<Sizes> {
        let bytes = dynamo_table::bytes(&self.client, (&self.table, TABLE), self.attempts).await?;
        Ok(Sizes { people: None, bytes })
    }
}

fn damaged(user: UserId, what: &str) -> Error {
    Error::new(ErrorKind::Data, what).of(user).next_step(
        "forget the person, or make the store anew: a new `table` in [store] and `foretap rebuild`",
    )
}
