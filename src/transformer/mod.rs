//! The deep expert: a small causal transformer over (app, time, place) tokens.

mod batch;
#[cfg(feature = "burn")]
mod burn;
mod config;
mod device;
mod engine;
mod weights;

#[cfg(feature = "burn")]
pub use self::burn::BurnEngine;
pub use batch::{Batch, NO_TARGET};
pub use config::TransformerConfig;
pub use device::Device;
pub use engine::{Engine, Losses, Pass};
pub use weights::{LayerLayout, Layout, NORM_EPSILON, TensorSpec, Weights};
