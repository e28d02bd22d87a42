//! The best that can be done, where what is true is known.

use super::each_candidate;
use crate::context::{Context, Task};
use crate::data::simulate::{TrueDistribution, Truth};
use crate::predict::{Predictor, Scratch};

/// The Bayes-optimal predictor of simulated people: it answers with the probabilities that their apps were drawn from, of each
/// candidate and of none of them, as they are. No predictor's expected log loss is below its own, and no expected hit rate is
/// above; on the apps that were drawn, chance can make another look better.
///
/// It knows the first apps after an unlock. Of all else it knows nothing.
#[derive(Debug, Clone, Copy)]
pub struct BayesOptimal<'a> {
    /// What the simulator drew from.
    pub truth: &'a Truth,
}

impl BayesOptimal<'_> {
    fn known(&self, context: &Context<'_>) -> Option<TrueDistribution<'_>> {
        let user = context.user().filter(|_| context.task() == Task::FirstAfterUnlock)?;
        self.truth.first_after_unlock(user, context.now())
    }
}

impl Predictor for BayesOptimal<'_> {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        let known = self.known(context);
        each_candidate(context, scores, |app| {
            // A logit must be finite; one that stands for so little changes no other probability by more.
            known.map_or(0.0, |known| known.probability(app).max(1e-9).ln())
        });
    }

    fn none_of_these(&self, context: &Context<'_>) -> f64 {
        self.known(context)
            .map_or_else(|| context.none_of_these(), |known| known.none_of(context.candidates()))
    }

    fn is_calibrated(&self) -> bool {
        true
    }
}
