//! XE-NDCG: the cross entropy between the softmax of a group's scores and a distribution drawn anew each round around
//! the gains of its labels, which bounds NDCG.
//!
//! Source: Bruch, "An alternative cross entropy loss for learning-to-rank", 2021, with the third-order gradients that
//! LightGBM's `rank_xendcg` takes.

use std::cell::RefCell;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::ndcg::{self, gain};
use super::{Batch, Gradient, Objective};
use crate::error::Result;
use crate::gbdt::dataset::Dataset;

/// Ranks the rows of each group by relevance. Labels are integers from 0 to 31. A group without a relevant row
/// gives no gradient (LightGBM pushes it at random). The weight of a row multiplies its gradients.
///
/// Quicker than [`Lambdarank`](super::Lambdarank), whose work grows with the pairs of a group. Early stopping
/// watches `1 - NDCG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xendcg {
    /// How many ranks the loss for early stopping looks at.
    pub ndcg_at: usize,
}

impl Default for Xendcg {
    fn default() -> Self {
        Self { ndcg_at: 5 }
    }
}

/// A row of the group.
struct Term {
    /// Its share of the softmax, and that of all others: `1 - share` without the rounding.
    share: f64,
    rest: f64,
    /// The term of the current order, divided by `rest`.
    scaled: f64,
    g: f64,
}

thread_local! {
    // Groups are small and many: their working memory is kept.
    static TERMS: RefCell<Vec<Term>> = RefCell::default();
}

impl Objective for Xendcg {
    fn name(&self) -> &str {
        "xendcg"
    }

    fn is_grouped(&self) -> bool {
        true
    }

    fn check(&self, data: &Dataset) -> Result<()> {
        ndcg::check(data, self.ndcg_at)
    }

