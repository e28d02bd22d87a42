//! Any other table: which column is what is said by whoever knows the study, or known of AWARE's tables.
//!
//! ```text
//! --columns user=device_id,at=timestamp,app=application_name --unit ms
//! --columns user=subject,at=time,signal=event,app=app --signals open=launch,close=close,unlock=unlock
//! ```
//!
//! | what | |
//! | --- | --- |
//! | `at` | required: seconds, milliseconds or microseconds since 1970 (`--unit`, by default inferred from their size), or a date and time, in the zone of the log where it names none |
//! | `user` | optional: whose row it is; without it, the file's name |
//! | `signal` | optional: what happened; without it every row is a `launch` |
//! | `app` | required for a launch, a close and a notification |
//! | `duration` | optional: for how long an app stayed, in seconds or in what `--unit` says; a `close` comes then, or with the next launch |
//!
//! What `signal` says is one of the native format's signals, or what `--signals` makes one of it; `ignore` leaves rows out.
//! The columns have a header, in any order, parted by commas, semicolons or tabs; those that are not named are not read.
//!
//! Numbers have a decimal point, or a decimal comma where commas do not part the columns. A quoted field may hold line breaks.
//!
//!
//! Tables of AWARE are known by their columns ([`aware`](super::aware)).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Time};

use super::LogOptions;
use super::aware;
use super::clock::{Clock, DateNumbers, DateOrder};
use super::draft::{BELIEVABLE_SECS, Draft, Problem, RowPlace, event};
use super::lines::{Commas, DELIMITERS, Lines, excerpt};
use super::locale::time_of_day;
use super::readings::Reading;
use crate::data::event::{Signal, Timestamp, UserId};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Silent;

/// Which column of a table is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumns {
    pub(super) user: Option<String>,
    pub(super) at: String,
    pub(super) signal: Option<String>,
    pub(super) app: Option<String>,
    pub(super) duration: Option<String>,
}

impl FromStr for TableColumns {
    type Err = Error;

    /// Reads `user=device_id,at=timestamp,app=name`.
    fn from_str(text: &str) -> Result<Self> {
        let mut columns = Self { user: None, at: String::new(), signal: None, app: None, duration: None };
        for pair in text.split(',') {
            let pair = pair.trim();
            let Some((what, name)) = pair.split_once('=').map(|(what, name)| (what.trim(), name.trim()))
            else {
                return Err(columns_error(format!("`{pair}` does not say which column is what")));
            };
            let before = match what {
                "user" => columns.user.replace(name.to_owned()),
                "signal" => columns.signal.replace(name.to_owned()),
                "app" => columns.app.replace(name.to_owned()),
                "duration" => columns.duration.replace(name.to_owned()),
                "at" => Some(std::mem::replace(&mut columns.at, name.to_owned())).filter(|at| !at.is_empty()),
                _ => {
                    let message = format!("there is nothing called `{what}` in a log, as `{pair}` has it");
                    return Err(columns_error(message));
                }
            };
            if let Some(before) = before {
                return Err(columns_error(format!("`{what}` is named twice: `{before}` and `{name}`")));
            }
        }
        columns.checked()
    }
}

impl TableColumns {
    /// The same, if something can be read from it.
    ///
    /// # Errors
    /// A column is missing or has no name.
    pub(super) fn checked(self) -> Result<Self> {
        if self.at.is_empty() {
            return Err(columns_error("no column is named for `at`".to_owned()));
        }
        let named = [
            ("user", &self.user),
            ("signal", &self.signal),
            ("app", &self.app),
            ("duration", &self.duration),
        ];
        if let Some((what, _)) = named.iter().find(|(_, name)| name.as_deref() == Some("")) {
            return Err(columns_error(format!("the column of `{what}` has no name")));
        }
        if self.app.is_none() && self.signal.is_none() {
            let message = "neither `app` nor `signal` has a column: nothing happens then";
            return Err(columns_error(message.to_owned()));
        }
        Ok(self)
    }
}

