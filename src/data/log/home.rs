//! Home screens, lock screens, system dialogs and keyboards: in the foreground between apps, and nobody opens them.
//!
//! Left in, the home screen is the first app after nearly every unlock, and a predictor that always says "the home screen"
//! looks excellent. So their launches and closes are left out, and the app that they come in front of closes then. They are
//! known
//!
//! - by name: the packages of `data/home_screens.csv`, the labels of `data/home_labels.csv`, and those that
//!   [`LogOptions::home`] adds;
//! - by behaviour, where a person's log has [`FEWEST_UNLOCKS`], unlocks that a phone wrote and times with seconds: what comes
//!   first after more than half of the unlocks, and is left for another app within [`BRIEF_SECS`] in more than half of its
//!   launches.
//!
//! [`LogOptions::keep_home`] keeps them all. Notifications stay: no app is answered by one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use super::LogOptions;
use super::lines::excerpt;
use crate::data::event::{AppId, Event, Signal};
use crate::data::vocabulary::Vocabulary;

/// A home screen is left for the next app within this time.
const BRIEF_SECS: i64 = 2;
/// Fewer unlocks do not tell a home screen from an app that is liked.
const FEWEST_UNLOCKS: usize = 30;

static LISTED: LazyLock<HashSet<String>> =
    LazyLock::new(|| TABLES.into_iter().flat_map(rows).flatten().map(|row| plain(&row.name)).collect());

const TABLES: [&str; 2] =
    [include_str!("../../../data/home_screens.csv"), include_str!("../../../data/home_labels.csv")];

/// A row of a table.
#[derive(Debug, serde::Deserialize)]
struct Row {
    name: String,
    #[allow(dead_code)] // for readers of the table; a test checks it
    kind: String,
}

fn rows(table: &str) -> impl Iterator<Item = csv::Result<Row>> {
    csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes()).into_deserialize()
}

/// A name as it is compared: one of lower case, any space being a plain one.
fn plain(name: &str) -> String {
    name.trim().replace(['\u{a0}', '\u{202f}'], " ").to_lowercase()
}

/// What was left out: launches by app, and which of the apps only behave like a home screen.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    launches: BTreeMap<AppId, u64>,
    by_behaviour: HashSet<AppId>,
}

impl LeftOut {
    /// Launches that were left out.
    pub fn count(&self) -> u64 {
        self.launches.values().sum()
    }

    /// The apps in words, the most launched first.
    pub fn words(&self, vocabulary: &Vocabulary) -> String {
        let mut apps: Vec<(&AppId, &u64)> = self.launches.iter().collect();
        apps.sort_by_key(|&(app, count)| (std::cmp::Reverse(count), app));
        let word = |(app, count): &(&AppId, &u64)| {
            let why = if self.by_behaviour.contains(app) { ", by how it behaves" } else { "" };
            format!("{} {count}{why}", excerpt(vocabulary.name(**app), 60))
        };
        let first: Vec<String> = apps.iter().take(5).map(word).collect();
        let more = apps.len().saturating_sub(5);
        let others = if more > 0 { format!("; {more} others") } else { String::new() };
        format!("{}{others}", first.join("; "))
    }
}

/// Leaves the home screens out of one person's events, which come in time order. `by_behaviour` is whether they may be found by
/// that, too.
pub(super) fn leave_out_home(
    events: &mut Vec<Event>,
    options: &LogOptions,
    vocabulary: &Vocabulary,
    by_behaviour: bool,
    left_out: &mut LeftOut,
) {
    if options.keep_home {
        return;
    }
    let mut apps: HashSet<AppId> = events.iter().filter_map(|event| event.signal.app()).collect();
    apps.retain(|&app| is_listed(vocabulary.name(app), options));
    if by_behaviour && has_seconds(events) {
        // One may show before another: a splash screen.
        while let Some(app) = behaves_like_home(events, &apps) {
            left_out.by_behaviour.insert(app);
            apps.insert(app);
        }
    }
    if apps.is_empty() {
        return;
    }
    let mut front = None;
    events.retain_mut(|event| match event.signal {
        Signal::Launch(app) if apps.contains(&app) => {
            *left_out.launches.entry(app).or_default() += 1;
            // What was in front is so no longer.
            let closed = front.take();
            event.signal = closed.map_or(event.signal, Signal::Close);
            closed.is_some()
        }
        Signal::Close(app) if apps.contains(&app) => false,
        Signal::Launch(app) => {
            front = Some(app);
            true
        }
        Signal::Close(app) => {
            front = front.filter(|&open| open != app);
            true
        }
        Signal::ScreenOff => {
            front = None;
            true
        }
        Signal::Notification(_) | Signal::Unlock | Signal::ScreenOn => true,
    });
}

/// Whether the tables have this name.
pub(super) fn is_known(name: &str) -> bool {
    LISTED.contains(&plain(name))
}

/// Whether an app of this name is a home screen. A profile's copy (`com.miui.home@999`) is one, too.
fn is_listed(name: &str, options: &LogOptions) -> bool {
    let package = name.split_once('@').map_or(name, |(package, _)| package);
    LISTED.contains(&plain(package)) || options.home.iter().any(|home| home == name || home == package)
}

/// Whether times are finer than minutes.
pub(super) fn has_seconds(events: &[Event]) -> bool {
    let round = events.iter().filter(|event| event.at.0 % 60 == 0).count();
    2 * round < events.len()
}

