//! Our trees as LightGBM's text.

use std::fmt::{Display, Write as _};

use super::{BY_CATEGORY, DEFAULT_LEFT, MISSING_IS_NAN, beside_zero, objective_there};
use crate::error::Result;
use crate::export::{check, check_categories, check_feature_names, wrong};
use crate::gbdt::attach::{Side, attach};
use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};

/// A tree that sends missing values left of categories grows by copies; beyond this many times its nodes it is
/// refused.
const MOST_GROWTH: usize = 8;

/// Writes a model as LightGBM's text. Values within 1e-35 of zero will count as zero there.
///
/// # Errors
/// The model is damaged or has no features, a feature's name cannot be written, the outputs do not fit the objective,
/// a category is 2^24 or more, or too many copies were needed to send missing values left of categories.
pub fn write(ensemble: &Ensemble) -> Result<String> {
    check_names(&ensemble.features)?;
    check(ensemble)?;
    let outputs = ensemble.outputs();
    let blocks: Vec<String> = with_base(ensemble)?.iter().enumerate().map(block).collect::<Result<_>>()?;

    let mut text = String::from("tree\nversion=v4\n");
    line(&mut text, "num_class", [outputs]);
    line(&mut text, "num_tree_per_iteration", [outputs]);
    line(&mut text, "label_index", [0]);
    line(&mut text, "max_feature_idx", [ensemble.columns() - 1]);
    if let Some(objective) = objective_there(&ensemble.objective, outputs) {
        line(&mut text, "objective", [objective]);
    }
    line(&mut text, "feature_names", &ensemble.features);
    // The range of each feature in the training data, which an ensemble does not keep.
    line(&mut text, "feature_infos", ensemble.features.iter().map(|_| "none"));
    line(&mut text, "tree_sizes", blocks.iter().map(String::len));
    text.push('\n');
    text.extend(blocks);
    text.push_str("end of trees\n");
    Ok(text)
}

/// Checks the names of features before a training whose model LightGBM is to load.
///
/// # Errors
/// Names the first that it would not: one that is empty, given twice, or has a space, a control character or one of
/// `"[]{},:`.
pub fn check_names(names: &[String]) -> Result<()> {
    // Its files part names by spaces; the others it refuses for its JSON.
    check_feature_names(names, "LightGBM", " \"[]{},:")
}

/// `key=value value ...`
fn line(text: &mut String, key: &str, values: impl IntoIterator<Item = impl Display>) {
    text.push_str(key);
    let mut before = '=';
    for value in values {
        // Writing to a string cannot fail.
        let _ = write!(text, "{before}{value}");
        before = ' ';
    }
    if before == '=' {
        text.push('=');
    }
    text.push('\n');
}

/// The shortest decimals that are read back as the same number.
fn exact(values: &[f64]) -> impl Iterator<Item = String> {
    values.iter().map(|value| format!("{value:?}"))
}

/// The trees, with the base score in the first one of each output: sums are then rounded there as they are here.
fn with_base(ensemble: &Ensemble) -> Result<Vec<Tree>> {
    let mut trees = ensemble.trees.clone();
    if trees.is_empty() {
        trees = vec![Tree::constant(0.0, 0.0); ensemble.outputs()];
    }
    for (tree, base) in trees.iter_mut().zip(&ensemble.base) {
        for value in &mut tree.leaf_values {
            *value += base;
            if !value.is_finite() {
                return Err(wrong("the base score and a leaf add up to more than a float holds"));
            }
        }
    }
    Ok(trees)
}

/// A tree's lines, with the blank ones after them.
fn block((index, tree): (usize, &Tree)) -> Result<String> {
    let tree = missing_right_of_categories(tree, index)?;
    let mut nodes = Nodes::default();
    for split in &tree.splits {
        nodes.push(split)?;
    }
    let leaf_counts: Vec<i32> = tree.leaf_cover.iter().map(|cover| cover.round().max(0.0) as i32).collect();
    let inner = inner_nodes(&tree, &leaf_counts);
    let mut text = format!("Tree={index}\n");
    line(&mut text, "num_leaves", [tree.leaf_values.len()]);
    line(&mut text, "num_cat", [nodes.list_ends.len()]);
    line(&mut text, "split_feature", tree.splits.iter().map(|split| split.feature));
    line(&mut text, "split_gain", tree.splits.iter().map(|split| finite(split.gain)));
    line(&mut text, "threshold", exact(&nodes.thresholds));
    line(&mut text, "decision_type", &nodes.decisions);
    line(&mut text, "left_child", nodes.children.iter().map(|[left, _]| number(*left)));
    line(&mut text, "right_child", nodes.children.iter().map(|[_, right]| number(*right)));
    line(&mut text, "leaf_value", exact(&tree.leaf_values));
    // Sums of second derivatives there; rows are the nearest that an ensemble is sure to keep.
    line(&mut text, "leaf_weight", &leaf_counts);
    line(&mut text, "leaf_count", &leaf_counts);
    line(&mut text, "internal_value", inner.iter().map(|(_, value)| format!("{value:?}")));
    line(&mut text, "internal_weight", inner.iter().map(|(count, _)| count));
    line(&mut text, "internal_count", inner.iter().map(|(count, _)| count));
    if !nodes.words.is_empty() {
        line(&mut text, "cat_boundaries", std::iter::once(&0).chain(&nodes.list_ends));
        line(&mut text, "cat_threshold", &nodes.words);
    }
    text.push_str("is_linear=0\nshrinkage=1\n\n\n");
    Ok(text)
}

