//! Trees being built: a child is hung under its split as soon as it is known.

use super::tree::{Child, SplitNode};

/// The side of a split that a child is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where values go that pass the test.
    Left,
    /// Where the others go.
    Right,
}

/// Attaches `child` to a split of a tree that is being built; a root has no parent.
pub(crate) fn attach(splits: &mut [SplitNode], parent: Option<(usize, Side)>, child: Child) {
    match parent {
        Some((node, Side::Left)) => splits[node].left = child,
        Some((node, Side::Right)) => splits[node].right = child,
        None => {}
    }
}
