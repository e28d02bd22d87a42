//! The tables' columns and partitions.

use std::collections::BTreeMap;

use foretap::{Error, ErrorKind, Result};
use iceberg::TableCreation;
use iceberg::spec::{
    ListType, NestedField, PrimitiveType, Schema, TableMetadata, Transform, Type, UnboundPartitionSpec,
};
use iceberg::table::Table;

use super::failed;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// What phones noticed.
    Events,
    /// What was answered, and what was opened then.
    Impressions,
    /// What could not be used.
    DeadLetters,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Impressions, Self::DeadLetters];

    /// Its name in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Impressions => "impressions",
            Self::DeadLetters => "dead_letters",
        }
    }
}

use PrimitiveType::{Binary, Boolean, Double, Int, Long, String as Text, Timestamptz};

/// Name, type, whether every row has it. A column keeps its number for good: new ones come last.
fn columns(name: TableName) -> Vec<(&'static str, PrimitiveType, bool)> {
    match name {
        TableName::Events => vec![
            ("user", Text, true),
            ("at", Timestamptz, true),
            ("number", Int, true),
            ("utc_offset_secs", Int, true),
            ("signal", Text, true),
            ("app", Text, false),
            ("place", Text, false),
            ("battery_percent", Int, false),
            ("charging", Boolean, false),
            ("network", Text, false),
            ("key_id", Text, true),
            ("received_at", Timestamptz, true),
            ("partition", Text, true),
            ("position", Long, true),
        ],
        TableName::Impressions => vec![
            ("answer_id", Text, true),
            ("user", Text, true),
            ("asked_at", Timestamptz, true),
            ("model", Text, true),
            ("confidence", Double, true),
            ("opened", Text, false),
            ("opened_at", Timestamptz, false),
        ],
        TableName::DeadLetters => vec![
            ("received_at", Timestamptz, true),
            ("partition", Text, true),
            ("position", Long, true),
            ("index", Int, true),
            ("field", Text, true),
            ("reason", Text, true),
            ("encoding", Text, true),
            ("key_id", Text, true),
            ("raw_sealed", Binary, true),
        ],
    }
}

/// Lists of texts or numbers, behind the other columns.
fn lists(name: TableName) -> Vec<(&'static str, PrimitiveType)> {
    match name {
        TableName::Impressions => vec![("apps", Text), ("probabilities", Double)],
        TableName::Events | TableName::DeadLetters => Vec::new(),
    }
}

pub(super) fn schema(name: TableName) -> Result<Schema> {
    let columns = columns(name);
    let mut fields = Vec::new();
    let mut id = 0;
    for (column, kind, is_required) in columns {
        id += 1;
        fields.push(NestedField::new(id, column, Type::Primitive(kind), is_required).into());
    }
    // Elements are numbered behind all columns, as Iceberg numbers a new table's.
    let lists = lists(name);
    let mut element_id = id + lists.len() as i32;
    for (column, kind) in lists {
        (id, element_id) = (id + 1, element_id + 1);
        let element = NestedField::list_element(element_id, Type::Primitive(kind), true).into();
        fields.push(NestedField::new(id, column, Type::List(ListType::new(element)), true).into());
    }
    Schema::builder().with_fields(fields).build().map_err(|error| failed("describe a table", &error))
}

/// The column whose days part the table.
pub(super) fn day(name: TableName) -> &'static str {
    day_column(name)[0]
}

/// The same as a selection of columns.
pub(super) fn day_column(name: TableName) -> &'static [&'static str; 1] {
    match name {
        TableName::Events => &["at"],
        TableName::Impressions => &["asked_at"],
        TableName::DeadLetters => &["received_at"],
    }
}

/// By day; events and impressions by bucket of the user, too, so that one person's rows are found in a few files.
pub(super) fn creation(name: TableName, buckets: u32) -> Result<TableCreation> {
    let schema = schema(name)?;
    let by = |column: &str| -> Result<i32> {
        schema
            .field_id_by_name(column)
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("no column `{column}`")))
    };
    let day = day(name);
    let mut spec = UnboundPartitionSpec::builder();
    let made = |error: iceberg::Error| failed("describe a table's partitions", &error);
    spec = spec.add_partition_field(by(day)?, format!("{day}_day"), Transform::Day).map_err(made)?;
    if name != TableName::DeadLetters {
        spec =
            spec.add_partition_field(by("user")?, "user_bucket", Transform::Bucket(buckets)).map_err(made)?;
    }
    // We try again ourselves: what was committed is looked for before each attempt.
    let properties = [("commit.retry.num-retries", "0"), ("write.parquet.compression-codec", "zstd")];
    Ok(TableCreation::builder()
        .name(name.name().to_owned())
        .schema(schema)
        .partition_spec(spec.build())
        .properties(properties.map(|(key, value)| (key.to_owned(), value.to_owned())))
        .build())
}

/// Whether a table that was there has the columns that this build writes; it may have more, if no row must have them.
pub(super) fn check(name: TableName, table: &Table) -> Result<()> {
    let wanted = schema(name)?;
    let found = table.metadata().current_schema();
    let wrong = |column: &str, message: String| {
        Err(Error::new(ErrorKind::Data, message)
            .field(format!("{}.{column}", name.name()))
            .next_step("move the lake's folder away, or use the version of foretap that made it"))
    };
    for field in wanted.as_struct().fields() {
        match found.field_by_id(field.id) {
            None => return wrong(&field.name, "the table has no such column".to_owned()),
            Some(other) if other.name != field.name || other.field_type != field.field_type => {
                let message =
                    format!("the table's column {} is `{}` {}", field.id, other.name, other.field_type);
                return wrong(&field.name, message);
            }
            Some(_) => {}
        }
    }
    for field in found.as_struct().fields() {
        if field.required && wanted.field_by_id(field.id).is_none() {
            return wrong(
                &field.name,
                "every row must have this column, which this build does not know".to_owned(),
            );
        }
    }
    Ok(())
}

/// Tags of a table: name -> snapshot.
pub(super) fn tags(metadata: &TableMetadata) -> Result<BTreeMap<String, i64>> {
    // `iceberg` shows references one by one, by their names: the metadata's own JSON has them all.
    let json = serde_json::to_value(metadata).map_err(|error| {
        Error::new(ErrorKind::Data, format!("the table's metadata cannot be read: {error}"))
    })?;
    let references = json.get("refs").and_then(serde_json::Value::as_object);
    let tag = |(name, reference): (&String, &serde_json::Value)| {
        let snapshot = reference.get("snapshot-id")?.as_i64()?;
        (reference.get("type")?.as_str()? == "tag").then(|| (name.clone(), snapshot))
    };
    Ok(references.map(|references| references.iter().filter_map(tag).collect()).unwrap_or_default())
}
