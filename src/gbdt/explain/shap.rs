//! How far each feature moved the score of a row: SHAP values, which add up to the score.
//!
//! The expectation is path-dependent, as in Lundberg et al., "From local explanations to global understanding", 2020
//! (Algorithm 2), and the values are the same: a feature that is known sends the row one way, one that is not sends
//! it both ways, in proportion to the training data that came there. So a leaf of value `v` adds
//!
//! ```text
//! v * product of o over the known features on its path * product of z over the others
//! ```
//!
//! where `o` is 1 if the row passes all splits of the feature on the path and 0 if not, and `z` is the share of the
//! training data that passes them. The Shapley value of feature `i` in such a product is the integral (Owen,
//! "Multilinear extensions of games", 1972)
//!
//! ```text
//! v * (o_i - z_i) * integral from 0 to 1 of product over j != i of (t o_j + (1 - t) z_j) dt
//! ```
//!
//! of a polynomial, which a few points give exactly. At each point one pass down the tree makes the products and one
//! pass up sums them over the leaves below a branch: a tree of `L` leaves with `D` features on its longest path takes
//! `O(L D)` steps instead of `O(L D^2)`, and as nothing is unwound, no digits are lost. Neither pass recurses, so a tree
//! of any depth is safe.

use rayon::prelude::*;

use super::quadrature::gauss_legendre;
use super::{cover, split_covers};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::Ensemble;
use crate::gbdt::tree::{Child, Tree};

/// Points of the quadrature that are worked on together, as a processor adds and multiplies several numbers at once.
const LANES: usize = 4;
/// Rows whose values are held together where only their mean is asked for.
const ROWS_AT_ONCE: usize = 1_024;
/// A share so small that its inverse would leave the range of floats is none.
const SMALLEST_SHARE: f64 = 1e-250;

type Lanes = [f64; LANES];

impl Ensemble {
    /// SHAP values: how far each feature moved each score of each row, from what is expected of a row of which nothing
    /// is known. That expectation comes last, and all values of a score add up to it. The order is LightGBM's.
    ///
    /// Branches are weighed by [`Tree::leaf_cover`]; below a split without cover, both alike.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; returns row-major `[n, outputs, columns + 1]`.
    ///
    /// # Errors
    /// Values that do not make whole rows, or trees that fail [`check`](Ensemble::check).
    pub fn shap(&self, rows: &[f32]) -> Result<Vec<f64>> {
        Ok(Explainer::new(self, rows)?.shap(rows))
    }

    /// How far each feature moved the scores of `rows` on average, in either direction: the mean of |SHAP value|,
    /// summed over the outputs. All zero of no rows.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; returns `[columns]`.
    ///
    /// # Errors
    /// Those of [`shap`](Ensemble::shap).
    pub fn mean_abs_shap(&self, rows: &[f32]) -> Result<Vec<f64>> {
        let explainer = Explainer::new(self, rows)?;
        let columns = self.columns();
        let mut sums = vec![0.0; columns];
        for rows in rows.chunks(ROWS_AT_ONCE * columns.max(1)) {
            for values in explainer.shap(rows).chunks_exact(columns + 1) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.abs());
            }
        }
        let count = (rows.len() / columns.max(1)).max(1) as f64;
        Ok(sums.iter().map(|sum| sum / count).collect())
    }
}

/// What explanations need to know of an ensemble, whatever the row.
struct Explainer<'a> {
    ensemble: &'a Ensemble,
    trees: Vec<Paths<'a>>,
    /// What is expected of each output.
    expected: Vec<f64>,
}

impl<'a> Explainer<'a> {
    fn new(ensemble: &'a Ensemble, rows: &[f32]) -> Result<Self> {
        ensemble.check()?;
        let columns = ensemble.columns();
        if !rows.len().is_multiple_of(columns.max(1)) || (columns == 0 && !rows.is_empty()) {
            let message = format!("{} values do not make rows of {columns} columns", rows.len());
            return Err(Error::new(ErrorKind::Data, message));
        }
        let trees: Vec<Paths> = ensemble.trees.iter().map(Paths::new).collect();
        let mut expected = ensemble.base.clone();
        for (index, tree) in trees.iter().enumerate() {
            expected[index % ensemble.outputs()] += tree.expected;
        }
        Ok(Self { ensemble, trees, expected })
    }

    fn shap(&self, rows: &[f32]) -> Vec<f64> {
        let columns = self.ensemble.columns();
        let outputs = self.ensemble.outputs();
        let per_row = outputs * (columns + 1);
        let mut values = vec![0.0; rows.len() / columns.max(1) * per_row];
        let parts = values.par_chunks_exact_mut(per_row).zip(rows.par_chunks_exact(columns.max(1)));
        parts.for_each_init(Scratch::default, |scratch, (values, row)| {
            for (index, tree) in self.trees.iter().enumerate() {
                let start = index % outputs * (columns + 1);
                tree.add_shap(row, scratch, &mut values[start..start + columns]);
            }
            for (values, expected) in values.chunks_exact_mut(columns + 1).zip(&self.expected) {
                values[columns] = *expected;
            }
        });
        values
    }
}

/// One way down from a split.
struct Branch {
    feature: usize,
    /// The next branch above it that belongs to the same feature, and whose share it takes over.
    earlier: Option<usize>,
    /// Share of the training data that passes the splits of the feature down to here: the `z` above.
    share: f64,
}

/// A tree as its branches: `2 * split` leads left, the next one right.
struct Paths<'a> {
    tree: &'a Tree,
    branches: Vec<Branch>,
    /// The branch that leads to each split; none to the root.
    above: Vec<Option<usize>>,
    /// Mean of the leaves' values, by cover.
    expected: f64,
    /// Places and weights of the quadrature, padded with weights of zero.
    points: Vec<(Lanes, Lanes)>,
}

