//! What happens between the integer products, in `f32`: norms, rounding to bytes, softmax.
//!
//! The same bits on every machine: only `+ - * /` and square roots, which IEEE 754 rounds one way, never a fused
//! multiply-add, and sums in sixteen strands whatever the width of the machine's vectors. `fearless_simd` makes two or four
//! vectors of sixteen numbers where a machine has shorter ones.
//!
//! Rows are padded with zeros to a multiple of [`LANES`].

use fearless_simd::{Bytes as _, Simd, SimdBase as _, dispatch, f32x16, i32x16, u32x16};

use super::kernel::{Kernel, LANES};
use crate::network::NORM_EPSILON;

/// 2^23 + 2^22: added, it rounds to the nearest whole number (halves to even), which stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// A row whose largest value is below this is taken for zeros, so that nothing is divided by almost nothing.
const LEAST: f32 = 1e-20;

/// A vector's worth of a row.
pub type Block = [f32; LANES];

/// The blocks of padded rows.
#[inline(always)]
pub fn blocks<T>(values: &[T]) -> &[[T; LANES]] {
    values.as_chunks().0
}

/// The blocks of padded rows.
#[inline(always)]
pub fn blocks_mut<T>(values: &mut [T]) -> &mut [[T; LANES]] {
    values.as_chunks_mut().0
}

/// The first `count` of `list`, which grows but never shrinks: what it needs again would be filled with zeros first.
pub fn room<T: Copy + Default>(list: &mut Vec<T>, count: usize) -> &mut [T] {
    list.resize(list.len().max(count), T::default());
    &mut list[..count]
}

/// How a row's bytes stand for numbers: `(byte - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From `-127 scale` to `127 scale`, zero at 128.
    Signed,
    /// From zero to `255 scale`: what a rectifier leaves.
    Positive,
}

impl Range {
    /// The byte that stands for zero.
    pub const fn zero(self) -> u8 {
        match self {
            Self::Signed => 128,
            Self::Positive => 0,
        }
    }

    /// Steps from zero to the largest value.
    const fn steps(self) -> f32 {
        match self {
            Self::Signed => 127.0,
            Self::Positive => 255.0,
        }
    }
}

/// Bytes with a scale a row.
#[derive(Debug, Clone, Default)]
pub struct Bytes {
    /// `[rows, padded width]`.
    pub values: Vec<u8>,
    /// `[rows]`.
    pub scales: Vec<f32>,
}

impl Bytes {
    /// Makes room.
    pub fn resize(&mut self, rows: usize, width: usize) {
        self.values.resize(rows * width, 0);
        self.scales.resize(rows, 0.0);
    }

    /// The last `rows`.
    pub fn keep_last(&mut self, rows: usize) {
        let (all, width) = (self.scales.len(), self.values.len() / self.scales.len().max(1));
        self.values.copy_within((all - rows) * width.., 0);
        self.scales.copy_within(all - rows.., 0);
        self.resize(rows, width);
    }
}

