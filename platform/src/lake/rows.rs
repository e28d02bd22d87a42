//! Rows of the tables, and how they become columns.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, LargeBinaryBuilder, ListBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use foretap::{Error, ErrorKind, Result};

use crate::wire::{PhoneEvent, network_name};

/// An event, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeEvent {
    /// The event.
    pub event: PhoneEvent,
    /// Which key hashed the ids.
    pub key_id: Arc<str>,
    /// When it arrived, in microseconds since 1970.
    pub received_at_us: i64,
    /// The source's partition that brought it.
    pub partition: Arc<str>,
    /// The record in that partition.
    pub position: u64,
}

/// What was answered, and what was opened then.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Impression {
    /// The answer's own id.
    pub answer_id: String,
    /// Who asked.
    pub user: String,
    /// When, in microseconds since 1970.
    pub asked_at_us: i64,
    /// The model that answered.
    pub model: String,
    /// The apps of the answer, most probable first.
    pub apps: Vec<String>,
    /// Their probabilities.
    pub probabilities: Vec<f64>,
    /// The probability that one of them is opened.
    pub confidence: f64,
    /// What was opened; `None` where the feedback says that none was.
    pub opened: Option<String>,
    /// When the feedback came, in microseconds since 1970.
    pub opened_at_us: Option<i64>,
}

/// What could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// When it arrived, in microseconds since 1970.
    pub received_at_us: i64,
    /// The source's partition that brought it.
    pub partition: Arc<str>,
    /// The record in that partition.
    pub position: u64,
    /// The event's number in the record.
    pub index: u32,
    /// The field at fault.
    pub field: String,
    /// Why.
    pub reason: String,
    /// How it is written: `json` or `protobuf`.
    pub encoding: String,
    /// Which key hashed the ids; empty where that could not be read either.
    pub key_id: String,
    /// The bytes as they came, sealed under the master key: they may be what must not travel.
    pub raw_sealed: Vec<u8>,
}

fn narrow<T: TryInto<i32>>(number: T) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::new(ErrorKind::Data, format!("rows do not fit their table: {error}")))
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish().with_timezone("+00:00"))
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn ints(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    let mut builder = Int32Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn longs(values: impl Iterator<Item = u64>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    values.for_each(|value| builder.append_value(i64::try_from(value).unwrap_or(i64::MAX)));
    Arc::new(builder.finish())
}

/// The events' columns, in the order of the table's.
pub(super) fn events(rows: &[LakeEvent], schema: &SchemaRef) -> Result<RecordBatch> {
    let users: Vec<String> = rows.iter().map(|row| row.event.user.to_string()).collect();
    let places: Vec<Option<String>> =
        rows.iter().map(|row| row.event.place.map(|place| place.to_string())).collect();
    let mut charging = BooleanBuilder::new();
    rows.iter().for_each(|row| charging.append_option(row.event.battery.charging));
    let columns: Vec<ArrayRef> = vec![
        texts(users.iter().map(|user| Some(user.as_str()))),
        times(rows.iter().map(|row| Some(row.event.at_us))),
        ints(rows.iter().map(|row| Some(narrow(row.event.number)))),
        ints(rows.iter().map(|row| Some(row.event.utc_offset_secs))),
        texts(rows.iter().map(|row| Some(row.event.signal.name()))),
        texts(rows.iter().map(|row| row.event.app.as_deref())),
        texts(places.iter().map(Option::as_deref)),
        ints(rows.iter().map(|row| row.event.battery.percent.map(i32::from))),
        Arc::new(charging.finish()),
        texts(rows.iter().map(|row| network_name(row.event.network))),
        texts(rows.iter().map(|row| Some(&*row.key_id))),
        times(rows.iter().map(|row| Some(row.received_at_us))),
        texts(rows.iter().map(|row| Some(&*row.partition))),
        longs(rows.iter().map(|row| row.position)),
    ];
    batch(schema, columns)
}

/// The impressions' columns, in the order of the table's.
pub(super) fn impressions(rows: &[Impression], schema: &SchemaRef) -> Result<RecordBatch> {
    let element = |column: usize| match schema.field(column).data_type() {
        DataType::List(element) => Ok(Arc::clone(element)),
        other => Err(Error::new(ErrorKind::Data, format!("column {column} is no list but {other}"))),
    };
    let mut confidence = Float64Builder::new();
    let mut apps = ListBuilder::new(StringBuilder::new()).with_field(element(7)?);
    let mut probabilities = ListBuilder::new(Float64Builder::new()).with_field(element(8)?);
    for row in rows {
        confidence.append_value(row.confidence);
        row.apps.iter().for_each(|app| apps.values().append_value(app));
        apps.append(true);
        row.probabilities.iter().for_each(|probability| probabilities.values().append_value(*probability));
        probabilities.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| Some(row.answer_id.as_str()))),
        texts(rows.iter().map(|row| Some(row.user.as_str()))),
        times(rows.iter().map(|row| Some(row.asked_at_us))),
        texts(rows.iter().map(|row| Some(row.model.as_str()))),
        Arc::new(confidence.finish()),
        texts(rows.iter().map(|row| row.opened.as_deref())),
        times(rows.iter().map(|row| row.opened_at_us)),
        Arc::new(apps.finish()),
        Arc::new(probabilities.finish()),
    ];
    batch(schema, columns)
}

/// The dead letters' columns, in the order of the table's.
pub(super) fn dead_letters(rows: &[DeadLetter], schema: &SchemaRef) -> Result<RecordBatch> {
    // Iceberg's binary has 64-bit offsets in `iceberg`'s own mapping.
    let mut raw = LargeBinaryBuilder::new();
    rows.iter().for_each(|row| raw.append_value(&row.raw_sealed));
    let columns: Vec<ArrayRef> = vec![
        times(rows.iter().map(|row| Some(row.received_at_us))),
        texts(rows.iter().map(|row| Some(&*row.partition))),
        longs(rows.iter().map(|row| row.position)),
        ints(rows.iter().map(|row| Some(narrow(row.index)))),
        texts(rows.iter().map(|row| Some(row.field.as_str()))),
        texts(rows.iter().map(|row| Some(row.reason.as_str()))),
        texts(rows.iter().map(|row| Some(row.encoding.as_str()))),
        texts(rows.iter().map(|row| Some(row.key_id.as_str()))),
        Arc::new(raw.finish()),
    ];
    batch(schema, columns)
}
