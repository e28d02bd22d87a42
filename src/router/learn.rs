//! A phone learns its user: trees over the ranker's features, grown of the user's own last questions, at night.
//!
//! ```text
//! replay buffer -> the last questions, asked again -> the shared models' log-probabilities, rows of features
//!               -> trees that learn what these leave over, stopped by the last fifth of the questions
//!               -> better on that fifth than the shared models, and than the trees before? -> grown again of all questions
//! ```
//!
//! Boosting that starts from another model's score ([`Dataset::with_initial_scores`]) adds to what the shared models know instead
//! of learning it again, so a short past costs nothing: no tree is then worth growing (Ling and others, "Model ensemble for
//! click prediction in Bing search ads", 2017, compare eight ways). What is kept has to be better on later questions by more than its
//! standard error. And a phone trusts what it keeps only as far as the answers from then on speak for it
//! ([`PersonalTrees`]).
//!
//! [`Person::learn`] does all of it; [`Person::training`] gives the job away instead, to another thread, while the phone goes on.

use std::ops::Range;

use crate::context::features::{self, SCHEMA};
use crate::context::{History, Task, questions};
use crate::data::{AppId, Event, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{
    Binner, CandidateSoftmax, Dataset, DatasetBuilder, Forest, ForestScratch, GbdtConfig, train,
};
use crate::predict::{Candidate, Predictor as _, log_sum_exp};
use crate::progress::Progress;
use crate::quantize::QuantizedTrees;

use super::answer::Answer;
use super::{Person, PersonalTrees, Router};

/// How a phone learns.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnSettings {
    /// The last events that are kept to learn from: what [`Person::keep_events`] is to be called with.
    pub events: usize,
    /// The last questions that are learned from; at least `least_questions`.
    pub questions: usize,
    /// With fewer questions, nothing is learned.
    pub least_questions: usize,
    /// Candidates of a question that are learned from: the most probable ones.
    pub candidates: usize,
    /// The share of the questions, the last ones, that decide when to stop and whether to keep what was learned; above 0, below 1.
    pub held_out: f64,
    /// The trees; `trees` is the most that are grown.
    pub gbdt: GbdtConfig,
    /// Threads that grow trees.
    pub threads: usize,
}

impl Default for LearnSettings {
    fn default() -> Self {
        let gbdt = GbdtConfig { trees: 400, learning_rate: 0.02, ..GbdtConfig::default() };
        Self {
            events: 20_000,
            questions: 2_000,
            least_questions: 100,
            candidates: 64,
            held_out: 0.2,
            gbdt,
            threads: 1,
        }
    }
}

impl LearnSettings {
    /// Refuses what cannot be learned by.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, rule: &str| {
            Err(Error::new(ErrorKind::Config, "not a setting to learn by").field(field).next_step(rule))
        };
        if self.least_questions < 10 {
            return wrong("least_questions", "choose at least 10");
        }
        if self.questions < self.least_questions {
            return wrong("questions", "choose at least least_questions");
        }
        if self.candidates < 2 {
            return wrong("candidates", "choose at least 2");
        }
        if !(self.held_out > 0.0 && self.held_out < 1.0) {
            return wrong("held_out", "choose above 0, below 1");
        }
        if self.threads == 0 {
            return wrong("threads", "choose at least 1");
        }
        self.gbdt.check()
    }
}

/// Tells when a night has passed, for who lives through a log: a phone learns at four in the morning of its user's clock.
#[derive(Debug, Clone, Default)]
pub struct Nights {
    /// The day of the event before, where days begin at the end of the night.
    day: Option<i64>,
}

impl Nights {
    /// When a night ends, in hours of the user's clock.
    // Source: by hand: few use their phone then.
    const END_HOUR: u8 = 4;

