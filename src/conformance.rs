//! What [`Predictor`] promises, as a suite that anybody can run on their own.
//!
//! A predictor scores every candidate with a finite number, the same every time, on every thread and under any scratch;
//! indifferent to the order of the candidates and to whatever comes after the question; and without a panic when there is
//! no history, one candidate, two thousand, an app never seen, or a clock that was set back.
//!
//! ```
//! # fn main() -> foretap::Result<()> {
//! foretap::conformance::check("most recent", &foretap::baseline::MostRecent)?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::context::{Context, History, Task, questions, replay};
use crate::data::simulate::{SimulationConfig, simulate};
use crate::data::{AppId, Event, Log, Signal, Timestamp, UserId};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::catch_panic;
use crate::predict::{Prediction, Predictor, Scratch};
use crate::progress::Silent;

const TASKS: [Task; 2] = [Task::FirstAfterUnlock, Task::NextLaunch];

/// A predictor, and the same after export and reload where it can be exported.
#[derive(Clone, Copy)]
pub struct CheckedPredictor<'a> {
    /// Its name in errors.
    pub name: &'a str,
    /// The predictor.
    pub predictor: &'a dyn Predictor,
    /// The same from a file: it must answer to the bit.
    pub reloaded: Option<&'a dyn Predictor>,
}

/// Of every 29 questions of the log one is asked; fewer show nothing.
const FEWEST_QUESTIONS: usize = 20;

/// Checks one predictor on a few simulated people.
///
/// # Errors
/// [`ErrorKind::Model`], naming the predictor, the moment and the promise that it broke.
pub fn check(name: &str, predictor: &dyn Predictor) -> Result<()> {
    let people = simulate(&SimulationConfig { people: 4, days: 6, ..SimulationConfig::default() }, &Silent)?;
    check_all(&[CheckedPredictor { name, predictor, reloaded: None }], &people.log)
}

/// Checks predictors on the questions of `log`, on every odd question that a phone may come up with, and with scratches that
/// have served the others.
///
/// # Errors
/// As [`check`].
pub fn check_all(predictors: &[CheckedPredictor<'_>], log: &Log) -> Result<()> {
    let moments = moments(log);
    let asked = moments.iter().filter(|moment| moment.label.starts_with("question")).count();
    if asked < FEWEST_QUESTIONS {
        let message = format!("{asked} questions are too few to check a predictor on");
        return Err(Error::new(ErrorKind::Data, message).next_step("give a longer log, or call `check`"));
    }
    for checked in predictors {
        catch_panic(|| {
            for moment in &moments {
                scores_are_sound(checked, moment)?;
                order_of_candidates_does_not_matter(checked, moment)?;
                if let Some(reloaded) = checked.reloaded {
                    let (context, expected) = (moment.context(), moment.bits(checked.predictor));
                    keeps(bits(reloaded, &context) == expected, || {
                        format!("{}: another answer after export and reload", moment.label)
                    })?;
                }
            }
            any_scratch_serves(checked, predictors, &moments)?;
            threads_agree(checked, &moments)?;
            later_events_do_not_matter(checked, log)
        })
        .map_err(|error| error.of(format_args!("`{}`", checked.name)))?;
    }
    Ok(())
}

/// An error where a promise is not kept.
fn keeps(promise: bool, broken: impl FnOnce() -> String) -> Result<()> {
    if promise {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Model, broken()).next_step("read what foretap::predict::Predictor promises"))
}

// What is asked.

/// A question to ask: a history at a moment, its own candidates or others.
struct Moment {
    label: String,
    history: History,
    now: Timestamp,
    task: Task,
    candidates: Option<Vec<AppId>>,
}

impl Moment {
    fn bits(&self, predictor: &dyn Predictor) -> Vec<u32> {
        bits(predictor, &self.context())
    }

    fn context(&self) -> Context<'_> {
        let context = self.history.context_at(self.now, self.task);
        match &self.candidates {
            Some(candidates) => context.with_candidates(candidates),
            None => context,
        }
    }
}

