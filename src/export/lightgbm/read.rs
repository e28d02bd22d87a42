//! LightGBM's text as our trees.

use std::collections::HashMap;
use std::str::FromStr;

use super::{BELOW_ZERO, BY_CATEGORY, DEFAULT_LEFT, ZERO, beside_zero, objective_here};
use crate::error::{Error, Result};
use crate::export::{CUSTOM, MAX_CATEGORIES, fits, wrong};
use crate::gbdt::{Child, Ensemble, SplitNode, Test, Tree};

const RETRAIN: &str = "train with `zero_as_missing=false`, on values that 32-bit floats can hold";
const SAVE_AGAIN: &str = "save the model again with LightGBM's `save_model`";

/// Reads LightGBM's text. Every 32-bit row then scores as it does there.
///
/// # Errors
/// The text is no model of version 3 or 4, is damaged or cut off, or holds what our trees cannot say. Names the line
/// and its key.
pub fn read(text: &str) -> Result<Ensemble> {
    let mut sections = sections(text)?;
    let header = sections.remove(0);
    header.check_version()?;
    let names = header.field("feature_names")?;
    let features: Vec<String> = names.text.split_ascii_whitespace().map(str::to_owned).collect();
    let last: i64 = header.field("max_feature_idx")?.number()?;
    if features.len() as i64 - 1 != last {
        return Err(names.wrong(format!("{} names for features 0 to {last}", features.len())));
    }
    if let Some(sizes) = header.get("tree_sizes") {
        let sizes: Vec<usize> = sizes.list(sections.len())?;
        for (tree, (size, section)) in sizes.iter().zip(&sections).enumerate() {
            if *size != section.bytes {
                let message =
                    format!("tree {tree} has {} bytes, but `tree_sizes` says {size}", section.bytes);
                return Err(damaged(section.line, message));
            }
        }
    }
    let outputs = header.field("num_tree_per_iteration")?;
    let trees: Vec<Tree> =
        sections.iter().map(|section| tree(section, features.len())).collect::<Result<_>>()?;
    // Bounds the list that is made of it.
    let count: usize = outputs.number()?;
    if count == 0 || count > trees.len().max(1) || !trees.len().is_multiple_of(count) {
        return Err(outputs.wrong(format!("{} trees do not make up {count} outputs", trees.len())));
    }
    let objective = header.get("objective").map_or(CUSTOM, |field| objective_here(field.text, count));
    let objective = if fits(objective, count) { objective } else { CUSTOM };
    Ok(Ensemble { objective: objective.to_owned(), features, base: vec![0.0; count], trees })
}

/// Lines of `key=value` that belong together: those about the model, or those of one tree.
struct Section<'a> {
    /// The first line, counted from 1.
    line: u64,
    /// Its length, blank lines at its end included.
    bytes: usize,
    fields: HashMap<&'a str, Field<'a>>,
}

#[derive(Clone, Copy)]
struct Field<'a> {
    line: u64,
    key: &'a str,
    text: &'a str,
}

/// The section about the model, then one a tree.
fn sections(text: &str) -> Result<Vec<Section<'_>>> {
    let mut found = vec![Section { line: 1, bytes: 0, fields: HashMap::new() }];
    for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
        let line = whole.trim_end_matches(['\n', '\r']);
        if number == 1 && line != "tree" {
            let message = "this is not a LightGBM text model, whose first line is `tree`";
            return Err(wrong(message).line(1).next_step(SAVE_AGAIN));
        }
        if line == "end of trees" {
            return Ok(found);
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let trees = found.len() - 1;
        if key == "Tree" {
            if value.parse() != Ok(trees) {
                return Err(damaged(number, format!("`{line}` stands where `Tree={trees}` should")));
            }
            found.push(Section { line: number, bytes: 0, fields: HashMap::new() });
        }
        let Some(section) = found.last_mut() else { continue };
        section.bytes += whole.len();
        let field = Field { line: number, key, text: value };
        if !line.is_empty() && section.fields.insert(key, field).is_some() {
            return Err(damaged(number, format!("`{key}` for the second time")));
        }
    }
    Err(wrong("the file is cut off: the line `end of trees` is missing").next_step("copy the file again"))
}

