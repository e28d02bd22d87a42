//! What holds for every history, whatever a phone reports: the past decides, nothing panics, memory is bounded.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foretap::context::{Context, History, MAX_APPS, Task, features, questions, replay};
use foretap::data::{AppId, Battery, Event, Network, PlaceGrid, PlaceId, Signal, Timestamp};
use people::{TASKS, event, launches};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

// Logs that a phone might write, and some that none should.

fn signals(apps: u32) -> impl Strategy<Value = Signal> {
    prop_oneof![
        6 => (0..apps).prop_map(|app| Signal::Launch(AppId(app))),
        2 => (0..apps).prop_map(|app| Signal::Close(AppId(app))),
        2 => (0..apps).prop_map(|app| Signal::Notification(AppId(app))),
        3 => Just(Signal::Unlock),
        1 => Just(Signal::ScreenOn),
        2 => Just(Signal::ScreenOff),
    ]
}

fn place(number: u32) -> PlaceId {
    PlaceGrid::default().place(f64::from(number) - 60.0, 2.0).unwrap()
}

/// Events that follow each other by `steps` seconds.
fn events_by(
    steps: impl Strategy<Value = i64>,
    apps: u32,
    length: usize,
) -> impl Strategy<Value = Vec<Event>> {
    let network =
        prop::sample::select(vec![Network::Unknown, Network::Offline, Network::Wifi, Network::Cellular]);
    let surroundings = (prop::option::of(0_u32..120), prop::option::of(0_u8..=100), network, -12_i32..=14);
    prop::collection::vec((steps, signals(apps), surroundings), 0..length).prop_map(|rows| {
        let mut at_secs = 1_600_000_000_i64;
        let to_event = |(step, signal, (at_place, percent, network, hours))| {
            at_secs = at_secs.saturating_add(step);
            Event {
                place: Option::map(at_place, place),
                battery: Battery { percent, charging: percent.map(|p| p % 2 == 0) },
                network,
                utc_offset_secs: 3_600 * hours,
                ..event(at_secs, signal)
            }
        };
        rows.into_iter().map(to_event).collect()
    })
}

/// In time order, with pauses from none to a day.
fn ordinary() -> impl Strategy<Value = Vec<Event>> {
    events_by(prop_oneof![2 => Just(0), 6 => 0_i64..600, 2 => 0_i64..86_400], 9, 70)
}

/// Clocks that jump by years and back, stand still, or reach the ends of time.
fn wild() -> impl Strategy<Value = Vec<Event>> {
    let years = 20_i64 * 31_536_000;
    let steps = prop_oneof![4 => 0_i64..600, 2 => -600_i64..0, 2 => -years..years, 1 => any::<i64>(), 1 => Just(i64::MIN)];
    events_by(steps, 12, 120)
}

fn folded(events: &[Event], favourites: &Arc<[AppId]>) -> History {
    let mut history = History::new(Arc::clone(favourites));
    events.iter().for_each(|event| history.observe(event));
    history
}

// What a context knows, and what it must know.

/// All that a predictor can read off a context; floats as bits, so that a missing value equals itself.
#[derive(Debug, PartialEq)]
struct Known {
    candidates: Vec<AppId>,
    features: Vec<u32>,
    transitions: Vec<(u32, u32)>,
    launches: Vec<(u32, Option<Timestamp>)>,
    none_of_these: u64,
    hour: usize,
}

fn known(context: &Context<'_>) -> Known {
    let mut matrix = vec![7.0];
    features::fill(context, &mut matrix);
    assert!(!matrix.iter().any(|value| value.is_infinite()), "an infinite feature");
    let apps = context.candidates();
    let transitions = |&app: &AppId| {
        let (count, total) = context.transitions_to(app);
        (count.to_bits(), total.to_bits())
    };
    let used = |&app: &AppId| context.app_use(app).map_or((0, None), |u| (u.launches(), u.last_launch()));
    Known {
        candidates: apps.to_vec(),
        features: matrix.into_iter().map(f32::to_bits).collect(),
        transitions: apps.iter().map(transitions).collect(),
        launches: apps.iter().map(used).collect(),
        none_of_these: context.none_of_these().to_bits(),
        hour: context.hour(),
    }
}

