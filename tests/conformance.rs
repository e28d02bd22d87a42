//! One suite over every predictor: what `Predictor` promises, each of them keeps.
//!
//! A new predictor joins with a line in `every_predictor_keeps_the_contract`.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod people;

use std::sync::Arc;

use foretap::baseline::{Markov, MostFrequent, MostRecent, Optimum};
use foretap::context::{Context, History, Task, questions, replay};
use foretap::data::simulate::Simulation;
use foretap::data::{AppId, Event, Signal, Timestamp, UserId};
use foretap::distill::{Blend, Part};
use foretap::model::Model;
use foretap::predict::{Prediction, Predictor, Scratch};
use foretap::quantize::{QuantizedModel, QuantizedTransformer, QuantizedTrees, quantize};
use foretap::router::{Experts, Router, RouterModel, Routing};
use foretap::transformer::{
    Precision, Standardisation, Transformer, TransformerConfig, TransformerModel, Weights,
};
use people::{TASKS, event, launches, people, quick_model};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

/// A predictor, and the same after export and reload where it can be exported.
struct Entrant<'a> {
    name: &'static str,
    predictor: &'a dyn Predictor,
    reloaded: Option<&'a dyn Predictor>,
}

#[test]
fn every_predictor_keeps_the_contract() {
    let simulation = people(4, 6);
    let [unlock, launch] = TASKS.map(|task| quick_model(&simulation, task));
    let [unlock_again, launch_again] = [&unlock, &launch].map(saved_and_loaded);
    let optimum = Optimum { truth: &simulation.truth };
    let [deep_unlock, deep_launch] = TASKS.map(|task| random_transformer(&simulation, task));
    let [deep_unlock_again, deep_launch_again] = [&deep_unlock, &deep_launch].map(|model| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model");
        model.save(&file, Precision::F32).unwrap();
        TransformerModel::load(&file).unwrap()
    });
    let [whole_unlock, whole_launch] = [&deep_unlock, &deep_launch].map(|model| quantize(model).unwrap());
    let [whole_unlock_again, whole_launch_again] = [&whole_unlock, &whole_launch]
        .map(|model| QuantizedModel::read(&model.write().unwrap(), model.apps.clone()).unwrap());
    let models = [&whole_unlock, &whole_unlock_again, &whole_launch, &whole_launch_again];
    let [whole_unlock, whole_unlock_again, whole_launch, whole_launch_again] =
        models.map(|model| QuantizedTransformer::new(model, &simulation.vocabulary).unwrap());
    let pocket = QuantizedTrees::new(unlock.ranker.forest().ensemble()).unwrap();
    let pocket_again = QuantizedTrees::read(&pocket.write().unwrap()).unwrap();
    let [pocket, pocket_again] = [pocket, pocket_again].map(|trees| trees.ranker().unwrap());
    let models = [&deep_unlock, &deep_unlock_again, &deep_launch, &deep_launch_again];
    let [deep_unlock, deep_unlock_again, deep_launch, deep_launch_again] =
        models.map(|model| Transformer::new(model, &simulation.vocabulary).unwrap());
    let parts = [(&unlock.ranker as &dyn Predictor, 0.3), (&deep_unlock, 0.7)];
    let blend =
        Blend::new(parts.map(|(predictor, weight)| Part { predictor, temperature: 1.2, weight }).to_vec());
    let [router, router_again] =
        [&simulation, &simulation].map(|simulation| router(simulation, unlock.clone()));
    #[rustfmt::skip]
    let entrants = [
        Entrant { name: "transformer of unlocks", predictor: &deep_unlock, reloaded: Some(&deep_unlock_again) },
        Entrant { name: "transformer of launches", predictor: &deep_launch, reloaded: Some(&deep_launch_again) },
        Entrant { name: "whole numbers of unlocks", predictor: &whole_unlock, reloaded: Some(&whole_unlock_again) },
        Entrant { name: "whole numbers of launches", predictor: &whole_launch, reloaded: Some(&whole_launch_again) },
        Entrant { name: "trees in whole numbers", predictor: &pocket, reloaded: Some(&pocket_again) },
        Entrant { name: "blend", predictor: &blend, reloaded: None },
        Entrant { name: "router", predictor: &router, reloaded: Some(&router_again) },
        Entrant { name: "recent", predictor: &MostRecent, reloaded: None },
        Entrant { name: "frequent", predictor: &MostFrequent, reloaded: None },
        Entrant { name: "markov", predictor: &Markov::default(), reloaded: None },
        Entrant { name: "optimum", predictor: &optimum, reloaded: None },
        Entrant { name: "ranker of unlocks", predictor: &unlock.ranker, reloaded: Some(&unlock_again.ranker) },
        Entrant { name: "ranker of launches", predictor: &launch.ranker, reloaded: Some(&launch_again.ranker) },
    ];
    let moments = moments(&simulation);
    assert!(moments.len() > 100, "{} moments", moments.len());
    for entrant in &entrants {
        for moment in &moments {
            scores_are_sound(entrant, moment);
            order_of_candidates_does_not_matter(entrant, moment);
            if let Some(reloaded) = entrant.reloaded {
                let context = moment.context();
                assert_eq!(
                    bits(reloaded, &context),
                    bits(entrant.predictor, &context),
                    "{}",
                    entrant.at(moment)
                );
            }
        }
        any_scratch_serves(entrant, &entrants, &moments);
        threads_agree(entrant, &moments);
        later_events_do_not_matter(entrant, &simulation);
    }
}