/// Ordinary questions of the log, and every odd one that a phone may come up with.
fn moments(log: &Log) -> Vec<Moment> {
    let mut moments = Vec::new();
    for task in TASKS {
        for (user, events) in log.users().enumerate() {
            for question in questions(task, events).iter().step_by(29) {
                let asked = &events[..=question.asked_at];
                let label = format!("question {} of user {user}, {task}", question.asked_at);
                let history = folded(asked, &Arc::default());
                let now = events[question.asked_at].at;
                moments.push(Moment { label, history, now, task, candidates: None });
            }
        }
        moments.extend(odd_moments(task, log.users().next().unwrap_or_default()));
    }
    moments
}

fn odd_moments(task: Task, someone: &[Event]) -> Vec<Moment> {
    let some_apps: Arc<[AppId]> = (0..30).map(AppId).collect();
    let none: Arc<[AppId]> = Arc::default();
    let unseen = || Some(vec![AppId(u32::MAX), AppId(1_000_000)]);
    let many = || Some((0..2_000).map(AppId).collect());
    let notified = [event(0, Signal::Notification(AppId(5))), event(9, Signal::Unlock)];
    let stranger: Vec<Event> = someone.iter().map(|e| Event { user: UserId(77), ..*e }).collect();
    let last = someone.last().map_or(0, |event| event.at.0);
    let back = [event(10_000_000, Signal::Launch(AppId(1))), event(-5, Signal::Launch(AppId(2)))];
    #[rustfmt::skip]
    let cases: Vec<(&str, History, i64, Option<Vec<AppId>>)> = vec![
        ("no history, no candidates", folded(&[], &none), 0, None),
        ("no history", folded(&[], &some_apps), 0, None),
        ("no history, one candidate", folded(&[], &none), 0, Some(vec![AppId(3)])),
        ("no history, 2,000 candidates", folded(&[], &none), 0, many()),
        ("an unlock and nothing else", folded(&[event(0, Signal::Unlock)], &some_apps), 1, None),
        ("one launch", folded(&launches([4]), &none), 60, None),
        ("two launches", folded(&launches([4, 5]), &none), 120, None),
        ("an app that only notified", folded(&notified, &none), 9, Some(vec![AppId(5)])),
        ("a history, no candidates", folded(someone, &none), last, Some(Vec::new())),
        ("one candidate", folded(someone, &none), last, Some(vec![AppId(1)])),
        ("apps never seen", folded(someone, &none), last, unseen()),
        ("2,000 candidates, most never seen", folded(someone, &none), last, many()),
        ("2,000 apps opened", folded(&launches(0..2_000), &none), 120_000, None),
        ("a user without a truth", folded(&stranger, &none), last, None),
        ("a year later", folded(someone, &none), last + 31_536_000, None),
        ("a year earlier", folded(someone, &none), last - 31_536_000, None),
        ("the end of time", folded(someone, &none), i64::MAX, None),
        ("the beginning of time", folded(someone, &none), i64::MIN, None),
        ("a clock set back", folded(&back, &none), 0, None),
    ];
    let named = |(label, history, now, candidates): (&str, _, _, _)| Moment {
        label: format!("{label}, {task}"),
        history,
        now: Timestamp(now),
        task,
        candidates,
    };
    cases.into_iter().map(named).collect()
}

fn folded(events: &[Event], favourites: &Arc<[AppId]>) -> History {
    let mut history = History::new(Arc::clone(favourites));
    events.iter().for_each(|event| history.observe(event));
    history
}

/// An event of the one user that made-up logs have.
fn event(at_secs: i64, signal: Signal) -> Event {
    Event::new(UserId(1), Timestamp(at_secs), signal)
}

/// Launches of `apps`, a minute apart.
fn launches(apps: impl IntoIterator<Item = u32>) -> Vec<Event> {
    let minutes = (0..).map(|minute| 60 * minute);
    minutes.zip(apps).map(|(at_secs, app)| event(at_secs, Signal::Launch(AppId(app)))).collect()
}

// What is promised.

