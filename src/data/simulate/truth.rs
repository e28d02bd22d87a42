//! The distributions from which the launches were drawn, kept to score predictors against.

use std::collections::BTreeMap;

use crate::data::{AppId, Timestamp, UserId};

/// What each simulated launch was drawn from: the best that any predictor could know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    people: BTreeMap<UserId, PersonTruth>,
}

/// The recorded launches of one person.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PersonTruth {
    /// The installed apps, ascending.
    pub apps: Vec<AppId>,
    pub after_unlock: Rows,
    pub within_session: Rows,
}

/// One row a launch, in time order; `probabilities` holds one value per installed app and row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rows {
    at: Vec<Timestamp>,
    memory: Vec<u8>,
    probabilities: Vec<f32>,
}

impl Rows {
    pub(super) fn push(&mut self, at: Timestamp, memory: u8, probabilities: &[f32]) {
        self.at.push(at);
        self.memory.push(memory);
        self.probabilities.extend_from_slice(probabilities);
    }

    fn find<'a>(&'a self, apps: &'a [AppId], at: Timestamp) -> Option<TrueDistribution<'a>> {
        let row = self.at.binary_search(&at).ok()?;
        let probabilities = self.probabilities.get(row * apps.len()..(row + 1) * apps.len())?;
        Some(TrueDistribution { apps, probabilities, memory: self.memory[row] })
    }
}

impl Truth {
    pub(super) fn new(people: impl IntoIterator<Item = (UserId, PersonTruth)>) -> Self {
        Self { people: people.into_iter().collect() }
    }

    /// The true distribution of the first app after the unlock of `user` at `at`, given everything up to that
    /// unlock and that an app was opened. `None` where that unlock led to no app, or there was none.
    pub fn first_after_unlock(&self, user: UserId, at: Timestamp) -> Option<TrueDistribution<'_>> {
        let person = self.people.get(&user)?;
        person.after_unlock.find(&person.apps, at)
    }

    /// The true distribution of the next different app after the launch of `user` at `at`, given everything up
    /// to that launch and that the session went on. `None` where the session ended with that launch, or unless
    /// [`SimulationConfig::record_every_launch`](super::SimulationConfig::record_every_launch) was set.
    pub fn next_within_session(&self, user: UserId, at: Timestamp) -> Option<TrueDistribution<'_>> {
        let person = self.people.get(&user)?;
        person.within_session.find(&person.apps, at)
    }

    /// How many first-after-unlock distributions are known.
    pub fn len(&self) -> usize {
        self.people.values().map(|person| person.after_unlock.at.len()).sum()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The distribution that one launch was drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrueDistribution<'a> {
    /// Every app installed on that phone, opened before or not, ascending.
    pub apps: &'a [AppId],
    /// The probability of each of `apps`; they sum to 1 within rounding.
    pub probabilities: &'a [f32],
    /// On the order of how many past launches the distribution depends, beyond time, place, device,
    /// notifications and how long ago each app was used: 0 is taste only, 1 the last app, 3 and more a longer
    /// routine. A run of one app counts once; 8 means 8 or more.
    pub memory: u8,
}

impl TrueDistribution<'_> {
    /// The probability of `app`; 0 where it is not installed.
    pub fn probability(&self, app: AppId) -> f32 {
        self.apps.binary_search(&app).map_or(0.0, |slot| self.probabilities[slot])
    }

    /// The sum of all probabilities: each was rounded by itself, so they sum to 1 only nearly.
    pub fn total(&self) -> f64 {
        self.probabilities.iter().map(|&p| f64::from(p)).sum()
    }

    /// The probability that none of `candidates`, each named once, is opened: one minus their true mass.
    pub fn none_of(&self, candidates: &[AppId]) -> f64 {
        let mass: f64 = candidates.iter().map(|&app| f64::from(self.probability(app))).sum();
        (1.0 - mass / self.total()).max(0.0)
    }

    /// Shannon entropy in nats: the least expected log loss of any predictor.
    pub fn entropy(&self) -> f64 {
        let terms = self.probabilities.iter().filter(|&&p| p > 0.0).map(|&p| f64::from(p));
        -terms.map(|p| p * p.ln()).sum::<f64>()
    }

    /// The best expected hit rate of `k` suggestions: the sum of the `k` largest probabilities.
    pub fn best_hit_rate(&self, k: usize) -> f64 {
        let mut sorted = self.probabilities.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        sorted.iter().take(k).map(|&p| f64::from(p)).sum()
    }

    /// The most probable app; of equals the one with the lowest id.
    pub fn best(&self) -> Option<(AppId, f32)> {
        let pairs = self.apps.iter().copied().zip(self.probabilities.iter().copied());
        pairs.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_by_user_and_second() {
        let mut rows = Rows::default();
        rows.push(Timestamp(5), 0, &[0.5, 0.5]);
        rows.push(Timestamp(9), 3, &[0.25, 0.75]);
        let apps = vec![AppId(2), AppId(7)];
        let person = PersonTruth { apps, after_unlock: rows, within_session: Rows::default() };
        let truth = Truth::new([(UserId(1), person)]);
        let found = truth.first_after_unlock(UserId(1), Timestamp(9)).unwrap();
        assert_eq!((found.memory, found.best()), (3, Some((AppId(7), 0.75))));
        assert_eq!((found.probability(AppId(2)), found.probability(AppId(3))), (0.25, 0.0));
        // python3 -c "from math import log; print(-.25*log(.25)-.75*log(.75))"
        assert!((found.entropy() - 0.5623351446188083).abs() < 1e-12);
        assert_eq!((found.best_hit_rate(1), found.best_hit_rate(5)), (0.75, 1.0));
        assert_eq!((found.total(), found.none_of(&[AppId(9), AppId(2)])), (1.0, 0.75));
        assert_eq!((found.none_of(&[]), found.none_of(&[AppId(7), AppId(2)])), (1.0, 0.0));
        assert_eq!(truth.first_after_unlock(UserId(1), Timestamp(6)), None);
        assert_eq!(truth.first_after_unlock(UserId(2), Timestamp(9)), None);
        assert_eq!(truth.next_within_session(UserId(1), Timestamp(9)), None);
        assert_eq!(truth.len(), 2);
    }
}
