//! How good a router is: both experts are asked every question once, and from what they said it is fitted, judged at every
//! share, and judged again with the habits of each person.

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::expected::Expected;
use super::metrics::{Metrics, Outcome, choose_threshold};
use super::replay::{Protocol, Tested};
use crate::context::{Context, History, Question, TrainingView, questions};
use crate::data::simulate::TrueDistribution;
use crate::data::{AppId, Event, Split, Timestamp};
use crate::error::Result;
use crate::predict::{Predictor, Probabilities, Scratch};
use crate::progress::Progress;
use crate::router::blend::{Blend, basis};
use crate::router::calibrate::{Calibration, log_softmax};
use crate::router::{Asked, Example, Fitted, Habits, Pace, RouterModel, Routing, Voices, fit};

/// The experts of a router, as they are tested and as they are without the validation questions.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// Trees.
    pub trees: [&'a dyn Predictor; 2],
    /// Transformer.
    pub deep: [&'a dyn Predictor; 2],
}

/// A question with what both experts said of it.
struct Recorded<'a> {
    example: Example,
    apps: Vec<AppId>,
    last: Option<AppId>,
    /// By candidate: its place where scores are equal.
    places: Vec<u32>,
    /// Seconds since the user's first event.
    since_start_secs: i64,
    /// What is known of the question before anyone answers; the rest is filled in by whoever does.
    asked: Outcome,
    /// What the answer was drawn from.
    truth: Option<TrueDistribution<'a>>,
}

/// Both experts with room to answer.
struct Desk<'a> {
    trees: &'a dyn Predictor,
    deep: &'a dyn Predictor,
    scratches: [Scratch; 2],
}

impl<'a> Desk<'a> {
    fn new(trees: &'a dyn Predictor, deep: &'a dyn Predictor) -> Self {
        Self { trees, deep, scratches: [trees.new_scratch(), deep.new_scratch()] }
    }

    fn example(&mut self, context: &Context<'_>, answer: AppId, fold: usize, is_stale: bool) -> Example {
        let count = context.candidates().len();
        let ask = |expert: &dyn Predictor, scratch: &mut Scratch| {
            let mut said = vec![0.0; count];
            expert.score(context, scratch, &mut said);
            log_softmax(&mut said);
            said
        };
        let [of_trees, of_deep] = &mut self.scratches;
        Example {
            situation: context.situation(),
            by_trees: ask(self.trees, of_trees),
            by_deep: ask(self.deep, of_deep),
            answer: context.candidates().iter().position(|&app| app == answer),
            fold,
            is_stale,
        }
    }
}

/// Asks both experts the questions of one part of every user's, in order.
fn record<'a>(
    protocol: &Protocol<'a>,
    [trees, deep]: [&dyn Predictor; 2],
    part: impl Fn(&Split) -> std::ops::Range<usize> + Sync,
    progress: &dyn Progress,
) -> Vec<Vec<Recorded<'a>>> {
    let users = protocol.users.len();
    let of_user = |(user, (events, split)): (usize, &(&[Event], Split))| {
        let numbers = part(split);
        let (mut desk, mut found) = (Desk::new(trees, deep), Vec::new());
        let start = events.first().map(|event| event.at).unwrap_or_default();
        crate::context::replay(
            events,
            protocol.task,
            &protocol.favourites,
            numbers.end,
            |number, question, context| {
                if numbers.contains(&number) {
                    let asked = &events[question.asked_at];
                    let fold = fold(user, users, number - numbers.start, numbers.len());
                    found.push(Recorded {
                        example: desk.example(context, question.answer, fold, false),
                        apps: context.candidates().to_vec(),
                        last: context.last_app(),
                        places: places(context),
                        since_start_secs: asked.at.secs_since(start),
                        asked: Outcome::asked(protocol, user, question, context),
                        truth: protocol.truth_of(user, question),
                    });
                }
            },
        );
        progress.advance(1);
        found
    };
    protocol.users.par_iter().enumerate().map(of_user).collect()
}

/// Where users are many, each is in one fold; few users' questions are parted by time.
fn fold(user: usize, users: usize, number: usize, questions: usize) -> usize {
    if users >= 2 * Example::FOLDS {
        user % Example::FOLDS
    } else {
        number * Example::FOLDS / questions.max(1)
    }
}

