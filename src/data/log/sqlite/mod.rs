//! Logs that are SQLite databases: AWARE's, an iPhone's `knowledgeC.db`, ActivityWatch's own.
//!
//! | database | tables | read as |
//! | --- | --- | --- |
//! | AWARE, on the phone or merged by a study | `screen`, `applications_foreground`, .. | [`table`], by their columns; with [`LogOptions::columns`], each table that has them |
//! | iPhone, iPad | `ZOBJECT` | [`knowledge_c`] |
//! | ActivityWatch, `aw-server-rust` (also on Android) | `buckets`, `events`: nanoseconds since 1970 | [`activity_watch`] |
//! | ActivityWatch, `aw-server` (`peewee-sqlite.v2.db`) | `bucketmodel`, `eventmodel`: times as text | [`activity_watch`] |
//!
//! What stands beside the database stays as it is: one that keeps its newest rows in a file of their own (`-wal`), or that is
//! packed, is copied to a temporary folder first. A row is named by its table and its id, of AWARE's tables by its number.
//!
//! Source: `aware-core/src/main/java/com/aware/providers` of denzilferreira/aware-client; `aw-datastore/src/datastore.rs` of
//! ActivityWatch/aw-server-rust, versions 1 to 6; `aw_datastore/storages/peewee.py` of ActivityWatch/aw-core.

mod knowledge_c;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::activity_watch::{self, Bucket, Data, Export, Item, Origin};
use super::draft::{Draft, Problem, RowPlace};
use super::lines::Lines;
use super::table::{Rows, Table};
use super::{LogFormat, LogOptions, SQLITE};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Silent;
use crate::storage::open_text;

/// A database that is open for reading.
pub(super) struct Database {
    connection: Connection,
    file: PathBuf,
    /// Where its copy is, as long as it is open.
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    /// Opens the database in `file`, whose first bytes `lines` has.
    ///
    /// # Errors
    /// It cannot be opened or copied.
    pub fn open(file: &Path, lines: &Lines<'_>) -> Result<Self> {
        // The header says at byte 18 whether rows are written ahead, into another file.
        let writes_ahead = lines.starts_with().get(18) == Some(&2);
        let is_packed = !begins_with(file, SQLITE).map_err(|error| Error::io(file, "read the log", error))?;
        let mut folder = None;
        let mut path = file.to_path_buf();
        if writes_ahead || is_packed {
            let copied = copy(file).map_err(|error| {
                Error::io(file, "copy the database to a temporary folder", error)
                    .next_step("make room there, or set TMPDIR to another folder")
            })?;
            path = copied.path().join(COPY);
            folder = Some(copied);
        }
        let flags = if folder.is_some() {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        };
        let opened = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let safe = opened.and_then(|connection| {
            // A database may come from anywhere: nothing in its schema is run.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            Ok(connection)
        });
        let connection = safe.map_err(|error| broken(file, &error))?;
        Ok(Self { connection, file: file.to_path_buf(), _folder: folder })
    }

    /// What the database is, checked against what the options say.
    ///
    /// # Errors
    /// It cannot be read, is no log, or another one than was said.
    pub fn format(&self, options: &LogOptions) -> Result<LogFormat> {
        let tables = self.tables()?;
        let has = |name: &str| tables.iter().any(|table| table == name);
        let found = if options.columns.is_some() {
            Some(LogFormat::Table)
        } else if has("ZOBJECT") {
            Some(LogFormat::KnowledgeC)
        } else if ACTIVITY_WATCH.iter().any(|stored| has(stored.buckets) && has(stored.events)) {
            Some(LogFormat::ActivityWatch)
        } else {
            (!self.event_tables(options)?.is_empty()).then_some(LogFormat::Table)
        };
        let wrong = |message: String, next_step: String| {
            Err(Error::new(ErrorKind::Data, message).file(&self.file).next_step(next_step))
        };
        match (options.format, found) {
            (Some(declared), Some(found)) if declared != found => wrong(
                format!("this database is not in the format {declared}"),
                format!("it looks like {found}: name that with --format {found}"),
            ),
            (_, Some(found)) => Ok(found),
            (_, None) => wrong(
                format!("no log that is known in this SQLite database; its tables are {}", some(&tables)),
                "say which column is what with --columns or --mapping: each table that has them is read"
                    .to_owned(),
            ),
        }
    }

