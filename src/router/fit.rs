//! How a router is learned: from questions that came after those which its experts learned from.
//!
//! 1. Weights of the trees alone, and of both experts, without a gate, from the questions of all folds but one: convex, so
//!    Newton's method ends where it must, or says that it did not.
//! 2. What both gained over the trees at each question of that fold: the gate's labels ([`gains`](super::gains)). Its
//!    guesses for a question come from trees that did not see its fold, or the weights would learn to trust a gate that
//!    remembers.
//! 3. The same weights from all questions, now that the gate is known, then "none of these", then the temperature of the
//!    mixture.
//!
//! Both experts' weights are drawn towards constant ones, and these towards the trees as they are, as by a few questions:
//! three people's validation questions are hundreds, not millions. Should the blend still be worse than an expert alone on
//! these very questions, it becomes that expert.

use super::blend::{BASIS, Basis, Blend, ExpertLogProbs, Linear, STALENESS, basis};
use super::calibrate::{Calibration, none_columns};
use super::gate::Quantiles;
use super::gate_labels::{Gain, fit_gate, gains_across_folds, guesses_across_folds};
use super::newton::newton;
use super::{RouterModel, Routing};
use crate::context::QuestionFeatures;
use crate::error::Result;

/// A question with what both experts said and what was opened.
#[derive(Debug, Clone)]
pub struct Example {
    /// What it looked like.
    pub question_features: QuestionFeatures,
    /// Log-probabilities of the candidates by the trees.
    pub by_trees: Vec<f32>,
    /// The same by the transformer.
    pub by_deep: Vec<f32>,
    /// Which of the candidates was opened; `None` where it was none of them.
    pub answer: Option<usize>,
    /// Who asked, or when: questions of one fold are judged by a gate that saw none of them. Below [`FOLDS`](Self::FOLDS).
    pub fold: usize,
    /// Whether its history was cut off on purpose, to learn what an old one is worth.
    pub is_stale: bool,
}

impl Example {
    /// Parts of the questions.
    // Source: units: each more costs another fit.
    pub const FOLDS: usize = 4;

    fn log_probs(&self, who: Who) -> ExpertLogProbs<'_> {
        match who {
            Who::Trees => ExpertLogProbs::Trees(&self.by_trees),
            Who::Deep => ExpertLogProbs::Deep(&self.by_deep),
            Who::Both => ExpertLogProbs::Both(&self.by_trees, &self.by_deep),
        }
    }

    /// The basis of these answers' weights; `guess` is what the gate expects, which nobody asks where there are no trees.
    fn basis(&self, who: Who, guess: f32) -> Basis {
        basis(&self.question_features, if who == Who::Deep { 0.0 } else { guess })
    }

    /// The blend's logits of these answers.
    pub(super) fn logits(&self, blend: &Blend, who: Who, guess: f32) -> Vec<f32> {
        let mut logits = vec![0.0; self.by_trees.len()];
        blend.mix(&self.log_probs(who), &self.basis(who, guess), &mut logits);
        logits
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Who {
    Trees,
    Deep,
    Both,
}

/// A question, and what the gate expects of the transformer there.
pub(super) type Weighed<'a> = (&'a Example, f32);

/// A router, and what it was on the questions that it learned from.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// What it has learned.
    pub model: RouterModel,
    /// Mean log loss where the answer was a candidate: of the trees alone, of the transformer alone, of both, each as the
    /// router weighs them. Nothing without such questions.
    pub losses: Option<[f64; 3]>,
}

/// Questions that a weight's prior is worth, where it is constant and where it depends on the question.
// Source: by hand, docs/constants.md.
const PRIOR: [f64; BASIS] = [4.0, 20.0, 20.0, 4.0];

/// Fits a router. A transformer that has no say in the blend is expected to gain nothing, and is asked nothing unless
/// everything is to be asked. The gate's temperature of the mixture is that of `routing`.
///
/// # Errors
/// The routing is impossible, or an expert's scores are no numbers that weights could be fitted to.
pub fn fit(examples: &[Example], routing: Routing) -> Result<Fitted> {
    let without_gate = vec![0.0; examples.len()];
    let mut gains = gains_across_folds(examples, &without_gate)?;
    let guesses = guesses_across_folds(examples, &gains)?;
    let questions: Vec<Weighed<'_>> = examples.iter().zip(guesses).collect();
    let (blend, losses) = never_worse(&questions, fit_blend(&questions)?);
    let fresh = questions.iter().filter(|(example, _)| !example.is_stale);
    let mut expected: Vec<f32> = fresh.map(|(_, guess)| *guess).collect();
    let deep_weight = |&(example, guess): &Weighed<'_>| {
        blend.weights(&example.log_probs(Who::Both), &example.basis(Who::Both, guess))[1]
    };
    if questions.iter().all(|question| deep_weight(question) == 0.0) {
        // The transformer has no say in this blend, whatever it gained in those of the folds.
        gains.fill(Gain::default());
        expected.fill(0.0);
    }
    let quantiles = Quantiles::of(expected);
    let threshold = routing.threshold(&quantiles)?.gain;
    let calibration = Calibration {
        temperature: fit_temperature(&questions, &blend, threshold),
        none: fit_none(examples)?,
    };
    let gate = fit_gate(examples, &gains, |_| true)?;
    Ok(Fitted { model: RouterModel { gate, gains: quantiles, blend, calibration }, losses })
}

