//! Our trees as XGBoost's JSON.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{
    Booster, CategoryNames, Document, Flag, Learner, LearnerParameters, Model, ModelParameters,
    MulticlassParameters, Objective, TreeNodes, TreeParameters,
};
use super::{LEAF, nameless, objective_there};
use crate::error::{Error, Result};
use crate::export::{BINARY, MULTICLASS, check, check_categories, check_feature_names, wrong};
use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};

/// The version whose format this is.
const VERSION: [u32; 3] = [3, 2, 0];
/// The parent of a root.
const NO_PARENT: i32 = i32::MAX;

/// Writes a model as XGBoost's JSON. Leaf values and base scores are rounded to 32 bits.
///
/// Names of features that are `feature_0`, `feature_1` and so on are left out, for XGBoost takes rows of a named model
/// with the same names only.
///
/// # Errors
/// The model is damaged or has no features, a feature's name cannot be written, the outputs do not fit the objective,
/// a category is 2^24 or more, or a number is beyond what a 32-bit float holds.
pub fn write(ensemble: &Ensemble) -> Result<String> {
    check_names(&ensemble.features)?;
    check(ensemble)?;
    let (outputs, columns) = (ensemble.outputs(), ensemble.columns());
    let mut base = ensemble.base.iter().map(|&base| narrow(base)).collect::<Result<Vec<f32>>>()?;
    let mut trees = Vec::with_capacity(ensemble.trees.len() + 1);
    if ensemble.objective == BINARY && base[0] != 0.0 {
        trees.push(nodes(0, &Tree::constant(ensemble.base[0], 0.0), columns)?);
        base[0] = 0.0;
    }
    for tree in &ensemble.trees {
        trees.push(nodes(trees.len(), tree, columns)?);
    }
    if ensemble.objective == BINARY {
        // A probability there: that of score 0.
        base[0] = 0.5;
    }
    let name = objective_there(&ensemble.objective);
    let multiclass = ensemble.objective == MULTICLASS;
    let document = Document {
        learner: Learner {
            attributes: BTreeMap::new(),
            feature_names: if nameless(columns).eq(ensemble.features.iter().cloned()) {
                Vec::new()
            } else {
                ensemble.features.clone()
            },
            feature_types: feature_types(ensemble),
            gradient_booster: Booster {
                gbtree: None,
                weight_drop: Vec::new(),
                model: Some(Model {
                    cats: CategoryNames::default(),
                    gbtree_model_param: ModelParameters {
                        num_parallel_tree: "1".to_owned(),
                        num_trees: trees.len().to_string(),
                    },
                    iteration_indptr: (0..=trees.len()).step_by(outputs).collect(),
                    tree_info: (0..trees.len()).map(|tree| tree % outputs).collect(),
                    trees,
                    weight_drop: Vec::new(),
                }),
                name: "gbtree".to_owned(),
            },
            learner_model_param: LearnerParameters {
                base_score: base_score(&base),
                boost_from_average: "1",
                // What is not a class there is counted otherwise.
                num_class: if outputs == 1 { 0 } else { outputs }.to_string(),
                num_feature: columns.to_string(),
                num_target: "1".to_owned(),
            },
            objective: Objective {
                name: name.to_owned(),
                softmax_multiclass_param: multiclass
                    .then(|| MulticlassParameters { num_class: outputs.to_string() }),
            },
        },
        version: VERSION.to_vec(),
    };
    serde_json::to_string(&document)
        .map_err(|error| wrong(format!("the model cannot be written as JSON: {error}")))
}

/// Checks the names of features before a training whose model XGBoost is to load.
///
/// # Errors
/// Names the first that it would not: one that is empty, given twice, or has a control character or one of `[]<`.
pub fn check_names(names: &[String]) -> Result<()> {
    check_feature_names(names, "XGBoost", "[]<")
}

/// `[5E-1,1.25E0]`
fn base_score(base: &[f32]) -> String {
    let scores: Vec<String> = base.iter().map(|score| format!("{score:E}")).collect();
    format!("[{}]", scores.join(","))
}

