//! `trees`: training times, accuracy, inference and formats, case by case.

use std::path::PathBuf;
use std::thread;

use clap::Args;

use crate::cases::{Case, folders, made, population};
use crate::report::{Report, save};
use crate::timing::{Rounds, load_average};
use crate::wheels::{self, Wheels};
use crate::{Result, accuracy, formats, here, inference, train};

/// Trains and times foretap's trees beside LightGBM, XGBoost, treelite, hessboost and perpetual.
#[derive(Debug, Args)]
pub struct Trees {
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder of LightGBM's example folders, each with a `train.conf` [default: ../shared/data/lightgbm, beside the
    /// repository]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Fewer rows, fewer rounds: to see whether everything works, not for figures
    #[arg(long)]
    quick: bool,
    /// Only these parts or cases: `folders`, `population`, `synthetic`, `inference`, `formats`, or the name of a folder
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

/// How much is done.
struct Scale {
    rounds: Rounds,
    /// Models of a case that accuracies are means over: more for rankings, whose few test questions leave much to chance.
    seeds: u64,
    ranking_seeds: u64,
    people: usize,
    population_trees: usize,
    synthetic_rows: usize,
    synthetic_trees: usize,
    inference: inference::Scale,
}

impl Scale {
    const FULL: Self = Self {
        rounds: Rounds::FULL,
        seeds: 5,
        // The standard error of a difference in NDCG@1 is then .004; with 5 it was .02.
        ranking_seeds: 100,
        // As many as LSApp has.
        people: 292,
        population_trees: 40,
        synthetic_rows: 1_000_000,
        synthetic_trees: 30,
        inference: inference::Scale::FULL,
    };
    const QUICK: Self = Self {
        rounds: Rounds::QUICK,
        seeds: 2,
        ranking_seeds: 4,
        people: 20,
        population_trees: 10,
        synthetic_rows: 100_000,
        synthetic_trees: 10,
        inference: inference::Scale::QUICK,
    };
}

impl Trees {
    /// Measures, prints, and writes what was asked for.
    ///
    /// # Errors
    /// The wheels are not there, or the JSON cannot be written. A part that fails is named in the report and makes
    /// the run fail at its end, after everything else was measured.
    pub fn run(&self) -> Result<()> {
        if let Some(file) = &self.json {
            foretap::storage::check_folder(file)?;
        }
        let venv = wheels::environment("PEERS_VENV", ".venv");
        let wheels = Wheels::open(&venv)?;
        let scale = if self.quick { Scale::QUICK } else { Scale::FULL };
        let mut report = Report::default();
        report.setting("cores", thread::available_parallelism()?.get().to_string());
        report.setting("quick", self.quick.to_string());
        report.setting("load_average", load_average());

        self.folders(&scale, &wheels, &mut report);
        self.part("population", &mut report, |report| {
            let case = population::population(scale.people, scale.population_trees)?;
            time(&case, &scale, &wheels, report)
        });
        self.part("synthetic", &mut report, |report| {
            time(&made::synthetic(scale.synthetic_rows, scale.synthetic_trees), &scale, &wheels, report)
        });
        self.part("inference", &mut report, |report| inference::compare(&wheels, scale.inference, report));
        self.part("formats", &mut report, |report| formats::compare(&wheels, report));

        if let Some(file) = &self.json {
            save(&report, file)?;
        }
        if !report.failed.is_empty() {
            let parts: Vec<&str> = report.failed.keys().map(String::as_str).collect();
            return Err(format!("not measured: {}", parts.join(", ")).into());
        }
        Ok(())
    }

    /// Every case of every folder, in time and in accuracy.
    fn folders(&self, scale: &Scale, wheels: &Wheels, report: &mut Report) {
        let default = || here().join("../../../shared/data/lightgbm");
        let data = self.data.clone().unwrap_or_else(default);
        let folders = match folders::folders(&data) {
            Ok(folders) => folders,
            Err(error) => {
                println!("\nNo examples of LightGBM's: {error}; say where they are with `--data FOLDER`");
                report.skipped.insert("folders".to_owned(), error.to_string());
                return;
            }
        };
        let wanted_as_one = self.wants("folders");
        for folder in &folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !wanted_as_one && !self.wants(&name) {
                continue;
            }
            attempt(&name, report, |report| {
                for case in folders::cases(folder, &folders)? {
                    time(&case, scale, wheels, report)?;
                    if let Some(test) = &case.test {
                        let ranking = case.settings.goal.is_ranking();
                        let seeds = if ranking { scale.ranking_seeds } else { scale.seeds };
                        accuracy::compare(&case, test, wheels, seeds, report)?;
                    }
                }
                Ok(())
            });
        }
    }

    fn part(&self, name: &str, report: &mut Report, measure: impl FnOnce(&mut Report) -> Result<()>) {
        if self.wants(name) {
            attempt(name, report, measure);
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// Measures a part; a failure is told, kept, and stops no other part.
fn attempt(name: &str, report: &mut Report, measure: impl FnOnce(&mut Report) -> Result<()>) {
    eprintln!("{name} ...");
    if let Err(error) = measure(report) {
        eprintln!("{name}: {error}");
        report.failed.insert(name.to_owned(), error.to_string());
    }
}

/// On one thread and on two, where there are two cores.
fn time(case: &Case, scale: &Scale, wheels: &Wheels, report: &mut Report) -> Result<()> {
    let cores = thread::available_parallelism()?.get();
    let threads: Vec<usize> = [1, 2].into_iter().filter(|&threads| threads <= cores).collect();
    train::compare(case, wheels, &threads, scale.rounds, report)
}
