//! Boosting: trees are added, each a step down the gradient, until later questions stop improving.

use super::bins::Dataset;
use super::config::GbdtConfig;
use super::forest::{Forest, Tree};
use super::grow::{GrownTree, grow};
use super::objective::{Gradient, Objective, all_gradients, mean_loss};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// What training gave.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The trees up to the best round.
    pub forest: Forest,
    /// Mean loss a group of the validation set after each round (of the training set where there is none).
    pub losses: Vec<f64>,
}

/// Trains on `data`; with `validation`, stops when its loss no longer falls and keeps the best round.
///
/// The result depends on the data, the configuration and the seed alone, not on the number of threads.
///
/// # Errors
/// A setting that cannot be trained with, no rows, or labels that the objective refuses.
pub fn train(
    config: &GbdtConfig,
    objective: &dyn Objective,
    data: &Dataset,
    validation: Option<&Dataset>,
    progress: &dyn Progress,
) -> Result<Trained> {
    config.check()?;
    for data in [Some(data), validation].into_iter().flatten() {
        objective.check(data)?;
    }
    if data.groups() == 0 {
        return Err(Error::new(ErrorKind::Data, "no questions to train on").next_step("give a longer log"));
    }
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let mut gradients = vec![Gradient::default(); data.rows()];
    let mut scores = vec![0.0; data.rows()];
    let mut validation_scores = vec![0.0; validation.map_or(0, Dataset::rows)];
    let mut trees: Vec<Tree> = Vec::new();
    let mut losses: Vec<f64> = Vec::new();
    let mut best_round = 0;

    progress.start("growing trees", config.trees as u64);
    for round in 0..config.trees {
        all_gradients(objective, data, &scores, &mut gradients);
        let rows = sample_rows(data, config.group_fraction, &mut random);
        let columns = sample_columns(data, config.feature_fraction, &mut random);
        let grown = grow(data, rows, &columns, &gradients, config);
        add(&grown, data, &mut scores);
        losses.push(match validation {
            Some(validation) => {
                add(&grown, validation, &mut validation_scores);
                mean_loss(objective, validation, &validation_scores)
            }
            None => mean_loss(objective, data, &scores),
        });
        trees.push(grown.tree);
        if losses[round] < losses[best_round] || validation.is_none() {
            best_round = round;
        }
        progress.advance(1);
        if config.early_stopping > 0 && round - best_round >= config.early_stopping {
            break;
        }
    }
    progress.finish();
    trees.truncate(best_round + 1);
    Ok(Trained { forest: Forest::new(trees, data.binner.columns())?, losses })
}

fn add(grown: &GrownTree, data: &Dataset, scores: &mut [f32]) {
    let parts = scores.par_iter_mut().enumerate().with_min_len(4_096);
    parts.for_each(|(row, score)| *score += grown.value(data, row));
}

/// Whole groups are drawn: a softmax needs all candidates of its question.
fn sample_rows(data: &Dataset, fraction: f64, random: &mut ChaCha8Rng) -> Vec<u32> {
    if fraction >= 1.0 {
        return (0..data.rows() as u32).collect();
    }
    let mut rows = Vec::with_capacity((data.rows() as f64 * fraction * 1.05) as usize);
    for group in data.group_starts.windows(2) {
        if random.random_bool(fraction) {
            rows.extend(group[0] as u32..group[1] as u32);
        }
    }
    rows
}

/// Columns in ascending order, of those that have more than one bin.
fn sample_columns(data: &Dataset, fraction: f64, random: &mut ChaCha8Rng) -> Vec<usize> {
    let useful: Vec<usize> =
        (0..data.binner.columns()).filter(|&column| data.binner.bins(column) > 2).collect();
    let wanted = ((useful.len() as f64 * fraction).ceil() as usize).max(1);
    let mut drawn: Vec<usize> = useful.sample(random, wanted).copied().collect();
    drawn.sort_unstable();
    drawn
}
