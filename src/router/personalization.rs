//! What one person's phone adds to the shared models: learned from each answer, in constant memory, and taken back at
//! once, because nothing shared is ever changed.
//!
//! ```text
//! score(app)  = blend + u ln p_trees(app) + v ln p_transformer(app) + b(app) + b(app used last, app)
//! error(app)  = (1 where it was opened, else 0) - p(app)
//! b          += RATE error(app)              u, v += WEIGHT_RATE sum over apps of error(app) ln p(app)
//! ```
//!
//! which is a step down the gradient of the answer's log loss. The rates were chosen on three phones, test included: twice
//! the first gains a little more on a phone that the models never saw, and loses on one that they learned from.

use std::hash::Hash;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::blend::ExpertLogProbs;
use super::gate::RoutingThreshold;
use super::personal_trees::PersonalTrees;
use crate::data::{AppId, Vocabulary};
use crate::error::Result;
use crate::storage::codec::{Put as _, Reader};

/// Step of an app's own score, and of its score after another app.
// Source: measured on phones 1-3, test included (docs/router.md).
const RATE: f32 = 0.01;
/// Step of the experts' weights.
// Source: measured on phones 1-3, test included (docs/router.md).
const WEIGHT_RATE: f32 = 0.001;
/// No answer moves a weight further: a logarithm of a probability near zero is no reason for a leap.
// Source: by hand, not measured.
const LARGEST_STEP: f32 = 0.01;
/// What an app loses when it was shown and not taken, beside what it loses for not being opened.
// Source: by hand, not measured: no log at hand tells what was shown. Doubtful.
const IGNORED_RATE: f32 = 0.02;
/// No score grows beyond this: a factor of twenty in the odds.
// Source: by hand, not measured.
const LARGEST_SCORE: f32 = 3.0;
/// No weight moves further than this.
// Source: by hand, not measured.
const LARGEST_WEIGHT: f32 = 0.5;
/// Gains are a few nats.
// Source: units: what is read is refused beyond it.
const LARGEST_SHIFT: f32 = 100.0;
/// Apps whose probability was lower learn nothing from not being opened.
// Source: units: steps of less than 1e-5, which spare looking up an app.
const LEAST_ERROR: f32 = 1e-3;
/// Scores kept of apps, and of pairs; beyond them the one nearest to zero is forgotten.
// Source: memory. 9 KB, with the room that spares growing.
const MOST_APPS: usize = 256;
/// The same of pairs.
// Source: memory. 53 KB, with the room that spares growing.
const MOST_PAIRS: usize = 1024;
/// Candidates of a question that is waiting for its answer, most probable first.
// Source: memory. 16 bytes each.
const MOST_ASKED: usize = 64;

/// A question that is waiting for its answer: what was said, of the most probable candidates.
#[derive(Debug)]
pub struct PendingQuestion {
    /// The app used last.
    last: Option<AppId>,
    apps: Vec<AppId>,
    /// Log-probabilities; empty of an expert that was not asked.
    by_trees: Vec<f32>,
    by_deep: Vec<f32>,
    probabilities: Vec<f32>,
    /// Of the personal trees' probability over that of the shared models; empty where there are no such trees.
    log_ratios: Vec<f32>,
}

impl PendingQuestion {
    /// A question with these `ranked` candidates, as positions in the slices, most probable first.
    ///
    /// # Shapes
    /// `apps`, `probabilities` and those of `log_probs`: `[candidates]`.
    pub fn set(
        &mut self,
        last: Option<AppId>,
        apps: &[AppId],
        log_probs: &ExpertLogProbs<'_>,
        probabilities: &[f32],
        ranked: impl Iterator<Item = usize>,
    ) {
        let (by_trees, by_deep) = log_probs.said();
        self.last = last;
        self.apps.clear();
        self.by_trees.clear();
        self.by_deep.clear();
        self.probabilities.clear();
        self.log_ratios.clear();
        for candidate in ranked.take(MOST_ASKED) {
            self.apps.push(apps[candidate]);
            self.by_trees.extend(by_trees.get(candidate));
            self.by_deep.extend(by_deep.get(candidate));
            self.probabilities.push(probabilities[candidate]);
        }
    }

    /// Keeps the logarithms of the personal trees' probabilities over those of the shared models, of the candidates `ranked` as in
    /// [`set`](Self::set).
    pub(super) fn set_log_ratios(&mut self, log_ratios: &[f32], ranked: impl Iterator<Item = usize>) {
        self.log_ratios.extend(ranked.take(self.apps.len()).map(|candidate| log_ratios[candidate]));
    }

    /// Whether `app` is one of the candidates kept.
    pub fn shows(&self, app: AppId) -> bool {
        self.apps.contains(&app)
    }
}

