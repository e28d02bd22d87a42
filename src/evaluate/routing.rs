//! How good a router is: both experts are asked every question once, from what they said of the validation questions it is
//! fitted, and then each user is a [`Person`], who is asked the test questions as on a phone, and in other ways besides.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::expected::Expected;
use super::figure::figure;
use super::metrics::{Metrics, Outcome, choose_threshold};
use super::replay::{Protocol, TestResult};
use crate::context::{Context, History, Question, Task, TrainingView, questions};
use crate::data::simulate::TrueDistribution;
use crate::data::{AppId, Event, Split, Timestamp, UserId};
use crate::error::Result;
use crate::parallel::largest_first;
use crate::predict::{Predictor, Scratch};
use crate::progress::Progress;
use crate::router::blend::Blend;
use crate::router::calibrate::Calibration;
use crate::router::{
    Answer, AskOptions, BothExperts, Example, ExpertAnswers, Experts, Feedback, Fitted, Person, Route,
    Router, RouterModel, Routing, Suggestion, SuggestionSettings, fit,
};

/// The experts of a router, as they are tested and as they are without the validation questions.
#[derive(Clone)]
pub struct TestedExperts {
    /// Trees.
    pub trees: [Arc<dyn Predictor>; 2],
    /// Transformer.
    pub deep: [Arc<dyn Predictor>; 2],
}

impl TestedExperts {
    fn experts(&self, version: usize) -> [&dyn Predictor; 2] {
        [self.trees[version].as_ref(), self.deep[version].as_ref()]
    }

    /// A phone's router over those that are tested.
    fn router(&self, model: &RouterModel, routing: Routing) -> Result<Router> {
        let [trees, deep] = [&self.trees[0], &self.deep[0]].map(|expert| Some(Arc::clone(expert)));
        Router::new(model.clone(), Experts { trees, deep }, routing)
    }
}

/// A validation question as a router learns from it.
fn example(
    experts: &mut BothExperts<'_>,
    context: &Context<'_>,
    answer: AppId,
    fold: usize,
    is_stale: bool,
) -> Example {
    let ExpertAnswers { by_trees, by_deep } = experts.ask(context);
    Example {
        question_features: context.question_features(),
        by_trees,
        by_deep,
        answer: context.candidates().iter().position(|&app| app == answer),
        fold,
        is_stale,
    }
}

/// Asks both experts the validation questions of every user, in order.
fn record(
    protocol: &Protocol<'_>,
    experts: [&dyn Predictor; 2],
    progress: &dyn Progress,
) -> Vec<Vec<Example>> {
    let users = protocol.users.len();
    let of_user = |user: usize, (events, split): &(&[Event], Split)| {
        let numbers = split.validation.clone();
        let (mut both, mut found) = (BothExperts::new(experts), Vec::new());
        let favourites = &protocol.favourites;
        crate::context::replay(
            events,
            protocol.task,
            favourites,
            numbers.end,
            |number, question, context| {
                if numbers.contains(&number) {
                    let fold = fold(user, users, number - numbers.start, numbers.len());
                    found.push(example(&mut both, context, question.answer, fold, false));
                }
            },
        );
        progress.advance(1);
        found
    };
    largest_first(&protocol.users, |(events, _)| events.len(), of_user)
}

/// Where users are many, each is in one fold; few users' questions are parted by time.
fn fold(user: usize, users: usize, number: usize, questions: usize) -> usize {
    if users >= 2 * Example::FOLDS {
        user % Example::FOLDS
    } else {
        number * Example::FOLDS / questions.max(1)
    }
}

/// For how many days a history is cut off.
const CUT_DAYS: [f64; 4] = [1.5, 3.0, 7.0, 14.0];
/// One validation question in so many is asked again with a history that was cut off.
const STALE_EVERY: usize = 5;

/// Asks some validation questions again of histories that end days before, as if the phone had been restored from a backup:
/// so that the router learns what an old history is worth.
fn record_stale(
    protocol: &Protocol<'_>,
    experts: [&dyn Predictor; 2],
    progress: &dyn Progress,
) -> Vec<Example> {
    let users = protocol.users.len();
    let of_user = |user: usize, (events, split): &(&[Event], Split)| {
        let mut both = BothExperts::new(experts);
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
            found.push(example(&mut both, &context, question.answer, fold, true));
        }
        progress.advance(1);
        found
    };
    largest_first(&protocol.users, |(events, _)| events.len(), of_user).concat()
}

