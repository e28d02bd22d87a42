//! The protocol: each user's log is replayed, and each question is asked with everything before it known.

use std::sync::Arc;

use rayon::prelude::*;

use super::metrics::{Outcome, choose_threshold};
use crate::context::{Context, Question, Task, replay};
use crate::data::simulate::Truth;
use crate::data::{AppId, Event, Split};
use crate::predict::{Predictor, Probabilities, first, log_sum_exp, rank_of};
use crate::progress::Progress;

/// What is asked, of whom, and which questions count.
#[derive(Debug, Clone)]
pub struct Protocol<'a> {
    /// The task.
    pub task: Task,
    /// Candidates for a user without a history.
    pub favourites: Arc<[AppId]>,
    /// Each user's events, in time order, with the numbers of the questions to validate and test on.
    pub users: Vec<(&'a [Event], Split)>,
    /// What simulated people's answers were drawn from.
    pub truth: Option<&'a Truth>,
    /// Which training of several is tested, counted from 0.
    pub run: u32,
}

/// A predictor that takes part.
#[derive(Clone, Copy)]
pub struct Contender<'a> {
    /// Its name in tables and reports.
    pub name: &'a str,
    /// The predictor that is tested.
    pub predictor: &'a dyn Predictor,
    /// The same, ignorant of the validation questions: temperature and thresholds are chosen with it.
    pub for_validation: &'a dyn Predictor,
}

/// One contender's test.
#[derive(Debug, Clone)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// What its logits are divided by, fitted on the validation questions.
    pub temperature: f64,
    /// The threshold of 90 % precision, chosen on the validation questions.
    pub threshold90: f32,
    /// The test questions.
    pub test: Vec<Outcome>,
}

impl Tested {
    /// Adds the test questions of a later round; temperature and threshold become the later round's.
    pub fn append(&mut self, later: Tested) {
        let earlier = std::mem::replace(self, later);
        self.test.splice(0..0, earlier.test);
        // A user's questions together, in time order.
        self.test.sort_by_key(|outcome| outcome.user);
    }
}

/// Tests one contender.
pub fn test(protocol: &Protocol<'_>, contender: &Contender<'_>, progress: &dyn Progress) -> Tested {
    let users = &protocol.users;
    progress.start(&format!("scoring {}", contender.name), 3 * users.len() as u64);
    let temperature = fit_temperature(protocol, contender.for_validation, progress);
    let validation =
        outcomes(protocol, contender.for_validation, temperature, |split| split.validation.clone(), progress);
    let threshold90 = choose_threshold(&validation, 0.9);
    let mut test = outcomes(protocol, contender.predictor, temperature, |split| split.test.clone(), progress);
    test.iter_mut().for_each(|outcome| outcome.answered90 = outcome.confidence >= threshold90);
    progress.finish();
    Tested { name: contender.name.to_owned(), temperature, threshold90, test }
}

fn outcomes(
    protocol: &Protocol<'_>,
    predictor: &dyn Predictor,
    temperature: f64,
    part: impl Fn(&Split) -> std::ops::Range<usize> + Sync,
    progress: &dyn Progress,
) -> Vec<Outcome> {
    let of_user = |(user, (events, split)): (usize, &(&[Event], Split))| {
        let numbers = part(split);
        let (mut scratch, mut scores, mut found) = (predictor.new_scratch(), Vec::new(), Vec::new());
        replay(events, protocol.task, &protocol.favourites, numbers.end, |number, question, context| {
            if numbers.contains(&number) {
                scores.clear();
                scores.resize(context.candidates().len(), 0.0);
                predictor.score(context, &mut scratch, &mut scores);
                let probabilities =
                    Probabilities::new(&scores, temperature, predictor.none_of_these(context));
                let asked = Outcome::asked(protocol, user, question, context);
                found.push(answered(asked, context, &scores, &probabilities));
            }
        });
        progress.advance(1);
        found
    };
    let by_user: Vec<Vec<Outcome>> = protocol.users.par_iter().enumerate().map(of_user).collect();
    by_user.concat()
}

