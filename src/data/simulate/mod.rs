//! People whose habits, and so the best possible score, are known.
//!
//! Simulated people have homes, work, rhythms, tastes and habits. What they open next is always drawn from a
//! known function of who they are and of what their phone has noted so far, so the true probability of every
//! app is computed, not guessed, and a predictor's regret can be measured exactly. Simulated people test the
//! code and the learning; they never stand in for a claim about real ones.
//!
//! By default all of them follow one law (`narrow`). A [`Law`] may also be a family: then which mechanisms a person has, and how
//! they work together, is drawn for each ([`FamilyLaw`]). The family `broad` is what the bundle that ships learned from.
//!
//! ```
//! use foretap::data::simulate::{SimulationConfig, simulate};
//! use foretap::{Silent, data::Signal};
//! let simulation = simulate(&SimulationConfig { people: 1, days: 2, ..Default::default() }, &Silent)?;
//! let unlocks = simulation.log.events().iter().filter(|event| event.signal == Signal::Unlock);
//! for unlock in unlocks {
//!     if let Some(truth) = simulation.truth.first_after_unlock(unlock.user, unlock.at) {
//!         assert!(truth.best_hit_rate(3) <= 1.0 + 1e-6);
//!     }
//! }
//! # Ok::<(), foretap::Error>(())
//! ```

mod family;
mod incoming;
mod law;
mod narrow;
mod truth;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::Exp1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use family::FamilyLaw;
pub use law::Law;
pub use truth::{TrueDistribution, Truth};

use super::{Log, UserId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use narrow::catalog;

/// How many people, for how long, and how strong their habits are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationConfig {
    /// People, 1 to 1,000,000.
    pub people: usize,
    /// Days that each of them is observed, 1 to 3,650.
    pub days: u32,
    /// How they come to open an app.
    pub law: Law,
    /// Apps in the store, 16 to 10,000. A person of the law `narrow` installs 32 to 62 of them. The store of a family has more
    /// where its people may have more.
    pub apps: usize,
    /// Equal seeds give equal logs, on any number of threads of one kind of machine.
    pub seed: u64,
    /// The period begins with the local day of this moment, in UTC seconds.
    pub start_unix_secs: i64,
    /// Law `narrow` only: mean probability of a routine's next step, 0 to 1. At 0 no sequence of launches matters, but for the
    /// morning's and for a look at the calendar before a meeting.
    pub routine_strength: f64,
    /// Law `narrow` only: mean share of going back to the last app right after the screen went off, 0 to 1, where no stronger
    /// habit applies.
    pub resume_strength: f64,
    /// Law `narrow` only: mean notifications a person and day, up to 10,000.
    pub notifications_a_day: f64,
    /// Whether [`Truth::next_within_session`] is recorded too; it takes about twice the memory of the rest.
    pub record_every_launch: bool,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            people: 60,
            law: Law::Narrow,
            days: 28,
            apps: 87,
            seed: 1,
            // Monday 2026-01-05.
            start_unix_secs: 1_767_571_200,
            routine_strength: 0.85,
            // This and the persons' constants: `tests/simulator.rs` prints what they lead to beside real people.
            resume_strength: 0.92,
            notifications_a_day: 70.0,
            record_every_launch: false,
        }
    }
}

impl SimulationConfig {
    fn check(&self) -> Result<()> {
        let refuse = |field: &str, message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Config, message).field(field).next_step(next_step))
        };
        let whole: [(&str, u64, u64, u64); 3] = [
            ("people", self.people as u64, 1, 1_000_000),
            ("days", u64::from(self.days), 1, 3_650),
            ("apps", self.apps as u64, catalog::ESSENTIALS as u64, 10_000),
        ];
        for (field, value, low, high) in whole {
            if !(low..=high).contains(&value) {
                let message = format!("{value} {field} cannot be simulated");
                return refuse(field, message, &format!("choose {low} to {high}"));
            }
        }
        let reals = [
            ("routine_strength", self.routine_strength, 1.0),
            ("resume_strength", self.resume_strength, 1.0),
            ("notifications_a_day", self.notifications_a_day, 10_000.0),
        ];
        for (field, value, high) in reals {
            if !(0.0..=high).contains(&value) {
                return refuse(field, format!("{value} is out of range"), &format!("choose 0 to {high}"));
            }
        }
        // Years 1900 to 2200: local times and their sums stay far from overflow.
        if !(-2_208_988_800..7_258_118_400).contains(&self.start_unix_secs) {
            let message = format!("{} is no plausible start", self.start_unix_secs);
            return refuse("start_unix_secs", message, "choose UTC seconds within the years 1900 to 2200");
        }
        Ok(())
    }
}

/// A simulated log and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// What the phones noted, person after person.
    pub log: Log,
    /// The names of the store's apps.
    pub vocabulary: Vocabulary,
    /// What the launches were drawn from.
    pub truth: Truth,
}

/// Lets the people of `config` live.
///
/// # Errors
/// [`ErrorKind::Config`] where a setting is outside its range.
pub fn simulate(config: &SimulationConfig, progress: &dyn Progress) -> Result<Simulation> {
    config.check()?;
    progress.start("simulating people", config.people as u64);
    let store = match &config.law {
        Law::Narrow => config.apps,
        Law::Family(family) => config.apps.max(family.most_apps()),
    };
    let lives: Vec<_> = (0..config.people)
        .into_par_iter()
        .map(|index| {
            let (user, events, truth) = match &config.law {
                Law::Narrow => narrow::person(config, index),
                Law::Family(family) => family::person(family, store, config, index),
            };
            progress.advance(1);
            (events, (user, truth))
        })
        .collect();
    progress.finish();
    let mut events = Vec::with_capacity(lives.iter().map(|(events, _)| events.len()).sum());
    let mut truths = Vec::with_capacity(lives.len());
    for (life, truth) in lives {
        events.extend(life);
        truths.push(truth);
    }
    Ok(Simulation {
        log: Log::from_events(events),
        vocabulary: match &config.law {
            Law::Narrow => Vocabulary::from_names((0..store).map(catalog::name)),
            // Names that no model knows.
            Law::Family(_) => Vocabulary::from_names((1..=store).map(|app| format!("App {app}"))),
        },
        truth: Truth::new(truths),
    })
}

/// Independent random numbers: each person has one stream for who they are and one for what happens.
fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// SplitMix64's output function (Steele, Lea, Flood 2014): one-to-one, so people of one seed never collide.
fn user_id(seed: u64, index: usize) -> UserId {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    UserId(mix(mix(seed) ^ index as u64))
}

/// The position of one of `weights`, drawn by its share of `total`, which is their sum.
fn draw_position(weights: impl Iterator<Item = f64>, total: f64, rng: &mut ChaCha8Rng) -> usize {
    let mut left = rng.random::<f64>() * total;
    let mut drawn = 0;
    for (position, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        drawn = position;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    drawn
}

/// Calls `each` at the times of a Poisson process of `an_hour` events an hour between two hours.
fn poisson(
    rng: &mut ChaCha8Rng,
    an_hour: f64,
    from: f64,
    to: f64,
    mut each: impl FnMut(f64, &mut ChaCha8Rng),
) {
    if an_hour <= 0.0 {
        return;
    }
    let mut hour = from;
    loop {
        let wait: f64 = rng.sample(Exp1);
        hour += wait / an_hour;
        if hour >= to {
            return;
        }
        each(hour, rng);
    }
}