/// What comes of an answer.
pub(super) fn judge(asked: Outcome, truth: Option<TrueDistribution<'_>>, answer: &Answer) -> Outcome {
    let candidates = &answer.prediction.candidates;
    let rank = candidates.iter().position(|candidate| candidate.app == asked.answer);
    let probability = rank.map_or(answer.prediction.none_of_these, |rank| candidates[rank].probability);
    Outcome {
        first: candidates.first().map(|first| first.app),
        rank: rank.map(|rank| rank as u32),
        confidence: candidates.first().map_or(0.0, |first| first.probability) as f32,
        probability: probability as f32,
        expected: truth.map(|truth| {
            let ranked = candidates.iter().map(|candidate| (candidate.app, candidate.probability));
            Expected::new(&truth, ranked, answer.prediction.none_of_these)
        }),
        ..asked
    }
}

/// A test question, answered in every way.
struct Judged {
    gain: f32,
    is_routed: bool,
    /// By the trees alone, as the router weighs them.
    alone: Outcome,
    /// By both.
    both: Outcome,
    /// As routed, without personalization.
    shared: Outcome,
    /// As routed, with personalization.
    personal: Outcome,
    /// By both, with personalization.
    full: Outcome,
    /// As routed, but with both experts' probabilities as they came, of equal weight.
    raw: Outcome,
}

/// What the test of a router gave.
pub struct RoutedTest {
    /// The router that was fitted.
    pub fitted: Fitted,
    /// Under its routing with personalization; every question by both experts, with personalization; under its routing without personalization.
    pub tested: [TestResult; 3],
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
    pub fn learning(&self) -> Vec<LearningPeriod> {
        learning(&self.judged())
    }

    fn judged(&self) -> Vec<&Judged> {
        self.judged.iter().flatten().collect()
    }
}

/// Fits a router to these experts (trees, transformer) on the validation questions.
///
/// # Errors
/// The routing is impossible, or an expert's scores are no numbers that weights could be fitted to.
pub fn fit_router(
    view: &TrainingView<'_>,
    experts: [&dyn Predictor; 2],
    routing: Routing,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let protocol = &Protocol::of_view(view);
    progress.start("routing", 2 * protocol.users.len() as u64);
    let validation = record(protocol, experts, progress);
    let fitted = fit_recorded(protocol, experts, &validation, routing, progress);
    progress.finish();
    fitted
}

/// Fits a router to what these experts said of the validation questions, and say of them with histories that were cut off.
fn fit_recorded(
    protocol: &Protocol<'_>,
    experts: [&dyn Predictor; 2],
    validation: &[Vec<Example>],
    routing: Routing,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let mut examples = validation.concat();
    examples.extend(record_stale(protocol, experts, progress));
    fit(&examples, routing)
}

