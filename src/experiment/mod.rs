//! From a log to a report: train on the earlier questions of each user, compare on the later ones.
//!
//! ```text
//! log -> each user's questions, split by time -> TrainingView (what came before the test, and nothing else)
//!     -> every Method learns from the view -> what each gave answers the test questions -> Report
//! ```

mod as_shipped;
mod benchmark;
mod check;
mod compare;
mod method;
mod quantization;
mod ranker;
mod round;
mod routing;
mod save;
mod transformer;

pub use as_shipped::{AsShipped, train_on_others};
pub use benchmark::{BenchmarkProtocol, BenchmarkReport, BenchmarkResult, PreparedLog, RepeatedOpens};
pub use check::no_question;
pub use compare::{BundleComparison, BundleFigures, compare_bundles};
pub use method::{Artifact, Failure, Learned, Learner, Method, Training};
pub use quantization::{Quantization, QuantizationPlan, Variant, WindowCost};
use round::{Round, Rounds};
pub use routing::RouterPlan;
use std::collections::BTreeSet;
use std::path::PathBuf;
pub use transformer::{QuantizedPlan, TransformerPlan};

use crate::baseline::BayesOptimal;
use crate::context::{Task, TrainingView, questions};
use crate::data::simulate::Truth;
use crate::data::{Event, Log, QuestionTime, Split, SplitPlan, UserId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{
    AnswerLatency, ModelReport, ROUTER, ROUTER_FULL, ROUTER_SHARED, Report, TestResult, fit_temperature,
};
use crate::model::RankerModel;
use crate::progress::Progress;
use crate::quantize::QuantizedModel;
use crate::ranker::{RankerConfig, train_ranker};
use crate::router::RouterModel;
use crate::transformer::{
    RunFolder, Teacher, TrainedTransformer, TrainingSet, Transformer, TransformerModel,
};
use ranker::{RANKER, importance};

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The task.
    pub task: Task,
    /// How each user's questions are parted.
    pub split: SplitPlan,
    /// What takes part, in the order of training and of the tables: predictors as they are, and learners.
    pub methods: Vec<Method>,
    /// The router that takes part, if one does.
    pub router: Option<RouterPlan>,
    /// Names of those that are compared; none compares all. The others are trained for those that need them.
    pub models: Vec<String>,
    /// Whether users that training never saw are tested too.
    pub cold_start: bool,
    /// How many times more everything is trained and tested, each time with the next seeds. Figures are then the means of
    /// all runs: of few people, what one seed makes of a model is partly chance.
    pub repeats: u32,
    /// Where each model is written as it was trained, a new folder or an empty one: `NAME.EXTENSION`, those of several
    /// runs, blocks and of a cold start in folders of their own.
    pub save_models: Option<PathBuf>,
}

impl Default for Experiment {
    /// The baselines and the usual ranker, on the last 15 % of each user's questions.
    fn default() -> Self {
        Self::with_ranker(RankerConfig::default())
    }
}

/// What an experiment gave.
#[derive(Debug)]
pub struct ExperimentResult {
    /// The comparison.
    pub report: Report,
    /// Methods that dropped out, which the report has no figures of.
    pub failures: Vec<Failure>,
    /// The ranker that was tested, where one was.
    pub model: Option<RankerModel>,
    /// The first transformer that was tested in INT8.
    pub quantized: Option<QuantizedModel>,
    /// The router that was tested.
    pub router: Option<RouterModel>,
}

/// One user: events and when the questions were asked and answered.
struct PersonLog<'a> {
    events: &'a [Event],
    times: Vec<QuestionTime>,
}

impl PersonLog<'_> {
    fn questions(&self) -> usize {
        self.times.len()
    }
}

