//! Weights that were trained elsewhere come in: safetensors, and a mapping from our names to theirs.
//!
//! The mapping is a JSON file, with all that the tensors do not tell:
//!
//! ```text
//! {
//!   "config": {"task":"first-after-unlock","apps":200,"d_model":64,...},      the shape, all fields
//!   "apps": ["Mail","Maps",...],                                              names by row of the embedding
//!   "temperature": 1.07,                                                      left out: 1
//!   "columns": {"candidate_names":[...],"candidate_mean":[...],...},          left out: the first columns, as they are
//!   "tensors": {
//!     "app_embedding": "encoder.apps.weight",
//!     "layers.0.query": {"name": "encoder.0.q_proj.weight", "transpose": true}
//!   }
//! }
//! ```
//!
//! A tensor of ours that the mapping does not name is looked for under its own name. PyTorch's linear layers keep
//! `[outputs, inputs]`: those are to be transposed.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use serde::Deserialize;

use super::file::TransformerModel;
use super::tensors::numbers;
use super::weights::Weights;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Standardisation, TensorSpec, TransformerConfig, WeightLayout, transposed};

/// What to read, under which names.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The shape.
    pub config: TransformerConfig,
    /// App names by row of the embedding.
    pub apps: Vec<String>,
    /// What logits are divided by to become probabilities.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Which columns the pointer reads, and what they are brought to before. Where it names none, they are the first of
    /// those that the first version of files had.
    pub columns: Option<Standardisation>,
    /// Our names, and theirs.
    #[serde(default)]
    pub tensors: BTreeMap<String, SourceTensor>,
}

/// Where a tensor of ours is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SourceTensor {
    /// Under this name.
    Name(String),
    /// Under this name, rows and columns exchanged where `transpose` says so.
    Matrix {
        /// The name.
        name: String,
        /// Whether it is `[outputs, inputs]`.
        transpose: bool,
    },
}

/// A model that came in.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The model, checked.
    pub model: TransformerModel,
    /// Tensors of the file that nobody asked for: those of an optimizer, or a sign of a wrong mapping.
    pub unused: Vec<String>,
}

const NEXT_STEP: &str = "compare the mapping with the names and shapes in the file";

fn one() -> f64 {
    1.0
}

impl Mapping {
    /// Reads a mapping from its file.
    ///
    /// # Errors
    /// The file cannot be read, or is no mapping; named by line.
    pub fn load(file: &Path) -> Result<Self> {
        let next_step = "write it as the documentation of `transformer::Mapping` shows";
        let bytes = std::fs::read(file)
            .map_err(|error| Error::io(file, "read the mapping", error).next_step(next_step))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Data, format!("this is no mapping: {error}"))
                .file(file)
                .line(error.line() as u64)
                .next_step(next_step)
        })
    }

    /// Reads a model from `file`, safetensors in single, half or brain precision.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, a tensor is missing or of another shape, or the parts do not fit together.
    pub fn read(&self, file: &Path) -> Result<Imported> {
        let bytes = std::fs::read(file).map_err(|error| Error::io(file, "read the weights", error))?;
        self.read_bytes(&bytes).map_err(|error| error.file(file))
    }

    fn read_bytes(&self, bytes: &[u8]) -> Result<Imported> {
        let wrong = |message: String| Error::new(ErrorKind::Data, message).next_step(NEXT_STEP);
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| wrong(format!("this is no file of safetensors: {error}")).source(error))?;
        self.config.check()?;
        let layout = WeightLayout::new(&self.config);
        if let Some(name) = self.tensors.keys().find(|name| layout.tensors.iter().all(|t| t.name != **name)) {
            return Err(
                wrong(format!("the mapping names `{name}`, which is no tensor of this shape")).field(name)
            );
        }
        let mut values = Vec::with_capacity(layout.len());
        let mut used = Vec::new();
        for spec in &layout.tensors {
            let (name, transpose) = match self.tensors.get(&spec.name) {
                None => (spec.name.as_str(), false),
                Some(SourceTensor::Name(name)) => (name.as_str(), false),
                Some(SourceTensor::Matrix { name, transpose }) => (name.as_str(), *transpose),
            };
            used.push(name);
            let tensor = tensors
                .tensor(name)
                .map_err(|_| wrong(format!("there is no tensor `{name}`")).field(&*spec.name))?;
            let expected = expected_shape(spec, transpose);
            if tensor.shape() != expected {
                let message = format!("`{name}` is {:?}, but {expected:?} is asked for", tensor.shape());
                return Err(wrong(message).field(&*spec.name));
            }
            let found = numbers(&tensor).map_err(|message| wrong(message).field(&*spec.name))?;
            match (&spec.shape[..], transpose) {
                ([rows, _], true) => values.extend(transposed(&found, *rows)),
                _ => values.extend(found),
            }
        }
        let model = TransformerModel {
            weights: Weights::new(self.config.clone(), values)?,
            apps: self.apps.clone(),
            temperature: self.temperature,
            columns: match &self.columns {
                Some(columns) => columns.clone().named(),
                None => Standardisation::none(&self.config),
            },
        };
        model.check()?;
        model.columns.reader()?;
        let mut unused: Vec<String> =
            tensors.names().into_iter().filter(|name| !used.contains(name)).map(str::to_owned).collect();
        unused.sort_unstable();
        Ok(Imported { model, unused })
    }
}

