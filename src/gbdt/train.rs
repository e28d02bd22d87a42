//! Boosting: trees are added, each a step down the gradient, until later questions stop improving.

use super::config::{GbdtConfig, Precision};
use super::dataset::Dataset;
use super::ensemble::Ensemble;
use super::forest::Forest;
use super::grow::{Ground, GrownTree, TreeGradients, grow};
use super::histogram::{Full, Numbers, Rounded, Tables};
use super::layout::BlockLayout;
use super::objective::{Gradient, Objective, all_gradients, mean_loss};
use super::rounding::{self, Packed, Scale};
use super::sample::{RowSample, sample_columns, sample_rows, useful_columns};
use super::tree::Tree;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// What training gave.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The trees up to the best round.
    pub forest: Forest,
    /// Mean loss of the validation set after each round; nothing without one.
    pub losses: Vec<f64>,
}

/// Trains on `data`; with `validation`, stops when its loss no longer falls and keeps the best round.
///
/// The result depends on the data, the configuration and the seed alone, not on the number of threads.
///
/// # Errors
/// A setting that cannot be trained with, no rows, labels that the objective refuses, groups that it needs and that
/// are missing, or no column that tells rows apart. [`ErrorKind::Cancelled`]: `progress` called it off.
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
    let mut ensemble = match &data.start {
        Some((model, _)) => model.clone(),
        None => Ensemble {
            objective: objective.name().to_owned(),
            features: data.binner.names().to_vec(),
            base: match data.initial_scores[..] {
                // As an f32, like the leaf values, so that other engines read the same number.
                [] => objective.base(data).into_iter().map(|base| f64::from(base as f32)).collect(),
                _ => vec![0.0; objective.outputs()],
            },
            trees: Vec::new(),
        },
    };
    let scores = start_scores(data, &ensemble, objective)?;
    let validation = match validation {
        Some(data) => Some(Validation { data, scores: start_scores(data, &ensemble, objective)? }),
        None => None,
    };
    let boosting = Boosting { config, objective, data, scores, validation, progress };
    let (trees, losses) = match config.precision {
        Precision::Quantized => boosting.run::<Rounded>(),
        Precision::Full => boosting.run::<Full>(),
    };
    if progress.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled, "training was called off"));
    }
    ensemble.trees.extend(trees);
    Ok(Trained { forest: Forest::new(ensemble)?, losses })
}

/// A training under way.
struct Boosting<'a> {
    config: &'a GbdtConfig,
    objective: &'a dyn Objective,
    data: &'a Dataset,
    /// Row-major `[rows, outputs]`.
    scores: Vec<f32>,
    validation: Option<Validation<'a>>,
    progress: &'a dyn Progress,
}

struct Validation<'a> {
    data: &'a Dataset,
    scores: Vec<f32>,
}

impl Boosting<'_> {
    /// The trees up to the best round, and the validation losses round by round.
    fn run<N: Prepare>(mut self) -> (Vec<Tree>, Vec<f64>) {
        let Self { config, objective, data, progress, .. } = self;
        let outputs = objective.outputs();
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        let mut gradients = vec![Gradient::default(); data.rows() * outputs];
        let mut buffers: Vec<Buffers<N>> = (0..outputs).map(|_| Buffers::default()).collect();
        let useful = useful_columns(data);
        let all_columns = data.binner.columns();
        let mut ground = None;
        let mut trees = Vec::new();
        let mut losses = Vec::new();
        let mut best_round = 0;
        progress.start("growing trees", config.trees as u64);
        for round in 0..config.trees {
            if progress.is_cancelled() {
                break;
            }
            all_gradients(objective, data, &self.scores, random.random(), &mut gradients);
            let sample = sample_rows(data, config, &gradients, &mut random);
            let seed: u64 = random.random();
            let columns: Vec<Vec<bool>> = (0..outputs)
                .map(|_| sample_columns(&useful, all_columns, config.feature_fraction, &mut random))
                .collect();
            let scales: Vec<Scale> = buffers
                .iter_mut()
                .enumerate()
                .map(|(output, buffers)| {
                    buffers.fill(&gradients, output, outputs, &sample, seed.wrapping_add(output as u64))
                })
                .collect();
            let ground = ground.get_or_insert_with(|| {
                let tables = Tables::new();
                let layout = BlockLayout::measured(data, &useful, buffers[0].summed(&gradients), &tables);
                Ground { data, layout, config, tables }
            });
            let grow_one = |output: usize| {
                let exact = buffers[output].exact(&gradients);
                let summed = buffers[output].summed(&gradients);
                let gradients = TreeGradients { summed, scale: scales[output], exact };
                grow::<N>(ground, sample.rows.clone(), &columns[output], &gradients)
            };
            // The classes of a round do not see each other's trees.
            let grown: Vec<GrownTree> = if outputs == 1 {
                vec![grow_one(0)]
            } else {
                (0..outputs).into_par_iter().map(grow_one).collect()
            };
            for (output, grown) in grown.into_iter().enumerate() {
                grown.add_to_own(data, &mut self.scores, output, outputs);
                if let Some(validation) = &mut self.validation {
                    grown.add_to(validation.data, &mut validation.scores, output, outputs);
                }
                trees.push(grown.tree);
            }
            progress.advance(1);
            if let Some(validation) = &self.validation {
                losses.push(mean_loss(objective, validation.data, &validation.scores));
                if losses[round].total_cmp(&losses[best_round]).is_lt() {
                    best_round = round;
                }
                if config.early_stopping > 0 && round - best_round >= config.early_stopping {
                    break;
                }
            }
        }
        progress.finish();
        if self.validation.is_some() {
            trees.truncate((best_round + 1) * outputs);
        }
        (trees, losses)
    }
}