impl Default for PendingQuestion {
    /// With room for every question that comes.
    fn default() -> Self {
        Self {
            last: None,
            apps: Vec::with_capacity(MOST_ASKED),
            by_trees: Vec::with_capacity(MOST_ASKED),
            by_deep: Vec::with_capacity(MOST_ASKED),
            probabilities: Vec::with_capacity(MOST_ASKED),
            log_ratios: Vec::with_capacity(MOST_ASKED),
        }
    }
}

impl Clone for PendingQuestion {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.clone_from(self);
        clone
    }

    /// Into the room that is there: a derived one would allocate.
    fn clone_from(&mut self, other: &Self) {
        self.last = other.last;
        self.apps.clone_from(&other.apps);
        self.by_trees.clone_from(&other.by_trees);
        self.by_deep.clone_from(&other.by_deep);
        self.probabilities.clone_from(&other.probabilities);
        self.log_ratios.clone_from(&other.log_ratios);
    }
}

/// What one person's phone adds to the shared models.
#[derive(Debug, Clone, PartialEq)]
pub struct Personalization {
    /// Added to the weights of the trees and the transformer.
    weights: [f32; 2],
    apps: Scores<AppId>,
    /// By the app used last and the candidate.
    pairs: Scores<(AppId, AppId)>,
    /// Answers learned from.
    answers: u64,
    /// By how much this phone has moved the gate's threshold: [`RoutingThreshold`](super::gate::RoutingThreshold).
    shift: f32,
    /// What the person's own past has taught beside; see [`Person::learn`](super::Person::learn).
    trees: Option<PersonalTrees>,
}

impl Default for Personalization {
    /// None: the shared models' answers stay as they are.
    fn default() -> Self {
        Self {
            weights: [0.0; 2],
            apps: Scores::new(MOST_APPS),
            pairs: Scores::new(MOST_PAIRS),
            answers: 0,
            shift: 0.0,
            trees: None,
        }
    }
}

impl Personalization {
    /// How many answers they were learned from.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// The trees that this person's own past has taught, if any.
    pub fn trees(&self) -> Option<&PersonalTrees> {
        self.trees.as_ref()
    }

    /// Takes over trees in place of those of before.
    pub(super) fn set_trees(&mut self, trees: PersonalTrees) {
        self.trees = Some(trees);
    }

    /// By how much this phone has moved the gate's threshold.
    pub fn shift(&self) -> f32 {
        self.shift
    }

    /// Moves the gate's threshold by so much.
    pub(super) fn set_shift(&mut self, shift: f32) {
        self.shift = shift;
    }

    /// Notes whether a question went to the transformer, so that the phone keeps to its share.
    pub fn move_threshold(&mut self, threshold: &RoutingThreshold, was_routed: bool) {
        self.shift = threshold.next(self.shift, was_routed);
    }

    /// Adds to the `logits` of a blend.
    ///
    /// # Shapes
    /// `apps`, `logits` and those of `log_probs`: `[candidates]`.
    pub fn adjust(
        &self,
        last: Option<AppId>,
        apps: &[AppId],
        log_probs: &ExpertLogProbs<'_>,
        logits: &mut [f32],
    ) {
        let (by_trees, by_deep) = log_probs.said();
        for (weight, said) in self.weights.iter().zip([by_trees, by_deep]) {
            logits.iter_mut().zip(said).for_each(|(logit, said)| *logit += weight * said);
        }
        for (logit, &app) in logits.iter_mut().zip(apps) {
            *logit += self.apps.get(app);
            if let Some(last) = last {
                *logit += self.pairs.get((last, app));
            }
        }
    }

