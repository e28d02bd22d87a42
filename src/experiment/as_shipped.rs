//! A bundle as it comes beside who needs no training, and beside a ranker that was trained on other people: over whole logs.

use super::{Experiment, PersonLog, model_reports};
use crate::baseline::{Markov, MostRecent};
use crate::bundle::Bundle;
use crate::context::{Context, TrainingView};
use crate::data::simulate::Truth;
use crate::data::{Log, Split, SplitPlan, UserId, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{
    LearningCurve, Protocol, Report, TestResult, TestedPredictor, measure_latency, test_as_shipped,
    test_predictor,
};
use crate::model::RankerModel;
use crate::predict::{Predictor, Scratch};
use crate::progress::Progress;
use crate::ranker::RankerConfig;
use crate::router::{LearnSettings, Routing};

/// Its name in tables and reports.
const BUNDLE: &str = "bundle";
/// The bundle, and trees that each person's own past teaches every night.
const LEARNED: &str = "learned";
/// A ranker that was trained on other people.
const OTHERS: &str = "others";

/// What is tested as it comes.
#[derive(Debug, Clone, Copy)]
pub struct AsShipped<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// Which questions its transformer is asked.
    pub routing: Routing,
    /// Rankers that were trained on other people, each with other seeds ([`train_on_others`]); may be none.
    pub others: &'a [RankerModel],
    /// Tests the bundle also with trees grown each night of the person's own past, by these settings.
    pub nightly: Option<&'a LearnSettings>,
    /// The share of each person's questions that is scored, the last ones: 1 for all. What comes before is lived through.
    pub test_share: f64,
    /// What the log of simulated people was drawn from: then each has a regret.
    pub truth: Option<&'a Truth>,
}

/// Trains rankers on whole logs of other people, `runs` of them with other seeds each: what a bundle has to be ahead of.
///
/// # Errors
/// The log has no question of the task, or the configuration is impossible.
pub fn train_on_others(
    experiment: &Experiment,
    config: &RankerConfig,
    (log, vocabulary): (&Log, &Vocabulary),
    runs: u32,
    progress: &dyn Progress,
) -> Result<Vec<RankerModel>> {
    let split = SplitPlan::Shares { validation: 0.15, test: 0.0 };
    let whole = Experiment { split, ..experiment.clone() };
    let train = |run: u32| {
        let mut config = config.clone();
        config.gbdt.seed = config.gbdt.seed.wrapping_add(u64::from(run));
        whole.train(&config, log, vocabulary, progress).map(|trained| trained.model)
    };
    (0..runs).map(train).collect()
}

impl AsShipped<'_> {
    /// Has everybody answer every question of every person in `log`, from the first event on. Nothing is trained on it: the
    /// person's own history alone speaks, and personalization where the bundle has a router.
    ///
    /// # Errors
    /// The log has no question of the bundle's task, or the bundle's models read other columns than this build computes.
    pub fn test(&self, log: &Log, vocabulary: &Vocabulary, progress: &dyn Progress) -> Result<Report> {
        let task = self.bundle.parts().task;
        if let Some(other) = self.others.iter().find(|model| model.task != task) {
            let message = format!("the bundle answers {task}, the other people's ranker {}", other.task);
            return Err(Error::new(ErrorKind::Config, message).next_step("train it for the bundle's task"));
        }
        let router = self.bundle.router(vocabulary, self.routing)?;
        let experiment = Experiment { task, ..Experiment::default() };
        let people = experiment.people(log)?;
        let split = SplitPlan::Shares { validation: 0.0, test: self.test_share };
        let scored =
            |person: &PersonLog<'_>| Split { train: 0..0, validation: 0..0, ..split.split(&person.times, 0) };
        let protocol = |run: u32| Protocol {
            task,
            favourites: self.bundle.favourites_in(vocabulary),
            users: people.iter().map(|person| (person.events, scored(person))).collect(),
            truth: self.truth,
            run,
        };
        self.check_scored(&people, people.iter().map(|person| scored(person).test.len()).sum())?;
        let nothing = TrainingView::new(task, vocabulary, []);
        let others: Vec<Tempered<'_>> = self.others.iter().map(Tempered).collect();
        let markov = Markov::default();
        let mut predictors: Vec<(&str, u32, &dyn Predictor)> =
            vec![("recent", 0, &MostRecent), ("markov", 0, &markov)];
        predictors.extend(others.iter().zip(0..).map(|(other, run)| (OTHERS, run, other as &dyn Predictor)));

        let mut tested: Vec<TestResult> = Vec::new();
        for &(name, run, predictor) in &predictors {
            let model = TestedPredictor { name, predictor, for_validation: predictor };
            let found = test_predictor(&nothing, &protocol(run), &model, progress)?;
            match tested.iter_mut().find(|before| before.name == name) {
                Some(before) => before.append(found),
                None => tested.push(found),
            }
        }
        tested.push(test_as_shipped(BUNDLE, &router, None, &protocol(0), progress)?);
        if self.nightly.is_some() {
            tested.push(test_as_shipped(LEARNED, &router, self.nightly, &protocol(0), progress)?);
        }

        let timed: Vec<TestedPredictor<'_>> = tested
            .iter()
            .map(|tested| {
                let found = predictors.iter().find(|(name, ..)| *name == tested.name);
                let predictor = found.map_or(&router as &dyn Predictor, |(_, _, predictor)| *predictor);
                TestedPredictor { name: &tested.name, predictor, for_validation: predictor }
            })
            .collect();
        let latencies = measure_latency(&protocol(0), None, &timed);
        let users: Vec<UserId> = people.iter().map(|person| person.events[0].user).collect();
        let mut models = model_reports(&tested, &latencies.answers, &users);
        for (model, tested) in models.iter_mut().zip(&tested) {
            model.learning_curve = Some(LearningCurve::of(&tested.test));
            model.forget_coverage();
        }
        Ok(Report {
            task,
            split,
            users: people.len(),
            runs: self.others.len().max(1) as u32,
            features_us: latencies.features,
            scoring_us: latencies.scoring,
            models,
            cold_start: Vec::new(),
            cold_learning: Vec::new(),
            routing: None,
            importance: Vec::new(),
        })
    }

    /// Refuses a share of which no person has a question.
    fn check_scored(&self, people: &[PersonLog<'_>], scored: usize) -> Result<()> {
        if scored > 0 {
            return Ok(());
        }
        let questions: usize = people.iter().map(PersonLog::questions).sum();
        let most = people.iter().map(PersonLog::questions).max().unwrap_or(1);
        let whose = if people.len() == 1 { "1 person" } else { &format!("{} people", people.len()) };
        let message =
            format!("a share of {} leaves 0 of {questions} questions of {whose} to score", self.test_share);
        // Rounded up, so that it is enough.
        let enough = (1e4 / most as f64).ceil() / 1e4;
        Err(Error::new(ErrorKind::Config, message)
            .field("--test-share")
            .next_step(format!("choose at least {enough}, or leave it out to score all")))
    }
}

/// A ranker whose logits are divided by its own temperature: there is nothing here to fit one on.
struct Tempered<'a>(&'a RankerModel);

impl Predictor for Tempered<'_> {
    fn new_scratch(&self) -> Scratch {
        self.0.ranker.new_scratch()
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        self.0.ranker.score(context, scratch, scores);
        scores.iter_mut().for_each(|score| *score = (f64::from(*score) / self.0.temperature) as f32);
    }
}
