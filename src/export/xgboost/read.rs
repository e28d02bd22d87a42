//! XGBoost's JSON and UBJSON as our trees.

use serde::Deserialize as _;

use super::document::{Document, Learner, Model, TreeNodes, booster, valid_json};
use super::{LEAF, OBJECTIVES, nameless, ubjson};
use crate::error::{Error, Result};
use crate::export::{CUSTOM, Import, check_categories, fits, refuse_dump, without_mark, wrong};
use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};

const SAVE_AGAIN: &str =
    "save the model again with XGBoost's `save_model`, to a name that ends in `.json` or `.ubj`";
/// Most features that are given names here because the file gives none.
const MOST_NAMELESS: usize = 1 << 20;

/// Reads XGBoost's JSON. Rows then score as they do there, but for the rounding of sums, which is to 32 bits there.
///
/// # Errors
/// The text is no model of XGBoost 1.7, 2 or 3, is damaged or cut off, or holds what our trees cannot say. Names the
/// field.
pub fn read(text: &str) -> Result<Ensemble> {
    import(text).map(|import| import.ensemble)
}

/// Reads XGBoost's binary JSON (UBJSON), as [`read()`] reads its text.
///
/// # Errors
/// As those of [`read()`].
pub fn read_ubjson(bytes: &[u8]) -> Result<Ensemble> {
    import_ubjson(bytes).map(|import| import.ensemble)
}

pub(in crate::export) fn import(text: &str) -> Result<Import> {
    let text = without_mark(text);
    refuse_dump(text)?;
    let text = valid_json(text);
    let document = serde_json::from_str(&text).map_err(|error| {
        unread(&error, booster(&mut serde_json::Deserializer::from_str(&text))).line(error.line() as u64)
    })?;
    from_document(document)
}

pub(in crate::export) fn import_ubjson(bytes: &[u8]) -> Result<Import> {
    let value = ubjson::parse(bytes).map_err(damaged)?;
    let document = Document::deserialize(&value).map_err(|error| unread(&error, booster(&value)))?;
    from_document(document)
}

/// Why a document of this `booster` could not be read.
fn unread(error: &serde_json::Error, booster: Option<String>) -> Error {
    match booster {
        Some(name) if name != "gbtree" && name != "dart" => other_booster(&name),
        _ => damaged(format!("this is not a whole XGBoost model: {error}")),
    }
}

fn from_document(document: Document) -> Result<Import> {
    let is_read = |version: &[u32]| matches!(version, [2 | 3, ..] | [1, 7, ..]);
    if !is_read(&document.version) {
        let message = format!("version {:?}, but this build reads 1.7, 2 and 3", document.version);
        return Err(damaged(message).field("version"));
    }
    let mut learner = document.learner;
    let booster = &mut learner.gradient_booster;
    // `dart` is `gbtree` with a factor for each tree.
    let model = match (booster.name.as_str(), booster.model.take(), booster.gbtree.take()) {
        ("gbtree", model, _) => model,
        ("dart", _, inner) => inner.and_then(|inner| inner.model),
        (name, ..) => return Err(other_booster(name)),
    };
    let mut model =
        model.ok_or_else(|| damaged("there are no trees").field("learner.gradient_booster.model"))?;
    model.weight_drop.append(&mut booster.weight_drop);
    let features = features(&learner)?;
    let (objective, base) = base(&learner, model.trees.len())?;
    let mut notes = Vec::new();
    if objective == CUSTOM {
        let name = &learner.objective.name;
        notes.push(format!(
            "`{name}` has no namesake here: what is predicted are scores, as `output_margin` has them"
        ));
    }
    if !model.cats.enc.is_empty() {
        notes.push("the names of categories are not read: in a table, a category is its number in the model's list of them, from 0".to_owned());
    }
    let in_round: usize = number("num_parallel_tree", &model.gbtree_model_param.num_parallel_tree)?;
    let in_round = in_round.max(1);
    let mut of_output = of_outputs(model, features.len(), base.len())?;
    let rounds = of_output[0].len() / in_round;
    if let Some(best) = learner.attributes.get("best_iteration") {
        let best: usize = number("learner.attributes.best_iteration", best)?;
        let used = best.saturating_add(1);
        if used < rounds && learner.attributes.contains_key("scikit_learn") {
            of_output.iter_mut().for_each(|trees| trees.truncate(used * in_round));
            notes.push(format!("of {rounds} rounds, those up to `best_iteration` {best} are used, as XGBoost's scikit-learn interface does"));
        } else if used < rounds {
            notes.push(format!("all {rounds} rounds are used, as `Booster.predict` does, although `best_iteration` is {best}; to have the best alone, save `booster[:{used}]`"));
        }
    }
    let ensemble = Ensemble { objective: objective.to_owned(), features, base, trees: in_turn(of_output)? };
    ensemble.check()?;
    Ok(Import { ensemble, notes })
}

