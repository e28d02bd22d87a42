//! Millions of rows, on all cores.

use rayon::prelude::*;

use super::bitslice::ROWS;
use super::forest::{Forest, ForestScratch};

/// Rows that a core takes at once: enough to be worth sharing out, few enough to stay in its cache.
const AT_ONCE: usize = 16 * ROWS;

impl Forest {
    /// [`score`](Forest::score) on all cores, for as many rows as an evaluation has.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; `scores`: row-major `[n, outputs]`.
    pub fn score_batch(&self, rows: &[f32], scores: &mut [f64]) {
        rows.par_chunks(AT_ONCE * self.columns().max(1))
            .zip(scores.par_chunks_mut(AT_ONCE * self.outputs()))
            .for_each_init(ForestScratch::default, |scratch, (rows, scores)| {
                self.score(rows, scratch, scores)
            });
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::gbdt::forest::tests::{Shape, bits, ensemble, rows};

    #[test]
    fn batches_of_any_size_equal_the_plain_walk() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let shape = Shape {
            columns: 4,
            outputs: 2,
            rounds: 9,
            leaves: 40,
            chain: 0.2,
            categories: 0.2,
            thresholds: 60,
            seed: 0,
        };
        let ensemble = ensemble(&shape, &mut random);
        let forest = Forest::new(ensemble.clone()).unwrap();
        for count in [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 5_000] {
            let rows = rows(&shape, count, &mut random);
            let (mut plain, mut fast) = (vec![9.0; 2 * count], vec![7.0; 2 * count]);
            ensemble.score(&rows, &mut plain);
            forest.score_batch(&rows, &mut fast);
            assert_eq!(bits(&plain), bits(&fast), "{count} rows");
        }
    }
}
