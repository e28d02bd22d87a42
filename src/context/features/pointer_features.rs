//! What the transformer's pointer reads of the user's own past: a row a candidate, a row a question.
//!
//! The ranker's [`features`](super) on scales that a network can add up, and what followed when the last apps
//! were the same as now.

use super::{QUESTION, SCHEMA, SharedFeatures, share, smoothed};
use crate::context::Task;
use crate::context::history::app_use::{AppUse, charging_class};
use crate::context::history::counts::Slot;
use crate::context::history::ridge::away;
use crate::context::history::sequence_model::{ORDERS, SequenceCounts};
use crate::context::math;
use crate::context::question::Context;

/// Columns of a candidate: those of the ranker, shares of what followed, six more.
pub const CANDIDATE_COLUMNS: usize = QUESTION + 3 * ORDERS + 6;

/// Columns of a question: those of the ranker, how often the present stretch was seen before, three rates, a line of three.
pub const QUESTION_COLUMNS: usize = SCHEMA.len() - QUESTION + 3 * ORDERS + 3 + 3;

/// Names of a candidate's columns, in order, as in a model file: see [`columns`](super::columns).
pub const CANDIDATE_NAMES: [&str; CANDIDATE_COLUMNS] =
    joined(super::NAMES.split_at(QUESTION).0, &OF_CANDIDATE);

/// Names of a question's columns.
pub const QUESTION_NAMES: [&str; QUESTION_COLUMNS] = joined(super::NAMES.split_at(QUESTION).1, &OF_QUESTION);

/// Names of a candidate's columns that are not the ranker's, in the order in which they are computed below.
const OF_CANDIDATE: [&str; CANDIDATE_COLUMNS - QUESTION] = [
    // Share of what followed sequences that ended like the present one, by how long the match was.
    "sequence_next_order_1",
    "sequence_next_order_2",
    "sequence_next_order_3",
    "sequence_next_order_4",
    "sequence_next_order_5",
    "sequence_unlock_order_1",
    "sequence_unlock_order_2",
    "sequence_unlock_order_3",
    "sequence_unlock_order_4",
    "sequence_unlock_order_5",
    "sequence_unlock_alike_order_1",
    "sequence_unlock_alike_order_2",
    "sequence_unlock_alike_order_3",
    "sequence_unlock_alike_order_4",
    "sequence_unlock_alike_order_5",
    "network_affinity",
    "charging_affinity",
    "is_used_today",
    "fresh_launch_share@2",
    "day_share",
    "choice_share",
];

/// Names of a question's columns that are not the ranker's.
const OF_QUESTION: [&str; QUESTION_COLUMNS - (SCHEMA.len() - QUESTION)] = [
    // How often sequences that ended like the present one were seen.
    "sequence_next_count_order_1",
    "sequence_next_count_order_2",
    "sequence_next_count_order_3",
    "sequence_next_count_order_4",
    "sequence_next_count_order_5",
    "sequence_unlock_count_order_1",
    "sequence_unlock_count_order_2",
    "sequence_unlock_count_order_3",
    "sequence_unlock_count_order_4",
    "sequence_unlock_count_order_5",
    "sequence_unlock_alike_count_order_1",
    "sequence_unlock_alike_count_order_2",
    "sequence_unlock_alike_count_order_3",
    "sequence_unlock_alike_count_order_4",
    "sequence_unlock_alike_count_order_5",
    "resume_rate_by_departure",
    "resume_rate_by_departure_and_absence",
    "notification_answer_rate",
    "resume_rate_at_absence@2",
    "resume_rate_mean@2",
    "resume_rate_evidence@2",
];

/// The ranker's names, then the pointer's own.
const fn joined<const N: usize>(of_ranker: &[&'static str], own: &[&'static str]) -> [&'static str; N] {
    assert!(of_ranker.len() + own.len() == N, "a name for each column");
    let (mut names, mut next) = ([""; N], 0);
    while next < N {
        names[next] = if next < of_ranker.len() { of_ranker[next] } else { own[next - of_ranker.len()] };
        next += 1;
    }
    names
}

/// Launches that an app's share of all is worth beside those on a network, or on a charger.
// Source: measured (docs/constants.md).
const AFFINITY_PRIOR: f32 = 20.0;

/// Unlocks that the rate of resuming after any time away is worth beside those after about as long.
// Source: measured (docs/constants.md).
const ABSENCE_PRIOR: f32 = 4.0;

/// Notifications answered, and found, that their share is drawn by: one in eight.
// Source: by hand, not measured: one column of the transformer's question.
const ANSWERED_PRIOR: [f32; 2] = [0.5, 4.0];

/// Shares that differ by less are alike.
// Source: units. Trees read the same order whatever it is; a network's weights are learned with it.
const LEAST_SHARE: f32 = 1e-3;

/// The logarithm of two years in seconds: what is unknown was so long ago.
// Source: units.
const LONG_AGO: f32 = 18.0;

/// Rows of one question. What is unknown is NaN, except times: those are very long.
#[derive(Debug, Clone, Default)]
pub struct PointerRows {
    /// `[candidates, CANDIDATE_COLUMNS]`.
    pub candidates: Vec<f32>,
    /// `[QUESTION_COLUMNS]`.
    pub question: Vec<f32>,
    features: SharedFeatures,
    sequence_counts: SequenceCounts,
    never_used: AppUse,
}

impl PointerRows {
    /// Computes the rows of `context`.
    pub fn fill(&mut self, context: &Context<'_>) {
        let mut features = std::mem::take(&mut self.features);
        features.clear();
        self.fill_sharing(context, &mut features);
        self.features = features;
    }