    /// Whether a night has passed between the event before and `event`. Before the first event, none has.
    pub fn passed_before(&mut self, event: &Event) -> bool {
        let day = event.local_day(Self::END_HOUR);
        self.day.replace(day).is_some_and(|before| before < day)
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LearnOutcome {
    /// There are fewer questions than [`LearnSettings::least_questions`].
    TooFewQuestions,
    /// Nothing was better than the shared models alone by more than its standard error: they answer as before.
    NoBetter,
    /// The trees of before were better on the questions since: they stay.
    Kept,
    /// New trees answer from now on.
    Learned,
}

/// What [`PersonTraining::run`] found.
#[derive(Debug, Clone)]
pub struct Learned {
    /// What became of it.
    pub outcome: LearnOutcome,
    /// Questions that were learned from, the held-out ones among them.
    pub questions: usize,
    /// Mean log loss of the held-out questions by the shared models, with what personalization adds; NaN where none was held out.
    pub shared_log_loss: f64,
    /// The same with trees of the questions before them.
    pub log_loss: f64,
    trees: Option<PersonalTrees>,
    until: Option<Timestamp>,
    /// Of the person who is learned.
    lineage: u64,
}

/// A phone's past, ready to be learned from on any thread.
#[derive(Debug, Clone)]
pub struct PersonTraining {
    task: Task,
    start: History,
    events: Vec<Event>,
    before: Option<PersonalTrees>,
    /// The first of the events that the trees of before did not learn from.
    unseen_from: usize,
    lineage: u64,
}

impl Person {
    /// What there is to learn from, to be run on any thread; `None` where [`keep_events`](Self::keep_events) was never called.
    pub fn training(&self, task: Task) -> Option<PersonTraining> {
        let buffer = self.replay_buffer()?;
        let events: Vec<Event> = buffer.events().copied().collect();
        let unseen_from = match self.learned_until() {
            Some(until) => events.partition_point(|event| event.at <= until),
            None => 0,
        };
        let before = self.personalization().trees().cloned();
        let lineage = self.lineage();
        Some(PersonTraining { task, start: buffer.start().clone(), events, before, unseen_from, lineage })
    }

    /// Takes over what was learned of this person.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`]: it was learned of another person, of this one before [`Person::forget_personalization`], or
    /// before this one was read from a file. Nothing is taken over then.
    pub fn adopt(&mut self, learned: Learned) -> Result<()> {
        if learned.lineage != self.lineage() {
            let message = "this was learned of another person, or before this one was forgotten or restored";
            return Err(Error::new(ErrorKind::Cancelled, message).next_step("learn again"));
        }
        if let Some(trees) = learned.trees {
            self.set_trees(trees, learned.until);
        }
        Ok(())
    }

    /// Learns from what this phone remembers, on the caller's thread: [`training`](Self::training), [`PersonTraining::run`],
    /// [`adopt`](Self::adopt). After an error all is as it was.
    ///
    /// # Errors
    /// [`keep_events`](Self::keep_events) was never called, the settings are impossible, or `progress` called it off.
    pub fn learn(
        &mut self,
        router: &Router,
        task: Task,
        settings: &LearnSettings,
        progress: &dyn Progress,
    ) -> Result<Learned> {
        let training = self.training(task).ok_or_else(|| {
            Error::new(ErrorKind::Config, "this person keeps no events to learn from")
                .next_step("call `Person::keep_events` first")
        })?;
        let learned = training.run(router, settings, progress)?;
        self.adopt(learned.clone())?;
        Ok(learned)
    }
}

impl PersonTraining {
    /// Questions among the events kept.
    pub fn questions(&self) -> usize {
        questions(self.task, &self.events).len()
    }

    /// Learns. The router is the one that answers on this phone.
    ///
    /// # Errors
    /// The settings are impossible, or `progress` called it off ([`ErrorKind::Cancelled`]).
    pub fn run(&self, router: &Router, settings: &LearnSettings, progress: &dyn Progress) -> Result<Learned> {
        settings.check()?;
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build().map_err(|source| {
                Error::new(ErrorKind::Device, format!("no threads can be started: {source}")).source(source)
            })?;
        pool.install(|| self.run_here(router, settings, progress))
    }

    fn run_here(
        &self,
        router: &Router,
        settings: &LearnSettings,
        progress: &dyn Progress,
    ) -> Result<Learned> {
        let asked = self.ask_again(router, settings, progress)?;
        let questions = asked.questions.len();
        if questions < settings.least_questions {
            return Ok(Learned {
                outcome: LearnOutcome::TooFewQuestions,
                questions,
                shared_log_loss: f64::NAN,
                log_loss: f64::NAN,
                trees: None,
                until: None,
                lineage: self.lineage,
            });
        }
        let parted =
            questions - ((questions as f64 * settings.held_out).ceil() as usize).clamp(1, questions - 1);
        let binner = Binner::fit(&asked.rows, SCHEMA.len(), settings.gbdt.max_bins)
            .with_names(SCHEMA.iter().map(|feature| feature.name))?;
        let earlier = asked.dataset(&binner, 0..parted)?;
        let later = asked.dataset(&binner, parted..questions)?;
        let early = train(&settings.gbdt, &CandidateSoftmax, &earlier, Some(&later), progress)?;
        let rounds = early.forest.ensemble().trees.len();
        let gains = asked.gains(&early.forest, parted..questions);
        let shared: f64 = (parted..questions).map(|number| asked.loss(number, None)).sum();
        let held_out = (questions - parted) as f64;
        let shared_log_loss = shared / held_out;
        let log_loss = shared_log_loss - gains.iter().sum::<f64>() / held_out;
        let until = self.events.last().map(|event| event.at);
        let lineage = self.lineage;
        let found =
            |outcome, trees| Learned { outcome, questions, shared_log_loss, log_loss, trees, until, lineage };
        if !is_better(gains.iter().copied()) {
            return Ok(found(LearnOutcome::NoBetter, None));
        }
        if let Some(before) = &self.before {
            // What neither has learned from.
            let first =
                asked.questions.partition_point(|question| question.asked_at < self.unseen_from).max(parted);
            let of_before = asked.gains(before.forest(), first..questions);
            let lost = gains[first - parted..].iter().zip(&of_before).map(|(new, old)| old - new);
            if is_better(lost) {
                return Ok(found(LearnOutcome::Kept, None));
            }
        }
        let all = earlier.append(later)?;
        let again = GbdtConfig { trees: rounds, early_stopping: 0, ..settings.gbdt.clone() };
        let trained = train(&again, &CandidateSoftmax, &all, None, progress)?;
        let trees = PersonalTrees::new(QuantizedTrees::new(trained.forest.ensemble())?)?;
        Ok(found(LearnOutcome::Learned, Some(trees.after(self.before.as_ref()))))
    }

    /// Lives through the events again, with the shared models and personalization, but without the trees of before.
    fn ask_again(&self, router: &Router, settings: &LearnSettings, progress: &dyn Progress) -> Result<Asked> {
        let questions = questions(self.task, &self.events);
        let skipped = questions.len().saturating_sub(settings.questions);
        progress.start("asking past questions again", questions.len() as u64);
        let mut person = Person::from_history(self.start.clone());
        let (mut scratch, mut answer) = (router.new_scratch(), Answer::default());
        let (mut lived, mut asked, mut matrix) = (0, Asked::default(), Vec::new());
        for (number, question) in questions.iter().enumerate() {
            if progress.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "learning was called off"));
            }
            self.events[lived..=question.asked_at].iter().for_each(|event| person.observe(event));
            lived = question.asked_at + 1;
            let now = self.events[question.asked_at].at;
            person.ask(router, self.task, now, &mut scratch, &mut answer);
            progress.advance(1);
            if number < skipped {
                continue;
            }
            let context = person.history().context_at(now, self.task);
            features::fill(&context, &mut matrix);
            let row = |app: AppId| {
                let place = context.candidates().iter().position(|&candidate| candidate == app);
                place.map(|place| &matrix[place * SCHEMA.len()..][..SCHEMA.len()])
            };
            asked.push(question.asked_at, question.answer, answer.first(settings.candidates), row);
        }
        progress.finish();
        Ok(asked)
    }
}