/// Fits a router on the validation questions and tests it on the test questions: each user is a [`Person`] who observes the
/// whole log and is asked at each validation question, by experts that did not learn from it, and at each test question.
///
/// Where `shown` is given, each answer of the router is followed by what a phone with these settings would suggest, and by
/// the feedback that it was taken where the answer was among it, else ignored. Logs that were made without suggestions do
/// not tell what people would have done with them: that is for studies of feedback.
///
/// # Errors
/// The routing is impossible, `shown` cannot be shown by, or an expert's scores are no numbers that weights could be fitted
/// to.
pub fn test_router(
    view: &TrainingView<'_>,
    protocol: &Protocol<'_>,
    pair: &TestedExperts,
    routing: Routing,
    shown: Option<SuggestionSettings>,
    progress: &dyn Progress,
) -> Result<RoutedTest> {
    let before = Protocol::of_view(view);
    progress.start("routing", (2 * before.users.len() + protocol.users.len()) as u64);
    let validation = record(&before, pair.experts(1), progress);
    let fitted = fit_recorded(&before, pair.experts(1), &validation, routing, progress)?;
    // What the experts said of each user's validation questions: that user is asked them again.
    let mut said: HashMap<UserId, Vec<Example>> =
        before.users.iter().zip(validation).map(|((events, _), said)| (events[0].user, said)).collect();
    let validation: Vec<Vec<Example>> =
        protocol.users.iter().map(|(events, _)| said.remove(&events[0].user).unwrap_or_default()).collect();

    let as_they_came =
        RouterModel { blend: Blend::default(), calibration: Calibration::default(), ..fitted.model.clone() };
    let test = Test {
        protocol,
        experts: pair.experts(0),
        router: pair.router(&fitted.model, routing)?,
        full: pair.router(&fitted.model, Routing::Share(1.0))?,
        raw: pair.router(&as_they_came, routing)?,
        shown,
    };
    let live = |user: usize, (events, split): &(&[Event], Split)| {
        let lived = test.live(user, (events, split), &validation[user]);
        progress.advance(1);
        lived
    };
    let by_user: Result<Vec<_>> =
        largest_first(&protocol.users, |(events, _)| events.len(), live).into_iter().collect();
    progress.finish();
    let (before, judged): (Vec<_>, Vec<_>) = by_user?.into_iter().unzip();
    let (before, judged): (Vec<[Outcome; 3]>, Vec<Judged>) =
        (before.concat(), judged.into_iter().flatten().collect());

    let tested = |name: &str, way: usize, outcome: fn(&Judged) -> Outcome| {
        let validation: Vec<Outcome> = before.iter().map(|ways| ways[way]).collect();
        let threshold90 = choose_threshold(&validation, 0.9);
        let answered = |judged: &Judged| {
            let outcome = outcome(judged);
            Outcome { answered90: outcome.confidence >= threshold90, ..outcome }
        };
        TestResult {
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

/// A fitted router that is tested, and the others beside it, over the same experts.
struct Test<'a> {
    protocol: &'a Protocol<'a>,
    experts: [&'a dyn Predictor; 2],
    router: Router,
    /// The same, of which every question goes to both.
    full: Router,
    /// The same with both experts' probabilities as they came, of equal weight.
    raw: Router,
    shown: Option<SuggestionSettings>,
}

impl Test<'_> {
    /// Lets one user live through the log, who is asked the validation questions, by what both experts said of them, and the
    /// test questions.
    fn live(
        &self,
        user: usize,
        (events, split): (&[Event], &Split),
        validation: &[Example],
    ) -> Result<(Vec<[Outcome; 3]>, Vec<Judged>)> {
        let task = self.protocol.task;
        let (mut routed, mut full) = (self.phone(&self.router, user)?, self.phone(&self.full, user)?);
        let mut both = BothExperts::new(self.experts);
        let mut validation = validation.iter();
        let (mut room, mut before, mut judged) = (Room::default(), Vec::new(), Vec::new());
        let mut lived = 0;
        for (number, question) in questions(task, events).iter().enumerate().take(split.test.end) {
            for (position, event) in (lived..).zip(&events[lived..=question.asked_at]) {
                routed.observe(position, event)?;
                full.observe(position, event)?;
            }
            lived = question.asked_at + 1;
            let (is_validation, is_test) = (split.validation.contains(&number), split.test.contains(&number));
            if !is_validation && !is_test {
                continue;
            }
            let at = events[question.asked_at].at;
            let context = routed.person.history().context_at(at, task);
            let asked = Outcome::asked(self.protocol, user, question, &context);
            let recorded = if is_validation { validation.next() } else { None };
            // Of a user without a history, the view may have had other favourites.
            let recorded = recorded.filter(|said| said.by_trees.len() == context.candidates().len());
            let said = match recorded {
                Some(Example { by_trees, by_deep, .. }) => {
                    ExpertAnswers { by_trees: by_trees.clone(), by_deep: by_deep.clone() }
                }
                None => both.ask(&context),
            };
            let truth = self.protocol.truth_of(user, question);
            let personal = judge(asked, truth, routed.ask(&said, task, at, question, &mut room));
            let (gain, is_routed) = (room.answer.gain, room.answer.route == Route::Both);
            let full = judge(asked, truth, full.ask(&said, task, at, question, &mut room));
            let context = routed.person.history().context_at(at, task);
            let mut without_habits = |router: &Router, is_routed: bool| {
                let options = AskOptions { is_routed: Some(is_routed), said: Some(&said) };
                router.answer_as(options, &context, None, &mut room.scratch, &mut room.answer);
                judge(asked, truth, &room.answer)
            };
            if is_validation {
                before.push([personal, full, without_habits(&self.router, is_routed)]);
                continue;
            }
            let [alone, both] = [false, true].map(|is_routed| without_habits(&self.router, is_routed));
            judged.push(Judged {
                gain,
                is_routed,
                alone,
                both,
                shared: if is_routed { both } else { alone },
                personal,
                full,
                raw: without_habits(&self.raw, is_routed),
            });
        }
        Ok((before, judged))
    }

    fn phone<'a>(&self, router: &'a Router, user: usize) -> Result<Phone<'a>> {
        let settings = self.shown.unwrap_or_default();
        let person = Person::new(Arc::clone(&self.protocol.favourites), settings, user as u64)?;
        Ok(Phone { router, person, shows: self.shown.is_some(), awaited: None })
    }
}

