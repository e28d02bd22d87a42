//! Teaches a small transformer what a large one, the ranker, or both know.
//!
//! ```text
//! cargo run --release --example distill -- --data phone.csv --hold-out 0.2 --ranker model.json --out student.safetensors
//!
//! 84264 weights from 1286 questions of the task first-after-unlock, validation log loss 0.435, HR@3 0.996, written to student.safetensors
//! ```

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::distill::{TeacherEnsemble, WeightedTeacher};
use foretap::experiment::Experiment;
use foretap::model::RankerModel;
use foretap::network::Window;
use foretap::transformer::{Size, Teacher, Transformer, TransformerModel, pretrained};
use foretap::{Error, ErrorKind};

/// Distil a teacher into a student
///
/// The student learns the teacher's probabilities of every candidate beside the true answers.
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// The teacher's weights [default: the crate's checkpoint]
    #[arg(long, value_name = "FILE")]
    teacher: Option<PathBuf>,

    /// A ranker that teaches too, from the `train` example
    #[arg(long, value_name = "FILE")]
    ranker: Option<PathBuf>,

    /// How much the ranker counts beside the teacher, 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.5, requires = "ranker")]
    ranker_weight: f64,

    /// Divide the teacher's logits by this; more than 1 softens its answers
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,

    /// Weight of the teacher's answers beside the true ones, 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.9)]
    teacher_weight: f64,

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

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    for (field, share) in [("--teacher-weight", args.teacher_weight), ("--ranker-weight", args.ranker_weight)]
    {
        if !(0.0..=1.0).contains(&share) {
            let error = Error::new(ErrorKind::Config, format!("a weight of {share}")).field(field);
            return Err(error.next_step("choose 0 to 1"));
        }
    }
    if !(args.temperature.is_finite() && args.temperature > 0.0) {
        let error = Error::new(ErrorKind::Config, format!("a temperature of {}", args.temperature));
        return Err(error.field("--temperature").next_step("choose a number above 0, such as 1 or 2"));
    }
    args.run.check()?;
    let bar = cli::Bar::new();
    let large = match &args.teacher {
        Some(file) => TransformerModel::load(file)?,
        None => pretrained(Size::Teacher)?,
    };
    let plan = args.deep.plan(Size::Student, args.run.start.as_deref(), args.training.seed)?;
    let ranker = args.ranker.as_deref().map(RankerModel::load).transpose()?;
    let source = args.simulation.load(&args.data, &bar)?;
    // A teacher that is only learned from tells all that it knows: no phone has to keep up with it.
    let predictor = Transformer::with(&large, &source.vocabulary, Window::Sliding)?;

    let mut parts =
        vec![WeightedTeacher { predictor: &predictor, temperature: large.temperature, weight: 1.0 }];
    if let Some(model) = &ranker {
        check_task(model, args)?;
        parts[0].weight = 1.0 - args.ranker_weight;
        parts.push(WeightedTeacher {
            predictor: &model.ranker,
            temperature: model.temperature,
            weight: args.ranker_weight,
        });
    }
    let blend = TeacherEnsemble::new(parts);
    let teacher = Teacher {
        predictor: &blend,
        temperature: args.temperature,
        weight: args.teacher_weight,
        is_truth: false,
    };

    let experiment =
        Experiment { task: args.training.task, split: args.run.split(), ..Experiment::default() };
    args.run.train(&plan, &experiment, &source, Some(teacher), &bar)
}

/// The ranker reads features alone, so any vocabulary will do, but not any task.
fn check_task(model: &RankerModel, args: &Args) -> foretap::Result<()> {
    if model.task == args.training.task {
        return Ok(());
    }
    let message = format!("the ranker answers {}, not {}", model.task, args.training.task);
    Err(Error::new(ErrorKind::Config, message).field("--ranker").next_step("name a ranker of the same task"))
}
