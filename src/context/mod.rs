//! What is known at the question: a [`History`] folds events in, a [`Context`] is what it knew at one moment.

mod counts;
pub mod features;
mod history;
mod task;

pub use history::{AppUse, Context, History, MAX_APPS};
pub use task::{Question, Task, questions, replay};
