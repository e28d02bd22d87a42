//! A training run's folder: its metrics line by line, its loss curve, its checkpoint.
//!
//! ```text
//! checkpoint.safetensors   where the run stands, replaced whole
//! metrics.jsonl            one line every few steps and at each validation
//! curve.svg                training and validation loss, drawn at each validation
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint, Origin};
use super::curve;
use super::metrics::Metrics;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::storage::write_atomically;

/// A folder that a run writes to and is resumed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(|error| {
            Error::io(&path, "make this folder", error).next_step("name a folder that you may write to")
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The best weights of the run so far, also after it diverged; `None` before its first checkpoint.
    ///
    /// # Errors
    /// The checkpoint is damaged.
    pub fn best_weights(&self) -> Result<Option<Weights>> {
        checkpoint::best_weights(&self.checkpoint())
    }

    /// The run's metrics so far. Lines that were cut off are left out.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn metrics(&self) -> Result<Vec<Metrics>> {
        let file = self.metrics_file();
        match std::fs::read(&file) {
            Ok(bytes) => {
                let lines = bytes.split(|&byte| byte == b'\n');
                Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io(file, "read the metrics", error)),
        }
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    fn metrics_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The run of this `origin` that stands here, if one does.
    pub(super) fn load(&self, origin: &Origin) -> Result<Option<Checkpoint>> {
        Checkpoint::load(&self.checkpoint(), origin)
    }

    /// Goes on with the metrics after `step`. What a killed run wrote after its checkpoint is taken away, for those
    /// steps come again.
    pub(super) fn resume_metrics(&self, step: Option<u64>) -> Result<(MetricsFile, Vec<Metrics>)> {
        let mut lines = self.metrics()?;
        lines.retain(|line| step.is_some_and(|step| line.step <= step));
        let path = self.metrics_file();
        write_atomically(&path, |out| {
            lines.iter().try_for_each(|line| {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            })
        })?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| Error::io(&path, "append to the metrics", error))?;
        Ok((MetricsFile { path, file }, lines))
    }

    /// Draws the loss curve.
    pub(super) fn draw(&self, metrics: &[Metrics]) -> Result<()> {
        let file = self.path.join("curve.svg");
        let svg = curve::svg(metrics).map_err(|error| error.file(&file))?;
        write_atomically(&file, |out| out.write_all(svg.as_bytes()))
    }
}

/// `metrics.jsonl`, open at its end.
#[derive(Debug)]
pub(super) struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    pub(super) fn append(&mut self, line: &Metrics) -> Result<()> {
        let written = serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            self.file.write_all(&bytes)
        });
        written.map_err(|error| Error::io(&self.path, "append to the metrics", error))
    }

    /// Brings all lines to the disk, so that no checkpoint is ahead of them there.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io(&self.path, "append to the metrics", error))
    }
}
