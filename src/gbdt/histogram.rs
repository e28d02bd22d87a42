//! Sums of gradients by bin: all that a split needs to know of the rows of a leaf.
//!
//! A row's gradient is added to one cell a column. Rounded gradients ([`rounding`](super::rounding)) pack `g`, `h` and
//! the count of rows into one integer, so that this is one addition; every 16,383 rows, before a field could run over,
//! the cells are spilled into wider sums.

use std::sync::Mutex;

use super::block::{Bins, Block};
use super::objective::Gradient;
use super::rounding::Packed;

/// What fell in one bin, or in several.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums<S> {
    pub g: S,
    pub h: S,
    pub rows: u32,
}

/// A number that gradients are summed in.
pub(super) trait Number:
    Copy
    + Default
    + Into<f64>
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + PartialEq
    + Send
    + Sync
    + std::fmt::Debug
{
}
impl Number for i32 {}
impl Number for f64 {}

impl<S: Number> Sums<S> {
    pub fn plus(self, other: Self) -> Self {
        Self { g: self.g + other.g, h: self.h + other.h, rows: self.rows + other.rows }
    }

    pub fn minus(self, other: Self) -> Self {
        Self { g: self.g - other.g, h: self.h - other.h, rows: self.rows - other.rows }
    }
}

/// How gradients are stored, added up and read off.
pub(super) trait Numbers: Send + Sync + Sized + 'static {
    /// A row's gradient.
    type Row: Copy + Send + Sync;
    /// What a row is added to.
    type Cell: Copy + Default + Send;
    /// What cells are spilled into.
    type Sum: Number;
    /// Rows that a cell can take.
    const ROWS_AT_ONCE: usize;

    fn cell(row: Self::Row) -> Self::Cell;
    fn add(cell: &mut Self::Cell, other: Self::Cell);
    fn sums(cell: Self::Cell) -> Sums<Self::Sum>;
}

/// Rounded gradients, summed in integers: exactly, so in any order.
pub(super) struct Rounded;

/// Bits of a cell that count rows: 2^14 - 1 of them at most.
const COUNT_BITS: u32 = 14;
/// Bits for the sum of `h`: that many rows times 2^11 - 1. What is left, 25 bits, holds the sum of `g` and its sign.
const H_BITS: u32 = 25;

impl Numbers for Rounded {
    type Row = Packed;
    type Cell = u64;
    type Sum = i32;
    const ROWS_AT_ONCE: usize = (1 << COUNT_BITS) - 1;

    fn cell(row: Packed) -> u64 {
        let g = i64::from(row as i32 >> 16) as u64;
        (g << (COUNT_BITS + H_BITS)) + (u64::from(row & 0xFFFF) << COUNT_BITS) + 1
    }

    fn add(cell: &mut u64, other: u64) {
        *cell = cell.wrapping_add(other);
    }

    fn sums(cell: u64) -> Sums<i32> {
        Sums {
            g: ((cell as i64) >> (COUNT_BITS + H_BITS)) as i32,
            h: ((cell >> COUNT_BITS) & ((1 << H_BITS) - 1)) as i32,
            rows: (cell & ((1 << COUNT_BITS) - 1)) as u32,
        }
    }
}

/// Gradients as they are, summed in f64: f32 sums drift over 10^6 rows, and a parent minus its child would be noise.
pub(super) struct Full;

impl Numbers for Full {
    type Row = Gradient;
    type Cell = [f64; 3];
    type Sum = f64;
    // The count is exact far beyond this; smaller parts lose less of a sum's tail.
    const ROWS_AT_ONCE: usize = 1 << 16;

    fn cell(row: Gradient) -> [f64; 3] {
        [f64::from(row.g), f64::from(row.h), 1.0]
    }

    fn add(cell: &mut [f64; 3], other: [f64; 3]) {
        cell.iter_mut().zip(other).for_each(|(cell, other)| *cell += other);
    }

    fn sums([g, h, rows]: [f64; 3]) -> Sums<f64> {
        Sums { g, h, rows: rows as u32 }
    }
}

/// Which rows are summed.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// All between two numbers.
    Range(usize, usize),
    /// These, ascending.
    Listed(&'a [u32]),
}

impl<'a> Rows<'a> {
    pub fn len(self) -> usize {
        match self {
            Self::Range(start, end) => end - start,
            Self::Listed(rows) => rows.len(),
        }
    }

    /// Some of them, by position.
    pub fn part(self, start: usize, end: usize) -> Rows<'a> {
        match self {
            Self::Range(first, _) => Self::Range(first + start, first + end),
            Self::Listed(rows) => Self::Listed(&rows[start..end]),
        }
    }
}

/// A leaf's sums in one block, for each column and each of its bins.
pub(super) struct Histogram<N: Numbers> {
    pub g: Vec<N::Sum>,
    pub h: Vec<N::Sum>,
    pub rows: Vec<u32>,
}

impl<N: Numbers> Histogram<N> {
    fn empty(cells: usize) -> Self {
        Self { g: vec![N::Sum::default(); cells], h: vec![N::Sum::default(); cells], rows: vec![0; cells] }
    }

    /// Sums over `rows`, for the columns of `block` that are `used`.
    ///
    /// # Shapes
    /// `used`: `[columns of the table]`; `gradients`: `[rows of the table]`.
    pub fn build(
        block: &Block<'_>,
        used: &[bool],
        rows: Rows<'_>,
        gradients: &[N::Row],
        tables: &Tables<N>,
    ) -> Self {
        let mut sums = Self::empty(block.cells());
        if !block.columns.iter().any(|&column| used[column]) {
            return sums;
        }
        let mut table = tables.take();
        let task = Filling { block, used, rows, gradients };
        match &block.bins {
            Bins::Column(bins) => sums.fill(&task, bins.as_chunks::<1>().0, &mut table),
            Bins::Rows8(bins) => sums.fill(&task, bins, &mut table),
            Bins::Rows16(bins) => sums.fill(&task, bins, &mut table),
            Bins::Rows32(bins) => sums.fill(&task, bins, &mut table),
        }
        tables.give_back(table);
        sums
    }

