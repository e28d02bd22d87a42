//! A table of DynamoDB itself: found, looked at, made. The store has one, and the leases of Kinesis another; both have the same
//! keys.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus,
};
use foretap::{Error, ErrorKind, Result};

use crate::aws::{failed, incomplete, is_passing, retrying};

/// Which setting names the table, as errors say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// `section.key`.
    pub field: &'static str,
    /// "`key` of [section]".
    pub named_by: &'static str,
    /// "`key = true` in [section]", by which the table is made.
    pub made_by: &'static str,
}

/// The keys of every item.
const KEYS: [(&str, KeyType); 2] = [("pk", KeyType::Hash), ("sk", KeyType::Range)];
/// How often a table that is being made is looked at, and for how long.
const LOOKS: u32 = 120;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Finds the table, or makes it where it is missing and `may_make`, and waits until it can be used.
pub(crate) async fn open(
    client: &Client,
    (table, setting): (&str, Setting),
    may_make: bool,
    attempts: u32,
) -> Result<()> {
    if find(client, table, attempts).await?.is_none() {
        if !may_make {
            return Err(missing(table, setting));
        }
        make(client, table).await?;
    }
    for _ in 0..LOOKS {
        match find(client, table, attempts).await? {
            Some(found) if is_usable(&found) => return check_keys(table, setting, &found),
            Some(_) => {}
            // A table that was just made is not seen everywhere at once.
            None if may_make => {}
            None => return Err(missing(table, setting)),
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(Error::new(ErrorKind::Io, format!("the table `{table}` is not active"))
        .next_step("look at it, and start again"))
}

/// Whether the table is there.
pub(crate) async fn is_there(client: &Client, table: &str, attempts: u32) -> Result<bool> {
    Ok(find(client, table, attempts).await?.is_some())
}

/// Bytes of the table, as DynamoDB counts them some times a day.
pub(crate) async fn bytes(client: &Client, (table, setting): (&str, Setting), attempts: u32) -> Result<u64> {
    let found = find(client, table, attempts).await?.ok_or_else(|| missing(table, setting))?;
    Ok(found.table_size_bytes().unwrap_or_default().unsigned_abs())
}

async fn find(client: &Client, table: &str, attempts: u32) -> Result<Option<TableDescription>> {
    let request = client.describe_table().table_name(table);
    match retrying(attempts, is_passing, || request.clone().send()).await {
        Ok(answer) => Ok(answer.table),
        Err(SdkError::ServiceError(found)) if found.err().is_resource_not_found_exception() => Ok(None),
        Err(error) => Err(failed(&format!("look at the table `{table}`"), error)),
    }
}

/// Billed by what is read and written; backups are the operator's to turn on.
async fn make(client: &Client, table: &str) -> Result<()> {
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in KEYS {
        let element = KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let attribute = AttributeDefinition::builder().attribute_name(name);
        let attribute = attribute.attribute_type(ScalarAttributeType::S).build();
        request = request
            .key_schema(element.map_err(incomplete)?)
            .attribute_definitions(attribute.map_err(incomplete)?);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        // Another process made it meanwhile.
        Err(SdkError::ServiceError(found)) if found.err().is_resource_in_use_exception() => Ok(()),
        Err(error) => Err(failed(&format!("make the table `{table}`"), error)),
    }
}

fn is_usable(table: &TableDescription) -> bool {
    matches!(table.table_status(), None | Some(TableStatus::Active | TableStatus::Updating))
}

fn check_keys(table: &str, setting: Setting, found: &TableDescription) -> Result<()> {
    let keys: Vec<(&str, KeyType)> =
        found.key_schema().iter().map(|key| (key.attribute_name(), key.key_type().clone())).collect();
    let is_text = |name: &str| {
        let mut found = found.attribute_definitions().iter();
        found.any(|of| of.attribute_name() == name && *of.attribute_type() == ScalarAttributeType::S)
    };
    if keys == KEYS && KEYS.iter().all(|(name, _)| is_text(name)) {
        return Ok(());
    }
    let message = format!("the table `{table}` has other keys than `pk` and `sk`, both strings");
    Err(Error::new(ErrorKind::Config, message)
        .field(setting.field)
        .next_step(format!("name another table by {}: this one is not foretap's", setting.named_by)))
}

fn missing(table: &str, setting: Setting) -> Error {
    let Setting { field, named_by, made_by } = setting;
    Error::new(ErrorKind::Config, format!("there is no table `{table}`")).field(field).next_step(format!(
        "see whether {named_by} and `region` of [aws] are right; to have it made, set {made_by}"
    ))
}
