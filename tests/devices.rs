//! Every device computes the same losses, logits and gradients, and the gradients are those of the losses.

#![cfg(feature = "burn")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

use foretap::context::Task;
use foretap::transformer::reference::{KEEP_ALL, answer, away_from_kinks};
use foretap::transformer::{Batch, Device, Engine, NO_TARGET, TrainingPass, TransformerConfig, Weights};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const PASS: TrainingPass = TrainingPass { next_weight: 0.7, dropout: 0.0, seed: 0 };

fn tiny() -> TransformerConfig {
    TransformerConfig {
        d_model: 8,
        layers: 2,
        heads: 2,
        d_ff: 12,
        window: 6,
        pointer_width: 5,
        candidate_columns: 3,
        question_columns: 2,
        ..TransformerConfig::student(Task::FirstAfterUnlock, 7)
    }
}

/// A plain softmax, and a mixture.
fn shapes() -> [TransformerConfig; 2] {
    [1, 3].map(|mixture| TransformerConfig { mixture, ..tiny() })
}

/// Weights of which none is zero, so that a part that is left out is noticed.
fn weights(config: &TransformerConfig, seed: u64) -> Weights {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::random(config.clone(), &mut random).unwrap();
    for value in &mut weights.values {
        *value += random.random_range(-0.3..0.3);
    }
    weights
}

/// No rectifier's input is nearer to zero than this, where its gradient jumps and engines that round differently differ.
/// Rounding moves none by a thousandth of it, and the steps of the differences below by less than half.
const AWAY: f64 = 1e-2;

/// `weights`, with biases moved to where every gradient over `batch` is smooth.
fn smooth(weights: &Weights, batch: &Batch) -> Weights {
    let moved = away_from_kinks(weights, batch, AWAY, KEEP_ALL).unwrap();
    assert!(answer(&moved, batch).nearest_kink >= AWAY);
    moved
}

/// `batch` with what it asks and learns from cut down.
fn without(mut batch: Batch, questions: bool, next_apps: bool) -> Batch {
    if questions {
        batch.question_tokens.clear();
        batch.question_columns.clear();
        batch.offsets = vec![0];
        batch.candidate_apps.clear();
        batch.candidate_columns.clear();
        batch.targets.clear();
    }
    if next_apps {
        batch.next_apps.fill(NO_TARGET);
    }
    batch
}

/// `batch` with its first question alone, of one candidate.
fn one_candidate(mut batch: Batch, config: &TransformerConfig) -> Batch {
    batch.question_tokens.truncate(1);
    batch.question_columns.truncate(config.question_columns);
    batch.offsets = vec![0, 1];
    batch.candidate_apps.truncate(1);
    batch.candidate_columns.truncate(config.candidate_columns);
    batch.targets = vec![1.0];
    batch
}

fn batches(config: &TransformerConfig) -> Vec<(&'static str, Batch)> {
    let window = config.window;
    vec![
        ("one token", Batch::random(config, 1, 1, 1)),
        ("two tokens", Batch::random(config, 2, 3, 2)),
        ("the window", Batch::random(config, window, 4, 3)),
        ("one candidate", one_candidate(Batch::random(config, window, 2, 4), config)),
        ("no question", without(Batch::random(config, window, 2, 5), true, false)),
        ("no next app", without(Batch::random(config, window, 2, 6), false, true)),
        ("nothing to learn", without(Batch::random(config, window, 2, 7), true, true)),
    ]
}

/// The engines that this build and this machine have. The one to compare with comes first: the crate's own, which is
/// checked against a plain model in double precision.
fn engines() -> Vec<Box<dyn Engine>> {
    let engines: Vec<_> = Device::ALL.into_iter().filter_map(|device| device.open().ok()).collect();
    // A card may be missing, a processor not: nothing would be compared.
    let is_on_processor = cfg!(feature = "flex") || cfg!(feature = "ndarray");
    assert!(engines.len() > usize::from(is_on_processor), "{} engines", engines.len());
    engines
}

