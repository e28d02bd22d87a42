//! From float weights to INT8: scales and rounding.
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

use super::model::{Description, QuantizedModel, QuantizedTensor, STEPS, TensorEncoding};
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
    if TensorEncoding::of(spec) != TensorEncoding::Float {
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
    let (lines, of_line): (usize, fn(usize, usize) -> usize) = match TensorEncoding::of(spec) {
        TensorEncoding::Float => {
            return QuantizedTensor { floats: values.to_vec(), ..QuantizedTensor::default() };
        }
        TensorEncoding::PerRow => (values.len() / columns, |index, columns| index / columns),
        TensorEncoding::PerColumn => (columns, |index, columns| index % columns),
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
        if TensorEncoding::of(spec) == TensorEncoding::Float {
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

    fn model() -> TransformerModel {
        use crate::context::Task;
        use crate::network::{Standardisation, TransformerConfig};
        use rand::SeedableRng as _;
        let config = TransformerConfig {
            d_model: 8,
            heads: 2,
            d_ff: 12,
            pointer_width: 4,
            ..TransformerConfig::student(Task::FirstAfterUnlock, 3)
        };
        let columns = Standardisation::none(&config);
        let mut weights = Weights::random(config, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1)).unwrap();
        // A query's first column: one number far out, negative.
        let (start, width) = (weights.layout().layers[0].query.start, 8);
        for (row, value) in [-2.0, 0.4, 0.3, -0.35, 0.27, 0.33, -0.41, 0.29].into_iter().enumerate() {
            weights.values[start + row * width] = value;
        }
        TransformerModel {
            weights,
            apps: ["a", "b", "c"].map(str::to_owned).into(),
            temperature: 1.75,
            columns,
        }
    }

    fn tensor<'a>(model: &'a QuantizedModel, name: &str) -> &'a QuantizedTensor {
        model.tensors().find(|(spec, _)| spec.name == name).unwrap().1
    }

    #[test]
    fn halves_are_rounded_to_even() {
        // Steps of one: IEEE 754's roundTiesToEven.
        let values = [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.501];
        let found = round(&spec("layers.0.query", [8, 1]), &values, |_| 1.0);
        assert_eq!(found.values, [127, 0, 2, 2, 0, -2, -2, 3]);
    }

    /// What is cut off becomes the farthest step, of either sign alike.
    #[test]
    fn what_is_cut_off_is_the_farthest_step() {
        let values = [-2.0, 2.0, 0.5, -0.5];
        let found = round(&spec("layers.0.query", [4, 1]), &values, |_| 0.5);
        assert_eq!((found.values, found.scales), (vec![-127, 127, 64, -64], vec![1.0 / 127.0]));
    }

    /// The cut is the one of all candidates whose weighted squares are smallest, as a plain search in f64 finds it.
    #[test]
    fn the_best_cut_is_the_one_of_least_error() {
        use rand::{RngExt as _, SeedableRng as _};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let mut cuts = std::collections::BTreeSet::new();
        for round in 0..200 {
            let length = random.random_range(3..60);
            let spread = random.random_range(1..6);
            let line: Vec<f32> =
                (0..length).map(|_| random.random_range(-1.0_f32..1.0).powi(spread)).collect();
            let importance: Vec<f64> =
                (0..length).map(|_| random.random_range(0.01_f64..1.0).powi(4)).collect();
            let most = f64::from(line.iter().fold(0.0_f32, |most, value| most.max(value.abs())));
            let error = |cut: f32| -> f64 {
                let scale = f64::from(cut) * most / 127.0;
                let of = |(value, weight): (&f32, &f64)| {
                    let steps = (f64::from(*value) / scale).round_ties_even().clamp(-127.0, 127.0);
                    weight * (f64::from(*value) - steps * scale).powi(2)
                };
                line.iter().zip(&importance).map(of).sum()
            };
            let found = best_cut(&line, &importance);
            let least = CUTS.into_iter().map(error).fold(f64::INFINITY, f64::min);
            assert!(
                error(found) <= least * (1.0 + 1e-3),
                "line {round}: {} at {found}, {least}",
                error(found)
            );
            cuts.insert((100.0 * found).round() as u32);
        }
        assert!(cuts.len() > 4, "{cuts:?}");
    }

    /// A number far out that is multiplied by next to nothing is cut off, where that is known of its own matrix.
    #[test]
    fn importance_is_that_of_the_tensor_it_names() {
        let model = model();
        let name = "layers.0.query";
        let mut rows = vec![1.0; 8];
        rows[0] = 1e-9;
        let plain = quantize(&model).unwrap();
        assert_eq!(tensor(&plain, name).scales[0], 2.0 / 127.0);
        let known =
            quantize_calibrated(&model, &Importance::from([(name.to_owned(), rows.clone())])).unwrap();
        assert!(tensor(&known, name).scales[0] < 0.97 * 2.0 / 127.0, "{}", tensor(&known, name).scales[0]);
        assert_eq!(tensor(&known, name).values[0], -127);
        let of_another =
            quantize_calibrated(&model, &Importance::from([("layers.0.key".to_owned(), rows)])).unwrap();
        assert_eq!(tensor(&of_another, name).scales[0], 2.0 / 127.0);
    }

    /// Back as floats: all numbers within half a step, and what is no number of a tensor as it was.
    #[test]
    fn what_bytes_stand_for() {
        let model = model();
        let quantized = quantize(&model).unwrap();
        let back = dequantize(&quantized).unwrap();
        assert_eq!((back.temperature, &back.apps, &back.columns), (1.75, &model.apps, &model.columns));
        for spec in &model.weights.layout().tensors {
            let [before, after] = [&model, &back].map(|model| &model.weights.values[spec.range.clone()]);
            let most = before.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            let allowed =
                if TensorEncoding::of(spec) == TensorEncoding::Float { 0.0 } else { 0.501 * most / 127.0 };
            let farthest = before.iter().zip(after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(farthest <= allowed, "{}: {farthest}", spec.name);
            // In training the same numbers stand for them.
            let mut rounded = before.to_vec();
            fake_quantize(spec, &mut rounded);
            assert_eq!(rounded, after, "{}", spec.name);
        }
    }

    /// The smallest share of each matrix becomes zero, to the number; norms and biases stay.
    #[test]
    fn a_pruned_model_by_hand() {
        let mut model = model();
        let layer = model.weights.layout().layers[0].clone();
        for (place, value) in model.weights.values[layer.query.clone()].iter_mut().enumerate() {
            *value = (place as f32 + 1.0) * if place % 2 == 0 { 1.0 } else { -1.0 };
        }
        let zeros = |share: f64| {
            let pruned = prune(&model, share);
            for norm in [&layer.attention_norm, &layer.feed_norm, &layer.gap_bias, &layer.feed_in_bias] {
                assert_eq!(pruned.weights.values[norm.clone()], model.weights.values[norm.clone()]);
            }
            let query = &pruned.weights.values[layer.query.clone()];
            let zeros = query.iter().take_while(|value| **value == 0.0).count();
            assert!(query[zeros..].iter().all(|value| *value != 0.0));
            zeros
        };
        // Of 64 numbers.
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(zeros), [0, 16, 32, 48, 64]);
        assert_eq!([-1.0, 7.0].map(zeros), [0, 64]);
    }
}
