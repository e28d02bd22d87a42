//! Trees as nodes of `ai.onnx.ml`, by the current operator or the older ones that more runtimes know.

use super::graph::{Graph, floats, int, ints, tensor, text, texts};
use super::proto::{Element, TensorProto};
use super::walk::{add_walk, threshold_of};
use crate::error::Result;
use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};

/// Which operator says what the trees say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeOperator {
    /// `TreeEnsemble`, of version 5 of the domain: the current one.
    TreeEnsemble,
    /// `TreeEnsembleRegressor`, of version 3: ONNX Runtime's since 1.11.
    Regressor,
    /// `TreeEnsembleClassifier`, of version 3: the only one that tract knows. Its scores are those of the regressor.
    Classifier,
    /// None of them: a walk in operators of ONNX's own, for runtimes without the domain `ai.onnx.ml`.
    Walk,
}

impl TreeOperator {
    /// The version of the domain `ai.onnx.ml` that it is of, if it is.
    pub fn version(self) -> Option<i64> {
        match self {
            Self::TreeEnsemble => Some(5),
            Self::Regressor | Self::Classifier => Some(3),
            Self::Walk => None,
        }
    }
}

/// Adds `ensemble`: `[rows, features]` of 32-bit floats to `[rows, outputs]`.
///
/// # Errors
/// It has splits by category that `operator` cannot say.
pub fn add_trees(
    graph: &mut Graph,
    ensemble: &Ensemble,
    operator: TreeOperator,
    rows: &str,
) -> Result<String> {
    let scores = match operator {
        TreeOperator::TreeEnsemble => tree_ensemble(graph, ensemble, rows),
        TreeOperator::Regressor => regressor(graph, ensemble, rows)?,
        TreeOperator::Classifier => classifier(graph, ensemble, rows)?,
        TreeOperator::Walk => add_walk(graph, ensemble, rows)?,
    };
    if ensemble.base.iter().all(|&base| base == 0.0) {
        return Ok(scores);
    }
    let base: Vec<f32> = ensemble.base.iter().map(|&base| base as f32).collect();
    let base = graph.floats("base_score", &[base.len()], &base);
    Ok(graph.node("Add", [&scores, &base]))
}

/// Every split and every leaf is a node; the two operators differ in what they call a leaf's output.
#[derive(Default)]
struct Nodes {
    trees: Vec<i64>,
    ids: Vec<i64>,
    features: Vec<i64>,
    values: Vec<f32>,
    modes: Vec<&'static str>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing_yes: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_ids: Vec<i64>,
    leaf_outputs: Vec<i64>,
    leaf_weights: Vec<f32>,
}

/// A split, or a leaf, of which most is left out.
#[derive(Default)]
struct Node {
    tree: usize,
    id: usize,
    feature: usize,
    threshold: f32,
    mode: &'static str,
    yes: i64,
    no: i64,
    missing_yes: bool,
}

impl Nodes {
    fn of(ensemble: &Ensemble) -> Result<Self> {
        let mut nodes = Self::default();
        for (index, tree) in ensemble.trees.iter().enumerate() {
            let output = index % ensemble.outputs();
            for (id, split) in tree.splits.iter().enumerate() {
                let threshold = threshold_of(split, index)?;
                let [yes, no] = [split.left, split.right].map(|child| match child {
                    Child::Split(next) => next as i64,
                    Child::Leaf(leaf) => (tree.splits.len() + leaf) as i64,
                });
                let (feature, mode, missing_yes) = (split.feature, "BRANCH_LEQ", split.missing_left);
                nodes.push(Node { tree: index, id, feature, threshold, mode, yes, no, missing_yes });
            }
            for (leaf, &value) in tree.leaf_values.iter().enumerate() {
                let id = tree.splits.len() + leaf;
                nodes.push(Node { tree: index, id, mode: "LEAF", ..Node::default() });
                nodes.leaf_trees.push(index as i64);
                nodes.leaf_ids.push(id as i64);
                nodes.leaf_outputs.push(output as i64);
                nodes.leaf_weights.push(value as f32);
            }
        }
        Ok(nodes)
    }

    fn push(&mut self, node: Node) {
        self.trees.push(node.tree as i64);
        self.ids.push(node.id as i64);
        self.features.push(node.feature as i64);
        self.values.push(node.threshold);
        self.modes.push(node.mode);
        self.yes.push(node.yes);
        self.no.push(node.no);
        self.missing_yes.push(i64::from(node.missing_yes));
    }

    fn attributes(self, of_leaves: &str) -> [super::proto::AttributeProto; 13] {
        [
            ints("nodes_treeids", self.trees),
            ints("nodes_nodeids", self.ids),
            ints("nodes_featureids", self.features),
            floats("nodes_values", self.values),
            texts("nodes_modes", &self.modes),
            ints("nodes_truenodeids", self.yes),
            ints("nodes_falsenodeids", self.no),
            ints("nodes_missing_value_tracks_true", self.missing_yes),
            ints(&format!("{of_leaves}_treeids"), self.leaf_trees),
            ints(&format!("{of_leaves}_nodeids"), self.leaf_ids),
            ints(&format!("{of_leaves}_ids"), self.leaf_outputs),
            floats(&format!("{of_leaves}_weights"), self.leaf_weights),
            text("post_transform", "NONE"),
        ]
    }
}