#[test]
fn every_device_computes_the_same() {
    for config in shapes() {
        let random = weights(&config, 11);
        for (what, batch) in batches(&config) {
            let weights = smooth(&random, &batch);
            let mut expected = None;
            for mut engine in engines() {
                let what = format!("{what} on {}, mixture of {}", engine.name(), config.mixture);
                let mut gradient = vec![f32::NAN; weights.values.len()];
                let losses = engine.gradient(&weights, &batch, PASS, &mut gradient).unwrap();
                let logits = engine.logits(&weights, &batch).unwrap();
                assert_eq!(logits.len(), batch.candidates(), "{what}");
                assert_eq!(losses.questions, batch.questions(), "{what}");
                let (losses_too, gradient_too, logits_too) =
                    expected.get_or_insert_with(|| (losses, gradient.clone(), logits.clone()));
                assert_eq!(losses.next_tokens, losses_too.next_tokens, "{what}");
                assert_close(&logits, logits_too, 1e-5, &format!("{what}: logits"));
                let sums = [losses.question as f32, losses.next as f32];
                assert_close(&sums, &[losses_too.question as f32, losses_too.next as f32], 1e-5, &what);
                for tensor in &weights.layout().tensors {
                    let (found, expected) =
                        (&gradient[tensor.range.clone()], &gradient_too[tensor.range.clone()]);
                    assert_close(found, expected, 1e-4, &format!("{what}: gradient of {}", tensor.name));
                }
            }
        }
    }
}

/// Equal up to `tolerance` times the largest number expected. What rounding leaves of a zero is let pass.
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= tolerance * largest, "{what}, {index}: {found}, expected {expected}");
    }
}

#[test]
fn gradients_are_what_the_loss_does() {
    for config in shapes() {
        let random = weights(&config, 12);
        // Short, so that no rectifier switches on the way. The crate's own engine, which sums losses in f64, is then right to
        // within 8e-5, Burn to within 6e-4, because its losses are f32: differences of these cannot be held closer.
        // `every_device_computes_the_same` holds Burn's gradients to the engine's.
        let step = 2e-3f32;
        for (what, batch) in batches(&config) {
            let weights = smooth(&random, &batch);
            for mut engine in engines() {
                let mut gradient = vec![0.0; weights.values.len()];
                engine.gradient(&weights, &batch, PASS, &mut gradient).unwrap();
                let mut loss = |weights: &Weights| {
                    let mut unused = vec![0.0; weights.values.len()];
                    engine.gradient(weights, &batch, PASS, &mut unused).unwrap().total(PASS.next_weight)
                };
                // Along one random direction a tensor: the slope by differences, and by the gradient.
                let mut random = ChaCha8Rng::seed_from_u64(13);
                for tensor in &weights.layout().tensors {
                    let length = (tensor.range.len() as f32).sqrt();
                    let signs =
                        tensor.range.clone().map(|_| if random.random_bool(0.5) { 1.0 } else { -1.0 });
                    let direction: Vec<f32> = signs.map(|sign: f32| sign / length).collect();
                    let mut moved = |step: f32| {
                        let mut weights = weights.clone();
                        for (index, along) in tensor.range.clone().zip(&direction) {
                            weights.values[index] += step * along;
                        }
                        loss(&weights)
                    };
                    let measured = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                    let pairs = gradient[tensor.range.clone()].iter().zip(&direction);
                    let expected: f64 =
                        pairs.map(|(slope, along)| f64::from(*slope) * f64::from(*along)).sum();
                    let difference = (measured - expected).abs();
                    let name = &tensor.name;
                    assert!(
                        difference <= 2e-3 * (1.0 + expected.abs()),
                        "{what}, mixture of {}, {name}: {measured} measured, {expected} computed",
                        config.mixture
                    );
                }
            }
        }
    }
}

