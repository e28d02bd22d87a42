//! Items of the table: their names, what they hold, and a row put together from them.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use sha2::Digest as _;

use super::super::{Row, Write};

/// Sort key of the item that says what of a person is live.
pub(super) const HEAD: &str = "head";
/// Attribute by which a writer knows its own item.
pub(super) const TOKEN: &str = "token";
/// Bytes of one item's content, below DynamoDB's 400 KB with names and keys.
pub(super) const PART_BYTES: usize = 350_000;
/// The sort keys that make a row, beside the head. `$` comes after `#`.
pub(super) const SUMMARY_AND_TAIL: (&str, &str) = ("summary#", "tail$");
/// All sort keys: they are of printable ASCII.
pub(super) const ALL: (&str, &str) = (" ", "~");

/// One item.
#[derive(Debug, Clone)]
pub(super) struct Item(pub HashMap<String, AttributeValue>);

/// What one write is known by.
#[derive(Debug)]
pub(super) struct Token(uuid::Uuid);

/// What a snapshot is cut in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parts {
    Person,
    Summary,
}

/// What of a person is live.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// The tail is live from this version on.
    pub base: u64,
    pub sealed_key: Vec<u8>,
    /// Parts of the snapshot's person and summary; 0 without a snapshot.
    pub person: usize,
    pub summary: usize,
    /// Of the write that made the head; empty before it is written.
    pub token: Vec<u8>,
}

impl Token {
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    pub fn value(&self) -> AttributeValue {
        bytes(self.0.as_bytes())
    }

    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// Whether the write of this token made the item.
    pub fn is_of(&self, item: &HashMap<String, AttributeValue>) -> bool {
        item.get(TOKEN) == Some(&self.value())
    }
}

impl Parts {
    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Summary => "summary",
        }
    }

    pub fn key(self, part: usize) -> String {
        format!("{}#{part:03}", self.name())
    }

    pub fn range(self) -> (String, String) {
        (format!("{}#", self.name()), format!("{}$", self.name()))
    }
}

impl Head {
    pub fn write(&self, user: &str, token: &Token) -> Item {
        let mut item = key_of(user, HEAD);
        item.insert("tail_from".to_owned(), number(self.base));
        item.insert("sealed_key".to_owned(), bytes(&self.sealed_key));
        item.insert("person".to_owned(), number(self.person as u64));
        item.insert("summary".to_owned(), number(self.summary as u64));
        item.insert(TOKEN.to_owned(), token.value());
        Item(item)
    }

    pub fn read(item: Item) -> Result<Self> {
        Ok(Self {
            base: item.number("tail_from")?,
            sealed_key: item.bytes_of("sealed_key")?.to_vec(),
            person: item.number("person")? as usize,
            summary: item.number("summary")? as usize,
            token: item.bytes_of(TOKEN)?.to_vec(),
        })
    }
}

impl Item {
    /// About what DynamoDB counts.
    pub fn bytes(&self) -> usize {
        let of_value = |value: &AttributeValue| match value {
            AttributeValue::B(blob) => blob.as_ref().len(),
            AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
            _ => 1,
        };
        self.0.iter().map(|(name, value)| name.len() + of_value(value)).sum()
    }

    pub fn sort_key(&self) -> &str {
        self.text("sk").unwrap_or_default()
    }

    pub fn user(&self) -> Result<UserId> {
        read_user(self.text("pk").unwrap_or_default())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<u64> {
        let found = self.0.get(name).and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok());
        found.ok_or_else(|| self.wrong(name))
    }

    fn bytes_of(&self, name: &str) -> Result<&[u8]> {
        let found = self.0.get(name).and_then(|value| value.as_b().ok());
        found.map(Blob::as_ref).ok_or_else(|| self.wrong(name))
    }

    fn wrong(&self, name: &str) -> Error {
        let message = format!("the item `{}` has no such attribute, or of another type", self.sort_key());
        Error::new(ErrorKind::Data, message).field(name).next_step(
            "see who else writes to this table; a store is made anew with another `table` in [store] and `foretap rebuild`",
        )
    }
}

pub(super) fn key_of(partition: &str, sort_key: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(partition.to_owned())),
        ("sk".to_owned(), AttributeValue::S(sort_key.to_owned())),
    ])
}

/// The beginning of a tail's sort keys. Who was forgotten and comes back has another key, and so other items: one that is still
/// under way from before is of no row.
pub(super) fn tail_prefix(sealed_key: &[u8]) -> String {
    let hash: String = sha2::Sha256::digest(sealed_key).iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("tail#{hash}#")
}

pub(super) fn tail_key(sealed_key: &[u8], version: u64, part: usize) -> String {
    // As many digits as the largest version has, so that text is in the order of numbers.
    format!("{}{version:020}#{part:03}", tail_prefix(sealed_key))
}

