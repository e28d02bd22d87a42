//! Quantization: the student in INT8 and the ranker's trees as integers, with the same bits on every machine.
//!
//! A [`QuantizedModel`] is the student as plain data, a [`QuantizedTransformer`] answers from it. [`QuantizedTrees`] are the
//! ranker's forest, which answers as a [`Ranker`](crate::ranker::Ranker). Both are written into a bundle's sections, and
//! read from them without believing a byte.

mod attention;
mod bytes;
#[cfg(feature = "train")]
mod calibrate;
mod float;
mod forward;
mod kernel;
mod mixture;
mod model;
mod prepared;
#[cfg(feature = "train")]
mod qat;
#[cfg(feature = "train")]
mod scheme;
mod student;
mod trees;

#[cfg(feature = "train")]
pub use calibrate::{TensorReport, calibrate, deflated_bytes, input_ranges, report};
pub use forward::{QuantizedForward, QuantizedScratch};
pub use kernel::{Kernel, LANES, Packed};
pub use model::{Description, QuantizedModel, QuantizedTensor, TensorEncoding};
#[cfg(feature = "train")]
pub use qat::QuantizationAware;
#[cfg(feature = "train")]
pub use scheme::{Importance, dequantize, prune, quantize, quantize_calibrated};
pub use student::QuantizedTransformer;
pub use trees::{QuantizedTrees, TreesReport};