fn columns_error(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
        .next_step("name columns as in user=device_id,at=timestamp,signal=event,app=name,duration=seconds")
}

/// What a value of the column `signal` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalName {
    value: String,
    what: What,
}

impl FromStr for SignalName {
    type Err = Error;

    /// Reads `open=launch`.
    fn from_str(text: &str) -> Result<Self> {
        let pair = text.split_once('=').map(|(value, what)| (value.trim(), what.trim()));
        let (value, what) = pair.ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{text}` does not say what a signal means"))
                .next_step(format!("write value=signal, where signal is {SIGNALS}"))
        })?;
        Self::new(value, what)
    }
}

/// Refuses a value that means two things.
pub(super) fn check_signals(signals: &[SignalName]) -> Result<()> {
    let twice = signals.iter().enumerate().find_map(|(position, later)| {
        let earlier = signals[..position].iter().find(|earlier| earlier.value == later.value)?;
        (earlier.what != later.what).then_some(&later.value)
    });
    match twice {
        None => Ok(()),
        Some(value) => Err(Error::new(ErrorKind::Config, format!("`{value}` means two signals"))
            .field("signals")
            .next_step("name each value once")),
    }
}

/// What a value of the column `signal` may mean.
const SIGNALS: &str = "launch, close, notification, unlock, screen_on, screen_off or ignore";

impl SignalName {
    /// `value` means `what`.
    ///
    /// # Errors
    /// There is no such signal.
    pub(super) fn new(value: &str, what: &str) -> Result<Self> {
        let parsed = What::parse(what).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{what}`, which `{value}` shall mean, is no signal"))
                .next_step(format!("say {SIGNALS}"))
        })?;
        Ok(Self { value: value.to_owned(), what: parsed })
    }
}

/// The unit of times that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Secs,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
}

impl FromStr for TimeUnit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "s" => Ok(Self::Secs),
            "ms" => Ok(Self::Millis),
            "us" => Ok(Self::Micros),
            _ => Err(Error::new(ErrorKind::Config, format!("`{text}` is no unit of time"))
                .next_step("say s, ms or us")),
        }
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secs => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
        })
    }
}

impl TimeUnit {
    pub(super) fn per_sec(self) -> f64 {
        match self {
            Self::Secs => 1.0,
            Self::Millis => 1e3,
            Self::Micros => 1e6,
        }
    }

    /// The unit in which `time` lies between 2000 and 2100, of which there is at most one.
    pub(super) fn of(time: f64) -> Option<Self> {
        [Self::Secs, Self::Millis, Self::Micros]
            .into_iter()
            .find(|unit| BELIEVABLE_SECS.contains(&((time / unit.per_sec()) as i64)))
    }
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Launch,
    Close,
    Notification,
    Unlock,
    ScreenOn,
    ScreenOff,
    Ignore,
    Battery,
    Network,
    Position,
}

impl What {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "launch" => Self::Launch,
            "close" => Self::Close,
            "notification" => Self::Notification,
            "unlock" => Self::Unlock,
            "screen_on" => Self::ScreenOn,
            "screen_off" => Self::ScreenOff,
            "ignore" => Self::Ignore,
            _ => return None,
        })
    }
}

pub(super) fn recognises(head: &[String]) -> bool {
    head.first().is_some_and(|line| header(line, |names| aware::known(names).ok_or(())).is_ok())
}

/// A table: where what is.
pub(super) struct Table {
    columns: usize,
    user: Option<usize>,
    at: usize,
    signal: Option<usize>,
    app: Option<usize>,
    duration: Option<usize>,
    /// What only tables of readings have.
    pub measured: Vec<(&'static str, usize)>,
    rows: What,
    signals: Vec<(String, What)>,
}

impl Table {
    /// A table of a database, if it has the columns that the options name, or else those of a table of AWARE.
    #[cfg(feature = "sqlite")]
    pub fn of_columns(names: &[String], options: &LogOptions) -> Option<Self> {
        match &options.columns {
            Some(columns) => Self::named(names, columns, options).ok(),
            None => aware::known(names),
        }
    }

