//! Where the days take a person, and what comes to the phone from outside.
//!
//! A plan fixes stays, notifications and the moments at which the phone is taken in hand. It never says which
//! app is opened: that is drawn later, from what has been observed by then.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::person::{SimulatedPerson, Slot, normal};
use crate::data::simulate::{SimulationConfig, poisson};
use crate::data::{Network, PlaceId, Timestamp};

const DAY_SECS: i64 = 86_400;

/// One person's whole period. Every list is in time order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub stays: Vec<Stay>,
    pub notices: Vec<(Timestamp, Slot)>,
    /// When the phone is taken in hand.
    pub bouts: Vec<Timestamp>,
    /// When the locked screen is lit to read the clock.
    pub glances: Vec<Timestamp>,
}

/// From `since` until the next stay begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stay {
    pub since: Timestamp,
    pub place: Option<PlaceId>,
    pub network: Network,
    pub charging: bool,
}

impl Plan {
    /// Draws the plan of every day.
    pub(super) fn draw(person: &SimulatedPerson, config: &SimulationConfig, rng: &mut ChaCha8Rng) -> Self {
        let mut plan = Self::default();
        let offset = i64::from(person.utc_offset_secs);
        let first = (config.start_unix_secs + offset).div_euclid(DAY_SECS);
        for day in first..first + i64::from(config.days) {
            Day::draw(person, day, rng).fill(&mut plan, rng);
        }
        plan.stays.sort_by_key(|stay| stay.since);
        plan.notices.sort_by_key(|notice| notice.0);
        plan.bouts.sort_unstable();
        plan.glances.sort_unstable();
        plan
    }
}

/// One day. Hours are local and count from midnight; those beyond 24 are the small hours of the next day.
struct Day<'a> {
    person: &'a SimulatedPerson,
    midnight: i64,
    wake: f64,
    sleep: f64,
    /// From leaving home to coming back.
    work: Option<(f64, f64)>,
    outing: Option<(f64, f64)>,
}

