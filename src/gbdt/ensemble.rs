//! A whole model: trees, what they start from, and the names of what they read. Plain data: files are made of it,
//! explanations read it, [`Forest`](super::Forest) answers from it.

use serde::{Deserialize, Serialize};

use super::tree::Tree;
use crate::error::{Error, ErrorKind, Result};

/// Trees whose leaf values add up to scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ensemble {
    /// What the trees were trained for: [`Objective::name`](super::Objective::name).
    pub objective: String,
    /// Names of the features, in the order of a row's columns.
    pub features: Vec<String>,
    /// Score before the first tree, for each output. One output, but for a multiclass model, which has one a class.
    pub base: Vec<f64>,
    /// Tree `t` adds to output `t % outputs`.
    pub trees: Vec<Tree>,
}

impl Ensemble {
    /// A model of one output over nameless features.
    pub fn new(trees: Vec<Tree>, columns: usize) -> Self {
        let features = (0..columns).map(|column| format!("feature_{column}")).collect();
        Self { objective: "custom".to_owned(), features, base: vec![0.0], trees }
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.features.len()
    }

    /// Scores a row: one, or one a class.
    pub fn outputs(&self) -> usize {
        self.base.len()
    }

    /// Checks that every walk over `columns` features ends in a leaf, and every score in a number.
    ///
    /// # Errors
    /// Names the tree and what is wrong with it.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Model, message));
        if self.base.is_empty() || !self.trees.len().is_multiple_of(self.base.len()) {
            return wrong(format!("{} trees do not make up {} outputs", self.trees.len(), self.base.len()));
        }
        if self.base.iter().any(|base| !base.is_finite()) {
            return wrong("the base score is not finite".to_owned());
        }
        for (index, tree) in self.trees.iter().enumerate() {
            if let Err(why) = tree.check(self.columns()) {
                return wrong(format!("tree {index}: {why}"));
            }
        }
        Ok(())
    }

    /// Scores rows by the plain walk: the reference for [`Forest::score`](super::Forest::score).
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; `scores`: row-major `[n, outputs]`.
    pub fn score(&self, rows: &[f32], scores: &mut [f64]) {
        let outputs = self.outputs();
        for (scores, row) in scores.chunks_exact_mut(outputs).zip(rows.chunks_exact(self.columns().max(1))) {
            scores.copy_from_slice(&self.base);
            for (index, tree) in self.trees.iter().enumerate() {
                scores[index % outputs] += tree.value(row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_take_turns() {
        let trees = [1.0, 20.0, 2.0, 30.0].map(|value| Tree::constant(value, 1.0)).into();
        let model = Ensemble { base: vec![0.5, 0.25], ..Ensemble::new(trees, 1) };
        let mut scores = [9.0; 2];
        model.score(&[0.0], &mut scores);
        assert_eq!(scores, [3.5, 50.25]);
        assert!(model.check().is_ok());
        let odd = Ensemble { trees: model.trees[..3].to_vec(), ..model };
        assert!(odd.check().unwrap_err().to_string().contains("3 trees do not make up 2 outputs"));
    }
}
