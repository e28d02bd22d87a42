//! The training loop: batches in, the best weights out. It knows nothing of phones and nothing of devices.
//!
//! ```text
//! data loader --(another thread)--> batch -> engine: losses, gradient -> clip -> AdamW -> weights
//!     every few steps: a line of metrics; now and then: a validation, a checkpoint
//! ```
//!
//! A run is a pure function of its configuration, its data and the weights that it starts from, as far as the engine
//! is one: killed and resumed, it comes to the same weights, bit for bit.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Origin, Standing, Tally};
use super::engine::{Engine, TrainingPass};
use super::metrics::Metrics;
use super::optimizer::clip;
use super::run::{MetricsFile, RunFolder};
use super::schedule::TrainingConfig;
use super::validate::{Validation, validate};
use super::weights::Weights;
use crate::error::{Error, ErrorKind, Result};
use crate::network::Batch;
use crate::progress::Progress;

/// What is learned from.
pub trait DataLoader: Sync {
    /// The batch of `step`. It depends on `seed` and `step` alone, or a resumed run would not be the same run. Called
    /// on another thread, while the engine works on earlier batches.
    fn batch(&self, seed: u64, step: u64) -> Batch;

    /// Questions that are never learned from, later in time. Without any, training runs to its last step and the last
    /// weights count as the best.
    fn validation(&self) -> &[Batch];
}

/// What came of training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedTransformer {
    /// The weights of the lowest validation loss; the last ones without validation.
    pub weights: Weights,
    /// Steps after which they were reached.
    pub best_step: u64,
    /// Their figures.
    pub validation: Option<Validation>,
    /// Steps that were done in all.
    pub steps: u64,
    /// One entry for each line of `metrics.jsonl`.
    pub metrics: Vec<Metrics>,
}

/// Batches that are made before the engine asks for them.
const BATCHES_AHEAD: usize = 2;

/// How much of the mean of recent losses each step keeps.
const RECENT: f64 = 0.9;

/// Trains from `start`, or resumes the run that stands in `folder`. A run that had come to its end gives its result at
/// once.
///
/// # Errors
/// The configuration is impossible, the data do not fit the shape, the engine fails, a file cannot be written, or
/// the folder holds another run. [`ErrorKind::Diverged`] where the loss grew beyond all bounds: the folder then keeps
/// its last checkpoint and the best weights ([`RunFolder::best_weights`]).
pub fn train(
    config: &TrainingConfig,
    engine: &mut dyn Engine,
    loader: &dyn DataLoader,
    start: Weights,
    folder: Option<&RunFolder>,
    progress: &dyn Progress,
) -> Result<TrainedTransformer> {
    config.check()?;
    let first = loader.batch(config.seed, 0);
    let checked: Vec<&Batch> = [&first].into_iter().chain(loader.validation()).collect();
    checked.iter().try_for_each(|batch| batch.check(start.config()))?;
    let origin = Origin::new(config, &start, &checked);
    let mut run = Run::open(config, loader.validation(), origin, start, folder, progress)?;
    let first_step = run.state.standing.step;
    progress.start(&format!("training on {}", engine.name()), config.steps);
    progress.advance(first_step);
    let result = std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        scope.spawn(move || {
            for step in first_step..config.steps {
                // A closed channel means that training is over.
                if sender.send(loader.batch(config.seed, step)).is_err() {
                    break;
                }
            }
        });
        run.all_steps(engine, &batches)
    });
    progress.finish();
    result?;
    Ok(run.into_result())
}

struct Run<'a> {
    config: &'a TrainingConfig,
    validation: &'a [Batch],
    origin: Origin,
    folder: Option<&'a RunFolder>,
    progress: &'a dyn Progress,
    state: Checkpoint,
    metrics: Vec<Metrics>,
    metrics_file: Option<MetricsFile>,
    clock: Clock,
}

/// What depends on the machine's speed and so is never part of what is learned.
struct Clock {
    session: Instant,
    first_step: u64,
    secs_before: f64,
    /// Since the last line of metrics.
    learning: Duration,
    tokens: usize,
}

