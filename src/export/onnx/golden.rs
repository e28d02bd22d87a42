//! Golden inputs and outputs beside a model, as ONNX's own test suites keep them: `test_data_set_0/input_0.pb` and so on,
//! one tensor a file, in the order of the graph's inputs and outputs.

use std::fs;
use std::path::Path;

use prost::Message as _;

use super::OnnxModel;
use super::proto::{TensorProto, ValueInfoProto};
use crate::error::{Error, Result};
use crate::export::question::{NamedTensor, Values};
use crate::export::wrong;
use crate::storage::write_atomically;

/// What a model was asked, and what it has to answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TestData {
    /// All inputs of the graph.
    pub inputs: Vec<NamedTensor>,
    /// Those of its outputs that are known.
    pub outputs: Vec<NamedTensor>,
}

impl TestData {
    /// Writes a file a tensor into `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// An input of `model` is missing, or a file cannot be written.
    pub fn save(&self, model: &OnnxModel, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| {
            Error::io(folder, "make this folder", error).next_step("name a folder that you may write to")
        })?;
        let graph = model.proto.graph.as_ref();
        let inputs = graph.map(|graph| graph.input.as_slice()).unwrap_or_default();
        let outputs = graph.map(|graph| graph.output.as_slice()).unwrap_or_default();
        for (index, input) in inputs.iter().enumerate() {
            let found = self.inputs.iter().find(|tensor| tensor.name == input.name);
            let found = found.ok_or_else(|| wrong(format!("no test data for the input `{}`", input.name)))?;
            save(found, input, &folder.join(format!("input_{index}.pb")))?;
        }
        for (index, output) in outputs.iter().enumerate() {
            if let Some(found) = self.outputs.iter().find(|tensor| tensor.name == output.name) {
                save(found, output, &folder.join(format!("output_{index}.pb")))?;
            }
        }
        Ok(())
    }
}

fn save(tensor: &NamedTensor, info: &ValueInfoProto, file: &Path) -> Result<()> {
    let proto = match &tensor.values {
        Values::Floats(values) => TensorProto::floats(&info.name, &tensor.shape, values),
        Values::Whole(values) => TensorProto::ids(&info.name, &tensor.shape, values),
    };
    write_atomically(file, |out| out.write_all(&proto.encode_to_vec()))
}
