//! One file on its way to becoming events: what every format's loader writes into.

use std::collections::HashMap;
use std::path::Path;

use super::LogOptions;
use super::clock::{DateNumbers, DateOrder};
use super::jumps::ClockWatch;
use super::lines::{Line, Lines, excerpt};
use super::positions::Positions;
use super::readings::{Reading, Readings};
use super::table::TimeUnit;
use super::warnings::{Warning, WarningKind, Warnings};
use crate::data::event::{AppId, Event, Signal, Timestamp, UserId};
use crate::data::place::PlaceId;
use crate::data::vocabulary::Vocabulary;
use crate::error::{Error, ErrorKind, Result};

/// 2000-01-01 and 2100-01-01: a time outside comes from a clock that was not set.
pub(super) const BELIEVABLE_SECS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// What is wrong with a row of another encoding, and what to do.
const NOT_TEXT: &str = "not UTF-8 (save the file as UTF-8)";
/// So many such rows, and more than one in a hundred, are no damage: the file has another encoding.
const MOST_NOT_TEXT: u64 = 10;
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

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowPlace<'a> {
    /// In this line, counted from 1.
    Line(u64),
    /// In a table of a database, by its row id.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    Row(&'a str, i64),
}

impl From<u64> for RowPlace<'_> {
    fn from(line: u64) -> Self {
        Self::Line(line)
    }
}

/// A user's rows so far.
#[derive(Debug, Default)]
struct Seen {
    last_at: i64,
    watch: ClockWatch,
    /// Of the times with the opposite sign: a file may run from the newest row to the oldest.
    watch_backwards: ClockWatch,
}