fn regressor(graph: &mut Graph, ensemble: &Ensemble, rows: &str) -> Result<String> {
    let shared = Nodes::of(ensemble)?.attributes("target");
    let targets = int("n_targets", ensemble.outputs() as i64);
    let [scores] = graph.nodes_of("TreeEnsembleRegressor", [rows], shared.into_iter().chain([targets]));
    Ok(scores)
}

/// A classifier of one class makes another up, so there are two, and of the first nothing is said: then the second's score
/// is the sum of the leaves, in ONNX Runtime as in tract.
fn classifier(graph: &mut Graph, ensemble: &Ensemble, rows: &str) -> Result<String> {
    let outputs = ensemble.outputs();
    let mut nodes = Nodes::of(ensemble)?;
    if outputs == 1 {
        nodes.leaf_outputs.fill(1);
    }
    let labels = ints("classlabels_int64s", (0..outputs.max(2) as i64).collect());
    let shared = nodes.attributes("class");
    let [_, scores] = graph.nodes_of("TreeEnsembleClassifier", [rows], shared.into_iter().chain([labels]));
    if outputs > 1 {
        return Ok(scores);
    }
    let [first, end, axis] = [1, 2, 1].map(|size| graph.sizes(&[size]));
    Ok(graph.node("Slice", [&scores, &first, &end, &axis]))
}

/// Modes of the current operator's nodes.
const AT_MOST: u8 = 0;
const MEMBER: u8 = 6;

/// Splits and leaves in lists of their own, those of all trees behind each other.
fn tree_ensemble(graph: &mut Graph, ensemble: &Ensemble, rows: &str) -> String {
    let (mut roots, mut features, mut modes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut splits, mut members, mut missing_yes) = (Vec::new(), Vec::new(), Vec::new());
    let mut branches: [Branches; 2] = Default::default();
    let (mut leaf_outputs, mut leaf_weights) = (Vec::new(), Vec::new());
    for (index, tree) in ensemble.trees.iter().enumerate() {
        let (first_split, first_leaf) = (features.len(), leaf_weights.len());
        roots.push(first_split as i64);
        for split in &with_a_split(tree) {
            features.push(split.feature as i64);
            missing_yes.push(i64::from(split.missing_left));
            match &split.test {
                SplitCondition::Threshold(threshold) => {
                    modes.push(AT_MOST);
                    splits.push(*threshold);
                }
                SplitCondition::Categories(left) => {
                    modes.push(MEMBER);
                    splits.push(0.0);
                    members.extend(left.iter().map(|&category| category as f32).chain([f32::NAN]));
                }
            }
            for (branches, child) in branches.iter_mut().zip([split.left, split.right]) {
                let (id, is_leaf) = match child {
                    Child::Split(next) => (first_split + next, false),
                    Child::Leaf(leaf) => (first_leaf + leaf, true),
                };
                branches.ids.push(id as i64);
                branches.are_leaves.push(i64::from(is_leaf));
            }
        }
        leaf_outputs.extend(tree.leaf_values.iter().map(|_| (index % ensemble.outputs()) as i64));
        leaf_weights.extend(tree.leaf_values.iter().map(|&value| value as f32));
    }
    let [yes, no] = branches;
    let mut attributes = vec![
        int("n_targets", ensemble.outputs() as i64),
        int("aggregate_function", 1), // a sum
        int("post_transform", 0),     // none
        ints("tree_roots", roots),
        ints("nodes_featureids", features),
        tensor("nodes_modes", TensorProto::new("nodes_modes", &[modes.len()], Element::Uint8, modes)),
        tensor("nodes_splits", TensorProto::floats("nodes_splits", &[splits.len()], &splits)),
        ints("nodes_truenodeids", yes.ids),
        ints("nodes_trueleafs", yes.are_leaves),
        ints("nodes_falsenodeids", no.ids),
        ints("nodes_falseleafs", no.are_leaves),
        ints("nodes_missing_value_tracks_true", missing_yes),
        ints("leaf_targetids", leaf_outputs),
        tensor("leaf_weights", TensorProto::floats("leaf_weights", &[leaf_weights.len()], &leaf_weights)),
    ];
    if !members.is_empty() {
        let members = TensorProto::floats("membership_values", &[members.len()], &members);
        attributes.push(tensor("membership_values", members));
    }
    let [scores] = graph.nodes_of("TreeEnsemble", [rows], attributes);
    scores
}

/// Where a node's walks go on.
#[derive(Default)]
struct Branches {
    ids: Vec<i64>,
    are_leaves: Vec<i64>,
}

/// The splits of a tree; of a single leaf, one split that leads there whatever it is asked.
fn with_a_split(tree: &Tree) -> Vec<SplitNode> {
    if !tree.splits.is_empty() {
        return tree.splits.clone();
    }
    let (test, leaf) = (SplitCondition::Threshold(0.0), Child::Leaf(0));
    vec![SplitNode { feature: 0, test, missing_left: true, gain: 0.0, left: leaf, right: leaf }]
}
