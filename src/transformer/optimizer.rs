//! AdamW on flat weights (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), and clipping.
//!
//! ```text
//! m = beta1 m + (1 - beta1) g                  v = beta2 v + (1 - beta2) g^2
//! w = w - rate * decay * w - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
//! ```

use std::ops::Range;

use super::schedule::TrainingConfig;
use crate::network::WeightLayout;

/// AdamW's memory: two moments a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Mean gradient, `[weights]`.
    pub(super) first_moment: Vec<f32>,
    /// Mean squared gradient, `[weights]`.
    pub(super) second_moment: Vec<f32>,
    /// How many updates there were.
    pub(super) updates: u64,
    tensors: Vec<Group>,
}

/// A tensor and how it is moved.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    range: Range<usize>,
    decays: bool,
    is_pointer: bool,
}

impl AdamW {
    /// Before the first update.
    pub fn new(layout: &WeightLayout) -> Self {
        let tensors = layout
            .tensors
            .iter()
            .map(|tensor| Group {
                range: tensor.range.clone(),
                decays: tensor.decays,
                is_pointer: tensor.name.starts_with("pointer_"),
            })
            .collect();
        let nothing = vec![0.0; layout.len()];
        Self { first_moment: nothing.clone(), second_moment: nothing, updates: 0, tensors }
    }

    /// Moves `weights` against `gradient`.
    ///
    /// # Shapes
    /// Both: `[weights]`, as the layout lays them.
    pub fn update(&mut self, weights: &mut [f32], gradient: &[f32], config: &TrainingConfig, rate: f64) {
        self.updates += 1;
        let (beta1, beta2) = (config.beta1 as f32, config.beta2 as f32);
        // One minus a power near one: in f64, or the first steps would be off.
        let correction = |beta: f64| 1.0 - beta.powf(self.updates as f64);
        let root = correction(config.beta2).sqrt().recip() as f32;
        let epsilon = config.epsilon as f32;
        for Group { range, decays, is_pointer } in &self.tensors {
            let rate = if *is_pointer { rate * config.pointer_rate } else { rate };
            let step = (rate / correction(config.beta1)) as f32;
            let kept = if *decays { (1.0 - rate * config.weight_decay) as f32 } else { 1.0 };
            let moments =
                self.first_moment[range.clone()].iter_mut().zip(&mut self.second_moment[range.clone()]);
            let pairs = weights[range.clone()].iter_mut().zip(&gradient[range.clone()]);
            for ((w, &g), (m, v)) in pairs.zip(moments) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                *w = kept * *w - step * *m / (v.sqrt() * root + epsilon);
            }
        }
    }
}

/// Scales `gradient` down to the norm `limit` where it is longer; 0 never does. Returns the norm that it had.
pub fn clip(gradient: &mut [f32], limit: f64) -> f64 {
    // f64: the squares of a million small numbers beside those of a few large ones.
    let norm = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
    if limit > 0.0 && norm > limit && norm.is_finite() {
        let scale = (limit / norm) as f32;
        gradient.iter_mut().for_each(|g| *g *= scale);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Task;
    use crate::transformer::TransformerConfig;

    #[test]
    fn three_updates_are_those_of_pytorch() {
        // torch.optim.AdamW([w], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=d), gradients 0.5, -0.25, 2.0, by
        // its documented formula in Python floats:
        //   w, m, v = 1.0, 0.0, 0.0
        //   for t, g in enumerate([0.5, -0.25, 2.0], 1):
        //       w -= 0.1 * d * w; m = 0.9 * m + 0.1 * g; v = 0.99 * v + 0.01 * g * g
        //       w -= 0.1 * (m / (1 - 0.9 ** t)) / ((v / (1 - 0.99 ** t)) ** 0.5 + 1e-8); print(w)
        let decayed = [0.88, 0.835_730, 0.752_213];
        let plain = [0.9, 0.873_330, 0.806_528];
        let shape = TransformerConfig::student(Task::FirstAfterUnlock, 3);
        let layout = WeightLayout::new(&shape);
        let config = TrainingConfig { weight_decay: 0.2, beta2: 0.99, ..TrainingConfig::default() };
        let mut optimizer = AdamW::new(&layout);
        let mut weights = vec![1.0; layout.len()];
        for (update, gradient) in [0.5, -0.25, 2.0].into_iter().enumerate() {
            optimizer.update(&mut weights, &vec![gradient; layout.len()], &config, 0.1);
            for tensor in &layout.tensors {
                let expected = if tensor.decays { decayed } else { plain }[update];
                for &weight in &weights[tensor.range.clone()] {
                    assert!((weight - expected).abs() < 2e-6, "{} {update}: {weight}", tensor.name);
                }
            }
        }
    }

    #[test]
    fn clipping_shortens_what_is_too_long_and_nothing_else() {
        let cases: [(&[f32], f64, &[f32], f64); 5] = [
            (&[3.0, 4.0], 1.0, &[0.6, 0.8], 5.0),
            (&[3.0, 4.0], 5.0, &[3.0, 4.0], 5.0),
            (&[3.0, 4.0], 0.0, &[3.0, 4.0], 5.0),
            (&[], 1.0, &[], 0.0),
            (&[f32::INFINITY, 1.0], 1.0, &[f32::INFINITY, 1.0], f64::INFINITY),
        ];
        for (gradient, limit, expected, norm) in cases {
            let mut clipped = gradient.to_vec();
            assert_eq!(clip(&mut clipped, limit), norm, "{gradient:?}");
            let close = |(a, b): (&f32, &f32)| a == b || (a - b).abs() < 1e-6;
            assert!(clipped.iter().zip(expected).all(close), "{clipped:?}");
        }
        assert!(clip(&mut [f32::NAN], 1.0).is_nan());
    }
}
