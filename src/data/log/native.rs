//! foretap's own log: every field of an [`Event`], as comma-separated text or JSON Lines, plain or gzip.
//!
//! ```text
//! user,at,utc_offset_secs,signal,app,place,battery_percent,charging,network
//! u0011223344556677,1700000000,3600,unlock,,u05kq,71,false,wifi
//! u0011223344556677,1700000000,3600,launch,Mail,u05kq,71,false,wifi
//! ```
//!
//! ```text
//! {"user":"u0011223344556677","at":1700000000,"utc_offset_secs":3600,"signal":"launch","app":"Mail"}
//! ```
//!
//! | field | | meaning |
//! | --- | --- | --- |
//! | `user` | required | `u` and 16 hexadecimal digits is a hashed id and kept; anything else is hashed on reading, without spaces around it |
//! | `at` | required | whole seconds since 1970-01-01 UTC |
//! | `utc_offset_secs` | optional | local time minus UTC; without it the `--time-zone`, or 0 |
//! | `signal` | required | `launch`, `close`, `notification`, `unlock`, `screen_on` or `screen_off` |
//! | `app` | for the first three | the app's name, or any id that stays the same |
//! | `place` | optional | a geohash, cut to city level on reading |
//! | `battery_percent`, `charging`, `network` | optional | 0 to 100; `true`, `false`; `offline`, `wifi`, `cellular` |
//!
//! CSV columns come in any order; a column that is not listed is an error, so that a misspelt one is not lost.
//! What is empty or left out is unknown. Semicolons or tabs may part the columns. Rows of one second stay in the file's
//! order, or in the opposite one where the file runs from the newest to the oldest. What is written is one line a record:
//! a name with a line break can only be written as JSON Lines, though it is read where it is quoted. Reading what was written
//! gives the same log.

use std::borrow::Cow;
use std::io::Write;

use super::clock::Clock;
use super::draft::{Draft, Problem};
use super::lines::{Commas, DELIMITERS, Lines, Quotes, excerpt};
use crate::data::event::{Battery, Event, Network, Signal, Timestamp};
use crate::data::vocabulary::Vocabulary;
use crate::error::{Error, ErrorKind, Result};

const COLUMNS: [&str; 9] =
    ["user", "at", "utc_offset_secs", "signal", "app", "place", "battery_percent", "charging", "network"];

pub(super) fn recognises(head: &[String]) -> bool {
    head.first().is_some_and(|line| {
        let is_json = line.trim_start().starts_with('{') && line.contains("\"signal\"");
        is_json || Header::parse(line).is_ok()
    })
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    let mut form = None;
    while let Some(line) = draft.next_line(lines)? {
        let row = match &mut form {
            Some(Form::Csv(header)) => header.row(line.text),
            Some(Form::Json) => json_row(line.text),
            None if line.text.trim_start().starts_with('{') => {
                form = Some(Form::Json);
                json_row(line.text)
            }
            None => {
                let header = Header::parse(line.text).map_err(|problem| {
                    Error::new(ErrorKind::Data, problem.message)
                        .file(draft.file)
                        .line(line.number)
                        .field(problem.field)
                });
                let header = header?;
                let Quotes { delimiter, columns } = header.quotes();
                form = Some(Form::Csv(header));
                lines.join_quoted(delimiter, columns);
                continue;
            }
        };
        match row.and_then(|row| row.into_event(draft, &clock)) {
            Ok(event) => {
                if draft.check_time(event.user, event.at.0, line.number)? {
                    draft.push(event, Some(line.number));
                }
            }
            Err(problem) => draft.skip(line, problem)?,
        }
    }
    draft.turn_if_newest_first();
    Ok(())
}

/// How a file writes its rows: its first line tells.
enum Form {
    Csv(Header),
    Json,
}

/// A record as the file has it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    utc_offset_secs: Option<i32>,
    #[serde(borrow)]
    signal: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    app: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    place: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    battery_percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    charging: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    network: Option<Cow<'a, str>>,
}

