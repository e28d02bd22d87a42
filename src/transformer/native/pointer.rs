//! A question's candidates: a network over what the user's own past says of each, beside the classifier's logit.

use std::ops::Range;

use super::layers::{add, add_bias_relu, add_column_sums, add_scaled, dot, relu_backward, softmax};
use super::linear::{Packed, Rows, RowsMut, Write, add_weight_gradient, multiply};
use super::mixture::{Mixture, MixtureGradient};
use super::prepared::PreparedModel;
use crate::network::Batch;

/// A question of a batch.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct Question<'a> {
    pub model: PreparedModel<'a>,
    pub batch: &'a Batch,
    pub index: usize,
    /// `[d_model]`: the final hidden state of the question's token.
    pub h: &'a [f32],
}

impl<'a> Question<'a> {
    /// Which candidates of the batch are the question's.
    pub fn candidates(&self) -> Range<usize> {
        self.batch.offsets[self.index] as usize..self.batch.offsets[self.index + 1] as usize
    }

    fn apps(&self) -> &'a [u32] {
        &self.batch.candidate_apps[self.candidates()]
    }

    /// `[candidates, candidate_columns]`.
    fn candidate_columns(&self) -> &'a [f32] {
        let (range, width) = (self.candidates(), self.model.config().candidate_columns);
        &self.batch.candidate_columns[range.start * width..range.end * width]
    }

    /// `[question_columns]`.
    fn columns(&self) -> &'a [f32] {
        let width = self.model.config().question_columns;
        &self.batch.question_columns[self.index * width..][..width]
    }
}

/// Where the gradients of a question go.
#[derive(Debug)]
pub(in crate::transformer) struct PointerGradient<'a> {
    /// By `h`.
    pub h: &'a mut [f32],
    /// By the weights, in their layout.
    pub weights: &'a mut [f32],
    /// By [`Prepared::app_pointer`](super::prepared::Prepared::app_pointer).
    pub app_pointer: &'a mut [f32],
}

/// Room for one question.
#[derive(Debug, Clone, Default)]
pub(in crate::transformer) struct Pointer {
    /// `[pointer_width]`: what all candidates have in common.
    shared: Vec<f32>,
    /// `[candidates, pointer_width]`: after the first and the second rectifier.
    first: Vec<f32>,
    second: Vec<f32>,
    /// `[candidates]`: logits, then their gradients.
    logits: Vec<f32>,
    /// The gradients by what has their names.
    d_shared: Vec<f32>,
    d_first: Vec<f32>,
    d_second: Vec<f32>,
    mixture: Mixture,
    packed: Packed,
}

impl Pointer {
    /// The logits of the candidates.
    ///
    /// # Shapes
    /// `logits`: `[candidates]`.
    pub fn forward(&mut self, question: Question<'_>, logits: &mut [f32]) {
        let Question { model, h, .. } = question;
        let (layout, prepared, level) = (model.layout(), model.prepared, model.level);
        let (p, apps) = (model.config().pointer_width, question.apps());
        let Self { shared, first, second, mixture, .. } = self;
        shared.clear();
        shared.extend_from_slice(model.tensor(&layout.pointer_bias));
        for (x, matrix) in [(question.columns(), &prepared.pointer_question), (h, &prepared.pointer_hidden)] {
            let out = RowsMut::new(shared, p);
            multiply(level, 1, Rows::new(x, x.len()), &matrix.forward, out, Write::Add);
        }

        first.resize(apps.len() * p, 0.0);
        let columns = Rows::new(question.candidate_columns(), model.config().candidate_columns);
        let matrix = &prepared.pointer_candidate.forward;
        multiply(level, apps.len(), columns, matrix, RowsMut::new(first, p), Write::Set);
        for (first, &app) in first.chunks_exact_mut(p).zip(apps) {
            add(level, first, &prepared.app_pointer[app as usize * p..][..p]);
        }
        add_bias_relu(level, first, shared);

        second.resize(apps.len() * p, 0.0);
        let matrix = &prepared.pointer_second.forward;
        multiply(level, apps.len(), Rows::new(first, p), matrix, RowsMut::new(second, p), Write::Set);
        add_bias_relu(level, second, model.tensor(&layout.pointer_second_bias));

        let output = model.tensor(&layout.pointer_output);
        let app_bias = model.tensor(&layout.app_bias);
        for ((logit, second), &app) in logits.iter_mut().zip(second.chunks_exact(p)).zip(apps) {
            *logit = dot(level, h, model.app(app)) + app_bias[app as usize] + dot(level, second, output);
        }
        if model.config().mixture > 1 {
            mixture.forward(model, shared, second, logits);
        }
    }

