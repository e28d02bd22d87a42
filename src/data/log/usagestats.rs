//! What `adb shell dumpsys usagestats` prints: a day of events, no app to install, local time.
//!
//! ```text
//! user=0
//!   Last 24 hour events (timeRange="9/26/2026, 12:00 PM – 9/27/2026, 12:00 PM" )
//!     time="2026-09-26 23:10:00" type=SCREEN_INTERACTIVE package=android flags=0x0
//!     time="2026-09-26 23:10:02" type=KEYGUARD_HIDDEN package=android flags=0x0
//!     time="2026-09-26 23:10:03" type=ACTIVITY_RESUMED package=com.example.chat class=com.example.Main instanceId=1 flags=0x0
//! ```
//!
//! - `ACTIVITY_RESUMED` (before Android 10 `MOVE_TO_FOREGROUND`) is a `Launch` unless its package is in front
//!   already: a run of one package's activities is one launch. `Close` comes when the package's current activity
//!   is paused or stopped and none of its own follows, or when the screen goes off or is locked.
//! - `KEYGUARD_HIDDEN` is `Unlock`. `SCREEN_INTERACTIVE` is `ScreenOn`, but `Unlock` where the phone is known to
//!   be unlocked still and an app comes next, and on a phone that never shows a lock screen (with a warning).
//!   `KEYGUARD_SHOWN` while the screen is lit is `ScreenOn`. `SCREEN_NON_INTERACTIVE` and `DEVICE_SHUTDOWN` are
//!   `ScreenOff`. `NOTIFICATION_INTERRUPTION` is `Notification`. Everything else is left out.
//! - The dump repeats events in its daily, weekly and other sections: a section adds only what earlier ones lack.
//!   Two equal lines within one section are two events.
//! - Apps go by package name, those of a further profile (Android user N > 0: a work profile, a clone of an app) as
//!   `package@N`, unless [`Profiles::People`] makes another person of it, whose raw id ends in `/N`. Screen and lock are the
//!   phone's: Android writes them down for each profile, and they are read of the first.
//! - The user id is the hash of the file's name without extensions ([`read_logs`](super::read_logs)).
//! - Older Androids print localised times such as `4/27/2019, 22:58`; the file tells the order of day and month.

use std::collections::HashMap;

use jiff::civil::{DateTime, Time};

use super::Profiles;
use super::clock::{Clock, DateNumbers};
use super::draft::{Draft, Problem, event};
use super::jumps::ClockWatch;
use super::lines::Lines;
use super::locale::time_of_day;
use super::unlock::SAME_MOMENT_SECS;
use super::warnings::WarningKind;
use crate::data::event::{AppId, Signal, UserId};
use crate::error::Result;

pub(super) fn recognises(head: &[String]) -> bool {
    head.iter().any(|line| {
        line.trim().starts_with("Last 24 hour events")
            || line.trim().starts_with("In-memory daily stats")
            || (line.trim().starts_with("time=") && line.contains("type="))
    })
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    let mut rows: Vec<Row> = Vec::new();
    let (mut android_user, mut section) = (0_u32, 0_u32);
    while let Some(line) = draft.next_line(lines)? {
        let text = line.text.trim();
        if !text.starts_with("time=") {
            if let Some(user) = text.strip_prefix("user=") {
                android_user =
                    user.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(android_user);
            }
            let is_header =
                ["user=", "Last 24 hour", "In-memory", "timeRange="].iter().any(|h| text.starts_with(h));
            section += u32::from(is_header);
            if text.contains(" type=") && text.contains(" package=") {
                draft.skip(line, Problem::new("time", "missing"))?;
            }
            continue;
        }
        match parse(text) {
            Ok(row) => rows.push(Row { android_user, section, line: line.number, ..row }),
            Err(problem) => draft.skip(line, problem)?,
        }
    }
    if draft.options.profiles == Profiles::Apps {
        rows = as_one_person(rows);
    }
    let owner = draft.owner.clone();
    for (android_user, events) in by_user(rows, &clock, draft)? {
        let raw = if android_user == 0 { owner.clone() } else { format!("{owner}/{android_user}") };
        write(&events, draft.user(&raw), &clock, draft)?;
    }
    Ok(())
}