/// The app that is first after most unlocks and left at once for another, if there is one. Apps among `known` are not there.
fn behaves_like_home(events: &[Event], known: &HashSet<AppId>) -> Option<AppId> {
    let is_app = |app: &AppId| !known.contains(app);
    let mut first_after: HashMap<AppId, usize> = HashMap::new();
    // Launches, and how many of them another launch followed at once.
    let mut stays: HashMap<AppId, (usize, usize)> = HashMap::new();
    let (mut unlocks, mut is_open, mut last) = (0, false, None::<(AppId, i64)>);
    for event in events {
        match event.signal {
            Signal::Unlock => {
                (unlocks, is_open) = (unlocks + 1, true);
            }
            Signal::Launch(app) if is_app(&app) => {
                if std::mem::take(&mut is_open) {
                    *first_after.entry(app).or_default() += 1;
                }
                if let Some((before, at)) = last.filter(|&(before, _)| before != app) {
                    let brief = event.at.0 - at <= BRIEF_SECS;
                    stays.entry(before).or_default().1 += usize::from(brief);
                }
                stays.entry(app).or_default().0 += 1;
                last = Some((app, event.at.0));
            }
            Signal::ScreenOff => (is_open, last) = (false, None),
            _ => {}
        }
    }
    let (app, first) = first_after.into_iter().max_by_key(|&(app, count)| (count, std::cmp::Reverse(app)))?;
    let (launches, brief) = stays.get(&app).copied().unwrap_or_default();
    (unlocks >= FEWEST_UNLOCKS && 2 * first > unlocks && 2 * brief > launches).then_some(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::event::{Timestamp, UserId};
    use crate::data::privacy::PrivacyKey;

    fn options() -> LogOptions {
        LogOptions::new(PrivacyKey::from_bytes([1; 32]))
    }

    fn event(at: i64, signal: Signal) -> Event {
        Event::new(UserId(1), Timestamp(at), signal)
    }

    fn left(options: &LogOptions, events: &[Event], vocabulary: &Vocabulary) -> (Vec<Event>, LeftOut) {
        let (mut events, mut left_out) = (events.to_vec(), LeftOut::default());
        leave_out_home(&mut events, options, vocabulary, true, &mut left_out);
        (events, left_out)
    }

    #[test]
    fn the_table_is_sound() {
        let table: Vec<Row> = TABLES.into_iter().flat_map(rows).collect::<csv::Result<_>>().unwrap();
        let kinds = [
            "launcher",
            "lock-screen",
            "system-ui",
            "dialog",
            "recents",
            "input-method",
            "always-on-display",
        ];
        let mut seen = HashSet::new();
        for Row { name, kind } in &table {
            assert!(kinds.contains(&kind.as_str()), "{name}: {kind}");
            assert!(seen.insert(plain(name)), "{name} stands there twice");
        }
        assert!(LISTED.contains("com.sec.android.app.launcher") && LISTED.contains("one ui home"));
    }

    #[test]
    fn what_a_home_screen_comes_in_front_of_closes() {
        let mut vocabulary = Vocabulary::new();
        let home = vocabulary.intern("com.miui.home");
        let (mail, clone) = (vocabulary.intern("Mail"), vocabulary.intern("com.miui.home@999"));
        let events = [
            event(0, Signal::Unlock),
            event(1, Signal::Launch(home)),
            event(2, Signal::Close(home)),
            event(2, Signal::Launch(mail)),
            event(9, Signal::Launch(clone)),
            event(9, Signal::Notification(home)),
            event(10, Signal::Close(clone)),
            event(10, Signal::Launch(mail)),
            event(12, Signal::Close(mail)),
            event(12, Signal::Launch(home)),
            event(15, Signal::ScreenOff),
        ];
        let (kept, left_out) = left(&options(), &events, &vocabulary);
        let expected = [
            event(0, Signal::Unlock),
            event(2, Signal::Launch(mail)),
            event(9, Signal::Close(mail)),
            event(9, Signal::Notification(home)),
            event(10, Signal::Launch(mail)),
            event(12, Signal::Close(mail)),
            event(15, Signal::ScreenOff),
        ];
        assert_eq!(kept, expected);
        assert_eq!(
            (left_out.count(), left_out.words(&vocabulary)),
            (3, "com.miui.home 2; com.miui.home@999 1".into())
        );
        let keeping = LogOptions { keep_home: true, ..options() };
        assert_eq!(left(&keeping, &events, &vocabulary).0, events);
        let named = LogOptions { home: vec!["Mail".into()], ..options() };
        assert_eq!(left(&named, &events, &vocabulary).1.count(), 5);
    }

    #[test]
    fn a_home_screen_of_another_name_is_known_by_how_it_behaves() {
        let mut vocabulary = Vocabulary::new();
        let [home, mail, maps] = ["Startbildschirm", "Mail", "Maps"].map(|name| vocabulary.intern(name));
        // Every tenth unlock leads to Mail at once, the others by the home screen.
        let day = |unlock: i64, stay: i64| {
            let (at, app) = (100 * unlock, if unlock % 2 == 0 { mail } else { maps });
            let mut events = vec![event(at, Signal::Unlock)];
            if unlock % 10 > 0 {
                events.push(event(at, Signal::Launch(home)));
            }
            events.extend([event(at + stay, Signal::Launch(app)), event(at + 50, Signal::ScreenOff)]);
            events
        };
        let cases = [(40, 2, 36), (40, 3, 0), (29, 1, 0)];
        for (unlocks, stay, expected) in cases {
            let events: Vec<Event> = (0..unlocks).flat_map(|unlock| day(unlock, stay)).collect();
            let (_, left_out) = left(&options(), &events, &vocabulary);
            assert_eq!(left_out.count(), expected, "{unlocks} unlocks, {stay} s");
            assert!(expected == 0 || left_out.words(&vocabulary).contains("by how it behaves"));
        }
    }
}
