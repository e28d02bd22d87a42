//! A history that was written and read again is the same to the last bit, now and ever after; and bytes that are none
//! are refused, or do no harm.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod counting;
#[cfg(feature = "train")]
mod people;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

use counting::peak_bytes;
use foretap::ErrorKind;
use foretap::context::pointer_features::{PointerRows, QUESTION_NAMES};
use foretap::context::tokens::{BATTERIES, GAPS, KINDS, MAX_WINDOW, NETWORKS, PLACES, Token};
use foretap::context::{History, MAX_APPS, Task, features};
use foretap::data::{AppId, Battery, Event, Network, PlaceId, Signal, Timestamp, UserId, Vocabulary};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const TASKS: [Task; 2] = [Task::FirstAfterUnlock, Task::NextLaunch];

/// Someone who does not exist, and what one phone reports of them.
struct Life {
    apps: u32,
    /// The clock's steps, in seconds.
    step: fn(&mut ChaCha8Rng) -> i64,
    random: ChaCha8Rng,
    now: i64,
}

impl Life {
    fn new(apps: u32, seed: u64) -> Self {
        let step = |random: &mut ChaCha8Rng| random.random_range(0..400_i64);
        Self { apps, step, random: ChaCha8Rng::seed_from_u64(seed), now: 1_772_434_800 }
    }

    fn event(&mut self) -> Event {
        let Self { apps, step, random, now } = self;
        *now = now.saturating_add(step(random));
        // A few apps often, most rarely.
        let rarity: f64 = random.random();
        let app = AppId((f64::from(*apps) * rarity.powi(3)) as u32);
        let signal = match random.random_range(0..14) {
            0..=5 => Signal::Launch(app),
            6 | 7 => Signal::Close(app),
            8 => Signal::Notification(app),
            9 | 10 => Signal::Unlock,
            11 => Signal::ScreenOn,
            _ => Signal::ScreenOff,
        };
        let percent = random.random_range(0..=120_u8);
        let networks = [Network::Unknown, Network::Offline, Network::Wifi, Network::Cellular];
        Event {
            utc_offset_secs: 3_600 * random.random_range(-12..=14),
            place: place(random.random_range(0..30)),
            battery: Battery {
                percent: Some(percent).filter(|&percent| percent <= 100),
                charging: [None, Some(false), Some(true)][random.random_range(0..3)],
            },
            network: networks[random.random_range(0..4)],
            ..Event::new(UserId(7), Timestamp(*now), signal)
        }
    }

    fn events(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.event()).collect()
    }
}

/// One of twenty places, the first ones more often, or none.
fn place(number: u32) -> Option<PlaceId> {
    let letters = b"bcdefghjkmnpqrstuvwx";
    let number = if number < 10 { number / 3 } else { number };
    letters.get(number as usize).and_then(|&letter| format!("u33{}", letter as char).parse().ok())
}

fn names(apps: u32) -> Vocabulary {
    Vocabulary::from_names((0..apps).map(|app| format!("app.number.{app:05}")))
}

fn favourites() -> Arc<[AppId]> {
    (0..20).map(AppId).collect()
}

fn folded(events: &[Event]) -> History {
    let mut history = History::new(favourites());
    events.iter().for_each(|event| history.observe(event));
    history
}

/// Columns of the line of resumed apps.
const LINE: [&str; 3] = ["resume_rate_at_absence@2", "resume_rate_mean@2", "resume_rate_evidence@2"];

/// All that a predictor can read of a history, apps by name; floats as bits, so that a missing value equals itself.
#[derive(Debug, PartialEq, Default)]
struct Known {
    candidates: Vec<String>,
    last_app: Option<String>,
    tokens: Vec<(Token, Option<String>)>,
    numbers: Vec<u32>,
    /// Of the numbers: those that the line of resumed apps says.
    line: Vec<u32>,
    none_of_these: Vec<u64>,
}

