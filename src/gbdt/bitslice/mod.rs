//! Sixty-four rows walk four trees at once, as bits: no row's path is a branch.
//!
//! A *row set* is a `u64` with a bit for each row. The tests of a forest are answered first ([`Predicates`]): each is
//! the set of rows that go left. A split is then two operations for all rows, `left = reach & answer` and
//! `right = reach ^ left`, and a tree is a fixed list of such [`Step`]s, laid out by [`lay_out`]. Every row ends in
//! one leaf, so the binary digits of its leaf's number are eight more sets; turned by ninety degrees they are one
//! byte a row, which finds the leaf's value in a table.
//!
//! What it costs does not depend on the rows: thousands of unpredictable branches, at which a walk row by row spends
//! most of its time, are gone. No instruction of any one processor is asked for.
//!
//! Sources: Lucchese et al., "QuickScorer", 2015 (tests before trees, rows against bit vectors); Biham, "A fast new
//! DES implementation in software", 1997 (one bit a row in each word).

#[cfg(feature = "learn")]
pub(in crate::gbdt) mod binned;
mod layout;
mod predicates;

pub(in crate::gbdt) use layout::lay_out;
pub(in crate::gbdt) use predicates::Predicates;

/// Some of the rows of a block. Row `r` is bit [`bit_of`]`(r)`.
pub(in crate::gbdt) type RowSet = u64;

/// Rows of a block: one for each bit of a set.
pub(in crate::gbdt) const ROWS: usize = RowSet::BITS as usize;
/// Trees that walk side by side, so that one's step need not wait for its last.
const LANES: usize = 4;

/// Where the rows that arrive at a leaf or a split are kept. Leaves come first, in the order of their values; then
/// splits whose turn has not come, and the two sets below.
#[derive(Debug, Clone)]
pub(in crate::gbdt) struct Slots([[RowSet; 256]; LANES]);

/// The slot of all rows.
const EVERYBODY: u8 = 255;
/// The slot of no row.
const NOBODY: u8 = 254;

impl Default for Slots {
    fn default() -> Self {
        let mut slots = [0; 256];
        slots[usize::from(EVERYBODY)] = !0;
        Self([slots; LANES])
    }
}

/// A split: the rows in slot `from` are parted among slots `left` and `right`.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Whose answer is the rows that go left.
    test: u32,
    // One byte each: an index that cannot miss its 256 slots needs no check.
    from: u8,
    left: u8,
    right: u8,
}

/// Rows that leave a piece of a tree for another piece, in a later group: there they are the answer to a test.
#[derive(Debug, Clone, Copy)]
struct Exit {
    group: usize,
    lane: usize,
    slot: u8,
    answer: u32,
}

/// Trees that add up to one output, laid out in groups of [`LANES`].
#[derive(Debug, Clone)]
pub(in crate::gbdt) struct Bitsliced {
    /// Leaves that each tree has room for: 16, 32, 64 or 128.
    leaves: usize,
    /// `leaves - 1` for each group.
    steps: Vec<[Step; LANES]>,
    /// `[groups, LANES, leaves]`.
    values: Vec<f64>,
    /// By group.
    exits: Vec<Exit>,
}

impl Bitsliced {
    /// Adds to the total of each row the value of its leaf in every tree, tree by tree.
    ///
    /// # Shapes
    /// `answers`: as many as [`lay_out`] counted, those to [`Predicates`] filled in; `totals`: at most [`ROWS`].
    pub fn add(&self, answers: &mut [RowSet], slots: &mut Slots, totals: &mut [f64]) {
        match self.leaves {
            16 => self.add_leaves::<16>(answers, slots, totals),
            32 => self.add_leaves::<32>(answers, slots, totals),
            64 => self.add_leaves::<64>(answers, slots, totals),
            _ => self.add_leaves::<128>(answers, slots, totals),
        }
    }

