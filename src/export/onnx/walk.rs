//! Trees without operators for trees: every row walks all trees at once, a level a step.
//!
//! ```text
//! x           = [features with the lowest number for what is missing, features with the highest]
//! node'       = left[node] + (x[feature[node]] > threshold[node])        right children stand behind left ones
//! score       = sum over trees of leaf[node]
//! ```
//!
//! A split that sends missing values right asks the second half of `x`, so there is no other case for them. A leaf leads to
//! itself: nothing is above its threshold.

use std::collections::VecDeque;

use super::graph::{Graph, int};
use super::proto::Element;
use crate::error::Result;
use crate::export::wrong;
use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};

/// All nodes of all trees, level by level within a tree.
#[derive(Default)]
struct Nodes {
    features: Vec<i32>,
    thresholds: Vec<f32>,
    left: Vec<i32>,
    leaves: Vec<f32>,
}

impl Nodes {
    /// Adds a tree, and returns its root.
    fn push(&mut self, tree: &Tree, index: usize, columns: usize) -> Result<i32> {
        let root = self.left.len();
        let mut open = VecDeque::from([tree.root()]);
        // Children are numbered when their parent's turn comes, both at once.
        let mut next = root + 1;
        while let Some(child) = open.pop_front() {
            match child {
                Child::Leaf(leaf) => {
                    self.left.push(self.left.len() as i32);
                    self.features.push(0);
                    self.thresholds.push(f32::INFINITY);
                    self.leaves.push(tree.leaf_values[leaf] as f32);
                }
                Child::Split(node) => {
                    let split = &tree.splits[node];
                    let half = if split.missing_left { 0 } else { columns };
                    self.left.push(next as i32);
                    self.features.push((half + split.feature) as i32);
                    self.thresholds.push(threshold_of(split, index)?);
                    self.leaves.push(0.0);
                    open.extend([split.left, split.right]);
                    next += 2;
                }
            }
        }
        Ok(root as i32)
    }
}

/// Adds the walk: `[rows, features]` to `[rows, outputs]`.
///
/// # Errors
/// A split is by category.
pub fn add_walk(graph: &mut Graph, ensemble: &Ensemble, rows: &str) -> Result<String> {
    let (columns, outputs, mut nodes) = (ensemble.columns(), ensemble.outputs(), Nodes::default());
    let trees = ensemble.trees.iter().enumerate();
    let roots = trees.map(|(index, tree)| nodes.push(tree, index, columns)).collect::<Result<Vec<i32>>>()?;
    let depth = ensemble.trees.iter().map(Tree::depth).max().unwrap_or(0);

    let is_missing = graph.node("IsNaN", [rows]);
    let [low, high] = [f32::NEG_INFINITY, f32::INFINITY].map(|number| graph.number(number));
    let [low, high] = [low, high].map(|number| graph.node("Where", [&is_missing, &number, rows]));
    let x = graph.node_with("Concat", [&*low, &high], [int("axis", 1)]);

    // A forest of each size has names of its own, so that two of them can be in one graph.
    let name = |what: &str| format!("{what}_of_{}_nodes", nodes.left.len());
    let count = [nodes.left.len()];
    let features = graph.ids(&name("feature"), &nodes.features);
    let thresholds = graph.floats(&name("threshold"), &count, &nodes.thresholds);
    let left = graph.ids(&name("left"), &nodes.left);
    let leaves = graph.floats(&name("leaf"), &count, &nodes.leaves);
    // The first node of every walk, once for each row: zeros of a row's own, plus the roots.
    let roots = graph.ids(&name("root"), &roots);
    let [zero, one, axis] = [0, 1, 1].map(|size| graph.sizes(&[size]));
    let column = graph.node("Slice", [&is_missing, &zero, &one, &axis]);
    let column = graph.cast(&column, Element::Int32);
    let none = graph.ids("zero", &[0]);
    let column = graph.node("Mul", [&column, &none]);
    let mut node = graph.node("Add", [&column, &roots]); // [rows, trees]
    for _ in 0..depth {
        let feature = graph.node("Gather", [&features, &node]);
        let value = graph.node_with("GatherElements", [&x, &feature], [int("axis", 1)]);
        let threshold = graph.node("Gather", [&thresholds, &node]);
        let is_right = graph.node("Greater", [&value, &threshold]);
        let is_right = graph.cast(&is_right, Element::Int32);
        let left = graph.node("Gather", [&left, &node]);
        node = graph.node("Add", [&left, &is_right]);
    }
    let leaf = graph.node("Gather", [&leaves, &node]);
    if outputs == 1 {
        return Ok(graph.node_with("ReduceSum", [&leaf, &axis], [int("keepdims", 1)]));
    }
    // Tree `t` adds to output `t % outputs`.
    let belongs = |index: usize| f32::from(u8::from(index / outputs % outputs == index % outputs));
    let belongs: Vec<f32> = (0..ensemble.trees.len() * outputs).map(belongs).collect();
    let belongs = graph.floats("output_of_trees", &[ensemble.trees.len(), outputs], &belongs);
    Ok(graph.node("MatMul", [&leaf, &belongs]))
}