/// A transformer that has learned nothing and does not know half of the apps.
fn random_transformer(simulation: &Simulation, task: Task) -> TransformerModel {
    let apps: Vec<String> = simulation.vocabulary.names().iter().step_by(2).cloned().collect();
    let config = TransformerConfig::student(task, apps.len());
    let columns = Standardisation::none(&config);
    let weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(7)).unwrap();
    TransformerModel { weights, apps, temperature: 1.0, columns }
}

/// A router between trees and a transformer that knows nothing, which asks it often.
fn router(simulation: &Simulation, trees: Model) -> Router {
    let whole = quantize(&random_transformer(simulation, Task::FirstAfterUnlock)).unwrap();
    let deep = QuantizedTransformer::new(&whole, &simulation.vocabulary).unwrap();
    let bytes = RouterModel::unfitted([1.0, 1.5]).unwrap().write().unwrap();
    let experts = Experts { trees: Some(Arc::new(trees.ranker)), deep: Some(Arc::new(deep)) };
    Router::new(RouterModel::read(&bytes).unwrap(), experts, Routing::Gain(-1.0)).unwrap()
}

fn saved_and_loaded(model: &Model) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model");
    model.save(&file).unwrap();
    Model::load(&file).unwrap()
}

impl Entrant<'_> {
    fn at(&self, moment: &Moment) -> String {
        format!("{} at {}", self.name, moment.label)
    }
}

// What is asked.

/// A question to ask: a history at a moment, its own candidates or others.
struct Moment {
    label: String,
    history: History,
    now: Timestamp,
    task: Task,
    candidates: Option<Vec<AppId>>,
}

impl Moment {
    fn context(&self) -> Context<'_> {
        let context = self.history.context_at(self.now, self.task);
        match &self.candidates {
            Some(candidates) => context.with_candidates(candidates),
            None => context,
        }
    }
}

/// Ordinary questions of simulated people, and every odd one that a phone may come up with.
fn moments(simulation: &Simulation) -> Vec<Moment> {
    let mut moments = Vec::new();
    for task in TASKS {
        for (user, events) in simulation.log.users().enumerate() {
            for question in questions(task, events).iter().step_by(29) {
                let asked = &events[..=question.asked_at];
                let label = format!("question {} of user {user}, {task}", question.asked_at);
                let history = folded(asked, &Arc::default());
                let now = events[question.asked_at].at;
                moments.push(Moment { label, history, now, task, candidates: None });
            }
        }
        moments.extend(odd_moments(task, simulation.log.users().next().unwrap()));
    }
    moments
}

