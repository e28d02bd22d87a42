//! What an offline evaluation asks of a router that no phone does: another way of routing, and answers of experts who were asked before.
//!
//! ```text
//! BothExperts   asks both experts every question, once          -> ExpertAnswers
//! AskOptions         answers from what was said, routed as it wants  -> Router::answer_as, Person::ask_as
//! ```
//!
//! All else is as on a phone, by the same code: an evaluation that compares ten ways of routing asks each expert once, and
//! gets the probabilities that a phone would have shown.

use super::calibrate::log_softmax;
use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::predict::{Predictor, Scratch};

/// What the experts said of one question: log-probabilities of its candidates.
///
/// # Shapes
/// Both: `[candidates]`, or empty of an expert that was not asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExpertAnswers {
    /// The trees.
    pub by_trees: Vec<f32>,
    /// The transformer.
    pub by_deep: Vec<f32>,
}

/// How a question is answered in an offline evaluation. By default as on a phone: the gate decides, and the experts are asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskOptions<'a> {
    /// Whether the transformer is asked, whatever the gate expects of it. Without trees it always is.
    pub is_routed: Option<bool>,
    /// What both experts said of this question before. Nobody is asked again.
    pub said: Option<&'a ExpertAnswers>,
}

/// Trees and transformer, of whom an offline evaluation asks both every question.
pub struct BothExperts<'a> {
    experts: [&'a dyn Predictor; 2],
    scratches: [Scratch; 2],
    features: SharedFeatures,
}

impl<'a> BothExperts<'a> {
    /// Those of `experts`: trees, transformer.
    pub fn new(experts: [&'a dyn Predictor; 2]) -> Self {
        let scratches = experts.map(|expert| expert.new_scratch());
        Self { experts, scratches, features: SharedFeatures::default() }
    }

    /// What both say of a question.
    pub fn ask(&mut self, context: &Context<'_>) -> ExpertAnswers {
        let ([trees, deep], [of_trees, of_deep]) = (self.experts, &mut self.scratches);
        let mut said = ExpertAnswers::default();
        self.features.clear();
        ask(trees, context, &mut self.features, of_trees, &mut said.by_trees);
        ask(deep, context, &mut self.features, of_deep, &mut said.by_deep);
        said
    }
}

/// Log-probabilities of the candidates by one expert.
pub(super) fn ask(
    expert: &dyn Predictor,
    context: &Context<'_>,
    features: &mut SharedFeatures,
    scratch: &mut Scratch,
    said: &mut Vec<f32>,
) {
    said.clear();
    said.resize(context.candidates().len(), 0.0);
    expert.score_sharing(context, features, scratch, said);
    log_softmax(said);
}
