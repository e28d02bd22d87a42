//! What the transformer's pointer reads of the user's own past.

/// Columns of a candidate.
pub const CANDIDATE_COLUMNS: usize = 56;

/// Columns of a question.
pub const QUESTION_COLUMNS: usize = 32;
