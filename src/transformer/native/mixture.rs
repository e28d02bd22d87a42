//! Several softmaxes over a question's candidates, mixed by weights that depend on the question.
//!
//! Backward, with `s_k = softmax(z_k)` and `g_i` the gradient by `logit_i`:
//!
//! ```text
//! e_ik  = g_i gate_k s_ik / exp(logit_i)
//! by z_ik          e_ik - s_ik sum_j e_jk
//! by gate logit k  sum_i e_ik - gate_k sum_ij e_ij
//! ```

use super::layers::{add, add_scaled, dot, exp_less, softmax};
use super::linear::{Packed, Rows, RowsMut, Write, add_weight_gradient, multiply};
use super::prepared::PreparedModel;

/// Room for one question.
#[derive(Debug, Clone, Default)]
pub(super) struct Mixture {
    /// `[pointer_width]`: what is asked, after the rectifier.
    asked: Vec<f32>,
    /// `[mixture]`: weights of the softmaxes, and their logarithms.
    gates: Vec<f32>,
    log_gates: Vec<f32>,
    /// `[candidates, mixture - 1]`: what each softmax but the first adds to its logits; then the gradient by that.
    added: Vec<f32>,
    /// `[mixture, candidates]`: the softmaxes.
    shares: Vec<f32>,
    /// `[mixture, candidates]`: each softmax's part of the sum over all, a candidate's parts scaled alike; then the
    /// gradient by the softmaxes' logits.
    parts: Vec<f32>,
    /// `[candidates]`: the largest part's logarithm, which all were scaled by, and the sum of the parts.
    most: Vec<f32>,
    sums: Vec<f32>,
    /// `[mixture]`: the gradient by the gates' logits.
    d_gates: Vec<f32>,
}

/// Gradients of a question: the first is read and rewritten, the others are added to.
#[derive(Debug)]
pub(super) struct MixtureGradient<'a> {
    /// By the mixed logits; afterwards by those of the first softmax, which are in all.
    pub logits: &'a mut [f32],
    /// By the candidates' last hidden layer.
    pub second: &'a mut [f32],
    /// By what is asked, before the rectifier.
    pub shared: &'a mut [f32],
    /// By the weights, in their layout.
    pub weights: &'a mut [f32],
}

impl Mixture {
    /// Turns the logits of the first softmax into those of the mixture.
    ///
    /// # Shapes
    /// `shared`: `[pointer_width]`, before the rectifier; `second`: `[candidates, pointer_width]`; `logits`:
    /// `[candidates]`.
    pub fn forward(&mut self, model: PreparedModel<'_>, shared: &[f32], second: &[f32], logits: &mut [f32]) {
        let (layout, level, rows) = (model.layout(), model.level, logits.len());
        let (p, mixture) = (model.config().pointer_width, model.config().mixture);
        if rows == 0 {
            return;
        }
        let Self { asked, gates, log_gates, added, shares, parts, most, sums, .. } = self;
        asked.clear();
        asked.extend(shared.iter().map(|x| x.max(0.0)));
        log_gates.clear();
        log_gates.extend_from_slice(model.tensor(&layout.pointer_gate_bias));
        for (&asked, row) in asked.iter().zip(model.tensor(&layout.pointer_gate).chunks_exact(mixture)) {
            add_scaled(level, log_gates, asked, row);
        }
        gates.clone_from(log_gates);
        let log_sum = softmax(level, gates);
        log_gates.iter_mut().for_each(|logit| *logit -= log_sum);

        added.resize(rows * (mixture - 1), 0.0);
        let (matrix, out) = (&model.prepared.pointer_mixture.forward, RowsMut::new(added, mixture - 1));
        multiply(level, rows, Rows::new(second, p), matrix, out, Write::Set);
        shares.clear();
        shares.extend_from_slice(logits);
        for k in 0..mixture - 1 {
            let of_softmax = added.chunks_exact(mixture - 1).map(|row| row[k]);
            shares.extend(logits.iter().zip(of_softmax).map(|(logit, added)| logit + added));
        }

        // In logarithms: a candidate that every softmax holds for hopeless still has a logit.
        parts.clone_from(shares);
        most.clear();
        most.resize(rows, f32::NEG_INFINITY);
        let softmaxes = parts.chunks_exact_mut(rows).zip(shares.chunks_exact_mut(rows));
        for ((part, share), log_gate) in softmaxes.zip(&*log_gates) {
            let log_scale = log_gate - softmax(level, share);
            for (part, most) in part.iter_mut().zip(&mut *most) {
                *part += log_scale;
                *most = most.max(*part);
            }
        }
        sums.clear();
        sums.resize(rows, 0.0);
        for part in parts.chunks_exact_mut(rows) {
            exp_less(level, part, most);
            add(level, sums, part);
        }
        for ((logit, most), sum) in logits.iter_mut().zip(most).zip(sums) {
            *logit = *most + sum.ln();
        }
    }

    /// Takes the gradient back through [`forward`](Self::forward), which was called with the same `second` before.
    pub fn backward(
        &mut self,
        model: PreparedModel<'_>,
        second: &[f32],
        to: MixtureGradient<'_>,
        packed: &mut Packed,
    ) {
        let (layout, level, rows) = (model.layout(), model.level, to.logits.len());
        let (p, mixture) = (model.config().pointer_width, model.config().mixture);
        let Self { asked, gates, added, shares, parts, sums, d_gates, .. } = self;
        d_gates.clear();
        for (part, share) in parts.chunks_exact_mut(rows).zip(shares.chunks_exact(rows)) {
            for ((part, d), sum) in part.iter_mut().zip(&*to.logits).zip(&*sums) {
                *part *= d / sum;
            }
            let sum: f32 = part.iter().sum();
            d_gates.push(sum);
            add_scaled(level, part, -sum, share);
        }
        let sum: f32 = d_gates.iter().sum();
        add_scaled(level, d_gates, -sum, gates);

        to.logits.fill(0.0);
        for (k, part) in parts.chunks_exact(rows).enumerate() {
            add(level, to.logits, part);
            if k > 0 {
                let rows = added.chunks_exact_mut(mixture - 1);
                rows.zip(part).for_each(|(row, &d)| row[k - 1] = d);
            }
        }
        let by_mixture = &mut to.weights[layout.pointer_mixture.clone()];
        add_weight_gradient(level, rows, second, added, by_mixture, packed);
        let (from, out) = (Rows::new(added, mixture - 1), RowsMut::new(to.second, p));
        multiply(level, rows, from, &model.prepared.pointer_mixture.backward, out, Write::Add);

        add(level, &mut to.weights[layout.pointer_gate_bias.clone()], d_gates);
        let by_gate = to.weights[layout.pointer_gate.clone()].chunks_exact_mut(mixture);
        let gate = model.tensor(&layout.pointer_gate).chunks_exact(mixture);
        for ((by_gate, gate), (&asked, d)) in by_gate.zip(gate).zip(asked.iter().zip(to.shared)) {
            if asked > 0.0 {
                add_scaled(level, by_gate, asked, d_gates);
                *d += dot(level, gate, d_gates);
            }
        }
    }
}
