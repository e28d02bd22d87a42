//! What is known at the question: a [`History`] folds events in, a [`Context`] is what it knew at one moment.
//!
//! ```text
//! history/     what is remembered: bounded counters, event by event, and their bytes
//! features/    what is computed of it at a question: the ranker's row, the transformer's columns, the gate's
//! tokens       the sequence of events that the transformer reads
//! task         which unlocks and launches are questions; question: the Context; replay: a log, question by question
//! replay_buffer the last events of a phone, to ask its questions again
//! training     the part of a log that may be learned from
//! ```
//!
//! A new feature: `docs/add-a-feature.md`.

pub mod features;
mod history;
pub(crate) mod math;
mod question;
mod replay;
mod replay_buffer;
mod task;
pub mod tokens;
#[cfg(feature = "train")]
mod training;

pub use features::{QuestionFeatures, columns, pointer_features};
pub(crate) use history::favourites;
pub use history::{AppUse, History, MAX_APPS};
pub use question::Context;
pub use replay::replay;
pub use replay_buffer::ReplayBuffer;
pub use task::{Question, Task, questions};
#[cfg(feature = "train")]
pub use training::{PersonView, TrainingView};
