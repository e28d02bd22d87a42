//! The (app, time, place) tokens that the transformer reads: one for each launch, notification and unlock.

use std::f32::consts::TAU;

use super::app_use::Departure;
use super::saved::{Restorer, Saved as _, SavedAs, Saver, saved};
use crate::context::math;
use crate::data::{AppId, Timestamp};
use crate::error::Result;

/// Tokens that a history keeps: no window is longer.
// Source: memory. 32 bytes each; the teacher's window.
pub const MAX_WINDOW: usize = 64;

/// Kinds of signal: first launch after an unlock, other launch, notification, unlock by how the phone was left.
pub const KINDS: usize = UNLOCK + Departure::KINDS;

/// The first kind that is an unlock.
// Source: units.
pub(in crate::context) const UNLOCK: usize = 3;

/// Places by how much the user does there: the eight most visited, any other, unknown.
// Source: memory: rows of a network's table. Not measured: none of the logs at hand has places.
pub const PLACES: usize = 10;

/// Classes of a time in seconds: see [`gap`].
// Source: units: the last begins at 145 days.
pub const GAPS: usize = 48;

/// Unknown, offline, wifi, cellular.
// Source: units.
pub const NETWORKS: usize = 4;

/// Unknown, charging, nearly empty, neither.
// Source: units.
pub const BATTERIES: usize = 4;

// Source of four and three: by hand, not measured; a network that is trained with them learns their weights.
/// Numbers that tell hour and weekday: sines and cosines of four and three harmonics.
pub const CLOCK: usize = 14;

/// An event as the transformer reads it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token {
    /// When.
    pub at: Timestamp,
    /// Which app, if any.
    pub app: Option<AppId>,
    /// Below [`KINDS`].
    pub kind: u8,
    /// Below [`PLACES`].
    pub place: u8,
    /// Time since the token before, of an unlock since the phone was last in use: [`gap`], below [`GAPS`].
    pub gap: u8,
    /// Below [`NETWORKS`].
    pub network: u8,
    /// Below [`BATTERIES`].
    pub battery: u8,
    /// Local hour of the day, 0 to 23.99.
    pub hour: f32,
    /// Local day of the week, 0 is Monday.
    pub weekday: u8,
}

saved!(Token { at, app, kind, place, gap as Gap, network, battery, hour, weekday } checked by Token::validation_error);

impl Token {
    fn validation_error(&self) -> Option<&'static str> {
        let classes = [
            (self.kind, KINDS),
            (self.place, PLACES),
            (self.gap, GAPS),
            (self.network, NETWORKS),
            (self.battery, BATTERIES),
            (self.weekday, 7),
        ];
        if classes.iter().any(|&(class, count)| usize::from(class) >= count) || self.hour >= 24.0 {
            return Some("an event of a class that there is not");
        }
        let is_unlock = usize::from(self.kind) >= UNLOCK;
        (is_unlock == self.app.is_some()).then_some("an unlock of an app, or an event of no app")
    }

    /// Whether an app came to the foreground.
    pub fn is_launch(&self) -> bool {
        self.kind < 2
    }

    /// Hour and weekday as points on circles.
    pub fn clock(&self) -> [f32; CLOCK] {
        let mut clock = [0.0; CLOCK];
        let (day, week) = (TAU * self.hour / 24.0, TAU * (f32::from(self.weekday) + self.hour / 24.0) / 7.0);
        let angles =
            [1.0, 2.0, 3.0, 4.0].map(|n| n * day).into_iter().chain([1.0, 2.0, 3.0].map(|n| n * week));
        for (pair, angle) in clock.chunks_exact_mut(2).zip(angles) {
            pair.copy_from_slice(&[math::sin(angle), math::cos(angle)]);
        }
        clock
    }
}

/// The class of a time: a new one at each power of two, and one halfway to the next: at 1, 2, 3, 4, 6, 8, 12 seconds and so on.
pub fn gap(secs: i64) -> u8 {
    let octave = octave(secs);
    let class = match octave.checked_sub(2) {
        Some(shift) => 2 * (octave - 1) + (secs >> shift) as u32 % 2,
        None => octave,
    };
    class.min(GAPS as u32 - 1) as u8
}

/// A [`gap`], of which histories before version 4 had other classes: four between two powers of two from 64 to 16,384
/// seconds, and one elsewhere. Such a one becomes the class that its first second is of now.
struct Gap;

impl SavedAs<u8> for Gap {
    fn save(class: &u8, to: &mut Saver) -> Result<()> {
        class.save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<u8> {
        let class = u8::restore(from)?;
        Ok(match class {
            _ if from.version() >= 4 => class,
            2..7 => 2 * class - 2,
            7..39 => 12 + (class - 7) / 2,
            39..47 => 2 * class - 50,
            _ => class,
        })
    }
}

/// The binary logarithm of a time: 0 for none, `n` for `2^(n-1)` to `2^n - 1` seconds.
pub(in crate::context) fn octave(secs: i64) -> u32 {
    64 - secs.max(0).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_halves_of_octaves() {
        let cases = [
            (i64::MIN, 0),
            (-5, 0),
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 4),
            (5, 4),
            (6, 5),
            (8, 6),
            (63, 11),
            (64, 12),
            (95, 12),
            (96, 13),
            (16_384, 28),
            (12_582_911, 46),
            (12_582_912, 47),
            (i64::MAX, GAPS as u8 - 1),
        ];
        for (secs, class) in cases {
            assert_eq!(gap(secs), class, "{secs} s");
        }
        let classes: Vec<u8> = (0..1 << 24).map(gap).collect();
        assert!(classes.is_sorted_by(|a, b| b - a <= 1), "none is left out");
        assert_eq!(classes.last(), Some(&(GAPS as u8 - 1)));
    }

    #[test]
    fn the_clock_is_a_circle() {
        let token = |hour, weekday| {
            let at = Timestamp(0);
            Token { at, app: None, kind: 0, place: 0, gap: 0, network: 0, battery: 0, hour, weekday }.clock()
        };
        let distance =
            |a: [f32; CLOCK], b: [f32; CLOCK]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>();
        assert!(
            distance(token(23.99, 6), token(0.0, 0)) < 0.1,
            "Sunday's last minute is near Monday's first"
        );
        assert!(distance(token(12.0, 3), token(0.0, 3)) > 1.0);
    }
}
