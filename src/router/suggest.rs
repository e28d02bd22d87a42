//! What is shown: the first apps of an answer, now and then an alternative, and what became of it.
//!
//! An answer that nobody is shown teaches what people open; one that is shown changes it, since what lies under the thumb
//! is opened more. So that later learning can tell the two apart, each suggestion carries its *propensities*: how probable
//! it was that this app was shown, given the answer. With an exploration of e, and k places,
//!
//! ```text
//! places 1 to k-1   the first k-1 apps                              always: propensity 1
//! place k           the k-th app                                    propensity 1 - e
//!                   or one of the ten after it, by probability      propensity e p(app) / sum of the ten
//! ```
//!
//! so at most one place in one suggestion of 1/e is at stake, and never the first (but where k = 1, when it is the only
//! one). Epsilon-greedy on the last place; Langford, Zhang, "The Epoch-Greedy Algorithm", 2007.

use super::answer::Answer;
use crate::data::AppId;
use crate::error::{Error, ErrorKind, Result};

/// Apps that a suggestion has at most.
// Source: memory. Eight bytes each; a launcher's row.
pub const MAX_SHOWN: usize = 8;
/// Apps that may take the last place.
// Source: by hand, not measured: no log at hand tells what was shown. Doubtful.
const ALTERNATIVES: usize = 10;
/// Suggestions that feedback may still come for.
// Source: memory.
const MOST_REMEMBERED: usize = 16;
/// More is no exploration any more.
// Source: by hand: a bound on what a caller may ask for, 0 unless asked.
const MOST_EXPLORATION: f64 = 0.2;

/// What is shown, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuggestionSettings {
    /// Apps shown at once, 1 to [`MAX_SHOWN`].
    pub shown: usize,
    /// Nothing is shown where none of these apps is opened with at least this probability.
    pub least_probability: f64,
    /// Share of the suggestions whose last place goes to an alternative; at most 0.2.
    pub exploration: f64,
}

impl Default for SuggestionSettings {
    /// Three apps, where one of them is right more often than not; no exploration.
    // Source: units of what a launcher shows: three to five apps; a caller chooses.
    fn default() -> Self {
        Self { shown: 3, least_probability: 0.5, exploration: 0.0 }
    }
}

impl SuggestionSettings {
    /// Refuses what cannot be shown by.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, next_step: &str| {
            Err(Error::new(ErrorKind::Config, "not a setting that can be shown by")
                .field(field)
                .next_step(next_step))
        };
        match self {
            Self { shown: 0, .. } | Self { shown: 9.., .. } => wrong("shown", "choose 1 to 8"),
            _ if !(0.0..=1.0).contains(&self.least_probability) => {
                wrong("least_probability", "choose 0 to 1")
            }
            _ if !(0.0..=MOST_EXPLORATION).contains(&self.exploration) => {
                wrong("exploration", "choose 0 to 0.2")
            }
            _ => Ok(()),
        }
    }
}

/// Apps that were shown together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestion {
    /// Its number, for feedback.
    pub id: u64,
    count: usize,
    apps: [AppId; MAX_SHOWN],
    propensities: [f32; MAX_SHOWN],
    /// Whether the last place went to an alternative.
    pub explores: bool,
}

impl Suggestion {
    /// The apps, in the order in which they are shown.
    pub fn apps(&self) -> &[AppId] {
        &self.apps[..self.count]
    }

    /// How probable it was that each of them was shown, given the answer: for the log.
    pub fn propensities(&self) -> &[f32] {
        &self.propensities[..self.count]
    }
}

/// What became of a suggestion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// This app of it was opened.
    Taken(AppId),
    /// It was seen, and none of it was opened.
    Ignored,
}

/// The suggestions that feedback may still come for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Suggestions {
    /// How many there were.
    made: u64,
    /// State of the draws.
    random: u64,
    /// The last ones, oldest first, and whether feedback has come.
    remembered: Vec<(Suggestion, bool)>,
}

impl Suggestions {
    pub fn new(seed: u64) -> Self {
        Self { made: 0, random: seed, remembered: Vec::with_capacity(MOST_REMEMBERED) }
    }

    /// What to go on from after a restart.
    pub fn state(&self) -> [u64; 2] {
        [self.made, self.random]
    }

    pub fn from_state([made, random]: [u64; 2]) -> Self {
        Self { made, ..Self::new(random) }
    }

    /// What to show of `answer`; nothing where it is not sure enough.
    pub fn make(&mut self, settings: &SuggestionSettings, answer: &Answer) -> Option<Suggestion> {
        let first = answer.worth_showing(settings.shown.min(MAX_SHOWN), settings.least_probability);
        let last = first.len().checked_sub(1)?;
        let mut suggestion = Suggestion {
            id: self.made,
            count: first.len(),
            apps: [AppId::default(); MAX_SHOWN],
            propensities: [1.0; MAX_SHOWN],
            explores: false,
        };
        suggestion.apps.iter_mut().zip(first).for_each(|(app, candidate)| *app = candidate.app);
        let others = &answer.prediction.candidates[first.len()..];
        let others = &others[..others.len().min(ALTERNATIVES)];
        let total: f64 = others.iter().map(|candidate| candidate.probability).sum();
        if settings.exploration > 0.0 && total > 0.0 {
            suggestion.propensities[last] = (1.0 - settings.exploration) as f32;
            if self.draw() < settings.exploration {
                let mut left = self.draw() * total;
                let drawn = others.iter().find(|candidate| {
                    left -= candidate.probability;
                    left < 0.0
                });
                if let Some(drawn) = drawn.or(others.last()) {
                    suggestion.apps[last] = drawn.app;
                    suggestion.propensities[last] = (settings.exploration * drawn.probability / total) as f32;
                    suggestion.explores = true;
                }
            }
        }
        self.made = self.made.wrapping_add(1);
        if self.remembered.len() == MOST_REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push((suggestion, false));
        Some(suggestion)
    }

