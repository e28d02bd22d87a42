//! foretap predicts which app a person opens next, on the phone, before the tap.

pub mod data;
mod error;
mod progress;

pub use error::{Error, ErrorKind, Result};
pub use progress::{Progress, Silent};
