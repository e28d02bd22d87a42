//! The small counters that a history is made of. Each is bounded, whatever it is fed.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::saved::{Restorer, Saved, Saver, UpTo, save_list, saved};
use crate::context::math;
use crate::data::Timestamp;
use crate::error::Result;

/// Position of an app in a history's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::context) struct Slot(u32);

impl Slot {
    /// No app's: it is equal to none, and beyond every table.
    pub const NONE: Slot = Slot(u32::MAX);

    pub fn at(index: usize) -> Self {
        Self(index as u32)
    }

    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Saved for Slot {
    fn save(&self, to: &mut Saver) -> Result<()> {
        self.0.save(to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        from.slot().map(Self)
    }
}

/// A count that halves every `half_life_secs`.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::context) struct Decayed {
    value: f32,
    at: Timestamp,
}

saved!(Decayed { value, at });

impl Decayed {
    /// The count at `now`. A clock that ran backwards does not make it grow.
    pub fn value(&self, now: Timestamp, half_life_secs: f32) -> f32 {
        if self.value == 0.0 {
            return 0.0;
        }
        let age_secs = now.secs_since(self.at).max(0) as f32;
        self.value * math::exp2(-age_secs / half_life_secs)
    }

    pub fn add_one(&mut self, now: Timestamp, half_life_secs: f32) {
        *self = Self { value: self.value(now, half_life_secs) + 1.0, at: now };
    }
}

/// An hour, and the shortest half-life, in seconds.
// Source: units; as a half-life measured (docs/constants.md).
pub(in crate::context) const HOUR_SECS: f32 = 3_600.0;
/// The middle half-life.
// Source: units; as a half-life measured (docs/constants.md).
const DAY_SECS: f32 = 24.0 * HOUR_SECS;
/// The longest half-life.
// Source: units; as a half-life measured (docs/constants.md).
const WEEK_SECS: f32 = 7.0 * DAY_SECS;
/// Half-life of the habits of each hour of the day.
// Source: measured (docs/constants.md).
const HABIT_SECS: f32 = 5.0 * DAY_SECS;

/// How often something happened: ever, lately, and by the hour of the day.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct Tally {
    pub count: u32,
    pub last: Option<Timestamp>,
    hour: Decayed,
    day: Decayed,
    week: Decayed,
    by_hour: [f32; 24],
    habits: [Decayed; 24],
}

saved!(Tally { count, last, hour, day, week, by_hour, habits } checked by Tally::validation_error);

impl Tally {
    fn validation_error(&self) -> Option<&'static str> {
        (self.last.is_some() != (self.count > 0)).then_some("a last time of nothing, or none of something")
    }

    /// `hour_of_day`: 0 to 23.
    pub fn add_one(&mut self, now: Timestamp, hour_of_day: usize) {
        self.count += 1;
        self.last = Some(now);
        self.hour.add_one(now, HOUR_SECS);
        self.day.add_one(now, DAY_SECS);
        self.week.add_one(now, WEEK_SECS);
        self.by_hour[hour_of_day] += 1.0;
        self.habits[hour_of_day].add_one(now, HABIT_SECS);
    }

    /// The count, halved every hour, every day, every week.
    pub fn decayed(&self, now: Timestamp) -> [f32; 3] {
        [self.hour.value(now, HOUR_SECS), self.day.value(now, DAY_SECS), self.week.value(now, WEEK_SECS)]
    }

    /// The count around an hour of the day, under the weights of `hours`.
    pub fn around(&self, hours: &HourWeights) -> f32 {
        hours.iter().map(|&(hour, weight)| weight * self.by_hour[hour]).sum()
    }

    /// The same, halved every five days.
    pub fn lately_around(&self, now: Timestamp, hours: &HourWeights) -> f32 {
        hours.iter().map(|&(hour, weight)| weight * self.habits[hour].value(now, HABIT_SECS)).sum()
    }
}

/// Hours of the day with their weights.
pub(in crate::context) type HourWeights = [(usize, f32); 5];

/// Width of the kernel to either side, in hours: [`HourWeights`] are as many as it can reach.
// Source: measured, and doubtful: twice of it is better (docs/constants.md).
const KERNEL_HOURS: f32 = 2.0;

/// A triangular kernel, two hours wide to either side, over the 24 hourly counters: midnight is near 23 h.
///
/// `hour`: 0 to 23.99.
pub(in crate::context) fn hour_weights(hour: f32) -> HourWeights {
    let centre = hour as i32;
    // Counter `h` holds what happened from `h` to `h + 1`: its middle is half an hour later.
    let offset = hour - (centre as f32 + 0.5);
    std::array::from_fn(|i| {
        let step = i as i32 - 2;
        let distance = (step as f32 - offset).abs();
        ((centre + step).rem_euclid(24) as usize, (1.0 - distance / KERNEL_HOURS).max(0.0))
    })
}

/// How often each app came next. At most [`Row::CAPACITY`] apps; the rarest makes room for a new one.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct Row {
    counts: Vec<(Slot, f32)>,
    total: f32,
}

saved!(Row { counts as UpTo<{ Row::CAPACITY }>, total } checked by Row::validation_error);

impl Row {
    // Source: memory. Eight bytes an entry; seven rows an app.
    const CAPACITY: usize = 32;

