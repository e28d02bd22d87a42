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
        if self.splits.len() > MAX_SPLITS {
            return Err(format!("{} splits; at most {MAX_SPLITS} are possible", self.splits.len()));
        }
        let mut met_splits = vec![false; self.splits.len()];
        let mut met_leaves = vec![false; self.leaf_values.len()];
        for (node, split) in self.splits.iter().enumerate() {
            if split.feature >= columns || !split.threshold.is_finite() {
                return Err(format!("split {node} asks for feature {} of {columns}", split.feature));
            }
            for child in [split.left, split.right] {
                // Later splits only, so that a walk ends, and each child once: a tree, no net.
                let met = match child {
                    Child::Split(next) if next > node => met_splits.get_mut(next),
                    Child::Split(_) => None,
                    Child::Leaf(leaf) => met_leaves.get_mut(leaf),
                };
                match met {
                    Some(met) if !*met => *met = true,
                    _ => return Err(format!("split {node} leads nowhere")),
                }
            }
        }
        Ok(())
    }
}

/// Rows walked in lockstep: enough loads in flight to hide their latency.
const LANES: usize = 8;

/// Working memory of [`Forest::score`].
#[derive(Debug, Clone, Default)]
pub struct ForestScratch(Vec<[f32; LANES]>);

/// A node of the flat layout, in eight bytes. Siblings are neighbours; a leaf leads to itself, so that walks of
/// different lengths share a loop without branches.
#[derive(Debug, Clone, Copy)]
struct FlatNode {
    threshold: f32,
    /// The feature, plus the number of features where a missing value goes right: see [`Forest::turn`].
    column: u16,
    /// The smaller child's position in its tree; the larger's is the next.
    left: u16,
}

/// Nodes of a tree are numbered in 16 bits.
const MAX_SPLITS: usize = 32_000;
/// So are the features, each twice.
const MAX_COLUMNS: usize = 32_767;

/// A tree's part of the nodes.
#[derive(Debug, Clone, Copy)]
struct FlatTree {
    start: usize,
    end: usize,
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
        if columns > MAX_COLUMNS {
            let message = format!("{columns} features; at most {MAX_COLUMNS} are possible");
            return Err(Error::new(ErrorKind::Model, message));
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

    /// Scores rows, equal to [`score_plain`](Forest::score_plain) bit for bit. `scratch` grows to twice the size of
    /// eight rows and can be used again.
    ///
    /// # Shapes
    /// `rows`: row-major `[scores.len(), columns]`.
    pub fn score(&self, rows: &[f32], scratch: &mut ForestScratch, scores: &mut [f32]) {
        let block = &mut scratch.0;
        block.resize(2 * self.columns, [0.0; LANES]);
        for (scores, rows) in scores.chunks_mut(LANES).zip(rows.chunks(LANES * self.columns)) {
            self.turn(rows, block);
            // -0.0, as `Iterator::sum` starts: the same bits as the plain walk.
            let mut sums = [-0.0_f32; LANES];
            self.flat.iter().for_each(|tree| self.walk(tree, block, &mut sums));
            scores.copy_from_slice(&sums[..scores.len()]);
        }
    }

    /// Turns up to eight rows into columns of eight lanes: first all features with missing values as minus infinity,
    /// which goes left everywhere, then all with plus infinity, which goes right. A split reads the one it needs.
    fn turn(&self, rows: &[f32], block: &mut [[f32; LANES]]) {
        let (missing_left, missing_right) = block.split_at_mut(self.columns);
        for (lane, row) in rows.chunks_exact(self.columns).enumerate() {
            for ((&value, left), right) in row.iter().zip(&mut *missing_left).zip(&mut *missing_right) {
                left[lane] = if value.is_nan() { f32::NEG_INFINITY } else { value };
                right[lane] = if value.is_nan() { f32::INFINITY } else { value };
            }
        }
    }

    /// Adds what `tree` says of the rows in `block`.
    fn walk(&self, tree: &FlatTree, block: &[[f32; LANES]], sums: &mut [f32; LANES]) {
        let nodes = &self.nodes[tree.start..tree.end];
        let mut at = [0_u16; LANES];
        for _ in 0..tree.depth {
            for (lane, at) in at.iter_mut().enumerate() {
                let node = nodes[usize::from(*at)];
                let goes_right = block[usize::from(node.column)][lane] > node.threshold;
                *at = node.left + u16::from(goes_right);
            }
        }
        let values = &self.values[tree.start..tree.end];
        for (sum, at) in sums.iter_mut().zip(at) {
            *sum += values[usize::from(at)];
        }
    }

    /// Appends one tree to the flat layout, level by level.
    fn lay_out(&mut self, index: usize) {
        let tree = &self.trees[index];
        let start = self.nodes.len();
        let blank = FlatNode { threshold: f32::INFINITY, column: 0, left: 0 };
        let mut depth = 0;
        let mut level = vec![tree.root()];
        self.nodes.push(blank);
        self.values.push(0.0);
        let mut position = 0;
        loop {
            let mut next = Vec::new();
            for &child in &level {
                match child {
                    Child::Leaf(leaf) => {
                        self.nodes[start + position].left = position as u16;
                        self.values[start + position] = tree.leaf_values[leaf];
                    }
                    Child::Split(node) => {
                        let SplitNode { feature, threshold, missing_left, left, right, .. } =
                            tree.splits[node];
                        self.nodes[start + position] = FlatNode {
                            threshold,
                            column: (if missing_left { feature } else { feature + self.columns }) as u16,
                            left: (self.nodes.len() - start) as u16,
                        };
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
        self.flat.push(FlatTree { start, end: self.nodes.len(), depth });
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
        assert!(tree(|t| t.splits[0].left = Child::Split(1)).unwrap_err().contains("leads nowhere"), "a net");
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
            forest.score(rows, &mut ForestScratch::default(), &mut fast);
            prop_assert_eq!(plain, fast);
        }
    }
}
