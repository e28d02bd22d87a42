//! Weights that leave: files of other runtimes, which answer as ours do.
//!
//! [`onnx`] writes transformer, trees and router for ONNX Runtime, tract, rten and whoever else reads ONNX; [`ExportSet`] makes
//! all that a bundle has, each with a golden question, and [`question`] is what graphs are asked. [`coreml`] writes the
//! transformer for Apple's devices. Transformers leave as
//! safetensors by [`TransformerModel::save`](crate::transformer::TransformerModel::save), and come in from elsewhere by
//! [`Mapping`](crate::transformer::Mapping).
//!
//! Trees go both ways: other engines' files become an [`Ensemble`], an [`Ensemble`] becomes their files.
//! [`lightgbm`] (text model, version 4) and [`xgboost`] (JSON of version 3) read what their engine writes so that both
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

/// Reads trees from a file of any of the formats, which its content tells: LightGBM's text, XGBoost's JSON, or an
/// [`Ensemble`] as `serde_json` writes it (what the `trees` example keeps).
///
/// # Errors
/// The file cannot be read, is of no such format, or is damaged.
pub fn read_model(file: &Path) -> Result<Ensemble> {
    read_file(file, |text| {
        let start = text.trim_start();
        if !start.starts_with('{') {
            return lightgbm::read(text);
        }
        // Keys alone, whatever they hold.
        let keys: HashMap<&str, serde::de::IgnoredAny> = serde_json::from_str(start).unwrap_or_default();
        if keys.contains_key("learner") {
            return xgboost::read(text);
        }
        let ensemble: Ensemble = serde_json::from_str(start).map_err(|error| {
            wrong(format!("neither XGBoost's JSON nor trees of our own: {error}"))
                .next_step("name a model that LightGBM, XGBoost or the `trees` example wrote")
        })?;
        ensemble.check()?;
        Ok(ensemble)
    })
}

/// Reads a whole file by `read`, and names it in errors.
fn read_file(file: &Path, read: fn(&str) -> Result<Ensemble>) -> Result<Ensemble> {
    let bytes = std::fs::read(file).map_err(|error| Error::io(file, "read the model", error))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        wrong("this is not text").file(file).next_step("save the model as text (LightGBM) or JSON (XGBoost)")
    })?;
    read(&text).map_err(|error| error.file(file))
}

fn write_file(ensemble: &Ensemble, file: &Path, write: fn(&Ensemble) -> Result<String>) -> Result<()> {
    let text = write(ensemble).map_err(|error| error.file(file))?;
    write_atomically(file, |out| out.write_all(text.as_bytes()))
}

/// Refuses what neither engine could load: a damaged model, no features, names that are unusable, or outputs that do
/// not fit the objective.
fn check(ensemble: &Ensemble, forbidden: fn(char) -> bool) -> Result<()> {
    ensemble.check()?;
    let rename = "give each feature a name of its own; LightGBM takes letters, digits, `_`, `-` and `.`, \
                  XGBoost all but `[`, `]` and `<`";
    if ensemble.features.is_empty() {
        return Err(wrong("a model without features").next_step("name the features of its rows"));
    }
    let mut met = HashSet::new();
    for name in &ensemble.features {
        if name.is_empty() || name.chars().any(|c| c.is_control() || forbidden(c)) {
            return Err(wrong(format!("the feature name `{name}` cannot be written")).next_step(rename));
        }
        if !met.insert(name) {
            return Err(wrong(format!("two features are named `{name}`")).next_step(rename));
        }
    }
    let (objective, outputs) = (&ensemble.objective, ensemble.outputs());
    if !fits(objective, outputs) {
        return Err(wrong(format!("{outputs} outputs do not fit the objective `{objective}`"))
            .next_step("name the objective that the trees were trained for, or `custom`"));
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
            (model("custom", 1, &["hour\nof day"]), "feature name `hour\nof day`"),
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