/// Room for answers.
#[derive(Default)]
struct Room {
    scratch: Scratch,
    answer: Answer,
}

/// One user's phone in a test.
struct Phone<'a> {
    router: &'a Router,
    person: Person,
    /// Whether suggestions are made and get feedback.
    shows: bool,
    /// The suggestion that is shown, and the question that it answers.
    awaited: Option<(Suggestion, Question)>,
}

impl Phone<'_> {
    /// Observes the event at this `position` of the log, and tells what became of a suggestion that it answers.
    fn observe(&mut self, position: usize, event: &Event) -> Result<()> {
        self.person.observe(event);
        match self.awaited.take_if(|(_, question)| question.answered_at == position) {
            Some((suggestion, Question { answer, .. })) => {
                let was_taken = suggestion.apps().contains(&answer);
                let feedback = if was_taken { Feedback::Taken(answer) } else { Feedback::Ignored };
                self.person.feedback(suggestion.id, feedback)
            }
            None => Ok(()),
        }
    }

    fn ask<'a>(
        &mut self,
        said: &ExpertAnswers,
        task: Task,
        at: Timestamp,
        question: &Question,
        room: &'a mut Room,
    ) -> &'a Answer {
        let Room { scratch, answer } = room;
        let options = AskOptions { said: Some(said), ..AskOptions::default() };
        self.person.ask_as(options, self.router, task, at, scratch, answer);
        if self.shows {
            self.awaited = self.person.suggest(answer).map(|suggestion| (suggestion, *question));
        }
        answer
    }
}

/// Its name in tables and reports: under its routing, with personalization.
pub const ROUTER: &str = "router";
/// Every question by both experts, with personalization.
pub const ROUTER_FULL: &str = "router-full";
/// Under its routing, without personalization.
pub const ROUTER_SHARED: &str = "router-shared";

/// What a router did on the test questions; of several tests, the mean.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RoutingReport {
    /// The transformer that it asks.
    pub deep: String,
    /// Share of the test questions that went to the transformer.
    pub routed_share: f64,
    /// Figures while the share routed grows from nothing to everything: those of highest gain first.
    pub by_gate: Vec<RoutingPoint>,
    /// The same where questions are routed at random: what is expected.
    pub at_random: Vec<RoutingPoint>,
    /// The same where questions are routed by what the transformer turned out to gain: the bound.
    pub by_oracle: Vec<RoutingPoint>,
    /// Calibration error of the experts' probabilities as they came, and of the router's.
    pub calibration_error: [f64; 2],
    /// Confidence against hit rate, as they came and of the router.
    pub calibration: [Vec<super::metrics::CalibrationBin>; 2],
    /// From a user's first hour to the fourth week.
    pub learning: Vec<LearningPeriod>,
    /// Whether the gate's guesses come true; in JSON `router.gate` of the whole report.
    #[serde(skip)]
    pub gate: GateReport,
    /// Mean log loss on the questions that it, or the last of several, was fitted on: trees alone, transformer alone, both.
    pub validation_losses: Option<[f64; 3]>,
    /// The router's differences to others, on the same questions.
    pub against: Vec<PairedDifferences>,
}

/// Whether the gate's guesses come true, on the test questions, without personalization.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GateReport {
    /// Ten parts of the questions, those of least expected gain first.
    pub reliability: Vec<GateBin>,
    /// What "as much as pays" asks and gains at three costs.
    pub pays: Vec<CostPoint>,
}

