//! What a transformer loses in whole numbers, and what it gains.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::{DeepPlan, Experiment, Person};
use crate::context::TrainingView;
use crate::data::simulate::Truth;
use crate::data::{Log, Split, UserId, Vocabulary};
use crate::error::Result;
use crate::evaluate::{
    Contender, Interval, Latency, ModelReport, Protocol, Tested, difference_intervals, test,
};
use crate::network::{Batch, QuestionReader, ReaderScratch, Window};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::{
    QuantizedForward, QuantizedModel, QuantizedScratch, QuantizedTransformer, TensorReport, calibrate,
    deflated_bytes, prune, quantize, quantize_calibrated, report,
};
use crate::transformer::{Course, Forward, ForwardScratch, Transformer, TransformerModel};

/// What is tried.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizationPlan {
    /// How the transformer is fine-tuned with an eye on rounding; no epochs, not at all. It begins from `start`, the model
    /// that is quantized.
    pub aware: DeepPlan,
    /// Questions of the training part that scales are chosen on.
    pub calibration: usize,
    /// Shares of the smallest weights to leave out, each tried by itself.
    pub pruned: Vec<f64>,
}

/// One way to hold the model.
#[derive(Debug, Clone, Serialize)]
pub struct Variant {
    /// How good it is on the test questions.
    pub report: ModelReport,
    /// Bytes of its numbers.
    pub bytes: usize,
    /// The same, deflated; unknown of plain numbers.
    pub deflated_bytes: Option<usize>,
    /// By how much its hit rate at one differs from the plain model's on the same questions: the middle 95 % of a
    /// bootstrap. None where users and days are too few.
    pub hr1_change: Option<Interval>,
}

/// What quantizing gave.
#[derive(Debug, Clone)]
pub struct Quantization {
    /// The plain model first, then each way tried.
    pub variants: Vec<Variant>,
    /// What each tensor's rounding costs.
    pub tensors: Vec<TensorReport>,
    /// The calibrated model; after fine-tuning where that was asked for.
    pub model: QuantizedModel,
    /// Medians of one question's pass in microseconds, features aside: plain, in whole numbers from nothing, and with all
    /// but the question's own token read ahead.
    pub pass_us: [f64; 3],
}

impl Experiment {
    /// Quantizes the model that `plan` starts from, and tests it beside the plain one on the test questions of `log`.
    ///
    /// # Errors
    /// The log has no question of the task, the model does not answer it, or cannot be quantized.
    pub fn quantize(
        &self,
        plan: &QuantizationPlan,
        model: &TransformerModel,
        log: &Log,
        vocabulary: &Vocabulary,
        truth: Option<&Truth>,
        progress: &dyn Progress,
    ) -> Result<Quantization> {
        self.check()?;
        model.check_task(self.task)?;
        let people = self.people(log)?;
        self.check_parts(&people)?;
        let splits: Vec<Split> = people.iter().map(|person| self.split.split(&person.times, 0)).collect();
        let split = people.iter().zip(&splits).map(|(person, split)| (person.events, split.clone()));
        let view = TrainingView::new(self.task, vocabulary, split);
        let questions = sample(&view, vocabulary, model, plan.calibration)?;
        let users = people.iter().map(|person| person.events).zip(splits).collect();
        let favourites = Arc::clone(view.favourites());
        let protocol = Protocol { task: self.task, favourites, users, truth, run: 0 };
        let ids: Vec<UserId> = people.iter().map(|person: &Person<'_>| person.events[0].user).collect();
        let mut trial =
            Trial { view: &view, protocol, vocabulary, ids, plain: None, variants: Vec::new(), progress };

        trial.plain_model("f32", model)?;
        trial.quantized("int8", &quantize(model)?)?;
        let mut importance = calibrate(model, &questions)?;
        let mut best = quantize_calibrated(model, &importance)?;
        trial.quantized("int8, calibrated", &best)?;
        let mut plain = model.clone();
        if plan.aware.recipe.epochs > 0.0 {
            plain = plan.aware.train(&Course { view: &view, teacher: None }, None, progress)?.0;
            importance = calibrate(&plain, &questions)?;
            best = quantize(&plain)?;
            trial.plain_model("f32, fine-tuned", &plain)?;
            trial.quantized("int8, aware", &best)?;
        }
        for share in &plan.pruned {
            let pruned = prune(&plain, *share);
            let name = format!("int8, {:.0} % pruned", 100.0 * share);
            trial.quantized(&name, &quantize_calibrated(&pruned, &importance)?)?;
        }
        Ok(Quantization {
            tensors: report(&plain, &best, &importance, &questions)?,
            pass_us: pass_us(&plain, &best, &questions),
            variants: trial.variants,
            model: best,
        })
    }
}

/// The models tested so far.
struct Trial<'a> {
    view: &'a TrainingView<'a>,
    protocol: Protocol<'a>,
    vocabulary: &'a Vocabulary,
    ids: Vec<UserId>,
    /// The test of the plain model.
    plain: Option<Tested>,
    variants: Vec<Variant>,
    progress: &'a dyn Progress,
}

