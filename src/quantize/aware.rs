//! Quantization-aware fine-tuning: weights learn where they will be rounded to.

use super::scheme::fake_quantize;
use crate::error::Result;
use crate::network::Batch;
use crate::transformer::{Engine, Losses, Pass, Weights};

/// An engine that sees every weight rounded as the quantized model will hold it, and hands the gradient on as if it had
/// not been (the straight-through estimator of Bengio and others, "Estimating or Propagating Gradients Through Stochastic
/// Neurons", 2013). Activations stay plain: their bytes have a scale a row, and cost next to nothing.
pub struct QuantizationAware<E> {
    engine: E,
    rounded: Option<Weights>,
}

impl<E: Engine> QuantizationAware<E> {
    /// Wraps `engine`, which computes.
    pub fn new(engine: E) -> Self {
        Self { engine, rounded: None }
    }

    /// `weights`, rounded.
    fn round(&mut self, weights: &Weights) -> Weights {
        let mut rounded = match self.rounded.take() {
            Some(rounded) if rounded.config() == weights.config() => rounded,
            _ => weights.clone(),
        };
        rounded.values.copy_from_slice(&weights.values);
        for spec in &weights.layout().tensors {
            fake_quantize(spec, &mut rounded.values[spec.range.clone()]);
        }
        rounded
    }
}

impl<E: Engine> Engine for QuantizationAware<E> {
    fn name(&self) -> String {
        format!("{}, quantization-aware", self.engine.name())
    }

    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: Pass,
        gradient: &mut [f32],
    ) -> Result<Losses> {
        let rounded = self.round(weights);
        let losses = self.engine.gradient(&rounded, batch, pass, gradient);
        self.rounded = Some(rounded);
        losses
    }

    fn logits(&mut self, weights: &Weights, batch: &Batch) -> Result<Vec<f32>> {
        let rounded = self.round(weights);
        let logits = self.engine.logits(&rounded, batch);
        self.rounded = Some(rounded);
        logits
    }
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: Pass,
        gradient: &mut [f32],
    ) -> Result<Losses> {
        (**self).gradient(weights, batch, pass, gradient)
    }

    fn logits(&mut self, weights: &Weights, batch: &Batch) -> Result<Vec<f32>> {
        (**self).logits(weights, batch)
    }
}