/// Questions of about equal expected gain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GateBin {
    /// Mean gain that the gate expected, in nats of log loss.
    pub predicted: f64,
    /// Mean gain that came of asking both, in nats: less than 0 where the trees alone were better.
    pub realized: f64,
    /// Standard error of it.
    #[serde(skip)]
    pub error: f64,
    /// Questions in it.
    pub questions: usize,
}

/// What asking as much as pays comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CostPoint {
    /// What the transformer costs on top of the trees, in microseconds, a nat for 100 ms.
    pub cost_us: f32,
    /// The same in nats: the expected gain from which on it is asked.
    pub cost_nats: f64,
    /// Share of the questions that it is asked then.
    pub share: f64,
    /// What that takes off the mean log loss of the trees alone.
    pub gained: f64,
    /// The mean log loss.
    pub log_loss: f64,
    /// Hit rate at three.
    pub hr3: f64,
}

impl Judged {
    /// What both gained over the trees alone, in nats.
    fn realized(&self) -> f64 {
        self.alone.log_loss() - self.both.log_loss()
    }
}

/// Microseconds that "as much as pays" is judged at: the INT8 student from nothing (`docs/quantization.md`), ten of it, a hundred.
const COSTS_US: [f32; 3] = [25.0, 250.0, 2_500.0];

impl GateReport {
    /// Parts that the questions are divided into.
    const BINS: usize = 10;

    fn of(judged: &[&Judged]) -> Self {
        Self {
            reliability: reliability(judged),
            pays: COSTS_US.map(|cost_us| paid(judged, cost_us)).to_vec(),
        }
    }
}

/// Equal guesses share a bin, so that there may be fewer than ten.
fn reliability(judged: &[&Judged]) -> Vec<GateBin> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|a, b| a.gain.total_cmp(&b.gain));
    let (mut bins, mut from) = (Vec::new(), 0);
    for bin in 1..=GateReport::BINS {
        let mut end = (sorted.len() * bin / GateReport::BINS).max(from);
        while end > from && sorted.get(end).is_some_and(|next| next.gain == sorted[end - 1].gain) {
            end += 1;
        }
        let part = &sorted[from..end];
        from = end;
        if part.is_empty() {
            continue;
        }
        let questions = part.len() as f64;
        let mean =
            |value: &dyn Fn(&Judged) -> f64| part.iter().map(|judged| value(judged)).sum::<f64>() / questions;
        let realized = mean(&Judged::realized);
        let variance = mean(&|judged| (judged.realized() - realized).powi(2));
        bins.push(GateBin {
            predicted: mean(&|judged| f64::from(judged.gain)),
            realized,
            error: (variance / questions).sqrt(),
            questions: part.len(),
        });
    }
    bins
}

fn paid(judged: &[&Judged], cost_us: f32) -> CostPoint {
    let cost_nats = cost_us * Routing::NATS_PER_US;
    let is_asked = |judged: &Judged| judged.gain > cost_nats;
    let outcomes: Vec<Outcome> =
        judged.iter().map(|judged| if is_asked(judged) { judged.both } else { judged.alone }).collect();
    let alone: Vec<Outcome> = judged.iter().map(|judged| judged.alone).collect();
    let Metrics { log_loss, hr3, .. } = Metrics::of(&outcomes);
    let asked = judged.iter().filter(|judged| is_asked(judged)).count();
    CostPoint {
        cost_us,
        cost_nats: f64::from(cost_nats),
        share: asked as f64 / judged.len().max(1) as f64,
        gained: Metrics::of(&alone).log_loss - log_loss,
        log_loss,
        hr3,
    }
}