/// The items of one version of a tail; at least one, also where the write adds no events.
pub(super) fn tail(write: &Write, version: u64, chunk: Option<&[u8]>, token: &Token) -> Vec<Item> {
    let keys = |part| tail_key(&write.key, version, part);
    cut(&write.user.to_string(), keys, chunk, token)
}

/// The items of a snapshot's person or summary; at least one.
pub(super) fn blob(user: &str, parts: Parts, content: &[u8], token: &Token) -> Vec<Item> {
    cut(user, |part| parts.key(part), Some(content), token)
}

fn cut(user: &str, key: impl Fn(usize) -> String, content: Option<&[u8]>, token: &Token) -> Vec<Item> {
    let mut parts: Vec<Option<&[u8]>> = content.unwrap_or_default().chunks(PART_BYTES).map(Some).collect();
    if parts.is_empty() {
        parts.push(content);
    }
    let count = parts.len() as u64;
    let item = |(number_of_part, part): (usize, Option<&[u8]>)| {
        let mut item = key_of(user, &key(number_of_part));
        item.insert("parts".to_owned(), number(count));
        item.insert(TOKEN.to_owned(), token.value());
        if let Some(part) = part {
            item.insert("content".to_owned(), bytes(part));
        }
        Item(item)
    };
    parts.into_iter().enumerate().map(item).collect()
}

/// The content that was cut; `None` where not all parts of one write are there.
pub(super) fn join(parts: &[Item]) -> Result<Option<Vec<u8>>> {
    let Some(first) = parts.first() else { return Ok(None) };
    let token = first.bytes_of(TOKEN)?;
    let mut whole = Vec::new();
    for part in parts {
        if part.bytes_of(TOKEN)? != token {
            return Ok(None);
        }
        if part.0.contains_key("content") {
            whole.extend(part.bytes_of("content")?);
        }
    }
    Ok((parts.len() as u64 == first.number("parts")?).then_some(whole))
}

/// A row from its head and the items that were read before it; `None` where they do not belong together, since somebody wrote
/// meanwhile.
pub(super) fn row(head: &Head, found: &[Item]) -> Result<Option<Row>> {
    let mut row = Row { version: head.base, key: head.sealed_key.clone(), ..Row::default() };
    if head.summary > 0 {
        let summary: Vec<Item> =
            found.iter().filter(|item| item.sort_key().starts_with("summary#")).cloned().collect();
        let is_of_head = summary.first().is_some_and(|item| item.0.get(TOKEN) == Some(&bytes(&head.token)));
        match join(&summary)? {
            Some(summary) if is_of_head => row.summary = summary,
            _ => return Ok(None),
        }
    }
    let prefix = tail_prefix(&head.sealed_key);
    let mut versions: BTreeMap<u64, Vec<Item>> = BTreeMap::new();
    for item in found {
        let Some(rest) = item.sort_key().strip_prefix(&prefix) else { continue };
        let version = rest.split('#').next().and_then(|digits| digits.parse().ok());
        let version: u64 = version.ok_or_else(|| item.wrong("sk"))?;
        if version >= head.base {
            versions.entry(version).or_default().push(item.clone());
        }
    }
    for (expected, (version, parts)) in (head.base..).zip(&versions) {
        let Some(chunk) = join(parts)?.filter(|_| *version == expected) else { return Ok(None) };
        row.version = expected;
        if parts.iter().any(|part| part.0.contains_key("content")) {
            row.tail.push((expected, chunk));
        }
    }
    // Each write has its item, that which made the head, too.
    Ok((!versions.is_empty()).then_some(row))
}

/// The values of a condition that the head is still that of the row that was read.
pub(super) fn as_read(write: &Write) -> HashMap<String, AttributeValue> {
    HashMap::from([(":key".to_owned(), bytes(&write.key)), (":expected".to_owned(), number(write.expected))])
}

pub(super) fn forgotten(partition: &str, user: UserId, at_us: i64) -> HashMap<String, AttributeValue> {
    let mut item = key_of(partition, &user.to_string());
    item.insert("at_us".to_owned(), AttributeValue::N(at_us.to_string()));
    item
}

pub(super) fn read_forgotten(item: &Item) -> Result<(UserId, i64)> {
    let at_us = item.0.get("at_us").and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok());
    Ok((read_user(item.sort_key())?, at_us.ok_or_else(|| item.wrong("at_us"))?))
}

/// The item of what shows the right master key.
pub(super) fn proof(proof: &[u8]) -> HashMap<String, AttributeValue> {
    let mut item = key_of("master-key", "proof");
    item.insert("content".to_owned(), bytes(proof));
    item
}

pub(super) fn read_proof(item: &HashMap<String, AttributeValue>) -> Result<Vec<u8>> {
    Item(item.clone()).bytes_of("content").map(<[u8]>::to_vec)
}

fn read_user(text: &str) -> Result<UserId> {
    text.parse().map_err(|()| {
        Error::new(ErrorKind::Data, format!("`{text}` is no user"))
            .next_step("see who else writes to this table: it is for foretap alone")
    })
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}