/// A past question, asked again: where its candidates are in [`Asked`].
#[derive(Debug, Clone)]
struct AskedQuestion {
    /// Its position among the events.
    asked_at: usize,
    rows: Range<usize>,
    /// The position of the answer in `rows`.
    answer: usize,
}

/// Past questions, asked again, as far as their answers were among the candidates.
#[derive(Debug, Clone, Default)]
struct Asked {
    questions: Vec<AskedQuestion>,
    /// `[rows, features]`.
    rows: Vec<f32>,
    /// `[rows]`: log-probabilities by the shared models and personalization.
    shared: Vec<f32>,
}

impl Asked {
    fn push<'a>(
        &mut self,
        asked_at: usize,
        answer: AppId,
        candidates: &[Candidate],
        row: impl Fn(AppId) -> Option<&'a [f32]>,
    ) {
        let Some(place) = candidates.iter().position(|candidate| candidate.app == answer) else { return };
        let first = self.shared.len();
        for candidate in candidates {
            let Some(row) = row(candidate.app) else { continue };
            self.rows.extend_from_slice(row);
            self.shared.push(candidate.probability.max(LEAST_PROBABILITY).ln() as f32);
        }
        self.questions.push(AskedQuestion { asked_at, rows: first..self.shared.len(), answer: place });
    }

    fn features(&self, rows: &Range<usize>) -> &[f32] {
        &self.rows[rows.start * SCHEMA.len()..rows.end * SCHEMA.len()]
    }

    /// The questions of these numbers, as groups whose scores start from those of the shared models.
    fn dataset(&self, binner: &Binner, numbers: Range<usize>) -> Result<Dataset> {
        let questions = &self.questions[numbers];
        let mut builder = DatasetBuilder::new(binner.clone());
        let mut scores = Vec::new();
        for AskedQuestion { rows, answer, .. } in questions {
            let mut labels = vec![0.0; rows.len()];
            labels[*answer] = 1.0;
            builder.push_group(self.features(rows), &labels)?;
            scores.extend(self.shared[rows.clone()].iter().map(|&score| f64::from(score)));
        }
        builder.finish().with_initial_scores(scores)
    }

    /// The log loss of a question, given that one of its candidates is opened: by the shared models, or with `trees` added.
    fn loss(&self, number: usize, trees: Option<&Forest>) -> f64 {
        let AskedQuestion { rows, answer, .. } = &self.questions[number];
        let mut logits = self.shared[rows.clone()].to_vec();
        if let Some(trees) = trees {
            let mut scores = vec![0.0; rows.len()];
            trees.score(self.features(rows), &mut ForestScratch::default(), &mut scores);
            logits.iter_mut().zip(scores).for_each(|(logit, score)| *logit += score as f32);
        }
        log_sum_exp(&logits, 1.0) - f64::from(logits[*answer])
    }

    /// By how much the log loss of each of these questions is less with `trees`.
    fn gains(&self, trees: &Forest, numbers: Range<usize>) -> Vec<f64> {
        numbers.map(|number| self.loss(number, None) - self.loss(number, Some(trees))).collect()
    }
}

/// Whether the mean of these gains is above zero by more than its standard error.
fn is_better(gains: impl ExactSizeIterator<Item = f64> + Clone) -> bool {
    let count = gains.len() as f64;
    let mean = gains.clone().sum::<f64>() / count;
    let variance = gains.map(|gain| (gain - mean).powi(2)).sum::<f64>() / (count - 1.0);
    mean > (variance / count).sqrt()
}

/// No logarithm of less is taken.
// Source: units.
const LEAST_PROBABILITY: f64 = 1e-9;
