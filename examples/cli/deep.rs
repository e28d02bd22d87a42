//! Arguments of the examples that train transformers.

use std::path::{Path, PathBuf};

use foretap::experiment::DeepPlan;
use foretap::transformer::{
    Device, Precision, Recipe, Size, TrainedTransformer, TransformerModel, pretrained,
};

use super::{say, write_json};

/// How transformers begin, and how they are trained.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Transformers")]
pub struct DeepArgs {
    /// Begin from random weights instead of the checkpoint that travels with the crate
    #[arg(long, conflicts_with = "as_is")]
    pub from_nothing: bool,

    /// Take transformers as they are, without training them on this log
    #[arg(long)]
    pub as_is: bool,

    /// Where to compute: cpu (our own kernels), flex or ndarray (Burn on the processor), gpu (Burn on a graphics card;
    /// build with --features wgpu or cuda)
    #[arg(long, default_value_t)]
    pub device: Device,

    /// How often every question is learned from [default: 12 from a checkpoint, 8 from nothing]
    #[arg(long)]
    pub epochs: Option<f64>,

    /// Highest learning rate [default: 0.001]
    #[arg(long, value_name = "RATE")]
    pub deep_rate: Option<f64>,

    /// Share of the activations that is left out in training
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f32>,

    /// Weight of the next-app loss at every token beside the questions' own
    #[arg(long, value_name = "WEIGHT")]
    pub next_weight: Option<f32>,

    /// Most tokens of a batch
    #[arg(long, value_name = "N")]
    pub batch_tokens: Option<usize>,
}

impl DeepArgs {
    /// Puts what was given in the place of a recipe's own.
    pub fn season(&self, recipe: &mut Recipe, seed: u64) {
        let training = &mut recipe.training;
        training.seed = seed;
        training.learning_rate = self.deep_rate.unwrap_or(training.learning_rate);
        training.dropout = self.dropout.unwrap_or(training.dropout);
        training.next_weight = self.next_weight.unwrap_or(training.next_weight);
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch_tokens = self.batch_tokens.unwrap_or(recipe.batch_tokens);
    }

    /// The plan for `teacher` or `student`, beginning from `file`, or the crate's own checkpoint.
    pub fn plan(&self, name: &str, file: Option<&Path>, seed: u64) -> foretap::Result<DeepPlan> {
        let start = match file {
            _ if self.from_nothing => None,
            Some(file) => Some(TransformerModel::load(file)?),
            None if name == "teacher" => Some(pretrained(Size::Teacher)?),
            None => Some(pretrained(Size::Student)?),
        };
        let mut plan = DeepPlan::named(name, start)?;
        plan.device = self.device;
        self.season(&mut plan.recipe, seed);
        if self.as_is { plan.as_it_is() } else { Ok(plan) }
    }
}

/// Weights files to begin with instead of the crate's own.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Transformers")]
pub struct WeightsArgs {
    /// The teacher's weights [default: the crate's checkpoint]
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,

    /// The student's weights [default: the crate's checkpoint]
    #[arg(long, value_name = "FILE")]
    pub student: Option<PathBuf>,
}

/// Writes a trained transformer, says how it went, and writes the same for machines.
pub fn keep(
    model: &TransformerModel,
    trained: Option<&TrainedTransformer>,
    questions: usize,
    out: &Path,
    json: Option<&Path>,
) -> foretap::Result<()> {
    model.save(out, Precision::F16)?;
    let config = model.weights.config();
    let validation = trained.and_then(|trained| trained.validation);
    let loss = match validation {
        Some(found) => format!("validation log loss {:.3}, HR@3 {:.3}", found.loss, found.hr3),
        None => "not validated".to_owned(),
    };
    say(&format!(
        "{} weights from {questions} questions of the task {}, {loss}, written to {}",
        model.weights.values.len(),
        config.task,
        out.display()
    ));
    let Some(file) = json else { return Ok(()) };
    let summary = serde_json::json!({
        "task": config.task,
        "questions": questions,
        "weights": model.weights.values.len(),
        "bytes": std::fs::metadata(out).map(|file| file.len()).ok(),
        "temperature": model.temperature,
        "steps": trained.map(|trained| trained.steps),
        "best_step": trained.map(|trained| trained.best_step),
        "validation_loss": validation.map(|found| found.loss),
        "validation_hr3": validation.map(|found| found.hr3),
        "config": config,
    });
    write_json(file, &summary)
}
