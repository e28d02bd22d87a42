//! A person's state is that of a replay of their log, whatever order events arrive in, however often, and wherever commits
//! fall.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use foretap::Silent;
use foretap::bundle::Bundle;
use foretap::data::simulate::{SimulationConfig, simulate};
use foretap::router::{Person, SuggestionSettings};
use foretap_platform::client::phone_events;
use foretap_platform::store::{Folded, MasterKey, OnlineStore, People, PersonState, RedbStore, Written};
use foretap_platform::wire::PhoneEvent;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const HOUR_US: i64 = 3_600_000_000;

/// One simulated person's events, in order.
fn life(days: u32, seed: u64) -> Vec<PhoneEvent> {
    let config = SimulationConfig { people: 1, days, seed, ..Default::default() };
    let simulation = simulate(&config, &Silent).unwrap();
    let mut events = phone_events(&simulation.log, &simulation.vocabulary);
    events.sort_by_key(PhoneEvent::key);
    events
}

/// The person of a replay, as bytes.
fn replayed<'a>(events: impl IntoIterator<Item = &'a PhoneEvent>, bundle: &Bundle) -> Vec<u8> {
    let mut vocabulary = bundle.vocabulary();
    let mut events = events.into_iter().peekable();
    let seed = events.peek().unwrap().user.0;
    let mut person = Person::new(bundle.favourites(), SuggestionSettings::default(), seed).unwrap();
    events.for_each(|event| person.observe(&event.to_event(&mut vocabulary)));
    person.write(&vocabulary).unwrap()
}

/// A state's person, as bytes.
async fn bytes(state: &mut PersonState, store: &RedbStore, bundle: &Bundle, model: &Arc<str>) -> Vec<u8> {
    let snapshot = store.person(state.user()).await.unwrap();
    let (person, vocabulary) = state.current((bundle, model), snapshot.as_deref()).unwrap().unwrap();
    person.write(vocabulary).unwrap()
}

#[tokio::test]
async fn a_state_is_a_replay_whatever_the_order_of_arrival() {
    let (bundle, model): (Bundle, Arc<str>) = (Bundle::pretrained().unwrap(), "1".into());
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::load(&folder.path().join("master.key"), true).unwrap();
    for seed in 1..4 {
        let store = RedbStore::open(&folder.path().join(format!("{seed}.redb"))).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let events = life(6, seed);
        // Each event arrives up to 23 hours late; one in ten is sent once more.
        let mut arrivals: Vec<(i64, PhoneEvent)> = Vec::new();
        for event in &events {
            let times = 1 + usize::from(random.random_ratio(1, 10));
            for _ in 0..times {
                let late = if random.random_ratio(1, 4) { random.random_range(0..23 * HOUR_US) } else { 0 };
                arrivals.push((event.at_us + late, event.clone()));
            }
        }
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        let (key, sealed) = master.new_person().unwrap();
        let mut state = PersonState::new(events[0].user, key, sealed);
        let mut seen = BTreeSet::new();
        for (_, event) in &arrivals {
            let expected = if seen.insert(event.identity()) { Folded::Applied } else { Folded::Duplicate };
            assert_eq!(state.fold(event.clone()), expected);
            if random.random_ratio(1, 200) {
                let snapshot = store.person(state.user()).await.unwrap();
                let Some((write, pending)) = state.to_write(&bundle, snapshot.as_deref()).unwrap().write()
                else {
                    continue;
                };
                let [Written::Version(version)] = store.write(vec![write]).await.unwrap()[..] else {
                    panic!()
                };
                state.written(version, pending);
                // As another process would read it.
                let row = store.row(state.user()).await.unwrap().unwrap();
                let key = master.open_person(&row.key).unwrap();
                let mut read = PersonState::read(state.user(), &row, key).unwrap();
                let applied: Vec<&PhoneEvent> =
                    events.iter().filter(|e| seen.contains(&e.identity())).collect();
                let expected = replayed(applied, &bundle);
                assert!(bytes(&mut read, &store, &bundle, &model).await == expected, "read again");
                assert!(bytes(&mut state, &store, &bundle, &model).await == expected, "in memory");
            }
        }
        assert!(store.person(state.user()).await.unwrap().is_some(), "six days made a snapshot");
        assert!(bytes(&mut state, &store, &bundle, &model).await == replayed(&events, &bundle));
        // A week later nobody knows the first day's events any more: they are late, and change nothing.
        assert_eq!(state.fold(events[0].clone()), Folded::Duplicate);
        let oldest = PhoneEvent { number: 99, ..events[0].clone() };
        assert_eq!(state.fold(oldest), Folded::Late);
        assert!(bytes(&mut state, &store, &bundle, &model).await == replayed(&events, &bundle));
    }
}

