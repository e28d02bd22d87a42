//! Inference: one question of 50 candidates, 40 columns, 300 trees of 31 leaves, one core; the same model in every
//! engine.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use foretap::export;
use foretap::gbdt::{Forest, ForestScratch};

use crate::Result;
use crate::cases::made;
use crate::engines::lightgbm_parameters;
use crate::ffi::compiled::{Compiled, Entry};
use crate::report::{Report, Table, cell};
use crate::task::{Goal, Rows, Settings};
use crate::timing::{median, ratios};
use crate::wheels::Wheels;

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Questions to learn from.
    pub learned: usize,
    /// Sweeps over all questions that are asked.
    pub sweeps: usize,
}

impl Scale {
    /// For figures to be kept.
    pub const FULL: Self = Self { learned: 4_000, sweeps: 41 };
    /// To see whether everything works.
    pub const QUICK: Self = Self { learned: 1_000, sweeps: 9 };
}

const CANDIDATES: usize = 50;
const TREES: usize = 300;
/// Different questions, asked in turn, so that no branch predictor learns one by heart.
const ASKED: usize = 200;
/// Between raw scores of different engines, before they are timed. XGBoost adds in single precision.
const TOLERANCE: f64 = 1e-4;

/// Fills in the scores of a question, by its number.
type Answer<'a> = dyn FnMut(usize, &mut [f64]) -> Result<()> + 'a;

/// One engine's way to answer.
struct Answerer<'a> {
    name: &'static str,
    answer: Box<Answer<'a>>,
}

/// Times all engines, into `report`.
///
/// # Errors
/// An engine fails, or its scores differ from ours.
pub fn compare(wheels: &Wheels, scale: Scale, report: &mut Report) -> Result<()> {
    let text = model(wheels, scale)?;
    let asked = made::questions(ASKED, CANDIDATES, 2);
    let columns = asked.columns;
    let question = |number: usize| number * CANDIDATES * columns..(number + 1) * CANDIDATES * columns;

    let ensemble = export::lightgbm::read(&text)?;
    let as_xgboost = export::xgboost::write(&ensemble)?;
    let forest = Forest::new(ensemble)?;
    let booster = wheels.lightgbm.load(&text)?;
    let single = booster.single_row(columns)?;
    // Each engine is handed the values in the form that it computes in, so that no conversion is timed.
    let doubles: Vec<f64> = asked.values.iter().copied().map(f64::from).collect();
    let folder = tempfile::tempdir()?;
    let compiled = compile(wheels, &text, folder.path())?;
    let mut entries: Vec<Entry> = asked.values.iter().copied().map(Entry::new).collect();
    let xgboost = wheels.xgboost.load(&as_xgboost)?;
    xgboost.set("nthread", "1")?;

    let (mut scratch, mut singles) = (ForestScratch::default(), Vec::new());
    let mut answerers = [
        Answerer {
            name: "ours",
            answer: Box::new(|number, scores| {
                forest.score(&asked.values[question(number)], &mut scratch, scores);
                Ok(())
            }),
        },
        Answerer {
            name: "lightgbm",
            answer: Box::new(|number, scores| {
                let rows = doubles[question(number)].chunks_exact(columns);
                scores.iter_mut().zip(rows).try_for_each(|(score, row)| single.score(row).map(|s| *score = s))
            }),
        },
        Answerer {
            name: "treelite",
            answer: Box::new(|number, scores| {
                let rows = entries[question(number)].chunks_exact_mut(columns);
                scores
                    .iter_mut()
                    .zip(rows)
                    .try_for_each(|(score, row)| compiled.score(row).map(|s| *score = s))
            }),
        },
        Answerer {
            name: "xgboost",
            answer: Box::new(|number, scores| {
                xgboost.score(&asked.values[question(number)], columns, &mut singles)?;
                scores.iter_mut().zip(&singles).for_each(|(score, &single)| *score = f64::from(single));
                Ok(())
            }),
        },
        Answerer {
            name: "lightgbm_batch",
            answer: Box::new(|number, scores| {
                let found = booster.score(&asked.values[question(number)], columns, c"num_threads=1")?;
                scores.copy_from_slice(&found);
                Ok(())
            }),
        },
    ];
    check(&mut answerers)?;
    let times = sweep(&mut answerers, scale.sweeps)?;

    let mut table = Table::new(["engine", "µs a question", "ours / it"]);
    for (answerer, times_of_it) in answerers.iter().zip(&times) {
        let (micros, ratio) = (median(times_of_it), median(&ratios(&times[0], times_of_it)));
        table.line([answerer.name.to_owned(), cell(micros, 1), cell(ratio, 3)]);
        report.inference_us.extend(micros.map(|micros| (answerer.name.to_owned(), micros)));
        if answerer.name != "ours" {
            report.inference_ratio.extend(ratio.map(|ratio| (answerer.name.to_owned(), ratio)));
        }
    }
    table.print(&format!(
        "Inference: one question of {CANDIDATES} candidates and {columns} columns, {TREES} trees of 31 leaves, one core"
    ));
    Ok(())
}

