//! What quantizing cost: how far scores may have moved, and which rows changed places.

use super::QuantizedTrees;
use crate::gbdt::{Ensemble, Tree};

/// What quantizing an ensemble cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TreesReport {
    /// How far a leaf's value moved, at most.
    pub largest_leaf_error: f64,
    /// How far any score can have moved: the largest error of each tree's leaves, and that of the base, added up. Rows
    /// of scores that were further apart than twice this keep their order.
    pub largest_score_error: f64,
    /// Rows that were compared.
    pub rows: usize,
    /// How many of them have another place among the rows of their question, best score first, equal scores in the
    /// order of the rows; in a model of several outputs, by any of these.
    pub rows_moved: usize,
}

impl TreesReport {
    /// Compares `trees` with the `ensemble` that they were made of, on `questions`.
    ///
    /// # Shapes
    /// Each question: row-major `[candidates, columns]`.
    pub fn new<'a>(
        ensemble: &Ensemble,
        trees: &QuantizedTrees,
        questions: impl IntoIterator<Item = &'a [f32]>,
    ) -> Self {
        let of_tree = |tree: &Tree| {
            tree.leaf_values.iter().fold(0.0, |error: f64, &leaf| error.max(trees.step.error(leaf)))
        };
        let of_trees: Vec<f64> = ensemble.trees.iter().map(of_tree).collect();
        let outputs = ensemble.outputs();
        let of_output = |(output, &base): (usize, &f64)| {
            trees.step.error(base) + of_trees.iter().skip(output).step_by(outputs).sum::<f64>()
        };
        let mut report = Self {
            largest_leaf_error: of_trees.iter().copied().fold(0.0, f64::max),
            largest_score_error: ensemble.base.iter().enumerate().map(of_output).fold(0.0, f64::max),
            ..Self::default()
        };
        questions.into_iter().for_each(|rows| report.compare(ensemble, trees, rows));
        report
    }

    /// The share of the rows that have another place.
    pub fn moved_share(&self) -> f64 {
        self.rows_moved as f64 / self.rows.max(1) as f64
    }

    fn compare(&mut self, ensemble: &Ensemble, trees: &QuantizedTrees, rows: &[f32]) {
        let (count, outputs) = (rows.len() / ensemble.columns().max(1), ensemble.outputs());
        let [mut before, mut after] = [0, 1].map(|_| vec![0.0; count * outputs]);
        ensemble.score(rows, &mut before);
        trees.score(rows, &mut after);
        let mut moved = vec![false; count];
        for output in 0..outputs {
            let places = places(&before, output, outputs).into_iter().zip(places(&after, output, outputs));
            moved.iter_mut().zip(places).for_each(|(moved, (before, after))| *moved |= before != after);
        }
        self.rows += count;
        self.rows_moved += moved.into_iter().filter(|&moved| moved).count();
    }
}

/// Each row's place by one output, 0 for the highest score.
fn places(scores: &[f64], output: usize, outputs: usize) -> Vec<usize> {
    let scores: Vec<f64> = scores.iter().skip(output).step_by(outputs).copied().collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut places = vec![0; scores.len()];
    order.into_iter().enumerate().for_each(|(place, row)| places[row] = place);
    places
}
