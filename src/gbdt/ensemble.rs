//! A whole model: trees, what they start from, and the names of what they read. Plain data: files are made of it,
//! explanations read it, [`Forest`](super::Forest) answers from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::tree::Tree;
use crate::context::columns::find_all;
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

    /// Columns that some split asks for, ascending.
    pub(crate) fn asked_for(&self) -> Vec<usize> {
        let splits = self.trees.iter().flat_map(|tree| &tree.splits);
        splits.map(|split| split.feature).collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// This model, which was checked, for rows of the columns `computed`, where it finds its own by their labels
    /// ([`columns`](crate::context::columns)). What no split asks for need not be there.
    ///
    /// # Errors
    /// A split asks for a column that is not among them, or means something else here; or two columns have one name.
    /// `reader` says who reads it.
    pub(crate) fn in_order(&self, reader: &str, computed: &[&str]) -> Result<Self> {
        let asked_for = self.asked_for();
        let labels: Vec<&str> = asked_for.iter().map(|&column| self.features[column].as_str()).collect();
        let places = asked_for.iter().copied().zip(find_all(reader, &labels, computed)?).collect();
        Ok(self.moved(computed.iter().map(|&name| name.to_owned()).collect(), &places))
    }

    /// This model for rows of the columns `features`, where the column `c` that it asks for is number `places[c]`.
    pub(crate) fn moved(&self, features: Vec<String>, places: &BTreeMap<usize, usize>) -> Self {
        let mut moved = Self { features, ..self.clone() };
        for split in moved.trees.iter_mut().flat_map(|tree| &mut tree.splits) {
            split.feature = places.get(&split.feature).copied().unwrap_or(split.feature);
        }
        moved
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.features.len()
    }

    /// Scores a row: one, or one a class.
    pub fn outputs(&self) -> usize {
        self.base.len()
    }

    /// Whether what a LibSVM row leaves out is missing to this model, where it is zero to all others: XGBoost reads such rows
    /// so, and its models without names have columns called `feature_0` here.
    pub fn takes_absent_for_missing(&self) -> bool {
        absent_is_missing(&self.features)
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

/// Whether `names` are none: numbers that columns were given where nobody named them, by a table without a header
/// (`Column_0`) or a model without names (`feature_0`).
#[cfg(feature = "learn")]
pub(super) fn are_numbers(names: &[String]) -> bool {
    ["Column_", "feature_"].iter().any(|prefix| are_numbered(names, prefix))
}

/// [`Ensemble::takes_absent_for_missing`] of a model that reads columns of these `names`.
pub(super) fn absent_is_missing(names: &[String]) -> bool {
    !names.is_empty() && are_numbered(names, "feature_")
}

fn are_numbered(names: &[String], prefix: &str) -> bool {
    let numbers: Option<Vec<usize>> =
        names.iter().map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.is_sorted_by(|a, b| a < b))
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
