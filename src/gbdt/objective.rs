//! What the trees minimise. An objective sees the groups, so it can compare the candidates of one question.

use rayon::prelude::*;

use super::bins::Dataset;
use crate::error::{Error, ErrorKind, Result};

/// First and second derivative of the loss by one row's score.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gradient {
    /// First derivative.
    pub g: f32,
    /// Second derivative, not negative.
    pub h: f32,
}

/// A loss over scores, in groups.
pub trait Objective: Send + Sync {
    /// Refuses labels that it cannot learn from.
    ///
    /// # Errors
    /// Names the group and what is wrong with it.
    fn check(&self, data: &Dataset) -> Result<()>;

    /// Writes the gradients of one group.
    ///
    /// # Shapes
    /// All `[rows of the group]`.
    fn gradients(&self, labels: &[f32], scores: &[f32], gradients: &mut [Gradient]);

    /// The loss of one group.
    ///
    /// # Shapes
    /// All `[rows of the group]`.
    fn loss(&self, labels: &[f32], scores: &[f32]) -> f64;
}

/// A softmax over the candidates of a question, of which exactly one (label 1) was opened: the loss is
/// `-ln p(opened)`, with `g = p - y` and the full diagonal `h = p (1 - p)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CandidateSoftmax;

impl Objective for CandidateSoftmax {
    fn check(&self, data: &Dataset) -> Result<()> {
        for (group, range) in data.group_starts.windows(2).enumerate() {
            let labels = &data.labels[range[0]..range[1]];
            let opened = labels.iter().filter(|&&label| label == 1.0).count();
            if opened != 1 || labels.iter().any(|&label| label != 0.0 && label != 1.0) {
                let message = format!("group {group}: {opened} of its {} rows have label 1", labels.len());
                return Err(Error::new(ErrorKind::Data, message)
                    .next_step("give exactly one row of each group label 1, the others 0"));
            }
        }
        Ok(())
    }

    fn gradients(&self, labels: &[f32], scores: &[f32], gradients: &mut [Gradient]) {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = scores.iter().map(|&score| (score - largest).exp()).sum();
        for ((gradient, &label), &score) in gradients.iter_mut().zip(labels).zip(scores) {
            let p = (score - largest).exp() / total;
            *gradient = Gradient { g: p - label, h: p * (1.0 - p) };
        }
    }

    fn loss(&self, labels: &[f32], scores: &[f32]) -> f64 {
        let opened: f32 = labels.iter().zip(scores).map(|(&label, &score)| label * score).sum();
        crate::predict::log_sum_exp(scores, 1.0) - f64::from(opened)
    }
}

/// Gradients of all groups.
pub(super) fn all_gradients(
    objective: &dyn Objective,
    data: &Dataset,
    scores: &[f32],
    gradients: &mut [Gradient],
) {
    let mut parts = Vec::with_capacity(data.groups());
    let mut rest = gradients;
    for range in data.group_starts.windows(2) {
        let (part, tail) = rest.split_at_mut(range[1] - range[0]);
        parts.push((range[0]..range[1], part));
        rest = tail;
    }
    parts.into_par_iter().with_min_len(64).for_each(|(rows, part)| {
        objective.gradients(&data.labels[rows.clone()], &scores[rows], part);
    });
}

/// Mean loss a group.
pub(super) fn mean_loss(objective: &dyn Objective, data: &Dataset, scores: &[f32]) -> f64 {
    let losses: Vec<f64> = data
        .group_starts
        .par_windows(2)
        .with_min_len(64)
        .map(|range| objective.loss(&data.labels[range[0]..range[1]], &scores[range[0]..range[1]]))
        .collect();
    // Summed in order, so that the result does not depend on the number of threads.
    losses.iter().sum::<f64>() / losses.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_gradients_are_those_of_its_loss() {
        let labels = [0.0, 1.0, 0.0];
        let scores = [0.3, -0.2, 1.1];
        let mut gradients = [Gradient::default(); 3];
        CandidateSoftmax.gradients(&labels, &scores, &mut gradients);
        for i in 0..3 {
            let at = |delta: f32| {
                let mut moved = scores;
                moved[i] += delta;
                CandidateSoftmax.loss(&labels, &moved)
            };
            let step = 1e-2_f32;
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let curvature = (at(step) - 2.0 * at(0.0) + at(-step)) / f64::from(step).powi(2);
            assert!((slope - f64::from(gradients[i].g)).abs() < 1e-4, "{slope} {:?}", gradients[i]);
            assert!((curvature - f64::from(gradients[i].h)).abs() < 1e-3, "{curvature} {:?}", gradients[i]);
        }
    }

    #[test]
    fn enormous_scores_stay_finite() {
        let mut gradients = [Gradient::default(); 2];
        CandidateSoftmax.gradients(&[1.0, 0.0], &[-3e38, 3e38], &mut gradients);
        assert_eq!(gradients[0], Gradient { g: -1.0, h: 0.0 });
        assert!(CandidateSoftmax.loss(&[1.0, 0.0], &[-3e38, 3e38]).is_finite());
    }
}