    fn add_leaves<const LEAVES: usize>(
        &self,
        answers: &mut [RowSet],
        Slots(slots): &mut Slots,
        totals: &mut [f64],
    ) {
        let mut exits = self.exits.iter().peekable();
        let (trees, _) = self.values.as_chunks::<LEAVES>();
        let (groups, _) = trees.as_chunks::<LANES>();
        for (group, (steps, values)) in self.steps.chunks_exact(LEAVES - 1).zip(groups).enumerate() {
            walk(steps, answers, slots);
            while let Some(exit) = exits.next_if(|exit| exit.group == group) {
                answers[exit.answer as usize] = slots[exit.lane][usize::from(exit.slot)];
            }
            let mut leaves = [[0; ROWS]; LANES];
            for (leaves, slots) in leaves.iter_mut().zip(&*slots) {
                *leaves = leaf_of_rows::<LEAVES>(std::array::from_fn(|leaf| slots[leaf]));
            }
            // The remainder is never taken: it tells the compiler that no leaf is out of range. Written out, because
            // a loop over the lanes is not unrolled and takes twice the time.
            let value = |lane: usize, row: usize| values[lane][usize::from(leaves[lane][row]) % LEAVES];
            for (row, total) in totals.iter_mut().enumerate().take(ROWS) {
                *total = *total + value(0, row) + value(1, row) + value(2, row) + value(3, row);
            }
        }
    }
}

#[inline(always)]
fn walk(steps: &[[Step; LANES]], answers: &[RowSet], slots: &mut [[RowSet; 256]; LANES]) {
    for steps in steps {
        for (step, slots) in steps.iter().zip(&mut *slots) {
            let reach = slots[usize::from(step.from)];
            let left = reach & answers[step.test as usize];
            slots[usize::from(step.left)] = left;
            slots[usize::from(step.right)] = reach ^ left;
        }
    }
}

/// The number of each row's leaf, where each row is in one of `sets`.
///
/// Digit by digit, highest first: a row's digit is 1 if its leaf is in the upper half. Then the halves are laid on one
/// another, and the next digit is the same question.
#[inline(always)]
fn leaf_of_rows<const LEAVES: usize>(mut sets: [RowSet; LEAVES]) -> [u8; ROWS] {
    let mut digits = [0; 8];
    let mut half = LEAVES;
    for digit in digits[..LEAVES.trailing_zeros() as usize].iter_mut().rev() {
        half /= 2;
        for leaf in 0..half {
            *digit |= sets[half + leaf];
            sets[leaf] |= sets[half + leaf];
        }
    }
    turn(digits)
}

/// Where [`turn`] looks for a row.
const fn bit_of(row: usize) -> usize {
    row % 8 * 8 + row / 8
}

/// Eight bits of every row become one byte a row: bit `d` of byte `r` is bit [`bit_of`]`(r)` of `digits[d]`.
///
/// Transposes the eight by eight bits in each column of bytes by swapping ever smaller quarters (Warren, "Hacker's
/// Delight", 2nd ed., 7-3). Rows were given their bits so that they come out in order.
#[inline(always)]
fn turn(mut digits: [u64; 8]) -> [u8; ROWS] {
    for (distance, lower) in
        [(4, 0x0f0f_0f0f_0f0f_0f0f_u64), (2, 0x3333_3333_3333_3333), (1, 0x5555_5555_5555_5555)]
    {
        for low in (0..8).filter(|digit| digit & distance == 0) {
            let high = low + distance;
            let swapped = (digits[low] >> distance ^ digits[high]) & lower;
            digits[high] ^= swapped;
            digits[low] ^= swapped << distance;
        }
    }
    let mut bytes = [0; ROWS];
    for (bytes, eight_rows) in bytes.chunks_exact_mut(8).zip(digits) {
        bytes.copy_from_slice(&eight_rows.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_finds_its_row_and_digit() {
        for row in 0..ROWS {
            for digit in 0..8 {
                let mut digits = [0; 8];
                digits[digit] = 1 << bit_of(row);
                let mut expected = [0; ROWS];
                expected[row] = 1 << digit;
                assert_eq!(turn(digits), expected, "row {row}, digit {digit}");
            }
        }
    }

    #[test]
    fn every_row_finds_its_leaf() {
        fn check<const LEAVES: usize>() {
            let leaf = |row: usize| (row * 37 + 5) % LEAVES;
            let mut sets = [0; LEAVES];
            (0..ROWS).for_each(|row| sets[leaf(row)] |= 1 << bit_of(row));
            assert_eq!(leaf_of_rows(sets), std::array::from_fn(|row| leaf(row) as u8));
        }
        check::<16>();
        check::<32>();
        check::<64>();
        check::<128>();
    }
}
