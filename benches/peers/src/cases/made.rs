//! Rows made up: each set a function of its seed alone.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Case;
use crate::task::{Goal, Rows, Settings};

/// A million rows of 30 columns, most of them noise, one value in twenty missing.
pub fn synthetic(rows: usize, trees: usize) -> Case {
    let settings = Settings { trees, ..Settings::new(Goal::Binary) };
    Case { name: "synthetic".to_owned(), rows: noisy(rows, 30), settings, test: None }
}

fn noisy(count: usize, columns: usize) -> Rows {
    const AT_ONCE: usize = 10_000;
    let parts: Vec<(Vec<f32>, Vec<f32>)> = (0..count.div_ceil(AT_ONCE))
        .into_par_iter()
        .map(|part| {
            let mut random = ChaCha8Rng::seed_from_u64(part as u64);
            let (mut values, mut labels) = (Vec::new(), Vec::new());
            for _ in 0..AT_ONCE.min(count - part * AT_ONCE) {
                let row: Vec<f32> = (0..columns).map(|_| bell(&mut random)).collect();
                let logit =
                    row[0] + row[1] * row[2] + (2.0 * row[3]).sin() + f32::from(row[4] > row[5]) - 0.5;
                labels.push(coin(&mut random, logit));
                values
                    .extend(row.iter().map(|&value| if random.random_bool(0.05) { f32::NAN } else { value }));
            }
            (values, labels)
        })
        .collect();
    let (values, labels): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    Rows { columns, values: values.concat(), labels: labels.concat(), ..Rows::default() }
}

/// Questions of `candidates` rows each, as the ranker asks them: 40 columns, of which the first 15 say something of
/// the question and are equal in all of its rows; shares, counts, logarithms and flags, some missing.
pub fn questions(count: usize, candidates: usize, seed: u64) -> Rows {
    const QUESTION: usize = 15;
    const CANDIDATE: usize = 25;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let columns = QUESTION + CANDIDATE;
    let mut rows = Rows { columns, groups: vec![candidates; count], ..Rows::default() };
    for _ in 0..count {
        let of_question: Vec<f32> = (0..QUESTION).map(|column| value(&mut random, column)).collect();
        for _ in 0..candidates {
            let of_candidate: Vec<f32> = (0..CANDIDATE).map(|column| value(&mut random, column)).collect();
            let known = |value: f32| if value.is_nan() { 0.0 } else { value };
            let [a, b, c, d] = [0, 1, 2, 4].map(|column| known(of_candidate[column]));
            let [hour, busy] = [1, 4].map(|column| known(of_question[column]));
            let logit = 0.6 * a - 1.2 + 2.0 * b * f32::from(hour > 0.5) - 0.2 * c + 0.4 * d * busy;
            rows.labels.push(coin(&mut random, logit));
            rows.values.extend(&of_question);
            rows.values.extend(of_candidate);
        }
    }
    rows
}

/// One value in ten is missing in every other column.
fn value(random: &mut ChaCha8Rng, column: usize) -> f32 {
    if column.is_multiple_of(2) && random.random_bool(0.1) {
        return f32::NAN;
    }
    match column % 4 {
        0 => bell(random),
        1 => random.random(),
        2 => (1.0 + 5.0 * bell(random).abs()).ln(),
        _ => random.random_range(0..12) as f32,
    }
}

/// Rows with everything that a model's file must carry: numbers, two columns of categories, missing values in both;
/// labels for `goal`.
pub fn mixed(count: usize, goal: Goal, seed: u64) -> Rows {
    const COLUMNS: usize = 12;
    const GROUP: usize = 20;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Rows { columns: COLUMNS, categories: vec![3, 7], ..Rows::default() };
    for _ in 0..count {
        let mut row: Vec<f32> = (0..COLUMNS).map(|_| bell(&mut random)).collect();
        row[3] = random.random_range(0..6) as f32;
        row[7] = random.random_range(0..60) as f32;
        let by_category = [0.9, -0.4, 0.2, -1.1, 0.5, 0.0][row[3] as usize] + (row[7] * 0.7).sin();
        let score = row[0] + row[1] * row[2] + by_category;
        rows.labels.push(match goal {
            Goal::Binary => coin(&mut random, score),
            Goal::Regression => 0.5 + 0.3 * score + 0.1 * bell(&mut random),
            Goal::Multiclass(classes) => {
                let bold = score + 0.5 * bell(&mut random);
                ((bold / 5.0 + 0.5).clamp(0.0, 0.999) * classes as f32).floor()
            }
            Goal::Lambdarank | Goal::Xendcg => (score + 0.5 * bell(&mut random)).clamp(0.0, 3.0).round(),
        });
        rows.values.extend(row.iter().map(|&value| if random.random_bool(0.08) { f32::NAN } else { value }));
    }
    if goal.is_ranking() {
        rows.groups = vec![GROUP; count / GROUP];
    }
    rows
}

/// About normal: by the central limit of twelve uniform draws, which is the same on every machine.
fn bell(random: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0
}

/// 1 with the probability that `logit` gives, else 0.
fn coin(random: &mut ChaCha8Rng, logit: f32) -> f32 {
    f32::from(random.random::<f32>() < 1.0 / (1.0 + (-logit).exp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_shape_that_they_say() {
        for goal in [Goal::Binary, Goal::Regression, Goal::Multiclass(4), Goal::Lambdarank] {
            let rows = mixed(1_000, goal, 1);
            assert_eq!((rows.rows(), rows.values.len()), (1_000, 12_000));
            assert!(rows.groups.is_empty() || rows.groups.iter().sum::<usize>() == 1_000);
            if let Goal::Multiclass(classes) = goal {
                assert!((0..classes).all(|class| rows.labels.contains(&(class as f32))));
            }
        }
        let asked = questions(3, 50, 1);
        let column = |row: usize, column: usize| asked.values[row * 40 + column].to_bits();
        assert!((0..15).all(|c| (0..50).all(|row| column(row, c) == column(0, c))));
        assert!((15..40).any(|c| (1..50).any(|row| column(row, c) != column(0, c))));
        assert_eq!(synthetic(25_000, 1).rows.rows(), 25_000);
    }
}
