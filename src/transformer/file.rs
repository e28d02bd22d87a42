//! A trained transformer in a file: safetensors, checked whole before it is believed, written whole or not at all.
//!
//! The tensors are those of [`Layout`], by name and shape. The metadata:
//!
//! ```text
//! foretap      "transformer"
//! version      "1"
//! config       {"task":"first-after-unlock","apps":200,"d_model":64,...}
//! apps         ["Mail","Maps",...]                       as many as config.apps, the embedding's rows in order
//! temperature  1.07
//! columns      {"candidate_mean":[...],"candidate_scale":[...],"question_mean":[...],"question_scale":[...]}
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use half::f16;
use serde::{Deserialize, Serialize};

use super::config::TransformerConfig;
use super::tensors::{self, Kind, Named, Precision, TensorFile};
use super::weights::{Layout, Weights};
use crate::context::pointer::{CANDIDATE_COLUMNS, PointerRows, QUESTION_COLUMNS};
use crate::error::{Error, ErrorKind, Result};
use crate::file::write_atomically;

/// Version of the file format.
pub const FORMAT_VERSION: u32 = 1;

const KIND: Kind = Kind {
    name: "transformer",
    version: FORMAT_VERSION,
    again: "name a file that `train --model transformer` wrote, or train the model again",
};

/// A transformer with all that is needed to ask it.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerModel {
    /// Its numbers, and its shape.
    pub weights: Weights,
    /// App names by row of the embedding.
    pub apps: Vec<String>,
    /// What its logits are divided by to become probabilities.
    pub temperature: f64,
    /// What columns are brought to before the pointer reads them.
    pub columns: Standardisation,
}

/// No column may shout: beyond so many deviations all are alike.
const FARTHEST: f32 = 5.0;

/// Brings columns to mean 0 and deviation 1: `(value - mean) / scale`, within five deviations. What is unknown, a NaN, is
/// an average value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// `[candidate_columns]`.
    pub candidate_mean: Vec<f32>,
    /// `[candidate_columns]`, positive.
    pub candidate_scale: Vec<f32>,
    /// `[question_columns]`.
    pub question_mean: Vec<f32>,
    /// `[question_columns]`, positive.
    pub question_scale: Vec<f32>,
}

impl Standardisation {
    /// Leaves the columns of `config` as they are.
    pub fn none(config: &TransformerConfig) -> Self {
        Self {
            candidate_mean: vec![0.0; config.candidate_columns],
            candidate_scale: vec![1.0; config.candidate_columns],
            question_mean: vec![0.0; config.question_columns],
            question_scale: vec![1.0; config.question_columns],
        }
    }

    /// Standardises candidates' columns in place.
    ///
    /// # Shapes
    /// `rows`: `[candidates, candidate_columns]`.
    pub fn candidates(&self, rows: &mut [f32]) {
        standardise(rows, &self.candidate_mean, &self.candidate_scale);
    }

    /// Standardises questions' columns in place.
    ///
    /// # Shapes
    /// `rows`: `[questions, question_columns]`.
    pub fn questions(&self, rows: &mut [f32]) {
        standardise(rows, &self.question_mean, &self.question_scale);
    }

    /// Mean and deviation of rows that `visit` is shown, one question's after the other's.
    ///
    /// # Shapes
    /// `candidates` of each: `[candidates, candidate_columns]`; `question`: `[question_columns]`.
    pub fn fit<'a>(rows: impl Iterator<Item = &'a PointerRows> + Clone) -> Self {
        let (candidate_mean, candidate_scale) = moments(
            rows.clone().flat_map(|rows| rows.candidates.chunks_exact(CANDIDATE_COLUMNS)),
            CANDIDATE_COLUMNS,
        );
        let (question_mean, question_scale) =
            moments(rows.map(|rows| rows.question.as_slice()), QUESTION_COLUMNS);
        Self { candidate_mean, candidate_scale, question_mean, question_scale }
    }

    fn check(&self, config: &TransformerConfig) -> Result<()> {
        let lists = [
            ("candidate_mean", &self.candidate_mean, config.candidate_columns, false),
            ("candidate_scale", &self.candidate_scale, config.candidate_columns, true),
            ("question_mean", &self.question_mean, config.question_columns, false),
            ("question_scale", &self.question_scale, config.question_columns, true),
        ];
        for (name, list, columns, is_scale) in lists {
            let wrong = |message| Err(wrong(&format!("columns.{name}"), message));
            if list.len() != columns {
                return wrong(format!("{} numbers where the shape asks for {columns}", list.len()));
            }
            if let Some(value) = list.iter().find(|v| !v.is_finite() || (is_scale && **v <= 0.0)) {
                return wrong(format!("{value} is not a {}number", if is_scale { "positive " } else { "" }));
            }
        }
        Ok(())
    }
}