fn odd_moments(task: Task, someone: &[Event]) -> Vec<Moment> {
    let some_apps: Arc<[AppId]> = (0..30).map(AppId).collect();
    let none: Arc<[AppId]> = Arc::default();
    let unseen = || Some(vec![AppId(u32::MAX), AppId(1_000_000)]);
    let many = || Some((0..2_000).map(AppId).collect());
    let notified = [event(0, Signal::Notification(AppId(5))), event(9, Signal::Unlock)];
    let stranger: Vec<Event> = someone.iter().map(|e| Event { user: UserId(77), ..*e }).collect();
    let last = someone[someone.len() - 1].at.0;
    let back = [event(10_000_000, Signal::Launch(AppId(1))), event(-5, Signal::Launch(AppId(2)))];
    #[rustfmt::skip]
    let cases: Vec<(&str, History, i64, Option<Vec<AppId>>)> = vec![
        ("no history, no candidates", folded(&[], &none), 0, None),
        ("no history", folded(&[], &some_apps), 0, None),
        ("no history, one candidate", folded(&[], &none), 0, Some(vec![AppId(3)])),
        ("no history, 2,000 candidates", folded(&[], &none), 0, many()),
        ("an unlock and nothing else", folded(&[event(0, Signal::Unlock)], &some_apps), 1, None),
        ("one launch", folded(&launches([4]), &none), 60, None),
        ("two launches", folded(&launches([4, 5]), &none), 120, None),
        ("an app that only notified", folded(&notified, &none), 9, Some(vec![AppId(5)])),
        ("a history, no candidates", folded(someone, &none), last, Some(Vec::new())),
        ("one candidate", folded(someone, &none), last, Some(vec![AppId(1)])),
        ("apps never seen", folded(someone, &none), last, unseen()),
        ("2,000 candidates, most never seen", folded(someone, &none), last, many()),
        ("2,000 apps opened", folded(&launches(0..2_000), &none), 120_000, None),
        ("a user without a truth", folded(&stranger, &none), last, None),
        ("a year later", folded(someone, &none), last + 31_536_000, None),
        ("a year earlier", folded(someone, &none), last - 31_536_000, None),
        ("the end of time", folded(someone, &none), i64::MAX, None),
        ("the beginning of time", folded(someone, &none), i64::MIN, None),
        ("a clock set back", folded(&back, &none), 0, None),
    ];
    let named = |(label, history, now, candidates): (&str, _, _, _)| Moment {
        label: format!("{label}, {task}"),
        history,
        now: Timestamp(now),
        task,
        candidates,
    };
    cases.into_iter().map(named).collect()
}

fn folded(events: &[Event], favourites: &Arc<[AppId]>) -> History {
    let mut history = History::new(Arc::clone(favourites));
    events.iter().for_each(|event| history.observe(event));
    history
}

// What is promised.

/// Scores as bits, under `scratch`. Whatever the slice held before is written over.
fn bits_with(predictor: &dyn Predictor, context: &Context<'_>, scratch: &mut Scratch) -> Vec<u32> {
    let mut scores = vec![f32::NAN; context.candidates().len()];
    predictor.score(context, scratch, &mut scores);
    scores.into_iter().map(f32::to_bits).collect()
}

fn bits(predictor: &dyn Predictor, context: &Context<'_>) -> Vec<u32> {
    bits_with(predictor, context, &mut predictor.new_scratch())
}

/// One finite score a candidate, the same every time, and probabilities that sum to one.
fn scores_are_sound(entrant: &Entrant<'_>, moment: &Moment) {
    let (context, at) = (moment.context(), entrant.at(moment));
    let found = bits(entrant.predictor, &context);
    assert_eq!(found, bits(entrant.predictor, &context), "{at}: asked twice");
    let scores: Vec<f32> = found.into_iter().map(f32::from_bits).collect();
    let unsound = context.candidates().iter().zip(&scores).find(|(_, score)| !score.is_finite());
    assert_eq!(unsound, None, "{at}: a score that is not finite");
    let answer = Prediction::new(&context, &scores, 1.0);
    let total: f64 = answer.candidates.iter().map(|candidate| candidate.probability).sum();
    assert!((total + answer.none_of_these - 1.0).abs() < 1e-9, "{at}: probabilities sum to {total}");
    assert_eq!(answer.candidates.len(), context.candidates().len(), "{at}");
}

fn order_of_candidates_does_not_matter(entrant: &Entrant<'_>, moment: &Moment) {
    let context = moment.context();
    let expected = bits(entrant.predictor, &context);
    let mut order: Vec<usize> = (0..expected.len()).collect();
    for seed in 0..3 {
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let shuffled: Vec<AppId> = order.iter().map(|&i| context.candidates()[i]).collect();
        let found = bits(entrant.predictor, &context.with_candidates(&shuffled));
        let expected: Vec<u32> = order.iter().map(|&i| expected[i]).collect();
        assert_eq!(found, expected, "{}: shuffled", entrant.at(moment));
    }
}

