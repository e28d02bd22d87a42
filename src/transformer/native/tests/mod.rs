//! The engine beside the reference, and beside itself on other threads.

use fearless_simd::Level;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::dropout::Site;
use super::*;
use crate::context::Task;
use crate::context::tokens::GAPS;
use crate::error::ErrorKind;
use crate::transformer::TransformerConfig;
use crate::transformer::reference::{Added, answer, answer_of, away_from_kinks};

/// Widths that are no multiples of a tile's, so that every edge is met.
fn tiny() -> TransformerConfig {
    TransformerConfig {
        d_model: 12,
        layers: 2,
        heads: 2,
        d_ff: 20,
        window: 10,
        pointer_width: 9,
        candidate_columns: 7,
        question_columns: 5,
        ..TransformerConfig::student(Task::FirstAfterUnlock, 19)
    }
}

/// A plain softmax, and mixtures.
fn shapes() -> [TransformerConfig; 3] {
    [1, 2, 5].map(|mixture| TransformerConfig { mixture, ..tiny() })
}

/// Weights that are nowhere zero or one: biases and norms must show, too.
fn weights(config: &TransformerConfig) -> Weights {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut weights = Weights::random(config.clone(), &mut random).unwrap();
    for value in &mut weights.values {
        *value = *value * 1.5 + random.random_range(-0.2f32..0.2);
    }
    weights
}

const PASS: TrainingPass = TrainingPass { next_weight: 0.3, dropout: 0.0, seed: 11 };

fn gradient(weights: &Weights, batch: &Batch, pass: TrainingPass) -> (Losses, Vec<f32>) {
    let mut gradient = vec![f32::NAN; weights.values.len()];
    let losses = NativeEngine::new().gradient(weights, batch, pass, &mut gradient).unwrap();
    (losses, gradient)
}

/// No rectifier's input is nearer to zero than this, where its gradient jumps: far more than rounding, or a step of the
/// differences below, moves any.
const AWAY: f64 = 1e-3;

/// The engine's dropout, for the reference.
fn dropping(dropout: Dropout) -> impl Fn(Added, usize, &mut [f64]) {
    move |added, token, x| {
        let site = match added {
            Added::Embedding => Site::Embedding,
            Added::Attention(layer) => Site::Attention(layer),
            Added::Feed(layer) => Site::Feed(layer),
        };
        let mut factors = vec![1.0f32; x.len()];
        dropout.apply(Level::new(), site, token, x.len(), &mut factors);
        x.iter_mut().zip(factors).for_each(|(x, factor)| *x *= f64::from(factor));
    }
}

struct Case {
    name: &'static str,
    batch: Batch,
    pass: TrainingPass,
}

fn cases(config: &TransformerConfig) -> Vec<Case> {
    let random = |length, sequences| Batch::random(config, length, sequences, 5);
    let none = Batch {
        question_tokens: Vec::new(),
        question_columns: Vec::new(),
        offsets: vec![0],
        candidate_apps: Vec::new(),
        candidate_columns: Vec::new(),
        targets: Vec::new(),
        ..random(7, 3)
    };
    let mut no_next = random(7, 3);
    no_next.next_apps.fill(NO_TARGET);
    let case = |name, batch| Case { name, batch, pass: PASS };
    let mut cases = vec![
        case("one token", random(1, 40)),
        case("two tokens", random(2, 9)),
        case("a whole window", random(10, 20)),
        case("one sequence", random(9, 1)),
        case("no question", none),
        case("no next app", no_next),
        case("nothing", Batch { length: 3, offsets: vec![0], ..Batch::default() }),
    ];
    cases.push(Case { name: "dropout", pass: TrainingPass { dropout: 0.3, ..PASS }, batch: random(8, 12) });
    cases.push(Case {
        name: "questions alone",
        pass: TrainingPass { next_weight: 0.0, ..PASS },
        batch: random(8, 4),
    });
    cases
}

