//! The tables' columns and partitions.

use std::collections::BTreeMap;

use foretap::{Error, ErrorKind, Result};
use iceberg::TableCreation;
use iceberg::spec::{
    ListType, NestedField, NestedFieldRef, PrimitiveType, Schema, TableMetadata, Transform, Type,
    UnboundPartitionSpec,
};

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
    /// Who was forgotten.
    Forgotten,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Events, Self::Impressions, Self::DeadLetters, Self::Forgotten];

    /// Its name in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Impressions => "impressions",
            Self::DeadLetters => "dead_letters",
            Self::Forgotten => "forgotten",
        }
    }
}

use PrimitiveType::{Binary, Boolean, Double, Float, Int, Long, String as Text, Timestamptz};

/// Name, type, whether every row has it. A column that is new is optional: tables of older builds get it when they are first
/// written by this one. A column is known by its name: its number is what the table gave it.
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
        TableName::Forgotten => vec![("who", Text, true), ("at", Timestamptz, true)],
    }
}

/// Lists of texts or numbers, behind the other columns.
fn lists(name: TableName) -> Vec<(&'static str, PrimitiveType)> {
    match name {
        TableName::Impressions => vec![("apps", Text), ("probabilities", Double)],
        TableName::Events | TableName::DeadLetters | TableName::Forgotten => Vec::new(),
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

/// The column whose days part the table; of those who were forgotten, its years.
pub(super) fn day(name: TableName) -> &'static str {
    day_column(name)[0]
}

/// The same as a selection of columns.
pub(super) fn day_column(name: TableName) -> &'static [&'static str; 1] {
    match name {
        TableName::Events | TableName::Forgotten => &["at"],
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
    // The list is read whole: it should have few files.
    let (transform, unit) = match name {
        TableName::Forgotten => (Transform::Year, "year"),
        _ => (Transform::Day, "day"),
    };
    let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
    let made = |error: iceberg::Error| failed("describe a table's partitions", &error);
    spec = spec.add_partition_field(by(day)?, format!("{day}_{unit}"), transform).map_err(made)?;
    if matches!(name, TableName::Events | TableName::Impressions) {
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

/// How a table's type is to this build's of the same column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Same,
    /// It takes what we write, once widened.
    Wider,
    /// It may be widened by Iceberg's rules: files that are there are read as before.
    Narrower,
    Different,
}

fn fit(found: &Type, ours: &Type) -> Fit {
    match (found, ours) {
        (Type::Primitive(found), Type::Primitive(ours)) => match (found, ours) {
            (found, ours) if found == ours => Fit::Same,
            (Int, Long) | (Float, Double) => Fit::Narrower,
            (Long, Int) | (Double, Float) => Fit::Wider,
            _ => Fit::Different,
        },
        (Type::List(found), Type::List(ours)) => {
            match fit(&found.element_field.field_type, &ours.element_field.field_type) {
                Fit::Same => Fit::Same,
                _ => Fit::Different,
            }
        }
        _ => Fit::Different,
    }
}

/// A table's columns with what this build writes: optional ones that it lacks, and types that are wide enough. `None` where it has
/// all of that. It may have more columns, if no row must have them.
///
/// # Errors
/// The columns are others.
pub(super) fn evolved(name: TableName, metadata: &TableMetadata) -> Result<Option<Schema>> {
    let (wanted, found) = (schema(name)?, metadata.current_schema());
    let wrong = |column: &str, message: String| {
        Err(Error::new(ErrorKind::Data, message)
            .field(format!("{}.{column}", name.name()))
            .next_step("move the lake's folder away, or use the version of foretap that made it"))
    };
    let mut fields: Vec<NestedFieldRef> = found.as_struct().fields().to_vec();
    let mut last_id = metadata.last_column_id();
    let mut is_changed = false;
    for field in wanted.as_struct().fields() {
        match fields.iter_mut().find(|other| other.name == field.name) {
            Some(other) => match fit(&other.field_type, &field.field_type) {
                Fit::Different => {
                    return wrong(&field.name, format!("the table's type is {}", other.field_type));
                }
                _ if other.required && !field.required => {
                    return wrong(&field.name, "every row of the table must have it".to_owned());
                }
                Fit::Narrower => {
                    let wider =
                        NestedField { field_type: field.field_type.clone(), ..NestedField::clone(other) };
                    (*other, is_changed) = (wider.into(), true);
                }
                Fit::Same | Fit::Wider => {}
            },
            None if field.required => return wrong(&field.name, "the table has no such column".to_owned()),
            None => {
                let is_in_its_place = |other: &&NestedFieldRef| {
                    let is_ours = wanted.field_by_name(&other.name).is_some();
                    !is_ours && fit(&other.field_type, &field.field_type) != Fit::Different
                };
                if let Some(other) = found.field_by_id(field.id).filter(is_in_its_place) {
                    let message = format!("the table has no such column, and `{}` in its place", other.name);
                    return wrong(&field.name, message);
                }
                fields.push(numbered(field, &mut last_id));
                is_changed = true;
            }
        }
    }
    if let Some(other) = found.as_struct().fields().iter().find(|other| {
        let is_ours = wanted.field_by_name(&other.name).is_some();
        other.required && !is_ours
    }) {
        let message = "every row must have this column, which this build does not know".to_owned();
        return wrong(&other.name, message);
    }
    if !is_changed {
        return Ok(None);
    }
    let built =
        Schema::builder().with_fields(fields).with_identifier_field_ids(found.identifier_field_ids()).build();
    built.map(Some).map_err(|error| failed("add columns to a table", &error))
}

/// The column under the next numbers of a table.
fn numbered(field: &NestedField, last_id: &mut i32) -> NestedFieldRef {
    *last_id += 1;
    let id = *last_id;
    let field_type = match &*field.field_type {
        Type::List(list) => {
            *last_id += 1;
            let element = NestedField { id: *last_id, ..NestedField::clone(&list.element_field) };
            Type::List(ListType::new(element.into()))
        }
        other => other.clone(),
    };
    NestedField { id, field_type: Box::new(field_type), ..field.clone() }.into()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use iceberg::spec::TableMetadataBuilder;

    use super::*;

    /// A table whose columns are this build's but for a change.
    fn table(name: TableName, change: impl Fn(&mut Vec<NestedField>)) -> TableMetadata {
        let mut fields: Vec<NestedField> = schema(name)
            .unwrap()
            .as_struct()
            .fields()
            .iter()
            .map(|field| NestedField::clone(field))
            .collect();
        change(&mut fields);
        let schema = Schema::builder().with_fields(fields.into_iter().map(Into::into)).build().unwrap();
        let creation =
            TableCreation::builder().name("t".to_owned()).location("memory:/t".to_owned()).schema(schema);
        TableMetadataBuilder::from_table_creation(creation.build()).unwrap().build().unwrap().metadata
    }

    fn column<'a>(fields: &'a mut [NestedField], name: &str) -> &'a mut NestedField {
        fields.iter_mut().find(|field| field.name == name).unwrap()
    }

    #[test]
    fn a_table_of_an_older_build_gets_what_it_lacks() {
        for name in TableName::ALL {
            assert_eq!(evolved(name, &table(name, |_| {})).unwrap(), None, "{name:?}");
        }
        let older = table(TableName::Events, |fields| {
            fields.retain(|field| field.name != "network");
            *column(fields, "position").field_type = Type::Primitive(Int);
        });
        let newer = evolved(TableName::Events, &older).unwrap().unwrap();
        let network = newer.field_by_name("network").unwrap();
        assert_eq!((network.id, network.required), (14, false), "under the next number, behind the others");
        assert_eq!(*newer.field_by_name("position").unwrap().field_type, Type::Primitive(Long));
        for field in older.current_schema().as_struct().fields() {
            assert_eq!(newer.field_by_name(&field.name).unwrap().id, field.id);
        }
        // What a newer build has more, or has widened, stays.
        let newer = table(TableName::Impressions, |fields| {
            fields.push(NestedField::optional(90, "weather", Type::Primitive(Text)));
        });
        assert_eq!(evolved(TableName::Impressions, &newer).unwrap(), None);
        let wider = table(TableName::Events, |fields| {
            *column(fields, "number").field_type = Type::Primitive(Long);
        });
        assert_eq!(evolved(TableName::Events, &wider).unwrap(), None);
    }

    #[test]
    fn other_columns_are_refused() {
        struct Case {
            change: fn(&mut Vec<NestedField>),
            expected: &'static str,
        }
        let cases = [
            Case { change: |fields| fields.retain(|field| field.name != "user"), expected: "events.user" },
            Case {
                change: |fields| column(fields, "user").name = "person".to_owned(),
                expected: "events.user",
            },
            Case {
                change: |fields| column(fields, "network").name = "net".to_owned(),
                expected: "`net` in its place",
            },
            Case {
                change: |fields| *column(fields, "number").field_type = Type::Primitive(Text),
                expected: "events.number",
            },
            Case { change: |fields| column(fields, "app").required = true, expected: "events.app" },
            Case {
                change: |fields| fields.push(NestedField::required(90, "weather", Type::Primitive(Text))),
                expected: "events.weather",
            },
        ];
        for Case { change, expected } in cases {
            let error =
                evolved(TableName::Events, &table(TableName::Events, change)).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
