//! What one in a leaf is worth: the finest power of two that suits all trees.
//!
//! A power of two, because multiplying and dividing by it are exact: a leaf's value is its whole number to the last bit,
//! and sums of values are sums of integers.

use std::ops::RangeInclusive;

use crate::gbdt::{Ensemble, Tree};

/// Most steps that a score may be away from zero: `f32` holds every whole number up to here, and so every sum of leaves
/// on its way. 512 trees get there if each has the largest leaf that there can be.
pub const MOST_STEPS: u32 = 1 << 24;

/// Exponents of two for which every score is zero or a normal number of `f32`.
const EXPONENTS: RangeInclusive<i8> = -126..=103;

/// A power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafScale {
    exponent: i8,
}

impl LeafScale {
    /// Two to the power of `exponent`; none where a score in such steps might not be a number.
    pub fn new(exponent: i8) -> Option<Self> {
        EXPONENTS.contains(&exponent).then_some(Self { exponent })
    }

    /// The finest step at which every leaf of `ensemble` fits into 16 bits, and every score into [`MOST_STEPS`].
    pub fn finest(ensemble: &Ensemble) -> Option<Self> {
        let largest: Vec<f64> = ensemble.trees.iter().map(largest_leaf).collect();
        EXPONENTS.map(|exponent| Self { exponent }).find(|step| step.fits(&ensemble.base, &largest))
    }

    /// # Shapes
    /// `base`: `[outputs]`; `largest`: for each tree, the magnitude of its largest leaf.
    fn fits(self, base: &[f64], largest: &[f64]) -> bool {
        let reach = |output: usize| {
            let leaves = largest.iter().skip(output).step_by(base.len());
            self.count(base[output]).abs() + leaves.map(|&leaf| self.count(leaf)).sum::<f64>()
        };
        largest.iter().all(|&leaf| self.count(leaf) <= f64::from(i16::MAX))
            && (0..base.len()).all(|output| reach(output) <= f64::from(MOST_STEPS))
    }

    /// The exponent of two.
    pub fn exponent(self) -> i8 {
        self.exponent
    }

    /// What it is worth.
    pub fn value(self) -> f64 {
        // By its bits: the platforms' powers need not be exact.
        f64::from_bits(((1023 + i64::from(self.exponent)) as u64) << 52)
    }

    /// `value` in steps: the nearest whole number, ties to even.
    fn count(self, value: f64) -> f64 {
        (value / self.value()).round_ties_even()
    }

    /// The same as an integer, where it fits.
    pub fn round(self, value: f64) -> i32 {
        self.count(value) as i32
    }

    /// How far `value` moves when it is rounded.
    pub fn error(self, value: f64) -> f64 {
        (value - self.count(value) * self.value()).abs()
    }
}

fn largest_leaf(tree: &Tree) -> f64 {
    tree.leaf_values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finest(base: &[f64], leaves: &[f64]) -> Option<i8> {
        let trees = leaves.iter().map(|&leaf| Tree::constant(leaf, 0.0)).collect();
        let ensemble = Ensemble { base: base.to_vec(), ..Ensemble::new(trees, 1) };
        LeafScale::finest(&ensemble).map(LeafScale::exponent)
    }

    #[test]
    fn values_are_powers_of_two() {
        for (exponent, value) in [(0, 1.0), (-3, 0.125), (10, 1024.0), (-126, f64::from(f32::MIN_POSITIVE))] {
            assert_eq!(LeafScale::new(exponent).unwrap().value(), value);
        }
        assert_eq!([-127, -128, 104, 127].map(LeafScale::new), [None; 4]);
        // What 103 is for: the largest score is a number of `f32`, and twice that is not.
        let largest = LeafScale::new(103).unwrap().value() * f64::from(MOST_STEPS);
        assert!((largest as f32).is_finite() && !((2.0 * largest) as f32).is_finite());
    }

    #[test]
    fn the_finest_that_fits() {
        struct Case {
            what: &'static str,
            base: Vec<f64>,
            leaves: Vec<f64>,
            exponent: Option<i8>,
        }
        let case =
            |what, base: &[f64], leaves, exponent| Case { what, base: Vec::from(base), leaves, exponent };
        let cases = [
            case("nothing", &[0.0], vec![], Some(-126)),
            case("zeros", &[0.0, -0.0], vec![0.0, -0.0], Some(-126)),
            case("the largest number of 16 bits", &[0.0], vec![32_767.0, 1.0], Some(0)),
            case("rounded down to it", &[0.0], vec![-32_767.5 + 0.1], Some(0)),
            case("rounded up beyond it", &[0.0], vec![-32_767.5], Some(1)),
            case("one", &[0.0], vec![1.0, -0.3], Some(-14)),
            case("512 trees of the largest leaf", &[0.0], vec![32_767.0; 512], Some(0)),
            // 512 x 32767 = 2^24 - 512.
            case("and 512 steps of base", &[-512.0], vec![32_767.0; 512], Some(0)),
            case("and 513", &[-513.0], vec![32_767.0; 512], Some(1)),
            case("two outputs share one step", &[0.0, 513.0], vec![32_767.0; 1024], Some(1)),
            case("a base alone", &[16_777_216.0], vec![0.001], Some(0)),
            case("as large as may be", &[2.0_f64.powi(127)], vec![], Some(103)),
            case("larger", &[2.1 * 2.0_f64.powi(127)], vec![], None),
            case("beyond f32", &[0.0], vec![1e300], None),
            case("next to nothing", &[0.0], vec![1e-300], Some(-126)),
        ];
        for Case { what, base, leaves, exponent } in cases {
            assert_eq!(finest(&base, &leaves), exponent, "{what}");
        }
    }

    #[test]
    fn values_are_rounded_to_the_nearest() {
        let step = LeafScale::new(-2).unwrap();
        for (value, steps, error) in
            [(1.0, 4, 0.0), (-0.3, -1, 0.05), (0.125, 0, 0.125), (0.375, 2, 0.125), (-0.12, 0, 0.12)]
        {
            assert_eq!(step.round(value), steps, "{value}");
            assert!((step.error(value) - error).abs() < 1e-15, "{value}");
        }
    }
}
