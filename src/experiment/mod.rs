//! From a log to a report: train on the earlier questions of each user, compare on the later ones.

mod deep;
mod quantization;
mod round;
mod routing;

pub use deep::DeepPlan;
pub use quantization::{Quantization, QuantizationPlan, Variant, WindowCost};
use round::{RANKER, Round, Rounds};
pub use routing::RouterPlan;

use crate::baseline::Optimum;
use crate::context::features::SCHEMA;
use crate::context::{Lesson, Task, favourites, questions};
use crate::data::simulate::Truth;
use crate::data::{AppId, Event, Log, Split, SplitPlan, Timestamp, UserId, Vocabulary, most_launched};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::report::FeatureImportance;
use crate::evaluate::{
    AnswerLatency, ModelReport, Protocol, ROUTER, ROUTER_FULL, ROUTER_SHARED, Report, Tested, fit_temperature,
};
use crate::model::Model;
use crate::progress::Progress;
use crate::quantize::QuantizedModel;
use crate::ranker::{Ranker, RankerConfig};
use crate::router::RouterModel;
use crate::transformer::{Course, RunFolder, Teacher, TrainedTransformer, Transformer, TransformerModel};

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Experiment {
    /// The task.
    pub task: Task,
    /// How each user's questions are parted.
    pub split: SplitPlan,
    /// How the ranker is trained.
    pub ranker: RankerConfig,
    /// The transformers that take part.
    pub transformers: Vec<DeepPlan>,
    /// The router that takes part, if one does.
    pub router: Option<RouterPlan>,
    /// Names of the predictors that are compared; none compares all.
    pub models: Vec<String>,
    /// Whether users that training never saw are tested too.
    pub cold_start: bool,
    /// How many times more everything is trained and tested, each time with the next seeds. Figures are then the means of
    /// all runs: of few people, what one seed makes of a model is partly chance.
    pub repeats: u32,
}

/// What an experiment gave.
#[derive(Debug)]
pub struct Findings {
    /// The comparison.
    pub report: Report,
    /// The ranker that was tested.
    pub model: Model,
    /// The first transformer that was tested in whole numbers.
    pub quantized: Option<QuantizedModel>,
    /// The router that was tested.
    pub router: Option<RouterModel>,
}

/// One user: events and when the questions were asked.
struct Person<'a> {
    events: &'a [Event],
    asked: Vec<Timestamp>,
}

impl Person<'_> {
    fn questions(&self) -> usize {
        self.asked.len()
    }
}

impl Experiment {
    /// Trains and compares all predictors on `log`; `truth` adds the best possible one of simulated people.
    ///
    /// # Errors
    /// The log has no question of the task, or the configuration is impossible.
    pub fn run(
        &self,
        log: &Log,
        vocabulary: &Vocabulary,
        truth: Option<&Truth>,
        progress: &dyn Progress,
    ) -> Result<Findings> {
        self.check()?;
        let people = self.people(log)?;
        self.check_parts(&people)?;
        let optimum = truth.filter(|_| self.task == Task::FirstAfterUnlock).map(|truth| Optimum { truth });
        let router = self.router.as_ref();
        let (mut rounds, mut cold, mut last_round) = (Rounds::default(), Rounds::default(), None);
        for (run, experiment) in self.runs() {
            for round in 0..self.split.rounds() {
                let splits = people.iter().map(|person| self.split.split(&person.asked, round)).collect();
                let round =
                    Round::new(&experiment, &people, splits, vocabulary, truth, progress)?.of_run(run);
                rounds.test(&round, optimum.as_ref(), router, progress)?;
                last_round = Some(round);
            }
            if self.cold_start {
                experiment.test_cold_start(run, &people, vocabulary, &mut cold, progress)?;
            }
        }
        let Some(last_round) = last_round else {
            return Err(Error::new(ErrorKind::Config, "a rolling origin of no blocks")
                .next_step("ask for one or more"));
        };
        let routing = rounds.routing(router);
        let Rounds { tested, routed } = rounds;
        let latencies = last_round.latency(optimum.as_ref(), routed.as_ref().zip(router))?;
        let users: Vec<UserId> = people.iter().map(|person| person.events[0].user).collect();
        let mut report = Report {
            task: self.task,
            split: self.split,
            users: people.len(),
            runs: self.repeats + 1,
            features_us: latencies.features,
            scoring_us: latencies.scoring,
            models: model_reports(&tested, &latencies.answers, &users),
            cold_start: model_reports(&cold.tested, &[], &users),
            cold_learning: cold.routed.map_or(Vec::new(), |routed| routed.learning()),
            routing,
            importance: importance(&last_round.trained.ranker),
        };
        if let Some(routing) = &report.routing {
            let shares =
                [(ROUTER, routing.routed_share), (ROUTER_SHARED, routing.routed_share), (ROUTER_FULL, 1.0)];
            for model in &mut report.models {
                let share = shares.iter().find(|(name, _)| *name == model.name);
                model.routed_share = share.map(|(_, share)| *share);
            }
        }
        let of_ranker = tested.iter().find(|tested| tested.name == RANKER);
        let temperature = of_ranker.map_or(1.0, |tested| tested.temperature);
        let model = self.model(&last_round, temperature, vocabulary);
        let quantized = last_round.transformers.iter().find_map(|contender| {
            let mut model = contender.quantized.clone()?;
            model.temperature = tested.iter().find(|tested| tested.name == contender.name)?.temperature;
            Some(model)
        });
        let router = routed.map(|routed| routed.fitted.model);
        Ok(Findings { report, model, quantized, router })
    }

