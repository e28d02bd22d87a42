//! Arguments of the examples that train transformers.

use std::path::{Path, PathBuf};

use foretap::data::SplitPlan;
use foretap::experiment::{Experiment, RouterPlan, TransformerPlan};
use foretap::router::Routing;
use foretap::transformer::{
    Device, FineTuneConfig, Precision, RunFolder, Size, Teacher, TrainedTransformer, TransformerModel,
    pretrained,
};

use super::{Bar, Source, check_writable, say, write_json};

/// How transformers begin, and how they are trained.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Transformers")]
pub struct DeepArgs {
    /// Begin from random weights instead of the checkpoint that travels with the crate
    #[arg(long, conflicts_with = "as_is")]
    pub from_nothing: bool,

    /// Take transformers as they are, without training them on this log; `evaluate` without --models tests a whole bundle so
    #[arg(long)]
    pub as_is: bool,

    /// Where to compute: cpu (our own kernels); flex or ndarray (Burn on the processor; build with --features flex or
    /// ndarray); gpu (Burn on a graphics card; build with --features wgpu)
    #[arg(long, default_value_t)]
    pub device: Device,

    /// How often every question is learned from [default: 12 from a checkpoint, 8 from nothing]
    #[arg(long)]
    pub epochs: Option<f64>,

    /// Layers of a new transformer, or to be laid on the one that training begins with [default: as many as it has]
    #[arg(long, value_name = "N", conflicts_with = "as_is")]
    pub layers: Option<usize>,

    /// Softmaxes that a transformer mixes, of a new one or laid on the one that training begins with [default: as many
    /// as it has; of a new teacher 4]
    #[arg(long, value_name = "N", conflicts_with = "as_is")]
    pub mixture: Option<usize>,

    /// Let a transformer that training begins with learn to read the columns that were added since it was trained
    #[arg(long, conflicts_with_all = ["as_is", "from_nothing"])]
    pub widen: bool,

    /// Highest learning rate [default: 0.001]
    #[arg(long, value_name = "RATE")]
    pub deep_rate: Option<f64>,

    /// The pointer's learning rate over that of the rest
    #[arg(long, value_name = "RATIO")]
    pub pointer_rate: Option<f64>,

    /// Share of a matrix's weights, times the learning rate, that each step takes away
    #[arg(long, value_name = "SHARE")]
    pub weight_decay: Option<f64>,

    /// Share of the activations that is left out in training
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f32>,

    /// Weight of the next-app loss at every token beside the questions' own
    #[arg(long, value_name = "WEIGHT")]
    pub next_weight: Option<f32>,

    /// Learn no app's name, as of simulated people of a family, whose apps' names mean nothing
    #[arg(long)]
    pub nameless: bool,

    /// Share of sequences in which some or all apps are made unknown, so that the model learns to do without names
    #[arg(long, value_name = "SHARE")]
    pub unknown_share: Option<f64>,

    /// Most tokens of a batch
    #[arg(long, value_name = "N")]
    pub batch_tokens: Option<usize>,
}

impl DeepArgs {
    /// Puts what was given in the place of the configuration's own.
    pub fn override_in(&self, fine_tune: &mut FineTuneConfig, seed: u64) {
        fine_tune.layers = self.layers.or(fine_tune.layers);
        fine_tune.widened |= self.widen;
        fine_tune.nameless |= self.nameless;
        fine_tune.mixture = self.mixture.or(fine_tune.mixture);
        let training = &mut fine_tune.training;
        training.seed = seed;
        training.learning_rate = self.deep_rate.unwrap_or(training.learning_rate);
        training.pointer_rate = self.pointer_rate.unwrap_or(training.pointer_rate);
        training.weight_decay = self.weight_decay.unwrap_or(training.weight_decay);
        training.dropout = self.dropout.unwrap_or(training.dropout);
        training.next_weight = self.next_weight.unwrap_or(training.next_weight);
        fine_tune.epochs = self.epochs.unwrap_or(fine_tune.epochs);
        fine_tune.unknown_share = self.unknown_share.unwrap_or(fine_tune.unknown_share);
        fine_tune.batch_tokens = self.batch_tokens.unwrap_or(fine_tune.batch_tokens);
    }

    /// The plan for a transformer of `size`, beginning from `file`, or the crate's own checkpoint.
    pub fn plan(&self, size: Size, file: Option<&Path>, seed: u64) -> foretap::Result<TransformerPlan> {
        let start = match file {
            _ if self.from_nothing => None,
            Some(file) => Some(TransformerModel::load(file)?),
            None => Some(pretrained(size)?),
        };
        let mut plan = TransformerPlan::new(size, start);
        plan.device = self.device;
        self.override_in(&mut plan.fine_tune, seed);
        if self.as_is { plan.as_it_is() } else { Ok(plan) }
    }
}

