//! Scoring allocates nothing once warm, and a history's memory is bounded: counted by the allocator itself.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod counting;
mod people;

use std::hint::black_box;
use std::sync::Arc;

use counting::{LIVE_BYTES, REQUESTS, peak_bytes};
use foretap::Silent;
use foretap::baseline::{BayesOptimal, Markov, MostFrequent, MostRecent};
use foretap::bundle::Bundle;
use foretap::context::{History, Task, features, replay};
use foretap::data::{AppId, PlaceGrid, Signal, Timestamp};
use foretap::gbdt::GbdtConfig;
use foretap::predict::Predictor;
use foretap::quantize::{QuantizedTransformer, quantize};
use foretap::router::{Answer, Feedback, LearnSettings, Person, Route, Routing, SuggestionSettings};
use foretap::transformer::{
    Batch, ForwardScratch, InferenceEngine, Standardisation, Transformer, TransformerConfig,
    TransformerModel, Weights,
};
use people::{TASKS, event, people, quick_model};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

#[test]
fn the_counter_counts() {
    let (requests, bytes) = (REQUESTS.get(), LIVE_BYTES.get());
    let mut numbers: Vec<u64> = Vec::with_capacity(4);
    assert_eq!((REQUESTS.get() - requests, LIVE_BYTES.get() - bytes), (1, 32));
    numbers.reserve(100);
    assert!(REQUESTS.get() - requests == 2 && LIVE_BYTES.get() - bytes >= 800);
    drop(numbers);
    assert_eq!((REQUESTS.get() - requests, LIVE_BYTES.get() - bytes), (2, 0));
    // At once: two hundred, then three hundred.
    let room = |bytes| black_box(Vec::<u8>::with_capacity(bytes));
    assert_eq!(peak_bytes(|| (drop(room(200)), drop((room(100), room(200))))).1, 300);
}

#[test]
fn scoring_allocates_nothing_once_warm() {
    let simulation = people(8, 10);
    let favourites: Arc<[AppId]> = (0..50).map(AppId).collect();
    for task in TASKS {
        let model = quick_model(&simulation, task);
        let bayes_optimal = BayesOptimal { truth: &simulation.truth };
        let config = TransformerConfig::student(task, simulation.vocabulary.len());
        let transformer = TransformerModel {
            columns: Standardisation::none(&config),
            weights: Weights::random(config, &mut ChaCha8Rng::seed_from_u64(1)).unwrap(),
            apps: simulation.vocabulary.names().to_vec(),
            temperature: 1.0,
        };
        let whole = quantize(&transformer).unwrap();
        let whole = QuantizedTransformer::new(&whole, &simulation.vocabulary).unwrap();
        let transformer = Transformer::new(&transformer, &simulation.vocabulary).unwrap();
        let predictors: [(&str, &dyn Predictor); 7] = [
            ("transformer", &transformer),
            ("transformer in INT8", &whole),
            ("recent", &MostRecent),
            ("frequent", &MostFrequent),
            ("markov", &Markov::default()),
            ("bayes-optimal", &bayes_optimal),
            ("ranker", &model.ranker),
        ];
        for (name, predictor) in predictors {
            let mut scratch = predictor.new_scratch();
            let mut scores = vec![0.0; 100];
            let mut ask_everybody = || {
                let (mut asked, mut requests) = (0, 0);
                for events in simulation.log.users() {
                    replay(events, task, &favourites, usize::MAX, |_, _, context| {
                        let scores = &mut scores[..context.candidates().len()];
                        let before = REQUESTS.get();
                        predictor.score(context, &mut scratch, scores);
                        requests += REQUESTS.get() - before;
                        asked += 1;
                    });
                }
                (asked, requests)
            };
            // Warm up: buffers grow to the largest question.
            ask_everybody();
            let (asked, requests) = ask_everybody();
            assert!(asked > 3_000, "only {asked} questions");
            assert_eq!(requests, 0, "{name}, {task}: allocations in {asked} questions");
        }
    }
}

