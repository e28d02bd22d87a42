//! The router of an experiment: fitted on the validation questions of the experts that the experiment trained.

use std::sync::Arc;

use super::round::{OPTIMUM, Round};
use super::{Experiment, apps_before_test};
use crate::context::favourites;
use crate::data::{Log, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{
    Pair, Protocol, ROUTER, ROUTER_FULL, ROUTER_SHARED, RoutedTest, Tested, fit_router, test_router,
};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::router::{Experts, Fitted, Router, Routing};

/// A router that takes part in an experiment, over the ranker and one of the transformers.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterPlan {
    /// The transformer's name in tables.
    pub deep: String,
    /// Which questions go to it.
    pub routing: Routing,
}

impl Default for RouterPlan {
    /// Over the student in whole numbers, one question in five.
    fn default() -> Self {
        Self { deep: "student-int8".to_owned(), routing: Routing::default() }
    }
}

impl Experiment {
    /// Fits a router to experts (trees, transformer) that were trained before, on the validation questions of the split,
    /// which should be none that they learned from.
    ///
    /// # Errors
    /// The log has no question of the task, or the routing is impossible.
    pub fn fit_router(
        &self,
        experts: [&dyn Predictor; 2],
        routing: Routing,
        log: &Log,
        progress: &dyn Progress,
    ) -> Result<Fitted> {
        self.check_shares(false)?;
        let people = self.people(log)?;
        let splits: Vec<Split> = people.iter().map(|person| self.split.split(&person.asked, 0)).collect();
        let apps = apps_before_test(&people, &splits);
        let favourites = favourites(apps.iter().copied());
        let users = people.iter().map(|person| person.events).zip(splits).collect();
        let protocol = Protocol { task: self.task, favourites, users, truth: None, run: 0 };
        fit_router(&protocol, experts, routing, progress)
    }
}

impl Round<'_> {
    /// Fits and tests the router of `plan`, or none where its transformer does not take part.
    pub(super) fn test_router(
        &self,
        plan: Option<&RouterPlan>,
        progress: &dyn Progress,
    ) -> Result<Option<RoutedTest>> {
        let Some(plan) = plan else { return Ok(None) };
        // Who is taken as it is takes no part in a cold start.
        let Some(deep) = self.transformers.iter().find(|transformer| transformer.name == plan.deep) else {
            return Ok(None);
        };
        let trees = [&self.trained.ranker, &self.trained.without_validation];
        let pair = Pair {
            trees: trees.map(|trees| Arc::new(trees.clone()) as Arc<dyn Predictor>),
            deep: [Arc::clone(&deep.predictor), Arc::clone(&deep.without_validation)],
        };
        test_router(&self.protocol, &pair, plan.routing, None, progress).map(Some)
    }

    /// The routers of a test, as a phone has them, by their names.
    pub(super) fn routers(
        &self,
        routed: &RoutedTest,
        plan: &RouterPlan,
    ) -> Result<Vec<(&'static str, Router)>> {
        let deep = self.transformers.iter().find(|transformer| transformer.name == plan.deep);
        let deep = deep.map(|deep| Arc::clone(&deep.predictor)).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("no transformer `{}` takes part", plan.deep))
        })?;
        let trees: Arc<dyn Predictor> = Arc::new(self.trained.ranker.clone());
        let router = |routing| {
            let experts = Experts { trees: Some(Arc::clone(&trees)), deep: Some(Arc::clone(&deep)) };
            Router::new(routed.fitted.model.clone(), experts, routing)
        };
        let all = [(ROUTER, plan.routing), (ROUTER_FULL, Routing::Share(1.0)), (ROUTER_SHARED, plan.routing)];
        let wanted = all.into_iter().filter(|(name, _)| self.wants(name));
        wanted.map(|(name, routing)| Ok((name, router(routing)?))).collect()
    }
}

/// Adds the routers that `round` wants to the table, before the bound.
pub(super) fn with_router(
    round: &Round<'_>,
    mut found: Vec<Tested>,
    routed: Option<&RoutedTest>,
) -> Vec<Tested> {
    let Some(routed) = routed else { return found };
    let at = found.iter().position(|tested| tested.name == OPTIMUM).unwrap_or(found.len());
    found.splice(at..at, routed.tested.iter().filter(|tested| round.wants(&tested.name)).cloned());
    found
}
