//! What every form of the transformer shares, in plain numbers or whole ones: its shape, its formulas, what it reads.

mod batch;
mod columns;
mod columns_v1;
mod config;
mod layout;
mod reader;

pub use batch::{Batch, NO_TARGET};
pub(crate) use columns::FARTHEST;
pub use columns::{ColumnReader, Standardisation};
pub use config::TransformerConfig;
pub(crate) use layout::transposed;
pub use layout::{LayerLayout, NORM_EPSILON, TensorSpec, WeightLayout};
pub use reader::{QuestionReader, ReaderScratch, Window};
