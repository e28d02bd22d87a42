//! How good scores are: figures for binary and multiclass classification and for regression, and the mean
//! of a ranking's [`ndcg`].
//!
//! Scores are what a [`Forest`](super::Forest) gives, before any logistic function or softmax. `weights` may be empty:
//! all rows then count once. Of no rows, and of rows that weigh nothing, there is no figure. No figure profits from a
//! tie.

use super::objective::ndcg;

/// Mean [`ndcg`] at rank `k` of groups that follow each other. None of no groups.
///
/// # Shapes
/// `labels`, `scores`: `[rows]`; `sizes`: `[groups]`, which add up to the rows.
pub fn mean_ndcg(labels: &[f32], scores: &[f64], sizes: &[usize], k: usize) -> Option<f64> {
    let (mut total, mut start) = (0.0, 0);
    for size in sizes {
        let rows = start..start + size;
        let scores: Vec<f32> = scores[rows.clone()].iter().map(|&score| score as f32).collect();
        total += ndcg(&labels[rows], &scores, k);
        start += size;
    }
    (!sizes.is_empty()).then(|| total / sizes.len() as f64)
}

/// The area under the ROC curve: how probable it is that a row of label above 0 scores higher than one of label 0, a
/// tie counting half (Mann and Whitney, 1947). None where only one of the two is there.
///
/// # Shapes
/// `labels`, `scores`: `[rows]`; `weights`: `[rows]` or empty.
pub fn auc(labels: &[f32], scores: &[f64], weights: &[f32]) -> Option<f64> {
    let mut order: Vec<usize> = (0..labels.len().min(scores.len())).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut positive, mut negative, mut ordered) = (0.0, 0.0, 0.0);
    // -0.0 equals 0.0 here, though it is sorted before it.
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let sum = |is_positive: bool| -> f64 {
            let rows = tied.iter().filter(|&&row| (labels[row] > 0.0) == is_positive);
            rows.map(|&row| weight(weights, row)).sum()
        };
        let (tied_positive, tied_negative) = (sum(true), sum(false));
        ordered += tied_positive * (negative + tied_negative / 2.0);
        positive += tied_positive;
        negative += tied_negative;
    }
    (positive > 0.0 && negative > 0.0).then(|| ordered / (positive * negative))
}

/// Mean of `-ln p(label)`, for labels 0 and 1 and `p(1) = 1 / (1 + exp(-score))`.
///
/// # Shapes
/// `labels`, `scores`: `[rows]`; `weights`: `[rows]` or empty.
pub fn log_loss(labels: &[f32], scores: &[f64], weights: &[f32]) -> Option<f64> {
    mean(labels, scores, 1, weights, |label, scores| {
        let towards = if label > 0.0 { scores[0] } else { -scores[0] };
        // ln(1 + exp(-x)), which neither overflows nor loses small losses.
        (-towards).max(0.0) + (-towards.abs()).exp().ln_1p()
    })
}

/// Mean of `-ln p(label)` under a softmax over the classes' scores; labels are the numbers of classes.
///
/// # Shapes
/// `labels`: `[rows]`; `scores`: row-major `[rows, classes]`; `weights`: `[rows]` or empty.
pub fn multiclass_log_loss(labels: &[f32], scores: &[f64], classes: usize, weights: &[f32]) -> Option<f64> {
    mean(labels, scores, classes, weights, |label, scores| match scores.get(label as usize) {
        Some(of_label) => {
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln() + largest - of_label
        }
        None => f64::INFINITY,
    })
}

/// Share of the rows whose class does not score highest. A class that shares the first place counts as an error, as
/// it does for LightGBM.
///
/// # Shapes
/// `labels`: `[rows]`; `scores`: row-major `[rows, classes]`; `weights`: `[rows]` or empty.
pub fn multiclass_error(labels: &[f32], scores: &[f64], classes: usize, weights: &[f32]) -> Option<f64> {
    mean(labels, scores, classes, weights, |label, scores| {
        let of_label = scores.get(label as usize).copied().unwrap_or(f64::NAN);
        let as_high = scores.iter().filter(|&&score| score >= of_label).count();
        f64::from(u8::from(as_high != 1))
    })
}

/// Mean of `(score - label)^2`.
///
/// # Shapes
/// `labels`, `scores`: `[rows]`; `weights`: `[rows]` or empty.
pub fn mean_squared_error(labels: &[f32], scores: &[f64], weights: &[f32]) -> Option<f64> {
    mean(labels, scores, 1, weights, |label, scores| (scores[0] - f64::from(label)).powi(2))
}

