//! The best way to part a leaf in two, read off its histogram.

use super::bins::ColumnKind;
use super::block::Block;
use super::category;
use super::config::GbdtConfig;
use super::gain::{Bounds, ColumnSums, LeafColumn, Rule, SMALL, Search, Split};
use super::histogram::{Histogram, Number, Numbers, Sums};
use super::rounding::Scale;

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
            let task = LeafColumn { search: self, bounds, total, own, bins };
            match self.data.binner.kind(column) {
                ColumnKind::Number => task.numbers(&mut candidates, &mut best),
                ColumnKind::Category => category::search(&task, &mut best),
            }
        }
        best
    }
}

impl<S: Number> LeafColumn<'_, S> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::histogram::{Full, Rows, Tables};
    use crate::gbdt::layout::BlockLayout;
    use crate::gbdt::objective::Gradient;
    use crate::gbdt::{Binner, Dataset};
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
