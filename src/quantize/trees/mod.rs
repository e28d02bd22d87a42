//! The ranker's forest for a phone: features in bins, leaves in steps, integer sums.
//!
//! Few of a tree's numbers need their 32 or 64 bits. A feature is asked by few thresholds, which all trees share: a
//! split names one by a byte, its *bin*. Leaf values become multiples of one *step*, in 16 bits:
//!
//! ```text
//! bin(value)  = 0 if missing, otherwise 1 + how many of the feature's thresholds are below value      u8
//! goes left   = bin(value) <= the split's bin                          exactly if value <= threshold
//! leaf        = value / step, rounded to the nearest whole number, ties to even                       i16
//! score(row)  = step * (base + sum over trees of the row's leaf)                             sums in i32
//! ```
//!
//! Bins lose nothing: every row comes to the leaves that it came to before. Leaves lose at most half a step each, so
//! scores at most half a step a tree, and **two candidates whose scores were further apart than twice
//! [`TreesReport::largest_score_error`] keep their order** (`tests/quantized_trees.rs` holds trained forests to it).
//!
//! The step is the finest power of two at which leaves fit into 16 bits and no score exceeds 2^24 steps. Then every sum
//! on the way is exact, even in `f32` and in any order. So [`Forest`] over [`QuantizedTrees::to_ensemble`], the fast
//! engine, gives the very bits of [`QuantizedTrees::score`], the plain integer walk, on every machine; and a
//! phone needs no second engine: [`QuantizedTrees::ranker`] is a [`Ranker`] like any other.
//!
//! Measured on 20 simulated people (`tests/quantized_trees.rs`): 300 trees with 8,331 splits are 52,763 bytes; in 3,127 questions of
//! 41 candidates the first five apps are the same, in the same order, but in 5. There, the score that was ahead was so
//! by at most 0.0005, where the largest possible error is 0.009: rounding errors of 300 trees mostly cancel each other.
//!
//! Sources: Ke et al., "LightGBM", 2017 (a byte for a value); Koschel et al., "Fast Inference of Tree Ensembles on ARM
//! Devices", 2023 (leaves in fixed point).

mod bytes;
mod column;
mod leaf_scale;
mod report;
mod tree;

use column::Column;
use leaf_scale::LeafScale;
pub use report::TreesReport;
use tree::QuantizedTree;

use crate::context::columns::find_all;
use crate::context::features::NAMES;
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Ensemble, Forest};
use crate::ranker::Ranker;

/// An [`Ensemble`] in bins and steps, as a bundle keeps it.
///
/// A split takes 3 bytes, a leaf 2. Two rows whose scores were further apart than twice
/// [`TreesReport::largest_score_error`] keep their order.
///
/// ```
/// use foretap::context::features::SCHEMA;
/// use foretap::gbdt::{Ensemble, Tree};
/// use foretap::quantize::QuantizedTrees;
///
/// let features = SCHEMA.iter().map(|feature| feature.name.to_owned()).collect();
/// let ensemble = Ensemble { features, ..Ensemble::new(vec![Tree::constant(0.1, 1.0)], SCHEMA.len()) };
/// let bytes = QuantizedTrees::new(&ensemble)?.write()?; // where it was trained
/// let ranker = QuantizedTrees::read(&bytes)?.ranker()?; // on the phone: a Predictor
/// # Ok::<(), foretap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedTrees {
    /// What the trees were trained for.
    objective: String,
    /// The features, in the order of a row's columns.
    columns: Vec<Column>,
    step: LeafScale,
    /// `[outputs]`: the score before the first tree, in steps.
    base: Vec<i32>,
    /// Tree `t` adds to output `t % outputs`.
    trees: Vec<QuantizedTree>,
}