    /// The suggestion that `feedback` is for, which then had its feedback.
    pub fn settle(&mut self, id: u64, feedback: Feedback) -> Result<Suggestion> {
        let wrong = |message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Data, message).field("suggestion").next_step(next_step))
        };
        let Some((suggestion, is_settled)) = self.remembered.iter_mut().find(|(made, _)| made.id == id)
        else {
            return wrong(
                format!("suggestion {id} was never made, or is not remembered any more"),
                "give feedback for one of the last 16 suggestions since the start",
            );
        };
        if *is_settled {
            return wrong(format!("suggestion {id} had its feedback"), "give feedback once");
        }
        if let Feedback::Taken(app) = feedback
            && !suggestion.apps().contains(&app)
        {
            return wrong(
                format!("suggestion {id} did not show app {}", app.0),
                "name an app that it showed, or say that it was ignored",
            );
        }
        *is_settled = true;
        Ok(*suggestion)
    }

    /// 0 to 1, by SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): a state of eight
    /// bytes, which is saved with the person.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::{Candidate, Prediction};

    fn answer() -> Answer {
        let probabilities = [0.4, 0.2, 0.1, 0.08, 0.06, 0.04, 0.02];
        let candidates = (0..).map(AppId).zip(probabilities);
        let candidates = candidates.map(|(app, probability)| Candidate { app, probability }).collect();
        Answer { prediction: Prediction { candidates, none_of_these: 0.1 }, ..Answer::default() }
    }

    #[test]
    fn rather_nothing_than_noise() {
        let mut suggestions = Suggestions::new(1);
        let cases = [(3, 0.5, 3), (3, 0.75, 0), (1, 0.4, 1), (1, 0.5, 0), (8, 0.9, 7), (8, 0.0, 7)];
        for (shown, least_probability, expected) in cases {
            let settings = SuggestionSettings { shown, least_probability, exploration: 0.0 };
            let made = suggestions.make(&settings, &answer());
            assert_eq!(made.map_or(0, |made| made.apps().len()), expected, "{settings:?}");
            assert!(made.is_none_or(|made| made.propensities().iter().all(|&p| p == 1.0)));
        }
        let all = SuggestionSettings { least_probability: 0.0, ..SuggestionSettings::default() };
        assert_eq!(suggestions.make(&all, &Answer::default()), None, "no candidate");
    }

    #[test]
    fn alternatives_are_shown_as_often_as_their_propensity_says() {
        let settings = SuggestionSettings { exploration: 0.2, ..SuggestionSettings::default() };
        let mut suggestions = Suggestions::new(7);
        let (mut shown, mut propensities) = ([0.0; 7], [0.0; 7]);
        const ROUNDS: usize = 20_000;
        for _ in 0..ROUNDS {
            let made = suggestions.make(&settings, &answer()).unwrap();
            assert_eq!(made.apps()[..2], [AppId(0), AppId(1)], "the last place alone is at stake");
            let last = made.apps()[2].0 as usize;
            assert_eq!(made.explores, last != 2);
            shown[last] += 1.0 / ROUNDS as f32;
            propensities[last] = made.propensities()[2];
        }
        for (shown, propensity) in shown.iter().zip(propensities) {
            assert!((shown - propensity).abs() < 0.01, "{shown} {propensity}");
        }
        assert!((shown[2] - 0.8).abs() < 0.01);
    }

    #[test]
    fn feedback_is_for_what_was_shown_and_comes_once() {
        let mut suggestions = Suggestions::new(1);
        let mut make = || suggestions.make(&SuggestionSettings::default(), &answer()).unwrap().id;
        let ids: Vec<u64> = (0..20).map(|_| make()).collect();
        let mut says = |id, feedback| suggestions.settle(id, feedback).err().map(|error| error.to_string());
        assert_eq!(says(ids[19], Feedback::Ignored), None);
        assert_eq!(says(ids[18], Feedback::Taken(AppId(1))), None);
        for (id, feedback, expected) in [
            (ids[19], Feedback::Ignored, "had its feedback"),
            (ids[17], Feedback::Taken(AppId(5)), "did not show app 5"),
            (ids[0], Feedback::Ignored, "not remembered any more"),
            (99, Feedback::Ignored, "never made"),
        ] {
            let error = says(id, feedback).unwrap_or_default();
            assert!(error.contains(expected) && error.contains("; "), "{error}");
        }
        assert_eq!(says(ids[17], Feedback::Ignored), None, "a wrong app spoils nothing");
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let usual = SuggestionSettings::default();
        assert!(usual.check().is_ok());
        for (settings, field) in [
            (SuggestionSettings { shown: 0, ..usual }, "`shown`"),
            (SuggestionSettings { shown: 9, ..usual }, "`shown`"),
            (SuggestionSettings { least_probability: f64::NAN, ..usual }, "`least_probability`"),
            (SuggestionSettings { exploration: 0.3, ..usual }, "`exploration`"),
        ] {
            assert!(settings.check().unwrap_err().to_string().contains(field));
        }
    }
}