impl<'a> Row<'a> {
    fn into_event(self, draft: &mut Draft<'_>, clock: &Clock) -> std::result::Result<Event, Problem> {
        let user = self.user.trim();
        if user.is_empty() {
            return Err(Problem::new("user", "empty"));
        }
        let user = draft.user(user);
        let utc_offset_secs = self.utc_offset_secs.unwrap_or_else(|| clock.offset_secs(self.at));
        if utc_offset_secs.unsigned_abs() > 18 * 3600 {
            return Err(Problem::not("utc_offset_secs", &utc_offset_secs.to_string(), "within 18 hours"));
        }
        let place = match self.place.as_deref().filter(|place| !place.is_empty()) {
            Some(text) => Some(
                draft.options.grid.coarsen(text).ok_or_else(|| Problem::not("place", text, "a geohash"))?,
            ),
            None => None,
        };
        if let Some(percent) = self.battery_percent.filter(|&percent| percent > 100) {
            return Err(Problem::not("battery_percent", &percent.to_string(), "from 0 to 100"));
        }
        let network = match self.network.as_deref().unwrap_or_default() {
            "" => Network::Unknown,
            "offline" => Network::Offline,
            "wifi" => Network::Wifi,
            "cellular" => Network::Cellular,
            other => return Err(Problem::not("network", other, "offline, wifi or cellular")),
        };
        // Last, so that a row that is skipped names no app.
        let signal = self.signal(draft)?;
        let battery = Battery { percent: self.battery_percent, charging: self.charging };
        Ok(Event { user, at: Timestamp(self.at), utc_offset_secs, signal, place, battery, network })
    }

    fn signal(&self, draft: &mut Draft<'_>) -> std::result::Result<Signal, Problem> {
        let app = self.app.as_deref().filter(|app| !app.is_empty());
        let with_app = match self.signal.as_ref() {
            "launch" => Signal::Launch,
            "close" => Signal::Close,
            "notification" => Signal::Notification,
            screen if app.is_none() => {
                return match screen {
                    "unlock" => Ok(Signal::Unlock),
                    "screen_on" => Ok(Signal::ScreenOn),
                    "screen_off" => Ok(Signal::ScreenOff),
                    _ => Err(Problem::not(
                        "signal",
                        screen,
                        "launch, close, notification, unlock, screen_on or screen_off",
                    )),
                };
            }
            screen => {
                let message = format!("given for a `{}`, which has none", excerpt(screen, 60));
                return Err(Problem::new("app", message));
            }
        };
        let app = app.ok_or_else(|| Problem::new("app", format!("empty for a `{}`", self.signal)))?;
        Ok(with_app(draft.names.intern(app)))
    }
}

/// The columns of a CSV file, and what takes its rows apart.
pub(super) struct Header {
    columns: csv::StringRecord,
    commas: Commas,
}

impl Header {
    pub fn parse(line: &str) -> std::result::Result<Self, Problem> {
        let [usual, others @ ..] = DELIMITERS;
        let other = || others.into_iter().find_map(|delimiter| Self::of(line, delimiter).ok());
        Self::of(line, usual).or_else(|problem| other().ok_or(problem))
    }

    fn of(line: &str, delimiter: u8) -> std::result::Result<Self, Problem> {
        let mut commas = Commas::new(delimiter);
        let mut columns = commas.split(line).cloned().unwrap_or_default();
        columns.trim();
        for (index, name) in columns.iter().enumerate() {
            let again = columns.iter().take(index).any(|earlier| earlier == name);
            if again || !COLUMNS.contains(&name) {
                let known = COLUMNS.join(", ");
                return Err(Problem::not("header", name, &format!("one of {known}, each once")));
            }
        }
        for required in ["user", "at", "signal"] {
            if !columns.iter().any(|name| name == required) {
                return Err(Problem::new("header", format!("column `{required}` is missing")));
            }
        }
        Ok(Self { columns, commas })
    }

    /// How the rows are quoted.
    pub fn quotes(&self) -> Quotes {
        Quotes { delimiter: self.commas.delimiter(), columns: self.columns.len() }
    }

    /// The text of the `user` field of a row, if the row can be taken apart.
    pub fn user(&mut self, text: &str) -> Option<&str> {
        let user = self.columns.iter().position(|name| name == "user")?;
        self.commas.split(text).filter(|fields| fields.len() == self.columns.len())?.get(user)
    }

    fn row(&mut self, text: &str) -> std::result::Result<Row<'_>, Problem> {
        let fields = self.commas.split(text).ok_or_else(|| Problem::new("row", "a quote is missing"))?;
        if fields.len() != self.columns.len() {
            let message = format!("{} columns instead of {}", fields.len(), self.columns.len());
            return Err(Problem::new("row", message));
        }
        fields.deserialize(Some(&self.columns)).map_err(|error| csv_problem(&error, fields, &self.columns))
    }
}