/// By candidate: how many others come first where scores are equal.
fn places(context: &Context<'_>) -> Vec<u32> {
    let zero = vec![0.0; context.candidates().len()];
    let mut order: Vec<usize> = (0..zero.len()).collect();
    order.sort_by(|&a, &b| crate::predict::compare(context, &zero, a, b));
    let mut places = vec![0; zero.len()];
    (0..).zip(order).for_each(|(place, candidate)| places[candidate] = place);
    places
}

/// For how many days a history is cut off.
const CUT_DAYS: [f64; 4] = [1.5, 3.0, 7.0, 14.0];
/// One validation question in so many is asked again with a history that was cut off.
const STALE_EVERY: usize = 5;

/// Asks some validation questions again of histories that end days before, as if the phone had been restored from a backup:
/// so that the router learns what an old history is worth.
fn record_stale(
    protocol: &Protocol<'_>,
    [trees, deep]: [&dyn Predictor; 2],
    progress: &dyn Progress,
) -> Vec<Example> {
    let users = protocol.users.len();
    let of_user = |(user, (events, split)): (usize, &(&[Event], Split))| {
        let mut desk = Desk::new(trees, deep);
        let asked: Vec<Question> = questions(protocol.task, events);
        let mut histories = CUT_DAYS.map(|_| (History::new(Arc::clone(&protocol.favourites)), 0));
        let mut found = Vec::new();
        let numbers = split.validation.clone();
        for number in numbers.clone().step_by(STALE_EVERY) {
            let question = &asked[number];
            let event = &events[question.asked_at];
            let cut = number / STALE_EVERY % CUT_DAYS.len();
            let until = Timestamp(event.at.0 - (86_400.0 * CUT_DAYS[cut]) as i64);
            let (history, folded) = &mut histories[cut];
            let known = events.partition_point(|event| event.at <= until).max(*folded);
            events[*folded..known].iter().for_each(|event| history.observe(event));
            *folded = known;
            // Nothing was known then, which is no history that grew old.
            if known == 0 {
                continue;
            }
            let mut restored = history.clone();
            restored.observe(event);
            let context = restored.context_at(event.at, protocol.task);
            let fold = fold(user, users, number - numbers.start, numbers.len());
            found.push(desk.example(&context, question.answer, fold, true));
        }
        progress.advance(1);
        found
    };
    let by_user: Vec<Vec<Example>> = protocol.users.par_iter().enumerate().map(of_user).collect();
    by_user.concat()
}

impl Recorded<'_> {
    /// What comes of an answer with these logits.
    fn judge(&self, logits: &[f32], none_of_these: f32) -> Outcome {
        let probabilities = Probabilities::new(logits, 1.0, f64::from(none_of_these));
        let before = |a: usize, b: usize| {
            logits[a] > logits[b] || (logits[a] == logits[b] && self.places[a] < self.places[b])
        };
        let rank = |target: usize| (0..logits.len()).filter(|&other| before(other, target)).count() as u32;
        let first = (0..logits.len()).reduce(|best, other| if before(other, best) { other } else { best });
        let answer = self.example.answer;
        let expected = self.truth.map(|truth| {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(self.places[a].cmp(&self.places[b])));
            let ranked = order.into_iter().map(|a| (self.apps[a], probabilities.of(logits[a])));
            Expected::new(&truth, ranked, probabilities.none_of_these)
        });
        Outcome {
            first: first.map(|first| self.apps[first]),
            rank: answer.map(rank),
            confidence: first.map_or(0.0, |first| probabilities.of(logits[first])) as f32,
            probability: answer.map_or(probabilities.none_of_these, |answer| probabilities.of(logits[answer]))
                as f32,
            expected,
            ..self.asked
        }
    }

    fn voices(&self, is_routed: bool) -> Voices<'_> {
        let Example { by_trees, by_deep, .. } = &self.example;
        if is_routed { Voices::Both(by_trees, by_deep) } else { Voices::Trees(by_trees) }
    }

    fn answered(
        &self,
        model: &RouterModel,
        gain: f32,
        is_routed: bool,
        habits: Option<&Habits>,
    ) -> (Outcome, Vec<f32>) {
        let situation = &self.example.situation;
        let basis = basis(situation, gain);
        let voices = self.voices(is_routed);
        let mut logits = vec![0.0; self.apps.len()];
        model.logits(&voices, &basis, &mut logits);
        if let Some(habits) = habits {
            habits.adjust(self.last, &self.apps, &voices, &mut logits);
        }
        (self.judge(&logits, model.calibration.none_of_these(situation, &basis)), logits)
    }
}