impl Experiment {
    /// The baselines and this ranker, under the name `gbdt`.
    pub fn with_ranker(config: RankerConfig) -> Self {
        let mut methods = Method::baselines();
        methods.push(Method::new(RANKER, config));
        Self {
            task: Task::default(),
            split: SplitPlan::default(),
            methods,
            router: None,
            models: Vec::new(),
            cold_start: false,
            repeats: 0,
            save_models: None,
        }
    }

    /// Adds a transformer under its plan's name, and where `quantized`, the same in INT8 under that name with `-int8`.
    pub fn add_transformer(&mut self, plan: TransformerPlan, quantized: bool) {
        let name = plan.name.clone();
        let in_int8 = QuantizedPlan { of: name.clone(), is_pretrained: plan.is_pretrained() };
        let int8 = format!("{name}-int8");
        self.methods.push(Method::new(name, plan));
        if quantized {
            self.methods.push(Method::new(int8, in_int8));
        }
    }

    /// Trains and compares all methods on `log`; `truth` adds the best possible predictor of simulated people.
    ///
    /// A method that fails, in training or in a test, by an error, a panic or scores that are none, is among the
    /// failures; the others go on.
    ///
    /// # Errors
    /// The log has no question of the task, the split, the router or a method's configuration is impossible, a name is taken
    /// twice, or every method failed.
    pub fn run(
        &self,
        log: &Log,
        vocabulary: &Vocabulary,
        truth: Option<&Truth>,
        progress: &dyn Progress,
    ) -> Result<ExperimentResult> {
        self.check()?;
        let people = self.people(log)?;
        self.check_parts(&people)?;
        let bayes_optimal =
            truth.filter(|_| self.task == Task::FirstAfterUnlock).map(|truth| BayesOptimal { truth });
        let router = self.router.as_ref();
        let (mut rounds, mut cold, mut last_round) = (Rounds::default(), Rounds::default(), None);
        let mut failures = Vec::new();
        // The repetitions come first: whatever is kept of the last round is of the methods' own seeds.
        for run in (0..=self.repeats).rev() {
            for number in 0..self.split.rounds() {
                let splits = people.iter().map(|person| self.split.split(&person.times, number)).collect();
                let round =
                    Round::new(self, &people, splits, vocabulary, (run, truth), &mut failures, progress)?;
                let temperatures =
                    rounds.test(&round, bayes_optimal.as_ref(), router, &mut failures, progress);
                if let Some(folder) = self.folder_of(run, number) {
                    let routed = router.zip(rounds.routed.as_ref());
                    save::round(&folder, &round, &temperatures, routed)
                        .unwrap_or_else(|error| failures.push(Failure::new("--save-models", error)));
                }
                last_round = Some(round);
            }
            if self.cold_start {
                self.test_cold_start((run, truth), &people, vocabulary, &mut cold, &mut failures, progress)?;
            }
        }
        let Some(last_round) = last_round else {
            return Err(Error::new(ErrorKind::Config, "a rolling origin of no blocks")
                .next_step("ask for one or more"));
        };
        [&mut rounds, &mut cold].into_iter().for_each(|rounds| rounds.drop_failed(&failures));
        if rounds.tested.is_empty()
            && let Some(first) = failures.drain(..).next()
        {
            return Err(first.error);
        }
        let routing = rounds.routing(router);
        let Rounds { tested, routed } = rounds;
        let latencies = last_round.latency(&tested, bayes_optimal.as_ref(), routed.as_ref().zip(router))?;
        let users: Vec<UserId> = people.iter().map(|person| person.events[0].user).collect();
        let mut report = Report {
            task: self.task,
            split: self.split,
            users: tested.first().map_or(0, users_of),
            runs: self.repeats + 1,
            features_us: latencies.features,
            scoring_us: latencies.scoring,
            models: model_reports(&tested, &latencies.answers, &users),
            cold_start: model_reports(&cold.tested, &[], &users),
            cold_learning: cold.routed.map_or(Vec::new(), |routed| routed.learning()),
            routing,
            importance: last_round.ranker().map_or(Vec::new(), importance),
        };
        if let Some(routing) = &report.routing {
            let shares =
                [(ROUTER, routing.routed_share), (ROUTER_SHARED, routing.routed_share), (ROUTER_FULL, 1.0)];
            for model in &mut report.models {
                let share = shares.iter().find(|(name, _)| *name == model.name);
                model.routed_share = share.map(|(_, share)| *share);
            }
        }
        let temperature =
            |name: &str| tested.iter().find(|tested| tested.name == name).map(|tested| tested.temperature);
        let model = last_round.model(RANKER, temperature(RANKER).unwrap_or(1.0));
        let quantized = last_round
            .learned
            .iter()
            .find_map(|(name, _)| last_round.quantized(name, temperature(name).unwrap_or(1.0)));
        let router = routed.map(|routed| routed.fitted.model);
        Ok(ExperimentResult { report, failures, model, quantized, router })
    }

