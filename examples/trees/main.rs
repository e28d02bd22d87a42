//! Boosted trees for any table: ranking, classification, regression.
//!
//! ```text
//! cargo run --release --example trees -- --train rank.train --test rank.test --objective lambdarank
//! cargo run --release --example trees -- --conf train.conf --model model.json
//! ```

#[path = "../cli/mod.rs"]
mod cli;
pub mod conf;
mod report;
mod settings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use foretap::file::write_atomically;
use foretap::gbdt::objective::named;
use foretap::gbdt::{Dataset, Forest, Table, train};
use foretap::{Error, ErrorKind};
use report::{Report, Size};
pub use settings::Args;

fn main() -> ExitCode {
    cli::exit_on_error(|| run(&conf::args(std::env::args_os())?))
}

/// Trains and reports on as many threads as are asked for.
pub fn run(args: &Args) -> foretap::Result<()> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build().map_err(|error| {
        Error::new(ErrorKind::Config, format!("cannot start {} threads: {error}", args.threads))
            .field("threads")
            .next_step("ask for fewer")
    })?;
    threads.install(|| train_and_report(args))
}

fn train_and_report(args: &Args) -> foretap::Result<()> {
    cli::check_folders([&args.model, &args.json])?;
    let objective = named(&args.objective, args.classes)?;
    let options = args.tables.options();
    let Some(train_file) = &args.train else {
        return Err(
            Error::new(ErrorKind::Config, "no table is given").next_step("name its file with --train")
        );
    };
    let bar = cli::Bar::new();

    let started = Instant::now();
    let table = Table::read(train_file, &options, &bar)?;
    let like = |file: &PathBuf| Table::read_like(&table, file, &options, &bar);
    let test = args.test.as_ref().map(like).transpose()?;
    let validation = args.validation.as_ref().map(like).transpose()?;
    let read_secs = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let binner = table.binner(args.training.bins)?;
    let binned = |table: &Table, file: &Path| -> foretap::Result<Dataset> {
        let data = table.dataset(binner.clone()).map_err(|error| error.file(file))?;
        if objective.is_grouped() && data.groups() == 0 {
            let message = format!("the objective {} compares the rows of a group", objective.name());
            return Err(Error::new(ErrorKind::Data, message).file(file).next_step(
                "write sizes of groups to FILE.query, or name a column of group numbers with --group",
            ));
        }
        objective.check(&data).map_err(|error| error.file(file))?;
        Ok(data)
    };
    let data = binned(&table, train_file)?;
    let bin_secs = started.elapsed().as_secs_f64();

    let test_data = match (&test, &args.test) {
        (Some(test), Some(file)) => Some(binned(test, file)?),
        _ => None,
    };
    let validation_data = match (&validation, &args.validation) {
        (Some(validation), Some(file)) => Some(binned(validation, file)?),
        _ => None,
    };
    let config = args.training.config();
    // Without early stopping every tree is wanted, whatever a validation table says of it.
    let watched = validation_data.as_ref().or(test_data.as_ref()).filter(|_| config.early_stopping > 0);
    if config.early_stopping > 0 {
        match (watched, &validation_data) {
            (None, _) => eprintln!("warning: --early-stopping needs --validation, and is left out"),
            (Some(_), None) => eprintln!(
                "warning: without --validation, the test table tells when to stop: its figures flatter a little"
            ),
            _ => {}
        }
    }

    let started = Instant::now();
    let trained = train(&config, &*objective, &data, watched, &bar)?;
    let train_secs = started.elapsed().as_secs_f64();

    let forest = &trained.forest;
    let figures = test.as_ref().map(|test| report::figures(objective.name(), forest, test)).transpose()?;
    let size = |file: &Option<PathBuf>, table: &Table| Size::new(file.as_deref(), table);
    let report = Report {
        objective: objective.name(),
        training: Size::new(Some(train_file), &table),
        test: test.as_ref().map(|test| size(&args.test, test)),
        trees: forest.ensemble().trees.len(),
        seconds: report::Seconds { read: read_secs, bin: bin_secs, train: train_secs },
        figures: figures.unwrap_or_default(),
        features: report::features(forest.ensemble()),
        losses: &trained.losses,
        config: &config,
    };
    cli::say(&report.to_string());
    write_results(args, forest, &report)
}

/// Writes what was asked for. Models for other engines join here.
fn write_results(args: &Args, forest: &Forest, report: &Report<'_>) -> foretap::Result<()> {
    if let Some(file) = &args.model {
        write_atomically(file, |out| Ok(serde_json::to_writer(out, forest.ensemble())?))?;
    }
    if let Some(file) = &args.json {
        cli::write_json(file, &serde_json::json!(report))?;
    }
    Ok(())
}
