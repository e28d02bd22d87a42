//! All that belongs to one phone: what happened, what it taught, what was shown.

use std::sync::Arc;

use super::answer::Answer;
use super::habits::{Asked, Habits};
use super::suggest::{Feedback, Settings, Suggestion, Suggestions};
use super::Router;
use crate::context::{History, Task};
use crate::data::{AppId, Event, Signal, Timestamp};
use crate::error::Result;
use crate::predict::Scratch;

/// One person's history, habits and suggestions, in constant memory.
///
/// Observe events, ask where an answer is wanted: what is opened then teaches the [`Habits`] by itself.
#[derive(Debug, Clone, Default)]
pub struct Person {
    history: History,
    habits: Habits,
    suggestions: Suggestions,
    settings: Settings,
    asked: Asked,
    /// What was asked last, until it is answered.
    awaited: Option<Task>,
}

impl Person {
    /// Nobody yet. Before the first app is opened, `favourites` are the candidates. `seed` decides which alternatives are
    /// explored.
    ///
    /// # Errors
    /// Settings that cannot be shown by.
    pub fn new(favourites: Arc<[AppId]>, settings: Settings, seed: u64) -> Result<Self> {
        settings.check()?;
        let history = History::new(favourites);
        Ok(Self { history, settings, suggestions: Suggestions::new(seed), ..Self::default() })
    }

    /// What happened so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was learned from it beside the shared models.
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// Takes back all that was learned: answers are those of the shared models again. The history stays.
    pub fn forget_habits(&mut self) {
        self.habits = Habits::default();
        self.awaited = None;
    }

    /// Folds one event in, as [`History::observe`] does. A launch answers what was asked last, and is learned from.
    pub fn observe(&mut self, event: &Event) {
        match (self.awaited, event.signal) {
            (Some(task), Signal::Launch(app)) => {
                let is_same = self.last_app() == Some(app);
                if task == Task::FirstAfterUnlock || !is_same {
                    let was_opened = self.history.app_use(app).is_some_and(|used| used.launches() > 0);
                    self.habits.learn(&self.asked, app, was_opened || self.asked.shows(app));
                    self.awaited = None;
                }
            }
            // An unlock that opens nothing was no question.
            (Some(Task::FirstAfterUnlock), Signal::Unlock | Signal::ScreenOn | Signal::ScreenOff) => self.awaited = None,
            _ => {}
        }
        self.history.observe(event);
    }

    fn last_app(&self) -> Option<AppId> {
        // Of a history, the moment and the task do not change what was used last.
        self.history.context_at(Timestamp(0), Task::FirstAfterUnlock).last_app()
    }

    /// Asks `router` what is opened next, `now`.
    pub fn ask(
        &mut self,
        router: &Router,
        task: Task,
        now: Timestamp,
        scratch: &mut Scratch,
        answer: &mut Answer,
    ) {
        let context = self.history.context_at(now, task);
        router.answer(&context, Some(&self.habits), scratch, answer);
        self.asked.clone_from(&answer.asked);
        self.awaited = Some(task);
    }

    /// What to show of an answer; nothing where it is not sure enough.
    pub fn suggest(&mut self, answer: &Answer) -> Option<Suggestion> {
        self.suggestions.make(&self.settings, answer)
    }

    /// Tells what became of a suggestion. Apps that were shown and not taken are suggested less.
    ///
    /// # Errors
    /// It was never made, did not show this app, or had its feedback; nothing is learned then.
    pub fn feedback(&mut self, id: u64, feedback: Feedback) -> Result<()> {
        let suggestion = self.suggestions.settle(id, feedback)?;
        if feedback == Feedback::Ignored {
            suggestion.apps().iter().for_each(|&app| self.habits.ignore(app));
        }
        Ok(())
    }
}
