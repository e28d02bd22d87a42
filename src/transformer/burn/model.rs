//! The model of `network/layout.rs` on tensors. Rows are tokens, sequence by sequence; only attention looks at sequences.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::inputs::{Inputs, NextApps, QuestionTensors};
use crate::network::{LayerLayout, NORM_EPSILON, TransformerConfig, WeightLayout};
use crate::transformer::weights::Weights;

/// The weights on the device, each a leaf of the graph whose gradient is asked for.
pub(super) struct BurnModel<'a> {
    config: &'a TransformerConfig,
    layout: &'a WeightLayout,
    /// In the order of [`WeightLayout::tensors`], flat.
    pub(super) leaves: Vec<Tensor<1>>,
}

impl<'a> BurnModel<'a> {
    /// Uploads `weights`.
    pub(super) fn new(weights: &'a Weights, device: &Device) -> Self {
        let (config, layout) = (weights.config(), weights.layout());
        let upload = |range: &Range<usize>| {
            let leaf = Tensor::from_data(
                TensorData::new(weights.values[range.clone()].to_vec(), [range.len()]),
                device,
            );
            // Only on a device that takes gradients: elsewhere there is no graph to be a leaf of.
            if device.is_autodiff() { leaf.require_grad() } else { leaf }
        };
        Self { config, layout, leaves: layout.tensors.iter().map(|tensor| upload(&tensor.range)).collect() }
    }

    /// What the last layer says of every token.
    ///
    /// `dropout` holds a mask for the embeddings and for what each attention and each feed-forward adds, or nothing.
    ///
    /// # Shapes
    /// `dropout`: `[tokens, d_model]` each. The result: `[tokens, d_model]`.
    pub(super) fn hidden(&self, inputs: &Inputs, dropout: Vec<Tensor<2>>) -> Tensor<2> {
        let mut masks = dropout.into_iter();
        let mut drop = |added: Tensor<2>| match masks.next() {
            Some(mask) => added * mask,
            None => added,
        };
        let layout = self.layout;
        let tables = [
            &layout.kind_embedding,
            &layout.place_embedding,
            &layout.gap_embedding,
            &layout.network_embedding,
            &layout.battery_embedding,
            &layout.clock_projection,
        ];
        let tables = Tensor::cat(tables.map(|range| self.matrix(range)).to_vec(), 0);
        let apps = self.matrix(&layout.app_embedding).select(0, inputs.apps.clone());
        let mut x = drop(apps + inputs.facts.clone().matmul(tables)); // [tokens, d_model]
        for layer in &layout.layers {
            let attended = self.attend(layer, rms_norm(x.clone(), self.row(&layer.attention_norm)), inputs);
            x = x + drop(attended);
            let fed = self.feed(layer, rms_norm(x.clone(), self.row(&layer.feed_norm)));
            x = x + drop(fed);
        }
        rms_norm(x, self.row(&layout.final_norm))
    }

    /// What attention adds to the residual stream, `[tokens, d_model]` as `a` is.
    fn attend(&self, layer: &LayerLayout, a: Tensor<2>, inputs: &Inputs) -> Tensor<2> {
        let (sequences, length, heads) = (inputs.sequences, inputs.length, self.config.heads);
        let (d_model, d_head) = (self.config.d_model, self.config.d_head());
        let part = |range| {
            let rows = a.clone().matmul(self.matrix(range));
            rows.reshape([sequences, length, heads, d_head]).swap_dims(1, 2)
        };
        let (q, k, v) = (part(&layer.query), part(&layer.key), part(&layer.value)); // [sequences, heads, length, d_head]
        let bias = self.matrix(&layer.gap_bias).unsqueeze().matmul(inputs.gaps.clone());
        let bias = bias.reshape([sequences, heads, length, length]);
        let scale = 1.0 / (d_head as f32).sqrt();
        let scores = (q * scale).matmul(k.swap_dims(2, 3)) + bias + inputs.causal.clone();
        let mixed = activation::softmax(scores, 3).matmul(v).swap_dims(1, 2);
        mixed.reshape([sequences * length, d_model]).matmul(self.matrix(&layer.output))
    }

    /// What the feed-forward adds to the residual stream, `[tokens, d_model]` as `f` is.
    fn feed(&self, layer: &LayerLayout, f: Tensor<2>) -> Tensor<2> {
        let wide = f.matmul(self.matrix(&layer.feed_in)) + self.row(&layer.feed_in_bias);
        activation::relu(wide).matmul(self.matrix(&layer.feed_out)) + self.row(&layer.feed_out_bias)
    }

