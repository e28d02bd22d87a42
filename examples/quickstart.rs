//! The main job in one go: a log, all predictors compared, a report with plots, and predictions in words.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use foretap::bundle::{Bundle, BundleContents};
use foretap::context::{Task, replay};
use foretap::data::simulate::{Law, SimulationConfig, Truth, simulate};
use foretap::data::{AppId, Log, SplitPlan, Vocabulary};
use foretap::evaluate::{ModelReport, Report};
use foretap::experiment::{Experiment, ExperimentResult, RouterPlan, TransformerPlan};
use foretap::model::RankerModel;
use foretap::predict::{Prediction, Predictor};
use foretap::quantize::{QuantizedModel, QuantizedTrees};
use foretap::ranker::RankerConfig;
use foretap::router::RouterModel;
use foretap::transformer::{Size, pretrained};
use foretap::{Error, ErrorKind, Progress};

/// Train, compare, report and predict, on simulated people or on your own log
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// Folder for report.json, report.html, its plots, and the bundle
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,

    /// Seed of the simulation and the training
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Copy report.json to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    data: cli::DataArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    cli::check_writable([&args.json])?;
    let bar = cli::Bar::new();
    let (log, vocabulary, truth) = read_or_simulate(args, &bar)?;
    cli::make_folder(&args.out)?;
    cli::check_writable([&Some(args.out.join("report.json"))])?;
    let mut ranker = RankerConfig::default();
    ranker.gbdt.seed = args.seed;
    if truth.is_some() {
        // Fewer and larger steps on a part of the rows: the differences between predictors show, in half the time.
        ranker.max_rows = 400_000;
        ranker.gbdt.trees = 200;
        ranker.gbdt.learning_rate = 0.06;
    }
    let mut experiment = Experiment {
        split: SplitPlan::Shares { validation: 0.15, test: 0.2 },
        cold_start: true,
        router: Some(RouterPlan::default()),
        ..Experiment::with_ranker(ranker)
    };
    for size in [Size::Teacher, Size::Student] {
        experiment.add_transformer(transformer(size, args, truth.is_some())?, size == Size::Student);
    }
    let ExperimentResult { report, failures, model, quantized, router } =
        experiment.run(&log, &vocabulary, truth.as_ref(), &bar)?;
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure.error);
    }
    let model = model.ok_or_else(|| Error::new(ErrorKind::Data, "no ranker was trained"))?;
    cli::say(&report.to_string());
    if let Some(regrets) = regrets(&report) {
        cli::say(&regrets);
    }

    let examples = three_predictions(&log, &vocabulary, &experiment, &model)?;
    report.write_json(&args.out.join("report.json"))?;
    if let Some(file) = &args.json {
        report.write_json(file)?;
    }
    let page = args.out.join("report.html");
    report.write_html(&page, &examples)?;
    report.write_plots(&args.out)?;
    cli::say(&format!("plots: {}, and as SVG files beside it", page.display()));
    if let Some(student) = quantized {
        cli::say(&write_bundle(student, &model, router, &report, &args.out.join("phone.foretap"))?);
    }
    cli::say("");
    for example in examples {
        cli::say(&example);
    }
    Ok(())
}

/// Student, trees and the router between them in one file, ready for a phone; what there is to say of it.
fn write_bundle(
    student: QuantizedModel,
    model: &RankerModel,
    router: Option<RouterModel>,
    report: &Report,
    file: &Path,
) -> foretap::Result<String> {
    let figures = |name: &str| {
        let metrics = report.model(name).map(|model| model.metrics)?;
        Some(format!(
            "HR@1/3/5 {:.3}/{:.3}/{:.3}, log loss {:.3}",
            metrics.hr1, metrics.hr3, metrics.hr5, metrics.log_loss
        ))
    };
    let card = [
        ("learned_from", Some(format!("the log of {} users that quickstart was given", report.users))),
        ("student_on_later_questions", figures("student-int8")),
        ("trees_on_later_questions", figures("gbdt")),
        ("router_on_later_questions", figures("router")),
    ];
    let card = card.into_iter().filter_map(|(field, text)| Some((field.to_owned(), text?.into()))).collect();
    let trees = (QuantizedTrees::new(model.ranker.forest().ensemble())?, model.temperature);
    let bundle = Bundle::new(BundleContents {
        task: model.task,
        apps: student.apps.clone(),
        student: Some(student),
        trees: Some(trees),
        router,
        card,
    })?;
    bundle.save(file)?;
    let bytes = bundle.to_bytes()?.len();
    Ok(format!(
        "for the phone: {} ({} kB: student and quantized trees, router, {} golden questions)",
        file.display(),
        bytes.div_ceil(1_000),
        bundle.golden_questions()
    ))
}

