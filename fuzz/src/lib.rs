//! What the targets share: what is asked of a loader, whatever bytes its file is made of.

pub mod bundle;
pub mod log;
pub mod mapping;
mod memory;
pub mod person;
