//! Reading the lake back.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, PrimitiveArray, RecordBatch, StringArray, new_null_array};
use arrow_schema::DataType;
use foretap::data::{Battery, Network, UserId};
use foretap::{Error, ErrorKind, Result};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::Datum;

use super::rewrite::holds;
use super::{DeadLetter, Lake, TableName, failed, tables};
use crate::store::{MasterKey, UserHash};
use crate::wire::{EventKey, PhoneEvent, SignalKind, network_name};

const COLUMNS: [&str; 10] = [
    "user",
    "at",
    "number",
    "utc_offset_secs",
    "signal",
    "app",
    "place",
    "battery_percent",
    "charging",
    "network",
];

/// Everybody's events, each person's in the order of their own times, of a snapshot or of the newest.
///
/// # Errors
/// There is no such snapshot, or a file cannot be read.
pub async fn people(
    lake: &Lake,
    snapshot: Option<i64>,
) -> Result<BTreeMap<UserId, BTreeMap<EventKey, PhoneEvent>>> {
    let mut people: BTreeMap<UserId, BTreeMap<EventKey, PhoneEvent>> = BTreeMap::new();
    let wanted = Wanted { columns: &COLUMNS, snapshot, ..Wanted::default() };
    let mut batches = lake.scan(TableName::Events, wanted, "read events").await?;
    while let Some(batch) = batches.try_next().await? {
        for event in events(&batch)? {
            people.entry(event.user).or_default().insert(event.key(), event);
        }
    }
    Ok(people)
}

/// What is read of a table.
#[derive(Default)]
struct Wanted {
    /// All without one.
    columns: &'static [&'static str],
    /// The newest without one.
    snapshot: Option<i64>,
    filter: Option<Predicate>,
}

/// People who are looked for one by one, at most.
const MANY_USERS: usize = 16;

impl Lake {
    /// The rows of a snapshot, batch by batch; none of a table that has no snapshot yet.
    async fn scan(
        &self,
        name: TableName,
        wanted: Wanted,
        doing: &'static str,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let table = self.table(name).await?;
        let metadata = table.metadata();
        let Some(newest) = metadata.current_snapshot() else { return Ok(futures::stream::empty().boxed()) };
        let read = move |error: iceberg::Error| failed(doing, &error);
        let mut scan = table.scan();
        if !wanted.columns.is_empty() {
            // A snapshot is read under the columns that the table had then.
            let snapshot = wanted.snapshot.and_then(|id| metadata.snapshot_by_id(id)).unwrap_or(newest);
            let schema = snapshot.schema(metadata).map_err(read)?;
            let is_there = |column: &&&str| schema.field_by_name(column).is_some();
            scan = scan.select(wanted.columns.iter().filter(is_there).copied());
        }
        if let Some(snapshot) = wanted.snapshot {
            scan = scan.snapshot_id(snapshot);
        }
        if let Some(filter) = wanted.filter {
            scan = scan.with_filter(filter);
        }
        let batches = scan.build().map_err(read)?.to_arrow().await.map_err(read)?;
        Ok(batches.map_err(read).boxed())
    }

