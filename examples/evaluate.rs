//! How well a log's next apps can be predicted: train on the earlier questions of each user, score the later ones.
//!
//! ```text
//! cargo run --release --example evaluate -- --data phone.csv
//!
//! 322 questions of 1 user, task first-after-unlock
//! model           HR@1   95 % interval   HR@3   HR@5    MRR  NDCG@5  log loss    ECE  cover@90    p50 µs    p99 µs
//! recent         0.789   0.756 - 0.815  0.826  0.854  0.820   0.821     1.464  0.111     0.000       0.5       0.5
//! frequent       0.186   0.079 - 0.288  0.320  0.391  0.314   0.291     3.218  0.144     0.000       0.4       0.5
//! markov         0.776   0.731 - 0.812  0.870  0.894  0.836   0.845     1.219  0.066     0.500       0.9       1.5
//! gbdt           0.764   0.710 - 0.806  0.938  0.969  0.857   0.882     0.829  0.064     0.556      57.9      78.0
//! ..
//!
//! cargo run --release --example evaluate -- --data phone.csv --models gbdt,student-int8,router --runs 5 --html report.html
//!
//! # A bundle as it comes, over the whole log, beside a ranker that was trained on other people.
//! cargo run --release --example evaluate -- --data phone.csv --as-is --bundle phone.foretap --others a.csv b.csv --runs 5
//!
//! # The same, and with trees that the person's own past teaches every night.
//! cargo run --release --example evaluate -- --data phone.csv --as-is --learn
//!
//! # A public benchmark, as published (docs/benchmarks.md).
//! cargo run --release --example evaluate -- --protocol lsapp --data lsapp.tsv --runs 5
//! ```

mod cli;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::bundle::Bundle;
use foretap::context::Task;
use foretap::data::{Event, Log, Signal, SplitPlan, Timestamp, Vocabulary};
use foretap::evaluate::Report;
use foretap::experiment::{AsShipped, BenchmarkProtocol, Experiment, ExperimentResult, train_on_others};
use foretap::router::LearnSettings;
use foretap::transformer::Size;
use foretap::{Error, ErrorKind};

/// Compare all predictors on a log
///
/// Each user's earlier questions are learned from, the later ones scored with everything before them known. Without
/// a choice of the test, the last 20 % of each user's questions are it.
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
pub struct Args {
    /// Score this share of each user's questions, the latest [default: 0.2; with --as-is and no --models, all]
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["test_days", "rolling"])]
    test_share: Option<f64>,

    /// Of each user's questions, this share before the test tells when to stop training
    #[arg(long, value_name = "SHARE", default_value_t = SHARES[0], conflicts_with_all = ["test_days", "rolling"])]
    validation_share: f64,

    /// Score the questions of each user's last days instead, such as 30
    #[arg(long, value_name = "DAYS", conflicts_with = "rolling")]
    test_days: Option<u32>,

    /// Score every question from this moment on instead, whoever asks: a date such as 2019-12-05 (its midnight in
    /// --time-zone), or a moment such as 2019-12-05T08:00:00+01:00
    #[arg(long, value_name = "TIME", conflicts_with_all = ["test_days", "rolling", "test_share", "validation_share"])]
    test_from: Option<String>,

    /// Score the later half in this many blocks instead, each after training on all before it
    #[arg(long, value_name = "BLOCKS")]
    rolling: Option<usize>,

    /// Prepare, split and score a public benchmark as published: lsapp or tsinghua (docs/benchmarks.md)
    #[arg(long, value_name = "BENCHMARK", conflicts_with_all = NOT_WITH_PROTOCOL)]
    protocol: Option<BenchmarkProtocol>,

    /// Also test users that training never saw
    #[arg(long)]
    cold_start: bool,

    /// Train and test everything so many times, each time with the next seed, and give the means: with few people, what one
    /// seed makes of a model is partly chance
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::MIN)]
    runs: NonZeroU32,

    /// Write each model of the comparison as it was trained into this folder, and those of --cold-start into
    /// folders of their own in it
    #[arg(long, value_name = "FOLDER")]
    save_models: Option<PathBuf>,

    /// Write the report for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the report as a self-contained page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the main plots as SVG files into this folder, which is made if it is not there
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,

    /// What to compare, of recent, frequent, markov, gbdt, teacher, student, either with -int8 for INT8, router
    /// (gbdt, and a transformer where that pays), router-full (both always), router-shared (the first without
    /// personalization), and bayes-optimal on simulated people [default: recent,frequent,markov,gbdt,bayes-optimal]
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,

    /// With --as-is and no --models: the bundle to test over whole logs, nothing trained on them [default: the one that
    /// travels with the crate]
    #[arg(long, value_name = "FILE", requires = "as_is", conflicts_with_all = ["models", "teacher", "student"])]
    bundle: Option<PathBuf>,

    /// With --as-is and no --models: logs of other people, to train a ranker on that is tested beside the bundle
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "as_is", conflicts_with = "models")]
    others: Vec<PathBuf>,

    /// With --as-is and no --models: test the bundle also with trees that each person's own past teaches every night
    #[arg(long, requires = "as_is", conflicts_with = "models")]
    learn: bool,

    #[command(flatten)]
    training: cli::TrainingArgs,

    #[command(flatten)]
    deep: cli::DeepArgs,

    #[command(flatten)]
    weights: cli::WeightsArgs,

    #[command(flatten)]
    router: cli::RouterArgs,

    #[command(flatten)]
    data: cli::DataArgs,

    #[command(flatten)]
    simulation: cli::SimulationArgs,
}

