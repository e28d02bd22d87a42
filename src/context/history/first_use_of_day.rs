//! When an app is first used in a day: habits of once a day.

use super::saved::saved;

/// Quarters of an hour in a day.
// Source: units.
const QUARTERS: usize = 96;

/// Stretches of time before and after a time of day, in quarters of an hour: what [`FirstUses`] are summed over. Each
/// reaches three times as far as the one before.
// Source: by hand, not measured.
const STRETCHES: [[f32; 2]; 6] =
    [[-18.0, -6.0], [-6.0, -2.0], [-2.0, 0.0], [0.0, 2.0], [2.0, 6.0], [6.0, 18.0]];

/// First uses, and unlocks, that the share of a whole day is drawn by: one in two hundred.
// Source: measured (docs/constants.md).
const DAY_PRIOR: [f32; 2] = [0.5, 100.0];

/// Unlocks that the day's share is worth beside those of a stretch.
// Source: measured (docs/constants.md).
const STRETCH_PRIOR: f32 = 3.0;

/// Unlocks that found an app not used yet that day, by the time of day: a habit of once a day shows as a high share in
/// its hours, and on the edges of its hours before and after part.
#[derive(Debug, Clone)]
pub(in crate::context) struct FirstUses {
    /// By quarter of an hour: those that opened it, and all.
    quarters: [[u16; 2]; QUARTERS],
    day: [f32; 2],
}

saved!(FirstUses { quarters, day } checked by FirstUses::validation_error);

impl Default for FirstUses {
    fn default() -> Self {
        Self { quarters: [[0; 2]; QUARTERS], day: [0.0; 2] }
    }
}

impl FirstUses {
    /// Columns of [`shares`](Self::shares).
    pub const SHARES: usize = STRETCHES.len() + 1;

    fn validation_error(&self) -> Option<&'static str> {
        let more = self.quarters.iter().any(|[hits, all]| hits > all) || self.day[0] > self.day[1];
        more.then_some("an app opened more often than there were unlocks")
    }

    /// `hour`: 0 to 23.99.
    pub fn add_one(&mut self, hour: f32, opened: bool) {
        let [hits, all] = &mut self.quarters[(4.0 * hour) as usize % QUARTERS];
        *all = all.saturating_add(1);
        *hits = hits.saturating_add(u16::from(opened));
        self.day[0] += f32::from(u8::from(opened));
        self.day[1] += 1.0;
    }

    /// Shares of such unlocks that opened the app: in each of the stretches around `near`, and all day.
    pub fn shares(&self, near: &Nearby) -> [f32; Self::SHARES] {
        let day = (self.day[0] + DAY_PRIOR[0]) / (self.day[1] + DAY_PRIOR[1]);
        let mut sums = [[0.0; 2]; STRETCHES.len()];
        for &(quarter, stretch, weight) in &near.0 {
            let [hits, all] = self.quarters[quarter].map(f32::from);
            sums[stretch][0] += weight * hits;
            sums[stretch][1] += weight * all;
        }
        let drawn = |hits: f32, all: f32| (hits + STRETCH_PRIOR * day) / (all + STRETCH_PRIOR);
        std::array::from_fn(|at| sums.get(at).map_or(day, |&[hits, all]| drawn(hits, all)))
    }
}

/// The quarters of an hour around a time of day: each with the stretch that it lies in, and how much of it does.
#[derive(Debug, Clone, Default)]
pub(in crate::context) struct Nearby(Vec<(usize, usize, f32)>);

impl Nearby {
    /// `hour`: 0 to 23.99.
    pub fn set(&mut self, hour: f32) {
        self.0.clear();
        let now = 4.0 * hour;
        for (stretch, ends) in STRETCHES.iter().enumerate() {
            let [from, to] = ends.map(|end| now + end);
            let mut quarter = from.floor();
            while quarter < to {
                let weight = (quarter + 1.0).min(to) - quarter.max(from);
                self.0.push(((quarter as i32).rem_euclid(QUARTERS as i32) as usize, stretch, weight));
                quarter += 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_of_once_a_day_shows_in_its_hours() {
        let mut uses = FirstUses::default();
        for _ in 0..20 {
            // Opened at the second chance after nine.
            for (hour, opened) in [(8.1, false), (8.6, false), (9.1, false), (9.3, true)] {
                uses.add_one(hour, opened);
            }
        }
        let shares = |uses: &FirstUses, hour| {
            let mut near = Nearby::default();
            near.set(hour);
            uses.shares(&near)
        };
        let [_, long_before, before, after, .., day] = shares(&uses, 9.0);
        assert!(long_before < 0.02 && before < 0.02 && after > 0.4, "{:?}", shares(&uses, 9.0));
        let expected = 20.5 / 180.0;
        assert!((day - expected).abs() < 1e-6);
        // Nothing was seen around midnight; then something is, on its other side.
        assert!(shares(&uses, 23.9).iter().all(|share| (share - expected).abs() < 1e-6));
        uses.add_one(0.1, true);
        let (day, after) = (21.5 / 181.0, shares(&uses, 23.9)[3]);
        assert!((after - (1.0 + 3.0 * day) / 4.0).abs() < 1e-6, "{after}");
    }
}
