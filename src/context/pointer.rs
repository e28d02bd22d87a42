//! What the transformer's pointer reads of the user's own past: a row a candidate, a row a question.
//!
//! The ranker's [`features`] on scales that a network can add up, and what followed when the last apps
//! were the same as now.

use super::app_use::charging_class;
use super::features::{self, QUESTION, SCHEMA};
use super::question::Context;
use super::recall::{ORDERS, Recalled};

/// Columns of a candidate: those of the ranker, shares of what followed, and six of its own.
pub const CANDIDATE_COLUMNS: usize = QUESTION + 3 * ORDERS + 6;

/// Columns of a question: those of the ranker, how often the present stretch was seen before, and three rates.
pub const QUESTION_COLUMNS: usize = SCHEMA.len() - QUESTION + 3 * ORDERS + 3;

/// Rows of one question. What is unknown is NaN, except times: those are very long.
#[derive(Debug, Clone, Default)]
pub struct PointerRows {
    /// `[candidates, CANDIDATE_COLUMNS]`.
    pub candidates: Vec<f32>,
    /// `[QUESTION_COLUMNS]`.
    pub question: Vec<f32>,
    matrix: Vec<f32>,
    recalled: Recalled,
}

impl PointerRows {
    /// Computes the rows of `context`.
    pub fn fill(&mut self, context: &Context<'_>) {
        let history = context.history;
        features::fill(context, &mut self.matrix);
        history.recall.recall(history.uses.len(), &mut self.recalled);
        self.candidates.clear();
        self.question.clear();
        let rows = self.matrix.chunks_exact(SCHEMA.len());
        for (&app, row) in context.candidates().iter().zip(rows) {
            self.candidates.extend(
                row[..QUESTION].iter().zip(SCHEMA).map(|(&value, column)| scaled(value, column.unit)),
            );
            let used = context.app_use(app);
            let counters = used.map(|used| &used.counters).unwrap_or(&history.unused);
            let launches = counters.launches.count as f32;
            let all_launches = history.totals.launches.count as f32;
            let launch_share = ratio(launches, all_launches);
            let open_share =
                ratio(counters.unlock_opens.count as f32, history.totals.unlock_opens.count as f32);
            let slot = history.slot(app).unwrap_or(super::counts::Slot::MAX);
            let prior = if context.task() == super::Task::NextLaunch { launch_share } else { open_share };
            for shares in self.recalled.shares(slot, prior) {
                self.candidates.extend(shares.map(ln_share));
            }
            let network = history.network as usize;
            let charging = charging_class(history.battery);
            let affinity = |part: f32, whole: f32| ln_share((part + 20.0 * launch_share) / (whole + 20.0));
            let (hour, _) = history.wall_clock(context.now());
            let today = counters
                .launches
                .last
                .is_some_and(|at| (context.now().secs_since(at) as f32) < 3600.0 * hour);
            self.candidates.extend([
                affinity(counters.by_network[network], history.totals.by_network[network]),
                affinity(counters.by_charging[charging], history.totals.by_charging[charging]),
                f32::from(u8::from(today)),
                ln_share(ratio(counters.fresh_launches, history.totals.fresh_launches)),
                ln_share(ratio(counters.days, history.totals.days)),
                ln_share(ratio(counters.choices.count as f32, history.totals.choices.count as f32)),
            ]);
        }
        let any = self.matrix.get(..SCHEMA.len()).map(|row| &row[QUESTION..]).unwrap_or_default();
        self.question
            .extend(any.iter().zip(&SCHEMA[QUESTION..]).map(|(&value, column)| scaled(value, column.unit)));
        self.question.resize(SCHEMA.len() - QUESTION, f32::NAN);
        let recalled = &self.recalled;
        for total in [&recalled.next_total, &recalled.opened_total, &recalled.opened_alike_total] {
            self.question.extend(total.0.map(f32::ln_1p));
        }
        let departure = history.departure(context.now()) as usize;
        let absence = history.absence(context.now());
        let [resumed, all] =
            history.resumes[departure].iter().fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d]);
        let resume_rate = (resumed + 1.0) / (all + 2.0);
        let [resumed, all] = history.resumes[departure][absence];
        let [answered, notified] = history.answered_notifications;
        self.question.extend([
            resume_rate,
            (resumed + 4.0 * resume_rate) / (all + 4.0),
            (answered + 0.5) / (notified + 4.0),
        ]);
    }
}

fn ratio(part: f32, whole: f32) -> f32 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A share in a thousand is worth telling from two; one in a million is not.
fn ln_share(share: f32) -> f32 {
    (share + 1e-3).ln()
}

/// On a scale where a constant difference means about as much anywhere.
fn scaled(value: f32, unit: &str) -> f32 {
    match unit {
        "share" => ln_share(value),
        "count" | "rank" => value.ln_1p(),
        // `ln` of two years.
        "ln s" if value.is_nan() => 18.0,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{History, Task};
    use super::*;
    use crate::data::{AppId, Event, Signal, Timestamp, UserId};

    #[test]
    fn columns_are_as_many_as_they_say() {
        assert_eq!(SCHEMA[QUESTION].name, "hour", "the first column of the question");
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
