//! The pocket expert: the student in whole numbers, with the same bits on every machine.

mod attention;
#[cfg(feature = "train")]
mod aware;
mod bytes;
#[cfg(feature = "train")]
mod calibrate;
mod float;
mod forward;
mod kernel;
mod model;
mod prepared;
#[cfg(feature = "train")]
mod scheme;
mod student;

#[cfg(feature = "train")]
pub use aware::QuantizationAware;
#[cfg(feature = "train")]
pub use calibrate::{TensorReport, calibrate, deflated_bytes, report};
pub use forward::{QuantizedForward, QuantizedScratch};
pub use kernel::{Kernel, LANES, Packed};
pub use model::{Description, QuantizedModel, QuantizedTensor, Storage};
#[cfg(feature = "train")]
pub use scheme::{Importance, prune, quantize, quantize_calibrated};
pub use student::QuantizedTransformer;
