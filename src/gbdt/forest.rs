//! Inference: the trees as trained, walked plainly, and the same trees laid out flat, walked for eight rows at once.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Where a walk goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Child {
    /// Another split, by position in [`Tree::splits`].
    Split(usize),
    /// A leaf, by position in [`Tree::leaf_values`].
    Leaf(usize),
}

/// A question to one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitNode {
    /// Which feature.
    pub feature: usize,
    /// Values up to and including it go left.
    pub threshold: f32,
    /// Whether a missing value (NaN) goes left.
    pub missing_left: bool,
    /// By how much the split lowered twice the training loss.
    pub gain: f32,
    /// Where smaller values go.
    pub left: Child,
    /// Where larger values go.
    pub right: Child,
}

/// A tree, as trained. Splits refer to later splits only; the first is the root.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Inner nodes; none when the tree is a single leaf.
    pub splits: Vec<SplitNode>,
    /// What the leaves add to the score.
    pub leaf_values: Vec<f32>,
}

impl Tree {
    pub(super) fn root(&self) -> Child {
        if self.splits.is_empty() { Child::Leaf(0) } else { Child::Split(0) }
    }

    /// The plain walk: the value of the leaf that a row of features falls in. The reference for everything faster.
    ///
    /// # Shapes
    /// `features`: `[columns]`.
    pub fn value(&self, features: &[f32]) -> f32 {
        let mut child = self.root();
        loop {
            match child {
                Child::Leaf(leaf) => return self.leaf_values[leaf],
                Child::Split(node) => {
                    let split = &self.splits[node];
                    let value = features[split.feature];
                    let left = if value.is_nan() { split.missing_left } else { value <= split.threshold };
                    child = if left { split.left } else { split.right };
                }
            }
        }
    }

    fn check(&self, columns: usize) -> std::result::Result<(), String> {
        if self.leaf_values.iter().any(|value| !value.is_finite()) {
            return Err("a leaf value is not finite".into());
        }
        if self.leaf_values.len() != self.splits.len() + 1 {
            return Err(format!("{} leaves do not fit {} splits", self.leaf_values.len(), self.splits.len()));
        }
        for (node, split) in self.splits.iter().enumerate() {
            if split.feature >= columns || split.threshold.is_nan() {
                return Err(format!("split {node} asks for feature {} of {columns}", split.feature));
            }
            for child in [split.left, split.right] {
                let fits = match child {
                    // Later splits only: a walk always ends.
                    Child::Split(next) => next > node && next < self.splits.len(),
                    Child::Leaf(leaf) => leaf < self.leaf_values.len(),
                };
                if !fits {
                    return Err(format!("split {node} leads nowhere"));
                }
            }
        }
        Ok(())
    }
}

/// Rows walked in lockstep: enough loads in flight to hide their latency.
const LANES: usize = 8;

/// A node of the flat layout. Siblings are neighbours; a leaf leads to itself, so that walks of different lengths
/// can share a loop without branches.
#[derive(Debug, Clone, Copy)]
struct FlatNode {
    threshold: f32,
    feature: u16,
    missing_left: bool,
    left: u32,
}

#[derive(Debug, Clone, Copy)]
struct FlatTree {
    root: u32,
    depth: u32,
}

/// Trees ready to answer.
#[derive(Debug, Clone)]
pub struct Forest {
    trees: Vec<Tree>,
    columns: usize,
    nodes: Vec<FlatNode>,
    /// The value of each node that is a leaf.
    values: Vec<f32>,
    flat: Vec<FlatTree>,
}

impl Forest {
    /// Checks `trees` over `columns` features and lays them out.
    ///
    /// # Errors
    /// A tree that refers to a feature or node that does not exist.
    pub fn new(trees: Vec<Tree>, columns: usize) -> Result<Self> {
        if columns > usize::from(u16::MAX) {
            return Err(Error::new(
                ErrorKind::Model,
                format!("{columns} features; at most 65,535 are possible"),
            ));
        }
        let mut forest = Self { trees, columns, nodes: Vec::new(), values: Vec::new(), flat: Vec::new() };
        for index in 0..forest.trees.len() {
            forest.trees[index]
                .check(columns)
                .map_err(|why| Error::new(ErrorKind::Model, format!("tree {index}: {why}")))?;
            forest.lay_out(index);
        }
        Ok(forest)
    }

    /// The trees as trained.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Scores rows by the plain walk: the reference.
    ///
    /// # Shapes
    /// `rows`: row-major `[scores.len(), columns]`.
    pub fn score_plain(&self, rows: &[f32], scores: &mut [f32]) {
        for (score, row) in scores.iter_mut().zip(rows.chunks_exact(self.columns)) {
            *score = self.trees.iter().map(|tree| tree.value(row)).sum();
        }
    }

    /// Scores rows, equal to [`score_plain`](Forest::score_plain) bit for bit.
    ///
    /// # Shapes
    /// `rows`: row-major `[scores.len(), columns]`.
    pub fn score(&self, rows: &[f32], scores: &mut [f32]) {
        let mut chunks = scores.chunks_exact_mut(LANES);
        let mut rows_of_chunks = rows.chunks_exact(LANES * self.columns);
        for (scores, rows) in (&mut chunks).zip(&mut rows_of_chunks) {
            self.score_lanes::<LANES>(rows, scores);
        }
        let rest = chunks.into_remainder().iter_mut();
        for (score, row) in rest.zip(rows_of_chunks.remainder().chunks_exact(self.columns)) {
            self.score_lanes::<1>(row, std::slice::from_mut(score));
        }
    }

