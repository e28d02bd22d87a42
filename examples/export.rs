//! Models as files of other runtimes: ONNX, safetensors, LightGBM, XGBoost and Core ML, each with what it needs.
//!
//! ```text
//! cargo run --release --example export -- --bundle phone.foretap --to onnx-int8
//!
//! exported/student-static (143 kB)
//!   ONNX opset 17, IR version 8 (ONNX Runtime 1.15 or later); operators: Add Cast Concat DequantizeLinear Div ..
//! exported/student-dynamic (141 kB)
//! ..
//!
//! cargo run --release --example export -- --weights theirs.safetensors --mapping names.json --to safetensors
//! ```
//!
//! Nothing is written before everything that was asked for has been made.

#[path = "cli/any_model.rs"]
mod any_model;
mod cli;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use any_model::AnyModel;
use clap::{Parser, ValueEnum};
use foretap::export::{ExportSet, OnnxExport, coreml, lightgbm, xgboost};
use foretap::transformer::{Mapping, Precision};
use foretap::{Error, ErrorKind};

/// Write models as files of other runtimes
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// A bundle, or a transformer or ranker alone [default: the bundle that travels with the crate]
    #[arg(long, value_name = "FILE", conflicts_with = "weights")]
    bundle: Option<PathBuf>,

    /// A transformer that was trained elsewhere, as safetensors
    #[arg(long, value_name = "FILE", requires = "mapping")]
    weights: Option<PathBuf>,

    /// Its shape, its apps, and the names of its tensors, as the documentation of `transformer::Mapping` tells
    #[arg(long, value_name = "FILE", requires = "weights")]
    mapping: Option<PathBuf>,

    /// What to write; several with commas between them
    #[arg(long, value_name = "TARGET", value_delimiter = ',', required = true)]
    to: Vec<Target>,

    /// The folder to write to, made where it is missing
    #[arg(long, value_name = "FOLDER", default_value = "exported")]
    out: PathBuf,

    /// Questions of a log (--data or --simulate; otherwise of 20 simulated people) that tell `onnx-int8` how far numbers
    /// reach
    #[arg(long, value_name = "N", default_value_t = 500)]
    calibration: usize,

    #[command(flatten)]
    data: cli::DataArgs,

    #[command(flatten)]
    simulation: cli::SimulationArgs,
}

/// Whose file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// ONNX in single precision: the transformer, the trees in four ways, the router in one graph
    Onnx,
    /// ONNX in half precision: the transformer
    OnnxF16,
    /// ONNX in INT8: the student in both dialects, the router over it
    OnnxInt8,
    /// The transformer's weights in single precision, for PyTorch and others
    Safetensors,
    /// The same in half precision
    SafetensorsF16,
    /// The trees as LightGBM's text
    Lightgbm,
    /// The trees as XGBoost's JSON
    Xgboost,
    /// The transformer as Core ML's ML Program
    Coreml,
}

/// A file, or a folder of files, that is ready to be written.
struct Ready {
    name: String,
    /// What it needs of who loads it.
    needs: String,
    write: Write,
}

type Write = Box<dyn FnOnce(&Path) -> foretap::Result<()>>;

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| run(&args))
}

fn run(args: &Args) -> foretap::Result<()> {
    let export_set = load(args)?;
    let mut ready = Vec::new();
    for &target in &args.to {
        // What a bundle lacks is said of its file; what is wrong with a log has one already.
        let of_file = |error: Error| match &args.bundle {
            Some(file) if error.kind() == ErrorKind::Model => error.file(file),
            _ => error,
        };
        ready.extend(make(target, &export_set, args).map_err(of_file)?);
    }
    fs::create_dir_all(&args.out).map_err(|error| {
        Error::io(&args.out, "make this folder", error).next_step("name a folder that you may write to")
    })?;
    for Ready { name, needs, write } in ready {
        let path = args.out.join(name);
        write(&path)?;
        cli::say(&format!("{} ({})\n  {needs}", path.display(), size(&path)));
    }
    Ok(())
}

