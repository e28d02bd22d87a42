//! What training may see: a log that ends where training ends.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::history::favourites;
use super::question::Context;
use super::replay::replay;
use super::task::{Question, Task, questions};
use crate::data::{AppId, Event, Signal, Split, Vocabulary, most_launched};

/// The people who are learned from, each up to the last answer that is learned from or validated on.
///
/// Whatever is fitted (trees and their bins, vocabularies, favourites, scales, gates, blends, temperatures, thresholds)
/// is given a view and nothing else. It holds no later event, no app that nobody had met by then, and nobody without a
/// question to learn from or to validate on, so that what is fitted cannot depend on them.
#[derive(Debug, Clone)]
pub struct TrainingView<'a> {
    task: Task,
    people: Vec<PersonView<'a>>,
    /// Of every app that occurs: its id and its name, by id.
    names: Vec<(AppId, &'a str)>,
    launched: Vec<AppId>,
    favourites: Arc<[AppId]>,
}

/// One person of a [`TrainingView`].
#[derive(Debug, Clone)]
pub struct PersonView<'a> {
    events: &'a [Event],
    train: Range<usize>,
    validation: Range<usize>,
}

impl<'a> TrainingView<'a> {
    /// The view of these people's events, each in time order, with the split of their questions of `task`. The test
    /// questions of a split are left out, and so is all that comes after the answer to the last of the others.
    pub fn new(
        task: Task,
        vocabulary: &'a Vocabulary,
        people: impl IntoIterator<Item = (&'a [Event], Split)>,
    ) -> Self {
        let people: Vec<PersonView<'a>> = people
            .into_iter()
            .filter_map(|(events, split)| {
                let Split { train, validation, .. } = split;
                let last = train.end.max(validation.end).checked_sub(1)?;
                let answered_at = questions(task, events).get(last)?.answered_at;
                Some(PersonView { events: &events[..=answered_at], train, validation })
            })
            .filter(|person| !(person.train.is_empty() && person.validation.is_empty()))
            .collect();
        let launched = most_launched(people.iter().map(|person| person.events), |app| vocabulary.name(app));
        let met: BTreeSet<AppId> = people
            .iter()
            .flat_map(|person| person.events)
            .filter_map(|event| match event.signal {
                Signal::Launch(app) | Signal::Close(app) | Signal::Notification(app) => Some(app),
                Signal::Unlock | Signal::ScreenOn | Signal::ScreenOff => None,
            })
            .collect();
        Self {
            task,
            names: met.into_iter().map(|app| (app, vocabulary.name(app))).collect(),
            favourites: favourites(launched.iter().copied()),
            launched,
            people,
        }
    }

    /// What is predicted.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The people, in the order of the log.
    pub fn people(&self) -> &[PersonView<'a>] {
        &self.people
    }

    /// The apps that were launched, most launched first; of equals, by name.
    pub fn launched(&self) -> &[AppId] {
        &self.launched
    }

    /// Candidates of a user who has opened nothing yet.
    pub fn favourites(&self) -> &Arc<[AppId]> {
        &self.favourites
    }

    /// Ids and names of the apps that occur, by id.
    pub fn names(&self) -> &[(AppId, &'a str)] {
        &self.names
    }

    /// The name of an app that occurs; `"?"` for any other.
    pub fn name(&self, app: AppId) -> &'a str {
        self.names.binary_search_by_key(&app, |named| named.0).map_or("?", |index| self.names[index].1)
    }

    /// How many questions are learned from.
    pub fn questions(&self) -> usize {
        self.people.iter().map(|person| person.train.len()).sum()
    }

    /// How many questions are learned from or validated on.
    pub fn all_questions(&self) -> usize {
        self.people.iter().map(|person| person.train.len() + person.validation.len()).sum()
    }

    /// Whether any question is left to validate on.
    pub fn has_validation(&self) -> bool {
        self.people.iter().any(|person| !person.validation.is_empty())
    }

    /// The same view with the validation questions among those that are learned from.
    pub fn with_validation_learned(&self) -> Self {
        let mut all = self.clone();
        for person in &mut all.people {
            let end = person.train.end.max(person.validation.end);
            (person.train, person.validation) = (person.train.start..end, end..end);
        }
        all
    }

    /// Replays one person's log up to the question before `last`, as [`replay`] does.
    pub fn replay(
        &self,
        person: &PersonView<'_>,
        last: usize,
        visit: impl FnMut(usize, &Question, &Context<'_>),
    ) {
        replay(person.events, self.task, &self.favourites, last, visit);
    }
}

impl<'a> PersonView<'a> {
    /// The events, in time order.
    pub fn events(&self) -> &'a [Event] {
        self.events
    }

    /// Numbers of the questions to learn from.
    pub fn train(&self) -> Range<usize> {
        self.train.clone()
    }

    /// Numbers of the later questions that tell when to stop, and that temperatures, thresholds and routers are fitted on.
    pub fn validation(&self) -> Range<usize> {
        self.validation.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Timestamp, UserId};

    const A: AppId = AppId(0);
    const B: AppId = AppId(1);
    const LATER: AppId = AppId(2);

    fn log(signals: &[Signal]) -> Vec<Event> {
        let at = |(second, &signal): (i64, &Signal)| Event::new(UserId(1), Timestamp(second), signal);
        (0..).zip(signals).map(at).collect()
    }

    fn names() -> Vocabulary {
        Vocabulary::from_names(["zebra", "ant", "later", "never"])
    }

    fn split(train: Range<usize>, validation: Range<usize>, test: Range<usize>) -> Split {
        Split { train, validation, test }
    }

    #[test]
    fn nothing_after_the_last_answer_is_seen() {
        use Signal::{Launch, Notification, ScreenOff, Unlock};
        let events = log(&[
            Unlock,
            Launch(A),
            ScreenOff,
            Unlock,
            Launch(B),
            Notification(LATER),
            ScreenOff,
            Unlock,
            Launch(LATER),
        ]);
        let vocabulary = names();
        let view = |split| TrainingView::new(Task::FirstAfterUnlock, &vocabulary, [(&events[..], split)]);
        let whole = view(split(0..1, 1..2, 2..3));
        assert_eq!(whole.people()[0].events().len(), 5);
        assert_eq!(whole.launched(), [B, A], "of equals by name, not by id");
        assert_eq!((whole.name(B), whole.name(LATER)), ("ant", "?"));
        assert_eq!(whole.names(), [(A, "zebra"), (B, "ant")]);
        assert_eq!(whole.favourites()[..], [B, A]);
        assert_eq!((whole.questions(), whole.all_questions(), whole.has_validation()), (1, 2, true));
        let first = view(split(0..1, 1..1, 1..3));
        assert_eq!((first.people()[0].events().len(), first.has_validation()), (2, false));
        let all = whole.with_validation_learned();
        assert_eq!((all.people()[0].train(), all.people()[0].validation()), (0..2, 2..2));
        let mut asked = Vec::new();
        whole.replay(&whole.people()[0], 9, |number, question, _| asked.push((number, question.answer)));
        assert_eq!(asked, [(0, A), (1, B)], "the third question has no answer here");
        // Nobody without a question.
        assert!(view(split(0..0, 0..0, 0..3)).people().is_empty());
    }

    #[test]
    fn the_answer_to_the_last_question_is_seen_where_it_asks_the_next_one() {
        let events = log(&[Signal::Launch(A), Signal::Launch(B), Signal::Launch(A), Signal::Launch(LATER)]);
        let vocabulary = names();
        let split = split(0..1, 1..2, 2..3);
        let view = TrainingView::new(Task::NextLaunch, &vocabulary, [(&events[..], split)]);
        assert_eq!(view.people()[0].events().len(), 3);
        let mut answers = Vec::new();
        view.replay(&view.people()[0], 9, |_, question, _| answers.push(question.answer));
        assert_eq!(answers, [B, A]);
    }
}
