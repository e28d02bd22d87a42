//! Everything that a test showed, in one structure: printed as a table, written as JSON, drawn as HTML.

use std::fmt;
use std::path::Path;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::as_shipped::LearningCurve;
use super::expected::Expected;
use super::figure::figure;
use super::intervals::{Interval, intervals, mean_interval};
use super::latency::{CLOCK, Latency};
use super::metrics::{CalibrationBin, Metrics, Outcome, calibration_curve, coverage_curve};
use super::replay::TestResult;
use super::routing::{LearningPeriod, ROUTER, RoutingPoint, RoutingReport};
use crate::context::Task;
use crate::data::{SplitPlan, UserId};
use crate::error::Result;
use crate::storage::write_atomically;

/// What a test showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The task.
    pub task: Task,
    /// How test questions were chosen.
    pub split: SplitPlan,
    /// How many users had test questions.
    pub users: usize,
    /// How many times everything was trained and tested, each time with other seeds; figures are the means.
    pub runs: u32,
    /// Time to compute the features of one question from its context.
    pub features_us: Latency,
    /// Time of the ranker's trees over them.
    pub scoring_us: Latency,
    /// The predictors, in the order of the table; an object by name in JSON.
    #[serde(serialize_with = "by_name")]
    pub models: Vec<ModelReport>,
    /// Users that training never saw, where they were tested.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "by_name")]
    pub cold_start: Vec<ModelReport>,
    /// What the router did, where one took part.
    #[serde(flatten, serialize_with = "with_gate")]
    pub routing: Option<RoutingReport>,
    /// How users that training never saw are known better and better, where they were tested with a router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cold_learning: Vec<LearningPeriod>,
    /// The ranker's features, most important first.
    pub importance: Vec<FeatureImportance>,
}

/// What a test showed of one predictor.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Intervals of its figures.
    #[serde(flatten)]
    pub intervals: Option<Intervals>,
    /// Where the answer is the app that was last in front, which most unlocks return to.
    pub resumed: SubsetMetrics,
    /// Where it differs: what a launcher's suggestions gain is here.
    pub chosen: SubsetMetrics,
    /// Where the phone had not been in use for an hour or more.
    pub after_pause: SubsetMetrics,
    /// Where the answer was no candidate: an app that this user had never opened. Its log loss is that of "none of these".
    pub new_apps: SubsetMetrics,
    /// Of simulated people: the figures that are expected on the true probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedMetrics>,
    /// Of simulated people: how far the expected log loss is above the least possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regret: Option<Regret>,
    /// The confidence from which on a question was answered at 90 % precision.
    pub coverage90_threshold: f32,
    /// What its logits are divided by.
    pub temperature: f64,
    /// Time of an answer from nothing, by the clock of [`measure_latency`](super::measure_latency).
    pub latency_us: Latency,
    /// The same of who keeps a KV cache, with all tokens but the question's own prefilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_prefilled_us: Option<Latency>,
    /// Of a router: the share of the questions that it asked its transformer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routed_share: Option<f64>,
    /// Figures by hour of the day; hours without questions are left out.
    pub by_hour: Vec<Slice>,
    /// Figures by the number of launches in the history.
    pub by_history: Vec<Slice>,
    /// Of simulated people: figures by how many past launches the answer depends on, 3 for three or more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_memory: Vec<Slice>,
    /// Confidence against hit rate.
    pub calibration: Vec<CalibrationBin>,
    /// Share answered against precision, most confident questions first.
    pub coverage: Vec<(f64, f64)>,
    /// Figures of each user.
    pub per_user: Vec<UserReport>,
    /// Where whole logs were tested: figures by how long the user was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_curve: Option<LearningCurve>,
}

/// 95 % intervals by bootstrap over users, or over days where users are fewer than ten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the hit rate at one.
    pub hr1_interval: Interval,
    /// Of the hit rate at three.
    pub hr3_interval: Interval,
    /// Of the hit rate at five.
    pub hr5_interval: Interval,
    /// Of the mean reciprocal rank.
    pub mrr_interval: Interval,
    /// Of the NDCG.
    pub ndcg5_interval: Interval,
    /// Of the log loss.
    pub log_loss_interval: Interval,
    /// Of the coverage at 90 % precision.
    pub coverage90_interval: Interval,
}

