//! Ridge regression on one number, fitted for each person: whether the app used last is resumed, by the time away.

use super::saved::saved;
use crate::context::math;

/// Points that the prior of a [`Line`]'s mean is worth.
// Source: measured (docs/constants.md).
const LINE_PRIOR: f32 = 2.0;

/// Added to the sum of squares that the slope of a [`Line`] is divided by.
// Source: measured (docs/constants.md). Ridge regression: Hoerl, Kennard 1970.
const RIDGE: f32 = 40.0;

/// Whoever was away for longer was away for so long.
// Source: by hand, not measured: a day.
const LONGEST_AWAY_SECS: i64 = 86_400;

/// At so many points all sums are halved, so that none grows beyond what a saved history may hold.
// Source: units. Squares of `away` are below 130, and numbers of a history at most 2^24.
const MOST_POINTS: f32 = 65_536.0;

/// Ridge regression of points that are 0 or 1 on one number: resumed or not, by the logarithm of the time away.
// Source of the form: by hand. The line itself is fitted for each person.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::context) struct Line {
    points: f32,
    x: f32,
    xx: f32,
    y: f32,
    xy: f32,
}

saved!(Line { points, x, xx, y, xy });

impl Line {
    pub fn add(&mut self, x: f32, is_one: bool) {
        if self.points >= MOST_POINTS {
            [&mut self.points, &mut self.x, &mut self.xx, &mut self.y, &mut self.xy]
                .into_iter()
                .for_each(|sum| *sum /= 2.0);
        }
        let y = f32::from(u8::from(is_one));
        self.points += 1.0;
        self.x += x;
        self.xx += x * x;
        self.y += y;
        self.xy += x * y;
    }

    pub fn points(&self) -> f32 {
        self.points
    }

    /// The share of ones, drawn towards `prior`.
    pub fn mean(&self, prior: f32) -> f32 {
        (self.y + LINE_PRIOR * prior) / (self.points + LINE_PRIOR)
    }

    /// The share of ones at `x`, as ridge regression has it.
    pub fn at(&self, x: f32, prior: f32) -> f32 {
        let centre = self.x / self.points.max(1.0);
        let slope = (self.xy - centre * self.y) / ((self.xx - centre * self.x).max(0.0) + RIDGE);
        (self.mean(prior) + slope * (x - centre)).clamp(0.0, 1.0)
    }
}

/// Seconds out of use on the scale of a [`Line`].
pub(in crate::context) fn away(unused_secs: i64) -> f32 {
    math::ln_1p(unused_secs.clamp(0, LONGEST_AWAY_SECS) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_finds_its_slope() {
        let mut line = Line::default();
        assert_eq!((line.mean(0.7), line.at(3.0, 0.7)), (0.7, 0.7));
        for n in 0..4000 {
            let x = (n % 8) as f32;
            // .9 at once, .04 less with every step.
            line.add(x, (n * 61) % 100 < 90 - 4 * (n % 8));
        }
        assert!((line.at(0.0, 0.5) - 0.9).abs() < 0.02, "{}", line.at(0.0, 0.5));
        assert!((line.at(7.0, 0.5) - 0.62).abs() < 0.02, "{}", line.at(7.0, 0.5));
        assert_eq!((line.at(-100.0, 0.5), line.at(100.0, 0.5)), (1.0, 0.0));
    }

    /// A saved history holds numbers up to 2^24.
    #[test]
    fn years_of_days_away_keep_every_sum_small() {
        let mut line = Line::default();
        (0..400_000).for_each(|n| line.add(away(i64::MAX), n % 4 > 0));
        assert!([line.points, line.x, line.xx, line.y, line.xy].iter().all(|sum| *sum < (1 << 24) as f32));
        assert!((line.mean(0.5) - 0.75).abs() < 1e-3, "{}", line.mean(0.5));
    }
}