    /// Reads it as `format`.
    ///
    /// # Errors
    /// It is damaged, or a row cannot be used and the options are strict.
    pub fn read(self, format: LogFormat, draft: &mut Draft<'_>) -> Result<()> {
        match format {
            LogFormat::KnowledgeC => knowledge_c::read(&self, draft),
            LogFormat::ActivityWatch => self.read_activity_watch(draft),
            _ => self.read_tables(draft),
        }
    }

    fn broken(&self, error: &rusqlite::Error) -> Error {
        broken(&self.file, error)
    }

    fn tables(&self) -> Result<Vec<String>> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let names = self.connection.prepare(sql).and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        });
        names.map_err(|error| self.broken(&error))
    }

    fn columns(&self, table: &str) -> Result<Vec<String>> {
        let statement = self.connection.prepare(&format!("SELECT * FROM {} LIMIT 0", quoted(table)));
        let statement = statement.map_err(|error| self.broken(&error))?;
        Ok(statement.column_names().into_iter().map(str::to_owned).collect())
    }

    /// The tables with events or readings, in the order in which those of one second happen.
    fn event_tables(&self, options: &LogOptions) -> Result<Vec<(String, Table)>> {
        let mut found = Vec::new();
        for name in self.tables()? {
            let columns = self.columns(&name)?;
            found.extend(Table::of_columns(&columns, options).map(|table| (name, table)));
        }
        found.sort_by_key(|(_, table)| table.rank());
        Ok(found)
    }

    fn read_tables(&self, draft: &mut Draft<'_>) -> Result<()> {
        let tables = self.event_tables(draft.options)?;
        if tables.is_empty() {
            let message = format!("no table has these columns; the tables are {}", some(&self.tables()?));
            return Err(Error::new(ErrorKind::Data, message).file(&self.file).field("--columns"));
        }
        for (name, table) in tables {
            draft.begin_table();
            let mut rows = Rows::new(table, draft)?;
            let mut statement = self
                .connection
                .prepare(&format!("SELECT * FROM {}", quoted(&name)))
                .map_err(|error| self.broken(&error))?;
            let count = statement.column_count();
            let mut fields = vec![String::new(); count];
            let mut found = statement.query([]).map_err(|error| self.broken(&error))?;
            let mut number = 0;
            while let Some(row) = found.next().map_err(|error| self.broken(&error))? {
                number += 1;
                let place = RowPlace::Row(&name, number);
                let mut is_text = true;
                for (index, field) in fields.iter_mut().enumerate() {
                    is_text &= row.get_ref(index).is_ok_and(|value| write_text(value, field));
                }
                let taken = if is_text {
                    let field = |index: usize| fields.get(index).map(String::as_str);
                    rows.take(count, field, place, draft)?
                } else {
                    Err(Problem::new("row", "not UTF-8, or no text"))
                };
                if let Err(problem) = taken {
                    draft.skip_at(place, problem)?;
                }
            }
            rows.name_unknown(draft);
        }
        Ok(())
    }

    fn read_activity_watch(&self, draft: &mut Draft<'_>) -> Result<()> {
        let tables = self.tables()?;
        let stored =
            ACTIVITY_WATCH.into_iter().find(|stored| tables.iter().any(|table| table == stored.events));
        let Some(stored) = stored else { return Ok(()) };
        let export = stored.export(&self.connection).map_err(|error| self.broken(&error))?;
        activity_watch::write(export, Origin::Table(stored.events), draft)
    }
}

/// A way in which ActivityWatch keeps what it exports.
#[derive(Clone, Copy)]
struct Stored {
    buckets: &'static str,
    events: &'static str,
    /// Key, name, type and host of each bucket.
    bucket_sql: &'static str,
    /// Id, begin, and end or duration of each event of a bucket, and its data; the newest first, as exports have it.
    event_sql: &'static str,
    in_nanos: bool,
}