/// The rows of all profiles as one person's.
fn as_one_person(mut rows: Vec<Row>) -> Vec<Row> {
    let is_lock = |row: &&Row| matches!(row.kind, Kind::KeyguardHidden | Kind::ScreenOn | Kind::ScreenOff);
    let first = rows.iter().filter(is_lock).map(|row| row.android_user).min();
    rows.retain_mut(|row| {
        let profile = std::mem::take(&mut row.android_user);
        let is_app = matches!(row.kind, Kind::Resumed | Kind::Paused | Kind::Notification | Kind::Other);
        if is_app && profile > 0 {
            row.package = format!("{}@{profile}", row.package);
        }
        is_app || first.is_none_or(|first| first == profile)
    });
    rows
}

/// A line as the dump has it.
#[derive(Debug, Clone)]
struct Row {
    time: When,
    kind: Kind,
    package: String,
    /// The activity's class and instance: a package's stale activity must not close its current one.
    activity: String,
    android_user: u32,
    section: u32,
    line: u64,
}

#[derive(Debug, Clone, Copy)]
enum When {
    /// UTC, from a dump for programs (`-c`).
    UtcSecs(i64),
    Local(DateNumbers, Time),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Resumed,
    Paused,
    ScreenOn,
    ScreenOff,
    KeyguardShown,
    KeyguardHidden,
    Notification,
    Other,
}

impl Kind {
    /// Names of `android.app.usage.UsageEvents.Event`, and the numbers that some dumps print instead.
    fn parse(text: &str) -> Self {
        match text {
            "ACTIVITY_RESUMED" | "MOVE_TO_FOREGROUND" | "1" => Kind::Resumed,
            "ACTIVITY_PAUSED" | "ACTIVITY_STOPPED" | "MOVE_TO_BACKGROUND" | "2" | "23" => Kind::Paused,
            "SCREEN_INTERACTIVE" | "15" => Kind::ScreenOn,
            "SCREEN_NON_INTERACTIVE" | "16" | "DEVICE_SHUTDOWN" | "26" => Kind::ScreenOff,
            "KEYGUARD_SHOWN" | "17" => Kind::KeyguardShown,
            "KEYGUARD_HIDDEN" | "18" => Kind::KeyguardHidden,
            "NOTIFICATION_INTERRUPTION" | "12" => Kind::Notification,
            _ => Kind::Other,
        }
    }
}

fn parse(text: &str) -> std::result::Result<Row, Problem> {
    let rest = text.strip_prefix("time=").unwrap_or(text);
    let (time, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or_else(|| Problem::new("time", "a quote is missing"))?,
        None => rest.split_once(' ').unwrap_or((rest, "")),
    };
    let field = |name: &str| {
        let value = |pair: &'_ str| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        rest.split_whitespace().find_map(value)
    };
    let kind = field("type").ok_or_else(|| Problem::new("type", "missing"))?;
    let package = field("package").filter(|package| !package.is_empty());
    let activity =
        format!("{} {}", field("class").unwrap_or_default(), field("instanceId").unwrap_or_default());
    Ok(Row {
        time: when(time).ok_or_else(|| Problem::not("time", time, "a time"))?,
        kind: Kind::parse(&kind),
        package: package.ok_or_else(|| Problem::new("package", "missing"))?,
        activity,
        android_user: 0,
        section: 0,
        line: 0,
    })
}

/// `2023-05-01 12:00:00`, `4/27/2019, 22:58`, `5/20/2021, 11:16 AM`, `1495412345678`
fn when(text: &str) -> Option<When> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(When::UtcSecs(text.parse::<i64>().ok()?.div_euclid(1000)));
    }
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    Some(When::Local(DateNumbers::parse(date)?, time_of_day(time)?))
}

/// Rows with their UTC seconds.
type Timed = Vec<(i64, Row)>;

