//! Boosting: trees are added, each a step down the gradient, until later questions stop improving.

use super::config::GbdtConfig;
use super::dataset::Dataset;
use super::ensemble::Ensemble;
use super::forest::Forest;
use super::grow::{GrownTree, grow};
use super::objective::{Gradient, Objective, all_gradients, mean_loss};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// What training gave.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The trees up to the best round.
    pub forest: Forest,
    /// Mean loss of the validation set after each round (of the training set where there is none).
    pub losses: Vec<f64>,
}

/// Trains on `data`; with `validation`, stops when its loss no longer falls and keeps the best round.
///
/// The result depends on the data, the configuration and the seed alone, not on the number of threads.
///
/// # Errors
/// A setting that cannot be trained with, no rows, labels that the objective refuses, groups that it needs and that
/// are missing, or no column that tells rows apart.
pub fn train(
    config: &GbdtConfig,
    objective: &dyn Objective,
    data: &Dataset,
    validation: Option<&Dataset>,
    progress: &dyn Progress,
) -> Result<Trained> {
    config.check()?;
    for data in [Some(data), validation].into_iter().flatten() {
        check(data, objective)?;
    }
    let outputs = objective.outputs();
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let mut gradients = vec![Gradient::default(); data.rows() * outputs];
    let mut of_output = vec![Gradient::default(); data.rows()];
    let mut ensemble = match &data.start {
        Some((model, _)) => model.clone(),
        None => Ensemble {
            objective: objective.name().to_owned(),
            features: data.binner.names().to_vec(),
            base: objective.base(data),
            trees: Vec::new(),
        },
    };
    let mut scores = start_scores(data, &ensemble)?;
    let mut validation_scores = validation.map(|data| start_scores(data, &ensemble)).transpose()?;
    let before = ensemble.trees.len();
    let mut losses: Vec<f64> = Vec::new();
    let mut best_round = 0;

    progress.start("growing trees", config.trees as u64);
    for round in 0..config.trees {
        all_gradients(objective, data, &scores, random.random(), &mut gradients);
        let rows = sample_rows(data, config.group_fraction, &mut random);
        for output in 0..outputs {
            of_output
                .iter_mut()
                .zip(gradients.iter().skip(output).step_by(outputs))
                .for_each(|(a, b)| *a = *b);
            let columns = sample_columns(data, config.feature_fraction, &mut random);
            let grown = grow(data, rows.clone(), &columns, &of_output, config);
            add(&grown, data, output, outputs, &mut scores);
            if let (Some(validation), Some(scores)) = (validation, &mut validation_scores) {
                add(&grown, validation, output, outputs, scores);
            }
            ensemble.trees.push(grown.tree);
        }
        losses.push(match (validation, &validation_scores) {
            (Some(validation), Some(scores)) => mean_loss(objective, validation, scores),
            _ => mean_loss(objective, data, &scores),
        });
        if losses[round] < losses[best_round] || validation.is_none() {
            best_round = round;
        }
        progress.advance(1);
        if config.early_stopping > 0 && round - best_round >= config.early_stopping {
            break;
        }
    }
    progress.finish();
    ensemble.trees.truncate(before + (best_round + 1) * outputs);
    Ok(Trained { forest: Forest::new(ensemble)?, losses })
}

fn check(data: &Dataset, objective: &dyn Objective) -> Result<()> {
    let wrong = |message: &str, next: &str| Err(Error::new(ErrorKind::Data, message).next_step(next));
    if data.rows() == 0 {
        return wrong("no rows to learn from", "give a longer log, or a larger table");
    }
    if objective.is_grouped() && data.groups() == 0 {
        let message = format!("the objective `{}` compares the rows of a group", objective.name());
        return wrong(&message, "say which rows belong together: `with_groups`, or `push_group`");
    }
    objective.check(data)
}

/// The scores before the first round.
fn start_scores(data: &Dataset, ensemble: &Ensemble) -> Result<Vec<f32>> {
    match &data.start {
        Some((model, scores)) if model == ensemble => Ok(scores.clone()),
        None if ensemble.trees.is_empty() => {
            let base = ensemble.base.iter().map(|&base| base as f32);
            Ok(base.cycle().take(data.rows() * ensemble.outputs()).collect())
        }
        _ => Err(Error::new(ErrorKind::Config, "training and validation rows start from different models")
            .next_step("build both with `DatasetBuilder::continuing` and the same model")),
    }
}

fn add(grown: &GrownTree, data: &Dataset, output: usize, outputs: usize, scores: &mut [f32]) {
    let parts = scores.par_chunks_exact_mut(outputs).enumerate().with_min_len(4_096);
    parts.for_each(|(row, scores)| scores[output] += grown.value(data, row) as f32);
}

/// Whole groups are drawn: a softmax needs all candidates of its question.
fn sample_rows(data: &Dataset, fraction: f64, random: &mut ChaCha8Rng) -> Vec<u32> {
    if fraction >= 1.0 || data.groups() == 0 {
        return (0..data.rows() as u32).collect();
    }
    let mut rows = Vec::with_capacity((data.rows() as f64 * fraction * 1.05) as usize);
    for group in data.group_ranges() {
        if random.random_bool(fraction) {
            rows.extend(group.start as u32..group.end as u32);
        }
    }
    rows
}

