//! Training, validation and test as ranges of time.

/// Placeholder until the replay needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split;