    /// A person's rows in a table of people, of a snapshot or of the newest, each as a JSON object.
    ///
    /// # Errors
    /// There is no such snapshot, or a file cannot be read.
    pub async fn rows_of(
        &self,
        name: TableName,
        user: UserId,
        snapshot: Option<i64>,
    ) -> Result<Vec<serde_json::Value>> {
        let wanted = Wanted { snapshot, filter: Some(is_of(user)), ..Wanted::default() };
        let mut batches = self.scan(name, wanted, "read a person's rows").await?;
        let mut bytes = Vec::new();
        let mut writer = arrow_json::ArrayWriter::new(&mut bytes);
        let json = |error: arrow_schema::ArrowError| Error::new(ErrorKind::Data, error.to_string());
        while let Some(batch) = batches.try_next().await? {
            writer.write(&batch).map_err(json)?;
        }
        writer.finish().map_err(json)?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::new(ErrorKind::Data, error.to_string()))
    }

    /// Which of these events the lake has, at their times.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn known(&self, events: &[PhoneEvent]) -> Result<BTreeSet<(UserId, EventKey)>> {
        let users: BTreeSet<UserId> = events.iter().map(|event| event.user).collect();
        let times = || events.iter().map(|event| event.at_us);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(BTreeSet::new()) };
        let is_then = Reference::new("at")
            .greater_than_or_equal_to(Datum::timestamptz_micros(first))
            .and(Reference::new("at").less_than_or_equal_to(Datum::timestamptz_micros(last)));
        // A few people are found by their buckets; of many, nearly all files have some.
        let filters: Vec<Predicate> = match users.len() {
            ..=MANY_USERS => users.iter().map(|user| is_then.clone().and(is_of(*user))).collect(),
            _ => vec![is_then],
        };
        let mut known = BTreeSet::new();
        for filter in filters {
            let wanted = Wanted { columns: &COLUMNS, filter: Some(filter), ..Wanted::default() };
            let mut batches = self.scan(TableName::Events, wanted, "look for known events").await?;
            while let Some(batch) = batches.try_next().await? {
                let found = self::events(&batch)?.into_iter().filter(|event| users.contains(&event.user));
                known.extend(found.map(|event| (event.user, event.key())));
            }
        }
        Ok(known)
    }

    /// Everybody who was forgotten, and when; several times where they were several times.
    pub(super) async fn forgotten_people(&self) -> Result<Vec<(UserHash, i64)>> {
        let mut batches =
            self.scan(TableName::Forgotten, Wanted::default(), "read who was forgotten").await?;
        let mut found = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let columns = Columns { batch: &batch, table: "forgotten" };
            let (who, at) = (columns.texts("who")?, columns.times("at")?);
            for row in 0..batch.num_rows() {
                let hash = user_hash(who.value(row)).ok_or_else(|| columns.wrong("who"))?;
                found.push((hash, at.value(row)));
            }
        }
        Ok(found)
    }

    /// The dead letters that name a person, as they came.
    ///
    /// # Errors
    /// A file cannot be read, or they were sealed under another key.
    pub async fn dead_letters_of(&self, user: UserId, master: &MasterKey) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for letter in dead_letters(self).await? {
            let raw = master.open(&letter.raw_sealed)?;
            if holds(&raw, user.to_string().as_bytes()) {
                found.push(String::from_utf8_lossy(&raw).into_owned());
            }
        }
        Ok(found)
    }
}

/// The dead letters, oldest first.
///
/// # Errors
/// A file cannot be read.
pub async fn dead_letters(lake: &Lake) -> Result<Vec<DeadLetter>> {
    let mut batches = lake.scan(TableName::DeadLetters, Wanted::default(), "read dead letters").await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let columns = Columns { batch: &batch, table: "dead_letters" };
        let (at, index) = (columns.times("received_at")?, columns.integers("index")?);
        let (partition, position) = (columns.texts("partition")?, columns.integers("position")?);
        let (field, reason) = (columns.texts("field")?, columns.texts("reason")?);
        let (encoding, key_id) = (columns.texts("encoding")?, columns.texts("key_id")?);
        let raw = columns
            .column("raw_sealed")?
            .as_binary_opt::<i64>()
            .ok_or_else(|| columns.wrong("raw_sealed"))?;
        found.extend((0..batch.num_rows()).map(|row| DeadLetter {
            received_at_us: at.value(row),
            partition: partition.value(row).into(),
            position: position.value(row).try_into().unwrap_or(0),
            index: index.value(row).try_into().unwrap_or(0),
            field: field.value(row).to_owned(),
            reason: reason.value(row).to_owned(),
            encoding: encoding.value(row).to_owned(),
            key_id: key_id.value(row).to_owned(),
            raw_sealed: raw.value(row).to_vec(),
        }));
    }
    found.sort_by_key(|letter: &DeadLetter| (letter.received_at_us, letter.position, letter.index));
    Ok(found)
}

/// The bytes of a hash that is written as hexadecimal digits.
fn user_hash(digits: &str) -> Option<UserHash> {
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(number.to_be_bytes())
}

/// A person's rows in a table of people.
pub(super) fn is_of(user: UserId) -> Predicate {
    Reference::new("user").equal_to(Datum::string(user.to_string()))
}

/// A batch's columns by name, as foretap writes them.
struct Columns<'a> {
    batch: &'a RecordBatch,
    table: &'static str,
}

impl<'a> Columns<'a> {
    fn wrong(&self, column: &str) -> Error {
        Error::new(ErrorKind::Data, "not what foretap writes")
            .field(format!("{}.{column}", self.table))
            .next_step("look for another writer of the table")
    }

