//! The best way to part a leaf in two, read off its histogram.

use super::bins::{ColumnKind, MISSING};
use super::bitslice::binned::LeftBins;
use super::category;
use super::config::GbdtConfig;
use super::dataset::Dataset;
use super::histogram::{Histogram, Number, Numbers, Sums};
use super::layout::Block;
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
    /// The split of largest gain in the columns of one block, or `None` where none gains anything within the limits.
    pub fn best_in_block<N: Numbers>(
        &self,
        block: &Block<'_>,
        histogram: &Histogram<N>,
        total: Sums<N::Sum>,
        bounds: Bounds,
    ) -> Option<Split<N::Sum>> {
        let mut best = None;
        let mut candidates = Candidates::default();
        let own = self.quality(self.g(total), self.h(total), self.config.l2, bounds);
        for (lane, &column) in block.columns.iter().enumerate().filter(|&(_, &column)| self.used[column]) {
            let range = block.range(lane);
            let bins = ColumnSums {
                column,
                g: &histogram.g[range.clone()],
                h: &histogram.h[range.clone()],
                rows: &histogram.rows[range],
            };
            let task = Task { search: self, bounds, total, own, bins };
            match self.data.binner.kind(column) {
                ColumnKind::Number => task.numbers(&mut candidates, &mut best),
                ColumnKind::Category => category::search(&task, &mut best),
            }
        }
        best
    }

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
    fn quality(&self, g: f64, h: f64, l2: f64, bounds: Bounds) -> f64 {
        let step = self.step(g, h, l2, bounds);
        -(2.0 * g + (h + l2 + SMALL) * step) * step - 2.0 * self.config.l1 * step.abs()
    }

    pub fn direction(&self, column: usize) -> i8 {
        self.config.monotone.get(column).copied().unwrap_or_default()
    }
}

/// Keeps a division by a second derivative of zero from being one by zero.
const SMALL: f64 = 1e-15;

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
pub(super) struct Task<'a, S> {
    pub search: &'a Search<'a>,
    pub bounds: Bounds,
    pub total: Sums<S>,
    /// By how much the leaf as a whole lowers twice the loss.
    pub own: f64,
    pub bins: ColumnSums<'a, S>,
}

impl<S: Number> Task<'_, S> {
    fn numbers(&self, candidates: &mut Candidates, best: &mut Option<Split<S>>) {
        let missing = self.bins.bin(0);
        candidates.fill(&self.bins);
        self.try_all(candidates, false, best);
        if missing.rows > 0 {
            candidates.add(missing);
            self.try_all(candidates, true, best);
        }
    }

    fn try_all(&self, candidates: &mut Candidates, missing_left: bool, best: &mut Option<Split<S>>) {
        let allowed = self.allowed(candidates);
        let Candidates { g, h, gains, bins, .. } = candidates;
        let (g, h, gains) = (&g[allowed.clone()], &h[allowed.clone()], &mut gains[..allowed.len()]);
        let direction = self.search.direction(self.bins.column);
        if self.search.config.l1 == 0.0 && direction == 0 && self.bounds == Bounds::NONE {
            self.free_gains(g, h, gains);
        } else {
            self.bounded_gains(g, h, direction, gains);
        }
        let largest = largest(gains);
        if !self.improves(largest, best) {
            return;
        }
        if let Some(at) = gains.iter().position(|&gain| gain == largest) {
            let bin = bins[allowed.start + at];
            let start = if missing_left { self.bins.bin(0) } else { Sums::default() };
            let left = (1..=usize::from(bin)).fold(start, |sum, bin| sum.plus(self.bins.bin(bin)));
            *best = Some(self.split(Rule::UpTo(bin), missing_left, largest, left));
        }
    }

    /// The candidates that leave enough on both sides. Counts and second derivatives only grow from one to the next,
    /// so these are neighbours.
    fn allowed(&self, left: &Candidates) -> std::ops::Range<usize> {
        let config = self.search.config;
        let min_rows = config.min_rows.max(1) as u32;
        let min_h = config.min_hessian / self.search.scale.h;
        let (rows, h): (u32, f64) = (self.total.rows, self.total.h.into());
        let (left_rows, left_h) = (&left.rows[..left.len], &left.h[..left.len]);
        let too_few = left_rows.partition_point(|&left| left < min_rows);
        let too_light = left_h.partition_point(|&left| left < min_h);
        let enough = left_rows.partition_point(|&left| left + min_rows <= rows);
        let heavy = left_h.partition_point(|&left| left + min_h <= h);
        let start = too_few.max(too_light);
        start..enough.min(heavy).max(start)
    }

    /// The quality of both children, without limits on their values. One division a candidate, and no branch, so
    /// that several are computed at once.
    fn free_gains(&self, g: &[f64], h: &[f64], gains: &mut [f64]) {
        let (total_g, total_h): (f64, f64) = (self.total.g.into(), self.total.h.into());
        let Scale { g: scale_g, h: scale_h } = self.search.scale;
        let l2 = self.search.config.l2 + SMALL;
        for ((gain, &left_g), &left_h) in gains.iter_mut().zip(g).zip(h) {
            let right_g = total_g - left_g;
            let left_d = left_h * scale_h + l2;
            let right_d = (total_h - left_h) * scale_h + l2;
            let both = left_g * left_g * right_d + right_g * right_g * left_d;
            *gain = scale_g * scale_g * both / (left_d * right_d);
        }
    }

    /// The quality of both children under an L1 penalty, bounds or a direction that the column must keep to.
    fn bounded_gains(&self, g: &[f64], h: &[f64], direction: i8, gains: &mut [f64]) {
        let (total_g, total_h): (f64, f64) = (self.total.g.into(), self.total.h.into());
        let Search { scale, config: GbdtConfig { l2, .. }, .. } = *self.search;
        for ((gain, &left_g), &left_h) in gains.iter_mut().zip(g).zip(h) {
            let left = (left_g * scale.g, left_h * scale.h);
            let right = ((total_g - left_g) * scale.g, (total_h - left_h) * scale.h);
            let step = |(g, h)| self.search.step(g, h, *l2, self.bounds);
            let rise = step(right) - step(left);
            let quality = |(g, h)| self.search.quality(g, h, *l2, self.bounds);
            let wrong_way = f64::from(direction) * rise < 0.0;
            *gain = if wrong_way { f64::NEG_INFINITY } else { quality(left) + quality(right) };
        }
    }

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

