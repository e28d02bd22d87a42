//! What a transformer loses in whole numbers, and what it gains: accuracy, size and time before and after.
//!
//! ```text
//! cargo run --release --example quantize
//! cargo run --release --example quantize -- --data phone.csv --fine-tune 2 --prune 0.3,0.5
//! ```

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::bundle::{Bundle, Parts};
use foretap::data::SplitPlan;
use foretap::experiment::{DeepPlan, Experiment, Quantization, QuantizationPlan, Variant};
use foretap::quantize::{Kernel, TensorReport};
use foretap::transformer::{Size, TransformerModel, pretrained};
use foretap::{Error, ErrorKind};

/// Quantize a transformer, and compare it with the plain one
///
/// Scales are chosen on earlier questions of each person, and the models compared on the later ones. Without a log, 60
/// people are simulated.
#[derive(Debug, Parser)]
struct Args {
    /// The transformer's weights [default: the student that travels with the crate]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Questions that scales are chosen on
    #[arg(long, value_name = "N", default_value_t = 500)]
    calibration: usize,

    /// Train on for so many epochs, with every weight rounded as it will be (quantization-aware)
    #[arg(long, value_name = "EPOCHS", default_value_t = 0.0)]
    fine_tune: f64,

    /// Also try without these shares of the smallest weights, such as 0.3,0.5
    #[arg(long, value_name = "SHARE", value_delimiter = ',')]
    prune: Vec<f64>,

    /// Compare on this share of each person's questions, the latest
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    test_share: f64,

    /// Write the model in whole numbers here, as a bundle
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write the figures for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    training: cli::TrainingArgs,

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
    check(args)?;
    let bar = cli::Bar::new();
    let model = match &args.model {
        Some(file) => TransformerModel::load(file)?,
        None => pretrained(Size::Student)?,
    };
    let source = args.simulation.load_or_simulate(&args.data, &bar)?;
    let experiment = Experiment {
        task: args.training.task,
        split: SplitPlan::Shares { validation: 0.15, test: args.test_share },
        ..Experiment::default()
    };
    let mut aware = DeepPlan::new(Size::Student, Some(model.clone()));
    aware.quantization_aware = true;
    aware.recipe.epochs = args.fine_tune;
    aware.recipe.training.seed = args.training.seed;
    let plan = QuantizationPlan { aware, calibration: args.calibration, pruned: args.prune.clone() };
    let (log, vocabulary, truth) = (&source.log, &source.vocabulary, source.truth.as_ref());
    let found = experiment.quantize(&plan, &model, log, vocabulary, truth, &bar)?;
    let whole = &found.model;
    let bundle = Bundle::new(Parts {
        task: whole.config().task,
        apps: whole.apps.clone(),
        student: Some(whole.clone()),
        ..Parts::default()
    })?;
    let bundle_bytes = bundle.to_bytes()?.len();
    cli::say(&format!("{}\na bundle of it takes {bundle_bytes} bytes", in_words(&found)));
    if let Some(file) = &args.out {
        bundle.save(file)?;
    }
    if let Some(file) = &args.json {
        cli::write_json(file, &for_machines(&found, bundle_bytes))?;
    }
    Ok(())
}

/// Refuses, before anything is done, what cannot be done.
fn check(args: &Args) -> foretap::Result<()> {
    cli::check_folders([&args.out, &args.json])?;
    let wrong = |field: &str, value: f64, next_step: &str| {
        Err(Error::new(ErrorKind::Config, format!("a value of {value}")).field(field).next_step(next_step))
    };
    if let Some(share) = args.prune.iter().find(|share| !(0.0..1.0).contains(*share)) {
        return wrong("--prune", *share, "choose shares of 0 to less than 1");
    }
    if !(args.fine_tune.is_finite() && args.fine_tune >= 0.0) {
        return wrong("--fine-tune", args.fine_tune, "choose a number of epochs, 0 for none");
    }
    if args.calibration == 0 {
        return wrong("--calibration", 0.0, "choose one question or more");
    }
    Ok(())
}

fn in_words(found: &Quantization) -> String {
    let mut lines = vec![
        "what rounding one tensor costs: products' error, numbers cut off, growth of the log loss".to_owned(),
        format!(
            "{:<22} {:>8} {:>8} {:>8} {:>8} {:>9}",
            "tensor", "weights", "bytes", "error", "cut off", "log loss"
        ),
    ];
    lines.extend(found.tensors.iter().map(tensor_line));
    lines.push(String::new());
    lines.push(format!(
        "{:<18} {:>6} {:>20} {:>6} {:>9} {:>9} {:>9}",
        "model", "HR@1", "change, 95 %", "HR@3", "log loss", "bytes", "deflated"
    ));
    lines.extend(found.variants.iter().map(variant_line));
    let [plain, cold, ahead] = found.pass_us;
    lines.push(format!(
        "\none question's pass (features aside, {}): {plain:.1} µs plain, {cold:.1} µs in whole numbers from nothing, \
         {ahead:.1} µs with all but its own token read ahead",
        Kernel::detect().name()
    ));
    lines.join("\n")
}

fn tensor_line(tensor: &TensorReport) -> String {
    format!(
        "{:<22} {:>8} {:>8} {:>6.2} % {:>6.2} % {:>+9.5}",
        tensor.name,
        tensor.weights,
        tensor.bytes,
        100.0 * tensor.error,
        100.0 * tensor.clipped_share,
        tensor.sensitivity
    )
}

fn variant_line(variant: &Variant) -> String {
    let metrics = variant.report.metrics;
    let change = variant.hr1_change.map(|change| format!("{:+.4} to {:+.4}", change.0, change.1));
    let deflated = variant.deflated_bytes.map(|bytes| bytes.to_string());
    format!(
        "{:<18} {:>6.3} {:>20} {:>6.3} {:>9.4} {:>9} {:>9}",
        variant.report.name,
        metrics.hr1,
        change.unwrap_or_default(),
        metrics.hr3,
        metrics.log_loss,
        variant.bytes,
        deflated.unwrap_or_default()
    )
}

/// The plain model beside the one in whole numbers that a bundle would hold.
fn for_machines(found: &Quantization, bundle_bytes: usize) -> serde_json::Value {
    let named = |names: [&str; 2]| {
        let find = |name: &str| found.variants.iter().find(|variant| variant.report.name == name);
        names.into_iter().find_map(find).map(|variant| variant.report.metrics)
    };
    let (plain, whole) = (named(["f32, fine-tuned", "f32"]), named(["int8, aware", "int8, calibrated"]));
    serde_json::json!({
        "hr1_f32": plain.map(|metrics| metrics.hr1),
        "hr1_int8": whole.map(|metrics| metrics.hr1),
        "hr3_f32": plain.map(|metrics| metrics.hr3),
        "hr3_int8": whole.map(|metrics| metrics.hr3),
        "log_loss_f32": plain.map(|metrics| metrics.log_loss),
        "log_loss_int8": whole.map(|metrics| metrics.log_loss),
        "latency_us_f32": found.pass_us[0],
        "latency_us_int8": found.pass_us[1],
        "latency_us_int8_read_ahead": found.pass_us[2],
        "bundle_bytes": bundle_bytes,
        "kernel": Kernel::detect().name(),
        "variants": found.variants,
        "tensors": found.tensors,
    })
}
