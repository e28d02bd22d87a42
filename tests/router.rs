//! The router as an app team meets it: a bundle, one phone's history, no network; what is missing, old, damaged or wrong.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::bundle::{Bundle, BundleContents};
use foretap::context::{History, Task};
use foretap::data::simulate::Simulation;
use foretap::data::{AppId, Event, Signal, Timestamp, UserId, Vocabulary};
use foretap::evaluate::{ROUTER, ROUTER_FULL, ROUTER_SHARED};
use foretap::experiment::{Experiment, RouterPlan, TransformerPlan};
use foretap::predict::{Predictor as _, Scratch};
use foretap::router::{Answer, Feedback, Person, Route, Router, RouterModel, Routing, SuggestionSettings};
use foretap::storage::vault::{self, Key};
use foretap::transformer::{Size, pretrained};
use foretap::{ErrorKind, Silent};
use people::{event, people, quick};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const UNLOCKS: Task = Task::FirstAfterUnlock;

/// The crate's bundle, people whom it may answer, and who answers them.
struct World {
    bundle: Bundle,
    simulation: Simulation,
    router: Router,
}

impl World {
    fn new(routing: Routing) -> Self {
        let (bundle, simulation) = (Bundle::pretrained().unwrap(), people(3, 12));
        let router = bundle.router(&simulation.vocabulary, routing).unwrap();
        assert_eq!(router.degraded(), None);
        Self { bundle, simulation, router }
    }

    fn person(&self) -> Person {
        Person::new(self.bundle.favourites_in(&self.simulation.vocabulary), SuggestionSettings::default(), 7)
            .unwrap()
    }

    /// Lets `person` live through `events`, asking at every unlock; the answers' bits.
    fn live(&self, person: &mut Person, events: &[Event]) -> Vec<Vec<u64>> {
        let (mut scratch, mut answer) = (self.router.new_scratch(), Answer::default());
        let mut answers = Vec::new();
        for event in events {
            person.observe(event);
            if event.signal == Signal::Unlock {
                person.ask(&self.router, UNLOCKS, event.at, &mut scratch, &mut answer);
                assert_sound(&answer);
                answers.push(bits(&answer));
            }
        }
        answers
    }
}

/// Probabilities of something: sorted, and one in sum.
fn assert_sound(answer: &Answer) {
    let probabilities: Vec<f64> = answer.prediction.candidates.iter().map(|c| c.probability).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "{probabilities:?}");
    let total: f64 = probabilities.iter().sum::<f64>() + answer.prediction.none_of_these;
    assert!((total - 1.0).abs() < 1e-4, "{total}");
    assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
}

fn bits(answer: &Answer) -> Vec<u64> {
    let candidates = answer.prediction.candidates.iter();
    candidates.flat_map(|c| [u64::from(c.app.0), c.probability.to_bits()]).collect()
}

/// A router that sends a fifth of the questions to the student.
fn a_fifth() -> RouterPlan {
    RouterPlan { routing: Routing::Share(0.2), ..RouterPlan::default() }
}

fn ask(router: &Router, history: &History, now: Timestamp) -> Answer {
    let mut answer = Answer::default();
    router.answer(&history.context_at(now, UNLOCKS), None, &mut router.new_scratch(), &mut answer);
    answer
}

#[test]
fn a_person_is_learned_saved_sealed_restored_and_forgotten() {
    let world = World::new(Routing::Share(0.5));
    let events = world.simulation.log.users().next().unwrap();
    let (earlier, later) = events.split_at(events.len() / 2);
    let mut person = world.person();
    world.live(&mut person, earlier);
    assert!(person.personalization().answers() > 50);

    // Saved under a key, and restored into the vocabulary of another bundle, whose ids are others.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("person");
    let key = Key::random().unwrap();
    vault::save(&file, &person.write(&world.simulation.vocabulary).unwrap(), Some(&key)).unwrap();
    let restore = |vocabulary: &mut Vocabulary| {
        let favourites = world.bundle.favourites_in(vocabulary);
        Person::read(
            &vault::load(&file, Some(&key)).unwrap(),
            vocabulary,
            favourites,
            SuggestionSettings::default(),
        )
        .unwrap()
    };
    let mut vocabulary = world.simulation.vocabulary.clone();
    let mut restored = restore(&mut vocabulary);
    assert_eq!(vocabulary, world.simulation.vocabulary);
    let mut renumbered = Vocabulary::from_names(world.simulation.vocabulary.names().iter().rev());
    let elsewhere = restore(&mut renumbered);
    assert_eq!(elsewhere.write(&renumbered).unwrap().len(), person.write(&vocabulary).unwrap().len());

    // What comes then is answered as if nothing had happened.
    let forgetful = &mut person.clone();
    let answers = world.live(&mut person, later);
    assert!(world.live(&mut restored, later) == answers, "the restored person is another");
    forgetful.forget_personalization();
    let mut stranger = world.person();
    earlier.iter().for_each(|event| stranger.observe(event));
    let shared = world.live(&mut stranger, &later[..200]);
    assert_eq!(world.live(forgetful, &later[..200]), shared, "the shared models' answers, again");
    assert_ne!(answers[..shared.len()], shared, "personalization changes answers");

    // The wrong key, a damaged file, the wrong file.
    let load = |key: Option<&Key>| vault::load(&file, key).map_err(|error| error.to_string());
    assert!(load(Some(&Key::random().unwrap())).unwrap_err().contains("key"));
    assert!(load(None).unwrap_err().contains("key"));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert!(load(Some(&key)).unwrap_err().contains("damaged"));
}