fn known(history: &History, now: Timestamp, names: &Vocabulary) -> Known {
    let (mut known, mut matrix, mut rows, mut tokens) =
        (Known::default(), Vec::new(), PointerRows::default(), Vec::new());
    for task in TASKS {
        let context = history.context_at(now, task);
        let name = |app: AppId| names.name(app).to_owned();
        known.candidates.extend(context.candidates().iter().copied().map(name));
        known.last_app = context.last_app().map(name);
        features::fill(&context, &mut matrix);
        rows.fill(&context);
        let bits = |value: &f32| {
            assert!(!value.is_infinite(), "an infinite feature");
            value.to_bits()
        };
        known.numbers.extend(matrix.iter().chain(&rows.candidates).map(bits));
        for (name, value) in QUESTION_NAMES.iter().zip(&rows.question) {
            let is_of_line = LINE.contains(name);
            if is_of_line { &mut known.line } else { &mut known.numbers }.push(bits(value));
        }
        let shares = context.candidates().iter().map(|&app| context.transitions_to(app).0);
        known.numbers.extend(shares.map(f32::to_bits));
        known.none_of_these.push(context.none_of_these().to_bits());
        context.tokens(MAX_WINDOW, &mut tokens);
        known.numbers.push(context.stepping_window(32) as u32);
        for token in &tokens {
            let classes = [token.kind, token.place, token.gap, token.network, token.battery, token.weekday];
            let limits = [KINDS, PLACES, GAPS, NETWORKS, BATTERIES, 7];
            assert!(
                classes.iter().zip(limits).all(|(&class, limit)| usize::from(class) < limit),
                "{token:?}"
            );
            assert!((0.0..24.0).contains(&token.hour), "{token:?}");
            known.tokens.push((Token { app: None, ..*token }, token.app.map(name)));
        }
    }
    known
}

/// The same event, in the ids of another vocabulary.
fn renamed(event: &Event, from: &Vocabulary, to: &mut Vocabulary) -> Event {
    let mut id = |app| to.intern(from.name(app));
    let signal = match event.signal {
        Signal::Launch(app) => Signal::Launch(id(app)),
        Signal::Close(app) => Signal::Close(id(app)),
        Signal::Notification(app) => Signal::Notification(id(app)),
        other => other,
    };
    Event { signal, ..*event }
}

/// Writes `history`, reads it with another vocabulary, and lets both go on: nobody can tell them apart.
fn assert_same_now_and_later(mut history: History, now: Timestamp, names: &Vocabulary, later: &[Event]) {
    let bytes = history.write(names).unwrap();
    let mut others = Vocabulary::from_names(["app.number.00003", "app.of.a.new.bundle", "app.number.00000"]);
    // The same favourites, as far as names go.
    let favourites = favourites().iter().map(|&app| others.intern(names.name(app))).collect();
    let mut restored = History::read(&bytes, &mut others, favourites).unwrap();
    assert!(restored.write(&others).unwrap() == bytes, "other bytes when written again");
    assert_eq!(known(&restored, now, &others), known(&history, now, names), "at the moment");
    for (number, event) in later.iter().enumerate() {
        history.observe(event);
        restored.observe(&renamed(event, names, &mut others));
        if number % 50 == 0 || number + 1 == later.len() {
            let now = event.at;
            assert_eq!(known(&restored, now, &others), known(&history, now, names), "{number} events later");
        }
    }
    assert!(restored.write(&others).unwrap() == history.write(names).unwrap(), "other bytes later");
}

#[test]
fn a_restored_history_is_the_same_now_and_later() {
    struct Case {
        what: &'static str,
        apps: u32,
        events: usize,
        later: usize,
    }
    let case = |what, apps, events, later| Case { what, apps, events, later };
    let cases = [
        case("nothing", 9, 0, 500),
        case("one event", 9, 1, 500),
        case("few", 9, 10, 500),
        case("a week", 30, 700, 500),
        case("lists that are full", 60, 20_000, 500),
        case("more apps than there is room for", 4 * MAX_APPS as u32, 30_000, 2_000),
    ];
    for Case { what, apps, events, later } in cases {
        println!("{what}");
        let mut life = Life::new(apps, u64::from(apps) + events as u64);
        let past = life.events(events);
        let met: BTreeSet<AppId> = past.iter().filter_map(|event| event.signal.app()).collect();
        assert_eq!(met.len() > MAX_APPS, apps as usize > MAX_APPS, "{what}: {} apps", met.len());
        let (history, now) = (folded(&past), Timestamp(life.now));
        assert_same_now_and_later(history, now, &names(apps), &life.events(later));
    }
}

/// Whether a history was written and read after every event or never makes no difference.
#[test]
fn a_history_may_be_restored_at_any_moment() {
    let (mut life, mut names) = (Life::new(12, 1), names(12));
    let (mut history, mut restored) = (History::new(favourites()), History::new(favourites()));
    for event in life.events(600) {
        history.observe(&event);
        restored.observe(&event);
        restored = History::read(&restored.write(&names).unwrap(), &mut names, favourites()).unwrap();
        assert_eq!(known(&restored, event.at, &names), known(&history, event.at, &names));
    }
    assert_eq!(names.len(), 12, "no name was added");
}

