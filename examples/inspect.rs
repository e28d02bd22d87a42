//! What is in a log, before anything is learned from it.
//!
//! ```text
//! cargo run --release --example simulate -- --people 1 --days 7 --out people.csv
//! cargo run --release --example inspect -- --data people.csv --svg days.svg
//!
//! 1 people, 872 events on 7 days from 2026-01-05 to 2026-01-11
//! clock: +04:00
//! 143 unlocks, 122 of them with an answer (85 %)
//!
//! app                            launches   share first opens
//! App 165                              74  48.7 %          69
//! App 12                               53  34.9 %          39
//! App 49                               13   8.6 %          11
//! ..
//! launches by hour, 0 to 23: 1 0 0 0 0 0 0 0 0 8 18 14 11 6 11 7 8 12 18 14 11 9 4 0
//! ```
//!
//! It prints what a file holds, what was left out and why, and lines that begin with LOOK where the log may not be what it
//! seems. The picture has a column a day, the hours from top to bottom.

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::data::Vocabulary;
use foretap::inspect::Inspection;
use foretap::{Error, ErrorKind};

/// Look into log files: people, days, gaps, apps, unlocks with and without an answer, what was left out, what looks odd
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    #[command(flatten)]
    data: cli::DataArgs,

    /// Write all of it for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw launches by day and hour
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| {
        let outputs = [("--json", args.json.as_ref()), ("--svg", args.svg.as_ref())];
        cli::check_outputs(outputs, &args.data.data)?;
        cli::check_writable([&args.json, &args.svg])?;
        let mut vocabulary = Vocabulary::new();
        let (log, warnings) = args.data.read(&mut vocabulary, &cli::Bar::new())?;
        let inspection = Inspection::new(&log, &vocabulary, &warnings);
        cli::say(inspection.to_string().trim_end());
        if let Some(file) = &args.json {
            let json = serde_json::to_value(&inspection)
                .map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
            cli::write_json(file, &json)?;
        }
        if let Some(file) = &args.svg {
            Inspection::write_raster(&log, file)?;
        }
        Ok(())
    })
}
