//! The shape of a transformer, saved with its weights.

use serde::{Deserialize, Serialize};

use crate::context::Task;
use crate::context::pointer_features::{CANDIDATE_COLUMNS, QUESTION_COLUMNS};
use crate::error::{Error, ErrorKind, Result};

/// Sizes of the parts. Everything that the shape of the weights follows from stands here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// What it answers.
    pub task: Task,
    /// Apps in the vocabulary. An app beyond it shares one embedding with all others of its kind.
    pub apps: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Blocks of attention and feed-forward.
    pub layers: usize,
    /// Attention heads; they part `d_model` between them.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// Tokens that it reads at most, the question included.
    pub window: usize,
    /// Width of the pointer's two hidden layers.
    pub pointer_width: usize,
    /// Columns of a candidate and of a question that the pointer reads.
    pub candidate_columns: usize,
    /// See `candidate_columns`.
    pub question_columns: usize,
    /// Softmaxes over the candidates that its answer mixes; 1 is a plain softmax, and what files of before say nothing of.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub mixture: usize,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(mixture: &usize) -> bool {
    *mixture == 1
}

impl TransformerConfig {
    /// The teacher's shape: 128 wide, 4 layers, 64 tokens, 4 softmaxes.
    pub fn teacher(task: Task, apps: usize) -> Self {
        Self {
            d_model: 128,
            layers: 4,
            heads: 4,
            d_ff: 512,
            window: 64,
            pointer_width: 128,
            mixture: 4,
            ..Self::student(task, apps)
        }
    }

    /// The student's shape: 64 wide, 2 layers, 32 tokens.
    pub fn student(task: Task, apps: usize) -> Self {
        Self {
            task,
            apps,
            d_model: 64,
            layers: 2,
            heads: 4,
            d_ff: 128,
            window: 32,
            pointer_width: 24,
            candidate_columns: CANDIDATE_COLUMNS,
            question_columns: QUESTION_COLUMNS,
            mixture: 1,
        }
    }

    /// Refuses a shape that no weights can have, or that no machine would hold.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("apps", self.apps, 0, 1_000_000),
            ("d_model", self.d_model, 1, 4_096),
            ("layers", self.layers, 1, 64),
            ("heads", self.heads, 1, 64),
            ("d_ff", self.d_ff, 1, 16_384),
            ("window", self.window, 1, crate::context::tokens::MAX_WINDOW),
            ("pointer_width", self.pointer_width, 1, 4_096),
            ("candidate_columns", self.candidate_columns, 1, 4_096),
            ("question_columns", self.question_columns, 1, 4_096),
            ("mixture", self.mixture, 1, 64),
        ];
        for (field, value, low, high) in sizes {
            if !(low..=high).contains(&value) {
                return Err(Error::new(ErrorKind::Config, format!("a transformer with {field} of {value}"))
                    .field(field)
                    .next_step(format!("choose {low} to {high}")));
            }
        }
        if !self.d_model.is_multiple_of(self.heads) {
            let message = format!("{} heads cannot share a width of {} evenly", self.heads, self.d_model);
            return Err(Error::new(ErrorKind::Config, message)
                .field("heads")
                .next_step("choose a divisor of d_model"));
        }
        Ok(())
    }

    /// Row of the app embedding for an app outside the vocabulary.
    pub fn unknown_app(&self) -> u32 {
        self.apps as u32
    }

    /// Row of the app embedding for a token without an app.
    pub fn no_app(&self) -> u32 {
        self.apps as u32 + 1
    }

    /// Width of one head.
    pub fn d_head(&self) -> usize {
        self.d_model / self.heads
    }
}
