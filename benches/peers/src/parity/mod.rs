//! `parity`: the bundle's models, as they are exported, in other runtimes beside ours.
//!
//! [`people`] are asked; [`model`] says whose answer an export is, and [`ours`] gives it. [`runtimes`] answer likewise:
//! [`ask`] whether they do, with an [`agreement`], [`latency`] how fast, into the [`report`]. [`coreml`] is of packages that
//! nobody here can run.

mod agreement;
mod ask;
mod coreml;
mod latency;
mod model;
mod ours;
mod people;
mod report;
mod runtimes;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use foretap::bundle::Bundle;
use foretap::export::{ExportSet, OnnxExport};

use crate::report::save;
use crate::timing::load_average;
use crate::{Result, wheels};
use latency::{Participant, TheirTurn, time};
use model::Model;
use ours::{Memory, OurTurn, Ours};
use people::{Moment, People, Question, typical};
use report::{Report, Row};
use runtimes::{OnnxRuntime, OpenVino, Rten, Runtime, Tract};

/// Seeds of people from whom the bundle's models did not learn, and whose ranges the static graph does not have.
const ASKED_SEED: u64 = 20_261_122;
const CALIBRATION_SEED: u64 = 20_261_123;
const CALIBRATION_PEOPLE: usize = 20;
const CALIBRATION_QUESTIONS: usize = 500;