/// What each question of a replay knew, by where it was asked.
fn knowledge(events: &[Event], task: Task, favourites: &Arc<[AppId]>) -> BTreeMap<usize, Known> {
    let mut found = BTreeMap::new();
    replay(events, task, favourites, usize::MAX, |_, question, context| {
        found.insert(question.asked_at, known(context));
    });
    found
}

/// What every context keeps to.
fn assert_consistent(history: &History, now: Timestamp) {
    for task in TASKS {
        let context = history.context_at(now, task);
        let candidates = context.candidates();
        assert!(candidates.len() <= MAX_APPS);
        assert_eq!(candidates.iter().collect::<BTreeSet<_>>().len(), candidates.len(), "an app twice");
        let skipped = usize::from(task == Task::NextLaunch);
        for (position, &app) in candidates.iter().enumerate() {
            let used = context.app_use(app).unwrap();
            assert_eq!(used.app(), app);
            assert_eq!(used.recency_rank() as usize, position + skipped, "{app:?}");
            assert!(used.launches() > 0 && used.last_launch().is_some(), "{app:?} was never opened");
        }
        assert!(context.none_of_these() > 0.0 && context.none_of_these() < 1.0);
        assert!(context.hour() < 24);
        if let Some(last) = context.last_app() {
            assert_eq!(context.app_use(last).unwrap().recency_rank(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// One history that runs along knows what a fresh one knows that is given the log up to there; asking and
    /// cloning leave no trace.
    #[test]
    fn streaming_equals_recomputing(events in prop_oneof![ordinary(), wild()]) {
        let favourites: Arc<[AppId]> = (0..3).map(AppId).collect();
        let mut running = History::new(Arc::clone(&favourites));
        for (position, event) in events.iter().enumerate() {
            running.observe(event);
            let fresh = folded(&events[..=position], &favourites);
            let copy = running.clone();
            for task in TASKS {
                let expected = known(&fresh.context_at(event.at, task));
                prop_assert_eq!(&known(&running.context_at(event.at, task)), &expected);
                prop_assert_eq!(&known(&copy.context_at(event.at, task)), &expected);
            }
        }
    }

    #[test]
    fn replaying_equals_folding_by_hand(events in prop_oneof![ordinary(), wild()], last in 0_usize..30) {
        let favourites: Arc<[AppId]> = (0..3).map(AppId).collect();
        for task in TASKS {
            let expected = questions(task, &events);
            let mut visited = 0;
            replay(&events, task, &favourites, last, |number, question, context| {
                assert_eq!((number, question), (visited, &expected[number]));
                let history = folded(&events[..=question.asked_at], &favourites);
                let by_hand = history.context_at(events[question.asked_at].at, task);
                assert_eq!(known(context), known(&by_hand));
                assert!(question.asked_at < question.answered_at);
                assert_eq!(events[question.answered_at].signal, Signal::Launch(question.answer));
                visited += 1;
            });
            prop_assert_eq!(visited, expected.len().min(last));
        }
    }

    /// However the log goes on after a cut, questions that were asked before it knew the same, and those that were
    /// answered before it have the same answers.
    #[test]
    fn the_past_is_blind_to_the_future(events in ordinary(), other in wild(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(events.len() + 1);
        let favourites: Arc<[AppId]> = (0..3).map(AppId).collect();
        let without_next: Vec<Event> =
            events[..cut].iter().chain(events[cut..].iter().skip(1)).copied().collect();
        let with_one_more: Vec<Event> =
            events[..cut].iter().chain(other.first()).chain(&events[cut..]).copied().collect();
        let goes_on_otherwise = [&events[..cut], &other].concat();
        let ends = events[..cut].to_vec();
        for task in TASKS {
            let as_it_was = knowledge(&events, task, &favourites);
            let answered = |log: &[Event]| -> Vec<_> {
                questions(task, log).into_iter().filter(|question| question.answered_at < cut).collect()
            };
            for log in [&without_next, &with_one_more, &goes_on_otherwise, &ends] {
                prop_assert_eq!(answered(&events), answered(log));
                for (asked_at, then) in knowledge(log, task, &favourites).range(..cut) {
                    if let Some(expected) = as_it_was.get(asked_at) {
                        prop_assert_eq!(then, expected, "asked at {}, cut at {}", asked_at, cut);
                    }
                }
            }
        }
    }

    #[test]
    fn no_sequence_of_events_is_too_odd(events in wild(), asked_secs in any::<i64>()) {
        let mut history = History::default();
        for event in &events {
            history.observe(event);
            for now in [event.at, Timestamp(asked_secs), Timestamp(i64::MIN), Timestamp(i64::MAX)] {
                assert_consistent(&history, now);
                for task in TASKS {
                    known(&history.context_at(now, task));
                }
            }
        }
    }

    /// The same as a plain reading of the log: who was opened when, and what followed what.
    #[test]
    fn a_context_says_what_the_log_says(events in ordinary()) {
        let favourites: Arc<[AppId]> = (100..103).map(AppId).collect();
        let history = folded(&events, &favourites);
        let now = events.last().map_or(Timestamp(0), |event| event.at);
        let opened: Vec<(AppId, Timestamp)> = events.iter().filter_map(|e| match e.signal {
            Signal::Launch(app) => Some((app, e.at)),
            _ => None,
        }).collect();
        let mut most_recent: Vec<AppId> = Vec::new();
        for &(app, _) in opened.iter().rev() {
            if !most_recent.contains(&app) {
                most_recent.push(app);
            }
        }
        for task in TASKS {
            let context = history.context_at(now, task);
            let skipped = usize::from(task == Task::NextLaunch);
            let expected = most_recent.get(skipped..).filter(|apps| !apps.is_empty());
            prop_assert_eq!(context.candidates(), expected.unwrap_or(&favourites));
            prop_assert_eq!(context.launches() as usize, opened.len());
            prop_assert_eq!(context.last_app(), most_recent.first().copied());

            // Of each question: the app used last when it was answered, and whether the answer was new.
            let answers: Vec<(Option<AppId>, AppId)> = questions(task, &events).iter().map(|question| {
                let before = events[..question.answered_at].iter().rev();
                let last = before.filter_map(|e| match e.signal {
                    Signal::Launch(app) => Some(app),
                    _ => None,
                }).next();
                (last, question.answer)
            }).collect();
            let is_new = |&(position, app): &(usize, AppId)| {
                !events[..position].iter().any(|e| e.signal == Signal::Launch(app))
            };
            let unforeseen = questions(task, &events).iter().map(|q| (q.answered_at, q.answer)).filter(is_new).count();
            let expected = (unforeseen as f64 + 0.5) / (answers.len() as f64 + 1.0);
            prop_assert_eq!(context.none_of_these(), expected);

            for &app in &most_recent {
                let used = context.app_use(app).unwrap();
                let launches: Vec<Timestamp> =
                    opened.iter().filter(|(other, _)| *other == app).map(|(_, at)| *at).collect();
                prop_assert_eq!(used.launches() as usize, launches.len());
                prop_assert_eq!(used.last_launch(), launches.last().copied());
                let after_last = answers.iter().filter(|(last, _)| last.is_some() && *last == context.last_app());
                let (count, total) = context.transitions_to(app);
                prop_assert_eq!(total as usize, after_last.clone().count());
                prop_assert_eq!(count as usize, after_last.filter(|(_, answer)| *answer == app).count());
            }
        }
    }
}

#[test]
fn candidates_of_both_tasks() {
    let favourites: Arc<[AppId]> = [8, 9].map(AppId).into();
    struct Case {
        opened: &'static [u32],
        after_unlock: &'static [u32],
        next_launch: &'static [u32],
    }
    let cases = [
        Case { opened: &[], after_unlock: &[8, 9], next_launch: &[8, 9] },
        Case { opened: &[1], after_unlock: &[1], next_launch: &[8, 9] },
        Case { opened: &[8], after_unlock: &[8], next_launch: &[9] },
        Case { opened: &[8, 8], after_unlock: &[8], next_launch: &[9] },
        Case { opened: &[1, 2], after_unlock: &[2, 1], next_launch: &[1] },
        Case { opened: &[1, 2, 1], after_unlock: &[1, 2], next_launch: &[2] },
        Case { opened: &[1, 2, 3, 3, 2], after_unlock: &[2, 3, 1], next_launch: &[3, 1] },
    ];
    for Case { opened, after_unlock, next_launch } in cases {
        let history = folded(&launches(opened.iter().copied()), &favourites);
        for (task, expected) in [(Task::FirstAfterUnlock, after_unlock), (Task::NextLaunch, next_launch)] {
            let found: Vec<u32> =
                history.context_at(Timestamp(999), task).candidates().iter().map(|app| app.0).collect();
            assert_eq!(found, expected, "{task} after {opened:?}");
        }
    }
}

// Thousands of apps.

const MANY: u32 = MAX_APPS as u32 + 700;

#[test]
fn a_full_history_keeps_the_most_recent_apps() {
    let mut history = folded(&launches(0..MANY), &Arc::default());
    let mut now = Timestamp(60 * i64::from(MANY));
    let expect = |history: &History, apps: &mut dyn Iterator<Item = u32>| {
        let expected: Vec<AppId> = apps.map(AppId).collect();
        assert_eq!(history.context_at(now, Task::FirstAfterUnlock).candidates(), expected);
        assert_consistent(history, now);
    };
    let oldest = MANY - MAX_APPS as u32;
    expect(&history, &mut (oldest..MANY).rev());
    assert!(history.app_use(AppId(oldest - 1)).is_none());

    // A forgotten app comes back as a new one and displaces the oldest.
    history.observe(&event(now.0, Signal::Launch(AppId(0))));
    assert_eq!(history.app_use(AppId(0)).map(|used| used.launches()), Some(1));
    expect(&history, &mut std::iter::once(0).chain((oldest + 1..MANY).rev()));

    // Apps that only notify displace old ones too, but are no candidates; the app in the foreground stays.
    (0..100).for_each(|i| history.observe(&event(now.0, Signal::Notification(AppId(90_000 + i)))));
    expect(&history, &mut std::iter::once(0).chain((oldest + 101..MANY).rev()));

    // A storm of notifications from ever new apps, a day later, leaves nothing but the app used last.
    now.0 += 86_400;
    (0..MANY).for_each(|i| history.observe(&event(now.0, Signal::Notification(AppId(100_000 + i)))));
    assert_eq!(history.context_at(now, Task::FirstAfterUnlock).candidates(), [AppId(0)]);
    assert_consistent(&history, now);
}

/// More apps, pairs and places than any table holds: still the same knowledge from the same log, twice over.
#[test]
fn a_storm_of_apps_and_places_is_remembered_the_same_every_time() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut at_secs = 0;
    let storm: Vec<Event> = (0..14_000)
        .map(|_| {
            at_secs += random.random_range(-50_i64..400);
            // A few apps often, thousands rarely.
            let rarity: f64 = random.random();
            let app = AppId((f64::from(MANY * 2) * rarity.powi(2)) as u32);
            let signal = match random.random_range(0..12) {
                0..=6 => Signal::Launch(app),
                7 => Signal::Close(app),
                8 => Signal::Notification(app),
                9 | 10 => Signal::Unlock,
                _ => Signal::ScreenOff,
            };
            Event { place: Some(place(random.random_range(0..120))), ..event(at_secs, signal) }
        })
        .collect();
    let [mut one, mut two] = [History::default(), History::default()];
    for (position, event) in storm.iter().enumerate() {
        one.observe(event);
        two.observe(event);
        if position % 1_000 == 999 {
            assert_consistent(&one, event.at);
            for task in TASKS {
                let [one, two] = [&one, &two].map(|history| known(&history.context_at(event.at, task)));
                assert!(one == two, "after event {position}");
            }
        }
    }
    assert!(one.context_at(Timestamp(at_secs), Task::FirstAfterUnlock).candidates().len() > MAX_APPS / 2);
}
