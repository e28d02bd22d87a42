//! Where a training run stands, in a file: everything that the steps to come depend on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::engine::Losses;
use super::optimizer::AdamW;
use super::schedule::TrainingConfig;
use super::tensors::{self, Kind, Named, Precision, TensorFile};
use super::validate::Validation;
use super::weights::Weights;
use crate::error::{Error, ErrorKind, Result};
use crate::network::Batch;
use crate::network::TransformerConfig;
use crate::storage::write_atomically;

const KIND: Kind = Kind {
    name: "checkpoint",
    version: 1,
    oldest: 1,
    again: "delete it to train from the start, or name another folder",
};

/// A run between two steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) standing: Standing,
    pub(super) weights: Weights,
    pub(super) optimizer: AdamW,
    /// Those of the lowest validation loss, `[weights]`, where there was a validation.
    pub(super) best: Option<Vec<f32>>,
}

/// The small part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standing {
    /// Steps that are done.
    pub(super) step: u64,
    /// Time that they took, validations included.
    pub(super) secs: f64,
    /// Step and figures of the lowest validation loss.
    pub(super) best: Option<(u64, Validation)>,
    /// Validations since then.
    pub(super) without_progress: u32,
    /// Sums since the last line of metrics.
    pub(super) since_line: Tally,
    /// Loss of the first step.
    pub(super) first_loss: Option<f64>,
    /// Mean loss of the latest steps.
    pub(super) recent_loss: Option<f64>,
}

/// Sums over steps.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub(super) steps: u64,
    pub(super) losses: Losses,
    pub(super) gradient_norm: f64,
}

/// What a run is made of. Two runs of one origin are the same run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    pub(super) training: TrainingConfig,
    pub(super) shape: TransformerConfig,
    /// Digest of the weights to start from and of the first batches.
    pub(super) digest: String,
}

impl Origin {
    pub(super) fn new(training: &TrainingConfig, start: &Weights, loader: &[&Batch]) -> Self {
        let mut sha = Sha256::new();
        start.values.iter().for_each(|value| sha.update(value.to_le_bytes()));
        for batch in loader {
            for list in
                [&batch.apps, &batch.secs, &batch.next_apps, &batch.question_tokens, &batch.candidate_apps]
            {
                list.iter().for_each(|value| sha.update(value.to_le_bytes()));
            }
            for list in [&batch.question_columns, &batch.candidate_columns, &batch.targets] {
                list.iter().for_each(|value| sha.update(value.to_le_bytes()));
            }
        }
        let digest = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { training: training.clone(), shape: start.config().clone(), digest }
    }
}

impl Checkpoint {
    /// A run before its first step.
    pub(super) fn start(weights: Weights) -> Self {
        let optimizer = AdamW::new(weights.layout());
        Self { standing: Standing::default(), weights, optimizer, best: None }
    }

    /// Writes it to `file`, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; it is then as it was.
    pub(super) fn save(&self, file: &Path, origin: &Origin) -> Result<()> {
        let metadata = BTreeMap::from([
            ("training", tensors::to_json(&origin.training)?),
            ("transformer", tensors::to_json(&origin.shape)?),
            ("origin", origin.digest.clone()),
            ("standing", tensors::to_json(&self.standing)?),
        ]);
        let lists = [
            ("weights", Some(&self.weights.values)),
            ("first_moment", Some(&self.optimizer.first_moment)),
            ("second_moment", Some(&self.optimizer.second_moment)),
            ("best", self.best.as_ref()),
        ];
        let named = lists.into_iter().filter_map(|(name, values)| {
            let values = values?;
            Some(Named { name: name.to_owned(), shape: vec![values.len()], values })
        });
        let named: Vec<Named<'_>> = named.collect();
        write_atomically(file, |out| tensors::write(out, KIND, metadata, &named, Precision::F32))
    }

    /// Reads the checkpoint of a run of this `origin`; `None` where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or belongs to another run.
    pub(super) fn load(file: &Path, origin: &Origin) -> Result<Option<Self>> {
        let Some(bytes) = read(file)? else { return Ok(None) };
        Self::from_bytes(&bytes, origin).map(Some).map_err(|error| error.file(file))
    }

    fn from_bytes(bytes: &[u8], origin: &Origin) -> Result<Self> {
        let file = TensorFile::parse(bytes, KIND)?;
        check_same(&file, "training", &origin.training)?;
        check_same(&file, "transformer", &origin.shape)?;
        if file.text("origin")? != origin.digest {
            return Err(other_run("this run was begun from other weights or other data".to_owned()));
        }
        let weights = read_weights(&file, origin.shape.clone(), "weights")?;
        let shape = [weights.values.len()];
        let standing: Standing = file.json("standing")?;
        let mut optimizer = AdamW::new(weights.layout());
        optimizer.first_moment = file.values("first_moment", &shape)?;
        optimizer.second_moment = file.values("second_moment", &shape)?;
        optimizer.updates = standing.step;
        let best = if file.has("best") { Some(file.values("best", &shape)?) } else { None };
        if best.is_some() != standing.best.is_some() {
            return Err(file.wrong("best", "the best weights or their figures are missing"));
        }
        Ok(Self { standing, weights, optimizer, best })
    }
}

/// The best weights in a checkpoint of any run, the latest where nothing was validated.
///
/// # Errors
/// There is no such file, or it is damaged.
pub(super) fn best_weights(file: &Path) -> Result<Option<Weights>> {
    let Some(bytes) = read(file)? else { return Ok(None) };
    let weights = || {
        let file = TensorFile::parse(&bytes, KIND)?;
        let config: TransformerConfig = file.json("transformer")?;
        config.check()?;
        read_weights(&file, config, if file.has("best") { "best" } else { "weights" })
    };
    weights().map(Some).map_err(|error| error.file(file))
}

fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(file, "read the checkpoint", error).next_step(KIND.again)),
    }
}

fn read_weights(file: &TensorFile<'_>, config: TransformerConfig, name: &str) -> Result<Weights> {
    let length = crate::network::WeightLayout::new(&config).len();
    Weights::new(config, file.values(name, &[length])?)
}

/// Refuses a checkpoint whose `part` is not what is `asked` for.
fn check_same<T: Serialize + DeserializeOwned>(file: &TensorFile<'_>, part: &str, asked: &T) -> Result<()> {
    // Decoded and encoded again: a number that is kept in f32 reads differently in f64.
    let kept: T = file.json(part)?;
    let encoded = |value: &T| Result::Ok(serde_json::from_str(&tensors::to_json(value)?).unwrap_or_default());
    let (kept, asked): (Value, Value) = (encoded(&kept)?, encoded(asked)?);
    match first_difference(&kept, &asked) {
        Some((field, kept, asked)) => {
            let message = format!("this run was begun with {field} {kept}, not {asked}");
            Err(other_run(message).field(field))
        }
        None => Ok(()),
    }
}

fn other_run(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
        .next_step("name another folder, or delete this one to train from the start")
}

/// The first field in which two JSON objects differ, with both values.
fn first_difference(kept: &Value, asked: &Value) -> Option<(String, Value, Value)> {
    let (kept, asked) = (kept.as_object()?, asked.as_object()?);
    let mut fields = kept.keys().chain(asked.keys());
    let field = fields.find(|field| kept.get(*field) != asked.get(*field))?;
    let value = |of: &serde_json::Map<String, Value>| of.get(field).cloned().unwrap_or_default();
    Some((field.clone(), value(kept), value(asked)))
}