/// Each Android user's rows in time order, each event once.
fn by_user(rows: Vec<Row>, clock: &Clock, draft: &mut Draft<'_>) -> Result<Vec<(u32, Timed)>> {
    let local = |row: &Row| match row.time {
        When::Local(date, time) => Some((date, time)),
        When::UtcSecs(_) => None,
    };
    let dates: Vec<_> = rows.iter().filter_map(local).collect();
    let order = draft.date_order(&dates);
    let mut users: Vec<(u32, Timed)> = Vec::new();
    let mut user_index: HashMap<u32, usize> = HashMap::new();
    let mut stretch = (0, 0, 0);
    let mut last: Option<(i64, DateTime, u32)> = None;
    let (mut watch, mut watched) = (ClockWatch::default(), 0);
    for row in rows {
        let (utc_secs, local) = match row.time {
            When::UtcSecs(secs) => (Some(secs), None),
            When::Local(date, time) => {
                draft.note_wall_clock();
                let local = date.date(order).map(|date| date.to_datetime(time));
                // A line later on the wall clock within its section is later in truth too.
                let not_before = last.filter(|&(_, _, section)| section == row.section).map(|(at, ..)| at);
                (local.map(|local| clock.utc_secs(local, not_before)), local)
            }
        };
        let Some(at) = utc_secs else {
            let line = super::lines::Line { number: row.line, text: "", complete: true };
            draft.skip(line, Problem::new("time", format!("not a date as {order}")))?;
            continue;
        };
        // A dump without headers (some people keep only the event lines) starts a section by going back in time.
        let goes_back = last.is_some_and(|(then, ..)| at < then);
        stretch =
            if goes_back || stretch.0 != row.section { (row.section, stretch.1 + 1, 0) } else { stretch };
        last = Some((at, local.unwrap_or_default(), row.section));
        // Each section runs upwards; lines without the headers may come of several.
        if watched != row.section {
            draft.note_jumps_of(&std::mem::take(&mut watch), false);
            watched = row.section;
        }
        if row.section > 0 {
            watch.see(at, Some(row.line));
        }
        let row = Row { section: stretch.1, ..row };
        let index = *user_index.entry(row.android_user).or_insert(users.len());
        match users.get_mut(index) {
            Some((_, list)) => list.push((at, row)),
            None => users.push((row.android_user, vec![(at, row)])),
        }
    }
    draft.note_jumps_of(&watch, false);
    for (_, list) in &mut users {
        keep_each_once(list);
        list.sort_by_key(|&(at, _)| at);
    }
    Ok(users)
}

/// Drops from every section the lines that earlier sections had as often.
fn keep_each_once(rows: &mut Timed) {
    type Key = (i64, Kind, String, String);
    let mut kept: HashMap<Key, u32> = HashMap::new();
    let mut in_section: HashMap<Key, u32> = HashMap::new();
    let mut section = None;
    rows.retain(|(at, row)| {
        if section.replace(row.section) != Some(row.section) {
            // Not `clear`, which goes through all the room of the largest section so far, section after section.
            in_section = HashMap::new();
        }
        let key = (*at, row.kind, row.package.clone(), row.activity.clone());
        let here = in_section.entry(key.clone()).or_insert(0);
        *here += 1;
        let before = kept.entry(key).or_insert(0);
        let is_new = *here > *before;
        *before = (*before).max(*here);
        is_new
    });
}