/// What a benchmark's protocol decides, or has no answer to.
const NOT_WITH_PROTOCOL: [&str; 20] = [
    "test_share",
    "validation_share",
    "test_days",
    "test_from",
    "rolling",
    "task",
    "format",
    "columns",
    "mapping",
    "home",
    "keep_home",
    "simulate",
    "as_is",
    "learn",
    "bundle",
    "others",
    "save_models",
    "html",
    "plots",
    "person",
];

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

/// Compares, and writes what is asked for.
pub fn run(args: &Args) -> foretap::Result<()> {
    let split = match (&args.test_from, args.test_days, args.rolling) {
        (Some(from), ..) => {
            SplitPlan::From(cli::moment("--test-from", from, args.data.time_zone.as_deref())?)
        }
        (None, Some(days), _) => SplitPlan::LastDays(days),
        (None, None, Some(blocks)) => SplitPlan::RollingOrigin(blocks),
        (None, None, None) => SplitPlan::Shares {
            validation: args.validation_share,
            test: args.test_share.unwrap_or(SHARES[1]),
        },
    };
    cli::check_writable([&args.json, &args.html])?;
    let read = args.data.data.iter().chain(&args.others).chain(&args.bundle);
    cli::check_outputs([("--json", args.json.as_ref()), ("--html", args.html.as_ref())], read)?;
    args.plots.iter().try_for_each(|folder| cli::make_folder(folder))?;
    let bar = cli::Bar::new();
    if args.deep.as_is && args.models.is_empty() {
        return write(args, &as_shipped(args, &bar)?);
    }
    let models =
        if args.models.is_empty() { USUAL.map(str::to_owned).to_vec() } else { known_models(&args.models)? };
    let is_routed = models.iter().any(|model| model.starts_with("router"));
    // Refused also where no router takes part.
    let plan = args.router.plan()?;
    let router = is_routed.then_some(plan);
    if let Some(plan) = &router
        && !DEEP.contains(&plan.deep.as_str())
    {
        return Err(Error::new(ErrorKind::Config, format!("`{}` is no transformer", plan.deep))
            .field("--router-deep")
            .next_step(format!("choose of {}", DEEP.join(", "))));
    }
    let files = [(Size::Teacher, &args.weights.teacher), (Size::Student, &args.weights.student)];
    let is_wanted = |name: &str| {
        models.iter().any(|model| model == name) || router.as_ref().is_some_and(|plan| plan.deep == name)
    };
    let mut experiment = Experiment {
        task: args.training.task,
        split,
        router: router.clone(),
        cold_start: args.cold_start,
        repeats: args.runs.get() - 1,
        save_models: args.save_models.clone(),
        ..Experiment::with_ranker(args.training.ranker())
    };
    for (size, file) in files {
        let quantized = is_wanted(&format!("{size}-int8"));
        if quantized || is_wanted(size.name()) {
            experiment.add_transformer(args.deep.plan(size, file.as_deref(), args.training.seed)?, quantized);
        }
    }
    experiment.models = models;
    if let Some(protocol) = &args.protocol {
        return benchmark(args, protocol, &experiment, &bar);
    }
    let cli::Source { log, vocabulary, truth } = args.simulation.load(&args.data, &bar)?;
    if truth.is_none() && experiment.models == ["bayes-optimal"] {
        return Err(Error::new(ErrorKind::Config, "of real people nobody knows the Bayes-optimal predictor")
            .field("--models")
            .next_step("name others, or simulate people with --simulate"));
    }
    let ExperimentResult { report, failures, .. } =
        experiment.run(&log, &vocabulary, truth.as_ref(), &bar)?;
    if args.cold_start && report.cold_start.is_empty() {
        eprintln!(
            "warning: --cold-start needs the logs of two people or more, to learn from others than it tests"
        );
    }
    write(args, &report)?;
    // The figures of the others are kept.
    failures.into_iter().next().map_or(Ok(()), |failure| Err(failure.error))
}

