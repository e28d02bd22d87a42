//! Any number: least squares.

use super::{Batch, Gradient, Objective, check_labels, weighed_labels};
use crate::error::Result;
use crate::gbdt::dataset::Dataset;

/// Sums of squared labels, over as many rows as a dataset holds, stay far from where 32-bit floats end.
const MAX_LABEL: f32 = 1e12;

/// Labels are numbers between -1e12 and 1e12. Trees follow half the squared error (`g = score - label`, `h = 1`), as
/// elsewhere; early stopping shows the mean squared error itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SquaredError;

impl Objective for SquaredError {
    fn name(&self) -> &str {
        "squared-error"
    }

    fn check(&self, data: &Dataset) -> Result<()> {
        check_labels(data, "scale the labels to lie between -1e12 and 1e12", |label| label.abs() <= MAX_LABEL)
    }

    /// The mean label, by weight: the constant of least loss.
    fn base(&self, data: &Dataset) -> Vec<f64> {
        let add = |sums: (f64, f64), (label, weight)| (sums.0 + f64::from(label) * weight, sums.1 + weight);
        let (sum, total) = weighed_labels(data).fold((0.0, 0.0), add);
        vec![sum / total]
    }

    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
        for (row, (gradient, score)) in gradients.iter_mut().zip(scores).enumerate() {
            *gradient = Gradient { g: score - batch.labels[row], h: 1.0 }.times(batch.weight(row));
        }
    }

    fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64 {
        let of_row = |(row, score): (usize, &f32)| {
            let error = f64::from(*score) - f64::from(batch.labels[row]);
            f64::from(batch.weight(row)) * error * error
        };
        scores.iter().enumerate().map(of_row).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::objective::tests::{assert_scaled_derivatives, complaint, dataset};

    #[test]
    fn gradients_are_those_of_half_the_loss() {
        for weights in [&[][..], &[1.0, 2.5, 0.5]] {
            let (labels, scores) = ([0.5, -1.0, 2.0], [0.3, -0.2, 1.1]);
            assert_scaled_derivatives(&SquaredError, &labels, weights, &scores, (0.5, 0.5));
        }
    }

    #[test]
    fn starts_from_the_mean() {
        assert_eq!(SquaredError.base(&dataset(&[1.0, 2.0, 6.0], &[], &[])), [3.0]);
        assert_eq!(SquaredError.base(&dataset(&[1.0, 2.0, 6.0], &[1.0, 0.0, 4.0], &[])), [5.0]);
    }

    #[test]
    fn labels_beyond_measure_are_named() {
        assert_eq!(complaint(&SquaredError, &[-0.5, 1e12], &[]), "");
        let found = complaint(&SquaredError, &[0.0, -3e38], &[]);
        assert!(found.starts_with("the label of row 1 is -3"), "{found}");
    }
}
