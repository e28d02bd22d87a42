//! How much each expert counts: weights of their log-probabilities, as functions of what is known before they answer.
//!
//! ```text
//! basis          z = [1, history, gain, staleness]
//! trees alone        score(app) = (a . z) ln p_trees(app)
//! both               score(app) = (b . z) ln p_trees(app) + (c . z) ln p_transformer(app)
//! transformer alone  score(app) = (d . z) ln p_transformer(app)
//! ```
//!
//! and the answer is a softmax of the scores: a product of experts (Hinton 1999), or a logarithmic opinion pool with
//! weights that depend on the question. Weights that add up to less than one make an answer less sure, so they calibrate,
//! too: a history of an hour, or one that is a week old, promises less.

use crate::context::{QuestionFeatures, math};

/// Numbers that a weight depends on.
// Source: units: as many as `Basis` names.
pub const BASIS: usize = 4;

/// Numbers that weights depend on: one, the length of the history, the gate's gain, the staleness.
pub type Basis = [f32; BASIS];

/// The place of the staleness in it.
// Source: units.
#[cfg(feature = "train")]
pub(super) const STALENESS: usize = 3;

/// A linear function of the [`Basis`].
pub type Linear = [f32; BASIS];

/// Seconds from which on a history is stale: a day.
// Source: by hand, not measured.
pub const FRESH_SECS: f32 = 86_400.0;

/// Where the length of a history is 0 on the scale of the basis, and what a unit of it is: 0 at 600 launches, a week or two,
/// and one unit a factor of 2,981.
// Source: units: weights on this scale are learned.
pub(crate) const HISTORY: [f32; 2] = [6.4, 8.0];

/// Gains beyond these say no more.
// Source: by hand, not measured.
pub(crate) const GAINS: [f32; 2] = [-1.0, 2.0];

/// A history is never staler than this.
// Source: units: 55 days, longer than any log at hand.
pub(crate) const MOST_STALE: f32 = 4.0;

/// The basis at a question. `gain` is the gate's, 0 where nobody asked it.
pub fn basis(question_features: &QuestionFeatures, gain: f32) -> Basis {
    let history = (question_features.launches - HISTORY[0]) / HISTORY[1];
    [1.0, history, gain.clamp(GAINS[0], GAINS[1]), staleness(question_features)]
}

/// 0 up to a day, 1 after 2.7 days, 2 after a week, at most 4.
fn staleness(question_features: &QuestionFeatures) -> f32 {
    if question_features.age.is_nan() {
        return 0.0;
    }
    (question_features.age - math::ln(FRESH_SECS)).clamp(0.0, MOST_STALE)
}

/// The weights of the experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blend {
    /// Of the trees, where they answer alone.
    pub trees_alone: Linear,
    /// Of the transformer, where it answers alone.
    pub deep_alone: Linear,
    /// Of the trees, where both answer.
    pub trees: Linear,
    /// Of the transformer, where both answer.
    pub deep: Linear,
}

impl Default for Blend {
    /// Each expert as it is; of both, the middle.
    fn default() -> Self {
        let constant = |weight| [weight, 0.0, 0.0, 0.0];
        Self {
            trees_alone: constant(1.0),
            deep_alone: constant(1.0),
            trees: constant(0.5),
            deep: constant(0.5),
        }
    }
}

