//! Several softmaxes over a question's candidates, mixed by weights that depend on the question: what becomes of the
//! logits of a model that has more than one. In `f32` as [`super::float`] has it, and with logarithms of plain code.

use fearless_simd::{Simd, SimdBase as _, dispatch, f32x16};

use super::float::{blocks, blocks_mut, dot, exp, load, maximum, powers, room};
use super::kernel::{Kernel, LANES};
use super::prepared::Prepared;
use crate::context::math::ln;

/// A logit where there is no candidate and no softmax: nothing is left of it.
const ABSENT: f32 = -1e30;

/// Room for one question.
#[derive(Debug, Clone, Default)]
pub struct Mixture {
    /// `[padded pointer_width]`: what is asked, after the rectifier.
    asked: Vec<f32>,
    /// `[padded mixture]`: the weights' logits, and then their logarithms.
    gates: Vec<f32>,
    /// `[mixture, padded candidates]`: each softmax's logits, and then the logarithms of its parts of the sum over all.
    parts: Vec<f32>,
    /// A row of powers.
    powers: Vec<f32>,
}

impl Mixture {
    /// Turns the logits of the first softmax into those of the mixture.
    ///
    /// # Shapes
    /// `shared`: `[padded pointer_width]`, before the rectifier; `hidden`: `[candidates, padded pointer_width]`;
    /// `logits`: `[candidates]`, at least one.
    pub fn mix(
        &mut self,
        kernel: Kernel,
        prepared: &Prepared,
        shared: &[f32],
        hidden: &[f32],
        logits: &mut [f32],
    ) {
        let (width, mixture) = (shared.len(), prepared.config.mixture);
        let padded = logits.len().next_multiple_of(LANES);
        self.asked.clear();
        self.asked.extend(shared.iter().map(|&x| if x > 0.0 { x } else { 0.0 }));
        let gates = room(&mut self.gates, mixture.next_multiple_of(LANES));
        let parts = room(&mut self.parts, mixture * padded);
        let row = room(&mut self.powers, padded.max(gates.len()));
        gates.fill(ABSENT);
        dispatch!(kernel.level(), simd => {
            let of_gates = prepared.pointer_gate.chunks_exact(width).zip(&prepared.pointer_gate_bias);
            for (gate, (matrix, bias)) in gates.iter_mut().zip(of_gates) {
                *gate = dot(simd, blocks(&self.asked), blocks(matrix)) + bias;
            }
            let total = log_sum(simd, gates, row);
            gates.iter_mut().for_each(|gate| *gate -= total);

            for (k, (part, gate)) in parts.chunks_exact_mut(padded).zip(&*gates).enumerate() {
                part[logits.len()..].fill(ABSENT);
                part[..logits.len()].copy_from_slice(logits);
                if k > 0 {
                    let matrix = blocks(&prepared.pointer_mixture[(k - 1) * width..][..width]);
                    for (part, hidden) in part.iter_mut().zip(hidden.chunks_exact(width)) {
                        *part += dot(simd, blocks(hidden), matrix);
                    }
                }
                let log_scale = gate - log_sum(simd, part, row);
                part.iter_mut().for_each(|part| *part += log_scale);
            }
            for (block, logits) in logits.chunks_mut(LANES).enumerate() {
                let of = |part: &[f32]| load(simd, &blocks(part)[block]);
                let mut most = f32x16::splat(simd, f32::NEG_INFINITY);
                for part in parts.chunks_exact(padded) {
                    most = most.max(of(part));
                }
                let mut sums = f32x16::splat(simd, 0.0);
                for part in parts.chunks_exact(padded) {
                    sums += exp(of(part) - most);
                }
                for ((logit, most), sum) in logits.iter_mut().zip(most.to_array()).zip(sums.to_array()) {
                    *logit = most + ln(sum);
                }
            }
        });
    }
}

/// The logarithm of the sum of `e^x` over a padded row; `copy` is room for as many numbers.
#[inline(always)]
fn log_sum<S: Simd>(simd: S, row: &[f32], copy: &mut [f32]) -> f32 {
    let copy = &mut copy[..row.len()];
    copy.copy_from_slice(row);
    let most = maximum(simd, blocks(copy));
    most + ln(powers(simd, blocks_mut(copy), most))
}
