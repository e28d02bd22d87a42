//! What ActivityWatch for Android exports: JSON, UTC, milliseconds.
//!
//! ```json
//! {"buckets": {
//!   "aw-watcher-android-test": {"type": "currentwindow", "events": [
//!     {"id": 2, "timestamp": "2026-04-24T01:25:11.025Z", "duration": 8.4,
//!      "data": {"app": "Messenger", "package": "com.facebook.orca", "classname": "com.facebook.Main"}}]},
//!   "aw-watcher-android-unlock": {"type": "os.lockscreen.unlocks", "events": [
//!     {"id": 1, "timestamp": "2026-04-24T01:25:10.525Z", "duration": 0.0, "data": {}}]}}}
//! ```
//!
//! - A window is a `Launch`, and a `Close` when its duration is over; without a duration nobody knows when. A window of the app
//!   in front that begins within a second of its end, no unlock between, is the same launch: another activity.
//! - Apps go by the name that ActivityWatch gives them, home screens by their package, so that they are known as such.
//! - Windows without a package are a computer's and left out where there are others. Buckets of other types are left out.
//! - The user id is the hash of the file's name without extensions ([`read_logs`](super::read_logs)), with the host's name where
//!   several phones are in one export.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde::de::IgnoredAny;

use super::clock::Clock;
use super::draft::{Draft, Problem, event};
use super::home;
use super::lines::{Line, Lines};
use super::warnings::WarningKind;
use crate::data::event::{AppId, Signal, UserId};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::broken_off;

/// Windows of one app so near each other are one launch.
const SAME_LAUNCH_MS: i64 = 1000;

/// By its first bytes: an export is one line, however long.
pub(super) fn recognises(start: &[u8]) -> bool {
    let start = String::from_utf8_lossy(start);
    let bare: String =
        start.trim_start_matches('\u{feff}').chars().filter(|c| !c.is_whitespace()).take(60).collect();
    bare.starts_with("{\"buckets\":{")
}

pub(super) fn read(lines: Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    let mut bytes = Vec::new();
    lines.into_reader().read_to_end(&mut bytes).map_err(|error| broken_off(error, draft.file, 1))?;
    // A character that was cut off at the end is one of an event that was.
    let is_cut = |error: &std::str::Utf8Error| error.error_len().is_none();
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) if is_cut(&error) => bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid()),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count() as u64;
            return Err(Error::new(ErrorKind::Data, "not UTF-8")
                .file(draft.file)
                .line(line)
                .next_step("save it as UTF-8"));
        }
    };
    let export = match serde_json::from_str::<Export>(text.trim_start_matches('\u{feff}')) {
        Ok(export) => export,
        Err(error) => {
            let whole = up_to_the_last_event(text).filter(|_| error.is_eof());
            let export = whole.and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(|| {
                Error::new(ErrorKind::Data, format!("not what ActivityWatch exports: {error}"))
                    .file(draft.file)
                    .line(error.line().max(1) as u64)
                    .next_step("export it again")
            })?;
            let problem = Problem::new("events", error.to_string());
            draft.skip(Line { number: error.line() as u64, text: "", complete: false }, problem)?;
            export
        }
    };
    let buckets = export.buckets.into_values().collect();
    let owner = draft.owner.clone();
    let people = by_device(buckets);
    let is_one = people.len() == 1;
    for (device, buckets) in people {
        let raw = if is_one { owner.clone() } else { format!("{owner}/{device}") };
        let happenings = happenings(buckets, draft)?;
        write(happenings, draft.user(&raw), &clock, draft)?;
    }
    Ok(())
}

/// An export that was cut off, as if it had ended after its last whole event.
fn up_to_the_last_event(text: &str) -> Option<String> {
    // An event ends with its `data`.
    let end = text.rfind("}}")? + 2;
    Some(format!("{}]}}}}}}", text.get(..end)?))
}