/// The trees of each output.
fn of_outputs(model: Model, columns: usize, outputs: usize) -> Result<Vec<Vec<Tree>>> {
    let count: usize = number("num_trees", &model.gbtree_model_param.num_trees)?;
    if [model.trees.len(), model.tree_info.len()] != [count; 2] {
        let message =
            format!("{} and {} entries for {count} trees", model.trees.len(), model.tree_info.len());
        return Err(damaged(message).field("trees, tree_info"));
    }
    let factors = model.weight_drop;
    if factors.len() > count {
        return Err(damaged(format!("{} factors for {count} trees", factors.len())).field("weight_drop"));
    }
    let mut of_output: Vec<Vec<Tree>> = (0..outputs).map(|_| Vec::new()).collect();
    for (index, (nodes, output)) in model.trees.into_iter().zip(model.tree_info).enumerate() {
        let mut tree = tree(nodes)
            .and_then(|tree| tree.check(columns).map_err(damaged).map(|()| tree))
            .map_err(|error| error.field(format!("learner.gradient_booster.model.trees[{index}]")))?;
        if let Some(&factor) = factors.get(index) {
            tree.leaf_values.iter_mut().for_each(|value| *value *= f64::from(factor));
        }
        of_output
            .get_mut(output)
            .ok_or_else(|| damaged(format!("output {output} of {outputs}")).field("tree_info"))?
            .push(tree);
    }
    Ok(of_output)
}

fn damaged(message: impl Into<String>) -> Error {
    wrong(message).next_step(SAVE_AGAIN)
}

fn other_booster(name: &str) -> Error {
    wrong(format!("the booster is `{name}`; only trees that add up can be read"))
        .field("learner.gradient_booster.name")
        .next_step("train with `booster=gbtree` or `dart`")
}

/// A number that stands in a string.
fn number<T: std::str::FromStr>(field: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| damaged(format!("`{text}` is no number that belongs here")).field(field))
}

fn features(learner: &Learner) -> Result<Vec<String>> {
    let columns: usize = number("num_feature", &learner.learner_model_param.num_feature)?;
    let names = &learner.feature_names;
    if !names.is_empty() && names.len() != columns {
        let message = format!("{} names for {columns} features", names.len());
        return Err(damaged(message).field("learner.feature_names"));
    }
    if !names.is_empty() {
        return Ok(names.clone());
    }
    if columns > MOST_NAMELESS {
        let message =
            format!("{columns} features without names, but at most {MOST_NAMELESS} can be named here");
        return Err(wrong(message).field("num_feature").next_step("give the model's features names"));
    }
    Ok(nameless(columns).collect())
}

/// Our name for the objective, and the scores that the trees are added to.
fn base(learner: &Learner, trees: usize) -> Result<(&'static str, Vec<f64>)> {
    let name = learner.objective.name.as_str();
    let Some((_, objective, link)) = OBJECTIVES.iter().find(|(theirs, ..)| *theirs == name) else {
        return Err(wrong(format!("`{name}`: how its base score becomes a score is not known here"))
            .field("learner.objective.name")
            .next_step("train with an objective that `foretap::export` lists"));
    };
    let parameters = &learner.learner_model_param;
    let classes: usize = number("num_class", &parameters.num_class)?;
    let targets: usize = number("num_target", &parameters.num_target)?;
    let text = parameters.base_score.trim();
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let scores: Vec<f32> =
        list.split(',').map(|score| number("base_score", score.trim())).collect::<Result<_>>()?;
    let outputs = classes.max(targets).max(1);
    let scores = match scores[..] {
        _ if classes > 1 && targets > 1 => {
            return Err(damaged(format!("{classes} classes and {targets} targets")).field("num_class"));
        }
        _ if scores.len() == outputs => scores,
        // Every output has at least a tree, which bounds the list.
        [score] if outputs <= trees => vec![score; outputs],
        _ => {
            let message = format!("{} scores and {trees} trees for {outputs} outputs", scores.len());
            return Err(damaged(message).field("base_score"));
        }
    };
    // An objective for one output may have several targets there.
    let objective = if fits(objective, outputs) { *objective } else { CUSTOM };
    Ok((objective, scores.into_iter().map(|score| f64::from(link.score(score))).collect()))
}

