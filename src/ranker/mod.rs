//! The gradient-boosted ranker as a [`Predictor`]: features in, trees over them, one logit a candidate out.

#[cfg(feature = "train")]
mod train;

use serde::{Deserialize, Serialize};
#[cfg(feature = "train")]
pub use train::{TrainedRanker, train_ranker};

use crate::context::Context;
use crate::context::features::{NAMES, SharedFeatures};
use crate::error::{Error, ErrorKind, Result};
use crate::gbdt::{Forest, ForestScratch, GbdtConfig};
use crate::predict::{Predictor, Scratch};

/// The trees and the features they read.
#[derive(Debug, Clone)]
pub struct Ranker {
    forest: Forest,
}

impl Ranker {
    /// A ranker of trees over columns of [`SCHEMA`](crate::context::features::SCHEMA), which are known by their names. Its
    /// [`forest`](Self::forest) has all columns of the schema, in its order.
    ///
    /// # Errors
    /// A tree asks for a column that this build does not compute, or that means something else here; or there is more than
    /// one output.
    pub fn new(forest: Forest) -> Result<Self> {
        if forest.outputs() != 1 {
            let message = format!("{} outputs, but a ranker has one", forest.outputs());
            return Err(
                Error::new(ErrorKind::Model, message).next_step("train the model again with this version")
            );
        }
        if forest.ensemble().features.iter().eq(NAMES) {
            return Ok(Self { forest });
        }
        Ok(Self { forest: Forest::new(forest.ensemble().in_order("the trees read", NAMES)?)? })
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
