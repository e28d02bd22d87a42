//! The student in INT8 as a [`Predictor`](crate::predict::Predictor).

use super::forward::{QuantizedForward, QuantizedScratch};
use super::kernel::Kernel;
use super::model::QuantizedModel;
use crate::data::Vocabulary;
use crate::error::Result;
use crate::network::{Batch, NetworkPredictor, QuestionNetwork, QuestionReader, Window};

/// A transformer in INT8 that knows the apps of one vocabulary.
///
/// Of a user who is asked again with the same scratch it computes only the tokens that are new; the answer is the same to
/// the last bit as with a fresh one. [`prefill`](crate::predict::Predictor::prefill) after an event leaves one token to a
/// question.
pub type QuantizedTransformer = NetworkPredictor<QuantizedForward>;

impl QuantizedTransformer {
    /// A predictor for logs whose app ids are those of `vocabulary`, which reads the window that ships. Apps that the
    /// model does not know are distinguished by how they were used alone.
    ///
    /// # Errors
    /// The model reads other columns than this build computes.
    pub fn new(model: &QuantizedModel, vocabulary: &Vocabulary) -> Result<Self> {
        Self::with(model, vocabulary, Kernel::detect(), Window::default())
    }

    /// The same with another kernel than the machine's fastest, or another window.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(
        model: &QuantizedModel,
        vocabulary: &Vocabulary,
        kernel: Kernel,
        window: Window,
    ) -> Result<Self> {
        let reader = QuestionReader::new(model.config(), &model.columns, &model.apps, vocabulary, window)?;
        Ok(Self::of(reader, QuantizedForward::with_kernel(model, kernel)))
    }
}

impl QuestionNetwork for QuantizedForward {
    type Scratch = QuantizedScratch;

    const KEEPS_CACHE: bool = true;

    fn score(&self, batch: &Batch, scratch: &mut QuantizedScratch, scores: &mut [f32]) {
        self.score(batch, scratch, scores);
    }

    fn prefill(&self, batch: &Batch, scratch: &mut QuantizedScratch) {
        self.prefill(batch, scratch);
    }

    fn clear_cache(scratch: &mut QuantizedScratch) {
        scratch.forget();
    }
}