    fn fill<const W: usize>(&mut self, task: &Filling<'_, N>, bins: &[[u8; W]], table: &mut Table<N>) {
        let &Filling { block, used, rows, gradients } = task;
        let Some(cells) = table.first_chunk_mut::<W>() else { return };
        for start in (0..rows.len()).step_by(N::ROWS_AT_ONCE) {
            let end = (start + N::ROWS_AT_ONCE).min(rows.len());
            match rows.part(start, end) {
                Rows::Range(first, last) => {
                    accumulate::<N, W>(&bins[first..last], &gradients[first..last], cells);
                }
                Rows::Listed(rows) => gather::<N, W>(bins, rows, gradients, cells),
            }
            for (lane, cells) in cells.iter_mut().enumerate() {
                match block.columns.get(lane) {
                    Some(&column) if used[column] => self.spill(block.range(lane), cells),
                    Some(_) => cells[..block.range(lane).len()].fill(N::Cell::default()),
                    // Lanes beyond the columns hold bin 0 alone.
                    None => cells[0] = N::Cell::default(),
                }
            }
        }
    }

    /// Moves the cells of one column to its sums.
    fn spill(&mut self, range: std::ops::Range<usize>, cells: &mut [N::Cell; STRIDE]) {
        let (g, h) = (&mut self.g[range.clone()], &mut self.h[range.clone()]);
        let rows = &mut self.rows[range];
        for (((cell, g), h), rows) in cells.iter_mut().zip(g).zip(h).zip(rows) {
            let sums = N::sums(std::mem::take(cell));
            *g += sums.g;
            *h += sums.h;
            *rows += sums.rows;
        }
    }

    /// Adds the sums of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.g.iter_mut().zip(&other.g).for_each(|(mine, &theirs)| *mine += theirs);
        self.h.iter_mut().zip(&other.h).for_each(|(mine, &theirs)| *mine += theirs);
        self.rows.iter_mut().zip(&other.rows).for_each(|(mine, &theirs)| *mine += theirs);
    }

    /// Takes the rows of `child` away: what is left is its sibling, without a look at the rows.
    pub fn subtract(&mut self, child: &Self) {
        self.g.iter_mut().zip(&child.g).for_each(|(mine, &theirs)| *mine -= theirs);
        self.h.iter_mut().zip(&child.h).for_each(|(mine, &theirs)| *mine -= theirs);
        self.rows.iter_mut().zip(&child.rows).for_each(|(mine, &theirs)| *mine -= theirs);
    }
}

/// Cells a lane: one for each byte, so that no bin needs a check, and eight more, because lanes that lie a power of
/// two apart would share few lines of the cache (4 to 10 times slower with 32 lanes of 3 to 64 bins).
const STRIDE: usize = 264;
/// Most columns of a block.
pub(super) const MOST_LANES: usize = 32;

/// Cells of up to 32 lanes.
type Table<N> = Vec<[<N as Numbers>::Cell; STRIDE]>;

/// Tables to fill, one a thread: all zero but while they are in use, so that none is cleared in vain.
pub(super) struct Tables<N: Numbers>(Mutex<Vec<Table<N>>>);

impl<N: Numbers> Tables<N> {
    pub fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self) -> Table<N> {
        let spare = self.0.lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| vec![[N::Cell::default(); STRIDE]; MOST_LANES])
    }

    fn give_back(&self, table: Table<N>) {
        if let Ok(mut spare) = self.0.lock() {
            spare.push(table);
        }
    }
}

/// What is summed up.
struct Filling<'a, N: Numbers> {
    block: &'a Block<'a>,
    used: &'a [bool],
    rows: Rows<'a>,
    gradients: &'a [N::Row],
}

/// Adds the gradient of each row to the cell of its bin, in every lane.
fn accumulate<N: Numbers, const W: usize>(
    bins: &[[u8; W]],
    gradients: &[N::Row],
    cells: &mut [[N::Cell; STRIDE]; W],
) {
    for (row, &gradient) in bins.iter().zip(gradients) {
        let cell = N::cell(gradient);
        for (cells, &bin) in cells.iter_mut().zip(row) {
            N::add(&mut cells[usize::from(bin)], cell);
        }
    }
}

/// [`accumulate`] for scattered rows. They are fetched together before they are used, so that the memory works on many
/// of them at once: on a leaf of one row in 64, seven times faster than fetching each when it is needed.
fn gather<N: Numbers, const W: usize>(
    bins: &[[u8; W]],
    rows: &[u32],
    gradients: &[N::Row],
    cells: &mut [[N::Cell; STRIDE]; W],
) {
    const AT_ONCE: usize = 256;
    let mut near_bins = [[0; W]; AT_ONCE];
    let mut near_gradients = Vec::with_capacity(AT_ONCE);
    for rows in rows.chunks(AT_ONCE) {
        near_gradients.clear();
        near_gradients.extend(rows.iter().map(|&row| gradients[row as usize]));
        near_bins.iter_mut().zip(rows).for_each(|(near, &row)| *near = bins[row as usize]);
        accumulate::<N, W>(&near_bins[..rows.len()], &near_gradients, cells);
    }
}
