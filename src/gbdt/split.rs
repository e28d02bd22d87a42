//! The best way to part a leaf in two.

use super::config::GbdtConfig;
use super::histogram::{Histogram, Sums};

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
    bounds: Bounds,
    config: &GbdtConfig,
) -> Option<Split> {
    let found = columns.iter().zip(&histogram.columns);
    let splits = found.filter_map(|(&column, sums)| best_in_column(column, sums, total, bounds, config));
    // The first of equals wins: the choice does not depend on chance.
    splits.reduce(|best, next| if next.gain > best.gain { next } else { best })
}

fn best_in_column(
    column: usize,
    sums: &[Sums],
    total: Sums,
    bounds: Bounds,
    config: &GbdtConfig,
) -> Option<Split> {
    let missing = sums[0];
    let parent = quality(total, bounds, config);
    let direction = config.monotone.get(column).copied().unwrap_or_default();
    let mut best: Option<Split> = None;
    let mut consider = |bin: usize, missing_left: bool, left: Sums| {
        let right = total.minus(left);
        if !allowed(left, config) || !allowed(right, config) {
            return;
        }
        let rise = step(right, bounds, config) - step(left, bounds, config);
        if f64::from(direction) * rise < 0.0 {
            return;
        }
        let gain = quality(left, bounds, config) + quality(right, bounds, config) - parent;
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

/// Between which values the scores of a leaf must stay, so that monotone columns stay monotone below a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub low: f64,
    pub high: f64,
}

impl Bounds {
    pub const NONE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// The bounds of the children of `split`: on a monotone column, each keeps to its side of the middle.
    pub fn of_children(self, split: &Split, config: &GbdtConfig) -> (Self, Self) {
        let direction = config.monotone.get(split.column).copied().unwrap_or_default();
        let middle = (step(split.left, self, config) + step(split.right, self, config)) / 2.0;
        let (below, above) = (Self { high: middle, ..self }, Self { low: middle, ..self });
        match direction {
            1.. => (below, above),
            0 => (self, self),
            _ => (above, below),
        }
    }
}

/// By how much the best allowed constant for these rows lowers twice the loss.
fn quality(sums: Sums, bounds: Bounds, config: &GbdtConfig) -> f64 {
    let step = step(sums, bounds, config);
    -(2.0 * sums.g + (sums.h + config.l2) * step) * step
}

/// The best allowed constant for these rows: a Newton step, within bounds.
fn step(sums: Sums, bounds: Bounds, config: &GbdtConfig) -> f64 {
    (-sums.g / (sums.h + config.l2 + f64::MIN_POSITIVE)).clamp(bounds.low, bounds.high)
}

/// What a leaf adds to the score: the best allowed constant, shrunk.
pub(super) fn leaf_value(sums: Sums, bounds: Bounds, config: &GbdtConfig) -> f32 {
    (step(sums, bounds, config) * config.learning_rate) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_take_the_better_side() {
        let sums = |g, rows| Sums { g, h: f64::from(rows), rows };
        // Missing rows pull the same way as bin 2.
        let histogram = Histogram { columns: vec![vec![sums(-5.0, 5), sums(10.0, 10), sums(-5.0, 5)]] };
        let config = GbdtConfig { min_rows: 1, min_hessian: 0.0, l2: 0.0, ..GbdtConfig::default() };
        let split = best_split(&histogram, &[4], sums(0.0, 20), Bounds::NONE, &config).unwrap();
        assert_eq!((split.column, split.bin, split.missing_left), (4, 1, false));
        // 10^2/10 + 10^2/10 - 0
        assert_eq!(split.gain, 20.0);
        assert_eq!(
            leaf_value(split.left, Bounds::NONE, &GbdtConfig { learning_rate: 0.5, ..config.clone() }),
            -0.5
        );

        let limited = GbdtConfig { min_rows: 11, ..config.clone() };
        assert_eq!(best_split(&histogram, &[4], sums(0.0, 20), Bounds::NONE, &limited), None);
    }
}