/// csv's error with the name of the column and what belongs there.
fn csv_problem(error: &csv::Error, fields: &csv::StringRecord, columns: &csv::StringRecord) -> Problem {
    const NOT_TEXT: [(&str, &str); 4] = [
        ("at", "whole seconds since 1970 in UTC"),
        ("utc_offset_secs", "whole seconds"),
        ("battery_percent", "from 0 to 100"),
        ("charging", "true or false"),
    ];
    let index = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.field().and_then(|index| usize::try_from(index).ok()),
        _ => None,
    };
    let name = index.and_then(|index| columns.get(index));
    match NOT_TEXT.into_iter().find(|&(column, _)| Some(column) == name) {
        Some((column, expected)) => {
            Problem::not(column, index.and_then(|index| fields.get(index)).unwrap_or_default(), expected)
        }
        None => Problem::new("row", error.to_string()),
    }
}

/// The text of the `user` field of a JSON record.
pub(super) fn json_user(text: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Owner<'a> {
        #[serde(borrow)]
        user: Cow<'a, str>,
    }
    serde_json::from_str::<Owner<'_>>(text).ok().map(|row| row.user)
}

fn json_row(text: &str) -> std::result::Result<Row<'_>, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        // Without its "at line 1 column 9": the line is ours to name.
        let message = message.split(" at line ").next().unwrap_or(&message);
        Problem::new("row", excerpt(message, 200))
    })
}

/// Writes one line an event, after the CSV header.
///
/// # Errors
/// A write fails, or an app's name cannot be written in this form.
pub(super) fn write(
    out: &mut dyn Write,
    events: &[Event],
    vocabulary: &Vocabulary,
    as_json: bool,
) -> Result<()> {
    let rows = events.iter().map(|event| row_of(event, vocabulary));
    if as_json { write_json(out, rows) } else { write_csv(out, rows) }
}

fn write_json<'a>(mut out: &mut dyn Write, rows: impl Iterator<Item = Result<Row<'a>>>) -> Result<()> {
    for row in rows {
        serde_json::to_writer(&mut out, &row?).map_err(std::io::Error::from).map_err(cannot_write)?;
        out.write_all(b"\n").map_err(cannot_write)?;
    }
    Ok(())
}

fn write_csv<'a>(out: &mut dyn Write, rows: impl Iterator<Item = Result<Row<'a>>>) -> Result<()> {
    let failed = |error: csv::Error| cannot_write(error.into());
    let mut out = csv::Writer::from_writer(out);
    out.write_record(COLUMNS).map_err(failed)?;
    for row in rows {
        let Row { user, at, utc_offset_secs, signal, app, place, battery_percent, charging, network } = row?;
        let name = app.as_deref().unwrap_or_default();
        if name.contains(['\n', '\r']) {
            let message = format!("the app name `{}` has a line break", excerpt(name, 60));
            return Err(Error::new(ErrorKind::Data, message).next_step("write JSON Lines (.jsonl) instead"));
        }
        // Not the row itself, which leaves out what is unknown: a record has all its columns, in COLUMNS' order.
        out.serialize((user, at, utc_offset_secs, signal, app, place, battery_percent, charging, network))
            .map_err(failed)?;
    }
    out.flush().map_err(cannot_write)
}

pub(super) fn cannot_write(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write: {error}")).source(error)
}

fn row_of<'a>(event: &Event, vocabulary: &'a Vocabulary) -> Result<Row<'a>> {
    let (signal, app) = match event.signal {
        Signal::Launch(app) => ("launch", Some(app)),
        Signal::Close(app) => ("close", Some(app)),
        Signal::Notification(app) => ("notification", Some(app)),
        Signal::Unlock => ("unlock", None),
        Signal::ScreenOn => ("screen_on", None),
        Signal::ScreenOff => ("screen_off", None),
    };
    if app.is_some_and(|app| app.0 as usize >= vocabulary.len()) {
        return Err(Error::new(ErrorKind::Config, "the log names an app that the vocabulary lacks")
            .next_step("write it with the vocabulary that it was read into"));
    }
    let network = match event.network {
        Network::Unknown => None,
        Network::Offline => Some("offline"),
        Network::Wifi => Some("wifi"),
        Network::Cellular => Some("cellular"),
    };
    Ok(Row {
        user: Cow::Owned(event.user.to_string()),
        at: event.at.0,
        utc_offset_secs: Some(event.utc_offset_secs),
        signal: Cow::Borrowed(signal),
        app: app.map(|app| Cow::Borrowed(vocabulary.name(app))),
        place: event.place.map(|place| Cow::Owned(place.to_string())),
        battery_percent: event.battery.percent,
        charging: event.battery.charging,
        network: network.map(Cow::Borrowed),
    })
}
