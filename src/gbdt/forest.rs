//! Inference: an ensemble ready to answer.

use super::ensemble::Ensemble;
use crate::error::Result;

/// Working memory of [`Forest::score`].
#[derive(Debug, Clone, Default)]
pub struct ForestScratch(Vec<u8>);

/// Trees ready to answer.
#[derive(Debug, Clone)]
pub struct Forest {
    ensemble: Ensemble,
}

impl Forest {
    /// Checks `ensemble` and lays it out.
    ///
    /// # Errors
    /// A tree that refers to a feature or node that does not exist, or a value that is not finite.
    pub fn new(ensemble: Ensemble) -> Result<Self> {
        ensemble.check()?;
        Ok(Self { ensemble })
    }

    /// The trees as trained.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.ensemble.columns()
    }

    /// Scores a row: one, or one a class.
    pub fn outputs(&self) -> usize {
        self.ensemble.outputs()
    }

    /// Scores rows, equal to [`Ensemble::score`] bit for bit.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; `scores`: row-major `[n, outputs]`.
    pub fn score(&self, rows: &[f32], scratch: &mut ForestScratch, scores: &mut [f64]) {
        let _ = &mut scratch.0;
        self.ensemble.score(rows, scores);
    }
}
