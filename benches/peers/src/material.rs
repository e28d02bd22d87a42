//! Weights and batches of random numbers, and the folders in which Python finds them.

use std::fs;
use std::path::Path;

use foretap::export::question::{NamedTensor, Values};
use foretap::transformer::{Batch, TrainingConfig, TransformerConfig, Weights};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use crate::Result;

/// One model with what it is asked.
#[derive(Debug, Clone)]
pub struct Material {
    /// Of no tensor all numbers are equal, so that none is left out unnoticed.
    pub weights: Weights,
    /// Sequences of equal length.
    pub batches: Vec<Batch>,
    /// Optimizer and losses; no dropout, whose random numbers differ.
    pub training: TrainingConfig,
}

impl Material {
    /// Random weights of this shape, for these batches.
    ///
    /// # Errors
    /// The shape is impossible.
    pub fn new(config: TransformerConfig, batches: Vec<Batch>, next_weight: f32) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut weights = Weights::random(config, &mut random)?;
        weights.values.iter_mut().for_each(|value| *value += random.random_range(-0.1..0.1));
        let training = TrainingConfig { dropout: 0.0, next_weight, ..TrainingConfig::default() };
        Ok(Self { weights, batches, training })
    }

    /// Writes all of it to `folder`: `setting.json`, `weights.safetensors`, `batch0.safetensors` and so on.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let tensors = &self.weights.layout().tensors;
        let decaying = tensors.iter().filter(|tensor| tensor.decays).map(|tensor| &tensor.name);
        let setting = json!({
            "transformer": self.weights.config(),
            "training": self.training,
            "length": self.batches.first().map_or(1, |batch| batch.length),
            "batches": self.batches.len(),
            "decaying": decaying.collect::<Vec<_>>(),
        });
        fs::write(folder.join("setting.json"), setting.to_string())?;
        let fields = tensors.iter().map(|tensor| {
            Field::new(
                &tensor.name,
                tensor.shape.clone(),
                Dtype::F32,
                bytes(&self.weights.values[tensor.range.clone()]),
            )
        });
        save(&folder.join("weights.safetensors"), fields.collect())?;
        for (number, batch) in self.batches.iter().enumerate() {
            save(
                &folder.join(format!("batch{number}.safetensors")),
                fields_of(batch, self.weights.config()),
            )?;
        }
        Ok(())
    }
}

/// A random batch in which each sequence asks `asked` questions, of `candidates` candidates each.
pub fn batch(
    config: &TransformerConfig,
    sequences: usize,
    asked: usize,
    candidates: usize,
    seed: u64,
) -> Batch {
    let length = config.window;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut batch = Batch::random(config, length, sequences, seed);
    let questions = sequences * asked;
    let mut columns = |count: usize| (0..count).map(|_| random.random_range(-2.0..2.0)).collect();
    batch.question_columns = columns(questions * config.question_columns);
    batch.candidate_columns = columns(questions * candidates * config.candidate_columns);
    // The last question is asked at the last token, as on a phone; the others are spread over the sequence.
    let token =
        |question: usize| (question / asked * length + (question % asked + 1) * length / asked - 1) as u32;
    batch.question_tokens = (0..questions).map(token).collect();
    batch.offsets = (0..=questions).map(|question| (question * candidates) as u32).collect();
    let apps = 0..=config.unknown_app();
    batch.candidate_apps = (0..questions * candidates).map(|_| random.random_range(apps.clone())).collect();
    let is_answer = |index: usize| if index.is_multiple_of(candidates) { 1.0 } else { 0.0 };
    batch.targets = (0..questions * candidates).map(is_answer).collect();
    batch
}

/// A tensor of a file.
pub struct Field {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Field {
    /// # Shapes
    /// `bytes`: of as many numbers as `shape` says, little-endian, row by row.
    pub fn new(name: &str, shape: Vec<usize>, dtype: Dtype, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), shape, dtype, bytes }
    }

    /// A graph's input or output.
    pub fn of(tensor: &NamedTensor) -> Self {
        let (dtype, bytes) = match &tensor.values {
            Values::Floats(values) => (Dtype::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Values::Whole(values) => (Dtype::I32, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        Self::new(tensor.name, tensor.shape.clone(), dtype, bytes)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A tensor for each field of `batch`.
fn fields_of(batch: &Batch, config: &TransformerConfig) -> Vec<Field> {
    let small = [
        ("kinds", &batch.kinds),
        ("places", &batch.places),
        ("gaps", &batch.gaps),
        ("networks", &batch.networks),
        ("batteries", &batch.batteries),
    ];
    let whole = [
        ("apps", &batch.apps),
        ("secs", &batch.secs),
        ("next_apps", &batch.next_apps),
        ("question_tokens", &batch.question_tokens),
        ("offsets", &batch.offsets),
        ("candidate_apps", &batch.candidate_apps),
    ];
    let tables = [
        ("clock", &batch.clock, batch.tokens()),
        ("question_columns", &batch.question_columns, batch.questions()),
        ("candidate_columns", &batch.candidate_columns, batch.candidates()),
    ];
    let small = small.map(|(name, list)| Field::new(name, vec![list.len()], Dtype::U8, list.clone()));
    let whole = whole.map(|(name, list)| {
        let bytes = list.iter().flat_map(|value| value.to_le_bytes()).collect();
        Field::new(name, vec![list.len()], Dtype::U32, bytes)
    });
    let width = |name: &str, list: &[f32], rows: usize| match name {
        // A list without rows still has columns.
        "question_columns" => config.question_columns,
        "candidate_columns" => config.candidate_columns,
        _ => list.len() / rows.max(1),
    };
    let tables = tables.map(|(name, list, rows)| {
        Field::new(name, vec![rows, width(name, list, rows)], Dtype::F32, bytes(list))
    });
    let targets = Field::new("targets", vec![batch.targets.len()], Dtype::F32, bytes(&batch.targets));
    small.into_iter().chain(whole).chain(tables).chain([targets]).collect()
}

/// Writes `fields` to `file`, as safetensors.
///
/// # Errors
/// The file cannot be written.
pub fn save(file: &Path, fields: Vec<Field>) -> Result<()> {
    let views: std::result::Result<Vec<_>, _> = fields
        .iter()
        .map(|field| Ok((&field.name, TensorView::new(field.dtype, field.shape.clone(), &field.bytes)?)))
        .collect::<std::result::Result<_, safetensors::SafeTensorError>>();
    fs::write(file, safetensors::serialize(views?, None)?)?;
    Ok(())
}
