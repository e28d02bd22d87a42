//! The protocol: each user's log is replayed, and each question is asked with everything before it known.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::expected::Expected;
use super::metrics::{Outcome, choose_threshold};
use crate::context::{Context, Question, Task, TrainingView, replay};
use crate::data::simulate::{TrueDistribution, Truth};
use crate::data::{AppId, Event, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::parallel::largest_first;
use crate::predict::{Predictor, Probabilities, Scratch, first, log_sum_exp, rank_of};
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
    /// The questions that a view leaves to validate on, and nothing to test on: what temperatures, thresholds and routers
    /// are fitted on.
    pub(super) fn of_view(view: &TrainingView<'a>) -> Self {
        let users = view.people().iter().map(|person| {
            let (train, validation) = (person.train(), person.validation());
            let end = train.end.max(validation.end);
            (person.events(), Split { train, validation, test: end..end })
        });
        Self {
            task: view.task(),
            favourites: Arc::clone(view.favourites()),
            users: users.collect(),
            truth: None,
            run: 0,
        }
    }

    /// What the answer to a question of `user` was drawn from, where that is known.
    pub(super) fn truth_of(&self, user: usize, question: &Question) -> Option<TrueDistribution<'a>> {
        let truth = self.truth.filter(|_| self.task == Task::FirstAfterUnlock)?;
        let asked = &self.users[user].0[question.asked_at];
        truth.first_after_unlock(asked.user, asked.at)
    }
}

/// A predictor that takes part.
#[derive(Clone, Copy)]
pub struct TestedPredictor<'a> {
    /// Its name in tables and reports.
    pub name: &'a str,
    /// The predictor that is tested.
    pub predictor: &'a dyn Predictor,
    /// The same, ignorant of the validation questions: temperature and thresholds are chosen with it.
    pub for_validation: &'a dyn Predictor,
}

/// One predictor's test.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// What its logits are divided by, fitted on the validation questions.
    pub temperature: f64,
    /// The threshold of 90 % precision, chosen on the validation questions.
    pub threshold90: f32,
    /// The test questions.
    pub test: Vec<Outcome>,
}

impl TestResult {
    /// Adds the test questions of a later round; temperature and threshold become the later round's.
    pub fn append(&mut self, later: TestResult) {
        let earlier = std::mem::replace(self, later);
        self.test.splice(0..0, earlier.test);
        // A user's questions together, in time order.
        self.test.sort_by_key(|outcome| outcome.user);
    }
}

/// Tests one predictor: temperature and threshold are fitted on the validation questions of `view`, then the test
/// questions of `protocol` are asked.
///
/// # Errors
/// The predictor panicked, gave a score that is not finite, or left one out: the error names it, the user and the
/// question.
pub fn test_predictor(
    view: &TrainingView<'_>,
    protocol: &Protocol<'_>,
    model: &TestedPredictor<'_>,
    progress: &dyn Progress,
) -> Result<TestResult> {
    let tested = catch_panic(|| {
        progress
            .start(&format!("scoring {}", model.name), (view.people().len() + protocol.users.len()) as u64);
        let validation = score_validation(view, model.for_validation, usize::MAX, progress)?;
        let temperature = best_temperature(model.for_validation, &validation);
        let known: Vec<Outcome> = validation
            .iter()
            .flatten()
            .map(|scored| scored.outcome(&scored.probabilities(temperature)))
            .collect();
        let threshold90 = choose_threshold(&known, 0.9);
        let judge = |scored: Scored, context: &Context<'_>, truth: Option<TrueDistribution<'_>>| {
            let probabilities = scored.probabilities(temperature);
            let expected =
                truth.map(|truth| Expected::of_scores(&truth, context, &scored.scores, &probabilities));
            let outcome = scored.outcome(&probabilities);
            Outcome { answered90: outcome.confidence >= threshold90, expected, ..outcome }
        };
        let test = score_questions(protocol, model.predictor, |split| split.test.clone(), judge, progress)?;
        Ok(TestResult { name: model.name.to_owned(), temperature, threshold90, test: test.concat() })
    });
    progress.finish();
    tested.map_err(|error| error.of(format_args!("`{}`", model.name)))
}

