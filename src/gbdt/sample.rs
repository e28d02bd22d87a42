//! Which rows and columns a tree gets to see.

use rand::{RngExt as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use super::config::{GbdtConfig, Goss};
use super::dataset::Dataset;
use super::objective::Gradient;

/// The rows of one round, ascending, and how often each row of the table counts (nothing where all count once).
#[derive(Debug, Default, PartialEq)]
pub(super) struct RowSample {
    pub rows: Vec<u32>,
    pub factors: Vec<f32>,
}

/// Draws the rows of one round.
///
/// # Shapes
/// `gradients`: row-major `[rows, outputs]`.
pub(super) fn sample_rows(
    data: &Dataset,
    config: &GbdtConfig,
    gradients: &[Gradient],
    random: &mut ChaCha8Rng,
) -> RowSample {
    let mut rows = if config.group_fraction < 1.0 && data.groups() > 0 {
        // Whole groups: a softmax needs all candidates of its question.
        let drawn = data.group_ranges().filter(|_| random.random_bool(config.group_fraction));
        drawn.flat_map(|rows| rows.start as u32..rows.end as u32).collect()
    } else {
        (0..data.rows() as u32).collect::<Vec<u32>>()
    };
    if config.row_fraction < 1.0 {
        rows.retain(|_| random.random_bool(config.row_fraction));
    }
    match config.goss {
        Some(goss) => one_side(goss, rows, gradients, data.rows(), random),
        None => RowSample { rows, factors: Vec::new() },
    }
}

/// The rows of largest gradient, and some of the others in the place of all of them.
fn one_side(
    goss: Goss,
    rows: Vec<u32>,
    gradients: &[Gradient],
    all: usize,
    random: &mut ChaCha8Rng,
) -> RowSample {
    let outputs = gradients.len() / all.max(1);
    let size = |row: u32| -> f32 {
        let of_row = &gradients[row as usize * outputs..][..outputs];
        of_row.iter().map(|gradient| (gradient.g * gradient.h).abs()).sum()
    };
    let mut sizes: Vec<f32> = rows.iter().map(|&row| size(row)).collect();
    let top = (rows.len() as f64 * goss.top) as usize;
    let threshold = match top {
        0 => f32::INFINITY,
        top => *sizes.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a)).1,
    };
    let chance = (goss.other / (1.0 - goss.top).max(f64::MIN_POSITIVE)).min(1.0);
    let mut sample = RowSample { rows: Vec::new(), factors: vec![1.0; all] };
    for row in rows {
        if size(row) >= threshold {
            sample.rows.push(row);
        } else if random.random_bool(chance) {
            sample.rows.push(row);
            sample.factors[row as usize] = (1.0 / chance) as f32;
        }
    }
    sample
}

/// For each of `columns`, whether a tree may ask for it: some of the `useful` ones.
pub(super) fn sample_columns(
    useful: &[usize],
    columns: usize,
    fraction: f64,
    random: &mut ChaCha8Rng,
) -> Vec<bool> {
    let wanted = ((useful.len() as f64 * fraction).ceil() as usize).max(1);
    let mut used = vec![false; columns];
    useful.sample(random, wanted).for_each(|&column| used[column] = true);
    used
}

/// The columns that have more than one bin: the others have nothing to tell.
pub(super) fn useful_columns(data: &Dataset) -> Vec<usize> {
    (0..data.binner.columns()).filter(|&column| data.binner.bins(column) > 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::Binner;
    use rand::SeedableRng as _;

    fn data(rows: usize) -> Dataset {
        let values: Vec<f32> = (0..2 * rows).map(|i| if i % 2 == 0 { i as f32 } else { 1.0 }).collect();
        Dataset::new(Binner::fit(&values, 2, 255), &values, &vec![0.0; rows]).unwrap()
    }

    #[test]
    fn shares_are_met_and_groups_stay_whole() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let data = data(10_000).with_groups(&[4; 2_500]).unwrap();
        let config = GbdtConfig { group_fraction: 0.5, ..GbdtConfig::default() };
        let sample = sample_rows(&data, &config, &[], &mut random);
        assert!((4_800..5_200).contains(&sample.rows.len()));
        assert!(sample.rows.chunks(4).all(|group| group[0] % 4 == 0 && group[3] == group[0] + 3));
        let config = GbdtConfig { group_fraction: 1.0, row_fraction: 0.3, ..config };
        let sample = sample_rows(&data, &config, &[], &mut random);
        assert!((2_800..3_200).contains(&sample.rows.len()) && sample.rows.is_sorted());
        // The second column has one value.
        assert_eq!(sample_columns(&useful_columns(&data), 2, 0.1, &mut random), [true, false]);
    }

    #[test]
    fn one_sided_sampling_keeps_what_is_large_and_the_sum() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let data = data(10_000);
        let gradients: Vec<Gradient> =
            (0..10_000).map(|row| Gradient { g: if row % 10 == 0 { -9.0 } else { 1.0 }, h: 1.0 }).collect();
        let goss = Some(Goss { top: 0.1, other: 0.2 });
        let config = GbdtConfig { group_fraction: 1.0, goss, ..GbdtConfig::default() };
        let sample = sample_rows(&data, &config, &gradients, &mut random);
        assert!((2_850..3_150).contains(&sample.rows.len()), "{}", sample.rows.len());
        assert_eq!(sample.rows.iter().filter(|&&row| row % 10 == 0).count(), 1_000);
        let sum: f32 = sample.rows.iter().map(|&row| sample.factors[row as usize]).sum();
        assert!((sum - 10_000.0).abs() < 500.0, "{sum}");
    }
}