fn feature_types(ensemble: &Ensemble) -> Vec<&'static str> {
    let splits = ensemble.trees.iter().flat_map(|tree| &tree.splits);
    let categories: BTreeSet<usize> = splits
        .filter(|split| matches!(&split.test, SplitCondition::Categories(left) if !left.is_empty()))
        .map(|split| split.feature)
        .collect();
    if categories.is_empty() {
        return Vec::new();
    }
    (0..ensemble.columns()).map(|column| if categories.contains(&column) { "c" } else { "float" }).collect()
}

/// The nearest 32-bit float.
fn narrow(value: f64) -> Result<f32> {
    let narrow = value as f32;
    if narrow.is_finite() {
        return Ok(narrow);
    }
    Err(wrong(format!("{value} is more than a 32-bit float holds")).next_step("write LightGBM's text"))
}

/// A tree's nodes, level by level, so that the right child of a split follows its left one: XGBoost counts on it.
fn nodes(id: usize, tree: &Tree, columns: usize) -> Result<TreeNodes> {
    let in_tree = |error: Error| error.field(format!("tree {id}"));
    let mut nodes = TreeNodes { id, ..TreeNodes::default() };
    let mut order = vec![(tree.root(), NO_PARENT)];
    let mut node = 0;
    while let Some(&(child, parent)) = order.get(node) {
        nodes.parents.push(parent);
        match child {
            Child::Leaf(leaf) => {
                let value = narrow(tree.leaf_values[leaf]).map_err(in_tree)?;
                nodes.push_leaf(value, tree.leaf_cover[leaf]);
            }
            Child::Split(split) => {
                let split = &tree.splits[split];
                let right_node = number(order.len() + 1).map_err(in_tree)?;
                let [left, right] = nodes.push_split(split, right_node).map_err(in_tree)?;
                let parent = number(node)?;
                order.extend([(left, parent), (right, parent)]);
            }
        }
        node += 1;
    }
    for child in (1..order.len()).rev() {
        let parent = order[child].1 as usize;
        nodes.sum_hessian[parent] = (nodes.sum_hessian[parent] + nodes.sum_hessian[child]).min(f32::MAX);
    }
    nodes.tree_param = TreeParameters {
        num_deleted: "0",
        num_feature: columns.to_string(),
        num_nodes: order.len().to_string(),
        size_leaf_vector: "1".to_owned(),
    };
    Ok(nodes)
}

fn number(node: usize) -> Result<i32> {
    i32::try_from(node).map_err(|_| wrong("more nodes than XGBoost can number"))
}

impl TreeNodes {
    fn push_leaf(&mut self, value: f32, cover: f64) {
        self.base_weights.push(value);
        self.default_left.push(Flag(false));
        self.left_children.push(LEAF);
        self.loss_changes.push(0.0);
        self.right_children.push(LEAF);
        self.split_conditions.push(value);
        self.split_indices.push(0);
        self.split_type.push(Flag(false));
        self.sum_hessian.push((cover as f32).clamp(f32::MIN, f32::MAX));
    }

    /// The split's children as they stand there: the node before `right_node`, and that.
    fn push_split(&mut self, split: &SplitNode, right_node: i32) -> Result<[Child; 2]> {
        let (condition, swapped) = match &split.test {
            SplitCondition::Threshold(threshold) if *threshold < f32::MAX => (threshold.next_up(), false),
            // Every number goes left, but no condition is above them all. None is below the least.
            SplitCondition::Threshold(_) => (f32::MIN, true),
            // No number goes left. XGBoost wants a category in each list.
            SplitCondition::Categories(left) if left.is_empty() => (f32::MIN, false),
            SplitCondition::Categories(left) => {
                check_categories(left)?;
                self.categories_nodes.push(self.left_children.len());
                self.categories_segments.push(self.categories.len());
                self.categories_sizes.push(left.len());
                self.categories.extend(left);
                (0.0, true)
            }
        };
        let by_category = self.categories_nodes.last() == Some(&self.left_children.len());
        self.base_weights.push(0.0);
        self.default_left.push(Flag(split.missing_left != swapped));
        self.left_children.push(right_node - 1);
        // A gain tells of the training only; one that is no number says nothing.
        self.loss_changes.push(if split.gain.is_finite() { split.gain } else { 0.0 });
        self.right_children.push(right_node);
        self.split_conditions.push(condition);
        self.split_indices.push(split.feature);
        self.split_type.push(Flag(by_category));
        self.sum_hessian.push(0.0);
        Ok(if swapped { [split.right, split.left] } else { [split.left, split.right] })
    }
}