/// What a run learns from, and what it leaves behind.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Weights to begin with; without them the crate's checkpoint, or nothing with --from-nothing
    #[arg(long, value_name = "FILE", conflicts_with = "from_nothing")]
    pub start: Option<PathBuf>,

    /// Keep the transformer's run in this folder: metrics, loss curve, and checkpoints to resume from by the same command
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,

    /// Share of each person's questions that tell when to stop, the latest
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    pub validation_share: f64,

    /// Leave out this share of each person's questions, the latest, to test on
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub hold_out: f64,

    /// Write the model here
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Write a summary for machines
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl RunArgs {
    /// Refuses, before anything is trained, to write where nothing can be written.
    pub fn check(&self) -> foretap::Result<()> {
        check_writable([&Some(self.out.clone()), &self.json])
    }

    /// Which questions tell when to stop, and which are left out.
    pub fn split(&self) -> SplitPlan {
        SplitPlan::Shares { validation: self.validation_share, test: self.hold_out }
    }

    /// Trains a transformer on `source` and keeps it.
    pub fn train(
        &self,
        plan: &TransformerPlan,
        experiment: &Experiment,
        source: &Source,
        teacher: Option<Teacher<'_>>,
        bar: &Bar,
    ) -> foretap::Result<()> {
        let folder = self.run.as_ref().map(RunFolder::open).transpose()?;
        let (log, vocabulary) = (&source.log, &source.vocabulary);
        let (model, trained) =
            experiment.train_transformer(plan, log, vocabulary, teacher, folder.as_ref(), bar)?;
        let questions = experiment.view(log, vocabulary)?.all_questions();
        self.keep(&model, trained.as_ref(), questions)
    }

    /// Writes a trained transformer, says how it went, and writes the same for machines.
    fn keep(
        &self,
        model: &TransformerModel,
        trained: Option<&TrainedTransformer>,
        questions: usize,
    ) -> foretap::Result<()> {
        model.save(&self.out, Precision::F16)?;
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
            self.out.display()
        ));
        let Some(file) = &self.json else { return Ok(()) };
        let summary = serde_json::json!({
            "task": config.task,
            "questions": questions,
            "weights": model.weights.values.len(),
            "bytes": std::fs::metadata(&self.out).map(|file| file.len()).ok(),
            "temperature": model.temperature,
            "steps": trained.map(|trained| trained.steps),
            "best_step": trained.map(|trained| trained.best_step),
            "validation_loss": validation.map(|found| found.loss),
            "validation_hr3": validation.map(|found| found.hr3),
            "config": config,
        });
        write_json(file, &summary)
    }
}

/// How a router divides the work.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Router")]
pub struct RouterArgs {
    /// Ask the transformer about this share of the questions, those where it helps most, instead of as much as pays
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["routed_gain", "routed_cost"])]
    pub routed_share: Option<f32>,

    /// Ask it wherever it is expected to gain more than this, in nats of log loss
    #[arg(long, value_name = "NATS", conflicts_with = "routed_cost")]
    pub routed_gain: Option<f32>,

    /// Ask it as much as pays: wherever it is expected to gain more than it costs on top of the trees, in microseconds,
    /// millijoules or any unit that --nats-per-unit prices [default: 150]
    #[arg(long, value_name = "UNITS")]
    pub routed_cost: Option<f32>,

    /// What a unit of --routed-cost is worth, in nats of log loss; unless it is given, units are microseconds, and 100 ms
    /// are worth a nat
    #[arg(long, value_name = "NATS", default_value_t = Routing::NATS_PER_US, requires = "routed_cost")]
    pub nats_per_unit: f32,

    /// The transformer to ask: teacher, student, or either with -int8; a bundle has but one
    #[arg(long, value_name = "MODEL", default_value = "student-int8")]
    pub router_deep: String,
}

impl RouterArgs {
    /// Which questions go to the transformer.
    pub fn routing(&self) -> foretap::Result<Routing> {
        let routing = match (self.routed_cost, self.routed_gain, self.routed_share) {
            (Some(deep), ..) => Routing::Pays { deep, nats_per_unit: self.nats_per_unit },
            (None, Some(gain), _) => Routing::Gain(gain),
            (None, None, Some(share)) => Routing::Share(share),
            (None, None, None) => Routing::default(),
        };
        let flag = match routing {
            Routing::Gain(_) => "--routed-gain",
            Routing::Pays { deep, .. } if deep.is_finite() && deep >= 0.0 => "--nats-per-unit",
            Routing::Pays { .. } => "--routed-cost",
            Routing::Share(_) | Routing::Budget { .. } => "--routed-share",
        };
        routing.check().map(|()| routing).map_err(|error| error.field(flag))
    }

    /// The router that was asked for.
    pub fn plan(&self) -> foretap::Result<RouterPlan> {
        Ok(RouterPlan { deep: self.router_deep.clone(), routing: self.routing()?, ..RouterPlan::default() })
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
