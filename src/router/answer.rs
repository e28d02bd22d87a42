//! One calibrated answer.

use super::personalization::PendingQuestion;
use crate::data::AppId;
use crate::predict::{Candidate, Prediction};

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// The trees alone: the question was simple, or there is no transformer.
    #[default]
    Trees,
    /// The transformer alone: there are no trees.
    Deep,
    /// Both, blended.
    Both,
}

/// A router's answer. Keep it and let it be filled again: then answering allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// All candidates, most probable first, and the probability of none of them.
    pub prediction: Prediction,
    /// Who answered.
    pub route: Route,
    /// What the gate expected the transformer to gain.
    pub gain: f32,
    /// How old the history was: seconds since the event before the question.
    pub age_secs: Option<i64>,
    pub(super) pending: PendingQuestion,
}

impl Answer {
    pub(super) fn set(
        &mut self,
        apps: &[AppId],
        probabilities: &[f32],
        none_of_these: f32,
        ranked: impl Iterator<Item = usize>,
    ) {
        // To the last bit: floats that were rounded one by one add up to nearly one.
        let total: f64 = probabilities.iter().map(|&probability| f64::from(probability)).sum();
        let known = (1.0 - f64::from(none_of_these)) / total;
        let candidate = |candidate: usize| Candidate {
            app: apps[candidate],
            probability: known * f64::from(probabilities[candidate]),
        };
        self.prediction.candidates.clear();
        self.prediction.candidates.extend(ranked.map(candidate));
        self.prediction.none_of_these = f64::from(none_of_these);
    }

    /// The first `count` apps; all where there are fewer.
    pub fn first(&self, count: usize) -> &[Candidate] {
        let candidates = &self.prediction.candidates;
        &candidates[..count.min(candidates.len())]
    }

    /// Probability that one of the first `count` apps is opened.
    pub fn confidence(&self, count: usize) -> f64 {
        self.first(count).iter().map(|candidate| candidate.probability).sum()
    }

    /// The first `count` apps where they are right with at least `least_probability`, otherwise nothing: rather no
    /// suggestion than noise.
    pub fn worth_showing(&self, count: usize, least_probability: f64) -> &[Candidate] {
        if self.confidence(count) >= least_probability { self.first(count) } else { &[] }
    }
}
