//! The best that can be done, where what is true is known.

use super::each_candidate;
use crate::context::Context;
use crate::data::simulate::Truth;
use crate::predict::{Predictor, Scratch};

/// The true probabilities of simulated people: the best that any predictor can do on them.
#[derive(Debug, Clone, Copy)]
pub struct Optimum<'a> {
    /// What the simulator drew from.
    pub truth: &'a Truth,
}

impl Predictor for Optimum<'_> {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        let known = context.user().and_then(|user| self.truth.first_after_unlock(user, context.now()));
        each_candidate(context, scores, |app| {
            known.map_or(0.0, |known| known.probability(app).max(1e-9).ln())
        });
    }
}
