//! The student in INT8 as a [`Predictor`].

use super::forward::{QuantizedForward, QuantizedScratch};
use super::kernel::Kernel;
use super::model::QuantizedModel;
use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::data::Vocabulary;
use crate::error::Result;
use crate::network::{QuestionReader, ReaderScratch, Window};
use crate::predict::{Predictor, Scratch};

/// A transformer in INT8 that knows the apps of one vocabulary.
///
/// Of a user who is asked again with the same scratch it computes only the tokens that are new; the answer is the same to
/// the last bit as with a fresh one. [`prefill`](Predictor::prefill) after an event leaves one token to a question.
#[derive(Debug, Clone)]
pub struct QuantizedTransformer {
    reader: QuestionReader,
    forward: QuantizedForward,
}

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
        Ok(Self {
            reader: QuestionReader::new(model.config(), &model.columns, &model.apps, vocabulary, window)?,
            forward: QuantizedForward::with_kernel(model, kernel),
        })
    }
}

impl Predictor for QuantizedTransformer {
    fn new_scratch(&self) -> Scratch {
        Scratch::new(<(ReaderScratch, QuantizedScratch)>::default())
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let (reader, forward): &mut (ReaderScratch, QuantizedScratch) = scratch.buffers();
        self.reader.read(context, reader);
        self.forward.score(&reader.batch, forward, scores);
    }

    fn score_sharing(
        &self,
        context: &Context<'_>,
        features: &mut SharedFeatures,
        scratch: &mut Scratch,
        scores: &mut [f32],
    ) {
        let (reader, forward): &mut (ReaderScratch, QuantizedScratch) = scratch.buffers();
        self.reader.read_sharing(context, features, reader);
        self.forward.score(&reader.batch, forward, scores);
    }

    fn prefill(&self, context: &Context<'_>, scratch: &mut Scratch) {
        let (reader, forward): &mut (ReaderScratch, QuantizedScratch) = scratch.buffers();
        self.reader.prefill(context, reader);
        self.forward.prefill(&reader.batch, forward);
    }

    fn keeps_cache(&self) -> bool {
        true
    }

    fn clear_cache(&self, scratch: &mut Scratch) {
        let (_, forward): &mut (ReaderScratch, QuantizedScratch) = scratch.buffers();
        forward.forget();
    }
}
