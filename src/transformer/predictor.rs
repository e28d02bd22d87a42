//! A trained transformer as a [`Predictor`].

use super::file::TransformerModel;
use super::forward::{Forward, ForwardScratch};
use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::data::Vocabulary;
use crate::error::Result;
use crate::network::{QuestionReader, ReaderScratch, Window};
use crate::predict::{Predictor, Scratch};

/// A transformer that knows the apps of one vocabulary. It needs no framework, and computes every question from nothing.
#[derive(Debug, Clone)]
pub struct Transformer {
    reader: QuestionReader,
    forward: Forward,
}

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
        Ok(Self {
            reader: QuestionReader::new(config, &model.columns, &model.apps, vocabulary, window)?,
            forward: Forward::new(model.weights.clone()),
        })
    }
}

impl Predictor for Transformer {
    fn new_scratch(&self) -> Scratch {
        Scratch::new(<(ReaderScratch, ForwardScratch)>::default())
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let (reader, forward): &mut (ReaderScratch, ForwardScratch) = scratch.buffers();
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
        let (reader, forward): &mut (ReaderScratch, ForwardScratch) = scratch.buffers();
        self.reader.read_sharing(context, features, reader);
        self.forward.score(&reader.batch, forward, scores);
    }
}
