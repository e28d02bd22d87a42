//! Losses and gradients by Burn, on whichever of its backends this build has: plain Rust or a graphics card.
//!
//! A pass uploads the weights and the batch ([`inputs`]), runs the model of `network/layout.rs` on tensors ([`model`]) and
//! downloads one list: the losses, then the gradient in the order of the weights ([`engine`]). Nothing stays on the
//! device between passes, so one optimizer in plain Rust serves every device, and a run goes on exactly where its
//! checkpoint stopped.

mod engine;
mod inputs;
mod model;

pub use engine::BurnEngine;
