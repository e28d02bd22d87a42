//! The JSON document, field by field. Fields that no prediction depends on are not read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{Deserializer, Error, IgnoredAny, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    pub learner: Learner,
    pub version: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Learner {
    /// Notes of whoever trained it: `best_iteration`, and `scikit_learn` where that interface saved it.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub feature_names: Vec<String>,
    /// `c` for categories; of a model without any the list is empty.
    #[serde(skip_deserializing)]
    pub feature_types: Vec<&'static str>,
    pub gradient_booster: Booster,
    pub learner_model_param: LearnerParameters,
    pub objective: Objective,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Booster {
    /// That of `dart`, and what each of its trees is multiplied by, up to version 3.2.
    #[serde(default, skip_serializing)]
    pub gbtree: Option<Box<Booster>>,
    #[serde(default, skip_serializing)]
    pub weight_drop: Vec<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    pub name: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct LearnerParameters {
    /// A list of numbers, in one string; before version 3.1 a single number.
    pub base_score: String,
    #[serde(skip_deserializing)]
    pub boost_from_average: &'static str,
    pub num_class: String,
    pub num_feature: String,
    #[serde(default = "one")]
    pub num_target: String,
}

fn one() -> String {
    "1".to_owned()
}

#[derive(Serialize, Deserialize)]
pub(super) struct Objective {
    pub name: String,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub softmax_multiclass_param: Option<MulticlassParameters>,
}

#[derive(Serialize)]
pub(super) struct MulticlassParameters {
    pub num_class: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Model {
    #[serde(default, skip_serializing)]
    pub cats: CategoryNames,
    pub gbtree_model_param: ModelParameters,
    /// Where each round's trees begin, and where the last one's end.
    #[serde(skip_deserializing)]
    pub iteration_indptr: Vec<usize>,
    /// The output that each tree adds to.
    pub tree_info: Vec<usize>,
    pub trees: Vec<TreeNodes>,
    /// What each of the first trees is multiplied by, as later versions write `dart`.
    #[serde(default, skip_serializing)]
    pub weight_drop: Vec<f32>,
}

/// The names that categories had in a data frame: a list for each column of the frame.
#[derive(Default, Deserialize)]
pub(super) struct CategoryNames {
    #[serde(default)]
    pub enc: Vec<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ModelParameters {
    #[serde(default = "one")]
    pub num_parallel_tree: String,
    pub num_trees: String,
}

/// A tree in parallel lists, an entry a node; node 0 is the root.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct TreeNodes {
    #[serde(skip_deserializing)]
    pub base_weights: Vec<f32>,
    /// The categories of all splits by category; each split's begin at its segment and are as many as its size.
    #[serde(default)]
    pub categories: Vec<u32>,
    #[serde(default)]
    pub categories_nodes: Vec<usize>,
    #[serde(default)]
    pub categories_segments: Vec<usize>,
    #[serde(default)]
    pub categories_sizes: Vec<usize>,
    pub default_left: Vec<Flag>,
    pub id: usize,
    /// -1 for leaves, here and on the right.
    pub left_children: Vec<i32>,
    /// This and `sum_hessian` are left out where leaves hold vectors.
    #[serde(default, deserialize_with = "floats")]
    pub loss_changes: Vec<f32>,
    #[serde(skip_deserializing)]
    pub parents: Vec<i32>,
    pub right_children: Vec<i32>,
    /// The value of a leaf; NaN, before version 3, of a split by category.
    #[serde(deserialize_with = "floats")]
    pub split_conditions: Vec<f32>,
    pub split_indices: Vec<usize>,
    /// Whether a split is by category.
    pub split_type: Vec<Flag>,
    #[serde(default, deserialize_with = "floats")]
    pub sum_hessian: Vec<f32>,
    pub tree_param: TreeParameters,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct TreeParameters {
    #[serde(skip_deserializing)]
    pub num_deleted: &'static str,
    #[serde(skip_deserializing)]
    pub num_feature: String,
    pub num_nodes: String,
    pub size_leaf_vector: String,
}

/// 0 or 1; in older files `false` or `true`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flag(pub bool);

impl Serialize for Flag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(self.0))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ZeroOrOne;
        impl Visitor<'_> for ZeroOrOne {
            type Value = Flag;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("0 or 1")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
                match value {
                    0 | 1 => Ok(Flag(value == 1)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(ZeroOrOne)
    }
}

/// Numbers, NaN where [`valid_json`] has null.
fn floats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    let floats = Vec::<Option<f32>>::deserialize(deserializer)?;
    Ok(floats.into_iter().map(|float| float.unwrap_or(f32::NAN)).collect())
}

/// `text` with null for the numbers that XGBoost writes as `NaN` and `Infinity`, which no JSON has.
pub(in crate::export) fn valid_json(text: &str) -> Cow<'_, str> {
    const NO_NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !NO_NUMBERS.iter().any(|name| text.contains(name)) {
        return Cow::Borrowed(text);
    }
    let mut valid = String::with_capacity(text.len());
    let (mut in_string, mut rest) = (false, text);
    while let Some(at) = rest.find(['"', '\\', 'N', 'I', '-']) {
        let (before, from) = rest.split_at(at);
        valid.push_str(before);
        let name = NO_NUMBERS.iter().find(|name| !in_string && from.starts_with(**name));
        let (read, written) = match (name, from.as_bytes()) {
            (Some(name), _) => (name.len(), "null"),
            // What is escaped ends no string. It may be longer than a byte.
            (None, [b'\\', ..]) => {
                let length = 1 + from[1..].chars().next().map_or(0, char::len_utf8);
                (length, &from[..length])
            }
            (None, [byte, ..]) => {
                in_string ^= *byte == b'"';
                (1, &from[..1])
            }
            (None, []) => break,
        };
        valid.push_str(written);
        rest = &from[read..];
    }
    valid.push_str(rest);
    Cow::Owned(valid)
}

/// What kind of booster a document holds, where the rest of it cannot be read.
pub(super) fn booster<'de, D: Deserializer<'de>>(document: D) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        learner: Learner,
    }
    #[derive(Deserialize)]
    struct Learner {
        gradient_booster: Booster,
    }
    #[derive(Deserialize)]
    struct Booster {
        name: String,
    }
    Some(Document::deserialize(document).ok()?.learner.gradient_booster.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_json_has_become_null() {
        for (text, expected) in [
            ("[NaN,-Infinity,Infinity,-1]", "[null,null,null,-1]"),
            (r#"{"NaN":["a\"NaN\\",NaN]}"#, r#"{"NaN":["a\"NaN\\",null]}"#),
            (r#"["-Infinity é",NaN,"\é",NaN"#, r#"["-Infinity é",null,"\é",null"#),
            ("{\"Nano\": 1}", "{\"Nano\": 1}"),
            ("NaN\\", "null\\"),
        ] {
            assert_eq!(valid_json(text), expected);
        }
    }
}
