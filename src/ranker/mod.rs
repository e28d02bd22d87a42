//! The gradient-boosted ranker as a [`Predictor`]: features in, trees over them, one logit a candidate out.

#[cfg(feature = "train")]
mod train;

use serde::{Deserialize, Serialize};
#[cfg(feature = "train")]
pub use train::{TrainedRanker, train_ranker};

use crate::context::Context;
use crate::context::features::{SCHEMA, SharedFeatures};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Forest, ForestScratch, GbdtConfig};
use crate::predict::{Predictor, Scratch};

/// The trees and the features they read.
#[derive(Debug, Clone)]
pub struct Ranker {
    forest: Forest,
}

impl Ranker {
    /// A ranker of trees over the columns of [`SCHEMA`].
    ///
    /// # Errors
    /// The forest was trained on another number of features.
    pub fn new(forest: Forest) -> Result<Self> {
        if forest.columns() != SCHEMA.len() || forest.outputs() != 1 {
            let (columns, outputs) = (forest.columns(), forest.outputs());
            let message = format!(
                "{outputs} outputs over {columns} features, but the schema has {} and asks for one",
                SCHEMA.len()
            );
            return Err(
                Error::new(ErrorKind::Model, message).next_step("train the model again with this version")
            );
        }
        Ok(Self { forest })
    }

    /// The trees.
    pub fn forest(&self) -> &Forest {
        &self.forest
    }
}

impl Ranker {
    fn score_features(&self, matrix: &[f32], scratch: &mut RankerScratch, scores: &mut [f32]) {
        let RankerScratch { forest, logits, .. } = scratch;
        logits.resize(scores.len(), 0.0);
        self.forest.score(matrix, forest, logits);
        scores.iter_mut().zip(logits).for_each(|(score, logit)| *score = *logit as f32);
    }
}

#[derive(Default)]
struct RankerScratch {
    features: SharedFeatures,
    forest: ForestScratch,
    logits: Vec<f64>,
}

impl Predictor for Ranker {
    fn new_scratch(&self) -> Scratch {
        Scratch::new(RankerScratch::default())
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let scratch: &mut RankerScratch = scratch.buffers();
        let mut features = std::mem::take(&mut scratch.features);
        features.clear();
        self.score_features(features.of(context), scratch, scores);
        scratch.features = features;
    }

    fn score_sharing(
        &self,
        context: &Context<'_>,
        features: &mut SharedFeatures,
        scratch: &mut Scratch,
        scores: &mut [f32],
    ) {
        self.score_features(features.of(context), scratch.buffers(), scores);
    }
}

/// How a ranker is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankerConfig {
    /// The trees.
    pub gbdt: GbdtConfig,
    /// Most rows (candidates over all questions) to train on; beyond them, questions are drawn. 0 takes all.
    pub max_rows: usize,
}

impl Default for RankerConfig {
    fn default() -> Self {
        Self { gbdt: GbdtConfig::default(), max_rows: 1_500_000 }
    }
}
