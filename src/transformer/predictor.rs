//! A trained transformer as a [`Predictor`](crate::predict::Predictor).

use super::file::TransformerModel;
use super::forward::{ForwardScratch, InferenceEngine};
use crate::data::Vocabulary;
use crate::error::Result;
use crate::network::{Batch, NetworkPredictor, QuestionNetwork, QuestionReader, Window};

/// A transformer that knows the apps of one vocabulary. It needs no framework, and keeps nothing from one question to the
/// next.
pub type Transformer = NetworkPredictor<InferenceEngine>;

impl Transformer {
    /// A predictor for logs whose app ids are those of `vocabulary`, which reads the window that ships: the one that
    /// the INT8 model reads. Apps that the model does not know are distinguished by how they were used alone.
    ///
    /// # Errors
    /// The model reads other columns than this build computes.
    pub fn new(model: &TransformerModel, vocabulary: &Vocabulary) -> Result<Self> {
        Self::with(model, vocabulary, Window::default())
    }

    /// The same, reading `window`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(model: &TransformerModel, vocabulary: &Vocabulary, window: Window) -> Result<Self> {
        let config = model.weights.config();
        let reader = QuestionReader::new(config, &model.columns, &model.apps, vocabulary, window)?;
        Ok(Self::of(reader, InferenceEngine::new(model.weights.clone())))
    }
}

impl QuestionNetwork for InferenceEngine {
    type Scratch = ForwardScratch;

    const KEEPS_CACHE: bool = false;

    fn score(&self, batch: &Batch, scratch: &mut ForwardScratch, scores: &mut [f32]) {
        self.score(batch, scratch, scores);
    }
}