    fn column(&self, name: &str) -> Result<&'a ArrayRef> {
        self.batch.column_by_name(name).ok_or_else(|| self.wrong(name))
    }

    fn texts(&self, name: &str) -> Result<&'a StringArray> {
        self.column(name)?.as_string_opt::<i32>().ok_or_else(|| self.wrong(name))
    }

    /// Integers of either width: a newer build, or another engine, may have widened the column.
    fn integers(&self, name: &str) -> Result<PrimitiveArray<Int64Type>> {
        integers(self.column(name)?).ok_or_else(|| self.wrong(name))
    }

    /// A column that rows need not have. A snapshot of before it was added does not have it either.
    fn optional(&self, name: &str, kind: &DataType) -> ArrayRef {
        let found = self.batch.column_by_name(name).cloned();
        found.unwrap_or_else(|| new_null_array(kind, self.batch.num_rows()))
    }

    fn times(&self, name: &str) -> Result<&'a PrimitiveArray<TimestampMicrosecondType>> {
        self.column(name)?.as_primitive_opt().ok_or_else(|| self.wrong(name))
    }
}

fn integers(column: &ArrayRef) -> Option<PrimitiveArray<Int64Type>> {
    let narrow = column.as_primitive_opt::<Int32Type>().map(|narrow| narrow.unary(i64::from));
    narrow.or_else(|| column.as_primitive_opt::<Int64Type>().cloned())
}

/// How many rows a table has, counted in its files.
///
/// # Errors
/// A file cannot be read.
pub async fn row_count(lake: &Lake, name: TableName) -> Result<u64> {
    // Any column has as many.
    let wanted = Wanted { columns: tables::day_column(name), ..Wanted::default() };
    let mut batches = lake.scan(name, wanted, "count rows").await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

fn events(batch: &RecordBatch) -> Result<Vec<PhoneEvent>> {
    let columns = Columns { batch, table: "events" };
    let wrong = |column: &str| columns.wrong(column);
    let (users, signals) = (columns.texts("user")?, columns.texts("signal")?);
    let [apps, places, networks] =
        ["app", "place", "network"].map(|name| columns.optional(name, &DataType::Utf8));
    let apps = apps.as_string_opt::<i32>().ok_or_else(|| wrong("app"))?;
    let places = places.as_string_opt::<i32>().ok_or_else(|| wrong("place"))?;
    let networks = networks.as_string_opt::<i32>().ok_or_else(|| wrong("network"))?;
    let (at, numbers, offsets) =
        (columns.times("at")?, columns.integers("number")?, columns.integers("utc_offset_secs")?);
    let percents = columns.optional("battery_percent", &DataType::Int32);
    let percents = integers(&percents).ok_or_else(|| wrong("battery_percent"))?;
    let charging = columns.optional("charging", &DataType::Boolean);
    let charging = charging.as_boolean_opt().ok_or_else(|| wrong("charging"))?;
    let row = |row: usize| -> Result<PhoneEvent> {
        let network = |name: &str| {
            let known = [Network::Offline, Network::Wifi, Network::Cellular];
            known
                .into_iter()
                .find(|network| network_name(*network) == Some(name))
                .ok_or_else(|| wrong("network"))
        };
        Ok(PhoneEvent {
            user: users.value(row).parse().map_err(|()| wrong("user"))?,
            at_us: at.value(row),
            number: numbers.value(row).try_into().map_err(|_| wrong("number"))?,
            utc_offset_secs: offsets.value(row).try_into().map_err(|_| wrong("utc_offset_secs"))?,
            signal: SignalKind::from_name(signals.value(row)).ok_or_else(|| wrong("signal"))?,
            app: apps.is_valid(row).then(|| apps.value(row).into()),
            place: match places.is_valid(row) {
                true => Some(places.value(row).parse().map_err(|()| wrong("place"))?),
                false => None,
            },
            battery: Battery {
                percent: match percents.is_valid(row) {
                    true => Some(percents.value(row).try_into().map_err(|_| wrong("battery_percent"))?),
                    false => None,
                },
                charging: charging.is_valid(row).then(|| charging.value(row)),
            },
            network: if networks.is_valid(row) { network(networks.value(row))? } else { Network::Unknown },
        })
    };
    (0..batch.num_rows()).map(row).collect()
}
