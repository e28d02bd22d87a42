//! What every form of the transformer shares, in floats or in INT8: its shape, its formulas, what it reads, how it answers.

mod batch;
mod columns;
mod columns_v1;
mod config;
mod layout;
mod predictor;
mod reader;

pub use batch::{Batch, NO_TARGET};
pub(crate) use columns::FARTHEST;
pub use columns::{ColumnReader, Standardisation};
pub use config::TransformerConfig;
pub(crate) use layout::transposed;
pub use layout::{LayerLayout, NORM_EPSILON, TensorSpec, WeightLayout};
pub use predictor::{NetworkPredictor, QuestionNetwork};
pub use reader::{QuestionReader, ReaderScratch, Window};
