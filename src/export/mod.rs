//! Weights that leave: files of other runtimes, which answer as ours do.
//!
//! [`onnx`] writes transformer, trees and router for ONNX Runtime, tract, rten and whoever else reads ONNX; [`ExportSet`] makes
//! all that a bundle has, each with a golden question, and [`question`] is what graphs are asked. [`coreml`] writes the
//! transformer for Apple's devices. Transformers leave as
//! safetensors by [`TransformerModel::save`](crate::transformer::TransformerModel::save), and come in from elsewhere by
//! [`Mapping`](crate::transformer::Mapping).
//!
//! Trees go both ways: other engines' files become an [`Ensemble`], an [`Ensemble`] becomes their files.
//! [`lightgbm`] (text model, version 4) and [`xgboost`] (JSON of version 3; also read: 1.7, 2, UBJSON) read what their engine writes so that both
//! answer alike, and write what it loads. What a format cannot say, or what a file says and our trees cannot, is refused
//! with the reason: a model is never quietly another one.
//!
//! | here | LightGBM | XGBoost |
//! | --- | --- | --- |
//! | `candidate-softmax` | `lambdarank` (whose prediction is the score) | `rank:ndcg` (likewise) |
//! | `lambdarank` | `lambdarank` | `rank:ndcg` |
//! | `xendcg` | `rank_xendcg` | `rank:ndcg` |
//! | `binary` | `binary` | `binary:logistic` |
//! | `multiclass` | `multiclass` | `multi:softprob` |
//! | `squared-error` | `regression` | `reg:squarederror` |
//! | any other | none: the prediction is the score | `reg:squarederror` (likewise) |
//!
//! Read, `lambdarank`, `rank:ndcg` and `reg:squarederror` become their namesakes among ours, and what has no line
//! here becomes `custom`.
//!
//! ```
//! use foretap::export::{lightgbm, xgboost};
//! use foretap::gbdt::{Child, Ensemble, SplitNode, SplitCondition, Tree};
//!
//! let split = SplitNode {
//!     feature: 0,
//!     test: SplitCondition::Threshold(0.5),
//!     missing_left: true,
//!     gain: 3.0,
//!     left: Child::Leaf(0),
//!     right: Child::Leaf(1),
//! };
//! let tree = Tree { splits: vec![split], leaf_values: vec![-0.25, 0.75], leaf_cover: vec![10.0, 20.0] };
//! let model = Ensemble::new(vec![tree], 1);
//!
//! let moved = xgboost::read(&xgboost::write(&lightgbm::read(&lightgbm::write(&model)?)?)?)?;
//! let mut scores = [0.0; 3];
//! moved.score(&[0.5, 0.6, f32::NAN], &mut scores);
//! assert_eq!(scores, [-0.25, 0.75, -0.25]);
//! # Ok::<(), foretap::Error>(())
//! ```

pub mod coreml;
mod export_set;
pub mod lightgbm;
mod model_card;
mod network;
pub mod onnx;
pub mod question;
pub mod xgboost;

pub use export_set::{ExportSet, OnnxExport, Questions, TREES};
pub use model_card::ModelCard;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::Ensemble;
use crate::storage::write_atomically;

/// Categories that a 32-bit float can tell apart: XGBoost takes no others, and a row of ours holds no others.
const MAX_CATEGORIES: u32 = 1 << 24;

/// What our models call the objectives that the other engines know too.
const RANKINGS: [&str; 3] = ["candidate-softmax", "lambdarank", "xendcg"];
const BINARY: &str = "binary";
const MULTICLASS: &str = "multiclass";
const SQUARED_ERROR: &str = "squared-error";
const CUSTOM: &str = "custom";

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, message)
}

/// A protobuf message is shorter than this.
const MOST_BYTES: usize = i32::MAX as usize;

