//! The JSON document, field by field. Fields that no prediction depends on are not read.

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    pub learner: Learner,
    pub version: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Learner {
    #[serde(skip_deserializing)]
    pub attributes: Empty,
    #[serde(default)]
    pub feature_names: Vec<String>,
    /// `c` for categories; of a model without any the list is empty.
    #[serde(skip_deserializing)]
    pub feature_types: Vec<&'static str>,
    pub gradient_booster: Booster,
    pub learner_model_param: LearnerParameters,
    pub objective: Objective,
}

/// `{}`
#[derive(Default, Serialize)]
pub(super) struct Empty {}

#[derive(Serialize, Deserialize)]
pub(super) struct Booster {
    pub model: Model,
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
    pub gbtree_model_param: ModelParameters,
    /// Where each round's trees begin, and where the last one's end.
    #[serde(skip_deserializing)]
    pub iteration_indptr: Vec<usize>,
    /// The output that each tree adds to.
    pub tree_info: Vec<usize>,
    pub trees: Vec<TreeNodes>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ModelParameters {
    #[serde(skip_deserializing)]
    pub num_parallel_tree: &'static str,
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
    pub loss_changes: Vec<f32>,
    #[serde(skip_deserializing)]
    pub parents: Vec<i32>,
    pub right_children: Vec<i32>,
    /// The value of a leaf.
    pub split_conditions: Vec<f32>,
    pub split_indices: Vec<usize>,
    /// Whether a split is by category.
    pub split_type: Vec<Flag>,
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

/// What kind of booster a document holds, where the rest of it cannot be read.
pub(super) fn booster(text: &str) -> Option<String> {
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
    let document: Document = serde_json::from_str(text).ok()?;
    Some(document.learner.gradient_booster.name)
}