/// The log of somebody who does not exist, of which builds of each version wrote the history: it never changes.
fn remembered() -> (Vec<Event>, Vocabulary) {
    let mut events = Vec::new();
    let mut now = 1_772_434_800;
    for n in 0..60_u32 {
        let app = |of: u32| AppId((n + of).wrapping_mul(2_654_435_761) / 7_919 % 5);
        // Apps are used again within the hour, or after hours.
        now += if n % 5 == 0 { 5 * 3600 + 700 } else { 700 };
        let signals = [
            (0, Some(Signal::Notification(app(1))).filter(|_| n % 3 == 0)),
            (70, Some(Signal::ScreenOn)),
            (71, Some(Signal::Unlock)),
            (75, Some(Signal::Launch(app(2)))),
            (90, Some(Signal::Launch(app(3))).filter(|_| n % 2 == 0)),
            (200, Some(Signal::Close(app(2))).filter(|_| n % 2 == 1)),
            (230, Some(Signal::ScreenOff)),
        ];
        for (secs, signal) in signals {
            let Some(signal) = signal else { continue };
            events.push(Event {
                utc_offset_secs: 3_600,
                place: format!("u33{}", ["b", "c", "d"][n as usize % 3]).parse().ok(),
                battery: Battery { percent: Some((n % 100) as u8), charging: Some(n % 7 == 0) },
                network: [Network::Unknown, Network::Wifi, Network::Cellular][n as usize % 3],
                ..Event::new(UserId(7), Timestamp(now + secs), signal)
            });
        }
    }
    (events, Vocabulary::from_names(["Mail", "Maps", "Chat", "News", "Music"]))
}

/// What a build of each version wrote of [`remembered`]. That of the current one is what this build writes. Where it is
/// not there yet, it is written: look at it, and keep it beside the others.
#[test]
fn histories_of_every_version_are_read_on() {
    let (events, names) = remembered();
    let history = folded(&events);
    let written = history.write(&names).unwrap();
    let current = u32::from_le_bytes(written[..4].try_into().unwrap());
    let file = |version: u32| format!("tests/samples/histories/version_{version}");
    if !Path::new(&file(current)).exists() {
        fs::write(file(current), &written).unwrap();
        panic!("{} was not there and is written now", file(current));
    }
    // All but the line of resumed apps, of which version 1 knows nothing, and 2 and 3 counted other unlocks.
    let now = Timestamp(events.last().unwrap().at.0 + 900);
    let but_the_line = |history: &History, names: &Vocabulary| {
        let mut known = known(history, now, names);
        known.line.clear();
        known
    };
    for version in 1..=current {
        let bytes = fs::read(file(version)).unwrap();
        let mut others = Vocabulary::from_names(["News", "Radio", "Mail"]);
        let mut restored = History::read(&bytes, &mut others, favourites()).unwrap();
        let (mut found, mut expected) = (but_the_line(&restored, &others), but_the_line(&history, &names));
        if version < 4 {
            // Classes of the time between events were coarser in part.
            for ((found, _), (expected, _)) in found.tokens.iter_mut().zip(&mut expected.tokens) {
                assert!(found.gap.abs_diff(expected.gap) <= 1, "{found:?} {expected:?}");
                expected.gap = found.gap;
            }
        }
        assert_eq!(found, expected, "version {version}");
        let evidence = QUESTION_NAMES.iter().position(|name| *name == "resume_rate_evidence@2").unwrap();
        let mut rows = PointerRows::default();
        rows.fill(&restored.context_at(now, Task::FirstAfterUnlock));
        assert_eq!(rows.question[evidence] > 0.0, version > 1, "version {version}");
        if version == current {
            assert!(bytes == written, "version {version} is written otherwise: raise it");
        }
        // What is read of an older version goes on, and is written in the current one.
        for event in &events {
            restored.observe(&renamed(event, &names, &mut others));
        }
        let again = restored.write(&others).unwrap();
        assert_eq!(again[..4], written[..4]);
        History::read(&again, &mut others, favourites()).unwrap();
    }
}