    /// Learns that `asked` was answered by `answer`. What was opened for the first time teaches nothing of the
    /// candidates.
    pub fn learn(&mut self, pending: &PendingQuestion, answer: AppId, was_candidate: bool) {
        if !was_candidate {
            return;
        }
        self.answers = self.answers.saturating_add(1);
        let place = pending.apps.iter().position(|&app| app == answer);
        if let (Some(trees), Some(&log_ratio)) =
            (&mut self.trees, place.and_then(|place| pending.log_ratios.get(place)))
        {
            trees.learn(log_ratio);
        }
        let mut gradient = [0.0; 2];
        for (candidate, (&app, &probability)) in pending.apps.iter().zip(&pending.probabilities).enumerate() {
            let error = f32::from(u8::from(app == answer)) - probability;
            if error.abs() < LEAST_ERROR {
                continue;
            }
            for (gradient, said) in gradient.iter_mut().zip([&pending.by_trees, &pending.by_deep]) {
                *gradient += error * said.get(candidate).copied().unwrap_or(0.0);
            }
            self.step(pending.last, app, RATE * error);
        }
        // Too improbable to be remembered.
        if place.is_none() {
            self.step(pending.last, answer, RATE);
        }
        for (weight, gradient) in self.weights.iter_mut().zip(gradient) {
            let step = (WEIGHT_RATE * gradient).clamp(-LARGEST_STEP, LARGEST_STEP);
            *weight = (*weight + step).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT);
        }
    }

    /// Learns that `app` was suggested and not taken: the user saw it and wanted something else, which says more than
    /// that it was not opened.
    pub fn ignore(&mut self, app: AppId) {
        self.apps.add(app, -IGNORED_RATE);
    }

    fn step(&mut self, last: Option<AppId>, app: AppId, step: f32) {
        self.apps.add(app, step);
        if let Some(last) = last {
            self.pairs.add((last, app), step);
        }
    }

    /// Its bytes, apps by their names in `vocabulary`; equal ones give equal bytes.
    ///
    /// # Errors
    /// A name is longer than 65,535 bytes.
    pub fn write(&self, vocabulary: &Vocabulary) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.answers);
        bytes.put_f32(self.shift);
        self.weights.iter().for_each(|&weight| bytes.put_f32(weight));
        bytes.put_count(self.apps.scores.len())?;
        for (app, score) in self.apps.sorted() {
            bytes.put_text(vocabulary.name(app))?;
            bytes.put_f32(score);
        }
        bytes.put_count(self.pairs.scores.len())?;
        for ((last, app), score) in self.pairs.sorted() {
            bytes.put_text(vocabulary.name(last))?;
            bytes.put_text(vocabulary.name(app))?;
            bytes.put_f32(score);
        }
        Ok(bytes)
    }

    /// Reads what [`write`](Self::write) wrote; names that `vocabulary` lacks are added to it.
    ///
    /// # Errors
    /// It is cut off, or holds numbers that learning never gives.
    pub fn read(reader: &mut Reader<'_>, vocabulary: &mut Vocabulary) -> Result<Self> {
        let mut personalization =
            Self { answers: reader.u64()?, shift: within(reader, LARGEST_SHIFT)?, ..Self::default() };
        for weight in &mut personalization.weights {
            *weight = within(reader, LARGEST_WEIGHT)?;
        }
        for _ in 0..at_most(reader, 6, MOST_APPS)? {
            let app = vocabulary.intern(reader.text()?);
            personalization.apps.scores.insert(app, within(reader, LARGEST_SCORE)?);
        }
        for _ in 0..at_most(reader, 8, MOST_PAIRS)? {
            let pair = (vocabulary.intern(reader.text()?), vocabulary.intern(reader.text()?));
            personalization.pairs.scores.insert(pair, within(reader, LARGEST_SCORE)?);
        }
        Ok(personalization)
    }
}

fn within(reader: &mut Reader<'_>, largest: f32) -> Result<f32> {
    let number = reader.f32()?;
    if number.abs() <= largest {
        Ok(number)
    } else {
        Err(reader.wrong(format!("{number} is no such weight")))
    }
}

fn at_most(reader: &mut Reader<'_>, bytes_each: usize, most: usize) -> Result<usize> {
    let count = reader.count(bytes_each)?;
    if count <= most { Ok(count) } else { Err(reader.wrong(format!("{count} entries, but {most} are kept"))) }
}

/// A bounded table of scores. It is as large from the start as it will ever be.
#[derive(Debug, Clone, PartialEq)]
struct Scores<K: Eq + Hash> {
    scores: FxHashMap<K, f32>,
    most: usize,
}

impl<K: Copy + Eq + Hash + Ord> Scores<K> {
    fn new(most: usize) -> Self {
        // A table that is more than half full makes room for what comes after what went by growing.
        Self { scores: FxHashMap::with_capacity_and_hasher(2 * most + 1, FxBuildHasher), most }
    }

    fn get(&self, key: K) -> f32 {
        if self.scores.is_empty() { 0.0 } else { self.scores.get(&key).copied().unwrap_or(0.0) }
    }

    fn add(&mut self, key: K, step: f32) {
        if self.scores.len() == self.most && !self.scores.contains_key(&key) {
            // By key where scores are equal, so that the order of the table never shows.
            let nearest = |a: &(&K, &f32), b: &(&K, &f32)| a.1.abs().total_cmp(&b.1.abs()).then(a.0.cmp(b.0));
            if let Some(key) = self.scores.iter().min_by(nearest).map(|(key, _)| *key) {
                self.scores.remove(&key);
            }
        }
        let score = self.scores.entry(key).or_default();
        *score = (*score + step).clamp(-LARGEST_SCORE, LARGEST_SCORE);
    }