    /// Returns the question's loss, and adds the gradients of `weight` times it.
    pub fn learn(&mut self, question: Question<'_>, weight: f32, mut to: PointerGradient<'_>) -> f64 {
        let range = question.candidates();
        if range.is_empty() {
            return 0.0;
        }
        let targets = &question.batch.targets[range.clone()];
        let mut logits = std::mem::take(&mut self.logits);
        logits.resize(range.len(), 0.0);
        self.forward(question, &mut logits);

        let total: f64 = targets.iter().map(|&target| f64::from(target)).sum();
        let pairs = logits.iter().zip(targets);
        let matched: f64 = pairs.map(|(&logit, &target)| f64::from(logit) * f64::from(target)).sum();
        let loss = total * f64::from(softmax(question.model.level, &mut logits)) - matched;
        for (share, target) in logits.iter_mut().zip(targets) {
            *share = weight * (*share * total as f32 - target);
        }
        self.backward(question, &mut logits, &mut to);
        self.logits = logits;
        loss
    }

    /// `d`: `[candidates]`, the gradient by the logits; afterwards by those of the first softmax.
    fn backward(&mut self, question: Question<'_>, d: &mut [f32], to: &mut PointerGradient<'_>) {
        let Question { model, h, .. } = question;
        let (layout, prepared, level) = (model.layout(), model.prepared, model.level);
        let (width, p, apps) = (model.config().d_model, model.config().pointer_width, question.apps());
        let (rows, gradient) = (apps.len(), &mut *to.weights);
        let Self { first, second, d_shared, d_first, d_second, mixture, packed, .. } = self;
        for (list, length) in [(&mut *d_shared, p), (&mut *d_second, rows * p)] {
            list.clear();
            list.resize(length, 0.0);
        }
        if model.config().mixture > 1 {
            let to = MixtureGradient { logits: d, second: d_second, shared: d_shared, weights: gradient };
            mixture.backward(model, second, to, packed);
        }

        for (&d, &app) in d.iter().zip(apps) {
            let row = layout.app_embedding.start + app as usize * width;
            add_scaled(level, &mut gradient[row..][..width], d, h);
            gradient[layout.app_bias.start + app as usize] += d;
            add_scaled(level, to.h, d, model.app(app));
        }

        let output = model.tensor(&layout.pointer_output);
        for ((&d, second), d_second) in d.iter().zip(second.chunks_exact(p)).zip(d_second.chunks_exact_mut(p))
        {
            add_scaled(level, &mut gradient[layout.pointer_output.clone()], d, second);
            add_scaled(level, d_second, d, output);
        }
        relu_backward(level, d_second, second);
        add_column_sums(level, d_second, &mut gradient[layout.pointer_second_bias.clone()]);
        let by_second = &mut gradient[layout.pointer_second.clone()];
        add_weight_gradient(level, rows, first, d_second, by_second, packed);

        d_first.resize(rows * p, 0.0);
        let (from, out) = (Rows::new(d_second, p), RowsMut::new(d_first, p));
        multiply(level, rows, from, &prepared.pointer_second.backward, out, Write::Set);
        relu_backward(level, d_first, first);
        for (d_first, &app) in d_first.chunks_exact(p).zip(apps) {
            add(level, &mut to.app_pointer[app as usize * p..][..p], d_first);
        }
        let by_candidate = &mut gradient[layout.pointer_candidate.clone()];
        add_weight_gradient(level, rows, question.candidate_columns(), d_first, by_candidate, packed);

        add_column_sums(level, d_first, d_shared);
        add(level, &mut gradient[layout.pointer_bias.clone()], d_shared);
        for (x, range) in [(question.columns(), &layout.pointer_question), (h, &layout.pointer_hidden)] {
            for (&x, row) in x.iter().zip(gradient[range.clone()].chunks_exact_mut(p)) {
                add_scaled(level, row, x, d_shared);
            }
        }
        let (from, out) = (Rows::new(d_shared, p), RowsMut::new(to.h, width));
        multiply(level, 1, from, &prepared.pointer_hidden.backward, out, Write::Add);
    }
}
