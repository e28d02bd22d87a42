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
mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ConsumedCapacity, Delete, DeleteRequest, Put, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, WriteRequest,
};
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use futures::StreamExt as _;

use super::{OnlineStore, Row, Sizes, Write, Written};
use crate::aws::{failed, is_passing, retrying, wait};
use items::{Head, Item, Parts, Token, key_of, tail_key, tail_prefix};

/// People whose requests are under way at once: one who is throttled holds one of these places, no other person.
const PEOPLE_AT_ONCE: usize = 32;
/// Requests of one batch of deletes, as DynamoDB has it.
const DELETES_AT_ONCE: usize = 25;
/// How often a row is read again that somebody changes meanwhile.
const READS: u32 = 10;
/// Bytes of one transaction, somewhat below DynamoDB's 4 MB: names count, too.
const TRANSACTION_BYTES: usize = 4_000_000;
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

impl DynamoStore {
    /// Opens the table, or makes it where it is missing and `may_make`. A request is sent `attempts` times at most.
    ///
    /// # Errors
    /// DynamoDB cannot be asked, or there is no such table, or it has other keys.
    pub async fn open(sdk: &SdkConfig, table: &str, may_make: bool, attempts: u32) -> Result<Self> {
        // Requests are repeated here, with the same token.
        let config =
            aws_sdk_dynamodb::config::Builder::from(sdk).retry_config(RetryConfig::disabled()).build();
        let store = Self {
            client: Client::from_conf(config),
            table: table.to_owned(),
            attempts,
            units: Mutex::default(),
        };
        table::open(&store.client, table, may_make, attempts).await?;
        Ok(store)
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
                let delete = delete.map_err(items::incomplete)?;
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

    async fn write_one(&self, write: &Write) -> Result<Written> {
        let is_small = write.append.as_ref().is_none_or(|chunk| chunk.len() <= items::PART_BYTES);
        if write.expected > 0 && write.snapshot.is_none() && is_small {
            return self.append(write).await;
        }
        let Some(transaction) = self.transaction(write).await? else { return Ok(Written::Conflict) };
        let written = self.transact(transaction, write.expected + 1).await?;
        if write.snapshot.is_some() && written != Written::Conflict {
            // The write is done: what cannot be deleted now, the next snapshot deletes.
            if let Err(error) = self.delete_superseded(write).await {
                tracing::warn!(%error, user = %write.user, "superseded items stay for now");
            }
        }
        Ok(written)
    }

    /// One put, and one look at the head.
    async fn append(&self, write: &Write) -> Result<Written> {
        let token = Token::new();
        let version = write.expected + 1;
        let chunk = write.append.as_deref();
        let item = items::tail(write, version, chunk, &token).pop();
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(item.map(|item| item.0))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(answer) => self.count(Way::Write, answer.consumed_capacity()),
            Err(error) => match in_the_way(&error) {
                None => return Err(failed("write a person's row", error)),
                Some(item) if token.is_of(item) => {}
                Some(_) => return Ok(Written::Conflict),
            },
        }
        let head = self.head(write.user).await?;
        if head.is_some_and(|head| head.sealed_key == write.key && head.base <= write.expected) {
            return Ok(Written::Version(version));
        }
        self.take_back(write, version, &token).await;
        Ok(Written::Conflict)
    }

