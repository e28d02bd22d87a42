//! One round of an experiment, and what all rounds gave together.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::method::{Artifact, Failure, Learned, Training};
use super::routing::RouterPlan;
use super::{Experiment, PersonLog};
use crate::baseline::BayesOptimal;
use crate::context::TrainingView;
use crate::data::simulate::Truth;
use crate::data::{Split, Vocabulary};
use crate::error::{ErrorKind, Result};
use crate::evaluate::{
    Latencies, Protocol, ROUTER, ROUTER_FULL, ROUTER_SHARED, RoutedTest, RoutingReport, TestResult,
    TestedExperts, TestedPredictor, catch_panic, measure_latency, test_predictor, test_router,
};
use crate::gbdt::Forest;
use crate::model::RankerModel;
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::quantize::QuantizedModel;
use crate::ranker::Ranker;
use crate::router::{Experts, Router, Routing};

/// The name of the best possible predictor of simulated people.
pub(super) const BAYES_OPTIMAL: &str = "bayes-optimal";

/// One split, and every method trained on it.
pub(super) struct Round<'a> {
    pub view: TrainingView<'a>,
    pub protocol: Protocol<'a>,
    /// By name, in the order of the experiment; those that failed are missing.
    pub learned: Vec<(String, Learned)>,
    /// Names of those that are compared; none compares all.
    models: Vec<String>,
}

impl<'a> Round<'a> {
    /// Trains the methods of `experiment`. Who fails, by an error or a panic, is noted in `failures`.
    ///
    /// # Errors
    /// A method's configuration is impossible.
    pub(super) fn new(
        experiment: &Experiment,
        people: &[PersonLog<'a>],
        splits: Vec<Split>,
        vocabulary: &'a Vocabulary,
        (run, truth): (u32, Option<&'a Truth>),
        failures: &mut Vec<Failure>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let split_people = people.iter().zip(&splits).map(|(person, split)| (person.events, split.clone()));
        let view = TrainingView::new(experiment.task, vocabulary, split_people);
        let mut learned: Vec<(String, Learned)> = Vec::new();
        for method in &experiment.methods {
            if failures.iter().any(|failure| failure.name == method.name) {
                continue;
            }
            let training = Training { view: &view, vocabulary, run, learned: &learned };
            match catch_panic(|| method.learner.learn(&training, progress)) {
                Ok(found) => learned.push((method.name.clone(), found)),
                Err(error) if error.kind() == ErrorKind::Config => return Err(error),
                Err(error) => {
                    let error = error.of(format_args!("`{}`", method.name));
                    failures.push(Failure::new(&method.name, error));
                }
            }
        }
        let users = people.iter().map(|person| person.events).zip(splits).collect();
        let favourites = Arc::clone(view.favourites());
        let protocol = Protocol { task: experiment.task, favourites, users, truth, run };
        Ok(Self { view, protocol, learned, models: experiment.models.clone() })
    }

    /// What the method of this name gave.
    pub(super) fn learned(&self, name: &str) -> Option<&Learned> {
        self.learned.iter().find(|(other, _)| other == name).map(|(_, learned)| learned)
    }

    /// The first ranker.
    pub(super) fn ranker(&self) -> Option<&Ranker> {
        self.learned.iter().find_map(|(_, learned)| match &learned.artifact {
            Artifact::Ranker(trained) => Some(&trained.0),
            _ => None,
        })
    }

    /// The ranker called `name` with all that a file of it needs.
    pub(super) fn model(&self, name: &str, temperature: f64) -> Option<RankerModel> {
        let Artifact::Ranker(trained) = &self.learned(name)?.artifact else { return None };
        let (ranker, config) = (**trained).clone();
        let apps = self.view.launched().iter().map(|&app| self.view.name(app).to_owned()).collect();
        Some(RankerModel { task: self.view.task(), ranker, temperature, apps, config })
    }

    /// The INT8 transformer called `name`, with its temperature.
    pub(super) fn quantized(&self, name: &str, temperature: f64) -> Option<QuantizedModel> {
        let Artifact::Quantized(model) = &self.learned(name)?.artifact else { return None };
        let mut model = (**model).clone();
        model.temperature = temperature;
        Some(model)
    }

    /// Those that are compared, in the order of the table: the bound stands last.
    fn models<'b>(
        &'b self,
        bayes_optimal: Option<&'b BayesOptimal<'_>>,
        routers: &'b [(&'static str, Arc<Router>)],
    ) -> Vec<TestedPredictor<'b>> {
        let both = |name, predictor: &'b dyn Predictor| TestedPredictor {
            name,
            predictor,
            for_validation: predictor,
        };
        let mut models: Vec<TestedPredictor<'b>> = self
            .learned
            .iter()
            .map(|(name, learned)| TestedPredictor {
                name,
                predictor: learned.predictor.as_ref(),
                for_validation: learned.without_validation.as_ref(),
            })
            .collect();
        models.extend(routers.iter().map(|(name, router)| both(name, router.as_ref())));
        models.extend(bayes_optimal.map(|bayes_optimal| both(BAYES_OPTIMAL, bayes_optimal)));
        models.retain(|model| self.wants(model.name));
        models
    }

    /// Whether the predictor of this name is compared.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|wanted| wanted == name)
    }

    /// Times the answers of those whose test is among `tested`, in their order; none of the others.
    pub(super) fn latency(
        &self,
        tested: &[TestResult],
        bayes_optimal: Option<&BayesOptimal<'_>>,
        routed: Option<(&RoutedTest, &RouterPlan)>,
    ) -> Result<Latencies> {
        let routers = match routed {
            Some((routed, plan)) => self.routers(routed, plan)?,
            None => Vec::new(),
        };
        let mut models = self.models(bayes_optimal, &routers);
        models.retain(|model| tested.iter().any(|tested| tested.name == model.name));
        let forest: Option<&Forest> = self.ranker().map(|ranker| ranker.forest());
        Ok(measure_latency(&self.protocol, forest, &models))
    }

    /// Fits and tests the router of `plan`, or none where one of its experts does not take part.
    pub(super) fn test_router(
        &self,
        plan: Option<&RouterPlan>,
        progress: &dyn Progress,
    ) -> Result<Option<RoutedTest>> {
        let Some((plan, [trees, deep])) = plan.and_then(|plan| Some((plan, self.experts(plan)?))) else {
            return Ok(None);
        };
        let versions =
            |learned: &Learned| [Arc::clone(&learned.predictor), Arc::clone(&learned.without_validation)];
        let pair = TestedExperts { trees: versions(trees), deep: versions(deep) };
        test_router(&self.view, &self.protocol, &pair, plan.routing, None, progress).map(Some)
    }

    /// What `plan` routes between, where both take part.
    fn experts(&self, plan: &RouterPlan) -> Option<[&Learned; 2]> {
        Some([self.learned(&plan.trees)?, self.learned(&plan.deep)?])
    }

    /// The routers of a test, as a phone has them, by their names: what differs in personalization alone is one router.
    pub(super) fn routers(
        &self,
        routed: &RoutedTest,
        plan: &RouterPlan,
    ) -> Result<Vec<(&'static str, Arc<Router>)>> {
        let Some([trees, deep]) = self.experts(plan) else { return Ok(Vec::new()) };
        let [trees, deep] = [trees, deep].map(|learned| Arc::clone(&learned.predictor));
        let router = |routing| {
            let experts = Experts { trees: Some(Arc::clone(&trees)), deep: Some(Arc::clone(&deep)) };
            Router::new(routed.fitted.model.clone(), experts, routing).map(Arc::new)
        };
        let (routed, full) = (router(plan.routing)?, router(Routing::Share(1.0))?);
        let all = [(ROUTER, Arc::clone(&routed)), (ROUTER_FULL, full), (ROUTER_SHARED, routed)];
        Ok(all.into_iter().filter(|(name, _)| self.wants(name)).collect())
    }
}