#[test]
fn damaged_people_are_refused_or_harmless() {
    let world = World::new(Routing::Share(0.5));
    let events = world.simulation.log.users().next().unwrap();
    let mut person = world.person();
    world.live(&mut person, &events[..1_500]);
    let bytes = person.write(&world.simulation.vocabulary).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut refused, mut harmless) = (0, 0);
    for round in 0..600 {
        let mut damaged = bytes.clone();
        let is_cut = round % 3 == 0;
        if is_cut {
            damaged.truncate(random.random_range(0..bytes.len()));
        } else {
            // The first bytes are the personalization, which is small.
            let end = if round % 3 == 1 { 4_000.min(bytes.len()) } else { bytes.len() };
            damaged[random.random_range(0..end)] ^= 1 << random.random_range(0..8);
        }
        let mut vocabulary = world.simulation.vocabulary.clone();
        match Person::read(&damaged, &mut vocabulary, Arc::default(), SuggestionSettings::default()) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Model);
                assert!(error.to_string().contains("; "), "{error}");
                refused += usize::from(!is_cut);
            }
            Ok(mut person) => {
                // A number with another bit is another person's; the file around it has a checksum.
                assert!(!is_cut, "{} of {} bytes are a person", damaged.len(), bytes.len());
                world.live(&mut person, &events[1_500..1_520]);
                harmless += 1;
            }
        }
    }
    println!("of 400 flipped bits {refused} refused, {harmless} harmless");
    assert!(refused > 20 && harmless > 20, "{refused} refused, {harmless} harmless");
}

