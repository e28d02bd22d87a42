//! Figures of merit over scored questions. Counts first, division last.
//!
//! An answer that was no candidate counts as a miss everywhere; equal scores were ranked by past frequency, then by
//! id, so no figure profits from a tie.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::expected::{Expected, LEAST_PROBABILITY};
use crate::data::AppId;

/// What came of one question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Which training of several answered.
    pub run: u32,
    /// Number of the user, in log order.
    pub user: u32,
    /// Day of the question on the user's clock, counted from 1970-01-01.
    pub day: i32,
    /// Hour of the day on the user's clock, 0 to 23.
    pub hour: u8,
    /// Seconds since the user's first event.
    pub since_start_secs: i64,
    /// How many launches the user's history held.
    pub launches_before: u32,
    /// The app that was opened.
    pub answer: AppId,
    /// The app ranked first; `None` without candidates.
    pub first: Option<AppId>,
    /// Place of the answer, 0 is the first; `None` where it was no candidate.
    pub rank: Option<u32>,
    /// Probability given to the app ranked first.
    pub confidence: f32,
    /// Probability given to the answer, or to "none of the candidates" where it was none.
    pub probability: f32,
    /// Whether the confidence reached the threshold of 90 % precision, chosen on validation questions.
    pub answered90: bool,
    /// Of simulated people: on how many past launches the answer depends
    /// ([`TrueDistribution::memory`](crate::data::simulate::TrueDistribution::memory)).
    pub memory: Option<u8>,
    /// Whether the answer is the app that was last in front ([`Context::last_app`](crate::context::Context::last_app)), which
    /// most unlocks return to. Otherwise it was chosen, as is the answer to a first question, before which no app was in
    /// front. Of the next app, which differs from the one in front, all are chosen.
    pub is_resumed: bool,
    /// Whether the phone had not been in use for an hour or more.
    pub is_after_pause: bool,
    /// Of simulated people: what is expected of the answer, on the true probabilities.
    pub expected: Option<Expected>,
}

impl Outcome {
    /// Whether the answer was among the first `k`.
    pub fn hit(&self, k: u32) -> bool {
        self.rank.is_some_and(|rank| rank < k)
    }

    fn reciprocal_rank(&self) -> f64 {
        self.rank.map_or(0.0, |rank| 1.0 / (f64::from(rank) + 1.0))
    }

    fn ndcg5(&self) -> f64 {
        self.rank.filter(|&rank| rank < 5).map_or(0.0, |rank| 1.0 / (f64::from(rank) + 2.0).log2())
    }

    pub(super) fn log_loss(&self) -> f64 {
        -f64::from(self.probability).max(LEAST_PROBABILITY).ln()
    }
}

/// The lowest threshold on the confidence at which `validation` questions are answered with at least `precision`,
/// most confident first; above 1 (nothing is answered) where there is none.
pub fn choose_threshold(validation: &[Outcome], precision: f64) -> f32 {
    let mut sorted: Vec<&Outcome> = validation.iter().collect();
    sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let (mut hits, mut answered, mut threshold) = (0, 0, 2.0);
    // Questions of equal confidence are answered together or not at all.
    for tied in sorted.chunk_by(|a, b| a.confidence == b.confidence) {
        hits += tied.iter().filter(|outcome| outcome.hit(1)).count();
        answered += tied.len();
        if hits as f64 >= precision * answered as f64 {
            threshold = tied[0].confidence;
        }
    }
    threshold
}

/// Figures over a set of questions; of several runs over the same ones, their means.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Metrics {
    /// How many questions.
    pub questions: usize,
    /// Share whose answer ranked first.
    pub hr1: f64,
    /// Share whose answer ranked among the first three.
    pub hr3: f64,
    /// Share whose answer ranked among the first five.
    pub hr5: f64,
    /// Mean reciprocal rank.
    pub mrr: f64,
    /// Mean reciprocal rank where places after the third count as zero.
    pub mrr3: f64,
    /// The same of the fifth.
    pub mrr5: f64,
    /// Normalised discounted cumulative gain of the first five; one relevant app a question.
    pub ndcg5: f64,
    /// Precision of the first suggestion, averaged over the apps that were suggested or opened.
    pub macro_precision: f64,
    /// Recall of the first suggestion, averaged over the same apps.
    pub macro_recall: f64,
    /// Harmonic mean of the two, app by app, averaged over the same apps.
    pub macro_f1: f64,
    /// Mean of `-ln p(answer)`, in nats.
    pub log_loss: f64,
    /// Expected calibration error: |confidence - hit rate| over fifteen equal bins of confidence, weighted.
    pub calibration_error: f64,
    /// Share whose answer was no candidate.
    pub unforeseen: f64,
    /// Share answered at 90 % precision: those whose confidence reached a threshold chosen on validation questions.
    pub coverage90: f64,
    /// Precision of the first suggestion on the answered ones; `None` where none was answered.
    pub coverage90_precision: Option<f64>,
}

