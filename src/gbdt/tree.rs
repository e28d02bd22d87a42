//! One tree: questions to features, and what the leaves answer. The plain walk here is the reference for every
//! faster one.

use serde::{Deserialize, Serialize};

/// Where a walk goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Child {
    /// Another split, by position in [`Tree::splits`].
    Split(usize),
    /// A leaf, by position in [`Tree::leaf_values`].
    Leaf(usize),
}

/// Which values of a feature go left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitCondition {
    /// Values up to and including this one.
    Threshold(f32),
    /// These categories, ascending. A value is a category's number, its fraction cut off; what is negative or not
    /// listed goes right.
    Categories(Vec<u32>),
}

/// A question to one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitNode {
    /// Which feature.
    pub feature: usize,
    /// Which of its values go left.
    pub test: SplitCondition,
    /// Whether a missing value (NaN) goes left.
    pub missing_left: bool,
    /// By how much the split lowered twice the training loss.
    pub gain: f32,
    /// Where a walk goes on for values that pass the test.
    pub left: Child,
    /// Where it goes on for the others.
    pub right: Child,
}

impl SplitNode {
    /// Whether `value` goes left.
    pub fn goes_left(&self, value: f32) -> bool {
        if value.is_nan() {
            return self.missing_left;
        }
        match &self.test {
            SplitCondition::Threshold(threshold) => value <= *threshold,
            SplitCondition::Categories(left) => {
                category(value).is_some_and(|code| left.binary_search(&code).is_ok())
            }
        }
    }

    /// Where a row with `value` goes on.
    pub fn child(&self, value: f32) -> Child {
        if self.goes_left(value) { self.left } else { self.right }
    }
}

/// The number of the category that `value` stands for; none for what is missing, negative or beyond `u32`.
pub fn category(value: f32) -> Option<u32> {
    // 2^32, the first float that a u32 cannot hold.
    (value > -1.0 && value < 4_294_967_296.0).then_some(value as u32)
}

/// A tree. Splits refer to later splits only; the first is the root.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Inner nodes; none when the tree is a single leaf.
    pub splits: Vec<SplitNode>,
    /// What the leaves add to the score.
    pub leaf_values: Vec<f64>,
    /// How much of the training data came to each leaf: rows, or what the engine that made the tree counts instead.
    /// Explanations weigh the branches by it.
    pub leaf_cover: Vec<f64>,
}

impl Tree {
    /// A tree without questions.
    pub fn constant(value: f64, cover: f64) -> Self {
        Self { splits: Vec::new(), leaf_values: vec![value], leaf_cover: vec![cover] }
    }

    /// Where a walk begins.
    pub fn root(&self) -> Child {
        if self.splits.is_empty() { Child::Leaf(0) } else { Child::Split(0) }
    }

    /// The leaf that a row of features falls in.
    ///
    /// # Shapes
    /// `features`: `[columns]`.
    pub fn leaf(&self, features: &[f32]) -> usize {
        let mut child = self.root();
        loop {
            match child {
                Child::Leaf(leaf) => return leaf,
                Child::Split(node) => {
                    let split = &self.splits[node];
                    child = split.child(features[split.feature]);
                }
            }
        }
    }

    /// The plain walk: the value of the leaf that a row of features falls in.
    ///
    /// # Shapes
    /// `features`: `[columns]`.
    pub fn value(&self, features: &[f32]) -> f64 {
        self.leaf_values[self.leaf(features)]
    }

    /// Most splits between the root and a leaf.
    pub fn depth(&self) -> usize {
        let mut depths = vec![0; self.splits.len()];
        let mut deepest = 0;
        for (node, split) in self.splits.iter().enumerate() {
            let below = depths[node] + 1;
            deepest = deepest.max(below);
            for child in [split.left, split.right] {
                if let Child::Split(next) = child {
                    depths[next] = below;
                }
            }
        }
        deepest
    }

