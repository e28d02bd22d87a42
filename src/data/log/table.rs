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
//! AWARE, the framework of many studies, has a table for each kind of event, one person per `device_id`. `screen` (0 off, 1 on,
//! 2 locked, 3 unlocked), `applications_foreground` and `applications_notifications` are recognised by their columns, under
//! their own names and those of niimpy; the tables of one person become one log.
//!
//! Source: <https://awareframework.com> (columns), niimpy's sample files (their names there).

use std::str::FromStr;

use jiff::civil::{DateTime, Time};

use super::clock::{Clock, DateNumbers, DateOrder};
use super::draft::{BELIEVABLE_SECS, Draft, Problem, event};
use super::lines::{Commas, DELIMITERS, Lines};
use super::locale::time_of_day;
use crate::data::event::{Signal, Timestamp, UserId};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Silent;

/// Which column of a table is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumns {
    user: Option<String>,
    at: String,
    signal: Option<String>,
    app: Option<String>,
    duration: Option<String>,
}

impl FromStr for TableColumns {
    type Err = Error;

    /// Reads `user=device_id,at=timestamp,app=name`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Config, message).next_step(
                "name columns as in user=device_id,at=timestamp,signal=event,app=name,duration=seconds",
            ))
        };
        let mut columns = Self { user: None, at: String::new(), signal: None, app: None, duration: None };
        for pair in text.split(',') {
            let Some((what, name)) = pair.split_once('=').map(|(what, name)| (what.trim(), name.trim()))
            else {
                return wrong(format!("`{pair}` does not say which column is what"));
            };
            let place = match what {
                "user" => &mut columns.user,
                "signal" => &mut columns.signal,
                "app" => &mut columns.app,
                "duration" => &mut columns.duration,
                "at" => {
                    name.clone_into(&mut columns.at);
                    continue;
                }
                _ => return wrong(format!("there is nothing called `{what}` in a log")),
            };
            *place = Some(name.to_owned());
        }
        if columns.at.is_empty() {
            return wrong("no column is named for `at`".to_owned());
        }
        if columns.app.is_none() && columns.signal.is_none() {
            return wrong("neither `app` nor `signal` has a column: nothing happens then".to_owned());
        }
        Ok(columns)
    }
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
        let pair = text.split_once('=').map(|(value, what)| (value.trim(), What::parse(what.trim())));
        match pair {
            Some((value, Some(what))) => Ok(Self { value: value.to_owned(), what }),
            _ => Err(Error::new(ErrorKind::Config, format!("`{text}` does not say what a signal means")).next_step(
                "write value=signal, where signal is launch, close, notification, unlock, screen_on, screen_off or ignore",
            )),
        }
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

impl TimeUnit {
    fn per_sec(self) -> f64 {
        match self {
            Self::Secs => 1.0,
            Self::Millis => 1e3,
            Self::Micros => 1e6,
        }
    }

    /// The unit in which `time` lies between 2000 and 2100, of which there is at most one.
    fn of(time: f64) -> Option<Self> {
        [Self::Secs, Self::Millis, Self::Micros]
            .into_iter()
            .find(|unit| BELIEVABLE_SECS.contains(&((time / unit.per_sec()) as i64)))
    }
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Launch,
    Close,
    Notification,
    Unlock,
    ScreenOn,
    ScreenOff,
    Ignore,
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

/// A table whose columns are known, and what its rows are where no column says it.
struct Known {
    columns: [(&'static str, &'static str); 4],
    rows: What,
    signals: &'static [(&'static str, What)],
}

const SCREEN: &[(&str, What)] =
    &[("0", What::ScreenOff), ("1", What::ScreenOn), ("2", What::Ignore), ("3", What::Unlock)];

/// AWARE's tables, by its own names and by niimpy's. The first whose columns are all there is it.
const KNOWN: [Known; 6] = [
    Known {
        columns: [("user", "device_id"), ("at", "timestamp"), ("signal", "screen_status"), ("", "")],
        rows: What::Ignore,
        signals: SCREEN,
    },
    Known {
        columns: [("user", "user"), ("at", "time"), ("signal", "screen_status"), ("", "")],
        rows: What::Ignore,
        signals: SCREEN,
    },
    // Notifications have a text or a sound; their tables are otherwise those of apps in the foreground.
    Known {
        columns: [
            ("user", "device_id"),
            ("at", "timestamp"),
            ("app", "application_name"),
            ("has", "vibrate"),
        ],
        rows: What::Notification,
        signals: &[],
    },
    Known {
        columns: [("user", "device_id"), ("at", "timestamp"), ("app", "application_name"), ("has", "text")],
        rows: What::Notification,
        signals: &[],
    },
    Known {
        columns: [("user", "device_id"), ("at", "timestamp"), ("app", "application_name"), ("", "")],
        rows: What::Launch,
        signals: &[],
    },
    Known {
        columns: [("user", "user"), ("at", "time"), ("app", "application_name"), ("has", "package_name")],
        rows: What::Launch,
        signals: &[],
    },
];

