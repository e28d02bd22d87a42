//! What is known at the question: a [`History`] folds events in, a [`Context`] is what it knew at one moment.

mod app_use;
pub mod columns;
mod counts;
pub mod features;
mod first_uses;
mod history;
mod inclination;
pub(crate) mod math;
mod motives;
pub mod pointer;
mod prospects;
mod question;
mod recall;
mod replay;
mod saved;
mod situation;
mod task;
mod token;
pub mod tokens;
#[cfg(feature = "train")]
mod training;

pub use app_use::AppUse;
pub(crate) use history::favourites;
pub use history::{History, MAX_APPS};
pub use question::Context;
pub use replay::replay;
pub use situation::Situation;
pub use task::{Question, Task, questions};
#[cfg(feature = "train")]
pub use training::{PersonView, TrainingView};
