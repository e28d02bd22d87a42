//! When an app is first used in a day: habits of once a day.

use super::saved::saved;
use crate::context::math;

/// Quarters of an hour in a day.
// Source: units.
const QUARTERS: usize = 96;

/// Stretches of time before and after a time of day, in quarters of an hour: what [`FirstUses`] are summed over.
// Simulator's law: three hours to either side, as long as what is opened once a day is due there; to be learned from
// people instead.
const STRETCHES: [[f32; 2]; 6] =
    [[-12.0, -6.0], [-6.0, -2.0], [-2.0, 0.0], [0.0, 2.0], [2.0, 6.0], [6.0, 12.0]];

/// A habit of once a day: for so long it is due.
// Simulator's law: three hours there; to be learned from people instead.
const DUE_QUARTERS: usize = 12;

/// And a due app is opened at one unlock in four.
// Simulator's law: the share that a due app claims there; to be learned from people instead.
const DUE_SHARE: f32 = 0.25;

/// Share of apps that are opened once a day.
// Simulator's law: two of about 47 apps there; to be learned from people instead.
const DUE_PRIOR: f32 = 0.04;

/// Fewer first uses of the day within three hours show no habit.
// Source: measured (docs/constants.md).
const FEWEST_DUE: f32 = 2.0;

/// First uses, and unlocks, that a rate of first uses is drawn by: one in fifty.
// Source: measured (docs/constants.md).
const RATE_PRIOR: [f32; 2] = [0.5, 25.0];

/// The same of the share of a whole day: one in two hundred.
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

    /// How probable it is that the app is due: that someone opens it once a day, from some hour on, and that this hour
    /// lies no more than three hours back. Bayes' rule over all hours from which it may be, and none.
    ///
    /// `hour`: 0 to 23.99.
    pub fn due(&self, hour: f32) -> f32 {
        let [hits, all] = sum(&self.quarters);
        if hits < FEWEST_DUE {
            return 0.0;
        }
        let gains = self.gains(hits, all);
        // No habit gains nothing.
        let most = gains.iter().copied().fold(0.0, f32::max);
        let now = (4.0 * hour) as usize % QUARTERS;
        let (mut due_now, mut due_ever) = (0.0, 0.0);
        for (from, gain) in gains.into_iter().enumerate() {
            let odds = DUE_PRIOR / QUARTERS as f32 * math::exp(gain - most);
            due_ever += odds;
            if (now + QUARTERS - from) % QUARTERS < DUE_QUARTERS {
                due_now += odds;
            }
        }
        due_now / (math::exp(-most) + due_ever)
    }

    /// By the quarter of an hour from which the app may be due: by how many nats the past is more probable then than if
    /// it were opened as readily at any time of the day.
    fn gains(&self, hits: f32, all: f32) -> [f32; QUARTERS] {
        let rate = |hits: f32, all: f32| (hits + RATE_PRIOR[0]) / (all + RATE_PRIOR[1]);
        let likelihood =
            |hits: f32, all: f32, rate: f32| hits * math::ln(rate) + (all - hits) * math::ln(1.0 - rate);
        let at_any_time = likelihood(hits, all, rate(hits, all));
        let [mut due_hits, mut due_all] = sum(&self.quarters[..DUE_QUARTERS]);
        let mut gains = [f32::NEG_INFINITY; QUARTERS];
        for (from, gain) in gains.iter_mut().enumerate() {
            if due_hits >= FEWEST_DUE {
                let (other_hits, other_all) = (hits - due_hits, all - due_all);
                let otherwise = rate(other_hits, other_all);
                let when_due = otherwise + DUE_SHARE * (1.0 - otherwise);
                *gain = likelihood(due_hits, due_all, when_due)
                    + likelihood(other_hits, other_all, otherwise)
                    - at_any_time;
            }
            let [leaving, coming] =
                [from, (from + DUE_QUARTERS) % QUARTERS].map(|q| self.quarters[q].map(f32::from));
            due_hits += coming[0] - leaving[0];
            due_all += coming[1] - leaving[1];
        }
        gains
    }

    /// Shares of such unlocks that opened the app: three hours to half an hour before `near`, after it, and all day.
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

/// Unlocks that opened the app, and all, of these quarters of an hour.
fn sum(quarters: &[[u16; 2]]) -> [f32; 2] {
    quarters
        .iter()
        .fold([0.0; 2], |[hits, all], quarter| [hits + f32::from(quarter[0]), all + f32::from(quarter[1])])
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

    #[test]
    fn what_is_opened_once_a_day_is_due_in_its_hours() {
        let (mut daily, mut any_time) = (FirstUses::default(), FirstUses::default());
        for day in 0..20 {
            for quarter in 32..88 {
                let hour = quarter as f32 / 4.0;
                // Every fourth chance from two o'clock on; as often, but at any time.
                if quarter <= 59 {
                    daily.add_one(hour, quarter == 56 + day % 4);
                }
                any_time.add_one(hour, (quarter + 7 * day) % 56 == 0);
            }
        }
        let due = |uses: &FirstUses| [13.0, 13.9, 14.2, 15.9, 18.0].map(|hour| uses.due(hour));
        let after_weeks = due(&daily);
        assert!(after_weeks[0] < 0.1 && after_weeks[2] > 0.99, "{after_weeks:?}");
        assert!(after_weeks[3] > 0.9 && after_weeks[4] < 0.01, "{after_weeks:?}");
        // Years later it is as clear.
        daily.quarters.iter_mut().flatten().for_each(|count| *count *= 100);
        let after_years = due(&daily);
        assert!(after_years[0] < 0.01 && after_years[2] > 0.99, "{after_years:?}");
        assert!([9.0, 14.2, 18.0].iter().all(|&hour| any_time.due(hour) < 0.01));
        assert_eq!(FirstUses::default().due(14.0), 0.0);
    }
}