#[test]
fn gradients_equal_central_differences_of_the_reference() {
    let mut random = ChaCha8Rng::seed_from_u64(17);
    for config in shapes() {
        let random_weights = weights(&config);
        for Case { name, batch, pass } in cases(&config) {
            let drop = dropping(Dropout::new(pass.dropout, pass.seed));
            let weights = away_from_kinks(&random_weights, &batch, AWAY, &drop).unwrap();
            let values: Vec<f64> = weights.values.iter().map(|&value| f64::from(value)).collect();
            assert!(answer_of(&config, &values, &batch, &drop).nearest_kink >= AWAY, "{name}");
            let (losses, gradient) = gradient(&weights, &batch, pass);
            let total = |values: &[f64]| {
                let found = answer_of(&config, values, &batch, &drop);
                Losses { question: found.question, next: found.next, ..losses }.total(pass.next_weight)
            };
            assert_eq!(losses.questions, batch.questions(), "{name}");
            assert_eq!(losses.next_tokens, batch.next_apps.iter().filter(|&&app| app != NO_TARGET).count());
            let expected = total(&values);
            let found = losses.total(pass.next_weight);
            assert!(
                (found - expected).abs() < 1e-5 * (1.0 + expected),
                "{name}: loss {found}, not {expected}"
            );
            for tensor in &weights.layout().tensors {
                for _ in 0..6 {
                    let at = random.random_range(tensor.range.clone());
                    let step = 1e-6;
                    let mut moved = values.clone();
                    moved[at] += step;
                    let up = total(&moved);
                    moved[at] -= 2.0 * step;
                    let expected = (up - total(&moved)) / (2.0 * step);
                    let found = f64::from(gradient[at]);
                    let allowed = 1e-6 + 2e-4 * expected.abs();
                    let place = at - tensor.range.start;
                    assert!(
                        (found - expected).abs() < allowed,
                        "{name}, mixture of {}, {}[{place}]: {found}, not {expected}",
                        config.mixture,
                        tensor.name
                    );
                }
            }
        }
    }
}

#[test]
fn logits_equal_the_reference() {
    for config in shapes() {
        let weights = weights(&config);
        for Case { name, batch, .. } in cases(&config) {
            let found = NativeEngine::new().logits(&weights, &batch).unwrap();
            let expected = answer(&weights, &batch).logits;
            assert_eq!(found.len(), expected.len(), "{name}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{name}: {found}, not {expected}");
            }
        }
    }
}

/// Bit for bit, on any number of threads, with room that other batches have used.
#[test]
fn results_depend_on_nothing_else() {
    let mut used = NativeEngine::new();
    for config in shapes() {
        let weights = weights(&config);
        for Case { name, batch, pass } in cases(&config) {
            let pass = TrainingPass { dropout: 0.2, ..pass };
            let (losses, expected) = gradient(&weights, &batch, pass);
            let logits = used.logits(&weights, &batch).unwrap();
            for threads in 1..4 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut gradient = vec![f32::NAN; expected.len()];
                let again = pool.install(|| used.gradient(&weights, &batch, pass, &mut gradient)).unwrap();
                assert_eq!(losses, again, "{name}, {threads} threads");
                assert!(
                    expected.iter().zip(&gradient).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{name}, {threads}"
                );
                assert_eq!(pool.install(|| used.logits(&weights, &batch)).unwrap(), logits, "{name}");
            }
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let config = tiny();
    let weights = weights(&config);
    let batch = |config: &TransformerConfig, length| Batch::random(config, length, 4, 1);
    let larger = TransformerConfig { apps: 50, window: 20, ..config.clone() };
    let changed = |change: fn(&mut Batch)| {
        let mut batch = batch(&config, 8);
        change(&mut batch);
        batch
    };
    let cases = [
        ("apps that the model does not have", batch(&larger, 8)),
        ("more tokens than the window", batch(&larger, 11)),
        ("tokens without a sequence", changed(|batch| batch.length = 7)),
        ("no length", changed(|batch| batch.length = 0)),
        ("a kind that is none", changed(|batch| batch.kinds[3] = 200)),
        ("a gap that is none", changed(|batch| batch.gaps[3] = GAPS as u8)),
        ("a question beyond the tokens", changed(|batch| batch.question_tokens[0] = 32)),
        ("a target too few", changed(|batch| batch.targets.truncate(1))),
    ];
    for (name, batch) in cases {
        let mut gradient = vec![0.0; weights.values.len()];
        let mut engine = NativeEngine::new();
        let errors = [
            engine.gradient(&weights, &batch, PASS, &mut gradient).unwrap_err(),
            engine.logits(&weights, &batch).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::Config), "{name}");
    }
}