#[test]
fn who_is_missing_is_said_and_the_other_answers() {
    let world = World::new(Routing::Share(1.0));
    let parts = world.bundle.parts();
    let vocabulary = &world.simulation.vocabulary;
    let events = world.simulation.log.users().next().unwrap();
    let mut history = History::default();
    events.iter().for_each(|event| history.observe(event));
    let now = events.last().unwrap().at;

    let cases = [
        (BundleContents { student: None, ..parts.clone() }, Route::Trees, "the trees answer alone"),
        (BundleContents { trees: None, ..parts.clone() }, Route::Deep, "the transformer answers alone"),
        (
            BundleContents { router: None, ..parts.clone() },
            Route::Deep,
            "no router: the student answers alone",
        ),
        (
            BundleContents { trees: None, router: None, ..parts.clone() },
            Route::Deep,
            "the transformer answers alone",
        ),
        (
            BundleContents { student: None, router: None, ..parts.clone() },
            Route::Trees,
            "the trees answer alone",
        ),
    ];
    for (parts, route, says) in cases {
        let bundle = Bundle::from_bytes(&Bundle::new(parts).unwrap().to_bytes().unwrap()).unwrap();
        let router = bundle.router(vocabulary, Routing::default()).unwrap();
        assert!(router.degraded().unwrap().contains(says), "{:?}", router.degraded());
        let answer = ask(&router, &history, now);
        assert_eq!(answer.route, route, "{says}");
        assert_sound(&answer);
        // In the order of the expert who is there.
        let expert = bundle.predictor(vocabulary).unwrap();
        let context = history.context_at(now, UNLOCKS);
        let mut scores = vec![0.0; context.candidates().len()];
        expert.score(&context, &mut expert.new_scratch(), &mut scores);
        let first = foretap::predict::first(&context, &scores).unwrap();
        assert_eq!(answer.first(1)[0].app, context.candidates()[first]);
    }
    let error = world.bundle.router(vocabulary, Routing::Share(-1.0)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn the_older_the_history_the_less_it_promises() {
    let world = World::new(Routing::default());
    let mut means = Vec::new();
    for days in [0, 2, 5, 12, 40] {
        let (mut sum, mut count) = (0.0, 0.0);
        for events in world.simulation.log.users() {
            let mut history = History::default();
            for event in events {
                history.observe(event);
                if event.signal != Signal::ScreenOff || event.at.0 % 7 > 0 {
                    continue;
                }
                // The same time of day, so that only the age differs.
                let now = Timestamp(event.at.0 + 600 + days * 86_400);
                let mut later = history.clone();
                later.observe(&Event { at: now, signal: Signal::Unlock, ..*event });
                let answer = ask(&world.router, &later, now);
                assert_eq!(answer.age_secs, Some(600 + days * 86_400));
                assert_sound(&answer);
                sum += answer.confidence(1);
                count += 1.0;
            }
        }
        means.push(sum / count);
    }
    // One within a day; from there on, older is less.
    assert!(means.is_sorted_by(|newer, older| newer > older), "{means:?}");
    assert!(means[0] > means[4] + 0.05, "{means:?}");
}

#[test]
fn clocks_that_jump_and_feedback_for_nothing_do_no_harm() {
    let world = World::new(Routing::Share(0.5));
    let events = world.simulation.log.users().next().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut person = world.person();
    let jumped: Vec<Event> = events[..3_000]
        .iter()
        .map(|event| {
            let jump = match random.random_range(0..40) {
                0 => random.random_range(-315_360_000..315_360_000),
                1 => random.random_range(-3_600..3_600),
                _ => 0,
            };
            Event { at: Timestamp(event.at.0 + jump), ..*event }
        })
        .collect();
    world.live(&mut person, &jumped);
    let before = person.personalization().clone();
    for (id, feedback) in [(0, Feedback::Ignored), (u64::MAX, Feedback::Taken(AppId(0)))] {
        let error = person.feedback(id, feedback).unwrap_err();
        assert!(error.to_string().contains("suggestion"), "{error}");
    }
    assert_eq!(person.personalization(), &before);

    // What was shown and ignored is shown less.
    let mut answer = Answer::default();
    let now = jumped[2_999].at;
    person.ask(&world.router, UNLOCKS, now, &mut Scratch::none(), &mut answer);
    let always = SuggestionSettings { least_probability: 0.0, ..SuggestionSettings::default() };
    let bytes = person.write(&world.simulation.vocabulary).unwrap();
    let mut person =
        Person::read(&bytes, &mut world.simulation.vocabulary.clone(), Arc::default(), always).unwrap();
    let shown = person.suggest(&answer).unwrap();
    let first = answer.first(1)[0];
    person.feedback(shown.id, Feedback::Ignored).unwrap();
    person.ask(&world.router, UNLOCKS, now, &mut Scratch::none(), &mut answer);
    let after = answer.prediction.candidates.iter().find(|c| c.app == first.app).unwrap();
    assert!(after.probability < first.probability, "{first:?} {after:?}");
}

#[test]
fn a_new_phone_is_answered_too() {
    let world = World::new(Routing::default());
    // The bundle that ships knows no app by name, so the favourites are the caller's.
    let favourites = (0..5).map(AppId).collect();
    let mut person = Person::new(favourites, SuggestionSettings::default(), 1).unwrap();
    let mut answer = Answer::default();
    person.ask(&world.router, UNLOCKS, Timestamp(0), &mut Scratch::none(), &mut answer);
    assert_sound(&answer);
    assert!(!answer.prediction.candidates.is_empty(), "favourites");
    let mut nobody = Person::default();
    nobody.ask(&world.router, UNLOCKS, Timestamp(0), &mut Scratch::none(), &mut answer);
    assert_eq!((answer.prediction.candidates.len(), answer.prediction.none_of_these), (0, 1.0));
    assert_eq!(nobody.suggest(&answer), None);
    nobody.observe(&event(5, Signal::Launch(AppId(3))));
    assert_eq!(nobody.personalization().answers(), 0, "it was no candidate");
    nobody.observe(&Event::new(UserId(1), Timestamp(9), Signal::Unlock));
    nobody.ask(&world.router, UNLOCKS, Timestamp(9), &mut Scratch::none(), &mut answer);
    assert_eq!(answer.first(9).len(), 1);
}

#[test]
fn an_experiment_compares_routers_with_their_experts() {
    let simulation = people(10, 10);
    let of_seed = |seed| {
        let mut config = quick();
        config.gbdt.seed = seed;
        let mut experiment = Experiment { router: Some(a_fifth()), ..Experiment::with_ranker(config) };
        let student = TransformerPlan::new(Size::Student, Some(pretrained(Size::Student).unwrap()));
        experiment.add_transformer(student.as_it_is().unwrap(), true);
        experiment
    };
    let experiment = Experiment { cold_start: true, ..of_seed(0) };
    let found =
        experiment.run(&simulation.log, &simulation.vocabulary, Some(&simulation.truth), &Silent).unwrap();
    let report = &found.report;
    let names: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names[5..], ["student-int8", ROUTER, ROUTER_FULL, ROUTER_SHARED, "bayes-optimal"]);
    let loss = |name: &str| report.model(name).unwrap().metrics.log_loss;
    assert!(loss(ROUTER) < loss("gbdt") - 0.02, "{} {}", loss(ROUTER), loss("gbdt"));
    assert!(loss(ROUTER_FULL) < loss(ROUTER));
    assert!(report.models.iter().all(|model| model.latency_us.p999 > 0.0));

    let routing = report.routing.as_ref().unwrap();
    let [trees, deep, both] = routing.validation_losses.unwrap();
    assert!(both <= trees.min(deep));
    assert!((routing.routed_share - 0.2).abs() < 0.04, "{}", routing.routed_share);
    assert_eq!(report.model(ROUTER).unwrap().routed_share, Some(routing.routed_share));
    for (gate, (random, oracle)) in
        routing.by_gate.iter().zip(routing.at_random.iter().zip(&routing.by_oracle))
    {
        assert!(oracle.log_loss <= gate.log_loss + 1e-9 && oracle.log_loss <= random.log_loss + 1e-9);
    }
    assert!(routing.by_gate[4].log_loss < routing.at_random[4].log_loss, "a fifth, well chosen");
    let bins = &routing.gate.reliability;
    assert_eq!(bins.iter().map(|bin| bin.questions).sum::<usize>(), report.models[0].metrics.questions);
    assert!(bins.is_sorted_by(|a, b| a.predicted < b.predicted));
    assert!(bins[bins.len() - 1].realized > bins[0].realized, "{bins:?}");
    let shares: Vec<f64> = routing.gate.pays.iter().map(|paid| paid.share).collect();
    assert!(shares.is_sorted_by(|cheap, dear| cheap >= dear), "{shares:?}");
    let trees_alone = routing.by_gate[0].log_loss;
    for paid in &routing.gate.pays {
        assert!((paid.log_loss + paid.gained - trees_alone).abs() < 1e-9, "{paid:?}");
    }
    assert!(routing.against.iter().any(|against| against.name == ROUTER && against.with == "gbdt"));
    assert!(report.to_string().contains("the router asks student-int8"));
    assert!(report.to_string().contains("as much as pays at 25 µs"));
    let json = serde_json::to_value(report).unwrap();
    for key in [
        "/models/router/latency_us/p999",
        "/models/router/routed_share",
        "/models/router/calibration_error",
        "/router/gate/reliability/0/predicted",
        "/router/gate/reliability/0/realized",
        "/router/gate/reliability/0/questions",
        "/router/gate/pays/2/share",
        "/routing/routed_share",
    ] {
        assert!(json.pointer(key).is_some_and(serde_json::Value::is_number), "{key}");
    }
    assert!(found.router.is_some());

    // Of two runs, the curves are means, and the router is that of the first's seeds.
    let run = |experiment: &Experiment| {
        experiment.run(&simulation.log, &simulation.vocabulary, Some(&simulation.truth), &Silent).unwrap()
    };
    let twice = run(&Experiment { repeats: 1, ..of_seed(0) });
    let (next, twice) =
        (run(&of_seed(1)).report.routing.unwrap(), (twice.report.routing.unwrap(), twice.router));
    let bytes = |router: &Option<RouterModel>| router.as_ref().unwrap().write().unwrap();
    assert_eq!(bytes(&twice.1), bytes(&found.router));
    for (step, mean) in twice.0.by_gate.iter().enumerate() {
        let each = [routing, &next].map(|routing| routing.by_gate[step]);
        assert!((mean.log_loss - (each[0].log_loss + each[1].log_loss) / 2.0).abs() < 1e-12);
        assert_eq!(mean.share, each[0].share);
    }
    assert_eq!(twice.0.learning[0].questions, next.learning[0].questions);
}
