//! Several predictors that teach as one: any [`TeacherEnsemble`] of them can be the [`Teacher`](crate::transformer::Teacher) of a
//! student, whose softened answers it learns beside the true ones.
//!
//! Hinton, Vinyals, Dean, *Distilling the Knowledge in a Neural Network* (2015), over each question's candidates.

use crate::context::Context;
use crate::predict::{Predictor, Scratch, softmax};

/// Several predictors that answer as one: the weighted mean of their probabilities.
pub struct TeacherEnsemble<'a> {
    parts: Vec<WeightedTeacher<'a>>,
}

/// One expert of a [`TeacherEnsemble`].
#[derive(Clone, Copy)]
pub struct WeightedTeacher<'a> {
    /// Who.
    pub predictor: &'a dyn Predictor,
    /// What its logits are divided by to become probabilities.
    pub temperature: f64,
    /// How much it counts, more than 0.
    pub weight: f64,
}

impl<'a> TeacherEnsemble<'a> {
    /// A blend of `parts`.
    pub fn new(parts: Vec<WeightedTeacher<'a>>) -> Self {
        Self { parts }
    }
}

#[derive(Default)]
struct BlendScratch {
    parts: Vec<Scratch>,
    scores: Vec<f32>,
    blended: Vec<f64>,
}

impl Predictor for TeacherEnsemble<'_> {
    fn new_scratch(&self) -> Scratch {
        let parts = self.parts.iter().map(|part| part.predictor.new_scratch()).collect();
        Scratch::new(BlendScratch { parts, ..BlendScratch::default() })
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let BlendScratch { parts, scores: own, blended } = scratch.buffers();
        parts.resize_with(self.parts.len(), Scratch::none);
        own.resize(scores.len(), 0.0);
        blended.clear();
        blended.resize(scores.len(), 0.0);
        for (part, scratch) in self.parts.iter().zip(parts) {
            part.predictor.score(context, scratch, own);
            for (sum, probability) in blended.iter_mut().zip(softmax(own, part.temperature)) {
                *sum += part.weight * probability;
            }
        }
        for (score, &sum) in scores.iter_mut().zip(blended.iter()) {
            *score = sum.max(1e-30).ln() as f32;
        }
    }

    fn keeps_cache(&self) -> bool {
        self.parts.iter().any(|part| part.predictor.keeps_cache())
    }

    fn clear_cache(&self, scratch: &mut Scratch) {
        let BlendScratch { parts, .. } = scratch.buffers();
        for (part, scratch) in self.parts.iter().zip(parts) {
            part.predictor.clear_cache(scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{MostFrequent, MostRecent};
    use crate::context::{History, Task};
    use crate::data::{AppId, Event, Signal, Timestamp, UserId};

    #[test]
    fn a_blend_is_the_weighted_mean_of_probabilities() {
        let mut history = History::default();
        for (at, app) in [(0, 1), (9, 2), (20, 1), (30, 3)] {
            history.observe(&Event::new(UserId(1), Timestamp(at), Signal::Launch(AppId(app))));
        }
        let context = history.context_at(Timestamp(40), Task::FirstAfterUnlock);
        let probabilities = |predictor: &dyn Predictor, temperature: f64| {
            let mut scores = vec![0.0; 3];
            predictor.score(&context, &mut predictor.new_scratch(), &mut scores);
            softmax(&scores, temperature).collect::<Vec<f64>>()
        };
        let blend = TeacherEnsemble::new(vec![
            WeightedTeacher { predictor: &MostRecent, temperature: 2.0, weight: 0.25 },
            WeightedTeacher { predictor: &MostFrequent, temperature: 1.0, weight: 0.75 },
        ]);
        let parts = probabilities(&MostRecent, 2.0).into_iter().zip(probabilities(&MostFrequent, 1.0));
        for (blended, (recent, frequent)) in probabilities(&blend, 1.0).into_iter().zip(parts) {
            assert!((blended - (0.25 * recent + 0.75 * frequent)).abs() < 1e-6);
        }
    }
}
