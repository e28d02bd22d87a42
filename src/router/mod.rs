//! Together: trees answer the simple questions, the transformer helps with the others, and one answer comes out, with
//! probabilities that can be believed.
//!
//! ```text
//! question -> trees -> gate: would the transformer help? -> no:  weigh the trees' answer
//!                                                        -> yes: ask it, weigh both
//!          -> temperature -> what this person opens against the odds, "none of these" -> ranked apps, or nothing
//! ```
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`gate`] | which questions the transformer is asked, too |
//! | [`blend`] | how much each expert counts, by what is known before they answer |
//! | [`calibrate`] | what the scores are worth as probabilities |
//! | [`Personalization`] | what one person's phone adds, and can take back |
//! | [`PersonalTrees`] | what trees grown of one person's past add, and how far they are trusted |
//! | [`Person`] | history, personalization and suggestions of one phone: what is observed, asked, shown, saved |
//! | [`AskOptions`] | what an evaluation asks beside what a phone does |
//!
//! A [`Router`] is as immutable as the experts in it and serves any number of people and threads; what belongs to a
//! thread is in the scratch, what belongs to a user in the [`Person`]. [`Router`] is a [`Predictor`] too, without personalization.
//! Where an expert is missing, the other answers alone and [`Router::degraded`] says so.

mod answer;
pub mod blend;
pub mod calibrate;
#[cfg(feature = "train")]
mod fit;
pub mod gate;
#[cfg(feature = "train")]
mod gate_labels;
#[cfg(feature = "learn")]
mod learn;
mod model;
#[cfg(feature = "train")]
mod newton;
mod offline;
mod person;
mod personal_trees;
mod personalization;
mod suggest;

pub use answer::{Answer, Route};
pub use blend::ExpertLogProbs;
#[cfg(feature = "train")]
pub use fit::{Example, Fitted, fit};
pub use gate::{Routing, RoutingThreshold};
#[cfg(feature = "learn")]
pub use learn::{LearnOutcome, LearnSettings, Learned, Nights, PersonTraining};
pub use model::RouterModel;
#[cfg(test)]
pub(crate) use model::tests::sample;
pub use offline::{AskOptions, BothExperts, ExpertAnswers};
pub use person::Person;
pub use personal_trees::PersonalTrees;
pub use personalization::{PendingQuestion, Personalization};
pub use suggest::{Feedback, MAX_SHOWN, Suggestion, SuggestionSettings};

use std::sync::Arc;

use crate::context::features::SharedFeatures;
use crate::context::{Context, QuestionFeatures, math};
use crate::data::AppId;
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::ForestScratch;
use crate::predict::{Predictor, Scratch, compare};
use blend::{Basis, basis};
use calibrate::log_softmax;

/// Whoever is there to be asked.
#[derive(Clone, Default)]
pub struct Experts {
    /// Gradient-boosted trees, or whoever is fast.
    pub trees: Option<Arc<dyn Predictor>>,
    /// A transformer, or whoever knows better and takes longer.
    pub deep: Option<Arc<dyn Predictor>>,
}

/// Two experts behind one face.
pub struct Router {
    model: RouterModel,
    experts: Experts,
    /// Which gains send a question to the transformer.
    threshold: RoutingThreshold,
    degraded: Option<&'static str>,
}

/// Working memory of a [`Router`].
#[derive(Default)]
struct RouterScratch {
    trees: Scratch,
    deep: Scratch,
    gate: ForestScratch,
    features: SharedFeatures,
    /// That of the transformer is of this question only where it was asked.
    said: ExpertAnswers,
    logits: Vec<f32>,
    /// Of a person's own trees.
    personal: Scratch,
    log_ratios: Vec<f32>,
    order: Vec<u32>,
}

/// The part of it that experts and gate need.
struct ExpertScratch<'a> {
    trees: &'a mut Scratch,
    deep: &'a mut Scratch,
    gate: &'a mut ForestScratch,
    features: &'a mut SharedFeatures,
}

/// What the experts said to one question.
struct Consulted<'a> {
    question_features: QuestionFeatures,
    log_probs: ExpertLogProbs<'a>,
    basis: Basis,
    route: Route,
    gain: f32,
}