impl<'a> Run<'a> {
    fn open(
        config: &'a TrainingConfig,
        validation: &'a [Batch],
        origin: Origin,
        start: Weights,
        folder: Option<&'a RunFolder>,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let kept = folder.map(|folder| folder.load(&origin)).transpose()?.flatten();
        let resumed_at = kept.as_ref().map(|kept| kept.standing.step);
        let state = kept.unwrap_or_else(|| Checkpoint::start(start));
        let (metrics_file, metrics) = match folder {
            Some(folder) => {
                let (file, metrics) = folder.resume_metrics(resumed_at)?;
                (Some(file), metrics)
            }
            None => (None, Vec::new()),
        };
        let Standing { step, secs, .. } = state.standing;
        let clock = Clock {
            session: Instant::now(),
            first_step: step,
            secs_before: secs,
            learning: Duration::ZERO,
            tokens: 0,
        };
        Ok(Self { config, validation, origin, folder, progress, state, metrics, metrics_file, clock })
    }

    fn all_steps(&mut self, engine: &mut dyn Engine, batches: &Receiver<Batch>) -> Result<()> {
        if self.metrics.is_empty() && self.state.standing.step == 0 {
            self.look_up(engine, true)?;
        }
        let mut gradient = vec![0.0; self.state.weights.values.len()];
        while self.state.standing.step < self.config.steps && !self.has_lost_patience() {
            let waiting = Instant::now();
            let ended = |_| Error::new(ErrorKind::Data, "the data ended before the last step");
            let batch = batches.recv().map_err(ended)?;
            batch.check(self.state.weights.config())?;
            self.step(engine, &batch, &mut gradient)?;
            self.clock.learning += waiting.elapsed();
            self.clock.tokens += batch.tokens();
            self.progress.advance(1);
            let step = self.state.standing.step;
            let is_last = step == self.config.steps;
            let is_validated = is_last || step.is_multiple_of(self.config.validate_every);
            if is_validated || step.is_multiple_of(self.config.report_every) {
                self.look_up(engine, is_validated)?;
            }
            let is_better = self.state.standing.best.is_some_and(|(best, _)| best == step);
            if is_last
                || is_better
                || self.has_lost_patience()
                || step.is_multiple_of(self.config.checkpoint_every)
            {
                self.save()?;
            }
        }
        Ok(())
    }

    fn has_lost_patience(&self) -> bool {
        self.config.patience > 0 && self.state.standing.without_progress >= self.config.patience
    }

    /// One batch, one update.
    fn step(&mut self, engine: &mut dyn Engine, batch: &Batch, gradient: &mut [f32]) -> Result<()> {
        let step = self.state.standing.step;
        let pass = TrainingPass {
            next_weight: self.config.next_weight,
            dropout: self.config.dropout,
            seed: scattered(self.config.seed, step),
        };
        let losses = engine.gradient(&self.state.weights, batch, pass, gradient)?;
        let norm = clip(gradient, self.config.clip_norm);
        let loss = losses.total(self.config.next_weight);
        self.check_growth(loss, norm)?;
        let rate = self.config.learning_rate_at(step);
        self.state.optimizer.update(&mut self.state.weights.values, gradient, self.config, rate);
        let standing = &mut self.state.standing;
        standing.step += 1;
        standing.since_line.steps += 1;
        standing.since_line.losses += losses;
        standing.since_line.gradient_norm += norm;
        Ok(())
    }

