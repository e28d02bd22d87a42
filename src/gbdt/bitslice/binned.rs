//! A tree over rows that are binned already, column by column: 256 rows walk it at once.
//!
//! The same steps as for questions, with the lanes turned: there, four trees and one block of rows; here, one tree and
//! four blocks. Its tests are answered on the spot, as no other tree will ask them.

use std::ops::Range;

use super::layout::{Piece, pieces, room};
use super::{EVERYBODY, ROWS, RowSet, bit_of, leaf_of_rows};
use crate::gbdt::bins::MISSING;
use crate::gbdt::tree::Tree;

/// Blocks that walk at once.
const BLOCKS: usize = 4;
/// Rows that walk at once.
const TOGETHER: usize = BLOCKS * ROWS;

/// The bins of a column that go left.
#[derive(Debug, Clone, Copy)]
pub(in crate::gbdt) enum LeftBins {
    /// Bins from 1 up to and including this one; missing values go where the split says.
    UpTo(u8),
    /// The bins whose bit is set; missing values go where the split says.
    OneOf([u64; 4]),
}

/// A tree ready to be walked by binned rows.
#[derive(Debug)]
pub(in crate::gbdt) struct BinnedTree {
    questions: Vec<BinTest>,
    /// Leaves that each piece has room for.
    leaves: usize,
    pieces: Vec<Piece>,
    answers: usize,
}

/// A split, as asked of bins.
#[derive(Debug, Clone, Copy)]
struct BinTest {
    column: usize,
    left: LeftBins,
    missing_left: bool,
}

impl BinnedTree {
    /// Lays `tree` out. `left_bins` says what each split's test means in bins.
    ///
    /// # Shapes
    /// `left_bins`: `[splits]`.
    pub fn new(tree: &Tree, left_bins: &[LeftBins]) -> Self {
        let question = |(split, &left): (&crate::gbdt::tree::SplitNode, &LeftBins)| BinTest {
            column: split.feature,
            left,
            missing_left: split.missing_left,
        };
        let tests: Vec<u32> = (0..tree.splits.len() as u32).collect();
        let leaves = room(&[tree]);
        // At least one, for steps that ask for nobody.
        let mut answers = tests.len().max(1);
        let mut pieces = pieces(tree, &tests, leaves, &mut answers);
        pieces.iter_mut().for_each(|piece| piece.fill(leaves));
        Self { questions: tree.splits.iter().zip(left_bins).map(question).collect(), leaves, pieces, answers }
    }

    /// Calls `visit(row, value)` with the value of the leaf of each of `rows`, in order.
    ///
    /// # Shapes
    /// `columns`: for each feature of the tree, a bin for each row.
    pub fn visit(&self, columns: &[Vec<u8>], rows: Range<usize>, mut visit: impl FnMut(usize, f64)) {
        let mut answers = vec![[0; BLOCKS]; self.answers];
        let mut values = [0.0; TOGETHER];
        for start in rows.clone().step_by(TOGETHER) {
            let end = rows.end.min(start + TOGETHER);
            for (question, answer) in self.questions.iter().zip(&mut answers) {
                *answer = question.answer(&columns[question.column][start..end]);
            }
            match self.leaves {
                16 => self.walk::<16>(&mut answers, &mut values),
                32 => self.walk::<32>(&mut answers, &mut values),
                64 => self.walk::<64>(&mut answers, &mut values),
                _ => self.walk::<128>(&mut answers, &mut values),
            }
            (start..end).zip(&values).for_each(|(row, &value)| visit(row, value));
        }
    }

    fn walk<const LEAVES: usize>(&self, answers: &mut [[RowSet; BLOCKS]], values: &mut [f64; TOGETHER]) {
        let mut slots = [[0; BLOCKS]; 256];
        slots[usize::from(EVERYBODY)] = [!0; BLOCKS];
        // Each row is at home in one piece, and adds nothing in the others.
        values.fill(-0.0);
        for piece in &self.pieces {
            for step in &piece.steps {
                let reach = slots[usize::from(step.from)];
                let answer = answers[step.test as usize];
                slots[usize::from(step.left)] = std::array::from_fn(|block| reach[block] & answer[block]);
                slots[usize::from(step.right)] = std::array::from_fn(|block| reach[block] & !answer[block]);
            }
            for &(slot, answer) in &piece.exits {
                answers[answer as usize] = slots[usize::from(slot)];
            }
            let Some(of_leaves) = piece.values.first_chunk::<LEAVES>() else { continue };
            for (block, values) in values.chunks_exact_mut(ROWS).enumerate() {
                let leaves = leaf_of_rows::<LEAVES>(std::array::from_fn(|leaf| slots[leaf][block]));
                for (value, leaf) in values.iter_mut().zip(leaves) {
                    *value += of_leaves[usize::from(leaf) % LEAVES];
                }
            }
        }
    }
}

