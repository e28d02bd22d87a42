//! Quantized trees on simulated people: they rank as the trained ones do, in a sixth of the bytes.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod counting;
mod people;

use std::sync::{Arc, LazyLock};

use counting::peak_bytes;
use foretap::context::{Context, Task, TrainingView, features, questions, replay};
use foretap::data::simulate::Simulation;
use foretap::data::{AppId, Event, Split};
use foretap::gbdt::{ForestScratch, GbdtConfig};
use foretap::predict::{Prediction, Predictor};
use foretap::quantize::{QuantizedModel, QuantizedTrees, TreesReport, quantize};
use foretap::ranker::{Ranker, RankerConfig, train_ranker};
use foretap::transformer::{Standardisation, TransformerConfig, TransformerModel, Weights};
use foretap::{ErrorKind, Silent};
use people::people;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const TASK: Task = Task::FirstAfterUnlock;
const TREES: usize = 300;
const LEAVES: usize = 31;

/// A ranker of the size that phones get, and the people whose later questions it has not seen.
static TRAINED: LazyLock<(Ranker, Simulation)> = LazyLock::new(|| {
    let simulation = people(20, 14);
    let split = |events| {
        let (first, all) = (first_test(events), questions(TASK, events).len());
        Split { train: 0..first, validation: first..first, test: first..all }
    };
    let people = simulation.log.users().map(|events| (events, split(events)));
    let view = TrainingView::new(TASK, &simulation.vocabulary, people);
    let gbdt = GbdtConfig { trees: TREES, leaves: LEAVES, learning_rate: 0.05, ..Default::default() };
    let config = RankerConfig { gbdt, ..Default::default() };
    let ranker = train_ranker(&config, &view, &Silent).unwrap().ranker;
    (ranker, simulation)
});

fn favourites() -> Arc<[AppId]> {
    (0..50).map(AppId).collect()
}

/// The last fifth of a user's questions is for the test.
fn first_test(events: &[Event]) -> usize {
    questions(TASK, events).len() * 4 / 5
}

