//! Why an ensemble answers as it does: which features mattered.

use serde::Serialize;

use super::ensemble::Ensemble;

/// How much a feature mattered in training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Importance {
    /// Sum of the gains of its splits.
    pub gain: f64,
    /// How many splits ask for it.
    pub splits: u32,
}

impl Ensemble {
    /// Gain and number of splits of each feature, summed over all trees.
    pub fn importance(&self) -> Vec<Importance> {
        let mut importance = vec![Importance::default(); self.columns()];
        for split in self.trees.iter().flat_map(|tree| &tree.splits) {
            importance[split.feature].gain += f64::from(split.gain);
            importance[split.feature].splits += 1;
        }
        importance
    }
}
