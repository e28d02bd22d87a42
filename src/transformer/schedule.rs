//! The knobs of training, and the learning rate that they ask for at each step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The knobs of training, saved with a run: it is resumed with the same ones or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Most steps, a batch each.
    pub steps: u64,
    /// The highest learning rate, reached when the warm-up ends.
    pub learning_rate: f64,
    /// The pointer's learning rate over that of the rest: a small network on columns bears, and needs, longer steps than
    /// the transformer.
    pub pointer_rate: f64,
    /// Steps over which the learning rate rises in a line from near nothing.
    pub warmup_steps: u64,
    /// Share of the learning rate that is left at the last step; a cosine leads there.
    pub final_rate: f64,
    /// How much of the mean gradient each step keeps.
    pub beta1: f64,
    /// How much of the mean squared gradient each step keeps.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub epsilon: f64,
    /// Share of a matrix's weights, times the learning rate, that is taken away at each step.
    pub weight_decay: f64,
    /// Gradients of a larger Euclidean norm are scaled down to it; 0 never does.
    pub clip_norm: f64,
    /// Share of the embeddings and of what each attention and feed-forward adds that is left out.
    pub dropout: f32,
    /// Weight of the next-app loss at every token beside the questions' loss.
    pub next_weight: f32,
    /// Steps from one line of `metrics.jsonl` to the next.
    pub report_every: u64,
    /// Steps from one validation to the next.
    pub validate_every: u64,
    /// Stop after this many validations without a lower loss; 0 never stops.
    pub patience: u32,
    /// Steps from one checkpoint to the next. A validation with a lower loss makes one, too.
    pub checkpoint_every: u64,
    /// Seed of the data loader and of dropout.
    pub seed: u64,
}

impl Default for TrainingConfig {
    /// For transformers of up to a million weights and batches of some thousand tokens.
    fn default() -> Self {
        Self {
            steps: 4_000,
            learning_rate: 1e-3,
            pointer_rate: 1.0,
            warmup_steps: 200,
            final_rate: 0.05,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.05,
            clip_norm: 1.0,
            dropout: 0.1,
            next_weight: 0.3,
            report_every: 20,
            validate_every: 200,
            patience: 10,
            checkpoint_every: 200,
            seed: 0,
        }
    }
}

impl TrainingConfig {
    /// Refuses what cannot be trained with.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field.
    pub fn check(&self) -> Result<()> {
        let most = f64::MAX;
        let below_one = 1.0 - f64::EPSILON;
        let numbers = [
            ("learning_rate", self.learning_rate, f64::MIN_POSITIVE, most, "a positive number"),
            ("pointer_rate", self.pointer_rate, f64::MIN_POSITIVE, most, "a positive number, such as 1 or 4"),
            ("final_rate", self.final_rate, 0.0, 1.0, "0 to 1"),
            ("beta1", self.beta1, 0.0, below_one, "at least 0 and less than 1"),
            ("beta2", self.beta2, 0.0, below_one, "at least 0 and less than 1"),
            ("epsilon", self.epsilon, f64::MIN_POSITIVE, most, "a small positive number"),
            ("weight_decay", self.weight_decay, 0.0, most, "0 or more"),
            ("clip_norm", self.clip_norm, 0.0, most, "0 or more"),
            ("dropout", f64::from(self.dropout), 0.0, 0.99, "0 to 0.99"),
            ("next_weight", f64::from(self.next_weight), 0.0, most, "0 or more"),
        ];
        for (field, value, low, high, choose) in numbers {
            // Not a number is in no range.
            if !(low..=high).contains(&value) {
                return Err(refusal(field, value, choose));
            }
        }
        let counts = [
            ("report_every", self.report_every),
            ("validate_every", self.validate_every),
            ("checkpoint_every", self.checkpoint_every),
        ];
        match counts.into_iter().find(|(_, steps)| *steps == 0) {
            Some((field, steps)) => Err(refusal(field, steps, "1 or more")),
            None => Ok(()),
        }
    }