    /// Where it comes among the tables of a database, of which events of one second are in the order of the tables.
    #[cfg(feature = "sqlite")]
    pub fn rank(&self) -> usize {
        aware::rank(self.rows)
    }

    /// A table with the columns and signals that the options name.
    fn named<'c>(
        names: &[String],
        columns: &'c TableColumns,
        options: &LogOptions,
    ) -> std::result::Result<Self, &'c str> {
        let signals = options.signals.iter().map(|name| (name.value.clone(), name.what)).collect();
        Self::new(names, columns, What::Launch, signals)
    }

    /// A table with these columns, or the name of the one that `names` lacks.
    pub fn new<'c>(
        names: &[String],
        columns: &'c TableColumns,
        rows: What,
        signals: Vec<(String, What)>,
    ) -> std::result::Result<Self, &'c str> {
        let place = |name: &'c String| names.iter().position(|other| other == name).ok_or(name.as_str());
        let optional = |name: &'c Option<String>| name.as_ref().map(place).transpose();
        Ok(Self {
            columns: names.len(),
            at: place(&columns.at)?,
            user: optional(&columns.user)?,
            signal: optional(&columns.signal)?,
            app: optional(&columns.app)?,
            duration: optional(&columns.duration)?,
            measured: Vec::new(),
            rows,
            signals,
        })
    }

    /// A row of so many fields.
    fn row<'a>(
        &self,
        count: usize,
        field: impl Fn(usize) -> Option<&'a str>,
    ) -> std::result::Result<Row<'a>, Problem> {
        if count != self.columns {
            return Err(Problem::new("row", format!("{count} columns instead of {}", self.columns)));
        }
        let field = |place: Option<usize>| place.and_then(&field).map(str::trim);
        let what = match field(self.signal) {
            None => self.rows,
            Some(value) => {
                let known = self.signals.iter().find(|(known, _)| known == value).map(|(_, what)| *what);
                known.or_else(|| What::parse(value)).ok_or_else(|| {
                    Problem::not("signal", value, "a signal; say what it means with --signals")
                })?
            }
        };
        Ok(Row {
            user: field(self.user),
            at: field(Some(self.at)).unwrap_or_default(),
            what,
            app: field(self.app).filter(|app| !app.is_empty()),
            duration: field(self.duration).filter(|duration| !duration.is_empty()),
            measured: self
                .measured
                .iter()
                .map(|&(what, at)| (what, field(Some(at)).unwrap_or_default()))
                .collect(),
        })
    }
}

/// What a header lacks, and its names.
struct Refused<E> {
    lacks: E,
    names: Vec<String>,
}

/// Takes a header apart by each delimiter until `table` makes something of its names; the error is that of the delimiter that
/// parts most, which was meant.
fn header<T, E>(
    line: &str,
    mut table: impl FnMut(&[String]) -> std::result::Result<T, E>,
) -> std::result::Result<(T, Commas), Option<Refused<E>>> {
    let mut refused: Option<Refused<E>> = None;
    for delimiter in DELIMITERS {
        let mut commas = Commas::new(delimiter);
        let Some(names) = commas.split(line) else { continue };
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        match table(&names) {
            Ok(table) => return Ok((table, commas)),
            Err(lacks) if refused.as_ref().is_none_or(|most| names.len() > most.names.len()) => {
                refused = Some(Refused { lacks, names });
            }
            Err(_) => {}
        }
    }
    Err(refused)
}

