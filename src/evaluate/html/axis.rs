//! Axes with marks at round numbers.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// An axis with its marks.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) range: Range<f64>,
    ticks: Vec<(f64, String)>,
    is_logarithmic: bool,
}

/// From this ratio of the longest time to the shortest on, times are drawn on a logarithmic axis.
const WIDE: f64 = 8.0;
/// More marks than this would run into each other.
const MOST_TICKS: usize = 7;

impl Axis {
    /// Percents, over every finite one of `values` and rounded outwards to a mark; at most about six marks.
    pub(super) fn shares(label: &str, values: impl Iterator<Item = f64>) -> Self {
        Self::round(label, values, 100.0, |percent, decimals| format!("{percent:.decimals$} %"))
    }

    /// The same for differences between shares, in percentage points.
    pub(super) fn share_differences(label: &str, values: impl Iterator<Item = f64>) -> Self {
        Self::round(label, values, 100.0, signed)
    }

    /// The same for plain numbers.
    pub(super) fn numbers(label: &str, values: impl Iterator<Item = f64>) -> Self {
        Self::round(label, values, 1.0, |value, decimals| format!("{value:.decimals$}"))
    }

    /// The same for differences between plain numbers.
    pub(super) fn differences(label: &str, values: impl Iterator<Item = f64>) -> Self {
        Self::round(label, values, 1.0, signed)
    }

    /// Microseconds: from zero, or by powers of ten where one of `values` is many times another.
    pub(super) fn micros(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|us| us.is_finite() && *us > 0.0).collect();
        let (low, high) = ends(values.iter().copied());
        if low.is_finite() && high >= WIDE * low {
            Self::powers(label, low, high)
        } else {
            let whole = |us: f64, decimals: usize| format!("{us:.decimals$}");
            Self::round(label, values.into_iter().chain([0.0]), 1.0, whole)
        }
    }

    /// One place for each of `labels`, at 0, 1, 2, ..
    pub(super) fn categories(label: &str, labels: impl Iterator<Item = String>) -> Self {
        let ticks: Vec<(f64, String)> = labels.enumerate().map(|(at, label)| (at as f64, label)).collect();
        Self::plain(label, -0.5..ticks.len().max(1) as f64 - 0.5, ticks)
    }

    /// Hours of the day, a mark every three.
    pub(super) fn hours(label: &str) -> Self {
        let ticks = (0..24).step_by(3).map(|hour| (f64::from(hour), format!("{hour} h")));
        Self::plain(label, -0.5..23.5, ticks.collect())
    }

    /// The same axis with a little room before its first mark and behind its last, for markers that stand there.
    pub(super) fn with_room(mut self) -> Self {
        const ROOM: f64 = 0.1;
        let Range { start, end } = self.range;
        self.range = if self.is_logarithmic {
            let factor = (end / start).powf(ROOM);
            start / factor..end * factor
        } else {
            let room = ROOM * (end - start);
            start - room..end + room
        };
        self
    }

    fn plain(label: &str, range: Range<f64>, ticks: Vec<(f64, String)>) -> Self {
        Self { label: label.to_owned(), range, ticks, is_logarithmic: false }
    }

    /// From mark to mark over `values`; `text` writes a value, times `unit`, with so many decimals.
    fn round(
        label: &str,
        values: impl Iterator<Item = f64>,
        unit: f64,
        text: impl Fn(f64, usize) -> String,
    ) -> Self {
        let (low, high) = ends(values);
        let (low, high) = if high > low {
            (low, high)
        } else {
            (0.0, if low > 0.0 && low.is_finite() { low } else { 1.0 })
        };
        let step = round_step((high - low) / 5.0);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let decimals = (-(step * unit).log10() - 1e-9).ceil().max(0.0) as usize;
        let ticks = (0..=(last - first) as usize).map(|mark| {
            let value = (first + mark as f64) * step;
            (value, text(unit * value, decimals))
        });
        Self::plain(label, first * step..last * step, ticks.collect())
    }

    /// Marks at 1, 2, 5, 10, .. microseconds, or at powers of ten alone where these are too many.
    fn powers(label: &str, low: f64, high: f64) -> Self {
        // A little room, so that no point stands on the frame.
        let (low, high) = (low / 1.25, high * 1.25);
        let powers = low.log10().floor() as i32..=high.log10().floor() as i32;
        let marks = |factors: &'static [f64]| {
            let of_power = move |power: i32| {
                let decimals = usize::try_from(-power).unwrap_or(0);
                let mark = move |factor: &f64| factor * 10_f64.powi(power);
                factors.iter().map(mark).map(move |us| (us, format!("{us:.decimals$}")))
            };
            let all = powers.clone().flat_map(of_power);
            all.filter(|(us, _)| (low..=high).contains(us)).collect::<Vec<_>>()
        };
        let mut ticks = marks(&[1.0, 2.0, 5.0]);
        if ticks.len() > MOST_TICKS {
            ticks = marks(&[1.0]);
        }
        Self { is_logarithmic: true, ..Self::plain(label, low..high, ticks) }
    }
}

