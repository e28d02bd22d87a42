//! One of several classes: a softmax over one score a class.

use super::{Batch, Gradient, Objective, check_labels, exponentials, weighed_labels, wrong_setting};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::dataset::Dataset;

/// The probability from which a class without a row starts.
const LEAST_PRIOR: f64 = 1e-15;

/// Labels are the numbers of the classes, from 0; the loss of a row is `-ln p(label)` under the softmax of its
/// scores. Second derivatives are `p (1 - p) classes / (classes - 1)`, as in LightGBM: Friedman's factor, since one
/// of the scores is redundant.
///
/// A class without a row, or without one that weighs anything, starts from a probability of 1e-15 and stays there.
/// Rows of one class only are refused, for validation too: there is nothing to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiclass {
    classes: usize,
}

impl Multiclass {
    /// Tells `classes` classes apart.
    ///
    /// # Errors
    /// Fewer than two.
    pub fn new(classes: usize) -> Result<Self> {
        if classes < 2 {
            wrong_setting("classes", "say how many classes there are: two or more")?;
        }
        Ok(Self { classes })
    }

    /// How much the rows of each class weigh.
    fn class_weights(&self, data: &Dataset) -> Vec<f64> {
        let mut weights = vec![0.0; self.classes];
        weighed_labels(data).for_each(|(label, weight)| weights[label as usize] += weight);
        weights
    }
}

impl Objective for Multiclass {
    fn name(&self) -> &str {
        "multiclass"
    }

    fn outputs(&self) -> usize {
        self.classes
    }

    fn check(&self, data: &Dataset) -> Result<()> {
        let rule = format!("give each row the number of its class, from 0 to {}", self.classes - 1);
        // f64: it holds every count of classes and every label as they are.
        let fits =
            |label: f32| label >= 0.0 && f64::from(label) < self.classes as f64 && label.fract() == 0.0;
        check_labels(data, &rule, fits)?;
        let weights = self.class_weights(data);
        let mut present = (0..self.classes).filter(|&class| weights[class] > 0.0);
        let (Some(only), None) = (present.next(), present.next()) else { return Ok(()) };
        let message =
            format!("every row that has a weight is of class {only}: there is nothing to tell apart");
        Err(Error::new(ErrorKind::Data, message).next_step("give rows of two classes at least"))
    }

    /// The logarithms of the classes' shares: the constants of least loss.
    fn base(&self, data: &Dataset) -> Vec<f64> {
        let weights = self.class_weights(data);
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| (weight / total).max(LEAST_PRIOR).ln()).collect()
    }

    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
        let factor = self.classes as f32 / (self.classes - 1) as f32;
        let rows = gradients.chunks_exact_mut(self.classes).zip(scores.chunks_exact(self.classes));
        for (row, (gradients, scores)) in rows.enumerate() {
            let label = batch.labels[row] as usize;
            let weight = batch.weight(row);
            let total = exponentials(scores, gradients);
            for (class, gradient) in gradients.iter_mut().enumerate() {
                let p = gradient.h / total;
                let y = if class == label { 1.0 } else { 0.0 };
                *gradient = Gradient { g: p - y, h: factor * p * (1.0 - p) }.times(weight);
            }
        }
    }

    fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64 {
        let of_row = |(row, scores): (usize, &[f32])| {
            let own = f64::from(scores[batch.labels[row] as usize]);
            f64::from(batch.weight(row)) * (crate::predict::log_sum_exp(scores, 1.0) - own)
        };
        scores.chunks_exact(self.classes).enumerate().map(of_row).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::objective::tests::{assert_scaled_derivatives, complaint, dataset, gradients};

    #[test]
    fn gradients_are_those_of_the_loss() {
        let scores = [0.3, -0.2, 1.1, 0.0, 2.0, -1.0];
        for weights in [&[][..], &[1.0, 2.5]] {
            let three = Multiclass::new(3).unwrap();
            assert_scaled_derivatives(&three, &[2.0, 0.0], weights, &scores, (1.0, 3.0 / 2.0));
            let two = Multiclass::new(2).unwrap();
            assert_scaled_derivatives(&two, &[1.0, 0.0], weights, &scores[..4], (1.0, 2.0));
        }
    }

    #[test]
    fn starts_from_the_shares() {
        let base = |labels: &[f32], weights: &[f32]| {
            let shares = Multiclass::new(3).unwrap().base(&dataset(labels, weights, &[]));
            shares.into_iter().map(f64::exp).collect::<Vec<_>>()
        };
        for (labels, weights, expected) in [
            ([0.0, 1.0, 1.0, 2.0], &[][..], [0.25, 0.5, 0.25]),
            ([0.0, 1.0, 1.0, 2.0], &[4.0, 1.0, 2.0, 1.0], [0.5, 0.375, 0.125]),
            ([0.0, 1.0, 1.0, 1.0], &[], [0.25, 0.75, LEAST_PRIOR]),
        ] {
            for (found, expected) in base(&labels, weights).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12 * expected, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn enormous_scores_stay_finite() {
        let batch = Batch { labels: &[1.0], weights: &[], random: 0 };
        let two = Multiclass::new(2).unwrap();
        let found = gradients(&two, &batch, &[3e38, -3e38]);
        assert_eq!(found, [Gradient { g: 1.0, h: 0.0 }, Gradient { g: -1.0, h: 0.0 }]);
        assert!(two.loss(&batch, &[3e38, -3e38]).is_finite());
    }

    #[test]
    fn wrong_labels_and_settings_are_named() {
        let three = Multiclass::new(3).unwrap();
        for (labels, start) in [
            ([0.0, 2.0], ""),
            ([0.0, 3.0], "the label of row 1 is 3; give each row the number of its class, from 0 to 2"),
            ([-1.0, 1.0], "the label of row 0 is -1"),
            ([0.5, 1.0], "the label of row 0 is 0.5"),
            ([1.0, 1.0], "every row that has a weight is of class 1"),
        ] {
            let found = complaint(&three, &labels, &[]);
            assert!(found.starts_with(start) && found.is_empty() == start.is_empty(), "{labels:?}: {found}");
        }
        assert!(three.check(&dataset(&[0.0, 2.0], &[1.0, 0.0], &[])).is_err());
        assert!(Multiclass::new(1).is_err());
    }
}