/// What all rounds gave together.
#[derive(Default)]
pub(super) struct Rounds {
    pub tested: Vec<TestResult>,
    /// The router's, where one took part.
    pub routed: Option<RoutedTest>,
}

impl Rounds {
    /// Tests everyone who takes part in `round`, and gives what was found of this round alone. Who fails is noted in
    /// `failures`.
    pub(super) fn test(
        &mut self,
        round: &Round<'_>,
        bayes_optimal: Option<&BayesOptimal<'_>>,
        router: Option<&RouterPlan>,
        failures: &mut Vec<Failure>,
        progress: &dyn Progress,
    ) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        for model in round.models(bayes_optimal, &[]) {
            if failures.iter().any(|failure| failure.name == model.name) {
                continue;
            }
            match test_predictor(&round.view, &round.protocol, &model, progress) {
                Ok(tested) => found.push(tested),
                Err(error) => failures.push(Failure::new(model.name, error)),
            }
        }
        let temperatures = found.iter().map(|tested| (tested.name.clone(), tested.temperature)).collect();
        let routed = catch_panic(|| round.test_router(router, progress)).unwrap_or_else(|error| {
            failures.push(Failure::new("router", error));
            None
        });
        self.append(Self { tested: with_router(round, found, routed.as_ref()), routed });
        temperatures
    }

    /// Adds the figures of later rounds.
    pub(super) fn append(&mut self, later: Self) {
        if self.tested.is_empty() {
            self.tested = later.tested;
        } else {
            for more in later.tested {
                if let Some(all) = self.tested.iter_mut().find(|all| all.name == more.name) {
                    all.append(more);
                }
            }
        }
        match (&mut self.routed, later.routed) {
            (Some(all), Some(more)) => all.append(more),
            (all, more) => *all = more.or(all.take()),
        }
    }

    /// Leaves out who failed in any round: figures of some rounds are not those of others.
    pub(super) fn drop_failed(&mut self, failures: &[Failure]) {
        let failed: BTreeSet<&str> = failures.iter().map(|failure| failure.name.as_str()).collect();
        self.tested.retain(|tested| !failed.contains(tested.name.as_str()));
    }

    /// What the router of `plan` did, where one took part.
    pub(super) fn routing(&self, plan: Option<&RouterPlan>) -> Option<RoutingReport> {
        let (routed, plan) = self.routed.as_ref().zip(plan)?;
        let mut report = RoutingReport::new(routed, &plan.deep);
        report.compare(&self.tested);
        Some(report)
    }
}

/// Adds the routers that `round` wants to the table, before the bound.
fn with_router(
    round: &Round<'_>,
    mut found: Vec<TestResult>,
    routed: Option<&RoutedTest>,
) -> Vec<TestResult> {
    let Some(routed) = routed else { return found };
    let at = found.iter().position(|tested| tested.name == BAYES_OPTIMAL).unwrap_or(found.len());
    found.splice(at..at, routed.tested.iter().filter(|tested| round.wants(&tested.name)).cloned());
    found
}
