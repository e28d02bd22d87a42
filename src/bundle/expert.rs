//! Who answers from a bundle.

use std::fmt;

/// Who can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expert {
    /// The transformer in INT8.
    Student,
    /// The quantized ranker.
    Trees,
    /// Both, as the router divides the work.
    Router,
}

impl fmt::Display for Expert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Student => "student",
            Self::Trees => "trees",
            Self::Router => "router",
        })
    }
}
