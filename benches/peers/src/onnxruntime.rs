//! ONNX Runtime: the library of its wheel, called through its C interface, on one thread, with all its optimizations.

use std::path::{Path, PathBuf};

use foretap::export::question::{NamedTensor, Values};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynTensor, Tensor};

use crate::Result;
use crate::wheels;

/// What the library's file is called; its version follows.
pub const NAME: &str = "libonnxruntime.so.";

/// The library's file in the environment at `venv`.
///
/// # Errors
/// There is no environment, or the wheel is missing in it.
pub fn file(venv: &Path) -> Result<PathBuf> {
    wheels::library(venv, "onnxruntime/capi", NAME).ok_or_else(|| {
        format!("no ONNX Runtime in {}; start with `bash benches/peers/run`", venv.display()).into()
    })
}

/// The library, opened.
pub struct Library(Environment);

impl Library {
    /// Opens `file`.
    ///
    /// # Errors
    /// It is too old.
    pub fn open(file: &Path) -> Result<Self> {
        Ok(Self(ort::init_from(file)?.with_telemetry(false).build()?))
    }

    /// The graph in `file`, loaded.
    ///
    /// # Errors
    /// What ONNX Runtime says.
    pub fn load(&self, file: &Path) -> ort::Result<Session> {
        Session::builder(&self.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .commit_from_file(file)
    }
}

/// `input` in ONNX Runtime's own memory.
///
/// # Errors
/// It holds more or fewer numbers than its sizes say.
pub fn tensor(input: &NamedTensor) -> ort::Result<DynTensor> {
    let shape = input.shape.clone();
    Ok(match &input.values {
        Values::Floats(values) => Tensor::from_array((shape, values.clone()))?.upcast(),
        Values::Whole(values) => Tensor::from_array((shape, values.clone()))?.upcast(),
    })
}
