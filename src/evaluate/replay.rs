//! The protocol: each user's log is replayed, and each question is asked with everything before it known.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use super::expected::Expected;
use super::metrics::{Outcome, choose_threshold};
use crate::context::{Context, Question, Task, features, replay};
use crate::data::simulate::{TrueDistribution, Truth};
use crate::data::{AppId, Event, Split};
use crate::gbdt::{Forest, ForestScratch};
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

impl<'a> Protocol<'a> {
    /// What the answer to a question of `user` was drawn from, where that is known.
    pub(super) fn truth_of(&self, user: usize, question: &Question) -> Option<TrueDistribution<'a>> {
        let truth = self.truth.filter(|_| self.task == Task::FirstAfterUnlock)?;
        let asked = &self.users[user].0[question.asked_at];
        truth.first_after_unlock(asked.user, asked.at)
    }
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
                let truth = protocol.truth_of(user, question);
                found.push(answered(asked, context, &scores, &probabilities, truth));
            }
        });
        progress.advance(1);
        found
    };
    let by_user: Vec<Vec<Outcome>> = protocol.users.par_iter().enumerate().map(of_user).collect();
    by_user.concat()
}

fn answered(
    asked: Outcome,
    context: &Context<'_>,
    scores: &[f32],
    probabilities: &Probabilities,
    truth: Option<TrueDistribution<'_>>,
) -> Outcome {
    let first = first(context, scores);
    let answer = context.candidates().iter().position(|&app| app == asked.answer);
    Outcome {
        first: first.map(|first| context.candidates()[first]),
        rank: rank_of(context, scores, asked.answer).map(|rank| rank as u32),
        confidence: first.map_or(0.0, |first| probabilities.of(scores[first])) as f32,
        probability: answer.map_or(probabilities.none_of_these, |answer| probabilities.of(scores[answer]))
            as f32,
        expected: truth.map(|truth| Expected::of_scores(&truth, context, scores, probabilities)),
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
            memory: protocol.truth_of(user, question).map(|truth| truth.memory),
            is_resumed: context.last_app() == Some(question.answer),
            expected: None,
        }
    }
}

/// Most validation questions a user that the temperature is fitted on: enough for one number.
const TEMPERATURE_QUESTIONS: usize = 400;

/// The one number that the logits are divided by so that the validation questions' log loss is least; 1 of a predictor whose
/// probabilities are final.
pub fn fit_temperature(protocol: &Protocol<'_>, predictor: &dyn Predictor, progress: &dyn Progress) -> f64 {
    if predictor.is_calibrated() {
        return 1.0;
    }
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

/// Times a question, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred are faster.
    pub p99: f64,
    /// 999 of a thousand are faster.
    pub p999: f64,
}

impl Latency {
    fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let at = |share: f64| {
            let index = ((nanos.len() as f64 * share) as usize).min(nanos.len().saturating_sub(1));
            nanos.get(index).map_or(0.0, |&n| n as f64 / 1_000.0)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// Questions timed: enough for a 99th percentile.
const TIMED_QUESTIONS: usize = 3_000;

/// Times of a question, part by part.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies {
    /// Computing the features of all candidates.
    pub features: Latency,
    /// Walking the trees over them.
    pub scoring: Latency,
    /// Each contender's whole answer, its features included, in the order given.
    pub whole: Vec<Latency>,
}

/// Times the test questions on one thread: the features, the trees of `forest` over them, then each contender in
/// turn.
pub fn measure_latency(protocol: &Protocol<'_>, forest: &Forest, contenders: &[Contender<'_>]) -> Latencies {
    let (mut matrix, mut scores, mut forest_scratch) = (Vec::new(), Vec::new(), ForestScratch::default());
    let mut logits = Vec::new();
    let (mut features_nanos, mut scoring_nanos) = (Vec::new(), Vec::new());
    let mut nanos = vec![Vec::new(); contenders.len()];
    let mut scratches: Vec<_> =
        contenders.iter().map(|contender| contender.predictor.new_scratch()).collect();
    for (events, split) in &protocol.users {
        if features_nanos.len() >= TIMED_QUESTIONS {
            break;
        }
        replay(events, protocol.task, &protocol.favourites, split.test.end, |number, _, context| {
            if !split.test.contains(&number) {
                return;
            }
            scores.clear();
            scores.resize(context.candidates().len(), 0.0);
            logits.resize(scores.len(), 0.0);
            features_nanos.push(nanos_of(|| features::fill(context, &mut matrix)));
            scoring_nanos.push(nanos_of(|| forest.score(&matrix, &mut forest_scratch, &mut logits)));
            for ((contender, scratch), nanos) in contenders.iter().zip(&mut scratches).zip(&mut nanos) {
                nanos.push(nanos_of(|| contender.predictor.score(context, scratch, &mut scores)));
            }
        });
    }
    Latencies {
        features: Latency::of(features_nanos),
        scoring: Latency::of(scoring_nanos),
        whole: nanos.into_iter().map(Latency::of).collect(),
    }
}

fn nanos_of(act: impl FnOnce()) -> u64 {
    let start = Instant::now();
    act();
    start.elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::MostRecent;
    use crate::data::{Signal, Timestamp, UserId};
    use crate::progress::Silent;

    #[test]
    fn golden_section_finds_the_valley() {
        assert!((golden_section(|x| (x - 1.3).powi(2), -3.0, 3.0) - 1.3).abs() < 1e-3);
    }

    #[test]
    fn an_answer_is_resumed_if_it_was_last_in_front() {
        let launch = |app| Signal::Launch(AppId(app));
        let signals = [
            (0, Signal::Unlock),
            (1, launch(5)),
            (2, launch(6)),
            (3, Signal::ScreenOff),
            (10, Signal::Unlock),
            (11, launch(6)),
            (12, Signal::ScreenOff),
            (20, Signal::Unlock),
            (21, launch(5)),
            (22, Signal::ScreenOff),
        ];
        let events: Vec<Event> =
            signals.into_iter().map(|(at, signal)| Event::new(UserId(1), Timestamp(at), signal)).collect();
        let split = Split { train: 0..0, validation: 0..0, test: 0..3 };
        let (favourites, users) = (Vec::new().into(), vec![(&events[..], split)]);
        let protocol = Protocol { task: Task::FirstAfterUnlock, favourites, users, truth: None, run: 0 };
        let contender = Contender { name: "recent", predictor: &MostRecent, for_validation: &MostRecent };
        let outcomes = test(&protocol, &contender, &Silent).test;
        // Before the first, no app was in front.
        let resumed: Vec<bool> = outcomes.iter().map(|outcome| outcome.is_resumed).collect();
        assert_eq!(resumed, [false, true, false]);
        assert!(outcomes.iter().all(|outcome| outcome.expected.is_none()));
    }

    #[test]
    fn percentiles_by_hand() {
        let latency = Latency::of((1..=1_000).map(|n| n * 1_000).collect());
        assert_eq!((latency.p50, latency.p99, latency.p999), (501.0, 991.0, 1_000.0));
        assert_eq!(Latency::of(vec![]), Latency::default());
    }
}