#[test]
fn later_tokens_change_nothing() {
    let config = TransformerConfig { mixture: 2, ..tiny() };
    let weights = weights(&config, 14);
    let batch = Batch::random(&config, config.window, 1, 8);
    // The first question's logits, with every token after it replaced.
    let (asked, count) = (batch.question_tokens[0] as usize, batch.offsets[1] as usize);
    let mut later = batch.clone();
    for token in asked + 1..later.tokens() {
        later.apps[token] = 0;
        later.kinds[token] = 0;
        later.secs[token] = u32::MAX;
    }
    assert_ne!(batch, later);
    for mut engine in engines() {
        let logits = engine.logits(&weights, &batch).unwrap();
        let blind = engine.logits(&weights, &later).unwrap();
        assert_eq!(logits[..count], blind[..count], "{}", engine.name());
    }
}

#[test]
fn dropout_follows_its_seed() {
    let config = tiny();
    let weights = weights(&config, 15);
    let batch = Batch::random(&config, config.window, 4, 9);
    for mut engine in engines() {
        let name = engine.name();
        let mut run = |dropout: f32, seed: u64| {
            let mut gradient = vec![0.0; weights.values.len()];
            engine.gradient(&weights, &batch, TrainingPass { dropout, seed, ..PASS }, &mut gradient).unwrap();
            gradient
        };
        // A graphics card may add in another order the next time.
        let mut farthest = |a: (f32, u64), b: (f32, u64)| {
            let (a, b) = (run(a.0, a.1), run(b.0, b.1));
            a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(farthest((0.3, 1), (0.3, 1)) < 1e-5, "{name}");
        assert!(farthest((0.3, 1), (0.3, 2)) > 1e-2, "{name}");
        assert!(farthest((0.3, 1), (0.0, 1)) > 1e-2, "{name}");
        assert!(farthest((0.0, 1), (0.0, 2)) < 1e-5, "{name}");
    }
}

#[test]
fn all_dropped_leaves_the_biases() {
    let config = tiny();
    let weights = weights(&config, 16);
    let batch = without(Batch::random(&config, config.window, 3, 10), true, false);
    // Nothing reaches the last norm, so every token's next app has the chances that the biases say.
    let biases = &weights.values[weights.layout().app_bias.clone()];
    let total: f64 = biases.iter().map(|&bias| f64::from(bias).exp()).sum();
    let targets = batch.next_apps.iter().filter(|&&app| app != NO_TARGET);
    let expected: f64 = targets.map(|&app| total.ln() - f64::from(biases[app as usize])).sum();
    // The crate's own engine always keeps a thousandth.
    for mut engine in engines().into_iter().filter(|engine| engine.name() != "cpu") {
        let mut gradient = vec![0.0; weights.values.len()];
        let losses =
            engine.gradient(&weights, &batch, TrainingPass { dropout: 1.0, ..PASS }, &mut gradient).unwrap();
        assert!((losses.next - expected).abs() < 1e-4, "{}: {losses:?}, {expected}", engine.name());
    }
}

#[test]
fn a_device_is_there_or_says_what_to_do() {
    for device in Device::ALL {
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        let built = match device {
            Device::Flex => cfg!(feature = "flex"),
            Device::NdArray => cfg!(feature = "ndarray"),
            Device::Gpu => cfg!(feature = "wgpu"),
            _ => continue,
        };
        match device.open() {
            Ok(engine) => assert!(built, "{}", engine.name()),
            Err(error) if built => {
                // A build can have a backend for which the machine has no card, unless its user says that it has.
                assert_eq!(device, Device::Gpu, "{error}");
                assert!(std::env::var_os("FORETAP_NEEDS_GPU").is_none(), "{error}");
                assert!(error.to_string().contains("graphics card"), "{error}");
            }
            Err(error) => assert!(error.to_string().contains("--features"), "{error}"),
        }
    }
}
