//! The formulas, and where each tensor of theirs lies in one flat list of numbers.
//!
//! The model, row vectors times `[in, out]` matrices throughout:
//!
//! ```text
//! x      = app_embedding[app] + kind_embedding[kind] + place_embedding[place] + gap_embedding[gap]
//!          + network_embedding[network] + battery_embedding[battery] + clock . clock_projection
//! each layer
//!   a    = rms_norm(x, attention_norm)
//!   q, k, v = a . query, a . key, a . value                          heads side by side
//!   s_ij = q_i . k_j / sqrt(d_head) + gap_bias[head, bucket(t_i - t_j)]        j <= i
//!   x   += softmax(s) v . output
//!   f    = rms_norm(x, feed_norm)
//!   x   += relu(f . feed_in + feed_in_bias) . feed_out + feed_out_bias
//! h      = rms_norm(x, final_norm)
//! next app, at every token: softmax over the vocabulary and "unknown" of h . app_embedding + app_bias
//! a question's candidate, at the question's token:
//!   asked = question_columns . pointer_question + h . pointer_hidden + pointer_bias
//!   u    = relu(columns . pointer_candidate + app_embedding[app] . pointer_app + asked)
//!   w    = relu(u . pointer_second + pointer_second_bias)
//!   z_0  = h . app_embedding[app] + app_bias[app] + w . pointer_output
//!   logit = z_0                                              where the mixture is of one softmax
//! else, for 0 < k < mixture, softmaxes over the question's candidates (Yang and others, "Breaking the Softmax
//! Bottleneck", 2018), because "the last app again, or else one of these" is no single softmax of what is known of each:
//!   z_k  = z_0 + w . pointer_mixture[, k - 1]
//!   gate = softmax(relu(asked) . pointer_gate + pointer_gate_bias)
//!   logit = ln sum_k gate_k softmax(z_k)
//! ```

use std::ops::Range;

use super::config::TransformerConfig;
use crate::context::tokens::{BATTERIES, CLOCK, GAPS, KINDS, NETWORKS, PLACES};

/// Added to the mean square before its root is taken.
pub const NORM_EPSILON: f32 = 1e-5;

/// A tensor's name, shape and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name, as in a weights file: `layers.0.query`.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Where its values lie, row by row.
    pub range: Range<usize>,
    /// Whether weight decay applies: to matrices, not to norms, biases and embeddings.
    pub decays: bool,
}

/// Where each tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightLayout {
    /// `[apps + 2, d_model]`: the vocabulary, the unknown app, no app.
    pub app_embedding: Range<usize>,
    /// `[KINDS, d_model]`.
    pub kind_embedding: Range<usize>,
    /// `[PLACES, d_model]`.
    pub place_embedding: Range<usize>,
    /// `[GAPS, d_model]`.
    pub gap_embedding: Range<usize>,
    /// `[NETWORKS, d_model]`.
    pub network_embedding: Range<usize>,
    /// `[BATTERIES, d_model]`.
    pub battery_embedding: Range<usize>,
    /// `[CLOCK, d_model]`.
    pub clock_projection: Range<usize>,
    /// Layer by layer.
    pub layers: Vec<LayerLayout>,
    /// `[d_model]`.
    pub final_norm: Range<usize>,
    /// `[apps + 1]`: the vocabulary and the unknown app.
    pub app_bias: Range<usize>,
    /// `[candidate_columns, pointer_width]`.
    pub pointer_candidate: Range<usize>,
    /// `[d_model, pointer_width]`.
    pub pointer_app: Range<usize>,
    /// `[question_columns, pointer_width]`.
    pub pointer_question: Range<usize>,
    /// `[d_model, pointer_width]`.
    pub pointer_hidden: Range<usize>,
    /// `[pointer_width]`.
    pub pointer_bias: Range<usize>,
    /// `[pointer_width, pointer_width]`.
    pub pointer_second: Range<usize>,
    /// `[pointer_width]`.
    pub pointer_second_bias: Range<usize>,
    /// `[pointer_width]`.
    pub pointer_output: Range<usize>,
    /// `[pointer_width, mixture - 1]`. Like the other two of the mixture, nothing where that is 1.
    pub pointer_mixture: Range<usize>,
    /// `[pointer_width, mixture]`.
    pub pointer_gate: Range<usize>,
    /// `[mixture]`.
    pub pointer_gate_bias: Range<usize>,
    /// All of them, in order.
    pub tensors: Vec<TensorSpec>,
}

/// Where the tensors of one layer lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerLayout {
    /// `[d_model]`.
    pub attention_norm: Range<usize>,
    /// `[d_model, d_model]`.
    pub query: Range<usize>,
    /// `[d_model, d_model]`.
    pub key: Range<usize>,
    /// `[d_model, d_model]`.
    pub value: Range<usize>,
    /// `[heads, GAPS]`.
    pub gap_bias: Range<usize>,
    /// `[d_model, d_model]`.
    pub output: Range<usize>,
    /// `[d_model]`.
    pub feed_norm: Range<usize>,
    /// `[d_model, d_ff]`.
    pub feed_in: Range<usize>,
    /// `[d_ff]`.
    pub feed_in_bias: Range<usize>,
    /// `[d_ff, d_model]`.
    pub feed_out: Range<usize>,
    /// `[d_model]`.
    pub feed_out_bias: Range<usize>,
}

