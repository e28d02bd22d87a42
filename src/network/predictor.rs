//! A network that answers one question at a time, in floats or in INT8, as a [`Predictor`].

use super::batch::Batch;
use super::reader::{QuestionReader, ReaderScratch};
use crate::context::Context;
use crate::context::features::SharedFeatures;
use crate::predict::{Predictor, Scratch};

/// The forward pass of a network over one question.
pub trait QuestionNetwork: Send + Sync {
    /// Its buffers. What it keeps of the last question for the next one is there, too.
    type Scratch: Default + Send + 'static;

    /// Whether it keeps anything.
    const KEEPS_CACHE: bool;

    /// The logits of the candidates of `batch`'s only question, which its last token asks.
    ///
    /// # Shapes
    /// `batch`: one sequence, one question, as [`Batch::fits`] says; `scores`: `[batch.candidates()]`.
    fn score(&self, batch: &Batch, scratch: &mut Self::Scratch, scores: &mut [f32]);

    /// Computes what the next question will share with `batch`, which has none.
    fn prefill(&self, _batch: &Batch, _scratch: &mut Self::Scratch) {}

    /// Drops what is kept.
    fn clear_cache(_scratch: &mut Self::Scratch) {}
}

/// A network and what reads questions for it, for the apps of one vocabulary.
#[derive(Debug, Clone)]
pub struct NetworkPredictor<N> {
    reader: QuestionReader,
    network: N,
}

impl<N> NetworkPredictor<N> {
    pub(crate) fn of(reader: QuestionReader, network: N) -> Self {
        Self { reader, network }
    }
}

impl<N: QuestionNetwork> Predictor for NetworkPredictor<N> {
    fn new_scratch(&self) -> Scratch {
        Scratch::new(<(ReaderScratch, N::Scratch)>::default())
    }

    fn score(&self, context: &Context<'_>, scratch: &mut Scratch, scores: &mut [f32]) {
        let (reader, network): &mut (ReaderScratch, N::Scratch) = scratch.buffers();
        self.reader.read(context, reader);
        self.network.score(&reader.batch, network, scores);
    }

    fn score_sharing(
        &self,
        context: &Context<'_>,
        features: &mut SharedFeatures,
        scratch: &mut Scratch,
        scores: &mut [f32],
    ) {
        let (reader, network): &mut (ReaderScratch, N::Scratch) = scratch.buffers();
        self.reader.read_sharing(context, features, reader);
        self.network.score(&reader.batch, network, scores);
    }

    fn prefill(&self, context: &Context<'_>, scratch: &mut Scratch) {
        if N::KEEPS_CACHE {
            let (reader, network): &mut (ReaderScratch, N::Scratch) = scratch.buffers();
            self.reader.prefill(context, reader);
            self.network.prefill(&reader.batch, network);
        }
    }

    fn keeps_cache(&self) -> bool {
        N::KEEPS_CACHE
    }

    fn clear_cache(&self, scratch: &mut Scratch) {
        let (_, network): &mut (ReaderScratch, N::Scratch) = scratch.buffers();
        N::clear_cache(network);
    }
}
