//! Gradients become small integers, so that their sums are exact in any order: a model is the same bytes at any
//! number of threads. They are rounded up or down by chance, so that sums are right on average.
//!
//! Source: Shi et al., "Quantized Training of Gradient Boosting Decision Trees", 2022, who show that far fewer levels
//! than here are enough.

use rayon::prelude::*;

use super::objective::Gradient;

/// Largest size of a rounded first derivative.
pub(super) const MAX_G: i32 = 1_023;
/// Largest rounded second derivative.
pub(super) const MAX_H: i32 = 2_047;

/// A gradient in integers: `g` in the upper 16 bits, signed, and `h` in the lower.
pub(super) type Packed = u32;

/// What a step of the integers is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub g: f64,
    pub h: f64,
}

/// Rounds `gradients` into `packed`.
pub(super) fn round(gradients: &[Gradient], seed: u64, packed: &mut Vec<Packed>) -> Scale {
    let largest = gradients
        .par_chunks(ROWS_AT_ONCE)
        .map(|part| {
            part.iter().fold([0.0_f32; 2], |[g, h], next| [larger(g, next.g.abs()), larger(h, next.h)])
        })
        .reduce(|| [0.0; 2], |a, b| [larger(a[0], b[0]), larger(a[1], b[1])]);
    // The sums of all rows must fit 32 bits: beyond two million rows, steps grow.
    let most = i32::MAX as f64 / gradients.len().max(1) as f64;
    let levels = [MAX_G, MAX_H].map(|levels| f64::from(levels).min(most.floor()));
    let step = |at: usize| match f64::from(largest[at]) / levels[at] {
        step if step > 0.0 => step,
        _ => 1.0,
    };
    let scale = Scale { g: step(0), h: step(1) };
    let (per_g, per_h) = ((1.0 / scale.g) as f32, (1.0 / scale.h) as f32);
    let [most_g, most_h] = levels.map(|levels| levels as f32);
    packed.resize(gradients.len(), 0);
    packed.par_chunks_mut(ROWS_AT_ONCE).zip(gradients.par_chunks(ROWS_AT_ONCE)).enumerate().for_each(
        |(chunk, (packed, gradients))| {
            let first = (chunk * ROWS_AT_ONCE) as u64;
            for (row, (packed, gradient)) in (first..).zip(packed.iter_mut().zip(gradients)) {
                let chance = draw(seed, row);
                let g = nearest((gradient.g * per_g).clamp(-most_g, most_g), chance as u16, most_g);
                let h = nearest((gradient.h * per_h).clamp(0.0, most_h), (chance >> 16) as u16, most_h);
                *packed = (g as u32) << 16 | h as u32;
            }
        },
    );
    scale
}

const ROWS_AT_ONCE: usize = 8_192;

/// `f32::max` without its care for NaN, which keeps it from being vectorised.
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// One of the two integers next to `value`, the nearer one more often, not beyond `most`.
fn nearest(value: f32, chance: u16, most: f32) -> i32 {
    let shift = (f32::from(chance) + 0.5) / 65_536.0 - 0.5;
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the float: quicker than a conversion.
    let shifted = (value + shift).clamp(-most, most) + 12_582_912.0;
    shifted.to_bits() as i32 - 0x4B40_0000
}

/// 32 random bits for a row, the same whichever thread asks (the finaliser of MurmurHash3).
fn draw(seed: u64, row: u64) -> u32 {
    let mut bits = (row as u32).wrapping_mul(0x9E37_79B9) ^ (seed as u32) ^ ((row >> 32) as u32);
    bits = (bits ^ bits >> 16).wrapping_mul(0x85EB_CA6B);
    bits = (bits ^ bits >> 13).wrapping_mul(0xC2B2_AE35).wrapping_add((seed >> 32) as u32);
    bits ^ bits >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: Packed) -> (i32, i32) {
        ((packed as i32) >> 16, (packed & 0xFFFF) as i32)
    }

    #[test]
    fn integers_are_neighbours_and_right_on_average() {
        let gradients: Vec<Gradient> = (0..40_000)
            .map(|i| Gradient { g: [0.3, -0.7, 1.0, -1.0][i % 4], h: [0.0, 0.25, 0.123, 0.01][i % 4] })
            .collect();
        let mut packed = Vec::new();
        let scale = round(&gradients, 7, &mut packed);
        let mut sums = [[0.0; 2]; 4];
        for (i, (&packed, gradient)) in packed.iter().zip(&gradients).enumerate() {
            let (g, h) = unpacked(packed);
            assert!(g.abs() <= MAX_G && (0..=MAX_H).contains(&h));
            assert!((f64::from(g) * scale.g - f64::from(gradient.g)).abs() <= scale.g * 1.001);
            assert!((f64::from(h) * scale.h - f64::from(gradient.h)).abs() <= scale.h * 1.001);
            sums[i % 4][0] += f64::from(g) * scale.g / 10_000.0;
            sums[i % 4][1] += f64::from(h) * scale.h / 10_000.0;
        }
        for (sum, gradient) in sums.iter().zip(&gradients) {
            assert!((sum[0] - f64::from(gradient.g)).abs() < scale.g / 40.0, "{sum:?} {gradient:?}");
            assert!((sum[1] - f64::from(gradient.h)).abs() < scale.h / 40.0, "{sum:?} {gradient:?}");
        }
        // The largest are met exactly, so equal second derivatives (a squared error) stay equal.
        assert_eq!(unpacked(packed[2]).0, MAX_G);
        assert_eq!(unpacked(packed[1]).1, MAX_H);
    }

    #[test]
    fn nothing_but_zeros_is_no_harm() {
        let mut packed = Vec::new();
        assert_eq!(round(&[Gradient::default(); 3], 0, &mut packed), Scale { g: 1.0, h: 1.0 });
        assert_eq!(packed, [0; 3]);
        round(&[], 0, &mut packed);
        assert!(packed.is_empty());
    }
}