    /// Deletes an item that this writer put where nobody reads any more. It is no error if that fails: it is sealed, and of no
    /// live version.
    async fn take_back(&self, write: &Write, version: u64, token: &Token) {
        let request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key_of(&write.user.to_string(), &tail_key(&write.key, version, 0))))
            .condition_expression("#token = :token")
            .expression_attribute_names("#token", items::TOKEN)
            .expression_attribute_values(":token", token.value())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match retrying(self.attempts, is_passing, || request.clone().send()).await {
            Ok(answer) => self.count(Way::Write, answer.consumed_capacity()),
            Err(SdkError::ServiceError(found)) if found.err().is_conditional_check_failed_exception() => {}
            Err(error) => {
                let error = failed("delete a superseded item", error);
                tracing::warn!(%error, user = %write.user, "a superseded item stays for now");
            }
        }
    }

    /// All items of a write that is more than one item; `None` where it is too late already.
    async fn transaction(&self, write: &Write) -> Result<Option<(Token, Vec<TransactWriteItem>)>> {
        let token = Token::new();
        let user = write.user.to_string();
        let version = write.expected + 1;
        let mut puts = Vec::new();
        let mut rest = Vec::new();
        let mut tail = write.append.as_deref();
        let mut head = Head { base: version, sealed_key: write.key.clone(), ..Head::default() };
        if let Some(snapshot) = &write.snapshot {
            // It says how many parts of the old snapshot are in the way, and costs little beside the snapshot.
            let old = match self.head(write.user).await? {
                Some(old) if old.sealed_key == write.key && old.base <= write.expected => old,
                None if write.expected == 0 => Head::default(),
                _ => return Ok(None),
            };
            let person = items::blob(&user, Parts::Person, &snapshot.person, &token);
            let summary = items::blob(&user, Parts::Summary, &snapshot.summary, &token);
            (head.person, head.summary) = (person.len(), summary.len());
            rest.extend((person.len()..old.person).map(|part| Parts::Person.key(part)));
            rest.extend((summary.len()..old.summary).map(|part| Parts::Summary.key(part)));
            puts.extend(person.into_iter().chain(summary));
            tail = tail.or(snapshot.tail.as_deref());
        }
        let new_tail = items::tail(write, version, tail, &token);
        let bytes: usize = puts.iter().chain(&new_tail).map(Item::bytes).sum();
        if bytes > TRANSACTION_BYTES {
            return Err(too_large(write.user, bytes));
        }
        let mut all = Vec::with_capacity(puts.len() + new_tail.len() + rest.len() + 1);
        all.push(match write.expected {
            0 => self.put(head.write(&user, &token), "attribute_not_exists(pk)", None)?,
            _ if write.snapshot.is_some() => {
                self.put(head.write(&user, &token), UNCHANGED_HEAD, Some(write))?
            }
            _ => self.check_head(write)?,
        });
        for item in new_tail {
            all.push(self.put(item, "attribute_not_exists(pk)", None)?);
        }
        for item in puts {
            all.push(self.put(item, "", None)?);
        }
        for key in rest {
            let delete = Delete::builder().table_name(&self.table).set_key(Some(key_of(&user, &key))).build();
            all.push(TransactWriteItem::builder().delete(delete.map_err(items::incomplete)?).build());
        }
        Ok(Some((token, all)))
    }

    fn put(&self, item: Item, condition: &str, unchanged: Option<&Write>) -> Result<TransactWriteItem> {
        let mut put = Put::builder().table_name(&self.table).set_item(Some(item.0));
        if !condition.is_empty() {
            put = put
                .condition_expression(condition)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        }
        if let Some(write) = unchanged {
            put = put.set_expression_attribute_values(Some(items::as_read(write)));
        }
        Ok(TransactWriteItem::builder().put(put.build().map_err(items::incomplete)?).build())
    }

    fn check_head(&self, write: &Write) -> Result<TransactWriteItem> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(&write.user.to_string(), items::HEAD)))
            .condition_expression(UNCHANGED_HEAD)
            .set_expression_attribute_values(Some(items::as_read(write)))
            .build();
        Ok(TransactWriteItem::builder().condition_check(check.map_err(items::incomplete)?).build())
    }

    async fn transact(
        &self,
        (token, items): (Token, Vec<TransactWriteItem>),
        version: u64,
    ) -> Result<Written> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(token.text())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match retrying(self.attempts, may_transact_later, || request.clone().send()).await {
            Ok(answer) => {
                self.count(Way::Write, answer.consumed_capacity());
                Ok(Written::Version(version))
            }
            Err(error) => match conditions_that_failed(&error) {
                None => Err(failed("write a person's row", error)),
                Some(items) if items.iter().any(|item| token.is_of(item)) => Ok(Written::Version(version)),
                Some(_) => Ok(Written::Conflict),
            },
        }
    }

    /// Deletes what a snapshot has superseded, this time's and what a crash has left. Only of this key: of another one,
    /// somebody else may be writing.
    async fn delete_superseded(&self, write: &Write) -> Result<()> {
        let user = write.user.to_string();
        let (from, to) = (tail_prefix(&write.key), tail_key(&write.key, write.expected + 1, 0));
        let found = self.range(&user, &from, &to, true).await?;
        let superseded = found.iter().map(Item::sort_key).filter(|key| **key < *to);
        let superseded = superseded.map(str::to_owned).collect();
        self.delete(&user, superseded).await
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

/// The head is that of the row that was read: its key, and no snapshot since.
const UNCHANGED_HEAD: &str = "sealed_key = :key AND tail_from <= :expected";

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
        // The head first: from then on whoever writes is told that there is no row.
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
        let bytes = table::bytes(&self.client, &self.table, self.attempts).await?;
        Ok(Sizes { people: None, bytes })
    }
}

/// The item on which a put's condition failed.
fn in_the_way(error: &SdkError<PutItemError>) -> Option<&HashMap<String, AttributeValue>> {
    let SdkError::ServiceError(found) = error else { return None };
    let PutItemError::ConditionalCheckFailedException(failed) = found.err() else { return None };
    failed.item()
}

/// Whether a transaction may do better in a moment: it met another one, or was throttled, and no condition failed.
fn may_transact_later(error: &SdkError<TransactWriteItemsError>) -> bool {
    const LATER: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    let SdkError::ServiceError(found) = error else { return is_passing(error) };
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = found.err() else {
        return is_passing(error);
    };
    let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    codes().any(|code| LATER.contains(&code)) && !codes().any(|code| code == CONDITION_FAILED)
}

const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// The items that stood against a transaction, where it failed for its conditions.
fn conditions_that_failed(
    error: &SdkError<TransactWriteItemsError>,
) -> Option<Vec<HashMap<String, AttributeValue>>> {
    let SdkError::ServiceError(found) = error else { return None };
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = found.err() else { return None };
    let failed =
        cancelled.cancellation_reasons().iter().filter(|reason| reason.code() == Some(CONDITION_FAILED));
    let failed: Vec<_> = failed.map(|reason| reason.item().cloned().unwrap_or_default()).collect();
    (!failed.is_empty()).then_some(failed)
}

fn damaged(user: UserId, what: &str) -> Error {
    Error::new(ErrorKind::Data, what).of(user).next_step(
        "forget the person, or make the store anew: a new `table` in [store] and `foretap rebuild`",
    )
}

fn too_large(user: UserId, bytes: usize) -> Error {
    let message = format!("{bytes} bytes of state are more than one transaction of DynamoDB takes (4 MB)");
    Error::new(ErrorKind::Data, message)
        .of(user)
        .next_step("look at this person's events in the lake: no phone's state is so large")
}
