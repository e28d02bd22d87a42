//! The router of an experiment: fitted on the validation questions of the experts that the experiment trained.

use super::Experiment;
use super::ranker::RANKER;
use crate::data::{Log, Vocabulary};
use crate::error::Result;
use crate::evaluate::fit_router;
use crate::predict::Predictor;
use crate::progress::Progress;
use crate::router::{Fitted, Routing};

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
