//! The ranker of an experiment.

use std::sync::Arc;

use super::method::{Artifact, Learned, Learner, Training};
use crate::context::features::SCHEMA;
use crate::error::Result;
use crate::evaluate::report::FeatureImportance;
use crate::progress::Progress;
use crate::ranker::{Ranker, RankerConfig, train_ranker};

/// The ranker's name in tables and reports.
pub(super) const RANKER: &str = "gbdt";

impl Learner for RankerConfig {
    fn learn(&self, training: &Training<'_>, progress: &dyn Progress) -> Result<Learned> {
        let mut config = self.clone();
        config.gbdt.seed = config.gbdt.seed.wrapping_add(u64::from(training.run));
        let trained = train_ranker(&config, training.view, progress)?;
        Ok(Learned {
            predictor: Arc::new(trained.ranker.clone()),
            without_validation: Arc::new(trained.without_validation),
            artifact: Artifact::Ranker(Box::new((trained.ranker, config))),
        })
    }
}

/// What each feature brought, most important first.
pub(super) fn importance(ranker: &Ranker) -> Vec<FeatureImportance> {
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
