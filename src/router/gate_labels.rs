//! What the gate learns: what both experts gain over the trees alone, in nats, with its sign.
//!
//! ```text
//! realized    ln p_both(answer) - ln p_trees(answer)                                  0 where it was no candidate
//! expected    sum over apps of p_both(app) (ln p_both(app) - ln p_trees(app))         never below 0
//! residual    realized - expected
//! gate        trees on the expected gain + few, small trees on the residual
//! ```
//!
//! The realized gain is what counts, and is mostly luck: which app was opened, of those that were likely. What was expected
//! is free of that luck, but believes the blend, and can say of no question that the transformer does harm. Their
//! difference, the residual, has mean 0 wherever the blend is right: the expected gain is a control variate. The two parts of
//! the gate add up to an estimate of the realized gain and of nothing else; only how much each is smoothed differs. No gain
//! is bounded: bounds on both sides of a skewed distribution would move its mean.
//!
//! The blend that says what was gained did not see the questions of that fold, and neither did the experts.

use super::blend::Blend;
use super::calibrate::log_softmax;
use super::fit::{Example, Weighed, Who, fit_blend, never_worse};
use super::gate::{self, Gate};
use crate::error::Result;
use crate::gbdt::{Binner, Dataset, Ensemble, ForestScratch, GbdtConfig, SquaredError, Tree, train};
use crate::progress::Silent;
use crate::quantize::QuantizedTrees;

/// Fewer questions make no gate: it then expects of every question what they gained in the mean.
// Source: by hand, docs/constants.md.
const FEWEST_FOR_GATE: usize = 200;

/// What both gained over the trees at a question, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Gain {
    /// When it was answered.
    pub realized: f32,
    /// What it would be in the mean if the blend's probabilities were true.
    pub expected: f32,
}

/// Each question's gain by a blend that saw no question of its fold. `guesses` are what a gate expects of them.
pub(super) fn gains_across_folds(examples: &[Example], guesses: &[f32]) -> Result<Vec<Gain>> {
    let mut gains = vec![Gain::default(); examples.len()];
    for fold in 0..Example::FOLDS {
        let others: Vec<Weighed<'_>> = examples
            .iter()
            .zip(guesses.iter().copied())
            .filter(|(example, _)| example.fold != fold)
            .collect();
        let (blend, _) = never_worse(&others, fit_blend(&others)?);
        for ((gain, example), &guess) in gains.iter_mut().zip(examples).zip(guesses) {
            if example.fold == fold {
                *gain = Gain::of(example, &blend, guess);
            }
        }
    }
    Ok(gains)
}

impl Gain {
    fn of(example: &Example, blend: &Blend, guess: f32) -> Self {
        let [alone, both] = [Who::Trees, Who::Both].map(|who| {
            let mut logits = example.logits(blend, who, guess);
            log_softmax(&mut logits);
            logits
        });
        Self {
            realized: example.answer.map_or(0.0, |answer| both[answer] - alone[answer]),
            expected: both.iter().zip(&alone).map(|(both, alone)| both.exp() * (both - alone)).sum(),
        }
    }
}

/// Each question's gain as guessed by a gate that saw no question of its fold.
pub(super) fn guesses_across_folds(examples: &[Example], gains: &[Gain]) -> Result<Vec<f32>> {
    let mut guesses = vec![0.0; examples.len()];
    let mut scratch = ForestScratch::default();
    for fold in 0..Example::FOLDS {
        let gate = fit_gate(examples, gains, |example| example.fold != fold)?;
        for (guess, example) in guesses.iter_mut().zip(examples).filter(|(_, example)| example.fold == fold) {
            *guess = gate.gain(&example.by_trees, &example.question_features, &mut scratch);
        }
    }
    Ok(guesses)
}

/// A gate that learns from the questions that `is_seen`.
pub(super) fn fit_gate(
    examples: &[Example],
    gains: &[Gain],
    is_seen: impl Fn(&Example) -> bool,
) -> Result<Gate> {
    let seen = || examples.iter().zip(gains).filter(|(example, _)| is_seen(example));
    let rows: Vec<f32> =
        seen().flat_map(|(example, _)| gate::row(&example.by_trees, &example.question_features)).collect();
    let expected: Vec<f32> = seen().map(|(_, gain)| gain.expected).collect();
    let residual: Vec<f32> = seen().map(|(_, gain)| gain.realized - gain.expected).collect();
    let mut ensemble = fit_trees(&rows, &expected, &of_expected())?;
    let residuals = fit_trees(&rows, &residual, &of_residual(residual.len()))?;
    ensemble.trees.extend(residuals.trees);
    ensemble.base.iter_mut().zip(&residuals.base).for_each(|(base, residual)| *base += residual);
    Gate::new(QuantizedTrees::new(&ensemble)?)
}

/// How trees learn the expected gain, which has little noise.
fn of_expected() -> GbdtConfig {
    GbdtConfig {
        trees: 60,
        learning_rate: 0.06,
        leaves: 6,
        max_depth: 4,
        min_rows: 40,
        l2: 5.0,
        max_bins: 32,
        early_stopping: 0,
        group_fraction: 1.0,
        ..GbdtConfig::default()
    }
}