fn damaged(line: u64, message: String) -> Error {
    wrong(message).line(line).next_step(SAVE_AGAIN)
}

impl<'a> Section<'a> {
    fn wrong(&self, key: &str, message: String) -> Error {
        damaged(self.get(key).map_or(self.line, |field| field.line), message).field(key)
    }

    fn get(&self, key: &str) -> Option<Field<'a>> {
        self.fields.get(key).copied()
    }

    fn field(&self, key: &str) -> Result<Field<'a>> {
        self.get(key).ok_or_else(|| damaged(self.line, "a line is missing here".to_owned()).field(key))
    }

    /// Refuses what is another kind of model.
    fn check_version(&self) -> Result<()> {
        let version = self.field("version")?;
        if !["v3", "v4"].contains(&version.text) {
            return Err(version.wrong(format!("version {}, but this build reads v3 and v4", version.text)));
        }
        if let Some(averaged) = self.get("average_output") {
            return Err(averaged
                .wrong("the trees are averaged (a random forest); here they add up".to_owned())
                .next_step("train with `boosting=gbdt`"));
        }
        Ok(())
    }
}

impl Field<'_> {
    fn wrong(&self, message: String) -> Error {
        damaged(self.line, message).field(self.key)
    }

    fn number<T: FromStr>(&self) -> Result<T> {
        self.parse(self.text.trim())
    }

    /// Exactly `count` numbers.
    fn list<T: FromStr>(&self, count: usize) -> Result<Vec<T>> {
        let numbers: Vec<T> =
            self.text.split_ascii_whitespace().map(|text| self.parse(text)).collect::<Result<_>>()?;
        if numbers.len() == count {
            return Ok(numbers);
        }
        Err(self.wrong(format!("{} numbers, where {count} belong", numbers.len())))
    }

    fn parse<T: FromStr>(&self, text: &str) -> Result<T> {
        text.parse().map_err(|_| self.wrong(format!("`{text}` is no number that belongs here")))
    }
}

fn tree(section: &Section<'_>, columns: usize) -> Result<Tree> {
    let leaves_field = section.field("num_leaves")?;
    let leaves: usize = leaves_field.number()?;
    if leaves == 0 {
        return Err(leaves_field.wrong("a tree without leaves".to_owned()));
    }
    if let Some(linear) = section.get("is_linear")
        && linear.text != "0"
    {
        return Err(linear
            .wrong("the leaves hold linear models; here they hold constants".to_owned())
            .next_step("train with `linear_tree=false`"));
    }
    // A tree that is a single leaf may leave its list empty.
    let counts = section.get("leaf_count").filter(|counts| !counts.text.is_empty());
    let leaf_cover = match counts {
        Some(counts) => counts.list::<u32>(leaves)?.into_iter().map(f64::from).collect(),
        None => vec![0.0; section.field("leaf_value")?.list::<f64>(leaves)?.len()],
    };
    let tree = Tree {
        splits: if leaves == 1 { Vec::new() } else { splits(section, leaves - 1)? },
        leaf_values: section.field("leaf_value")?.list(leaves)?,
        leaf_cover,
    };
    tree.check(columns).map_err(|why| damaged(section.line, why))?;
    Ok(tree)
}

