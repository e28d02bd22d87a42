//! Latency of one question.
fn main() {}
