//! What a training pass leaves out, decided by a hash of where it is: the same forward and backward, on any thread, and
//! without a mask to keep.

use fearless_simd::{Level, dispatch};

/// Where something is left out: the sum of embeddings, or what a layer's attention or feed-forward adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transformer) enum Site {
    Embedding,
    Attention(usize),
    Feed(usize),
}

impl Site {
    fn number(self) -> u64 {
        match self {
            Self::Embedding => 0,
            Self::Attention(layer) => 1 + 2 * layer as u64,
            Self::Feed(layer) => 2 + 2 * layer as u64,
        }
    }
}

/// Inverted dropout: what stays is scaled up, so that its expectation is what it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::transformer) struct Dropout {
    rate: f32,
    seed: u64,
}

impl Dropout {
    /// Leaves out a share of `rate`, at most all but a thousandth.
    pub fn new(rate: f32, seed: u64) -> Self {
        Self { rate: rate.clamp(0.0, 0.999), seed }
    }

    /// Leaves out nothing.
    pub fn none() -> Self {
        Self::new(0.0, 0)
    }

    /// Multiplies each of `values` by zero or by what makes up for the zeros.
    ///
    /// # Shapes
    /// `values`: `[tokens, width]`, the first token being `first_token` of the batch.
    pub fn apply(&self, level: Level, site: Site, first_token: usize, width: usize, values: &mut [f32]) {
        if self.rate > 0.0 {
            // Below 2^24: exact in f32, and as fine as the rate itself.
            let kept_from = (self.rate * (1 << 24) as f32) as u32;
            let scale = 1.0 / (1.0 - self.rate);
            dispatch!(level, _simd => for (token, row) in (first_token as u64..).zip(values.chunks_exact_mut(width)) {
                let key = row_key(self.seed, site.number(), token);
                for (column, value) in (0..).zip(row) {
                    let factor = if hash(key, column) >> 8 >= kept_from { scale } else { 0.0 };
                    *value *= factor;
                }
            });
        }
    }
}

/// SplitMix64's finalizer over seed, site and token.
fn row_key(seed: u64, site: u64, token: u64) -> u32 {
    let mut key = seed ^ (site << 40 | token).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    key = (key ^ (key >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (key ^ (key >> 31)) as u32
}

/// `lowbias32` by Chris Wellons: two multiplications, which vectors of 32 bits have.
#[inline(always)]
fn hash(key: u32, column: u32) -> u32 {
    let mut x = key ^ column.wrapping_mul(0x9E37_79B9);
    x = (x ^ (x >> 16)).wrapping_mul(0x21F0_AAAD);
    x = (x ^ (x >> 15)).wrapping_mul(0xD35A_2D97);
    x ^ (x >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(dropout: Dropout, site: Site, tokens: std::ops::Range<usize>) -> Vec<f32> {
        let mut values = vec![1.0; tokens.len() * 50];
        dropout.apply(Level::new(), site, tokens.start, 50, &mut values);
        values
    }

    #[test]
    fn a_mask_depends_on_the_place_alone() {
        let dropout = Dropout::new(0.2, 7);
        let whole = mask(dropout, Site::Feed(1), 0..2_000);
        assert_eq!(whole[150 * 50..], mask(dropout, Site::Feed(1), 150..2_000));
        assert!(whole.iter().all(|&factor| factor == 0.0 || factor == 1.25));
        let share = whole.iter().filter(|&&factor| factor == 0.0).count() as f64 / whole.len() as f64;
        assert!((share - 0.2).abs() < 0.005, "{share}");
        let others = [
            mask(dropout, Site::Attention(1), 0..2_000),
            mask(dropout, Site::Feed(0), 0..2_000),
            mask(dropout, Site::Embedding, 0..2_000),
            mask(Dropout::new(0.2, 8), Site::Feed(1), 0..2_000),
        ];
        for other in others {
            // Two independent masks agree on 0.8^2 + 0.2^2 of the places.
            let same = whole.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / whole.len() as f64;
            assert!((same - 0.68).abs() < 0.01, "{same}");
        }
    }

    #[test]
    fn none_leaves_all() {
        assert!(mask(Dropout::none(), Site::Embedding, 0..10).iter().all(|&factor| factor == 1.0));
    }
}
