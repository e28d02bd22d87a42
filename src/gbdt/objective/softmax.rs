//! A softmax over the candidates of a question, of which exactly one was opened: the default.

use super::{Batch, Gradient, Objective, exponentials};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::dataset::Dataset;

/// The loss of a question is `-ln p(opened)`, with `g = p - y` and the full diagonal `h = p (1 - p)`. The opened
/// candidate has label 1, the others 0; a question counts as often as its opened candidate weighs.
#[derive(Debug, Clone, Copy, Default)]
pub struct CandidateSoftmax;

impl Objective for CandidateSoftmax {
    fn name(&self) -> &str {
        "candidate-softmax"
    }

    fn is_grouped(&self) -> bool {
        true
    }

    fn check(&self, data: &Dataset) -> Result<()> {
        for (group, rows) in data.group_ranges().enumerate() {
            let labels = &data.labels()[rows];
            let opened = labels.iter().filter(|&&label| label == 1.0).count();
            if opened != 1 || labels.iter().any(|&label| label != 0.0 && label != 1.0) {
                let message = format!("group {group}: {opened} of its {} rows have label 1", labels.len());
                return Err(Error::new(ErrorKind::Data, message)
                    .next_step("give exactly one row of each group label 1, the others 0"));
            }
        }
        Ok(())
    }

    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
        let weight = opened_weight(batch);
        let total = exponentials(scores, gradients);
        for (gradient, &label) in gradients.iter_mut().zip(batch.labels) {
            let p = gradient.h / total;
            *gradient = Gradient { g: p - label, h: p * (1.0 - p) }.times(weight);
        }
    }

    fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64 {
        let opened: f32 = batch.labels.iter().zip(scores).map(|(&label, &score)| label * score).sum();
        f64::from(opened_weight(batch)) * (crate::predict::log_sum_exp(scores, 1.0) - f64::from(opened))
    }

    fn weight(&self, batch: &Batch<'_>) -> f64 {
        f64::from(opened_weight(batch))
    }
}

fn opened_weight(batch: &Batch<'_>) -> f32 {
    if batch.weights.is_empty() {
        return 1.0;
    }
    batch.labels.iter().zip(batch.weights).map(|(label, weight)| label * weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::objective::tests::assert_derivatives;

    #[test]
    fn gradients_are_those_of_the_loss() {
        for weights in [&[][..], &[1.0, 2.5, 1.0]] {
            assert_derivatives(&CandidateSoftmax, &[0.0, 1.0, 0.0], weights, &[0.3, -0.2, 1.1]);
        }
    }

    #[test]
    fn enormous_scores_stay_finite() {
        let mut gradients = [Gradient::default(); 2];
        let batch = Batch { labels: &[1.0, 0.0], weights: &[], random: 0 };
        CandidateSoftmax.gradients(&batch, &[-3e38, 3e38], &mut gradients);
        assert_eq!(gradients[0], Gradient { g: -1.0, h: 0.0 });
        assert!(CandidateSoftmax.loss(&batch, &[-3e38, 3e38]).is_finite());
    }
}
