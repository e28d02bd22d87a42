//! Whoever can tell a batch's loss and how it changes with the weights.

use serde::{Deserialize, Serialize};

use super::weights::Weights;
use crate::error::Result;
use crate::network::Batch;

/// Computes losses and gradients. The training loop knows nothing else of processors, cards and frameworks, so a run
/// is the same run on each of them, up to the rounding of sums.
pub trait Engine {
    /// What it is, for a progress line: `cpu`, `flex`, `wgpu`.
    fn name(&self) -> String;

    /// The losses of `batch`, and in `gradient` the gradient of
    /// `question / questions + pass.next_weight * next / next_tokens` by every weight.
    ///
    /// # Shapes
    /// `gradient`: `[weights.values.len()]`, overwritten.
    ///
    /// # Errors
    /// The device failed.
    fn gradient(
        &mut self,
        weights: &Weights,
        batch: &Batch,
        pass: TrainingPass,
        gradient: &mut [f32],
    ) -> Result<Losses>;

    /// The logits of every candidate, without dropout.
    ///
    /// # Shapes
    /// The result: `[batch.candidates()]`.
    ///
    /// # Errors
    /// The device failed.
    fn logits(&mut self, weights: &Weights, batch: &Batch) -> Result<Vec<f32>>;
}

/// What a training pass needs besides weights and batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingPass {
    /// Weight of the next-app loss at every token beside the questions' loss.
    pub next_weight: f32,
    /// Share of the embeddings and of what each attention and feed-forward adds that is left out.
    pub dropout: f32,
    /// Equal seeds leave out the same.
    pub seed: u64,
}

/// Sums over a batch, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// Cross entropy of the questions' candidates against the targets.
    pub question: f64,
    /// How many questions.
    pub questions: usize,
    /// Cross entropy of the next app over the vocabulary and "unknown".
    pub next: f64,
    /// How many tokens have a next app.
    pub next_tokens: usize,
}

impl Losses {
    /// What is minimised.
    pub fn total(&self, next_weight: f32) -> f64 {
        self.question / self.questions.max(1) as f64
            + f64::from(next_weight) * self.next / self.next_tokens.max(1) as f64
    }
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Self) {
        self.question += other.question;
        self.questions += other.questions;
        self.next += other.next;
        self.next_tokens += other.next_tokens;
    }
}
