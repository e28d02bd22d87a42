//! A transformer in INT8: plain data, as a bundle keeps it.
//!
//! Matrices are signed bytes with a scale a column (an output), embeddings signed bytes with a scale a row (a token's
//! share), and what is small and added up in `f32` anyway stays `f32`: norms, biases, the pointer's last row and what
//! mixes its answers.

use crate::error::{Error, ErrorKind, Result};
use crate::network::{Standardisation, TensorSpec, TransformerConfig, WeightLayout};

/// What to do about parts that do not fit together.
const NEXT_STEP: &str = "quantize the model again";

/// The largest magnitude that a byte stands for; -128 is not used, so that a matrix can be negated.
#[cfg(feature = "train")]
pub const STEPS: f32 = 127.0;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorEncoding {
    /// Bytes, a scale a row: embeddings.
    PerRow,
    /// Bytes, a scale a column: matrices.
    PerColumn,
    /// `f32`.
    Float,
}

impl TensorEncoding {
    /// How the tensor of `spec` is stored.
    pub fn of(spec: &TensorSpec) -> Self {
        let is_matrix = spec.shape.len() == 2;
        match spec.name.rsplit('.').next().unwrap_or_default() {
            "gap_bias" | "pointer_mixture" | "pointer_gate" => Self::Float,
            name if is_matrix && name.ends_with("embedding") => Self::PerRow,
            _ if is_matrix => Self::PerColumn,
            _ => Self::Float,
        }
    }

    /// How many scales, bytes and floats the tensor of `spec` has.
    pub(super) fn lengths(self, spec: &TensorSpec) -> (usize, usize, usize) {
        let numbers = spec.range.len();
        match (self, &spec.shape[..]) {
            (Self::PerRow, [rows, ..]) => (*rows, numbers, 0),
            (Self::PerColumn, [.., columns]) => (*columns, numbers, 0),
            _ => (0, 0, numbers),
        }
    }
}

/// One tensor's numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantizedTensor {
    /// `[rows, columns]`; empty where the tensor is stored in `f32`.
    pub values: Vec<i8>,
    /// `[rows]` or `[columns]`: what a step of `values` is worth; not negative.
    pub scales: Vec<f32>,
    /// All numbers of a tensor that is stored in `f32`; otherwise empty.
    pub floats: Vec<f32>,
}

/// A transformer in INT8, with all that is needed to ask it.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedModel {
    config: TransformerConfig,
    layout: WeightLayout,
    /// In the order of [`WeightLayout::tensors`].
    tensors: Vec<QuantizedTensor>,
    /// App names by row of the embedding.
    pub apps: Vec<String>,
    /// What its logits are divided by to become probabilities.
    pub temperature: f64,
    /// Which columns the pointer reads, and what they are brought to before.
    pub columns: Standardisation,
}

/// What a [`QuantizedModel`] is made of, besides its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The shape.
    pub config: TransformerConfig,
    /// App names by row of the embedding.
    pub apps: Vec<String>,
    /// What its logits are divided by to become probabilities.
    pub temperature: f64,
    /// Which columns the pointer reads, and what they are brought to before.
    pub columns: Standardisation,
}

impl QuantizedModel {
    /// A model of `tensors`, in the order of [`WeightLayout::tensors`].
    ///
    /// # Errors
    /// Its parts do not fit together, or a number is not finite or so large that an answer might not be.
    pub fn new(description: Description, tensors: Vec<QuantizedTensor>) -> Result<Self> {
        let Description { config, apps, temperature, columns } = description;
        config.check()?;
        let layout = WeightLayout::new(&config);
        if tensors.len() != layout.tensors.len() {
            let message =
                format!("{} tensors where the shape asks for {}", tensors.len(), layout.tensors.len());
            return Err(wrong("tensors", message));
        }
        for (spec, tensor) in layout.tensors.iter().zip(&tensors) {
            check(spec, tensor).map_err(|message| wrong(&spec.name, message))?;
        }
        if apps.len() != config.apps {
            return Err(wrong("apps", format!("{} names for {} apps", apps.len(), config.apps)));
        }
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(wrong("temperature", format!("a temperature of {temperature}")));
        }
        columns.check(&config).map_err(|error| error.next_step(NEXT_STEP))?;
        Ok(Self { config, layout, tensors, apps, temperature, columns })
    }

    /// The shape.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Where each tensor would lie in a list of plain weights.
    pub fn layout(&self) -> &WeightLayout {
        &self.layout
    }

    /// All tensors, in the order of [`WeightLayout::tensors`].
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&TensorSpec, &QuantizedTensor)> {
        self.layout.tensors.iter().zip(&self.tensors)
    }

    /// The tensor that begins where `range` does.
    pub(crate) fn tensor(&self, range: &std::ops::Range<usize>) -> (&TensorSpec, &QuantizedTensor) {
        let index = self.layout.index(range);
        (&self.layout.tensors[index], &self.tensors[index])
    }

    /// The plain weights that the bytes stand for, one tensor after the other.
    pub fn dequantized(&self) -> Vec<f32> {
        self.tensors().flat_map(|(spec, tensor)| dequantized(spec, tensor)).collect()
    }

    /// Bytes that the numbers take.
    pub fn bytes(&self) -> usize {
        let of = |t: &QuantizedTensor| t.values.len() + 4 * (t.scales.len() + t.floats.len());
        self.tensors.iter().map(of).sum()
    }
}

/// The plain numbers that a tensor stands for.
pub(super) fn dequantized(spec: &TensorSpec, tensor: &QuantizedTensor) -> Vec<f32> {
    let columns = spec.shape.last().copied().unwrap_or(1).max(1);
    let scale = |index: usize| match TensorEncoding::of(spec) {
        TensorEncoding::PerRow => tensor.scales[index / columns],
        _ => tensor.scales[index % columns],
    };
    match TensorEncoding::of(spec) {
        TensorEncoding::Float => tensor.floats.clone(),
        _ => tensor.values.iter().enumerate().map(|(k, &value)| f32::from(value) * scale(k)).collect(),
    }
}

/// No scale or float of a trained model comes near; products of numbers below stay finite.
const LARGEST: f32 = 1e3;

fn check(spec: &TensorSpec, tensor: &QuantizedTensor) -> std::result::Result<(), String> {
    let (scales, values, floats) = TensorEncoding::of(spec).lengths(spec);
    for (what, found, expected) in [
        ("bytes", tensor.values.len(), values),
        ("scales", tensor.scales.len(), scales),
        ("numbers", tensor.floats.len(), floats),
    ] {
        if found != expected {
            return Err(format!("{found} {what} where the shape asks for {expected}"));
        }
    }
    if let Some(scale) = tensor.scales.iter().find(|scale| !(0.0..=LARGEST).contains(*scale)) {
        return Err(format!("a scale of {scale}"));
    }
    match tensor.floats.iter().find(|x| !(-LARGEST..=LARGEST).contains(*x)) {
        Some(number) => Err(format!("a number of {number}")),
        None => Ok(()),
    }
}

fn wrong(field: &str, message: String) -> Error {
    Error::new(ErrorKind::Model, message).field(field).next_step(NEXT_STEP)
}
