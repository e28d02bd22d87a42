//! Columns whose bins lie together in memory.

use super::dataset::Dataset;

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

impl<'a> Block<'a> {
    pub fn new(data: &Dataset, columns: &[usize], bins: Bins<'a>) -> Self {
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