impl Trial<'_> {
    fn plain_model(&mut self, name: &str, model: &TransformerModel) -> Result<()> {
        let predictor = Transformer::new(model, self.vocabulary)?;
        self.test(name, &predictor, 4 * model.weights.values.len(), None)
    }

    fn quantized(&mut self, name: &str, model: &QuantizedModel) -> Result<()> {
        let predictor = QuantizedTransformer::new(model, self.vocabulary)?;
        self.test(name, &predictor, model.bytes(), Some(deflated_bytes(model)))
    }

    fn test(
        &mut self,
        name: &str,
        predictor: &dyn Predictor,
        bytes: usize,
        deflated_bytes: Option<usize>,
    ) -> Result<()> {
        let contender = Contender { name, predictor, for_validation: predictor };
        let tested = test(self.view, &self.protocol, &contender, self.progress)?;
        let change = self.plain.as_ref().and_then(|plain| difference_intervals(&plain.test, &tested.test, 1));
        let report = ModelReport::new(&tested, Latency::default(), &self.ids);
        let hr1_change = change.map(|[hr1, ..]| hr1);
        self.variants.push(Variant { report, bytes, deflated_bytes, hr1_change });
        self.plain.get_or_insert(tested);
        Ok(())
    }
}

/// About `most` questions of the training part, each as a batch with its answer for target.
fn sample(
    view: &TrainingView<'_>,
    vocabulary: &Vocabulary,
    model: &TransformerModel,
    most: usize,
) -> Result<Vec<Batch>> {
    let config = model.weights.config();
    let reader = QuestionReader::new(config, &model.columns, &model.apps, vocabulary, Window::Sliding)?;
    let every = view.questions().div_ceil(most.max(1)).max(1);
    let (mut number, mut batches) = (0, Vec::new());
    let mut scratch = ReaderScratch::default();
    for person in view.people() {
        view.replay(person, person.train().end, |_, question, context| {
            number += 1;
            let answer = context.candidates().iter().position(|&app| app == question.answer);
            if let Some(answer) = answer.filter(|_| number % every == 0) {
                reader.read(context, &mut scratch);
                scratch.batch.targets[answer] = 1.0;
                batches.push(scratch.batch.clone());
            }
        });
    }
    Ok(batches)
}

/// Medians over the questions, asked in turn.
fn pass_us(plain: &TransformerModel, quantized: &QuantizedModel, questions: &[Batch]) -> [f64; 3] {
    let (plain, quantized) = (Forward::new(plain.weights.clone()), QuantizedForward::new(quantized));
    let (mut plain_scratch, mut scratch) = (ForwardScratch::default(), QuantizedScratch::default());
    let mut micros: [Vec<f64>; 3] = Default::default();
    let mut scores = Vec::new();
    // The first sweep warms caches.
    for sweep in 0..6 {
        for batch in questions {
            scores.resize(batch.candidates(), 0.0);
            let found = [
                timed(|| plain.score(black_box(batch), &mut plain_scratch, &mut scores)),
                timed(|| {
                    scratch.forget();
                    quantized.score(black_box(batch), &mut scratch, &mut scores);
                }),
                timed(|| quantized.score(black_box(batch), &mut scratch, &mut scores)),
            ];
            if sweep > 0 {
                micros.iter_mut().zip(found).for_each(|(all, found)| all.push(found));
            }
        }
    }
    micros.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    })
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}