/// Sums of what would go left, for each place to part a column at. Made once, used for many columns.
struct Candidates {
    g: [f64; 256],
    h: [f64; 256],
    rows: [u32; 256],
    /// The last bin that goes left.
    bins: [u8; 256],
    gains: [f64; 256],
    len: usize,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { g: [0.0; 256], h: [0.0; 256], rows: [0; 256], bins: [0; 256], gains: [0.0; 256], len: 0 }
    }
}

impl Candidates {
    /// After each bin that has rows, but the last bin, which has nothing on its right.
    fn fill<S: Number>(&mut self, column: &ColumnSums<'_, S>) {
        let mut sum = Sums::default();
        self.len = 0;
        for bin in 1..column.g.len() - 1 {
            let here = column.bin(bin);
            sum = sum.plus(here);
            // Without a branch: the next bin writes over one without rows.
            let at = self.len & 255;
            self.g[at] = sum.g.into();
            self.h[at] = sum.h.into();
            self.rows[at] = sum.rows;
            self.bins[at] = bin as u8;
            self.len += usize::from(here.rows > 0);
        }
    }

    fn add<S: Number>(&mut self, sums: Sums<S>) {
        self.g[..self.len].iter_mut().for_each(|g| *g += sums.g.into());
        self.h[..self.len].iter_mut().for_each(|h| *h += sums.h.into());
        self.rows[..self.len].iter_mut().for_each(|rows| *rows += sums.rows);
    }
}