/// What their tensor must be for `spec`.
fn expected_shape(spec: &TensorSpec, transpose: bool) -> Vec<usize> {
    let mut shape = spec.shape.clone();
    if transpose {
        shape.reverse();
    }
    shape
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::context::Task;

    fn config() -> TransformerConfig {
        let student = TransformerConfig::student(Task::FirstAfterUnlock, 3);
        TransformerConfig { d_model: 8, d_ff: 12, layers: 1, heads: 2, pointer_width: 5, ..student }
    }

    fn mapping(tensors: &[(&str, SourceTensor)]) -> Mapping {
        Mapping {
            config: config(),
            apps: ["a", "b", "c"].map(str::to_owned).into(),
            temperature: 1.5,
            columns: None,
            tensors: tensors.iter().map(|(ours, theirs)| ((*ours).to_owned(), theirs.clone())).collect(),
        }
    }

    /// The file of somebody who names `feed_in` otherwise, keeps it `[outputs, inputs]`, and has a tensor more.
    fn theirs(weights: &Weights, change: impl Fn(&str) -> String) -> Vec<u8> {
        let mut tensors: HashMap<String, (Vec<usize>, Vec<u8>)> = HashMap::new();
        for spec in &weights.layout().tensors {
            let values = &weights.values[spec.range.clone()];
            let (mut shape, mut found) = (spec.shape.clone(), values.to_vec());
            if spec.name.ends_with("feed_in") {
                let [rows, columns] = shape[..] else { unreachable!() };
                found = (0..columns)
                    .flat_map(|column| (0..rows).map(move |row| row * columns + column))
                    .map(|index| values[index])
                    .collect();
                shape.reverse();
            }
            let bytes = found.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.insert(change(&spec.name), (shape, bytes));
        }
        tensors.insert("optimizer.step".into(), (vec![1], vec![0; 4]));
        let views = tensors
            .iter()
            .map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn renamed(name: &str) -> String {
        name.replace("layers.0.feed_in", "up.weight").replace("up.weight_bias", "up.bias")
    }

    #[test]
    fn weights_come_in_by_other_names_and_the_other_way_around() {
        let weights = Weights::random(config(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let file = theirs(&weights, renamed);
        let mapping = mapping(&[
            ("layers.0.feed_in", SourceTensor::Matrix { name: "up.weight".into(), transpose: true }),
            ("layers.0.feed_in_bias", SourceTensor::Name("up.bias".into())),
        ]);
        let imported = mapping.read_bytes(&file).unwrap();
        assert_eq!(imported.model.weights.values, weights.values);
        assert_eq!((imported.model.temperature, imported.unused), (1.5, vec!["optimizer.step".to_owned()]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let weights = Weights::random(config(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let file = theirs(&weights, renamed);
        let matrix = |transpose| SourceTensor::Matrix { name: "up.weight".into(), transpose };
        let bias = ("layers.0.feed_in_bias", SourceTensor::Name("up.bias".into()));
        let cases = [
            (mapping(&[]), "field `layers.0.feed_in`: there is no tensor `layers.0.feed_in`"),
            (
                mapping(&[("layers.0.feed_in", matrix(false)), bias.clone()]),
                "`up.weight` is [12, 8], but [8, 12]",
            ),
            (mapping(&[("layers.9.query", matrix(true))]), "field `layers.9.query`"),
            (
                Mapping { apps: vec!["a".into()], ..mapping(&[("layers.0.feed_in", matrix(true)), bias]) },
                "1 names for 3 apps",
            ),
        ];
        for (mapping, says) in cases {
            let error = mapping.read_bytes(&file).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        assert!(
            mapping(&[]).read_bytes(&file[..99]).unwrap_err().to_string().contains("no file of safetensors")
        );
    }
}
