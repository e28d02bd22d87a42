//! Everything that a phone needs, in one file: make a bundle, look into one, prove it, and send only what changed.
//!
//! ```text
//! cargo run --release --example bundle -- make --trees model.json --student student.safetensors --data phone.csv \
//!     --out phone.foretap
//!
//! router: log loss 0.817 by the trees, 0.564 by the student, 0.564 by both
//! section      bytes           sha256
//! META            86 required  cc511d28f60b4662..
//! ..
//! all         198237
//! written to phone.foretap
//!
//! cargo run --release --example bundle -- inspect phone.foretap
//! cargo run --release --example bundle -- verify phone.foretap
//!
//! every bit of phone.foretap is as it was made, and 9 golden questions get the same answers here (AVX-512 VNNI)
//!
//! cargo run --release --example bundle -- diff old.foretap phone.foretap --out update.patch
//! cargo run --release --example bundle -- apply old.foretap update.patch --out phone.foretap
//! ```

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use foretap::bundle::{Bundle, BundleContents, Sections, apply, diff};
use foretap::data::SplitPlan;
use foretap::experiment::Experiment;
use foretap::model::RankerModel;
use foretap::quantize::{Kernel, QuantizedTrees, quantize};
use foretap::router::{RouterModel, Routing};
use foretap::storage::write_atomically;
use foretap::transformer::{Size, TransformerModel, pretrained};
use foretap::{Error, ErrorKind};

