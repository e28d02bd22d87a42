//! Trains the ranker on a whole log and writes it to a file that `predict` reads.
//!
//! ```text
//! cargo run --release --example train -- --data phone.csv --out model.json
//! ```

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::context::questions;
use foretap::data::Vocabulary;
use foretap::experiment::Experiment;

/// Train the ranker on a log
///
/// The latest questions of each user tell when to stop; then all of them are learned from.
#[derive(Debug, Parser)]
struct Args {
    /// Write the model here
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Write a summary for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    training: cli::TrainingArgs,

    #[command(flatten)]
    data: cli::DataArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    cli::check_folders([&Some(args.out.clone()), &args.json])?;
    let bar = cli::Bar::new();
    let mut vocabulary = Vocabulary::new();
    let log = args.data.load(&mut vocabulary, &bar)?;
    let experiment =
        Experiment { task: args.training.task, ranker: args.training.ranker(), ..Experiment::default() };
    let questions: usize = log.users().map(|events| questions(experiment.task, events).len()).sum();
    if questions < 500 {
        eprintln!(
            "warning: {questions} questions are few to learn from: a fortnight of a phone has about 1,000"
        );
    }
    let trained = experiment.train(&log, &vocabulary, &bar)?;
    trained.model.save(&args.out)?;
    let trees = trained.model.ranker.forest().ensemble().trees.len();
    let loss = match trained.losses.iter().copied().reduce(f64::min) {
        Some(loss) => format!("validation log loss {loss:.3}"),
        None => "no questions left to validate on: give a longer log".to_owned(),
    };
    cli::say(&format!(
        "{trees} trees from {questions} questions of the task {}, {loss}, written to {}",
        experiment.task,
        args.out.display()
    ));
    if let Some(file) = &args.json {
        let summary = serde_json::json!({
            "task": experiment.task,
            "questions": questions,
            "trees": trees,
            "temperature": trained.model.temperature,
            "validation_losses": trained.losses,
            "config": experiment.ranker,
        });
        cli::write_json(file, &summary)?;
    }
    Ok(())
}
