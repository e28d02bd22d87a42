//! All that belongs to one phone: what happened, what it taught, what was shown; and its bytes, to go on from later.
//!
//! ```text
//! field                     bytes
//! version                   4
//! suggestions made          8
//! state of the draws        8
//! personalization           list of u8    as `Personalization::write` writes them
//! history                   list of u8    as `History::write` writes it
//! trees                     list of u8    as `PersonalTrees::write` writes them; empty where there are none
//! learned until             8             the last event that the trees learned from, in seconds; 0 where there are none
//! replay buffer             list of u8    as `ReplayBuffer::write` writes it; empty where no events are kept
//! ```
//!
//! Version 1 ends with the history.
//!
//! Apps are told by name, so that a person outlives the bundle: ids change with the vocabulary, names do not. A question
//! that waits for its answer and suggestions that wait for feedback are not kept. [`vault`](crate::storage::vault) makes a file of
//! the bytes, sealed under a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Router;
use super::answer::{Answer, Route};
use super::offline::AskOptions;
use super::personal_trees::PersonalTrees;
use super::personalization::{PendingQuestion, Personalization};
use super::suggest::{Feedback, Suggestion, SuggestionSettings, Suggestions};
use crate::context::{History, ReplayBuffer, Task};
use crate::data::{AppId, Event, Signal, Timestamp, Vocabulary};
use crate::error::Result;
use crate::predict::Scratch;
use crate::storage::codec::{Put as _, Reader};

/// One person's history, personalization and suggestions, in constant memory.
///
/// Observe events, ask where an answer is wanted: what is opened then teaches the [`Personalization`] by itself.
#[derive(Debug, Clone, Default)]
pub struct Person {
    history: History,
    personalization: Personalization,
    suggestions: Suggestions,
    settings: SuggestionSettings,
    pending: PendingQuestion,
    /// What was asked last, until it is answered.
    awaited: Option<Task>,
    /// When that was, and by how much the gate's threshold is to be moved then: with the next question, so that the same one
    /// gets the same answer again.
    paced: Option<(Timestamp, f32)>,
    /// The last events, where the person's own trees are to be grown.
    buffer: Option<ReplayBuffer>,
    /// When the trees were grown: the time of the last event that they learned from.
    learned_until: Option<Timestamp>,
    /// Whose trees may be taken over: another number for each person, and after each time that all was taken back.
    #[cfg_attr(not(feature = "learn"), allow(dead_code))]
    lineage: u64,
}

