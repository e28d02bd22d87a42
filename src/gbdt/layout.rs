//! Where the bins of a row lie in memory, for the sums of [`histogram`](super::histogram).
//!
//! Column by column, a histogram of one column stays in the fastest cache, but the rows of a leaf are scattered over
//! every column anew. Row by row, a row's bins are fetched at once, and the histograms of up to 32 columns are filled
//! together. Which is faster depends on the table and the machine, so both are tried on the rows at hand.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::block::{Bins, Block};
use super::dataset::Dataset;
use super::histogram::{Histogram, MOST_LANES, Numbers, Rows, Tables};

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
