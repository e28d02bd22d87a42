//! A phone that learns its user at night: better where there is something to learn, the same to the bit where there is not, and
//! nothing is lost by an interruption or a restart.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod people;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foretap::baseline::MostRecent;
use foretap::context::{Context, History, ReplayBuffer, Task};
use foretap::data::simulate::Simulation;
use foretap::data::{AppId, Event, PlaceId, Signal, Timestamp, UserId, Vocabulary};
use foretap::gbdt::GbdtConfig;
use foretap::predict::{Predictor, Scratch};
use foretap::router::{
    Answer, Experts, LearnOutcome, LearnSettings, Learned, Person, Router, RouterModel, Routing,
    SuggestionSettings,
};
use foretap::{Error, ErrorKind, Progress, Silent};
use people::people;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const UNLOCKS: Task = Task::FirstAfterUnlock;

/// Shared models that know the app used last alone.
fn router() -> Router {
    let experts = Experts { trees: Some(Arc::new(MostRecent)), deep: None };
    Router::new(RouterModel::unfitted([1.0; 2]).unwrap(), experts, Routing::default()).unwrap()
}

fn settings() -> LearnSettings {
    let gbdt = GbdtConfig { trees: 60, learning_rate: 0.1, ..GbdtConfig::default() };
    LearnSettings { gbdt, ..LearnSettings::default() }
}

/// Lives through `events`, asking at every unlock: the probability of what was opened then, where it was a candidate.
fn live(router: &Router, person: &mut Person, events: &[Event]) -> Vec<f64> {
    let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
    let (mut found, mut is_asked) = (Vec::new(), false);
    for event in events {
        if let (true, Signal::Launch(app)) = (is_asked, event.signal) {
            let candidates = answer.prediction.candidates.iter();
            found.extend(candidates.filter(|candidate| candidate.app == app).map(|found| found.probability));
        }
        is_asked = is_asked && !matches!(event.signal, Signal::Launch(_));
        person.observe(event);
        if event.signal == Signal::Unlock {
            person.ask(router, UNLOCKS, event.at, &mut scratch, &mut answer);
            is_asked = true;
        }
    }
    found
}

fn log_loss(probabilities: &[f64]) -> f64 {
    -probabilities.iter().map(|probability| probability.ln()).sum::<f64>() / probabilities.len() as f64
}

fn new_person(events: usize) -> Person {
    let mut person = Person::new(Arc::default(), SuggestionSettings::default(), 1).unwrap();
    person.keep_events(events);
    person
}

fn somebody() -> (Simulation, usize) {
    let simulation = people(1, 12);
    let events = simulation.log.users().next().unwrap().len();
    (simulation, events)
}

fn learn(person: &mut Person, router: &Router) -> Learned {
    person.learn(router, UNLOCKS, &settings(), &Silent).unwrap()
}

#[test]
fn what_a_person_does_by_rule_is_learned_and_trusted() {
    let (simulation, count) = somebody();
    let events = simulation.log.users().next().unwrap();
    let (earlier, later) = events.split_at(2 * count / 3);
    let router = router();
    let mut person = new_person(20_000);
    live(&router, &mut person, earlier);
    let mut unlearned = person.clone();
    let learned = learn(&mut person, &router);
    assert_eq!(learned.outcome, LearnOutcome::Learned);
    assert!(learned.log_loss < 0.9 * learned.shared_log_loss, "{learned:?}");
    let trees = person.personalization().trees().unwrap();
    assert!(trees.trees() > 5 && trees.trust() == 0.5);

    let [with, without] = [&mut person, &mut unlearned].map(|person| log_loss(&live(&router, person, later)));
    assert!(with < 0.9 * without, "{with} beside {without}");
    assert!(person.personalization().trees().unwrap().trust() > 0.9, "answers spoke for the trees");

    // The next night goes on from there: new trees, trusted as those before.
    let trust = person.personalization().trees().unwrap().trust();
    assert!(matches!(learn(&mut person, &router).outcome, LearnOutcome::Learned | LearnOutcome::Kept));
    assert_eq!(person.personalization().trees().unwrap().trust(), trust);
    person.forget_personalization();
    assert!(person.personalization().trees().is_none());
    assert_eq!(learn(&mut person, &router).outcome, LearnOutcome::Learned, "the events are still there");
}

