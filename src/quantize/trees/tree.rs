//! One tree in bins and steps.
//!
//! Splits stand level by level, each level from left to right; leaves in the order in which the splits name them. So
//! where a branch leads need not be written, only whether to a split or to a leaf: see [`bytes`](super::bytes).

use super::column::{Column, MISSING};
use super::leaf_scale::LeafScale;
use crate::gbdt::tree::category;
use crate::gbdt::{Child, SplitCondition, SplitNode, Tree};

/// Splits of a tree, so that a branch takes two bytes.
pub const MOST_SPLITS: usize = u16::MAX as usize;

/// A tree.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedTree {
    /// Inner nodes; none when the tree is a single leaf.
    pub splits: Vec<QuantizedSplit>,
    /// What the leaves add to the score, in steps.
    pub leaves: Vec<i16>,
}

/// A question to one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedSplit {
    /// Which feature.
    pub feature: u16,
    /// Which of its values go left.
    pub test: BinTest,
    /// Whether a missing value goes left.
    pub missing_left: bool,
    /// Where a walk goes on for values that pass the test.
    pub left: Branch,
    /// Where it goes on for the others.
    pub right: Branch,
}

/// [`SplitCondition`], of bins.
#[derive(Debug, Clone, PartialEq)]
pub enum BinTest {
    /// Bins from 1 up to and including this one.
    UpTo(u8),
    /// Values of these categories, ascending.
    OneOf(Box<[u32]>),
}

/// [`Child`], in two bytes each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Branch {
    /// Another split.
    Split(u16),
    /// A leaf.
    Leaf(u16),
}

impl QuantizedTree {
    /// Quantizes `tree`, whose thresholds are those of `columns` and whose leaves fit into 16 bits of steps.
    ///
    /// # Errors
    /// Too many splits.
    pub fn new(tree: &Tree, columns: &[Column], step: LeafScale) -> Result<Self, String> {
        if tree.splits.len() > MOST_SPLITS {
            return Err(format!("a tree of {} splits, but {MOST_SPLITS} is the most", tree.splits.len()));
        }
        let leaf = |leaf: usize| step.round(tree.leaf_values[leaf]) as i16;
        let Child::Split(root) = tree.root() else {
            return Ok(Self { splits: Vec::new(), leaves: vec![leaf(0)] });
        };
        let mut quantized = Self { splits: Vec::new(), leaves: Vec::new() };
        // The splits in their new order, as far as branches have named them.
        let mut order = vec![root];
        while let Some(&node) = order.get(quantized.splits.len()) {
            let split = &tree.splits[node];
            let [left, right] = [split.left, split.right].map(|child| match child {
                Child::Split(next) => {
                    order.push(next);
                    Branch::Split((order.len() - 1) as u16)
                }
                Child::Leaf(number) => {
                    quantized.leaves.push(leaf(number));
                    Branch::Leaf((quantized.leaves.len() - 1) as u16)
                }
            });
            quantized.splits.push(QuantizedSplit {
                feature: split.feature as u16,
                test: BinTest::new(&split.test, &columns[split.feature]),
                missing_left: split.missing_left,
                left,
                right,
            });
        }
        Ok(quantized)
    }

    /// The plain tree that it stands for.
    pub fn to_tree(&self, columns: &[Column], step: LeafScale) -> Tree {
        let split = |split: &QuantizedSplit| SplitNode {
            feature: split.feature.into(),
            test: split.test.to_test(&columns[usize::from(split.feature)]),
            missing_left: split.missing_left,
            gain: 0.0,
            left: split.left.into(),
            right: split.right.into(),
        };
        Tree {
            splits: self.splits.iter().map(split).collect(),
            leaf_values: self.leaves.iter().map(|&leaf| f64::from(leaf) * step.value()).collect(),
            leaf_cover: vec![0.0; self.leaves.len()],
        }
    }

    /// What the leaf is worth that a row falls in, in steps.
    ///
    /// # Shapes
    /// `bins`, `row`: `[columns]`; categories are not binned.
    pub fn leaf(&self, bins: &[u8], row: &[f32]) -> i16 {
        let mut branch = if self.splits.is_empty() { Branch::Leaf(0) } else { Branch::Split(0) };
        loop {
            match branch {
                Branch::Leaf(leaf) => return self.leaves[usize::from(leaf)],
                Branch::Split(node) => {
                    let split = &self.splits[usize::from(node)];
                    let feature = usize::from(split.feature);
                    let left = split.goes_left(bins[feature], row[feature]);
                    branch = if left { split.left } else { split.right };
                }
            }
        }
    }
}

impl QuantizedSplit {
    fn goes_left(&self, bin: u8, value: f32) -> bool {
        match &self.test {
            _ if bin == MISSING => self.missing_left,
            BinTest::UpTo(last) => bin <= *last,
            BinTest::OneOf(left) => category(value).is_some_and(|code| left.binary_search(&code).is_ok()),
        }
    }
}

impl BinTest {
    fn new(test: &SplitCondition, column: &Column) -> Self {
        match test {
            SplitCondition::Threshold(threshold) => Self::UpTo(column.bin(*threshold)),
            SplitCondition::Categories(left) => Self::OneOf(left.as_slice().into()),
        }
    }

    fn to_test(&self, column: &Column) -> SplitCondition {
        match self {
            // A bin without an upper bound, which no tree has that was checked, would end nowhere.
            Self::UpTo(bin) => SplitCondition::Threshold(column.threshold(*bin).unwrap_or(f32::NAN)),
            Self::OneOf(left) => SplitCondition::Categories(left.to_vec()),
        }
    }
}

impl From<Branch> for Child {
    fn from(branch: Branch) -> Self {
        match branch {
            Branch::Split(split) => Self::Split(split.into()),
            Branch::Leaf(leaf) => Self::Leaf(leaf.into()),
        }
    }
}
