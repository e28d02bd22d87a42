//! Trains the ranker or a transformer on a whole log and writes it to a file that `predict` reads.
//!
//! ```text
//! cargo run --release --example train -- --data phone.csv --hold-out 0.2 --out model.json
//!
//! 612 trees from 1286 questions of the task first-after-unlock, validation log loss 0.663, written to model.json
//!
//! cargo run --release --example train -- --data phone.csv --model transformer --out student.safetensors
//! ```

mod cli;

use std::process::ExitCode;

use clap::Parser;
use foretap::baseline::BayesOptimal;
use foretap::experiment::Experiment;
use foretap::transformer::{Size, Teacher};

/// Train the ranker or a transformer on a log
///
/// The latest questions of each user tell when to stop; then all of them are learned from.
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// ranker or transformer
    #[arg(long, value_enum, default_value_t = Kind::Ranker)]
    model: Kind,

    /// The transformer's size: teacher or student
    #[arg(long, default_value_t = Size::Student)]
    size: Size,

    /// On simulated people: weight of the true probabilities beside the drawn answers, 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0, requires = "simulate")]
    truth_weight: f64,

    #[command(flatten)]
    run: cli::RunArgs,

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

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    args.run.check()?;
    let bar = cli::Bar::new();
    let source = args.simulation.load(&args.data, &bar)?;
    let experiment =
        Experiment { task: args.training.task, split: args.run.split(), ..Experiment::default() };
    let questions = experiment.view(&source.log, &source.vocabulary)?.all_questions();
    if questions < 500 {
        eprintln!(
            "warning: {questions} questions are few to learn from: a fortnight of a phone has about 1,000"
        );
    }
    match args.model {
        Kind::Ranker => train_ranker(args, &experiment, &source, questions, &bar),
        Kind::Transformer => train_transformer(args, &experiment, &source, &bar),
    }
}

fn train_ranker(
    args: &Args,
    experiment: &Experiment,
    source: &cli::Source,
    questions: usize,
    bar: &cli::Bar,
) -> foretap::Result<()> {
    let config = args.training.ranker();
    let trained = experiment.train(&config, &source.log, &source.vocabulary, bar)?;
    trained.model.save(&args.run.out)?;
    let trees = trained.model.ranker.forest().ensemble().trees.len();
    let loss = match trained.losses.iter().copied().reduce(f64::min) {
        Some(loss) => format!("validation log loss {loss:.3}"),
        None => "no questions left to validate on: give a longer log".to_owned(),
    };
    cli::say(&format!(
        "{trees} trees from {questions} questions of the task {}, {loss}, written to {}",
        experiment.task,
        args.run.out.display()
    ));
    if let Some(file) = &args.run.json {
        let summary = serde_json::json!({
            "task": experiment.task,
            "questions": questions,
            "trees": trees,
            "temperature": trained.model.temperature,
            "validation_losses": trained.losses,
            "config": config,
        });
        cli::write_json(file, &summary)?;
    }
    Ok(())
}

fn train_transformer(
    args: &Args,
    experiment: &Experiment,
    source: &cli::Source,
    bar: &cli::Bar,
) -> foretap::Result<()> {
    let plan = args.deep.plan(args.size, args.run.start.as_deref(), args.training.seed)?;
    let bayes_optimal = source.truth.as_ref().map(|truth| BayesOptimal { truth });
    let teacher = bayes_optimal.as_ref().filter(|_| args.truth_weight > 0.0).map(|bayes_optimal| Teacher {
        predictor: bayes_optimal,
        temperature: 1.0,
        weight: args.truth_weight,
        is_truth: true,
    });
    args.run.train(&plan, experiment, source, teacher, bar)
}
