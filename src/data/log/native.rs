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
//! | `user` | required | `u` and 16 hexadecimal digits is a hashed id and kept; anything else is hashed on reading |
//! | `at` | required | whole seconds since 1970-01-01 UTC |
//! | `utc_offset_secs` | optional | local time minus UTC; without it the `--time-zone`, or 0 |
//! | `signal` | required | `launch`, `close`, `notification`, `unlock`, `screen_on` or `screen_off` |
//! | `app` | for the first three | the app's name, or any id that stays the same |
//! | `place` | optional | a geohash, cut to city level on reading |
//! | `battery_percent`, `charging`, `network` | optional | 0 to 100; `true`, `false`; `offline`, `wifi`, `cellular` |
//!
//! CSV columns come in any order; a column that is not listed is an error, so that a misspelt one is not lost.
//! What is empty or left out is unknown. Rows of one second stay in the file's order. One record is one line:
//! a name with a line break can only be written as JSON Lines. Reading what was written gives the same log.

use std::borrow::Cow;
use std::io::Write;

use super::clock::Clock;
use super::draft::{Draft, Problem};
use super::lines::{Lines, quote_comma, split_commas};
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
    let mut header = None;
    while let Some(line) = lines.next()? {
        let is_json = line.text.trim_start().starts_with('{');
        if header.is_none() && !is_json {
            let parsed = Header::parse(line.text).map_err(|problem| {
                Error::new(ErrorKind::Data, problem.message)
                    .file(draft.file)
                    .line(line.number)
                    .field(problem.field)
            });
            header = Some(parsed?);
            continue;
        }
        let row = match &header {
            None => {
                serde_json::from_str(line.text).map_err(|error| Problem::new("row", json_message(&error)))
            }
            Some(header) => header.row(line.text),
        };
        match row.and_then(|row: Row<'_>| row.into_event(draft, &clock)) {
            Ok(event) => {
                if draft.check_time(event.user, event.at.0, line.number)? {
                    draft.push(event, Some(line.number));
                }
            }
            Err(problem) => draft.skip(line, problem)?,
        }
    }
    Ok(())
}

/// A record as the file has it.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
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
        if self.user.is_empty() {
            return Err(Problem::new("user", "empty"));
        }
        let user = draft.user(&self.user);
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
            _ => return Err(Problem::new("app", format!("given for a `{}`, which has none", self.signal))),
        };
        let app = app.ok_or_else(|| Problem::new("app", format!("empty for a `{}`", self.signal)))?;
        Ok(with_app(draft.names.intern(app)))
    }
}

/// Where each column stands.
#[derive(Debug)]
pub(super) struct Header {
    columns: Vec<usize>,
}

impl Header {
    pub fn parse(line: &str) -> std::result::Result<Self, Problem> {
        let names = split_commas(line).unwrap_or_default();
        let known = COLUMNS.join(", ");
        let mut columns: Vec<usize> = Vec::new();
        for name in &names {
            let column = COLUMNS.iter().position(|known| *known == name.trim());
            let column = column.filter(|column| !columns.contains(column));
            columns.push(
                column.ok_or_else(|| Problem::not("header", name, &format!("one of {known}, each once")))?,
            );
        }
        for (column, required) in [(0, "user"), (1, "at"), (3, "signal")] {
            if !columns.contains(&column) {
                return Err(Problem::new("header", format!("column `{required}` is missing")));
            }
        }
        Ok(Self { columns })
    }

    /// The text of the `user` field of a row, if the row can be taken apart.
    pub fn user<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let user = self.columns.iter().position(|&column| column == 0)?;
        let fields = split_commas(text)?;
        if fields.len() == self.columns.len() { fields.into_iter().nth(user) } else { None }
    }

    fn row<'a>(&self, text: &'a str) -> std::result::Result<Row<'a>, Problem> {
        let fields = split_commas(text).ok_or_else(|| Problem::new("row", "a quote is missing"))?;
        if fields.len() != self.columns.len() {
            let message = format!("{} columns instead of {}", fields.len(), self.columns.len());
            return Err(Problem::new("row", message));
        }
        let mut row = Row::default();
        let mut has_at = false;
        for (&column, field) in self.columns.iter().zip(fields) {
            if field.is_empty() {
                continue;
            }
            let number = |name, expected| {
                field.trim().parse::<i64>().map_err(|_| Problem::not(name, &field, expected))
            };
            match column {
                0 => row.user = field,
                1 => {
                    row.at = number("at", "whole seconds since 1970 in UTC")?;
                    has_at = true;
                }
                2 => {
                    let secs = number("utc_offset_secs", "whole seconds")?;
                    row.utc_offset_secs = Some(i32::try_from(secs).unwrap_or(i32::MAX));
                }
                3 => row.signal = field,
                4 => row.app = Some(field),
                5 => row.place = Some(field),
                6 => {
                    let percent = number("battery_percent", "from 0 to 100")?;
                    row.battery_percent = Some(u8::try_from(percent).unwrap_or(u8::MAX));
                }
                7 => {
                    let charging = field.trim().parse();
                    row.charging =
                        Some(charging.map_err(|_| Problem::not("charging", &field, "true or false"))?);
                }
                _ => row.network = Some(field),
            }
        }
        if has_at { Ok(row) } else { Err(Problem::new("at", "empty")) }
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

/// serde_json's message without its "at line 1 column 9": the line is ours to name.
fn json_message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or(&message).to_owned()
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
    let failed =
        |error: std::io::Error| Error::new(ErrorKind::Io, format!("cannot write: {error}")).source(error);
    if !as_json {
        writeln!(out, "{}", COLUMNS.join(",")).map_err(failed)?;
    }
    let mut user = (None, String::new());
    for event in events {
        if user.0 != Some(event.user) {
            user = (Some(event.user), event.user.to_string());
        }
        let row = row_of(event, &user.1, vocabulary)?;
        if as_json {
            let json = serde_json::to_string(&row)
                .map_err(|error| Error::new(ErrorKind::Io, "cannot write a row as JSON").source(error))?;
            writeln!(out, "{json}").map_err(failed)?;
        } else {
            write_csv(out, &row)?.map_err(failed)?;
        }
    }
    Ok(())
}

fn row_of<'a>(event: &Event, user: &'a str, vocabulary: &'a Vocabulary) -> Result<Row<'a>> {
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
        user: Cow::Borrowed(user),
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

fn write_csv(out: &mut dyn Write, row: &Row<'_>) -> Result<std::io::Result<()>> {
    let app = row.app.as_deref().unwrap_or_default();
    if app.contains(['\n', '\r']) {
        return Err(Error::new(ErrorKind::Data, format!("the app name {app:?} has a line break"))
            .next_step("write JSON Lines (.jsonl) instead"));
    }
    let text = |value: Option<String>| value.unwrap_or_default();
    Ok(writeln!(
        out,
        "{},{},{},{},{},{},{},{},{}",
        row.user,
        row.at,
        text(row.utc_offset_secs.map(|secs| secs.to_string())),
        row.signal,
        quote_comma(app),
        row.place.as_deref().unwrap_or_default(),
        text(row.battery_percent.map(|percent| percent.to_string())),
        text(row.charging.map(|charging| charging.to_string())),
        row.network.as_deref().unwrap_or_default(),
    ))
}