/// Tests on a public data set as published.
fn benchmark(
    args: &Args,
    protocol: &BenchmarkProtocol,
    experiment: &Experiment,
    bar: &cli::Bar,
) -> foretap::Result<()> {
    // Home screens are apps like others there.
    let data = cli::DataArgs { format: Some(protocol.format), keep_home: true, ..args.data.clone() };
    let mut vocabulary = Vocabulary::new();
    // --format, which reading a log advises, is no choice here.
    let log =
        data.load(&mut vocabulary, bar).map_err(|error| match error.to_string().contains("--format") {
            true => {
                error.next_step(format!("--protocol {} takes {}", protocol.name, protocol.file_in_words()))
            }
            false => error,
        })?;
    let report = protocol.run(experiment, &log, &vocabulary, bar)?;
    cli::say(&report.to_string());
    if let Some(file) = &args.json {
        report.write_json(file)?;
    }
    report.failures.into_iter().next().map_or(Ok(()), |failure| Err(failure.error))
}

/// Shares of each user's questions that validate and that test.
const SHARES: [f64; 2] = [0.15, 0.2];

/// Tests a bundle over whole logs.
fn as_shipped(args: &Args, bar: &cli::Bar) -> foretap::Result<Report> {
    let chosen = [
        ("--cold-start", args.cold_start),
        ("--test-days", args.test_days.is_some()),
        ("--test-from", args.test_from.is_some()),
        ("--rolling", args.rolling.is_some()),
        ("--save-models", args.save_models.is_some()),
        ("--validation-share", args.validation_share != SHARES[0]),
    ];
    if let Some((flag, _)) = chosen.into_iter().find(|(_, is_given)| *is_given) {
        let error = Error::new(
            ErrorKind::Config,
            "a bundle as it comes is tested over whole logs, and nothing trained",
        );
        return Err(error.field(flag).next_step("leave it out, or name --models"));
    }
    let bundle = match &args.bundle {
        Some(file) => Bundle::load(file)?,
        None => Bundle::pretrained()?,
    };
    let task = bundle.parts().task;
    if args.training.task != Task::default() && args.training.task != task {
        let error = Error::new(ErrorKind::Config, format!("the bundle answers {task}")).field("--task");
        return Err(error.next_step("leave it out, or name a bundle of that task"));
    }
    if args.runs.get() > 1 && args.others.is_empty() {
        let error =
            Error::new(ErrorKind::Config, "nothing is trained, so all runs are the same").field("--runs");
        return Err(error.next_step("leave it out, or train a ranker on --others"));
    }
    let test_share = args.test_share.unwrap_or(1.0);
    if !(test_share > 0.0 && test_share <= 1.0) {
        let error = Error::new(ErrorKind::Config, format!("{test_share} is no share of the questions"));
        return Err(error.field("--test-share").next_step("choose above 0, up to 1"));
    }
    let routing = args.router.routing()?;
    let cli::Source { log, vocabulary, truth } = args.simulation.load(&args.data, bar)?;
    let mut others = Vec::new();
    if !args.others.is_empty() {
        // What is said of --data alone: whose it is, where that person was, and which of the formats it is in.
        let format = args.data.format.filter(|_| args.data.columns.is_some());
        let data = cli::DataArgs {
            data: args.others.clone(),
            person: None,
            places: Vec::new(),
            format,
            ..args.data.clone()
        };
        let mut vocabulary = Vocabulary::new();
        let trained_on = data.load(&mut vocabulary, bar)?;
        check_others(&log, &trained_on)?;
        let experiment = Experiment { task, ..Experiment::default() };
        let config = args.training.ranker();
        others = train_on_others(&experiment, &config, (&trained_on, &vocabulary), args.runs.get(), bar)?;
    }
    let settings = LearnSettings::default();
    let test = AsShipped {
        bundle: &bundle,
        routing,
        others: &others,
        nightly: args.learn.then_some(&settings),
        test_share,
        truth: truth.as_ref(),
    };
    test.test(&log, &vocabulary, bar)
}

