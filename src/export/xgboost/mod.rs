//! XGBoost's model in JSON, as XGBoost 3.2 writes and loads it. What 1.7 and 2 wrote is read, too, and so is UBJSON.
//!
//! The format is described in XGBoost's "Introduction to Model IO" and defined by its `src/tree/tree_model.cc`,
//! `src/gbm/gbtree_model.cc` and `src/learner.cc`.
//!
//! Where the two engines differ, and what is done about it:
//!
//! - **Comparisons** there are `value < condition`. The condition is the next float above our threshold. For the
//!   largest float there is none; such a split is written as `value < smallest float`, its sides changed over, and
//!   read as a split that only missing values go left of. XGBoost takes no infinite values, which alone could tell.
//! - **Categories** that are listed go right there, so sides change over too. A missing value goes where the split
//!   says. Values between -1 and 0 are no category there and category 0 here.
//! - **Numbers** there are 32-bit: leaf values and base scores are rounded to them on writing (ours are such numbers
//!   already, LightGBM's are not), and sums there are rounded at every tree, ours are not.
//! - **The base score** of a logistic objective is a probability there, which is too coarse near 0 and 1. Ours is
//!   written as a tree of one leaf that stands before the others.
//! - **`dart`** multiplies each tree by a factor; here the leaves are multiplied.
//! - **Early stopping** leaves all trees in the file, and the number of the best round. What the scikit-learn interface
//!   saved is read up to that round, as that interface predicts; else all trees are read, as `Booster.predict` does.
//! - **`gblinear`** and trees with a vector in each leaf (`multi_output_tree`) are refused.
//!
//! A model trained on named categories (a data frame) holds a table of those names. It is not read: here a category is
//! its number in that table.

mod document;
mod read;
mod ubjson;
mod write;

pub(super) use document::valid_json;
pub(super) use read::{import, import_ubjson};
pub use read::{read, read_ubjson};
pub use write::{check_names, write};

use std::path::Path;

use super::{BINARY, CUSTOM, MULTICLASS, RANKINGS, SQUARED_ERROR};
use crate::error::Result;
use crate::gbdt::Ensemble;

/// Reads a model from a file that XGBoost saved as JSON or UBJSON.
///
/// # Errors
/// The file cannot be read, is no XGBoost model, is damaged or cut off, or holds what our trees cannot say.
pub fn read_file(file: &Path) -> Result<Ensemble> {
    let read = |bytes: &[u8]| {
        if super::is_ubjson(bytes) { import_ubjson(bytes) } else { import(super::text(bytes)?) }
    };
    super::read_file(file, read).map(|import| import.ensemble)
}

/// Writes a model to a file that XGBoost loads; its name should end in `.json`, for XGBoost goes by that.
///
/// # Errors
/// Those of [`write()`], or the file cannot be written; it is then as it was.
pub fn write_file(ensemble: &Ensemble, file: &Path) -> Result<()> {
    super::write_file(ensemble, file, write)
}

/// The children of a leaf.
const LEAF: i32 = -1;

/// How a base score in a file becomes a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Identity,
    Logit,
    Log,
}

impl Link {
    /// In 32 bits, as there.
    fn score(self, base: f32) -> f32 {
        // XGBoost's `kRtEps`, by which it keeps certainty out.
        const LEAST: f32 = 1e-6;
        match self {
            Self::Identity => base,
            Self::Logit => -(1.0 / base.clamp(LEAST, 1.0 - LEAST) - 1.0).ln(),
            Self::Log => base.ln(),
        }
    }
}

/// The objectives of XGBoost 3: their name, ours, and their link (`ProbToMargin` in `src/objective`).
const OBJECTIVES: [(&str, &str, Link); 20] = [
    ("reg:squarederror", SQUARED_ERROR, Link::Identity),
    ("reg:linear", SQUARED_ERROR, Link::Identity),
    ("binary:logistic", BINARY, Link::Logit),
    ("binary:logitraw", BINARY, Link::Identity),
    ("reg:logistic", BINARY, Link::Logit),
    ("multi:softprob", MULTICLASS, Link::Identity),
    ("multi:softmax", MULTICLASS, Link::Identity),
    ("rank:ndcg", "lambdarank", Link::Identity),
    ("rank:map", CUSTOM, Link::Identity),
    ("rank:pairwise", CUSTOM, Link::Identity),
    ("binary:hinge", CUSTOM, Link::Identity),
    ("reg:absoluteerror", CUSTOM, Link::Identity),
    ("reg:pseudohubererror", CUSTOM, Link::Identity),
    ("reg:quantileerror", CUSTOM, Link::Identity),
    ("reg:squaredlogerror", CUSTOM, Link::Identity),
    ("count:poisson", CUSTOM, Link::Log),
    ("reg:gamma", CUSTOM, Link::Log),
    ("reg:tweedie", CUSTOM, Link::Log),
    ("survival:aft", CUSTOM, Link::Log),
    ("survival:cox", CUSTOM, Link::Log),
];

/// Their name for an objective. One that they lack becomes the one whose prediction is the score.
fn objective_there(name: &str) -> &'static str {
    match name {
        name if RANKINGS.contains(&name) => "rank:ndcg",
        name => OBJECTIVES
            .iter()
            .find(|(_, ours, _)| *ours == name && name != CUSTOM)
            .map_or("reg:squarederror", |row| row.0),
    }
}

/// What features without names are called here.
fn nameless(columns: usize) -> impl Iterator<Item = String> {
    (0..columns).map(|column| format!("feature_{column}"))
}