    fn validation_error(&self) -> Option<&'static str> {
        let is_twice = |at: usize| self.counts[..at].iter().any(|(slot, _)| *slot == self.counts[at].0);
        (0..self.counts.len()).any(is_twice).then_some("an app that follows twice")
    }

    pub fn add_one(&mut self, slot: Slot) {
        self.total += 1.0;
        if let Some((_, count)) = self.counts.iter_mut().find(|(s, _)| *s == slot) {
            *count += 1.0;
            return;
        }
        if self.counts.len() == Self::CAPACITY {
            let rarest =
                (0..self.counts.len()).min_by(|&a, &b| self.counts[a].1.total_cmp(&self.counts[b].1));
            self.counts.swap_remove(rarest.unwrap_or(0));
        }
        self.counts.push((slot, 1.0));
    }

    pub fn count(&self, slot: Slot) -> f32 {
        self.counts.iter().find(|(s, _)| *s == slot).map_or(0.0, |(_, count)| *count)
    }

    pub fn total(&self) -> f32 {
        self.total
    }

    pub fn forget(&mut self, slot: Slot) {
        // A total no longer grows at 2^24, when its parts still do.
        self.total = (self.total - self.count(slot)).max(0.0);
        self.counts.retain(|(s, _)| *s != slot);
    }
}

/// What came after a pair of apps. At most [`Pairs::CAPACITY`] pairs.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct Pairs {
    rows: FxHashMap<(Slot, Slot), Row>,
}

/// A list of pairs with their rows, in the order of the pairs.
impl Saved for Pairs {
    fn save(&self, to: &mut Saver) -> Result<()> {
        let mut rows: Vec<(&(Slot, Slot), &Row)> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(pair, _)| **pair);
        to.count(rows.len())?;
        rows.into_iter().try_for_each(|(pair, row)| {
            pair.save(to)?;
            row.save(to)
        })
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        let rows = from.list::<((Slot, Slot), Row)>(Self::CAPACITY)?;
        if !rows.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(from.wrong("pairs of apps that are twice there, or not in order"));
        }
        Ok(Self { rows: rows.into_iter().collect() })
    }
}

impl Pairs {
    // Source: memory. At most 256 bytes of counts a pair.
    const CAPACITY: usize = 2048;

    pub fn add_one(&mut self, pair: (Slot, Slot), next: Slot) {
        if self.rows.len() >= Self::CAPACITY && !self.rows.contains_key(&pair) {
            // Pairs seen least make room; the threshold rises until half the table is free, so the work is rare.
            let mut threshold = 1.0;
            while self.rows.len() > Self::CAPACITY / 2 {
                self.rows.retain(|_, row| row.total() > threshold);
                threshold *= 2.0;
            }
        }
        self.rows.entry(pair).or_default().add_one(next);
    }

    pub fn get(&self, pair: (Slot, Slot)) -> Option<&Row> {
        self.rows.get(&pair)
    }

    pub fn forget(&mut self, slot: Slot) {
        self.rows.retain(|&(a, b), _| a != slot && b != slot);
        self.rows.values_mut().for_each(|row| row.forget(slot));
    }
}

/// A ring of the last `N` values, newest first.
#[derive(Debug, Clone)]
pub(in crate::context) struct Recent<T, const N: usize> {
    values: VecDeque<T>,
}

impl<T, const N: usize> Default for Recent<T, N> {
    fn default() -> Self {
        Self { values: VecDeque::with_capacity(N) }
    }
}

impl<T: Saved, const N: usize> Saved for Recent<T, N> {
    fn save(&self, to: &mut Saver) -> Result<()> {
        save_list(self.values.iter(), to)
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self> {
        let mut recent = Self::default();
        recent.values.extend(from.list(N)?);
        Ok(recent)
    }
}

impl<T: Copy, const N: usize> Recent<T, N> {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn push(&mut self, value: T) {
        self.values.truncate(N - 1);
        self.values.push_front(value);
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.values.iter().copied()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut()
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.values.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decayed_count_halves_each_half_life() {
        let mut count = Decayed::default();
        count.add_one(Timestamp(0), 100.0);
        count.add_one(Timestamp(100), 100.0);
        assert_eq!(count.value(Timestamp(100), 100.0), 1.5);
        assert_eq!(count.value(Timestamp(200), 100.0), 0.75);
        assert_eq!(count.value(Timestamp(-500), 100.0), 1.5, "a clock running backwards");
    }

    #[test]
    fn hours_are_circular() {
        let late: Vec<usize> =
            hour_weights(23.9).iter().filter(|(_, weight)| *weight > 0.0).map(|(h, _)| *h).collect();
        assert_eq!(late, [22, 23, 0, 1]);
        let mut tally = Tally::default();
        tally.add_one(Timestamp(0), 0);
        assert!(tally.around(&hour_weights(23.9)) > 0.5);
        assert_eq!(tally.around(&hour_weights(12.0)), 0.0);
    }

    #[test]
    fn rows_and_pairs_stay_bounded() {
        let mut row = Row::default();
        (0..100).for_each(|_| row.add_one(Slot(7)));
        (0..1000).for_each(|slot| row.add_one(Slot(slot)));
        assert_eq!(row.counts.len(), Row::CAPACITY);
        assert_eq!((row.count(Slot(7)), row.total()), (101.0, 1100.0));

        let mut pairs = Pairs::default();
        (0..10).for_each(|_| pairs.add_one((Slot(1), Slot(2)), Slot(3)));
        (0..5000).for_each(|slot| pairs.add_one((Slot(slot), Slot(slot + 1)), Slot(3)));
        assert!(pairs.rows.len() <= Pairs::CAPACITY);
        assert_eq!(pairs.get((Slot(1), Slot(2))).map(Row::total), Some(11.0));
    }

    #[test]
    fn recent_keeps_the_newest() {
        let mut recent: Recent<u32, 3> = Recent::default();
        (0..5).for_each(|value| recent.push(value));
        assert_eq!(recent.iter().collect::<Vec<_>>(), [4, 3, 2]);
    }
}
