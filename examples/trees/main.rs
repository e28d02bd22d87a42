//! Boosted trees for any table: ranking, classification, regression.
//!
//! ```text
//! cargo run --release --example trees -- --train rank.train --test rank.test --objective lambdarank
//! cargo run --release --example trees -- --conf train.conf --model model.json
//! cargo run --release --example trees -- --start model.json --test rank.test --lightgbm model.txt --xgboost xgb.json
//! cargo run --release --example trees -- --start model.json --predict new.csv --out predictions.txt
//! ```

#[path = "../cli/mod.rs"]
mod cli;
pub mod conf;
mod predictions;
mod report;
mod settings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use foretap::export::{Import, lightgbm, read_model, xgboost};
use foretap::gbdt::objective::named;
use foretap::gbdt::{Dataset, DatasetBuilder, Forest, Objective, Table, TableOptions, train};
use foretap::storage::write_atomically;
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
    cli::check_writable([&args.model, &args.lightgbm, &args.xgboost, &args.json, &args.out])?;
    let models = [("--model", &args.model), ("--lightgbm", &args.lightgbm), ("--xgboost", &args.xgboost)];
    let outputs = models.into_iter().chain([("--json", &args.json), ("--out", &args.out)]);
    let outputs: Vec<_> = outputs.map(|(flag, file)| (flag, file.as_ref())).collect();
    let tables = [&args.train, &args.test, &args.predict];
    cli::check_outputs(outputs.iter().copied(), tables.into_iter().flatten())?;
    // A model that training goes on from may be replaced by what comes of it, and by nothing else.
    cli::check_outputs(outputs.into_iter().skip(models.len()), &args.start)?;
    if args.predict.is_some() != args.out.is_some() {
        return Err(Error::new(ErrorKind::Config, "--predict and --out belong together")
            .next_step("name the table to predict with --predict, and the file of predictions with --out"));
    }
    let start = match &args.start {
        Some(file) => {
            let Import { ensemble, notes } = read_model(file)?;
            notes.iter().for_each(|note| eprintln!("{}: {note}", file.display()));
            Some(Forest::new(ensemble)?)
        }
        None => None,
    };
    match (&args.train, start) {
        (Some(file), start) => train_on(file, start, args),
        (None, Some(start)) => score_only(&start, args),
        (None, None) => Err(Error::new(ErrorKind::Config, "no table is given")
            .next_step("name its file with --train, or a model with --start")),
    }
}

/// What to minimise: as asked, else as the model to go on from did, else squared errors.
fn objective_of(start: Option<&Forest>, args: &Args) -> foretap::Result<Box<dyn Objective>> {
    let of_start = start.map(|start| (start.ensemble().objective.as_str(), start.outputs()));
    let asked = args.objective.as_deref().map(|name| (name, args.classes));
    let (name, outputs) = asked.or(of_start).unwrap_or(("squared-error", 1));
    named(name, outputs)
}

/// Scores a model as it is, and writes it in other formats.
fn score_only(model: &Forest, args: &Args) -> foretap::Result<()> {
    let bar = cli::Bar::new();
    let started = Instant::now();
    let features = &model.ensemble().features;
    let read = |file: &PathBuf| Table::read_for(features, file, &args.tables.options(), &bar);
    let test = args.test.as_ref().map(read).transpose()?;
    let objective = args.objective.as_deref().unwrap_or(&model.ensemble().objective);
    if let (Some(test), Some(file)) = (&test, &args.test) {
        let is_grouped = named(objective, model.outputs()).is_ok_and(|objective| objective.is_grouped());
        say_unused(file, test, is_grouped, true);
    }
    let seconds = report::Seconds { read: started.elapsed().as_secs_f64(), bin: 0.0, train: 0.0 };
    if let (Some(test), Some(file)) = (&test, &args.test) {
        check_initial_scores(file, test, model.outputs())?;
    }
    let figures = test.as_ref().map(|test| report::figures(objective, model, test)).transpose()?;
    let report = Report {
        objective,
        training: None,
        test: test.as_ref().map(|test| Size::new(args.test.as_deref(), test)),
        trees: model.ensemble().trees.len(),
        seconds,
        figures: figures.unwrap_or_default(),
        features: report::features(model.ensemble()),
        losses: &[],
        config: None,
    };
    cli::say(&report.to_string());
    write_results(args, model, &report)
}

/// Says what of `file`, and of what stands beside it, is not used, or not everywhere.
fn say_unused(file: &Path, table: &Table, is_grouped: bool, is_tested: bool) {
    const MOST: usize = 10;
    for beside in table.unused_beside() {
        eprintln!("{}: not used", beside.display());
    }
    if table.group_sizes.is_some() && !is_grouped {
        eprintln!("{}: its groups are not used, for the objective compares no rows", file.display());
    }
    if table.weights.is_some() && is_grouped && is_tested {
        eprintln!("{}: its weights are not used, for NDCG has none", file.display());
    }
    if table.initial_scores.is_some() {
        eprintln!("{}.init: added to the scores of this table, which no model file says", file.display());
    }
    let names = table.beyond_floats();
    if !names.is_empty() {
        let (count, first) = (names.len(), names[0]);
        eprintln!(
            "{}: numbers beyond 16,777,216 in {count} columns, `{first}` the first: 32-bit floats do not tell all of them \
             apart; take smaller ones, such as the difference from the first, or days for a time",
            file.display()
        );
    }
    let names = table.left_out();
    if !names.is_empty() {
        let more =
            if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
        let named = names[..names.len().min(MOST)].join(", ");
        eprintln!("{}: columns that the model does not read are left out: {named}{more}", file.display());
    }
}