impl Router {
    /// A router over `experts`, who are those that `model` was fitted to, or one of them.
    ///
    /// # Errors
    /// Nobody is there, or the routing is impossible.
    pub fn new(model: RouterModel, experts: Experts, routing: Routing) -> Result<Self> {
        if experts.trees.is_none() && experts.deep.is_none() {
            return Err(Error::new(ErrorKind::Config, "a router without any expert")
                .next_step("give it trees, a transformer, or both"));
        }
        let threshold = routing.threshold(&model.gains)?;
        let degraded = match (&experts.trees, &experts.deep) {
            (Some(_), Some(_)) => None,
            (Some(_), None) => Some("there is no transformer: the trees answer alone"),
            (None, _) => Some("there are no trees: the transformer answers alone, and every question"),
        };
        Ok(Self { model, experts, threshold, degraded })
    }

    /// What it has learned.
    pub fn model(&self) -> &RouterModel {
        &self.model
    }

    /// Sends other questions to the transformer from now on.
    ///
    /// # Errors
    /// The routing is impossible; it is then as it was.
    pub fn route_by(&mut self, routing: Routing) -> Result<()> {
        self.threshold = routing.threshold(&self.model.gains)?;
        Ok(())
    }

    /// Which gains send a question to the transformer.
    pub fn routing_threshold(&self) -> &RoutingThreshold {
        &self.threshold
    }

    /// Why it answers less well than it could, if it does.
    pub fn degraded(&self) -> Option<&'static str> {
        self.degraded
    }

    /// The same router, which answers less well than it could for this reason.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { degraded: Some(reason), ..self }
    }

    /// Asks the trees, and then the transformer where that pays, or takes what they said before.
    fn consult<'a>(
        &self,
        context: &Context<'_>,
        shift: f32,
        options: AskOptions<'a>,
        scratch: ExpertScratch<'_>,
        said: &'a mut ExpertAnswers,
    ) -> Consulted<'a> {
        let ExpertScratch { trees: trees_scratch, deep: deep_scratch, gate: gate_scratch, features } =
            scratch;
        let question_features = context.question_features();
        features.clear();
        let mut gain = 0.0;
        let by_trees: &[f32] = match (&self.experts.trees, options.said) {
            (None, _) => &[],
            (Some(_), Some(said)) => &said.by_trees,
            (Some(trees), None) => {
                offline::ask(trees.as_ref(), context, features, trees_scratch, &mut said.by_trees);
                &said.by_trees
            }
        };
        if self.experts.trees.is_some() {
            gain = self.model.gate.gain(by_trees, &question_features, gate_scratch);
        }
        let is_routed = options.is_routed.unwrap_or_else(|| self.threshold.routes(gain, shift));
        let is_asked = is_routed || self.experts.trees.is_none();
        let by_deep: Option<&[f32]> = match (&self.experts.deep, options.said) {
            (Some(_), Some(said)) if is_asked => Some(&said.by_deep),
            (Some(deep), None) if is_asked => {
                offline::ask(deep.as_ref(), context, features, deep_scratch, &mut said.by_deep);
                Some(&said.by_deep)
            }
            _ => None,
        };
        let (log_probs, route) = match (&self.experts.trees, by_deep) {
            (Some(_), Some(by_deep)) => (ExpertLogProbs::Both(by_trees, by_deep), Route::Both),
            (Some(_), None) => (ExpertLogProbs::Trees(by_trees), Route::Trees),
            (None, by_deep) => (ExpertLogProbs::Deep(by_deep.unwrap_or_default()), Route::Deep),
        };
        Consulted { log_probs, basis: basis(&question_features, gain), route, gain, question_features }
    }

    /// Answers a question, with a person's `personalization` or without. What was in `answer` before is replaced, and its memory
    /// used again.
    pub fn answer(
        &self,
        context: &Context<'_>,
        personalization: Option<&Personalization>,
        scratch: &mut Scratch,
        answer: &mut Answer,
    ) {
        self.answer_as(AskOptions::default(), context, personalization, scratch, answer);
    }

    /// The same under `options`, as an evaluation asks.
    pub fn answer_as(
        &self,
        options: AskOptions<'_>,
        context: &Context<'_>,
        personalization: Option<&Personalization>,
        scratch: &mut Scratch,
        answer: &mut Answer,
    ) {
        let RouterScratch { trees, deep, gate, features, said, logits, personal, log_ratios, order } =
            scratch.buffers();
        let shift = personalization.map_or(0.0, Personalization::shift);
        let room = ExpertScratch { trees, deep, gate, features: &mut *features };
        let consulted = self.consult(context, shift, options, room, said);
        let apps = context.candidates();
        logits.clear();
        logits.resize(apps.len(), 0.0);
        self.model.logits(&consulted.log_probs, &consulted.basis, logits);
        let last = context.last_app();
        if let Some(personalization) = personalization {
            personalization.adjust(last, apps, &consulted.log_probs, logits);
        }
        log_ratios.clear();
        if let Some(own) = personalization.and_then(Personalization::trees) {
            own.mix(context, features, personal, log_ratios, logits);
        }
        order.clear();
        order.extend(0..apps.len() as u32);
        order.sort_unstable_by(|&a, &b| compare(context, logits, a as usize, b as usize));
        log_softmax(logits);
        logits.iter_mut().for_each(|logit| *logit = math::exp(*logit));
        let ranked = order.iter().map(|&candidate| candidate as usize);
        answer.pending.set(last, apps, &consulted.log_probs, logits, ranked.clone());
        if !log_ratios.is_empty() {
            answer.pending.set_log_ratios(log_ratios, ranked.clone());
        }
        answer.set(
            apps,
            logits,
            self.none_of_these_at(apps, &consulted.question_features, &consulted.basis),
            ranked,
        );
        answer.route = consulted.route;
        answer.gain = consulted.gain;
        answer.age_secs = context.age_secs();
    }

    fn none_of_these_at(&self, apps: &[AppId], question_features: &QuestionFeatures, basis: &Basis) -> f32 {
        if apps.is_empty() { 1.0 } else { self.model.calibration.none_of_these(question_features, basis) }
    }
}