/// Who answers a question, with log-probabilities of the candidates.
///
/// # Shapes
/// All slices: `[candidates]`.
#[derive(Debug, Clone, Copy)]
pub enum ExpertLogProbs<'a> {
    /// The trees alone.
    Trees(&'a [f32]),
    /// The transformer alone.
    Deep(&'a [f32]),
    /// Trees and transformer.
    Both(&'a [f32], &'a [f32]),
}

impl<'a> ExpertLogProbs<'a> {
    /// What the trees and the transformer said; nothing of who is silent.
    pub fn said(&self) -> (&'a [f32], &'a [f32]) {
        match *self {
            Self::Trees(trees) => (trees, &[]),
            Self::Deep(deep) => (&[], deep),
            Self::Both(trees, deep) => (trees, deep),
        }
    }
}

impl Blend {
    /// Weights of the trees and the transformer for these answers; zero for who is silent.
    pub fn weights(&self, log_probs: &ExpertLogProbs<'_>, basis: &Basis) -> [f32; 2] {
        let weight = |linear: &Linear| at(linear, basis);
        match log_probs {
            // Somebody has to decide.
            ExpertLogProbs::Trees(_) => [weight(&self.trees_alone).max(LEAST_WEIGHT), 0.0],
            ExpertLogProbs::Deep(_) => [0.0, weight(&self.deep_alone).max(LEAST_WEIGHT)],
            ExpertLogProbs::Both(..) => {
                let [trees, deep] = [&self.trees, &self.deep].map(|linear| weight(linear).max(0.0));
                if trees + deep < LEAST_WEIGHT { [LEAST_WEIGHT / 2.0; 2] } else { [trees, deep] }
            }
        }
    }

    /// Writes the answer's logits; their softmax is the probabilities.
    pub fn mix(&self, log_probs: &ExpertLogProbs<'_>, basis: &Basis, logits: &mut [f32]) {
        let [trees, deep] = self.weights(log_probs, basis);
        match log_probs {
            ExpertLogProbs::Trees(said) => weigh(trees, said, logits),
            ExpertLogProbs::Deep(said) => weigh(deep, said, logits),
            ExpertLogProbs::Both(by_trees, by_deep) => {
                for (logit, (by_trees, by_deep)) in logits.iter_mut().zip(by_trees.iter().zip(*by_deep)) {
                    *logit = trees * by_trees + deep * by_deep;
                }
            }
        }
    }
}

/// An answer is never flatter than this makes it.
// Source: by hand, not measured.
pub(crate) const LEAST_WEIGHT: f32 = 0.05;

fn weigh(weight: f32, said: &[f32], logits: &mut [f32]) {
    logits.iter_mut().zip(said).for_each(|(logit, said)| *logit = weight * said);
}

fn at(linear: &Linear, basis: &Basis) -> f32 {
    linear.iter().zip(basis).map(|(weight, value)| weight * value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{History, Task};
    use crate::data::Timestamp;

    fn question_features() -> QuestionFeatures {
        History::default().context_at(Timestamp(0), Task::FirstAfterUnlock).question_features()
    }

    #[test]
    fn old_histories_are_stale_and_long_ones_long() {
        let at = |age_secs: f32, launches: f32| {
            let age = math::ln_1p(age_secs);
            basis(&QuestionFeatures { age, launches: math::ln_1p(launches), ..question_features() }, 0.25)
        };
        assert_eq!(at(86_000.0, 600.0)[3], 0.0);
        assert!((at(7.0 * 86_400.0, 600.0)[3] - 1.946).abs() < 1e-3);
        assert_eq!(at(1e9, 600.0)[3], 4.0);
        assert!(at(0.0, 10.0)[1] < at(0.0, 1e4)[1] && at(0.0, 600.0)[1].abs() < 0.01);
        assert_eq!(basis(&question_features(), 9.0), [1.0, -0.8, 2.0, 0.0], "nothing is known");
    }

    #[test]
    fn weights_are_never_negative_and_somebody_decides() {
        let (trees, deep) = ([-0.1, -3.0], [-2.0, -0.2]);
        let blend = Blend { deep: [-0.5, 0.0, 1.0, 0.0], ..Blend::default() };
        let cases = [
            (ExpertLogProbs::Trees(&trees), 0.0, [1.0, 0.0]),
            (ExpertLogProbs::Deep(&deep), 0.0, [0.0, 1.0]),
            (ExpertLogProbs::Both(&trees, &deep), 0.0, [0.5, 0.0]),
            (ExpertLogProbs::Both(&trees, &deep), 0.75, [0.5, 0.25]),
        ];
        for (log_probs, gain, expected) in cases {
            assert_eq!(blend.weights(&log_probs, &[1.0, 0.0, gain, 0.0]), expected, "{log_probs:?}");
        }
        let mut logits = [0.0; 2];
        blend.mix(&ExpertLogProbs::Both(&trees, &deep), &[1.0, 0.0, 0.75, 0.0], &mut logits);
        assert_eq!(logits, [0.5 * -0.1 + 0.25 * -2.0, 0.5 * -3.0 + 0.25 * -0.2]);
        let nobody = Blend { trees: [-1.0; 4], deep: [-1.0; 4], trees_alone: [-1.0; 4], ..blend };
        assert_eq!(nobody.weights(&ExpertLogProbs::Both(&trees, &deep), &[1.0; 4]), [0.025; 2]);
        assert_eq!(nobody.weights(&ExpertLogProbs::Trees(&trees), &[1.0; 4]), [0.05, 0.0]);
    }
}