impl Metrics {
    /// Counts over `outcomes`; all zero of none.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mean = |value: &dyn Fn(&Outcome) -> f64| {
            outcomes.iter().map(value).sum::<f64>() / outcomes.len().max(1) as f64
        };
        let share = |what: &dyn Fn(&Outcome) -> bool| mean(&|outcome| f64::from(u8::from(what(outcome))));
        let answered = outcomes.iter().filter(|o| o.answered90).count();
        let hits = outcomes.iter().filter(|o| o.answered90 && o.hit(1)).count();
        let runs = by_run(outcomes);
        let [calibration_error, macro_precision, macro_recall, macro_f1] = mean_over(&runs, |outcomes| {
            let (precision, recall, f1) = macro_scores(outcomes);
            [calibration_error(outcomes), precision, recall, f1]
        });
        Self {
            questions: outcomes.len() / runs.len().max(1),
            hr1: share(&|o| o.hit(1)),
            hr3: share(&|o| o.hit(3)),
            hr5: share(&|o| o.hit(5)),
            mrr: mean(&Outcome::reciprocal_rank),
            mrr3: mean(&|o| if o.hit(3) { o.reciprocal_rank() } else { 0.0 }),
            mrr5: mean(&|o| if o.hit(5) { o.reciprocal_rank() } else { 0.0 }),
            ndcg5: mean(&Outcome::ndcg5),
            macro_precision,
            macro_recall,
            macro_f1,
            log_loss: mean(&Outcome::log_loss),
            calibration_error,
            unforeseen: share(&|o| o.rank.is_none()),
            coverage90: share(&|o| o.answered90),
            coverage90_precision: (answered > 0).then(|| hits as f64 / answered as f64),
        }
    }

    /// The figures that are means over questions, by name: those that a bootstrap can sum up.
    pub(super) fn means_of(outcome: &Outcome) -> [f64; 7] {
        let hit = |k| f64::from(u8::from(outcome.hit(k)));
        [
            hit(1),
            hit(3),
            hit(5),
            outcome.reciprocal_rank(),
            outcome.ndcg5(),
            outcome.log_loss(),
            f64::from(u8::from(outcome.answered90)),
        ]
    }
}

/// The outcomes of each run.
fn by_run(outcomes: &[Outcome]) -> Vec<Vec<Outcome>> {
    let mut runs: BTreeMap<u32, Vec<Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        runs.entry(outcome.run).or_default().push(*outcome);
    }
    runs.into_values().collect()
}

/// Means over the runs of figures that are no means over questions.
fn mean_over<const N: usize>(runs: &[Vec<Outcome>], figures: impl Fn(&[Outcome]) -> [f64; N]) -> [f64; N] {
    let mut means = [0.0; N];
    for run in runs {
        means.iter_mut().zip(figures(run)).for_each(|(mean, figure)| *mean += figure / runs.len() as f64);
    }
    means
}

/// Precision, recall and F1 of the first suggestion, averaged over apps.
fn macro_scores(outcomes: &[Outcome]) -> (f64, f64, f64) {
    #[derive(Default)]
    struct Counts {
        suggested: u32,
        opened: u32,
        both: u32,
    }
    // Ordered, so that the sums below are the same every time.
    let mut apps: BTreeMap<AppId, Counts> = BTreeMap::new();
    for outcome in outcomes {
        apps.entry(outcome.answer).or_default().opened += 1;
        if let Some(first) = outcome.first {
            let counts = apps.entry(first).or_default();
            counts.suggested += 1;
            counts.both += u32::from(outcome.hit(1));
        }
    }
    let ratio = |part: u32, whole: u32| if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) };
    let mean =
        |value: &dyn Fn(&Counts) -> f64| apps.values().map(value).sum::<f64>() / apps.len().max(1) as f64;
    (
        mean(&|c| ratio(c.both, c.suggested)),
        mean(&|c| ratio(c.both, c.opened)),
        mean(&|c| ratio(2 * c.both, c.suggested + c.opened)),
    )
}

/// A bin of a calibration curve.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CalibrationBin {
    /// Questions in it, in the mean of the runs.
    pub questions: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of them whose first app was right.
    pub hit_rate: f64,
}

