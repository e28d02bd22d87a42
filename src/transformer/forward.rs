//! One question's answer, without a framework: what a phone runs.

use std::mem::swap;

use fearless_simd::Level;

use super::native::attention::{Shape, attend_last, gap_classes};
use super::native::block::{Block, Run};
use super::native::dropout::Dropout;
use super::native::embedding::embed;
use super::native::layers::{add, add_bias, add_bias_relu, rms_norm};
use super::native::level;
use super::native::linear::{Packed, Rows, RowsMut, Write, multiply};
use super::native::pointer::{Pointer, Question};
use super::native::prepared::{For, Prepared, PreparedModel};
use super::weights::Weights;
use crate::network::Batch;

/// Weights made ready for one question at a time.
#[derive(Debug, Clone)]
pub struct InferenceEngine {
    level: Level,
    weights: Weights,
    prepared: Prepared,
}

/// Room for [`InferenceEngine::score`]. Once it has seen the longest sequence and the most candidates, nothing is allocated.
#[derive(Debug, Clone, Default)]
pub struct ForwardScratch {
    block: Block,
    /// `[tokens, d_model]`
    output: Vec<f32>,
    /// `[tokens, tokens]`
    classes: Vec<u8>,
    packed: Packed,
    last: LastLayer,
    pointer: Pointer,
}

impl InferenceEngine {
    /// Packs `weights` and computes what depends on nothing else.
    pub fn new(weights: Weights) -> Self {
        let (level, mut prepared) = (level(), Prepared::default());
        prepared.prepare(level, &weights, For::Inference);
        Self { level, weights, prepared }
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The logits of the candidates of `batch`'s only question, which its last token asks.
    ///
    /// # Shapes
    /// `batch`: one sequence, one question, as [`Batch::fits`] says; `scores`: `[batch.candidates()]`.
    pub fn score(&self, batch: &Batch, scratch: &mut ForwardScratch, scores: &mut [f32]) {
        debug_assert!(batch.fits(self.weights.config()), "a batch of another shape");
        debug_assert!(batch.sequences() == 1 && batch.questions() == 1, "one question of one sequence");
        let model = PreparedModel { level: self.level, weights: &self.weights, prepared: &self.prepared };
        let (config, length) = (model.config(), batch.length);
        let shape = Shape { length, heads: config.heads, d_head: config.d_head() };
        let ForwardScratch { block, output, classes, packed, last, pointer } = scratch;
        classes.resize(length * length, 0);
        gap_classes(&batch.secs, classes);
        let run = Run { model, shape, first: 0, tokens: length, classes, dropout: Dropout::none() };
        block.shape(&run);
        output.resize(length * config.d_model, 0.0);
        embed(model, batch, 0..length, &mut block.input);
        for index in 0..config.layers - 1 {
            block.forward(&run, index, output, packed);
            swap(&mut block.input, output);
        }
        let h = last.forward(&run, config.layers - 1, &block.input);
        pointer.forward(Question { model, batch, index: 0, h }, scores);
    }
}

/// The last layer, of which keys and values are wanted of every token, but all else of the last one only.
#[derive(Debug, Clone, Default)]
struct LastLayer {
    /// `[tokens, d_model]`
    normed: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// `[tokens]`
    inverses: Vec<f32>,
    shares: Vec<f32>,
    /// `[d_model]`, of the last token.
    query: Vec<f32>,
    mixed: Vec<f32>,
    x: Vec<f32>,
    feed: Vec<f32>,
    /// `[d_ff]`
    hidden: Vec<f32>,
}

impl LastLayer {
    /// The last token's hidden state after the final norm.
    fn forward(&mut self, run: &Run<'_>, index: usize, input: &[f32]) -> &[f32] {
        let Run { model, shape, tokens, classes, .. } = *run;
        let (at, matrices) = model.layer(index);
        let (level, d) = (model.level, model.config().d_model);
        let Self { normed, key, value, inverses, shares, query, mixed, x, feed, hidden } = self;
        for list in [&mut *normed, &mut *key, &mut *value] {
            list.resize(tokens * d, 0.0);
        }
        for list in [&mut *query, &mut *mixed, &mut *x, &mut *feed] {
            list.resize(d, 0.0);
        }
        inverses.resize(tokens, 0.0);
        shares.resize(tokens, 0.0);
        hidden.resize(model.config().d_ff, 0.0);
        let by = |rows, x: &[f32], matrix: &Packed, out: &mut [f32]| {
            let (inputs, outputs) = (x.len() / rows, out.len() / rows);
            multiply(level, rows, Rows::new(x, inputs), matrix, RowsMut::new(out, outputs), Write::Set);
        };

        rms_norm(level, input, model.tensor(&at.attention_norm), normed, inverses);
        by(tokens, normed, &matrices.key.forward, key);
        by(tokens, normed, &matrices.value.forward, value);
        let last = (tokens - 1) * d;
        by(1, &normed[last..], &matrices.query.forward, query);
        let now = &classes[(tokens - 1) * tokens..];
        attend_last(level, shape, [query, key, value], now, model.tensor(&at.gap_bias), shares, mixed);
        by(1, mixed, &matrices.output.forward, x);
        add(level, x, &input[last..]);

        let (normed, inverse) = (&mut normed[last..], &mut inverses[..1]);
        rms_norm(level, x, model.tensor(&at.feed_norm), normed, inverse);
        by(1, normed, &matrices.feed_in.forward, hidden);
        add_bias_relu(level, hidden, model.tensor(&at.feed_in_bias));
        by(1, hidden, &matrices.feed_out.forward, feed);
        add_bias(level, x, feed);
        add_bias(level, x, model.tensor(&at.feed_out_bias));
        rms_norm(level, x, model.tensor(&model.layout().final_norm), normed, inverse);
        normed
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::super::engine::Engine;
    use super::super::native::NativeEngine;
    use super::*;
    use crate::context::Task;
    use crate::network::TransformerConfig;

    #[test]
    fn scores_equal_the_engines_logits() {
        let task = Task::FirstAfterUnlock;
        let student = TransformerConfig::student(task, 30);
        let one_layer = TransformerConfig { layers: 1, d_model: 12, heads: 3, mixture: 2, ..student.clone() };
        for config in [student, one_layer, TransformerConfig::teacher(task, 30)] {
            let weights = Weights::random(config.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
            let (forward, mut scratch) = (InferenceEngine::new(weights.clone()), ForwardScratch::default());
            // The room that one question leaves must not show in the next.
            for (length, candidates) in
                [(config.window, 50), (1, 1), (2, 3), (config.window, 200), (17, 7), (1, 50)]
            {
                let batch = Batch::random_question(&config, length, candidates, 3);
                let expected = NativeEngine::new().logits(&weights, &batch).unwrap();
                let mut scores = vec![f32::NAN; candidates];
                forward.score(&batch, &mut scratch, &mut scores);
                for (score, expected) in scores.iter().zip(expected) {
                    assert!((score - expected).abs() < 1e-5, "{length} tokens: {score}, not {expected}");
                }
            }
        }
    }
}
