//! LightGBM's text as our trees.

use std::collections::HashMap;
use std::str::FromStr;

use super::{BELOW_ZERO, BY_CATEGORY, DEFAULT_LEFT, ZERO, beside_zero, objective_here};
use crate::error::{Error, Result};
use crate::export::{CUSTOM, Import, MAX_CATEGORIES, fits, refuse_dump, without_mark, wrong};
use crate::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};

const RETRAIN: &str = "train with `zero_as_missing=false`";
const SAVE_AGAIN: &str = "save the model again with LightGBM's `save_model`";

/// Reads LightGBM's text. Every row of 32-bit floats, or of decimals of up to nine digits, then scores as it does there.
///
/// # Errors
/// The text is no model of version 3 or 4, is damaged or cut off, or holds what our trees cannot say. Names the line
/// and its key.
pub fn read(text: &str) -> Result<Ensemble> {
    import(text).map(|import| import.ensemble)
}

pub(in crate::export) fn import(text: &str) -> Result<Import> {
    let text = without_mark(text);
    refuse_dump(text)?;
    let mut sections = sections(text)?;
    let header = sections.remove(0);
    header.check_version()?;
    let names = header.field("feature_names")?;
    let features: Vec<String> =
        names.text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
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
    let theirs = header.get("objective").map_or("", |field| field.text.trim());
    let objective = Some(objective_here(theirs, count)).filter(|ours| fits(ours, count)).unwrap_or(CUSTOM);
    let mut notes = Vec::new();
    if objective == CUSTOM && !theirs.is_empty() {
        notes.push(format!(
            "`{theirs}` has no namesake here: what is predicted are scores, as `raw_score` has them"
        ));
    }
    let names_of_categories = text.rsplit_once("\npandas_categorical:").map(|(_, names)| names.trim());
    if names_of_categories.is_some_and(|names| !["", "null", "[]"].contains(&names)) {
        notes.push("the names of categories are not read: in a table, a category is its number in the model's list of them, from 0".to_owned());
    }
    let ensemble = Ensemble { objective: objective.to_owned(), features, base: vec![0.0; count], trees };
    Ok(Import { ensemble, notes })
}

/// Lines of `key=value` that belong together: those about the model, or those of one tree.
struct Section<'a> {
    /// The first line, counted from 1.
    line: u64,
    /// Its length, blank lines at its end included; the ends of lines count as one, as LightGBM writes them.
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
        section.bytes += line.len() + usize::from(whole.ends_with('\n'));
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
    let leaf_values: Vec<f64> = section.field("leaf_value")?.list(leaves)?;
    // A tree that is a single leaf may leave its list empty.
    let leaf_cover = match section.get("leaf_count").filter(|counts| !counts.text.is_empty()) {
        Some(counts) => counts.list::<u32>(leaves)?.into_iter().map(f64::from).collect(),
        None => vec![0.0; leaf_values.len()],
    };
    let splits = if leaves == 1 { Vec::new() } else { splits(section, leaves - 1)? };
    let tree = Tree { splits, leaf_values, leaf_cover };
    tree.check(columns).map_err(|why| damaged(section.line, why))?;
    Ok(tree)
}

