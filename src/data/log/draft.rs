//! One file on its way to becoming events: what every format's loader writes into.

use std::collections::HashMap;
use std::path::Path;

use super::LogOptions;
use super::clock::{DateNumbers, DateOrder};
use super::lines::{Line, excerpt};
use super::positions::Positions;
use super::warnings::{Warning, WarningKind, Warnings};
use crate::data::event::{AppId, Event, Signal, Timestamp, UserId};
use crate::data::place::PlaceId;
use crate::data::vocabulary::Vocabulary;
use crate::error::{Error, ErrorKind, Result};

/// 2000-01-01 and 2100-01-01: a time outside comes from a clock that was not set.
pub(super) const BELIEVABLE_SECS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// A silence longer than this is more likely a clock than a drawer.
const YEAR_SECS: i64 = 366 * 86_400;

/// Why a row cannot be used.
#[derive(Debug)]
pub(super) struct Problem {
    pub field: &'static str,
    pub message: String,
}

impl Problem {
    /// `text` is not `expected`.
    pub fn not(field: &'static str, text: &str, expected: &str) -> Self {
        Self { field, message: format!("`{}` is not {expected}", excerpt(text, 60)) }
    }

    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// The events of one file, with apps named by ids of its own.
pub(super) struct Draft<'a> {
    pub file: &'a Path,
    /// The raw user id where the format has none.
    pub owner: String,
    pub options: &'a LogOptions,
    pub names: Vocabulary,
    warnings: &'a mut Warnings,
    events: Vec<Event>,
    users: HashMap<String, UserId>,
    stations: HashMap<String, PlaceId>,
    last_at: HashMap<UserId, i64>,
    last_event: HashMap<UserId, Event>,
    /// Rows that could not be used, and rows whose time could.
    skipped: u64,
    taken: u64,
    /// Closes that come later than the rows that say them.
    later: Vec<(Timestamp, Event)>,
}

impl<'a> Draft<'a> {
    pub fn new(file: &'a Path, owner: String, options: &'a LogOptions, warnings: &'a mut Warnings) -> Self {
        Self {
            file,
            owner,
            options,
            names: Vocabulary::new(),
            warnings,
            events: Vec::new(),
            users: HashMap::new(),
            stations: HashMap::new(),
            last_at: HashMap::new(),
            last_event: HashMap::new(),
            skipped: 0,
            taken: 0,
            later: Vec::new(),
        }
    }

    /// The hashed id of a user named `raw` in the file; one that is hashed already is kept.
    pub fn user(&mut self, raw: &str) -> UserId {
        if let Some(&user) = self.users.get(raw) {
            return user;
        }
        let user = raw.parse().unwrap_or_else(|()| self.options.key.user_id(raw));
        self.users.insert(raw.to_owned(), user);
        user
    }

    /// The named bucket of a place that the file calls `raw`.
    pub fn station(&mut self, raw: &str) -> PlaceId {
        if let Some(&place) = self.stations.get(raw) {
            return place;
        }
        let place = self.options.key.place_id(raw);
        self.stations.insert(raw.to_owned(), place);
        place
    }

    /// Counts a row that cannot be used.
    ///
    /// # Errors
    /// The options are strict.
    pub fn skip(&mut self, line: Line<'_>, problem: Problem) -> Result<()> {
        let kind = if line.complete { WarningKind::BadRow } else { WarningKind::CutOff };
        self.skip_as(kind, line.number, problem)
    }

    /// Counts a warning that is not about a row that is lost.
    pub fn warn(&mut self, kind: WarningKind, line: Option<u64>, detail: impl Into<String>) {
        self.warnings.add(kind, self.file, line, detail);
    }

    /// The order of day and month in the file's dates; counts a file that can be read in two ways.
    pub fn date_order(&mut self, dates: &[(DateNumbers, jiff::civil::Time)]) -> DateOrder {
        if let Some(order) = self.options.date_order {
            return order;
        }
        let (order, in_doubt) = DateOrder::of_file(dates);
        if in_doubt {
            let detail = format!(
                "dates could be read in two ways; taken as {order}, unless --date-order says otherwise"
            );
            self.warn(WarningKind::AmbiguousDates, None, detail);
        }
        order
    }

    /// Whether a row of `user` at `at` (UTC seconds) has a believable time; counts disorder and clock jumps.
    ///
    /// # Errors
    /// The time is not believable, so the row is lost, and the options are strict.
    pub fn check_time(&mut self, user: UserId, at: i64, line: u64) -> Result<bool> {
        if !BELIEVABLE_SECS.contains(&at) {
            let problem =
                Problem::new("time", format!("at {}, not between 2000 and 2100 (skipped)", words(at)));
            self.skip_as(WarningKind::ClockJump, line, problem)?;
            return Ok(false);
        }
        self.taken += 1;
        let previous = self.last_at.insert(user, at).unwrap_or(at);
        if at < previous {
            let detail = format!("at {} after {}", words(at), words(previous));
            self.warn(WarningKind::OutOfOrder, Some(line), detail);
        } else if at - previous > YEAR_SECS {
            let detail = format!("from {} to {}", words(previous), words(at));
            self.warn(WarningKind::ClockJump, Some(line), detail);
        }
        Ok(true)
    }

    /// Takes an event. One that repeats its user's last is counted and dropped, except for notifications:
    /// an app may well post two in one second.
    pub fn push(&mut self, event: Event, line: Option<u64>) {
        let previous = self.last_event.insert(event.user, event);
        if previous.is_some_and(|previous| is_repeat(&event, &previous)) {
            self.warn(WarningKind::Duplicate, line, "");
        } else {
            self.events.push(event);
        }
    }

