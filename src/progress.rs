//! Long jobs tell a [`Progress`] how far they are; the examples draw a bar with it.

/// Hears how far a long job has come. Called from several threads.
pub trait Progress: Send + Sync {
    /// A stage of `total` steps begins, described as `what` ("reading phone.csv").
    fn start(&self, what: &str, total: u64);
    /// `steps` more of the stage are done.
    fn advance(&self, steps: u64);
    /// How the stage goes, in a line: "step 200 of 4000, loss 1.432, ..". Replaces the line before.
    fn note(&self, _line: &str) {}
    /// The stage is over.
    fn finish(&self);
    /// Whether the job is to end early, with an error of kind [`Cancelled`](crate::ErrorKind::Cancelled). Growing trees asks
    /// before each round, learning on a phone before each question; other jobs do not ask.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _steps: u64) {}
    fn finish(&self) {}
}
