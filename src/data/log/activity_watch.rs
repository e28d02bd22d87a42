//! What ActivityWatch for Android exports: JSON, UTC, milliseconds; or the database that it keeps
//! ([`sqlite`](super::sqlite)).
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
//! - Windows become launches and closes as [`windows`](super::windows) describes; one without a duration has no end. Keys come in
//!   any order.
//! - Apps go by the name that ActivityWatch gives them, home screens by their package, so that they are known as such.
//! - Windows without a package are a computer's and left out where there are others. Buckets of other types are left out.
//! - The user id is the hash of the file's name without extensions ([`read_logs`](super::read_logs)), with the host's name where
//!   several phones are in one export.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde::de::IgnoredAny;

use super::draft::{Draft, Problem, RowPlace};
use super::home;
use super::jumps::ClockWatch;
use super::lines::{Line, Lines, excerpt};
use super::windows::{self, Happening, What};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::broken_off;

/// By its first bytes: an export is one line, however long.
pub(super) fn recognises(start: &[u8]) -> bool {
    let start = String::from_utf8_lossy(start);
    let bare: String = start.trim_start_matches('\u{feff}').chars().filter(|c| !c.is_whitespace()).collect();
    bare.starts_with('{') && bare.contains("\"buckets\":{")
}

pub(super) fn read(lines: Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    lines.into_reader().read_to_end(&mut bytes).map_err(|error| broken_off(error, draft.file, 1))?;
    // A character that was cut off at the end is one of an event that was.
    let is_cut = |error: &std::str::Utf8Error| error.error_len().is_none();
    let mut damaged_line = None;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_owned(),
        Err(error) if is_cut(&error) => {
            bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid()).to_owned()
        }
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            damaged_line = Some(1 + before.iter().filter(|&&byte| byte == b'\n').count() as u64);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    drop(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let export = match serde_json::from_str::<Export>(text) {
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
    write(export, Origin::Json { damaged_line }, draft)
}

/// Where buckets come from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// An export, and its first line that is not UTF-8.
    Json { damaged_line: Option<u64> },
    /// A database with this table of events.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
    Table(&'static str),
}

/// Writes the events of all buckets.
///
/// # Errors
/// An event cannot be used, and the options are strict.
pub(super) fn write(export: Export, origin: Origin, draft: &mut Draft<'_>) -> Result<()> {
    let owner = draft.owner.clone();
    let people = by_device(export.buckets.into_values().collect());
    let is_one = people.len() == 1;
    for (device, buckets) in people {
        let raw = if is_one { owner.clone() } else { format!("{owner}/{device}") };
        let happenings = happenings(buckets, origin, draft)?;
        let no_unlock = "no bucket of type os.lockscreen.unlocks: nothing can be asked after an unlock";
        windows::write(happenings, draft.user(&raw), no_unlock, draft)?;
    }
    Ok(())
}

/// An export that was cut off, as if it had ended after its last whole event.
fn up_to_the_last_event(text: &str) -> Option<String> {
    // What is open: the export, its buckets, a bucket, its events, an event.
    const EVENT_DEPTH: usize = 5;
    let (mut open, mut in_text, mut escaped, mut end) = (Vec::new(), false, false, None);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                let is_event = open.len() == EVENT_DEPTH && byte == b'}';
                open.pop();
                if is_event {
                    end = Some((at + 1, open.clone()));
                }
            }
            _ => {}
        }
    }
    let (end, open) = end?;
    let closing: String = open.iter().rev().map(|&byte| char::from(byte)).collect();
    Some(format!("{}{closing}", text.get(..end)?))
}

