//! Our side: each model of the bundle, as this crate itself runs it.

use foretap::context::Context;
use foretap::data::Vocabulary;
use foretap::export::ExportSet;
use foretap::gbdt::{Forest, ForestScratch};
use foretap::predict::{Predictor as _, Scratch, softmax};
use foretap::quantize::{QuantizedForward, QuantizedScratch};
use foretap::router::{Answer, Route, Router, Routing};
use foretap::transformer::{ForwardScratch, InferenceEngine};

use super::latency::Participant;
use super::model::Model;
use super::people::{Moment, Question};
use crate::Result;

/// Every model, ready to answer.
pub struct Ours {
    transformer: InferenceEngine,
    student: QuantizedForward,
    temperature: f64,
    forest: Forest,
    plain_router: Router,
    router: Router,
}

/// Working memory, and the last answer.
#[derive(Default)]
pub struct Room {
    transformer: ForwardScratch,
    student: QuantizedScratch,
    forest: ForestScratch,
    router: Scratch,
    answer: Answer,
    logits: Vec<f32>,
    probabilities: Vec<f32>,
    scores: Vec<f64>,
}

impl Room {
    /// Forgets what was computed of the past: the next question is answered from nothing.
    pub fn forget(&mut self) {
        self.student.forget();
    }

    /// What `model` said last of each candidate of `context`.
    pub fn numbers(&self, model: Model, context: &Context<'_>) -> Vec<f32> {
        match model {
            Model::Transformer | Model::Student => self.probabilities.clone(),
            Model::Trees => self.scores.iter().map(|&score| score as f32).collect(),
            Model::PlainRouter | Model::Router => {
                let ranked = &self.answer.prediction.candidates;
                let of = |app| ranked.iter().find(|candidate| candidate.app == app);
                let probability = |&app| of(app).map_or(0.0, |candidate| candidate.probability as f32);
                context.candidates().iter().map(probability).collect()
            }
        }
    }
}

impl Ours {
    /// The models of `export_set`, for people whose apps are those of `vocabulary`.
    ///
    /// # Errors
    /// The bundle lacks one.
    pub fn of(export_set: &ExportSet, vocabulary: &Vocabulary) -> Result<Self> {
        Ok(Self {
            transformer: InferenceEngine::new(export_set.transformer()?.weights.clone()),
            student: QuantizedForward::new(export_set.student()?),
            temperature: export_set.student()?.temperature,
            forest: Forest::new(export_set.ensemble()?.clone())?,
            plain_router: export_set.plain_router(vocabulary, Routing::default())?,
            router: export_set.bundle().router(vocabulary, Routing::default())?,
        })
    }

    /// The instructions that integer products are computed with.
    pub fn kernel(&self) -> &'static str {
        self.student.kernel().name()
    }

    /// Has `model` answer: a router from the `context`, all others from what was read of it.
    pub fn answer(&self, model: Model, question: &Question, context: &Context<'_>, room: &mut Room) {
        let candidates = question.batch.candidates();
        match model {
            Model::Transformer | Model::Student => {
                room.logits.resize(candidates, 0.0);
                if model == Model::Transformer {
                    self.transformer.score(&question.batch, &mut room.transformer, &mut room.logits);
                } else {
                    self.student.score(&question.batch, &mut room.student, &mut room.logits);
                }
                room.probabilities.clear();
                let probabilities = softmax(&room.logits, self.temperature);
                room.probabilities.extend(probabilities.map(|probability| probability as f32));
            }
            Model::Trees => {
                room.scores.resize(candidates * self.forest.outputs(), 0.0);
                self.forest.score(question.features(), &mut room.forest, &mut room.scores);
            }
            Model::PlainRouter | Model::Router => {
                self.router_of(model).answer(context, None, &mut room.router, &mut room.answer);
            }
        }
    }

    /// The share of `sample` that the gate sends to both experts.
    pub fn routed_share(&self, sample: &[Moment]) -> f64 {
        let (mut room, mut routed) = (Room::default(), 0);
        for moment in sample {
            self.router.answer(&moment.context(), None, &mut room.router, &mut room.answer);
            routed += usize::from(room.answer.route == Route::Both);
        }
        routed as f64 / sample.len().max(1) as f64
    }

    fn router_of(&self, model: Model) -> &Router {
        if model == Model::PlainRouter { &self.plain_router } else { &self.router }
    }
}

/// What is left of one question for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Nothing.
    Cold,
    /// What a phone has: it prefills after each event. Only a router keeps anything.
    Phone,
}

/// One of our models in turn with the runtimes.
pub struct OurTurn<'a> {
    ours: &'a Ours,
    model: Model,
    memory: Memory,
    asked: &'a [Question],
    sample: &'a [Moment],
    room: Room,
}

impl<'a> OurTurn<'a> {
    /// `model`, asked the questions of `sample`.
    pub fn new(
        ours: &'a Ours,
        model: Model,
        memory: Memory,
        asked: &'a [Question],
        sample: &'a [Moment],
    ) -> Self {
        Self { ours, model, memory, asked, sample, room: Room::default() }
    }
}

impl Participant for OurTurn<'_> {
    fn get_ready(&mut self, index: usize) {
        self.room.forget();
        if !self.model.is_router() {
            return;
        }
        let router = self.ours.router_of(self.model);
        router.clear_cache(&mut self.room.router);
        if self.memory == Memory::Phone {
            router.prefill(&self.sample[index].context_before(), &mut self.room.router);
        }
    }

    fn answer(&mut self, index: usize) -> Result<()> {
        let moment = &self.sample[index];
        self.ours.answer(self.model, &self.asked[moment.question], &moment.context(), &mut self.room);
        std::hint::black_box(&self.room);
        Ok(())
    }
}
