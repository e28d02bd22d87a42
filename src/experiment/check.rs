//! What no experiment can be made of is refused before anything is trained.

use std::collections::BTreeSet;

use super::round::BAYES_OPTIMAL;
use super::save;
use super::{Experiment, PersonLog};
use crate::context::Task;
use crate::data::{Log, Signal, Split, SplitPlan, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{ROUTER, ROUTER_FULL, ROUTER_SHARED};

impl Experiment {
    /// Refuses names that are taken twice or mean something else, and a split that is none.
    pub(super) fn check(&self) -> Result<()> {
        let mut names: BTreeSet<&str> = [ROUTER, ROUTER_FULL, ROUTER_SHARED, BAYES_OPTIMAL].into();
        for method in &self.methods {
            if !names.insert(&method.name) {
                let message = format!("the name `{}` is taken", method.name);
                return Err(
                    Error::new(ErrorKind::Config, message).next_step("give each method one of its own")
                );
            }
        }
        self.save_models.as_deref().map_or(Ok(()), save::check)?;
        self.check_shares(true)
    }

    /// Refuses a split that is none, or that leaves nothing to score where something is to be scored.
    pub(super) fn check_shares(&self, is_tested: bool) -> Result<()> {
        let is_share = |share: f64| (0.0..1.0).contains(&share);
        match self.split {
            SplitPlan::Shares { validation, test }
                if !(is_share(validation)
                    && is_share(test)
                    && (test > 0.0 || !is_tested)
                    && validation + test < 1.0) =>
            {
                Err(Error::new(
                    ErrorKind::Config,
                    format!("a validation share of {validation} and a test share of {test}"),
                )
                .next_step("choose shares that leave something to train on, such as 0.15 and 0.2"))
            }
            SplitPlan::LastDays(0) => {
                Err(Error::new(ErrorKind::Config, "a test of no days").next_step("ask for one or more"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a split that leaves nothing to score, or nothing to learn from.
    pub(super) fn check_parts(&self, people: &[PersonLog<'_>]) -> Result<()> {
        let splits: Vec<Split> = people.iter().map(|person| self.split.split(&person.times, 0)).collect();
        let too_short = |message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Data, message).next_step(next_step.to_owned()))
        };
        let most_questions = people.iter().map(PersonLog::questions).max().unwrap_or(0);
        match self.split {
            SplitPlan::Shares { test, .. } if splits.iter().all(|split| split.test.is_empty()) => {
                let questions: usize = people.iter().map(|person| person.questions()).sum();
                let has = if questions == 1 { "1 question" } else { &format!("{questions} questions") };
                let message =
                    format!("the log has {has}; a test share of {test} of each person's is none to score");
                too_short(message, "give a longer log")
            }
            SplitPlan::LastDays(days) if splits.iter().all(|split| split.train.is_empty()) => {
                let message = format!("the last {days} days leave no question before them to learn from");
                too_short(message, "give a longer log, or ask for fewer days")
            }
            SplitPlan::From(moment) if splits.iter().all(|split| split.test.is_empty()) => {
                let last =
                    people.iter().filter_map(|person| person.times.last()).map(|time| time.asked).max();
                let message = format!("the test begins at {}, after the last question", utc(moment));
                let last = last
                    .map_or(String::new(), |last| format!("; the last question was asked at {}", utc(last)));
                Err(Error::new(ErrorKind::Config, message + &last).next_step("choose an earlier moment"))
            }
            SplitPlan::From(moment) if splits.iter().all(|split| split.train.is_empty()) => {
                let first =
                    people.iter().filter_map(|person| person.times.first()).map(|time| time.answered).min();
                let message =
                    format!("the test begins at {}, and nothing was answered before it", utc(moment));
                let first =
                    first.map_or(String::new(), |first| format!("; the first answer came at {}", utc(first)));
                Err(Error::new(ErrorKind::Config, message + &first).next_step("choose a later moment"))
            }
            SplitPlan::RollingOrigin(blocks) if blocks > most_questions / 2 => {
                let message = format!("{blocks} blocks for at most {most_questions} questions a user");
                Err(Error::new(ErrorKind::Config, message).next_step("ask for fewer, or give a longer log"))
            }
            _ => Ok(()),
        }
    }
}

/// Why `log` has no question of `task`: which signals it has, which are missing, and what to do.
pub fn no_question(log: &Log, task: Task) -> Error {
    let count = |is: fn(&Signal) -> bool| log.events().iter().filter(|event| is(&event.signal)).count();
    let [launches, unlocks] =
        [count(|signal| matches!(signal, Signal::Launch(_))), count(|signal| *signal == Signal::Unlock)];
    let signals: Vec<String> = [
        ("launches", launches),
        ("unlocks", unlocks),
        ("closes", count(|signal| matches!(signal, Signal::Close(_)))),
        ("notifications", count(|signal| matches!(signal, Signal::Notification(_)))),
        ("screen on", count(|signal| *signal == Signal::ScreenOn)),
        ("screen off", count(|signal| *signal == Signal::ScreenOff)),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| format!("{name} {count}"))
    .collect();
    let signals = if signals.is_empty() { "nothing".to_owned() } else { signals.join(", ") };
    let next_step = match (launches, unlocks, task) {
        (0, ..) => {
            "no app is launched in it: give a log with launches, or say with --columns and --signals which rows they are"
        }
        (_, 0, Task::FirstAfterUnlock) => {
            "no unlock is in it: give a log with unlocks, or ask --task next-launch, with a model of that task"
        }
        (.., Task::FirstAfterUnlock) => {
            "no launch comes after an unlock: give a longer log, or ask --task next-launch"
        }
        (.., Task::NextLaunch) => "no app follows another one: give a longer log",
    };
    let message = format!("the log has no question of the task {task}; its signals: {signals}");
    Error::new(ErrorKind::Data, message).next_step(next_step)
}

/// As a person would write it.
fn utc(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.0).map_or_else(|_| format!("{} s", at.0), |at| at.to_string())
}
