//! One user's log, question by question: what training and evaluation both stand on.

use std::sync::Arc;

use super::history::History;
use super::question::Context;
use super::task::{Question, Task, questions};
use crate::data::{AppId, Event};

/// Folds one user's `events` into a fresh history and shows `visit` the questions as they are asked: their number
/// among this user's questions, the question, and the context, in which nothing later is known. Stops after `last`
/// questions.
pub fn replay(
    events: &[Event],
    task: Task,
    favourites: &Arc<[AppId]>,
    last: usize,
    mut visit: impl FnMut(usize, &Question, &Context<'_>),
) {
    let mut history = History::new(Arc::clone(favourites));
    let mut unfolded = events.iter();
    let mut folded = 0;
    for (number, question) in questions(task, events).iter().enumerate().take(last) {
        let until = question.asked_at + 1;
        unfolded.by_ref().take(until - folded).for_each(|event| history.observe(event));
        folded = until;
        visit(number, question, &history.context_at(events[question.asked_at].at, task));
    }
}
