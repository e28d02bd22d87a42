//! Where the bins of a row lie in memory, for the sums of [`histogram`](super::histogram).
//!
//! Column by column, a histogram of one column stays in the fastest cache, but the rows of a leaf are scattered over
//! every column anew. Row by row, a row's bins are fetched at once, and the histograms of up to 32 columns are filled
//! together. Which is faster depends on the table and the machine, so both are tried on the rows at hand.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::dataset::Dataset;
use super::histogram::{Histogram, MOST_LANES, Numbers, Rows, Tables};

/// Columns whose bins lie together, and where the sums of each begin.
pub(super) struct Block<'a> {
    /// The columns, by number.
    pub columns: Vec<usize>,
    /// Where the bins of each column begin among the sums of the block, and the end of the last.
    pub starts: Vec<usize>,
    pub bins: Bins<'a>,
}

/// The bins of a block: row by row in lanes, or one column.
pub(super) enum Bins<'a> {
    Column(&'a [u8]),
    Rows8(Vec<[u8; 8]>),
    Rows16(Vec<[u8; 16]>),
    Rows32(Vec<[u8; 32]>),
}

/// The columns worth asking about, in blocks.
pub(super) struct BlockLayout<'a> {
    pub blocks: Vec<Block<'a>>,
}

impl<'a> BlockLayout<'a> {
    /// Each of `columns` by itself.
    pub fn by_columns(data: &'a Dataset, columns: &[usize]) -> Self {
        let block = |&column: &usize| Block::new(data, &[column], Bins::Column(&data.columns[column]));
        Self { blocks: columns.iter().map(block).collect() }
    }

    /// A row's bins next to each other, in blocks of up to 32 columns.
    pub fn by_rows(data: &'a Dataset, columns: &[usize]) -> Self {
        let block = |columns: &[usize]| {
            let bins = match columns.len() {
                ..=8 => Bins::Rows8(interleave(data, columns)),
                9..=16 => Bins::Rows16(interleave(data, columns)),
                _ => Bins::Rows32(interleave(data, columns)),
            };
            Block::new(data, columns, bins)
        };
        // 40 columns as 32 and 8, not as 20 and 20: lanes are summed whether they are used or not.
        Self { blocks: columns.chunks(MOST_LANES).map(block).collect() }
    }

    /// The one that sums the gradients of some rows faster. It changes the time that training takes, never its
    /// result.
    pub fn measured<N: Numbers>(
        data: &'a Dataset,
        columns: &[usize],
        gradients: &[N::Row],
        tables: &Tables<N>,
    ) -> Self {
        let by_columns = Self::by_columns(data, columns);
        let by_rows = Self::by_rows(data, columns);
        // As scattered as the rows of a leaf: every eighth.
        let rows: Vec<u32> = (0..data.rows() as u32).step_by(8).take(TRIED_ROWS).collect();
        let used = vec![true; data.columns.len()];
        let time = |layout: &Self| {
            let start = Instant::now();
            for block in &layout.blocks {
                std::hint::black_box(Histogram::build(block, &used, Rows::Listed(&rows), gradients, tables));
            }
            start.elapsed()
        };
        let mut best = [Duration::MAX; 2];
        for _ in 0..TRIES {
            best[0] = best[0].min(time(&by_columns));
            best[1] = best[1].min(time(&by_rows));
        }
        if best[0] < best[1] { by_columns } else { by_rows }
    }
}

/// Rows that each layout is tried on.
const TRIED_ROWS: usize = 8_192;
/// How often.
const TRIES: usize = 3;

impl<'a> Block<'a> {
    fn new(data: &Dataset, columns: &[usize], bins: Bins<'a>) -> Self {
        let ends = columns.iter().scan(0, |end, &column| {
            *end += data.binner.bins(column);
            Some(*end)
        });
        Self { columns: columns.to_vec(), starts: [0].into_iter().chain(ends).collect(), bins }
    }

    /// How many sums a histogram of this block has.
    pub fn cells(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Where the sums of the column in `lane` lie.
    pub fn range(&self, lane: usize) -> std::ops::Range<usize> {
        self.starts[lane]..self.starts[lane + 1]
    }
}

/// Lanes beyond the columns stay 0.
fn interleave<const W: usize>(data: &Dataset, columns: &[usize]) -> Vec<[u8; W]> {
    let mut rows = vec![[0; W]; data.rows()];
    rows.par_chunks_mut(4_096).enumerate().for_each(|(chunk, rows)| {
        for (lane, &column) in columns.iter().enumerate() {
            let bins = &data.columns[column][chunk * 4_096..];
            rows.iter_mut().zip(bins).for_each(|(row, &bin)| row[lane] = bin);
        }
    });
    rows
}
