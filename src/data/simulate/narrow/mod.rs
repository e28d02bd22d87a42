//! One law, the same for everybody: a person's constants differ, how they work does not.
//!
//! The parts, in order: `catalog` (the apps), `person` (who), `past` (what is observed), `habits` (the law), `day` (where the days
//! lead), `live` (events are made).

pub(super) mod catalog;
mod day;
mod habits;
mod live;
mod past;
mod person;

use super::truth::PersonTruth;
use super::{SimulationConfig, stream};
use crate::data::{Event, UserId};

/// The `index`-th person of a simulation, and all events of that life.
pub(super) fn person(config: &SimulationConfig, index: usize) -> (UserId, Vec<Event>, PersonTruth) {
    let person = person::SimulatedPerson::draw(config, index);
    let mut rng = stream(config.seed, 2 * index as u64 + 1);
    let (events, truth) = live::live(&person, config, &mut rng);
    (person.user, events, truth)
}