fn loss(logits: &[f32], answer: usize) -> f64 {
    crate::predict::log_sum_exp(logits, 1.0) - f64::from(logits[answer])
}

/// The weights that the answers were most probable with, drawn towards constant ones: first of histories as they are, then
/// what staleness changes.
pub(super) fn fit_blend(questions: &[Weighed<'_>]) -> Result<Blend> {
    let one: Linear = [1.0, 0.0, 0.0, 0.0];
    let fit = |who, prior: [Linear; 2]| {
        let fresh = fit_weights(questions, who, prior, Age::Fresh)?;
        fit_weights(questions, who, fresh, Age::Stale)
    };
    let [trees_alone, _] = fit(Who::Trees, [one; 2])?;
    let [_, deep_alone] = fit(Who::Deep, [one; 2])?;
    let [trees, deep] = fit(Who::Both, [one, [0.0; BASIS]])?;
    Ok(Blend { trees_alone, deep_alone, trees, deep })
}

/// Where the blend is worse than an expert alone on these questions, it becomes that expert.
pub(super) fn never_worse(questions: &[Weighed<'_>], mut blend: Blend) -> (Blend, Option<[f64; 3]>) {
    let losses = |blend: &Blend| {
        [Who::Trees, Who::Deep, Who::Both].map(|who| {
            let (mut sum, mut count) = (0.0, 0.0);
            for &(example, guess) in questions.iter().filter(|(example, _)| Age::Fresh.teaches(example)) {
                let Some(answer) = example.answer else { continue };
                sum += loss(&example.logits(blend, who, guess), answer);
                count += 1.0;
            }
            if count > 0.0 { sum / count } else { f64::NAN }
        })
    };
    let [trees, deep, both] = losses(&blend);
    if both > trees.min(deep) {
        let silent = [0.0; BASIS];
        (blend.trees, blend.deep) =
            if trees <= deep { (blend.trees_alone, silent) } else { (silent, blend.deep_alone) };
    }
    let found = losses(&blend);
    (blend, found[0].is_finite().then_some(found))
}

/// Whose questions teach which weights: cut-off histories the last one, the others all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Age {
    Fresh,
    Stale,
}

impl Age {
    fn teaches(self, example: &Example) -> bool {
        example.is_stale == (self == Self::Stale)
    }

    /// Whether the weight of this number of the basis is free.
    fn frees(self, number: usize) -> bool {
        self == Self::Fresh || number == STALENESS
    }
}

/// Newton's method on the answers' log loss and the prior. The experts' log-probabilities are two numbers a candidate, so
/// slope and curvature of a question are those of two weights, spread over the basis.
fn fit_weights(questions: &[Weighed<'_>], who: Who, prior: [Linear; 2], age: Age) -> Result<[Linear; 2]> {
    const SIZE: usize = 2 * BASIS;
    let prior: [f64; SIZE] = std::array::from_fn(|i| f64::from(prior[i / BASIS][i % BASIS]));
    let takes_part = [who != Who::Deep, who != Who::Trees];
    let weights = newton(prior, |weights| {
        let (mut slope, mut curvature) = ([0.0; SIZE], [[0.0; SIZE]; SIZE]);
        for i in 0..SIZE {
            slope[i] = PRIOR[i % BASIS] * (weights[i] - prior[i]);
            curvature[i][i] = PRIOR[i % BASIS];
        }
        for &(example, guess) in questions.iter().filter(|(example, _)| age.teaches(example)) {
            let Some(answer) = example.answer else { continue };
            let basis = example.basis(who, guess).map(f64::from);
            let weight = |expert: usize| -> f64 {
                let own = &weights[expert * BASIS..][..BASIS];
                if takes_part[expert] { own.iter().zip(basis).map(|(w, z)| w * z).sum() } else { 0.0 }
            };
            let Moments { mean, covariance } = Moments::of(example, [weight(0), weight(1)]);
            let said = [&example.by_trees, &example.by_deep].map(|said| f64::from(said[answer]));
            for a in 0..SIZE {
                let (expert_a, za) = (a / BASIS, basis[a % BASIS]);
                if !(takes_part[expert_a] && age.frees(a % BASIS)) {
                    continue;
                }
                slope[a] += (mean[expert_a] - said[expert_a]) * za;
                for b in (0..SIZE).filter(|b| takes_part[b / BASIS] && age.frees(b % BASIS)) {
                    curvature[a][b] += covariance[expert_a][b / BASIS] * za * basis[b % BASIS];
                }
            }
        }
        (slope, curvature)
    })?;
    Ok(std::array::from_fn(|expert| std::array::from_fn(|b| weights[expert * BASIS + b] as f32)))
}

/// Of the two experts' log-probabilities, under the probabilities of their blend.
struct Moments {
    mean: [f64; 2],
    covariance: [[f64; 2]; 2],
}

impl Moments {
    fn of(example: &Example, weights: [f64; 2]) -> Self {
        let said =
            || example.by_trees.iter().zip(&example.by_deep).map(|(&t, &d)| [f64::from(t), f64::from(d)]);
        let logit = |[trees, deep]: [f64; 2]| weights[0] * trees + weights[1] * deep;
        let largest = said().map(logit).fold(f64::NEG_INFINITY, f64::max);
        let (mut total, mut sums, mut products) = (0.0, [0.0; 2], [[0.0; 2]; 2]);
        for pair in said() {
            let mass = (logit(pair) - largest).exp();
            total += mass;
            for a in 0..2 {
                sums[a] += mass * pair[a];
                for b in 0..2 {
                    products[a][b] += mass * pair[a] * pair[b];
                }
            }
        }
        let mean = sums.map(|sum| sum / total);
        let covariance =
            std::array::from_fn(|a| std::array::from_fn(|b| products[a][b] / total - mean[a] * mean[b]));
        Self { mean, covariance }
    }
}

/// Logistic regression of whether the answer was none of the candidates, drawn towards what the user's past says of it.
fn fit_none(examples: &[Example]) -> Result<[f32; BASIS]> {
    let fresh = fit_none_of(examples, Calibration::default().none, Age::Fresh)?;
    fit_none_of(examples, fresh, Age::Stale)
}

fn fit_none_of(examples: &[Example], prior: [f32; BASIS], age: Age) -> Result<[f32; BASIS]> {
    let prior = prior.map(f64::from);
    let weights = newton(prior, |weights| {
        let mut slope: [f64; BASIS] = std::array::from_fn(|i| PRIOR[i] * (weights[i] - prior[i]));
        let mut curvature = [[0.0; BASIS]; BASIS];
        (0..BASIS).for_each(|i| curvature[i][i] = PRIOR[i]);
        for example in examples.iter().filter(|example| age.teaches(example) && !example.by_trees.is_empty())
        {
            let columns = none_columns(&example.question_features, &basis(&example.question_features, 0.0))
                .map(f64::from);
            let logit: f64 = weights.iter().zip(columns).map(|(w, x)| w * x).sum();
            let none = 1.0 / (1.0 + (-logit).exp());
            let error = none - f64::from(u8::from(example.answer.is_none()));
            for a in (0..BASIS).filter(|&a| age.frees(a)) {
                slope[a] += error * columns[a];
                for b in (0..BASIS).filter(|&b| age.frees(b)) {
                    curvature[a][b] += none * (1.0 - none) * columns[a] * columns[b];
                }
            }
        }
        (slope, curvature)
    })?;
    Ok(weights.map(|weight| weight as f32))
}

/// What the logits of the routed mixture are divided by for the least log loss.
fn fit_temperature(questions: &[Weighed<'_>], blend: &Blend, threshold: f32) -> f32 {
    let mut answered = Vec::new();
    for &(example, guess) in questions.iter().filter(|(example, _)| Age::Fresh.teaches(example)) {
        let Some(answer) = example.answer else { continue };
        let who = if guess > threshold { Who::Both } else { Who::Trees };
        answered.push((example.logits(blend, who, guess), answer));
    }
    if answered.is_empty() {
        return 1.0;
    }
    // The loss falls towards larger powers where the answer's logit is above the mean one under the probabilities.
    let slope = |power: f64| -> f64 {
        let of = |(logits, answer): &(Vec<f32>, usize)| {
            let mean: f64 = crate::predict::softmax(logits, 1.0 / power)
                .zip(logits)
                .map(|(probability, &logit)| probability * f64::from(logit))
                .sum();
            mean - f64::from(logits[*answer])
        };
        answered.iter().map(of).sum()
    };
    let (mut low, mut high) = (0.5_f64, 2.0_f64);
    for _ in 0..30 {
        let middle = (low * high).sqrt();
        if slope(middle) > 0.0 { high = middle } else { low = middle }
    }
    (1.0 / (low * high).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::super::calibrate::log_softmax;
    use super::*;
    use crate::context::{History, Task};
    use crate::data::Timestamp;
    use crate::gbdt::ForestScratch;

    /// Questions of eight candidates: the trees know the answer's first half of the time, the transformer where the hour is
    /// late, too.
    fn examples(count: usize) -> Vec<Example> {
        let question_features =
            History::default().context_at(Timestamp(0), Task::FirstAfterUnlock).question_features();
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut said = |answer: usize, knows: bool| {
            let mut logits: Vec<f32> = (0..8).map(|_| random.random_range(-0.5..0.5)).collect();
            logits[answer] += if knows { 3.0 } else { 0.0 };
            log_softmax(&mut logits);
            logits
        };
        let example = |number: usize| {
            let (answer, is_late) = (number * 5 % 8, number.is_multiple_of(3));
            Example {
                question_features: QuestionFeatures {
                    hour: if is_late { 22.0 } else { 10.0 },
                    unforeseen: 0.1,
                    ..question_features
                },
                by_trees: said(answer, !is_late),
                by_deep: said(answer, is_late || number.is_multiple_of(2)),
                answer: Some(answer).filter(|_| !number.is_multiple_of(20)),
                fold: number % Example::FOLDS,
                is_stale: false,
            }
        };
        (0..count).map(example).collect()
    }

    #[test]
    fn the_gate_finds_where_the_transformer_knows_better() {
        let examples = examples(3_000);
        let Fitted { model, losses } = fit(&examples, Routing::Share(0.35)).unwrap();
        let [trees, deep, both] = losses.unwrap();
        assert!(both < 0.8 * trees.min(deep), "{trees} {deep} {both}");
        let mut scratch = ForestScratch::default();
        let threshold = Routing::Share(0.35).threshold(&model.gains).unwrap();
        let is_right = |example: &&Example| {
            let gain = model.gate.gain(&example.by_trees, &example.question_features, &mut scratch);
            threshold.routes(gain, 0.0) == (example.question_features.hour > 20.0)
        };
        let right = examples.iter().filter(is_right).count();
        assert!(right > 2_850, "{right}");
        assert!(
            model.calibration.temperature < 1.0,
            "who knows is right always here, and said three in four"
        );
        // One in twenty was none of them, where the past said one in ten.
        let question_features = &examples[0].question_features;
        let none = model.calibration.none_of_these(question_features, &basis(question_features, 0.0));
        assert!((none - 0.05).abs() < 0.01, "{none}");
    }

    #[test]
    fn a_transformer_without_a_say_is_asked_nothing() {
        let mut examples = examples(600);
        // It is sure, and wrong.
        for example in &mut examples {
            example.by_deep.rotate_right(1);
        }
        let Fitted { model, losses } = fit(&examples, Routing::Share(0.2)).unwrap();
        let [trees, _, both] = losses.unwrap();
        assert!(both <= trees, "{trees} {both}");
        let mut scratch = ForestScratch::default();
        for (routing, expected) in
            [(Routing::Share(0.2), false), (Routing::Gain(0.0), false), (Routing::Share(1.0), true)]
        {
            let threshold = routing.threshold(&model.gains).unwrap();
            let mut shift = 0.0;
            for example in &examples {
                let gain = model.gate.gain(&example.by_trees, &example.question_features, &mut scratch);
                let is_routed = threshold.routes(gain, shift);
                assert_eq!(is_routed, expected, "{routing:?}: {gain}");
                shift = threshold.next(shift, is_routed);
            }
        }
    }

    #[test]
    fn the_blend_is_no_worse_than_either_expert_even_of_few_or_foolish_ones() {
        for count in [0, 1, 7, 150, 500] {
            let mut foolish = examples(count);
            foolish.iter_mut().for_each(|example| example.by_deep.reverse());
            for examples in [examples(count), foolish] {
                let Fitted { losses, model } = fit(&examples, Routing::default()).unwrap();
                let Some([trees, deep, both]) = losses else {
                    assert!(count < 2);
                    continue;
                };
                assert!(both <= trees.min(deep) + 1e-6, "{count}: {trees} {deep} {both}");
                assert!(model.write().is_ok());
            }
        }
    }
}