/// The gradients of one output, where they are not those of the round as they stand.
struct Buffers<N: Numbers> {
    exact: Vec<Gradient>,
    summed: Vec<N::Row>,
}

impl<N: Numbers> Default for Buffers<N> {
    fn default() -> Self {
        Self { exact: Vec::new(), summed: Vec::new() }
    }
}

impl<N: Prepare> Buffers<N> {
    fn fill(
        &mut self,
        gradients: &[Gradient],
        output: usize,
        outputs: usize,
        sample: &RowSample,
        seed: u64,
    ) -> Scale {
        if outputs > 1 || !sample.factors.is_empty() {
            self.exact.clear();
            self.exact.extend(gradients.iter().skip(output).step_by(outputs));
            for (gradient, &factor) in self.exact.iter_mut().zip(&sample.factors) {
                *gradient = gradient.times(factor);
            }
        }
        let exact = if self.exact.is_empty() { gradients } else { &self.exact };
        N::prepare(exact, seed, &mut self.summed)
    }

    fn exact<'a>(&'a self, gradients: &'a [Gradient]) -> &'a [Gradient] {
        if self.exact.is_empty() { gradients } else { &self.exact }
    }

    fn summed<'a>(&'a self, gradients: &'a [Gradient]) -> &'a [N::Row] {
        N::prepared(&self.summed, self.exact(gradients))
    }
}

/// How gradients become what is summed.
trait Prepare: Numbers {
    fn prepare(exact: &[Gradient], seed: u64, summed: &mut Vec<Self::Row>) -> Scale;
    fn prepared<'a>(summed: &'a [Self::Row], exact: &'a [Gradient]) -> &'a [Self::Row];
}

impl Prepare for Rounded {
    fn prepare(exact: &[Gradient], seed: u64, summed: &mut Vec<Packed>) -> Scale {
        rounding::round(exact, seed, summed)
    }

    fn prepared<'a>(summed: &'a [Packed], _: &'a [Gradient]) -> &'a [Packed] {
        summed
    }
}

impl Prepare for Full {
    fn prepare(_: &[Gradient], _: u64, _: &mut Vec<Gradient>) -> Scale {
        Scale { g: 1.0, h: 1.0 }
    }

    fn prepared<'a>(_: &'a [Gradient], exact: &'a [Gradient]) -> &'a [Gradient] {
        exact
    }
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
fn start_scores(data: &Dataset, ensemble: &Ensemble, objective: &dyn Objective) -> Result<Vec<f32>> {
    if ensemble.outputs() != objective.outputs() {
        let (theirs, ours) = (ensemble.outputs(), objective.outputs());
        let message = format!("the model to go on from has {theirs} outputs, the objective {ours}");
        return Err(Error::new(ErrorKind::Config, message).next_step("choose the objective of that model"));
    }
    let mut scores: Vec<f32> = match &data.start {
        Some((model, scores)) if model == ensemble => scores.clone(),
        None if ensemble.trees.is_empty() => {
            let base = ensemble.base.iter().map(|&base| base as f32);
            base.cycle().take(data.rows() * ensemble.outputs()).collect()
        }
        _ => {
            let message = "training and validation rows start from different models";
            return Err(Error::new(ErrorKind::Config, message)
                .next_step("build both with `DatasetBuilder::continuing` and the same model"));
        }
    };
    if ![0, scores.len()].contains(&data.initial_scores.len()) {
        let (given, outputs) = (data.initial_scores.len() / data.rows().max(1), ensemble.outputs());
        let message = format!("{given} initial scores a row, but the objective has {outputs} outputs");
        return Err(Error::new(ErrorKind::Data, message).next_step("give each row a score for each output"));
    }
    for (score, initial) in scores.iter_mut().zip(&data.initial_scores) {
        *score = (f64::from(*score) + initial) as f32;
    }
    Ok(scores)
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
