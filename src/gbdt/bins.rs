//! Values become one byte each: the number of the bin that they fall in. Bin 0 is "missing".

use rayon::prelude::*;

use super::tree::{SplitCondition, category};
use crate::error::{Error, ErrorKind, Result};

/// Bins for values, beside bin 0 for missing ones.
pub const MAX_VALUE_BINS: usize = 255;
/// Where NaN goes.
pub(super) const MISSING: u8 = 0;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColumnKind {
    /// Numbers, of which larger and smaller mean something.
    #[default]
    Number,
    /// Numbers of categories, from 0, in no order. Negative values are missing ones.
    Category,
}

/// Learned boundaries: how each column's values become bins.
#[derive(Debug, Clone, PartialEq)]
pub struct Binner {
    columns: Vec<ColumnBins>,
    names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum ColumnBins {
    /// Upper bounds, ascending; bin `b` (from 1) holds values up to and including `upper[b - 1]`, the last bin
    /// everything above.
    Number { upper: Vec<f32> },
    /// Bin `b` (from 1) holds the category `codes[b - 1]`, frequent ones first; the last bin holds all others, which
    /// no split sends left. `sorted` finds a category's bin.
    Category { codes: Vec<u32>, sorted: Vec<(u32, u8)> },
}

impl Binner {
    /// Learns boundaries from a sample of rows: about as many rows in each bin, and a bin of its own for a value
    /// that fills one.
    ///
    /// # Shapes
    /// `sample`: row-major `[rows, columns]`.
    pub fn fit(sample: &[f32], columns: usize, max_value_bins: usize) -> Self {
        Self::fit_kinds(sample, &vec![ColumnKind::Number; columns], max_value_bins)
    }

    /// [`fit`](Binner::fit), where some columns are categories: the most frequent get a bin each.
    ///
    /// # Shapes
    /// `sample`: row-major `[rows, kinds.len()]`.
    pub fn fit_kinds(sample: &[f32], kinds: &[ColumnKind], max_value_bins: usize) -> Self {
        let max_value_bins = max_value_bins.clamp(2, MAX_VALUE_BINS);
        let fit_column = |(c, &kind): (usize, &ColumnKind)| {
            let values = sample.iter().skip(c).step_by(kinds.len()).copied();
            match kind {
                ColumnKind::Number => {
                    ColumnBins::Number { upper: boundaries(values.collect(), max_value_bins) }
                }
                ColumnKind::Category => frequent(values.filter_map(category).collect(), max_value_bins - 1),
            }
        };
        Self {
            columns: kinds.par_iter().enumerate().map(fit_column).collect(),
            names: (0..kinds.len()).map(|column| format!("feature_{column}")).collect(),
        }
    }