/// Trees in the order of an ensemble, where outputs take turns.
fn in_turn(of_output: Vec<Vec<Tree>>) -> Result<Vec<Tree>> {
    let rounds = of_output.first().map_or(0, Vec::len);
    if of_output.iter().any(|trees| trees.len() != rounds) {
        return Err(damaged("some outputs have more trees than others").field("tree_info"));
    }
    let mut turns: Vec<_> = of_output.into_iter().map(Vec::into_iter).collect();
    Ok((0..rounds).flat_map(|_| turns.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect())
}

fn tree(nodes: TreeNodes) -> Result<Tree> {
    check_lengths(&nodes)?;
    let mut categories = categories(&nodes)?;
    let walk = Walk::over(&nodes)?;
    let split = |&node: &usize| {
        let [left, right] =
            [nodes.left_children[node], nodes.right_children[node]].map(|child| walk.found(child));
        let condition = nodes.split_conditions[node];
        let (test, swapped) = match categories[node].take() {
            Some(right) => (SplitCondition::Categories(right), true),
            // No number goes left, as if none were listed.
            None if condition == f32::MIN => (SplitCondition::Categories(Vec::new()), false),
            None => (SplitCondition::Threshold(condition.next_down()), false),
        };
        SplitNode {
            feature: nodes.split_indices[node],
            test,
            missing_left: nodes.default_left[node].0 != swapped,
            // A gain tells of the training only; one that is no number says nothing.
            gain: Some(nodes.loss_changes[node]).filter(|gain| gain.is_finite()).unwrap_or(0.0),
            left: if swapped { right } else { left },
            right: if swapped { left } else { right },
        }
    };
    let of_leaves = |list: &[f32]| walk.leaves.iter().map(|&node| f64::from(list[node])).collect();
    Ok(Tree {
        splits: walk.splits.iter().map(split).collect(),
        leaf_values: of_leaves(&nodes.split_conditions),
        leaf_cover: of_leaves(&nodes.sum_hessian),
    })
}

/// Every list has an entry a node, and every leaf one value.
fn check_lengths(nodes: &TreeNodes) -> Result<()> {
    // 0 before version 2.
    let vector: usize = number("size_leaf_vector", &nodes.tree_param.size_leaf_vector)?;
    if vector > 1 {
        return Err(wrong(format!("each leaf holds {vector} values; here it holds one"))
            .next_step("train with `multi_strategy=one_output_per_tree`"));
    }
    let count = nodes.left_children.len();
    let lengths = [
        number("num_nodes", &nodes.tree_param.num_nodes)?,
        nodes.right_children.len(),
        nodes.default_left.len(),
        nodes.loss_changes.len(),
        nodes.split_conditions.len(),
        nodes.split_indices.len(),
        nodes.split_type.len(),
        nodes.sum_hessian.len(),
    ];
    if count == 0 || lengths.iter().any(|&length| length != count) {
        return Err(damaged(format!("lists of {count} and {lengths:?} entries, where each node has one")));
    }
    Ok(())
}

/// Nodes in the order of their levels. A file may hold nodes that were pruned: they are met by no walk.
struct Walk {
    splits: Vec<usize>,
    leaves: Vec<usize>,
    /// What each node is here.
    found: Vec<Option<Child>>,
}

impl Walk {
    fn over(nodes: &TreeNodes) -> Result<Self> {
        let count = nodes.left_children.len();
        let mut walk = Self { splits: Vec::new(), leaves: Vec::new(), found: vec![None; count] };
        let mut met = vec![false; count];
        met[0] = true;
        let mut order = vec![0];
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            next += 1;
            let (left, right) = (nodes.left_children[node], nodes.right_children[node]);
            if (left, right) == (LEAF, LEAF) {
                walk.found[node] = Some(Child::Leaf(walk.leaves.len()));
                walk.leaves.push(node);
                continue;
            }
            walk.found[node] = Some(Child::Split(walk.splits.len()));
            walk.splits.push(node);
            // XGBoost finds the right child by adding one to the left.
            let children = [left, right].map(|child| usize::try_from(child).unwrap_or(count));
            if children[1] >= count || children[0] + 1 != children[1] {
                let message = format!("node {node} has the children {left} and {right} of {count} nodes");
                return Err(damaged(message));
            }
            for child in children {
                if std::mem::replace(&mut met[child], true) {
                    return Err(damaged(format!("node {child} is the child of two nodes, or the root")));
                }
                order.push(child);
            }
        }
        Ok(walk)
    }

    /// What the child of a split is here. Every child was met; a leaf that is none would be refused later.
    fn found(&self, child: i32) -> Child {
        let node = usize::try_from(child).ok().and_then(|child| *self.found.get(child)?);
        node.unwrap_or(Child::Leaf(usize::MAX))
    }
}

/// The categories that go right at each node, ascending; none where a split is a comparison.
fn categories(nodes: &TreeNodes) -> Result<Vec<Option<Vec<u32>>>> {
    let lists = nodes.categories_nodes.len();
    if [nodes.categories_segments.len(), nodes.categories_sizes.len()] != [lists; 2] {
        return Err(damaged("lists of categories without a beginning or a size").field("categories_segments"));
    }
    let mut found = vec![None; nodes.left_children.len()];
    let mut begin = 0;
    for list in 0..lists {
        let (node, size) = (nodes.categories_nodes[list], nodes.categories_sizes[list]);
        // One list after the other, so that no two share a part.
        let codes = Some(nodes.categories_segments[list])
            .filter(|&segment| segment == begin && size > 0)
            .and_then(|segment| nodes.categories.get(segment..segment.saturating_add(size)));
        let (Some(codes), Some(entry @ None)) = (codes, found.get_mut(node)) else {
            return Err(damaged(format!("list {list} of categories fits no node")).field("categories_nodes"));
        };
        begin += size;
        let mut codes = codes.to_vec();
        codes.sort_unstable();
        codes.dedup();
        check_categories(&codes)?;
        *entry = Some(codes);
    }
    let by_category = nodes.split_type.iter().map(|flag| flag.0);
    if !by_category.eq(found.iter().map(Option::is_some)) {
        return Err(damaged("splits by category and lists of categories do not match").field("split_type"));
    }
    Ok(found)
}
