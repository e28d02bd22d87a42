//! What the trees minimise. An objective sees the groups, so it can compare the candidates of one question.
//!
//! One file each: [`CandidateSoftmax`]. Another one is a type of your own that implements [`Objective`]:
//!
//! ```
//! use foretap::gbdt::{Batch, Dataset, Gradient, Objective};
//!
//! /// Absolute error, smoothed near zero.
//! struct LogCosh;
//!
//! impl Objective for LogCosh {
//!     fn name(&self) -> &str {
//!         "log-cosh"
//!     }
//!     fn check(&self, _: &Dataset) -> foretap::Result<()> {
//!         Ok(())
//!     }
//!     fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
//!         for ((gradient, label), score) in gradients.iter_mut().zip(batch.labels).zip(scores) {
//!             let g = (score - label).tanh();
//!             *gradient = Gradient { g, h: 1.0 - g * g };
//!         }
//!     }
//!     fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64 {
//!         batch.labels.iter().zip(scores).map(|(label, score)| f64::from(score - label).cosh().ln()).sum()
//!     }
//! }
//! ```

mod softmax;

use rayon::prelude::*;

pub use softmax::CandidateSoftmax;

use super::dataset::Dataset;
use crate::error::Result;

/// First and second derivative of the loss by one score.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gradient {
    /// First derivative.
    pub g: f32,
    /// Second derivative, not negative.
    pub h: f32,
}

impl Gradient {
    /// The gradient of a loss that counts `weight` times.
    #[must_use]
    pub fn times(self, weight: f32) -> Self {
        Self { g: self.g * weight, h: self.h * weight }
    }
}

/// Rows that an objective looks at together: one group, or for an objective that compares no rows
/// ([`Objective::is_grouped`]) any rows.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// What the rows are to be predicted as.
    pub labels: &'a [f32],
    /// Their weights; empty where all are 1.
    pub weights: &'a [f32],
    /// A number drawn for this batch and this round, for objectives that need chance.
    pub random: u64,
}

impl Batch<'_> {
    /// The weight of `row`.
    pub fn weight(&self, row: usize) -> f32 {
        self.weights.get(row).copied().unwrap_or(1.0)
    }
}

/// A loss over scores, in groups.
pub trait Objective: Send + Sync {
    /// Its name in model files.
    fn name(&self) -> &str;

    /// Scores a row: one, or one a class.
    fn outputs(&self) -> usize {
        1
    }

    /// Whether it compares the rows of a group; otherwise each row stands alone, and a batch is any run of rows.
    fn is_grouped(&self) -> bool {
        false
    }

    /// Refuses labels or groups that it cannot learn from.
    ///
    /// # Errors
    /// Names the row or group and what is wrong with it.
    fn check(&self, data: &Dataset) -> Result<()>;

    /// The constant scores that training starts from, one an output.
    fn base(&self, _data: &Dataset) -> Vec<f64> {
        vec![0.0; self.outputs()]
    }

    /// Writes the gradients of one batch, weights included.
    ///
    /// # Shapes
    /// `scores`, `gradients`: row-major `[rows of the batch, outputs]`.
    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]);

    /// What early stopping watches, smaller being better: the sum over the rows of a batch, weights included; of a
    /// grouped objective, the loss of the group.
    ///
    /// # Shapes
    /// `scores`: row-major `[rows of the batch, outputs]`.
    fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64;
}

/// Rows in a batch of an objective that compares none.
const BATCH_ROWS: usize = 1_024;

/// The batches of `data`, as ranges of rows.
fn batches(objective: &dyn Objective, data: &Dataset) -> Vec<std::ops::Range<usize>> {
    if objective.is_grouped() {
        return data.group_ranges().collect();
    }
    (0..data.rows()).step_by(BATCH_ROWS).map(|start| start..(start + BATCH_ROWS).min(data.rows())).collect()
}

fn batch<'a>(data: &'a Dataset, rows: std::ops::Range<usize>, seed: u64) -> Batch<'a> {
    let random = seed ^ (rows.start as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let weights = if data.weights.is_empty() { &[][..] } else { &data.weights[rows.clone()] };
    Batch { labels: &data.labels[rows], weights, random }
}

/// Gradients of all rows. `seed` is this round's.
pub(super) fn all_gradients(
    objective: &dyn Objective,
    data: &Dataset,
    scores: &[f32],
    seed: u64,
    gradients: &mut [Gradient],
) {
    let outputs = objective.outputs();
    let mut parts = Vec::new();
    let mut rest = gradients;
    for rows in batches(objective, data) {
        let (part, tail) = rest.split_at_mut(rows.len() * outputs);
        parts.push((rows, part));
        rest = tail;
    }
    // Groups are small, other batches are not.
    let at_once = if objective.is_grouped() { 64 } else { 1 };
    parts.into_par_iter().with_min_len(at_once).for_each(|(rows, part)| {
        let scores = &scores[rows.start * outputs..rows.end * outputs];
        objective.gradients(&batch(data, rows, seed), scores, part);
    });
}

/// Mean loss a group, or a row (by weight) where rows stand alone.
pub(super) fn mean_loss(objective: &dyn Objective, data: &Dataset, scores: &[f32]) -> f64 {
    let outputs = objective.outputs();
    let at_once = if objective.is_grouped() { 64 } else { 1 };
    let losses: Vec<f64> = batches(objective, data)
        .into_par_iter()
        .with_min_len(at_once)
        .map(|rows| {
            let scores = &scores[rows.start * outputs..rows.end * outputs];
            objective.loss(&batch(data, rows, 0), scores)
        })
        .collect();
    let total = match () {
        () if objective.is_grouped() => data.groups() as f64,
        () if data.weights.is_empty() => data.rows() as f64,
        () => data.weights.iter().map(|&weight| f64::from(weight)).sum(),
    };
    // Summed in order, so that the result does not depend on the number of threads.
    losses.iter().sum::<f64>() / total.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checks gradients against differences of the loss.
    pub fn assert_derivatives(objective: &dyn Objective, labels: &[f32], weights: &[f32], scores: &[f32]) {
        let batch = Batch { labels, weights, random: 0 };
        let mut gradients = vec![Gradient::default(); scores.len()];
        objective.gradients(&batch, scores, &mut gradients);
        for (i, gradient) in gradients.iter().enumerate() {
            let at = |delta: f32| {
                let mut moved = scores.to_vec();
                moved[i] += delta;
                objective.loss(&batch, &moved)
            };
            let step = 1e-2_f32;
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let curvature = (at(step) - 2.0 * at(0.0) + at(-step)) / f64::from(step).powi(2);
            assert!((slope - f64::from(gradient.g)).abs() < 1e-4, "score {i}: {slope} {gradient:?}");
            assert!((curvature - f64::from(gradient.h)).abs() < 2e-3, "score {i}: {curvature} {gradient:?}");
        }
    }
}