    /// Takes the close of an app that was just launched, which comes when its duration is over: in time order only when all is
    /// read.
    pub fn close_at(&mut self, launched: Timestamp, close: Event) {
        self.later.push((launched, close));
    }

    /// Turns a file round that runs from the newest row to the oldest: rows of one second are in true order then.
    pub fn turn_if_newest_first(&mut self) {
        let steps = self.events.windows(2).filter(|pair| pair[0].user == pair[1].user);
        let (mut up, mut down) = (0, 0);
        for pair in steps {
            up += usize::from(pair[1].at > pair[0].at);
            down += usize::from(pair[1].at < pair[0].at);
        }
        if down > up {
            self.events.reverse();
            self.warnings.take_back(WarningKind::OutOfOrder, self.file, down as u64);
        }
    }

    /// The events, in the file's order. Joins places, and gives the apps their ids in order of first appearance in time.
    ///
    /// # Errors
    /// There is no event at all, or more rows could not be used than could.
    pub fn finish(self, positions: Option<&Positions>, vocabulary: &mut Vocabulary) -> Result<Vec<Event>> {
        let Self { file, names, mut events, warnings, skipped, taken, later, .. } = self;
        close_in_time(&mut events, later);
        if events.is_empty() || skipped > taken {
            // Warnings are lost with the error: it says itself what the first row lacked.
            let lost = |warning: &&Warning| {
                use WarningKind::{BadRow, ClockJump, CutOff};
                warning.file == file && matches!(warning.kind, BadRow | ClockJump | CutOff)
            };
            let message = if events.is_empty() {
                "no usable row".to_owned()
            } else {
                format!("{skipped} of {} rows cannot be used: more than half", skipped + taken)
            };
            let error = Error::new(ErrorKind::Data, message).file(file);
            return Err(match warnings.iter().find(lost) {
                Some(Warning { line: Some(line), detail, .. }) => {
                    error.next_step(format!("mend the rows, the first of them line {line}: {detail}"))
                }
                _ => error,
            });
        }
        let mut first_at = vec![None; names.len()];
        for event in &events {
            if let Some(first) = event.signal.app().and_then(|app| first_at.get_mut(app.0 as usize)) {
                *first = Some(first.map_or(event.at, |first: Timestamp| first.min(event.at)));
            }
        }
        let mut by_time: Vec<(Timestamp, usize)> =
            first_at.iter().enumerate().filter_map(|(app, first)| Some(((*first)?, app))).collect();
        by_time.sort_unstable();
        let mut ids = vec![None; names.len()];
        for (_, app) in by_time {
            if let (Some(name), Some(id)) = (names.names().get(app), ids.get_mut(app)) {
                *id = Some(vocabulary.intern(name));
            }
        }
        let id = |app: AppId| ids.get(app.0 as usize).copied().flatten().unwrap_or(app);
        let named = events.into_iter().map(|mut event| {
            event.signal = match event.signal {
                Signal::Launch(app) => Signal::Launch(id(app)),
                Signal::Close(app) => Signal::Close(id(app)),
                Signal::Notification(app) => Signal::Notification(id(app)),
                screen => screen,
            };
            event.place = event.place.or_else(|| positions?.place_at(event.at.0));
            event
        });
        Ok(named.collect())
    }

    fn skip_as(&mut self, kind: WarningKind, line: u64, problem: Problem) -> Result<()> {
        if self.options.strict {
            let error = Error::new(ErrorKind::Data, problem.message).file(self.file).line(line);
            return Err(error
                .field(problem.field)
                .next_step("mend the row, or leave out --strict to skip it"));
        }
        self.skipped += 1;
        let detail = format!("field `{}`: {}", problem.field, problem.message);
        self.warnings.add_by_reason(kind, self.file, problem.field, line, detail);
        Ok(())
    }
}

/// Puts closes into `events` where they belong: before what begins in the same second, and not after the next launch, since only
/// one app is in front.
fn close_in_time(events: &mut Vec<Event>, later: Vec<(Timestamp, Event)>) {
    if later.is_empty() {
        return;
    }
    let mut launches: HashMap<UserId, Vec<Timestamp>> = HashMap::new();
    for event in events.iter().filter(|event| matches!(event.signal, Signal::Launch(_))) {
        launches.entry(event.user).or_default().push(event.at);
    }
    launches.values_mut().for_each(|times| times.sort_unstable());
    let in_time = |(launched, close): (Timestamp, Event)| {
        let times = launches.get(&close.user).map_or(&[][..], Vec::as_slice);
        let next = times.get(times.partition_point(|&at| at <= launched)).copied();
        let last = Timestamp(BELIEVABLE_SECS.end - 1);
        (false, Event { at: next.unwrap_or(last).min(last).min(close.at), ..close })
    };
    let closes = later.into_iter().map(in_time);
    let mut all: Vec<(bool, Event)> = events.drain(..).map(|event| (true, event)).chain(closes).collect();
    all.sort_by_key(|&(is_row, event)| (event.at, is_row));
    events.extend(all.into_iter().map(|(_, event)| event));
}

/// Whether `event` says nothing that its user's event before it did not say.
pub(super) fn is_repeat(event: &Event, previous: &Event) -> bool {
    event == previous && !matches!(event.signal, Signal::Notification(_))
}

/// An event of which user, time, zone and signal are known.
pub(super) fn event(user: UserId, at: i64, utc_offset_secs: i32, signal: Signal) -> Event {
    Event { utc_offset_secs, ..Event::new(user, Timestamp(at), signal) }
}

/// A time for people to read.
fn words(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| format!("second {at}"), |moment| moment.to_string())
}
