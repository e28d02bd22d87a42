//! What the trees minimise. An objective sees the groups, so it can compare the candidates of one question.
//!
//! One file each, and [`named`] finds them by name: [`CandidateSoftmax`], [`Lambdarank`] and [`Xendcg`] compare the
//! rows of a group; [`Binary`], [`Multiclass`] and [`SquaredError`] look at each row alone. Another one is a type of
//! your own that implements [`Objective`]:
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

mod binary;
mod lambdarank;
mod multiclass;
mod ndcg;
mod softmax;
mod squared_error;
mod xendcg;

use rayon::prelude::*;

pub use binary::Binary;
pub use lambdarank::Lambdarank;
pub use multiclass::Multiclass;
pub use ndcg::ndcg;
pub use softmax::CandidateSoftmax;
pub use squared_error::SquaredError;
pub use xendcg::Xendcg;

use super::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};

/// The names that [`named`] knows.
pub const NAMES: [&str; 6] =
    ["candidate-softmax", "lambdarank", "xendcg", "binary", "multiclass", "squared-error"];

/// The objective called `name`, with its default settings. `classes` is for `multiclass` alone.
///
/// # Errors
/// A name that is none of [`NAMES`], or fewer than two classes where classes count.
pub fn named(name: &str, classes: usize) -> Result<Box<dyn Objective>> {
    Ok(match name {
        "candidate-softmax" => Box::new(CandidateSoftmax),
        "lambdarank" => Box::new(Lambdarank::default()),
        "xendcg" => Box::new(Xendcg::default()),
        "binary" => Box::new(Binary::default()),
        "multiclass" => Box::new(Multiclass::new(classes)?),
        "squared-error" => Box::new(SquaredError),
        _ => {
            return Err(Error::new(ErrorKind::Config, format!("there is no objective `{name}`"))
                .field("objective")
                .next_step(format!("choose one of {}", NAMES.join(", "))));
        }
    })
}

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

    /// How much a batch counts where losses are averaged: what [`loss`](Objective::loss) was multiplied by.
    fn weight(&self, batch: &Batch<'_>) -> f64 {
        match () {
            () if self.is_grouped() => 1.0,
            () if batch.weights.is_empty() => batch.labels.len() as f64,
            () => batch.weights.iter().map(|&weight| f64::from(weight)).sum(),
        }
    }
}

/// Refuses the first label that `fits` does not accept; `rule` tells what is accepted.
fn check_labels(data: &Dataset, rule: &str, fits: impl Fn(f32) -> bool) -> Result<()> {
    let Some(row) = data.labels().iter().position(|&label| !fits(label)) else { return Ok(()) };
    let group = data.group_ranges().position(|rows| rows.contains(&row));
    let place = group.map_or(format!("row {row}"), |group| format!("row {row}, in group {group},"));
    let message = format!("the label of {place} is {}", data.labels()[row]);
    Err(Error::new(ErrorKind::Data, message).next_step(rule))
}

/// The label and the weight of each row.
fn weighed_labels(data: &Dataset) -> impl Iterator<Item = (f32, f64)> + '_ {
    let weight = |row: usize| data.weights.get(row).map_or(1.0, |&weight| f64::from(weight));
    data.labels().iter().enumerate().map(move |(row, &label)| (label, weight(row)))
}

/// Writes `e^(score - largest score)` into `h`, and returns the sum: what a softmax divides by.
///
/// # Shapes
/// Both `[n]`.
fn exponentials(scores: &[f32], gradients: &mut [Gradient]) -> f32 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for (gradient, &score) in gradients.iter_mut().zip(scores) {
        gradient.h = (score - largest).exp();
        total += gradient.h;
    }
    total
}