fn write(rows: &[(i64, Row)], user: UserId, clock: &Clock, draft: &mut Draft<'_>) -> Result<()> {
    let has = |kind: Kind| rows.iter().any(|(_, row)| row.kind == kind);
    let has_keyguard = has(Kind::KeyguardHidden);
    if !has_keyguard && has(Kind::ScreenOn) {
        let detail = "no KEYGUARD_HIDDEN event: a phone without a lock screen, so the screen lighting up counts as its unlock";
        draft.warn(WarningKind::NoKeyguard, None, detail);
    } else if !has_keyguard && has(Kind::Resumed) {
        let detail = "no screen or keyguard event (Android 8 and older record none): nothing can be asked after an unlock";
        draft.warn(WarningKind::NoUnlock, None, detail);
    }
    let has_lock = has(Kind::KeyguardShown);
    let mut phone = Phone { user, clock, draft, front: None, lit: false, unlocked: false };
    for (index, (at, row)) in rows.iter().enumerate() {
        if row.kind == Kind::Other || !phone.draft.check_time(user, *at, row.line)? {
            continue;
        }
        let moment = Moment { at: *at, line: row.line };
        match row.kind {
            Kind::Resumed => phone.resume(row, moment),
            Kind::Paused => phone.pause(row, moment),
            Kind::Notification => {
                let app = phone.draft.names.intern(&row.package);
                phone.push(moment, Signal::Notification(app));
            }
            Kind::ScreenOff => {
                phone.leave(moment);
                phone.lit = false;
                phone.push(moment, Signal::ScreenOff);
            }
            Kind::KeyguardShown => {
                phone.unlocked = false;
                if phone.lit {
                    phone.leave(moment);
                    phone.push(moment, Signal::ScreenOn);
                }
            }
            Kind::KeyguardHidden => {
                phone.unlocked = true;
                phone.leave_if_paused(moment.at);
                phone.push(moment, Signal::Unlock);
            }
            Kind::ScreenOn => {
                // Nothing was in front of a dark screen, even where its going dark was not recorded: what comes
                // to the front now, even the same package, is a launch. But what came there just before is what the
                // screen lit up for.
                let is_new = |front: &Front| moment.at - front.since <= SAME_MOMENT_SECS;
                let shows_app = phone.front.as_ref().is_some_and(is_new);
                if !shows_app {
                    phone.leave(moment);
                }
                phone.lit = true;
                let telling = |row: &&(i64, Row)| {
                    !matches!(row.1.kind, Kind::Other | Kind::Notification | Kind::Paused)
                };
                let next = rows.iter().skip(index + 1).find(telling).map(|(_, row)| row.kind);
                let still_unlocked = has_lock && phone.unlocked && (shows_app || next == Some(Kind::Resumed));
                let unlocks = !has_keyguard || still_unlocked;
                phone.push(moment, if unlocks { Signal::Unlock } else { Signal::ScreenOn });
            }
            Kind::Other => {}
        }
    }
    if let Some((at, _)) = rows.last() {
        phone.leave_if_paused(*at);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    at: i64,
    line: u64,
}

/// The package in front, its current activity, and since when that is paused.
struct Front {
    app: AppId,
    since: i64,
    activity: String,
    paused_at: Option<i64>,
}

/// What the phone shows while its rows go by.
struct Phone<'a, 'd> {
    user: UserId,
    clock: &'a Clock,
    draft: &'a mut Draft<'d>,
    front: Option<Front>,
    lit: bool,
    unlocked: bool,
}

impl Phone<'_, '_> {
    fn resume(&mut self, row: &Row, moment: Moment) {
        let app = self.draft.names.intern(&row.package);
        let same = self.front.as_ref().filter(|front| front.app == app);
        let since = same.map_or(moment.at, |front| front.since);
        if same.is_none() {
            self.leave(moment);
            self.push(moment, Signal::Launch(app));
        }
        self.front = Some(Front { app, since, activity: row.activity.clone(), paused_at: None });
    }

    fn pause(&mut self, row: &Row, moment: Moment) {
        let app = self.draft.names.id(&row.package);
        if let Some(front) = &mut self.front
            && Some(front.app) == app
            && front.activity == row.activity
        {
            // Another activity of the package may follow: the close is written when something else does.
            front.paused_at.get_or_insert(moment.at);
        }
    }

    /// The app in front leaves: when it was paused, or now.
    fn leave(&mut self, moment: Moment) {
        if let Some(front) = self.front.take() {
            let at = front.paused_at.unwrap_or(moment.at);
            self.push(Moment { at, ..moment }, Signal::Close(front.app));
        }
    }

    fn leave_if_paused(&mut self, at: i64) {
        if self.front.as_ref().is_some_and(|front| front.paused_at.is_some()) {
            self.leave(Moment { at, line: 0 });
        }
    }

    fn push(&mut self, moment: Moment, signal: Signal) {
        let offset_secs = self.clock.offset_secs(moment.at);
        self.draft.push(event(self.user, moment.at, offset_secs, signal), Some(moment.line));
    }
}
