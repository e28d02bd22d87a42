//! LambdaRank: pairs of a group push each other apart, harder the more NDCG their exchange would move.
//!
//! As LightGBM 4.7 computes it, but for its table of sigmoids, which is exact here. Source: Burges, "From RankNet to
//! LambdaRank to LambdaMART", 2010.

use std::cell::RefCell;

use super::ndcg::{self, discount, gain, ideal_dcg};
use super::{Batch, Gradient, Objective, wrong_setting};
use crate::error::Result;
use crate::gbdt::dataset::Dataset;

/// Ranks the rows of each group by relevance. Labels are integers from 0 to 31, a row of relevance `l` being
/// worth `2^l - 1`. A group whose rows are all as relevant gives no gradient. The weight of a row multiplies its
/// gradients.
///
/// Early stopping watches `1 - NDCG`, since the gradients here are those of no loss in closed form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lambdarank {
    /// A pair counts where at least one of its rows ranks among so many first ones; the best NDCG is that of as many.
    pub truncation: usize,
    /// Divide a pair's push by the distance of its scores, and damp the groups that push much in all.
    pub normalise: bool,
    /// Steepness of the sigmoid that turns a distance of scores into the probability of the right order.
    pub sigmoid: f64,
    /// How many ranks the loss for early stopping looks at.
    pub ndcg_at: usize,
}

impl Default for Lambdarank {
    /// LightGBM's.
    fn default() -> Self {
        Self { truncation: 30, normalise: true, sigmoid: 1.0, ndcg_at: 5 }
    }
}

/// A row of the group, best score first.
struct Ranked {
    row: usize,
    score: f64,
    gain: f64,
    discount: f64,
    /// `exp(sigmoid * (score - best score))`.
    odds: f64,
    g: f64,
    h: f64,
}

#[derive(Default)]
struct Scratch {
    order: Vec<(f32, usize)>,
    gains: Vec<f64>,
    ranked: Vec<Ranked>,
}

thread_local! {
    // Groups are small and many: their working memory is kept.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Objective for Lambdarank {
    fn name(&self) -> &str {
        "lambdarank"
    }

    fn is_grouped(&self) -> bool {
        true
    }

    fn check(&self, data: &Dataset) -> Result<()> {
        if self.truncation == 0 {
            return wrong_setting("truncation", "let at least the first rank count");
        }
        if !(self.sigmoid > 0.0 && self.sigmoid.is_finite()) {
            return wrong_setting("sigmoid", "choose a positive number");
        }
        ndcg::check(data, self.ndcg_at)
    }

    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
        SCRATCH.with_borrow_mut(|scratch| {
            let ideal = scratch.rank(batch.labels, scores, self);
            let factor = if ideal > 0.0 { self.push_pairs(&mut scratch.ranked, ideal) } else { 0.0 };
            for ranked in &scratch.ranked {
                let Ranked { row, g, h, .. } = *ranked;
                let gradient = Gradient { g: (g * factor) as f32, h: (h * factor) as f32 };
                gradients[row] = gradient.times(batch.weight(row));
            }
        });
    }

    fn loss(&self, batch: &Batch<'_>, scores: &[f32]) -> f64 {
        ndcg::loss(batch, scores, self.ndcg_at)
    }

    fn weight(&self, batch: &Batch<'_>) -> f64 {
        ndcg::group_weight(batch)
    }
}

impl Lambdarank {
    /// Adds up the derivatives of all pairs that count, and returns what they are to be multiplied by.
    fn push_pairs(&self, ranked: &mut [Ranked], ideal: f64) -> f64 {
        let [Ranked { score: best, .. }, .., Ranked { score: worst, .. }] = *ranked else { return 0.0 };
        let by_distance = self.normalise && best != worst;
        // Further apart, some odds would be zero.
        let odds_suffice = self.sigmoid * (best - worst) < 600.0;
        let scale = self.sigmoid / ideal;
        let mut pushed = 0.0;
        for upper in 0..self.truncation.min(ranked.len() - 1) {
            let (above, below) = ranked.split_at_mut(upper + 1);
            let first = &mut above[upper];
            for second in below {
                if first.gain == second.gain {
                    continue;
                }
                let distance = first.score - second.score;
                // What the exchange moves; positive where the pair is in the right order.
                let mut moved = scale * (first.gain - second.gain) * (first.discount - second.discount);
                if by_distance {
                    moved /= 0.01 + distance;
                }
                let worse_odds = if moved > 0.0 { second.odds } else { first.odds };
                // The probability that the worse row comes first.
                let wrong = if odds_suffice {
                    worse_odds / (first.odds + second.odds)
                } else {
                    1.0 / (1.0 + (self.sigmoid * distance.copysign(moved)).exp())
                };
                let push = moved * wrong;
                let curvature = self.sigmoid * push.abs() * (1.0 - wrong);
                first.g -= push;
                second.g += push;
                first.h += curvature;
                second.h += curvature;
                pushed += 2.0 * push.abs();
            }
        }
        if self.normalise && pushed > 0.0 { (1.0 + pushed).log2() / pushed } else { 1.0 }
    }
}