/// Mean over the rows, by weight, of what `loss` makes of a label and its scores.
fn mean(
    labels: &[f32],
    scores: &[f64],
    outputs: usize,
    weights: &[f32],
    loss: impl Fn(f32, &[f64]) -> f64,
) -> Option<f64> {
    let (mut total, mut rows) = (0.0, 0.0);
    for (row, (&label, scores)) in labels.iter().zip(scores.chunks_exact(outputs.max(1))).enumerate() {
        let weight = weight(weights, row);
        // A row that weighs nothing may be infinitely wrong.
        if weight > 0.0 {
            total += weight * loss(label, scores);
            rows += weight;
        }
    }
    (rows > 0.0).then(|| total / rows)
}

fn weight(weights: &[f32], row: usize) -> f64 {
    weights.get(row).copied().map_or(1.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected figures are those of LightGBM 4.7.0: `record_evaluation` of a model that starts from these scores
    /// (`init_score`) and learns nothing more (`learning_rate=1e-300`).
    #[test]
    fn figures_are_lightgbms() {
        let weights = [1.0, 2.0, 0.5, 3.0, 1.0, 4.0];
        let scores = [2.0, -1.0, 0.5, 0.5, 3.0, -0.25];
        #[rustfmt::skip]
        let of_classes = [
            0.1, 0.2, 0.3,   2.0, 2.0, 1.0,   -1.0, -1.0, 4.0,
            0.0, 5.0, 0.0,   1.0, 1.0, 1.0,   3.0, 0.0, -3.0,
        ];
        let (binary, classes, values) =
            ([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 2.0, 0.0, 1.0, 0.0], [1.0, -2.0, 3.0, 0.5, 7.0, 0.0]);
        for (weights, expected) in [
            (&[][..], [0.5, 0.9604784063956663, 1.3400445846535838, 0.5, 4.052083333333333]),
            (
                &weights[..],
                [
                    0.446_969_696_969_696_97,
                    0.8926144227651227,
                    1.6587111700113844,
                    0.5217391304347826,
                    1.9456521739130435,
                ],
            ),
        ] {
            let found = [
                auc(&binary, &scores, weights),
                log_loss(&binary, &scores, weights),
                multiclass_log_loss(&classes, &of_classes, 3, weights),
                multiclass_error(&classes, &of_classes, 3, weights),
                mean_squared_error(&values, &scores, weights),
            ];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} {expected}");
            }
        }
    }

    #[test]
    fn auc_gives_half_for_a_tie() {
        let cases: [(&[f32], &[f64], Option<f64>); 9] = [
            (&[0.0, 1.0], &[0.0, 1.0], Some(1.0)),
            (&[1.0, 0.0], &[0.0, 1.0], Some(0.0)),
            (&[1.0, 0.0], &[1.0, 1.0], Some(0.5)),
            (&[1.0, 0.0], &[0.0, -0.0], Some(0.5)),
            (&[1.0, 0.0, 1.0, 0.0], &[7.0; 4], Some(0.5)),
            (&[1.0, 0.0, 0.0], &[2.0, 2.0, 1.0], Some(0.75)),
            (&[1.0, 1.0], &[0.0, 1.0], None),
            (&[0.0, 0.0], &[0.0, 1.0], None),
            (&[], &[], None),
        ];
        for (labels, scores, expected) in cases {
            assert_eq!(auc(labels, scores, &[]), expected, "{labels:?} {scores:?}");
        }
        assert_eq!(auc(&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]), None, "the positive one weighs nothing");
    }

    #[test]
    fn enormous_scores_have_finite_losses() {
        assert_eq!(log_loss(&[1.0, 0.0], &[1e300, -1e300], &[]), Some(0.0));
        assert_eq!(log_loss(&[0.0], &[1e300], &[]), Some(1e300));
        assert_eq!(multiclass_log_loss(&[0.0], &[1e300, 0.0], 2, &[]), Some(0.0));
        assert_eq!(multiclass_log_loss(&[1.0], &[1e300, 0.0], 2, &[]), Some(1e300));
        assert_eq!(multiclass_log_loss(&[2.0], &[0.0, 0.0], 2, &[]), Some(f64::INFINITY), "no such class");
        assert_eq!(mean_squared_error(&[1.0, 2.0], &[1.0, 9e9], &[1.0, 0.0]), Some(0.0));
        assert_eq!(mean_squared_error(&[], &[], &[]), None);
    }
}