/// Figures over a part of the questions, such as those whose answer was resumed ([`Outcome::is_resumed`]). Without a question they are no
/// numbers, in JSON `null`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SubsetMetrics {
    /// Share of all questions.
    pub share: f64,
    /// Questions in it.
    pub questions: usize,
    /// Hit rate at one.
    pub hr1: f64,
    /// Hit rate at three.
    pub hr3: f64,
    /// Hit rate at five.
    pub hr5: f64,
    /// Mean log loss, in nats.
    pub log_loss: f64,
}

/// What is expected over the questions whose true probabilities are known: means of [`Expected`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ExpectedMetrics {
    /// How many questions.
    pub questions: usize,
    /// Hit rate at one.
    pub hr1: f64,
    /// Hit rate at three.
    pub hr3: f64,
    /// Hit rate at five.
    pub hr5: f64,
    /// Log loss, in nats: the cross-entropy of the model's probabilities, which count as at least 1e-9.
    pub log_loss: f64,
    /// The least possible log loss, in nats: the entropy over each candidate and none of them.
    pub entropy: f64,
}

/// How much log loss a model costs in expectation above the least possible on the same questions: the mean of cross-entropy
/// minus entropy, in nats a question. Never below zero, but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Regret {
    /// The mean.
    pub mean: f64,
    /// Lower end of the 95 % interval by bootstrap over users, or over days where users are fewer than ten; `None` of a
    /// single user's single day.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
}

/// Hit rates over a part of the questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// First value that belongs to it: an hour, a number of launches.
    pub from: u32,
    /// Questions in it.
    pub questions: usize,
    /// Hit rate at one.
    pub hr1: f64,
    /// Hit rate at three.
    pub hr3: f64,
    /// Mean log loss.
    pub log_loss: f64,
}

/// One user's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UserReport {
    /// The user's keyed hash.
    pub user: String,
    /// Test questions.
    pub questions: usize,
    /// Hit rate at one.
    pub hr1: f64,
    /// Hit rate at three.
    pub hr3: f64,
    /// Hit rate at five.
    pub hr5: f64,
    /// Mean log loss.
    pub log_loss: f64,
    /// Share of the questions answered under the common threshold of 90 % precision.
    pub coverage90: f64,
}

/// How much a feature mattered in training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureImportance {
    /// Its name in the schema.
    pub name: &'static str,
    /// Its share of all gain.
    pub gain_share: f64,
    /// How many splits ask for it.
    pub splits: u32,
}

impl ModelReport {
    /// Sums up one predictor's test. `users` are those of the protocol, in order.
    pub fn new(tested: &TestResult, latency_us: Latency, users: &[UserId]) -> Self {
        let outcomes = &tested.test;
        let interval = intervals(outcomes, 0);
        let part = |is_in: fn(&Outcome) -> bool| -> Vec<Outcome> {
            outcomes.iter().filter(|outcome| is_in(outcome)).copied().collect()
        };
        let (drawn, known) = (part(|o| o.memory.is_some()), part(|o| o.expected.is_some()));
        Self {
            name: tested.name.clone(),
            metrics: Metrics::of(outcomes),
            intervals: interval.map(|[hr1, hr3, hr5, mrr, ndcg5, log_loss, coverage90]| Intervals {
                hr1_interval: hr1,
                hr3_interval: hr3,
                hr5_interval: hr5,
                mrr_interval: mrr,
                ndcg5_interval: ndcg5,
                log_loss_interval: log_loss,
                coverage90_interval: coverage90,
            }),
            resumed: SubsetMetrics::of(&part(|o| o.is_resumed), outcomes),
            chosen: SubsetMetrics::of(&part(|o| !o.is_resumed), outcomes),
            after_pause: SubsetMetrics::of(&part(|o| o.is_after_pause), outcomes),
            new_apps: SubsetMetrics::of(&part(|o| o.rank.is_none()), outcomes),
            expected: ExpectedMetrics::of(&known),
            regret: Regret::of(&known),
            coverage90_threshold: tested.threshold90,
            temperature: tested.temperature,
            latency_us,
            latency_prefilled_us: None,
            routed_share: None,
            by_hour: slices(outcomes, &(0..24).collect::<Vec<u32>>(), |outcome| u32::from(outcome.hour)),
            by_history: slices(outcomes, &HISTORY_BOUNDS, |outcome| outcome.launches_before),
            by_memory: slices(&drawn, &[0, 1, 2, 3], |outcome| u32::from(outcome.memory.unwrap_or_default())),
            calibration: calibration_curve(outcomes, 10),
            coverage: coverage_curve(outcomes),
            per_user: per_user(outcomes, users),
            learning_curve: None,
        }
    }
}

