//! Norms, biases, rectifiers and softmax, each beside its derivative.

use fearless_simd::{Level, Simd, SimdBase, SimdFloat, dispatch, f32x8};

use crate::network::NORM_EPSILON;

/// `normed = x * gain / sqrt(mean(x^2) + epsilon)`, row by row.
///
/// # Shapes
/// `x`, `normed`: `[rows, width]`; `gain`: `[width]`; `inverses`: `[rows]`, what each row was multiplied by.
pub(in crate::transformer) fn rms_norm(
    level: Level,
    x: &[f32],
    gain: &[f32],
    normed: &mut [f32],
    inverses: &mut [f32],
) {
    let width = gain.len();
    dispatch!(level, simd => {
        let rows = x.chunks_exact(width).zip(normed.chunks_exact_mut(width)).zip(inverses);
        for ((x, normed), inverse) in rows {
            *inverse = 1.0 / (dot_row(simd, x, x) / width as f32 + NORM_EPSILON).sqrt();
            for ((normed, x), gain) in normed.iter_mut().zip(x).zip(gain) {
                *normed = x * *inverse * gain;
            }
        }
    });
}

/// What [`rms_norm`] read and kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::transformer) struct Normed<'a> {
    pub x: &'a [f32],
    pub gain: &'a [f32],
    pub inverses: &'a [f32],
}

/// Adds the gradients by `x` and `gain` to `d_x` and `d_gain`. With `r` the inverse and `n` the width,
/// `d_x = r * gain * d - x * r^3 / n * sum(d * gain * x)`.
pub(in crate::transformer) fn rms_norm_backward(
    level: Level,
    of: Normed<'_>,
    d_normed: &[f32],
    d_x: &mut [f32],
    d_gain: &mut [f32],
) {
    let Normed { x, gain, inverses } = of;
    let width = gain.len();
    dispatch!(level, simd => {
        let rows = x.chunks_exact(width).zip(d_normed.chunks_exact(width));
        for (((x, d), d_x), &inverse) in rows.zip(d_x.chunks_exact_mut(width)).zip(inverses) {
            let pull = dot3(simd, d, gain, x) * inverse * inverse * inverse / width as f32;
            for ((d_x, x), (d, gain)) in d_x.iter_mut().zip(x).zip(d.iter().zip(gain)) {
                *d_x += inverse * gain * d - pull * x;
            }
            for ((d_gain, x), d) in d_gain.iter_mut().zip(x).zip(d) {
                *d_gain += d * x * inverse;
            }
        }
    });
}

/// `x = max(x + bias, 0)`, row by row.
pub(in crate::transformer) fn add_bias_relu(level: Level, x: &mut [f32], bias: &[f32]) {
    dispatch!(level, _simd => for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.iter_mut().zip(bias) {
            let sum = *x + bias;
            *x = if sum > 0.0 { sum } else { 0.0 };
        }
    });
}

/// Clears what of `d` belongs to a rectifier that let nothing through.
pub(in crate::transformer) fn relu_backward(level: Level, d: &mut [f32], rectified: &[f32]) {
    dispatch!(level, _simd => for (d, &rectified) in d.iter_mut().zip(rectified) {
        *d = if rectified > 0.0 { *d } else { 0.0 };
    });
}

/// `x += bias`, row by row.
pub(in crate::transformer) fn add_bias(level: Level, x: &mut [f32], bias: &[f32]) {
    dispatch!(level, _simd => for row in x.chunks_exact_mut(bias.len()) {
        add_to(row, bias);
    });
}

/// Adds the sum of `d`'s rows, the gradient by a bias, to `sums`.
pub(in crate::transformer) fn add_column_sums(level: Level, d: &[f32], sums: &mut [f32]) {
    dispatch!(level, _simd => for row in d.chunks_exact(sums.len()) {
        add_to(sums, row);
    });
}

/// `x += other`.
pub(in crate::transformer) fn add(level: Level, x: &mut [f32], other: &[f32]) {
    dispatch!(level, _simd => add_to(x, other));
}

/// `x += scale * other`.
pub(in crate::transformer) fn add_scaled(level: Level, x: &mut [f32], scale: f32, other: &[f32]) {
    dispatch!(level, _simd => for (x, other) in x.iter_mut().zip(other) {
        *x += scale * other;
    });
}

/// `x = e^(x - most)`, `most` being no less than `x`.
pub(in crate::transformer) fn exp_less(level: Level, x: &mut [f32], most: &[f32]) {
    dispatch!(level, _simd => for (x, most) in x.iter_mut().zip(most) {
        *x = exp(*x - most);
    });
}