/// Confidence against hit rate, in equal bins of confidence; empty ones are left out.
pub fn calibration_curve(outcomes: &[Outcome], bins: usize) -> Vec<CalibrationBin> {
    let mut sums = vec![(0usize, 0.0f64, 0usize); bins.max(1)];
    for outcome in outcomes {
        let bin = (f64::from(outcome.confidence) * bins as f64) as usize;
        let sum = &mut sums[bin.min(bins.saturating_sub(1))];
        *sum = (sum.0 + 1, sum.1 + f64::from(outcome.confidence), sum.2 + usize::from(outcome.hit(1)));
    }
    let filled = sums.into_iter().filter(|(answers, ..)| *answers > 0);
    let runs = outcomes.iter().map(|outcome| outcome.run).collect::<BTreeSet<u32>>().len();
    filled
        .map(|(answers, confidence, hits)| CalibrationBin {
            questions: answers.div_ceil(runs),
            confidence: confidence / answers as f64,
            hit_rate: hits as f64 / answers as f64,
        })
        .collect()
}

fn calibration_error(outcomes: &[Outcome]) -> f64 {
    let gaps = calibration_curve(outcomes, 15);
    let weighted = gaps.iter().map(|bin| (bin.confidence - bin.hit_rate).abs() * bin.questions as f64);
    weighted.sum::<f64>() / outcomes.len().max(1) as f64
}

