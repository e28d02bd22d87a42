//! Quantization-aware fine-tuning: weights learn where they will be rounded to.

use super::scheme::fake_quantize;
use crate::error::Result;
use crate::network::Batch;
use crate::transformer::{Engine, Losses, TrainingPass, Weights};

/// An engine that sees every weight rounded as the quantized model will hold it, and hands the gradient on as if it had
/// not been (the straight-through estimator of Bengio and others, "Estimating or Propagating Gradients Through Stochastic
/// Neurons", 2013). Activations stay plain: their bytes have a scale a row, and cost next to nothing.
pub struct QuantizationAware {
    engine: Box<dyn Engine>,
    rounded: Option<Weights>,
}

impl QuantizationAware {
    /// Wraps `engine`, which computes.
    pub fn new(engine: Box<dyn Engine>) -> Self {
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

impl Engine for QuantizationAware {
    fn name(&self) -> String {
        format!("{}, quantization-aware", self.engine.name())
    }

    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: TrainingPass,
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::context::Task;
    use crate::network::TransformerConfig;
    use crate::transformer::NativeEngine;

    #[test]
    fn gradients_are_those_at_the_rounded_weights() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 20);
        let weights = Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let mut rounded = weights.clone();
        for spec in &weights.layout().tensors {
            fake_quantize(spec, &mut rounded.values[spec.range.clone()]);
        }
        assert_ne!(rounded, weights);
        let batch = Batch::random_question(&config, 9, 12, 1);
        let pass = TrainingPass { next_weight: 0.1, dropout: 0.0, seed: 0 };
        let gradient = |engine: &mut dyn Engine, weights: &Weights| {
            let mut gradient = vec![f32::NAN; weights.values.len()];
            let losses = engine.gradient(weights, &batch, pass, &mut gradient).unwrap();
            (losses, engine.logits(weights, &batch).unwrap(), gradient)
        };
        let mut aware = QuantizationAware::new(Box::new(NativeEngine::new()));
        let expected = gradient(&mut NativeEngine::new(), &rounded);
        assert_eq!(gradient(&mut aware, &weights), expected);
        assert_eq!(gradient(&mut aware, &weights), expected, "what was rounded is rounded anew");
    }
}