/// A scratch that has served other questions, other predictors, or holds something else altogether.
fn any_scratch_serves(entrant: &Entrant<'_>, others: &[Entrant<'_>], moments: &[Moment]) {
    let mut reused = entrant.predictor.new_scratch();
    let mut passed_around = Scratch::new("not a predictor's".to_owned());
    for moment in moments.iter().chain(moments.iter().rev()) {
        let context = moment.context();
        let expected = bits(entrant.predictor, &context);
        assert_eq!(bits_with(entrant.predictor, &context, &mut reused), expected, "{}", entrant.at(moment));
        for other in others {
            let found = bits_with(entrant.predictor, &context, &mut passed_around);
            assert_eq!(found, expected, "{}, scratch used by others", entrant.at(moment));
            bits_with(other.predictor, &context, &mut passed_around);
            let mut foreign = other.predictor.new_scratch();
            let found = bits_with(entrant.predictor, &context, &mut foreign);
            assert_eq!(found, expected, "{}, scratch of {}", entrant.at(moment), other.name);
        }
    }
}

fn threads_agree(entrant: &Entrant<'_>, moments: &[Moment]) {
    let answers =
        || moments.iter().map(|moment| bits(entrant.predictor, &moment.context())).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let [one, two] = [(), ()].map(|()| scope.spawn(answers));
        assert_eq!(one.join().unwrap(), two.join().unwrap(), "{}", entrant.name);
    });
}

/// Scores are the same where the log ends with the question and where it goes on, whichever way; and still the same
/// after the predictor has been asked all the later questions.
fn later_events_do_not_matter(entrant: &Entrant<'_>, simulation: &Simulation) {
    let favourites: Arc<[AppId]> = (0..20).map(AppId).collect();
    for (events, task) in simulation.log.users().take(2).zip(TASKS) {
        let asked: Vec<usize> = questions(task, events).iter().map(|question| question.asked_at).collect();
        assert!(asked.len() > 100, "{} questions, {task}", asked.len());
        for &asked_at in asked.iter().step_by(1 + asked.len() / 5) {
            let known = &events[..=asked_at];
            let history = folded(known, &favourites);
            let context = history.context_at(known[asked_at].at, task);
            let expected = bits(entrant.predictor, &context);
            for (what, tail) in tails(events, asked_at) {
                let log = [known, &tail].concat();
                let mut scratch = entrant.predictor.new_scratch();
                let mut found = None;
                replay(&log, task, &favourites, usize::MAX, |_, question, context| {
                    let scores = bits_with(entrant.predictor, context, &mut scratch);
                    if question.asked_at == asked_at {
                        found = Some(scores);
                    }
                });
                let at = format!("{} at question {asked_at}, {task}, {what}", entrant.name);
                assert_eq!(found.as_ref(), Some(&expected), "{at}");
                assert_eq!(
                    bits_with(entrant.predictor, &context, &mut scratch),
                    expected,
                    "{at}, asked again"
                );
            }
        }
    }
}

/// How the log may go on after the event at `asked_at`.
fn tails(events: &[Event], asked_at: usize) -> Vec<(&'static str, Vec<Event>)> {
    let asked = events[asked_at];
    let rest = &events[asked_at + 1..];
    let unforeseen = Event { signal: Signal::Launch(AppId(40_000)), ..asked };
    let other_apps = rest.iter().map(|e| match e.signal {
        Signal::Launch(AppId(app)) => Event { signal: Signal::Launch(AppId(app + 7)), ..*e },
        Signal::Notification(app) => Event { signal: Signal::Close(app), ..*e },
        _ => *e,
    });
    let much_later = rest.iter().map(|e| Event { at: Timestamp(e.at.0 + 31_536_000), ..*e });
    vec![
        ("the log as it was", rest.to_vec()),
        ("one unforeseen launch", vec![unforeseen]),
        ("other apps", std::iter::once(unforeseen).chain(other_apps).collect()),
        ("a year later", std::iter::once(unforeseen).chain(much_later).collect()),
    ]
}