/// Mean and deviation of each column, over the values that are known. A column that never varies keeps its scale.
fn moments<'a>(rows: impl Iterator<Item = &'a [f32]>, columns: usize) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![[0.0_f64; 3]; columns];
    for row in rows {
        for ([count, sum, squares], &value) in sums.iter_mut().zip(row).filter(|(_, value)| value.is_finite())
        {
            let value = f64::from(value);
            *count += 1.0;
            *sum += value;
            *squares += value * value;
        }
    }
    let of_column = |[count, sum, squares]: &[f64; 3]| {
        let mean = sum / count.max(1.0);
        let deviation = (squares / count.max(1.0) - mean * mean).max(0.0).sqrt();
        (mean as f32, if deviation > 1e-3 { deviation as f32 } else { 1.0 })
    };
    sums.iter().map(of_column).unzip()
}

fn standardise(rows: &mut [f32], mean: &[f32], scale: &[f32]) {
    for row in rows.chunks_exact_mut(mean.len().max(1)) {
        for ((value, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
            let standard = ((*value - mean) / scale).clamp(-FARTHEST, FARTHEST);
            *value = if standard.is_nan() { 0.0 } else { standard };
        }
    }
}

impl TransformerModel {
    /// Writes the model to `file`. In half precision the weights that come back are the nearest halves.
    ///
    /// # Errors
    /// Its parts do not fit together, a weight is too large for half precision, or the file cannot be written; it is
    /// then as it was.
    pub fn save(&self, file: &Path, precision: Precision) -> Result<()> {
        self.check().map_err(|error| error.file(file))?;
        let Weights { values, .. } = &self.weights;
        let specs = &self.weights.layout().tensors;
        if precision == Precision::F16 {
            let is_too_large = |value: &f32| !f16::from_f32(*value).is_finite();
            if let Some(spec) = specs.iter().find(|spec| values[spec.range.clone()].iter().any(is_too_large))
            {
                let message = "a weight is too large for half precision";
                return Err(Error::new(ErrorKind::Model, message)
                    .file(file)
                    .field(&*spec.name)
                    .next_step("save the model in single precision"));
            }
        }
        let metadata = BTreeMap::from([
            ("config", tensors::to_json(self.weights.config())?),
            ("apps", tensors::to_json(&self.apps)?),
            ("temperature", tensors::to_json(&self.temperature)?),
            ("columns", tensors::to_json(&self.columns)?),
        ]);
        let named = |spec: &super::weights::TensorSpec| Named {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            values: &values[spec.range.clone()],
        };
        let named: Vec<Named<'_>> = specs.iter().map(named).collect();
        write_atomically(file, |out| tensors::write(out, KIND, metadata, &named, precision))
    }

    /// Reads a model and checks all of it.
    ///
    /// # Errors
    /// The file cannot be read, is no transformer, is damaged or cut off, is of another version, or its parts do not
    /// fit together.
    pub fn load(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file)
            .map_err(|error| Error::io(file, "read the transformer", error).next_step(KIND.again))?;
        Self::from_bytes(&bytes).map_err(|error| error.file(file))
    }

    /// Reads a model from the bytes of its file, as one that is built into a program.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for reading.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let file = TensorFile::parse(bytes, KIND)?;
        let config: TransformerConfig = file.json("config")?;
        config.check().map_err(|error| file.wrong("config", error.to_string()))?;
        let layout = Layout::new(&config);
        let mut values = Vec::new();
        for tensor in &layout.tensors {
            values.extend(file.values(&tensor.name, &tensor.shape)?);
        }
        let known: HashSet<&str> = layout.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        file.expect_only(|name| known.contains(name))?;
        let model = Self {
            weights: Weights::new(config, values).map_err(|error| error.next_step(KIND.again))?,
            apps: file.json("apps")?,
            temperature: file.json("temperature")?,
            columns: file.json("columns")?,
        };
        model.check()?;
        Ok(model)
    }

    /// What a reader relies on, and so what a writer must not break.
    fn check(&self) -> Result<()> {
        let config = self.weights.config();
        if self.apps.len() != config.apps {
            let message = format!("{} names for {} apps", self.apps.len(), config.apps);
            return Err(wrong("apps", message));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.apps.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(wrong("apps", format!("`{twice}` is there twice")));
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(wrong("temperature", format!("a temperature of {}", self.temperature)));
        }
        self.columns.check(config)?;
        // Weights can be changed from outside after they were checked.
        Weights::new(config.clone(), self.weights.values.clone())
            .map(|_| ())
            .map_err(|error| error.next_step(KIND.again))
    }
}

fn wrong(field: &str, message: String) -> Error {
    Error::new(ErrorKind::Model, message).field(field).next_step(KIND.again)
}