/// Refuses what readers of protobuf would; `end` says whose files end there.
fn check_size(bytes: usize, end: &str) -> Result<()> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(wrong(format!("{bytes} bytes, but {end} at 2 GiB"))
        .field("vocabulary")
        .next_step("train with a smaller vocabulary or a narrower shape"))
}

/// Trees that were read from a file, and what whoever reads them should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The model.
    pub ensemble: Ensemble,
    /// What of the file is not followed, or was decided: a sentence each.
    pub notes: Vec<String>,
}

/// Reads trees from a file of any of the formats, which its content tells: LightGBM's text, XGBoost's JSON or UBJSON, or an
/// [`Ensemble`] as `serde_json` writes it (what the `trees` example keeps).
///
/// # Errors
/// The file cannot be read, is of no such format, or is damaged.
pub fn read_model(file: &Path) -> Result<Import> {
    read_file(file, |bytes| {
        if is_ubjson(bytes) {
            return xgboost::import_ubjson(bytes);
        }
        let text = text(bytes)?;
        let start = text.trim_start();
        refuse_dump(start)?;
        if !start.starts_with('{') {
            return lightgbm::import(text);
        }
        // Keys alone, whatever they hold.
        let valid = xgboost::valid_json(start);
        let keys: HashMap<&str, serde::de::IgnoredAny> = serde_json::from_str(&valid).unwrap_or_default();
        if keys.contains_key("learner") {
            return xgboost::import(text);
        }
        let ensemble: Ensemble = serde_json::from_str(start).map_err(|error| {
            wrong(format!("neither XGBoost's JSON nor trees of our own: {error}"))
                .next_step("name a model that LightGBM, XGBoost or the `trees` example wrote")
        })?;
        ensemble.check()?;
        Ok(Import { ensemble, notes: Vec::new() })
    })
}

/// Reads a whole file by `read`, and names it in errors.
fn read_file(file: &Path, read: impl FnOnce(&[u8]) -> Result<Import>) -> Result<Import> {
    let bytes = std::fs::read(file).map_err(|error| Error::io(file, "read the model", error))?;
    read(&bytes).map_err(|error| error.file(file))
}

/// The text of a file, without the byte order mark that some editors begin it with.
fn text(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        wrong("this is not text in UTF-8")
            .next_step("save the model by `save_model`, as text (LightGBM), JSON or UBJSON (XGBoost)")
    })?;
    Ok(without_mark(text))
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Whether a document is in UBJSON: after the brace stands the type of the first key's length.
fn is_ubjson(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', b'i' | b'U' | b'I' | b'l' | b'L', ..])
}

/// Refuses what shows trees to people: it lacks what scores begin with.
fn refuse_dump(text: &str) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Keys {
        #[serde(alias = "nodeid")]
        tree_info: Option<serde::de::IgnoredAny>,
        learner: Option<serde::de::IgnoredAny>,
    }
    let start = text.trim_start();
    let is_dump = match start.chars().next() {
        Some('[') => true,
        Some('{') => serde_json::from_str(start)
            .is_ok_and(|keys: Keys| keys.tree_info.is_some() && keys.learner.is_none()),
        _ => start.starts_with("booster["),
    };
    if !is_dump {
        return Ok(());
    }
    Err(wrong("this is a dump of trees to look at (`dump_model`, `get_dump`), no model").next_step(
        "save the model by `save_model`: to a text file (LightGBM), to `.json` or `.ubj` (XGBoost)",
    ))
}

fn write_file(ensemble: &Ensemble, file: &Path, write: fn(&Ensemble) -> Result<String>) -> Result<()> {
    let text = write(ensemble).map_err(|error| error.file(file))?;
    write_atomically(file, |out| out.write_all(text.as_bytes()))
}

/// Refuses what neither engine could load: a damaged model, no features, or outputs that do not fit the objective.
fn check(ensemble: &Ensemble) -> Result<()> {
    ensemble.check()?;
    if ensemble.features.is_empty() {
        return Err(wrong("a model without features").next_step("name the features of its rows"));
    }
    let (objective, outputs) = (&ensemble.objective, ensemble.outputs());
    if !fits(objective, outputs) {
        return Err(wrong(format!("{outputs} outputs do not fit the objective `{objective}`"))
            .next_step("name the objective that the trees were trained for, or `custom`"));
    }
    Ok(())
}

