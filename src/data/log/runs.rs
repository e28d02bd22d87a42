//! Interaction logs without screen events: rows of touched apps become launches and sessions.
//!
//! The field's customary preparation, shared by LSApp and the Tsinghua trace:
//!
//! - A *run* is one app's rows until another app comes, or until more than a minute passes before an `Opened`.
//!   It becomes `Launch` at its first row and `Close` at its last.
//! - A *session* ends after five quiet minutes. Such logs have no unlock, so a session stands for one:
//!   `Unlock` before its first launch, in the same second, and `ScreenOff` at its last row, in the same second.
//!   A session's end also ends its run, except that a late `Closed` of the running app still belongs to it.

use super::clock::Clock;
use super::draft::{Draft, Problem, event};
use super::lines::Lines;
use crate::data::event::{AppId, Event, Signal, UserId};
use crate::data::place::PlaceId;
use crate::error::Result;

const REOPENED_AFTER_SECS: i64 = 60;
const SESSION_GAP_SECS: i64 = 5 * 60;

/// What a row says about its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TouchKind {
    Opened,
    Closed,
    Used,
}

/// One row. Small: the public benchmark has 3.7 million.
#[derive(Debug, Clone, Copy)]
struct Touch {
    at: i64,
    user: u32,
    app: AppId,
    place: u32,
    kind: TouchKind,
}

/// A row as the file has it.
pub(super) struct TouchRow<'a> {
    pub user: &'a str,
    pub local: jiff::civil::DateTime,
    pub app: &'a str,
    pub kind: TouchKind,
    /// What the file calls the place, where it does.
    pub station: Option<&'a str>,
}

/// Reads a file of one touch a line; a first line that `is_header` is no row.
///
/// # Errors
/// The file cannot be read on, or a row cannot be used and the options are strict.
pub(super) fn read(
    lines: &mut Lines<'_>,
    clock: &Clock,
    draft: &mut Draft<'_>,
    parse: impl Fn(&str) -> std::result::Result<TouchRow<'_>, Problem>,
    is_header: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut touches = Touches::default();
    let mut last = None;
    while let Some(line) = draft.next_line(lines)? {
        let row = match parse(line.text) {
            Ok(row) => row,
            Err(_) if line.number == 1 && is_header(line.text) => continue,
            Err(problem) => {
                draft.skip(line, problem)?;
                continue;
            }
        };
        let user = draft.user(row.user);
        let not_before = last.filter(|&(of, _)| of == user).map(|(_, at)| at);
        let at = clock.utc_secs(row.local, not_before);
        last = Some((user, at));
        if draft.check_time(user, at, line.number)? {
            let app = draft.names.intern(row.app);
            let place = row.station.map(|station| draft.station(station));
            touches.add(user, at, app, row.kind, place);
        }
    }
    touches.write(clock, draft);
    Ok(())
}

/// Collects rows in any order, then writes events.
#[derive(Debug, Default)]
struct Touches {
    rows: Vec<Touch>,
    users: Numbered<UserId>,
    places: Numbered<Option<PlaceId>>,
}

impl Touches {
    pub fn add(&mut self, user: UserId, at: i64, app: AppId, kind: TouchKind, place: Option<PlaceId>) {
        let (user, place) = (self.users.number(user), self.places.number(place));
        self.rows.push(Touch { at, user, app, place, kind });
    }

    /// Sorts the rows and writes launches, closes and sessions into `draft`.
    pub fn write(mut self, clock: &Clock, draft: &mut Draft<'_>) {
        self.rows.sort_by_key(|row| (row.user, row.at));
        for rows in self.rows.chunk_by(|a, b| a.user == b.user) {
            let Some(user) = rows.first().and_then(|row| self.users.value(row.user)) else { continue };
            let mut out = Sessions { clock, places: &self.places, user, draft, running: None };
            rows.iter().for_each(|row| out.row(row));
            out.end_session();
        }
    }
}

/// One user's open session, with its open run: the app's first and latest row.
struct Sessions<'a, 'd> {
    clock: &'a Clock,
    places: &'a Numbered<Option<PlaceId>>,
    user: UserId,
    draft: &'a mut Draft<'d>,
    running: Option<Touch>,
}

impl Sessions<'_, '_> {
    fn row(&mut self, row: &Touch) {
        if let Some(last) = self.running {
            let same_app = last.app == row.app;
            let gap_secs = row.at - last.at;
            if gap_secs > SESSION_GAP_SECS && !(same_app && row.kind == TouchKind::Closed) {
                self.end_session();
            } else if !same_app || (row.kind == TouchKind::Opened && gap_secs > REOPENED_AFTER_SECS) {
                self.push(&last, Signal::Close(last.app));
                self.push(row, Signal::Launch(row.app));
            }
        }
        if self.running.is_none() {
            self.push(row, Signal::Unlock);
            self.push(row, Signal::Launch(row.app));
        }
        self.running = Some(*row);
    }

    fn end_session(&mut self) {
        if let Some(last) = self.running.take() {
            self.push(&last, Signal::Close(last.app));
            self.push(&last, Signal::ScreenOff);
        }
    }

    fn push(&mut self, row: &Touch, signal: Signal) {
        let place = self.places.value(row.place).flatten();
        let offset_secs = self.clock.offset_secs(row.at);
        self.draft.push(Event { place, ..event(self.user, row.at, offset_secs, signal) }, None);
    }
}

/// Values by the order in which they came, so that a row can hold four bytes instead of sixteen.
#[derive(Debug)]
struct Numbered<T> {
    values: Vec<T>,
    numbers: std::collections::HashMap<T, u32>,
    // Rows of one user come together: most look-ups end here.
    latest: Option<(T, u32)>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: std::collections::HashMap::new(), latest: None }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        if let Some((latest, number)) = self.latest
            && latest == value
        {
            return number;
        }
        let next = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(value).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        self.latest = Some((value, number));
        number
    }

    fn value(&self, number: u32) -> Option<T> {
        self.values.get(number as usize).copied()
    }
}
