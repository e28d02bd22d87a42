//! People whose habits, and so the best possible score, are known.
//!
//! Simulated people have homes, work, rhythms, tastes and habits. What they open next is always drawn from a
//! known function of who they are and of what their phone has noted so far, so the true probability of every
//! app is computed, not guessed, and a predictor's regret can be measured exactly. Simulated people test the
//! code and the learning; they never stand in for a claim about real ones.
//!
//! The parts, in order: `catalog` (the apps), `person` (who), `past` (what is observed), `habits` (the law),
//! `day` (where the days lead), `truth` (what is kept of the law), `live` (events are made).
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

mod catalog;
mod day;
mod habits;
mod live;
mod past;
mod person;
mod truth;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use truth::{TrueDistribution, Truth};

use super::{Log, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use person::SimulatedPerson;

/// How many people, for how long, and how strong their habits are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationConfig {
    /// People, 1 to 1,000,000.
    pub people: usize,
    /// Days that each of them is observed, 1 to 3,650.
    pub days: u32,
    /// Apps in the store, 16 to 10,000. A person installs 32 to 62 of them.
    pub apps: usize,
    /// Equal seeds give equal logs, on any number of threads of one kind of machine.
    pub seed: u64,
    /// The period begins with the local day of this moment, in UTC seconds.
    pub start_unix_secs: i64,
    /// Mean probability of a routine's next step, 0 to 1. At 0 no sequence of launches matters, but for the
    /// morning's and for a look at the calendar before a meeting.
    pub routine_strength: f64,
    /// Mean share of going back to the last app right after the screen went off, 0 to 1, where no stronger
    /// habit applies.
    pub resume_strength: f64,
    /// Mean notifications a person and day, up to 10,000.
    pub notifications_a_day: f64,
    /// Whether [`Truth::next_within_session`] is recorded too; it takes about twice the memory of the rest.
    pub record_every_launch: bool,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            people: 60,
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
    let lives: Vec<_> = (0..config.people)
        .into_par_iter()
        .map(|index| {
            let person = SimulatedPerson::draw(config, index);
            let mut rng = person::stream(config.seed, 2 * index as u64 + 1);
            let (events, truth) = live::live(&person, config, &mut rng);
            progress.advance(1);
            (events, (person.user, truth))
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
        vocabulary: Vocabulary::from_names((0..config.apps).map(catalog::name)),
        truth: Truth::new(truths),
    })
}
