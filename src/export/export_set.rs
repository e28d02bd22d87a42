//! All that an app team takes along: the models of a bundle as files of other runtimes, each with a golden question.

use std::path::Path;
use std::sync::Arc;

use super::model_card::ModelCard;
use super::network::APPS;
use super::onnx::{self, Numbers, OnnxModel, Ranges, TestData, TreeOperator};
use super::question::{NamedTensor, question, router_question};
use super::wrong;
use crate::bundle::{Bundle, BundleContents};
use crate::context::{Context, features, replay};
use crate::data::{Log, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Ensemble, Forest, ForestScratch};
use crate::model::RankerModel;
use crate::network::{QuestionReader, ReaderScratch, Window};
use crate::predict::{Predictor as _, softmax};
use crate::quantize::{
    QuantizedForward, QuantizedModel, QuantizedScratch, QuantizedTrees, dequantize, input_ranges, quantize,
};
use crate::router::{Answer, Experts, Router, Routing};
use crate::transformer::{Batch, ForwardScratch, InferenceEngine, Transformer, TransformerModel};

/// The models of a bundle, ready to leave.
#[derive(Debug, Clone)]
pub struct ExportSet {
    bundle: Bundle,
    /// The transformer in plain numbers: of a bundle, those that its bytes stand for.
    plain: Option<TransformerModel>,
    ensemble: Option<Ensemble>,
}

/// An ONNX model with its name and a golden question.
#[derive(Debug, Clone)]
pub struct OnnxExport {
    /// What it is: `transformer`, `trees-regressor`.
    pub name: &'static str,
    /// The model.
    pub model: OnnxModel,
    /// What it was asked, and what we answer.
    pub test: TestData,
}

impl OnnxExport {
    /// Writes `model.onnx` and `test_data_set_0` into `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.test.save(&self.model, &folder.join("test_data_set_0"))?;
        self.model.save(&folder.join("model.onnx"))
    }
}

/// The ways to say trees, and what files of them are called.
pub const TREES: [(&str, TreeOperator); 4] = [
    ("trees", TreeOperator::TreeEnsemble),
    ("trees-regressor", TreeOperator::Regressor),
    ("trees-classifier", TreeOperator::Classifier),
    ("trees-walk", TreeOperator::Walk),
];

impl ExportSet {
    /// Whatever a bundle has.
    ///
    /// # Errors
    /// None that a bundle that was loaded could cause.
    pub fn of_bundle(bundle: Bundle) -> Result<Self> {
        let parts = bundle.parts();
        let plain = parts.student.as_ref().map(dequantize).transpose()?;
        let ensemble = parts.trees.as_ref().map(|(trees, _)| trees.to_ensemble());
        Ok(Self { bundle, plain, ensemble })
    }

    /// A transformer alone, with its numbers as they are.
    ///
    /// # Errors
    /// It cannot be quantized.
    pub fn of_transformer(model: TransformerModel) -> Result<Self> {
        let parts = BundleContents {
            task: model.weights.config().task,
            apps: model.apps.clone(),
            student: Some(quantize(&model)?),
            ..BundleContents::default()
        };
        Ok(Self { bundle: Bundle::new(parts)?, plain: Some(model), ensemble: None })
    }

    /// A ranker alone, with its numbers as they are.
    ///
    /// # Errors
    /// It cannot be quantized.
    pub fn of_ranker(model: &RankerModel) -> Result<Self> {
        let ensemble = model.ranker.forest().ensemble();
        let parts = BundleContents {
            task: model.task,
            apps: model.apps.clone(),
            trees: Some((QuantizedTrees::new(ensemble)?, model.temperature)),
            ..BundleContents::default()
        };
        Ok(Self { ensemble: Some(ensemble.clone()), bundle: Bundle::new(parts)?, plain: None })
    }

    /// The bundle; of a model alone, one made for its golden questions.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What files say of themselves.
    pub fn model_card(&self) -> ModelCard {
        ModelCard::parts(self.bundle.parts())
    }

