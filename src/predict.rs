//! The contract: whoever can score the candidates of a [`Context`] is a [`Predictor`].
//!
//! Baselines, trees and networks implement it; the router and the evaluation know nothing else of them.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;

use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::data::AppId;

/// Scores candidates, without allocating and without failing: loading has validated everything.
pub trait Predictor: Send + Sync {
    /// Working memory for [`score`](Predictor::score), one a thread.
    fn new_scratch(&self) -> Scratch;

    /// Writes one logit a candidate of `context` into `scores`: finite, higher is more probable.
    ///
    /// # Shapes
    /// `scores`: `[context.candidates().len()]`.
    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]);

    /// The same where other predictors answer the same question: who reads `features` finds those that are there already.
    fn score_sharing(
        &self,
        context: &Context<'_>,
        _features: &mut SharedFeatures,
        scratch: &mut Scratch,
        scores: &mut [f32],
    ) {
        self.score(context, scratch, scores);
    }

    /// Probability that the answer is none of the candidates: what the user's past says of it, unless the predictor knows
    /// better.
    fn none_of_these(&self, context: &Context<'_>) -> f64 {
        context.none_of_these()
    }

    /// Whether its probabilities are final: its scores are logarithms of probabilities that no temperature may change.
    fn is_calibrated(&self) -> bool {
        false
    }

    /// Computes what the next question will ask of the events so far, where that can be done before it is known: at
    /// leisure, after an event. No answer depends on it.
    fn prefill(&self, _context: &Context<'_>, _scratch: &mut Scratch) {}

    /// Whether keys and values of past tokens stay in the scratch for later questions (a KV cache). It changes the time of
    /// an answer, and never the answer.
    fn keeps_cache(&self) -> bool {
        false
    }

    /// Empties that cache: the next question is answered from nothing.
    fn clear_cache(&self, _scratch: &mut Scratch) {}
}

/// A predictor's working memory. Any scratch serves any predictor: one that it does not know is replaced.
pub struct Scratch(Box<dyn Any + Send>);

impl Scratch {
    /// Wraps a predictor's own buffers.
    pub fn new<T: Any + Send>(buffers: T) -> Self {
        Self(Box::new(buffers))
    }

    /// For a predictor that needs none.
    pub fn none() -> Self {
        Self::new(())
    }

    /// The buffers of type `T`, made anew if this scratch came from another kind of predictor.
    pub fn buffers<T: Any + Send + Default>(&mut self) -> &mut T {
        if !self.0.is::<T>() {
            self.0 = Box::new(T::default());
        }
        #[expect(clippy::expect_used, reason = "the type was settled on the line above")]
        self.0.downcast_mut().expect("the scratch holds a T")
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch(..)")
    }
}

/// An app with its place in the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The app.
    pub app: AppId,
    /// Probability that it is opened next.
    pub probability: f64,
}

/// A ranked answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prediction {
    /// The candidates, most probable first.
    pub candidates: Vec<Candidate>,
    /// Probability that none of them is opened next, but an app never opened before.
    pub none_of_these: f64,
}

impl Prediction {
    /// Ranks `scores` of the candidates of `context`. Dividing the logits by `temperature` makes them honest
    /// probabilities; 1 leaves them as they are.
    ///
    /// # Shapes
    /// `scores`: `[context.candidates().len()]`.
    pub fn new(context: &Context<'_>, scores: &[f32], temperature: f64) -> Self {
        Self::ranked(context, scores, &Probabilities::new(scores, temperature, context.none_of_these()))
    }

    /// Ranks `scores` of the candidates of `context`.
    pub(crate) fn ranked(context: &Context<'_>, scores: &[f32], probabilities: &Probabilities) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| compare(context, scores, a, b));
        let candidate =
            |&i: &usize| Candidate { app: context.candidates()[i], probability: probabilities.of(scores[i]) };
        let candidates = order.iter().map(candidate).collect();
        Self { candidates, none_of_these: probabilities.none_of_these }
    }
}

/// What turns one question's logits into probabilities that sum to one with that of "none of these".
pub(crate) struct Probabilities {
    /// Probability that none of the candidates is opened next.
    pub none_of_these: f64,
    log_normalizer: f64,
    temperature: f64,
}

impl Probabilities {
    pub fn new(scores: &[f32], temperature: f64, none_of_these: f64) -> Self {
        let none_of_these = if scores.is_empty() { 1.0 } else { none_of_these };
        Self { none_of_these, log_normalizer: log_sum_exp(scores, temperature), temperature }
    }

    /// The probability of a candidate with this score.
    pub fn of(&self, score: f32) -> f64 {
        (1.0 - self.none_of_these) * (f64::from(score) / self.temperature - self.log_normalizer).exp()
    }
}

/// How many candidates rank before `answer`: 0 is the first place. `None` when it is no candidate.
///
/// # Shapes
/// `scores`: `[context.candidates().len()]`.
pub fn rank_of(context: &Context<'_>, scores: &[f32], answer: AppId) -> Option<usize> {
    let target = context.candidates().iter().position(|&app| app == answer)?;
    Some((0..scores.len()).filter(|&i| compare(context, scores, i, target) == Ordering::Less).count())
}

/// Position of the candidate that ranks first; `None` without candidates.
///
/// # Shapes
/// `scores`: `[context.candidates().len()]`.
pub fn first(context: &Context<'_>, scores: &[f32]) -> Option<usize> {
    (0..scores.len()).min_by(|&a, &b| compare(context, scores, a, b))
}

/// `ln(sum(exp(scores / temperature)))`; minus infinity of no scores.
pub fn log_sum_exp(scores: &[f32], temperature: f64) -> f64 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let largest = f64::from(largest) / temperature;
    scores.iter().map(|&score| (f64::from(score) / temperature - largest).exp()).sum::<f64>().ln() + largest
}

/// The probabilities that logits `scores` stand for: `exp(score / temperature)`, over their sum.
pub fn softmax(scores: &[f32], temperature: f64) -> impl Iterator<Item = f64> {
    let normalizer = log_sum_exp(scores, temperature);
    scores.iter().map(move |&score| (f64::from(score) / temperature - normalizer).exp())
}

/// Higher scores first; equal ones by higher past frequency, then by id. No metric may profit from a tie.
pub(crate) fn compare(context: &Context<'_>, scores: &[f32], a: usize, b: usize) -> Ordering {
    scores[b].total_cmp(&scores[a]).then_with(|| {
        let (a, b) = (context.candidates()[a], context.candidates()[b]);
        let launches = |app| context.app_use(app).map_or(0, crate::context::AppUse::launches);
        launches(b).cmp(&launches(a)).then(a.cmp(&b))
    })
}
