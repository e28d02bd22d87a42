//! The Activity export of the Android app "App Usage": one phone, one file, newest row first, local time.
//!
//! ```text
//! "App name","Date","Time","Duration"
//! "Notification posted (Mail)","1/31/24","08:20:40","0:00:00"
//! "Mail","1/31/24","08:20:15","0:02:10"
//! "Screen on (unlocked)","1/31/24","08:20:15","0:00:00"
//! ```
//!
//! - Labels and header are in the app's language. `data/app_usage_labels.csv` says what they mean; what is not
//!   in the table is an app. A file without a single unlock row is taken for an unknown language, and so is a part of it of two
//!   days and more without any row of the screen: its labels are inferred from how they behave, with a warning
//!   ([`labels`](super::labels)), or the file is refused.
//! - Rows of one second are in true order when the file is read from its end.
//! - An app row is a `Launch`, and a `Close` when its duration is over, at the latest when the next app or
//!   screen row begins: durations are rounded up to a second, and only one app is in front. An unlock ends no app: where the
//!   one below the lock is written up to three seconds before the unlock, its row ends with it, and the app stays.
//! - Dates are `M/D/YY`, `DD/MM/YYYY` or another order that the file itself tells ([`DateOrder::of_file`]).
//! - The user id is the hash of the file's name without extensions ([`read_logs`](super::read_logs)).

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::civil::{DateTime, Time};

use super::clock::{Clock, DateNumbers, DateOrder};
use super::draft::{BELIEVABLE_SECS, Draft, Problem, event};
use super::labels::{LABELS, LabelledRow, Labels, Meaning, infer};
use super::lines::{Commas, DELIMITERS, Line, Lines, excerpt};
use super::locale::{plain_digits, time_of_day};
use super::unlock::SAME_MOMENT_SECS;
use super::warnings::WarningKind;
use crate::data::event::{AppId, Signal, UserId};
use crate::error::{Error, ErrorKind, Result};

const COLUMNS: usize = 4;

pub(super) fn recognises(head: &[String]) -> bool {
    delimiter(head.iter().map(String::as_str)).is_some()
}

/// What parts the fields of a file that begins with these lines.
fn delimiter<'a>(head: impl Iterator<Item = &'a str>) -> Option<u8> {
    let head: Vec<&str> = head.take(20).collect();
    DELIMITERS.into_iter().find(|&delimiter| {
        let mut commas = Commas::new(delimiter);
        head.iter().any(|line| parse(line, &mut commas).is_ok())
    })
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    let mut commas = Commas::new(delimiter(lines.head()).unwrap_or(DELIMITERS[0]));
    lines.join_quoted(commas.delimiter(), COLUMNS);
    draft.note_wall_clock();
    let mut rows = Vec::new();
    while let Some(line) = draft.next_line(lines)? {
        match parse(line.text, &mut commas) {
            Ok(row) => rows.push(Row { line: line.number, complete: line.complete, ..row }),
            Err(_) if line.number == 1 && is_header(line.text, &mut commas) => {}
            Err(problem) => draft.skip(line, problem)?,
        }
    }
    let dates: Vec<_> = rows.iter().map(|row| (row.date, row.time)).collect();
    let order = draft.date_order(&dates);
    let rows = in_true_order(rows, order, draft)?;
    let language = Language { inferred: inferred(&rows, draft) };
    let rows = without_repeats(rows, &language, draft);
    check_labels(&rows, &language, draft)?;
    write(&rows, &language, &clock, draft)
}

/// What labels mean in one file.
struct Language {
    /// Beside the table's.
    inferred: Option<Labels>,
}

impl Language {
    fn meaning<'a>(&self, label: &'a str) -> Meaning<'a> {
        match (LABELS.meaning(label), &self.inferred) {
            (Meaning::App, Some(inferred)) => inferred.meaning(label),
            (known, _) => known,
        }
    }
}

/// A part of a file of so many rows and so long, without a row of the screen, is in another language.
const FOREIGN_ROWS: usize = 100;
const FOREIGN_SECS: i64 = 2 * 86_400;

