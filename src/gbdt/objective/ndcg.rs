//! Normalised discounted cumulative gain: how much of what was worth finding stands near the top.
//!
//! A row of relevance `l` is worth `2^l - 1`, divided by `log2(2 + rank)`, the first rank being 0. The best order of
//! the same rows is worth 1. Source: Burges et al., "Learning to rank using gradient descent", 2005.

use std::sync::LazyLock;

use super::{Batch, check_labels, wrong_setting};
use crate::error::Result;
use crate::gbdt::dataset::Dataset;

/// The largest relevance: above it `2^l - 1` would drown everything else.
const MAX_RELEVANCE: f32 = 31.0;

/// NDCG of the first `k` rows of one group, by descending score, between 0 and 1.
///
/// Tied scores are worth the mean over all orders of the tied rows, so a constant score profits from nothing. A group
/// without a relevant row, or `k = 0`, has nothing to find and counts as 1, as in LightGBM. A score that is no number
/// ranks last.
///
/// # Shapes
/// `labels`: `[rows]`, zero or more; `scores`: `[rows]`.
pub fn ndcg(labels: &[f32], scores: &[f32], k: usize) -> f64 {
    let mut gains: Vec<f64> = labels.iter().map(|&label| gain(label)).collect();
    let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
    let mut ranked: Vec<(f32, f64)> = scores.iter().map(|&s| key(s)).zip(gains.iter().copied()).collect();
    let ideal = ideal_dcg(&mut gains, k);
    if ideal <= 0.0 {
        return 1.0;
    }
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut rank) = (0.0, 0);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        if rank >= k {
            break;
        }
        let mean_gain = tied.iter().map(|&(_, gain)| gain).sum::<f64>() / tied.len() as f64;
        found += mean_gain * (rank..k.min(rank + tied.len())).map(discount).sum::<f64>();
        rank += tied.len();
    }
    found / ideal
}

/// What a row of this relevance is worth.
pub(super) fn gain(label: f32) -> f64 {
    f64::from(label).exp2() - 1.0
}

/// What a gain is multiplied by at `rank`, the first being 0.
pub(super) fn discount(rank: usize) -> f64 {
    static DISCOUNTS: LazyLock<Vec<f64>> = LazyLock::new(|| (0..1_024).map(formula).collect());
    fn formula(rank: usize) -> f64 {
        1.0 / (rank as f64 + 2.0).log2()
    }
    DISCOUNTS.get(rank).copied().unwrap_or_else(|| formula(rank))
}

/// The largest DCG that the first `k` of these gains can have. Sorts them, largest first.
pub(super) fn ideal_dcg(gains: &mut [f64], k: usize) -> f64 {
    gains.sort_unstable_by(|a, b| b.total_cmp(a));
    gains.iter().take(k).enumerate().map(|(rank, gain)| gain * discount(rank)).sum()
}

/// What the ranking objectives show to early stopping: `1 - NDCG@k`, times the weight of the group.
pub(super) fn loss(batch: &Batch<'_>, scores: &[f32], k: usize) -> f64 {
    group_weight(batch) * (1.0 - ndcg(batch.labels, scores, k))
}

/// The mean weight of a group's rows.
pub(super) fn group_weight(batch: &Batch<'_>) -> f64 {
    if batch.weights.is_empty() {
        return 1.0;
    }
    batch.weights.iter().map(|&weight| f64::from(weight)).sum::<f64>() / batch.weights.len() as f64
}

/// What the ranking objectives ask of their settings and of the data.
pub(super) fn check(data: &Dataset, k: usize) -> Result<()> {
    if k == 0 {
        return wrong_setting("ndcg_at", "watch at least the first rank");
    }
    let rule = "give each row a relevance: a whole number from 0 to 31";
    check_labels(data, rule, |label| (0.0..=MAX_RELEVANCE).contains(&label) && label.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        let second = 1.0 / 3f64.log2();
        struct Case {
            labels: &'static [f32],
            scores: &'static [f32],
            k: usize,
            expected: f64,
        }
        let case = |labels, scores, k, expected| Case { labels, scores, k, expected };
        let cases = [
            case(&[1.0, 0.0], &[2.0, 1.0], 5, 1.0),
            case(&[1.0, 0.0], &[1.0, 2.0], 5, second),
            case(&[1.0, 0.0], &[1.0, 2.0], 1, 0.0),
            // Gains 7 and 1.
            case(&[1.0, 3.0], &[1.0, 0.0], 2, (1.0 + 7.0 * second) / (7.0 + second)),
            // A tie is worth the mean of both orders, also where `k` cuts through it.
            case(&[1.0, 0.0], &[1.0, 1.0], 2, (1.0 + second) / 2.0),
            case(&[1.0, 0.0], &[-0.0, 0.0], 1, 0.5),
            case(&[0.0, 1.0, 0.0, 0.0], &[9.0, 1.0, 1.0, 1.0], 2, second / 3.0),
            // Nothing to find.
            case(&[0.0, 0.0], &[1.0, 2.0], 5, 1.0),
            case(&[1.0, 0.0], &[1.0, 2.0], 0, 1.0),
            case(&[], &[], 5, 1.0),
            case(&[1.0, 0.0], &[f32::NAN, 0.0], 1, 0.0),
        ];
        for Case { labels, scores, k, expected } in cases {
            let found = ndcg(labels, scores, k);
            assert!((found - expected).abs() < 1e-12, "{labels:?} {scores:?} @{k}: {found}, not {expected}");
        }
        assert_eq!(discount(2_000), 1.0 / 2_002f64.log2(), "beyond the table");
    }

    #[test]
    fn a_tie_is_worth_the_mean_of_its_orders() {
        let labels = [2.0, 0.0, 1.0, 0.0];
        for k in 1..=4 {
            let mut total = 0.0;
            let orders = (0..256).map(|n: usize| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6]);
            let orders: Vec<_> = orders.filter(|o| (0..4).all(|rank| o.contains(&rank))).collect();
            for order in &orders {
                total += ndcg(&labels, &order.map(|rank| rank as f32), k);
            }
            assert!((ndcg(&labels, &[7.0; 4], k) - total / orders.len() as f64).abs() < 1e-12, "@{k}");
        }
    }

    // LightGBM 4.7.0:
    //   d = lgb.Dataset(X, [0, 2, 1, 0, 3, 1, 0, 0], group=[8], init_score=[.3, -.2, 1.1, .9, -1.5, .05, .4, 2])
    //   lgb.train({"objective": "lambdarank", "metric": "ndcg", "eval_at": [1, 3, 5, 8], "learning_rate": 1e-12}, d, 1,
    //             valid_sets=[d], callbacks=[lgb.record_evaluation(r)])
    #[test]
    fn equals_lightgbm() {
        let labels = [0.0, 2.0, 1.0, 0.0, 3.0, 1.0, 0.0, 0.0];
        let scores = [0.3, -0.2, 1.1, 0.9, -1.5, 0.05, 0.4, 2.0];
        for (k, expected) in LIGHTGBM {
            let found = ndcg(&labels, &scores, k);
            assert!((found - expected).abs() < 1e-9, "@{k}: {found}, not {expected}");
        }
    }

    const LIGHTGBM: [(usize, f64); 4] =
        [(1, 0.0), (3, 0.06717171396683416), (5, 0.0642267978746136), (8, 0.42707850320563334)];
}
