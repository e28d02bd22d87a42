//! What a run tells of itself every few steps.

use serde::{Deserialize, Serialize};

/// A line of `metrics.jsonl`. Losses are means over the steps since the line before, in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Steps that are done.
    pub step: u64,
    /// What is minimised: the questions' loss and the weighted next-app loss. None before the first step.
    pub loss: Option<f64>,
    /// The questions' part of it.
    pub question_loss: Option<f64>,
    /// The next-app loss, before it is weighted.
    pub next_loss: Option<f64>,
    /// Loss of the validation questions, at steps with a validation.
    pub validation_loss: Option<f64>,
    /// Share of the validation questions whose answer is among the first three.
    pub validation_hr3: Option<f64>,
    /// Learning rate of the latest step.
    pub learning_rate: f64,
    /// Mean norm of the gradients before they were clipped.
    pub gradient_norm: Option<f64>,
    /// Tokens learned from a second, validation apart.
    pub tokens_per_s: Option<f64>,
    /// Time since the start, interruptions apart.
    pub secs: f64,
}