#[test]
fn of_dice_and_of_few_questions_nothing_is_learned() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let event = |minute: i64, signal| Event::new(UserId(1), Timestamp(1_772_434_800 + 60 * minute), signal);
    let mut events = Vec::new();
    for unlock in 0..700 {
        events.push(event(3 * unlock, Signal::Unlock));
        events.push(event(3 * unlock + 1, Signal::Launch(AppId(random.random_range(0..8)))));
        events.push(event(3 * unlock + 2, Signal::ScreenOff));
    }
    // Shared models that say of dice what there is to say.
    struct Uniform;
    impl Predictor for Uniform {
        fn new_scratch(&self) -> Scratch {
            Scratch::none()
        }

        fn score(&self, _: &Context<'_>, _: &mut Scratch, scores: &mut [f32]) {
            scores.fill(0.0);
        }
    }
    let experts = Experts { trees: Some(Arc::new(Uniform)), deep: None };
    let router = Router::new(RouterModel::unfitted([1.0; 2]).unwrap(), experts, Routing::default()).unwrap();
    let mut person = new_person(20_000);
    live(&router, &mut person, &events[..150]);
    assert_eq!(learn(&mut person, &router).outcome, LearnOutcome::TooFewQuestions);
    live(&router, &mut person, &events[150..1_500]);
    let mut unlearned = person.clone();
    let learned = learn(&mut person, &router);
    assert_eq!(learned.outcome, LearnOutcome::NoBetter, "{learned:?}");
    let rest = &events[1_500..];
    assert_eq!(live(&router, &mut person, rest), live(&router, &mut unlearned, rest), "the same to the bit");
    // Nobody lived yet.
    assert_eq!(learn(&mut new_person(10), &router).outcome, LearnOutcome::TooFewQuestions);
}

#[test]
fn what_is_called_off_or_refused_changes_nothing() {
    /// Calls the job off after so many steps.
    struct After(AtomicU64);
    impl Progress for After {
        fn start(&self, _: &str, _: u64) {}
        fn advance(&self, steps: u64) {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(steps), Ordering::Relaxed);
        }
        fn finish(&self) {}
        fn is_cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 0
        }
    }
    let (simulation, _) = somebody();
    let events = simulation.log.users().next().unwrap();
    let router = router();
    let mut person = new_person(20_000);
    live(&router, &mut person, events);
    let before = person.write(&simulation.vocabulary).unwrap();
    // While questions are asked again, while trees grow, while they grow again.
    let questions = person.training(UNLOCKS).unwrap().questions() as u64;
    for steps in [1, questions / 2, questions + 5, questions + 70] {
        let progress = After(AtomicU64::new(steps));
        let error = person.learn(&router, UNLOCKS, &settings(), &progress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "after {steps}: {error}");
        assert!(person.write(&simulation.vocabulary).unwrap() == before, "after {steps}");
    }
    type Edit = fn(&mut LearnSettings);
    let edits: [(Edit, &str); 6] = [
        (|s| s.questions = 5, "questions"),
        (|s| s.least_questions = 0, "least_questions"),
        (|s| s.candidates = 1, "candidates"),
        (|s| s.held_out = 1.0, "held_out"),
        (|s| s.threads = 0, "threads"),
        (|s| s.gbdt.learning_rate = 0.0, "learning_rate"),
    ];
    for (edit, field) in edits {
        let mut settings = settings();
        edit(&mut settings);
        let error: Error = person.learn(&router, UNLOCKS, &settings, &Silent).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(field), "{error}");
    }
    let mut nobody = Person::new(Arc::default(), SuggestionSettings::default(), 1).unwrap();
    let error = nobody.learn(&router, UNLOCKS, &settings(), &Silent).unwrap_err();
    assert!(error.to_string().contains("keep_events"), "{error}");
}

