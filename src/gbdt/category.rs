//! Splits by category. With their averages in order, the best of all ways to part categories in two is among the ways
//! to cut that order (Fisher, "On grouping for maximum homogeneity", 1958), so a few hundred candidates do for 2^255.
//!
//! Rare categories have averages of chance: these are pulled towards nothing before they are put in order, and splits
//! pay an additional L2 penalty, as in LightGBM.

use super::gain::{LeafColumn, Rule, Split};
use super::histogram::{Number, Sums};

/// Up to this many categories, each is tried against all others instead.
const ONE_AGAINST_OTHERS: usize = 4;

/// Tries the ways to part the categories of one column. What is missing or has no bin of its own goes right.
pub(super) fn search<S: Number>(task: &LeafColumn<'_, S>, best: &mut Option<Split<S>>) {
    let config = task.search.config;
    let last = task.bins.g.len() - 1;
    let mut bins: Vec<u8> = (1..last).filter(|&bin| task.bins.rows[bin] > 0).map(|bin| bin as u8).collect();
    let average = |&bin: &u8| {
        let sums = task.bins.bin(usize::from(bin));
        task.search.g(sums) / (task.search.h(sums) + config.category_smoothing)
    };
    let few = bins.len() <= ONE_AGAINST_OTHERS;
    if !few {
        bins.sort_by(|a, b| average(a).total_cmp(&average(b)).then(a.cmp(b)));
    }
    let l2 = config.l2 + if few { 0.0 } else { config.category_l2 };
    let mut consider = |left: &[u8], sums: Sums<S>| {
        if !allowed(task, sums) || !allowed(task, task.total.minus(sums)) {
            return;
        }
        let quality = task.gain_of(sums, l2);
        if task.improves(quality, best) {
            *best = Some(task.split(Rule::Among(left.to_vec()), false, quality, sums));
        }
    };
    if few {
        bins.chunks(1).for_each(|bin| consider(bin, task.bins.bin(usize::from(bin[0]))));
        return;
    }
    let half = config.max_categories.min(bins.len() - 1);
    for _ in 0..2 {
        let mut sums = Sums::default();
        for end in 0..half {
            sums = sums.plus(task.bins.bin(usize::from(bins[end])));
            consider(&bins[..=end], sums);
        }
        bins.reverse();
    }
}

fn allowed<S: Number>(task: &LeafColumn<'_, S>, sums: Sums<S>) -> bool {
    let config = task.search.config;
    sums.rows as usize >= config.min_rows.max(1) && task.search.h(sums) >= config.min_hessian
}
