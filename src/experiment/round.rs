//! One round of an experiment, and what all rounds gave together.

use super::deep::{DeepContender, train_all};
use super::routing::{RouterPlan, with_router};
use super::{Experiment, Person, apps_before_test, lesson};
use crate::baseline::{Markov, MostFrequent, MostRecent, Optimum};
use crate::context::{Lesson, favourites};
use crate::data::simulate::Truth;
use crate::data::{AppId, Split, Vocabulary};
use crate::error::Result;
use crate::evaluate::{
    Contender, Latencies, Protocol, RoutedTest, RoutingReport, Tested, measure_latency, test,
};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::ranker::{TrainedRanker, train_ranker};
use crate::router::Router;
use crate::transformer::Course;

/// One split, and the ranker trained on it.
pub(super) struct Round<'a> {
    pub protocol: Protocol<'a>,
    pub trained: TrainedRanker,
    pub transformers: Vec<DeepContender>,
    /// Names of those that are compared; none compares all.
    models: Vec<String>,
    /// The apps of the training events, most launched first.
    pub apps: Vec<AppId>,
}

/// The ranker's name in tables and reports.
pub(super) const RANKER: &str = "gbdt";

/// The name of the best possible predictor of simulated people.
pub(super) const OPTIMUM: &str = "optimum";

const FREQUENT: MostFrequent = MostFrequent;
const RECENT: MostRecent = MostRecent;
const MARKOV: Markov = Markov { back_off: 1.0 };

impl<'a> Round<'a> {
    pub(super) fn new(
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
        let protocol = Protocol { task: experiment.task, favourites, users, truth, run: 0 };
        Ok(Self { protocol, trained, transformers, models: experiment.models.clone(), apps })
    }

    /// The same as the round of a repetition.
    pub(super) fn of_run(mut self, run: u32) -> Self {
        self.protocol.run = run;
        self
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
    pub(super) fn wants(&self, name: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|wanted| wanted == name)
    }

    fn test(&self, optimum: Option<&Optimum<'_>>, progress: &dyn Progress) -> Vec<Tested> {
        self.contenders(optimum, &[])
            .iter()
            .map(|contender| test(&self.protocol, contender, progress))
            .collect()
    }

    pub(super) fn latency(
        &self,
        optimum: Option<&Optimum<'_>>,
        routed: Option<(&RoutedTest, &RouterPlan)>,
    ) -> Result<Latencies> {
        let routers = match routed {
            Some((routed, plan)) => self.routers(routed, plan)?,
            None => Vec::new(),
        };
        let contenders = self.contenders(optimum, &routers);
        Ok(measure_latency(&self.protocol, self.trained.ranker.forest(), &contenders))
    }
}

/// What all rounds gave together.
#[derive(Default)]
pub(super) struct Rounds {
    pub tested: Vec<Tested>,
    /// The router's, where one took part.
    pub routed: Option<RoutedTest>,
}

impl Rounds {
    /// Tests everyone who takes part in `round`.
    pub(super) fn test(
        &mut self,
        round: &Round<'_>,
        optimum: Option<&Optimum<'_>>,
        router: Option<&RouterPlan>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let found = round.test(optimum, progress);
        let routed = round.test_router(router, progress)?;
        let found = with_router(round, found, routed.as_ref());
        if self.tested.is_empty() {
            self.tested = found;
        } else {
            self.tested.iter_mut().zip(found).for_each(|(all, more)| all.append(more));
        }
        match (&mut self.routed, routed) {
            (Some(all), Some(more)) => all.append(more),
            (all, more) => *all = more.or(all.take()),
        }
        Ok(())
    }

    /// What the router of `plan` did, where one took part.
    pub(super) fn routing(&self, plan: Option<&RouterPlan>) -> Option<RoutingReport> {
        let (routed, plan) = self.routed.as_ref().zip(plan)?;
        let mut report = RoutingReport::new(routed, &plan.deep);
        report.compare(&self.tested);
        Some(report)
    }
}
