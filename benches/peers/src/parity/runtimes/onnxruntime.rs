//! ONNX Runtime behind that face.

use std::hint::black_box;
use std::path::Path;

use foretap::export::question::NamedTensor;
use ort::memory::MemoryInfo;
use ort::session::{IoBinding, Session as Loaded};

use super::{Runtime, Session};
use crate::Result;
use crate::onnxruntime::{self, Library};

/// ONNX Runtime's library, opened.
pub struct OnnxRuntime {
    library: Library,
    version: String,
}

impl OnnxRuntime {
    /// Opens the library in the environment at `venv`.
    ///
    /// # Errors
    /// There is no environment, the wheel is missing in it, or is too old.
    pub fn open(venv: &Path) -> Result<Self> {
        let file = onnxruntime::file(venv)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let version = name.trim_start_matches(onnxruntime::NAME).to_owned();
        Ok(Self { library: Library::open(&file)?, version })
    }
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Graph { loaded: self.library.load(file)?, questions: Vec::new() }))
    }
}

struct Graph {
    loaded: Loaded,
    questions: Vec<IoBinding>,
}

impl Session for Graph {
    fn prepare(&mut self, inputs: &[NamedTensor]) -> Result<usize> {
        let mut binding = self.loaded.create_binding()?;
        for input in inputs {
            binding.bind_input(input.name, &onnxruntime::tensor(input)?)?;
        }
        // No room is set aside for outputs: their shapes depend on the question's.
        for output in self.loaded.outputs() {
            binding.bind_output_to_device(output.name(), &MemoryInfo::default())?;
        }
        self.questions.push(binding);
        Ok(self.questions.len() - 1)
    }

    fn clear(&mut self) {
        self.questions.clear();
    }

    fn run(&mut self, index: usize) -> Result<()> {
        black_box(&self.loaded.run_binding(&self.questions[index])?);
        Ok(())
    }

    fn output(&mut self, index: usize, name: &str) -> Result<Vec<f32>> {
        let outputs = self.loaded.run_binding(&self.questions[index])?;
        let output = outputs.get(name).ok_or_else(|| format!("there is no output {name}"))?;
        Ok(output.try_extract_tensor::<f32>()?.1.to_vec())
    }
}
