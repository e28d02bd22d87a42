//! A bundle as it comes: each person lives through the whole log with it, and nothing but that person's own past is added.

use std::sync::Arc;

use serde::Serialize;

use super::metrics::{Metrics, Outcome};
use super::replay::{Protocol, TestResult};
use super::routing::{STRETCHES, judge};
use crate::context::questions;
use crate::data::{Event, Split};
use crate::error::Result;
use crate::parallel::largest_first;
use crate::predict::Predictor as _;
use crate::progress::{Progress, Silent};
use crate::router::{Answer, LearnSettings, Nights, Person, Router, SuggestionSettings};

/// Figures over the questions of one day after a user's first event, or of one stretch of days.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearningPoint {
    /// Days since the user's first event: 0 is the first day. Of a stretch, its end in words.
    pub day: LearningTime,
    /// Questions in it.
    pub questions: usize,
    /// Hit rate at one.
    pub hr1: f64,
    /// Hit rate at three.
    pub hr3: f64,
    /// Mean log loss, in nats.
    pub log_loss: f64,
}

/// When a [`LearningPoint`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LearningTime {
    /// So many whole days after the first event.
    Day(u32),
    /// From the end of the stretch before it until then.
    Until(&'static str),
}

/// How figures change as users become known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LearningCurve {
    /// By day since each user's first event; days without questions are left out.
    pub days: Vec<LearningPoint>,
    /// From the first hour to the fourth week, and after it; stretches without questions are left out.
    #[serde(skip)]
    pub stretches: Vec<LearningPoint>,
}

impl LearningCurve {
    /// Of these questions.
    pub fn of(outcomes: &[Outcome]) -> Self {
        Self { days: by_day(outcomes), stretches: by_stretch(outcomes) }
    }
}

/// Has `router` answer the test questions of `protocol` as on a phone: each user is a [`Person`] from the first event on,
/// whose personalization learns. With `nightly`, trees of the person's own past are grown each night, too ([`Person::learn`]);
/// otherwise nothing else learns.
///
/// # Errors
/// Settings that cannot be learned by.
pub fn test_as_shipped(
    name: &str,
    router: &Router,
    nightly: Option<&LearnSettings>,
    protocol: &Protocol<'_>,
    progress: &dyn Progress,
) -> Result<TestResult> {
    progress.start(&format!("living with {name}"), protocol.users.len() as u64);
    let live = |user: usize, (events, split): &(&[Event], Split)| -> Result<Vec<Outcome>> {
        let favourites = Arc::clone(&protocol.favourites);
        let mut person = Person::new(favourites, SuggestionSettings::default(), user as u64)?;
        let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
        if let Some(settings) = nightly {
            person.keep_events(settings.events);
        }
        let (mut lived, mut outcomes) = (0, Vec::new());
        let mut nights = Nights::default();
        for (number, question) in questions(protocol.task, events).iter().enumerate().take(split.test.end) {
            for event in &events[lived..=question.asked_at] {
                if let Some(settings) = nightly
                    && nights.passed_before(event)
                {
                    person.learn(router, protocol.task, settings, &Silent)?;
                }
                person.observe(event);
            }
            lived = question.asked_at + 1;
            let at = events[question.asked_at].at;
            let context = person.history().context_at(at, protocol.task);
            let asked = Outcome::asked(protocol, user, question, &context);
            person.ask(router, protocol.task, at, &mut scratch, &mut answer);
            if split.test.contains(&number) {
                outcomes.push(judge(asked, protocol.truth_of(user, question), &answer));
            }
        }
        progress.advance(1);
        Ok(outcomes)
    };
    let lived: Result<Vec<Vec<Outcome>>> =
        largest_first(&protocol.users, |(events, _)| events.len(), live).into_iter().collect();
    progress.finish();
    // No question validates: no threshold is chosen.
    Ok(TestResult { name: name.to_owned(), temperature: 1.0, threshold90: 2.0, test: lived?.concat() })
}

fn by_day(outcomes: &[Outcome]) -> Vec<LearningPoint> {
    let day = |outcome: &Outcome| u32::try_from(outcome.since_start_secs / 86_400).unwrap_or(0);
    let days = outcomes.iter().map(day).max().map_or(0..0, |last| 0..last + 1);
    days.filter_map(|wanted| point(LearningTime::Day(wanted), outcomes, |outcome| day(outcome) == wanted))
        .collect()
}

fn by_stretch(outcomes: &[Outcome]) -> Vec<LearningPoint> {
    let ends = STRETCHES.into_iter().chain([("later", i64::MAX)]);
    let starts = [i64::MIN].into_iter().chain(STRETCHES.map(|(_, end)| end));
    let stretches = starts.zip(ends).map(|(from, (until, end))| {
        point(LearningTime::Until(until), outcomes, |outcome| (from..end).contains(&outcome.since_start_secs))
    });
    stretches.flatten().collect()
}

fn point(day: LearningTime, outcomes: &[Outcome], is_in: impl Fn(&Outcome) -> bool) -> Option<LearningPoint> {
    let part: Vec<Outcome> = outcomes.iter().filter(|outcome| is_in(outcome)).copied().collect();
    let Metrics { questions, hr1, hr3, log_loss, .. } = Metrics::of(&part);
    (questions > 0).then_some(LearningPoint { day, questions, hr1, hr3, log_loss })
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::outcome;
    use super::*;

    #[test]
    fn questions_are_sorted_by_the_age_of_the_log() {
        let at = |since_start_secs: i64, rank: u32| Outcome { since_start_secs, ..outcome(Some(rank), 0.5) };
        let outcomes =
            [at(0, 0), at(3_599, 2), at(3_600, 9), at(86_399, 0), at(86_400, 0), at(40 * 86_400, 3)];
        let days: Vec<_> =
            by_day(&outcomes).iter().map(|at| (at.day, at.questions, at.hr1, at.hr3)).collect();
        assert_eq!(
            days,
            [
                (LearningTime::Day(0), 4, 0.5, 0.75),
                (LearningTime::Day(1), 1, 1.0, 1.0),
                (LearningTime::Day(40), 1, 0.0, 0.0)
            ]
        );
        let stretches: Vec<_> = by_stretch(&outcomes).iter().map(|at| (at.day, at.questions)).collect();
        let until = LearningTime::Until;
        assert_eq!(
            stretches,
            [
                (until("1 hour"), 2),
                (until("6 hours"), 1),
                (until("1 day"), 1),
                (until("3 days"), 1),
                (until("later"), 1)
            ]
        );
        assert_eq!((by_day(&[]), by_stretch(&[])), (Vec::new(), Vec::new()));
    }
}