/// One person who learns from question to question.
#[derive(Default)]
struct Learner {
    habits: Habits,
    asked: Asked,
    order: Vec<usize>,
}

impl Learner {
    /// Answers a question that is routed if it should be, and says whether it was.
    fn route(
        &mut self,
        recorded: &Recorded<'_>,
        model: &RouterModel,
        gain: f32,
        pace: &Pace,
    ) -> (Outcome, bool) {
        let is_routed = pace.routes(gain, self.habits.shift());
        self.habits.pace(pace, is_routed);
        (self.answer(recorded, model, gain, is_routed), is_routed)
    }

    fn answer(
        &mut self,
        recorded: &Recorded<'_>,
        model: &RouterModel,
        gain: f32,
        is_routed: bool,
    ) -> Outcome {
        let (outcome, mut logits) = recorded.answered(model, gain, is_routed, Some(&self.habits));
        self.order.clear();
        self.order.extend(0..logits.len());
        self.order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        log_softmax(&mut logits);
        logits.iter_mut().for_each(|logit| *logit = logit.exp());
        let voices = recorded.voices(is_routed);
        self.asked.set(recorded.last, &recorded.apps, &voices, &logits, self.order.iter().copied());
        self.habits.learn(&self.asked, recorded.asked.answer, recorded.example.answer.is_some());
        outcome
    }
}

/// A test question, answered in every way.
struct Judged {
    gain: f32,
    is_routed: bool,
    since_start_secs: i64,
    /// By the trees alone, as the router weighs them.
    alone: Outcome,
    /// By both.
    both: Outcome,
    /// As routed, without habits.
    shared: Outcome,
    /// As routed, with habits.
    personal: Outcome,
    /// By both, with habits.
    full: Outcome,
    /// As routed, but with both experts' probabilities as they came, of equal weight.
    raw: Outcome,
}

/// What the test of a router gave.
pub struct RoutedTest {
    /// The router that was fitted.
    pub fitted: Fitted,
    /// Under its routing with habits; every question by both experts, with habits; under its routing without habits.
    pub tested: [Tested; 3],
    /// The test questions of each test by itself.
    judged: Vec<Vec<Judged>>,
}

impl RoutedTest {
    /// Adds the questions of a later test to those that [`RoutingReport::new`] and [`learning`](Self::learning) tell of; all else
    /// becomes the later one's.
    pub fn append(&mut self, later: Self) {
        let earlier = std::mem::replace(self, later);
        self.judged.splice(0..0, earlier.judged);
    }

    /// From a user's first hour to the fourth week.
    pub fn learning(&self) -> Vec<Learned> {
        learning(&self.judged())
    }

    fn judged(&self) -> Vec<&Judged> {
        self.judged.iter().flatten().collect()
    }
}

/// Fits a router to these experts (trees, transformer) on the validation questions.
///
/// # Errors
/// The routing is impossible.
pub fn fit_router(
    view: &TrainingView<'_>,
    experts: [&dyn Predictor; 2],
    routing: Routing,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let protocol = &Protocol::of_view(view);
    progress.start("routing", 2 * protocol.users.len() as u64);
    let validation = record(protocol, experts, |split| split.validation.clone(), progress);
    let fitted = fit_recorded(protocol, experts, &validation, routing, progress);
    progress.finish();
    fitted
}

