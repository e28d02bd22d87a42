//! The trees as their users meet them: any table in, the same model out at any number of threads.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

use foretap::Silent;
use foretap::gbdt::{
    Binary, Binner, CandidateSoftmax, ColumnKind, Dataset, DatasetBuilder, Ensemble, Forest, ForestScratch,
    GbdtConfig, Goss, Lambdarank, Multiclass, Objective, Precision, SquaredError, Xendcg, train,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Rows of four columns: two numbers, of which the second is missing now and then, a category that decides together
/// with them, and a constant.
struct Rows {
    values: Vec<f32>,
    /// What a regression should find, noise included.
    targets: Vec<f32>,
}

const KINDS: [ColumnKind; 4] =
    [ColumnKind::Number, ColumnKind::Number, ColumnKind::Category, ColumnKind::Number];

fn rows(count: usize, seed: u64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let [a, b, noise]: [f32; 3] = std::array::from_fn(|_| random.random());
        let is_missing = random.random_bool(0.2);
        let category = random.random_range(0..40_u8);
        // Scattered over the numbers of the categories, so that no threshold on them helps.
        let bonus = if category * 7 % 5 < 2 { 2.0 } else { 0.0 };
        values.extend([a, if is_missing { f32::NAN } else { b }, f32::from(category), 1.0]);
        targets.push(3.0 * a + if is_missing { 1.5 } else { b } + bonus + 0.1 * noise);
    }
    Rows { values, targets }
}

fn lenient() -> GbdtConfig {
    GbdtConfig {
        trees: 30,
        learning_rate: 0.2,
        group_fraction: 1.0,
        feature_fraction: 1.0,
        ..GbdtConfig::default()
    }
}

fn trained(config: &GbdtConfig, objective: &dyn Objective, data: &Dataset) -> Forest {
    train(config, objective, data, None, &Silent).unwrap().forest
}

fn mean_squared_error(forest: &Forest, rows: &Rows) -> f64 {
    let mut scores = vec![0.0; rows.targets.len()];
    forest.score(&rows.values, &mut ForestScratch::default(), &mut scores);
    let squares =
        scores.iter().zip(&rows.targets).map(|(score, &target)| (score - f64::from(target)).powi(2));
    squares.sum::<f64>() / scores.len() as f64
}

/// The promise of `train`: for every objective and every way to sample, the same bytes at 1, 2 and 4 threads.
#[test]
fn a_model_is_the_same_bytes_at_any_number_of_threads() {
    let Rows { values, targets } = rows(20_000, 1);
    let data = |label: fn(usize, f32) -> f32| {
        let labels: Vec<f32> = targets.iter().enumerate().map(|(row, &target)| label(row, target)).collect();
        Dataset::new(Binner::fit_kinds(&values, &KINDS, 255), &values, &labels).unwrap()
    };
    let grouped = |data: Dataset| data.with_groups(&[10; 2_000]).unwrap();
    let plain = data(|_, target| target);
    let cases: [(&str, Box<dyn Objective>, Dataset); 6] = [
        (
            "candidates",
            Box::new(CandidateSoftmax),
            grouped(data(|row, _| f32::from(u8::from(row % 10 == 3)))),
        ),
        ("lambdarank", Box::new(Lambdarank::default()), grouped(data(|_, target| target.floor()))),
        ("xendcg", Box::new(Xendcg::default()), grouped(data(|_, target| target.floor()))),
        ("binary", Box::new(Binary::default()), data(|_, target| f32::from(u8::from(target > 3.0)))),
        (
            "multiclass",
            Box::new(Multiclass::new(3).unwrap()),
            data(|_, target| (target / 2.0).floor().min(2.0)),
        ),
        ("squared error", Box::new(SquaredError), plain),
    ];
    let sampled = GbdtConfig { row_fraction: 0.7, feature_fraction: 0.7, trees: 8, ..lenient() };
    let configs = [
        sampled.clone(),
        GbdtConfig { precision: Precision::Full, ..sampled.clone() },
        GbdtConfig { goss: Some(Goss { top: 0.2, other: 0.2 }), monotone: vec![1], l1: 0.1, ..sampled },
    ];
    for (name, objective, data) in &cases {
        for config in &configs {
            let models = [1, 2, 4].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let forest = pool.install(|| trained(config, &**objective, data));
                serde_json::to_vec(forest.ensemble()).unwrap()
            });
            assert!(models[0] == models[1] && models[0] == models[2], "{name}, {:?}", config.precision);
        }
    }
}

#[test]
fn categories_and_missing_values_are_learned() {
    let (learned, later) = (rows(8_000, 1), rows(2_000, 2));
    let error = |kinds: &[ColumnKind], config: &GbdtConfig| {
        let binner = Binner::fit_kinds(&learned.values, kinds, 255);
        let data = Dataset::new(binner, &learned.values, &learned.targets).unwrap();
        mean_squared_error(&trained(config, &SquaredError, &data), &later)
    };
    // The targets' variance is about 1.8, that of the noise 0.0008.
    let (as_category, as_number) = (error(&KINDS, &lenient()), error(&[ColumnKind::Number; 4], &lenient()));
    assert!(as_category < 0.02, "{as_category}");
    assert!(as_category < as_number / 2.0, "{as_category} {as_number}");
    let full = error(&KINDS, &GbdtConfig { precision: Precision::Full, ..lenient() });
    assert!((as_category / full - 1.0).abs() < 0.1, "rounded gradients {as_category}, full ones {full}");
    let goss = error(&KINDS, &GbdtConfig { goss: Some(Goss { top: 0.2, other: 0.2 }), ..lenient() });
    assert!(goss < 0.03, "{goss}");
}