fn splits(section: &Section<'_>, count: usize) -> Result<Vec<SplitNode>> {
    let features: Vec<usize> = section.field("split_feature")?.list(count)?;
    let gains: Vec<f32> = section.field("split_gain")?.list(count)?;
    let thresholds: Vec<f64> = section.field("threshold")?.list(count)?;
    let decisions: Vec<u8> = section.field("decision_type")?.list(count)?;
    let left: Vec<i64> = section.field("left_child")?.list(count)?;
    let right: Vec<i64> = section.field("right_child")?.list(count)?;
    let mut categories = categories(section)?.into_iter().enumerate();
    let mut splits = Vec::with_capacity(count);
    for node in 0..count {
        let threshold = thresholds[node];
        let (mut left, mut right) = (child(left[node]), child(right[node]));
        let (test, missing_left) = if decisions[node] & BY_CATEGORY == 0 && threshold == f64::INFINITY {
            // What is a number goes left: here, where no category is listed, right.
            (left, right) = (right, left);
            (Test::Categories(Vec::new()), decisions[node] & DEFAULT_LEFT == 0)
        } else if decisions[node] & BY_CATEGORY == 0 {
            number_test(threshold, decisions[node]).map_err(|why| {
                section.wrong("threshold", format!("split {node}: {why}")).next_step(RETRAIN)
            })?
        } else {
            // The threshold is the number of a list; lists are used in turn, and each once.
            match categories.next() {
                Some((list, left)) if threshold == list as f64 => (Test::Categories(left), false),
                _ => {
                    let message = format!("split {node} asks for list {threshold} of categories");
                    return Err(section.wrong("threshold", message));
                }
            }
        };
        let (feature, gain) = (features[node], gains[node]);
        splits.push(SplitNode { feature, test, missing_left, gain, left, right });
    }
    Ok(splits)
}

/// Inner nodes are numbered from 0 up, leaves from -1 down.
fn child(number: i64) -> Child {
    match usize::try_from(number) {
        Ok(node) => Child::Split(node),
        // Not negative, and too large only where `usize` has 32 bits: no leaf has that number then.
        Err(_) => Child::Leaf(usize::try_from(!number).unwrap_or(usize::MAX)),
    }
}

/// The categories that go left, one list a split.
fn categories(section: &Section<'_>) -> Result<Vec<Vec<u32>>> {
    let count: usize = section.field("num_cat")?.number()?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let boundaries: Vec<usize> = section.field("cat_boundaries")?.list(count.saturating_add(1))?;
    let words: Vec<u32> = section.field("cat_threshold")?.list(boundaries.last().copied().unwrap_or(0))?;
    let list = |bounds: &[usize]| {
        let words = words.get(bounds[0]..bounds[1]).ok_or_else(|| {
            section.wrong("cat_boundaries", format!("{} does not follow {}", bounds[1], bounds[0]))
        })?;
        if words.len() > MAX_CATEGORIES as usize / 32 {
            let message = format!(
                "{} categories, but 32-bit floats tell only {MAX_CATEGORIES} apart",
                32 * words.len()
            );
            return Err(section.wrong("cat_boundaries", message));
        }
        let bits = (0_u32..).step_by(32).zip(words).flat_map(|(first, word)| {
            (0..32).filter(move |bit| word >> bit & 1 != 0).map(move |bit| first + bit)
        });
        Ok(bits.collect())
    };
    boundaries.windows(2).map(list).collect()
}

/// A comparison as ours: the threshold, and whether NaN goes left.
fn number_test(threshold: f64, decision: u8) -> std::result::Result<(Test, bool), String> {
    let zero_left = 0.0 <= threshold;
    let default_left = decision & DEFAULT_LEFT != 0;
    let rounded = beside_zero(largest_up_to(threshold), zero_left);
    if !rounded.is_finite() {
        return Err(format!("no finite 32-bit float is {threshold} or less"));
    }
    let (threshold, missing_left) = match decision >> 2 {
        // NaN is zero.
        0 => (rounded, zero_left),
        // Zero is NaN, and both go the default way: where that is the other side of the threshold than zero's own,
        // the threshold moves past zero, which must be next to it.
        1 if default_left == zero_left => (rounded, default_left),
        1 if rounded == ZERO => (BELOW_ZERO, false),
        1 if rounded == BELOW_ZERO => (ZERO, true),
        1 => return Err("zero is cut out from between its neighbours, for it stands for missing".into()),
        2 => (rounded, default_left),
        _ => return Err(format!("no decision has type {decision}")),
    };
    Ok((Test::Threshold(threshold), missing_left))
}

/// The largest 32-bit float that is not above `threshold`.
fn largest_up_to(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) > threshold { nearest.next_down() } else { nearest }
}