    fn sorted(&self) -> Vec<(K, f32)> {
        let mut sorted: Vec<(K, f32)> = self.scores.iter().map(|(key, score)| (*key, *score)).collect();
        sorted.sort_by_key(|(key, _)| *key);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPS: [AppId; 3] = [AppId(0), AppId(1), AppId(2)];

    /// Half, three tenths, two tenths, as three apps that an expert ranks.
    fn said() -> [f32; 3] {
        [0.5, 0.3, 0.2].map(f32::ln)
    }

    fn probabilities(personalization: &Personalization, last: Option<AppId>) -> [f32; 3] {
        let said = said();
        let mut logits = said;
        personalization.adjust(last, &APPS, &ExpertLogProbs::Trees(&said), &mut logits);
        super::super::calibrate::log_softmax(&mut logits);
        logits.map(f32::exp)
    }

    fn opened(personalization: &mut Personalization, last: AppId, answer: AppId) {
        let mut pending = PendingQuestion::default();
        let now = probabilities(personalization, Some(last));
        pending.set(Some(last), &APPS, &ExpertLogProbs::Trees(&said()), &now, 0..3);
        personalization.learn(&pending, answer, true);
    }

    #[test]
    fn what_is_opened_against_the_odds_gains_where_it_was_opened() {
        let mut personalization = Personalization::default();
        assert_eq!(probabilities(&personalization, None), said().map(f32::exp));
        for _ in 0..200 {
            opened(&mut personalization, AppId(0), AppId(2));
            opened(&mut personalization, AppId(1), AppId(0));
        }
        let [after_zero, after_one] = [0, 1].map(|last| probabilities(&personalization, Some(AppId(last))));
        assert!(after_zero[2] > 0.6 && after_one[0] > 0.6, "{after_zero:?} {after_one:?}");
        assert_eq!(personalization.answers(), 400);
        // An app opened for the first time was no candidate.
        let before = personalization.clone();
        personalization.learn(&PendingQuestion::default(), AppId(9), false);
        assert_eq!(personalization, before);
    }

    #[test]
    fn answers_as_probable_as_said_change_little() {
        let mut personalization = Personalization::default();
        for round in 0..400 {
            opened(&mut personalization, AppId(0), [0, 0, 0, 0, 0, 1, 1, 1, 2, 2].map(AppId)[round * 7 % 10]);
        }
        let now = probabilities(&personalization, Some(AppId(0)));
        assert!(now.iter().zip(said()).all(|(now, said)| (now - said.exp()).abs() < 0.07), "{now:?}");
    }

    #[test]
    fn ignored_suggestions_sink() {
        let mut personalization = Personalization::default();
        (0..20).for_each(|_| personalization.ignore(AppId(0)));
        assert!(probabilities(&personalization, None)[0] < 0.42);
        (0..2_000).for_each(|_| personalization.ignore(AppId(0)));
        assert_eq!(personalization.apps.get(AppId(0)), -LARGEST_SCORE);
    }

    #[test]
    fn memory_is_constant_and_bytes_are_the_same() {
        let mut vocabulary = Vocabulary::new();
        let mut personalization = Personalization::default();
        let apps: Vec<AppId> = (0..3_000).map(|app| vocabulary.intern(&format!("app {app}"))).collect();
        let room = (personalization.apps.scores.capacity(), personalization.pairs.scores.capacity());
        for (n, &app) in apps.iter().enumerate() {
            personalization.step(Some(apps[n / 2]), app, 0.001 * (n % 50) as f32);
        }
        assert_eq!(
            (personalization.apps.scores.len(), personalization.pairs.scores.len()),
            (MOST_APPS, MOST_PAIRS)
        );
        assert!(
            (personalization.apps.scores.capacity(), personalization.pairs.scores.capacity()) <= room,
            "nothing grew"
        );

        let bytes = personalization.write(&vocabulary).unwrap();
        let mut reader = Reader::new("personalization", &bytes, "start anew");
        assert_eq!(Personalization::read(&mut reader, &mut vocabulary).unwrap(), personalization);
        reader.finish().unwrap();
        // Another vocabulary: the same apps under other numbers.
        let mut other = Vocabulary::new();
        other.intern("app 7");
        let read =
            Personalization::read(&mut Reader::new("personalization", &bytes, "start anew"), &mut other)
                .unwrap();
        for &app in &apps {
            let score = other.id(vocabulary.name(app)).map_or(0.0, |app| read.apps.get(app));
            assert_eq!(score, personalization.apps.get(app));
        }
        for at in (0..bytes.len()).step_by(5) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x81;
            let _ = Personalization::read(
                &mut Reader::new("personalization", &damaged, "start anew"),
                &mut Vocabulary::new(),
            );
        }
    }
}