/// All that is in an export or a database.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Export {
    // Sorted, so that one file always gives one log.
    pub buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Bucket {
    #[serde(rename = "type", default)]
    pub kind: String,
    pub hostname: Option<String>,
    #[serde(default)]
    pub events: Vec<Item>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Item {
    Event {
        id: Option<i64>,
        timestamp: String,
        duration: Option<f64>,
        #[serde(default)]
        data: Data,
    },
    /// Anything else.
    Bad(IgnoredAny),
}

#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Data {
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

/// Windows and unlocks.
fn happenings(buckets: Vec<Bucket>, origin: Origin, draft: &mut Draft<'_>) -> Result<Vec<Happening>> {
    let has_phone = buckets.iter().flat_map(|bucket| &bucket.events).any(is_phone);
    let mut found = Vec::new();
    for Bucket { kind, events, .. } in buckets {
        watch_clock(&events, draft);
        let is_unlock = kind == "os.lockscreen.unlocks";
        // Without a type nobody knows what the events are: they are counted below.
        let is_unknown = kind.is_empty();
        let is_window = kind == "currentwindow" && (!has_phone || events.iter().any(is_phone));
        if !is_unlock && !is_window && !is_unknown {
            continue;
        }
        // Newest first, and so in true order from the end where times are equal.
        for (index, item) in events.into_iter().enumerate().rev() {
            let id = if let Item::Event { id, .. } = &item { *id } else { None };
            let place = match origin {
                Origin::Json { damaged_line } => RowPlace::Line(damaged_line.unwrap_or(1)),
                Origin::Table(table) => RowPlace::Row(table, id.unwrap_or_default()),
            };
            let is_damaged = matches!(origin, Origin::Json { damaged_line: Some(_) });
            let happening = if is_unknown {
                Err(Problem::new("type", "a bucket without one"))
            } else {
                happening(item, is_unlock, is_damaged, place)
            };
            match happening {
                Ok(happening) => found.push(happening),
                Err(problem) => {
                    let bucket = format!("bucket of type `{}`", excerpt(&kind, 60));
                    let message = match origin {
                        Origin::Json { .. } => {
                            format!("event {} of a {bucket}: {}", index + 1, problem.message)
                        }
                        Origin::Table(_) => format!("{bucket}: {}", problem.message),
                    };
                    draft.skip_at(place, Problem { message, ..problem })?;
                }
            }
        }
    }
    Ok(found)
}

/// Says where the clock was set back: events are numbered in the order in which they came.
fn watch_clock(events: &[Item], draft: &mut Draft<'_>) {
    let numbered = |item: &Item| match item {
        Item::Event { id: Some(id), timestamp, .. } => {
            Some((*id, timestamp.parse::<jiff::Timestamp>().ok()?.as_second()))
        }
        _ => None,
    };
    let mut times: Vec<(i64, i64)> = events.iter().filter_map(numbered).collect();
    times.sort_unstable();
    let mut watch = ClockWatch::default();
    times.iter().for_each(|&(_, at)| watch.see(at, None));
    draft.note_jumps_of(&watch, false);
}

fn happening(
    item: Item,
    is_unlock: bool,
    is_damaged: bool,
    place: RowPlace<'static>,
) -> std::result::Result<Happening, Problem> {
    let Item::Event { timestamp, duration, data, .. } = item else {
        return Err(Problem::new("timestamp", "an event without timestamp, or with a wrong field"));
    };
    let at: jiff::Timestamp = timestamp
        .parse()
        .map_err(|_| Problem::not("timestamp", &timestamp, "a time like 2026-04-24T01:25:10.525Z"))?;
    let at_ms = at.as_millisecond();
    let happening = |what| Ok(Happening { at_ms, what, offset_secs: None, place });
    if is_unlock {
        return happening(What::Unlock);
    }
    let duration = duration.unwrap_or(0.0);
    if !(0.0..=1e9).contains(&duration) {
        return Err(Problem::not("duration", &duration.to_string(), "a number of seconds"));
    }
    let package = data.package.filter(|package| home::is_known(package));
    let app = package.or(data.app).filter(|app| !app.trim().is_empty());
    let app = app.ok_or_else(|| Problem::new("data.app", "missing"))?;
    // What stands for bytes that are no UTF-8.
    if is_damaged && app.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Problem::new("data.app", "not UTF-8 (save the file as UTF-8)"));
    }
    happening(What::Window { app, until_ms: at_ms + (1000.0 * duration) as i64 })
}
