//! The ranker's own matrix, from as many simulated people as LSApp has real ones.

use std::sync::Arc;

use foretap::Silent;
use foretap::context::features::{self, SCHEMA};
use foretap::context::{Task, replay};
use foretap::data::Event;
use foretap::data::simulate::{SimulationConfig, simulate};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Case;
use crate::Result;
use crate::task::{Goal, Rows, Settings};

/// As many rows as the ranker takes at most (`RankerConfig::max_rows`).
const MAX_ROWS: usize = 1_500_000;
/// Days that LSApp's people were observed, about.
const DAYS: u32 = 16;

/// The questions of `people` simulated people: a row a candidate, label 1 for the app that was opened. The goal is
/// lambdarank, which the engines share; with one opened app a question it asks for the same order as the ranker's own.
///
/// # Errors
/// People who cannot be simulated.
pub fn population(people: usize, trees: usize) -> Result<Case> {
    let simulation =
        simulate(&SimulationConfig { people, days: DAYS, ..SimulationConfig::default() }, &Silent)?;
    let users: Vec<&[Event]> = simulation.log.users().collect();
    let total: usize = users.par_iter().map(|events| candidates(events)).sum();
    let share = (MAX_ROWS as f64 / total as f64).min(1.0);
    let draw = |(person, events): (usize, &&[Event])| matrix(events, share, person as u64);
    let drawn: Vec<Rows> = users.par_iter().enumerate().map(draw).collect();
    let mut rows = Rows { columns: SCHEMA.len(), ..Rows::default() };
    for part in drawn {
        rows.values.extend(part.values);
        rows.labels.extend(part.labels);
        rows.groups.extend(part.groups);
    }
    let settings = Settings { trees, ..Settings::new(Goal::Lambdarank) };
    Ok(Case { name: "population".to_owned(), rows, settings, test: None })
}

/// Candidates over all questions of one person.
fn candidates(events: &[Event]) -> usize {
    let mut count = 0;
    replay(events, Task::FirstAfterUnlock, &Arc::from([]), usize::MAX, |_, _, context| {
        count += context.candidates().len();
    });
    count
}

/// A share of one person's questions whose answer is a candidate.
fn matrix(events: &[Event], share: f64, seed: u64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Rows { columns: SCHEMA.len(), ..Rows::default() };
    let mut values = Vec::new();
    replay(events, Task::FirstAfterUnlock, &Arc::from([]), usize::MAX, |_, question, context| {
        let candidates = context.candidates();
        if candidates.contains(&question.answer) && random.random_bool(share) {
            features::fill(context, &mut values);
            rows.values.extend(&values);
            rows.labels.extend(candidates.iter().map(|&app| f32::from(u8::from(app == question.answer))));
            rows.groups.push(candidates.len());
        }
    });
    rows
}
