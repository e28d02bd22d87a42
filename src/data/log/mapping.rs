//! How to read a study's table, in a file: what `--columns`, `--signals` and other flags say, kept beside the data.
//!
//! ```toml
//! # study.toml
//! unit = "ms"                  # of times that are numbers: s, ms or us
//! zone = "Europe/Paris"        # of times that are dates
//! date_order = "dmy"           # ymd, mdy or dmy
//! person = "ann"               # all files are hers
//! home = ["com.study.kiosk"]   # apps that are home screens
//! keep_home = false
//! profiles = "apps"            # or "people"
//!
//! [columns]                    # at, and app or signal, are required
//! user = "device_id"
//! at = "timestamp"
//! signal = "event"
//! app = "application_name"
//! duration = "seconds"
//!
//! [signals]                    # values of the column signal
//! 3 = "unlock"
//! "app opened" = "launch"
//! battery = "ignore"
//! ```
//!
//! Every key may be left out, and a key that is not listed is refused. Each means what the field of
//! [`LogOptions`](super::LogOptions) of its name does; `zone` is [`LogOptions::time_zone`](super::LogOptions::time_zone).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use super::LogOptions;
use super::lines::excerpt;
use super::table::{SignalName, TableColumns};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::TomlFile;

const KEYS: &str =
    "the keys are columns, signals, unit, zone, date_order, person, home, keep_home and profiles";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    columns: Option<Spanned<Columns>>,
    #[serde(default)]
    signals: BTreeMap<Spanned<String>, Spanned<String>>,
    unit: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    date_order: Option<Spanned<String>>,
    person: Option<String>,
    #[serde(default)]
    home: Vec<String>,
    keep_home: Option<bool>,
    profiles: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    user: Option<String>,
    at: String,
    signal: Option<String>,
    app: Option<String>,
    duration: Option<String>,
}

impl LogOptions {
    /// These options with what a mapping file says in their place. Its keys are in `src/data/log/mapping.rs`.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key or a value that means nothing.
    pub fn with_mapping(mut self, file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|error| Error::io(file, "read the mapping", error))?;
        let source = TomlFile { file, text: &text };
        let mapping: Mapping = source.parse(KEYS)?;
        match mapping.columns {
            Some(columns) => {
                let line = source.line_of(columns.span().start);
                let Columns { user, at, signal, app, duration } = columns.into_inner();
                let columns = TableColumns { user, at, signal, app, duration };
                self.columns =
                    Some(columns.checked().map_err(|error| source.wrong("columns", line, &error))?);
            }
            None if !mapping.signals.is_empty() => {
                let error = Error::new(ErrorKind::Config, "signals are named, but no columns");
                return Err(error.file(file).field("signals").next_step("name the columns under [columns]"));
            }
            None => {}
        }
        let name = |(value, what): (Spanned<String>, Spanned<String>)| {
            let line = source.line_of(what.span().start);
            SignalName::new(value.get_ref(), what.get_ref())
                .map_err(|error| source.wrong("signals", line, &error))
        };
        let signals = mapping.signals.into_iter().map(name).collect::<Result<Vec<_>>>()?;
        self.signals.extend(signals);
        self.unit = source.parsed("unit", mapping.unit)?.or(self.unit);
        self.date_order = source.parsed("date_order", mapping.date_order)?.or(self.date_order);
        self.profiles = source.parsed("profiles", mapping.profiles)?.unwrap_or(self.profiles);
        if let Some(zone) = mapping.zone {
            let line = source.line_of(zone.span().start);
            super::time_zone(zone.get_ref()).map_err(|error| source.wrong("zone", line, &error))?;
            self.time_zone = Some(zone.into_inner());
        }
        self.person = mapping.person.or(self.person);
        self.home.extend(mapping.home);
        self.keep_home = mapping.keep_home.unwrap_or(self.keep_home);
        Ok(self)
    }
}

impl TomlFile<'_> {
    fn parsed<T: FromStr<Err = Error>>(&self, key: &str, text: Option<Spanned<String>>) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        let line = self.line_of(text.span().start);
        text.get_ref().parse().map(Some).map_err(|error| self.wrong(key, line, &error))
    }

    fn wrong(&self, key: &str, line: u64, error: &dyn Display) -> Error {
        let message = excerpt(&error.to_string(), 1000);
        Error::new(ErrorKind::Config, message).file(self.file).line(line).field(key)
    }
}