    fn gradients(&self, batch: &Batch<'_>, scores: &[f32], gradients: &mut [Gradient]) {
        if batch.labels.len() < 2 || batch.labels.iter().all(|&label| label == 0.0) {
            return gradients.fill(Gradient::default());
        }
        let mut random = ChaCha8Rng::seed_from_u64(batch.random);
        TERMS.with_borrow_mut(|terms| {
            cross_entropy(batch.labels, scores, || random.random(), terms);
            for (row, (gradient, term)) in gradients.iter_mut().zip(terms).enumerate() {
                let unweighted = Gradient { g: term.g as f32, h: (term.share * term.rest) as f32 };
                *gradient = unweighted.times(batch.weight(row));
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

/// Fills `terms` with the gradients of a group of two rows or more. `draw` gives numbers in `[0, 1)`.
fn cross_entropy(labels: &[f32], scores: &[f32], mut draw: impl FnMut() -> f32, terms: &mut Vec<Term>) {
    let top = (1..scores.len()).fold(0, |top, row| if scores[row] > scores[top] { row } else { top });
    terms.clear();
    terms.extend(labels.iter().zip(scores).map(|(&label, &score)| {
        // -600: no share is zero, for the terms divide by what one share leaves to the others.
        let share = (f64::from(score) - f64::from(scores[top])).max(-600.0).exp();
        // The target: `2^label - draw`, above zero.
        Term { share, rest: 0.0, scaled: 0.0, g: gain(label) + 1.0 - f64::from(draw()) }
    }));
    let sum_below_top = |terms: &[Term], value: fn(&Term) -> f64| -> f64 {
        terms[..top].iter().chain(&terms[top + 1..]).map(value).sum()
    };
    let below_top = sum_below_top(terms, |term| term.share);
    let total = below_top + terms[top].share;
    let targets: f64 = terms.iter().map(|term| term.g).sum();

    for (row, term) in terms.iter_mut().enumerate() {
        let others = if row == top { below_top } else { total - term.share };
        term.rest = others / total;
        term.share /= total;
        term.g = term.share - term.g / targets;
        term.scaled = term.g / term.rest;
    }
    for _ in ["second order", "third order"] {
        // The largest share's term may dwarf the others, so their sum is kept apart.
        let of_top = terms[top].scaled;
        let below_top = sum_below_top(terms, |term| term.scaled);
        for (row, term) in terms.iter_mut().enumerate() {
            let without = if row == top { below_top } else { below_top - term.scaled + of_top };
            let next = term.share * without;
            term.g += next;
            term.scaled = next / term.rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::objective::tests::{assert_gradients, complaint, gradients};

    // With decimal.Decimal at 80 digits, y = [0, 2, 1, 0], gamma = [.5, .25, .75, .125], scores f:
    //   e = [exp(x) for x in f]; rho = [x / sum(e) for x in e]
    //   phi = [2**l - c for l, c in zip(y, gamma)]; phi = [x / sum(phi) for x in phi]
    //   l = [r - x for r, x in zip(rho, phi)]; g = l; p = [a / (1 - r) for a, r in zip(l, rho)]
    //   t = [r * (sum(p) - q) for r, q in zip(rho, p)]; g = g + t; p = [a / (1 - r) for a, r in zip(t, rho)]
    //   g = [a + r * (sum(p) - q) for a, r, q in zip(g, rho, p)]; h = [r * (1 - r) for r in rho]
    #[test]
    fn equals_the_formula_also_where_one_row_has_nearly_all() {
        let one_has_all = [0.0; 4];
        let cases = [
            (
                [0.3, -0.2, 1.1, 2.0],
                [0.048521568, -0.47338141, 0.055044355, 0.369815487],
                [0.095910256, 0.060928235, 0.181957641, 0.242217973],
            ),
            ([60.0, 0.0, -1.0, 0.5], [0.921568627, -0.588235294, -0.196078431, -0.137254902], one_has_all),
            ([0.5, 0.0, -1.0, 60.0], [-0.078431373, -0.588235294, -0.196078431, 0.862745098], one_has_all),
            // Beyond the digits of the lines above; the limit of the same.
            ([3e38, 0.0, -1.0, 0.5], [0.921568627, -0.588235294, -0.196078431, -0.137254902], one_has_all),
        ];
        for (scores, g, h) in cases {
            let mut gammas = [0.5, 0.25, 0.75, 0.125].into_iter();
            let mut terms = Vec::new();
            cross_entropy(&[0.0, 2.0, 1.0, 0.0], &scores, || gammas.next().unwrap(), &mut terms);
            let gradient = |term: &Term| Gradient { g: term.g as f32, h: (term.share * term.rest) as f32 };
            let found: Vec<Gradient> = terms.iter().map(gradient).collect();
            assert_gradients(&found, &g, &h, 1e-7);
        }
    }

    #[test]
    fn draws_are_those_of_the_batch() {
        let batch = |random| Batch { labels: &[1.0, 0.0, 0.0], weights: &[], random };
        let found = |random| gradients(&Xendcg::default(), &batch(random), &[0.1, 0.2, 0.3]);
        assert_eq!(found(7), found(7));
        assert_ne!(found(7), found(8));
        let weights = [2.0, 2.0, 2.0];
        let weighted =
            gradients(&Xendcg::default(), &Batch { weights: &weights, ..batch(7) }, &[0.1, 0.2, 0.3]);
        assert_eq!(weighted, found(7).iter().map(|gradient| gradient.times(2.0)).collect::<Vec<_>>());
        assert!(found(7)[0].g < 0.0 && found(7)[2].g > 0.0, "towards the label");
    }

    #[test]
    fn nothing_to_find_gives_no_gradient() {
        for labels in [&[0.0; 3][..], &[1.0]] {
            let batch = Batch { labels, weights: &[], random: 1 };
            let found = gradients(&Xendcg::default(), &batch, &[0.5, 0.1, 0.9][..labels.len()]);
            assert_eq!(found, vec![Gradient::default(); labels.len()], "{labels:?}");
        }
    }

    #[test]
    fn wrong_labels_and_settings_are_named() {
        assert_eq!(complaint(&Xendcg::default(), &[0.0, 3.0], &[2]), "");
        assert!(
            complaint(&Xendcg::default(), &[0.0, 3.5], &[1, 1])
                .starts_with("the label of row 1, in group 1,")
        );
        assert!(complaint(&Xendcg { ndcg_at: 0 }, &[1.0], &[1]).starts_with("field `ndcg_at`"));
    }
}
