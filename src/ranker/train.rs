//! The ranker learns: people's questions become rows, and trees are grown over them.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Ranker, RankerConfig};
use crate::context::features::{self, SCHEMA};
use crate::context::{PersonView, TrainingView};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Binner, CandidateSoftmax, Dataset, DatasetBuilder, GbdtConfig, train};
use crate::parallel::largest_first;
use crate::progress::Progress;

/// What [`train_ranker`] gives.
#[derive(Debug, Clone)]
pub struct TrainedRanker {
    /// Trained on training and validation questions together.
    pub ranker: Ranker,
    /// Trained on the training questions alone: what validation figures are to be measured with.
    pub without_validation: Ranker,
    /// Mean validation loss a question after each round; empty without validation questions.
    pub losses: Vec<f64>,
}

/// Trains a ranker: first on the training questions, stopping on the later validation questions; then, for as many
/// rounds as proved best, on both.
///
/// # Errors
/// No question whose answer is a candidate, or a configuration that cannot be trained with.
pub fn train_ranker(
    config: &RankerConfig,
    view: &TrainingView<'_>,
    progress: &dyn Progress,
) -> Result<TrainedRanker> {
    let material = Material { config, view };
    progress.start("computing features", 3 * view.people().len() as u64);
    let binner = material.fit_binner(progress)?;
    let fraction = material.fraction();
    let train_set = material.dataset(&binner, fraction, |person| person.train(), progress)?;
    let validation = material.dataset(&binner, fraction, |person| person.validation(), progress)?;
    progress.finish();
    if train_set.rows() == 0 {
        return Err(Error::new(
            ErrorKind::Data,
            format!("no question of the task {} to learn from", view.task()),
        )
        .next_step("give a longer log, or the other task: a log without unlocks has no first-after-unlock"));
    }
    let has_validation = validation.rows() > 0;
    let early =
        train(&config.gbdt, &CandidateSoftmax, &train_set, has_validation.then_some(&validation), progress)?;
    let without_validation = Ranker::new(early.forest)?;
    if !has_validation {
        return Ok(TrainedRanker {
            ranker: without_validation.clone(),
            without_validation,
            losses: Vec::new(),
        });
    }
    let all = train_set.append(validation)?;
    let rounds = without_validation.forest.ensemble().trees.len();
    let final_config = GbdtConfig { trees: rounds, early_stopping: 0, ..config.gbdt.clone() };
    let full = train(&final_config, &CandidateSoftmax, &all, None, progress)?;
    Ok(TrainedRanker { ranker: Ranker::new(full.forest)?, without_validation, losses: early.losses })
}

/// What the ranker learns from.
struct Material<'a> {
    config: &'a RankerConfig,
    view: &'a TrainingView<'a>,
}

/// Rows from which bin boundaries are learned.
const BINNING_ROWS: usize = 200_000;

impl Material<'_> {
    /// Learns bin boundaries from a sample of the training questions.
    fn fit_binner(&self, progress: &dyn Progress) -> Result<Binner> {
        let questions = self.view.questions();
        // About 30 candidates a question; more only means a larger sample.
        let fraction = (BINNING_ROWS as f64 / 30.0 / questions.max(1) as f64).min(1.0);
        let sample = |index: usize, person: &PersonView<'_>| {
            let mut random = self.random(1, index);
            let mut sample = Vec::new();
            let mut matrix = Vec::new();
            let train = person.train();
            self.view.replay(person, train.end, |number, _, context| {
                if train.contains(&number) && random.random_bool(fraction) {
                    features::fill(context, &mut matrix);
                    sample.extend_from_slice(&matrix);
                }
            });
            progress.advance(1);
            sample
        };
        let parts: Vec<Vec<f32>> = largest_first(self.view.people(), |person| person.events().len(), sample);
        let binner = Binner::fit(&parts.concat(), SCHEMA.len(), self.config.gbdt.max_bins);
        binner.with_names(SCHEMA.iter().map(|feature| feature.name))
    }

    /// `fraction` of the questions that `part` names, as groups of binned rows, in the order of the people.
    fn dataset(
        &self,
        binner: &Binner,
        fraction: f64,
        part: impl Fn(&PersonView<'_>) -> std::ops::Range<usize> + Sync,
        progress: &dyn Progress,
    ) -> Result<Dataset> {
        let mut all = DatasetBuilder::new(binner.clone()).finish();
        // A few users at a time: their rows exist twice until they are appended.
        for (chunk, people) in self.view.people().chunks(16).enumerate() {
            let rows = |index: usize, person: &PersonView<'_>| {
                let numbers = part(person);
                let mut random = self.random(2, chunk * 16 + index);
                let mut builder = DatasetBuilder::new(binner.clone());
                let (mut matrix, mut labels, mut outcome) = (Vec::new(), Vec::new(), Ok(()));
                self.view.replay(person, numbers.end, |number, question, context| {
                    let drawn = fraction >= 1.0 || random.random_bool(fraction);
                    // An answer that no candidate can match teaches nothing about candidates.
                    let known = context.candidates().contains(&question.answer);
                    if !numbers.contains(&number) || !drawn || !known || outcome.is_err() {
                        return;
                    }
                    features::fill(context, &mut matrix);
                    labels.clear();
                    let is_answer = context.candidates().iter().map(|&app| app == question.answer);
                    labels.extend(is_answer.map(|is_answer| f32::from(u8::from(is_answer))));
                    outcome = builder.push_group(&matrix, &labels);
                });
                progress.advance(1);
                outcome.map(|()| builder.finish())
            };
            let parts: Result<Vec<Dataset>> =
                largest_first(people, |person| person.events().len(), rows).into_iter().collect();
            for part in parts? {
                all = all.append(part)?;
            }
        }
        Ok(all)
    }

    /// The share of questions to draw so that about `max_rows` rows remain.
    fn fraction(&self) -> f64 {
        if self.config.max_rows == 0 {
            return 1.0;
        }
        let rows: usize = self
            .view
            .people()
            .par_iter()
            .map(|person| {
                let mut rows = 0;
                self.view.replay(person, person.train().end, |_, _, context| {
                    rows += context.candidates().len();
                });
                rows
            })
            .sum();
        (self.config.max_rows as f64 / rows.max(1) as f64).min(1.0)
    }

    /// Draws that depend on the person, not on the thread.
    fn random(&self, purpose: u64, person: usize) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.config.gbdt.seed);
        random.set_stream(purpose << 32 | person as u64);
        random
    }
}