    /// The same from `features` of this question, which others read, too.
    pub fn fill_sharing(&mut self, context: &Context<'_>, features: &mut SharedFeatures) {
        let matrix = features.of(context);
        context.history.sequences.count(context.history.uses.len(), &mut self.sequence_counts);
        self.fill_candidates(context, matrix);
        self.fill_question(context, matrix);
    }

    fn fill_candidates(&mut self, context: &Context<'_>, matrix: &[f32]) {
        let (history, now) = (context.history, context.now());
        let totals = &history.totals;
        let (hour, _) = history.wall_clock(now);
        let network = history.network as usize;
        let charging = charging_class(history.battery);
        self.candidates.clear();
        for (&app, row) in context.candidates().iter().zip(matrix.chunks_exact(SCHEMA.len())) {
            self.candidates.extend(
                row[..QUESTION].iter().zip(SCHEMA).map(|(&value, column)| scaled(value, column.unit)),
            );
            let used = context.app_use(app).unwrap_or(&self.never_used);
            let counters = &used.counters;
            let launch_share = share(counters.launches.count as f32, totals.launches.count as f32);
            let prior = match context.task() {
                Task::NextLaunch => launch_share,
                Task::FirstAfterUnlock => {
                    share(counters.unlock_opens.count as f32, totals.unlock_opens.count as f32)
                }
            };
            let slot = history.slot(app).unwrap_or(Slot::NONE);
            for shares in self.sequence_counts.shares(slot, prior) {
                self.candidates.extend(shares.map(ln_odds));
            }
            let is_used_today = used.is_used_today(now, hour);
            let affinity =
                |part: f32, whole: f32| ln_odds(smoothed(part, whole, launch_share, AFFINITY_PRIOR));
            self.candidates.extend([
                affinity(counters.by_network[network], totals.by_network[network]),
                affinity(counters.by_charging[charging], totals.by_charging[charging]),
                f32::from(u8::from(is_used_today)),
                ln_odds(share(counters.fresh_launches, totals.fresh_launches)),
                ln_odds(share(counters.days, totals.days)),
                ln_odds(share(counters.choices.count as f32, totals.choices.count as f32)),
            ]);
        }
    }

    fn fill_question(&mut self, context: &Context<'_>, matrix: &[f32]) {
        let (history, now) = (context.history, context.now());
        self.question.clear();
        let any = matrix.get(..SCHEMA.len()).map(|row| &row[QUESTION..]).unwrap_or_default();
        self.question
            .extend(any.iter().zip(&SCHEMA[QUESTION..]).map(|(&value, column)| scaled(value, column.unit)));
        self.question.resize(SCHEMA.len() - QUESTION, f32::NAN);
        let sequence_counts = &self.sequence_counts;
        for total in sequence_counts.totals() {
            self.question.extend(total.0.map(math::ln_1p));
        }
        let departure = history.departure(now) as usize;
        let [resumed, all] =
            history.resumes[departure].iter().fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d]);
        let resume_rate = (resumed + 1.0) / (all + 2.0);
        let [resumed, all] = history.resumes[departure][history.absence(now)];
        let [answered, notified] = history.answered_notifications;
        self.question.extend([
            ln_odds(resume_rate),
            ln_odds((resumed + ABSENCE_PRIOR * resume_rate) / (all + ABSENCE_PRIOR)),
            ln_odds((answered + ANSWERED_PRIOR[0]) / (notified + ANSWERED_PRIOR[1])),
        ]);
        let line = &history.resume_line;
        self.question.extend([
            ln_odds(line.at(away(history.unused_secs(now)), resume_rate)),
            ln_odds(line.mean(resume_rate)),
            math::ln_1p(line.points()),
        ]);
    }
}

/// Nine in ten is as far from 99 in a hundred as one in ten from one in a hundred. A share in a thousand is worth telling
/// from two; one in a million is not.
fn ln_odds(share: f32) -> f32 {
    math::ln((share + LEAST_SHARE) / ((1.0 - share).max(0.0) + LEAST_SHARE))
}

/// On a scale where a constant difference means about as much anywhere.
fn scaled(value: f32, unit: &str) -> f32 {
    match unit {
        "share" => ln_odds(value),
        "count" | "rank" => math::ln_1p(value),
        "ln s" if value.is_nan() => LONG_AGO,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{History, columns};
    use crate::data::{AppId, Event, Signal, Timestamp, UserId};

    #[test]
    fn columns_are_as_many_as_they_say() {
        assert_eq!(SCHEMA[QUESTION].name, "hour", "the first column of the question");
        for names in [&CANDIDATE_NAMES[..], &QUESTION_NAMES[..]] {
            let mut different: Vec<&str> =
                names.iter().map(|label| columns::name_and_version(label).0).collect();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), names.len(), "each has a name of its own");
        }
        let mut history = History::default();
        let mut rows = PointerRows::default();
        for n in 0..40 {
            let signal = match n % 4 {
                0 => Signal::Unlock,
                3 => Signal::ScreenOff,
                _ => Signal::Launch(AppId(n % 5)),
            };
            for task in [Task::FirstAfterUnlock, Task::NextLaunch] {
                let context = history.context_at(Timestamp(60 * i64::from(n)), task);
                rows.fill(&context);
                assert_eq!(rows.candidates.len(), context.candidates().len() * CANDIDATE_COLUMNS);
                assert_eq!(rows.question.len(), QUESTION_COLUMNS);
                assert!(rows.candidates.iter().chain(&rows.question).all(|value| !value.is_infinite()));
            }
            history.observe(&Event::new(UserId(1), Timestamp(60 * i64::from(n)), signal));
        }
    }
}
