//! What the targets share: what is asked of a loader, whatever bytes its file is made of.

pub mod bundle;
pub mod log;
mod memory;
pub mod person;