#[cfg(feature = "train")]
#[test]
fn simulated_people_are_restored_at_the_same_bits() {
    let simulation = people::people(3, 28);
    for events in simulation.log.users() {
        let (past, later) = events.split_at(events.len() - 500);
        let history = folded(past);
        println!("{} events, {} bytes", past.len(), history.write(&simulation.vocabulary).unwrap().len());
        let now = past.last().unwrap().at;
        assert_same_now_and_later(history, now, &simulation.vocabulary, later);
    }
}

/// The bundle that is in use now says what to offer to somebody who has opened nothing, or one app.
#[test]
fn favourites_are_those_of_the_bundle_in_use() {
    struct Case {
        opened: &'static [u32],
        after_unlock: &'static [&'static str],
        next_launch: &'static [&'static str],
    }
    let cases = [
        Case { opened: &[], after_unlock: &["Chat", "Maps"], next_launch: &["Chat", "Maps"] },
        Case { opened: &[1], after_unlock: &["Maps"], next_launch: &["Chat"] },
        Case { opened: &[0], after_unlock: &["Mail"], next_launch: &["Chat", "Maps"] },
        Case { opened: &[0, 1], after_unlock: &["Maps", "Mail"], next_launch: &["Mail"] },
    ];
    let old = Vocabulary::from_names(["Mail", "Maps"]);
    for Case { opened, after_unlock, next_launch } in cases {
        let mut history = History::new((0..2).map(AppId).collect());
        for &app in opened {
            history.observe(&Event::new(UserId(1), Timestamp(0), Signal::Launch(AppId(app))));
        }
        let mut new = Vocabulary::from_names(["Chat", "Maps"]);
        let bytes = history.write(&old).unwrap();
        let restored = History::read(&bytes, &mut new, (0..2).map(AppId).collect()).unwrap();
        for (task, expected) in TASKS.into_iter().zip([after_unlock, next_launch]) {
            let context = restored.context_at(Timestamp(9), task);
            let found: Vec<&str> = context.candidates().iter().map(|&app| new.name(app)).collect();
            assert_eq!(found, expected, "{task} after {opened:?}");
        }
    }
}

/// A clock that steps back or ahead, by seconds (time is synchronised) or by years (the phone woke up in 1970).
fn jumpy(random: &mut ChaCha8Rng) -> i64 {
    const YEAR_SECS: i64 = 31_557_600;
    match random.random_range(0..12) {
        0 => random.random_range(-1..=1),
        1 => random.random_range(-7_200..=7_200),
        2 => random.random_range(-10 * YEAR_SECS..=10 * YEAR_SECS),
        _ => random.random_range(0..400),
    }
}

/// As far as a number goes.
fn boundless(random: &mut ChaCha8Rng) -> i64 {
    [i64::MIN, i64::MAX, i64::MAX / 2, -1, 0, 60][random.random_range(0..6)]
}

/// What `known` asserts of every moment: nothing infinite, every class below its limit; and it can all be saved.
#[test]
fn a_clock_may_go_back_and_a_history_stays_sound() {
    for (step, seed) in [(jumpy as fn(&mut ChaCha8Rng) -> i64, 1), (jumpy, 2), (boundless, 3), (boundless, 4)]
    {
        let (mut life, names) = (Life { step, ..Life::new(25, seed) }, names(25));
        let mut history = History::new(favourites());
        for (number, event) in life.events(3_000).iter().enumerate() {
            history.observe(event);
            if number % 7 == 0 {
                for now in [
                    event.at,
                    Timestamp(event.at.0.saturating_sub(5)),
                    Timestamp(i64::MIN),
                    Timestamp(i64::MAX),
                ] {
                    known(&history, now, &names);
                }
            }
        }
        let later = life.events(500);
        assert_same_now_and_later(history, later[0].at, &names, &later);
    }
}

