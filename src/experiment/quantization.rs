//! What a transformer loses in INT8, and what it gains.
//!
//! All models read the window that ships, and scales are calibrated on questions read through it; what that window costs
//! is a row of its own.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::{Experiment, PersonLog, TransformerPlan};
use crate::context::TrainingView;
use crate::data::simulate::Truth;
use crate::data::{Log, Split, UserId, Vocabulary};
use crate::error::Result;
use crate::evaluate::{
    AnswerLatency, Interval, Metrics, ModelReport, Protocol, TestResult, TestedPredictor,
    difference_intervals, measure_answers, test_predictor,
};
use crate::network::{Batch, QuestionReader, ReaderScratch, Window};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::{
    QuantizedForward, QuantizedModel, QuantizedScratch, QuantizedTransformer, TensorReport, calibrate,
    deflated_bytes, prune, quantize, quantize_calibrated, report,
};
use crate::transformer::{ForwardScratch, InferenceEngine, TrainingSet, Transformer, TransformerModel};

/// What is tried.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizationPlan {
    /// How the transformer is fine-tuned with an eye on rounding; no epochs, not at all. It begins from `start`, the model
    /// that is quantized.
    pub aware: TransformerPlan,
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
    /// The same of its log loss.
    pub log_loss_change: Option<Interval>,
}

/// What the plain model loses by reading the window that ships instead of a sliding one, on the same questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowCost {
    /// Log loss with the window that ships less that with a sliding one, in nats.
    pub log_loss: f64,
    /// Of that, the middle 95 % of a bootstrap. None where users and days are too few.
    pub log_loss_interval: Option<Interval>,
}

/// What quantizing gave.
#[derive(Debug, Clone)]
pub struct Quantization {
    /// The plain model first, then the same with a sliding window, then each way tried.
    pub variants: Vec<Variant>,
    /// What the window that ships costs the plain model; after fine-tuning where that was asked for.
    pub window_cost: WindowCost,
    /// What each tensor's rounding costs.
    pub tensors: Vec<TensorReport>,
    /// The calibrated model; after fine-tuning where that was asked for.
    pub model: QuantizedModel,
    /// Medians of the network's pass alone in microseconds, its inputs in place: plain, in INT8 from nothing, and in INT8
    /// with all tokens but the question's own prefilled. Whole answers are in the variants' reports.
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
        let ids: Vec<UserId> = people.iter().map(|person: &PersonLog<'_>| person.events[0].user).collect();
        let mut trial = Trial { view: &view, protocol, vocabulary, ids, tried: Vec::new(), progress };

        let mut window_cost = trial.plain_model("f32", model)?;
        trial.quantized("int8", &quantize(model)?)?;
        let mut importance = calibrate(model, &questions)?;
        let mut best = quantize_calibrated(model, &importance)?;
        trial.quantized("int8, calibrated", &best)?;
        let mut plain = model.clone();
        if plan.aware.fine_tune.epochs > 0.0 {
            plain = plan.aware.train(&TrainingSet { view: &view, teacher: None }, None, progress)?.0;
            importance = calibrate(&plain, &questions)?;
            best = quantize(&plain)?;
            window_cost = trial.plain_model("f32, fine-tuned", &plain)?;
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
            variants: trial.variants(),
            window_cost,
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
    tried: Vec<Tried>,
    progress: &'a dyn Progress,
}

/// A model that was tested.
struct Tried {
    predictor: Box<dyn Predictor>,
    bytes: usize,
    deflated_bytes: Option<usize>,
    tested: TestResult,
}

impl Tried {
    fn tested_predictor(&self) -> TestedPredictor<'_> {
        let predictor = self.predictor.as_ref();
        TestedPredictor { name: &self.tested.name, predictor, for_validation: predictor }
    }
}

impl Trial<'_> {
    /// Tests `model` with the window that ships and with a sliding one.
    fn plain_model(&mut self, name: &str, model: &TransformerModel) -> Result<WindowCost> {
        let bytes = 4 * model.weights.values.len();
        let [ships, sliding] = [Window::default(), Window::Sliding]
            .map(|window| Transformer::with(model, self.vocabulary, window).map(Box::new));
        let ships = self.test(name, ships?, bytes, None)?;
        let sliding = self.test(&format!("{name}, sliding window"), sliding?, bytes, None)?;
        let [ships, sliding] = [ships, sliding].map(|index| &self.tried[index].tested.test);
        Ok(WindowCost {
            log_loss: Metrics::of(ships).log_loss - Metrics::of(sliding).log_loss,
            log_loss_interval: difference_intervals(sliding, ships, 1).map(|changes| changes[LOG_LOSS]),
        })
    }

    fn quantized(&mut self, name: &str, model: &QuantizedModel) -> Result<()> {
        let predictor = QuantizedTransformer::new(model, self.vocabulary)?;
        self.test(name, Box::new(predictor), model.bytes(), Some(deflated_bytes(model))).map(drop)
    }

    /// Tests a predictor; returns which one of those tried it is.
    fn test(
        &mut self,
        name: &str,
        predictor: Box<dyn Predictor>,
        bytes: usize,
        deflated_bytes: Option<usize>,
    ) -> Result<usize> {
        let model =
            TestedPredictor { name, predictor: predictor.as_ref(), for_validation: predictor.as_ref() };
        let tested = test_predictor(self.view, &self.protocol, &model, self.progress)?;
        self.tried.push(Tried { predictor, bytes, deflated_bytes, tested });
        Ok(self.tried.len() - 1)
    }

    /// Times all in turn, and compares each with the first.
    fn variants(self) -> Vec<Variant> {
        let models: Vec<TestedPredictor<'_>> = self.tried.iter().map(Tried::tested_predictor).collect();
        let latencies = measure_answers(&self.protocol, &models);
        let variant = |(index, (tried, latency)): (usize, (&Tried, AnswerLatency))| {
            let plain = &self.tried[0].tested.test;
            let changes = (index > 0).then(|| difference_intervals(plain, &tried.tested.test, 1)).flatten();
            let report = ModelReport::new(&tried.tested, latency.from_nothing, &self.ids);
            Variant {
                report: ModelReport { latency_prefilled_us: latency.prefilled, ..report },
                bytes: tried.bytes,
                deflated_bytes: tried.deflated_bytes,
                hr1_change: changes.map(|changes| changes[HR1]),
                log_loss_change: changes.map(|changes| changes[LOG_LOSS]),
            }
        };
        self.tried.iter().zip(latencies).enumerate().map(variant).collect()
    }
}

/// Places of figures among those of [`difference_intervals`].
const HR1: usize = 0;
const LOG_LOSS: usize = 5;

/// About `most` questions of the training part, each as a batch with its answer for target, read through the window that
/// ships.
fn sample(
    view: &TrainingView<'_>,
    vocabulary: &Vocabulary,
    model: &TransformerModel,
    most: usize,
) -> Result<Vec<Batch>> {
    let config = model.weights.config();
    let reader = QuestionReader::new(config, &model.columns, &model.apps, vocabulary, Window::default())?;
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

/// Medians over the questions, asked in turn on one thread.
fn pass_us(plain: &TransformerModel, quantized: &QuantizedModel, questions: &[Batch]) -> [f64; 3] {
    let (plain, quantized) = (InferenceEngine::new(plain.weights.clone()), QuantizedForward::new(quantized));
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
