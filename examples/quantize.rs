//! What a transformer loses in INT8, and what it gains: accuracy, size and time before and after. All rows but one read the
//! window that ships; that one, `sliding window`, shows what that window costs.
//!
//! ```text
//! cargo run --release --example quantize -- --data phone.csv --model student.safetensors
//!
//! ..
//! model                              HR@1         change, 95 %   HR@3  log loss         change, 95 %     bytes
//! f32                               0.842                       0.972    0.5700                         337056
//! f32, sliding window               0.842   +0.0000 to +0.0000  0.972    0.5688   -0.0029 to +0.0007    337056
//! int8                              0.839   -0.0101 to +0.0000  0.972    0.5739   +0.0015 to +0.0057     92976
//! int8, calibrated                  0.835   -0.0131 to +0.0000  0.972    0.5736   +0.0008 to +0.0060     92976
//! ..
//! median, µs                               f32      int8 prefilled
//! answer                                 107.2      67.3      52.9
//! the network's pass alone                54.3      20.0       5.6
//!
//! cargo run --release --example quantize -- --data phone.csv --fine-tune 2 --prune 0.3,0.5
//! ```

mod cli;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::bundle::{Bundle, BundleContents};
use foretap::data::SplitPlan;
use foretap::evaluate::{CLOCK, Interval, Latency};
use foretap::experiment::{Experiment, Quantization, QuantizationPlan, TransformerPlan, Variant, WindowCost};
use foretap::quantize::{Kernel, TensorReport};
use foretap::transformer::{Size, TransformerModel, pretrained};
use foretap::{Error, ErrorKind};

/// Quantize a transformer, and compare it with the plain one
///
/// Scales are chosen on earlier questions of each person, and the models compared on the later ones. Without a log, 60
/// people are simulated.
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
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

    /// Write the quantized model here, as a bundle
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
    let mut aware = TransformerPlan::new(Size::Student, Some(model.clone()));
    aware.quantization_aware = true;
    aware.fine_tune.epochs = args.fine_tune;
    aware.fine_tune.training.seed = args.training.seed;
    let plan = QuantizationPlan { aware, calibration: args.calibration, pruned: args.prune.clone() };
    let (log, vocabulary, truth) = (&source.log, &source.vocabulary, source.truth.as_ref());
    let found = experiment.quantize(&plan, &model, log, vocabulary, truth, &bar)?;
    let whole = &found.model;
    let bundle = Bundle::new(BundleContents {
        task: whole.config().task,
        apps: whole.apps.clone(),
        student: Some(whole.clone()),
        ..BundleContents::default()
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
    cli::check_writable([&args.out, &args.json])?;
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
        "{:<32} {:>6} {:>20} {:>6} {:>9} {:>20} {:>9} {:>9}",
        "model", "HR@1", "change, 95 %", "HR@3", "log loss", "change, 95 %", "bytes", "deflated"
    ));
    lines.extend(found.variants.iter().map(variant_line));
    let WindowCost { log_loss, log_loss_interval } = found.window_cost;
    lines.push(format!(
        "all but the sliding window read the window that ships, which costs f32 {log_loss:+.4}{} in log loss",
        log_loss_interval.map_or(String::new(), |interval| format!(" ({})", range(interval)))
    ));
    let (plain, whole) = compared(found);
    let micros =
        |latency: Option<Latency>| latency.map_or("-".to_owned(), |latency| format!("{:.1}", latency.p50));
    let answers = [
        plain.map(|plain| plain.report.latency_us),
        whole.map(|whole| whole.report.latency_us),
        whole.and_then(|whole| whole.report.latency_prefilled_us),
    ];
    lines.push(format!("\n{:<34} {:>9} {:>9} {:>9}", "median, µs", "f32", "int8", "prefilled"));
    for (what, [plain, whole, prefilled]) in [
        ("answer", answers.map(micros)),
        ("the network's pass alone", found.pass_us.map(|us| format!("{us:.1}"))),
    ] {
        lines.push(format!("{what:<34} {plain:>9} {whole:>9} {prefilled:>9}"));
    }
    lines.push(format!(
        "answer: {CLOCK};\nthe pass alone: the same from the network's inputs in place to its scores; prefilled: int8, all \
         tokens but the question's own computed before ({})",
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
    let change = |change: Option<Interval>| change.map_or(String::new(), range);
    let deflated = variant.deflated_bytes.map(|bytes| bytes.to_string());
    format!(
        "{:<32} {:>6.3} {:>20} {:>6.3} {:>9.4} {:>20} {:>9} {:>9}",
        variant.report.name,
        metrics.hr1,
        change(variant.hr1_change),
        metrics.hr3,
        metrics.log_loss,
        change(variant.log_loss_change),
        variant.bytes,
        deflated.unwrap_or_default()
    )
}

fn range(Interval(low, high): Interval) -> String {
    format!("{low:+.4} to {high:+.4}")
}

/// The plain model, and the one in INT8 that a bundle would hold.
fn compared(found: &Quantization) -> (Option<&Variant>, Option<&Variant>) {
    let named = |names: [&str; 2]| {
        let find = |name: &str| found.variants.iter().find(|variant| variant.report.name == name);
        names.into_iter().find_map(find)
    };
    (named(["f32, fine-tuned", "f32"]), named(["int8, aware", "int8, calibrated"]))
}

/// The two that are [`compared`]. `latency_us_*` are answers from nothing, `latency_us_int8_prefilled` with all tokens but the
/// question's own computed before; `pass_us_*` the network's pass alone, its inputs in
/// place. All are medians, `clock` says what is inside. `window_cost_log_loss` is the log loss of f32 with the window that
/// ships less that with a sliding one, `variants` has every row of the table.
fn for_machines(found: &Quantization, bundle_bytes: usize) -> serde_json::Value {
    let (plain, whole) = compared(found);
    let [plain_metrics, whole_metrics] =
        [plain, whole].map(|variant| variant.map(|variant| variant.report.metrics));
    let [plain_us, whole_us] =
        [plain, whole].map(|variant| variant.map(|variant| variant.report.latency_us.p50));
    let prefilled_us = whole.and_then(|whole| whole.report.latency_prefilled_us).map(|latency| latency.p50);
    let [plain_pass, whole_pass, prefilled_pass] = found.pass_us;
    serde_json::json!({
        "hr1_f32": plain_metrics.map(|metrics| metrics.hr1),
        "hr1_int8": whole_metrics.map(|metrics| metrics.hr1),
        "hr3_f32": plain_metrics.map(|metrics| metrics.hr3),
        "hr3_int8": whole_metrics.map(|metrics| metrics.hr3),
        "log_loss_f32": plain_metrics.map(|metrics| metrics.log_loss),
        "log_loss_int8": whole_metrics.map(|metrics| metrics.log_loss),
        "window_cost_log_loss": found.window_cost.log_loss,
        "window_cost_log_loss_interval": found.window_cost.log_loss_interval,
        "clock": CLOCK,
        "latency_us_f32": plain_us,
        "latency_us_int8": whole_us,
        "latency_us_int8_prefilled": prefilled_us,
        "pass_us_f32": plain_pass,
        "pass_us_int8": whole_pass,
        "pass_us_int8_prefilled": prefilled_pass,
        "bundle_bytes": bundle_bytes,
        "kernel": Kernel::detect().name(),
        "variants": found.variants,
        "tensors": found.tensors,
    })
}