impl fmt::Display for GateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cell: &dyn Fn(&GateBin) -> String| {
            let cells: String = self.reliability.iter().map(|bin| format!("{:>9}", cell(bin))).collect();
            writeln!(f, "{name:<24}{cells}")
        };
        if !self.reliability.is_empty() && self.reliability.iter().all(|bin| bin.realized == 0.0) {
            return writeln!(
                f,
                "asking changes nothing: on the validation questions the blend was no better than one expert alone, and \
                 became that expert"
            );
        }
        writeln!(f, "what the gate expects and what comes of it, in nats, in ten parts of the questions:")?;
        row(f, "expected gain", &|bin| figure(bin.predicted, 4))?;
        row(f, "realized gain", &|bin| figure(bin.realized, 4))?;
        row(f, "standard error", &|bin| figure(bin.error, 4))?;
        for CostPoint { cost_us, cost_nats, share, gained, log_loss, hr3 } in &self.pays {
            writeln!(
                f,
                "as much as pays at {cost_us:.0} µs ({cost_nats:.5} nats): asks about {:.1} %, log loss {} ({} gained), \
                 HR@3 {hr3:.4}",
                100.0 * share,
                figure(*log_loss, 4),
                figure(*gained, 4)
            )?;
        }
        Ok(())
    }
}

/// Figures at a share routed, without personalization.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RoutingPoint {
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
pub struct LearningPeriod {
    /// Until when, since the user's first event.
    pub until: &'static str,
    /// Questions in it.
    pub questions: usize,
    /// Hit rate at one: of the trees, of the router without personalization, of the router.
    pub hr1: [f64; 3],
    /// Of three.
    pub hr3: [f64; 3],
    /// Mean log loss.
    pub log_loss: [f64; 3],
}

/// What one has more than another, on the same questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairedDifferences {
    /// Who is compared.
    pub name: String,
    /// With whom.
    pub with: String,
    /// Differences in HR@1, HR@3, HR@5 and log loss, each with its 95 % interval where there is one.
    pub differences: [(f64, Option<super::Interval>); 4],
}

impl PairedDifferences {
    /// What `name` has more than `with`.
    pub fn new(name: &TestResult, with: &TestResult) -> Self {
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
pub(super) const STRETCHES: [(&str, i64); 8] = [
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
const KNOW_NOTHING_OR_ALL: [&str; 4] = ["recent", "frequent", "markov", "bayes-optimal"];

impl RoutingReport {
    /// Compares the routers among `tested` with everyone else there who has learned anything.
    pub fn compare(&mut self, tested: &[TestResult]) {
        let routers = tested.iter().filter(|tested| [ROUTER, ROUTER_FULL].contains(&tested.name.as_str()));
        for router in routers {
            let others = tested.iter().filter(|other| {
                other.name != router.name && !KNOW_NOTHING_OR_ALL.contains(&other.name.as_str())
            });
            self.against.extend(others.map(|other| PairedDifferences::new(router, other)));
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
            by_oracle: by(&Judged::realized),
            by_gate,
            at_random,
            calibration_error: [&raw, &personal].map(|outcomes| Metrics::of(outcomes).calibration_error),
            calibration: [&raw, &personal].map(|outcomes| super::metrics::calibration_curve(outcomes, 10)),
            learning: test.learning(),
            gate: GateReport::of(&judged),
            validation_losses: test.fitted.losses,
            against: Vec::new(),
        }
    }
}

/// Steps of the share routed.
const STEPS: usize = 20;

/// Figures at each share, where the first of `order` are routed first.
fn shares(order: &[&Judged]) -> Vec<RoutingPoint> {
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
        RoutingPoint { share: step as f64 / STEPS as f64, hr1, hr3, hr5, log_loss }
    };
    (0..=STEPS).map(at).collect()
}

impl RoutingPoint {
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

fn learning(judged: &[&Judged]) -> Vec<LearningPeriod> {
    let mut from = i64::MIN;
    let mut stretches = Vec::new();
    for (until, end) in STRETCHES {
        let part = judged.iter().filter(|judged| (from..end).contains(&judged.alone.since_start_secs));
        let part: Vec<&Judged> = part.copied().collect();
        from = end;
        if part.is_empty() {
            continue;
        }
        let ways: [fn(&Judged) -> Outcome; 3] = [|j| j.alone, |j| j.shared, |j| j.personal];
        let metrics = ways.map(|way| Metrics::of(&part.iter().map(|judged| way(judged)).collect::<Vec<_>>()));
        stretches.push(LearningPeriod {
            until,
            questions: metrics[0].questions,
            hr1: metrics.map(|metrics| metrics.hr1),
            hr3: metrics.map(|metrics| metrics.hr3),
            log_loss: metrics.map(|metrics| metrics.log_loss),
        });
    }
    stretches
}