impl<'a> Paths<'a> {
    fn new(tree: &'a Tree) -> Self {
        let splits = tree.splits.len();
        let covers = split_covers(tree);
        let mut above = vec![None; splits];
        for branch in 0..2 * splits {
            if let Child::Split(split) = child(tree, branch) {
                above[split] = Some(branch);
            }
        }
        let mut branches: Vec<Branch> = Vec::with_capacity(2 * splits);
        // Of each branch: the share of all data that came down it, and how many features its path asks for.
        let mut reached: Vec<(f64, usize)> = Vec::with_capacity(2 * splits);
        let mut expected = if splits == 0 { tree.leaf_values[0] } else { 0.0 };
        for branch in 0..2 * splits {
            let split = branch / 2;
            let came_down = cover(tree, &covers, child(tree, branch));
            let ratio = if covers[split] > 0.0 { came_down / covers[split] } else { 0.5 };
            let feature = tree.splits[split].feature;
            let mut earlier = above[split];
            while let Some(upper) = earlier
                && branches[upper].feature != feature
            {
                earlier = above[upper / 2];
            }
            let share = ratio * earlier.map_or(1.0, |upper| branches[upper].share);
            let share = if share < SMALLEST_SHARE { 0.0 } else { share };
            let (all, features) = above[split].map_or((1.0, 0), |upper| reached[upper]);
            reached.push((all * ratio, features + usize::from(earlier.is_none())));
            if let Child::Leaf(leaf) = child(tree, branch) {
                expected += all * ratio * tree.leaf_values[leaf];
            }
            branches.push(Branch { feature, earlier, share });
        }
        let most_features = reached.iter().map(|&(_, features)| features).max().unwrap_or(0);
        // The polynomials are of one degree less than there are features.
        let points = gauss_legendre(most_features.div_ceil(2));
        let pack = |points: &[(f64, f64)]| {
            let at = |lane: usize| points.get(lane).copied().unwrap_or((0.5, 0.0));
            (std::array::from_fn(|lane| at(lane).0), std::array::from_fn(|lane| at(lane).1))
        };
        Self { tree, branches, above, expected, points: points.chunks(LANES).map(pack).collect() }
    }

    /// Adds how far each feature moved the value of this tree for `row`.
    fn add_shap(&self, row: &[f32], scratch: &mut Scratch, values: &mut [f64]) {
        scratch.known.clear();
        for (branch, Branch { feature, earlier, .. }) in self.branches.iter().enumerate() {
            let goes_there = self.tree.splits[branch / 2].goes_left(row[*feature]) == (branch % 2 == 0);
            let known = goes_there && earlier.is_none_or(|upper| scratch.known[upper]);
            scratch.known.push(known);
        }
        for &(places, weights) in &self.points {
            self.descend(places, scratch);
            self.ascend(weights, scratch, values);
        }
    }

    /// The product over the features on the path to each branch, at some points.
    fn descend(&self, places: Lanes, scratch: &mut Scratch) {
        let Scratch { known, inverses, sums } = scratch;
        inverses.clear();
        sums.clear();
        for (index, (branch, &known)) in self.branches.iter().zip(known.iter()).enumerate() {
            if !known && branch.share == 0.0 {
                // Nothing comes here, whatever is known.
                inverses.push([0.0; LANES]);
                sums.push([0.0; LANES]);
                continue;
            }
            let own = if known { 1.0 } else { 0.0 };
            let factor = places.map(|t| t * own + (1.0 - t) * branch.share);
            let product = self.above[index / 2].map_or([1.0; LANES], |upper| sums[upper]);
            let replaced = branch.earlier.map_or([1.0; LANES], |upper| inverses[upper]);
            sums.push(std::array::from_fn(|lane| product[lane] * factor[lane] * replaced[lane]));
            inverses.push(factor.map(|factor| 1.0 / factor));
        }
    }

    /// Sums the products over the leaves below each branch, and adds what each feature takes from them.
    fn ascend(&self, weights: Lanes, scratch: &mut Scratch, values: &mut [f64]) {
        let Scratch { known, inverses, sums } = scratch;
        let pull = |branch: usize| {
            let own = if known[branch] { 1.0 } else { 0.0 };
            inverses[branch].map(|inverse| (own - self.branches[branch].share) * inverse)
        };
        for index in (0..self.branches.len()).rev() {
            sums[index] = match child(self.tree, index) {
                Child::Leaf(leaf) => sums[index].map(|product| product * self.tree.leaf_values[leaf]),
                Child::Split(split) => {
                    std::array::from_fn(|lane| sums[2 * split][lane] + sums[2 * split + 1][lane])
                }
            };
            let Branch { feature, earlier, .. } = self.branches[index];
            // Below this branch its feature pulls as it does here, no longer as it did further up.
            let now = pull(index);
            let before = earlier.map_or([0.0; LANES], pull);
            let terms: Lanes =
                std::array::from_fn(|lane| weights[lane] * sums[index][lane] * (now[lane] - before[lane]));
            values[feature] += terms.iter().sum::<f64>();
        }
    }
}

/// Where `branch` leads.
fn child(tree: &Tree, branch: usize) -> Child {
    let split = &tree.splits[branch / 2];
    if branch.is_multiple_of(2) { split.left } else { split.right }
}

/// Working memory, by branch.
#[derive(Default)]
struct Scratch {
    /// Whether the row passes the splits of the branch's feature down to it: the `o` above.
    known: Vec<bool>,
    /// One over the factor of the branch's feature.
    inverses: Vec<Lanes>,
    /// The product of all factors down to the branch; then its sum over the leaves below, times their values.
    sums: Vec<Lanes>,
}

#[cfg(test)]
mod tests;