fn answered(asked: Outcome, context: &Context<'_>, scores: &[f32], probabilities: &Probabilities) -> Outcome {
    let first = first(context, scores);
    let answer = context.candidates().iter().position(|&app| app == asked.answer);
    Outcome {
        first: first.map(|first| context.candidates()[first]),
        rank: rank_of(context, scores, asked.answer).map(|rank| rank as u32),
        confidence: first.map_or(0.0, |first| probabilities.of(scores[first])) as f32,
        probability: answer.map_or(probabilities.none_of_these, |answer| probabilities.of(scores[answer]))
            as f32,
        ..asked
    }
}

impl Outcome {
    /// What is known of a question of the protocol's `user` before anyone answers.
    pub(super) fn asked(
        protocol: &Protocol<'_>,
        user: usize,
        question: &Question,
        context: &Context<'_>,
    ) -> Self {
        let asked = &protocol.users[user].0[question.asked_at];
        let truth = protocol.truth.and_then(|truth| truth.first_after_unlock(asked.user, asked.at));
        Self {
            run: protocol.run,
            user: user as u32,
            day: (asked.at.0.saturating_add(i64::from(asked.utc_offset_secs)).div_euclid(86_400)) as i32,
            hour: context.hour() as u8,
            launches_before: context.launches(),
            answer: question.answer,
            first: None,
            rank: None,
            confidence: 0.0,
            probability: 0.0,
            answered90: false,
            memory: truth.map(|truth| truth.memory),
        }
    }
}

/// Most validation questions a user that the temperature is fitted on: enough for one number.
const TEMPERATURE_QUESTIONS: usize = 400;

/// The one number that the logits are divided by so that the validation questions' log loss is least.
pub fn fit_temperature(protocol: &Protocol<'_>, predictor: &dyn Predictor, progress: &dyn Progress) -> f64 {
    // Scores of each question and the position of its answer.
    let of_user = |(events, split): &(&[Event], Split)| {
        let numbers = split.validation.clone();
        let numbers = numbers.end.saturating_sub(TEMPERATURE_QUESTIONS).max(numbers.start)..numbers.end;
        let (mut scratch, mut found) = (predictor.new_scratch(), Vec::new());
        replay(events, protocol.task, &protocol.favourites, numbers.end, |number, question, context| {
            let answer = context.candidates().iter().position(|&app| app == question.answer);
            if let Some(answer) = answer.filter(|_| numbers.contains(&number)) {
                let mut scores = vec![0.0; context.candidates().len()];
                predictor.score(context, &mut scratch, &mut scores);
                found.push((scores, answer));
            }
        });
        progress.advance(1);
        found
    };
    let questions: Vec<(Vec<f32>, usize)> =
        protocol.users.par_iter().map(of_user).collect::<Vec<_>>().concat();
    if questions.is_empty() {
        return 1.0;
    }
    let loss = |ln_temperature: f64| {
        let temperature = ln_temperature.exp();
        let losses: Vec<f64> = questions
            .par_iter()
            .map(|(scores, answer)| {
                log_sum_exp(scores, temperature) - f64::from(scores[*answer]) / temperature
            })
            .collect();
        losses.iter().sum::<f64>()
    };
    golden_section(loss, (0.05_f64).ln(), (20.0_f64).ln()).exp()
}

/// Where a function of one valley is lowest.
fn golden_section(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    while high - low > 1e-3 {
        if fa < fb {
            (high, b, fb) = (b, a, fa);
            a = high - ratio * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + ratio * (high - low);
            fb = f(b);
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_section_finds_the_valley() {
        assert!((golden_section(|x| (x - 1.3).powi(2), -3.0, 3.0) - 1.3).abs() < 1e-3);
    }
}