/// Columns in ascending order, of those that have more than one bin.
fn sample_columns(data: &Dataset, fraction: f64, random: &mut ChaCha8Rng) -> Vec<usize> {
    let useful: Vec<usize> =
        (0..data.binner.columns()).filter(|&column| data.binner.bins(column) > 2).collect();
    let wanted = ((useful.len() as f64 * fraction).ceil() as usize).max(1);
    let mut drawn: Vec<usize> = useful.sample(random, wanted).copied().collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::{Binner, CandidateSoftmax, DatasetBuilder, ForestScratch};
    use crate::progress::Silent;

    /// Questions of four candidates with two features. The answer is drawn from a softmax over four times the first
    /// feature; the second tells nothing, and one value in ten of it is missing. With the mean of `-ln p(answer)`
    /// under the true law: the best possible loss.
    fn questions(count: usize, seed: u64) -> (Vec<f32>, Vec<f32>, f64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut rows, mut labels, mut best_loss) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..count {
            let first: [f32; 4] = std::array::from_fn(|_| random.random());
            let logits = first.map(|value| 4.0 * value);
            let log_total = crate::predict::log_sum_exp(&logits, 1.0);
            let probability = |candidate: usize| (f64::from(logits[candidate]) - log_total).exp();
            let mut left: f64 = random.random();
            let answer = (0..3).find(|&candidate| {
                left -= probability(candidate);
                left < 0.0
            });
            let answer = answer.unwrap_or(3);
            best_loss -= probability(answer).ln() / count as f64;
            for (candidate, &value) in first.iter().enumerate() {
                let other = if random.random_bool(0.1) { f32::NAN } else { random.random() };
                rows.extend([value, other]);
                labels.push(f32::from(u8::from(candidate == answer)));
            }
        }
        (rows, labels, best_loss)
    }

    fn dataset(rows: &[f32], labels: &[f32]) -> Dataset {
        let mut builder = DatasetBuilder::new(Binner::fit(rows, 2, 64));
        for (rows, labels) in rows.chunks(8).zip(labels.chunks(4)) {
            builder.push_group(rows, labels).unwrap();
        }
        builder.finish()
    }

    /// With the best possible loss on the validation questions.
    fn trained(config: &GbdtConfig, validate: bool) -> (Trained, f64) {
        let (rows, labels, _) = questions(2_000, 1);
        let data = dataset(&rows, &labels);
        let (later_rows, later_labels, best_loss) = questions(1_000, 2);
        let mut later = DatasetBuilder::new(data.binner.clone());
        for (rows, labels) in later_rows.chunks(8).zip(later_labels.chunks(4)) {
            later.push_group(rows, labels).unwrap();
        }
        let later = later.finish();
        (train(config, &CandidateSoftmax, &data, validate.then_some(&later), &Silent).unwrap(), best_loss)
    }

    #[test]
    fn comes_near_the_best_possible_loss_and_stops_there() {
        let config = GbdtConfig { feature_fraction: 1.0, learning_rate: 0.1, ..GbdtConfig::default() };
        let (trained, possible) = trained(&config, true);
        let best = trained.losses.iter().copied().fold(f64::INFINITY, f64::min);
        // Knowing nothing costs ln 4 = 1.386.
        assert!(best > possible && best < possible + 0.04, "{best}, best possible {possible}");
        assert_eq!(trained.losses[trained.forest.ensemble().trees.len() - 1], best, "the best round is kept");
        assert!(trained.losses.len() < config.trees, "and training stopped after it");
        let [useful, useless] = trained.forest.ensemble().importance()[..] else { panic!("two features") };
        assert!(useful.gain > 3.0 * useless.gain, "{useful:?} {useless:?}");
    }

    #[test]
    fn a_monotone_feature_never_lowers_the_score() {
        let free = GbdtConfig { trees: 60, early_stopping: 0, ..GbdtConfig::default() };
        let bound = GbdtConfig { monotone: vec![1, -1], ..free.clone() };
        let falls = |config: &GbdtConfig, feature: usize| {
            let forest = trained(config, false).0.forest;
            let rows: Vec<f32> = (0..1_000)
                .flat_map(|i| if feature == 0 { [i as f32 / 1e3, 0.4] } else { [0.6, i as f32 / 1e3] })
                .collect();
            let mut scores = vec![0.0; 1_000];
            forest.score(&rows, &mut ForestScratch::default(), &mut scores);
            scores.windows(2).filter(|pair| pair[1] < pair[0]).count()
        };
        assert!(falls(&free, 0) > 0, "noise makes free trees wavy");
        assert_eq!(falls(&bound, 0), 0);
        assert!(falls(&bound, 1) > 0, "bound to fall");
    }

    #[test]
    fn refuses_what_cannot_be_learned_from() {
        let (rows, labels, _) = questions(10, 1);
        let config = GbdtConfig::default();
        let error = |config: &GbdtConfig, labels: &[f32]| {
            train(config, &CandidateSoftmax, &dataset(&rows, labels), None, &Silent).unwrap_err().to_string()
        };
        let mut two_answers = labels.clone();
        two_answers[..2].fill(1.0);
        two_answers[2..4].fill(0.0);
        assert!(error(&config, &two_answers).starts_with("group 0: 2 of its 4 rows have label 1"));
        for (config, field) in [
            (GbdtConfig { trees: 0, ..config.clone() }, "trees"),
            (GbdtConfig { learning_rate: f64::NAN, ..config.clone() }, "learning_rate"),
            (GbdtConfig { feature_fraction: 1.5, ..config.clone() }, "feature_fraction"),
        ] {
            assert!(error(&config, &labels).starts_with(&format!("field `{field}`")), "{field}");
        }
        let empty = DatasetBuilder::new(Binner::fit(&rows, 2, 64)).finish();
        assert!(train(&config, &CandidateSoftmax, &empty, None, &Silent).is_err());
    }
}
