//! What is known at the question: a [`History`] folds events in, a [`Context`] is what it knew at one moment.

mod app_use;
mod attribution;
pub mod columns;
mod counts;
pub mod features;
mod first_uses;
mod history;
pub(crate) mod math;
pub mod pointer;
mod prior_features;
mod propensity;
mod question;
mod question_features;
mod replay;
mod saved;
mod sequence_model;
mod task;
mod token;
pub mod tokens;
#[cfg(feature = "train")]
mod training;

pub use app_use::AppUse;
pub(crate) use history::favourites;
pub use history::{History, MAX_APPS};
pub use question::Context;
pub use question_features::QuestionFeatures;
pub use replay::replay;
pub use task::{Question, Task, questions};
#[cfg(feature = "train")]
pub use training::{PersonView, TrainingView};
