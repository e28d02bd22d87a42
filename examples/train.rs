//! Trains the ranker or a transformer on a whole log and writes it to a file that `predict` reads.
//!
//! ```text
//! cargo run --release --example train -- --data phone.csv --out model.json
//! cargo run --release --example train -- --data phone.csv --model transformer --out student.safetensors
//! ```

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::baseline::Optimum;
use foretap::context::questions;
use foretap::data::SplitPlan;
use foretap::experiment::Experiment;
use foretap::transformer::{RunFolder, Teacher};

/// Train the ranker or a transformer on a log
///
/// The latest questions of each user tell when to stop; then all of them are learned from.
#[derive(Debug, Parser)]
struct Args {
    /// ranker or transformer
    #[arg(long, value_enum, default_value_t = Kind::Ranker)]
    model: Kind,

    /// The transformer's size
    #[arg(long, value_enum, default_value_t = Size::Student)]
    size: Size,

    /// Weights to begin with; without them the crate's checkpoint, or nothing with --from-nothing
    #[arg(long, value_name = "FILE", conflicts_with = "from_nothing")]
    start: Option<PathBuf>,

    /// Keep the transformer's run in this folder: metrics, loss curve, and checkpoints to resume from by the same command
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,

    /// Share of each person's questions that tell when to stop, the latest
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    validation_share: f64,

    /// Leave out this share of each person's questions, the latest, to test on
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    hold_out: f64,

    /// On simulated people: weight of the true probabilities beside the drawn answers, 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0, requires = "simulate")]
    truth_weight: f64,

    /// Write the model here
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Write a summary for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    training: cli::TrainingArgs,

    #[command(flatten)]
    deep: cli::DeepArgs,

    #[command(flatten)]
    data: cli::DataArgs,

    #[command(flatten)]
    simulation: cli::SimulationArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Ranker,
    Transformer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Size {
    Teacher,
    Student,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    cli::check_folders([&Some(args.out.clone()), &args.json])?;
    let bar = cli::Bar::new();
    let source = args.simulation.load(&args.data, &bar)?;
    let log = &source.log;
    let split = SplitPlan::Shares { validation: args.validation_share, test: args.hold_out };
    let ranker = args.training.ranker();
    let experiment = Experiment { task: args.training.task, split, ranker, ..Experiment::default() };
    let questions: usize = log.users().map(|events| questions(experiment.task, events).len()).sum();
    if questions < 500 {
        eprintln!(
            "warning: {questions} questions are few to learn from: a fortnight of a phone has about 1,000"
        );
    }
    match args.model {
        Kind::Ranker => train_ranker(args, &experiment, &source, questions, &bar),
        Kind::Transformer => train_transformer(args, &experiment, &source, questions, &bar),
    }
}

fn train_ranker(
    args: &Args,
    experiment: &Experiment,
    source: &cli::Source,
    questions: usize,
    bar: &cli::Bar,
) -> foretap::Result<()> {
    let trained = experiment.train(&source.log, &source.vocabulary, bar)?;
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

fn train_transformer(
    args: &Args,
    experiment: &Experiment,
    source: &cli::Source,
    questions: usize,
    bar: &cli::Bar,
) -> foretap::Result<()> {
    let name = match args.size {
        Size::Teacher => "teacher",
        Size::Student => "student",
    };
    let plan = args.deep.plan(name, args.start.as_deref(), args.training.seed)?;
    let folder = args.run.as_ref().map(RunFolder::open).transpose()?;
    let optimum = source.truth.as_ref().map(|truth| Optimum { truth });
    let teacher = optimum.as_ref().filter(|_| args.truth_weight > 0.0).map(|optimum| Teacher {
        predictor: optimum,
        temperature: 1.0,
        weight: args.truth_weight,
    });
    let (model, trained) = experiment.train_transformer(
        &plan,
        &source.log,
        &source.vocabulary,
        teacher,
        folder.as_ref(),
        bar,
    )?;
    cli::keep(&model, trained.as_ref(), questions, &args.out, args.json.as_deref())
}