impl Scratch {
    /// Puts the rows of a group in order, equal scores in theirs, and returns the best DCG that they can have.
    fn rank(&mut self, labels: &[f32], scores: &[f32], config: &Lambdarank) -> f64 {
        self.order.clear();
        // Plus zero: -0 and 0 are the same score, which `total_cmp` would not say.
        self.order.extend(scores.iter().enumerate().map(|(row, score)| (score + 0.0, row)));
        self.order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best = self.order.first().map_or(0.0, |&(score, _)| f64::from(score));
        self.ranked.clear();
        self.ranked.extend(self.order.iter().enumerate().map(|(rank, &(score, row))| {
            let score = f64::from(score);
            let odds = (config.sigmoid * (score - best)).exp();
            Ranked { row, score, gain: gain(labels[row]), discount: discount(rank), odds, g: 0.0, h: 0.0 }
        }));
        self.gains.clear();
        self.gains.extend(self.ranked.iter().map(|ranked| ranked.gain));
        ideal_dcg(&mut self.gains, config.truncation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::objective::tests::{assert_gradients, complaint, gradients};

    // With `exact` the pairs of LightGBM's rank_objective.hpp in numpy, in f64 and without its table:
    //   for i in range(min(n - 1, trunc)): for j in range(i + 1, n):
    //       a, b = order[i], order[j]; skip if y[a] == y[b]; hi, lo = (a, b) if y[a] > y[b] else (b, a)
    //       delta = (2.0**y[hi] - 2.0**y[lo]) * abs(disc[i] - disc[j]) / ideal; d = f[hi] - f[lo]
    //       if norm and f.max() != f.min(): delta /= 0.01 + abs(d)
    //       p = 1 / (1 + exp(sigmoid * d)); g[hi] -= sigmoid * delta * p; g[lo] += sigmoid * delta * p
    //       h[hi] += sigmoid**2 * delta * p * (1 - p); h[lo] likewise; total += 2 * sigmoid * delta * p
    //   if norm and total > 0: g, h *= log2(1 + total) / total
    // LightGBM 4.7.0 gives the same to 1.5e-6, read off trees of two leaves, one of which holds one row:
    // h = leaf_weight, g = -leaf_value * leaf_weight.
    #[test]
    fn equals_lightgbm() {
        struct Case {
            config: Lambdarank,
            weights: &'static [f32],
            g: [f64; 8],
            h: [f64; 8],
        }
        let labels = [0.0, 2.0, 1.0, 0.0, 3.0, 1.0, 0.0, 0.0];
        let scores = [0.3, -0.2, 1.1, 0.9, -1.5, 0.05, 0.3, 2.0];
        let default = Lambdarank::default();
        let cases = [
            Case {
                config: default,
                weights: &[],
                g: [0.0899435, -0.1951057, 0.0269919, 0.1130376, -0.3024104, -0.037194, 0.0545828, 0.2501543],
                h: [0.0287561, 0.0463484, 0.0440431, 0.0289848, 0.0226642, 0.0217698, 0.0185201, 0.0220398],
            },
            Case {
                config: Lambdarank { normalise: false, ..default },
                weights: &[],
                g: [0.0995378, -0.294664, 0.1802382, 0.1750008, -0.9137563, -0.0504979, 0.0632842, 0.7408571],
                h: [0.0232063, 0.0512146, 0.0432927, 0.0259336, 0.0573114, 0.0175907, 0.016116, 0.0470286],
            },
            Case {
                config: Lambdarank { truncation: 2, ..default },
                weights: &[],
                g: [0.0087555, -0.133851, 0.0334738, 0.0320612, -0.2284893, -0.0328479, 0.0106715, 0.3102262],
                h: [0.0060411, 0.0180182, 0.0546196, 0.0176283, 0.0097687, 0.0040913, 0.0073631, 0.0273325],
            },
            Case {
                config: Lambdarank { sigmoid: 2.0, ..default },
                weights: &[],
                g: [0.1451736, -0.3290273, 0.061442, 0.1799152, -0.4766214, -0.0616779, 0.0843412, 0.3964546],
                h: [0.0611977, 0.0812089, 0.0836891, 0.0586098, 0.0103442, 0.0463214, 0.0376045, 0.0183726],
            },
            Case {
                config: default,
                weights: &[1.0, 1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 1.0],
                g: [0.0899435, -0.1951057, 0.0539839, 0.1130376, -0.1512052, -0.037194, 0.0545828, 0.2501543],
                h: [0.0287561, 0.0463484, 0.0880861, 0.0289848, 0.0113321, 0.0217698, 0.0185201, 0.0220398],
            },
        ];
        for Case { config, weights, g, h } in cases {
            let batch = Batch { labels: &labels, weights, random: 0 };
            assert_gradients(&gradients(&config, &batch, &scores), &g, &h, 2e-7);
        }
    }

    #[test]
    fn ties_keep_the_order_of_the_rows() {
        // The second group of the same lines.
        let batch = Batch { labels: &[1.0, 0.0, 0.0, 1.0], weights: &[], random: 0 };
        let g = [-2.2587438, 2.2848792, 0.0098818, -0.0360173];
        let h = [1.1320356, 1.1402931, 0.0080189, 0.0162765];
        for zero in [0.0, -0.0] {
            let scores = [0.0, zero, -1.5, -0.25];
            assert_gradients(&gradients(&Lambdarank::default(), &batch, &scores), &g, &h, 2e-7);
        }
    }

    #[test]
    fn odds_and_exponentials_agree() {
        // One distance on either side of where the odds give way.
        let batch = Batch { labels: &[0.0, 1.0, 2.0, 0.0], weights: &[], random: 0 };
        let free = Lambdarank { normalise: false, ..Lambdarank::default() };
        let near = gradients(&free, &batch, &[1.0, 0.5, 0.0, -598.0]);
        let far = gradients(&free, &batch, &[1.0, 0.5, 0.0, -1e30]);
        for (near, far) in near.iter().zip(far) {
            assert!((near.g - far.g).abs() < 1e-6 && (near.h - far.h).abs() < 1e-6, "{near:?} {far:?}");
        }
    }

    #[test]
    fn nothing_to_tell_apart_gives_no_gradient() {
        for labels in [&[0.0; 3][..], &[2.0; 3], &[1.0], &[0.0]] {
            let batch = Batch { labels, weights: &[], random: 0 };
            let found = gradients(&Lambdarank::default(), &batch, &[0.5, 0.1, 0.9][..labels.len()]);
            assert_eq!(found, vec![Gradient::default(); labels.len()], "{labels:?}");
        }
    }

    #[test]
    fn wrong_labels_and_settings_are_named() {
        let lambdarank = Lambdarank::default();
        for (labels, start) in [
            ([0.0, 31.0, 2.0], ""),
            ([0.0, 1.0, 32.0], "the label of row 2, in group 1, is 32; give each row a relevance"),
            ([-1.0, 1.0, 2.0], "the label of row 0, in group 0, is -1"),
            ([0.0, 0.5, 2.0], "the label of row 1, in group 0, is 0.5"),
        ] {
            let found = complaint(&lambdarank, &labels, &[2, 1]);
            assert!(found.starts_with(start) && found.is_empty() == start.is_empty(), "{labels:?}: {found}");
        }
        for (config, field) in [
            (Lambdarank { truncation: 0, ..lambdarank }, "truncation"),
            (Lambdarank { sigmoid: f64::NAN, ..lambdarank }, "sigmoid"),
            (Lambdarank { ndcg_at: 0, ..lambdarank }, "ndcg_at"),
        ] {
            assert!(complaint(&config, &[1.0], &[1]).starts_with(&format!("field `{field}`")), "{field}");
        }
    }
}