/// A number that no person had before.
fn new_lineage() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Person {
    /// Nobody yet. Before the first app is opened, `favourites` are the candidates. `seed` decides which alternatives are
    /// explored.
    ///
    /// # Errors
    /// Settings that cannot be shown by.
    pub fn new(favourites: Arc<[AppId]>, settings: SuggestionSettings, seed: u64) -> Result<Self> {
        settings.check()?;
        let (history, lineage) = (History::new(favourites), new_lineage());
        Ok(Self { history, settings, suggestions: Suggestions::new(seed), lineage, ..Self::default() })
    }

    /// A person with this history, of whom nothing else is known.
    #[cfg(feature = "learn")]
    pub(super) fn from_history(history: History) -> Self {
        Self { history, ..Self::default() }
    }

    /// Keeps the last `most` events from now on, to learn from ([`learn`](Self::learn)); 0 keeps none any more. What was kept before
    /// is forgotten. An event takes 48 bytes here and about 10 in a file.
    pub fn keep_events(&mut self, most: usize) {
        self.buffer = (most > 0).then(|| ReplayBuffer::new(self.history.clone(), most));
        self.learned_until = None;
    }

    /// The events kept, if any are.
    pub fn replay_buffer(&self) -> Option<&ReplayBuffer> {
        self.buffer.as_ref()
    }

    /// What happened so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was learned from it beside the shared models.
    pub fn personalization(&self) -> &Personalization {
        &self.personalization
    }

    /// Shows by other settings from now on.
    ///
    /// # Errors
    /// Settings that cannot be shown by; those before stay.
    pub fn show_by(&mut self, settings: SuggestionSettings) -> Result<()> {
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// Takes back all that was learned: answers are those of the shared models again. The history stays, and so do the events
    /// that are kept. Trees that are being grown meanwhile are refused.
    pub fn forget_personalization(&mut self) {
        self.lineage = new_lineage();
        self.personalization = Personalization::default();
        (self.awaited, self.paced, self.learned_until) = (None, None, None);
    }

    /// Whose trees may be taken over.
    #[cfg(feature = "learn")]
    pub(super) fn lineage(&self) -> u64 {
        self.lineage
    }

    /// When the trees were grown.
    #[cfg(feature = "learn")]
    pub(super) fn learned_until(&self) -> Option<Timestamp> {
        self.learned_until
    }

    /// Takes over trees that learned from the events until then.
    #[cfg(feature = "learn")]
    pub(super) fn set_trees(&mut self, trees: PersonalTrees, until: Option<Timestamp>) {
        self.personalization.set_trees(trees);
        self.learned_until = until;
    }

    /// Folds one event in, as [`History::observe`] does. A launch answers what was asked last, and is learned from.
    pub fn observe(&mut self, event: &Event) {
        match (self.awaited, event.signal) {
            (Some(task), Signal::Launch(app)) => {
                let is_same = self.history.last_app() == Some(app);
                if task == Task::FirstAfterUnlock || !is_same {
                    let was_opened = self.history.app_use(app).is_some_and(|used| used.launches() > 0);
                    self.personalization.learn(&self.pending, app, was_opened || self.pending.shows(app));
                    self.awaited = None;
                }
            }
            // An unlock that opens nothing was no question: the rule of `context::questions`.
            (Some(Task::FirstAfterUnlock), Signal::Unlock | Signal::ScreenOn | Signal::ScreenOff) => {
                self.awaited = None
            }
            _ => {}
        }
        self.history.observe(event);
        if let Some(buffer) = &mut self.buffer {
            buffer.push(event);
        }
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
        self.ask_as(AskOptions::default(), router, task, now, scratch, answer);
    }

    /// The same under `options`, as an evaluation asks. The person learns from what is opened then, and keeps to the router's share, as
    /// from any other question.
    pub fn ask_as(
        &mut self,
        options: AskOptions<'_>,
        router: &Router,
        task: Task,
        now: Timestamp,
        scratch: &mut Scratch,
        answer: &mut Answer,
    ) {
        if let Some((_, shift)) = self.paced.filter(|(at, _)| *at != now) {
            self.personalization.set_shift(shift);
        }
        let context = self.history.context_at(now, task);
        router.answer_as(options, &context, Some(&self.personalization), scratch, answer);
        let shift =
            router.routing_threshold().next(self.personalization.shift(), answer.route == Route::Both);
        self.paced = (answer.route != Route::Deep).then_some((now, shift));
        self.pending.clone_from(&answer.pending);
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
            suggestion.apps().iter().for_each(|&app| self.personalization.ignore(app));
        }
        Ok(())
    }

    /// The person as bytes, apps by their names in `vocabulary`.
    ///
    /// # Errors
    /// An app that `vocabulary` does not name, or one with a name longer than 65,535 bytes.
    pub fn write(&self, vocabulary: &Vocabulary) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_u32(VERSION);
        self.suggestions.state().into_iter().for_each(|number| bytes.put_u64(number));
        // Whoever reads this asks another question next.
        let mut personalization = self.personalization.clone();
        if let Some((_, shift)) = self.paced {
            personalization.set_shift(shift);
        }
        let put = |bytes: &mut Vec<u8>, part: Vec<u8>| -> Result<()> {
            bytes.put_count(part.len())?;
            bytes.extend(part);
            Ok(())
        };
        put(&mut bytes, personalization.write(vocabulary)?)?;
        put(&mut bytes, self.history.write(vocabulary)?)?;
        put(&mut bytes, personalization.trees().map_or(Ok(Vec::new()), PersonalTrees::write)?)?;
        bytes.put_i64(self.learned_until.unwrap_or_default().0);
        put(&mut bytes, self.buffer.as_ref().map_or(Ok(Vec::new()), |buffer| buffer.write(vocabulary))?)?;
        Ok(bytes)
    }

    /// Reads what [`write`](Self::write) wrote. Names that `vocabulary` lacks are added to it; `favourites` are the
    /// bundle's.
    ///
    /// # Errors
    /// Bytes that are cut off, damaged or of another version, or settings that cannot be shown by. The vocabulary may have
    /// grown then.
    pub fn read(
        bytes: &[u8],
        vocabulary: &mut Vocabulary,
        favourites: Arc<[AppId]>,
        settings: SuggestionSettings,
    ) -> Result<Self> {
        settings.check()?;
        let mut reader = Reader::new("person", bytes, NEXT_STEP);
        let version = reader.u32()?;
        if !(1..=VERSION).contains(&version) {
            return Err(reader.wrong(format!("version {version}, but this build reads 1 to {VERSION}")));
        }
        let state = [reader.u64()?, reader.u64()?];
        let count = reader.count(1)?;
        let mut of_personalization = Reader::new("personalization", reader.bytes(count)?, NEXT_STEP);
        let mut personalization = Personalization::read(&mut of_personalization, vocabulary)?;
        of_personalization.finish()?;
        let count = reader.count(1)?;
        let history = History::read(reader.bytes(count)?, vocabulary, Arc::clone(&favourites))?;
        let (mut learned_until, mut buffer) = (None, None);
        if version > 1 {
            let count = reader.count(1)?;
            if count > 0 {
                let mut of_trees = Reader::new("personal trees", reader.bytes(count)?, NEXT_STEP);
                personalization.set_trees(PersonalTrees::read(&mut of_trees)?);
                of_trees.finish()?;
            }
            let until = Timestamp(reader.i64()?);
            learned_until = personalization.trees().map(|_| until);
            let count = reader.count(1)?;
            if count > 0 {
                buffer = Some(ReplayBuffer::read(reader.bytes(count)?, vocabulary, favourites)?);
            }
        }
        reader.finish()?;
        Ok(Self {
            history,
            personalization,
            settings,
            suggestions: Suggestions::from_state(state),
            buffer,
            learned_until,
            lineage: new_lineage(),
            ..Self::default()
        })
    }
}

/// Of the format.
// Source: units.
const VERSION: u32 = 2;
const NEXT_STEP: &str = "restore an older copy, or begin with an empty history";