/// What `act` gives; a panic becomes an error with its message.
pub(crate) fn catch_panic<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    // Whatever a panic left half done belongs to this predictor alone and is dropped with it.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Err(Error::new(ErrorKind::Model, format!("it panicked: {message}"))
            .next_step("mend the predictor; foretap::conformance::check shows what is promised"))
    })
}

/// A question as a predictor scored it, before its temperature is known.
struct Scored {
    /// All but the probabilities.
    outcome: Outcome,
    scores: Vec<f32>,
    /// The score of who ranks first.
    first: Option<f32>,
    /// The score of the answer, where it is a candidate.
    answer: Option<f32>,
    none_of_these: f64,
}

impl Scored {
    fn new(asked: Outcome, context: &Context<'_>, scores: Vec<f32>, none_of_these: f64) -> Self {
        let first = first(context, &scores);
        let answer = context.candidates().iter().position(|&app| app == asked.answer);
        let outcome = Outcome {
            first: first.map(|first| context.candidates()[first]),
            rank: rank_of(context, &scores, asked.answer).map(|rank| rank as u32),
            ..asked
        };
        let (first, answer) = (first.map(|at| scores[at]), answer.map(|at| scores[at]));
        Self { outcome, scores, first, answer, none_of_these }
    }

    fn probabilities(&self, temperature: f64) -> Probabilities {
        Probabilities::new(&self.scores, temperature, self.none_of_these)
    }

    fn outcome(&self, probabilities: &Probabilities) -> Outcome {
        let of_answer = self.answer.map_or(probabilities.none_of_these, |score| probabilities.of(score));
        Outcome {
            confidence: self.first.map_or(0.0, |score| probabilities.of(score)) as f32,
            probability: of_answer as f32,
            ..self.outcome
        }
    }
}

/// Has `predictor` score a `part` of each user's questions: what `keep` makes of each, by user, in order.
fn score_questions<'a, T: Send>(
    protocol: &Protocol<'a>,
    predictor: &dyn Predictor,
    part: impl Fn(&Split) -> Range<usize> + Sync,
    keep: impl Fn(Scored, &Context<'_>, Option<TrueDistribution<'a>>) -> T + Sync,
    progress: &dyn Progress,
) -> Result<Vec<Vec<T>>> {
    let of_user = |user: usize, (events, split): &(&[Event], Split)| {
        let numbers = part(split);
        let (mut scratch, mut found, mut outcome) = (predictor.new_scratch(), Vec::new(), Ok(()));
        replay(events, protocol.task, &protocol.favourites, numbers.end, |number, question, context| {
            if numbers.contains(&number) && outcome.is_ok() {
                let none = predictor.none_of_these(context);
                outcome = score(predictor, context, &mut scratch)
                    .and_then(|scores| {
                        is_probability(none, "of none of the candidates")?;
                        let asked = Outcome::asked(protocol, user, question, context);
                        let scored = Scored::new(asked, context, scores, none);
                        found.push(keep(scored, context, protocol.truth_of(user, question)));
                        Ok(())
                    })
                    .map_err(|error| error.of(format_args!("question {} of user {}", number + 1, user + 1)));
            }
        });
        progress.advance(1);
        outcome.map(|()| found)
    };
    largest_first(&protocol.users, |(events, _)| events.len(), of_user).into_iter().collect()
}

