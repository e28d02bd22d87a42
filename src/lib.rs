//! foretap predicts which app a person opens next, on the phone, before the tap.

pub mod baseline;
pub mod context;
pub mod data;
mod error;
pub mod evaluate;
pub mod experiment;
pub mod file;
pub mod gbdt;
pub mod model;
pub mod predict;
mod progress;
pub mod ranker;

pub use error::{Error, ErrorKind, Result};
pub use progress::{Progress, Silent};
