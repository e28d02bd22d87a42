//! Plain f32 weights: one flat list of numbers, in which [`WeightLayout`] says where each tensor lies.

use half::f16;
use rand::{Rng, RngExt as _};
use rand_distr::StandardNormal;

use crate::error::{Error, ErrorKind, Result};
use crate::network::{TensorSpec, TransformerConfig, WeightLayout};

/// A transformer's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    config: TransformerConfig,
    layout: WeightLayout,
    /// Every tensor, in the order of [`WeightLayout::tensors`].
    pub values: Vec<f32>,
}

impl Weights {
    /// Wraps `values`, which lie as [`WeightLayout::new`] says.
    ///
    /// # Errors
    /// The shape is impossible, or there are more or fewer values than it asks for, or one is not finite.
    pub fn new(config: TransformerConfig, values: Vec<f32>) -> Result<Self> {
        config.check()?;
        let layout = WeightLayout::new(&config);
        if values.len() != layout.len() {
            let message = format!("{} weights where the shape asks for {}", values.len(), layout.len());
            return Err(Error::new(ErrorKind::Model, message));
        }
        if let Some(bad) =
            layout.tensors.iter().find(|tensor| values[tensor.range.clone()].iter().any(|v| !v.is_finite()))
        {
            let message = "a weight is not a finite number";
            return Err(Error::new(ErrorKind::Model, message).field(bad.name.clone()));
        }
        Ok(Self { config, layout, values })
    }

    /// Random weights to begin training with.
    ///
    /// # Errors
    /// The shape is impossible.
    pub fn random(config: TransformerConfig, random: &mut impl Rng) -> Result<Self> {
        config.check()?;
        let layout = WeightLayout::new(&config);
        let mut values = vec![0.0; layout.len()];
        // Outputs into the residual stream start smaller the more of them there are (GPT-2).
        let residual = 1.0 / (2.0 * config.layers as f32).sqrt();
        for tensor in &layout.tensors {
            let leaf = tensor.name.rsplit('.').next().unwrap_or_default();
            let deviation = match leaf {
                "attention_norm" | "feed_norm" | "final_norm" => {
                    values[tensor.range.clone()].fill(1.0);
                    continue;
                }
                _ if leaf.ends_with("bias") => continue,
                _ if leaf.ends_with("embedding") => 0.02 * (128.0 / config.d_model as f32).sqrt(),
                "output" | "feed_out" => residual / (tensor.shape[0] as f32).sqrt(),
                // What the pointer adds begins near nothing; the softmaxes begin near each other, and all count the same.
                "pointer_output" | "pointer_mixture" | "pointer_gate" => {
                    0.1 / (tensor.shape[0] as f32).sqrt()
                }
                _ => 1.0 / (tensor.shape[0] as f32).sqrt(),
            };
            for value in &mut values[tensor.range.clone()] {
                let z: f32 = random.sample(StandardNormal);
                *value = deviation * z;
            }
        }
        Ok(Self { config, layout, values })
    }

    /// The same numbers in another shape: `edit` is given each tensor's name and values, and leaves what `config` asks for.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn reshaped(
        &self,
        config: TransformerConfig,
        mut edit: impl FnMut(&str, &mut Vec<f32>),
    ) -> Result<Self> {
        let mut all = Vec::new();
        for tensor in &self.layout.tensors {
            let mut values = self.values[tensor.range.clone()].to_vec();
            edit(&tensor.name, &mut values);
            all.append(&mut values);
        }
        Self::new(config, all)
    }

    /// The first tensor with a number that half precision does not hold, if there is one.
    pub fn beyond_half(&self) -> Option<&TensorSpec> {
        let is_beyond = |value: &f32| !f16::from_f32(*value).is_finite();
        self.layout.tensors.iter().find(|spec| self.values[spec.range.clone()].iter().any(is_beyond))
    }

    /// The shape.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Where each tensor lies in `values`.
    pub fn layout(&self) -> &WeightLayout {
        &self.layout
    }
}