    /// The transformer in plain numbers.
    ///
    /// # Errors
    /// There is none.
    pub fn transformer(&self) -> Result<&TransformerModel> {
        self.plain.as_ref().ok_or_else(|| missing("transformer", "STUD", "make it without --no-student"))
    }

    /// The transformer in INT8.
    ///
    /// # Errors
    /// There is none.
    pub fn student(&self) -> Result<&QuantizedModel> {
        let student = self.bundle.parts().student.as_ref();
        student.ok_or_else(|| missing("transformer", "STUD", "make it without --no-student"))
    }

    /// The trees.
    ///
    /// # Errors
    /// There are none.
    pub fn ensemble(&self) -> Result<&Ensemble> {
        self.ensemble.as_ref().ok_or_else(|| missing("trees", "TREE", "make it with --trees"))
    }

    /// The router over both experts.
    ///
    /// # Errors
    /// It is missing, or an expert is.
    pub fn router(&self) -> Result<onnx::Experts<'_>> {
        let BundleContents { trees, router, .. } = self.bundle.parts();
        let trees = trees.as_ref().ok_or_else(|| missing("trees", "TREE", "make it with --trees"))?;
        let router = router.as_ref();
        let router = router.ok_or_else(|| missing("router", "ROUT", "make it with --data or --simulate"))?;
        Ok(onnx::Experts { student: self.student()?, trees: &trees.0, router })
    }

    /// In plain numbers, whatever there is: the transformer, the trees by each operator, the router in one graph.
    ///
    /// # Errors
    /// A model is too large for a file.
    pub fn onnx(&self) -> Result<Vec<OnnxExport>> {
        let model_card = self.model_card();
        let mut exports = Vec::new();
        if let Ok(transformer) = self.transformer() {
            let model = onnx::transformer(transformer, Numbers::Single, &model_card)?;
            exports.push(OnnxExport { name: "transformer", model, test: self.ask_transformer(transformer)? });
        }
        if let Ok(ensemble) = self.ensemble() {
            let test = self.ask_trees(ensemble)?;
            for (name, operator) in TREES {
                let model = onnx::trees(ensemble, operator, &model_card)?;
                exports.push(OnnxExport { name, model, test: test.clone() });
            }
        }
        if let Ok(experts) = self.router() {
            exports.push(self.onnx_router("router", &experts, &Numbers::Single, TreeOperator::Regressor)?);
            exports.push(self.onnx_router("router-walk", &experts, &Numbers::Single, TreeOperator::Walk)?);
        }
        Ok(exports)
    }

    /// The transformer in half precision.
    ///
    /// # Errors
    /// There is none, or a weight is too large.
    pub fn onnx_half(&self) -> Result<Vec<OnnxExport>> {
        let transformer = self.transformer()?;
        let model = onnx::transformer(transformer, Numbers::Half, &self.model_card())?;
        Ok(vec![OnnxExport { name: "transformer-f16", model, test: self.ask_transformer(transformer)? }])
    }

    /// In INT8: the student in both dialects, and the router over it where there is one.
    ///
    /// # Errors
    /// There is no student, or the graph is too large for a file.
    pub fn onnx_whole(&self, ranges: Ranges) -> Result<Vec<OnnxExport>> {
        let (student, model_card) = (self.student()?, self.model_card());
        let test = self.ask_student(student)?;
        let mut exports = Vec::new();
        for (name, numbers) in
            [("student-static", Numbers::Static(ranges)), ("student-dynamic", Numbers::Dynamic)]
        {
            let model = onnx::student(student, &numbers, &model_card)?;
            exports.push(OnnxExport { name, model, test: test.clone() });
        }
        if let Ok(experts) = self.router() {
            let operator = TreeOperator::Regressor;
            exports.push(self.onnx_router("router-dynamic", &experts, &Numbers::Dynamic, operator)?);
        }
        Ok(exports)
    }

    fn onnx_router(
        &self,
        name: &'static str,
        experts: &onnx::Experts<'_>,
        numbers: &Numbers,
        operator: TreeOperator,
    ) -> Result<OnnxExport> {
        let routing = Routing::default();
        let model = onnx::router(experts, routing, numbers, operator, &self.model_card())?;
        let vocabulary = self.bundle.vocabulary();
        let router = match numbers {
            Numbers::Dynamic | Numbers::Static(_) => self.bundle.router(&vocabulary, routing)?,
            Numbers::Single | Numbers::Half => self.plain_router(&vocabulary, routing)?,
        };
        let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
        let test = self.ask(|question, context| {
            router.answer(context, None, &mut scratch, &mut answer);
            question.inputs_with(answered(context, &answer))
        })?;
        Ok(OnnxExport { name, model, test })
    }

    /// The bundle's router over the plain transformer: what a graph in plain numbers computes.
    ///
    /// # Errors
    /// It is missing, or an expert is, or the routing is impossible.
    pub fn plain_router(&self, vocabulary: &Vocabulary, routing: Routing) -> Result<Router> {
        let experts = self.router()?;
        let deep = Transformer::new(self.transformer()?, vocabulary)?;
        let (trees, deep) = (Some(Arc::new(experts.trees.ranker()?) as _), Some(Arc::new(deep) as _));
        Router::new(experts.router.clone(), Experts { trees, deep }, routing)
    }

    /// How far the inputs of the student's matrices reach on about `most` questions of `log`.
    ///
    /// # Errors
    /// There is no student, or the log has no question.
    pub fn ranges(&self, log: &Log, vocabulary: &Vocabulary, most: usize) -> Result<Ranges> {
        let mut questions = self.questions(vocabulary)?;
        let (task, favourites) = (self.bundle.parts().task, self.bundle.favourites_in(vocabulary));
        let asked: usize = log.users().map(|events| crate::context::questions(task, events).len()).sum();
        let (each, mut passed, mut batches) = (asked.div_ceil(most.max(1)).max(1), 0, Vec::new());
        for events in log.users() {
            replay(events, task, &favourites, usize::MAX, |_, _, context| {
                passed += 1;
                if passed % each == 0 && !context.candidates().is_empty() {
                    questions.read(context);
                    batches.push(questions.batch().clone());
                }
            });
        }
        if batches.is_empty() {
            return Err(Error::new(ErrorKind::Data, format!("the log has no question of {task}"))
                .next_step("give a longer log, or a bundle of the other task"));
        }
        let mut ranges = input_ranges(self.student()?, &batches);
        // The classifier reads what the pointer reads of the hidden state.
        let of_hidden = ranges.get("pointer_hidden").copied();
        ranges.extend(of_hidden.map(|range| (APPS.to_owned(), range)));
        Ok(ranges)
    }

    /// Who reads questions, of logs whose app ids are those of `vocabulary`, as graphs want them.
    ///
    /// # Errors
    /// The transformer reads other columns than this build computes.
    pub fn questions(&self, vocabulary: &Vocabulary) -> Result<Questions> {
        let of = |model: &TransformerModel| {
            let (config, window) = (model.weights.config(), Window::default());
            QuestionReader::new(config, &model.columns, &model.apps, vocabulary, window)
        };
        let reader = self.plain.as_ref().map(of).transpose()?;
        Ok(Questions { reader, inputs: Vec::new(), scratch: ReaderScratch::default() })
    }

    /// The last golden question, when a history is longest.
    fn ask(&self, mut answer: impl FnMut(&Questions, &Context<'_>) -> TestData) -> Result<TestData> {
        let mut questions = self.questions(&self.bundle.vocabulary())?;
        let (mut left, mut last) = (self.bundle.golden_questions(), TestData::default());
        self.bundle.ask_golden(|context| {
            left -= 1;
            if left == 0 {
                questions.read(context);
                last = answer(&questions, context);
            }
        });
        Ok(last)
    }

    fn ask_transformer(&self, model: &TransformerModel) -> Result<TestData> {
        let (forward, mut scratch) = (InferenceEngine::new(model.weights.clone()), ForwardScratch::default());
        self.ask_network(model.temperature, |batch, logits| forward.score(batch, &mut scratch, logits))
    }

    fn ask_student(&self, model: &QuantizedModel) -> Result<TestData> {
        let (forward, mut scratch) = (QuantizedForward::new(model), QuantizedScratch::default());
        self.ask_network(model.temperature, |batch, logits| forward.score(batch, &mut scratch, logits))
    }

    fn ask_network(&self, temperature: f64, mut score: impl FnMut(&Batch, &mut [f32])) -> Result<TestData> {
        self.ask(|questions, _| {
            let mut logits = vec![0.0; questions.batch().candidates()];
            score(questions.batch(), &mut logits);
            questions.inputs_with(scored(logits, temperature))
        })
    }

    fn ask_trees(&self, ensemble: &Ensemble) -> Result<TestData> {
        let (forest, mut scratch) = (Forest::new(ensemble.clone())?, ForestScratch::default());
        self.ask(|_, context| {
            let rows = context.candidates().len();
            let (mut matrix, mut scores) = (Vec::new(), vec![0.0; rows * forest.outputs()]);
            features::fill(context, &mut matrix);
            forest.score(&matrix, &mut scratch, &mut scores);
            let scores = scores.into_iter().map(|score| score as f32).collect();
            TestData {
                inputs: vec![NamedTensor::floats("features", vec![rows, forest.columns()], matrix)],
                outputs: vec![NamedTensor::floats("scores", vec![rows, forest.outputs()], scores)],
            }
        })
    }
}