/// Scores as bits, under `scratch`. Whatever the slice held before is written over.
fn bits_with(predictor: &dyn Predictor, context: &Context<'_>, scratch: &mut Scratch) -> Vec<u32> {
    let mut scores = vec![f32::NAN; context.candidates().len()];
    predictor.score(context, scratch, &mut scores);
    scores.into_iter().map(f32::to_bits).collect()
}

fn bits(predictor: &dyn Predictor, context: &Context<'_>) -> Vec<u32> {
    bits_with(predictor, context, &mut predictor.new_scratch())
}

/// One finite score a candidate, the same every time, and probabilities that sum to one.
fn scores_are_sound(checked: &CheckedPredictor<'_>, moment: &Moment) -> Result<()> {
    let (context, at) = (moment.context(), &moment.label);
    let found = moment.bits(checked.predictor);
    keeps(found == moment.bits(checked.predictor), || format!("{at}: asked twice, answered differently"))?;
    let scores: Vec<f32> = found.into_iter().map(f32::from_bits).collect();
    let unsound = scores.iter().position(|score| !score.is_finite());
    keeps(unsound.is_none(), || {
        let candidate = unsound.unwrap_or_default();
        format!("{at}: a score of {} for candidate {} of {}", scores[candidate], candidate + 1, scores.len())
    })?;
    let none = checked.predictor.none_of_these(&context);
    keeps((0.0..=1.0).contains(&none), || {
        format!("{at}: a probability of none of the candidates of {none}")
    })?;
    let answer = Prediction::new(&context, &scores, 1.0);
    let total: f64 = answer.candidates.iter().map(|candidate| candidate.probability).sum();
    keeps((total + answer.none_of_these - 1.0).abs() < 1e-9, || {
        format!("{at}: probabilities sum to {}", total + answer.none_of_these)
    })?;
    keeps(answer.candidates.len() == context.candidates().len(), || format!("{at}: candidates are missing"))
}

fn order_of_candidates_does_not_matter(checked: &CheckedPredictor<'_>, moment: &Moment) -> Result<()> {
    let context = moment.context();
    let expected = moment.bits(checked.predictor);
    let mut order: Vec<usize> = (0..expected.len()).collect();
    for seed in 0..3 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (1..order.len()).rev().for_each(|last| order.swap(last, random.random_range(0..=last)));
        let shuffled: Vec<AppId> = order.iter().map(|&i| context.candidates()[i]).collect();
        let found = bits(checked.predictor, &context.with_candidates(&shuffled));
        let same = found.iter().eq(order.iter().map(|&i| &expected[i]));
        keeps(same, || format!("{}: the order of the candidates changes scores", moment.label))?;
    }
    Ok(())
}