fn train_on(train_file: &Path, start: Option<Forest>, args: &Args) -> foretap::Result<()> {
    let objective = objective_of(start.as_ref(), args)?;
    let mut options = args.tables.options();
    if let Some(start) = &start {
        options.absent_is_missing.get_or_insert(start.ensemble().takes_absent_for_missing());
    }
    let bar = cli::Bar::new();

    let started = Instant::now();
    let table = Table::read(train_file, &options, &bar)?;
    say_unused(train_file, &table, objective.is_grouped(), false);
    check_names(args, &table.names).map_err(|error| error.file(train_file))?;
    let like = |file: &PathBuf, is_tested: bool| -> foretap::Result<Table> {
        let other = Table::read_like(&table, file, &options, &bar)?;
        say_unused(file, &other, objective.is_grouped(), is_tested);
        Ok(other)
    };
    let test = args.test.as_ref().map(|file| like(file, true)).transpose()?;
    let validation = args.validation.as_ref().map(|file| like(file, false)).transpose()?;
    let read_secs = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let binner = table.binner(args.training.bins)?;
    let binned = |table: &Table, file: &Path| -> foretap::Result<Dataset> {
        let mut builder = DatasetBuilder::new(binner.clone());
        if let Some(start) = &start {
            builder = builder.continuing(start.clone())?;
        }
        let data = table.fill(builder).map_err(|error| error.file(file))?;
        if objective.is_grouped() && data.groups() == 0 {
            let message = format!("the objective {} compares the rows of a group", objective.name());
            return Err(Error::new(ErrorKind::Data, message).file(file).next_step(
                "write sizes of groups to FILE.query, or name a column of group numbers with --group",
            ));
        }
        objective.check(&data).map_err(|error| error.file(file))?;
        check_initial_scores(file, table, objective.outputs())?;
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
        training: Some(Size::new(Some(train_file), &table)),
        test: test.as_ref().map(|test| size(&args.test, test)),
        trees: forest.ensemble().trees.len(),
        seconds: report::Seconds { read: read_secs, bin: bin_secs, train: train_secs },
        figures: figures.unwrap_or_default(),
        features: report::features(forest.ensemble()),
        losses: &trained.losses,
        config: Some(&config),
    };
    cli::say(&report.to_string());
    write_results(args, forest, &report)
}

/// Refuses initial scores that are more or fewer a row than a model has outputs.
fn check_initial_scores(file: &Path, table: &Table, outputs: usize) -> foretap::Result<()> {
    let rows = table.labels.len();
    match &table.initial_scores {
        Some(scores) if scores.len() != rows * outputs => {
            let given = scores.len() / rows.max(1);
            let message = format!("{given} initial scores a row, but the model has {outputs} outputs");
            let file = file.display().to_string();
            Err(Error::new(ErrorKind::Data, message)
                .file(format!("{}.init", file.trim_end_matches(".gz")))
                .next_step("give each row one for each output, by tabs apart"))
        }
        _ => Ok(()),
    }
}

/// Refuses names of features that a file which is asked for could not hold, before anything is trained.
fn check_names(args: &Args, names: &[String]) -> foretap::Result<()> {
    if args.lightgbm.is_some() {
        lightgbm::check_names(names).map_err(|error| error.field("lightgbm"))?;
    }
    if args.xgboost.is_some() {
        xgboost::check_names(names).map_err(|error| error.field("xgboost"))?;
    }
    Ok(())
}

/// Predicts a table whose labels are not known, as the model is now.
fn predict(file: &Path, out: &Path, forest: &Forest, args: &Args) -> foretap::Result<()> {
    // What else a table has is left out; which columns are categories, the trees know.
    let options = TableOptions { categories: Vec::new(), ..args.tables.options() };
    let table = Table::read_features(&forest.ensemble().features, file, &options, &cli::Bar::new())?;
    say_unused(file, &table, true, false);
    predictions::write(out, forest, &table, args.raw_scores)
}

/// Writes what was asked for.
fn write_results(args: &Args, forest: &Forest, report: &Report<'_>) -> foretap::Result<()> {
    if let Some(file) = &args.model {
        write_atomically(file, |out| Ok(serde_json::to_writer(out, forest.ensemble())?))?;
    }
    if let Some(file) = &args.lightgbm {
        lightgbm::write_file(forest.ensemble(), file)?;
    }
    if let Some(file) = &args.xgboost {
        xgboost::write_file(forest.ensemble(), file)?;
    }
    if let (Some(file), Some(out)) = (&args.predict, &args.out) {
        predict(file, out, forest, args)?;
    }
    if let Some(file) = &args.json {
        cli::write_json(file, &serde_json::json!(report))?;
    }
    Ok(())
}
