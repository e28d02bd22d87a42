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
//!   in the table is an app. A file without a single unlock row is taken for an unknown language.
//! - Rows of one second are in true order when the file is read from its end.
//! - An app row is a `Launch`, and a `Close` when its duration is over, at the latest when the next app or
//!   screen row begins: durations are rounded up to a second, and only one app is in front. An unlock ends no app: where the
//!   one below the lock is written up to three seconds before the unlock, its row ends with it, and the app stays.
//! - Dates are `M/D/YY`, `DD/MM/YYYY` or another order that the file itself tells ([`DateOrder::of_file`]).
//! - The user id is the hash of the file's name without extensions ([`read_logs`](super::read_logs)).

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::civil::{DateTime, Time};

use super::clock::{Clock, DateNumbers, DateOrder};
use super::draft::{BELIEVABLE_SECS, Draft, Problem, event};
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
    check_labels(&rows, draft)?;
    write(&rows, &clock, draft)
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

/// Rows with their local time, oldest first, repeated rows dropped. The whole file runs one way: if it runs
/// upwards, some tool has turned it round already.
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
    let count = dated.len();
    let mut kept: Vec<(DateTime, Row)> = Vec::with_capacity(count);
    for (local, row) in dated {
        let repeats = |(then, last): &(DateTime, Row)| {
            *then == local && last.label == row.label && last.duration_secs == row.duration_secs
        };
        if kept.last().is_some_and(repeats) && !matches!(LABELS.meaning(&row.label), Meaning::Notification(_))
        {
            draft.warn(WarningKind::Duplicate, Some(row.line), "");
        } else {
            kept.push((local, row));
        }
    }
    Ok(kept)
}

/// Writes the events. Only one app can be open: it closes before the next row that reaches its end.
fn write(rows: &[(DateTime, Row)], clock: &Clock, draft: &mut Draft<'_>) -> Result<()> {
    let user = draft.user(&draft.owner.clone());
    let mut open: Option<OpenApp> = None;
    let mut last_at = None;
    for (local, row) in rows {
        let at = clock.utc_secs(*local, last_at);
        if !draft.check_time(user, at, row.line)? {
            continue;
        }
        last_at = Some(at);
        let signal = match LABELS.meaning(&row.label) {
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
fn check_labels(rows: &[(DateTime, Row)], draft: &mut Draft<'_>) -> Result<()> {
    let mut apps: HashMap<&str, (usize, bool)> = HashMap::new();
    let (mut has_unlock, mut knows_language) = (false, false);
    for (_, row) in rows {
        let meaning = LABELS.meaning(&row.label);
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

/// What a label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning<'a> {
    Unlock,
    ScreenOnLocked,
    ScreenOff,
    /// With the app's name.
    Notification(&'a str),
    App,
}

/// The label table, taken apart.
#[derive(Debug, Default)]
struct Labels {
    screens: HashMap<String, Meaning<'static>>,
    /// What stands before and after the app's name.
    notifications: Vec<(String, String)>,
}

static LABELS: LazyLock<Labels> =
    LazyLock::new(|| Labels::parse(include_str!("../../../data/app_usage_labels.csv")));

impl Labels {
    /// Rows of another shape are left to the test below to find.
    fn parse(table: &str) -> Self {
        let mut labels = Self::default();
        for (_language, label, meaning) in label_rows(table).flatten() {
            let label = plain_spaces(&label);
            let screen = match meaning.as_str() {
                "unlock" => Meaning::Unlock,
                "screen-on-locked" => Meaning::ScreenOnLocked,
                "screen-off" | "screen-off-locked" => Meaning::ScreenOff,
                _ => {
                    if let Some((before, after)) = label.split_once("{}") {
                        labels.notifications.push((before.to_owned(), after.to_owned()));
                    }
                    continue;
                }
            };
            labels.screens.insert(label, screen);
        }
        labels
    }

    fn meaning<'a>(&self, label: &'a str) -> Meaning<'a> {
        if let Some(&screen) = self.screens.get(&plain_spaces(label)) {
            return screen;
        }
        let name = self.notifications.iter().find_map(|(before, after)| {
            let name = strip_prefix_spaces(label, before)?.strip_suffix(after.as_str())?.trim();
            (!name.is_empty()).then_some(name)
        });
        name.map_or(Meaning::App, Meaning::Notification)
    }
}

/// Language, label and meaning of each row of the label table.
fn label_rows(table: &str) -> impl Iterator<Item = csv::Result<(String, String, String)>> {
    csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes()).into_deserialize()
}

/// French and others put a non-breaking space here and there; a label is the same with a plain one.
fn plain_spaces(label: &str) -> String {
    label.trim().replace(['\u{a0}', '\u{202f}'], " ")
}

/// `text` after `prefix`, any kind of space being equal to a plain one.
fn strip_prefix_spaces<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for wanted in prefix.chars() {
        let found = rest.next()?;
        let found = if matches!(found, '\u{a0}' | '\u{202f}') { ' ' } else { found };
        if found != wanted {
            return None;
        }
    }
    Some(rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_table_is_sound() {
        let table = include_str!("../../../data/app_usage_labels.csv");
        let rows: Vec<(String, String, String)> = label_rows(table).collect::<csv::Result<_>>().unwrap();
        for (_, label, meaning) in &rows {
            let known = ["unlock", "screen-on-locked", "screen-off", "screen-off-locked", "notification"];
            assert!(known.contains(&meaning.as_str()), "{label}: {meaning}");
            assert_eq!(meaning == "notification", label.contains("{}"), "{label}: {meaning}");
        }
        for language in ["en", "fr"] {
            let has_unlock = rows.iter().any(|(of, _, meaning)| of == language && meaning == "unlock");
            assert!(has_unlock, "{language} has no unlock label");
        }
    }

    #[test]
    fn labels_mean_what_they_say() {
        let cases = [
            ("Screen on (unlocked)", Meaning::Unlock),
            ("Écran allumé\u{a0}(déverrouillé)", Meaning::Unlock),
            ("Écran allumé (verrouillé)", Meaning::ScreenOnLocked),
            ("Screen off", Meaning::ScreenOff),
            ("Notification posted (Notes (beta))", Meaning::Notification("Notes (beta)")),
            ("Notifications envoyées\u{a0}(Google\u{a0}Play)", Meaning::Notification("Google\u{a0}Play")),
            ("Notification posted ()", Meaning::App),
            ("Screen Time", Meaning::App),
        ];
        for (label, expected) in cases {
            assert_eq!(LABELS.meaning(label), expected, "{label}");
        }
    }
}
