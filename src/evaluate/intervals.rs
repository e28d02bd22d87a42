//! How sure a figure is: a bootstrap over users, or over days where users are few.
//!
//! Questions of one user are alike, so resampling single questions would look far too sure. Source: Efron and
//! Tibshirani, "An Introduction to the Bootstrap", 1993, percentile intervals of clustered data.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::metrics::{Metrics, Outcome};

/// The middle 95 % of the bootstrap's figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval(pub f64, pub f64);

/// Fewer users than this, and days are resampled.
const FEWEST_USERS: usize = 10;
const RESAMPLES: usize = 1_000;

/// Intervals of hr1, hr3, hr5, mrr, ndcg5, log loss and coverage at 90 % precision. `None` where there are fewer than two
/// clusters to resample.
pub(super) fn intervals(outcomes: &[Outcome], seed: u64) -> Option<[Interval; 7]> {
    bootstrap(&clusters(outcomes, Metrics::means_of), seed)
}

/// The interval of the mean of one figure. `None` as in [`intervals`].
pub(super) fn mean_interval(
    outcomes: &[Outcome],
    figure: impl Fn(&Outcome) -> f64,
    seed: u64,
) -> Option<Interval> {
    bootstrap(&clusters(outcomes, |outcome| [figure(outcome)]), seed).map(|[interval]| interval)
}

/// Intervals of what `after` has more than `before`, in the order of [`intervals`]: the same questions answered twice, so
/// what both find hard cancels out.
pub(crate) fn difference_intervals(
    before: &[Outcome],
    after: &[Outcome],
    seed: u64,
) -> Option<[Interval; 7]> {
    let mut differences = clusters(after, Metrics::means_of);
    for ((sums, _), (before, _)) in differences.iter_mut().zip(clusters(before, Metrics::means_of)) {
        sums.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    }
    bootstrap(&differences, seed)
}

fn bootstrap<const N: usize>(clusters: &[([f64; N], f64)], seed: u64) -> Option<[Interval; N]> {
    if clusters.len() < 2 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(RESAMPLES));
    for _ in 0..RESAMPLES {
        let (mut sums, mut questions) = ([0.0; N], 0.0);
        for _ in 0..clusters.len() {
            let (cluster, n) = &clusters[random.random_range(0..clusters.len())];
            sums.iter_mut().zip(cluster).for_each(|(sum, value)| *sum += value);
            questions += n;
        }
        draws.iter_mut().zip(sums).for_each(|(draws, sum)| draws.push(sum / questions));
    }
    Some(draws.map(|mut draws| {
        draws.sort_by(f64::total_cmp);
        Interval(draws[RESAMPLES * 25 / 1_000], draws[RESAMPLES * 975 / 1_000 - 1])
    }))
}