/// # Errors
/// The split is by category.
pub(super) fn threshold_of(split: &SplitNode, tree: usize) -> Result<f32> {
    match split.test {
        SplitCondition::Threshold(threshold) => Ok(threshold),
        SplitCondition::Categories(_) => Err(wrong(format!("tree {tree} splits by category"))
            .next_step("export it by the current operator, TreeEnsemble, which can say that")),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::gbdt::SplitNode;

    /// A tree of random splits: each new one takes the place of some leaf.
    fn tree(splits: usize, random: &mut ChaCha8Rng) -> Tree {
        let mut tree = Tree::constant(0.0, 1.0);
        for node in 0..splits {
            let split = SplitNode {
                feature: random.random_range(0..3),
                test: SplitCondition::Threshold(random.random_range(-2..=2) as f32),
                missing_left: random.random(),
                gain: 1.0,
                left: Child::Leaf(0),
                right: Child::Leaf(0),
            };
            if let Some(parent) = node.checked_sub(1) {
                let free = |tree: &Tree, at: usize| tree.splits[at].right == Child::Leaf(0);
                let at = (0..=parent).rev().find(|&at| free(&tree, at)).unwrap();
                let split = &mut tree.splits[at];
                let place = if split.left == Child::Leaf(0) && random.random() {
                    &mut split.left
                } else {
                    &mut split.right
                };
                *place = Child::Split(node);
            }
            tree.splits.push(split);
        }
        let mut leaves = 0;
        for split in &mut tree.splits {
            for child in [&mut split.left, &mut split.right] {
                if matches!(child, Child::Leaf(_)) {
                    *child = Child::Leaf(leaves);
                    leaves += 1;
                }
            }
        }
        let leaves = leaves.max(1);
        tree.leaf_values = (0..leaves).map(|leaf| leaf as f64 + 0.5).collect();
        tree.leaf_cover = vec![1.0; leaves];
        tree
    }

    /// The formulas at the top, in plain Rust: the graph itself is tried in runtimes (`tests/exports.rs`).
    #[test]
    fn a_walk_ends_where_the_tree_s_own_does() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let trees: Vec<Tree> = [0, 1, 5, 20].map(|splits| tree(splits, &mut random)).into();
        let mut nodes = Nodes::default();
        let roots: Vec<i32> = trees.iter().map(|tree| nodes.push(tree, 0, 3).unwrap()).collect();
        let values = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -2.0, -1.5, 0.0, 1.0, 2.0, 2.5];
        for _ in 0..500 {
            let row: [f32; 3] = std::array::from_fn(|_| values[random.random_range(0..values.len())]);
            let or = |missing: f32| row.map(|value| if value.is_nan() { missing } else { value });
            let x = [or(f32::NEG_INFINITY), or(f32::INFINITY)].concat();
            for (tree, &root) in trees.iter().zip(&roots) {
                let mut node = root as usize;
                for _ in 0..tree.depth() + 2 {
                    let is_right = x[nodes.features[node] as usize] > nodes.thresholds[node];
                    node = (nodes.left[node] + i32::from(is_right)) as usize;
                }
                assert_eq!(f64::from(nodes.leaves[node]), tree.value(&row), "{row:?}");
            }
        }
    }
}