/// Make, inspect, verify and update bundles
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put models into a bundle, quantized; with a log (--data or --simulate), fit a router between trees and student
    /// on its latest questions, which they should not have learned from
    Make(Box<Make>),
    /// Tell what a bundle holds
    Inspect {
        /// The bundle
        file: PathBuf,
    },
    /// Check every bit of a bundle, and ask it its golden questions
    Verify {
        /// The bundle
        file: PathBuf,
    },
    /// Write the difference between two bundles
    Diff {
        /// The bundle that phones have
        base: PathBuf,
        /// The bundle that they shall have
        target: PathBuf,
        /// Write the patch here
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make the new bundle from the old one and a patch
    Apply {
        /// The bundle that the patch was made for
        base: PathBuf,
        /// The patch
        patch: PathBuf,
        /// Write the new bundle here
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
#[command(mut_args = cli::negative_numbers)]
struct Make {
    /// The transformer's weights [default: the student that travels with the crate]
    #[arg(long, value_name = "FILE", conflicts_with = "no_student")]
    student: Option<PathBuf>,

    /// Take transformer, trees and card from this bundle, without its router
    #[arg(long, value_name = "FILE", conflicts_with_all = ["student", "no_student", "trees"])]
    base: Option<PathBuf>,

    /// Leave the transformer out
    #[arg(long, requires = "trees")]
    no_student: bool,

    /// A ranker, from the `train` example
    #[arg(long, value_name = "FILE")]
    trees: Option<PathBuf>,

    /// Share of each person's questions that the router is fitted on, the latest
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    router_share: f64,

    /// A JSON object that says what the models learned from, how good they are, and who may use them
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,

    /// Write the bundle here
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    data: cli::DataArgs,

    #[command(flatten)]
    simulation: cli::SimulationArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

/// Does what was asked for.
pub fn run(args: &Args) -> foretap::Result<()> {
    match &args.command {
        Command::Make(make) => self::make(make),
        Command::Inspect { file } => inspect(file),
        Command::Verify { file } => verify(file),
        Command::Diff { base, target, out } => write_patch(base, target, out),
        Command::Apply { base, patch, out } => write_patched(base, patch, out),
    }
}

fn make(args: &Make) -> foretap::Result<()> {
    cli::check_writable([&Some(args.out.clone())])?;
    let parts = match &args.base {
        Some(file) => {
            let parts = BundleContents::without_router(&read(file)?).map_err(|error| error.file(file))?;
            let card = if args.card.is_some() { card(args.card.as_deref())? } else { parts.card.clone() };
            BundleContents { card, ..parts }
        }
        None => new_parts(args)?,
    };
    let mut bundle = Bundle::new(parts)?;
    if args.simulation.simulate.is_some() || !args.data.data.is_empty() {
        let router = fit_router(args, &bundle)?;
        let mut parts = BundleContents { router: Some(router), ..bundle.parts().clone() };
        if args.card.is_none() {
            with_new_router(&mut parts.card, args.simulation.simulate);
        }
        bundle = Bundle::new(parts)?;
    } else if args.base.is_some() {
        eprintln!("warning: no router was fitted, and the base's own is left out; name a log, or --simulate");
    }
    bundle.save(&args.out)?;
    cli::say(&format!("{}\nwritten to {}", sections(&bundle.to_bytes()?)?, args.out.display()));
    Ok(())
}

/// What a card said of another router is no longer so, and the new one's people are named.
fn with_new_router(card: &mut serde_json::Map<String, serde_json::Value>, simulated: Option<usize>) {
    if let Some(metrics) = card.get_mut("metrics").and_then(serde_json::Value::as_object_mut) {
        metrics.retain(|name, _| !name.contains("router"));
    }
    card.retain(|name, _| !name.starts_with("router"));
    let learned_from = match simulated {
        Some(people) => format!("{people} people simulated by foretap::data::simulate"),
        None => "a log that was given to `bundle make`: not what `learned_from` says".to_owned(),
    };
    card.insert("router_learned_from".to_owned(), learned_from.into());
}

/// Experts from their own files.
fn new_parts(args: &Make) -> foretap::Result<BundleContents> {
    let student = match &args.student {
        _ if args.no_student => None,
        Some(file) => Some(TransformerModel::load(file)?),
        None => Some(pretrained(Size::Student)?),
    };
    let ranker = args.trees.as_deref().map(RankerModel::load).transpose()?;
    let (task, apps) = match (&student, &ranker) {
        (Some(student), Some(ranker)) if student.weights.config().task != ranker.task => {
            let answers = student.weights.config().task;
            let message = format!("the ranker answers {}, the student {answers}", ranker.task);
            return Err(Error::new(ErrorKind::Config, message)
                .field("--trees")
                .next_step("name a ranker of the same task"));
        }
        (Some(student), _) => (student.weights.config().task, student.apps.clone()),
        (None, Some(ranker)) => (ranker.task, ranker.apps.clone()),
        (None, None) => {
            return Err(Error::new(ErrorKind::Config, "neither a student nor trees")
                .next_step("name a ranker with --trees, or leave --no-student out"));
        }
    };
    let trees = match &ranker {
        Some(ranker) => Some((QuantizedTrees::new(ranker.ranker.forest().ensemble())?, ranker.temperature)),
        None => None,
    };
    let student = student.as_ref().map(quantize).transpose()?;
    Ok(BundleContents { task, apps, student, trees, router: None, card: card(args.card.as_deref())? })
}

/// A router between the bundle's own experts, quantized as phones have them.
fn fit_router(args: &Make, bundle: &Bundle) -> foretap::Result<RouterModel> {
    let (bar, parts) = (cli::Bar::new(), bundle.parts());
    let source = args.simulation.load(&args.data, &bar)?;
    let student = bundle.student(&source.vocabulary)?;
    let (Some(trees), Some(student)) = (&parts.trees, student) else {
        let (field, next_step) = match parts.trees {
            None => ("--trees", "name a ranker, or leave the log out"),
            Some(_) => ("--no-student", "leave it out, or leave the log out"),
        };
        return Err(Error::new(ErrorKind::Config, "a router needs trees and a student")
            .field(field)
            .next_step(next_step));
    };
    let split = SplitPlan::Shares { validation: args.router_share, test: 0.0 };
    let experiment = Experiment { task: parts.task, split, ..Experiment::default() };
    let (experts, cli::Source { log, vocabulary, .. }) = (trees.0.ranker()?, &source);
    let fitted = experiment.fit_router([&experts, &student], Routing::default(), log, vocabulary, &bar)?;
    let Some([trees, deep, both]) = fitted.losses else {
        return Err(Error::new(ErrorKind::Data, "the log has no question to fit a router on")
            .next_step("give a longer log, or a larger --router-share"));
    };
    cli::say(&format!(
        "router: log loss {trees:.3} by the trees, {deep:.3} by the student, {both:.3} by both"
    ));
    Ok(fitted.model)
}

fn card(file: Option<&Path>) -> foretap::Result<serde_json::Map<String, serde_json::Value>> {
    let Some(file) = file else { return Ok(serde_json::Map::new()) };
    let text =
        std::fs::read_to_string(file).map_err(|error| Error::io(file, "read the model card", error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::Data, format!("no JSON object: {error}"))
            .file(file)
            .line(error.line() as u64)
            .next_step("write the card as {\"learned_from\": \"..\", ..}")
    })
}

fn inspect(file: &Path) -> foretap::Result<()> {
    let bytes = read(file)?;
    let told = sections(&bytes).map_err(|error| error.file(file))?;
    let bundle = Bundle::from_bytes(&bytes).map_err(|error| error.file(file))?;
    let parts = bundle.parts();
    let mut lines = vec![told, String::new()];
    lines.push(format!("answers {}, knows {} apps by name", parts.task, parts.apps.len()));
    if let Some(student) = &parts.student {
        let config = student.config();
        lines.push(format!(
            "student: {} wide, {} layers, {} heads, {} tokens, {} bytes of numbers",
            config.d_model,
            config.layers,
            config.heads,
            config.window,
            student.bytes()
        ));
    }
    if let Some((trees, _)) = &parts.trees {
        lines.push(format!("trees: over {} features, a step of {:e}", trees.columns(), trees.step()));
    }
    let router = bundle.router(&bundle.vocabulary(), Routing::default())?;
    lines.push(match router.degraded() {
        None => format!("router: {} trees guess where the student helps", router.model().gate.len()),
        Some(reason) => format!("router: {reason}"),
    });
    for (field, value) in &parts.card {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        lines.push(format!("{field}: {text}"));
    }
    cli::say(&lines.join("\n"));
    Ok(())
}

fn verify(file: &Path) -> foretap::Result<()> {
    let bundle = Bundle::load(file)?;
    cli::say(&format!(
        "every bit of {} is as it was made, and {} golden questions get the same answers here ({})",
        file.display(),
        bundle.golden_questions(),
        Kernel::detect().name()
    ));
    Ok(())
}

fn write_patch(base: &Path, target: &Path, out: &Path) -> foretap::Result<()> {
    cli::check_writable([&Some(out.to_owned())])?;
    let target = read(target)?;
    let patch = diff(&read(base)?, &target)?;
    write_atomically(out, |file| file.write_all(&patch))?;
    let share = 100.0 * patch.len() as f64 / target.len().max(1) as f64;
    cli::say(&format!(
        "{} bytes instead of {} ({share:.1} %), written to {}",
        patch.len(),
        target.len(),
        out.display()
    ));
    Ok(())
}

fn write_patched(base: &Path, patch: &Path, out: &Path) -> foretap::Result<()> {
    cli::check_writable([&Some(out.to_owned())])?;
    let bytes = apply(&read(base)?, &read(patch)?).map_err(|error| error.file(patch))?;
    // A patch can be right and its target still not for this build.
    Bundle::from_bytes(&bytes).map_err(|error| error.file(patch))?;
    write_atomically(out, |file| file.write_all(&bytes))?;
    cli::say(&format!("{} bytes, checked, written to {}", bytes.len(), out.display()));
    Ok(())
}

fn read(file: &Path) -> foretap::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        Error::io(file, "read this file", error).next_step("name a file that this example wrote")
    })
}

/// A table of the file's sections.
fn sections(bytes: &[u8]) -> foretap::Result<String> {
    let sections = Sections::parse(bytes)?;
    let mut lines = vec![format!("{:<8} {:>9} {:<9} sha256", "section", "bytes", "")];
    for section in sections.iter() {
        let hash: String = section.sha256()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let required = if section.required { "required" } else { "optional" };
        lines.push(format!(
            "{:<8} {:>9} {required:<9} {hash}..",
            section.tag.to_string(),
            section.bytes.len()
        ));
    }
    lines.push(format!("{:<8} {:>9}", "all", bytes.len()));
    Ok(lines.join("\n"))
}