/// The labels of parts of the file that are in no known language, as far as they are clear.
fn inferred(rows: &[(DateTime, Row)], draft: &mut Draft<'_>) -> Option<Labels> {
    let at_secs =
        |local: &DateTime| local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs();
    let mut known: HashMap<&str, bool> = HashMap::new();
    for (_, row) in rows {
        known.entry(&row.label).or_insert_with(|| LABELS.meaning(&row.label) != Meaning::App);
    }
    let is_known = |(_, row): &(DateTime, Row)| known.get(row.label.as_str()) == Some(&true);
    let mut found: Option<Labels> = None;
    for part in rows.split(is_known) {
        let (Some((first, row)), Some((last, _))) = (part.first(), part.last()) else { continue };
        if part.len() < FOREIGN_ROWS || at_secs(last) - at_secs(first) < FOREIGN_SECS {
            continue;
        }
        let labelled: Vec<LabelledRow<'_>> = part
            .iter()
            .map(|(local, row)| LabelledRow {
                label: &row.label,
                at_secs: at_secs(local),
                duration_secs: row.duration_secs,
            })
            .collect();
        let Some(labels) = infer(&labelled) else {
            let detail = format!(
                "from {first} to {last} no row of the screen is in a known language: what its labels are counts as apps"
            );
            draft.warn(WarningKind::UnknownLabel, Some(row.line), detail);
            continue;
        };
        let mut detail = "labels in an unknown language are inferred from how they behave: ".to_owned();
        for (label, meaning) in labels.words() {
            let _ = write!(detail, "`{}` is {meaning}, ", excerpt(&label, 60));
        }
        detail += "the others are apps; if that is wrong, add the labels to data/app_usage_labels.csv";
        draft.warn(WarningKind::UnknownLabel, Some(row.line), detail);
        found.get_or_insert_default().extend(labels);
    }
    found
}

/// A row as the file has it.
struct Row {
    label: String,
    date: DateNumbers,
    time: Time,
    duration_secs: i64,
    line: u64,
    complete: bool,
}

fn parse(text: &str, commas: &mut Commas) -> std::result::Result<Row, Problem> {
    let fields = commas.split(text).ok_or_else(|| Problem::new("row", "a quote is missing"))?;
    let [label, date, time, duration] = fields.iter().collect::<Vec<_>>()[..] else {
        return Err(Problem::new("row", format!("{} columns instead of 4", fields.len())));
    };
    let label = label.trim();
    if label.is_empty() {
        return Err(Problem::new("App name", "empty"));
    }
    Ok(Row {
        label: label.to_owned(),
        date: DateNumbers::parse(date).ok_or_else(|| Problem::not("Date", date, "a date"))?,
        time: time_of_day(time).ok_or_else(|| Problem::not("Time", time, "a time of day"))?,
        duration_secs: duration_secs(&plain_digits(duration))
            .ok_or_else(|| Problem::not("Duration", duration, "a duration like 0:02:10"))?,
        line: 0,
        complete: true,
    })
}

/// The header has four columns in any language, and none of them holds a number.
fn is_header(text: &str, commas: &mut Commas) -> bool {
    commas.split(text).is_some_and(|fields| fields.len() == COLUMNS)
        && !text.bytes().any(|b| b.is_ascii_digit())
}

/// `2:09:13`
fn duration_secs(text: &str) -> Option<i64> {
    let mut parts = text.trim().split(':').map(|part| {
        let is_number = (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| part.parse::<i64>().ok())?
    });
    let (hours, minutes, secs) = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && minutes < 60 && secs < 60).then_some(hours * 3600 + minutes * 60 + secs)
}

/// Rows with their local time, oldest first. The whole file runs one way: if it runs upwards, some tool has turned it round
/// already.
fn in_true_order(rows: Vec<Row>, order: DateOrder, draft: &mut Draft<'_>) -> Result<Vec<(DateTime, Row)>> {
    let mut dated: Vec<(DateTime, Row)> = Vec::with_capacity(rows.len());
    for row in rows {
        match row.date.date(order) {
            Some(date) => dated.push((date.to_datetime(row.time), row)),
            None => {
                let line = Line { number: row.line, text: "", complete: row.complete };
                draft
                    .skip(line, Problem::not("Date", &row.date.to_string(), &format!("a date as {order}")))?;
            }
        }
    }
    let (mut up, mut down) = (0, 0);
    for ((a, _), (b, _)) in dated.iter().zip(dated.iter().skip(1)) {
        up += usize::from(b > a);
        down += usize::from(b < a);
    }
    if up <= down {
        dated.reverse();
    }
    Ok(dated)
}

/// Drops rows that repeat the one before. An app may well post two notifications in one second.
fn without_repeats(
    dated: Vec<(DateTime, Row)>,
    language: &Language,
    draft: &mut Draft<'_>,
) -> Vec<(DateTime, Row)> {
    let mut kept: Vec<(DateTime, Row)> = Vec::with_capacity(dated.len());
    for (local, row) in dated {
        let repeats = |(then, last): &(DateTime, Row)| {
            *then == local && last.label == row.label && last.duration_secs == row.duration_secs
        };
        if kept.last().is_some_and(repeats)
            && !matches!(language.meaning(&row.label), Meaning::Notification(_))
        {
            draft.warn(WarningKind::Duplicate, Some(row.line), "");
        } else {
            kept.push((local, row));
        }
    }
    kept
}