const ACTIVITY_WATCH: [Stored; 2] = [
    Stored {
        buckets: "buckets",
        events: "events",
        bucket_sql: "SELECT id, name, type, hostname FROM buckets",
        event_sql: "SELECT id, starttime, endtime, data FROM events WHERE bucketrow = ?1 ORDER BY starttime DESC, id DESC",
        in_nanos: true,
    },
    Stored {
        buckets: "bucketmodel",
        events: "eventmodel",
        bucket_sql: "SELECT \"key\", id, type, hostname FROM bucketmodel",
        event_sql: "SELECT id, timestamp, duration, datastr FROM eventmodel WHERE bucket_id = ?1 ORDER BY timestamp DESC, id DESC",
        in_nanos: false,
    },
];

impl Stored {
    /// The same as an export has.
    fn export(self, connection: &Connection) -> rusqlite::Result<Export> {
        let mut export = Export::default();
        let mut buckets = connection.prepare(self.bucket_sql)?;
        let mut events = connection.prepare(self.event_sql)?;
        let mut found = buckets.query([])?;
        while let Some(row) = found.next()? {
            let key: i64 = row.get(0)?;
            let (name, kind, host): (String, String, Option<String>) =
                (row.get(1)?, row.get(2)?, row.get(3)?);
            let items = events.query_map([key], |row| {
                let id = row.get(0)?;
                let mut text = [const { String::new() }; 3];
                for (index, text) in text.iter_mut().enumerate() {
                    // What is no text is no time either, and is counted as such.
                    write_text(row.get_ref(index + 1)?, text);
                }
                Ok(self.item(id, text))
            })?;
            let events = items.collect::<rusqlite::Result<Vec<Item>>>()?;
            export.buckets.insert(name, Bucket { kind, hostname: host, events });
        }
        Ok(export)
    }

    fn item(self, id: i64, [begin, rest, data]: [String; 3]) -> Item {
        let data: Data = serde_json::from_str(&data).unwrap_or_default();
        if !self.in_nanos {
            return Item::Event { id: Some(id), timestamp: begin, duration: rest.parse().ok(), data };
        }
        let nanos = begin.parse::<i64>().ok().zip(rest.parse::<i64>().ok());
        let moment = nanos.and_then(|(begin, _)| jiff::Timestamp::from_nanosecond(i128::from(begin)).ok());
        let duration = nanos.map(|(begin, end)| (i128::from(end) - i128::from(begin)) as f64 / 1e9);
        let timestamp = moment.map_or(begin, |moment| moment.to_string());
        Item::Event { id: Some(id), timestamp, duration, data }
    }
}

/// Writes a value as text; whether it is one.
fn write_text(value: ValueRef<'_>, text: &mut String) -> bool {
    use std::fmt::Write as _;
    text.clear();
    match value {
        ValueRef::Null => true,
        ValueRef::Integer(number) => write!(text, "{number}").is_ok(),
        ValueRef::Real(number) => write!(text, "{number}").is_ok(),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map(|bytes| text.push_str(bytes)).is_ok(),
        // What nobody asks for may be anything.
        ValueRef::Blob(_) => true,
    }
}

/// The first of these names.
fn some(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(10).map(|name| super::lines::excerpt(name, 60)).collect();
    let more = if names.len() > first.len() { ", .." } else { "" };
    format!("{}{more}", first.join(", "))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn begins_with(file: &Path, start: &[u8]) -> io::Result<bool> {
    let mut found = Vec::new();
    File::open(file)?.take(start.len() as u64).read_to_end(&mut found)?;
    Ok(found == start)
}

/// The name of a copy.
const COPY: &str = "log.db";

/// Copies the database, unpacked, with the rows that are not in it yet.
fn copy(file: &Path) -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let to = folder.path().join(COPY);
    let mut reader = open_text(file, "read the log", &Silent).map_err(io::Error::other)?;
    io::copy(&mut reader, &mut File::create(&to)?)?;
    let mut ahead = file.as_os_str().to_owned();
    ahead.push("-wal");
    if Path::new(&ahead).is_file() {
        fs::copy(&ahead, folder.path().join(format!("{COPY}-wal")))?;
    }
    Ok(folder)
}

fn broken(file: &Path, error: &rusqlite::Error) -> Error {
    Error::new(ErrorKind::Data, format!("this SQLite database cannot be read: {error}"))
        .file(file)
        .next_step("copy it again while nothing writes to it, with the file beside it that ends in -wal")
}