/// Fits a router to what these experts said of the validation questions, and say of them with histories that were cut off.
fn fit_recorded(
    protocol: &Protocol<'_>,
    experts: [&dyn Predictor; 2],
    validation: &[Vec<Recorded<'_>>],
    routing: Routing,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let recorded = validation.iter().flatten();
    let mut examples: Vec<Example> = recorded.map(|recorded| recorded.example.clone()).collect();
    examples.extend(record_stale(protocol, experts, progress));
    fit(&examples, routing)
}

/// Fits a router on the validation questions and tests it on the test questions.
///
/// # Errors
/// The routing is impossible.
pub fn test_router(
    view: &TrainingView<'_>,
    protocol: &Protocol<'_>,
    pair: &Pair<'_>,
    routing: Routing,
    progress: &dyn Progress,
) -> Result<RoutedTest> {
    let of = |version: usize| [pair.trees[version], pair.deep[version]];
    progress.start("routing", 3 * protocol.users.len() as u64);
    let fitted = {
        let before = Protocol::of_view(view);
        let validation = record(&before, of(1), |split| split.validation.clone(), progress);
        fit_recorded(&before, of(1), &validation, routing, progress)?
    };
    let validation = record(protocol, of(1), |split| split.validation.clone(), progress);
    let test = record(protocol, of(0), |split| split.test.clone(), progress);
    progress.finish();

    let model = &fitted.model;
    let pace = routing.pace(&model.gains)?;
    let of_user = |(validation, test): (&Vec<Recorded<'_>>, &Vec<Recorded<'_>>)| {
        let mut scratch = Default::default();
        let mut gain = |recorded: &Recorded<'_>| {
            model.gate.gain(&recorded.example.by_trees, &recorded.example.situation, &mut scratch)
        };
        let (mut routed, mut full) = (Learner::default(), Learner::default());
        let before: Vec<[Outcome; 3]> = validation
            .iter()
            .map(|recorded| {
                let gain = gain(recorded);
                let (personal, is_routed) = routed.route(recorded, model, gain, &pace);
                let (shared, _) = recorded.answered(model, gain, is_routed, None);
                [personal, full.answer(recorded, model, gain, true), shared]
            })
            .collect();
        let judged: Vec<Judged> = test
            .iter()
            .map(|recorded| {
                let gain = gain(recorded);
                let (personal, is_routed) = routed.route(recorded, model, gain, &pace);
                let [(alone, _), (both, _)] =
                    [false, true].map(|is_routed| recorded.answered(model, gain, is_routed, None));
                Judged {
                    gain,
                    since_start_secs: recorded.since_start_secs,
                    alone,
                    both,
                    shared: if is_routed { both } else { alone },
                    personal,
                    is_routed,
                    full: full.answer(recorded, model, gain, true),
                    raw: raw(recorded, is_routed),
                }
            })
            .collect();
        (before, judged)
    };
    let by_user: Vec<_> = validation.par_iter().zip(&test).map(of_user).collect();
    let (before, judged): (Vec<_>, Vec<_>) = by_user.into_iter().unzip();
    let (before, judged): (Vec<[Outcome; 3]>, Vec<Judged>) =
        (before.concat(), judged.into_iter().flatten().collect());

    let tested = |name: &str, way: usize, outcome: fn(&Judged) -> Outcome| {
        let validation: Vec<Outcome> = before.iter().map(|ways| ways[way]).collect();
        let threshold90 = choose_threshold(&validation, 0.9);
        let answered = |judged: &Judged| {
            let outcome = outcome(judged);
            Outcome { answered90: outcome.confidence >= threshold90, ..outcome }
        };
        Tested {
            name: name.to_owned(),
            temperature: 1.0,
            threshold90,
            test: judged.iter().map(answered).collect(),
        }
    };
    let tested = [
        tested(ROUTER, 0, |judged| judged.personal),
        tested(ROUTER_FULL, 1, |judged| judged.full),
        tested(ROUTER_SHARED, 2, |judged| judged.shared),
    ];
    Ok(RoutedTest { fitted, tested, judged: vec![judged] })
}

/// Its name in tables and reports: under its routing, with habits.
pub const ROUTER: &str = "router";
/// Every question by both experts, with habits.
pub const ROUTER_FULL: &str = "router-full";
/// Under its routing, without habits.
pub const ROUTER_SHARED: &str = "router-shared";

/// As the experts came: equal weights, no temperature, what the past says of new apps.
fn raw(recorded: &Recorded<'_>, is_routed: bool) -> Outcome {
    let situation = &recorded.example.situation;
    let basis = basis(situation, 0.0);
    let mut logits = vec![0.0; recorded.apps.len()];
    Blend::default().mix(&recorded.voices(is_routed), &basis, &mut logits);
    recorded.judge(&logits, Calibration::default().none_of_these(situation, &basis))
}