/// Shows `visit` the test questions.
fn ask(simulation: &Simulation, mut visit: impl FnMut(&Context<'_>)) {
    for events in simulation.log.users() {
        let first = first_test(events);
        replay(events, TASK, &favourites(), usize::MAX, |number, _, context| {
            if number >= first {
                visit(context);
            }
        });
    }
}

/// The apps that `predictor` puts first.
fn first_apps(predictor: &dyn Predictor, context: &Context<'_>) -> Vec<AppId> {
    let mut scores = vec![0.0; context.candidates().len()];
    predictor.score(context, &mut predictor.new_scratch(), &mut scores);
    let prediction = Prediction::new(context, &scores, 1.0);
    prediction.candidates.iter().take(5).map(|candidate| candidate.app).collect()
}

/// The promise of `src/quantize/trees` is that apps change places only where their scores were within twice the largest
/// possible error: 0.018 here. It is the worst case, every leaf rounded as far as can be, and for and against the same
/// app. What happens is much less: no app changes places that was ahead by more than this.
const TOLERANCE: f64 = 0.001;

#[test]
fn quantized_trees_rank_as_the_trained_ones() {
    let (ranker, simulation) = &*TRAINED;
    let ensemble = ranker.forest().ensemble();
    let trees = QuantizedTrees::new(ensemble).unwrap();
    let quantized = trees.ranker().unwrap();
    let mut matrices = Vec::new();
    let (mut asked, mut alike, mut widest) = (0, [0; 3], 0.0_f64);
    ask(simulation, |context| {
        let mut matrix = Vec::new();
        features::fill(context, &mut matrix);
        let mut scores = vec![0.0; context.candidates().len()];
        ranker.forest().score(&matrix, &mut ForestScratch::default(), &mut scores);
        let score = |app: &AppId| scores[context.candidates().iter().position(|other| other == app).unwrap()];
        let (expected, found) = (first_apps(ranker, context), first_apps(&quantized, context));
        for (expected, found) in expected.iter().zip(&found).filter(|(expected, found)| expected != found) {
            widest = widest.max((score(expected) - score(found)).abs());
        }
        for (alike, first) in alike.iter_mut().zip([1, 3, 5]) {
            *alike += usize::from(expected.iter().take(first).eq(found.iter().take(first)));
        }
        asked += 1;
        matrices.push(matrix);
    });
    let report = TreesReport::new(ensemble, &trees, matrices.iter().map(Vec::as_slice));
    println!("the first 1, 3, 5 apps are the same in {alike:?} of {asked} questions");
    println!("an app was ahead by {widest:.1e} at most and changed places; a step is {:.1e}", trees.step());
    println!("{report:?}: {:.2} % moved", 100.0 * report.moved_share());
    assert!(asked > 1_000 && report.rows > 20 * asked, "{asked} questions, {} rows", report.rows);
    assert!(widest <= TOLERANCE && TOLERANCE <= 2.0 * report.largest_score_error, "{widest} apart");
    assert!(alike.iter().all(|&alike| alike * 1_000 >= asked * 995), "{alike:?} of {asked}");
    assert!(report.moved_share() < 0.005, "{report:?}");
}

#[test]
fn quantized_trees_are_small_and_come_back() {
    let ensemble = TRAINED.0.forest().ensemble();
    let trees = QuantizedTrees::new(ensemble).unwrap();
    let bytes = trees.write().unwrap();
    assert_eq!(QuantizedTrees::read(&bytes).unwrap(), trees);
    let splits: usize = ensemble.trees.iter().map(|tree| tree.splits.len()).sum();
    let of_trees = 3 * splits + 2 * (splits + ensemble.trees.len()) + 2 * ensemble.trees.len();
    let rest = bytes.len() - of_trees;
    println!(
        "{} trees, {splits} splits: {} bytes, {rest} of them for features",
        ensemble.trees.len(),
        bytes.len()
    );
    assert_eq!(ensemble.trees.len(), TREES);
    assert!(rest < 20_000 && bytes.len() < 65_000, "{} bytes, {rest} beside the trees", bytes.len());
}

/// Reads `good` damaged a thousand times, and as it is: no part of it is taken for the whole, nor is what has bytes too
/// many; another number at its place may be another model. None takes more than `times` its bytes.
fn damage<T>(good: &[u8], times: i64, read: impl Fn(&[u8]) -> foretap::Result<T>) {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut refused, mut changed, mut largest) = (0, 0, 0);
    for mutation in 0..1_000 {
        let mut bytes = good.to_vec();
        let at = random.random_range(0..if mutation % 2 == 0 { bytes.len() } else { 2_000 });
        match mutation % 5 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            // A length beyond all reason, or all that is there.
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => drop(bytes.splice(at..at, [random.random(); 4])),
            _ => {}
        }
        let (outcome, peak) = peak_bytes(|| read(&bytes).map(drop));
        match mutation % 5 {
            0 | 3 => assert!(outcome.is_err(), "mutation {mutation} at {at} of {}", good.len()),
            4 => assert!(outcome.is_ok(), "the good one"),
            _ => {
                changed += 1;
                refused += usize::from(outcome.is_err());
            }
        }
        largest = largest.max(peak);
        assert!(outcome.is_ok() || outcome.is_err_and(|error| error.kind() == ErrorKind::Model));
        assert!(peak < times * good.len() as i64, "{peak} bytes for {}", good.len());
    }
    println!("{refused} of {changed} changed ones refused; {largest} bytes at most for {}", good.len());
    assert!(refused > changed / 10 && refused < changed, "{refused} of {changed}");
}

/// Plain trees of 80 bytes a split are made of 3, to be checked.
#[test]
fn damaged_trees_take_little_memory() {
    let trees = QuantizedTrees::new(TRAINED.0.forest().ensemble()).unwrap();
    damage(&trees.write().unwrap(), 40, QuantizedTrees::read);
}

#[test]
fn damaged_students_take_little_memory() {
    let config = TransformerConfig::student(TASK, 600);
    let apps: Vec<String> = (0..config.apps).map(|app| format!("app {app}")).collect();
    let columns = Standardisation::none(&config);
    let weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let model =
        quantize(&TransformerModel { weights, apps: apps.clone(), temperature: 1.0, columns }).unwrap();
    let bytes = model.write().unwrap();
    println!("{} bytes, {} of them numbers", bytes.len(), model.bytes());
    damage(&bytes, 3, |bytes| QuantizedModel::read(bytes, apps.clone()));
}
