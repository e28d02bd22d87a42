//! Rows of the tables, and how they become columns.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, LargeBinaryBuilder, ListBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field, SchemaRef};
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

/// Columns by their names, in the order of the table's. Those that this build does not know have no value in our rows: a newer
/// build's, or another engine's.
fn batch(schema: &SchemaRef, columns: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let in_order = schema.fields().iter().map(|field| {
        let found = columns.iter().find(|(name, _)| name == field.name());
        found.map_or_else(
            || new_null_array(field.data_type(), rows),
            |(_, column)| wide(column, field.data_type()),
        )
    });
    RecordBatch::try_new(Arc::clone(schema), in_order.collect())
        .map_err(|error| Error::new(ErrorKind::Data, format!("rows do not fit their table: {error}")))
}

/// The column as a table wants it whose type a newer build has widened.
fn wide(column: &ArrayRef, wanted: &DataType) -> ArrayRef {
    match (column.as_primitive_opt::<Int32Type>(), wanted) {
        (Some(narrow), DataType::Int64) => Arc::new(narrow.unary::<_, Int64Type>(i64::from)),
        _ => Arc::clone(column),
    }
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

/// The events' columns, as the table has them.
pub(super) fn events(rows: &[LakeEvent], schema: &SchemaRef) -> Result<RecordBatch> {
    let users: Vec<String> = rows.iter().map(|row| row.event.user.to_string()).collect();
    let places: Vec<Option<String>> =
        rows.iter().map(|row| row.event.place.map(|place| place.to_string())).collect();
    let mut charging = BooleanBuilder::new();
    rows.iter().for_each(|row| charging.append_option(row.event.battery.charging));
    let columns: [(&str, ArrayRef); 14] = [
        ("user", texts(users.iter().map(|user| Some(user.as_str())))),
        ("at", times(rows.iter().map(|row| Some(row.event.at_us)))),
        ("number", ints(rows.iter().map(|row| Some(narrow(row.event.number))))),
        ("utc_offset_secs", ints(rows.iter().map(|row| Some(row.event.utc_offset_secs)))),
        ("signal", texts(rows.iter().map(|row| Some(row.event.signal.name())))),
        ("app", texts(rows.iter().map(|row| row.event.app.as_deref()))),
        ("place", texts(places.iter().map(Option::as_deref))),
        ("battery_percent", ints(rows.iter().map(|row| row.event.battery.percent.map(i32::from)))),
        ("charging", Arc::new(charging.finish())),
        ("network", texts(rows.iter().map(|row| network_name(row.event.network)))),
        ("key_id", texts(rows.iter().map(|row| Some(&*row.key_id)))),
        ("received_at", times(rows.iter().map(|row| Some(row.received_at_us)))),
        ("partition", texts(rows.iter().map(|row| Some(&*row.partition)))),
        ("position", longs(rows.iter().map(|row| row.position))),
    ];
    batch(schema, &columns)
}

/// The impressions' columns, as the table has them.
pub(super) fn impressions(rows: &[Impression], schema: &SchemaRef) -> Result<RecordBatch> {
    let element = |column: &str| match schema.field_with_name(column).map(Field::data_type) {
        Ok(DataType::List(element)) => Ok(Arc::clone(element)),
        _ => Err(Error::new(ErrorKind::Data, "no list").field(format!("impressions.{column}"))),
    };
    let mut confidence = Float64Builder::new();
    let mut apps = ListBuilder::new(StringBuilder::new()).with_field(element("apps")?);
    let mut probabilities = ListBuilder::new(Float64Builder::new()).with_field(element("probabilities")?);
    for row in rows {
        confidence.append_value(row.confidence);
        row.apps.iter().for_each(|app| apps.values().append_value(app));
        apps.append(true);
        row.probabilities.iter().for_each(|probability| probabilities.values().append_value(*probability));
        probabilities.append(true);
    }
    let columns: [(&str, ArrayRef); 9] = [
        ("answer_id", texts(rows.iter().map(|row| Some(row.answer_id.as_str())))),
        ("user", texts(rows.iter().map(|row| Some(row.user.as_str())))),
        ("asked_at", times(rows.iter().map(|row| Some(row.asked_at_us)))),
        ("model", texts(rows.iter().map(|row| Some(row.model.as_str())))),
        ("confidence", Arc::new(confidence.finish())),
        ("opened", texts(rows.iter().map(|row| row.opened.as_deref()))),
        ("opened_at", times(rows.iter().map(|row| row.opened_at_us))),
        ("apps", Arc::new(apps.finish())),
        ("probabilities", Arc::new(probabilities.finish())),
    ];
    batch(schema, &columns)
}

/// The dead letters' columns, as the table has them.
pub(super) fn dead_letters(rows: &[DeadLetter], schema: &SchemaRef) -> Result<RecordBatch> {
    // Iceberg's binary has 64-bit offsets in `iceberg`'s own mapping.
    let mut raw = LargeBinaryBuilder::new();
    rows.iter().for_each(|row| raw.append_value(&row.raw_sealed));
    let columns: [(&str, ArrayRef); 9] = [
        ("received_at", times(rows.iter().map(|row| Some(row.received_at_us)))),
        ("partition", texts(rows.iter().map(|row| Some(&*row.partition)))),
        ("position", longs(rows.iter().map(|row| row.position))),
        ("index", ints(rows.iter().map(|row| Some(narrow(row.index))))),
        ("field", texts(rows.iter().map(|row| Some(row.field.as_str())))),
        ("reason", texts(rows.iter().map(|row| Some(row.reason.as_str())))),
        ("encoding", texts(rows.iter().map(|row| Some(row.encoding.as_str())))),
        ("key_id", texts(rows.iter().map(|row| Some(row.key_id.as_str())))),
        ("raw_sealed", Arc::new(raw.finish())),
    ];
    batch(schema, &columns)
}

/// The columns of who was forgotten, and when.
pub(super) fn forgotten(rows: &[(&str, i64)], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 2] = [
        ("who", texts(rows.iter().map(|(who, _)| Some(*who)))),
        ("at", times(rows.iter().map(|(_, at_us)| Some(*at_us)))),
    ];
    batch(schema, &columns)
}
