//! The transformers of an experiment: taken as they are, trained on, or trained from nothing.

use std::sync::Arc;

use crate::context::Lesson;
use crate::error::{Error, ErrorKind, Result};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::{QuantizationAware, QuantizedModel, QuantizedTransformer, quantize};
use crate::transformer::{
    Course, Device, Recipe, RunFolder, Size, Teacher, TrainedTransformer, Transformer, TransformerModel,
    learn,
};

/// A transformer that takes part in an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepPlan {
    /// Its name in tables: `teacher`, `student`.
    pub name: String,
    /// The model to begin with; without one, random weights.
    pub start: Option<TransformerModel>,
    /// How it is trained. With no epochs, `start` is taken as it is.
    pub recipe: Recipe,
    /// Where it is trained.
    pub device: Device,
    /// Weight of the answers of the first transformer before it in the list, beside the true ones.
    pub taught: f64,
    /// Whether it takes part a second time, in whole numbers: `student-int8`.
    pub quantized: bool,
    /// Whether its weights are trained as if rounded to whole numbers.
    pub quantization_aware: bool,
}

impl DeepPlan {
    /// The usual plan for a transformer of `size`, under its name.
    pub fn new(size: Size, start: Option<TransformerModel>) -> Self {
        let taught = match size {
            Size::Teacher => 0.0,
            Size::Student => 0.5,
        };
        let recipe =
            Recipe { size, ..if start.is_some() { Recipe::fine_tuning() } else { Recipe::from_nothing() } };
        Self {
            name: size.to_string(),
            start,
            recipe,
            device: Device::default(),
            taught,
            quantized: false,
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
        self.recipe.epochs = 0.0;
        Ok(self)
    }

    /// Follows the plan: trains on the lessons, keeping the weights that are best on their validation questions.
    ///
    /// # Errors
    /// What [`learn`] says, or the device is missing.
    pub fn train(
        &self,
        course: &Course<'_>,
        folder: Option<&RunFolder>,
        progress: &dyn Progress,
    ) -> Result<(TransformerModel, Option<TrainedTransformer>)> {
        if let Some(start) = self.start.as_ref().filter(|_| self.recipe.epochs <= 0.0) {
            start.check_task(course.task)?;
            return Ok((start.clone(), None));
        }
        let mut engine = self.device.open()?;
        if self.quantization_aware {
            engine = Box::new(QuantizationAware::new(engine));
        }
        let (model, trained) =
            learn(&self.recipe, course, self.start.as_ref(), engine.as_mut(), folder, progress)?;
        Ok((model, Some(trained)))
    }
}

/// A transformer of one round.
pub(super) struct DeepContender {
    pub name: String,
    /// Trained on training and validation questions together.
    pub predictor: Arc<dyn Predictor>,
    /// Trained on the training questions alone.
    pub without_validation: Arc<dyn Predictor>,
    /// `predictor` as plain data, where it computes in whole numbers.
    pub quantized: Option<QuantizedModel>,
}

/// Trains every transformer of `plans`, as the ranker is: first with an eye on the validation questions, then for as many
/// steps as proved best, on these too.
pub(super) fn train_all(
    plans: &[DeepPlan],
    course: &Course<'_>,
    progress: &dyn Progress,
) -> Result<Vec<DeepContender>> {
    let vocabulary = course.vocabulary;
    let mut contenders: Vec<DeepContender> = Vec::new();
    for plan in plans {
        let first = contenders.first();
        let teacher =
            |predictor| Teacher { predictor, temperature: 1.0, weight: plan.taught, is_truth: false };
        let is_taught = plan.taught > 0.0;
        let early = first.filter(|_| is_taught).map(|first| teacher(first.without_validation.as_ref()));
        let (model, trained) = plan.train(&Course { teacher: early, ..*course }, None, progress)?;
        let has_validation = course.lessons.iter().any(|lesson| !lesson.validation.is_empty());
        let late = match trained.filter(|trained| has_validation && trained.best_step > 0) {
            None => None,
            Some(trained) => {
                let lessons: Vec<Lesson<'_>> = course.lessons.iter().map(both).collect();
                let mut again = plan.clone();
                again.recipe.training.steps = trained.best_step;
                again.recipe.epochs = f64::INFINITY;
                let late = first.filter(|_| is_taught).map(|first| teacher(first.predictor.as_ref()));
                let course = Course { lessons: &lessons, teacher: late, ..*course };
                Some(again.train(&course, None, progress)?.0)
            }
        };
        let late = late.as_ref().unwrap_or(&model);
        contenders.push(DeepContender {
            name: plan.name.clone(),
            predictor: Arc::new(Transformer::new(late, vocabulary)?),
            without_validation: Arc::new(Transformer::new(&model, vocabulary)?),
            quantized: None,
        });
        if plan.quantized {
            let quantized = quantize(late)?;
            contenders.push(DeepContender {
                name: format!("{}-int8", plan.name),
                predictor: Arc::new(QuantizedTransformer::new(&quantized, vocabulary)?),
                without_validation: Arc::new(QuantizedTransformer::new(&quantize(&model)?, vocabulary)?),
                quantized: Some(quantized),
            });
        }
    }
    Ok(contenders)
}

/// Training and validation questions, all to learn from.
fn both<'a>(lesson: &Lesson<'a>) -> Lesson<'a> {
    let end = lesson.train.end.max(lesson.validation.end);
    Lesson { events: lesson.events, train: lesson.train.start..end, validation: end..end }
}