impl ModelReport {
    /// Where no question validated, no threshold was chosen: what is answered at 90 % precision is unknown then.
    pub(crate) fn forget_coverage(&mut self) {
        (self.metrics.coverage90, self.metrics.coverage90_precision) = (f64::NAN, None);
        self.coverage90_threshold = f32::NAN;
        self.per_user.iter_mut().for_each(|user| user.coverage90 = f64::NAN);
        if let Some(intervals) = &mut self.intervals {
            intervals.coverage90_interval = Interval(f64::NAN, f64::NAN);
        }
    }
}

impl SubsetMetrics {
    fn of(part: &[Outcome], all: &[Outcome]) -> Self {
        let Metrics { questions, hr1, hr3, hr5, log_loss, .. } = Metrics::of(part);
        let share = part.len() as f64 / all.len().max(1) as f64;
        let figure = |figure: f64| if part.is_empty() { f64::NAN } else { figure };
        let [hr1, hr3, hr5, log_loss] = [hr1, hr3, hr5, log_loss].map(figure);
        Self { share, questions, hr1, hr3, hr5, log_loss }
    }
}

impl ExpectedMetrics {
    /// Means over the outcomes that all know what is expected; `None` of none.
    fn of(known: &[Outcome]) -> Option<Self> {
        let mean = |value: fn(&Expected) -> f64| {
            known.iter().filter_map(|outcome| outcome.expected.as_ref().map(value)).sum::<f64>()
                / known.len() as f64
        };
        (!known.is_empty()).then(|| Self {
            questions: Metrics::of(known).questions,
            hr1: mean(|expected| expected.hits[0]),
            hr3: mean(|expected| expected.hits[1]),
            hr5: mean(|expected| expected.hits[2]),
            log_loss: mean(|expected| expected.cross_entropy),
            entropy: mean(|expected| expected.entropy),
        })
    }
}

impl Regret {
    /// Over the outcomes that all know what is expected; `None` of none.
    fn of(known: &[Outcome]) -> Option<Self> {
        let regret = |outcome: &Outcome| outcome.expected.map_or(0.0, |expected| expected.regret());
        let interval = mean_interval(known, regret, 0);
        (!known.is_empty()).then(|| Self {
            mean: known.iter().map(regret).sum::<f64>() / known.len() as f64,
            low: interval.map(|Interval(low, _)| low),
            high: interval.map(|Interval(_, high)| high),
        })
    }
}

/// First numbers of launches of the history slices.
const HISTORY_BOUNDS: [u32; 8] = [0, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// Parts `outcomes` by the bound that `key` reaches; empty parts are left out.
fn slices(outcomes: &[Outcome], bounds: &[u32], key: impl Fn(&Outcome) -> u32) -> Vec<Slice> {
    let mut parts: Vec<Vec<Outcome>> = vec![Vec::new(); bounds.len()];
    for outcome in outcomes {
        let part = bounds.partition_point(|bound| *bound <= key(outcome)).saturating_sub(1);
        parts[part].push(*outcome);
    }
    let filled = bounds.iter().zip(parts).filter(|(_, part)| !part.is_empty());
    filled
        .map(|(&from, part)| {
            let Metrics { questions, hr1, hr3, log_loss, .. } = Metrics::of(&part);
            Slice { from, questions, hr1, hr3, log_loss }
        })
        .collect()
}

fn per_user(outcomes: &[Outcome], users: &[UserId]) -> Vec<UserReport> {
    let of_user = |part: &[Outcome]| {
        let Metrics { questions, hr1, hr3, hr5, log_loss, coverage90, .. } = Metrics::of(part);
        let user = users.get(part[0].user as usize).map(UserId::to_string).unwrap_or_default();
        UserReport { user, questions, hr1, hr3, hr5, log_loss, coverage90 }
    };
    outcomes.chunk_by(|a, b| a.user == b.user).map(of_user).collect()
}

impl Report {
    /// The report of one predictor.
    pub fn model(&self, name: &str) -> Option<&ModelReport> {
        self.models.iter().find(|model| model.name == name)
    }

    /// Writes it as JSON, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_json(&self, file: &Path) -> Result<()> {
        write_atomically(file, |out| serde_json::to_writer_pretty(out, self).map_err(std::io::Error::from))
    }
}

