//! One layer: attention and feed-forward, each normed before and added to what came in.

use super::attention::{Attention, AttentionGradient, Shape};
use super::dropout::{Dropout, Site};
use super::layers::{
    Normed, add, add_bias, add_bias_relu, add_column_sums, relu_backward, rms_norm, rms_norm_backward,
};
use super::linear::{Packed, Rows, RowsMut, Write, add_weight_gradient, multiply};
use super::prepared::PreparedModel;

/// What all layers know of the tokens that they are given.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct Run<'a> {
    pub model: PreparedModel<'a>,
    pub shape: Shape,
    /// Which token of the batch is the first, and how many there are.
    pub first: usize,
    pub tokens: usize,
    /// `[sequences, length, length]`: see [`gap_classes`](super::attention::gap_classes).
    pub classes: &'a [u8],
    pub dropout: Dropout,
}

/// What a layer computes, kept for its backward pass.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct Block {
    /// `[tokens, d_model]`: what comes in.
    pub input: Vec<f32>,
    /// `[tokens, d_model]`: `input`, normed.
    normed: Vec<f32>,
    /// `[tokens]`: see [`rms_norm`].
    inverses: Vec<f32>,
    attention: Attention,
    /// `[tokens, d_model]`: `input` and what attention added.
    middle: Vec<f32>,
    /// `[tokens, d_model]`: `middle`, normed.
    feed_normed: Vec<f32>,
    feed_inverses: Vec<f32>,
    /// `[tokens, d_ff]`: after the rectifier.
    hidden: Vec<f32>,
}

impl Block {
    /// Makes room.
    pub fn shape(&mut self, run: &Run<'_>) {
        let config = run.model.config();
        let width = run.tokens * config.d_model;
        for list in [&mut self.input, &mut self.normed, &mut self.middle, &mut self.feed_normed] {
            list.resize(width, 0.0);
        }
        self.inverses.resize(run.tokens, 0.0);
        self.feed_inverses.resize(run.tokens, 0.0);
        self.hidden.resize(run.tokens * config.d_ff, 0.0);
        self.attention.shape(run.shape, run.tokens);
    }

    /// From `input` to `output`, `[tokens, d_model]`.
    pub fn forward(&mut self, run: &Run<'_>, index: usize, output: &mut [f32], packed: &mut Packed) {
        let Run { model, shape, first, tokens, classes, dropout } = *run;
        let (at, matrices) = model.layer(index);
        let (level, d, ff) = (model.level, model.config().d_model, model.config().d_ff);
        let attention = &mut self.attention;

        rms_norm(level, &self.input, model.tensor(&at.attention_norm), &mut self.normed, &mut self.inverses);
        for (matrix, out) in [
            (&matrices.query, &mut attention.query),
            (&matrices.key, &mut attention.key),
            (&matrices.value, &mut attention.value),
        ] {
            let (normed, out) = (Rows::new(&self.normed, d), RowsMut::new(out, d));
            multiply(level, tokens, normed, &matrix.forward, out, Write::Set);
        }
        attention.forward(level, shape, classes, model.tensor(&at.gap_bias), packed);
        let (mixed, out) = (Rows::new(&attention.mixed, d), RowsMut::new(&mut self.middle, d));
        multiply(level, tokens, mixed, &matrices.output.forward, out, Write::Set);
        dropout.apply(level, Site::Attention(index), first, d, &mut self.middle);
        add(level, &mut self.middle, &self.input);

        let gain = model.tensor(&at.feed_norm);
        rms_norm(level, &self.middle, gain, &mut self.feed_normed, &mut self.feed_inverses);
        let (normed, out) = (Rows::new(&self.feed_normed, d), RowsMut::new(&mut self.hidden, ff));
        multiply(level, tokens, normed, &matrices.feed_in.forward, out, Write::Set);
        add_bias_relu(level, &mut self.hidden, model.tensor(&at.feed_in_bias));
        let (hidden, out) = (Rows::new(&self.hidden, ff), RowsMut::new(output, d));
        multiply(level, tokens, hidden, &matrices.feed_out.forward, out, Write::Set);
        add_bias(level, output, model.tensor(&at.feed_out_bias));
        dropout.apply(level, Site::Feed(index), first, d, output);
        add(level, output, &self.middle);
    }