/// Compares and times the bundle's exports in ONNX Runtime, OpenVINO, tract and RTen beside foretap itself
#[derive(Debug, Args)]
pub struct Parity {
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer questions, fewer turns: to see whether everything works, not for figures
    #[arg(long)]
    quick: bool,
    /// Only these exports: `transformer`, `trees-walk`, ..
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

/// How much is done.
struct Scale {
    people: usize,
    questions: usize,
    /// A runtime that has not answered everything by then is asked no more of that export.
    limit: Duration,
    /// Different questions of the sample that is timed.
    timed: usize,
    turns: usize,
}

impl Scale {
    const FULL: Self =
        Self { people: 40, questions: 10_000, limit: Duration::from_secs(60), timed: 200, turns: 21 };
    const QUICK: Self =
        Self { people: 4, questions: 200, limit: Duration::from_secs(5), timed: 40, turns: 3 };
}

impl Parity {
    /// Measures, prints, and writes what was asked for. What a runtime refuses is a row of the report, and no error.
    ///
    /// # Errors
    /// ONNX Runtime or OpenVINO is not there, the bundle lacks a model, or the JSON cannot be written.
    pub fn run(&self) -> Result<()> {
        if let Some(file) = &self.json {
            foretap::storage::check_folder(file)?;
        }
        let scale = if self.quick { Scale::QUICK } else { Scale::FULL };
        let rten = Rten::start();
        let onnx = wheels::environment("PEERS_ONNX_VENV", ".venv-onnx");
        let (onnxruntime, openvino) = (OnnxRuntime::open(&onnx)?, OpenVino::open(&onnx)?);
        let export_set = ExportSet::of_bundle(Bundle::pretrained()?)?;
        let people = People::simulate(&export_set, scale.people, ASKED_SEED)?;
        let ours = Ours::of(&export_set, &people.vocabulary)?;
        let asked = people.questions(&export_set, &ours, scale.questions)?;
        let sample = people.moments(&asked, &typical(&asked, scale.timed));
        if sample.is_empty() {
            return Err("the people were never asked anything".into());
        }

        let mut report = Report::default();
        report.setting("cores", thread::available_parallelism()?.to_string());
        report.setting("quick", self.quick.to_string());
        report.setting("load_average", load_average());
        report.setting("kernel", ours.kernel());
        report.setting("people", format!("{} with seed {ASKED_SEED}", scale.people));
        report.setting("questions", asked.len().to_string());
        report.setting("timed_questions", sample.len().to_string());
        report.setting("timed_sizes", sizes(&asked, &sample));
        report.setting("timed_routed_share", format!("{:.2}", ours.routed_share(&sample)));

        let mut exports = exports(&export_set)?;
        exports.retain(|export| self.only.is_empty() || self.only.iter().any(|name| name == export.name));
        let folder = tempfile::tempdir()?;
        let bench = Bench {
            ours: &ours,
            runtimes: [&onnxruntime, &openvino, &Tract, &rten],
            asked: &asked,
            sample: &sample,
            limit: scale.limit,
            turns: scale.turns,
        };
        // Everyone on RTen's thread: from any other, each of its answers waits some 10 µs, and the others do not care.
        report.rows = rten.on_its_thread(|| {
            let rows = exports.iter().map(|export| bench.measure(export, folder.path()));
            rows.collect::<Result<Vec<_>>>().map(|rows| rows.concat())
        })?;
        report.rows.extend(coreml::rows(&export_set, &asked, folder.path())?);
        report.print();
        self.json.as_ref().map_or(Ok(()), |file| save(&report, file))
    }
}

/// Every export of `export_set`.
fn exports(export_set: &ExportSet) -> Result<Vec<OnnxExport>> {
    let calibration = People::simulate(export_set, CALIBRATION_PEOPLE, CALIBRATION_SEED)?;
    let ranges = export_set.ranges(&calibration.log, &calibration.vocabulary, CALIBRATION_QUESTIONS)?;
    Ok([export_set.onnx()?, export_set.onnx_half()?, export_set.onnx_whole(ranges)?].concat())
}

/// How many tokens and candidates the questions of `sample` have.
fn sizes(asked: &[Question], sample: &[Moment]) -> String {
    let range = |size: fn(&Question) -> usize| {
        let sizes = || sample.iter().map(|moment| size(&asked[moment.question]));
        format!("{} to {}", sizes().min().unwrap_or(0), sizes().max().unwrap_or(0))
    };
    format!("{} tokens, {} candidates", range(|asked| asked.size().0), range(|asked| asked.size().1))
}

/// All that an export is measured with.
struct Bench<'a> {
    ours: &'a Ours,
    runtimes: [&'a dyn Runtime; 4],
    asked: &'a [Question],
    sample: &'a [Moment],
    limit: Duration,
    turns: usize,
}

impl Bench<'_> {
    /// A row for each runtime. The file is written to `folder`.
    fn measure(&self, export: &OnnxExport, folder: &Path) -> Result<Vec<Row>> {
        let model = Model::of(export.name)?;
        let file = folder.join(export.name).with_extension("onnx");
        export.model.save(&file)?;
        let mut rows = Vec::new();
        for runtime in self.runtimes {
            let start = Instant::now();
            let mut row = Row {
                export: export.name.to_owned(),
                runtime: runtime.name().to_owned(),
                version: runtime.version(),
                ..Row::default()
            };
            row.set_outcome(ask::ask(runtime, &file, model, self.asked, self.limit));
            eprintln!(
                "{} in {}: {} questions, {:.0} s",
                row.export,
                row.runtime,
                row.questions,
                start.elapsed().as_secs_f64()
            );
            rows.push(row);
        }
        self.time(model, &file, &mut rows)?;
        Ok(rows)
    }

    /// Times ours beside whoever answers, into `rows`.
    fn time(&self, model: Model, file: &Path, rows: &mut [Row]) -> Result<()> {
        let turn = |memory| Box::new(OurTurn::new(self.ours, model, memory, self.asked, self.sample));
        let mut participants: Vec<Box<dyn Participant + '_>> = vec![turn(Memory::Phone)];
        if model.is_router() {
            participants.push(turn(Memory::Cold));
        }
        let ours = participants.len();
        let mut answering = Vec::new();
        for (row, runtime) in rows.iter_mut().zip(self.runtimes) {
            if row.error.is_none() {
                let session = runtime.load(file)?;
                participants.push(Box::new(TheirTurn::new(session, model, self.asked, self.sample)?));
                answering.push(row);
            }
        }
        let timed = time(&mut participants, self.sample.len(), self.turns);
        for (row, theirs) in answering.into_iter().zip(&timed[ours..]) {
            row.set_times(&timed[0], timed[..ours].get(1), theirs);
        }
        Ok(())
    }
}
