//! What takes part in an experiment: a predictor as it is, or a way to train one.

use std::fmt;
use std::sync::Arc;

use crate::baseline::{Markov, MostFrequent, MostRecent};
use crate::context::TrainingView;
use crate::data::Vocabulary;
use crate::error::{Error, ErrorKind, Result};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::QuantizedModel;
use crate::ranker::{Ranker, RankerConfig};
use crate::transformer::TransformerModel;

/// A way to train a predictor. Implement it to bring one of your own into an [`Experiment`](super::Experiment):
/// `examples/own_predictor.rs` does.
pub trait Learner: Send + Sync {
    /// Trains on what `training` shows.
    ///
    /// # Errors
    /// It cannot be trained so. The other methods of the experiment go on, unless the error is of
    /// [`ErrorKind::Config`]: then what was asked for is impossible, and the experiment ends.
    fn learn(&self, training: &Training<'_>, progress: &dyn Progress) -> Result<Learned>;

    /// Whether what it gives was trained before, on people who may be anybody: it then takes no part in the test of users
    /// that training never saw.
    fn is_pretrained(&self) -> bool {
        false
    }
}

/// What a [`Learner`] is shown.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The people to learn from, up to where training ends.
    pub view: &'a TrainingView<'a>,
    /// App names by the ids of the log, for predictors that know apps by name. It names later apps too; what is fitted
    /// has [`TrainingView::names`].
    pub vocabulary: &'a Vocabulary,
    /// To be added to the learner's own seed: experiments repeat a training with other seeds.
    pub run: u32,
    pub(super) learned: &'a [(String, Learned)],
}

impl<'a> Training<'a> {
    /// What an earlier method of the experiment gave, by its name.
    ///
    /// # Errors
    /// No method of this name comes before this one, or it failed.
    pub fn earlier(&self, name: &str) -> Result<&'a Learned> {
        let found = self.learned.iter().find(|(other, _)| other == name);
        found.map(|(_, learned)| learned).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("it needs `{name}`, which was not trained before it"))
                .next_step("put that method before this one")
        })
    }
}

/// What training gave.
#[derive(Clone)]
pub struct Learned {
    /// Trained on training and validation questions together: the predictor that is tested.
    pub predictor: Arc<dyn Predictor>,
    /// Trained on the training questions alone: temperatures, thresholds and routers are fitted with it.
    pub without_validation: Arc<dyn Predictor>,
    /// What may be kept of it.
    pub artifact: Artifact,
}

/// A trained model as data.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Artifact {
    /// There is nothing to keep.
    #[default]
    None,
    /// Trees over the crate's features, and how they were trained.
    Ranker(Box<(Ranker, RankerConfig)>),
    /// A transformer, and the same trained without the validation questions.
    Transformer(Box<[TransformerModel; 2]>),
    /// A transformer in INT8.
    Quantized(Box<QuantizedModel>),
    /// Anything else: the bytes of a file, and how its name ends.
    File {
        /// Such as `json`.
        extension: String,
        /// The file's content.
        bytes: Vec<u8>,
    },
}

impl Learned {
    /// One predictor for test and validation, nothing to keep: one that learned without validation questions, or nothing.
    pub fn new(predictor: impl Predictor + 'static) -> Self {
        let predictor: Arc<dyn Predictor> = Arc::new(predictor);
        Self { without_validation: Arc::clone(&predictor), predictor, artifact: Artifact::None }
    }
}

/// A predictor that needs no training is a learner that has nothing to learn.
struct AsItIs(Arc<dyn Predictor>);

impl Learner for AsItIs {
    fn learn(&self, _training: &Training<'_>, _progress: &dyn Progress) -> Result<Learned> {
        let predictor = Arc::clone(&self.0);
        Ok(Learned { without_validation: Arc::clone(&predictor), predictor, artifact: Artifact::None })
    }
}

/// A method of an experiment, under its name in tables, reports and plots.
#[derive(Clone)]
pub struct Method {
    /// Its name; no two methods of an experiment share one.
    pub name: String,
    /// How it is trained.
    pub learner: Arc<dyn Learner>,
}

impl Method {
    /// A method that is trained.
    pub fn new(name: impl Into<String>, learner: impl Learner + 'static) -> Self {
        Self { name: name.into(), learner: Arc::new(learner) }
    }

    /// A predictor as it is.
    pub fn predictor(name: impl Into<String>, predictor: impl Predictor + 'static) -> Self {
        Self::new(name, AsItIs(Arc::new(predictor)))
    }

    /// Most recent, most frequent, and a Markov chain.
    pub fn baselines() -> Vec<Self> {
        vec![
            Self::predictor("recent", MostRecent),
            Self::predictor("frequent", MostFrequent),
            Self::predictor("markov", Markov::default()),
        ]
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A method that dropped out of an experiment, and why.
#[derive(Debug)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// What went wrong.
    pub error: Error,
}

impl Failure {
    pub(super) fn new(name: &str, error: Error) -> Self {
        Self { name: name.to_owned(), error }
    }
}
