//! Where an example's people come from: log files, or a simulation whose truth is known.

use foretap::Progress;
use foretap::data::simulate::{Law, SimulationConfig, Truth, simulate};
use foretap::data::{Log, Vocabulary};

use super::DataArgs;

/// The family that the checkpoints learned from: of people of another law, the bundle knows little.
pub const DEFAULT_LAW: &str = "broad";

/// People who are simulated instead of read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Simulation")]
pub struct SimulationArgs {
    /// Simulate so many people instead of reading a log
    #[arg(long, value_name = "PEOPLE", conflicts_with = "data")]
    pub simulate: Option<usize>,

    /// Days that they are observed
    #[arg(long, default_value_t = SimulationConfig::default().days, requires = "simulate")]
    pub days: u32,

    /// How they come to open an app: broad (a family, what the bundle learned from), narrow (one law for everybody),
    /// clockwork, crowded, responsive, ritual, wanderer, weekly (families for testing), or a file with the ending .toml (docs/simulation.md)
    #[arg(long, default_value = DEFAULT_LAW, value_name = "LAW", value_parser = Law::named_or_read, requires = "simulate")]
    pub law: Law,

    /// Another number, other people
    #[arg(long, value_name = "SEED", default_value_t = SimulationConfig::default().seed, requires = "simulate")]
    pub people_seed: u64,
}

/// A log, its app names, and of simulated people what they were drawn from.
pub struct Source {
    pub log: Log,
    pub vocabulary: Vocabulary,
    pub truth: Option<Truth>,
}

impl SimulationArgs {
    /// Reads the log that `data` names, or simulates: the usual people where neither is asked for.
    pub fn load_or_simulate(&self, data: &DataArgs, progress: &dyn Progress) -> foretap::Result<Source> {
        self.load_or_simulate_people(SimulationConfig::default().people, data, progress)
    }

    /// The same with so many people where neither is asked for.
    pub fn load_or_simulate_people(
        &self,
        people: usize,
        data: &DataArgs,
        progress: &dyn Progress,
    ) -> foretap::Result<Source> {
        if self.simulate.is_some() || !data.data.is_empty() {
            return self.load(data, progress);
        }
        Self { simulate: Some(people), ..self.clone() }.load(data, progress)
    }

    /// Simulates, or reads the log that `data` names.
    pub fn load(&self, data: &DataArgs, progress: &dyn Progress) -> foretap::Result<Source> {
        let Some(people) = self.simulate else {
            let mut vocabulary = Vocabulary::new();
            let log = data.load(&mut vocabulary, progress)?;
            return Ok(Source { log, vocabulary, truth: None });
        };
        let config = SimulationConfig {
            people,
            law: self.law.clone(),
            days: self.days,
            seed: self.people_seed,
            ..SimulationConfig::default()
        };
        let simulation = simulate(&config, progress)?;
        Ok(Source { log: simulation.log, vocabulary: simulation.vocabulary, truth: Some(simulation.truth) })
    }
}
