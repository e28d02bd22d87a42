//! PyTorch in a process of its own, which answers one request after the other.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Result, here};

/// A running `transformer_worker.py`; dropped, it ends.
#[derive(Debug)]
pub struct PyTorch {
    /// Of PyTorch.
    pub version: String,
    /// That it computes with.
    pub threads: usize,
    child: Child,
    pipes: RefCell<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

/// How the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Operation by operation.
    Eager,
    /// By `torch.compile`.
    Compiled,
}

/// What `train` answers.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Trained {
    /// That all steps took.
    pub seconds: f64,
    /// Of the last step.
    pub loss: f64,
}

impl PyTorch {
    /// Starts Python from the environment at `venv`.
    ///
    /// # Errors
    /// There is no environment, or PyTorch does not load in it.
    pub fn start(venv: &Path, threads: usize) -> Result<Self> {
        #[derive(Deserialize)]
        struct Hello {
            torch: String,
            threads: usize,
        }
        let python = venv.join("bin/python");
        let mut child = Command::new(&python)
            .arg(here().join("transformer_worker.py"))
            .arg(threads.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            // The wheel could drive a graphics card; its libraries are stubs here (`cuda_stubs.py`).
            .env("CUDA_VISIBLE_DEVICES", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}; start with `bash benches/peers/run`", python.display()))?;
        let pipes = child.stdin.take().zip(child.stdout.take().map(BufReader::new));
        let mut peer = Self { version: String::new(), threads, child, pipes: RefCell::new(pipes) };
        let hello: Hello = peer.answer()?;
        if hello.threads != threads {
            return Err(format!("PyTorch runs {} threads, not {threads}", hello.threads).into());
        }
        peer.version = hello.torch;
        Ok(peer)
    }

    /// Has the results of a folder's first batch written into the folder.
    ///
    /// # Errors
    /// Python failed, and said why on its standard error.
    pub fn check(&self, folder: &Path) -> Result<()> {
        self.ask::<Value>(&json!({"do": "check", "folder": folder})).map(|_| ())
    }

    /// Trains a folder's model for `steps` more steps.
    ///
    /// # Errors
    /// As [`PyTorch::check`].
    pub fn train(&self, folder: &Path, mode: Mode, steps: usize) -> Result<Trained> {
        let compiled = mode == Mode::Compiled;
        self.ask(&json!({"do": "train", "folder": folder, "compiled": compiled, "steps": steps}))
    }

    /// Seconds that the only question of each of a folder's batches took, in turn, `sweeps` times.
    ///
    /// # Errors
    /// As [`PyTorch::check`].
    pub fn latency(&self, folder: &Path, mode: Mode, sweeps: usize) -> Result<Vec<f64>> {
        #[derive(Deserialize)]
        struct Answer {
            seconds: Vec<f64>,
        }
        let compiled = mode == Mode::Compiled;
        let request = json!({"do": "latency", "folder": folder, "compiled": compiled, "sweeps": sweeps});
        Ok(self.ask::<Answer>(&request)?.seconds)
    }

    fn ask<T: DeserializeOwned>(&self, request: &Value) -> Result<T> {
        if let Some((requests, _)) = &mut *self.pipes.borrow_mut() {
            writeln!(requests, "{request}")?;
        }
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&self) -> Result<T> {
        let mut line = String::new();
        if let Some((_, answers)) = &mut *self.pipes.borrow_mut() {
            answers.read_line(&mut line)?;
        }
        if line.is_empty() {
            return Err("PyTorch's process ended; it said why above".into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(format!("PyTorch: {error}").into()),
            None => Ok(serde_json::from_value(answer)?),
        }
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // Python reads its last line when the pipe closes. Nothing can be done where it does not end.
        self.pipes.take();
        let _ = self.child.wait();
    }
}