// An axis of our own, so that marks stand where we say and not where the library would put them.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let place = |value: f64| if self.is_logarithmic { value.ln() } else { value };
        let (start, end) = (place(self.range.start), place(self.range.end));
        let share = (place(*value) - start) / (end - start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let light = hint.weight().allow_light_points();
        if light { Vec::new() } else { self.ticks.iter().map(|tick| tick.0).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *value);
        tick.map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

/// The least and the greatest finite one of `values`; the wrong way round of none.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// `value` with its sign; zero has none.
fn signed(value: f64, decimals: usize) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:+.decimals$}").replace('-', "−") }
}

/// The least of 1, 2, 5, 10, .. times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> String {
        let texts: Vec<&str> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        texts.join(" ")
    }

    #[test]
    fn marks_are_round_numbers_around_the_values() {
        type Make = fn(&[f64]) -> Axis;
        let shares: Make = |values| Axis::shares("", values.iter().copied());
        let gains: Make = |values| Axis::share_differences("", values.iter().copied());
        let numbers: Make = |values| Axis::numbers("", values.iter().copied());
        let savings: Make = |values| Axis::differences("", values.iter().copied());
        let micros: Make = |values| Axis::micros("", values.iter().copied());
        let cases: [(Make, &[f64], &str); 17] = [
            (shares, &[0.0, 1.0], "0 % 20 % 40 % 60 % 80 % 100 %"),
            (shares, &[0.0, 0.31, f64::NAN], "0 % 10 % 20 % 30 % 40 %"),
            (shares, &[0.0, 0.004], "0.0 % 0.1 % 0.2 % 0.3 % 0.4 %"),
            (shares, &[0.62, 1.0], "60 % 70 % 80 % 90 % 100 %"),
            (shares, &[], "0 % 20 % 40 % 60 % 80 % 100 %"),
            (shares, &[f64::INFINITY, 0.0], "0 % 20 % 40 % 60 % 80 % 100 %"),
            (shares, &[0.5], "0 % 10 % 20 % 30 % 40 % 50 %"),
            (gains, &[-0.031, 0.04, 0.0], "−4 −2 0 +2 +4"),
            (gains, &[0.0, 0.004], "0 +0.1 +0.2 +0.3 +0.4"),
            (numbers, &[1.31, 1.42], "1.30 1.35 1.40 1.45"),
            (numbers, &[f64::NAN], "0.0 0.2 0.4 0.6 0.8 1.0"),
            (savings, &[-0.1, 0.3], "−0.1 0 +0.1 +0.2 +0.3"),
            (micros, &[40.0, 120.0], "0 50 100 150"),
            (micros, &[40.0, 1_000.0], "50 100 200 500 1000"),
            (micros, &[0.3, 1_000.0, f64::NAN, 0.0, -1.0], "1 10 100 1000"),
            (micros, &[0.02, 0.2], "0.02 0.05 0.1 0.2"),
            (micros, &[], "0.0 0.2 0.4 0.6 0.8 1.0"),
        ];
        for (make, values, expected) in cases {
            assert_eq!(marks(&make(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_gives_each_factor_the_same_room() {
        let axis = Axis::micros("", [1.0, 10_000.0].into_iter());
        for axis in [axis.clone(), axis.with_room()] {
            let [one, hundred, most] = [1.0, 100.0, 10_000.0].map(|us| axis.map(&us, (0, 1_000)));
            assert!((most - hundred - (hundred - one)).abs() <= 1, "{one} {hundred} {most}");
        }
    }
}