/// A model of full size in LightGBM's text format, learned by LightGBM.
fn model(wheels: &Wheels, scale: Scale) -> Result<String> {
    let rows = Rows { groups: Vec::new(), ..made::questions(scale.learned, CANDIDATES, 1) };
    let settings = Settings { trees: TREES, learning_rate: 0.05, ..Settings::new(Goal::Binary) };
    let parameters = format!("{} seed=1", lightgbm_parameters(&settings, &rows));
    let data = wheels.lightgbm.dataset(&rows, &parameters, None)?;
    let mut booster = data.booster(&parameters)?;
    for _ in 0..TREES {
        booster.update()?;
    }
    booster.save()
}

/// The model as C code, compiled.
fn compile(wheels: &Wheels, text: &str, folder: &Path) -> Result<Compiled> {
    let (model, code, library) = (folder.join("model.txt"), folder.join("code"), folder.join("model.so"));
    fs::write(&model, text)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("treelite_code.py");
    run(Command::new(&wheels.python).arg(script).args([&model, &code]))?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-O3", "-shared", "-fPIC", "-o"]).arg(&library).arg(code.join("main.c"));
    run(&mut gcc)?;
    Compiled::open(&library)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {}", command.get_program().display(), said.trim()).into());
    }
    Ok(())
}

/// Refuses an engine whose scores differ from the first one's.
fn check(answerers: &mut [Answerer<'_>]) -> Result<()> {
    let (mut expected, mut scores) = ([0.0; CANDIDATES], [0.0; CANDIDATES]);
    for number in 0..ASKED {
        for (index, answerer) in answerers.iter_mut().enumerate() {
            (answerer.answer)(number, &mut scores)?;
            if index == 0 {
                expected = scores;
            }
            // Not by the largest difference, which would not show a NaN.
            let agree = |(score, expected): (&f64, &f64)| (score - expected).abs() <= TOLERANCE;
            if !scores.iter().zip(&expected).all(agree) {
                return Err(format!("{} scores question {number} differently", answerer.name).into());
            }
        }
    }
    Ok(())
}

/// Microseconds a question, sweep by sweep over all questions, the engines in turn.
fn sweep(answerers: &mut [Answerer<'_>], sweeps: usize) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::with_capacity(sweeps); answerers.len()];
    let mut scores = [0.0; CANDIDATES];
    for _ in 0..sweeps {
        for (answerer, times) in answerers.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for number in 0..ASKED {
                (answerer.answer)(black_box(number), &mut scores)?;
                black_box(&scores);
            }
            times.push(start.elapsed().as_secs_f64() * 1e6 / ASKED as f64);
        }
    }
    Ok(times)
}