impl<'a> Day<'a> {
    fn draw(person: &'a SimulatedPerson, day: i64, rng: &mut ChaCha8Rng) -> Self {
        let rhythm = &person.rhythm;
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3).rem_euclid(7) as usize;
        let works = rhythm.workdays[weekday] && !rng.random_bool(0.05);
        let late = if rhythm.workdays[(weekday + 1) % 7] { 0.0 } else { 0.8 };
        let wake = rhythm.wake_hour + normal(rng, if works { 0.0 } else { 1.4 }, 0.3, -1.0, 3.0);
        let sleep =
            (rhythm.sleep_hour + late + normal(rng, 0.0, 0.4, -1.0, 1.5)).min(rhythm.wake_hour + 20.0);
        let work = works.then(|| {
            let from = (rhythm.work_from + normal(rng, 0.0, 0.2, -0.5, 0.8)).max(wake + 0.7);
            (from, from + rhythm.work_hours + 2.0 * rhythm.commute_hours + normal(rng, 0.0, 0.5, -1.0, 2.0))
        });
        let outing = rng.random_bool(if works { 0.25 } else { 0.6 }).then(|| {
            let from = work.map_or_else(|| rng.random_range(11.0..15.0), |(_, back)| back + 0.8);
            (from, (from + rng.random_range(1.0..3.5)).min(sleep - 0.3))
        });
        let midnight = day * DAY_SECS - i64::from(person.utc_offset_secs);
        Self { person, midnight, wake, sleep, work, outing: outing.filter(|(from, to)| from < to) }
    }

    fn at(&self, hour: f64) -> Timestamp {
        Timestamp(self.midnight + (hour * 3600.0) as i64)
    }

    fn fill(&self, plan: &mut Plan, rng: &mut ChaCha8Rng) {
        self.stays(plan, rng);
        self.meetings(plan, rng);
        self.notices(plan, rng);
        if rng.random_bool(0.9) {
            plan.bouts.push(self.at(self.wake + rng.random_range(0.01..0.25)));
        }
        self.bouts(plan, rng);
        poisson(
            rng,
            self.person.rhythm.glances / (self.sleep - self.wake),
            self.wake,
            self.sleep,
            |hour, _| {
                plan.glances.push(self.at(hour));
            },
        );
    }

    fn stays(&self, plan: &mut Plan, rng: &mut ChaCha8Rng) {
        let (homes, rhythm) = (&self.person.homes, &self.person.rhythm);
        let mut go = |hour: f64, place, network, charging| {
            plan.stays.push(Stay { since: self.at(hour), place, network, charging });
        };
        go(self.wake + 0.1, homes.home, Network::Wifi, false);
        if let Some((from, to)) = self.work {
            let stretch = rhythm.commute_hours / 3.0;
            let mut way = |start: f64, cells: [Option<PlaceId>; 3]| {
                for (step, cell) in cells.into_iter().enumerate() {
                    let network = if rng.random_bool(0.08) { Network::Offline } else { Network::Cellular };
                    go(start + step as f64 * stretch, cell, network, false);
                }
            };
            way(from, homes.way);
            let [first, second, third] = homes.way;
            way(to - rhythm.commute_hours, [third, second, first]);
            go(from + rhythm.commute_hours, homes.work, Network::Wifi, rhythm.desk_charger);
            go(to, homes.home, Network::Wifi, false);
        }
        if let Some((from, to)) = self.outing {
            go(from, homes.leisure[rng.random_range(0..2)], Network::Cellular, false);
            go(to, homes.home, Network::Wifi, false);
        }
        go(self.sleep - rng.random_range(0.0..0.8), homes.home, Network::Wifi, true);
    }

    /// A notification a while before each meeting, and a look at the phone when it is time to go.
    fn meetings(&self, plan: &mut Plan, rng: &mut ChaCha8Rng) {
        let Some((from, to)) = self.work else { return };
        let (from, to) =
            (from + self.person.rhythm.commute_hours, to - self.person.rhythm.commute_hours - 1.0);
        poisson(rng, self.person.rhythm.meetings / (to - from).max(1.0), from, to, |hour, rng| {
            plan.notices.push((self.at(hour), self.person.habits.calendar));
            if rng.random_bool(0.85) {
                plan.bouts.push(self.at(hour + rng.random_range(0.35..0.7)));
            }
        });
    }

    /// Messages come in bursts, rarely at night, and some of them are answered at once.
    fn notices(&self, plan: &mut Plan, rng: &mut ChaCha8Rng) {
        const BURST: f64 = 0.4;
        for (slot, app) in self.person.apps.iter().enumerate() {
            let an_hour = app.notices * (1.0 - BURST) / 18.0;
            poisson(rng, an_hour, self.wake - 1.0, self.wake + 23.0, |hour, rng| {
                let asleep = !(self.wake..self.sleep).contains(&hour);
                if asleep && rng.random_bool(0.8) {
                    return;
                }
                let mut at = self.at(hour);
                plan.notices.push((at, slot));
                while rng.random_bool(BURST) {
                    at.0 += rng.random_range(3..120);
                    plan.notices.push((at, slot));
                }
                if !asleep && rng.random_bool(0.25 * app.answers) {
                    plan.bouts.push(Timestamp(at.0 + rng.random_range(4..90)));
                }
            });
        }
    }

    fn bouts(&self, plan: &mut Plan, rng: &mut ChaCha8Rng) {
        // How much more the phone is in hand on the way and in the evening than at work.
        const PEAK: f64 = 1.5;
        let an_hour = self.person.rhythm.bouts / (self.sleep - self.wake);
        let at_work = self.work.map(|(from, to)| {
            (from + self.person.rhythm.commute_hours, to - self.person.rhythm.commute_hours)
        });
        poisson(rng, an_hour * PEAK, self.wake, self.sleep, |hour, rng| {
            let busy = at_work.is_some_and(|(from, to)| (from..to).contains(&hour));
            let shape = if busy {
                0.75
            } else if hour > 18.0 {
                1.3
            } else {
                1.1
            };
            if rng.random_bool(shape / PEAK) {
                plan.bouts.push(self.at(hour));
            }
        });
    }
}