/// A row as the file has it.
struct Row<'a> {
    user: Option<&'a str>,
    at: &'a str,
    what: What,
    app: Option<&'a str>,
    duration: Option<&'a str>,
    measured: Vec<(&'static str, &'a str)>,
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let Some(first) = draft.next_line(lines)? else { return Ok(()) };
    let (table, mut commas) = open(first.text, draft)?;
    lines.join_quoted(commas.delimiter(), table.columns);
    let mut rows = Rows::new(table, draft)?;
    rows.decimal_comma = commas.delimiter() != b',';
    rows.order = date_order(draft)?;
    while let Some(line) = draft.next_line(lines)? {
        let taken = match commas.split(line.text) {
            Some(fields) => rows.take(fields.len(), |at| fields.get(at), line.number.into(), draft)?,
            None => Err(Problem::new("row", "a quote is missing")),
        };
        if let Err(problem) = taken {
            draft.skip(line, problem)?;
        }
    }
    rows.name_unknown(draft);
    draft.turn_if_newest_first();
    Ok(())
}

/// The order of the dates of the whole file, where its times are dates that do not begin with a year of four digits.
fn date_order(draft: &mut Draft<'_>) -> Result<DateOrder> {
    if let Some(order) = draft.options.date_order {
        return Ok(order);
    }
    let mut lines = Lines::open(draft.file, &Silent)?;
    let (mut table, mut dates) = (None::<(Table, Commas)>, Vec::new());
    while let Some(line) = lines.next()? {
        let Some((table, commas)) = &mut table else {
            let opened = open(line.text, draft)?;
            lines.join_quoted(opened.1.delimiter(), opened.0.columns);
            table = Some(opened);
            continue;
        };
        let Some(fields) = commas.split(line.text) else { continue };
        let Ok(row) = table.row(fields.len(), |at| fields.get(at)) else { continue };
        let Some((date, time, _)) = civil(row.at) else {
            if dates.is_empty() && dates_are_unlikely(row.at) {
                return Ok(DateOrder::Ymd);
            }
            continue;
        };
        // No second pass over the file where the first date decides.
        if dates.is_empty() && date.begins_with_year() {
            return Ok(DateOrder::Ymd);
        }
        dates.push((date, time));
    }
    Ok(draft.date_order(&dates))
}

/// Whether a time is a number or an instant, so that the file has no dates to put in order.
fn dates_are_unlikely(text: &str) -> bool {
    text.replace(',', ".").parse::<f64>().is_ok() || text.parse::<jiff::Timestamp>().is_ok()
}

fn open(first: &str, draft: &Draft<'_>) -> Result<(Table, Commas)> {
    let opened = match &draft.options.columns {
        Some(columns) => {
            header(first, |names| Table::named(names, columns, draft.options)).map_err(|refused| {
                let (lacking, names) =
                    refused.map_or(("", String::new()), |it| (it.lacks, it.names.join(", ")));
                format!("there is no column `{lacking}`; the columns are {names}")
            })
        }
        None => header(first, |names| aware::known(names).ok_or(())).map_err(|_| {
            "no table that is known: say which column is what with --columns or --mapping".to_owned()
        }),
    };
    opened.map_err(|message| {
        Error::new(ErrorKind::Data, excerpt(&message, 1000)).file(draft.file).line(1).field("header")
    })
}

/// Rows of a table on their way into a draft.
pub(super) struct Rows {
    table: Table,
    clock: Clock,
    order: DateOrder,
    decimal_comma: bool,
    /// The time of the row before.
    last: Option<i64>,
    /// Values of the column `signal` that mean nothing, and how often they came; the first of them.
    unknown: BTreeMap<String, u64>,
}

/// Values that are listed.
const MOST_UNKNOWN: usize = 20;

impl Rows {
    /// Rows whose numbers have a decimal point, and whose dates begin with the year.
    pub fn new(table: Table, draft: &Draft<'_>) -> Result<Self> {
        let clock = Clock::new(draft.options.time_zone.as_deref())?;
        let (order, unknown) = (DateOrder::Ymd, BTreeMap::new());
        Ok(Self { table, clock, order, decimal_comma: false, last: None, unknown })
    }