/// Reads questions as graphs want them.
#[derive(Debug)]
pub struct Questions {
    reader: Option<QuestionReader>,
    inputs: Vec<NamedTensor>,
    scratch: ReaderScratch,
}

impl Questions {
    /// Reads a question: all inputs of a router's graph; of a set without a transformer, only those that trees read.
    pub fn read(&mut self, context: &Context<'_>) -> &[NamedTensor] {
        self.inputs = router_question(context).into();
        if let Some(reader) = &self.reader {
            reader.read(context, &mut self.scratch);
            self.inputs.extend(question(&self.scratch.batch, reader.config()));
        }
        &self.inputs
    }

    /// What was read last, as our own transformer reads it.
    pub fn batch(&self) -> &Batch {
        &self.scratch.batch
    }

    fn inputs_with(&self, outputs: Vec<NamedTensor>) -> TestData {
        TestData { inputs: self.inputs.clone(), outputs }
    }
}

fn scored(logits: Vec<f32>, temperature: f64) -> Vec<NamedTensor> {
    let shape = vec![1, logits.len()];
    let probabilities = softmax(&logits, temperature).map(|probability| probability as f32).collect();
    vec![
        NamedTensor::floats("logits", shape.clone(), logits),
        NamedTensor::floats("probabilities", shape, probabilities),
    ]
}

fn answered(context: &Context<'_>, answer: &Answer) -> Vec<NamedTensor> {
    let ranked: Vec<f32> = answer.prediction.candidates.iter().map(|c| c.probability as f32).collect();
    let of = |app| answer.prediction.candidates.iter().position(|candidate| candidate.app == app);
    let probabilities = context.candidates().iter().filter_map(|&app| of(app)).map(|place| ranked[place]);
    let shape = vec![1, ranked.len()];
    vec![
        NamedTensor::floats("probabilities", shape.clone(), probabilities.collect()),
        NamedTensor::floats("ranked_probabilities", shape, ranked),
        NamedTensor::floats("none_of_these", vec![1, 1], vec![answer.prediction.none_of_these as f32]),
        NamedTensor::floats("gain", vec![1, 1], vec![answer.gain]),
    ]
}

fn missing(what: &str, section: &str, next_step: &str) -> Error {
    wrong(format!("the bundle has no {what}"))
        .field(section)
        .next_step(format!("{next_step}, or choose another target"))
}