/// `routing`, and `router.gate` beside it.
fn with_gate<S: Serializer>(
    routing: &Option<RoutingReport>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let gate = |routing: &RoutingReport| serde_json::json!({ "gate": routing.gate });
    let entries = routing.iter().flat_map(|routing| {
        let routing_entry = serde_json::to_value(routing).map(|routing| ("routing", routing));
        [routing_entry, Ok(("router", gate(routing)))]
    });
    let entries: Vec<_> = entries.collect::<std::result::Result<_, _>>().map_err(S::Error::custom)?;
    serializer.collect_map(entries)
}

fn by_name<S: Serializer>(models: &[ModelReport], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(models.iter().map(|model| (&model.name, model)))
}

/// The model whose features and trees are timed one by one.
pub(super) const TREES: &str = "gbdt";

/// Below this many, a hit rate is uncertain by eight points or more to either side.
const FEW_QUESTIONS: usize = 100;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let questions = self.models.first().map_or(0, |model| model.metrics.questions);
        let users = if self.users == 1 { "1 user" } else { &format!("{} users", self.users) };
        let runs = if self.runs > 1 { format!(", means of {} runs", self.runs) } else { String::new() };
        writeln!(f, "{questions} questions of {users}, task {}{runs}", self.task)?;
        table(f, &self.models)?;
        write_clock(f, &self.models)?;
        if questions < FEW_QUESTIONS {
            writeln!(f, "So few questions prove nothing: give a longer log.")?;
        }
        let (features, scoring) = (self.features_us, self.scoring_us);
        if scoring.p50 > 0.0 && self.model(TREES).is_some() {
            writeln!(
                f,
                "of {TREES}'s time, features take {:.1} µs and trees {:.1} µs (99th percentile {:.1} and {:.1})",
                features.p50, scoring.p50, features.p99, scoring.p99
            )?;
        }
        Self::write_parts(f, &self.models)?;
        Self::write_expected(f, &self.models)?;
        Self::write_curves(f, &self.models)?;
        if let Some(routing) = &self.routing {
            write_routing(f, routing)?;
        }
        if !self.cold_start.is_empty() {
            let questions = self.cold_start[0].metrics.questions;
            writeln!(f, "\nusers that training never saw, from their first day on: {questions} questions")?;
            table(f, &self.cold_start)?;
            Self::write_parts(f, &self.cold_start)?;
            Self::write_expected(f, &self.cold_start)?;
        }
        if !self.cold_learning.is_empty() {
            write_learning(f, &self.cold_learning)?;
        }
        Ok(())
    }
}

/// What is inside the clock, and the times of those that can be prefilled.
fn write_clock(f: &mut fmt::Formatter<'_>, models: &[ModelReport]) -> fmt::Result {
    if models.iter().all(|model| model.latency_us.p50 <= 0.0) {
        return Ok(());
    }
    writeln!(f, "times: {CLOCK}")?;
    let prefilled = models.iter().filter_map(|model| {
        let latency = model.latency_prefilled_us?;
        Some(format!("{} {:.1} (99th percentile {:.1})", model.name, latency.p50, latency.p99))
    });
    let prefilled: Vec<String> = prefilled.collect();
    match prefilled.is_empty() {
        true => Ok(()),
        false => writeln!(f, "prefilled, all tokens but the question's own, µs: {}", prefilled.join(", ")),
    }
}