    /// Trains a ranker on all of `log` but the test questions of the split; the validation questions tell when to stop, and
    /// are then learned from too.
    ///
    /// # Errors
    /// The log has no question of the task, or the configuration is impossible.
    pub fn train(
        &self,
        config: &RankerConfig,
        log: &Log,
        vocabulary: &Vocabulary,
        progress: &dyn Progress,
    ) -> Result<Trained> {
        self.check_shares(false)?;
        let view = self.view(log, vocabulary)?;
        let trained = train_ranker(config, &view, progress)?;
        let temperature = fit_temperature(&view, &trained.without_validation, progress)?;
        let apps = view.launched().iter().map(|&app| view.name(app).to_owned()).collect();
        let model = RankerModel {
            task: self.task,
            ranker: trained.ranker,
            temperature,
            apps,
            config: config.clone(),
        };
        Ok(Trained { model, losses: trained.losses })
    }

    /// Trains a transformer on all of `log` but the test questions of the split; the validation questions tell when to stop.
    /// On simulated people `teacher` may know the truth.
    ///
    /// # Errors
    /// The log has no question of the task, or what [`TransformerPlan::train`] says.
    pub fn train_transformer(
        &self,
        plan: &TransformerPlan,
        log: &Log,
        vocabulary: &Vocabulary,
        teacher: Option<Teacher<'_>>,
        folder: Option<&RunFolder>,
        progress: &dyn Progress,
    ) -> Result<(TransformerModel, Option<TrainedTransformer>)> {
        let view = self.view(log, vocabulary)?;
        let (mut model, trained) = plan.train(&TrainingSet { view: &view, teacher }, folder, progress)?;
        model.temperature = fit_temperature(&view, &Transformer::new(&model, vocabulary)?, progress)?;
        Ok((model, trained))
    }

    /// What may be learned from in the first round of the split.
    ///
    /// # Errors
    /// The log has no question of the task.
    pub fn view<'a>(&self, log: &'a Log, vocabulary: &'a Vocabulary) -> Result<TrainingView<'a>> {
        let people = self.people(log)?;
        let split = people.iter().map(|person| (person.events, self.split.split(&person.times, 0)));
        Ok(TrainingView::new(self.task, vocabulary, split))
    }