#[test]
fn a_whole_answer_allocates_nothing_once_warm() {
    let simulation = people(4, 10);
    let bundle = Bundle::pretrained().unwrap();
    let router = bundle.router(&simulation.vocabulary, Routing::Share(0.5)).unwrap();
    let favourites = bundle.favourites_in(&simulation.vocabulary);
    let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
    let settings = SuggestionSettings { exploration: 0.1, ..SuggestionSettings::default() };
    let gbdt = GbdtConfig { trees: 20, learning_rate: 0.1, ..GbdtConfig::default() };
    let nightly = LearnSettings { gbdt, ..LearnSettings::default() };
    let mut live = || {
        let (mut asked, mut requests, mut routed, mut with_trees) = (0, 0, 0, 0);
        for events in simulation.log.users() {
            let mut person = Person::new(Arc::clone(&favourites), settings, 1).unwrap();
            person.keep_events(2_000);
            // Room for a question that waits for its answer.
            person.ask(&router, Task::FirstAfterUnlock, Timestamp(0), &mut scratch, &mut answer);
            for event in events {
                person.observe(event);
                // Trees of the person's own answer, too, from then on.
                if person.personalization().answers() == 150 && person.personalization().trees().is_none() {
                    person.learn(&router, Task::FirstAfterUnlock, &nightly, &Silent).unwrap();
                    with_trees += u32::from(person.personalization().trees().is_some());
                }
                if event.signal == Signal::Unlock {
                    let before = REQUESTS.get();
                    person.ask(&router, Task::FirstAfterUnlock, event.at, &mut scratch, &mut answer);
                    if let Some(suggestion) = person.suggest(&answer) {
                        person.feedback(suggestion.id, Feedback::Ignored).unwrap();
                    }
                    // Of a new person's first questions each is larger than those before.
                    requests +=
                        if person.personalization().answers() > 200 { REQUESTS.get() - before } else { 0 };
                    routed += u32::from(answer.route == Route::Both);
                    asked += 1;
                }
            }
        }
        (asked, requests, routed, with_trees)
    };
    live();
    let (asked, requests, routed, with_trees) = live();
    assert!(with_trees > 0, "nobody learned");
    assert!(asked > 1_500 && routed > asked / 3, "{asked} questions, {routed} routed");
    assert_eq!(requests, 0, "allocations in {asked} whole answers");
}

#[test]
fn a_transformers_forward_pass_allocates_nothing_once_warm() {
    let config = TransformerConfig::student(Task::FirstAfterUnlock, 30);
    let weights = Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let (forward, mut scratch) = (InferenceEngine::new(weights), ForwardScratch::default());
    let questions: Vec<Batch> = [(config.window, 200), (1, 1), (17, 50), (config.window, 3)]
        .map(|(length, candidates)| Batch::random_question(&config, length, candidates, 1))
        .into();
    let mut scores = vec![0.0; 200];
    let mut ask = || {
        let before = REQUESTS.get();
        for batch in &questions {
            forward.score(batch, &mut scratch, &mut scores[..batch.candidates()]);
        }
        REQUESTS.get() - before
    };
    assert!(ask() > 0);
    assert_eq!(ask(), 0);
}

/// Ever new apps, places and pairs: after as many apps as a history remembers, its memory grows no more.
#[test]
fn the_memory_of_a_history_is_bounded() {
    let before = LIVE_BYTES.get();
    let mut history = History::default();
    let mut at_secs = 0;
    let mut observe_new_apps = |apps: std::ops::Range<u32>| {
        for app in apps {
            let place = PlaceGrid::default().place(f64::from(app % 120) - 60.0, 0.0);
            let familiar = AppId(app % 7);
            let app = AppId(app);
            for signal in [
                Signal::Notification(AppId(app.0 + 1_000_000)),
                Signal::Unlock,
                Signal::Launch(app),
                Signal::Launch(familiar),
                Signal::Close(familiar),
                Signal::ScreenOff,
            ] {
                at_secs += 10;
                history.observe(&foretap::data::Event { place, ..event(at_secs, signal) });
            }
        }
        LIVE_BYTES.get() - before
    };
    let full = observe_new_apps(0..2_600);
    let fuller = observe_new_apps(2_600..5_000);
    println!("{full} bytes when full, {fuller} after as many apps again");
    assert!(fuller < full + full / 4, "{full} bytes, then {fuller}");
    assert!(fuller < 64 << 20, "{fuller} bytes for one user");

    // The features of a question want no memory that grows, either.
    let mut matrix = Vec::new();
    let context = history.context_at(Timestamp(at_secs), Task::FirstAfterUnlock);
    features::fill(&context, &mut matrix);
    let requests = REQUESTS.get();
    (0..10).for_each(|_| features::fill(&context, &mut matrix));
    assert_eq!(REQUESTS.get(), requests);
}
