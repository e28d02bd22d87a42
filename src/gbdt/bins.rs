//! Float values become one byte each: the number of the bin that they fall in. Bin 0 is "missing".

use crate::error::{Error, ErrorKind, Result};

/// Bins for values, beside bin 0 for missing ones.
pub const MAX_VALUE_BINS: usize = 254;
/// Where NaN goes.
pub(super) const MISSING: u8 = 0;

/// Learned boundaries: how each column's values become bins.
#[derive(Debug, Clone, PartialEq)]
pub struct Binner {
    /// A column's upper bounds, ascending; bin `b` (from 1) holds values up to and including `upper[b - 1]`, the
    /// last bin everything above.
    upper: Vec<Vec<f32>>,
}

impl Binner {
    /// Learns boundaries from a sample of rows: about as many rows in each bin, and a bin of its own for a value
    /// that fills one.
    ///
    /// # Shapes
    /// `sample`: row-major `[rows, columns]`.
    pub fn fit(sample: &[f32], columns: usize, max_value_bins: usize) -> Self {
        let max_value_bins = max_value_bins.clamp(2, MAX_VALUE_BINS);
        let column = |c: usize| sample.iter().skip(c).step_by(columns.max(1)).copied();
        Self { upper: (0..columns).map(|c| boundaries(column(c).collect(), max_value_bins)).collect() }
    }

    /// How many columns it bins.
    pub fn columns(&self) -> usize {
        self.upper.len()
    }

    /// The bin of `value` in `column`.
    pub fn bin(&self, column: usize, value: f32) -> u8 {
        if value.is_nan() {
            return MISSING;
        }
        // At most MAX_VALUE_BINS - 1 bounds, so this fits a byte.
        self.upper[column].partition_point(|&upper| upper < value) as u8 + 1
    }

    /// How many bins `column` has, bin 0 for missing included.
    pub fn bins(&self, column: usize) -> usize {
        self.upper[column].len() + 2
    }

    /// The value that separates bins up to `bin` from those above it: `value <= threshold` goes left.
    pub(super) fn threshold(&self, column: usize, bin: u8) -> f32 {
        self.upper[column][usize::from(bin) - 1]
    }
}

/// Upper bounds of all bins but the last.
fn boundaries(mut values: Vec<f32>, max_bins: usize) -> Vec<f32> {
    values.retain(|value| !value.is_nan());
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
    upper
}

/// A float in `[low, high)`: the midpoint where floats are dense enough.
fn between(low: f32, high: f32) -> f32 {
    let middle = low + (high - low) / 2.0;
    if middle.is_finite() && middle < high { middle.max(low) } else { low }
}

/// A binned table whose rows come in groups (the candidates of one question).
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(super) binner: Binner,
    /// One byte a row, column by column.
    pub(super) columns: Vec<Vec<u8>>,
    pub(super) labels: Vec<f32>,
    /// Where each group starts, and the end of the last.
    pub(super) group_starts: Vec<usize>,
}

impl Dataset {
    /// Rows in all groups.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// How many groups.
    pub fn groups(&self) -> usize {
        self.group_starts.len() - 1
    }

    /// This dataset with the groups of `other` after its own.
    ///
    /// # Errors
    /// `other` was binned under other boundaries.
    pub fn append(mut self, other: Dataset) -> Result<Self> {
        if self.binner != other.binner {
            return Err(Error::new(ErrorKind::Data, "two datasets were binned differently"));
        }
        let rows = self.rows();
        self.columns.iter_mut().zip(&other.columns).for_each(|(mine, theirs)| mine.extend_from_slice(theirs));
        self.labels.extend_from_slice(&other.labels);
        self.group_starts.extend(other.group_starts[1..].iter().map(|start| start + rows));
        Ok(self)
    }
}

/// Bins rows as they come, so that the float table is never held whole.
#[derive(Debug)]
pub struct DatasetBuilder {
    data: Dataset,
}

impl DatasetBuilder {
    /// An empty dataset under the boundaries of `binner`.
    pub fn new(binner: Binner) -> Self {
        let columns = vec![Vec::new(); binner.columns()];
        Self { data: Dataset { binner, columns, labels: Vec::new(), group_starts: vec![0] } }
    }

    /// Adds one group.
    ///
    /// # Shapes
    /// `rows`: row-major `[labels.len(), columns]`.
    ///
    /// # Errors
    /// No rows, a label that is NaN, or a matrix of another shape.
    pub fn push_group(&mut self, rows: &[f32], labels: &[f32]) -> Result<()> {
        let columns = self.data.binner.columns();
        let data = &mut self.data;
        let wrong = |what: String| {
            let message = format!("group {}: {what}", data.group_starts.len() - 1);
            Err(Error::new(ErrorKind::Data, message))
        };
        if labels.is_empty() || rows.len() != labels.len() * columns {
            return wrong(format!("{} values do not make {} rows of {columns}", rows.len(), labels.len()));
        }
        if let Some(row) = labels.iter().position(|label| label.is_nan()) {
            return wrong(format!("the label of its row {row} is not a number"));
        }
        for (c, column) in data.columns.iter_mut().enumerate() {
            column.extend(rows.iter().skip(c).step_by(columns).map(|&value| data.binner.bin(c, value)));
        }
        data.labels.extend_from_slice(labels);
        data.group_starts.push(data.labels.len());
        Ok(())
    }

    /// The finished dataset.
    pub fn finish(self) -> Dataset {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_get_a_bin_each_and_many_share() {
        let binner = Binner::fit(&[1.0, f32::NAN, 2.0, 2.0, 4.0, f32::INFINITY], 1, 254);
        let bins: Vec<u8> =
            [f32::NAN, -9.0, 1.0, 1.5, 1.6, 2.0, 3.5, f32::INFINITY].map(|v| binner.bin(0, v)).into();
        assert_eq!(bins, [0, 1, 1, 1, 2, 2, 3, 4]);

        let many: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        let binner = Binner::fit(&many, 1, 100);
        assert_eq!(binner.bins(0), 101);
        let mut rows = [0; 101];
        many.iter().for_each(|&v| rows[usize::from(binner.bin(0, v))] += 1);
        assert!(rows[1..].iter().all(|n| (90..=110).contains(n)), "{rows:?}");
    }

    #[test]
    fn a_value_goes_left_in_floats_as_in_bins() {
        let values = [0.1, 0.100_000_01, 1e-40, -0.0, 0.0, 3.4e38, -3.4e38, f32::INFINITY, f32::NEG_INFINITY];
        let binner = Binner::fit(&values, 1, 254);
        for bin in 1..binner.bins(0) as u8 - 1 {
            for value in values {
                assert_eq!(binner.bin(0, value) <= bin, value <= binner.threshold(0, bin), "{value} {bin}");
            }
        }
    }

    #[test]
    fn wrong_groups_are_named() {
        let mut builder = DatasetBuilder::new(Binner::fit(&[0.0, 1.0], 2, 254));
        assert!(builder.push_group(&[1.0, 2.0], &[1.0]).is_ok());
        let error = builder.push_group(&[1.0, 2.0], &[f32::NAN]).unwrap_err().to_string();
        assert_eq!(error, "group 1: the label of its row 0 is not a number");
        assert!(builder.push_group(&[1.0], &[1.0]).is_err());
        assert!(builder.push_group(&[], &[]).is_err());
        assert_eq!(builder.finish().rows(), 1);
    }
}