    fn score_lanes<const N: usize>(&self, rows: &[f32], scores: &mut [f32]) {
        let starts: [usize; N] = std::array::from_fn(|lane| lane * self.columns);
        // -0.0, as `Iterator::sum` starts: the same bits as the plain walk.
        let mut sums = [-0.0_f32; N];
        for tree in &self.flat {
            let mut at = [tree.root; N];
            for _ in 0..tree.depth {
                for lane in 0..N {
                    let node = self.nodes[at[lane] as usize];
                    let value = rows[starts[lane] + usize::from(node.feature)];
                    let left = (value <= node.threshold) | (value.is_nan() & node.missing_left);
                    at[lane] = node.left + u32::from(!left);
                }
            }
            for lane in 0..N {
                sums[lane] += self.values[at[lane] as usize];
            }
        }
        scores.copy_from_slice(&sums);
    }

    /// Appends one tree to the flat layout, level by level.
    fn lay_out(&mut self, index: usize) {
        let tree = &self.trees[index];
        let root = self.nodes.len() as u32;
        let blank = FlatNode { threshold: f32::INFINITY, feature: 0, missing_left: true, left: 0 };
        let mut depth = 0;
        let mut level = vec![tree.root()];
        self.nodes.push(blank);
        self.values.push(0.0);
        let mut position = root as usize;
        loop {
            let mut next = Vec::new();
            for &child in &level {
                match child {
                    Child::Leaf(leaf) => {
                        self.nodes[position].left = position as u32;
                        self.values[position] = tree.leaf_values[leaf];
                    }
                    Child::Split(node) => {
                        let SplitNode { feature, threshold, missing_left, left, right, .. } =
                            tree.splits[node];
                        let children = self.nodes.len() as u32;
                        self.nodes[position] =
                            FlatNode { threshold, feature: feature as u16, missing_left, left: children };
                        self.nodes.extend([blank; 2]);
                        self.values.extend([0.0; 2]);
                        next.extend([left, right]);
                    }
                }
                position += 1;
            }
            if next.is_empty() {
                break;
            }
            depth += 1;
            level = next;
        }
        self.flat.push(FlatTree { root, depth });
    }

    /// Gain and number of splits of each feature, summed over all trees.
    pub fn importance(&self) -> Vec<Importance> {
        let mut importance = vec![Importance::default(); self.columns];
        for split in self.trees.iter().flat_map(|tree| &tree.splits) {
            importance[split.feature].gain += f64::from(split.gain);
            importance[split.feature].splits += 1;
        }
        importance
    }
}

/// How much a feature mattered in training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Importance {
    /// Sum of the gains of its splits.
    pub gain: f64,
    /// How many splits ask for it.
    pub splits: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(feature: usize, threshold: f32, missing_left: bool, left: Child, right: Child) -> SplitNode {
        SplitNode { feature, threshold, missing_left, gain: 1.0, left, right }
    }

    fn two_trees() -> Vec<Tree> {
        let deep = Tree {
            splits: vec![
                split(0, 0.5, true, Child::Leaf(0), Child::Split(1)),
                split(1, -1.0, false, Child::Split(2), Child::Leaf(1)),
                split(0, 2.0, false, Child::Leaf(2), Child::Leaf(3)),
            ],
            leaf_values: vec![0.1, 0.02, 0.003, 0.0004],
        };
        vec![deep, Tree { splits: vec![], leaf_values: vec![10.0] }]
    }

    #[test]
    fn plain_walk_by_hand() {
        let tree = &two_trees()[0];
        for (row, expected) in [
            ([0.5, 9.0], 0.1),
            ([f32::NAN, 9.0], 0.1),
            ([0.6, 9.0], 0.02),
            ([0.6, f32::NAN], 0.02),
            ([0.6, -1.0], 0.003),
            ([2.1, -2.0], 0.0004),
        ] {
            assert_eq!(tree.value(&row), expected, "{row:?}");
        }
    }

    #[test]
    fn refuses_trees_that_lead_astray() {
        let tree = |edit: fn(&mut Tree)| {
            let mut tree = two_trees().remove(0);
            edit(&mut tree);
            Forest::new(vec![tree], 2).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(tree(|_| ()).is_ok());
        assert!(tree(|t| t.splits[0].feature = 2).unwrap_err().contains("feature 2 of 2"));
        assert!(tree(|t| t.splits[2].left = Child::Split(0)).unwrap_err().contains("leads nowhere"));
        assert!(tree(|t| t.splits[2].left = Child::Leaf(9)).unwrap_err().contains("leads nowhere"));
        assert!(tree(|t| t.leaf_values[0] = f32::NAN).unwrap_err().contains("not finite"));
        assert!(tree(|t| t.leaf_values.clear()).unwrap_err().contains("0 leaves"));
    }

    proptest! {
        #[test]
        fn lockstep_equals_the_plain_walk(values in prop::collection::vec(
            prop_oneof![Just(f32::NAN), Just(0.5), Just(f32::INFINITY), -3.0_f32..3.0], 0..40)
        ) {
            let forest = Forest::new(two_trees(), 2).unwrap();
            let rows = &values[..values.len() / 2 * 2];
            let mut plain = vec![0.0; rows.len() / 2];
            let mut fast = plain.clone();
            forest.score_plain(rows, &mut plain);
            forest.score(rows, &mut fast);
            prop_assert_eq!(plain, fast);
        }
    }
}