/// Refuses a person who would be tested by a ranker that was trained on the same person, under whatever name: two people
/// rarely open an app in the same second.
fn check_others(log: &Log, others: &Log) -> foretap::Result<()> {
    const MOST_SHARED: f64 = 0.2;
    let launches = |events: &[Event]| -> BTreeSet<Timestamp> {
        let is_launch = |event: &&Event| matches!(event.signal, Signal::Launch(_));
        events.iter().filter(is_launch).map(|event| event.at).collect()
    };
    let others: Vec<_> = others.users().map(|other| (other, launches(other))).collect();
    for tested in log.users() {
        let known = launches(tested);
        for (other, times) in &others {
            let shared = times.intersection(&known).count() as f64;
            if tested[0].user == other[0].user || shared > MOST_SHARED * times.len() as f64 {
                let message = format!("person {} is in --data, too, as {}", other[0].user, tested[0].user);
                let error = Error::new(ErrorKind::Config, message).field("--others");
                return Err(error.next_step("name logs of other people"));
            }
        }
    }
    Ok(())
}

/// Prints the report, and writes what is asked for.
fn write(args: &Args, report: &Report) -> foretap::Result<()> {
    cli::say(&report.to_string());
    if let Some(file) = &args.json {
        report.write_json(file)?;
    }
    if let Some(file) = &args.html {
        report.write_html(file, &[])?;
    }
    if let Some(folder) = &args.plots {
        report.write_plots(folder)?;
    }
    Ok(())
}

/// What is compared unless models are named.
const USUAL: [&str; 5] = ["recent", "frequent", "markov", "gbdt", "bayes-optimal"];

/// The transformers by name.
const DEEP: [&str; 4] = ["teacher", "teacher-int8", "student", "student-int8"];

/// Refuses a name that no predictor has.
fn known_models(names: &[String]) -> foretap::Result<Vec<String>> {
    const KNOWN: [&str; 12] = [
        "recent",
        "frequent",
        "markov",
        "gbdt",
        "teacher",
        "teacher-int8",
        "student",
        "student-int8",
        "router",
        "router-full",
        "router-shared",
        "bayes-optimal",
    ];
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let wrong = |message: String, next_step: &str| {
        Err(Error::new(ErrorKind::Config, message).field("--models").next_step(next_step))
    };
    for (position, name) in names.iter().enumerate() {
        if !KNOWN.contains(name) {
            return wrong(format!("`{name}` is no model"), &format!("choose of {}", KNOWN.join(", ")));
        }
        if names[..position].contains(name) {
            return wrong(format!("`{name}` is named twice"), "name each model once");
        }
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}
