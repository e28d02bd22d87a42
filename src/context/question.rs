//! What is known at a question: a [`History`] at one moment.

use super::history::History;
use super::history::app_use::AppUse;
use super::task::Task;
use crate::data::{AppId, Timestamp, UserId};

impl History {
    /// What is known at `now` for a question of `task`: everything observed so far.
    pub fn context_at(&self, now: Timestamp, task: Task) -> Context<'_> {
        let skipped = match task {
            Task::FirstAfterUnlock => 0,
            // The answer is a different app than the one in the foreground.
            Task::NextLaunch => 1,
        };
        let opened = self.candidates.get(skipped..).unwrap_or_default();
        let candidates = if opened.is_empty() { &self.favourites[..] } else { opened };
        Context { history: self, task, now, candidates }
    }
}

/// What is known at a question: a history, the moment, and the apps to rank.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub(super) history: &'a History,
    pub(super) task: Task,
    pub(super) now: Timestamp,
    pub(super) candidates: &'a [AppId],
}

impl<'a> Context<'a> {
    /// The apps to rank. A history offers those that its user has opened, most recent first.
    pub fn candidates(&self) -> &'a [AppId] {
        self.candidates
    }

    /// The same question about other candidates.
    pub fn with_candidates<'b>(&self, candidates: &'b [AppId]) -> Context<'b>
    where
        'a: 'b,
    {
        Context { candidates, ..*self }
    }

    /// What is asked.
    pub fn task(&self) -> Task {
        self.task
    }

    /// When it is asked.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whose phone is asked; `None` before the first event.
    pub fn user(&self) -> Option<UserId> {
        self.history.user
    }

    /// Hour of the day on the user's clock, 0 to 23.
    pub fn hour(&self) -> usize {
        self.history.wall_clock(self.now).0 as usize % 24
    }

    /// The user's use of `app`, if it ever launched or notified.
    pub fn app_use(&self, app: AppId) -> Option<&'a AppUse> {
        self.history.app_use(app)
    }

    /// How often any app came to the foreground so far: the length of the history.
    pub fn launches(&self) -> u32 {
        self.history.totals.launches.count
    }

    /// The app used last.
    pub fn last_app(&self) -> Option<AppId> {
        self.history.last_app()
    }

    /// How often `app` followed the app used last (for this task), and how often any app did. Both are 0 before
    /// the first such question.
    pub fn transitions_to(&self, app: AppId) -> (f32, f32) {
        let Some(last) = self.history.nth_last(0) else { return (0.0, 0.0) };
        let last = &self.history.uses[last.index()];
        let row = match self.task {
            Task::FirstAfterUnlock => &last.next_unlock,
            Task::NextLaunch => &last.next,
        };
        (self.history.slot(app).map_or(0.0, |slot| row.count(slot)), row.total())
    }

    /// How probable it is that the answer is none of the candidates: the share of this user's past questions
    /// that were answered by an app opened for the first time, (n + 1/2) / (N + 1).
    // Source: paper. Krichevsky, Trofimov, "The performance of universal encoding", 1981.
    pub fn none_of_these(&self) -> f64 {
        let [unforeseen, answered] = self.history.answers(self.task);
        (f64::from(unforeseen) + 0.5) / (f64::from(answered) + 1.0)
    }
}