/// Has `predictor` score the last validation questions of each person, `most` at most.
fn score_validation(
    view: &TrainingView<'_>,
    predictor: &dyn Predictor,
    most: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<Scored>>> {
    let last = |split: &Split| {
        let Range { start, end } = split.validation;
        end.saturating_sub(most).max(start)..end
    };
    score_questions(&Protocol::of_view(view), predictor, last, |scored, _, _| scored, progress)
}

/// Has `predictor` score the candidates, and believes none of it.
fn score(predictor: &dyn Predictor, context: &Context<'_>, scratch: &mut Scratch) -> Result<Vec<f32>> {
    // A score that is not written stays what it is.
    let mut scores = vec![f32::NAN; context.candidates().len()];
    predictor.score(context, scratch, &mut scores);
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(candidate) => {
            let (score, count) = (scores[candidate], scores.len());
            let message = format!("a score of {score} for candidate {} of {count}", candidate + 1);
            Err(Error::new(ErrorKind::Model, message)
                .next_step("write one finite logit for every candidate of the context"))
        }
    }
}

fn is_probability(value: f64, what: &str) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Model, format!("a probability {what} of {value}")).next_step("give 0 to 1"))
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
            since_start_secs: asked.at.secs_since(protocol.users[user].0[0].at),
            launches_before: context.launches(),
            answer: question.answer,
            first: None,
            rank: None,
            confidence: 0.0,
            probability: 0.0,
            answered90: false,
            memory: protocol.truth_of(user, question).map(|truth| truth.memory),
            is_resumed: context.last_app() == Some(question.answer),
            is_after_pause: context.unused_secs().is_some_and(|secs| secs >= PAUSE_SECS),
            expected: None,
        }
    }
}

/// Whoever leaves the phone so long has paused: what was in front before says less then.
// Source: by hand.
const PAUSE_SECS: i64 = 3_600;

/// Most validation questions a user that the temperature is fitted on: enough for one number.
const TEMPERATURE_QUESTIONS: usize = 400;

/// The one number that the logits are divided by so that the validation questions' log loss is least; 1 without any, and of
/// a predictor whose probabilities are final.
///
/// # Errors
/// A score is not finite, or missing.
pub fn fit_temperature(
    view: &TrainingView<'_>,
    predictor: &dyn Predictor,
    progress: &dyn Progress,
) -> Result<f64> {
    if predictor.is_calibrated() {
        return Ok(1.0);
    }
    Ok(best_temperature(predictor, &score_validation(view, predictor, TEMPERATURE_QUESTIONS, progress)?))
}

/// The same of validation questions that were scored, by person.
fn best_temperature(predictor: &dyn Predictor, validation: &[Vec<Scored>]) -> f64 {
    let last = |of_person: &'_ [Scored]| of_person.len().saturating_sub(TEMPERATURE_QUESTIONS);
    let questions: Vec<(&[f32], f32)> = validation
        .iter()
        .flat_map(|of_person| &of_person[last(of_person)..])
        .filter_map(|scored| Some((scored.scores.as_slice(), scored.answer?)))
        .collect();
    if questions.is_empty() || predictor.is_calibrated() {
        return 1.0;
    }
    let loss = |ln_temperature: f64| {
        let temperature = ln_temperature.exp();
        let losses: Vec<f64> = questions
            .par_iter()
            .map(|&(scores, answer)| log_sum_exp(scores, temperature) - f64::from(answer) / temperature)
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
    use crate::baseline::MostRecent;
    use crate::data::{Signal, Timestamp, UserId, Vocabulary};
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
        let model = TestedPredictor { name: "recent", predictor: &MostRecent, for_validation: &MostRecent };
        let vocabulary = Vocabulary::new();
        let view = TrainingView::new(Task::FirstAfterUnlock, &vocabulary, []);
        let outcomes = test_predictor(&view, &protocol, &model, &Silent).unwrap().test;
        // Before the first, no app was in front.
        let resumed: Vec<bool> = outcomes.iter().map(|outcome| outcome.is_resumed).collect();
        assert_eq!(resumed, [false, true, false]);
        assert!(outcomes.iter().all(|outcome| outcome.expected.is_none()));
    }
}