#[tokio::test]
async fn of_two_writers_the_loser_folds_in_what_the_winner_wrote() {
    let (bundle, model): (Bundle, Arc<str>) = (Bundle::pretrained().unwrap(), "1".into());
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::load(&folder.path().join("master.key"), true).unwrap();
    let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
    let events = life(1, 9);
    let (key, sealed) = master.new_person().unwrap();
    let mut first = PersonState::new(events[0].user, key, sealed);
    first.fold(events[0].clone());
    let (write, pending) = first.to_write(&bundle, None).unwrap().write().unwrap();
    store.write(vec![write]).await.unwrap();
    first.written(1, pending);
    let row = store.row(first.user()).await.unwrap().unwrap();
    let mut second = PersonState::read(first.user(), &row, master.open_person(&row.key).unwrap()).unwrap();
    for (number, event) in events.iter().enumerate().skip(1) {
        if number % 2 == 0 {
            first.fold(event.clone())
        } else {
            second.fold(event.clone())
        };
    }
    let (write, pending) = second.to_write(&bundle, None).unwrap().write().unwrap();
    assert_eq!(store.write(vec![write]).await.unwrap(), [Written::Version(2)]);
    second.written(2, pending);
    let (write, _) = first.to_write(&bundle, None).unwrap().write().unwrap();
    assert_eq!(store.write(vec![write]).await.unwrap(), [Written::Conflict]);
    let row = store.row(first.user()).await.unwrap().unwrap();
    first.reread(&row, master.open_person(&row.key).unwrap()).unwrap();
    assert!(first.has_unwritten());
    let (write, pending) = first.to_write(&bundle, None).unwrap().write().unwrap();
    assert_eq!(store.write(vec![write]).await.unwrap(), [Written::Version(3)]);
    first.written(3, pending);
    assert!(bytes(&mut first, &store, &bundle, &model).await == replayed(&events, &bundle));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_fold_the_same_people_at_once_make_one_state_of_each() {
    let (bundle, model): (Arc<Bundle>, Arc<str>) = (Arc::new(Bundle::pretrained().unwrap()), "1".into());
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::load(&folder.path().join("master.key"), true).unwrap();
    let store = Arc::new(RedbStore::open(&folder.path().join("store.redb")).unwrap());
    // Hardly anybody stays in memory: states are read again all the time.
    let store: Arc<dyn OnlineStore> = store;
    let people = Arc::new(People::open(Arc::clone(&store), master.clone(), 1).await.unwrap());
    let config = SimulationConfig { people: 8, days: 3, seed: 3, ..Default::default() };
    let simulation = simulate(&config, &Silent).unwrap();
    let events = phone_events(&simulation.log, &simulation.vocabulary);
    let users: BTreeSet<_> = events.iter().map(|event| event.user).collect();
    let mut applied = 0;
    for part in events.chunks(events.len().div_ceil(12)) {
        let fold = |mut events: Vec<PhoneEvent>, seed: u64| {
            let people = Arc::clone(&people);
            // Both have every event, each in an order of its own.
            rand::seq::SliceRandom::shuffle(&mut *events, &mut ChaCha8Rng::seed_from_u64(seed));
            tokio::spawn(async move {
                let mut applied = 0;
                for event in events {
                    applied += usize::from(people.fold(event, 0).await.unwrap() == Folded::Applied);
                    tokio::task::yield_now().await;
                }
                applied
            })
        };
        let reader = {
            let (people, bundle, model) = (Arc::clone(&people), Arc::clone(&bundle), Arc::clone(&model));
            let users: Vec<_> = users.iter().copied().cycle().take(200).collect();
            tokio::spawn(async move {
                for user in users {
                    people.with_current(user, (&*bundle, &model), &[], |_, _, _| ()).await.unwrap();
                }
            })
        };
        let (one, other) = (fold(part.to_vec(), 1), fold(part.to_vec(), 2));
        applied += one.await.unwrap() + other.await.unwrap();
        // Also while snapshots are written.
        people.write(&bundle).await.unwrap();
        reader.await.unwrap();
    }
    assert_eq!(applied, events.len(), "each event once");
    for user in users {
        let row = store.row(user).await.unwrap().unwrap();
        let mut state = PersonState::read(user, &row, master.open_person(&row.key).unwrap()).unwrap();
        let snapshot = store.person(user).await.unwrap();
        let (person, vocabulary) = state.current((&bundle, &model), snapshot.as_deref()).unwrap().unwrap();
        let mut lived: Vec<&PhoneEvent> = events.iter().filter(|event| event.user == user).collect();
        lived.sort_by_key(|event| event.key());
        let lived = replayed(lived, &bundle);
        assert!(person.write(vocabulary).unwrap() == lived, "the state of {user}");
        // And what answers are given from.
        let visit = |person: &Person, vocabulary: &_, _| person.write(vocabulary).unwrap();
        let answered = people.with_current(user, (&*bundle, &model), &[], visit).await.unwrap().unwrap();
        assert!(answered == lived, "the state in memory of {user}");
    }
}

#[test]
fn keys_that_are_missing_or_others_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.key");
    let error = MasterKey::load(&file, false).unwrap_err().to_string();
    assert!(error.contains("master.key") && error.contains("bring the key's file back"), "{error}");
    let master = MasterKey::load(&file, true).unwrap();
    let (_, sealed) = master.new_person().unwrap();
    MasterKey::load(&file, false).unwrap().open_person(&sealed).unwrap();
    let other = MasterKey::load(&folder.path().join("other.key"), true).unwrap();
    let error = other.open_person(&sealed).unwrap_err().to_string();
    assert!(error.contains("key_file"), "{error}");
    std::fs::write(&file, "abc").unwrap();
    let error = MasterKey::load(&file, true).unwrap_err().to_string();
    assert!(error.contains("no key of 64"), "{error}");
}

#[test]
fn a_state_and_another_ones_snapshot_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::load(&folder.path().join("master.key"), true).unwrap();
    let bundle = Bundle::pretrained().unwrap();
    let model: Arc<str> = "1".into();
    let events = life(6, 1);
    let (key, sealed) = master.new_person().unwrap();
    let mut state = PersonState::new(events[0].user, key, sealed);
    let mut snapshots = Vec::new();
    for event in events {
        state.fold(event);
        if state.is_snapshot_due() {
            let before = snapshots.last().map(Vec::as_slice);
            let (write, pending) = state.to_write(&bundle, before).unwrap().write().unwrap();
            snapshots.push(write.snapshot.unwrap().person);
            state.written(write.expected + 1, pending);
        }
    }
    let [.., older, newest] = snapshots.as_slice() else { unreachable!("six days have several") };
    let mut reader = state.clone();
    assert!(reader.current((&bundle, &model), Some(older)).unwrap().is_none());
    assert!(reader.current((&bundle, &model), Some(newest)).unwrap().is_some());
}
