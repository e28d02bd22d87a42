//! One person's write: an append, or a transaction of all that a snapshot changes.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};

use super::super::{Write, Written};
use super::items::{self, Head, Item, Parts, Token, key_of, tail_key, tail_prefix};
use super::{DynamoStore, Way};
use crate::aws::{failed, incomplete, is_passing, retrying};

/// Bytes of one transaction, somewhat below DynamoDB's 4 MB: names count, too.
const TRANSACTION_BYTES: usize = 4_000_000;
/// The head is that of the row that was read: its key, and no snapshot since.
const UNCHANGED_HEAD: &str = "sealed_key = :key AND tail_from <= :expected";

impl DynamoStore {
    /// Does it, and says what became of it.
    pub(super) async fn write_one(&self, write: &Write) -> Result<Written> {
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
            all.push(TransactWriteItem::builder().delete(delete.map_err(incomplete)?).build());
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
        Ok(TransactWriteItem::builder().put(put.build().map_err(incomplete)?).build())
    }

    fn check_head(&self, write: &Write) -> Result<TransactWriteItem> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(&write.user.to_string(), items::HEAD)))
            .condition_expression(UNCHANGED_HEAD)
            .set_expression_attribute_values(Some(items::as_read(write)))
            .build();
        Ok(TransactWriteItem::builder().condition_check(check.map_err(incomplete)?).build())
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
}

/// The item on which a put's condition failed.
pub(super) fn in_the_way(error: &SdkError<PutItemError>) -> Option<&HashMap<String, AttributeValue>> {
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

fn too_large(user: UserId, bytes: usize) -> Error {
    let message = format!("{bytes} bytes of state are more than one transaction of DynamoDB takes (4 MB)");
    Error::new(ErrorKind::Data, message)
        .of(user)
        .next_step("look at this person's events in the lake: no phone's state is so large")
}