fn wrong_setting(field: &str, rule: &str) -> Result<()> {
    Err(Error::new(ErrorKind::Config, "not a setting that can be trained with").field(field).next_step(rule))
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

/// Mean loss a group, or a row where rows stand alone, by weight.
pub(super) fn mean_loss(objective: &dyn Objective, data: &Dataset, scores: &[f32]) -> f64 {
    let outputs = objective.outputs();
    let at_once = if objective.is_grouped() { 64 } else { 1 };
    let losses: Vec<(f64, f64)> = batches(objective, data)
        .into_par_iter()
        .with_min_len(at_once)
        .map(|rows| {
            let scores = &scores[rows.start * outputs..rows.end * outputs];
            let batch = batch(data, rows, 0);
            (objective.loss(&batch, scores), objective.weight(&batch))
        })
        .collect();
    // Summed in order, so that the result does not depend on the number of threads.
    let (loss, weight) = losses.iter().fold((0.0, 0.0), |sums, batch| (sums.0 + batch.0, sums.1 + batch.1));
    loss / weight.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gbdt::Binner;

    /// Rows of one column that holds nothing.
    pub fn dataset(labels: &[f32], weights: &[f32], groups: &[usize]) -> Dataset {
        let data = Dataset::new(Binner::fit(&[0.0], 1, 255), &vec![0.0; labels.len()], labels).unwrap();
        let data = if weights.is_empty() { data } else { data.with_weights(weights.to_vec()).unwrap() };
        if groups.is_empty() { data } else { data.with_groups(groups).unwrap() }
    }

    /// What `check` says of `labels`; nothing where it accepts them.
    pub fn complaint(objective: &dyn Objective, labels: &[f32], groups: &[usize]) -> String {
        let checked = objective.check(&dataset(labels, &[], groups));
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    }

    pub fn gradients(objective: &dyn Objective, batch: &Batch<'_>, scores: &[f32]) -> Vec<Gradient> {
        let mut gradients = vec![Gradient { g: f32::NAN, h: f32::NAN }; scores.len()];
        objective.gradients(batch, scores, &mut gradients);
        gradients
    }

    /// Checks `gradients` against expected first and second derivatives.
    pub fn assert_gradients(gradients: &[Gradient], g: &[f64], h: &[f64], tolerance: f64) {
        assert_eq!((gradients.len(), gradients.len()), (g.len(), h.len()));
        for (i, (gradient, (g, h))) in gradients.iter().zip(g.iter().zip(h)).enumerate() {
            let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() <= tolerance;
            assert!(near(gradient.g, *g) && near(gradient.h, *h), "row {i}: {gradient:?}, not {g} and {h}");
        }
    }

    /// Checks gradients against differences of the loss.
    pub fn assert_derivatives(objective: &dyn Objective, labels: &[f32], weights: &[f32], scores: &[f32]) {
        assert_scaled_derivatives(objective, labels, weights, scores, (1.0, 1.0));
    }

    /// [`assert_derivatives`] of an objective whose gradients are those of the loss times two factors: one for first
    /// derivatives, one for second.
    pub fn assert_scaled_derivatives(
        objective: &dyn Objective,
        labels: &[f32],
        weights: &[f32],
        scores: &[f32],
        (first, second): (f64, f64),
    ) {
        let batch = Batch { labels, weights, random: 0 };
        for (i, gradient) in gradients(objective, &batch, scores).iter().enumerate() {
            let at = |delta: f32| {
                let mut moved = scores.to_vec();
                moved[i] += delta;
                objective.loss(&batch, &moved)
            };
            let step = 1e-2_f32;
            let slope = first * (at(step) - at(-step)) / (2.0 * f64::from(step));
            let curvature = second * (at(step) - 2.0 * at(0.0) + at(-step)) / f64::from(step).powi(2);
            assert!((slope - f64::from(gradient.g)).abs() < 1e-4, "score {i}: {slope} {gradient:?}");
            assert!((curvature - f64::from(gradient.h)).abs() < 2e-3, "score {i}: {curvature} {gradient:?}");
        }
    }

    #[test]
    fn every_name_leads_to_its_objective() {
        for name in NAMES {
            assert_eq!(named(name, 3).unwrap().name(), name);
        }
        let error = |name: &str, classes: usize| named(name, classes).err().unwrap().to_string();
        assert_eq!(
            error("softmax", 3),
            "field `objective`: there is no objective `softmax`; choose one of candidate-softmax, lambdarank, \
             xendcg, binary, multiclass, squared-error"
        );
        assert!(error("multiclass", 1).starts_with("field `classes`"));
    }

    #[test]
    fn losses_are_averaged_by_weight() {
        let mean =
            |objective: &dyn Objective, labels: &[f32], weights: &[f32], groups: &[usize], scores: &[f32]| {
                mean_loss(objective, &dataset(labels, weights, groups), scores)
            };
        // Errors of 1 and 2.
        assert_eq!(mean(&SquaredError, &[1.0, 2.0], &[], &[], &[0.0, 0.0]), 2.5);
        assert_eq!(mean(&SquaredError, &[1.0, 2.0], &[3.0, 1.0], &[], &[0.0, 0.0]), 1.75);
        // The first group is in the wrong order, the second in the right one.
        let (labels, scores) = ([1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]);
        let wrong = 1.0 - 1.0 / 3f64.log2();
        let found = mean(&Lambdarank::default(), &labels, &[], &[2, 2], &scores);
        assert!((found - wrong / 2.0).abs() < 1e-12, "{found}");
        let found = mean(&Lambdarank::default(), &labels, &[2.0, 4.0, 1.0, 1.0], &[2, 2], &scores);
        assert!((found - wrong * 3.0 / 4.0).abs() < 1e-12, "{found}");
    }
}