/// Columns of AWARE's tables of crashes, of processes in the background and of touches, which have apps, too.
const OTHERS: [&str; 5] =
    ["error_short", "error_condition", "process_importance", "application_version", "touch_action"];

pub(super) fn recognises(head: &[String]) -> bool {
    head.first().is_some_and(|line| Table::known(line).is_some())
}

/// A table with its header.
struct Table {
    commas: Commas,
    columns: usize,
    user: Option<usize>,
    at: usize,
    signal: Option<usize>,
    app: Option<usize>,
    duration: Option<usize>,
    rows: What,
    signals: Vec<(String, What)>,
}

impl Table {
    /// A table of AWARE, if `header` is of one.
    fn known(header: &str) -> Option<Self> {
        KNOWN.iter().find_map(|known| {
            let named = |what: &str| {
                known.columns.iter().find(|(of, _)| *of == what).map(|(_, column)| (*column).to_owned())
            };
            let columns = TableColumns {
                user: named("user"),
                at: named("at")?,
                signal: named("signal"),
                app: named("app"),
                duration: None,
            };
            let signals = known.signals.iter().map(|(value, what)| ((*value).to_owned(), *what)).collect();
            let has = named("has").is_none_or(|column| has_column(header, &column));
            let is_other = OTHERS.iter().any(|column| has_column(header, column));
            Self::new(header, &columns, known.rows, signals).ok().filter(|_| has && !is_other)
        })
    }

    /// A table with these columns.
    fn new(
        header: &str,
        columns: &TableColumns,
        rows: What,
        signals: Vec<(String, What)>,
    ) -> std::result::Result<Self, Problem> {
        let mut missing: Option<(String, Vec<String>)> = None;
        for delimiter in DELIMITERS {
            let mut commas = Commas::new(delimiter);
            let Some(names) = commas.split(header) else { continue };
            let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
            let place = |name: &String| names.iter().position(|other| other == name);
            let wanted =
                [Some(&columns.at), columns.user.as_ref(), columns.signal.as_ref(), columns.app.as_ref()];
            let wanted = wanted.into_iter().chain([columns.duration.as_ref()]).flatten();
            match wanted.clone().find(|name| place(name).is_none()) {
                // The delimiter that parts most is the one that was meant.
                Some(lacking) if missing.as_ref().is_none_or(|(_, most)| names.len() > most.len()) => {
                    missing = Some((lacking.clone(), names));
                }
                Some(_) => {}
                None => {
                    return Ok(Self {
                        columns: names.len(),
                        user: columns.user.as_ref().and_then(place),
                        at: place(&columns.at).unwrap_or_default(),
                        signal: columns.signal.as_ref().and_then(place),
                        app: columns.app.as_ref().and_then(place),
                        duration: columns.duration.as_ref().and_then(place),
                        commas,
                        rows,
                        signals,
                    });
                }
            }
        }
        let (lacking, names) = missing.unwrap_or_default();
        Err(Problem::new(
            "header",
            format!("there is no column `{lacking}`; the columns are {}", names.join(", ")),
        ))
    }

    fn row(&mut self, text: &str) -> std::result::Result<Row<'_>, Problem> {
        let columns = self.columns;
        let fields = self.commas.split(text).ok_or_else(|| Problem::new("row", "a quote is missing"))?;
        if fields.len() != columns {
            return Err(Problem::new("row", format!("{} columns instead of {columns}", fields.len())));
        }
        let field = |place: Option<usize>| place.and_then(|place| fields.get(place)).map(str::trim);
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
        })
    }
}

fn has_column(header: &str, column: &str) -> bool {
    DELIMITERS.into_iter().any(|delimiter| {
        Commas::new(delimiter)
            .split(header)
            .is_some_and(|names| names.iter().any(|name| name.trim() == column))
    })
}

/// A row as the file has it.
struct Row<'a> {
    user: Option<&'a str>,
    at: &'a str,
    what: What,
    app: Option<&'a str>,
    duration: Option<&'a str>,
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    let (mut table, mut order, mut last) = (None::<Table>, DateOrder::Ymd, None);
    while let Some(line) = lines.next()? {
        let Some(table) = &mut table else {
            table = Some(open(line.text, draft)?);
            order = date_order(draft)?;
            continue;
        };
        let row = table.row(line.text).and_then(|row| row.taken(draft, (&clock, order), &mut last));
        match row {
            Ok(Some(taken)) => {
                if draft.check_time(taken.user, taken.at, line.number)? {
                    let offset_secs = taken.offset_secs.unwrap_or_else(|| clock.offset_secs(taken.at));
                    draft.push(event(taken.user, taken.at, offset_secs, taken.signal), Some(line.number));
                    match (taken.signal, taken.until) {
                        (Signal::Launch(app), Some(until)) if until > taken.at => {
                            let close = event(taken.user, until, offset_secs, Signal::Close(app));
                            draft.close_at(Timestamp(taken.at), close);
                        }
                        (Signal::Launch(app), Some(_)) => {
                            let close = event(taken.user, taken.at, offset_secs, Signal::Close(app));
                            draft.push(close, Some(line.number));
                        }
                        _ => {}
                    }
                }
            }
            Ok(None) => {}
            Err(problem) => draft.skip(line, problem)?,
        }
    }
    draft.turn_if_newest_first();
    Ok(())
}