    /// Stops a run that has gone astray: numbers that are none, or recent losses far above the first.
    fn check_growth(&mut self, loss: f64, norm: f64) -> Result<()> {
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(self.diverged(&format!("the loss is {loss} and the gradient's norm {norm}")));
        }
        let standing = &mut self.state.standing;
        let first = *standing.first_loss.get_or_insert(loss);
        let recent = RECENT * standing.recent_loss.unwrap_or(loss) + (1.0 - RECENT) * loss;
        standing.recent_loss = Some(recent);
        // Three nats: a run that begins near nothing may have hard batches.
        if recent > 2.0 * first + 3.0 {
            return Err(self.diverged(&format!("a loss of {recent:.3} after one of {first:.3} at the start")));
        }
        Ok(())
    }

    fn diverged(&self, what: &str) -> Error {
        let mut message = format!("training diverged at step {}: {what}", self.state.standing.step);
        if let (Some(folder), Some((step, best))) = (self.folder, &self.state.standing.best) {
            let folder = folder.path().display();
            message += &format!(
                "; the best weights, of step {step} with a loss of {:.3}, and the last good checkpoint are kept in {folder}",
                best.loss
            );
        }
        let rate = self.config.learning_rate;
        Error::new(ErrorKind::Diverged, message).next_step(format!(
            "train again in another folder with a learning rate below {rate}, {} say",
            rate / 4.0
        ))
    }

    /// Tells how it goes: a line of metrics, with a validation where it is time for one.
    fn look_up(&mut self, engine: &mut dyn Engine, is_validated: bool) -> Result<()> {
        let validation = if is_validated { self.validate(engine)? } else { None };
        let standing = &mut self.state.standing;
        let tally = std::mem::take(&mut standing.since_line);
        standing.secs = self.clock.secs_before + self.clock.session.elapsed().as_secs_f64();
        let learning = std::mem::take(&mut self.clock.learning).as_secs_f64();
        let tokens = std::mem::take(&mut self.clock.tokens);
        let Tally { losses, steps, gradient_norm } = tally;
        let per = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
        let line = Metrics {
            step: standing.step,
            loss: (steps > 0).then(|| losses.total(self.config.next_weight)),
            question_loss: per(losses.question, losses.questions),
            next_loss: per(losses.next, losses.next_tokens),
            validation_loss: validation.map(|validation| validation.loss),
            validation_hr3: validation.map(|validation| validation.hr3),
            learning_rate: self.config.learning_rate_at(standing.step.saturating_sub(1)),
            gradient_norm: per(gradient_norm, steps as usize),
            tokens_per_s: (learning > 0.0).then(|| tokens as f64 / learning),
            secs: standing.secs,
        };
        if let Some(file) = &mut self.metrics_file {
            file.append(&line)?;
        }
        self.progress.note(&self.describe(&line));
        self.metrics.push(line);
        match self.folder {
            Some(folder) if is_validated => folder.draw(&self.metrics),
            _ => Ok(()),
        }
    }

    fn validate(&mut self, engine: &mut dyn Engine) -> Result<Option<Validation>> {
        let Some(validation) = validate(engine, &self.state.weights, self.validation)? else {
            return Ok(None);
        };
        if !validation.loss.is_finite() {
            return Err(self.diverged(&format!("the validation loss is {}", validation.loss)));
        }
        let standing = &mut self.state.standing;
        if standing.best.is_none_or(|(_, best)| validation.loss < best.loss) {
            standing.best = Some((standing.step, validation));
            standing.without_progress = 0;
            self.state.best = Some(self.state.weights.values.clone());
        } else {
            standing.without_progress += 1;
        }
        Ok(Some(validation))
    }

    /// The line as a person reads it.
    fn describe(&self, line: &Metrics) -> String {
        let mut parts = vec![format!("step {} of {}", line.step, self.config.steps)];
        parts.extend(line.loss.map(|loss| format!("loss {loss:.3}")));
        // Of the latest validation, also on lines without one.
        let mut latest_first = [line].into_iter().chain(self.metrics.iter().rev());
        let validated = latest_first.find(|line| line.validation_loss.is_some());
        parts.extend(validated.and_then(|line| {
            Some(format!("validation {:.3}, HR@3 {:.3}", line.validation_loss?, line.validation_hr3?))
        }));
        parts.extend(line.tokens_per_s.map(|tokens| format!("{:.1}k tokens/s", tokens / 1e3)));
        let done = line.step - self.clock.first_step;
        if done > 0 {
            let secs = self.clock.session.elapsed().as_secs_f64() / done as f64;
            parts.push(format!("{} left", duration(secs * (self.config.steps - line.step) as f64)));
        }
        parts.join(", ")
    }

    fn save(&mut self) -> Result<()> {
        let Some(folder) = self.folder else { return Ok(()) };
        if self.state.weights.values.iter().any(|value| !value.is_finite()) {
            return Err(self.diverged("a weight is not a finite number"));
        }
        if let Some(file) = &self.metrics_file {
            file.sync()?;
        }
        self.state.standing.secs = self.clock.secs_before + self.clock.session.elapsed().as_secs_f64();
        self.state.save(&folder.checkpoint(), &self.origin)
    }

    fn into_result(self) -> TrainedTransformer {
        let Checkpoint { standing, mut weights, best, .. } = self.state;
        if let Some(best) = best {
            weights.values = best;
        }
        TrainedTransformer {
            weights,
            best_step: standing.best.map_or(standing.step, |(step, _)| step),
            validation: standing.best.map(|(_, validation)| validation),
            steps: standing.step,
            metrics: self.metrics,
        }
    }
}

/// A seed of its own for each step (the finaliser of SplitMix64).
fn scattered(seed: u64, step: u64) -> u64 {
    let mut bits = seed.wrapping_add(step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// `secs` as a person says it.
fn duration(secs: f64) -> String {
    match secs {
        secs if secs < 90.0 => format!("{secs:.0} s"),
        secs if secs < 5_400.0 => format!("{:.0} min", secs / 60.0),
        secs => format!("{:.1} h", secs / 3_600.0),
    }
}