/// Refuses names that `engine` does not load, with what is forbidden in them.
fn check_feature_names(names: &[String], engine: &str, forbidden: &str) -> Result<()> {
    let rename = format!(
        "give each feature a name of its own, without control characters{} and any of `{}`",
        if forbidden.contains(' ') { ", spaces" } else { "" },
        forbidden.trim()
    );
    let mut met = HashSet::new();
    for name in names {
        let shown = name.escape_debug();
        if name.is_empty() || name.chars().any(|c| c.is_control() || forbidden.contains(c)) {
            return Err(wrong(format!("{engine} does not load the feature name `{shown}`")).next_step(rename));
        }
        if !met.insert(name) {
            return Err(wrong(format!("two features are named `{shown}`")).next_step(rename));
        }
    }
    Ok(())
}

/// Refuses categories of a split that a row of 32-bit floats could not tell apart.
fn check_categories(left: &[u32]) -> Result<()> {
    match left.last() {
        Some(&last) if last >= MAX_CATEGORIES => {
            Err(wrong(format!("category {last}, but 32-bit floats tell only {MAX_CATEGORIES} apart"))
                .next_step("number the categories from 0, without gaps"))
        }
        _ => Ok(()),
    }
}

/// Whether a model for `objective` can have this many outputs.
fn fits(objective: &str, outputs: usize) -> bool {
    match objective {
        MULTICLASS => outputs >= 2,
        BINARY | SQUARED_ERROR => outputs == 1,
        _ => outputs == 1 || !RANKINGS.contains(&objective),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::Tree;

    #[test]
    fn a_file_ends_where_readers_do() {
        assert!(check_size(MOST_BYTES, "ONNX files end").is_ok());
        for end in ["ONNX files end", "Core ML's programs end"] {
            let error = check_size(MOST_BYTES + 1, end).unwrap_err().to_string();
            assert!(error.contains(&format!("2147483648 bytes, but {end} at 2 GiB")), "{error}");
            assert!(error.contains("field `vocabulary`") && error.contains("smaller vocabulary"), "{error}");
        }
    }

    #[test]
    fn refuses_what_neither_engine_could_load() {
        let model = |objective: &str, outputs: usize, features: &[&str]| Ensemble {
            objective: objective.to_owned(),
            features: features.iter().map(|&name| name.to_owned()).collect(),
            base: vec![0.0; outputs],
            trees: vec![Tree::constant(1.0, 1.0); outputs],
        };
        for (model, expected) in [
            (model("lambdarank", 1, &["a", "b"]), ""),
            (model("multiclass", 3, &["a"]), ""),
            (model("log-cosh", 3, &["a"]), ""),
            (model("binary", 2, &["a"]), "2 outputs do not fit the objective `binary`"),
            (model("multiclass", 1, &["a"]), "1 outputs do not fit"),
            (model("candidate-softmax", 2, &["a"]), "2 outputs do not fit"),
            (model("custom", 1, &[]), "without features"),
            (model("custom", 1, &["a", ""]), "feature name ``"),
            (model("custom", 1, &["hour\nof day"]), "feature name `hour\\nof day`"),
            (model("custom", 1, &["a=b", "電池", "año", "a\u{3000}b"]), ""),
            (model("custom", 1, &["a", "b", "a"]), "two features are named `a`"),
            (model("custom", 0, &["a"]), "0 trees do not make up 0 outputs"),
        ] {
            for write in [lightgbm::write, xgboost::write] {
                match write(&model) {
                    Ok(_) => assert_eq!(expected, ""),
                    Err(error) => {
                        assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}")
                    }
                }
            }
        }
    }
}