fn splits(section: &Section<'_>, count: usize) -> Result<Vec<SplitNode>> {
    let features: Vec<usize> = section.field("split_feature")?.list(count)?;
    let mut gains: Vec<f32> = section.field("split_gain")?.list(count)?;
    let thresholds: Vec<f64> = section.field("threshold")?.list(count)?;
    let decisions: Vec<u8> = section.field("decision_type")?.list(count)?;
    let left: Vec<i64> = section.field("left_child")?.list(count)?;
    let right: Vec<i64> = section.field("right_child")?.list(count)?;
    if gains.iter().any(|gain| gain.is_nan()) {
        return Err(section.wrong("split_gain", "a gain is no number".to_owned()));
    }
    gains.iter_mut().for_each(|gain| *gain = gain.clamp(f32::MIN, f32::MAX));
    let mut categories = categories(section)?.into_iter().enumerate();
    let mut splits = Vec::with_capacity(count);
    for node in 0..count {
        let wrong = |message| section.wrong("threshold", format!("split {node}: {message}"));
        let (mut left, mut right) = (child(left[node]), child(right[node]));
        let (test, missing_left) = if decisions[node] & BY_CATEGORY != 0 {
            // The threshold is the number of a list; lists are used in turn, and each once.
            match categories.next() {
                Some((list, listed)) if thresholds[node] == list as f64 => {
                    (SplitCondition::Categories(listed), false)
                }
                _ => {
                    return Err(wrong(format!("there is no list {} of categories for it", thresholds[node])));
                }
            }
        } else {
            match comparison(thresholds[node], decisions[node]) {
                // Whatever is there goes left: here, where no category is listed, right.
                Ok((f32::INFINITY, missing_left)) => {
                    (left, right) = (right, left);
                    (SplitCondition::Categories(Vec::new()), !missing_left)
                }
                Ok((threshold, missing_left)) => (SplitCondition::Threshold(threshold), missing_left),
                Err(why) => return Err(wrong(why).next_step(RETRAIN)),
            }
        };
        let (feature, gain) = (features[node], gains[node]);
        splits.push(SplitNode { feature, test, missing_left, gain, left, right });
    }
    if categories.next().is_some() {
        return Err(section.wrong("num_cat", "more lists of categories than splits by category".to_owned()));
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

/// A comparison as ours: the threshold, which may be infinity, and whether NaN goes left.
fn comparison(threshold: f64, decision: u8) -> std::result::Result<(f32, bool), String> {
    let zero_left = 0.0 <= threshold;
    let default_left = decision & DEFAULT_LEFT != 0;
    // Only negative infinity is below the smallest float; that goes with it, for no threshold of ours is infinite.
    let rounded = beside_zero(narrow(threshold).max(f32::MIN), zero_left);
    if threshold.is_nan() {
        return Err("its threshold is no number".to_owned());
    }
    match decision >> 2 {
        // NaN is zero.
        0 => Ok((rounded, zero_left)),
        // Zero is NaN, and both go the default way. Where that is not zero's own side of the threshold, the threshold
        // moves past zero, which must be next to it.
        1 if default_left == zero_left => Ok((rounded, default_left)),
        1 if rounded == ZERO => Ok((BELOW_ZERO, false)),
        1 if rounded == BELOW_ZERO => Ok((ZERO, true)),
        1 => Err("zero, which stands for missing (`zero_as_missing`), goes another way than its neighbours on both \
                  sides"
            .into()),
        2 => Ok((rounded, default_left)),
        _ => Err(format!("decisions of type {decision} are not known")),
    }
}

/// The 32-bit float that parts values, rounded to 32 bits, as `threshold` parts them.
fn narrow(threshold: f64) -> f32 {
    let below = largest_up_to(threshold);
    if f64::from(below) == threshold {
        return below;
    }
    // Training puts thresholds midway between two decimals, where another may be. Of 500 rows of LightGBM's example
    // `multiclass`, 4 fell on the wrong side of one such.
    let decimal: f64 = format!("{threshold:.8e}").parse().unwrap_or(threshold);
    let rounded = decimal as f32;
    match decimal {
        _ if decimal.to_bits().abs_diff(threshold.to_bits()) > 2 || rounded.is_infinite() => below,
        _ if decimal <= threshold => below.max(rounded),
        _ => below.min(rounded.next_down()),
    }
}

/// The largest 32-bit float that is not above `threshold`.
fn largest_up_to(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) > threshold { nearest.next_down() } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Tree::NumericalDecision` of LightGBM's `tree.h`, behind the predictor's filter of what is near zero.
    fn goes_left_there(value: f32, threshold: f64, decision: u8) -> bool {
        let mut value = f64::from(value);
        if value.abs() <= f64::from(ZERO) {
            value = 0.0;
        }
        let missing = decision >> 2;
        if value.is_nan() && missing != 2 {
            value = 0.0;
        }
        if (missing == 1 && value.abs() <= f64::from(ZERO)) || (missing == 2 && value.is_nan()) {
            return decision & DEFAULT_LEFT != 0;
        }
        value <= threshold
    }

    #[test]
    fn decimals_fall_where_they_do_in_64_bits() {
        // The last is a midpoint of neighbouring floats.
        let near = [1.71, 0.134, -1.058, -0.922, 1.325, 1.179, -1.857, 123456.789, 0.1, -0.1, 16_777_217.0];
        for decimal in near {
            let steps = std::iter::successors(Some(f64::next_down(f64::next_down(decimal))), |step| {
                Some(step.next_up())
            });
            for threshold in steps.take(5) {
                let (left, missing) = comparison(threshold, 8).unwrap();
                assert!(!missing);
                let unit = 0.001 * decimal;
                for value in [decimal - unit, decimal, decimal + unit] {
                    let is_midpoint = decimal == 16_777_217.0 && value == decimal;
                    assert!(
                        is_midpoint || (value as f32 <= left) == (value <= threshold),
                        "{value} <= {threshold:?}"
                    );
                }
            }
        }
        // Thresholds between floats are none next to a short decimal.
        for (below, above) in [(0.1_f32, 0.1_f32.next_up()), (1.709, 1.711), (16_777_216.0, 16_777_218.0)] {
            let middle = (f64::from(below) + f64::from(above)) / 2.0;
            for threshold in [middle, middle.next_up()] {
                let (left, _) = comparison(threshold, 8).unwrap();
                assert!(below <= left && left < above, "{threshold:?}");
            }
        }
    }

    #[test]
    fn comparisons_fall_the_same_way() {
        let k = f64::from(ZERO);
        let thresholds = [
            0.0,
            -0.0,
            k,
            -k,
            k / 2.0,
            -k / 2.0,
            1e-60,
            -1e-60,
            0.1,
            -0.1,
            1.0,
            16_777_217.0,
            1e39,
            1e300,
            f64::INFINITY,
            f64::from(f32::MAX),
            f64::from(f32::MIN),
            f64::from(f32::MAX).next_down(),
            f64::from(0.1_f32).next_up(),
            f64::from(0.1_f32).next_down(),
            f64::from(-ZERO).next_down(),
            f64::from((-ZERO).next_down()),
            -1e39,
            f64::MIN,
            f64::NEG_INFINITY,
        ];
        let mut refused = 0;
        for threshold in thresholds {
            let near =
                [threshold as f32, 0.0, -0.0, 1e-40, -1e-40, ZERO, -ZERO, f32::MAX, f32::MIN, f32::NAN];
            let infinite = [f32::INFINITY, f32::NEG_INFINITY];
            let values =
                near.iter().flat_map(|value| [value.next_down(), *value, value.next_up()]).chain(infinite);
            let values: Vec<f32> = values.collect();
            for decision in [0, 2, 4, 6, 8, 10] {
                let Ok((ours, missing_left)) = comparison(threshold, decision) else {
                    refused += 1;
                    assert_eq!(decision >> 2, 1, "{threshold:e} {decision}");
                    continue;
                };
                // The smallest float goes with negative infinity, where LightGBM parts the two. So does one that a
                // decimal is rounded to with that decimal.
                let parts_smallest = threshold < f64::from(f32::MIN);
                let is_told_apart = |value: f32| !(parts_smallest && value == f32::MIN) && value.abs() != 0.1;
                for &value in values.iter().filter(|value| is_told_apart(**value)) {
                    let left = if value.is_nan() { missing_left } else { value <= ours };
                    let there = goes_left_there(value, threshold, decision);
                    assert_eq!(left, there, "{value:e} <= {threshold:e}, decision type {decision}");
                }
            }
        }
        assert!(refused > 0, "zero cut out from between its neighbours");
        for (threshold, decision) in [(f64::NAN, 8), (0.5, 12)] {
            assert!(comparison(threshold, decision).is_err(), "{threshold} {decision}");
        }
    }
}
