//! What is expected of an answer, where the distribution is known that the simulator drew the app from.
//!
//! Drawn apps scatter: by chance a model can look better on them than the best that is possible. Expected figures do not: by
//! Gibbs' inequality no model's cross-entropy is below the entropy. What it has above it is its regret.

use crate::context::Context;
use crate::data::AppId;
use crate::data::simulate::TrueDistribution;
use crate::predict::{Prediction, Probabilities};

/// A model's probabilities count as at least this much in every logarithm: one that is zero by rounding, or by mistake, costs
/// 20.7 nats, not infinity.
pub(super) const LEAST_PROBABILITY: f64 = 1e-9;

/// The expected figures of one answer, over the partition {each candidate, none of them}.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Expected {
    /// The expected log loss, in nats: `-sum(p ln q)` of true probabilities `p` and the model's `q`, which count as at least
    /// 1e-9.
    pub cross_entropy: f64,
    /// The least possible, in nats: `-sum(p ln p)`.
    pub entropy: f64,
    /// True probability that the answer is among the first one, three and five. An answer that is no candidate is among none.
    pub hits: [f64; 3],
}

/// For how many suggestions hits are expected.
const SUGGESTIONS: [usize; 3] = [1, 3, 5];

impl Expected {
    /// Of an answer that ranks all candidates, the first one first, each with the model's probability; with
    /// `none_of_these` they sum to one.
    pub fn new(
        truth: &TrueDistribution<'_>,
        ranked: impl IntoIterator<Item = (AppId, f64)>,
        none_of_these: f64,
    ) -> Self {
        let (mut expected, mut mass, total) = (Self::default(), 0.0, truth.total());
        for (place, (app, probability)) in ranked.into_iter().enumerate() {
            let p = f64::from(truth.probability(app)) / total;
            expected.add(p, probability);
            mass += p;
            let hits = SUGGESTIONS.iter().zip(&mut expected.hits);
            hits.filter(|(k, _)| place < **k).for_each(|(_, hit)| *hit += p);
        }
        expected.add((1.0 - mass).max(0.0), none_of_these);
        expected
    }

    /// Of the answer that ranks the candidates of `context` by `scores`.
    ///
    /// # Shapes
    /// `scores`: `[context.candidates().len()]`.
    pub(crate) fn of_scores(
        truth: &TrueDistribution<'_>,
        context: &Context<'_>,
        scores: &[f32],
        probabilities: &Probabilities,
    ) -> Self {
        let prediction = Prediction::ranked(context, scores, probabilities);
        let ranked = prediction.candidates.iter().map(|candidate| (candidate.app, candidate.probability));
        Self::new(truth, ranked, prediction.none_of_these)
    }

    /// One part of the partition: its true probability and the model's.
    fn add(&mut self, p: f64, q: f64) {
        if p > 0.0 {
            self.cross_entropy -= p * q.max(LEAST_PROBABILITY).ln();
            self.entropy -= p * p.ln();
        }
    }

    /// How much log loss the answer costs in expectation above the least possible, in nats. Never below zero, but for rounding
    /// and for the floor of 1e-9, which adds at most that much of probability a candidate.
    pub fn regret(&self) -> f64 {
        self.cross_entropy - self.entropy
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const APPS: [AppId; 4] = [AppId(1), AppId(2), AppId(5), AppId(9)];

    fn drawn_from<'a>(probabilities: &'a [f32; 4]) -> TrueDistribution<'a> {
        TrueDistribution { apps: &APPS, probabilities, memory: 0 }
    }

    #[test]
    fn figures_by_hand() {
        let truth = drawn_from(&[0.5, 0.25, 0.125, 0.125]);
        // App 7 is not installed, apps 5 and 9 are no candidates: together they are none of these.
        let found = Expected::new(&truth, [(AppId(2), 0.5), (AppId(7), 0.125), (AppId(1), 0.125)], 0.25);
        assert_eq!(found.hits, [0.25, 0.75, 0.75]);
        // In bits: 0.25 * 1 + 0.5 * 3 + 0.25 * 2 = 2.25, and 1.5 at least.
        let bit = std::f64::consts::LN_2;
        assert!((found.cross_entropy - 2.25 * bit).abs() < 1e-12, "{found:?}");
        assert!((found.entropy - 1.5 * bit).abs() < 1e-12 && (found.regret() - 0.75 * bit).abs() < 1e-12);
    }

    #[test]
    fn without_candidates_none_of_them_is_certain() {
        let found = Expected::new(&drawn_from(&[0.25; 4]), [], 1.0);
        assert_eq!(found, Expected::default());
    }

    #[test]
    fn a_probability_of_zero_costs_much_but_not_everything() {
        let found =
            Expected::new(&drawn_from(&[1.0, 0.0, 0.0, 0.0]), [(AppId(2), 1.0), (AppId(1), 0.0)], 0.0);
        // python3 -c "from math import log; print(-log(1e-9))"
        assert!((found.cross_entropy - 20.72326583694641).abs() < 1e-12);
        assert_eq!((found.entropy, found.hits), (0.0, [0.0, 1.0, 1.0]));
    }

    /// Gibbs' inequality, with the truth itself as the one case of equality.
    #[test]
    fn no_answer_is_better_than_the_truth() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut simplex = |parts: usize| {
            let sharpness = random.random_range(0..12);
            let weights: Vec<f64> = (0..parts).map(|_| random.random::<f64>().powi(sharpness)).collect();
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
        };
        for _ in 0..2_000 {
            let p = simplex(4);
            let p = [p[0] as f32, p[1] as f32, p[2] as f32, p[3] as f32];
            let truth = drawn_from(&p);
            let candidates = [AppId(9), AppId(1), AppId(4)];
            let q = simplex(4);
            let found = Expected::new(&truth, candidates.into_iter().zip(q.iter().copied()), q[3]);
            assert!(found.regret() > -4e-9, "{found:?} {p:?} {q:?}");
            let own = candidates.map(|app| (app, f64::from(truth.probability(app)) / truth.total()));
            let best = Expected::new(&truth, own, truth.none_of(&candidates));
            assert!(best.regret().abs() < 4e-9 && best.cross_entropy <= found.cross_entropy + 4e-9);
        }
    }
}
