//! From a log to a report: train on the earlier questions of each user, compare on the later ones.

mod deep;
mod quantization;
mod routing;

pub use deep::DeepPlan;
use deep::{DeepContender, train_all};
pub use quantization::{Quantization, QuantizationPlan, Variant};
pub use routing::RouterPlan;
use routing::with_router;

use crate::baseline::{Markov, MostFrequent, MostRecent, Optimum};
use crate::context::features::SCHEMA;
use crate::context::{Lesson, Task, favourites, questions};
use crate::data::simulate::Truth;
use crate::data::{AppId, Event, Log, Split, SplitPlan, Timestamp, UserId, Vocabulary, most_launched};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::report::FeatureImportance;
use crate::evaluate::{
    Contender, Latencies, Latency, Learned, ModelReport, Protocol, ROUTER, ROUTER_FULL, ROUTER_SHARED,
    Report, RoutedTest, Tested, fit_temperature, measure_latency, test,
};
use crate::model::Model;
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::QuantizedModel;
use crate::ranker::{Ranker, RankerConfig, TrainedRanker, train_ranker};
use crate::router::{Router, RouterModel};
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
        let mut tested: Vec<Tested> = Vec::new();
        let (mut last_round, mut last_router) = (None, None);
        for round in 0..self.split.rounds() {
            let splits = people.iter().map(|person| self.split.split(&person.asked, round)).collect();
            let round = Round::new(self, &people, splits, vocabulary, truth, progress)?;
            let optimum =
                truth.filter(|_| self.task == Task::FirstAfterUnlock).map(|truth| Optimum { truth });
            let found = round.test(optimum.as_ref(), progress);
            let routed = round.test_router(self.router.as_ref(), progress)?;
            append_all(&mut tested, with_router(&round, found, routed.as_ref()));
            last_round = Some((round, optimum));
            last_router = routed;
        }
        let Some((last_round, optimum)) = last_round else {
            return Err(Error::new(ErrorKind::Config, "a rolling origin of no blocks")
                .next_step("ask for one or more"));
        };
        let mut routing = last_router.as_ref().map(|routed| routed.report.clone());
        if let Some(routing) = &mut routing {
            routing.compare(&tested);
        }
        let routed = last_router.zip(self.router.as_ref());
        let latencies = last_round.latency(optimum.as_ref(), routed.as_ref())?;
        let users: Vec<UserId> = people.iter().map(|person| person.events[0].user).collect();
        let cold_start = if self.cold_start {
            self.cold_start(&people, vocabulary, progress)?
        } else {
            Default::default()
        };
        let mut report = Report {
            task: self.task,
            split: self.split,
            users: people.len(),
            features_us: latencies.features,
            scoring_us: latencies.scoring,
            models: model_reports(&tested, &latencies.whole, &users),
            cold_start: model_reports(&cold_start.0, &[], &users),
            cold_learning: cold_start.1,
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
        let router = routed.map(|(routed, _)| routed.fitted.model);
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
        let protocol = Protocol { task: self.task, favourites, users, truth: None };
        model.temperature = fit_temperature(&protocol, &Transformer::new(&model, vocabulary)?, progress);
        Ok((model, trained))
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
    fn cold_start(
        &self,
        people: &[Person<'_>],
        vocabulary: &Vocabulary,
        progress: &dyn Progress,
    ) -> Result<(Vec<Tested>, Vec<Learned>)> {
        let folds: Vec<Vec<usize>> = match people.len() {
            0 | 1 => Vec::new(),
            few @ ..10 => (0..few).map(|user| vec![user]).collect(),
            many => vec![(0..many).step_by(5).collect()],
        };
        // Who is taken as it is may have seen anybody.
        let transformers =
            self.transformers.iter().filter(|plan| plan.recipe.epochs > 0.0).cloned().collect();
        let only_trained = Self { transformers, ..self.clone() };
        let (mut tested, mut learned) = (Vec::new(), Vec::new());
        for unseen in folds {
            let split = |(user, person): (usize, &Person<'_>)| match unseen.contains(&user) {
                true => Split { train: 0..0, validation: 0..0, test: 0..person.questions() },
                false => no_test(self, person),
            };
            let splits = people.iter().enumerate().map(split).collect();
            let round = Round::new(&only_trained, people, splits, vocabulary, None, progress)?;
            let found = round.test(None, progress);
            let routed = round.test_router(self.router.as_ref(), progress)?;
            append_all(&mut tested, with_router(&round, found, routed.as_ref()));
            learned.extend(routed);
        }
        Ok((tested, Learned::together(learned.into_iter().flat_map(|routed| routed.report.learning))))
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

/// One split, and the ranker trained on it.
struct Round<'a> {
    protocol: Protocol<'a>,
    trained: TrainedRanker,
    transformers: Vec<DeepContender>,
    /// Names of those that are compared; none compares all.
    models: Vec<String>,
    /// The apps of the training events, most launched first.
    apps: Vec<AppId>,
}

/// The ranker's name in tables and reports.
const RANKER: &str = "gbdt";

/// The name of the best possible predictor of simulated people.
const OPTIMUM: &str = "optimum";

const FREQUENT: MostFrequent = MostFrequent;
const RECENT: MostRecent = MostRecent;
const MARKOV: Markov = Markov { back_off: 1.0 };

impl<'a> Round<'a> {
    fn new(
        experiment: &Experiment,
        people: &[Person<'a>],
        splits: Vec<Split>,
        vocabulary: &Vocabulary,
        truth: Option<&'a Truth>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let apps = apps_before_test(people, &splits);
        let lessons: Vec<Lesson<'_>> = people.iter().zip(&splits).map(lesson).collect();
        let favourites = favourites(apps.iter().copied());
        let trained = train_ranker(&experiment.ranker, experiment.task, &favourites, &lessons, progress)?;
        let course = Course {
            task: experiment.task,
            vocabulary,
            favourites: &favourites,
            lessons: &lessons,
            teacher: None,
        };
        let transformers = train_all(&experiment.transformers, &course, progress)?;
        let users = people.iter().map(|person| person.events).zip(splits).collect();
        let protocol = Protocol { task: experiment.task, favourites, users, truth };
        Ok(Self { protocol, trained, transformers, models: experiment.models.clone(), apps })
    }

    /// Those that are compared, in the order of the table: the bound stands last.
    fn contenders<'b>(
        &'b self,
        optimum: Option<&'b Optimum<'_>>,
        routers: &'b [(&'static str, Router)],
    ) -> Vec<Contender<'b>> {
        let both =
            |name, predictor: &'b dyn Predictor| Contender { name, predictor, for_validation: predictor };
        let mut contenders =
            vec![both("recent", &RECENT), both("frequent", &FREQUENT), both("markov", &MARKOV)];
        contenders.push(Contender {
            name: RANKER,
            predictor: &self.trained.ranker,
            for_validation: &self.trained.without_validation,
        });
        contenders.extend(self.transformers.iter().map(|transformer| Contender {
            name: &transformer.name,
            predictor: transformer.predictor.as_ref(),
            for_validation: transformer.without_validation.as_ref(),
        }));
        contenders.extend(routers.iter().map(|(name, router)| both(name, router)));
        contenders.extend(optimum.map(|optimum| both(OPTIMUM, optimum)));
        contenders.retain(|contender| self.wants(contender.name));
        contenders
    }

    /// Whether the predictor of this name is compared.
    fn wants(&self, name: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|wanted| wanted == name)
    }

    fn test(&self, optimum: Option<&Optimum<'_>>, progress: &dyn Progress) -> Vec<Tested> {
        self.contenders(optimum, &[])
            .iter()
            .map(|contender| test(&self.protocol, contender, progress))
            .collect()
    }

    fn latency(
        &self,
        optimum: Option<&Optimum<'_>>,
        routed: Option<&(RoutedTest, &RouterPlan)>,
    ) -> Result<Latencies> {
        let routers = match routed {
            Some((routed, plan)) => self.routers(routed, plan)?,
            None => Vec::new(),
        };
        let contenders = self.contenders(optimum, &routers);
        Ok(measure_latency(&self.protocol, self.trained.ranker.forest(), &contenders))
    }
}

/// Adds each contender's further questions to those it was tested on before.
fn append_all(tested: &mut Vec<Tested>, found: Vec<Tested>) {
    if tested.is_empty() {
        *tested = found;
    } else {
        tested.iter_mut().zip(found).for_each(|(all, more)| all.append(more));
    }
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

fn model_reports(tested: &[Tested], latencies: &[Latency], users: &[UserId]) -> Vec<ModelReport> {
    let latency = |index: usize| latencies.get(index).copied().unwrap_or_default();
    tested.iter().enumerate().map(|(index, tested)| ModelReport::new(tested, latency(index), users)).collect()
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