/// Each row of `x` in bytes, its largest value the largest byte.
///
/// # Shapes
/// `x`, `to`: `[rows, padded width]`.
pub fn quantize(kernel: Kernel, x: &[f32], range: Range, to: &mut Bytes) {
    let width = x.len() / to.scales.len().max(1);
    dispatch!(kernel.level(), simd => {
        // In two sweeps: the rows of one do not wait for each other.
        for (x, scale) in x.chunks_exact(width).zip(&mut to.scales) {
            *scale = largest(simd, blocks(x).iter().map(#[inline(always)] |x| load(simd, x)));
        }
        let rows = to.values.chunks_exact_mut(width).zip(&mut to.scales);
        for (x, (bytes, scale)) in x.chunks_exact(width).zip(rows) {
            let inverse;
            (inverse, *scale) = steps_of(*scale, range);
            for (bytes, x) in blocks_mut(bytes).iter_mut().zip(blocks(x)) {
                *bytes = rounded(load(simd, x) * inverse, range);
            }
        }
    });
}

/// Steps in one, and one step, where the farthest step is `most`.
#[inline(always)]
fn steps_of(most: f32, range: Range) -> (f32, f32) {
    if most > LEAST { (range.steps() / most, most / range.steps()) } else { (0.0, 0.0) }
}

/// The bytes of numbers of steps, which must lie within the range.
#[inline(always)]
fn rounded<S: Simd>(steps: f32x16<S>, range: Range) -> [u8; LANES] {
    let words = (steps + ROUND).to_array();
    let mut bytes = [0; LANES];
    for (byte, word) in bytes.iter_mut().zip(words) {
        *byte = (word.to_bits() as u8).wrapping_add(range.zero());
    }
    bytes
}

/// Each row of `x` in bytes, `most` the largest byte: what is farther from zero is cut off.
///
/// # Shapes
/// `x`: `[rows, width]`; `to`: `[rows, padded width]`.
pub fn quantize_by(kernel: Kernel, x: &[f32], width: usize, most: f32, to: &mut Bytes) {
    let padded = to.values.len() / to.scales.len().max(1);
    let steps = Range::Signed.steps();
    let steps_each = steps / most;
    to.scales.fill(most / steps);
    dispatch!(kernel.level(), simd => {
        let byte = |x: &Block| {
            let steps = f32x16::splat(simd, steps);
            rounded((load(simd, x) * steps_each).max(-steps).min(steps), Range::Signed)
        };
        for (x, bytes) in x.chunks_exact(width).zip(to.values.chunks_exact_mut(padded)) {
            let (bytes, (whole, rest)) = (blocks_mut(bytes), x.as_chunks::<LANES>());
            for (bytes, x) in bytes.iter_mut().zip(whole) {
                *bytes = byte(x);
            }
            if let Some(last) = bytes.get_mut(whole.len()) {
                let mut padded = [0.0; LANES];
                padded[..rest.len()].copy_from_slice(rest);
                *last = byte(&padded);
            }
        }
    });
}

/// `x / sqrt(mean(x^2) + epsilon) * gain`, row by row, in bytes.
///
/// The root is a row's own, so it becomes part of the row's scale: bytes need only `x * gain`.
///
/// # Shapes
/// `x`, `to`: `[rows, padded width]`; `gain`: `[padded width]`.
pub fn norm(kernel: Kernel, x: &[f32], gain: &[f32], width: usize, to: &mut Bytes) {
    dispatch!(kernel.level(), simd => {
        let gain = blocks(gain);
        let scaled = |(x, gain)| load(simd, x) * load(simd, gain);
        for (x, scale) in x.chunks_exact(gain.len() * LANES).zip(&mut to.scales) {
            *scale = largest(simd, blocks(x).iter().zip(gain).map(scaled));
        }
        let rows = to.values.chunks_exact_mut(gain.len() * LANES).zip(&mut to.scales);
        for (x, (bytes, scale)) in x.chunks_exact(gain.len() * LANES).zip(rows) {
            let x = blocks(x);
            let (inverse, step) = steps_of(*scale, Range::Signed);
            *scale = step / (dot(simd, x, x) / width as f32 + NORM_EPSILON).sqrt();
            for (bytes, both) in blocks_mut(bytes).iter_mut().zip(x.iter().zip(gain)) {
                *bytes = rounded(scaled(both) * inverse, Range::Signed);
            }
        }
    });
}

/// Sums of a product, and what they are worth.
#[derive(Debug, Clone, Copy)]
pub struct Sums<'a> {
    /// `[rows, padded width]`.
    pub values: &'a [i32],
    /// `[rows]`: of the bytes.
    pub of_rows: &'a [f32],
    /// `[padded width]`: of the matrix.
    pub of_outputs: &'a [f32],
}

/// What becomes of sums.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    /// `out = sums`
    Set,
    /// `out += sums`
    Add,
    /// `out += sums + bias`
    AddWithBias(&'a [f32]),
    /// `out = max(sums + bias, 0)`
    Rectify(&'a [f32]),
    /// `out = max(out + sums + bias, 0)`
    AddAndRectify(&'a [f32]),
}

impl Sums<'_> {
    /// Writes the sums, in plain numbers.
    ///
    /// # Shapes
    /// `out`: `[rows, padded width]`; a bias: `[padded width]`.
    pub fn write(self, kernel: Kernel, write: Write<'_>, out: &mut [f32]) {
        dispatch!(kernel.level(), simd => {
            let zero = f32x16::splat(simd, 0.0);
            match write {
                Write::Set => self.each(simd, &[], out, #[inline(always)] |_, sum, _| sum),
                Write::Add => self.each(simd, &[], out, #[inline(always)] |out, sum, _| out + sum),
                Write::AddWithBias(bias) => {
                    self.each(simd, bias, out, #[inline(always)] |out, sum, bias| out + (sum + bias));
                }
                Write::Rectify(bias) => {
                    self.each(simd, bias, out, #[inline(always)] |_, sum, bias| (sum + bias).max(zero));
                }
                Write::AddAndRectify(bias) => {
                    self.each(simd, bias, out, #[inline(always)] |out, sum, bias| (out + sum + bias).max(zero));
                }
            }
        });
    }

    /// Writes `write(out, sum, bias)`, block by block; without a bias the scales stand in for it.
    #[inline(always)]
    fn each<S: Simd>(
        self,
        simd: S,
        bias: &[f32],
        out: &mut [f32],
        write: impl Fn(f32x16<S>, f32x16<S>, f32x16<S>) -> f32x16<S>,
    ) {
        let (width, scales) = (self.of_outputs.len(), blocks(self.of_outputs));
        let bias = if bias.is_empty() { scales } else { blocks(bias) };
        let rows = self.values.chunks_exact(width).zip(self.of_rows);
        for ((sums, &of_row), out) in rows.zip(out.chunks_exact_mut(width)) {
            let sums = blocks(sums).iter().zip(scales).zip(bias);
            for (out, ((sums, scales), bias)) in blocks_mut(out).iter_mut().zip(sums) {
                let sums =
                    simd.cvt_f32_i32x16(i32x16::load_array_ref(simd, sums)) * load(simd, scales) * of_row;
                store(write(load(simd, out), sums, load(simd, bias)), out);
            }
        }
    }
}

/// The largest number of a padded row.
#[inline(always)]
pub fn maximum<S: Simd>(simd: S, row: &[Block]) -> f32 {
    let mut most = f32x16::splat(simd, f32::NEG_INFINITY);
    for x in row {
        most = most.max(load(simd, x));
    }
    largest_across(most)
}

/// Puts `e^(x - most)` in the place of each number `x` of a padded row, and returns their sum.
#[inline(always)]
pub fn powers<S: Simd>(simd: S, row: &mut [Block], most: f32) -> f32 {
    let mut total = f32x16::splat(simd, 0.0);
    for x in row {
        let power = exp(load(simd, x) - most);
        total += power;
        store(power, x);
    }
    across(total)
}

/// `e^x` within 4e-7 of its value for `x` of at most 0; zero below -87.
#[inline(always)]
pub fn exp<S: Simd>(x: f32x16<S>) -> f32x16<S> {
    let simd = x.simd;
    let shifted = x.max(f32x16::splat(simd, -87.5)) * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts: the first has few enough bits that its product with `whole` is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    // Taylor's coefficients, |rest| being at most ln 2 / 2.
    let mut power = f32x16::splat(simd, 1.0 / 720.0);
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * rest + factor;
    }
    // The whole number, in the low bits, becomes an exponent: 2^whole.
    let bits: u32x16<S> = shifted.bitcast();
    let bits = bits + 127_u32.wrapping_sub(ROUND.to_bits());
    let scale: f32x16<S> = simd.shl_u32x16(bits, 23).bitcast();
    let is_least = x.simd_lt(f32x16::splat(simd, -87.0));
    simd.select_f32x16(is_least, f32x16::splat(simd, 0.0), power * scale)
}

/// The largest absolute value.
#[inline(always)]
fn largest<S: Simd>(simd: S, row: impl Iterator<Item = f32x16<S>>) -> f32 {
    let mut most = f32x16::splat(simd, 0.0);
    for x in row {
        most = most.max(x.abs());
    }
    largest_across(most)
}

/// `a . b` of padded rows, in sixteen strands.
#[inline(always)]
pub fn dot<S: Simd>(simd: S, a: &[Block], b: &[Block]) -> f32 {
    let mut strands = f32x16::splat(simd, 0.0);
    for (a, b) in a.iter().zip(b) {
        strands += load(simd, a) * load(simd, b);
    }
    across(strands)
}

/// `a . b` of padded rows of bytes, the first ones with their zero at 128.
#[inline(always)]
pub fn dot_bytes(a: &[u8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| (i32::from(a) - 128) * i32::from(b)).sum()
}

/// Halves are added to halves: eight sums of two, four of two of these, and so on.
#[inline(always)]
fn across<S: Simd>(strands: f32x16<S>) -> f32 {
    let simd = strands.simd;
    let (low, high) = simd.split_f32x16(strands);
    let (low, high) = simd.split_f32x8(low + high);
    let s = (low + high).to_array();
    (s[0] + s[2]) + (s[1] + s[3])
}

#[inline(always)]
fn largest_across<S: Simd>(strands: f32x16<S>) -> f32 {
    let simd = strands.simd;
    let (low, high) = simd.split_f32x16(strands);
    let (low, high) = simd.split_f32x8(low.max(high));
    let s = low.max(high).to_array();
    // `f32::max` would look for NaN, of which there is none.
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    larger(larger(s[0], s[2]), larger(s[1], s[3]))
}

/// A block in registers.
#[inline(always)]
pub fn load<S: Simd>(simd: S, block: &Block) -> f32x16<S> {
    f32x16::load_array_ref(simd, block)
}

/// A block back in memory.
#[inline(always)]
pub fn store<S: Simd>(vector: f32x16<S>, block: &mut Block) {
    vector.store_array(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_of(kernel: Kernel, x: f32) -> f32 {
        dispatch!(kernel.level(), simd => exp(f32x16::splat(simd, x)).to_array()[3])
    }

    #[test]
    fn the_exponential_is_close() {
        for step in 0..8_700 {
            let x = -(step as f32) / 100.0;
            let (found, expected) = (f64::from(exp_of(Kernel::detect(), x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 4e-7 || x < -87.0, "e^{x}: {found}, not {expected}");
        }
        for (x, expected) in [(0.0, 1.0), (-87.5, 0.0), (-1e30, 0.0), (f32::NEG_INFINITY, 0.0)] {
            for kernel in Kernel::all() {
                assert_eq!(exp_of(kernel, x), expected);
            }
        }
    }

    #[test]
    fn bytes_are_the_nearest() {
        let x: Vec<f32> = (0..32).map(|k| (k as f32 * 0.7).sin() * 3.0).collect();
        let mut bytes = Bytes::default();
        for kernel in Kernel::all() {
            bytes.resize(1, 32);
            quantize(kernel, &x, Range::Signed, &mut bytes);
            for (byte, x) in bytes.values.iter().zip(&x) {
                assert!(
                    (((f32::from(*byte) - 128.0) * bytes.scales[0]) - x).abs() <= bytes.scales[0] * 0.5001
                );
            }
            quantize_by(kernel, &x, 32, 2.0, &mut bytes);
            assert!(bytes.values.iter().all(|byte| (1..=255).contains(byte)), "cut off at both ends");
            quantize(kernel, &[0.0; 32], Range::Signed, &mut bytes);
            assert_eq!((bytes.values[0], bytes.scales[0]), (128, 0.0));
        }
    }
}