/// Sums of the figures over each cluster, and its number of questions.
fn clusters<const N: usize>(
    outcomes: &[Outcome],
    figures: impl Fn(&Outcome) -> [f64; N],
) -> Vec<([f64; N], f64)> {
    let users: std::collections::BTreeSet<u32> = outcomes.iter().map(|outcome| outcome.user).collect();
    let by_user = users.len() >= FEWEST_USERS;
    let mut clusters: BTreeMap<(u32, i32), ([f64; N], f64)> = BTreeMap::new();
    for outcome in outcomes {
        let key = (outcome.user, if by_user { 0 } else { outcome.day });
        let (sums, questions) = clusters.entry(key).or_insert(([0.0; N], 0.0));
        sums.iter_mut().zip(figures(outcome)).for_each(|(sum, value)| *sum += value);
        *questions += 1.0;
    }
    clusters.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::outcome;
    use super::*;

    #[test]
    fn an_interval_holds_its_figure_and_widens_with_clustering() {
        let question =
            |i: u32, user: u32| Outcome { user, ..outcome(Some(u32::from(i.is_multiple_of(4))), 0.5) };
        let spread: Vec<Outcome> = (0..4_000).map(|i| question(i, i / 4 % 100)).collect();
        let [hr1, ..] = intervals(&spread, 1).unwrap();
        assert!(hr1.0 <= 0.75 && 0.75 <= hr1.1);
        // The same answers, but each user is always right or always wrong.
        let clustered: Vec<Outcome> = (0..4_000).map(|i| question(i / 40, i / 40)).collect();
        let [wide, ..] = intervals(&clustered, 1).unwrap();
        assert!(wide.1 - wide.0 > 3.0 * (hr1.1 - hr1.0), "{wide:?} {hr1:?}");
        assert_eq!(intervals(&spread, 1), intervals(&spread, 1), "seeded");
        let hit = |outcome: &Outcome| f64::from(u8::from(outcome.hit(1)));
        assert_eq!(mean_interval(&spread, hit, 1), Some(hr1), "one figure by itself");
        assert_eq!(intervals(&spread[..4], 1), None, "one user, one day");
        assert_eq!(difference_intervals(&spread, &spread, 1).unwrap()[0], Interval(0.0, 0.0));
        let always: Vec<Outcome> = (0..4_000).map(|i| question(1, i / 4 % 100)).collect();
        let [more, ..] = difference_intervals(&spread, &always, 1).unwrap();
        assert!(more.0 <= 0.25 && 0.25 <= more.1 && more.1 - more.0 < 0.1, "{more:?}");
    }

    /// Of `users`, each asked once on each of `days`; whether the answer is right is theirs or the day's to say.
    fn asked(users: u32, days: i32, is_right: impl Fn(u32, i32) -> bool) -> Vec<Outcome> {
        let pairs = (0..users).flat_map(|user| (0..days).map(move |day| (user, day)));
        pairs
            .map(|(user, day)| Outcome { user, day, ..outcome(Some(u32::from(!is_right(user, day))), 0.5) })
            .collect()
    }

    /// A share of one half over 400 people: 95 % of its figures lie within 1.96 standard errors of 0.025 (the normal
    /// approximation of the binomial).
    #[test]
    fn an_interval_is_as_wide_as_the_normal_one() {
        let outcomes = asked(400, 1, |user, _| user % 2 == 0);
        let (mut below, mut above) = (0.0, 0.0);
        for seed in 0..20 {
            let [Interval(low, high), ..] = intervals(&outcomes, seed).unwrap();
            below += (0.5 - low) / 20.0;
            above += (high - 0.5) / 20.0;
        }
        for half in [below, above] {
            assert!((half / (1.96 * 0.025) - 1.0).abs() < 0.06, "{below} below, {above} above");
        }
        assert_ne!(intervals(&outcomes, 1), intervals(&outcomes, 2), "the seed counts");
    }

    /// From ten users on users are drawn, of fewer their days, each user's for itself.
    #[test]
    fn clusters_are_users_or_the_days_of_each() {
        let right_on_the_first_day = |_: u32, day: i32| day == 0;
        let [ten, ..] = intervals(&asked(10, 2, right_on_the_first_day), 1).unwrap();
        assert_eq!(ten, Interval(0.5, 0.5), "all users are alike");
        let [nine, ..] = intervals(&asked(9, 2, right_on_the_first_day), 1).unwrap();
        // 18 days of their own: far from certain, and far from the two days that all had in common.
        assert!(nine.0 > 0.2 && nine.0 < 0.4 && nine.1 > 0.6 && nine.1 < 0.8, "{nine:?}");
        assert_eq!(intervals(&asked(1, 2, right_on_the_first_day), 1).unwrap()[0], Interval(0.0, 1.0));
    }

    /// Two days: one question answered wrongly, and 99 answered rightly. Each figure is a mean over the questions drawn.
    #[test]
    fn a_day_counts_as_often_as_it_has_questions() {
        let mut outcomes = asked(1, 2, |_, day| day == 1);
        outcomes.extend(vec![outcomes[1]; 98]);
        let [hr1, ..] = intervals(&outcomes, 1).unwrap();
        assert_eq!(hr1, Interval(0.0, 1.0));
        // Five such days of each kind, so that every draw has many questions: never more than all are right.
        let mut outcomes = asked(1, 10, |_, day| day % 2 == 1);
        let right: Vec<Outcome> = outcomes.iter().filter(|outcome| outcome.hit(1)).copied().collect();
        outcomes.extend(right.iter().cycle().take(490));
        let [hr1, ..] = intervals(&outcomes, 1).unwrap();
        assert!(hr1.0 > 0.94 && hr1.1 <= 1.0, "{hr1:?}");
    }

    #[test]
    fn a_difference_is_after_less_before() {
        let (worse, better) = (asked(40, 1, |user, _| user % 4 == 0), asked(40, 1, |user, _| user % 2 == 0));
        let found = difference_intervals(&worse, &better, 3).unwrap();
        let [Interval(low, high), ..] = found;
        assert!(0.05 < low && low < 0.25 && 0.25 < high && high < 0.45, "{low} {high}");
        let [Interval(low, high), ..] = difference_intervals(&better, &worse, 3).unwrap();
        assert!(-0.45 < low && high < -0.05, "{low} {high}");
    }
}