/// Writes the events. Only one app can be open: it closes before the next row that reaches its end.
fn write(rows: &[(DateTime, Row)], language: &Language, clock: &Clock, draft: &mut Draft<'_>) -> Result<()> {
    let user = draft.user(&draft.owner.clone());
    let mut open: Option<OpenApp> = None;
    let mut last_at = None;
    for (local, row) in rows {
        let at = clock.utc_secs(*local, last_at);
        if !draft.check_time(user, at, row.line)? {
            continue;
        }
        last_at = Some(at);
        let signal = match language.meaning(&row.label) {
            Meaning::Unlock => Signal::Unlock,
            Meaning::ScreenOnLocked => Signal::ScreenOn,
            Meaning::ScreenOff => Signal::ScreenOff,
            Meaning::Notification(name) => Signal::Notification(draft.names.intern(name)),
            Meaning::App => Signal::Launch(draft.names.intern(&row.label)),
        };
        let interrupts = !matches!(signal, Signal::Notification(_) | Signal::Unlock);
        if let Some(app) = open.as_mut().filter(|app| signal == Signal::Unlock && app.waits_for_unlock(at)) {
            app.until = BELIEVABLE_SECS.end;
        }
        if let Some(app) = open.take_if(|app| interrupts || app.until <= at) {
            app.close(user, at, clock, draft);
        }
        draft.push(event(user, at, clock.offset_secs(at), signal), Some(row.line));
        if let Signal::Launch(app) = signal {
            open = Some(OpenApp { app, since: at, until: at + row.duration_secs, line: row.line });
        }
    }
    if let Some(app) = open {
        // A duration may reach further than any time that is believed.
        app.close(user, BELIEVABLE_SECS.end - 1, clock, draft);
    }
    Ok(())
}

/// The app in front, from and until when (UTC seconds).
struct OpenApp {
    app: AppId,
    since: i64,
    until: i64,
    line: u64,
}

impl OpenApp {
    /// Whether an unlock at `at` ended its row, and not the person: it came just before and lasts until then.
    fn waits_for_unlock(&self, at: i64) -> bool {
        at - self.since <= SAME_MOMENT_SECS && at - self.until <= 1
    }

    /// Closes the app when its time is over, or at `next_at` if that comes first.
    fn close(self, user: UserId, next_at: i64, clock: &Clock, draft: &mut Draft<'_>) {
        // A row out of order may be earlier than the launch: the close never is.
        let at = self.until.min(next_at).max(self.since);
        draft.push(event(user, at, clock.offset_secs(at), Signal::Close(self.app)), Some(self.line));
    }
}

/// Refuses a file in an unknown language, whose screen rows would all become apps.
fn check_labels(rows: &[(DateTime, Row)], language: &Language, draft: &mut Draft<'_>) -> Result<()> {
    let mut apps: HashMap<&str, (usize, bool)> = HashMap::new();
    let (mut has_unlock, mut knows_language) = (false, false);
    for (_, row) in rows {
        let meaning = language.meaning(&row.label);
        knows_language |= meaning != Meaning::App;
        match meaning {
            Meaning::Unlock => has_unlock = true,
            Meaning::App => {
                let (count, timeless) = apps.entry(&row.label).or_insert((0, true));
                *count += 1;
                *timeless &= row.duration_secs == 0;
            }
            _ => {}
        }
    }
    let in_parentheses = |label: &str| label.strip_suffix(')').is_some_and(|rest| rest.contains(" ("));
    if !has_unlock {
        let mut frequent: Vec<(&str, usize)> =
            apps.iter().map(|(label, &(count, _))| (*label, count)).collect();
        frequent.sort_by_key(|&(label, count)| (!in_parentheses(label), std::cmp::Reverse(count), label));
        // Where other labels are understood, the phone was not unlocked or its export leaves those rows out.
        let looks_foreign = frequent.first().is_some_and(|(label, _)| in_parentheses(label))
            || (rows.len() >= 20 && !knows_language);
        let first: Vec<String> = frequent.iter().take(5).map(|&(label, _)| excerpt(label, 60)).collect();
        let message = format!(
            "no row says that the screen was unlocked; most like a label are `{}`",
            first.join("`, `")
        );
        if looks_foreign {
            return Err(Error::new(ErrorKind::Data, message).file(draft.file).next_step(
                "if the export is in another language, add its labels to data/app_usage_labels.csv",
            ));
        }
        draft.warn(WarningKind::NoUnlock, None, message);
    }
    // A notification in an unknown wording: another app's name in parentheses, and never any duration.
    let foreign = |label: &&str| {
        let inner = label.strip_suffix(')').and_then(|rest| rest.split_once(" ("));
        inner.is_some_and(|(_, name)| apps.contains_key(name))
            && apps.get(*label).is_some_and(|&(_, timeless)| timeless)
    };
    let mut unknown: Vec<&str> = apps.keys().copied().filter(|label| foreign(label)).collect();
    unknown.sort_unstable();
    if let Some(label) = unknown.first() {
        let line = rows.iter().find(|(_, row)| row.label == *label).map(|(_, row)| row.line);
        let detail = format!(
            "`{}` looks like a label that is not in data/app_usage_labels.csv ({} names like it count as apps)",
            excerpt(label, 60),
            unknown.len()
        );
        draft.warn(WarningKind::UnknownLabel, line, detail);
    }
    Ok(())
}
