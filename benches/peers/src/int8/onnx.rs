//! ONNX Runtime on graphs of the student's shape, whose questions are in place before it answers.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use foretap::export::question::NamedTensor;
use foretap::transformer::{Batch, TransformerConfig};
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::Participant;
use super::question;
use crate::material::{self, Material};
use crate::onnxruntime::{self, Library};
use crate::{Result, here};

/// Seeds of the questions that `onnx_int8_static` takes its ranges from; no other question has them.
const CALIBRATION: std::ops::Range<u64> = 1_000..1_100;

/// Has the Python of `venv` write graphs of `material`'s weights to `folder`; returns the versions of what made them.
///
/// # Errors
/// There is no environment, or Python failed.
pub fn make(venv: &Path, material: &Material, folder: &Path) -> Result<BTreeMap<String, String>> {
    let (python, config) = (venv.join("bin/python"), material.weights.config());
    material.save(folder)?;
    for seed in CALIBRATION {
        let batch = material::batch(config, 1, 1, material.batches[0].candidates(), seed);
        let file = folder.join(format!("question{seed}.safetensors"));
        question::save(&file, &question::inputs(&batch, config))?;
    }
    let made = Command::new(&python)
        .arg(here().join("int8_graph.py"))
        .arg(folder)
        .output()
        .map_err(|error| format!("{}: {error}; start with `bash benches/peers/run`", python.display()))?;
    if !made.status.success() {
        return Err(format!("int8_graph.py: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    Ok(serde_json::from_slice(&made.stdout)?)
}

/// ONNX Runtime's library, opened.
pub struct Runtime(Library);

impl Runtime {
    /// Opens the library in the environment at `venv`.
    ///
    /// # Errors
    /// There is no environment, the wheel is missing in it, or is too old.
    pub fn open(venv: &Path) -> Result<Self> {
        Library::open(&onnxruntime::file(venv)?).map(Self)
    }

    /// The graph in `folder` whose name in reports is `name`, with the questions of `batches` in place.
    ///
    /// # Errors
    /// What ONNX Runtime says.
    pub fn graph(
        &self,
        name: &'static str,
        folder: &Path,
        batches: &[Batch],
        config: &TransformerConfig,
    ) -> Result<Graph> {
        let file = folder.join(format!("{name}.onnx"));
        let open = || {
            let session = self.0.load(&file)?;
            let questions = batches.iter().map(|batch| bind(&session, &question::inputs(batch, config)));
            let questions = questions.collect::<ort::Result<_>>()?;
            Ok(Graph { name, session, questions })
        };
        open().map_err(|error: ort::Error| format!("{}: {error}", file.display()).into())
    }
}

/// `inputs`, and room for logits, where the graph of `session` finds them.
fn bind(session: &Session, inputs: &[NamedTensor]) -> ort::Result<IoBinding> {
    let mut binding = session.create_binding()?;
    for input in inputs {
        binding.bind_input(input.name, &onnxruntime::tensor(input)?)?;
    }
    for output in session.outputs() {
        let shape = output.dtype().tensor_shape().cloned().unwrap_or_default();
        binding.bind_output(output.name(), Tensor::<f32>::new(&Allocator::default(), shape)?)?;
    }
    Ok(binding)
}

/// A graph, and the questions that it is asked.
pub struct Graph {
    name: &'static str,
    session: Session,
    questions: Vec<IoBinding>,
}

impl Participant for Graph {
    fn name(&self) -> &'static str {
        self.name
    }

    fn answer(&mut self, index: usize) -> Result<()> {
        black_box(&self.session.run_binding(&self.questions[index])?);
        Ok(())
    }

    fn logits(&mut self, index: usize) -> Result<Vec<f32>> {
        let outputs = self.session.run_binding(&self.questions[index])?;
        Ok(outputs["logits"].try_extract_tensor::<f32>()?.1.to_vec())
    }
}