fn read_or_simulate(
    args: &Args,
    progress: &dyn Progress,
) -> foretap::Result<(Log, Vocabulary, Option<Truth>)> {
    if !args.data.data.is_empty() {
        let mut vocabulary = Vocabulary::new();
        let log = args.data.load(&mut vocabulary, progress)?;
        return Ok((log, vocabulary, None));
    }
    // Each person by a law of their own, as the transformers have met them: other people, but of the same family.
    let config = SimulationConfig {
        law: Law::named(cli::DEFAULT_LAW)?,
        seed: args.seed,
        ..SimulationConfig::default()
    };
    cli::say(&format!("simulating {} people for {} days\n", config.people, config.days));
    let simulation = simulate(&config, progress)?;
    Ok((simulation.log, simulation.vocabulary, Some(simulation.truth)))
}

/// The teacher or the student that travels with the crate: as it is for simulated people, of whose kind it has met many; trained
/// on for real ones.
fn transformer(size: Size, args: &Args, is_simulated: bool) -> foretap::Result<TransformerPlan> {
    let mut plan = TransformerPlan::new(size, Some(pretrained(size)?));
    plan.fine_tune.training.seed = args.seed;
    if is_simulated { plan.as_it_is() } else { Ok(plan) }
}

/// How far each predictor is from the best possible score of simulated people: in expectation, so that no luck of the draw is
/// in it. `None` of real people.
fn regrets(report: &Report) -> Option<String> {
    let [markov, bayes_optimal] =
        ["markov", "bayes-optimal"].map(|name| report.model(name).and_then(|model| model.expected));
    let (markov, bayes_optimal) = (markov?, bayes_optimal?);
    let part = |low: f64, here: f64, high: f64| 100.0 * (here - low) / (high - low);
    let line = |model: &ModelReport| {
        let (expected, regret) = (model.expected?, model.regret?);
        let relative = |nats: f64| 100.0 * nats / expected.entropy;
        let interval = match (regret.low, regret.high) {
            (Some(low), Some(high)) => format!(" ({:.1} to {:.1})", relative(low), relative(high)),
            _ => String::new(),
        };
        Some(format!(
            "{}'s log loss is {:.1} %{interval} above the least possible; from markov to there it comes {:.0} % of the way, \
             {:.0} % in HR@1, {:.0} % in HR@3",
            model.name,
            relative(regret.mean),
            part(markov.log_loss, expected.log_loss, bayes_optimal.log_loss),
            part(markov.hr1, expected.hr1, bayes_optimal.hr1),
            part(markov.hr3, expected.hr3, bayes_optimal.hr3),
        ))
    };
    let others = report
        .models
        .iter()
        .filter(|model| !["recent", "frequent", "markov", "bayes-optimal"].contains(&model.name.as_str()));
    let lines: Vec<String> = others.filter_map(line).collect();
    Some(format!("\nin expectation (in brackets the 95 % interval):\n{}", lines.join("\n")))
}

/// The last question of three users (or the last three of fewer), answered in words.
fn three_predictions(
    log: &Log,
    vocabulary: &Vocabulary,
    experiment: &Experiment,
    model: &RankerModel,
) -> foretap::Result<Vec<String>> {
    let users: Vec<_> = log.users().collect();
    let users_shown = users.len().min(3);
    // In ids of the log: the model's own are those of its own vocabulary.
    let favourites: Arc<[AppId]> =
        model.apps.iter().take(model.favourites().len()).filter_map(|app| vocabulary.id(app)).collect();
    let mut sentences = Vec::new();
    for events in users.iter().take(users_shown) {
        let mut latest = Vec::new();
        let mut scratch = model.ranker.new_scratch();
        let questions = foretap::context::questions(experiment.task, events).len();
        let wanted = questions.saturating_sub(3 / users_shown.max(1))..questions;
        replay(events, experiment.task, &favourites, questions, |number, question, context| {
            if !wanted.contains(&number) {
                return;
            }
            let mut scores = vec![0.0; context.candidates().len()];
            model.ranker.score(context, &mut scratch, &mut scores);
            let prediction = Prediction::new(context, &scores, model.temperature);
            let asked = &events[question.asked_at];
            let guesses: Vec<String> = prediction
                .candidates
                .iter()
                .take(3)
                .map(|guess| format!("{} ({:.0} %)", vocabulary.name(guess.app), 100.0 * guess.probability))
                .collect();
            latest.push(format!(
                "{}, {}: foretap expects {}; opened was {}.",
                cli::local_time(asked.at, asked.utc_offset_secs),
                match experiment.task {
                    Task::FirstAfterUnlock => "the phone is unlocked",
                    Task::NextLaunch => "an app is in use",
                },
                guesses.join(", then "),
                vocabulary.name(question.answer)
            ));
        });
        sentences.extend(latest);
    }
    Ok(sentences)
}