    /// The learning rate of the update that follows `step` others.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let decay_steps = self.steps.saturating_sub(self.warmup_steps).max(1);
        let way = ((step - self.warmup_steps) as f64 / decay_steps as f64).min(1.0);
        let cosine = (1.0 + (PI * way).cos()) / 2.0;
        self.learning_rate * (self.final_rate + (1.0 - self.final_rate) * cosine)
    }
}

fn refusal(field: &str, value: impl std::fmt::Display, choose: &str) -> Error {
    Error::new(ErrorKind::Config, format!("training with {field} of {value}"))
        .field(field)
        .next_step(format!("choose {choose}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_in_a_line_and_falls_in_a_cosine() {
        let config = TrainingConfig {
            steps: 110,
            learning_rate: 2.0,
            warmup_steps: 10,
            final_rate: 0.1,
            ..TrainingConfig::default()
        };
        // By hand: 2 * (0.1 + 0.9 * (1 + cos(pi * way)) / 2).
        let cases = [
            (0, 0.2),
            (4, 1.0),
            (9, 2.0),
            (10, 2.0),
            (35, 2.0 * (0.1 + 0.45 * (1.0 + 0.5_f64.sqrt()))),
            (60, 1.1),
            (110, 0.2),
            (500, 0.2),
        ];
        for (step, expected) in cases {
            assert!((config.learning_rate_at(step) - expected).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn a_warm_up_of_nothing_or_of_everything_is_fine() {
        for (steps, warmup_steps) in [(0, 0), (1, 0), (5, 5), (5, 50)] {
            let config = TrainingConfig { steps, warmup_steps, ..TrainingConfig::default() };
            for step in 0..=steps {
                let rate = config.learning_rate_at(step);
                assert!(rate > 0.0 && rate <= config.learning_rate, "{steps} {warmup_steps} {step}: {rate}");
            }
        }
    }

    #[test]
    fn what_cannot_be_trained_with_is_named() {
        let case = |edit: fn(&mut TrainingConfig)| {
            let mut config = TrainingConfig::default();
            edit(&mut config);
            config
        };
        let cases = [
            ("learning_rate", case(|c| c.learning_rate = 0.0)),
            ("learning_rate", case(|c| c.learning_rate = f64::NAN)),
            ("learning_rate", case(|c| c.learning_rate = f64::INFINITY)),
            ("pointer_rate", case(|c| c.pointer_rate = 0.0)),
            ("final_rate", case(|c| c.final_rate = 1.5)),
            ("beta1", case(|c| c.beta1 = 1.0)),
            ("beta2", case(|c| c.beta2 = -0.1)),
            ("epsilon", case(|c| c.epsilon = 0.0)),
            ("weight_decay", case(|c| c.weight_decay = -1.0)),
            ("clip_norm", case(|c| c.clip_norm = f64::NAN)),
            ("dropout", case(|c| c.dropout = 1.0)),
            ("next_weight", case(|c| c.next_weight = -0.1)),
            ("report_every", case(|c| c.report_every = 0)),
            ("validate_every", case(|c| c.validate_every = 0)),
            ("checkpoint_every", case(|c| c.checkpoint_every = 0)),
        ];
        assert!(TrainingConfig::default().check().is_ok());
        for (field, config) in cases {
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("field `{field}`")), "{error}");
        }
    }

    #[test]
    fn settings_come_back_and_unknown_ones_are_refused() {
        let config = TrainingConfig { learning_rate: 0.1 + 0.2, dropout: 0.07, ..TrainingConfig::default() };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<TrainingConfig>(&json).unwrap(), config);
        assert_eq!(serde_json::from_str::<TrainingConfig>("{}").unwrap(), TrainingConfig::default());
        assert!(serde_json::from_str::<TrainingConfig>("{\"momentum\":0.9}").is_err());
    }
}