/// A scratch that has served other questions, other predictors, or holds something else altogether.
fn any_scratch_serves(
    checked: &CheckedPredictor<'_>,
    others: &[CheckedPredictor<'_>],
    moments: &[Moment],
) -> Result<()> {
    let mut reused = checked.predictor.new_scratch();
    let mut passed_around = Scratch::new("not a predictor's".to_owned());
    for moment in moments.iter().chain(moments.iter().rev()) {
        let context = moment.context();
        let expected = moment.bits(checked.predictor);
        let serves = |scratch: &mut Scratch, whose: &str| {
            keeps(bits_with(checked.predictor, &context, scratch) == expected, || {
                format!("{}: another answer under a scratch that served {whose} before", moment.label)
            })
        };
        serves(&mut reused, "other questions")?;
        serves(&mut passed_around, "another predictor")?;
        for other in others {
            bits_with(other.predictor, &context, &mut passed_around);
            serves(&mut passed_around, other.name)?;
            serves(&mut other.predictor.new_scratch(), other.name)?;
        }
    }
    Ok(())
}

fn threads_agree(checked: &CheckedPredictor<'_>, moments: &[Moment]) -> Result<()> {
    let answers = || moments.iter().map(|moment| moment.bits(checked.predictor)).collect::<Vec<_>>();
    let (one, two) = rayon::join(answers, answers);
    keeps(one == two, || "two threads have two answers".to_owned())
}

/// Scores are the same where the log ends with the question and where it goes on, whichever way; and still the same
/// after the predictor has been asked all the later questions.
fn later_events_do_not_matter(checked: &CheckedPredictor<'_>, log: &Log) -> Result<()> {
    let favourites: Arc<[AppId]> = (0..20).map(AppId).collect();
    for (events, task) in log.users().take(2).zip(TASKS) {
        let asked: Vec<usize> = questions(task, events).iter().map(|question| question.asked_at).collect();
        for &asked_at in asked.iter().step_by(1 + asked.len() / 5) {
            let known = &events[..=asked_at];
            let history = folded(known, &favourites);
            let context = history.context_at(known[asked_at].at, task);
            let expected = bits(checked.predictor, &context);
            for (what, tail) in tails(events, asked_at) {
                let log = [known, &tail].concat();
                let mut scratch = checked.predictor.new_scratch();
                let mut found = None;
                replay(&log, task, &favourites, usize::MAX, |_, question, context| {
                    let scores = bits_with(checked.predictor, context, &mut scratch);
                    if question.asked_at == asked_at {
                        found = Some(scores);
                    }
                });
                let again = bits_with(checked.predictor, &context, &mut scratch);
                keeps(found.as_ref() == Some(&expected) && again == expected, || {
                    format!("question {asked_at}, {task}: another answer where the log goes on with {what}")
                })?;
            }
        }
    }
    Ok(())
}

/// How the log may go on after the event at `asked_at`.
fn tails(events: &[Event], asked_at: usize) -> Vec<(&'static str, Vec<Event>)> {
    let asked = events[asked_at];
    let rest = &events[asked_at + 1..];
    let unforeseen = Event { signal: Signal::Launch(AppId(40_000)), ..asked };
    let other_apps = rest.iter().map(|e| match e.signal {
        Signal::Launch(AppId(app)) => Event { signal: Signal::Launch(AppId(app + 7)), ..*e },
        Signal::Notification(app) => Event { signal: Signal::Close(app), ..*e },
        _ => *e,
    });
    let much_later = rest.iter().map(|e| Event { at: Timestamp(e.at.0 + 31_536_000), ..*e });
    vec![
        ("the log as it was", rest.to_vec()),
        ("one unforeseen launch", vec![unforeseen]),
        ("other apps", std::iter::once(unforeseen).chain(other_apps).collect()),
        ("a year later", std::iter::once(unforeseen).chain(much_later).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::MostRecent;

    /// A predictor with one fault.
    struct Faulty(fn(&Context<'_>, &mut Scratch, &mut [f32]));

    impl Predictor for Faulty {
        fn new_scratch(&self) -> Scratch {
            Scratch::none()
        }

        fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
            MostRecent.score(context, &mut MostRecent.new_scratch(), scores);
            (self.0)(context, scratch, scores);
        }
    }

    #[test]
    fn every_broken_promise_is_named() {
        type Fault = fn(&Context<'_>, &mut Scratch, &mut [f32]);
        let faults: [(&str, Fault); 6] = [
            ("a score of NaN for candidate", |_, _, scores| {
                if scores.len() > 20 {
                    scores[7] = f32::NAN;
                }
            }),
            ("a score of inf for candidate 1 of", |_, _, scores| {
                if let [first, _, ..] = scores {
                    *first = f32::INFINITY;
                }
            }),
            ("it panicked: index out of bounds", |_, _, scores| scores[0] = 1.0),
            ("the order of the candidates changes scores", |_, _, scores| {
                if let [first, ..] = scores {
                    *first += 0.5;
                }
            }),
            ("another answer under a scratch that served", |_, scratch, scores| {
                let seen: &mut u32 = scratch.buffers();
                *seen += 1;
                scores.iter_mut().for_each(|score| *score *= *seen as f32);
            }),
            ("it panicked: no such app", |context, _, _| {
                if context.candidates().contains(&AppId(u32::MAX)) {
                    panic!("no such app");
                }
            }),
        ];
        for (says, fault) in faults {
            let error = check("mine", &Faulty(fault)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Model);
            assert!(error.to_string().contains(says) && error.to_string().contains("`mine`"), "{error}");
        }
        assert!(check("mine", &Faulty(|_, _, _| {})).is_ok());
    }
}