    /// Trains a ranker on all of `log` but the test questions of the split; the validation questions tell when to stop, and
    /// are then learned from too.
    ///
    /// # Errors
    /// The log has no question of the task, or the configuration is impossible.
    pub fn train(&self, log: &Log, vocabulary: &Vocabulary, progress: &dyn Progress) -> Result<Trained> {
        self.check_shares(false)?;
        let people = self.people(log)?;
        let splits = people.iter().map(|person| self.split.split(&person.asked, 0)).collect();
        let round = Round::new(
            &Self { transformers: Vec::new(), ..self.clone() },
            &people,
            splits,
            vocabulary,
            None,
            progress,
        )?;
        let temperature = fit_temperature(&round.protocol, &round.trained.without_validation, progress);
        let model = self.model(&round, temperature, vocabulary);
        Ok(Trained { model, losses: round.trained.losses })
    }

    /// Trains a transformer on all of `log` but the test questions of the split; the validation questions tell when to stop.
    /// On simulated people `teacher` may know the truth.
    ///
    /// # Errors
    /// The log has no question of the task, or what [`DeepPlan::train`] says.
    pub fn train_transformer(
        &self,
        plan: &DeepPlan,
        log: &Log,
        vocabulary: &Vocabulary,
        teacher: Option<Teacher<'_>>,
        folder: Option<&RunFolder>,
        progress: &dyn Progress,
    ) -> Result<(TransformerModel, Option<TrainedTransformer>)> {
        let people = self.people(log)?;
        let splits: Vec<Split> = people.iter().map(|person| self.split.split(&person.asked, 0)).collect();
        let apps = apps_before_test(&people, &splits);
        let favourites = favourites(apps.iter().copied());
        let lessons: Vec<Lesson<'_>> = people.iter().zip(&splits).map(lesson).collect();
        let course =
            Course { task: self.task, vocabulary, favourites: &favourites, lessons: &lessons, teacher };
        let (mut model, trained) = plan.train(&course, folder, progress)?;
        let users = people.iter().map(|person| person.events).zip(splits).collect();
        let protocol = Protocol { task: self.task, favourites, users, truth: None, run: 0 };
        model.temperature = fit_temperature(&protocol, &Transformer::new(&model, vocabulary)?, progress);
        Ok((model, trained))
    }

    /// Itself and its repetitions with other seeds, numbered. The repetitions come first: whatever is kept of the last round
    /// is of its own seeds.
    fn runs(&self) -> impl Iterator<Item = (u32, Self)> {
        (0..=self.repeats).rev().map(|run| {
            let mut other = self.clone();
            let seeds = other.transformers.iter_mut().map(|plan| &mut plan.recipe.training.seed);
            seeds
                .chain([&mut other.ranker.gbdt.seed])
                .for_each(|seed| *seed = seed.wrapping_add(u64::from(run)));
            (run, other)
        })
    }

    fn check(&self) -> Result<()> {
        self.check_shares(true)
    }

