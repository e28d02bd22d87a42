//! Why an ensemble answers as it does: which features mattered in training, how far each moved the score of a row,
//! and the trees themselves in words.

mod dump;
mod importance;
mod quadrature;
mod shap;

pub use dump::Dump;
pub use importance::Importance;

use super::tree::{Child, Tree};

/// How much of the training data came to each split.
fn split_covers(tree: &Tree) -> Vec<f64> {
    let mut covers = vec![0.0; tree.splits.len()];
    // Splits lead to later splits only, so the last are summed first.
    for (split, node) in tree.splits.iter().enumerate().rev() {
        covers[split] = cover(tree, &covers, node.left) + cover(tree, &covers, node.right);
    }
    covers
}

/// How much of it came to `child`, by the covers of its splits.
fn cover(tree: &Tree, split_covers: &[f64], child: Child) -> f64 {
    match child {
        // Never negative, whatever a file says: shares of it would be no shares.
        Child::Leaf(leaf) => tree.leaf_cover[leaf].max(0.0),
        Child::Split(split) => split_covers[split],
    }
}
