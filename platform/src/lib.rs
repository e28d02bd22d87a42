//! foretap for a population: events come in, each person's state is kept for the answer and all events for good; questions are
//! answered; models are trained on what was kept, compared, approved and made live without a restart.
//!
//! ```text
//! main.rs       the command line; commands/ what each command does
//! config        one TOML file, every key with a default
//! client        what a phone does: sends events, asks, says what was opened
//! up            the whole system in one process
//! guard/        the door: connections, TLS, tokens, API keys, roles, quotas
//! serve/        what is answered: http, answers, the live model; protocols/ of other model servers
//! ingest        from a source to states, lake and store: each event once
//!   wire/         events as JSON and Protobuf, and what is let in
//!   source/       where events come from: trait EventSource; journal (what the door accepted); files; kafka;
//!                 kinesis; several as one
//!   store/        a person's state: trait OnlineStore; redb, dynamo; state (snapshot and tail)
//!   lake/         all events for good: Iceberg tables, their catalog, commits, versions, reading back, who was forgotten
//!   s3/           files on S3: the lake's, and those that events come from
//! rights        a person's: all that is held of them, and forgetting it
//! rebuild       the store made anew from the lake
//! registry/     models, who approved them, what is live
//! pipeline/     from a data version to a model that is compared with the live one
//! aws           how Amazon's clients are made, and their errors; dynamo_table: a table of DynamoDB, found, looked at, made
//! ```
//!
//! What predicts is the crate `foretap`: history, features, models and router are called, never repeated here.

#[cfg(feature = "aws")]
mod aws;
pub mod client;
pub mod config;
#[cfg(feature = "aws")]
mod dynamo_table;
pub mod guard;
pub mod ingest;
pub mod lake;
pub mod pipeline;
pub mod rebuild;
mod redb_file;
pub mod registry;
pub mod rights;
pub mod s3;
pub mod serve;
pub mod source;
pub mod store;
pub mod up;
pub mod wire;

/// Text for whoever runs the program, on standard output; a reader that has gone is no error.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}