/// The splits of a tree in the format's parallel lists.
#[derive(Default)]
struct Nodes {
    thresholds: Vec<f64>,
    decisions: Vec<u8>,
    children: Vec<[Child; 2]>,
    /// Where each list of categories ends in `words`.
    list_ends: Vec<usize>,
    /// Bit `c % 32` of a list's word `c / 32` is set where category `c` goes left.
    words: Vec<u32>,
}

impl Nodes {
    fn push(&mut self, split: &SplitNode) -> Result<()> {
        let children = [split.left, split.right];
        match &split.test {
            SplitCondition::Threshold(threshold) => {
                let threshold = beside_zero(*threshold, *threshold >= 0.0);
                self.push_comparison(f64::from(threshold), split.missing_left, children);
            }
            // Whatever is there goes right: whatever is up to infinity, left.
            SplitCondition::Categories(left) if left.is_empty() => {
                self.push_comparison(f64::INFINITY, !split.missing_left, [split.right, split.left]);
            }
            SplitCondition::Categories(left) => {
                check_categories(left)?;
                self.thresholds.push(self.list_ends.len() as f64);
                self.decisions.push(MISSING_IS_NAN | BY_CATEGORY);
                self.children.push(children);
                let start = self.words.len();
                for &category in left {
                    let word = start + category as usize / 32;
                    self.words.resize(self.words.len().max(word + 1), 0);
                    self.words[word] |= 1 << (category % 32);
                }
                self.list_ends.push(self.words.len());
            }
        }
        Ok(())
    }

    fn push_comparison(&mut self, threshold: f64, missing_left: bool, children: [Child; 2]) {
        self.thresholds.push(threshold);
        self.decisions.push(MISSING_IS_NAN | if missing_left { DEFAULT_LEFT } else { 0 });
        self.children.push(children);
    }
}

/// Inner nodes are numbered from 0 up, leaves from -1 down.
fn number(child: Child) -> i64 {
    match child {
        Child::Split(node) => node as i64,
        Child::Leaf(leaf) => !(leaf as i64),
    }
}

/// Rows and mean value of each inner node.
fn inner_nodes(tree: &Tree, leaf_counts: &[i32]) -> Vec<(i32, f64)> {
    let mut inner = vec![(0_i32, 0.0); tree.splits.len()];
    for (node, split) in tree.splits.iter().enumerate().rev() {
        let of = |child: Child| match child {
            Child::Split(next) => inner[next],
            Child::Leaf(leaf) => (leaf_counts[leaf], tree.leaf_values[leaf]),
        };
        let ((left, left_value), (right, right_value)) = (of(split.left), of(split.right));
        let (left_rows, right_rows) = (f64::from(left), f64::from(right));
        let rows = left_rows + right_rows;
        let share = if rows > 0.0 { left_rows / rows } else { 0.5 };
        inner[node] = (left.saturating_add(right), left_value * share + right_value * (1.0 - share));
    }
    inner
}

/// Gains tell of the training only; one that is no number says nothing.
fn finite(gain: f32) -> String {
    format!("{:?}", if gain.is_finite() { gain } else { 0.0 })
}

/// The same tree with missing values right at every list of categories: before one that sends them left stands a
/// split that nothing else goes left of, to a copy of the left side. Rows then count in both copies.
fn missing_right_of_categories(tree: &Tree, index: usize) -> Result<Tree> {
    let moves = |split: &SplitNode| {
        split.missing_left && matches!(&split.test, SplitCondition::Categories(left) if !left.is_empty())
    };
    if !tree.splits.iter().any(moves) {
        return Ok(tree.clone());
    }
    let mut grown = Tree::default();
    // Nodes of `tree` still to be copied, each with the new split and the side that it belongs to.
    let mut open = vec![(tree.root(), None)];
    while let Some((child, parent)) = open.pop() {
        if grown.splits.len() > MOST_GROWTH * tree.splits.len() {
            return Err(wrong(format!(
                "tree {index}: missing values go left at too many splits by category"
            ))
            .next_step("write XGBoost JSON, where each split says where they go"));
        }
        let copy = match child {
            Child::Leaf(leaf) => {
                grown.leaf_values.push(tree.leaf_values[leaf]);
                grown.leaf_cover.push(tree.leaf_cover[leaf]);
                Child::Leaf(grown.leaf_values.len() - 1)
            }
            Child::Split(node) => {
                let split = &tree.splits[node];
                let first = grown.splits.len();
                if moves(split) {
                    let (test, right) = (SplitCondition::Categories(Vec::new()), Child::Split(first + 1));
                    grown.splits.push(SplitNode { test, gain: 0.0, right, ..split.clone() });
                    open.push((split.left, Some((first, Side::Left))));
                }
                let second = grown.splits.len();
                let missing_left = split.missing_left && !moves(split);
                grown.splits.push(SplitNode { missing_left, ..split.clone() });
                open.push((split.right, Some((second, Side::Right))));
                open.push((split.left, Some((second, Side::Left))));
                Child::Split(first)
            }
        };
        attach(&mut grown.splits, parent, copy);
    }
    Ok(grown)
}