#[inline(always)]
fn add_to(x: &mut [f32], other: &[f32]) {
    for (x, other) in x.iter_mut().zip(other) {
        *x += other;
    }
}

/// Softmax in place. Returns the logarithm of the sum that it divided by: a logit less that is a log probability.
pub(in crate::transformer) fn softmax(level: Level, row: &mut [f32]) -> f32 {
    dispatch!(level, simd => softmax_row(simd, row))
}

#[inline(always)]
pub(super) fn softmax_row<S: Simd>(simd: S, row: &mut [f32]) -> f32 {
    let most = max(simd, row);
    for x in row.iter_mut() {
        *x = exp(*x - most);
    }
    let total = sum(simd, row);
    let inverse = 1.0 / total;
    for x in row.iter_mut() {
        *x *= inverse;
    }
    most + total.ln()
}

/// `e^x` within 2e-7 of its value for `x` of at most 88; zero below -87. Free of branches, so that loops over it
/// become vectors.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // 2^23 + 2^22: added and taken away again, it rounds to a whole number, which stands in the low bits meanwhile.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts: the first has few enough bits that its product with `whole` is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    // Taylor's coefficients, |rest| being at most ln 2 / 2.
    let mut power = 1.0 / 5_040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * rest + factor;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    if x < -87.0 { 0.0 } else { power * f32::from_bits(exponent) }
}

/// `a . b`.
pub(in crate::transformer) fn dot(level: Level, a: &[f32], b: &[f32]) -> f32 {
    dispatch!(level, simd => dot_row(simd, a, b))
}

/// Eight sums side by side, at any length.
#[inline(always)]
pub(super) fn dot_row<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sums = f32x8::splat(simd, 0.0);
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        sums = f32x8::from_slice(simd, a).mul_add(f32x8::from_slice(simd, b), sums);
    }
    across(sums) + rest
}

/// The sum of `a * b * c`.
#[inline(always)]
fn dot3<S: Simd>(simd: S, a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut sums = f32x8::splat(simd, 0.0);
    let (a, b, c) = (a.chunks_exact(8), b.chunks_exact(8), c.chunks_exact(8));
    let tails = a.remainder().iter().zip(b.remainder()).zip(c.remainder());
    let rest: f32 = tails.map(|((a, b), c)| a * b * c).sum();
    for ((a, b), c) in a.zip(b).zip(c) {
        let product = f32x8::from_slice(simd, a) * f32x8::from_slice(simd, b);
        sums = product.mul_add(f32x8::from_slice(simd, c), sums);
    }
    across(sums) + rest
}

#[inline(always)]
fn sum<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut sums = f32x8::splat(simd, 0.0);
    let chunks = row.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        sums += f32x8::from_slice(simd, chunk);
    }
    across(sums) + rest
}

#[inline(always)]
fn max<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut most = f32x8::splat(simd, f32::NEG_INFINITY);
    let chunks = row.chunks_exact(8);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |most, &x| most.max(x));
    for chunk in chunks {
        most = most.max(f32x8::from_slice(simd, chunk));
    }
    most.as_slice().iter().fold(rest, |most, &x| most.max(x))
}

#[inline(always)]
fn across<S: Simd>(sums: f32x8<S>) -> f32 {
    let s = sums.as_slice();
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_close() {
        for step in -870..880 {
            let x = step as f32 / 10.0 + 0.013;
            let (found, expected) = (f64::from(exp(x.min(88.0))), f64::from(x.min(88.0)).exp());
            assert!((found / expected - 1.0).abs() < 3e-7 || x < -87.0, "e^{x}: {found}, not {expected}");
        }
        for (x, expected) in [(0.0, 1.0), (-87.5, 0.0), (-1e30, 0.0), (f32::NEG_INFINITY, 0.0)] {
            assert_eq!(exp(x), expected);
        }
    }

    #[test]
    fn softmax_at_every_length() {
        for length in 1..20 {
            let logits: Vec<f32> = (0..length).map(|i| (i * 7 % 5) as f32 - 40.0).collect();
            let mut row = logits.clone();
            let log_sum = softmax(Level::new(), &mut row);
            let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            assert!((f64::from(log_sum) - total.ln()).abs() < 1e-5);
            for (found, logit) in row.iter().zip(&logits) {
                assert!((f64::from(*found) - f64::from(*logit).exp() / total).abs() < 1e-6);
            }
        }
    }
}
