//! The checkpoints that travel with the crate; `checkpoints/README.md` tells what they learned from.

use super::file::TransformerModel;
use super::learn::Size;
use crate::error::Result;

/// A transformer that knows simulated people: a start for fine-tuning, and an answer before there is any data.
///
/// # Errors
/// The crate's own file does not fit this build.
pub fn pretrained(size: Size) -> Result<TransformerModel> {
    let (file, bytes): (_, &[u8]) = match size {
        Size::Teacher => ("checkpoints/teacher.safetensors", foretap_checkpoints::TEACHER),
        Size::Student => ("checkpoints/student.safetensors", foretap_checkpoints::STUDENT),
    };
    TransformerModel::from_bytes(bytes).map_err(|error| error.file(file))
}
