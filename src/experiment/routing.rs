//! The router of an experiment: fitted on the validation questions of the experts that the experiment trained.

use std::sync::Arc;

use super::Experiment;
use super::method::Learned;
use super::ranker::RANKER;
use super::round::{BAYES_OPTIMAL, Round};
use crate::data::{Log, Vocabulary};
use crate::error::Result;
use crate::evaluate::{
    Pair, ROUTER, ROUTER_FULL, ROUTER_SHARED, RoutedTest, Tested, fit_router, test_router,
};
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::router::{Experts, Fitted, Router, Routing};

/// A router that takes part in an experiment, over two of its methods.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterPlan {
    /// The name of who answers every question: the ranker.
    pub trees: String,
    /// The name of who is asked where it pays: the transformer.
    pub deep: String,
    /// Which questions go to it.
    pub routing: Routing,
}

impl Default for RouterPlan {
    /// Over the student in INT8, one question in five.
    fn default() -> Self {
        Self { trees: RANKER.to_owned(), deep: "student-int8".to_owned(), routing: Routing::default() }
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
        vocabulary: &Vocabulary,
        progress: &dyn Progress,
    ) -> Result<Fitted> {
        self.check_shares(false)?;
        fit_router(&self.view(log, vocabulary)?, experts, routing, progress)
    }
}

impl Round<'_> {
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
        let pair = Pair { trees: versions(trees), deep: versions(deep) };
        test_router(&self.view, &self.protocol, &pair, plan.routing, None, progress).map(Some)
    }

    /// What `plan` routes between, where both take part.
    fn experts(&self, plan: &RouterPlan) -> Option<[&Learned; 2]> {
        Some([self.learned(&plan.trees)?, self.learned(&plan.deep)?])
    }

    /// The routers of a test, as a phone has them, by their names: what differs in habits alone is one router.
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

/// Adds the routers that `round` wants to the table, before the bound.
pub(super) fn with_router(
    round: &Round<'_>,
    mut found: Vec<Tested>,
    routed: Option<&RoutedTest>,
) -> Vec<Tested> {
    let Some(routed) = routed else { return found };
    let at = found.iter().position(|tested| tested.name == BAYES_OPTIMAL).unwrap_or(found.len());
    found.splice(at..at, routed.tested.iter().filter(|tested| round.wants(&tested.name)).cloned());
    found
}
