//! `transformer`: the model, its gradient, its training speed and its latency, beside the same model in PyTorch.
//!
//! [`pytorch`] hands [`material`](crate::material) to a Python process and asks it; [`agreement`] compares what both
//! compute, [`training`] and [`latency`] how long they take, into the [`report`].

mod agreement;
mod latency;
mod pytorch;
mod report;
mod training;

use std::path::PathBuf;
use std::thread;

use clap::Args;

use crate::report::save;
use crate::timing::load_average;
use crate::{Result, wheels};
use pytorch::PyTorch;
use report::Report;

/// Compares and times foretap's transformer beside the same model in PyTorch and in Burn.
#[derive(Debug, Args)]
pub struct Transformer {
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds: to see whether everything works, not for figures
    #[arg(long)]
    quick: bool,
}

impl Transformer {
    /// Measures, prints, and writes what was asked for.
    ///
    /// # Errors
    /// The wheels are not there, logits or gradients differ by more than they may (nothing is timed then), an engine
    /// fails, or the JSON cannot be written.
    pub fn run(&self) -> Result<()> {
        if let Some(file) = &self.json {
            foretap::storage::check_folder(file)?;
        }
        let venv = wheels::environment("PEERS_TORCH_VENV", ".venv-torch");
        let cores = thread::available_parallelism()?.get();
        let one = PyTorch::start(&venv, 1)?;
        let mut report = Report::default();
        report.setting("cores", cores.to_string());
        report.setting("quick", self.quick.to_string());
        report.setting("load_average", load_average());
        report.setting("torch", one.version.clone());

        agreement::compare(&one, &mut report)?;
        latency::compare(&one, if self.quick { 3 } else { 41 }, &mut report)?;
        let rounds = if self.quick { training::Rounds::QUICK } else { training::Rounds::FULL };
        training::compare(&one, rounds, &mut report)?;
        drop(one);
        if cores >= 2 {
            training::compare(&PyTorch::start(&venv, 2)?, rounds, &mut report)?;
        }
        self.json.as_ref().map_or(Ok(()), |file| save(&report, file))
    }
}
