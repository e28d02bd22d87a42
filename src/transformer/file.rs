//! A trained transformer in a file: safetensors, checked whole before it is believed, written whole or not at all.
//!
//! The tensors are those of [`WeightLayout`], by name and shape. The metadata:
//!
//! ```text
//! foretap      "transformer"
//! version      "2"; of version 1, columns have no names, and are the first that builds of its time computed
//! config       {"task":"first-after-unlock","apps":200,"d_model":64,...}
//! apps         ["Mail","Maps",...]                       as many as config.apps, the embedding's rows in order
//! temperature  1.07
//! columns      {"candidate_names":[...],"question_names":[...],
//!               "candidate_mean":[...],"candidate_scale":[...],"question_mean":[...],"question_scale":[...]}
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::tensors::{self, Kind, Named, Precision, TensorFile};
use super::weights::Weights;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Standardisation, TensorSpec, TransformerConfig, WeightLayout};
use crate::storage::write_atomically;

/// Version of the file format.
pub const FORMAT_VERSION: u32 = 2;

const KIND: Kind = Kind {
    name: "transformer",
    version: FORMAT_VERSION,
    oldest: 1,
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
    /// Which columns the pointer reads, and what they are brought to before.
    pub columns: Standardisation,
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
        if precision == Precision::F16
            && let Some(spec) = self.weights.beyond_half()
        {
            let message = "a weight is too large for half precision";
            return Err(Error::new(ErrorKind::Model, message)
                .file(file)
                .field(&*spec.name)
                .next_step("save the model in single precision"));
        }
        let metadata = BTreeMap::from([
            ("config", tensors::to_json(self.weights.config())?),
            ("apps", tensors::to_json(&self.apps)?),
            ("temperature", tensors::to_json(&self.temperature)?),
            ("columns", tensors::to_json(&self.columns)?),
        ]);
        let named = |spec: &TensorSpec| Named {
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
    /// The file cannot be read, is no transformer, is damaged or cut off, is of another version, its parts do not fit
    /// together, or it reads a column that this build does not compute.
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
        let layout = WeightLayout::new(&config);
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
            columns: file.json::<Standardisation>("columns")?.named(),
        };
        model.check()?;
        model.columns.reader()?;
        Ok(model)
    }

    /// What a reader relies on, and so what a writer must not break.
    pub(super) fn check(&self) -> Result<()> {
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
        self.columns.check(config).map_err(|error| error.next_step(KIND.again))?;
        // Weights can be changed from outside after they were checked.
        Weights::new(config.clone(), self.weights.values.clone())
            .map(|_| ())
            .map_err(|error| error.next_step(KIND.again))
    }
}

fn wrong(field: &str, message: String) -> Error {
    Error::new(ErrorKind::Model, message).field(field).next_step(KIND.again)
}