impl WeightLayout {
    /// The layout of `config`'s weights.
    pub fn new(config: &TransformerConfig) -> Self {
        let (d, ff, p) = (config.d_model, config.d_ff, config.pointer_width);
        let mut tensors: Vec<TensorSpec> = Vec::new();
        let mut take = |name: &str, shape: &[usize], decays: bool| {
            let start = tensors.last().map_or(0, |last| last.range.end);
            let range = start..start + shape.iter().product::<usize>();
            tensors.push(TensorSpec {
                name: name.to_owned(),
                shape: shape.to_vec(),
                range: range.clone(),
                decays,
            });
            range
        };
        let mut layout = Self {
            app_embedding: take("app_embedding", &[config.apps + 2, d], false),
            kind_embedding: take("kind_embedding", &[KINDS, d], false),
            place_embedding: take("place_embedding", &[PLACES, d], false),
            gap_embedding: take("gap_embedding", &[GAPS, d], false),
            network_embedding: take("network_embedding", &[NETWORKS, d], false),
            battery_embedding: take("battery_embedding", &[BATTERIES, d], false),
            clock_projection: take("clock_projection", &[CLOCK, d], false),
            layers: (0..config.layers)
                .map(|layer| {
                    let mut take = |name: &str, shape: &[usize], decays| {
                        take(&format!("layers.{layer}.{name}"), shape, decays)
                    };
                    LayerLayout {
                        attention_norm: take("attention_norm", &[d], false),
                        query: take("query", &[d, d], true),
                        key: take("key", &[d, d], true),
                        value: take("value", &[d, d], true),
                        gap_bias: take("gap_bias", &[config.heads, GAPS], false),
                        output: take("output", &[d, d], true),
                        feed_norm: take("feed_norm", &[d], false),
                        feed_in: take("feed_in", &[d, ff], true),
                        feed_in_bias: take("feed_in_bias", &[ff], false),
                        feed_out: take("feed_out", &[ff, d], true),
                        feed_out_bias: take("feed_out_bias", &[d], false),
                    }
                })
                .collect(),
            final_norm: take("final_norm", &[d], false),
            app_bias: take("app_bias", &[config.apps + 1], false),
            pointer_candidate: take("pointer_candidate", &[config.candidate_columns, p], true),
            pointer_app: take("pointer_app", &[d, p], true),
            pointer_question: take("pointer_question", &[config.question_columns, p], true),
            pointer_hidden: take("pointer_hidden", &[d, p], true),
            pointer_bias: take("pointer_bias", &[p], false),
            pointer_second: take("pointer_second", &[p, p], true),
            pointer_second_bias: take("pointer_second_bias", &[p], false),
            pointer_output: take("pointer_output", &[p], true),
            pointer_mixture: 0..0,
            pointer_gate: 0..0,
            pointer_gate_bias: 0..0,
            tensors: Vec::new(),
        };
        if config.mixture > 1 {
            layout.pointer_mixture = take("pointer_mixture", &[p, config.mixture - 1], true);
            layout.pointer_gate = take("pointer_gate", &[p, config.mixture], true);
            layout.pointer_gate_bias = take("pointer_gate_bias", &[config.mixture], false);
        }
        layout.tensors = tensors;
        layout
    }

    /// The place in [`tensors`](Self::tensors) of the one that begins where `range` does.
    pub(crate) fn index(&self, range: &Range<usize>) -> usize {
        self.tensors.partition_point(|spec| spec.range.start < range.start)
    }

    /// The tensor that begins where `range` does.
    #[cfg(feature = "train")]
    pub(crate) fn spec(&self, range: &Range<usize>) -> &TensorSpec {
        &self.tensors[self.index(range)]
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.tensors.last().map_or(0, |last| last.range.end)
    }

    /// Whether there is none; no layout is empty.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// [`len`](WeightLayout::len) of the layout of `config`, which has passed [`TransformerConfig::check`], without making it:
    /// what `check` lets pass may be more than a phone's `usize` can count.
    pub fn count(config: &TransformerConfig) -> u64 {
        let of = |size: usize| size as u64;
        let (d, ff, p) = (of(config.d_model), of(config.d_ff), of(config.pointer_width));
        let rows = of(config.apps) + 2 + of(KINDS + PLACES + GAPS + NETWORKS + BATTERIES + CLOCK);
        let layer = 4 * d * d + of(config.heads) * of(GAPS) + 2 * d * ff + ff + 3 * d;
        let read_by_pointer = of(config.candidate_columns) + of(config.question_columns) + 2 * d + p;
        let mixture = match of(config.mixture) {
            1 => 0,
            mixture => (2 * mixture - 1) * p + mixture,
        };
        rows * d + of(config.layers) * layer + d + of(config.apps) + 1 + (read_by_pointer + 3) * p + mixture
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| values[column..].iter().step_by(columns).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Task;

    #[test]
    fn counted_without_being_made() {
        let student = TransformerConfig::student(Task::FirstAfterUnlock, 30);
        let odd = TransformerConfig {
            apps: 0,
            layers: 3,
            d_model: 15,
            heads: 5,
            pointer_width: 7,
            mixture: 3,
            ..student.clone()
        };
        for config in [student, odd, TransformerConfig::teacher(Task::NextLaunch, 1_000)] {
            assert_eq!(WeightLayout::count(&config), WeightLayout::new(&config).len() as u64, "{config:?}");
        }
    }
}