    /// A logit for every app of the vocabulary and the unknown one: `[rows, apps + 1]` for `[rows, d_model]`.
    fn app_logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.named_apps().transpose()) + self.row(&self.layout.app_bias)
    }

    /// The app embedding without "no app", which is never predicted: `[apps + 1, d_model]`.
    fn named_apps(&self) -> Tensor<2> {
        self.matrix(&self.layout.app_embedding).slice_dim(0, 0..self.config.apps + 1)
    }

    /// A logit for every candidate, and one far below them beyond a question's own: `[questions, widest]`.
    pub(super) fn candidate_logits(&self, hidden: &Tensor<2>, questions: &QuestionTensors) -> Tensor<2> {
        let layout = self.layout;
        let (count, widest, width) = (questions.count, questions.widest, self.config.pointer_width);
        let h = hidden.clone().select(0, questions.tokens.clone()); // [questions, d_model]
        let classified = self.app_logits(h.clone()).gather(1, questions.apps.clone());

        // Products with whole tables, then rows of them: a vocabulary is smaller than all questions' candidates.
        let apps: Tensor<1, Int> = questions.apps.clone().reshape([count * widest]);
        let of_app = self.named_apps().matmul(self.matrix(&layout.pointer_app)).select(0, apps);
        let of_columns = questions.candidate_columns.clone().matmul(self.matrix(&layout.pointer_candidate));
        let of_question = questions.columns.clone().matmul(self.matrix(&layout.pointer_question))
            + h.matmul(self.matrix(&layout.pointer_hidden))
            + self.row(&layout.pointer_bias); // [questions, width]
        let u = (of_app + of_columns).reshape([count, widest, width]) + of_question.clone().unsqueeze_dim(1);
        let u = activation::relu(u).reshape([count * widest, width]);
        let w = u.matmul(self.matrix(&layout.pointer_second)) + self.row(&layout.pointer_second_bias);
        let w = activation::relu(w); // [questions * widest, width]
        let pointed = w.clone().matmul(self.row(&layout.pointer_output).transpose());
        let logits = classified + pointed.reshape([count, widest]) + questions.absent.clone();
        if self.config.mixture > 1 { self.mix(logits, w, of_question) } else { logits }
    }

    /// The logits of the mixture, `[questions, widest]`, from those of its first softmax.
    ///
    /// # Shapes
    /// `logits`: `[questions, widest]`; `w`: `[questions * widest, width]`; `asked`: `[questions, width]`.
    fn mix(&self, logits: Tensor<2>, w: Tensor<2>, asked: Tensor<2>) -> Tensor<2> {
        let (layout, mixture, [count, widest]) = (self.layout, self.config.mixture, logits.dims());
        let added = w.matmul(self.matrix(&layout.pointer_mixture)).reshape([count, widest, mixture - 1]);
        let first: Tensor<3> = logits.unsqueeze_dim(2);
        let logits = Tensor::cat(vec![first.clone(), first + added], 2); // [questions, widest, mixture]
        let gates = activation::relu(asked).matmul(self.matrix(&layout.pointer_gate));
        let gates = activation::log_softmax(gates + self.row(&layout.pointer_gate_bias), 1);
        let parts = activation::log_softmax(logits, 1) + gates.unsqueeze_dim(1);
        // The logarithm of their sum is what a log softmax takes away, of any of them.
        let less = activation::log_softmax(parts.clone(), 2);
        (parts - less).slice_dim(2, 0..1).reshape([count, widest])
    }

    /// The summed cross entropy of all questions, `[1]`.
    pub(super) fn question_loss(&self, hidden: &Tensor<2>, questions: &QuestionTensors) -> Tensor<1> {
        let chances = activation::log_softmax(self.candidate_logits(hidden, questions), 1);
        -(chances * questions.targets.clone()).sum()
    }

    /// The summed cross entropy of the next apps, `[1]`.
    pub(super) fn next_loss(&self, hidden: Tensor<2>, next: &NextApps) -> Tensor<1> {
        let chances = activation::log_softmax(self.app_logits(hidden), 1); // [tokens, apps + 1]
        -(chances.gather(1, next.apps.clone()) * next.present.clone()).sum()
    }

    fn leaf(&self, range: &Range<usize>) -> (Tensor<1>, &[usize]) {
        let tensors = &self.layout.tensors;
        // Ranges ascend and none is empty, so a tensor's place follows from where it starts.
        let index = tensors.partition_point(|tensor| tensor.range.start < range.start);
        (self.leaves[index].clone(), &tensors[index].shape)
    }

    /// A tensor that has two sizes.
    fn matrix(&self, range: &Range<usize>) -> Tensor<2> {
        let (leaf, shape) = self.leaf(range);
        leaf.reshape([shape[0], shape[1]])
    }

    /// A tensor that has one size, as a row that every token shares.
    fn row(&self, range: &Range<usize>) -> Tensor<2> {
        self.leaf(range).0.unsqueeze()
    }
}

/// Rows of `x` brought to a mean square of one, column by column times `norm`, `[1, d_model]`.
fn rms_norm(x: Tensor<2>, norm: Tensor<2>) -> Tensor<2> {
    let scale = (x.clone().square().mean_dim(1) + NORM_EPSILON).sqrt().recip(); // [tokens, 1]
    x * scale * norm
}