#[test]
fn an_app_without_a_name_cannot_be_written() {
    let history = folded(&[Event::new(UserId(1), Timestamp(0), Signal::Launch(AppId(5)))]);
    let error = history.write(&names(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.to_string(),
        "field `history`: app 5 is not in this vocabulary; give the vocabulary that the events were read with"
    );
}

/// A history's bytes, and where in them the names end.
fn written() -> (Vec<u8>, usize) {
    let mut life = Life::new(14, 3);
    let history = folded(&life.events(1_500));
    let bytes = history.write(&names(14)).unwrap();
    let start = b"app.number.";
    let last = bytes.windows(start.len()).rposition(|window| window == start).unwrap();
    let names_end = last + "app.number.00000".len();
    (bytes, names_end)
}

#[test]
fn what_is_no_history_is_refused_with_its_place() {
    let (good, names_end) = written();
    let edited = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let second_name = 4 + 4 + 2 + "app.number.00000".len() + 2;
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("nothing", Vec::new(), "field `history`: at byte 0: 4 bytes are asked for"),
        ("another version", edited(0, &[5]), "version 5, but this build reads 1 to 4; update foretap"),
        ("an old version", edited(0, &[0]), "version 0, but this build reads 1 to 4; read an older copy"),
        ("no end of names", edited(4, &[0xff; 4]), "field `history`: at byte 4: 4294967295 elements"),
        ("a name twice", edited(second_name, &good[10..26]), "two apps of one name"),
        ("no end of apps", edited(names_end, &[0xff, 0, 1, 0]), "field `history.uses`: at byte"),
        ("an app beyond the names", edited(names_end + 4, &[99]), "field `history.uses.app`: at byte"),
        ("a last byte too many", [&good[..], &[0]].concat(), "1 bytes too many"),
        ("the last byte missing", good[..good.len() - 1].to_vec(), "field `history.unlocks_without_app`"),
    ];
    for (what, bytes, says) in cases {
        let mut vocabulary = names(3);
        let error = History::read(&bytes, &mut vocabulary, favourites()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model, "{what}");
        let message = error.to_string();
        assert!(message.contains(says), "{what}: `{says}` is missing in: {message}");
        assert!(
            message.contains("; read an older copy of it, or begin") || what.starts_with("another"),
            "{message}"
        );
        assert_eq!(vocabulary, names(3), "{what}: the vocabulary is as it was");
    }
}

/// Nothing but the whole is a history. Of a flipped bit, much is simply another number; the file around it, with its
/// checksum, is another suite's (`src/storage/vault.rs`).
#[test]
fn cuts_are_refused_wherever_they_are() {
    let (good, names_end) = written();
    // Among the names and near the end all, between them one in 29.
    let is_tried =
        |length: &usize| *length < names_end + 200 || *length + 200 > good.len() || length.is_multiple_of(29);
    for length in (0..good.len()).filter(is_tried) {
        let error = History::read(&good[..length], &mut names(40), favourites()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model, "{length} of {} bytes: {error}", good.len());
    }
}

/// Changes `bytes` as a bad disk, a bad programmer or a bad person would.
fn damage(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len().max(1));
        let odd = [0, 1, 0x7f, 0x80, 0xff, 0xfe][random.random_range(0..6)];
        let length = random.random_range(1..9);
        match random.random_range(0..8) {
            0..=2 => bytes[at] ^= 1 << random.random_range(0..8),
            3 => bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = odd),
            4 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = random.random()),
            5 => bytes.truncate(at.max(1)),
            6 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
            _ => drop(bytes.splice(at..at, (0..length).map(|_| odd)).count()),
        }
    }
}

#[test]
fn damaged_histories_are_refused_or_do_no_harm() {
    let (good, names_end) = written();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..6_000 {
        let mut bytes = good.clone();
        if number % 3 == 0 {
            // In the fields alone, of which a flipped bit or two may be taken for a history.
            let at = random.random_range(names_end..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        } else {
            damage(&mut bytes, &mut random);
        }
        let later = Life::new(40, number).events(50);
        let outcome = catch_unwind(|| {
            let mut vocabulary = names(40);
            let (read, peak) = peak_bytes(|| History::read(&bytes, &mut vocabulary, favourites()));
            // Of a history, an app takes more room than its bytes do, and a list as much again while it grows.
            assert!(peak < 6 * bytes.len() as i64 + 100_000, "{peak} bytes of memory for {}", bytes.len());
            let mut history = match read {
                Ok(history) => history,
                Err(error) => return Some(error),
            };
            known(&history, Timestamp(0), &vocabulary);
            for event in &later {
                history.observe(event);
            }
            known(&history, later[49].at, &vocabulary);
            let again = history.write(&vocabulary).unwrap();
            History::read(&again, &mut vocabulary, favourites()).unwrap();
            None
        });
        match outcome {
            Ok(None) => accepted += 1,
            Ok(Some(error)) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Model, "{error}");
                let message = error.to_string();
                assert!(message.starts_with("field `history"), "{message}");
                assert!(message.contains("; "), "no next step: {message}");
            }
            Err(_) => panic!("mutation {number} panics"),
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 300 && refused > 1_000, "{accepted} accepted, {refused} refused");
}