    /// Why a walk over `columns` features might not end well; nothing where it will.
    pub(crate) fn check(&self, columns: usize) -> Result<(), String> {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        if !finite(&self.leaf_values) || !finite(&self.leaf_cover) {
            return Err("a leaf value is not finite".into());
        }
        if self.leaf_cover.iter().any(|&cover| cover < 0.0) {
            return Err("the cover of a leaf is negative".into());
        }
        if self.leaf_values.len() != self.splits.len() + 1 || self.leaf_cover.len() != self.leaf_values.len()
        {
            let (leaves, covers) = (self.leaf_values.len(), self.leaf_cover.len());
            return Err(format!(
                "{leaves} leaves with {covers} covers do not fit {} splits",
                self.splits.len()
            ));
        }
        let mut met_splits = vec![false; self.splits.len()];
        let mut met_leaves = vec![false; self.leaf_values.len()];
        for (node, split) in self.splits.iter().enumerate() {
            if split.feature >= columns {
                return Err(format!("split {node} asks for feature {} of {columns}", split.feature));
            }
            match &split.test {
                SplitCondition::Threshold(threshold) if !threshold.is_finite() => {
                    return Err(format!("the threshold of split {node} is not finite"));
                }
                SplitCondition::Categories(left) if !left.is_sorted_by(|a, b| a < b) => {
                    return Err(format!("the categories of split {node} are not in ascending order"));
                }
                _ => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn split(
        feature: usize,
        test: SplitCondition,
        missing_left: bool,
        left: Child,
        right: Child,
    ) -> SplitNode {
        SplitNode { feature, test, missing_left, gain: 1.0, left, right }
    }

    fn tree() -> Tree {
        Tree {
            splits: vec![
                split(0, SplitCondition::Threshold(0.5), true, Child::Leaf(0), Child::Split(1)),
                split(1, SplitCondition::Categories(vec![2, 5]), false, Child::Split(2), Child::Leaf(1)),
                split(0, SplitCondition::Threshold(2.0), false, Child::Leaf(2), Child::Leaf(3)),
            ],
            leaf_values: vec![0.1, 0.02, 0.003, 0.0004],
            leaf_cover: vec![1.0; 4],
        }
    }

    #[test]
    fn plain_walk_by_hand() {
        for (row, expected) in [
            ([0.5, 9.0], 0.1),
            ([f32::NAN, 9.0], 0.1),
            ([0.6, 9.0], 0.02),
            ([0.6, f32::NAN], 0.02),
            ([0.6, -2.0], 0.02),
            ([0.6, f32::INFINITY], 0.02),
            ([0.6, 2.0], 0.003),
            ([0.6, 5.9], 0.003),
            ([2.1, 5.0], 0.0004),
        ] {
            assert_eq!(tree().value(&row), expected, "{row:?}");
        }
        assert_eq!(tree().depth(), 3);
        assert_eq!(Tree::constant(2.0, 1.0).value(&[]), 2.0);
    }

    #[test]
    fn refuses_trees_that_lead_astray() {
        let edited = |edit: fn(&mut Tree)| {
            let mut tree = tree();
            edit(&mut tree);
            tree.check(2)
        };
        assert!(edited(|_| ()).is_ok());
        assert!(edited(|t| t.splits[0].feature = 2).unwrap_err().contains("feature 2 of 2"));
        assert!(edited(|t| t.splits[2].left = Child::Split(0)).unwrap_err().contains("leads nowhere"));
        assert!(
            edited(|t| t.splits[0].left = Child::Split(1)).unwrap_err().contains("leads nowhere"),
            "a net"
        );
        assert!(edited(|t| t.splits[2].left = Child::Leaf(9)).unwrap_err().contains("leads nowhere"));
        assert!(
            edited(|t| t.splits[0].test = SplitCondition::Threshold(f32::INFINITY))
                .unwrap_err()
                .contains("finite")
        );
        assert!(
            edited(|t| t.splits[1].test = SplitCondition::Categories(vec![3, 3]))
                .unwrap_err()
                .contains("ascending")
        );
        assert!(edited(|t| t.leaf_values[0] = f64::NAN).unwrap_err().contains("not finite"));
        assert!(edited(|t| t.leaf_values.clear()).unwrap_err().contains("0 leaves"));
        assert!(edited(|t| t.leaf_cover[1] = -1.0).unwrap_err().contains("negative"));
        assert!(edited(|t| t.leaf_cover.clear()).unwrap_err().contains("0 covers"));
    }
}
