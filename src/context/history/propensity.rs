//! Propensities, each a small sufficient statistic: to resume the last app, to answer a notification, to open an app
//! spontaneously, to prefer one app to others.

use super::counts::{HourWeights, around};
use super::saved::saved;

/// Points that the prior of a [`Line`]'s mean is worth.
// Source: measured (docs/constants.md).
const LINE_PRIOR: f32 = 2.0;

/// Added to the sum of squares that the slope of a [`Line`] is divided by.
// Source: measured (docs/constants.md). Ridge regression: Hoerl, Kennard 1970.
const RIDGE: f32 = 40.0;

/// Notifications answered, and all, that the rate of anyone's is drawn by: one in eight.
// Source: measured (docs/constants.md).
const ANSWERS_PRIOR: [f32; 2] = [0.5, 4.0];

/// Notifications that the rate of anyone's is worth beside those of one app.
// Source: measured (docs/constants.md).
const ANSWERS_NEAR: f32 = 4.0;

/// Choices, made and expected, by which a preference is drawn towards the average one.
// Source: measured (docs/constants.md).
const PREFERENCE_PRIOR: f32 = 0.5;

/// Preferences are kept within these, so that their products stay finite.
// Source: units.
const PREFERENCES: [f32; 2] = [1e-6, 1e6];

/// Ridge regression of points that are 0 or 1 on one number: resumed or not, by the logarithm of the time away.
// Simulator's law: resuming falls with the logarithm of the time away there; to be learned from people instead.
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

/// Spontaneous launches, by the hour of the day.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::context) struct SpontaneousLaunches {
    pub count: f32,
    /// Of these: launches of an app that had not been in front for eight hours. People return to an app for hours; how
    /// often it is opened without that shows their preference.
    pub anew: f32,
    by_hour: [f32; 24],
}

saved!(SpontaneousLaunches { count, anew, by_hour });

impl SpontaneousLaunches {
    pub fn add_one(&mut self, hour_of_day: usize, is_anew: bool) {
        self.count += 1.0;
        self.anew += f32::from(u8::from(is_anew));
        self.by_hour[hour_of_day] += 1.0;
    }

    /// The count around an hour of the day, under the weights of `hours`.
    pub fn around(&self, hours: &HourWeights) -> f32 {
        around(&self.by_hour, hours)
    }
}

/// Notifications that an unlock found: those answered by it, and all, each counting for less the older it was.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::context) struct AnswerRate {
    answered: f32,
    asked: f32,
}

saved!(AnswerRate { answered, asked });

impl AnswerRate {
    pub fn add(&mut self, freshness: f32, is_answered: bool) {
        self.answered += if is_answered { freshness } else { 0.0 };
        self.asked += freshness;
    }

    /// How readily notifications are answered, by anyone's.
    pub fn rate(&self) -> f32 {
        (self.answered + ANSWERS_PRIOR[0]) / (self.asked + ANSWERS_PRIOR[1])
    }

    /// The same of one app, drawn towards `prior`.
    pub fn rate_near(&self, prior: f32) -> f32 {
        (self.answered + ANSWERS_NEAR * prior) / (self.asked + ANSWERS_NEAR)
    }
}

/// How often an app is preferred to the others in spontaneous choices: Luce's choice axiom (1959), by the first step of
/// Hunter's algorithm ("MM algorithms for generalized Bradley-Terry models", 2004) after every choice. A plain share
/// would take an app that is at hand for a preferred one.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::context) struct Preference {
    /// Times that it was chosen.
    chosen: f32,
    /// Times that an app of average preference would have been.
    expected: f32,
}

saved!(Preference { chosen, expected });

impl Preference {
    pub fn choose(&mut self) {
        self.chosen += 1.0;
    }

    /// Adds a choice in which its share of the choice weights would be this, at average preference.
    pub fn expect(&mut self, share: f32) {
        self.expected += share;
    }

    pub fn expected(&self) -> f32 {
        self.expected
    }

    /// 1 as long as nothing is known.
    pub fn rate(&self) -> f32 {
        ((self.chosen + PREFERENCE_PRIOR) / (self.expected + PREFERENCE_PRIOR))
            .clamp(PREFERENCES[0], PREFERENCES[1])
    }
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
}