fn write_routing(f: &mut fmt::Formatter<'_>, routing: &RoutingReport) -> fmt::Result {
    writeln!(
        f,
        "\nthe router asks {} about {:.1} % of the questions; by the share asked, without personalization:",
        routing.deep,
        100.0 * routing.routed_share
    )?;
    let steps =
        || routing.by_gate.iter().enumerate().filter(|(step, _)| [0, 2, 4, 8, 12, 16, 20].contains(step));
    writeln!(
        f,
        "{:<24}{}",
        "",
        steps().map(|(_, at)| format!("{:>7.0} %", 100.0 * at.share)).collect::<String>()
    )?;
    let ways = [
        ("by the gate", &routing.by_gate),
        ("at random", &routing.at_random),
        ("by an oracle", &routing.by_oracle),
    ];
    type Value = fn(&RoutingPoint) -> f64;
    let figures: [(&str, Value); 2] = [("log loss", |at| at.log_loss), ("HR@3", |at| at.hr3)];
    for (name, value) in figures {
        for (way, curve) in ways {
            let cells =
                steps().map(|(step, _)| format!("{:>9}", figure(value(&curve[step]), 4))).collect::<String>();
            writeln!(f, "{:<24}{cells}", format!("{name} {way}"))?;
        }
    }
    write!(f, "{}", routing.gate)?;
    let [before, after] = routing.calibration_error;
    let [before, after] = [before, after].map(|error| figure(error, 3));
    writeln!(f, "calibration error: {before} as the experts came, {after} by the router")?;
    for against in &routing.against {
        let names = ["HR@1", "HR@3", "HR@5", "log loss"];
        let differences =
            names.into_iter().zip(&against.differences).map(|(name, (difference, interval))| {
                let interval = interval
                    .map_or(String::new(), |Interval(low, high)| format!(" ({low:+.4} to {high:+.4})"));
                format!("{name} {difference:+.4}{interval}")
            });
        let differences: Vec<String> = differences.collect();
        writeln!(f, "{} over {}: {}", against.name, against.with, differences.join(", "))?;
    }
    Ok(())
}

/// From the first hour to the fourth week: trees alone, router without personalization, router.
fn write_learning(f: &mut fmt::Formatter<'_>, learning: &[LearningPeriod]) -> fmt::Result {
    writeln!(
        f,
        "\nas they become known (trees alone, {ROUTER} without personalization, {ROUTER} with personalization):"
    )?;
    writeln!(f, "{:<10} {:>9} {:>23} {:>23} {:>23}", "until", "questions", "HR@1", "HR@3", "log loss")?;
    for stretch in learning {
        let cells = [stretch.hr1, stretch.hr3, stretch.log_loss]
            .map(|ways| format!("{:>23}", ways.map(|value| figure(value, 3)).join("  ")));
        writeln!(f, "{:<10} {:>9} {}", stretch.until, stretch.questions, cells.join(" "))?;
    }
    Ok(())
}

fn table(f: &mut fmt::Formatter<'_>, models: &[ModelReport]) -> fmt::Result {
    writeln!(
        f,
        "{:<13} {:>6} {:>15} {:>6} {:>6} {:>6} {:>7} {:>9} {:>6} {:>9} {:>9} {:>9}",
        "model",
        "HR@1",
        "95 % interval",
        "HR@3",
        "HR@5",
        "MRR",
        "NDCG@5",
        "log loss",
        "ECE",
        "cover@90",
        "p50 µs",
        "p99 µs"
    )?;
    for model in models {
        let metrics = &model.metrics;
        let interval = model.intervals.map_or(
            "-".to_owned(),
            |Intervals { hr1_interval: Interval(low, high), .. }| {
                format!("{} - {}", figure(low, 3), figure(high, 3))
            },
        );
        let time = |us: f64| if us > 0.0 { format!("{us:.1}") } else { "-".to_owned() };
        writeln!(
            f,
            "{:<13} {:>6} {:>15} {:>6} {:>6} {:>6} {:>7} {:>9} {:>6} {:>9} {:>9} {:>9}",
            model.name,
            figure(metrics.hr1, 3),
            interval,
            figure(metrics.hr3, 3),
            figure(metrics.hr5, 3),
            figure(metrics.mrr, 3),
            figure(metrics.ndcg5, 3),
            figure(metrics.log_loss, 3),
            figure(metrics.calibration_error, 3),
            if metrics.coverage90.is_nan() { "-".to_owned() } else { figure(metrics.coverage90, 3) },
            time(model.latency_us.p50),
            time(model.latency_us.p99),
        )?;
    }
    Ok(())
}