fn load(args: &Args) -> foretap::Result<ExportSet> {
    if let (Some(weights), Some(mapping)) = (&args.weights, &args.mapping) {
        let imported = Mapping::load(mapping)?.read(weights)?;
        if let Some(first) = imported.unused.first() {
            let count = imported.unused.len();
            eprintln!("warning: {count} tensors of {} are not used, such as `{first}`", weights.display());
        }
        return ExportSet::of_transformer(imported.model);
    }
    match AnyModel::load(args.bundle.as_deref())? {
        AnyModel::Bundle(bundle) => ExportSet::of_bundle(*bundle),
        AnyModel::Ranker(model) => ExportSet::of_ranker(&model),
        AnyModel::Transformer(model) => ExportSet::of_transformer(*model),
    }
}

fn make(target: Target, export_set: &ExportSet, args: &Args) -> foretap::Result<Vec<Ready>> {
    let one = |ready: Ready| Ok(vec![ready]);
    match target {
        Target::Onnx => Ok(onnx(export_set.onnx()?)),
        Target::OnnxF16 => Ok(onnx(export_set.onnx_half()?)),
        Target::OnnxInt8 => {
            export_set.student()?;
            let source = args.simulation.load_or_simulate_people(20, &args.data, &cli::Bar::new())?;
            let ranges = export_set.ranges(&source.log, &source.vocabulary, args.calibration)?;
            Ok(onnx(export_set.onnx_whole(ranges)?))
        }
        Target::Safetensors => one(safetensors(export_set, "transformer.safetensors", Precision::F32)?),
        Target::SafetensorsF16 => {
            one(safetensors(export_set, "transformer-f16.safetensors", Precision::F16)?)
        }
        Target::Lightgbm => {
            let text = lightgbm::write(export_set.ensemble()?)?;
            one(text_file("trees.lightgbm.txt", "LightGBM 4, or whoever reads its text models", text))
        }
        Target::Xgboost => {
            let text = xgboost::write(export_set.ensemble()?)?;
            one(text_file("trees.xgboost.json", "XGBoost 3, or whoever reads its JSON models", text))
        }
        Target::Coreml => {
            let model = coreml::transformer(export_set.transformer()?, &export_set.model_card())?;
            let needs = model.requirements().to_string();
            let write = Box::new(move |path: &Path| model.save(path));
            one(Ready { name: "transformer.mlpackage".to_owned(), needs, write })
        }
    }
}

/// A folder a model, as ONNX's own test suites have them.
fn onnx(exports: Vec<OnnxExport>) -> Vec<Ready> {
    let ready = |export: OnnxExport| Ready {
        name: export.name.to_owned(),
        needs: export.model.requirements().to_string(),
        write: Box::new(move |folder: &Path| export.save(folder)),
    };
    exports.into_iter().map(ready).collect()
}

fn safetensors(export_set: &ExportSet, name: &str, precision: Precision) -> foretap::Result<Ready> {
    let model = export_set.transformer()?.clone();
    Ok(Ready {
        name: name.to_owned(),
        needs: "any reader of safetensors; shapes, apps and columns are in the metadata".to_owned(),
        write: Box::new(move |path: &Path| model.save(path, precision)),
    })
}

fn text_file(name: &str, needs: &str, text: String) -> Ready {
    let write =
        move |path: &Path| foretap::storage::write_atomically(path, |out| out.write_all(text.as_bytes()));
    Ready { name: name.to_owned(), needs: needs.to_owned(), write: Box::new(write) }
}

/// Of a file, or of all files in a folder.
fn size(path: &Path) -> String {
    fn bytes(path: &Path) -> u64 {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let own = fs::metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
        own + entries.map(|entry| bytes(&entry.path())).sum::<u64>()
    }
    format!("{:.0} kB", bytes(path) as f64 / 1e3)
}
