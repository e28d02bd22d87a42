//! The pocket expert: the student in whole numbers, with the same bits on every machine.

mod attention;
mod float;
mod forward;
mod kernel;
mod model;
mod prepared;
#[cfg(feature = "train")]
mod scheme;
mod student;

pub use forward::{QuantizedForward, QuantizedScratch};
pub use kernel::{Kernel, LANES, Packed};
pub use model::{Description, QuantizedModel, QuantizedTensor, Storage};
#[cfg(feature = "train")]
pub use scheme::quantize;
pub use student::QuantizedTransformer;
