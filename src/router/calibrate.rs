//! Probabilities that can be believed: a temperature, and the mass of "none of these".
//!
//! ```text
//! p(none)     = sigmoid(n . [1, logit(share of past answers that were new), history, staleness])
//! p(app)      = (1 - p(none)) softmax(logits / temperature)
//! ```
//!
//! The blend's weights already depend on the question, so one temperature is left to fit, for the task and the share of
//! questions that is routed. Of the two usual ways it is the one that keeps the order of the apps and all of their
//! probabilities coherent; isotonic regression would only speak of the first (Guo et al., "On Calibration of Modern Neural
//! Networks", 2017).

use super::blend::{BASIS, Basis};
use crate::context::{QuestionFeatures, math};

/// What makes probabilities of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// What logits are divided by.
    pub temperature: f32,
    /// Weights of the logit of "none of these".
    pub none: [f32; BASIS],
}

impl Default for Calibration {
    /// As it is; new apps are as frequent as they were.
    fn default() -> Self {
        Self { temperature: 1.0, none: [0.0, 1.0, 0.0, 0.0] }
    }
}

/// Shares of past answers that were new, beyond which odds would be beyond all reason.
// Source: units: reached after 50,000 answers, all of known apps.
pub(crate) const SHARES: [f32; 2] = [1e-5, 1.0 - 1e-5];

/// No evidence is enough for certainty.
// Source: units: its logarithms stay finite.
pub(crate) const NONE_OF_THESE: [f32; 2] = [1e-5, 0.999];

impl Calibration {
    /// Probability that none of the candidates is opened.
    pub fn none_of_these(&self, question_features: &QuestionFeatures, basis: &Basis) -> f32 {
        let logit: f32 =
            self.none.iter().zip(none_columns(question_features, basis)).map(|(n, column)| n * column).sum();
        (1.0 / (1.0 + math::exp(-logit))).clamp(NONE_OF_THESE[0], NONE_OF_THESE[1])
    }
}

/// What the mass of "none of these" depends on.
pub fn none_columns(question_features: &QuestionFeatures, basis: &Basis) -> [f32; BASIS] {
    let share = question_features.unforeseen.clamp(SHARES[0], SHARES[1]);
    [1.0, math::ln(share / (1.0 - share)), basis[1], basis[3]]
}

/// Turns logits into log-probabilities.
pub fn log_softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let normalizer = largest + math::ln(sum(logits.iter().map(|&logit| math::exp(logit - largest))));
    logits.iter_mut().for_each(|logit| *logit -= normalizer);
}

/// The sum of numbers between zero and a thousand, in whole steps of 2^-32: the same whatever their order, so that an answer
/// does not depend on how candidates were listed.
pub(super) fn sum(numbers: impl Iterator<Item = f32>) -> f32 {
    // Source: units: finer than an f32 near one, and a thousand of them fit into a u64.
    const STEPS: f64 = (1_u64 << 32) as f64;
    let steps: u64 = numbers.map(|number| (f64::from(number) * STEPS) as u64).sum();
    (steps as f64 / STEPS) as f32
}

#[cfg(test)]
mod tests {
    use super::super::blend::basis;
    use super::*;
    use crate::context::{History, Task};
    use crate::data::Timestamp;

    #[test]
    fn a_softmax_by_hand() {
        let mut logits = [1.0, 2.0, 3.0_f32];
        log_softmax(&mut logits);
        let total: f32 = logits.iter().map(|ln| ln.exp()).sum();
        assert!((total - 1.0).abs() < 1e-6 && (logits[2] - logits[0] - 2.0).abs() < 1e-6);
        log_softmax(&mut []);
        // Sums of floats would differ here.
        let numbers = [1.0, 1e-7, 3e-8, 0.3, 1e-7, 0.7, 5e-8_f32];
        assert_eq!(sum(numbers.into_iter()), sum(numbers.into_iter().rev()));
    }

    #[test]
    fn none_is_as_frequent_as_it_was_unless_told_otherwise() {
        let mut question_features =
            History::default().context_at(Timestamp(0), Task::FirstAfterUnlock).question_features();
        for share in [0.01, 0.5, 0.9] {
            question_features.unforeseen = share;
            let none =
                Calibration::default().none_of_these(&question_features, &basis(&question_features, 0.0));
            assert!((none - share).abs() < 1e-6, "{none} {share}");
        }
        let sure = Calibration { none: [99.0, 0.0, 0.0, 0.0], temperature: 1.0 };
        assert_eq!(sure.none_of_these(&question_features, &basis(&question_features, 0.0)), 0.999);
    }

    /// `1 / (1 + exp(-logit))` of a weighted sum, by hand: each weight meets its own column.
    #[test]
    fn none_of_these_by_hand() {
        let mut question_features =
            History::default().context_at(Timestamp(0), Task::FirstAfterUnlock).question_features();
        question_features.unforeseen = 0.2;
        // One, the length of the history, the gain, the staleness.
        let basis = [1.0, 0.5, 0.75, 2.0];
        let of = |none: [f32; BASIS]| {
            Calibration { temperature: 1.0, none }.none_of_these(&question_features, &basis)
        };
        let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        let share = (0.2_f32 / 0.8).ln();
        for (none, logit) in [
            ([-1.0, 0.0, 0.0, 0.0], -1.0),
            ([0.0, 0.5, 0.0, 0.0], 0.5 * share),
            ([0.0, 0.0, 3.0, 0.0], 1.5),
            ([0.0, 0.0, 0.0, -0.5], -1.0),
            ([0.25, 1.0, -1.0, 0.5], 0.25 + share - 0.5 + 1.0),
        ] {
            assert!(
                (of(none) - sigmoid(logit)).abs() < 1e-6,
                "{none:?}: {}, not {}",
                of(none),
                sigmoid(logit)
            );
        }
        // No evidence is enough for certainty, either way, and a share of none or all is as good as one in 100,000.
        assert_eq!(of([-99.0, 0.0, 0.0, 0.0]), 1e-5);
        for (unforeseen, odds) in [(0.0, 1e-5_f32), (1.0, 1.0 - 1e-5)] {
            question_features.unforeseen = unforeseen;
            let half = Calibration { temperature: 1.0, none: [0.0, 0.5, 0.0, 0.0] };
            let expected = sigmoid(0.5 * (odds / (1.0 - odds)).ln());
            let found = half.none_of_these(&question_features, &basis);
            assert!((found / expected - 1.0).abs() < 1e-3, "{found}, not {expected}");
        }
    }

    /// Logits of any size; of equals, each as much as the other.
    #[test]
    fn a_softmax_of_large_logits() {
        for shift in [-1_000.0, -80.0, 0.0, 80.0, 1_000.0_f32] {
            let mut logits = [shift, shift, shift - 1.0];
            log_softmax(&mut logits);
            // 1 / (2 + 1/e), and that over e.
            let expected = [-0.861_995_f32, -0.861_995, -1.861_995];
            for (found, expected) in logits.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{logits:?} of {shift}");
            }
        }
    }
}