/// Precision at each percent of coverage, most confident questions first: `(share answered, precision)`.
pub fn coverage_curve(outcomes: &[Outcome]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
    sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut hits = 0;
    let mut curve: Vec<(f64, f64)> = Vec::new();
    for (index, outcome) in sorted.iter().enumerate() {
        hits += usize::from(outcome.hit(1));
        let answered = index + 1;
        let percent = answered * 100 / sorted.len();
        if percent > index * 100 / sorted.len() && percent > 0 {
            curve.push((answered as f64 / sorted.len() as f64, hits as f64 / answered as f64));
        }
    }
    curve
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn outcome(rank: Option<u32>, confidence: f32) -> Outcome {
        let first = Some(if rank == Some(0) { AppId(0) } else { AppId(1) });
        Outcome {
            run: 0,
            user: 0,
            day: 0,
            hour: 12,
            since_start_secs: 0,
            launches_before: 0,
            answer: AppId(0),
            first,
            rank,
            confidence,
            probability: 0.5,
            answered90: false,
            memory: None,
            is_resumed: false,
            is_after_pause: false,
            expected: None,
        }
    }

    #[test]
    fn figures_by_hand() {
        let outcomes =
            [outcome(Some(0), 0.9), outcome(Some(2), 0.8), outcome(Some(7), 0.6), outcome(None, 0.4)];
        let metrics = Metrics::of(&outcomes);
        assert_eq!((metrics.hr1, metrics.hr3, metrics.hr5), (0.25, 0.5, 0.5));
        assert!((metrics.mrr - (1.0 + 1.0 / 3.0 + 1.0 / 8.0) / 4.0).abs() < 1e-12);
        assert!((metrics.ndcg5 - (1.0 + 0.5) / 4.0).abs() < 1e-12);
        assert!((metrics.log_loss - 2.0_f64.ln()).abs() < 1e-12);
        assert_eq!(metrics.unforeseen, 0.25);
        // App 0: suggested once, opened four times, both once. App 1: suggested three times, never opened.
        assert_eq!((metrics.macro_precision, metrics.macro_recall), (0.5, 0.125));
        assert!((metrics.macro_f1 - 0.2).abs() < 1e-12);
        let gap = (0.1 + 0.8 + 0.6 + 0.4) / 4.0;
        assert!((metrics.calibration_error - gap).abs() < 1e-6);
        assert_eq!(Metrics::of(&[]).hr1, 0.0);
    }

    #[test]
    fn coverage_is_chosen_once_and_reported_elsewhere() {
        let validation =
            [outcome(Some(0), 0.9), outcome(Some(0), 0.8), outcome(Some(1), 0.7), outcome(Some(0), 0.1)];
        assert_eq!(choose_threshold(&validation, 0.9), 0.8);
        // All tied: three hits of four are not nine of ten.
        let tied = validation.map(|o| Outcome { confidence: 0.5, ..o });
        assert_eq!(choose_threshold(&tied, 0.9), 2.0);
        assert_eq!(choose_threshold(&tied, 0.75), 0.5);
        assert_eq!(choose_threshold(&[], 0.9), 2.0);
        let test = [outcome(Some(0), 0.8), outcome(Some(3), 0.85), outcome(Some(0), 0.79)];
        let metrics = Metrics::of(&test.map(|o| Outcome { answered90: o.confidence >= 0.8, ..o }));
        assert_eq!((metrics.coverage90, metrics.coverage90_precision), (2.0 / 3.0, Some(0.5)));
        assert_eq!(Metrics::of(&test).coverage90_precision, None);
    }

    #[test]
    fn coverage_curve_ends_at_the_hit_rate() {
        let outcomes: Vec<Outcome> =
            (0..250).map(|i| outcome(Some(u32::from(i >= 100)), 1.0 - i as f32 / 250.0)).collect();
        let curve = coverage_curve(&outcomes);
        assert_eq!(curve.first().map(|point| point.1), Some(1.0));
        assert_eq!(curve.last(), Some(&(1.0, 0.4)));
        assert_eq!(curve.len(), 100);
    }

    /// Ranks at which each figure stops counting, and probabilities at which the logarithm does.
    #[test]
    fn where_figures_end() {
        let ranked = |rank| Metrics::of(&[outcome(Some(rank), 0.5)]);
        for (rank, hits, mrr) in [(0, [1.0, 1.0, 1.0], 1.0), (2, [0.0, 1.0, 1.0], 1.0 / 3.0)] {
            let found = ranked(rank);
            assert_eq!(
                ([found.hr1, found.hr3, found.hr5], found.mrr, found.mrr5),
                (hits, mrr, mrr),
                "{rank}"
            );
        }
        // Järvelin and Kekäläinen, 2002: 1 / log2(place + 1), the first place being 1.
        for (rank, ndcg5) in [(1, 0.630_929_753_571_457), (4, 0.386_852_807_234_541_6), (5, 0.0), (40, 0.0)] {
            let found = ranked(rank);
            assert!((found.ndcg5 - ndcg5).abs() < 1e-12, "{rank}: {}", found.ndcg5);
            assert_eq!((found.hr5, found.mrr5 > 0.0), (f64::from(u8::from(rank < 5)), rank < 5), "{rank}");
            assert_eq!(found.mrr3 > 0.0, rank < 3, "{rank}");
            assert!(
                (found.mrr - 1.0 / f64::from(rank + 1)).abs() < 1e-12 && found.unforeseen == 0.0,
                "{rank}"
            );
        }
        let loss = |probability| Metrics::of(&[Outcome { probability, ..outcome(None, 0.5) }]).log_loss;
        assert!(
            (loss(1e-6) - 6.0 * 10_f64.ln()).abs() < 1e-5 && (loss(0.0) - 9.0 * 10_f64.ln()).abs() < 1e-5
        );
    }

    /// The lowest threshold counts, not the first at which precision falls short: 9 of 10 are right again further down.
    #[test]
    fn a_threshold_may_lie_below_a_shortfall() {
        let confidence = |place: u32| 1.0 - place as f32 / 20.0;
        let outcomes: Vec<Outcome> = (0..12)
            .map(|place| outcome(Some(u32::from(place == 1 || place > 9)), confidence(place)))
            .collect();
        assert_eq!(choose_threshold(&outcomes, 0.9), confidence(9));
        // The order in which they come does not matter.
        let reversed: Vec<Outcome> = outcomes.into_iter().rev().collect();
        assert_eq!(choose_threshold(&reversed, 0.9), confidence(9));
    }

    /// Precision of what was suggested at 90 %: only a first place is right.
    #[test]
    fn precision_counts_first_places_alone() {
        let answered = |rank| Outcome { answered90: true, ..outcome(Some(rank), 0.9) };
        let metrics = Metrics::of(&[answered(0), answered(1), answered(2), outcome(Some(0), 0.1)]);
        assert_eq!((metrics.coverage90, metrics.coverage90_precision), (0.75, Some(1.0 / 3.0)));
    }

    /// App 0: opened once, never suggested. App 1: suggested twice, opened once, once both. App 2: suggested once, opened
    /// twice, once both. App 3: suggested once, never opened.
    #[test]
    fn macro_scores_by_hand() {
        let of = |answer: u32, first: u32| Outcome {
            answer: AppId(answer),
            first: Some(AppId(first)),
            ..outcome(Some(u32::from(answer != first)), 0.5)
        };
        let metrics = Metrics::of(&[of(0, 1), of(1, 1), of(2, 2), of(2, 3)]);
        assert_eq!(metrics.macro_precision, (0.0 + 0.5 + 1.0 + 0.0) / 4.0);
        assert_eq!(metrics.macro_recall, (0.0 + 1.0 + 0.5 + 0.0) / 4.0);
        assert!((metrics.macro_f1 - (2.0 / 3.0 + 2.0 / 3.0) / 4.0).abs() < 1e-12);
    }

    /// Two runs answered the same three questions, the second one better.
    #[test]
    fn figures_of_runs_are_means_and_questions_count_once() {
        let run = |run: u32, ranks: [u32; 3], confidence: f32| {
            ranks.map(|rank| Outcome { run, ..outcome(Some(rank), confidence) })
        };
        let (first, second) = (run(0, [0, 1, 1], 0.7), run(1, [0, 0, 0], 0.7));
        let both = Metrics::of(&[first, second].concat());
        assert_eq!((both.questions, both.hr1), (3, 4.0 / 6.0));
        // Of each run by itself: |0.7 - 1/3| and |0.7 - 1|. Together they would look far better: |0.7 - 2/3|.
        let expected = ((0.7 - 1.0 / 3.0) + 0.3) / 2.0;
        assert!((both.calibration_error - expected).abs() < 1e-6, "{}", both.calibration_error);
        let alone = [first, second].map(|run| Metrics::of(&run));
        assert!((both.macro_f1 - (alone[0].macro_f1 + alone[1].macro_f1) / 2.0).abs() < 1e-12);
        let curve = calibration_curve(&[first, second].concat(), 10);
        assert_eq!((curve.len(), curve[0].questions), (1, 3));
        assert!((curve[0].hit_rate - 4.0 / 6.0).abs() < 1e-12);
    }

    /// Bins of a tenth begin at their lower edge; the last one holds certainty, too.
    #[test]
    fn a_calibration_curve_by_hand() {
        let outcomes = [
            outcome(Some(0), 0.0),
            outcome(Some(1), 0.0625),
            outcome(Some(0), 0.25),
            outcome(Some(3), 0.28125),
            outcome(Some(0), 0.453125),
            outcome(Some(1), 0.546875),
            outcome(Some(0), 0.9375),
            outcome(Some(0), 1.0),
        ];
        let bin = |questions, confidence, hit_rate| CalibrationBin { questions, confidence, hit_rate };
        let expected = [
            bin(2, 0.03125, 0.5),
            bin(2, 0.265625, 0.5),
            bin(1, 0.453125, 1.0),
            bin(1, 0.546875, 0.0),
            bin(2, 0.96875, 1.0),
        ];
        assert_eq!(calibration_curve(&outcomes, 10), expected);
        assert_eq!(calibration_curve(&outcomes, 1), [bin(8, 0.44140625, 5.0 / 8.0)]);
        // Of fifteen: the first two share a bin, and the last two; 0.25 is below 4/15, 0.28125 above.
        let gaps = 2.0 * (0.5 - 0.03125) + 0.75 + 0.28125 + 2.0 * 0.546875 + 2.0 * (1.0 - 0.96875);
        assert!((Metrics::of(&outcomes).calibration_error - gaps / 8.0).abs() < 1e-12);
        assert!(calibration_curve(&[], 10).is_empty());
    }

    /// What a bootstrap sums up is what the metrics are means of.
    #[test]
    fn means_are_those_of_the_metrics() {
        let outcomes: Vec<Outcome> = [Some(0), Some(1), Some(3), Some(9), None]
            .into_iter()
            .enumerate()
            .map(|(place, rank)| Outcome { answered90: place % 2 == 1, ..outcome(rank, 0.5) })
            .collect();
        let m = Metrics::of(&outcomes);
        let expected = [m.hr1, m.hr3, m.hr5, m.mrr, m.ndcg5, m.log_loss, m.coverage90];
        assert_eq!(expected[..3], [0.2, 0.4, 0.6]);
        for (place, expected) in expected.into_iter().enumerate() {
            let sum: f64 = outcomes.iter().map(|outcome| Metrics::means_of(outcome)[place]).sum();
            assert!((sum / 5.0 - expected).abs() < 1e-12, "figure {place}");
        }
    }

    #[test]
    fn a_coverage_curve_by_hand() {
        let outcomes =
            [outcome(Some(1), 0.2), outcome(Some(0), 0.9), outcome(Some(1), 0.8), outcome(Some(0), 0.7)];
        assert_eq!(coverage_curve(&outcomes), [(0.25, 1.0), (0.5, 0.5), (0.75, 2.0 / 3.0), (1.0, 0.5)]);
    }
}
