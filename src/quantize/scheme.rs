//! From plain weights to whole numbers: scales and rounding.
//!
//! A line of a tensor (a matrix's column, an embedding's row) is divided by its scale and rounded to the nearest whole
//! number of steps, halves to even, from -127 to 127. The scale is the largest number's 127th, or less where cutting the
//! largest ones off pays:
//!
//! ```text
//! scale = argmin over cut in {1, 0.96, .. 0.6} of sum over k of importance[k] (w[k] - round(w[k] / s) s)^2,
//!         s = cut max|w| / 127
//! ```
//!
//! where `importance` is how large a matrix's inputs are, the mean of their squares, as [`Calibration`] saw them.

use super::model::{Description, QuantizedModel, QuantizedTensor, STEPS, Storage};
use crate::error::Result;
use crate::network::TensorSpec;
use crate::transformer::{TransformerModel, Weights};

/// How large the inputs of matrices are: by tensor, then by row, the mean of the squares. A tensor that is not listed has
/// inputs that are all alike.
pub type Importance = std::collections::HashMap<String, Vec<f64>>;

/// Shares of the largest number that the farthest step may be.
const CUTS: [f32; 11] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.76, 0.72, 0.68, 0.64, 0.6];

/// Quantizes `model` without knowing its inputs: nothing is cut off.
///
/// # Errors
/// The model's parts do not fit together, or its numbers are beyond all reason.
pub fn quantize(model: &TransformerModel) -> Result<QuantizedModel> {
    of_tensors(model, |spec, values| round(spec, values, |_| 1.0))
}

/// Quantizes `model` with the scales that suit inputs of such `importance` best.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_calibrated(model: &TransformerModel, importance: &Importance) -> Result<QuantizedModel> {
    of_tensors(model, |spec, values| {
        let importance = importance.get(&spec.name).map(Vec::as_slice).unwrap_or_default();
        round(spec, values, |line| best_cut(line, importance))
    })
}

/// The plain model that the bytes of `model` stand for.
///
/// # Errors
/// None that a checked model could cause.
pub fn dequantize(model: &QuantizedModel) -> Result<TransformerModel> {
    Ok(TransformerModel {
        weights: Weights::new(model.config().clone(), model.dequantized())?,
        apps: model.apps.clone(),
        temperature: model.temperature,
        columns: model.columns.clone(),
    })
}

/// Rounds `values` to what a quantized tensor of `spec` would hold.
pub(super) fn fake_quantize(spec: &TensorSpec, values: &mut [f32]) {
    if Storage::of(spec) != Storage::Float {
        let tensor = round(spec, values, |_| 1.0);
        values.copy_from_slice(&super::model::dequantized(spec, &tensor));
    }
}

fn of_tensors(
    model: &TransformerModel,
    tensor: impl Fn(&TensorSpec, &[f32]) -> QuantizedTensor,
) -> Result<QuantizedModel> {
    let weights = &model.weights;
    let specs = &weights.layout().tensors;
    let tensors = specs.iter().map(|spec| tensor(spec, &weights.values[spec.range.clone()])).collect();
    let description = Description {
        config: weights.config().clone(),
        apps: model.apps.clone(),
        temperature: model.temperature,
        columns: model.columns.clone(),
    };
    QuantizedModel::new(description, tensors)
}

/// Quantizes a tensor, `cut` telling for each of its lines what share of the largest number the farthest step is.
fn round(spec: &TensorSpec, values: &[f32], cut: impl Fn(&[f32]) -> f32) -> QuantizedTensor {
    let columns = spec.shape.last().copied().unwrap_or(1).max(1);
    let (lines, of_line): (usize, fn(usize, usize) -> usize) = match Storage::of(spec) {
        Storage::Float => {
            return QuantizedTensor { floats: values.to_vec(), ..QuantizedTensor::default() };
        }
        Storage::PerRow => (values.len() / columns, |index, columns| index / columns),
        Storage::PerColumn => (columns, |index, columns| index % columns),
    };
    let mut parted = vec![Vec::new(); lines];
    for (index, &value) in values.iter().enumerate() {
        parted[of_line(index, columns)].push(value);
    }
    let scales: Vec<f32> = parted.iter().map(|line| largest(line) * cut(line) / STEPS).collect();
    let step = |(index, &value): (usize, &f32)| steps(value, scales[of_line(index, columns)]) as i8;
    let values = values.iter().enumerate().map(step).collect();
    QuantizedTensor { values, scales, floats: Vec::new() }
}