    /// Turns `d`, the gradient by the output, into that by the input, and adds what the weights get to `gradient`.
    pub fn backward(
        &self,
        run: &Run<'_>,
        index: usize,
        d: &mut [f32],
        gradient: &mut [f32],
        scratch: &mut BlockScratch,
    ) {
        let Run { model, shape, first, tokens, classes, dropout } = *run;
        let (at, matrices) = model.layer(index);
        let (level, width, ff) = (model.level, model.config().d_model, model.config().d_ff);
        scratch.shape(run);
        let BlockScratch { branch, d_normed, d_hidden, attention: d_attention, packed } = scratch;

        branch.copy_from_slice(d);
        dropout.apply(level, Site::Feed(index), first, width, branch);
        add_column_sums(level, branch, &mut gradient[at.feed_out_bias.clone()]);
        let by_feed_out = &mut gradient[at.feed_out.clone()];
        add_weight_gradient(level, tokens, &self.hidden, branch, by_feed_out, packed);
        let (from, out) = (Rows::new(branch, width), RowsMut::new(d_hidden, ff));
        multiply(level, tokens, from, &matrices.feed_out.backward, out, Write::Set);
        relu_backward(level, d_hidden, &self.hidden);
        add_column_sums(level, d_hidden, &mut gradient[at.feed_in_bias.clone()]);
        let by_feed_in = &mut gradient[at.feed_in.clone()];
        add_weight_gradient(level, tokens, &self.feed_normed, d_hidden, by_feed_in, packed);
        let (from, out) = (Rows::new(d_hidden, ff), RowsMut::new(d_normed, width));
        multiply(level, tokens, from, &matrices.feed_in.backward, out, Write::Set);
        let gain = model.tensor(&at.feed_norm);
        let norm = Normed { x: &self.middle, gain, inverses: &self.feed_inverses };
        rms_norm_backward(level, norm, d_normed, d, &mut gradient[at.feed_norm.clone()]);

        branch.copy_from_slice(d);
        dropout.apply(level, Site::Attention(index), first, width, branch);
        let by_output = &mut gradient[at.output.clone()];
        add_weight_gradient(level, tokens, &self.attention.mixed, branch, by_output, packed);
        let (from, out) = (Rows::new(branch, width), RowsMut::new(&mut d_attention.mixed, width));
        multiply(level, tokens, from, &matrices.output.backward, out, Write::Set);
        let by_gap_bias = &mut gradient[at.gap_bias.clone()];
        d_attention.backward(level, shape, &self.attention, classes, by_gap_bias);
        for (d_part, matrix, range, write) in [
            (&d_attention.query, &matrices.query, &at.query, Write::Set),
            (&d_attention.key, &matrices.key, &at.key, Write::Add),
            (&d_attention.value, &matrices.value, &at.value, Write::Add),
        ] {
            let by_matrix = &mut gradient[range.clone()];
            add_weight_gradient(level, tokens, &self.normed, d_part, by_matrix, packed);
            let (from, out) = (Rows::new(d_part, width), RowsMut::new(d_normed, width));
            multiply(level, tokens, from, &matrix.backward, out, write);
        }
        let gain = model.tensor(&at.attention_norm);
        let norm = Normed { x: &self.input, gain, inverses: &self.inverses };
        rms_norm_backward(level, norm, d_normed, d, &mut gradient[at.attention_norm.clone()]);
    }
}

/// Room that all layers share in the backward pass.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct BlockScratch {
    /// `[tokens, d_model]`: the gradient by what attention or feed-forward added.
    branch: Vec<f32>,
    /// `[tokens, d_model]`: the gradient by what either of them read.
    d_normed: Vec<f32>,
    /// `[tokens, d_ff]`
    d_hidden: Vec<f32>,
    attention: AttentionGradient,
    packed: Packed,
}

impl BlockScratch {
    fn shape(&mut self, run: &Run<'_>) {
        let config = run.model.config();
        self.branch.resize(run.tokens * config.d_model, 0.0);
        self.d_normed.resize(run.tokens * config.d_model, 0.0);
        self.d_hidden.resize(run.tokens * config.d_ff, 0.0);
        self.attention.shape(run.shape, run.tokens);
    }
}
