//! What a split gains: quality of the two children less that of the leaf, under penalties and bounds.

use super::bins::MISSING;
use super::bitslice::binned::LeftBins;
use super::config::GbdtConfig;
use super::dataset::Dataset;
use super::histogram::{Number, Sums};
use super::rounding::Scale;

/// A way to part a leaf.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split<S> {
    pub column: usize,
    pub rule: Rule,
    pub missing_left: bool,
    pub gain: f64,
    pub left: Sums<S>,
    pub right: Sums<S>,
}

/// Which bins go left, bin 0 for missing values aside.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// Bins up to this one.
    UpTo(u8),
    /// These bins, of categories.
    Among(Vec<u8>),
}

impl<S> Split<S> {
    /// The bins that go left, for rows that walk in company.
    pub fn left_bins(&self) -> LeftBins {
        match &self.rule {
            Rule::UpTo(bin) => LeftBins::UpTo(*bin),
            Rule::Among(bins) => {
                let mut set = [0; 4];
                bins.iter().for_each(|&bin| set[usize::from(bin / 64)] |= 1 << (bin % 64));
                LeftBins::OneOf(set)
            }
        }
    }

    /// For each bin, whether it goes left.
    pub fn sides(&self) -> [bool; 256] {
        let mut left = [false; 256];
        match &self.rule {
            Rule::UpTo(bin) => left[1..=usize::from(*bin)].fill(true),
            Rule::Among(bins) => bins.iter().for_each(|&bin| left[usize::from(bin)] = true),
        }
        left[usize::from(MISSING)] = self.missing_left;
        left
    }
}

/// What a search for splits goes by.
pub(super) struct Search<'a> {
    pub config: &'a GbdtConfig,
    pub data: &'a Dataset,
    /// Which columns this tree may ask for.
    pub used: &'a [bool],
    /// What the sums are worth.
    pub scale: Scale,
}

impl Search<'_> {
    /// Whether a leaf with these rows can be parted at all.
    pub fn may_part<S: Number>(&self, sums: Sums<S>) -> bool {
        sums.rows as usize >= 2 * self.config.min_rows.max(1) && self.h(sums) >= 2.0 * self.config.min_hessian
    }

    pub fn g<S: Number>(&self, sums: Sums<S>) -> f64 {
        self.scale.g * sums.g.into()
    }

    pub fn h<S: Number>(&self, sums: Sums<S>) -> f64 {
        self.scale.h * sums.h.into()
    }

    /// The best allowed constant for rows with these sums: a Newton step under the penalties, within bounds.
    pub fn step(&self, g: f64, h: f64, l2: f64, bounds: Bounds) -> f64 {
        let shrunk = g.signum() * (g.abs() - self.config.l1).max(0.0);
        (-shrunk / (h + l2 + SMALL)).clamp(bounds.low, bounds.high)
    }

    /// By how much that constant lowers twice the loss.
    pub fn quality(&self, g: f64, h: f64, l2: f64, bounds: Bounds) -> f64 {
        let step = self.step(g, h, l2, bounds);
        -(2.0 * g + (h + l2 + SMALL) * step) * step - 2.0 * self.config.l1 * step.abs()
    }

    pub fn direction(&self, column: usize) -> i8 {
        self.config.monotone.get(column).copied().unwrap_or_default()
    }
}

/// Keeps a division by a second derivative of zero from being one by zero.
pub(super) const SMALL: f64 = 1e-15;

/// The sums of one column's bins.
pub(super) struct ColumnSums<'a, S> {
    pub column: usize,
    pub g: &'a [S],
    pub h: &'a [S],
    pub rows: &'a [u32],
}

impl<S: Number> ColumnSums<'_, S> {
    pub fn bin(&self, bin: usize) -> Sums<S> {
        Sums { g: self.g[bin], h: self.h[bin], rows: self.rows[bin] }
    }
}

/// One column of one leaf.
pub(super) struct LeafColumn<'a, S> {
    pub search: &'a Search<'a>,
    pub bounds: Bounds,
    pub total: Sums<S>,
    /// By how much the leaf as a whole lowers twice the loss.
    pub own: f64,
    pub bins: ColumnSums<'a, S>,
}

impl<S: Number> LeafColumn<'_, S> {
    /// The quality of both children of a split by categories.
    pub fn gain_of(&self, left: Sums<S>, l2: f64) -> f64 {
        let right = self.total.minus(left);
        [left, right]
            .map(|sums| self.search.quality(self.search.g(sums), self.search.h(sums), l2, self.bounds))
            .iter()
            .sum()
    }

    /// Whether `quality` of the children is more than the leaf's own by what a split must gain, and more than that of
    /// the best split so far. The first of equals wins: the choice does not depend on chance.
    pub fn improves(&self, quality: f64, best: &Option<Split<S>>) -> bool {
        quality - self.own > best.as_ref().map_or(self.search.config.min_gain, |best| best.gain)
    }

    pub fn split(&self, rule: Rule, missing_left: bool, quality: f64, left: Sums<S>) -> Split<S> {
        let right = self.total.minus(left);
        let gain = quality - self.own;
        Split { column: self.bins.column, rule, missing_left, gain, left, right }
    }
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
    pub fn of_children<S: Number>(self, split: &Split<S>, search: &Search<'_>) -> (Self, Self) {
        let direction = search.direction(split.column);
        if direction == 0 {
            return (self, self);
        }
        let step = |sums| search.step(search.g(sums), search.h(sums), search.config.l2, self);
        let middle = (step(split.left) + step(split.right)) / 2.0;
        let (below, above) = (Self { high: middle, ..self }, Self { low: middle, ..self });
        if direction > 0 { (below, above) } else { (above, below) }
    }
}