#[test]
fn what_was_learned_before_a_forget_or_of_another_is_refused() {
    let (simulation, _) = somebody();
    let events = simulation.log.users().next().unwrap();
    let router = router();
    let mut person = new_person(20_000);
    live(&router, &mut person, events);
    let learned = person.training(UNLOCKS).unwrap().run(&router, &settings(), &Silent).unwrap();
    assert_eq!(learned.outcome, LearnOutcome::Learned);
    let mut other = new_person(20_000);
    let mut same = person.clone();
    same.adopt(learned.clone()).unwrap();
    assert!(same.personalization().trees().is_some());
    person.forget_personalization();
    for person in [&mut person, &mut other] {
        let error = person.adopt(learned.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(error.to_string().contains("; learn again"), "{error}");
        assert!(person.personalization().trees().is_none());
    }
    assert_eq!(
        learn(&mut person, &router).outcome,
        LearnOutcome::Learned,
        "what is kept is learned from anew"
    );
    assert!(person.personalization().trees().is_some());
}

#[test]
fn a_restored_person_learns_the_same_to_the_bit() {
    let (simulation, count) = somebody();
    let events = simulation.log.users().next().unwrap();
    let (earlier, later) = events.split_at(2 * count / 3);
    let router = router();
    // Some events no longer fit.
    let mut person = new_person(count / 2);
    live(&router, &mut person, earlier);
    let restore = |person: &Person| {
        let mut vocabulary = simulation.vocabulary.clone();
        let bytes = person.write(&vocabulary).unwrap();
        let restored =
            Person::read(&bytes, &mut vocabulary, Arc::default(), SuggestionSettings::default()).unwrap();
        assert_eq!(vocabulary, simulation.vocabulary);
        assert!(restored.write(&vocabulary).unwrap() == bytes);
        restored
    };
    let mut restored = restore(&person);
    for person in [&mut person, &mut restored] {
        assert_eq!(learn(person, &router).outcome, LearnOutcome::Learned);
    }
    let mut again = restore(&restored);
    let answers = live(&router, &mut person, later);
    assert_eq!(answers, live(&router, &mut restored, later));
    assert_eq!(answers, live(&router, &mut again, later));

    // Bytes of a person with trees and events that are cut off are refused, whatever is damaged does no harm.
    let bytes = again.write(&simulation.vocabulary).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for round in 0..300 {
        let mut damaged = bytes.clone();
        let is_cut = round % 2 == 0;
        match is_cut {
            true => damaged.truncate(random.random_range(0..bytes.len())),
            false => damaged[random.random_range(0..bytes.len())] ^= 1 << random.random_range(0..8),
        }
        let mut vocabulary = simulation.vocabulary.clone();
        let read = Person::read(&damaged, &mut vocabulary, Arc::default(), SuggestionSettings::default());
        match read {
            Err(error) => assert!(error.to_string().contains("; "), "{error}"),
            Ok(mut person) => {
                assert!(!is_cut);
                live(&router, &mut person, &later[..20]);
            }
        }
    }
}

#[test]
fn a_buffer_and_the_history_before_it_are_the_whole_past() {
    let (simulation, _) = somebody();
    let events = simulation.log.users().next().unwrap();
    let vocabulary: &Vocabulary = &simulation.vocabulary;
    let place: Option<PlaceId> = events.iter().find_map(|event| event.place);
    let mut buffer = ReplayBuffer::new(History::default(), 500);
    for (number, event) in events.iter().enumerate() {
        // Gaps of hours and days, clocks that go back, other surroundings.
        let mut event = *event;
        if number % 7 == 0 {
            event.at = Timestamp(event.at.0 - 3 * 86_400);
            event.place = if number % 2 == 0 { None } else { place };
        }
        buffer.push(&event);
    }
    assert_eq!(buffer.events().len(), 500);
    let mut vocabulary_read = vocabulary.clone();
    let bytes = buffer.write(vocabulary).unwrap();
    let read = ReplayBuffer::read(&bytes, &mut vocabulary_read, Arc::default()).unwrap();
    assert!(read.events().eq(buffer.events()));
    assert!(read.write(vocabulary).unwrap() == bytes);
    let of_events = bytes.len() - buffer.start().write(vocabulary).unwrap().len();
    assert!(of_events < 500 * 24, "{of_events} bytes");

    // Of a phone as it is, an event takes few bytes: what `Person::keep_events` says.
    let mut plain = ReplayBuffer::new(History::default(), 500);
    events.iter().for_each(|event| plain.push(event));
    let of_events = plain.write(vocabulary).unwrap().len() - plain.start().write(vocabulary).unwrap().len();
    assert!(of_events < 500 * 12, "{of_events} bytes");

    // Fewer events than fit, and other ids.
    let mut small = ReplayBuffer::new(History::default(), 500);
    events[..40].iter().for_each(|event| small.push(event));
    let mut whole = History::default();
    events[..40].iter().for_each(|event| whole.observe(event));
    let mut replayed = small.start().clone();
    small.events().for_each(|event| replayed.observe(event));
    assert!(replayed.write(vocabulary).unwrap() == whole.write(vocabulary).unwrap());
    let mut renumbered = Vocabulary::from_names(vocabulary.names().iter().rev());
    let read =
        ReplayBuffer::read(&small.write(vocabulary).unwrap(), &mut renumbered, Arc::default()).unwrap();
    let name = |event: &Event, names: &Vocabulary| event.signal.app().map(|app| names.name(app).to_owned());
    assert!(
        read.events()
            .map(|event| name(event, &renumbered))
            .eq(small.events().map(|event| name(event, vocabulary)))
    );
}