impl RouterModel {
    /// Writes the logits of what was said, so that their softmax is the probabilities given that it is one of the
    /// candidates.
    ///
    /// # Shapes
    /// `logits` and those of `log_probs`: `[candidates]`.
    pub fn logits(&self, log_probs: &ExpertLogProbs<'_>, basis: &Basis, logits: &mut [f32]) {
        self.blend.mix(log_probs, basis, logits);
        let temperature = self.calibration.temperature;
        logits.iter_mut().for_each(|logit| *logit /= temperature);
    }
}

impl Predictor for Router {
    fn new_scratch(&self) -> Scratch {
        let new = |expert: &Option<Arc<dyn Predictor>>| {
            expert.as_ref().map_or_else(Scratch::none, |expert| expert.new_scratch())
        };
        let (trees, deep) = (new(&self.experts.trees), new(&self.experts.deep));
        Scratch::new(RouterScratch { trees, deep, ..RouterScratch::default() })
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let RouterScratch { trees, deep, gate, features, said, .. } = scratch.buffers();
        let room = ExpertScratch { trees, deep, gate, features };
        let consulted = self.consult(context, 0.0, AskOptions::default(), room, said);
        self.model.logits(&consulted.log_probs, &consulted.basis, scores);
    }

    fn none_of_these(&self, context: &Context<'_>) -> f64 {
        let question_features = context.question_features();
        f64::from(self.none_of_these_at(
            context.candidates(),
            &question_features,
            &basis(&question_features, 0.0),
        ))
    }

    fn prefill(&self, context: &Context<'_>, scratch: &mut Scratch) {
        let RouterScratch { trees, deep, .. } = scratch.buffers();
        for (expert, scratch) in [(&self.experts.trees, trees), (&self.experts.deep, deep)] {
            if let Some(expert) = expert {
                expert.prefill(context, scratch);
            }
        }
    }

    fn keeps_cache(&self) -> bool {
        [&self.experts.trees, &self.experts.deep].into_iter().flatten().any(|expert| expert.keeps_cache())
    }

    fn clear_cache(&self, scratch: &mut Scratch) {
        let RouterScratch { trees, deep, .. } = scratch.buffers();
        for (expert, scratch) in [(&self.experts.trees, trees), (&self.experts.deep, deep)] {
            if let Some(expert) = expert {
                expert.clear_cache(scratch);
            }
        }
    }
}