/// How trees learn the residual, which is noise but for a small part: slowly, in leaves of a fortieth of the `questions`, and
/// drawn to none as by 50 of them. Both were guessed; 100 to 2,000 come about as near to the realized gains of validation
/// questions, out of fold.
fn of_residual(questions: usize) -> GbdtConfig {
    GbdtConfig {
        learning_rate: 0.03,
        leaves: 4,
        max_depth: 3,
        min_rows: 40.max(questions / 40),
        l2: 50.0,
        ..of_expected()
    }
}

fn fit_trees(rows: &[f32], labels: &[f32], config: &GbdtConfig) -> Result<Ensemble> {
    let names = || gate::names().map(str::to_owned);
    if labels.len() < FEWEST_FOR_GATE {
        let mean = labels.iter().sum::<f32>() / labels.len().max(1) as f32;
        let tree = Tree::constant(f64::from(mean), labels.len() as f64);
        return Ok(Ensemble { features: names().collect(), ..Ensemble::new(vec![tree], gate::COLUMNS) });
    }
    let binner = Binner::fit(rows, gate::COLUMNS, config.max_bins).with_names(names())?;
    let data = Dataset::new(binner, rows, labels)?;
    Ok(train(config, &SquaredError, &data, None, &Silent)?.forest.ensemble().clone())
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::context::{History, QuestionFeatures, Task};
    use crate::data::Timestamp;

    /// Questions of six candidates that the trees know something of. In the evening the transformer knows more; in the
    /// morning it is as sure as then, of another app.
    fn questions(count: usize, seed: u64) -> Vec<Example> {
        let question_features =
            History::default().context_at(Timestamp(0), Task::FirstAfterUnlock).question_features();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|number| {
                let hour = if (number / Example::FOLDS).is_multiple_of(4) { 9.0 } else { 21.0 };
                let answer = random.random_range(0..6);
                let mut said = |sure: f32, of: usize| {
                    let mut logits: Vec<f32> = (0..6).map(|_| random.random_range(-0.5..0.5)).collect();
                    logits[of] += sure;
                    log_softmax(&mut logits);
                    logits
                };
                let of = if hour > 12.0 { answer } else { (answer + 1) % 6 };
                Example {
                    question_features: QuestionFeatures { hour, unforeseen: 0.1, ..question_features },
                    by_trees: said(0.3, answer),
                    by_deep: said(2.0, of),
                    answer: Some(answer).filter(|_| number % 25 > 0),
                    fold: number % Example::FOLDS,
                    is_stale: false,
                }
            })
            .collect()
    }

    #[test]
    fn a_gain_has_its_sign() {
        let examples = questions(4_000, 1);
        let gains = gains_across_folds(&examples, &vec![0.0; examples.len()]).unwrap();
        assert!(
            gains.iter().all(|gain| gain.expected >= -1e-5),
            "what the blend says of itself is never bad"
        );
        assert!(
            gains
                .iter()
                .zip(&examples)
                .all(|(gain, example)| example.answer.is_some() || gain.realized == 0.0)
        );
        let guesses = guesses_across_folds(&examples, &gains).unwrap();
        let mean = |is_late: bool, of: &dyn Fn(usize) -> f32| {
            let part = || {
                (0..examples.len())
                    .filter(|&number| (examples[number].question_features.hour > 12.0) == is_late)
            };
            part().map(of).sum::<f32>() / part().count() as f32
        };
        let [early, late] = [false, true].map(|is_late| mean(is_late, &|number| gains[number].realized));
        assert!(early < -0.1 && late > 0.1, "{early} {late}");
        let all = |of: &dyn Fn(usize) -> f32| (mean(false, of) + 3.0 * mean(true, of)) / 4.0;
        let bias = all(&|number| guesses[number]) - (early + 3.0 * late) / 4.0;
        assert!(bias.abs() < 0.02, "{bias}");
        // Where the transformer does harm, too, which the expected gain denies; smoothed towards the mean.
        for (is_late, realized) in [(false, early), (true, late)] {
            let guessed = mean(is_late, &|number| guesses[number]);
            assert!(guessed * realized > 0.0, "{guessed} {realized}");
            assert!(guessed.abs() > 0.2 * realized.abs(), "{guessed} {realized}");
            assert!(guessed.abs() < realized.abs() + 0.06, "{guessed} {realized}");
        }
    }

    #[test]
    fn few_questions_make_a_constant_gate() {
        let examples = questions(100, 2);
        let gains = gains_across_folds(&examples, &vec![0.0; examples.len()]).unwrap();
        let gate = fit_gate(&examples, &gains, |_| true).unwrap();
        let mean = gains.iter().map(|gain| gain.realized).sum::<f32>() / 100.0;
        let guess =
            gate.gain(&examples[0].by_trees, &examples[0].question_features, &mut ForestScratch::default());
        assert!((guess - mean).abs() < 1e-3, "{guess} {mean}");
        assert!(fit_gate(&[], &[], |_| true).is_ok());
    }
}
