//! The two questions, read off a stream of events.

use std::fmt;
use std::str::FromStr;

use crate::data::{AppId, Event, Signal};
use crate::error::{Error, ErrorKind};

/// What is being predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Asked when the phone is unlocked: the first app in the foreground before the screen goes dark or is
    /// locked again. An unlock without an app is no question.
    #[default]
    FirstAfterUnlock,
    /// Asked when the foreground app has changed: the next *different* app in the foreground.
    NextLaunch,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task::FirstAfterUnlock => "first-after-unlock",
            Task::NextLaunch => "next-launch",
        })
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "first-after-unlock" => Ok(Task::FirstAfterUnlock),
            "next-launch" => Ok(Task::NextLaunch),
            _ => Err(Error::new(ErrorKind::Config, format!("`{text}` is not a task"))
                .next_step("choose first-after-unlock or next-launch")),
        }
    }
}

/// One question in one user's events, with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Position of the event at which it is asked: everything up to and including it is known.
    pub asked_at: usize,
    /// The app that was opened.
    pub answer: AppId,
    /// Position of the launch that answers it.
    pub answered_at: usize,
}

/// The questions in one user's events, which are in time order.
pub fn questions(task: Task, events: &[Event]) -> Vec<Question> {
    let mut found = Vec::new();
    let mut open: Option<usize> = None;
    let mut foreground: Option<AppId> = None;
    for (position, event) in events.iter().enumerate() {
        match (task, event.signal) {
            (Task::FirstAfterUnlock, Signal::Unlock) => open = Some(position),
            (Task::FirstAfterUnlock, Signal::ScreenOn | Signal::ScreenOff) => open = None,
            (Task::FirstAfterUnlock, Signal::Launch(app)) => {
                found.extend(open.take().map(|asked_at| Question {
                    asked_at,
                    answer: app,
                    answered_at: position,
                }));
            }
            (Task::NextLaunch, Signal::Launch(app)) if foreground != Some(app) => {
                found.extend(open.map(|asked_at| Question { asked_at, answer: app, answered_at: position }));
                open = Some(position);
                foreground = Some(app);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Timestamp, UserId};
    use Signal::{Close, Launch, Notification, ScreenOff, ScreenOn, Unlock};

    const A: AppId = AppId(0);
    const B: AppId = AppId(1);

    #[test]
    fn reads_both_tasks_off_a_stream() {
        struct Case {
            signals: &'static [Signal],
            task: Task,
            asked_and_answer: &'static [(usize, AppId)],
        }
        let cases = [
            Case {
                signals: &[Unlock, Launch(A), Launch(B)],
                task: Task::FirstAfterUnlock,
                asked_and_answer: &[(0, A)],
            },
            Case {
                signals: &[Unlock, ScreenOff, Unlock, Launch(B)],
                task: Task::FirstAfterUnlock,
                asked_and_answer: &[(2, B)],
            },
            Case {
                signals: &[Unlock, ScreenOn, Launch(A)],
                task: Task::FirstAfterUnlock,
                asked_and_answer: &[],
            },
            Case {
                signals: &[Unlock, Notification(A), Close(A), Launch(B)],
                task: Task::FirstAfterUnlock,
                asked_and_answer: &[(0, B)],
            },
            Case {
                signals: &[Unlock, Unlock, Launch(A)],
                task: Task::FirstAfterUnlock,
                asked_and_answer: &[(1, A)],
            },
            Case {
                signals: &[Launch(A), Launch(A), ScreenOff, Launch(B), Launch(A)],
                task: Task::NextLaunch,
                asked_and_answer: &[(0, B), (3, A)],
            },
            Case { signals: &[], task: Task::NextLaunch, asked_and_answer: &[] },
        ];
        for case in cases {
            let events: Vec<Event> =
                case.signals.iter().map(|&signal| Event::new(UserId(1), Timestamp(0), signal)).collect();
            let found: Vec<_> =
                questions(case.task, &events).iter().map(|q| (q.asked_at, q.answer)).collect();
            assert_eq!(found, case.asked_and_answer, "{:?} {:?}", case.task, case.signals);
        }
    }
}
