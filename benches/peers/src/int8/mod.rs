//! `int8`: the student in INT8, beside ONNX Runtime on graphs of the same shape and weights.
//!
//! [`ours`] and [`onnx`] are who answers, the latter from [`question`]s in a graph's form; [`agreement`] compares what
//! all compute, [`latency`] how long they take, into the [`report`].

mod agreement;
mod latency;
mod onnx;
mod ours;
mod question;
mod report;

use std::path::PathBuf;
use std::thread;

use clap::Args;
use foretap::context::Task;
use foretap::transformer::{Batch, TransformerConfig};

use crate::material::{self, Material};
use crate::report::save;
use crate::timing::load_average;
use crate::{Result, wheels};
use onnx::Runtime;
use ours::{Memory, Plain, Whole};
use report::Report;

/// Different questions, asked in turn.
const ASKED: usize = 50;
const CANDIDATES: usize = 50;
const APPS: usize = 100;

/// Someone who answers questions.
trait Participant {
    /// In reports.
    fn name(&self) -> &'static str;

    /// Answers question `index`.
    fn answer(&mut self, index: usize) -> Result<()>;

    /// The logits of question `index`'s candidates.
    fn logits(&mut self, index: usize) -> Result<Vec<f32>>;
}

/// Compares and times foretap's INT8 student beside the same model in ONNX Runtime
#[derive(Debug, Args)]
pub struct Int8 {
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer turns: to see whether everything works, not for figures
    #[arg(long)]
    quick: bool,
}

impl Int8 {
    /// Measures, prints, and writes what was asked for.
    ///
    /// # Errors
    /// The wheels are not there, the plain graph computes something else than ours (nothing is timed then), ONNX
    /// Runtime fails, or the JSON cannot be written.
    pub fn run(&self) -> Result<()> {
        if let Some(file) = &self.json {
            foretap::storage::check_folder(file)?;
        }
        let venv = wheels::environment("PEERS_ONNX_VENV", ".venv-onnx");
        let mut report = Report::default();
        report.setting("cores", thread::available_parallelism()?.to_string());
        report.setting("quick", self.quick.to_string());
        report.setting("load_average", load_average());

        let config = TransformerConfig::student(Task::FirstAfterUnlock, APPS);
        let batch = |seed| material::batch(&config, 1, 1, CANDIDATES, seed);
        let batches: Vec<Batch> = (0..ASKED as u64).map(batch).collect();
        let of_one_history = ours::of_one_history(&batches);
        let material = Material::new(config.clone(), batches.clone(), 1.0)?;
        let quantized = ours::quantized(&material.weights)?;
        report.kernel = quantized.kernel().name().to_owned();
        let folder = tempfile::tempdir()?;
        report.versions = onnx::make(&venv, &material, folder.path())?;
        let runtime = Runtime::open(&venv)?;
        let graph = |name| runtime.graph(name, folder.path(), &batches, &config);

        let mut participants: Vec<Box<dyn Participant + '_>> = vec![
            Box::new(Plain::new(&material.weights, &batches)),
            Box::new(Whole::new(&quantized, Memory::Cold, &batches)),
            Box::new(graph("onnx_f32")?),
            Box::new(graph("onnx_int8_dynamic")?),
            Box::new(graph("onnx_int8_large")?),
            Box::new(graph("onnx_int8_static")?),
        ];
        agreement::compare(&mut participants, ASKED, &mut report)?;
        // Who answers other questions, or none.
        participants.push(Box::new(Whole::new(&quantized, Memory::Warm, &of_one_history)));
        participants.push(Box::new(graph("onnx_overhead")?));
        latency::compare(&mut participants, ASKED, if self.quick { 3 } else { 101 }, &mut report)?;
        self.json.as_ref().map_or(Ok(()), |file| save(&report, file))
    }
}
