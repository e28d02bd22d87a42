//! Simulated people and quickly trained rankers that several suites share.

#![allow(dead_code)] // each suite uses a part
#![allow(clippy::unwrap_used)] // a failed step is a failed test

use foretap::Silent;
use foretap::context::Task;
use foretap::data::simulate::{Simulation, SimulationConfig, simulate};
use foretap::data::{AppId, Event, Signal, Timestamp, UserId};
use foretap::experiment::Experiment;
use foretap::gbdt::GbdtConfig;
use foretap::model::RankerModel;
use foretap::ranker::RankerConfig;

pub const TASKS: [Task; 2] = [Task::FirstAfterUnlock, Task::NextLaunch];

/// `people` who are observed for `days`.
pub fn people(people: usize, days: u32) -> Simulation {
    simulate(&SimulationConfig { people, days, ..Default::default() }, &Silent).unwrap()
}

/// Few and small trees: enough to learn something, in a second.
pub fn quick() -> RankerConfig {
    let gbdt = GbdtConfig { trees: 30, leaves: 15, learning_rate: 0.2, ..Default::default() };
    RankerConfig { gbdt, ..Default::default() }
}

/// A model trained quickly on all that `simulation` shows.
pub fn quick_model(simulation: &Simulation, task: Task) -> RankerModel {
    let experiment = Experiment { task, ..Default::default() };
    experiment.train(&quick(), &simulation.log, &simulation.vocabulary, &Silent).unwrap().model
}

/// An event of the one user that made-up logs have.
pub fn event(at_secs: i64, signal: Signal) -> Event {
    Event::new(UserId(1), Timestamp(at_secs), signal)
}

/// Launches of `apps`, a minute apart.
pub fn launches(apps: impl IntoIterator<Item = u32>) -> Vec<Event> {
    let minutes = (0..).map(|minute| 60 * minute);
    minutes.zip(apps).map(|(at_secs, app)| event(at_secs, Signal::Launch(AppId(app)))).collect()
}