impl QuantizedTrees {
    /// Quantizes `ensemble`. What its splits gained and its leaves covered is not kept: answers do not need it.
    ///
    /// # Errors
    /// It is no valid ensemble; its trees ask a feature by more than 254 thresholds (training makes at most so many:
    /// merging some would send rows elsewhere), have more than 4,096 features or 65,535 splits a tree; or a score could
    /// be beyond 10^38.
    pub fn new(ensemble: &Ensemble) -> Result<Self> {
        ensemble.check()?;
        let columns = Column::all(ensemble)?;
        let step = LeafScale::finest(ensemble).ok_or_else(|| {
            Error::new(ErrorKind::Model, "a leaf or base is so large that a score could not be represented")
                .next_step("train on labels of a smaller scale")
        })?;
        let quantized = |tree| {
            QuantizedTree::new(tree, &columns, step).map_err(|message| Error::new(ErrorKind::Model, message))
        };
        let trees = ensemble.trees.iter().map(quantized).collect::<Result<_>>()?;
        let base = ensemble.base.iter().map(|&base| step.round(base)).collect();
        Ok(Self { objective: ensemble.objective.clone(), columns, step, base, trees })
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Names of the features, in the order of a row's columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Scores a row: one, or one a class.
    pub fn outputs(&self) -> usize {
        self.base.len()
    }

    /// What a whole number of a leaf is worth: a power of two.
    pub fn step(&self) -> f64 {
        self.step.value()
    }

    /// Scores rows by the plain integer walk: the reference for [`Forest::score`] over
    /// [`to_ensemble`](Self::to_ensemble), which gives the same bits.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; `scores`: row-major `[n, outputs]`.
    pub fn score(&self, rows: &[f32], scores: &mut [f64]) {
        let outputs = self.outputs();
        let mut bins = vec![0; self.columns.len()];
        let mut sums = self.base.clone();
        let rows = rows.chunks_exact(self.columns.len().max(1));
        for (row, scores) in rows.zip(scores.chunks_exact_mut(outputs)) {
            let values = self.columns.iter().zip(row);
            bins.iter_mut().zip(values).for_each(|(bin, (column, &value))| *bin = column.bin(value));
            sums.copy_from_slice(&self.base);
            for (index, tree) in self.trees.iter().enumerate() {
                sums[index % outputs] += i32::from(tree.leaf(&bins, row));
            }
            scores.iter_mut().zip(&sums).for_each(|(score, &sum)| *score = f64::from(sum) * self.step());
        }
    }

    /// The plain trees that the bytes stand for. Gains and covers are zero.
    pub fn to_ensemble(&self) -> Ensemble {
        Ensemble {
            objective: self.objective.clone(),
            features: self.columns.iter().map(|column| column.name.clone()).collect(),
            base: self.base.iter().map(|&base| f64::from(base) * self.step()).collect(),
            trees: self.trees.iter().map(|tree| tree.to_tree(&self.columns, self.step)).collect(),
        }
    }

    /// A [`Predictor`](crate::predict::Predictor) that answers from these trees.
    ///
    /// # Errors
    /// They read a feature that this build does not compute, or that means something else here.
    pub fn ranker(&self) -> Result<Ranker> {
        Ranker::new(Forest::new(self.to_ensemble())?)
    }

    /// These trees for rows of the ranker's features as this build computes them.
    ///
    /// # Errors
    /// As [`ranker`](Self::ranker).
    pub(crate) fn over_features(self) -> Result<Self> {
        self.in_order("the trees read", NAMES)
    }

    /// These trees for rows of the columns `computed`, where they find their own by their labels
    /// ([`columns`](crate::context::columns)). What no split asks for need not be there.
    ///
    /// # Errors
    /// A split asks for a column that is not among them, or means something else here; or two columns have one name.
    /// `reader` says who reads it.
    pub(crate) fn in_order(mut self, reader: &str, computed: &[&str]) -> Result<Self> {
        if self.names().eq(computed.iter().copied()) {
            return Ok(self);
        }
        let splits = || self.trees.iter().flat_map(|tree| &tree.splits);
        let mut asked_for: Vec<u16> = splits().map(|split| split.feature).collect();
        asked_for.sort_unstable();
        asked_for.dedup();
        let labels: Vec<&str> =
            asked_for.iter().map(|&column| self.columns[usize::from(column)].name.as_str()).collect();
        let places = find_all(reader, &labels, computed)?;
        let mut columns: Vec<Column> =
            computed.iter().map(|&name| Column::unasked(name.to_owned())).collect();
        for (&column, &place) in asked_for.iter().zip(&places) {
            columns[place] = self.columns[usize::from(column)].renamed(computed[place].to_owned());
        }
        self.columns = columns;
        for split in self.trees.iter_mut().flat_map(|tree| &mut tree.splits) {
            if let Ok(number) = asked_for.binary_search(&split.feature) {
                split.feature = places[number] as u16;
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
