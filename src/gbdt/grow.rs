//! One tree, grown where it gains most: the leaf with the best split is parted next, until limits are reached.

use super::bins::MISSING;
use super::config::GbdtConfig;
use super::dataset::Dataset;
use super::histogram::{Histogram, Sums};
use super::objective::Gradient;
use super::split::{Bounds, Split, best_split, leaf_value};
use super::tree::{Child, SplitNode, Tree};

/// A tree with the bins of its splits, so that binned rows can be sent down it.
#[derive(Debug, Clone)]
pub(super) struct GrownTree {
    pub tree: Tree,
    split_bins: Vec<u8>,
}

impl GrownTree {
    /// The value of the leaf that `row` of `data` falls in.
    pub fn value(&self, data: &Dataset, row: usize) -> f64 {
        let mut child = self.tree.root();
        loop {
            match child {
                Child::Leaf(leaf) => return self.tree.leaf_values[leaf],
                Child::Split(node) => {
                    let split = &self.tree.splits[node];
                    let bin = data.columns[split.feature][row];
                    let left = goes_left(bin, self.split_bins[node], split.missing_left);
                    child = if left { split.left } else { split.right };
                }
            }
        }
    }
}

fn goes_left(bin: u8, split_bin: u8, missing_left: bool) -> bool {
    if bin == MISSING { missing_left } else { bin <= split_bin }
}

/// A leaf that may still be parted.
struct Leaf {
    /// Its rows, as a range of the shared list.
    rows: std::ops::Range<usize>,
    sums: Sums,
    bounds: Bounds,
    depth: usize,
    histogram: Histogram,
    best: Option<Split>,
    /// The split it hangs from, and on which side.
    parent: Option<(usize, Side)>,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Grows a tree on `rows` of `data`, using `columns`.
pub(super) fn grow(
    data: &Dataset,
    mut rows: Vec<u32>,
    columns: &[usize],
    gradients: &[Gradient],
    config: &GbdtConfig,
) -> GrownTree {
    let histogram = Histogram::build(data, columns, &rows, gradients);
    let sums = rows.iter().fold(Sums::default(), |sums, &row| {
        let Gradient { g, h } = gradients[row as usize];
        sums.plus(Sums { g: f64::from(g), h: f64::from(h), rows: 1 })
    });
    let best = best_split(&histogram, columns, sums, Bounds::NONE, config);
    let mut leaves = vec![Leaf {
        rows: 0..rows.len(),
        sums,
        bounds: Bounds::NONE,
        depth: 0,
        histogram,
        best,
        parent: None,
    }];
    let mut splits: Vec<SplitNode> = Vec::new();
    let mut split_bins = Vec::new();

    while leaves.len() < config.leaves {
        let Some(index) = most_promising(&leaves) else { break };
        let Some(split) = leaves[index].best else { break };
        let leaf = leaves.swap_remove(index);
        let node = splits.len();
        hang(&mut splits, leaf.parent, Child::Split(node));
        splits.push(SplitNode {
            feature: split.column,
            test: data.binner.threshold(split.column, split.bin),
            missing_left: split.missing_left,
            gain: split.gain as f32,
            left: Child::Leaf(0),
            right: Child::Leaf(0),
        });
        split_bins.push(split.bin);

        let middle =
            leaf.rows.start + partition(&mut rows[leaf.rows.clone()], &data.columns[split.column], split);
        let (left_rows, right_rows) = (leaf.rows.start..middle, middle..leaf.rows.end);
        let left_is_smaller = left_rows.len() <= right_rows.len();
        let smaller_rows = if left_is_smaller { &left_rows } else { &right_rows };
        let smaller = Histogram::build(data, columns, &rows[smaller_rows.clone()], gradients);
        let larger = leaf.histogram.minus(&smaller);
        let (left, right) = if left_is_smaller { (smaller, larger) } else { (larger, smaller) };
        let (low, high) = leaf.bounds.of_children(&split, config);
        let children = [
            (left_rows, split.left, low, left, Side::Left),
            (right_rows, split.right, high, right, Side::Right),
        ];
        for (rows, sums, bounds, histogram, side) in children {
            let depth = leaf.depth + 1;
            let may_split = depth < config.max_depth;
            let best = may_split.then(|| best_split(&histogram, columns, sums, bounds, config)).flatten();
            leaves.push(Leaf { rows, sums, bounds, depth, histogram, best, parent: Some((node, side)) });
        }
    }

    let mut leaf_values = Vec::with_capacity(leaves.len());
    for (index, leaf) in leaves.iter().enumerate() {
        hang(&mut splits, leaf.parent, Child::Leaf(index));
        leaf_values.push(f64::from(leaf_value(leaf.sums, leaf.bounds, config)));
    }
    let leaf_cover = leaves.iter().map(|leaf| leaf.rows.len() as f64).collect();
    GrownTree { tree: Tree { splits, leaf_values, leaf_cover }, split_bins }
}

fn most_promising(leaves: &[Leaf]) -> Option<usize> {
    let gain = |&index: &usize| leaves[index].best.map(|best| best.gain);
    let open = (0..leaves.len()).filter(|index| gain(index).is_some());
    open.reduce(|best, next| if gain(&next) > gain(&best) { next } else { best })
}

fn hang(splits: &mut [SplitNode], parent: Option<(usize, Side)>, child: Child) {
    match parent {
        Some((node, Side::Left)) => splits[node].left = child,
        Some((node, Side::Right)) => splits[node].right = child,
        None => {}
    }
}

/// Moves the rows that go left to the front, keeping the order on both sides, and returns how many there are.
fn partition(rows: &mut [u32], bins: &[u8], split: Split) -> usize {
    let (left, right): (Vec<u32>, Vec<u32>) =
        rows.iter().partition(|&&row| goes_left(bins[row as usize], split.bin, split.missing_left));
    rows[..left.len()].copy_from_slice(&left);
    rows[left.len()..].copy_from_slice(&right);
    left.len()
}
