//! What a model's matrices read, measured on questions, and what rounding them costs.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;

use super::forward::{Inputs, QuantizedForward};
use super::model::{QuantizedModel, QuantizedTensor, TensorEncoding, dequantized};
use super::scheme::{Importance, quantize};
use crate::error::Result;
use crate::network::{Batch, TensorSpec};
use crate::transformer::{NativeEngine, TransformerModel, Weights, validate};

/// How large the inputs of the matrices of `model` are on these questions.
///
/// # Shapes
/// `questions`: of one sequence and one question each.
///
/// # Errors
/// The model cannot be quantized.
pub fn calibrate(model: &TransformerModel, questions: &[Batch]) -> Result<Importance> {
    let observed = QuantizedForward::new(&quantize(model)?).observe(questions);
    let specs = &model.weights.layout().tensors;
    let mean = |(tensor, inputs): (usize, Inputs)| {
        let spec = &specs[tensor];
        // What pads rows is no input.
        let width = spec.shape.first().copied().unwrap_or_default();
        let means = inputs.squares.into_iter().take(width).map(|sum| sum / inputs.rows.max(1) as f64);
        (spec.name.clone(), means.collect())
    };
    Ok(observed.into_iter().map(mean).collect())
}

/// The smallest and the largest input of each matrix of `model` on these questions, by the matrix's name: what runtimes
/// want to know that round inputs by ranges from beforehand.
///
/// # Shapes
/// `questions`: of one sequence and one question each.
pub fn input_ranges(model: &QuantizedModel, questions: &[Batch]) -> BTreeMap<String, [f32; 2]> {
    let observed = QuantizedForward::new(model).observe(questions);
    let tensors = &model.layout().tensors;
    observed.into_iter().map(|(tensor, inputs)| (tensors[tensor].name.clone(), inputs.range)).collect()
}

/// What quantizing one tensor costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorReport {
    /// Its name in the layout.
    pub name: String,
    /// How many numbers it has.
    pub weights: usize,
    /// Bytes that it takes.
    pub bytes: usize,
    /// Root of the mean square by which its products change, over that of the products themselves.
    pub error: f64,
    /// Share of its numbers beyond the farthest step, which are cut off.
    pub clipped_share: f64,
    /// By how much the log loss grows when this tensor alone is quantized, in nats.
    pub sensitivity: f64,
}

/// Reports on every tensor of `model` that `quantized` holds in bytes, measured on `questions` with their targets.
///
/// # Errors
/// A pass fails.
pub fn report(
    model: &TransformerModel,
    quantized: &QuantizedModel,
    importance: &Importance,
    questions: &[Batch],
) -> Result<Vec<TensorReport>> {
    let loss = |weights: &Weights| -> Result<f64> {
        Ok(validate(&mut NativeEngine::new(), weights, questions)?.map_or(0.0, |found| found.loss))
    };
    let plain = loss(&model.weights)?;
    let mut reports = Vec::new();
    for (spec, tensor) in
        quantized.tensors().filter(|(spec, _)| TensorEncoding::of(spec) != TensorEncoding::Float)
    {
        let rounded = dequantized(spec, tensor);
        let values = &model.weights.values[spec.range.clone()];
        let weigh = importance.get(&spec.name).map(Vec::as_slice).unwrap_or_default();
        let mut alone = model.weights.clone();
        alone.values[spec.range.clone()].copy_from_slice(&rounded);
        reports.push(TensorReport {
            name: spec.name.clone(),
            weights: values.len(),
            bytes: tensor.values.len() + 4 * tensor.scales.len(),
            error: error(spec, values, &rounded, weigh),
            clipped_share: clipped_share(spec, values, tensor),
            sensitivity: loss(&alone)? - plain,
        });
    }
    Ok(reports)
}

/// Inputs are taken for independent of each other: `sum E[x_k^2] (w - rounded)^2 / sum E[x_k^2] w^2`, and the root of it.
fn error(spec: &TensorSpec, values: &[f32], rounded: &[f32], importance: &[f64]) -> f64 {
    let columns = spec.shape.last().copied().unwrap_or(1).max(1);
    let (mut wrong, mut all) = (0.0, 0.0);
    for (index, (&value, &rounded)) in values.iter().zip(rounded).enumerate() {
        let weight = importance.get(index / columns).copied().unwrap_or(1.0);
        wrong += weight * f64::from(value - rounded).powi(2);
        all += weight * f64::from(value).powi(2);
    }
    if all > 0.0 { (wrong / all).sqrt() } else { 0.0 }
}

/// A number is cut off where it is more than half a step beyond the farthest.
fn clipped_share(spec: &TensorSpec, values: &[f32], tensor: &QuantizedTensor) -> f64 {
    let columns = spec.shape.last().copied().unwrap_or(1).max(1);
    let scale = |index: usize| match TensorEncoding::of(spec) {
        TensorEncoding::PerRow => tensor.scales[index / columns],
        _ => tensor.scales[index % columns],
    };
    let is_cut = |(index, value): &(usize, &f32)| value.abs() > (super::model::STEPS + 0.5) * scale(*index);
    values.iter().enumerate().filter(is_cut).count() as f64 / values.len().max(1) as f64
}

/// Bytes that the model's numbers take once they are deflated: what pruning gains, since zeros pack well.
pub fn deflated_bytes(model: &QuantizedModel) -> usize {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    for (_, tensor) in model.tensors() {
        let bytes: Vec<u8> = tensor.values.iter().map(|value| value.to_le_bytes()[0]).collect();
        let floats = tensor.scales.iter().chain(&tensor.floats).flat_map(|number| number.to_le_bytes());
        // A list in memory takes all that is written.
        let _ = packed.write_all(&bytes).and_then(|()| packed.write_all(&floats.collect::<Vec<u8>>()));
    }
    packed.finish().map_or(0, |packed| packed.len())
}
