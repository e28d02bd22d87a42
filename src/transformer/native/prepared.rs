//! The weights as the passes want them: packed for products, both ways, and the tables that follow from them.

use fearless_simd::Level;

use super::super::weights::Weights;
use super::linear::{Packed, Rows, RowsMut, Write, multiply};
use crate::network::TransformerConfig;
use crate::network::{LayerLayout, WeightLayout};

/// A weight matrix, `[inputs, outputs]`.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct Matrix {
    /// For `x . matrix`.
    pub forward: Packed,
    /// For `d . transposed matrix`.
    pub backward: Packed,
}

impl Matrix {
    fn prepare(&mut self, values: &[f32], outputs: usize, backward: bool) {
        let (inputs, rows) = (values.len() / outputs, Rows::new(values, outputs));
        self.forward.pack(rows, inputs, outputs);
        if backward {
            self.backward.pack_transposed(rows, outputs, inputs);
        }
    }
}

/// One layer's matrices.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct PreparedLayer {
    pub query: Matrix,
    pub key: Matrix,
    pub value: Matrix,
    pub output: Matrix,
    pub feed_in: Matrix,
    pub feed_out: Matrix,
}

/// All matrices.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct Prepared {
    pub layers: Vec<PreparedLayer>,
    pub clock_projection: Matrix,
    /// The other way around: `forward` is for `h . transposed app_embedding`. Not for inference.
    pub apps: Matrix,
    pub pointer_candidate: Matrix,
    pub pointer_app: Matrix,
    pub pointer_question: Matrix,
    pub pointer_hidden: Matrix,
    pub pointer_second: Matrix,
    /// Of a mixture only.
    pub pointer_mixture: Matrix,
    /// `[apps + 1, pointer_width]`: `app_embedding . pointer_app`, what an app adds to every candidate that it is.
    pub app_pointer: Vec<f32>,
}

/// What the matrices are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transformer) enum For {
    Inference,
    Training,
}

impl Prepared {
    /// Prepares `weights`. What was there before is overwritten.
    pub fn prepare(&mut self, level: Level, weights: &Weights, purpose: For) {
        let (config, layout) = (weights.config(), weights.layout());
        let (d, p, apps) = (config.d_model, config.pointer_width, config.apps + 1);
        let both = purpose == For::Training;
        let of = |range: &std::ops::Range<usize>| &weights.values[range.clone()];
        self.layers.resize_with(config.layers, PreparedLayer::default);
        for (layer, at) in self.layers.iter_mut().zip(&layout.layers) {
            layer.query.prepare(of(&at.query), d, both);
            layer.key.prepare(of(&at.key), d, both);
            layer.value.prepare(of(&at.value), d, both);
            layer.output.prepare(of(&at.output), d, both);
            layer.feed_in.prepare(of(&at.feed_in), config.d_ff, both);
            layer.feed_out.prepare(of(&at.feed_out), d, both);
        }
        self.clock_projection.prepare(of(&layout.clock_projection), d, false);
        self.pointer_candidate.prepare(of(&layout.pointer_candidate), p, false);
        self.pointer_app.prepare(of(&layout.pointer_app), p, both);
        self.pointer_question.prepare(of(&layout.pointer_question), p, false);
        self.pointer_hidden.prepare(of(&layout.pointer_hidden), p, both);
        self.pointer_second.prepare(of(&layout.pointer_second), p, both);
        if config.mixture > 1 {
            self.pointer_mixture.prepare(of(&layout.pointer_mixture), config.mixture - 1, both);
        }

        let embedding = Rows::new(of(&layout.app_embedding), d);
        if both {
            self.apps.forward.pack_transposed(embedding, d, apps);
            self.apps.backward.pack(embedding, apps, d);
        }
        self.app_pointer.resize(apps * p, 0.0);
        let out = RowsMut::new(&mut self.app_pointer, p);
        multiply(level, apps, embedding, &self.pointer_app.forward, out, Write::Set);
    }
}

/// Weights and what was made of them.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct PreparedModel<'a> {
    pub level: Level,
    pub weights: &'a Weights,
    pub prepared: &'a Prepared,
}

impl<'a> PreparedModel<'a> {
    pub fn config(&self) -> &'a TransformerConfig {
        self.weights.config()
    }

    pub fn layout(&self) -> &'a WeightLayout {
        self.weights.layout()
    }

    /// Where layer `index` lies, and its matrices.
    pub fn layer(&self, index: usize) -> (&'a LayerLayout, &'a PreparedLayer) {
        (&self.layout().layers[index], &self.prepared.layers[index])
    }

    /// The tensor at `range`.
    pub fn tensor(&self, range: &std::ops::Range<usize>) -> &'a [f32] {
        &self.weights.values[range.clone()]
    }

    /// The row of the app embedding for `app`.
    pub fn app(&self, app: u32) -> &'a [f32] {
        let d = self.config().d_model;
        &self.tensor(&self.layout().app_embedding)[app as usize * d..][..d]
    }
}
