//! A feature's values become one byte each: the number of the bin that they fall in. Bin 0 is "missing".
//!
//! These are the bins of training (`gbdt::bins`), less those whose bounds no tree asks for.

use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Ensemble, SplitCondition};

/// Features that a split can name: twelve bits.
const MOST_COLUMNS: usize = 1 << 12;
/// Thresholds of a feature: they part a byte's bins beside bin 0.
const MOST_THRESHOLDS: usize = 254;
/// Where NaN goes.
pub const MISSING: u8 = 0;

/// A feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Upper bounds, ascending: bin `b` (from 1) holds values up to and including `thresholds[b - 1]`, the last bin
    /// everything above.
    thresholds: Vec<f32>,
}

impl Column {
    /// The features of `ensemble`, each with all thresholds that some tree asks it by.
    ///
    /// # Errors
    /// Too many features, or thresholds of one.
    pub fn all(ensemble: &Ensemble) -> Result<Vec<Self>> {
        check_count(ensemble.columns()).map_err(|message| {
            Error::new(ErrorKind::Model, message).next_step("leave out those that no tree asks for")
        })?;
        let mut thresholds = vec![Vec::new(); ensemble.columns()];
        for split in ensemble.trees.iter().flat_map(|tree| &tree.splits) {
            if let SplitCondition::Threshold(threshold) = split.test {
                // Of the two zeros, which part values alike, the positive one.
                thresholds[split.feature].push(threshold + 0.0);
            }
        }
        let column = |(name, mut thresholds): (&String, Vec<f32>)| {
            thresholds.sort_by(f32::total_cmp);
            thresholds.dedup();
            Self::new(name.clone(), thresholds).map_err(|message| {
                Error::new(ErrorKind::Model, message)
                    .field(name)
                    .next_step("train again with `max_bins` of at most 255")
            })
        };
        ensemble.features.iter().zip(thresholds).map(column).collect()
    }

    /// A feature that no tree asks for.
    pub fn unasked(name: String) -> Self {
        Self { name, thresholds: Vec::new() }
    }

    /// The same under the name by which this build knows it.
    pub fn renamed(&self, name: String) -> Self {
        Self { name, thresholds: self.thresholds.clone() }
    }

    /// A feature, and where its bins end.
    ///
    /// # Errors
    /// Says why no byte could tell the bins apart.
    pub fn new(name: String, thresholds: Vec<f32>) -> std::result::Result<Self, String> {
        if thresholds.len() > MOST_THRESHOLDS {
            return Err(format!("{} thresholds, but {MOST_THRESHOLDS} is the most", thresholds.len()));
        }
        if !thresholds.iter().all(|threshold| threshold.is_finite()) {
            return Err("a threshold is not finite".to_owned());
        }
        if !thresholds.is_sorted_by(|a, b| a < b) {
            return Err("the thresholds are not in ascending order".to_owned());
        }
        Ok(Self { name, thresholds })
    }

    /// Upper bounds of the bins from 1 on, ascending.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// The bin of `value`. Of a threshold, it is the last bin that goes left.
    pub fn bin(&self, value: f32) -> u8 {
        match value.is_nan() {
            true => MISSING,
            false => 1 + self.thresholds.partition_point(|&threshold| threshold < value) as u8,
        }
    }

    /// The threshold below or at which bins up to `bin` lie; none of bin 0 and of the last bin.
    pub fn threshold(&self, bin: u8) -> Option<f32> {
        self.thresholds.get(usize::from(bin).checked_sub(1)?).copied()
    }
}

/// Refuses more features than a split can name.
///
/// # Errors
/// Says how many.
pub fn check_count(columns: usize) -> std::result::Result<(), String> {
    match columns {
        ..=MOST_COLUMNS => Ok(()),
        _ => Err(format!("trees over {columns} features, but {MOST_COLUMNS} is the most")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_end_with_their_thresholds() {
        let column = Column::new("x".to_owned(), vec![-1.0, 0.0, 2.5]).unwrap();
        for (value, bin) in [
            (f32::NAN, 0),
            (-f32::NAN, 0),
            (f32::NEG_INFINITY, 1),
            (-1.0, 1),
            ((-1.0_f32).next_up(), 2),
            (-0.0, 2),
            (0.0, 2),
            (1e-45, 3),
            (2.5, 3),
            (2.6, 4),
            (f32::INFINITY, 4),
        ] {
            assert_eq!(column.bin(value), bin, "{value}");
        }
        assert_eq!(
            [0, 1, 2, 3, 4, 255].map(|bin| column.threshold(bin)),
            [None, Some(-1.0), Some(0.0), Some(2.5), None, None]
        );
        let most = Column::new("x".to_owned(), (0..254).map(|bound| bound as f32).collect()).unwrap();
        assert_eq!([most.bin(-1.0), most.bin(253.0), most.bin(253.1)], [1, 254, 255]);
    }

    #[test]
    fn bounds_that_part_nothing_are_refused() {
        for (thresholds, says) in [
            (vec![0.0; 255], "255 thresholds, but 254 is the most"),
            (vec![1.0, 1.0], "ascending"),
            (vec![2.0, 1.0], "ascending"),
            (vec![-0.0, 0.0], "ascending"),
            (vec![1.0, f32::NAN], "not finite"),
            (vec![f32::INFINITY], "not finite"),
        ] {
            let message = Column::new("x".to_owned(), thresholds).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}