/// What a router did on the test questions; of several tests, the mean.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RoutingReport {
    /// The transformer that it asks.
    pub deep: String,
    /// Share of the test questions that went to the transformer.
    pub routed_share: f64,
    /// Figures while the share routed grows from nothing to everything: those of highest gain first.
    pub by_gate: Vec<Routed>,
    /// The same where questions are routed at random: what is expected.
    pub at_random: Vec<Routed>,
    /// The same where questions are routed by what the transformer turned out to gain: the bound.
    pub by_oracle: Vec<Routed>,
    /// Calibration error of the experts' probabilities as they came, and of the router's.
    pub calibration_error: [f64; 2],
    /// Confidence against hit rate, as they came and of the router.
    pub calibration: [Vec<super::metrics::CalibrationBin>; 2],
    /// From a user's first hour to the fourth week.
    pub learning: Vec<Learned>,
    /// Mean log loss on the questions that it, or the last of several, was fitted on: trees alone, transformer alone, both.
    pub validation_losses: Option<[f64; 3]>,
    /// The router's differences to others, on the same questions.
    pub against: Vec<Against>,
}

/// Figures at a share routed, without habits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Routed {
    /// Share of the questions that the transformer is asked, too.
    pub share: f64,
    /// Hit rates.
    pub hr1: f64,
    /// Of three.
    pub hr3: f64,
    /// Of five.
    pub hr5: f64,
    /// Mean log loss.
    pub log_loss: f64,
}

/// Figures of a stretch of a user's time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Learned {
    /// Until when, since the user's first event.
    pub until: &'static str,
    /// Questions in it.
    pub questions: usize,
    /// Hit rate at one: of the trees, of the router without habits, of the router.
    pub hr1: [f64; 3],
    /// Of three.
    pub hr3: [f64; 3],
    /// Mean log loss.
    pub log_loss: [f64; 3],
}

/// What one has more than another, on the same questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// Who is compared.
    pub name: String,
    /// With whom.
    pub with: String,
    /// Differences in HR@1, HR@3, HR@5 and log loss, each with its 95 % interval where there is one.
    pub differences: [(f64, Option<super::Interval>); 4],
}

impl Against {
    /// What `name` has more than `with`.
    pub fn new(name: &Tested, with: &Tested) -> Self {
        let (after, before) = (Metrics::of(&name.test), Metrics::of(&with.test));
        let intervals = super::intervals::difference_intervals(&with.test, &name.test, 0);
        let interval = |index: usize| intervals.as_ref().map(|intervals| intervals[index]);
        let differences = [
            (after.hr1 - before.hr1, interval(0)),
            (after.hr3 - before.hr3, interval(1)),
            (after.hr5 - before.hr5, interval(2)),
            (after.log_loss - before.log_loss, interval(5)),
        ];
        Self { name: name.name.clone(), with: with.name.clone(), differences }
    }
}

/// Ends of the stretches of a user's time, in seconds.
const STRETCHES: [(&str, i64); 8] = [
    ("1 hour", 3_600),
    ("6 hours", 6 * 3_600),
    ("1 day", 86_400),
    ("3 days", 3 * 86_400),
    ("1 week", 7 * 86_400),
    ("2 weeks", 14 * 86_400),
    ("3 weeks", 21 * 86_400),
    ("4 weeks", 28 * 86_400),
];

/// With whom a comparison would say nothing.
const KNOW_NOTHING_OR_ALL: [&str; 4] = ["recent", "frequent", "markov", "optimum"];

impl RoutingReport {
    /// Compares the routers among `tested` with everyone else there who has learned anything.
    pub fn compare(&mut self, tested: &[Tested]) {
        let routers = tested.iter().filter(|tested| [ROUTER, ROUTER_FULL].contains(&tested.name.as_str()));
        for router in routers {
            let others = tested.iter().filter(|other| {
                other.name != router.name && !KNOW_NOTHING_OR_ALL.contains(&other.name.as_str())
            });
            self.against.extend(others.map(|other| Against::new(router, other)));
        }
    }