impl BinTest {
    /// The rows whose bin goes left.
    ///
    /// # Shapes
    /// `bins`: at most [`TOGETHER`].
    fn answer(&self, bins: &[u8]) -> [RowSet; BLOCKS] {
        let Some(bins) = bins.first_chunk() else {
            let mut filled_up = [MISSING; TOGETHER];
            filled_up[..bins.len()].copy_from_slice(bins);
            return self.answer(&filled_up);
        };
        match self.left {
            // One comparison: bins are moved down by one, which makes a missing value the largest bin.
            LeftBins::UpTo(last) if !self.missing_left => match last.checked_sub(1) {
                Some(last) => rows_where(bins, |bin| bin.wrapping_sub(1) <= last),
                None => [0; BLOCKS],
            },
            LeftBins::UpTo(last) => rows_where(bins, |bin| bin <= last),
            LeftBins::OneOf(mut left) => {
                left[0] = left[0] & !1 | u64::from(self.missing_left);
                rows_where(bins, |bin| left[usize::from(bin / 64)] >> (bin % 64) & 1 == 1)
            }
        }
    }
}

/// The rows whose bin is so. First a byte for each, a loop that the compiler turns into comparisons of many bytes; then
/// eight rows at a time, each of which has its bit in a byte of its own ([`bit_of`]).
#[inline(always)]
fn rows_where(bins: &[u8; TOGETHER], is_so: impl Fn(u8) -> bool) -> [RowSet; BLOCKS] {
    const { assert!(bit_of(1) == 8 && bit_of(8) == 1) };
    let mut so = [0; TOGETHER];
    so.iter_mut().zip(bins).for_each(|(so, &bin)| *so = u8::from(is_so(bin)));
    let mut sets = [0; BLOCKS];
    for (set, so) in sets.iter_mut().zip(so.as_chunks::<ROWS>().0) {
        for (bit, eight) in so.as_chunks().0.iter().enumerate() {
            *set |= RowSet::from_le_bytes(*eight) << bit;
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::bitslice::layout::tests::tree;
    use crate::gbdt::tree::Child;

    /// Deterministic noise.
    fn noise(n: usize) -> usize {
        let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize
    }

    #[test]
    fn values_are_those_of_a_walk_row_by_row() {
        let columns: Vec<Vec<u8>> =
            (0..5).map(|column| (0..1_000).map(|row| noise(column * 1_000 + row) as u8).collect()).collect();
        for (splits, rows) in [
            (0, 3..4),
            (1, 0..1_000),
            (7, 0..0),
            (30, 0..1_000),
            (30, 1..257),
            (31, 7..71),
            (127, 100..165),
            (128, 0..1_000),
            (700, 3..999),
        ] {
            let mut tree = tree(splits, |ends| noise(ends) % ends);
            let mut left_bins = Vec::new();
            for (node, split) in tree.splits.iter_mut().enumerate() {
                split.feature = noise(node) % 5;
                split.missing_left = noise(node).is_multiple_of(2);
                let limit = [0, 1, 254, 255, noise(node) as u8, noise(node + 1) as u8];
                left_bins.push(match noise(node) % 3 {
                    0 => {
                        LeftBins::OneOf(std::array::from_fn(|part| noise(node + part) as u64 * 0x1_0001_0001))
                    }
                    _ => LeftBins::UpTo(limit[noise(node + 7) % 6]),
                });
            }
            let goes_left = |node: usize, bin: u8| match left_bins[node] {
                _ if bin == MISSING => tree.splits[node].missing_left,
                LeftBins::UpTo(last) => bin <= last,
                LeftBins::OneOf(left) => left[usize::from(bin) / 64] >> (bin % 64) & 1 == 1,
            };
            let plain = |row: usize| {
                let mut child = tree.root();
                loop {
                    match child {
                        Child::Leaf(leaf) => return tree.leaf_values[leaf],
                        Child::Split(node) => {
                            let split = &tree.splits[node];
                            let left = goes_left(node, columns[split.feature][row]);
                            child = if left { split.left } else { split.right };
                        }
                    }
                }
            };
            let expected: Vec<(usize, f64)> = rows.clone().map(|row| (row, plain(row))).collect();
            let mut found = Vec::new();
            BinnedTree::new(&tree, &left_bins).visit(&columns, rows, |row, value| found.push((row, value)));
            assert_eq!(found, expected, "{splits} splits");
        }
    }
}
