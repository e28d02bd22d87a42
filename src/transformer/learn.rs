//! From people's logs to a trained transformer: from nothing, or on from one that was trained before.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::dataset::{DatasetConfig, SequenceDataset, Teacher};
use super::engine::Engine;
use super::file::TransformerModel;
use super::run::RunFolder;
use super::schedule::TrainingConfig;
use super::train::{TrainedTransformer, train};
use super::weights::Weights;
use crate::context::pointer_features::{CANDIDATE_COLUMNS, PointerRows, QUESTION_COLUMNS};
use crate::context::{Task, TrainingView, favourites};
use crate::data::AppId;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Standardisation, TensorSpec, TransformerConfig};
use crate::progress::Progress;

/// Most apps with an embedding of their own.
pub const MAX_VOCABULARY: usize = 512;

/// How big a transformer becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// [`TransformerConfig::teacher`].
    Teacher,
    /// [`TransformerConfig::student`].
    Student,
}

impl Size {
    /// Its name in tables and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Size::Teacher => "teacher",
            Size::Student => "student",
        }
    }

    /// The shape for a vocabulary of `apps`.
    pub fn config(self, task: Task, apps: usize) -> TransformerConfig {
        match self {
            Size::Teacher => TransformerConfig::teacher(task, apps),
            Size::Student => TransformerConfig::student(task, apps),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Size::Teacher, Size::Student].into_iter().find(|size| size.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{name}` is no transformer"))
                .next_step("choose teacher or student")
        })
    }
}

/// How a transformer is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuneConfig {
    /// How big it becomes, where it begins from nothing.
    pub size: Size,
    /// How many layers it has instead of its size's own: a transformer of one layer learns several times as fast, and
    /// more can be laid on it later, when `start` has fewer (Gong and others, "Efficient Training of BERT by
    /// Progressively Stacking", 2019). New layers begin by adding nothing.
    pub layers: Option<usize>,
    /// How many softmaxes its answer mixes instead of its size's own, or, where `start` has fewer, how many it gets: the
    /// new ones begin near the first.
    pub mixture: Option<usize>,
    /// Whether a `start` of fewer columns than this build computes learns to read the others, too.
    pub widened: bool,
    /// Whether no app's name is learned, as of people whose names for apps mean nothing to anybody else.
    pub nameless: bool,
    /// The loop.
    pub training: TrainingConfig,
    /// Times that every question is learned from; the fewer of these and `training.steps` decide.
    pub epochs: f64,
    /// Most tokens of a batch.
    pub batch_tokens: usize,
    /// Share of sequences in which some or all apps are made unknown, so that the model learns to do without names.
    pub unknown_share: f64,
    /// Most questions to learn from; beyond them, questions are drawn. 0 keeps all.
    pub max_questions: usize,
    /// Most questions to validate on, about; beyond them, whole windows are left out. 0 keeps all.
    pub max_validation: usize,
}

impl Default for FineTuneConfig {
    fn default() -> Self {
        Self {
            size: Size::Teacher,
            layers: None,
            mixture: None,
            widened: false,
            nameless: false,
            // The epochs decide how many steps there are.
            training: TrainingConfig {
                steps: 1_000_000,
                warmup_steps: 300,
                next_weight: 0.1,
                ..TrainingConfig::default()
            },
            epochs: 8.0,
            batch_tokens: 640,
            unknown_share: 0.25,
            max_questions: 0,
            max_validation: 4_000,
        }
    }
}

impl FineTuneConfig {
    /// For random weights and the logs of a few people.
    pub fn from_nothing() -> Self {
        Self::default()
    }

    /// For weights that know people in general, and the logs of a few. Tried on three phones: 4 epochs at 0.0003 leave
    /// three hundredths of a nat on the table. A pointer rate of 4, half the rate, no next-app loss and a weight decay of 1
    /// gain the student as much (1.092 to 1.066, `evaluate --rolling 3`), and a router over it nothing.
    pub fn fine_tuning() -> Self {
        Self { epochs: 12.0, ..Self::default() }
    }
}

/// What is learned from.
#[derive(Clone, Copy)]
pub struct TrainingSet<'a> {
    /// The people.
    pub view: &'a TrainingView<'a>,
    /// Who teaches beside the answers.
    pub teacher: Option<Teacher<'a>>,
}

/// Trains on `training_set`, from nothing or on from `start`, whose vocabulary is then extended.
///
/// # Errors
/// Nothing to learn from, a model for another task, or what [`train`] says.
pub fn learn(
    fine_tune: &FineTuneConfig,
    training_set: &TrainingSet<'_>,
    start: Option<&TransformerModel>,
    engine: &mut dyn Engine,
    folder: Option<&RunFolder>,
    progress: &dyn Progress,
) -> Result<(TransformerModel, TrainedTransformer)> {
    let names = if fine_tune.nameless { Vec::new() } else { training_set.most_launched() };
    let seed = fine_tune.training.seed;
    let start = match start {
        None => training_set.beginning(fine_tune, names)?,
        Some(start) => {
            let start = if fine_tune.widened { start.widened(training_set)? } else { start.clone() };
            start.extended(training_set.view.task(), &names, seed)?.grown(fine_tune, seed)?
        }
    };
    let rows = start.rows(training_set.view.names());
    let dataset_config = DatasetConfig {
        config: start.weights.config(),
        rows: &rows,
        batch_tokens: fine_tune.batch_tokens,
        unknown_share: fine_tune.unknown_share,
        max_questions: fine_tune.max_questions,
        max_validation: fine_tune.max_validation,
        teacher: training_set.teacher,
        seed,
    };
    let loader = SequenceDataset::new(&dataset_config, &start.columns.reader()?, training_set.view, progress);
    if loader.questions() == 0 {
        return Err(Error::new(
            ErrorKind::Data,
            format!("no question of the task {} to learn from", training_set.view.task()),
        )
        .next_step("give a longer log, or the other task: a log without unlocks has no first-after-unlock"));
    }
    let mut training = fine_tune.training.clone();
    let steps = (fine_tune.epochs * loader.batches_an_epoch(seed) as f64).ceil() as u64;
    training.steps = training.steps.min(steps.max(1));
    training.warmup_steps = training.warmup_steps.min(training.steps / 10);
    training.validate_every = training.validate_every.min(training.steps).max(training.steps / 20).max(1);
    let trained = train(&training, engine, &loader, start.weights.clone(), folder, progress)?;
    let model = TransformerModel { weights: trained.weights.clone(), ..start };
    Ok((model, trained))
}

impl TrainingSet<'_> {
    /// Names of the apps launched most, most first.
    fn most_launched(&self) -> Vec<String> {
        let apps = self.view.launched().iter().take(MAX_VOCABULARY);
        apps.map(|&app| self.view.name(app).to_owned()).collect()
    }

    /// Random weights, and columns as these people's are.
    fn beginning(&self, fine_tune: &FineTuneConfig, apps: Vec<String>) -> Result<TransformerModel> {
        let mut config = fine_tune.size.config(self.view.task(), apps.len());
        config.layers = fine_tune.layers.unwrap_or(config.layers);
        config.mixture = fine_tune.mixture.unwrap_or(config.mixture);
        let mut random = ChaCha8Rng::seed_from_u64(fine_tune.training.seed);
        let weights = Weights::random(config, &mut random)?;
        Ok(TransformerModel { weights, apps, temperature: 1.0, columns: self.columns() })
    }

    /// Mean and scale of these people's columns.
    fn columns(&self) -> Standardisation {
        const PEOPLE: usize = 64;
        let people = self.view.people();
        let every = people.len().div_ceil(PEOPLE).max(1);
        let sample: Vec<Vec<PointerRows>> = people
            .par_iter()
            .step_by(every)
            .map(|person| {
                let mut sample = Vec::new();
                self.view.replay(person, person.train().end, |number, _, context| {
                    if number % 11 == 5 || number < 3 {
                        let mut rows = PointerRows::default();
                        rows.fill(context);
                        sample.push(rows);
                    }
                });
                sample
            })
            .collect();
        Standardisation::fit(sample.iter().flatten())
    }
}

impl TransformerModel {
    /// Candidates for a user without a history, in ids of a vocabulary that begins with the model's apps.
    pub fn favourites(&self) -> Arc<[AppId]> {
        favourites((0..self.apps.len() as u32).map(AppId))
    }

    /// Refuses a model that answers another task.
    ///
    /// # Errors
    /// [`ErrorKind::Config`].
    pub fn check_task(&self, task: Task) -> Result<()> {
        let answers = self.weights.config().task;
        if answers == task {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("the transformer answers {answers}, not {task}"))
            .field("task")
            .next_step("ask for the task that it was trained for, or train one from nothing"))
    }

    /// By the id of each of `names`, which are in order: the app's row of the embedding. Ids between them are unknown
    /// apps.
    fn rows(&self, names: &[(AppId, &str)]) -> Vec<u32> {
        let known: HashMap<&str, u32> = self.apps.iter().map(String::as_str).zip(0..).collect();
        let end = names.last().map_or(0, |(last, _)| last.0 as usize + 1);
        let mut rows = vec![self.weights.config().unknown_app(); end];
        for (app, name) in names {
            if let Some(&row) = known.get(name) {
                rows[app.0 as usize] = row;
            }
        }
        rows
    }

    /// The same model with all columns that this build computes. Those that it does not read, which were added since it was
    /// trained, begin without weight.
    fn widened(&self, training_set: &TrainingSet<'_>) -> Result<Self> {
        let old = self.weights.config();
        if (old.candidate_columns, old.question_columns) == (CANDIDATE_COLUMNS, QUESTION_COLUMNS) {
            return Ok(self.clone());
        }
        let columns = self.columns.widened(&training_set.columns())?;
        let config = TransformerConfig {
            candidate_columns: columns.candidate_names.len(),
            question_columns: columns.question_names.len(),
            ..old.clone()
        };
        let (of_candidate, of_question) = (config.candidate_columns, config.question_columns);
        let width = config.pointer_width;
        let weights = self.weights.reshaped(config, |name, values| match name {
            "pointer_candidate" => values.resize(of_candidate * width, 0.0),
            "pointer_question" => values.resize(of_question * width, 0.0),
            _ => {}
        })?;
        Ok(Self { weights, columns, ..self.clone() })
    }

    /// The same model with embeddings for all of `names`: those it does not have begin as the unknown app's, a little
    /// apart from each other.
    fn extended(&self, task: Task, names: &[String], seed: u64) -> Result<Self> {
        self.check_task(task)?;
        let old = self.weights.config();
        let mut apps = self.apps.clone();
        apps.extend(names.iter().filter(|name| !self.apps.contains(name)).cloned());
        apps.truncate(self.apps.len().max(MAX_VOCABULARY));
        let config = TransformerConfig { apps: apps.len(), ..old.clone() };
        let added = apps.len() - self.apps.len();
        let (d, unknown) = (old.d_model, old.apps);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let weights = self.weights.reshaped(config, |name, values| {
            let width = match name {
                "app_embedding" => d,
                "app_bias" => 1,
                _ => return,
            };
            let row = values[unknown * width..(unknown + 1) * width].to_vec();
            let fresh: Vec<f32> = (0..added)
                .flat_map(|_| row.clone())
                .map(|value| value + random.random_range(-0.01..0.01))
                .collect();
            values.splice(unknown * width..unknown * width, fresh);
        })?;
        Ok(Self { weights, apps, ..self.clone() })
    }

    /// The same model under as many layers as `fine_tune` asks for, which add nothing until they have learned to, and with
    /// as many softmaxes, which begin near the first.
    fn grown(self, fine_tune: &FineTuneConfig, seed: u64) -> Result<Self> {
        let (old, has) = (self.weights.layout(), self.weights.config());
        let config = TransformerConfig {
            layers: fine_tune.layers.unwrap_or(has.layers),
            mixture: fine_tune.mixture.unwrap_or(has.mixture),
            ..has.clone()
        };
        for (field, what, asked, has) in [
            ("layers", "layers", config.layers, has.layers),
            ("mixture", "softmaxes", config.mixture, has.mixture),
        ] {
            if asked < has {
                let message = format!("{asked} {what} of a model that has {has}");
                return Err(Error::new(ErrorKind::Config, message)
                    .field(field)
                    .next_step("choose as many or more, or begin from nothing"));
            }
        }
        if config == *has {
            return Ok(self);
        }
        let mut weights = Weights::random(config, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let layout = weights.layout().clone();
        for tensor in &layout.tensors {
            let values = &mut weights.values[tensor.range.clone()];
            if let Some(known) = old.tensors.iter().find(|known| known.name == tensor.name) {
                // Row by row: those of a mixture have a column for every softmax.
                let columns = |spec: &TensorSpec| spec.shape.last().copied().unwrap_or(1);
                let rows = self.weights.values[known.range.clone()].chunks_exact(columns(known));
                for (to, from) in values.chunks_exact_mut(columns(tensor)).zip(rows) {
                    to[..from.len()].copy_from_slice(from);
                }
            } else if tensor.name.ends_with(".output") || tensor.name.ends_with(".feed_out") {
                values.fill(0.0);
            }
        }
        Ok(Self { weights, ..self })
    }
}