    /// What the router over the transformer called `deep` did.
    pub fn new(test: &RoutedTest, deep: &str) -> Self {
        let judged = test.judged();
        let count = judged.len().max(1) as f64;
        let raw: Vec<Outcome> = judged.iter().map(|judged| judged.raw).collect();
        let personal: Vec<Outcome> = judged.iter().map(|judged| judged.personal).collect();
        // Each router knows the order of its own questions.
        let by = |key: &dyn Fn(&Judged) -> f64| {
            let (mut means, mut seen) = (Vec::new(), 0);
            for judged in test.judged.iter().filter(|judged| !judged.is_empty()) {
                let mut order: Vec<&Judged> = judged.iter().collect();
                order.sort_by(|a, b| key(b).total_cmp(&key(a)));
                let found = shares(&order);
                seen += judged.len();
                let weight = judged.len() as f64 / seen as f64;
                means = match means.len() {
                    0 => found,
                    _ => means.iter().zip(&found).map(|(mean, found)| mean.towards(found, weight)).collect(),
                };
            }
            means
        };
        let by_gate = by(&|judged| f64::from(judged.gain));
        let at_random = match (by_gate.first(), by_gate.last()) {
            (Some(none), Some(all)) => by_gate.iter().map(|routed| none.towards(all, routed.share)).collect(),
            _ => Vec::new(),
        };
        Self {
            deep: deep.to_owned(),
            routed_share: judged.iter().filter(|judged| judged.is_routed).count() as f64 / count,
            by_oracle: by(&|judged| {
                f64::from(judged.both.probability).max(1e-9).ln()
                    - f64::from(judged.alone.probability).max(1e-9).ln()
            }),
            by_gate,
            at_random,
            calibration_error: [&raw, &personal].map(|outcomes| Metrics::of(outcomes).calibration_error),
            calibration: [&raw, &personal].map(|outcomes| super::metrics::calibration_curve(outcomes, 10)),
            learning: test.learning(),
            validation_losses: test.fitted.losses,
            against: Vec::new(),
        }
    }
}

/// Steps of the share routed.
const STEPS: usize = 20;

/// Figures at each share, where the first of `order` are routed first.
fn shares(order: &[&Judged]) -> Vec<Routed> {
    if order.is_empty() {
        return Vec::new();
    }
    let at = |step: usize| {
        let routed = order.len() * step / STEPS;
        let outcomes: Vec<Outcome> = order
            .iter()
            .enumerate()
            .map(|(index, judged)| if index < routed { judged.both } else { judged.alone })
            .collect();
        let Metrics { hr1, hr3, hr5, log_loss, .. } = Metrics::of(&outcomes);
        Routed { share: step as f64 / STEPS as f64, hr1, hr3, hr5, log_loss }
    };
    (0..=STEPS).map(at).collect()
}

impl Routed {
    /// The mean figures where this `part` of the questions is like `other`'s.
    fn towards(&self, other: &Self, part: f64) -> Self {
        let between = |own: f64, other: f64| own + part * (other - own);
        Self {
            share: between(self.share, other.share),
            hr1: between(self.hr1, other.hr1),
            hr3: between(self.hr3, other.hr3),
            hr5: between(self.hr5, other.hr5),
            log_loss: between(self.log_loss, other.log_loss),
        }
    }
}

fn learning(judged: &[&Judged]) -> Vec<Learned> {
    let mut from = i64::MIN;
    let mut stretches = Vec::new();
    for (until, end) in STRETCHES {
        let part = judged.iter().filter(|judged| (from..end).contains(&judged.since_start_secs));
        let part: Vec<&Judged> = part.copied().collect();
        from = end;
        if part.is_empty() {
            continue;
        }
        let ways: [fn(&Judged) -> Outcome; 3] = [|j| j.alone, |j| j.shared, |j| j.personal];
        let metrics = ways.map(|way| Metrics::of(&part.iter().map(|judged| way(judged)).collect::<Vec<_>>()));
        stretches.push(Learned {
            until,
            questions: metrics[0].questions,
            hr1: metrics.map(|metrics| metrics.hr1),
            hr3: metrics.map(|metrics| metrics.hr3),
            log_loss: metrics.map(|metrics| metrics.log_loss),
        });
    }
    stretches
}