/// The largest of `values`, minus infinity where there is none. In four lanes, which compilers do not make of a plain
/// maximum of floats.
fn largest(values: &[f64]) -> f64 {
    let (fours, rest) = values.as_chunks::<4>();
    let larger = |a: f64, b: f64| if b > a { b } else { a };
    let lanes = fours.iter().fold([f64::NEG_INFINITY; 4], |lanes, four| {
        [
            larger(lanes[0], four[0]),
            larger(lanes[1], four[1]),
            larger(lanes[2], four[2]),
            larger(lanes[3], four[3]),
        ]
    });
    lanes.into_iter().chain(rest.iter().copied()).fold(f64::NEG_INFINITY, larger)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::Binner;
    use crate::gbdt::histogram::{Full, Rows, Tables};
    use crate::gbdt::layout::BlockLayout;
    use crate::gbdt::objective::Gradient;
    use proptest::prelude::*;

    const SCALE: Scale = Scale { g: 1.0, h: 1.0 };

    fn lenient() -> GbdtConfig {
        GbdtConfig { min_rows: 1, min_hessian: 0.0, l2: 0.0, ..GbdtConfig::default() }
    }

    /// The best split of one column of `values`.
    fn best(values: &[f32], g: &[f32], config: &GbdtConfig, bounds: Bounds) -> Option<Split<f64>> {
        let data = Dataset::new(Binner::fit(values, 1, 255), values, &vec![0.0; values.len()]).unwrap();
        let layout = BlockLayout::by_rows(&data, &[0]);
        let gradients: Vec<Gradient> = g.iter().map(|&g| Gradient { g, h: 1.0 }).collect();
        let histogram = Histogram::build(
            &layout.blocks[0],
            &[true],
            Rows::Range(0, values.len()),
            &gradients,
            &Tables::<Full>::new(),
        );
        let total = Sums {
            g: g.iter().map(|&g| f64::from(g)).sum(),
            h: values.len() as f64,
            rows: values.len() as u32,
        };
        let search = Search { config, data: &data, used: &[true], scale: SCALE };
        search.best_in_block(&layout.blocks[0], &histogram, total, bounds)
    }

    #[test]
    fn missing_values_take_the_better_side() {
        let nan = f32::NAN;
        struct Case {
            values: [f32; 6],
            g: [f32; 6],
            missing_left: bool,
            bin: u8,
        }
        let cases = [
            // Missing rows pull the same way as the larger, then as the smaller values.
            Case {
                values: [nan, nan, 1.0, 1.0, 2.0, 2.0],
                g: [-1.0, -1.0, 3.0, 3.0, -1.0, -1.0],
                missing_left: false,
                bin: 1,
            },
            Case {
                values: [nan, nan, 1.0, 1.0, 2.0, 2.0],
                g: [3.0, 3.0, 3.0, 3.0, -1.0, -1.0],
                missing_left: true,
                bin: 1,
            },
            // They are unlike all others.
            Case {
                values: [nan, nan, 1.0, 1.0, 2.0, 2.0],
                g: [9.0, 9.0, -1.0, -1.0, -1.0, -1.0],
                missing_left: false,
                bin: 2,
            },
        ];
        for Case { values, g, missing_left, bin } in cases {
            let split = best(&values, &g, &lenient(), Bounds::NONE).unwrap();
            assert_eq!((split.missing_left, split.rule), (missing_left, Rule::UpTo(bin)), "{g:?}");
        }
    }

    #[test]
    fn gain_by_hand_and_limits() {
        let (values, g) = ([1.0, 1.0, 2.0, 2.0], [-3.0, -1.0, 2.0, 2.0]);
        let split = best(&values, &g, &lenient(), Bounds::NONE).unwrap();
        // 4^2/2 + 4^2/2 - 0
        assert_eq!((split.left.rows, split.right.g), (2, 4.0));
        assert!((split.gain - 16.0).abs() < 1e-9, "{}", split.gain);
        let l1 = GbdtConfig { l1: 1.0, ..lenient() };
        // 3^2/2 twice
        assert!((best(&values, &g, &l1, Bounds::NONE).unwrap().gain - 9.0).abs() < 1e-9);
        for config in [
            GbdtConfig { min_rows: 3, ..lenient() },
            GbdtConfig { min_hessian: 2.5, ..lenient() },
            GbdtConfig { min_gain: 16.1, ..lenient() },
            GbdtConfig { monotone: vec![1], ..lenient() },
        ] {
            assert_eq!(best(&values, &g, &config, Bounds::NONE), None, "{config:?}");
        }
        assert!(best(&values, &g, &GbdtConfig { monotone: vec![-1], ..lenient() }, Bounds::NONE).is_some());
    }

    proptest! {
        /// The quick search and the careful one find the same.
        #[test]
        fn free_equals_bounded(rows in prop::collection::vec((0..9_u8, -4.0_f32..4.0), 2..80)) {
            let values: Vec<f32> =
                rows.iter().map(|&(v, _)| if v == 8 { f32::NAN } else { f32::from(v) }).collect();
            let g: Vec<f32> = rows.iter().map(|row| row.1).collect();
            let wide = Bounds { low: -1e300, high: 1e300 };
            let (free, bounded) = (best(&values, &g, &lenient(), Bounds::NONE), best(&values, &g, &lenient(), wide));
            match (free, bounded) {
                (Some(free), Some(bounded)) => prop_assert!((free.gain - bounded.gain).abs() < 1e-9 * free.gain.max(1.0)),
                (free, bounded) => {
                    let none = |split: &Option<Split<f64>>| split.as_ref().is_none_or(|split| split.gain < 1e-9);
                    prop_assert!(none(&free) && none(&bounded));
                }
            }
        }
    }
}
