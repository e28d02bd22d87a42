//! Yes or no: the logistic loss.

use super::{Batch, Gradient, Objective, check_labels, weighed_labels, wrong_setting};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::dataset::Dataset;

/// Labels are 0 or 1; the loss of a row is `-ln p(label)`, `p(1)` being the logistic function of its score.
///
/// Labels of one class only are refused, for validation too: a loss that falls for ever as the scores rise tells
/// nobody when to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Binary {
    /// How many times a row of label 1 counts, beside its own weight: for labels that are rarely 1.
    pub positive_weight: f64,
}

impl Default for Binary {
    fn default() -> Self {
        Self { positive_weight: 1.0 }
    }
}

impl Objective for Binary {
    fn name(&self) -> &str {
        "binary"
    }

    fn check(&self, data: &Dataset) -> Result<()> {
        if !(self.positive_weight > 0.0 && self.positive_weight.is_finite()) {
            return wrong_setting("positive_weight", "choose a positive number");
        }
        check_labels(data, "give each row label 0 or 1", |label| label == 0.0 || label == 1.0)?;
        let [no, yes] = self.class_weights(data);
        if no > 0.0 && yes > 0.0 {
            return Ok(());
        }
        let only = u8::from(yes > 0.0);
        let message = format!("every row that has a weight has label {only}: there is nothing to tell apart");
        Err(Error::new(ErrorKind::Data, message).next_step("give rows of both labels"))
    }

    /// The log odds of label 1, weights included: the constant of least loss.
    fn base(&self, data: &Dataset) -> Vec<f64> {
        let [no, yes] = self.class_weights(data);
        vec![(yes / no).ln()]
    }

    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
        for (row, (gradient, &score)) in gradients.iter_mut().zip(scores).enumerate() {
            let sign = sign(batch.labels[row]);
            // The probability of the other label; computed as such, it keeps its digits when it is small.
            let wrong = 1.0 / (1.0 + (sign * score).exp());
            let unweighted = Gradient { g: -sign * wrong, h: wrong * (1.0 - wrong) };
            *gradient = unweighted.times(self.row_weight(batch, row));
        }
    }

    fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64 {
        let of_row = |(row, &score): (usize, &f32)| {
            let margin = f64::from(sign(batch.labels[row]) * score);
            f64::from(self.row_weight(batch, row)) * ((-margin.abs()).exp().ln_1p() - margin.min(0.0))
        };
        scores.iter().enumerate().map(of_row).sum()
    }

    fn weight(&self, batch: &Batch<'_>) -> f64 {
        (0..batch.labels.len()).map(|row| f64::from(self.row_weight(batch, row))).sum()
    }
}

impl Binary {
    fn row_weight(&self, batch: &Batch<'_>, row: usize) -> f32 {
        let of_label = if batch.labels[row] == 1.0 { self.positive_weight as f32 } else { 1.0 };
        of_label * batch.weight(row)
    }

    /// How much the rows of label 0 and those of label 1 weigh.
    fn class_weights(&self, data: &Dataset) -> [f64; 2] {
        let mut weights = [0.0; 2];
        weighed_labels(data).for_each(|(label, weight)| weights[usize::from(label == 1.0)] += weight);
        [weights[0], weights[1] * self.positive_weight]
    }
}

/// Where the score of a row should go.
fn sign(label: f32) -> f32 {
    if label == 1.0 { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::objective::tests::{assert_derivatives, complaint, dataset, gradients};

    #[test]
    fn gradients_are_those_of_the_loss() {
        for (weights, positive_weight) in [(&[][..], 1.0), (&[1.0, 2.5, 0.5], 1.0), (&[1.0, 1.0, 2.0], 3.0)] {
            let objective = Binary { positive_weight };
            assert_derivatives(&objective, &[0.0, 1.0, 1.0], weights, &[0.3, -0.2, 1.1]);
        }
    }

    #[test]
    fn starts_from_the_log_odds() {
        for (positive_weight, weights, odds) in
            [(1.0, &[][..], 1.0 / 3.0), (6.0, &[], 2.0), (1.0, &[1.0, 1.0, 2.0, 8.0], 2.0)]
        {
            let data = dataset(&[0.0, 0.0, 0.0, 1.0], weights, &[]);
            assert_eq!(Binary { positive_weight }.base(&data), [f64::ln(odds)]);
        }
    }

    #[test]
    fn enormous_scores_stay_finite() {
        let batch = Batch { labels: &[1.0, 0.0, 1.0, 0.0], weights: &[], random: 0 };
        let scores = [-3e38, -3e38, 3e38, 3e38];
        let found: Vec<f32> =
            gradients(&Binary::default(), &batch, &scores).iter().map(|found| found.g).collect();
        assert_eq!(found, [-1.0, 0.0, 0.0, 1.0]);
        assert!(Binary::default().loss(&batch, &scores).is_finite());
    }

    #[test]
    fn wrong_labels_and_settings_are_named() {
        let binary = Binary::default();
        for (labels, start) in [
            ([0.0, 1.0], ""),
            ([0.0, 2.0], "the label of row 1 is 2; give each row label 0 or 1"),
            ([-1.0, 1.0], "the label of row 0 is -1"),
            ([0.5, 1.0], "the label of row 0 is 0.5"),
            ([1.0, 1.0], "every row that has a weight has label 1"),
            ([0.0, 0.0], "every row that has a weight has label 0"),
        ] {
            let found = complaint(&binary, &labels, &[]);
            assert!(found.starts_with(start) && found.is_empty() == start.is_empty(), "{labels:?}: {found}");
        }
        assert!(binary.check(&dataset(&[0.0, 1.0], &[1.0, 0.0], &[])).is_err());
        assert!(complaint(&Binary { positive_weight: 0.0 }, &[0.0, 1.0], &[]).contains("positive_weight"));
    }
}
