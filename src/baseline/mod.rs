//! The bar to clear, and the smallest [`Predictor`]s there are.

#[cfg(feature = "train")]
mod bayes_optimal;

#[cfg(feature = "train")]
pub use bayes_optimal::BayesOptimal;

use crate::context::Context;
use crate::data::AppId;
use crate::predict::{Predictor, Scratch};

/// The app used last, then the one before it, and so on.
#[derive(Debug, Clone, Copy, Default)]
pub struct MostRecent;

impl Predictor for MostRecent {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        each_candidate(context, scores, |app| {
            let rank = context
                .app_use(app)
                .filter(|used| used.launches() > 0)
                .map_or(5_000, |used| used.recency_rank());
            // Zipf's law: the n-th last app is about 1/n as probable as the last.
            -(1.0 + rank as f32).ln()
        });
    }
}

/// The app launched most often.
#[derive(Debug, Clone, Copy, Default)]
pub struct MostFrequent;

impl Predictor for MostFrequent {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        each_candidate(context, scores, |app| launch_share(context, app).ln());
    }
}

/// A first-order Markov chain per user: what followed the app used last, backed off to what is launched often.
#[derive(Debug, Clone, Copy)]
pub struct Markov {
    /// How many observations the back-off is worth.
    pub back_off: f32,
}

impl Default for Markov {
    fn default() -> Self {
        Self { back_off: 1.0 }
    }
}

impl Predictor for Markov {
    fn new_scratch(&self) -> Scratch {
        Scratch::none()
    }

    fn score(&self, context: &Context<'_>, _scratch: &mut Scratch, scores: &mut [f32]) {
        each_candidate(context, scores, |app| {
            let (count, total) = context.transitions_to(app);
            ((count + self.back_off * launch_share(context, app)) / (total + self.back_off)).ln()
        });
    }
}

/// Share of `app` among this user's launches, never quite zero.
fn launch_share(context: &Context<'_>, app: AppId) -> f32 {
    let launches = context.app_use(app).map_or(0, |used| used.launches());
    (launches as f32 + 0.1) / (context.launches() as f32 + 0.1 * context.candidates().len() as f32)
}

fn each_candidate(context: &Context<'_>, scores: &mut [f32], logit: impl Fn(AppId) -> f32) {
    for (score, &app) in scores.iter_mut().zip(context.candidates()) {
        *score = logit(app);
    }
}
