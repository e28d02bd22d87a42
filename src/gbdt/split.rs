//! The best way to part a leaf in two.

use super::histogram::{Histogram, Sums};
use super::train::GbdtConfig;

/// A way to part a leaf: rows whose bin in `column` is at most `bin` go left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    pub column: usize,
    pub bin: u8,
    pub missing_left: bool,
    pub gain: f64,
    pub left: Sums,
    pub right: Sums,
}

/// The split of largest gain, or `None` where none gains anything within the limits of `config`.
///
/// `columns` names the columns that `histogram` holds, in its order.
pub(super) fn best_split(
    histogram: &Histogram,
    columns: &[usize],
    total: Sums,
    config: &GbdtConfig,
) -> Option<Split> {
    let found = columns.iter().zip(&histogram.columns);
    let splits = found.filter_map(|(&column, sums)| best_in_column(column, sums, total, config));
    // The first of equals wins: the choice does not depend on chance.
    splits.reduce(|best, next| if next.gain > best.gain { next } else { best })
}

fn best_in_column(column: usize, sums: &[Sums], total: Sums, config: &GbdtConfig) -> Option<Split> {
    let missing = sums[0];
    let parent = quality(total, config);
    let mut best: Option<Split> = None;
    let mut consider = |bin: usize, missing_left: bool, left: Sums| {
        let right = total.minus(left);
        if !allowed(left, config) || !allowed(right, config) {
            return;
        }
        let gain = quality(left, config) + quality(right, config) - parent;
        if gain > best.map_or(config.min_gain, |best| best.gain) {
            best = Some(Split { column, bin: bin as u8, missing_left, gain, left, right });
        }
    };
    let mut present = Sums::default();
    for (bin, &sums) in sums.iter().enumerate().skip(1).take(sums.len().saturating_sub(2)) {
        present = present.plus(sums);
        consider(bin, false, present);
        if missing.rows > 0 {
            consider(bin, true, present.plus(missing));
        }
    }
    best
}

fn allowed(child: Sums, config: &GbdtConfig) -> bool {
    child.rows as usize >= config.min_rows && child.h >= config.min_hessian
}

/// Half of this is by how much the best constant for these rows lowers the loss.
fn quality(sums: Sums, config: &GbdtConfig) -> f64 {
    sums.g * sums.g / (sums.h + config.lambda + f64::MIN_POSITIVE)
}

/// The best constant for these rows: a Newton step, shrunk.
pub(super) fn leaf_value(sums: Sums, config: &GbdtConfig) -> f32 {
    (-sums.g / (sums.h + config.lambda + f64::MIN_POSITIVE) * config.learning_rate) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_take_the_better_side() {
        let sums = |g, rows| Sums { g, h: f64::from(rows), rows };
        // Missing rows pull the same way as bin 2.
        let histogram = Histogram { columns: vec![vec![sums(-5.0, 5), sums(10.0, 10), sums(-5.0, 5)]] };
        let config = GbdtConfig { min_rows: 1, min_hessian: 0.0, lambda: 0.0, ..GbdtConfig::default() };
        let split = best_split(&histogram, &[4], sums(0.0, 20), &config).unwrap();
        assert_eq!((split.column, split.bin, split.missing_left), (4, 1, false));
        // 10^2/10 + 10^2/10 - 0
        assert_eq!(split.gain, 20.0);
        assert_eq!(leaf_value(split.left, &GbdtConfig { learning_rate: 0.5, ..config }), -0.5);

        let limited = GbdtConfig { min_rows: 11, ..config };
        assert_eq!(best_split(&histogram, &[4], sums(0.0, 20), &limited), None);
    }
}
