//! The deep expert: a small causal transformer over (app, time, place) tokens.

mod batch;
mod config;
mod engine;
mod native;
mod sample;
mod weights;

pub use batch::{Batch, NO_TARGET};
pub use config::TransformerConfig;
pub use engine::{Engine, Losses, Pass};
pub use native::Native;
pub use weights::{LayerLayout, Layout, NORM_EPSILON, TensorSpec, Weights};