    /// Refuses a split that is none, or that leaves nothing to score where something is to be scored.
    fn check_shares(&self, is_tested: bool) -> Result<()> {
        let is_share = |share: f64| (0.0..1.0).contains(&share);
        match self.split {
            SplitPlan::Shares { validation, test }
                if !(is_share(validation)
                    && is_share(test)
                    && (test > 0.0 || !is_tested)
                    && validation + test < 1.0) =>
            {
                Err(Error::new(
                    ErrorKind::Config,
                    format!("a validation share of {validation} and a test share of {test}"),
                )
                .next_step("choose shares that leave something to train on, such as 0.15 and 0.2"))
            }
            SplitPlan::LastDays(0) => {
                Err(Error::new(ErrorKind::Config, "a test of no days").next_step("ask for one or more"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a split that leaves nothing to score, or nothing to learn from.
    fn check_parts(&self, people: &[Person<'_>]) -> Result<()> {
        let splits: Vec<Split> = people.iter().map(|person| self.split.split(&person.asked, 0)).collect();
        let too_short = |message: String, next_step: &str| {
            Err(Error::new(ErrorKind::Data, message).next_step(next_step.to_owned()))
        };
        let most_questions = people.iter().map(Person::questions).max().unwrap_or(0);
        match self.split {
            SplitPlan::Shares { test, .. } if splits.iter().all(|split| split.test.is_empty()) => {
                let questions: usize = people.iter().map(|person| person.questions()).sum();
                let has = if questions == 1 { "1 question" } else { &format!("{questions} questions") };
                let message =
                    format!("the log has {has}; a test share of {test} of each person's is none to score");
                too_short(message, "give a longer log")
            }
            SplitPlan::LastDays(days) if splits.iter().all(|split| split.train.is_empty()) => {
                let message = format!("the last {days} days leave no question before them to learn from");
                too_short(message, "give a longer log, or ask for fewer days")
            }
            SplitPlan::RollingOrigin(blocks) if blocks > most_questions / 2 => {
                let message = format!("{blocks} blocks for at most {most_questions} questions a user");
                Err(Error::new(ErrorKind::Config, message).next_step("ask for fewer, or give a longer log"))
            }
            _ => Ok(()),
        }
    }

    fn people<'a>(&self, log: &'a Log) -> Result<Vec<Person<'a>>> {
        let people: Vec<Person<'_>> = log
            .users()
            .map(|events| {
                let questions = questions(self.task, events);
                let asked = questions.iter().map(|question| events[question.asked_at].at).collect();
                Person { events, asked }
            })
            .filter(|person| person.questions() > 0)
            .collect();
        if people.is_empty() {
            return Err(Error::new(
                ErrorKind::Data,
                format!("the log has no question of the task {}", self.task),
            )
            .next_step(
                "give a longer log, or the other --task: one without unlocks has no first-after-unlock",
            ));
        }
        Ok(people)
    }

    fn model(&self, round: &Round<'_>, temperature: f64, vocabulary: &Vocabulary) -> Model {
        let apps = round.apps.iter().map(|&app| vocabulary.name(app).to_owned()).collect();
        let ranker = round.trained.ranker.clone();
        Model { task: self.task, ranker, temperature, apps, config: self.ranker.clone() }
    }

    /// Tests users that training never saw on all their questions: one in five where users are many, each in turn
    /// where they are few.
    fn test_cold_start(
        &self,
        run: u32,
        people: &[Person<'_>],
        vocabulary: &Vocabulary,
        rounds: &mut Rounds,
        progress: &dyn Progress,
    ) -> Result<()> {
        let folds: Vec<Vec<usize>> = match people.len() {
            0 | 1 => Vec::new(),
            few @ ..10 => (0..few).map(|user| vec![user]).collect(),
            many => vec![(0..many).step_by(5).collect()],
        };
        // Who is taken as it is may have seen anybody.
        let transformers =
            self.transformers.iter().filter(|plan| plan.recipe.epochs > 0.0).cloned().collect();
        let only_trained = Self { transformers, ..self.clone() };
        for unseen in folds {
            let split = |(user, person): (usize, &Person<'_>)| match unseen.contains(&user) {
                true => Split { train: 0..0, validation: 0..0, test: 0..person.questions() },
                false => no_test(self, person),
            };
            let splits = people.iter().enumerate().map(split).collect();
            let round = Round::new(&only_trained, people, splits, vocabulary, None, progress)?.of_run(run);
            rounds.test(&round, None, self.router.as_ref(), progress)?;
        }
        Ok(())
    }
}

/// What training gave.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// Mean validation loss a question after each round; empty without validation questions.
    pub losses: Vec<f64>,
}

fn no_test(experiment: &Experiment, person: &Person<'_>) -> Split {
    let split = experiment.split.split(&person.asked, 0);
    let share = split.validation.len() as f64 / person.questions().max(1) as f64;
    SplitPlan::Shares { validation: share, test: 0.0 }.split(&person.asked, 0)
}

fn lesson<'a>((person, split): (&Person<'a>, &Split)) -> Lesson<'a> {
    Lesson { events: person.events, train: split.train.clone(), validation: split.validation.clone() }
}

/// The apps of the events up to the test, most launched first.
fn apps_before_test(people: &[Person<'_>], splits: &[Split]) -> Vec<AppId> {
    most_launched(people.iter().zip(splits).map(|(person, split)| before_test(person, split)))
}

/// The events up to the first test question.
fn before_test<'a>(person: &Person<'a>, split: &Split) -> &'a [Event] {
    let first = person.asked.get(split.test.start);
    let until =
        first.map_or(person.events.len(), |first| person.events.partition_point(|event| event.at < *first));
    &person.events[..until]
}

fn model_reports(tested: &[Tested], latencies: &[AnswerLatency], users: &[UserId]) -> Vec<ModelReport> {
    let report = |(index, tested): (usize, &Tested)| {
        let latency = latencies.get(index).copied().unwrap_or_default();
        let report = ModelReport::new(tested, latency.from_nothing, users);
        ModelReport { latency_prefilled_us: latency.prefilled, ..report }
    };
    tested.iter().enumerate().map(report).collect()
}

fn importance(ranker: &Ranker) -> Vec<FeatureImportance> {
    let importance = ranker.forest().ensemble().importance();
    let total: f64 = importance.iter().map(|feature| feature.gain).sum();
    let share = |gain: f64| if total > 0.0 { gain / total } else { 0.0 };
    let features = SCHEMA.iter().zip(importance);
    let mut features: Vec<FeatureImportance> = features
        .map(|(feature, importance)| FeatureImportance {
            name: feature.name,
            gain_share: share(importance.gain),
            splits: importance.splits,
        })
        .collect();
    features.sort_by(|a, b| b.gain_share.total_cmp(&a.gain_share));
    features
}