#[derive(Debug, serde::Deserialize)]
struct Export {
    // Sorted, so that one file always gives one log.
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, serde::Deserialize)]
struct Bucket {
    #[serde(rename = "type", default)]
    kind: String,
    hostname: Option<String>,
    #[serde(default)]
    events: Vec<Item>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum Item {
    Event {
        timestamp: String,
        duration: f64,
        #[serde(default)]
        data: Data,
    },
    /// Anything else.
    Bad(IgnoredAny),
}

#[derive(Debug, Default, serde::Deserialize)]
struct Data {
    app: Option<String>,
    package: Option<String>,
}

/// The buckets of each phone: of all where one has windows.
fn by_device(buckets: Vec<Bucket>) -> BTreeMap<String, Vec<Bucket>> {
    let device = |bucket: &Bucket| bucket.hostname.clone().unwrap_or_default();
    let has_apps = |bucket: &&Bucket| bucket.events.iter().any(is_phone);
    let phones: BTreeSet<String> = buckets.iter().filter(has_apps).map(device).collect();
    let mut people: BTreeMap<String, Vec<Bucket>> = BTreeMap::new();
    for bucket in buckets {
        let name = if phones.len() > 1 { device(&bucket) } else { String::new() };
        if phones.len() <= 1 || phones.contains(&name) {
            people.entry(name).or_default().push(bucket);
        }
    }
    people
}

/// Whether an event is a phone's: of an app with a package.
fn is_phone(item: &Item) -> bool {
    matches!(item, Item::Event { data: Data { package: Some(_), .. }, .. })
}

/// Something that happened, in milliseconds of UTC.
struct Happening {
    at_ms: i64,
    /// Nothing for an unlock.
    window: Option<Window>,
}

struct Window {
    app: String,
    until_ms: i64,
}

/// Windows and unlocks in time order.
fn happenings(buckets: Vec<Bucket>, draft: &mut Draft<'_>) -> Result<Vec<Happening>> {
    let has_phone = buckets.iter().flat_map(|bucket| &bucket.events).any(is_phone);
    let mut found = Vec::new();
    for Bucket { kind, events, .. } in buckets {
        let is_unlock = kind == "os.lockscreen.unlocks";
        if !is_unlock && (kind != "currentwindow" || (has_phone && !events.iter().any(is_phone))) {
            continue;
        }
        // Newest first, and so in true order from the end where times are equal.
        for (index, item) in events.into_iter().enumerate().rev() {
            match happening(item, is_unlock) {
                Ok(happening) => found.push(happening),
                Err(problem) => {
                    let message =
                        format!("event {} of the bucket of type {kind}: {}", index + 1, problem.message);
                    draft
                        .skip(Line { number: 1, text: "", complete: true }, Problem { message, ..problem })?;
                }
            }
        }
    }
    // Of equal times, an unlock comes first.
    found.sort_by_key(|happening| (happening.at_ms, happening.window.is_some()));
    Ok(found)
}

fn happening(item: Item, is_unlock: bool) -> std::result::Result<Happening, Problem> {
    let Item::Event { timestamp, duration, data } = item else {
        return Err(Problem::new("timestamp", "an event without timestamp and duration"));
    };
    let at: jiff::Timestamp = timestamp
        .parse()
        .map_err(|_| Problem::not("timestamp", &timestamp, "a time like 2026-04-24T01:25:10.525Z"))?;
    let at_ms = at.as_millisecond();
    if is_unlock {
        return Ok(Happening { at_ms, window: None });
    }
    if !(0.0..=1e9).contains(&duration) {
        return Err(Problem::not("duration", &duration.to_string(), "a number of seconds"));
    }
    let package = data.package.filter(|package| home::is_known(package));
    let app = package.or(data.app).filter(|app| !app.trim().is_empty());
    let app = app.ok_or_else(|| Problem::new("data.app", "missing"))?;
    Ok(Happening { at_ms, window: Some(Window { app, until_ms: at_ms + (1000.0 * duration) as i64 }) })
}

/// The app in front, and when its window ends.
struct Front {
    app: AppId,
    since_ms: i64,
    until_ms: i64,
}

fn write(happenings: Vec<Happening>, user: UserId, clock: &Clock, draft: &mut Draft<'_>) -> Result<()> {
    if !happenings.iter().any(|happening| happening.window.is_none()) {
        let detail = "no bucket of type os.lockscreen.unlocks: nothing can be asked after an unlock";
        draft.warn(WarningKind::NoUnlock, None, detail);
    }
    let push = |draft: &mut Draft<'_>, at_ms: i64, signal| {
        let at = at_ms.div_euclid(1000);
        draft.push(event(user, at, clock.offset_secs(at), signal), None);
    };
    let close = |draft: &mut Draft<'_>, front: Front, at_ms: i64| {
        if front.until_ms > front.since_ms {
            push(draft, front.until_ms.min(at_ms), Signal::Close(front.app));
        }
    };
    let mut front: Option<Front> = None;
    let mut unlocked_since = false;
    for Happening { at_ms, window } in happenings {
        if !draft.check_time(user, at_ms.div_euclid(1000), 1)? {
            continue;
        }
        let Some(Window { app, until_ms }) = window else {
            // An app that is over closes before the unlock.
            if let Some(over) = front.take_if(|front| front.until_ms <= at_ms) {
                close(draft, over, at_ms);
            }
            push(draft, at_ms, Signal::Unlock);
            unlocked_since = true;
            continue;
        };
        let app = draft.names.intern(&app);
        let goes_on = |front: &&mut Front| {
            front.app == app && !unlocked_since && at_ms - front.until_ms <= SAME_LAUNCH_MS
        };
        match front.as_mut().filter(goes_on) {
            Some(front) => front.until_ms = front.until_ms.max(until_ms),
            None => {
                if let Some(before) = front.take() {
                    close(draft, before, at_ms);
                }
                push(draft, at_ms, Signal::Launch(app));
                front = Some(Front { app, since_ms: at_ms, until_ms });
            }
        }
        unlocked_since = false;
    }
    if let Some(front) = front {
        close(draft, front, i64::MAX);
    }
    Ok(())
}
