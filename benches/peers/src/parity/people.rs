//! Who is asked: simulated people from whom no model has learned, and questions of their days.

use std::sync::Arc;

use foretap::Silent;
use foretap::context::{Context, History, Task, questions, replay};
use foretap::data::simulate::{SimulationConfig, simulate};
use foretap::data::{AppId, Event, Log, Timestamp, Vocabulary};
use foretap::export::ExportSet;
use foretap::export::question::NamedTensor;
use foretap::transformer::Batch;

use super::model::{Model, floats};
use super::ours::{Ours, Room};
use crate::Result;

/// People, whom both sides are asked about.
pub struct People {
    /// Their events.
    pub log: Log,
    /// Their apps.
    pub vocabulary: Vocabulary,
    /// Candidates of those who have opened nothing yet.
    favourites: Arc<[AppId]>,
    task: Task,
}

/// A question, as everyone wants it.
pub struct Question {
    /// Of a router's graph; others read some of them.
    pub inputs: Vec<NamedTensor>,
    /// As our transformers read it.
    pub batch: Batch,
    /// Place of the app that was opened, where it is a candidate.
    pub answer: Option<usize>,
    /// What ours say of each candidate, in the order of [`Model::ALL`].
    pub ours: [Vec<f32>; Model::ALL.len()],
    /// Number of the person, and of the question among that person's.
    pub asked: (usize, usize),
}

impl Question {
    /// Tokens and candidates.
    pub fn size(&self) -> (usize, usize) {
        (self.batch.length, self.batch.candidates())
    }

    /// A row of features a candidate.
    pub fn features(&self) -> &[f32] {
        floats(&self.inputs, "features")
    }
}

/// What a phone knows when a question is asked, and before.
pub struct Moment {
    /// Its number among the questions.
    pub question: usize,
    before: History,
    last_event: Timestamp,
    history: History,
    at: Timestamp,
    task: Task,
}

impl Moment {
    /// The question.
    pub fn context(&self) -> Context<'_> {
        self.history.context_at(self.at, self.task)
    }

    /// What is known before the event that asks it, when there is time to prefill.
    pub fn context_before(&self) -> Context<'_> {
        self.before.context_at(self.last_event, self.task)
    }
}

impl People {
    /// Lets `people` live. A bundle's models learned from other seeds.
    ///
    /// # Errors
    /// The simulator's settings are impossible.
    pub fn simulate(export_set: &ExportSet, people: usize, seed: u64) -> Result<Self> {
        let config = SimulationConfig { people, seed, ..SimulationConfig::default() };
        let simulation = simulate(&config, &Silent)?;
        let favourites = export_set.bundle().favourites_in(&simulation.vocabulary);
        let (log, vocabulary) = (simulation.log, simulation.vocabulary);
        Ok(Self { log, vocabulary, favourites, task: export_set.bundle().parts().task })
    }

    /// About `count` questions, spread evenly over people and time, with what `ours` answer.
    ///
    /// # Errors
    /// The transformer reads other columns than this build computes.
    pub fn questions(&self, export_set: &ExportSet, ours: &Ours, count: usize) -> Result<Vec<Question>> {
        let (mut reader, mut room, mut read) =
            (export_set.questions(&self.vocabulary)?, Room::default(), Vec::with_capacity(count));
        let people: Vec<&[Event]> = self.log.users().collect();
        for (person, events) in people.iter().enumerate() {
            let share = count * (person + 1) / people.len() - count * person / people.len();
            let wanted = spread(questions(self.task, events).len(), share);
            replay(events, self.task, &self.favourites, usize::MAX, |number, question, context| {
                if wanted.binary_search(&number).is_err() || context.candidates().is_empty() {
                    return;
                }
                let inputs = reader.read(context).to_vec();
                let batch = reader.batch().clone();
                let answer = context.candidates().iter().position(|&app| app == question.answer);
                let mut asked =
                    Question { inputs, batch, answer, ours: Default::default(), asked: (person, number) };
                asked.ours = Model::ALL.map(|model| {
                    room.forget();
                    ours.answer(model, &asked, context, &mut room);
                    room.numbers(model, context)
                });
                read.push(asked);
            });
        }
        Ok(read)
    }

    /// What is known at each question of `sample`, in the order of the sample.
    pub fn moments(&self, asked: &[Question], sample: &[usize]) -> Vec<Moment> {
        let people: Vec<&[Event]> = self.log.users().collect();
        let moment = |&question: &usize| {
            let (person, number) = asked[question].asked;
            let events = people[person];
            let asked_at = questions(self.task, events)[number].asked_at;
            let mut before = History::new(Arc::clone(&self.favourites));
            events[..asked_at].iter().for_each(|event| before.observe(event));
            let mut history = before.clone();
            history.observe(&events[asked_at]);
            let at = events[asked_at].at;
            let last_event = events[..asked_at].last().map_or(at, |event| event.at);
            Moment { question, before, last_event, history, at, task: self.task }
        };
        sample.iter().map(moment).collect()
    }
}

/// About `count` questions of typical size: tokens and candidates are both in the middle half of all. People alternate, so
/// that nothing that is kept of a question serves the next one.
pub fn typical(asked: &[Question], count: usize) -> Vec<usize> {
    let quartiles = |size: &dyn Fn(&Question) -> usize| {
        let mut sizes: Vec<usize> = asked.iter().map(size).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 4).copied().unwrap_or(0)
            ..=sizes.get(sizes.len() * 3 / 4).copied().unwrap_or(usize::MAX)
    };
    let (tokens, candidates) = (quartiles(&|asked| asked.size().0), quartiles(&|asked| asked.size().1));
    let is_typical = |index: &usize| {
        let size = asked[*index].size();
        tokens.contains(&size.0) && candidates.contains(&size.1)
    };
    let found: Vec<usize> = (0..asked.len()).filter(is_typical).collect();
    let sample: Vec<usize> = spread(found.len(), count).into_iter().map(|place| found[place]).collect();
    alternating(&sample, |index| asked[index].asked.0)
}

/// `sample`, the first of each person, then the second of each, and so on.
fn alternating(sample: &[usize], person: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut turns: Vec<(usize, usize, usize)> = Vec::with_capacity(sample.len());
    for &index in sample {
        let turn = turns.iter().filter(|(_, other, _)| *other == person(index)).count();
        turns.push((turn, person(index), index));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, _, index)| index).collect()
}

/// `wanted` of `count` places, evenly; all where there are no more. Ascending.
fn spread(count: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(|place| (2 * place + 1) * count / (2 * wanted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_spread() {
        for (count, wanted, expected) in [
            (10, 3, vec![1, 5, 8]),
            (4, 4, vec![0, 1, 2, 3]),
            (3, 9, vec![0, 1, 2]),
            (9, 1, vec![4]),
            (5, 0, vec![]),
            (0, 5, vec![]),
        ] {
            assert_eq!(spread(count, wanted), expected, "{count} {wanted}");
        }
    }

    #[test]
    fn people_alternate() {
        let person = |index: usize| index / 10;
        assert_eq!(alternating(&[1, 2, 3, 11, 12, 21], person), [1, 11, 21, 2, 12, 3]);
        assert!(alternating(&[], person).is_empty());
    }
}