    /// Takes the next row, of `count` fields; within the result is what is wrong with it.
    ///
    /// # Errors
    /// Its time is not believable, and the options are strict.
    pub fn take<'a>(
        &mut self,
        count: usize,
        field: impl Fn(usize) -> Option<&'a str>,
        place: RowPlace<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<std::result::Result<(), Problem>> {
        let taken = match self.table.row(count, &field).and_then(|row| self.taken(row, draft)) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Ok(Ok(())),
            Err(problem) => {
                if let Some(value) = self.table.signal.filter(|_| problem.field == "signal").and_then(field) {
                    self.count_unknown(value.trim());
                }
                return Ok(Err(problem));
            }
        };
        if !draft.check_time(taken.user, taken.at, place)? {
            return Ok(Ok(()));
        }
        let offset_secs = taken.offset_secs.unwrap_or_else(|| self.clock.offset_secs(taken.at));
        let of = |at, signal| event(taken.user, at, offset_secs, signal);
        let line = place.line();
        match taken.what {
            Taking::Readings(readings) => {
                readings.into_iter().for_each(|reading| draft.read_off(taken.user, taken.at, reading));
            }
            Taking::Signal(signal, until) => {
                draft.push(of(taken.at, signal), line);
                match (signal, until) {
                    (Signal::Launch(app), Some(until)) if until > taken.at => {
                        draft.close_at(Timestamp(taken.at), of(until, Signal::Close(app)));
                    }
                    (Signal::Launch(app), Some(_)) => draft.push(of(taken.at, Signal::Close(app)), line),
                    _ => {}
                }
            }
        }
        Ok(Ok(()))
    }

    fn count_unknown(&mut self, value: &str) {
        if let Some(count) = self.unknown.get_mut(value) {
            *count += 1;
        } else if self.unknown.len() < MOST_UNKNOWN {
            self.unknown.insert(value.to_owned(), 1);
        }
    }

    /// Says which values of the column `signal` were refused, where there are several.
    pub fn name_unknown(&self, draft: &mut Draft<'_>) {
        if self.unknown.len() > 1 {
            let word = |(value, count): (&String, &u64)| format!("`{}` {count}", excerpt(value, 60));
            let words: Vec<String> = self.unknown.iter().map(word).collect();
            let more = if self.unknown.len() == MOST_UNKNOWN { ", .." } else { "" };
            draft.say_more("signal", &format!("; all such values: {}{more}", words.join(", ")));
        }
    }

    fn taken(&mut self, row: Row<'_>, draft: &mut Draft<'_>) -> std::result::Result<Option<Taken>, Problem> {
        let raw = match row.user {
            Some("") => return Err(Problem::new("user", "empty")),
            Some(raw) => raw.to_owned(),
            None => draft.owner.clone(),
        };
        let (at, offset_secs) = self.time(row.at, draft).ok_or_else(|| {
            let expected = match self.number(row.at) {
                Some(_) => {
                    "a time between 2000 and 2100 in s, ms or us; --unit says in which it is".to_owned()
                }
                None => format!("a time as {}; --unit and --date-order say how to read it", self.order),
            };
            Problem::not("at", row.at, &expected)
        })?;
        let unit = draft.options.unit.unwrap_or(TimeUnit::Secs);
        self.last = Some(at);
        let seconds = |text: &str| {
            let number = self.number(text).filter(|number| (0.0..=1e15).contains(number));
            number.ok_or_else(|| Problem::not("duration", text, "a number"))
        };
        let until = row.duration.map(seconds).transpose()?.map(|long| at + (long / unit.per_sec()) as i64);
        // Last, so that a row that is skipped names no app.
        let mut app = || {
            let app = row.app.ok_or_else(|| Problem::new("app", "empty"))?;
            Ok(draft.names.intern(app))
        };
        let signal = match row.what {
            What::Launch => Signal::Launch(app()?),
            What::Close => Signal::Close(app()?),
            What::Notification => Signal::Notification(app()?),
            What::Unlock => Signal::Unlock,
            What::ScreenOn => Signal::ScreenOn,
            What::ScreenOff => Signal::ScreenOff,
            What::Ignore => return Ok(None),
            What::Battery | What::Network | What::Position => {
                let field =
                    |what: &str| row.measured.iter().find(|(of, _)| *of == what).map(|(_, text)| *text);
                let readings = aware::readings(row.what, field, |text| self.number(text), draft.options)?;
                let what = Taking::Readings(readings);
                return Ok(Some(Taken { user: draft.user(&raw), at, offset_secs, what }));
            }
        };
        let what = Taking::Signal(signal, until);
        Ok(Some(Taken { user: draft.user(&raw), at, offset_secs, what }))
    }

    /// A number, with a decimal comma where commas part no columns.
    fn number(&self, text: &str) -> Option<f64> {
        if self.decimal_comma && text.contains(',') {
            return text.replace(',', ".").parse().ok();
        }
        text.parse().ok()
    }

    /// UTC seconds of a number or of a date and time, and its offset from UTC where it names one.
    fn time(&self, text: &str, draft: &mut Draft<'_>) -> Option<(i64, Option<i32>)> {
        if let Some(number) = self.number(text) {
            let unit = draft.options.unit.or_else(|| TimeUnit::of(number))?;
            let secs = (number / unit.per_sec()).floor();
            return (secs.abs() < 1e12).then_some((secs as i64, None));
        }
        let (date, time, offset_secs) = civil(text)?;
        let local = date.date(self.order)?.to_datetime(time);
        Some(match offset_secs {
            None => {
                draft.note_wall_clock();
                (self.clock.utc_secs(local, self.last), None)
            }
            Some(secs) => {
                let wall_secs = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs();
                // UTC says nothing about where the person is.
                (wall_secs - i64::from(secs), Some(secs).filter(|&secs| secs != 0))
            }
        })
    }
}

