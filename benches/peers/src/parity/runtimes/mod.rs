//! Runtimes behind one face: each loads an ONNX file, takes questions in, and answers one at a time on one thread.

mod onnxruntime;
mod openvino;
mod rten;
mod tract;

use std::path::Path;

use foretap::export::question::NamedTensor;

pub use onnxruntime::OnnxRuntime;
pub use openvino::OpenVino;
pub use rten::Rten;
pub use tract::Tract;

use crate::Result;

/// What runs ONNX files.
pub trait Runtime: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// The version that runs here.
    fn version(&self) -> String;

    /// The graph in `file`, ready for questions.
    ///
    /// # Errors
    /// There is no such file, or the runtime refuses the graph; tract says so in [`Session::prepare`] only.
    fn load(&self, file: &Path) -> Result<Box<dyn Session + '_>>;
}

/// A graph, loaded, and the questions that it is asked.
pub trait Session {
    /// Takes a question in, in the runtime's own tensors, and returns its number.
    ///
    /// # Errors
    /// The graph has no input of that name, or the runtime refuses the graph for inputs of those types and shapes.
    fn prepare(&mut self, inputs: &[NamedTensor]) -> Result<usize>;

    /// Forgets all questions, and whatever was prepared for their shapes.
    fn clear(&mut self);

    /// Answers question `index`: this is what is timed.
    ///
    /// # Errors
    /// What the runtime says.
    fn run(&mut self, index: usize) -> Result<()>;

    /// Answers question `index`, and returns the numbers of the output `name`.
    ///
    /// # Errors
    /// What the runtime says; the graph has no such output, or it does not hold plain numbers.
    fn output(&mut self, index: usize, name: &str) -> Result<Vec<f32>>;
}

/// The version of the crate `name` that this program is built with.
fn locked(name: &str) -> String {
    let mut lines = include_str!("../../../Cargo.lock").lines();
    let quoted = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    lines.find(|line| quoted(line, "name = ").is_some_and(|found| found == name));
    lines.next().and_then(|line| quoted(line, "version = ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        for (name, expected) in [("rten", "0.27.0"), ("tract-onnx", "0.23.9"), ("no such crate", "")] {
            assert_eq!(locked(name), expected, "{name}");
        }
    }
}