    /// This binner with names for its columns, which models then carry.
    ///
    /// # Errors
    /// Another number of names than columns.
    pub fn with_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        self.names = names.into_iter().map(Into::into).collect();
        if self.names.len() != self.columns.len() {
            let message = format!("{} names for {} columns", self.names.len(), self.columns.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(self)
    }

    /// What the columns are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many columns it bins.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// What `column` holds.
    pub fn kind(&self, column: usize) -> ColumnKind {
        match self.columns[column] {
            ColumnBins::Number { .. } => ColumnKind::Number,
            ColumnBins::Category { .. } => ColumnKind::Category,
        }
    }

    /// The bin of `value` in `column`.
    pub fn bin(&self, column: usize, value: f32) -> u8 {
        self.columns[column].bin(value)
    }

    /// How many bins `column` has, bin 0 for missing included: at most 256.
    pub fn bins(&self, column: usize) -> usize {
        1 + match &self.columns[column] {
            ColumnBins::Number { upper } => upper.len() + 1,
            ColumnBins::Category { codes, .. } => codes.len() + 1,
        }
    }

    /// The test that sends bins up to `bin` left (numbers), in terms of values.
    pub(super) fn threshold(&self, column: usize, bin: u8) -> SplitCondition {
        match &self.columns[column] {
            ColumnBins::Number { upper } => SplitCondition::Threshold(upper[usize::from(bin) - 1]),
            ColumnBins::Category { .. } => self.categories(column, &[bin]),
        }
    }

    /// The test that sends the categories in `bins` left.
    pub(super) fn categories(&self, column: usize, bins: &[u8]) -> SplitCondition {
        let mut left = match &self.columns[column] {
            ColumnBins::Number { .. } => Vec::new(),
            ColumnBins::Category { codes, .. } => {
                bins.iter().map(|&bin| codes[usize::from(bin) - 1]).collect()
            }
        };
        left.sort_unstable();
        SplitCondition::Categories(left)
    }
}

impl ColumnBins {
    fn bin(&self, value: f32) -> u8 {
        match self {
            _ if value.is_nan() => MISSING,
            // At most MAX_VALUE_BINS - 1 bounds, so this fits a byte.
            Self::Number { upper } => upper.partition_point(|&upper| upper < value) as u8 + 1,
            Self::Category { .. } if value <= -1.0 => MISSING,
            Self::Category { codes, sorted } => category(value)
                .and_then(|code| sorted.binary_search_by_key(&code, |pair| pair.0).ok())
                .map_or(codes.len() as u8 + 1, |found| sorted[found].1),
        }
    }
}

/// Upper bounds of all bins but the last. Where values are missing, the last bin is left to infinity, so that a split
/// can part what is missing from all that is not.
fn boundaries(mut values: Vec<f32>, max_bins: usize) -> Vec<f32> {
    let all = values.len();
    values.retain(|value| !value.is_nan());
    let some_missing = values.len() < all;
    let max_bins = max_bins.min(MAX_VALUE_BINS - usize::from(some_missing));
    values.sort_unstable_by(f32::total_cmp);
    let distinct: Vec<(f32, usize)> = values.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    let mut upper = Vec::new();
    let (mut rows_left, mut bins_left) = (values.len(), max_bins);
    let mut in_bin = 0;
    for pair in distinct.windows(2) {
        let [(value, count), (next, next_count)] = [pair[0], pair[1]];
        in_bin += count;
        let share = rows_left as f64 / bins_left as f64;
        let full = distinct.len() <= max_bins || in_bin as f64 >= share || next_count as f64 >= share;
        if full && bins_left > 1 {
            upper.push(between(value, next));
            rows_left -= in_bin;
            bins_left -= 1;
            in_bin = 0;
        }
    }
    if some_missing && upper.last().is_none_or(|&last| last < f32::MAX) {
        upper.push(f32::MAX);
    }
    upper
}

/// A float in `[low, high)`, finite: the midpoint where floats are dense enough.
fn between(low: f32, high: f32) -> f32 {
    let low = low.max(f32::MIN);
    let middle = low / 2.0 + high.min(f32::MAX) / 2.0;
    if middle < high { middle.max(low) } else { low }
}

/// A bin for each of the `max` most frequent categories, the smaller number first where two are as frequent.
fn frequent(mut codes: Vec<u32>, max: usize) -> ColumnBins {
    codes.sort_unstable();
    let mut counted: Vec<(usize, u32)> =
        codes.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0])).collect();
    counted.sort_by_key(|&(count, code)| (std::cmp::Reverse(count), code));
    let codes: Vec<u32> = counted.iter().take(max).map(|&(_, code)| code).collect();
    let mut sorted: Vec<(u32, u8)> = codes.iter().copied().zip(1..).collect();
    sorted.sort_unstable();
    ColumnBins::Category { codes, sorted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_get_a_bin_each_and_many_share() {
        let binner = Binner::fit(&[1.0, f32::NAN, 2.0, 2.0, 4.0, f32::INFINITY], 1, 254);
        let bins: Vec<u8> =
            [f32::NAN, -9.0, 1.0, 1.5, 1.6, 2.0, 3.5, f32::INFINITY].map(|v| binner.bin(0, v)).into();
        // Infinity has a bin of its own, beyond the largest float.
        assert_eq!(bins, [0, 1, 1, 1, 2, 2, 3, 5]);

        let many: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        for max in [100, 255] {
            let binner = Binner::fit(&many, 1, max);
            assert_eq!(binner.bins(0), max + 1);
            let mut rows = vec![0; max + 1];
            many.iter().for_each(|&v| rows[usize::from(binner.bin(0, v))] += 1);
            let share = 10_000 / max;
            assert!(rows[1..].iter().all(|n| (share * 9 / 10..=share * 11 / 10 + 1).contains(n)), "{rows:?}");
        }
    }

    #[test]
    fn a_value_goes_left_in_floats_as_in_bins() {
        let values = [0.1, 0.100_000_01, 1e-40, -0.0, 0.0, 3.4e38, -3.4e38, f32::INFINITY, f32::NEG_INFINITY];
        let binner = Binner::fit(&values, 1, 255);
        for bin in 1..binner.bins(0) as u8 - 1 {
            let SplitCondition::Threshold(threshold) = binner.threshold(0, bin) else { panic!("a number") };
            assert!(threshold.is_finite());
            for value in values {
                assert_eq!(binner.bin(0, value) <= bin, value <= threshold, "{value} {bin}");
            }
        }
    }

    #[test]
    fn frequent_categories_get_a_bin_and_the_others_share_the_last() {
        let sample = [7.0, 7.0, 7.0, 2.0, 2.0, 9.0, 4.0, -1.0, f32::NAN];
        let binner = Binner::fit_kinds(&sample, &[ColumnKind::Category], 4);
        assert_eq!((binner.kind(0), binner.bins(0)), (ColumnKind::Category, 5));
        let bins = [7.0, 7.9, 2.0, 4.0, 9.0, 1e20, -0.5, -1.0, f32::NAN].map(|value| binner.bin(0, value));
        assert_eq!(bins, [1, 1, 2, 3, 4, 4, 4, 0, 0]);
        assert_eq!(binner.categories(0, &[1, 3]), SplitCondition::Categories(vec![4, 7]));
    }
}