/// The order of the dates of the whole file, where its times are dates that do not begin with a year of four digits.
fn date_order(draft: &mut Draft<'_>) -> Result<DateOrder> {
    if let Some(order) = draft.options.date_order {
        return Ok(order);
    }
    let mut lines = Lines::open(draft.file, &Silent)?;
    let (mut table, mut dates) = (None::<Table>, Vec::new());
    while let Some(line) = lines.next()? {
        let Some(table) = &mut table else {
            table = Some(open(line.text, draft)?);
            continue;
        };
        let Ok(row) = table.row(line.text) else { continue };
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

fn open(header: &str, draft: &Draft<'_>) -> Result<Table> {
    let table = match &draft.options.columns {
        Some(columns) => {
            let signals = draft.options.signals.iter().map(|name| (name.value.clone(), name.what)).collect();
            Table::new(header, columns, What::Launch, signals)
        }
        None => Table::known(header).ok_or_else(|| {
            Problem::new("header", "no table that is known: say which column is what with --columns")
        }),
    };
    table.map_err(|problem| {
        Error::new(ErrorKind::Data, problem.message).file(draft.file).line(1).field(problem.field)
    })
}

/// A row as an event, and until when its app stayed.
struct Taken {
    user: UserId,
    at: i64,
    offset_secs: Option<i32>,
    signal: Signal,
    until: Option<i64>,
}

impl Row<'_> {
    fn taken(
        self,
        draft: &mut Draft<'_>,
        (clock, order): (&Clock, DateOrder),
        last: &mut Option<i64>,
    ) -> std::result::Result<Option<Taken>, Problem> {
        let raw = match self.user {
            Some("") => return Err(Problem::new("user", "empty")),
            Some(raw) => raw.to_owned(),
            None => draft.owner.clone(),
        };
        let (at, offset_secs) =
            time(self.at, draft.options.unit, (clock, order), *last).ok_or_else(|| {
                Problem::not(
                    "at",
                    self.at,
                    &format!("a time as {order}; --unit and --date-order say how to read it"),
                )
            })?;
        let unit = draft.options.unit.unwrap_or(TimeUnit::Secs);
        *last = Some(at);
        let seconds = |text: &str| {
            let number =
                text.replace(',', ".").parse::<f64>().ok().filter(|number| (0.0..=1e15).contains(number));
            number.ok_or_else(|| Problem::not("duration", text, "a number"))
        };
        let until = self.duration.map(seconds).transpose()?.map(|long| at + (long / unit.per_sec()) as i64);
        // Last, so that a row that is skipped names no app.
        let mut app = || {
            let app = self.app.ok_or_else(|| Problem::new("app", "empty"))?;
            Ok(draft.names.intern(app))
        };
        let signal = match self.what {
            What::Launch => Signal::Launch(app()?),
            What::Close => Signal::Close(app()?),
            What::Notification => Signal::Notification(app()?),
            What::Unlock => Signal::Unlock,
            What::ScreenOn => Signal::ScreenOn,
            What::ScreenOff => Signal::ScreenOff,
            What::Ignore => return Ok(None),
        };
        Ok(Some(Taken { user: draft.user(&raw), at, offset_secs, signal, until }))
    }
}

/// UTC seconds of a number or of a date and time, and its offset from UTC where it names one.
fn time(
    text: &str,
    unit: Option<TimeUnit>,
    (clock, order): (&Clock, DateOrder),
    not_before: Option<i64>,
) -> Option<(i64, Option<i32>)> {
    if let Ok(number) = text.replace(',', ".").parse::<f64>() {
        let unit = unit.or_else(|| TimeUnit::of(number))?;
        let secs = (number / unit.per_sec()).floor();
        return (secs.abs() < 1e12).then_some((secs as i64, None));
    }
    let (date, time, offset_secs) = civil(text)?;
    let local = date.date(order)?.to_datetime(time);
    Some(match offset_secs {
        None => (clock.utc_secs(local, not_before), None),
        Some(secs) => {
            let wall_secs = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs();
            // UTC says nothing about where the person is.
            (wall_secs - i64::from(secs), Some(secs).filter(|&secs| secs != 0))
        }
    })
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
