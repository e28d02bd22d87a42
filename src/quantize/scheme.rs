//! From plain weights to whole numbers.

use super::model::{Description, QuantizedModel, QuantizedTensor, STEPS, Storage};
use crate::error::Result;
use crate::network::TensorSpec;
use crate::transformer::TransformerModel;

/// Quantizes `model`: every row or column's largest number becomes 127 steps.
///
/// # Errors
/// The model's parts do not fit together, or its numbers are beyond all reason.
pub fn quantize(model: &TransformerModel) -> Result<QuantizedModel> {
    let weights = &model.weights;
    let of = |spec: &TensorSpec| tensor(spec, &weights.values[spec.range.clone()]);
    let tensors = weights.layout().tensors.iter().map(of).collect();
    let description = Description {
        config: weights.config().clone(),
        apps: model.apps.clone(),
        temperature: model.temperature,
        columns: model.columns.clone(),
    };
    QuantizedModel::new(description, tensors)
}

fn tensor(spec: &TensorSpec, values: &[f32]) -> QuantizedTensor {
    let columns = spec.shape.last().copied().unwrap_or(1).max(1);
    let line = |index: usize| match Storage::of(spec) {
        Storage::PerRow => index / columns,
        _ => index % columns,
    };
    if Storage::of(spec) == Storage::Float {
        return QuantizedTensor { floats: values.to_vec(), ..QuantizedTensor::default() };
    }
    let lines = if Storage::of(spec) == Storage::PerRow { spec.shape[0] } else { columns };
    let mut scales = vec![0.0_f32; lines];
    for (index, value) in values.iter().enumerate() {
        let scale = &mut scales[line(index)];
        *scale = scale.max(value.abs() / STEPS);
    }
    let byte = |(index, value): (usize, &f32)| {
        let scale = scales[line(index)];
        if scale > 0.0 { (value / scale).round_ties_even().clamp(-STEPS, STEPS) as i8 } else { 0 }
    };
    let values = values.iter().enumerate().map(byte).collect();
    QuantizedTensor { values, scales, floats: Vec::new() }
}
