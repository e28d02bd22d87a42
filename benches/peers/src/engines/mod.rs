//! The engines, behind one face: load rows (which bins them), train, score.

mod hessboost;
mod lightgbm;
mod ours;
mod perpetual;
mod xgboost;

pub use hessboost::Hessboost;
pub use lightgbm::{LightGbm, parameters as lightgbm_parameters};
pub use ours::Foretap;
pub use perpetual::Perpetual;
pub use xgboost::{XgBoost, parameters as xgboost_parameters};

use crate::Result;
use crate::task::{Rows, Settings};

/// An engine that trains trees.
pub trait Engine {
    /// Its name in tables and keys.
    fn name(&self) -> &'static str;

    /// Reads and bins `rows`, on all cores; nothing where the engine cannot do what `settings` ask for.
    ///
    /// # Errors
    /// What the engine says.
    fn load<'a>(&'a self, rows: &'a Rows, settings: &'a Settings) -> Result<Option<Box<dyn Loaded + 'a>>>;
}

/// Rows, as an engine trains on them.
pub trait Loaded {
    /// Trains from nothing. This is what is timed.
    ///
    /// # Errors
    /// What the engine says.
    fn train(&self, threads: usize, seed: u64) -> Result<Box<dyn Model + '_>>;
}

/// What training gave.
pub trait Model {
    /// How many trees.
    fn trees(&self) -> usize;

    /// Raw scores.
    ///
    /// # Shapes
    /// Returns row-major `[rows, outputs]`.
    ///
    /// # Errors
    /// What the engine says.
    fn score(&self, rows: &Rows) -> Result<Vec<f64>>;
}