/// What a file gave.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// In the file's order.
    pub events: Vec<Event>,
    /// What the phone measured between them.
    pub readings: Readings,
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
    seen: HashMap<UserId, Seen>,
    last_event: HashMap<UserId, Event>,
    /// Rows that could not be used, those of them that are not UTF-8, and rows whose time could be used.
    skipped: u64,
    not_text: u64,
    taken: u64,
    readings: Readings,
    /// Whether a time was read off a wall clock.
    uses_wall_clock: bool,
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
            seen: HashMap::new(),
            last_event: HashMap::new(),
            skipped: 0,
            not_text: 0,
            taken: 0,
            readings: Readings::default(),
            uses_wall_clock: false,
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

    /// The next line of the file that is not blank. One that is not UTF-8 is counted as a row that cannot be used.
    ///
    /// # Errors
    /// The file cannot be read on, or the options are strict.
    pub fn next_line<'l>(&mut self, lines: &'l mut Lines<'_>) -> Result<Option<Line<'l>>> {
        while lines.advance()? {
            if lines.is_text() {
                return Ok(Some(lines.line()));
            }
            self.not_text += 1;
            self.skip(lines.line(), Problem::new("row", NOT_TEXT))?;
        }
        Ok(None)
    }

    /// Counts a row that cannot be used.
    ///
    /// # Errors
    /// The options are strict.
    pub fn skip(&mut self, line: Line<'_>, problem: Problem) -> Result<()> {
        let kind = if line.complete { WarningKind::BadRow } else { WarningKind::CutOff };
        self.skip_as(kind, line.number.into(), problem)
    }

    /// The same for a row that is no line.
    ///
    /// # Errors
    /// The options are strict.
    pub fn skip_at(&mut self, place: RowPlace<'_>, problem: Problem) -> Result<()> {
        self.skip_as(WarningKind::BadRow, place, problem)
    }

    /// Adds `words` to what is said about rows that were skipped for `field`.
    pub fn say_more(&mut self, field: &'static str, words: &str) {
        self.warnings.say_more(WarningKind::BadRow, self.file, field, words);
    }

    /// Says that a time was read off a wall clock: without a zone it is not UTC.
    pub fn note_wall_clock(&mut self) {
        self.uses_wall_clock = true;
    }

    /// Whether the times are not truly UTC, because the zone of the wall clock is not known.
    pub fn is_off_utc(&self) -> bool {
        self.uses_wall_clock && self.options.time_zone.is_none()
    }

    /// Whether the file had no rows at all.
    pub fn is_blank(&self) -> bool {
        self.skipped == 0 && self.events.is_empty() && self.readings.is_empty()
    }

    /// Takes what the phone measured at `at` (UTC seconds).
    pub fn read_off(&mut self, user: UserId, at: i64, reading: Reading) {
        self.readings.push(user, at, reading);
    }

    /// Says that another table of a database begins, whose rows come after no earlier ones.
    #[cfg(feature = "sqlite")]
    pub fn begin_table(&mut self) {
        self.note_jumps(false);
        self.last_event.clear();
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
    pub fn check_time<'p>(&mut self, user: UserId, at: i64, place: impl Into<RowPlace<'p>>) -> Result<bool> {
        let place = place.into();
        if !BELIEVABLE_SECS.contains(&at) {
            let why = why_not_believable(at, self.options.unit);
            let message = format!("at {}, not between 2000 and 2100{why} (skipped)", words(at));
            let problem = Problem::new("time", message);
            self.skip_as(WarningKind::ClockJump, place, problem)?;
            return Ok(false);
        }
        self.taken += 1;
        let seen = self.seen.entry(user).or_insert_with(|| Seen { last_at: at, ..Seen::default() });
        let previous = std::mem::replace(&mut seen.last_at, at);
        seen.watch.see(at, place.line());
        seen.watch_backwards.see(-at, place.line());
        if at < previous {
            let detail = format!("{}at {} after {}", place.words(), words(at), words(previous));
            self.warn(WarningKind::OutOfOrder, place.line(), detail);
        } else if at - previous > YEAR_SECS {
            let detail = format!("{}from {} to {}", place.words(), words(previous), words(at));
            self.warn(WarningKind::ClockJump, place.line(), detail);
        }
        Ok(true)
    }

    /// Says where clocks were set back among the rows so far, which run from the newest to the oldest if `is_backwards`.
    fn note_jumps(&mut self, is_backwards: bool) {
        let mut seen: Vec<(UserId, Seen)> = self.seen.drain().collect();
        seen.sort_by_key(|(user, _)| user.0);
        for (_, seen) in seen {
            self.note_jumps_of(if is_backwards { &seen.watch_backwards } else { &seen.watch }, is_backwards);
        }
    }

    /// The same of one phone whose rows were watched elsewhere, in the order in which it wrote them.
    pub fn note_jumps_of(&mut self, watch: &ClockWatch, is_backwards: bool) {
        let Some((count, jump)) = watch.jumps() else { return };
        let (mut from, mut to, mut ahead) = (jump.from, jump.to, jump.ahead);
        if is_backwards {
            (from, to) = (-jump.to, -jump.from);
            ahead = jump.ahead.map(|(before, after)| (-after, -before));
        }
        let minutes = (from - to + 30) / 60;
        let size =
            if minutes < 120 { format!("{minutes} min") } else { format!("{} h", (minutes + 30) / 60) };
        let mut detail = format!("by {size} from {} to {}", words(from), words(to));
        if let Some((before, after)) = ahead {
            detail += &format!(
                ", after it had been set forth from {} to {}: what is between may be as much too late",
                words(before),
                words(after)
            );
        }
        if self.is_off_utc() {
            detail += "; or summer time ended, which --time-zone tells";
        }
        detail += ". Two files put one after another look the same. Events are sorted by time";
        self.warnings.add_many(WarningKind::ClockSet, self.file, count, jump.line, detail);
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
        self.note_jumps(down > up);
        if down > up {
            self.events.reverse();
            self.warnings.take_back(WarningKind::OutOfOrder, self.file, down as u64);
        }
    }

    /// What the file gave. Joins places, and gives the apps their ids in order of first appearance in time.
    ///
    /// # Errors
    /// There is nothing at all, or more rows could not be used than could, or too many are not UTF-8.
    pub fn finish(mut self, positions: Option<&Positions>, vocabulary: &mut Vocabulary) -> Result<Part> {
        self.note_jumps(false);
        let Self { file, names, mut events, warnings, skipped, not_text, taken, later, readings, .. } = self;
        close_in_time(&mut events, later);
        let is_empty = events.is_empty() && readings.is_empty();
        let is_other_encoding = not_text > MOST_NOT_TEXT && not_text > (skipped + taken) / 100;
        if is_empty || skipped > taken || is_other_encoding {
            // Warnings are lost with the error: it says itself what the first row lacked.
            let lost = |warning: &&Warning| {
                use WarningKind::{BadRow, ClockJump, CutOff};
                warning.file == file && matches!(warning.kind, BadRow | ClockJump | CutOff)
            };
            let message = if is_empty {
                "no usable row".to_owned()
            } else if is_other_encoding {
                format!("{not_text} of {} rows are {NOT_TEXT}", skipped + taken)
            } else {
                format!("{skipped} of {} rows cannot be used: more than half", skipped + taken)
            };
            let error = Error::new(ErrorKind::Data, message).file(file);
            return Err(match warnings.iter().find(lost) {
                Some(Warning { line: Some(line), detail, .. }) => {
                    error.next_step(format!("mend the rows, the first of them line {line}: {detail}"))
                }
                Some(Warning { detail, .. }) => {
                    error.next_step(format!("mend the rows, the first of them: {detail}"))
                }
                None => error.next_step(
                    "the file has no row after its header, or none that says what happened: export the log again, over a longer time",
                ),
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
        Ok(Part { events: named.collect(), readings })
    }

    fn skip_as(&mut self, kind: WarningKind, place: RowPlace<'_>, problem: Problem) -> Result<()> {
        let message = format!("{}{}", place.words(), problem.message);
        if self.options.strict {
            let error = Error::new(ErrorKind::Data, message).file(self.file);
            let error = place.line().into_iter().fold(error, Error::line);
            return Err(error
                .field(problem.field)
                .next_step("mend the row, or leave out --strict to skip it"));
        }
        self.skipped += 1;
        let detail = format!("field `{}`: {message}", problem.field);
        self.warnings.add_by_reason(kind, self.file, problem.field, place.line(), detail);
        Ok(())
    }
}

impl RowPlace<'_> {
    /// The line, if it has one.
    pub fn line(self) -> Option<u64> {
        match self {
            Self::Line(line) => Some(line),
            Self::Row(..) => None,
        }
    }

    /// What a message begins with, where there is no line to name.
    fn words(self) -> String {
        match self {
            Self::Line(_) => String::new(),
            Self::Row(table, row) => format!("table `{}`, row {row}: ", excerpt(table, 60)),
        }
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
/// What a time outside of [`BELIEVABLE_SECS`] most likely comes of, and what to do then. `unit` is the one that was asked for.
fn why_not_believable(at: i64, unit: Option<TimeUnit>) -> String {
    let written = at as f64 * unit.map_or(1.0, TimeUnit::per_sec);
    match (TimeUnit::of(written), unit) {
        (Some(other), Some(unit)) => format!(": read in {unit}, but likely in {other}: say --unit {other}"),
        (Some(other), None) => {
            format!(": likely in {other}, where seconds are meant: name --columns, and --unit {other}")
        }
        (None, _) if (0..YEAR_SECS).contains(&at) => {
            ": the clock was not set, as after an empty battery; such rows tell nothing".to_owned()
        }
        (None, _) => String::new(),
    }
}

fn words(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| format!("second {at}"), |moment| moment.to_string())
}