/// The nearest whole number of steps.
fn steps(value: f32, scale: f32) -> f32 {
    if scale > 0.0 { (value / scale).round_ties_even().clamp(-STEPS, STEPS) } else { 0.0 }
}

fn largest(line: &[f32]) -> f32 {
    line.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The cut that leaves the smallest error, weighed by the importance of each number of the line.
fn best_cut(line: &[f32], importance: &[f64]) -> f32 {
    let most = largest(line);
    let error = |cut: f32| -> f64 {
        let scale = cut * most / STEPS;
        let of = |(k, &value): (usize, &f32)| {
            let error = f64::from(value - steps(value, scale) * scale);
            importance.get(k).copied().unwrap_or(1.0) * error * error
        };
        line.iter().enumerate().map(of).sum()
    };
    let errors = CUTS.map(|cut| (error(cut), cut));
    errors.into_iter().fold(errors[0], |best, found| if found.0 < best.0 { found } else { best }).1
}

/// The same model with the smallest `share` of each matrix's and embedding's weights at zero.
pub fn prune(model: &TransformerModel, share: f64) -> TransformerModel {
    let mut pruned = model.clone();
    for spec in &model.weights.layout().tensors {
        if Storage::of(spec) == Storage::Float {
            continue;
        }
        let values = &mut pruned.weights.values[spec.range.clone()];
        let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let zeros = (share.clamp(0.0, 1.0) * sizes.len() as f64) as usize;
        let limit = zeros.checked_sub(1).map_or(-1.0, |last| sizes[last]);
        values.iter_mut().filter(|value| value.abs() <= limit).for_each(|value| *value = 0.0);
    }
    pruned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, shape: [usize; 2]) -> TensorSpec {
        TensorSpec { name: name.into(), shape: shape.into(), range: 0..shape[0] * shape[1], decays: false }
    }

    #[test]
    fn lines_are_columns_of_matrices_and_rows_of_embeddings() {
        let values = [127.0, 2.0, -63.6, 1.0, 0.4, 0.0];
        let matrix = round(&spec("layers.0.query", [3, 2]), &values, |_| 1.0);
        assert_eq!((matrix.values, matrix.scales), (vec![127, 127, -64, 64, 0, 0], vec![1.0, 2.0 / 127.0]));
        let rows = round(&spec("app_embedding", [3, 2]), &values, |_| 1.0);
        assert_eq!(rows.values, [127, 2, -127, 2, 127, 0]);
        let empty = round(&spec("layers.0.query", [2, 1]), &[0.0, 0.0], |_| 1.0);
        assert_eq!((empty.values, empty.scales), (vec![0, 0], vec![0.0]));
        let floats = round(&spec("layers.0.gap_bias", [2, 1]), &[0.5, 0.25], |_| 1.0);
        assert_eq!((floats.values.len(), floats.floats), (0, vec![0.5, 0.25]));
    }

    #[test]
    fn what_hardly_matters_is_cut_off() {
        // One number far out, whose input is nearly always zero, and many that would like smaller steps.
        let line: Vec<f32> = (0..200).map(|k| if k == 0 { 2.0 } else { (k as f32 * 0.37).sin() }).collect();
        let mut importance = vec![1.0; 200];
        importance[0] = 1e-6;
        assert!(best_cut(&line, &importance) < 0.7);
        importance[0] = 1e6;
        assert_eq!(best_cut(&line, &importance), 1.0);
        assert_eq!(best_cut(&[0.0; 4], &[]), 1.0);
    }
}
