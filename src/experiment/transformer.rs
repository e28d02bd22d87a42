//! The transformers of an experiment: taken as they are, trained on, or trained from nothing.

use std::sync::Arc;

use super::method::{Artifact, Learned, Learner, Training};
use crate::data::Vocabulary;
use crate::error::{Error, ErrorKind, Result};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::{QuantizationAware, QuantizedTransformer, quantize};
use crate::transformer::{
    Device, FineTuneConfig, RunFolder, Size, Teacher, TrainedTransformer, TrainingSet, Transformer,
    TransformerModel, learn,
};

/// A transformer that takes part in an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerPlan {
    /// Its name in tables: `teacher`, `student`.
    pub name: String,
    /// The model to begin with; without one, random weights.
    pub start: Option<TransformerModel>,
    /// How it is trained. With no epochs, `start` is taken as it is.
    pub fine_tune: FineTuneConfig,
    /// Where it is trained.
    pub device: Device,
    /// Weight of the answers of the first transformer before it in the experiment, beside the true ones.
    pub taught: f64,
    /// Whether its weights are trained as if quantized.
    pub quantization_aware: bool,
}

impl TransformerPlan {
    /// The usual plan for a transformer of `size`, under its name.
    pub fn new(size: Size, start: Option<TransformerModel>) -> Self {
        let taught = match size {
            Size::Teacher => 0.0,
            Size::Student => 0.5,
        };
        let fine_tune = FineTuneConfig {
            size,
            ..if start.is_some() { FineTuneConfig::fine_tuning() } else { FineTuneConfig::from_nothing() }
        };
        Self {
            name: size.to_string(),
            start,
            fine_tune,
            device: Device::default(),
            taught,
            quantization_aware: false,
        }
    }

    /// The same plan, without any training.
    ///
    /// # Errors
    /// There is no model to take.
    pub fn as_it_is(mut self) -> Result<Self> {
        if self.start.is_none() {
            return Err(Error::new(ErrorKind::Config, format!("there is no {} to take as it is", self.name))
                .next_step("let it be trained"));
        }
        self.fine_tune.epochs = 0.0;
        Ok(self)
    }

    /// Whether it takes `start` as it is.
    pub(super) fn is_pretrained(&self) -> bool {
        self.start.is_some() && self.fine_tune.epochs <= 0.0
    }

    /// Follows the plan: trains on the people of the training set, keeping the weights that are best on their validation questions.
    ///
    /// # Errors
    /// What [`learn`] says, or the device is missing.
    pub fn train(
        &self,
        training_set: &TrainingSet<'_>,
        folder: Option<&RunFolder>,
        progress: &dyn Progress,
    ) -> Result<(TransformerModel, Option<TrainedTransformer>)> {
        if let Some(start) = self.start.as_ref().filter(|_| self.fine_tune.epochs <= 0.0) {
            start.check_task(training_set.view.task())?;
            return Ok((start.clone(), None));
        }
        let mut engine = self.device.open()?;
        if self.quantization_aware {
            engine = Box::new(QuantizationAware::new(engine));
        }
        let (model, trained) =
            learn(&self.fine_tune, training_set, self.start.as_ref(), engine.as_mut(), folder, progress)?;
        Ok((model, Some(trained)))
    }
}

impl Learner for TransformerPlan {
    /// Trains as the ranker is trained: first with an eye on the validation questions, then for as many steps as proved
    /// best, on these too.
    fn learn(&self, training: &Training<'_>, progress: &dyn Progress) -> Result<Learned> {
        let mut plan = self.clone();
        let seed = &mut plan.fine_tune.training.seed;
        *seed = seed.wrapping_add(u64::from(training.run));
        let view = training.view;
        let teacher = training
            .learned
            .iter()
            .map(|(_, learned)| learned)
            .find(|learned| plan.taught > 0.0 && matches!(learned.artifact, Artifact::Transformer(_)));
        let teacher = |version: fn(&Learned) -> &Arc<dyn Predictor>| {
            teacher.map(|learned| Teacher {
                predictor: version(learned).as_ref(),
                temperature: 1.0,
                weight: plan.taught,
                is_truth: false,
            })
        };
        let training_set = TrainingSet { view, teacher: teacher(|learned| &learned.without_validation) };
        let (early, trained) = plan.train(&training_set, None, progress)?;
        let late = match trained.filter(|trained| view.has_validation() && trained.best_step > 0) {
            None => early.clone(),
            Some(trained) => {
                let mut again = plan.clone();
                again.fine_tune.training.steps = trained.best_step;
                again.fine_tune.epochs = f64::INFINITY;
                let all = view.with_validation_learned();
                let training_set = TrainingSet { view: &all, teacher: teacher(|learned| &learned.predictor) };
                again.train(&training_set, None, progress)?.0
            }
        };
        let predictor = |model: &TransformerModel| -> Result<Arc<dyn Predictor>> {
            Ok(Arc::new(Transformer::new(model, training.vocabulary)?))
        };
        Ok(Learned {
            predictor: predictor(&late)?,
            without_validation: predictor(&early)?,
            artifact: Artifact::Transformer(Box::new([late, early])),
        })
    }

    fn is_pretrained(&self) -> bool {
        Self::is_pretrained(self)
    }
}

/// An earlier transformer of the experiment in INT8.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedPlan {
    /// The name of the transformer that is quantized.
    pub of: String,
    /// Whether that one is [pretrained](Learner::is_pretrained).
    pub is_pretrained: bool,
}

impl Learner for QuantizedPlan {
    fn learn(&self, training: &Training<'_>, _progress: &dyn Progress) -> Result<Learned> {
        let Artifact::Transformer(models) = &training.earlier(&self.of)?.artifact else {
            return Err(Error::new(ErrorKind::Config, format!("`{}` is no transformer", self.of))
                .next_step("name a transformer to quantize"));
        };
        let [late, early] = &**models;
        let quantized = quantize(late)?;
        let predictor = |model: &_, vocabulary: &Vocabulary| -> Result<Arc<dyn Predictor>> {
            Ok(Arc::new(QuantizedTransformer::new(model, vocabulary)?))
        };
        Ok(Learned {
            predictor: predictor(&quantized, training.vocabulary)?,
            without_validation: predictor(&quantize(early)?, training.vocabulary)?,
            artifact: Artifact::Quantized(Box::new(quantized)),
        })
    }

    fn is_pretrained(&self) -> bool {
        self.is_pretrained
    }
}
