//! Which features mattered in training.

use serde::Serialize;

use crate::gbdt::Ensemble;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::{Child, SplitCondition, SplitNode, Tree};

    #[test]
    fn gains_and_splits_are_summed_over_trees() {
        let split = |feature, gain| SplitNode {
            feature,
            test: SplitCondition::Threshold(0.0),
            missing_left: false,
            gain,
            left: Child::Leaf(0),
            right: Child::Leaf(1),
        };
        let stump = |feature, gain| Tree {
            splits: vec![split(feature, gain)],
            leaf_values: vec![0.0; 2],
            leaf_cover: vec![1.0; 2],
        };
        let model =
            Ensemble::new(vec![stump(1, 2.0), stump(1, 0.5), stump(0, 3.0), Tree::constant(1.0, 2.0)], 3);
        let expected = [(3.0, 1), (2.5, 2), (0.0, 0)].map(|(gain, splits)| Importance { gain, splits });
        assert_eq!(model.importance(), expected);
    }
}