    fn people<'a>(&self, log: &'a Log) -> Result<Vec<PersonLog<'a>>> {
        let mut people: Vec<PersonLog<'_>> = log
            .users()
            .map(|events| {
                let time = |question: &crate::context::Question| QuestionTime {
                    asked: events[question.asked_at].at,
                    answered: events[question.answered_at].at,
                };
                PersonLog { events, times: questions(self.task, events).iter().map(time).collect() }
            })
            .filter(|person| person.questions() > 0)
            .collect();
        // By when each is first heard of: the order of a log's rows may come of whatever was written later.
        people.sort_by_key(|person| (person.events[0].at, person.events[0].user));
        if people.is_empty() {
            return Err(no_question(log, self.task));
        }
        Ok(people)
    }

    /// Tests users that training never saw on all their questions: one in five where users are many, each in turn
    /// where they are few. The others are learned from whole, or up to the moment from which on everything is test.
    fn test_cold_start(
        &self,
        (run, truth): (u32, Option<&Truth>),
        people: &[PersonLog<'_>],
        vocabulary: &Vocabulary,
        rounds: &mut Rounds,
        failures: &mut Vec<Failure>,
        progress: &dyn Progress,
    ) -> Result<()> {
        // Who has nothing to learn from is unseen in any case.
        let known: Vec<usize> =
            (0..people.len()).filter(|&user| !no_test(self, &people[user]).train.is_empty()).collect();
        let folds: Vec<Vec<usize>> = match known.len() {
            0 | 1 => Vec::new(),
            ..10 => known.iter().map(|&user| vec![user]).collect(),
            _ => vec![known.into_iter().step_by(5).collect()],
        };
        // Who is taken as it is may have seen anybody.
        let methods: Vec<Method> =
            self.methods.iter().filter(|method| !method.learner.is_pretrained()).cloned().collect();
        let only_trained = Self { methods, ..self.clone() };
        for unseen in folds {
            let split = |(user, person): (usize, &PersonLog<'_>)| match unseen.contains(&user) {
                true => Split { train: 0..0, validation: 0..0, test: 0..person.questions() },
                false => no_test(self, person),
            };
            let splits = people.iter().enumerate().map(split).collect();
            let round =
                Round::new(&only_trained, people, splits, vocabulary, (run, truth), failures, progress)?;
            let router = self.router.as_ref();
            let mut alone = Rounds::default();
            let temperatures = alone.test(&round, None, router, failures, progress);
            if let Some(folder) = self.folder_of(run, 0) {
                let without = match unseen[..] {
                    [one] => format!("without-{}", people[one].events[0].user),
                    _ => "without-one-in-five".to_owned(),
                };
                let folder = folder.join("cold-start").join(without);
                save::round(&folder, &round, &temperatures, router.zip(alone.routed.as_ref()))
                    .unwrap_or_else(|error| failures.push(Failure::new("--save-models", error)));
            }
            rounds.append(alone);
        }
        Ok(())
    }

    /// Where the models of a round are written, if anywhere.
    fn folder_of(&self, run: u32, round: usize) -> Option<PathBuf> {
        let mut folder = self.save_models.clone()?;
        if self.repeats > 0 {
            folder.push(format!("run-{run}"));
        }
        if let SplitPlan::RollingOrigin(_) = self.split {
            folder.push(format!("block-{}", round + 1));
        }
        Some(folder)
    }
}

/// What training gave.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: RankerModel,
    /// Mean validation loss a question after each round; empty without validation questions.
    pub losses: Vec<f64>,
}

/// All of a person's questions that may be learned from, parted as by the experiment's split, and none to test.
fn no_test(experiment: &Experiment, person: &PersonLog<'_>) -> Split {
    let split = experiment.split.split(&person.times, 0);
    if let SplitPlan::From(_) = experiment.split {
        let end = person.questions();
        return Split { test: end..end, ..split };
    }
    let share = split.validation.len() as f64 / person.questions().max(1) as f64;
    SplitPlan::Shares { validation: share, test: 0.0 }.split(&person.times, 0)
}

/// How many users had a question.
fn users_of(tested: &TestResult) -> usize {
    tested.test.iter().map(|outcome| outcome.user).collect::<BTreeSet<u32>>().len()
}

fn model_reports(tested: &[TestResult], latencies: &[AnswerLatency], users: &[UserId]) -> Vec<ModelReport> {
    let report = |(index, tested): (usize, &TestResult)| {
        let latency = latencies.get(index).copied().unwrap_or_default();
        let report = ModelReport::new(tested, latency.from_nothing, users);
        ModelReport { latency_prefilled_us: latency.prefilled, ..report }
    };
    tested.iter().enumerate().map(report).collect()
}