/// What training saw as bins, inference sees as numbers: for categories too rare for a bin of their own as well.
#[test]
fn unseen_categories_go_where_rare_ones_went() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let values: Vec<f32> =
        (0..6_000).map(|_| (random.random_range(0.0..30.0_f32).powi(2) / 9.0).floor()).collect();
    let labels: Vec<f32> =
        values.iter().map(|&value| f32::from(u8::from((value as u32).is_multiple_of(3)))).collect();
    let binner = Binner::fit_kinds(&values, &[ColumnKind::Category], 20);
    let data = Dataset::new(binner, &values, &labels).unwrap();
    let forest = trained(&GbdtConfig { min_rows: 1, ..lenient() }, &Binary::default(), &data);
    let score = |value: f32| {
        let mut score = [0.0];
        forest.score(&[value], &mut ForestScratch::default(), &mut score);
        score[0]
    };
    let unseen = score(12_345.0);
    let rare = score(99.0);
    assert_eq!(unseen, rare);
    assert!(score(0.0) > 1.0 && score(1.0) < -1.0, "{} {}", score(0.0), score(1.0));
}

#[test]
fn training_goes_on_from_a_model() {
    let (learned, later) = (rows(4_000, 1), rows(1_000, 2));
    let binner = Binner::fit_kinds(&learned.values, &KINDS, 255);
    let first_data = Dataset::new(binner.clone(), &learned.values, &learned.targets).unwrap();
    let config = GbdtConfig { trees: 5, ..lenient() };
    let first = trained(&config, &SquaredError, &first_data);
    let mut builder = DatasetBuilder::new(binner.clone()).continuing(first.clone()).unwrap();
    builder.push_rows(&later.values, &later.targets).unwrap();
    let data = builder.finish();
    let second = trained(&config, &SquaredError, &data);
    assert_eq!(second.ensemble().trees[..5], first.ensemble().trees);
    assert_eq!(second.ensemble().trees.len(), 10);
    assert!(mean_squared_error(&second, &later) < mean_squared_error(&first, &later) / 2.0);

    // Training and validation rows must start alike.
    let from_nothing = Dataset::new(binner.clone(), &later.values, &later.targets).unwrap();
    let error = train(&config, &SquaredError, &data, Some(&from_nothing), &Silent).unwrap_err().to_string();
    assert!(error.contains("different models") && error.contains("continuing"), "{error}");
    let two_classes = Multiclass::new(2).unwrap();
    let labels: Vec<f32> = later.targets.iter().map(|target| f32::from(u8::from(*target > 3.0))).collect();
    let mut builder = DatasetBuilder::new(binner).continuing(first).unwrap();
    builder.push_rows(&later.values, &labels).unwrap();
    let error = train(&config, &two_classes, &builder.finish(), None, &Silent).unwrap_err().to_string();
    assert!(error.contains("1 outputs, the objective 2"), "{error}");
}

/// Columns that tell nothing are never asked; a table of nothing else gives the constant.
#[test]
fn columns_without_two_values_are_never_asked() {
    let values: Vec<f32> = (0..300).flat_map(|_| [f32::NAN, 7.0]).collect();
    let labels: Vec<f32> = (0..300).map(|row| row as f32).collect();
    let data = Dataset::new(Binner::fit(&values, 2, 255), &values, &labels).unwrap();
    let forest = trained(&GbdtConfig { trees: 2, ..lenient() }, &SquaredError, &data);
    assert!(forest.ensemble().trees.iter().all(|tree| tree.splits.is_empty()));
    let mut score = [0.0];
    forest.score(&[1.0, 2.0], &mut ForestScratch::default(), &mut score);
    assert!((score[0] - 149.5).abs() < 1e-3, "{score:?}");
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let binner = Binner::fit(&[0.0, 1.0], 1, 255);
    let table = |labels: &[f32]| Dataset::new(binner.clone(), &vec![0.5; labels.len()], labels).unwrap();
    let error = |objective: &dyn Objective, data: &Dataset| {
        train(&lenient(), objective, data, None, &Silent).unwrap_err().to_string()
    };
    let cases: [(&dyn Objective, Dataset, &str); 5] = [
        (&SquaredError, table(&[]), "no rows to learn from"),
        (&CandidateSoftmax, table(&[1.0, 0.0]), "compares the rows of a group"),
        (&CandidateSoftmax, table(&[0.0, 0.0]).with_groups(&[2]).unwrap(), "group 0"),
        (&Binary::default(), table(&[1.0, 1.0]), "nothing to tell apart"),
        (&Binary::default(), table(&[1.0, 0.5]), "row 1"),
    ];
    for (objective, data, says) in cases {
        let message = error(objective, &data);
        assert!(message.contains(says), "`{says}` is missing in: {message}");
    }
}

/// Leaves are written with as many digits as an f32 needs, so that engines that count in f32 read the same trees.
#[test]
fn leaf_values_are_floats_of_32_bits() {
    let Rows { values, targets } = rows(1_000, 1);
    let data = Dataset::new(Binner::fit_kinds(&values, &KINDS, 255), &values, &targets).unwrap();
    let forest = trained(&lenient(), &SquaredError, &data);
    let leaves = forest.ensemble().trees.iter().flat_map(|tree| &tree.leaf_values);
    assert!(leaves.clone().count() > 100 && leaves.into_iter().all(|&leaf| leaf == f64::from(leaf as f32)));
    let again: Ensemble = serde_json::from_slice(&serde_json::to_vec(forest.ensemble()).unwrap()).unwrap();
    assert_eq!(&again, forest.ensemble());
}