/// What a row is for the log.
struct Taken {
    user: UserId,
    at: i64,
    offset_secs: Option<i32>,
    what: Taking,
}

enum Taking {
    /// An event, and until when its app stayed.
    Signal(Signal, Option<i64>),
    Readings(Vec<Reading>),
}

/// A date, a time of day, and the offset from UTC, of `2024-03-01 07:03:19.123 PM +02:00`: fractions of a second are cut off.
fn civil(text: &str) -> Option<(DateNumbers, Time, Option<i32>)> {
    let text = text.trim();
    // A Korean date has spaces in it: the time begins where the date has its three numbers.
    let (date, rest) = text
        .match_indices([' ', 'T'])
        .find_map(|(at, _)| Some((DateNumbers::parse(text.get(..at)?)?, text.get(at + 1..)?.trim())))?;
    let (rest, offset_secs) = match rest.rfind(['+', '-', '\u{2212}']).filter(|&at| at >= 4) {
        Some(at) => (rest.get(..at)?, Some(super::zone::fixed_offset_secs(rest.get(at..)?.trim()).ok()??)),
        None => {
            let bare = ["UTC", "GMT", "Z"].into_iter().find_map(|zone| rest.strip_suffix(zone));
            (bare.unwrap_or(rest), bare.map(|_| 0))
        }
    };
    let is_digit = |c: char| c.is_ascii_digit();
    // Behind two colons, digits behind a dot are a fraction.
    let whole =
        match rest.rfind('.').filter(|&at| rest.get(..at).is_some_and(|time| time.matches(':').count() == 2))
        {
            Some(at) if rest.get(at + 1..).is_some_and(|after| after.starts_with(is_digit)) => {
                format!("{}{}", rest.get(..at)?, rest.get(at + 1..)?.trim_start_matches(is_digit))
            }
            _ => rest.to_owned(),
        };
    Some((date, time_of_day(&whole)?, offset_secs))
}
