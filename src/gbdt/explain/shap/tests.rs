use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::gbdt::tree::{Child, SplitCondition, SplitNode, Tree};
use crate::gbdt::{
    Child::Leaf, Child::Split, Ensemble, SplitCondition::Categories, SplitCondition::Threshold,
};

/// A split as feature, test, whether missing values go left, and where it leads.
type Line = (usize, SplitCondition, bool, Child, Child);

fn tree(splits: &[Line], leaf_values: &[f64], leaf_cover: &[f64]) -> Tree {
    let split = |(feature, test, missing_left, left, right): &Line| SplitNode {
        feature: *feature,
        test: test.clone(),
        missing_left: *missing_left,
        gain: 1.0,
        left: *left,
        right: *right,
    };
    Tree {
        splits: splits.iter().map(split).collect(),
        leaf_values: leaf_values.to_vec(),
        leaf_cover: leaf_cover.to_vec(),
    }
}

/// Shapley values by their definition: over all sets of known features. Slow, and the reference.
fn by_definition(tree: &Tree, row: &[f32]) -> Vec<f64> {
    let features = row.len();
    let expected: Vec<f64> =
        (0..1 << features).map(|known: u32| expectation(tree, tree.root(), row, known).0).collect();
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let all = features as u32;
    let value = |feature: usize| {
        let without = (0..1_u32 << all).filter(|known| known >> feature & 1 == 0);
        let term = |known: u32| {
            let size = known.count_ones();
            let weight = factorial(size) * factorial(all - size - 1) / factorial(all);
            weight * (expected[(known | 1 << feature) as usize] - expected[known as usize])
        };
        without.map(term).sum::<f64>()
    };
    (0..features).map(value).chain([expected[0]]).collect()
}

/// The value expected below `child` where the features in `known` are known, and the cover there.
fn expectation(tree: &Tree, child: Child, row: &[f32], known: u32) -> (f64, f64) {
    let split = match child {
        Leaf(leaf) => return (tree.leaf_values[leaf], tree.leaf_cover[leaf]),
        Split(split) => &tree.splits[split],
    };
    let [left, right] = [split.left, split.right].map(|child| expectation(tree, child, row, known));
    let cover = left.1 + right.1;
    let value = match (known >> split.feature & 1 == 1, split.goes_left(row[split.feature])) {
        (true, true) => left.0,
        (true, false) => right.0,
        (false, _) if cover == 0.0 => (left.0 + right.0) / 2.0,
        (false, _) => (left.0 * left.1 + right.0 * right.1) / cover,
    };
    (value, cover)
}

/// A tree of `splits` splits whose shape, tests and covers are drawn; some leaves have no cover.
fn random_tree(random: &mut ChaCha8Rng, splits: usize, features: usize) -> Tree {
    let mut tree = Tree::constant(0.0, 0.0);
    // Leaves to attach something to: the split they belong to and the side.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for node in 0..splits {
        if node > 0 {
            let (parent, left) = open.swap_remove(random.random_range(0..open.len()));
            let side = if left { &mut tree.splits[parent].left } else { &mut tree.splits[parent].right };
            *side = Split(node);
        }
        let test = match random.random_bool(0.3) {
            true => Categories((0..5).filter(|_| random.random_bool(0.5)).collect()),
            false => Threshold(random.random_range(0.0..5.0)),
        };
        let feature = random.random_range(0..features);
        let missing_left = random.random();
        tree.splits.push(SplitNode { feature, test, missing_left, gain: 1.0, left: Leaf(0), right: Leaf(0) });
        open.extend([(node, true), (node, false)]);
    }
    for (leaf, &(parent, left)) in open.iter().enumerate() {
        let side = if left { &mut tree.splits[parent].left } else { &mut tree.splits[parent].right };
        *side = Leaf(leaf);
    }
    let leaves = splits + 1;
    tree.leaf_values = (0..leaves).map(|_| random.random_range(-1.0..1.0)).collect();
    tree.leaf_cover = (0..leaves).map(|_| f64::from(random.random_range(0_u8..9))).collect();
    tree
}

fn random_row(random: &mut ChaCha8Rng, features: usize) -> Vec<f32> {
    let value = |random: &mut ChaCha8Rng| random.random_range(-1.0..6.0);
    (0..features).map(|_| if random.random_bool(0.1) { f32::NAN } else { value(random) }).collect()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(near, "{found:?}, not {expected:?}");
}

#[test]
fn equals_the_definition() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for splits in [0, 1, 2, 3, 5, 8, 13, 30] {
        for features in [1, 2, 4, 7] {
            for _ in 0..10 {
                let tree = random_tree(&mut random, splits, features);
                let row = random_row(&mut random, features);
                let found = Ensemble::new(vec![tree.clone()], features).shap(&row).unwrap();
                assert_near(&found, &by_definition(&tree, &row), 1e-13);
            }
        }
    }
}

#[test]
fn values_add_up_to_the_score() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for (splits, features) in [(0, 1), (30, 12), (200, 40), (1_000, 300)] {
        let trees = (0..6).map(|_| random_tree(&mut random, splits, features)).collect();
        let model = Ensemble { base: vec![0.5, -2.0, 1.0], ..Ensemble::new(trees, features) };
        let rows: Vec<f32> = (0..20).flat_map(|_| random_row(&mut random, features)).collect();
        let mut scores = vec![0.0; 60];
        model.score(&rows, &mut scores);
        let values = model.shap(&rows).unwrap();
        let sums: Vec<f64> = values.chunks(features + 1).map(|values| values.iter().sum()).collect();
        assert_near(&sums, &scores, 1e-11);
    }
}

// LightGBM 4.7.0: 300 rows of three features from 1 to 5, 15 in 100 missing, the second one categorical.
//   b = lgb.train({"objective": "multiclass", "num_class": 3, "num_leaves": 5, "learning_rate": .5, "cat_smooth": 1,
//                  "min_data_in_leaf": 5, "min_data_per_group": 1, "max_cat_to_onehot": 1}, d, 2)
//   b.dump_model()["tree_info"], with its counts as covers; b.predict(rows, pred_contrib=True)
#[test]
fn equals_lightgbm() {
    let trees = vec![
        tree(
            &[
                (0, Threshold(1.5), false, Split(1), Split(2)),
                (1, Categories(vec![2, 5]), false, Leaf(0), Leaf(1)),
                (0, Threshold(3.5), false, Leaf(2), Split(3)),
                (2, Threshold(2.5), false, Leaf(3), Leaf(4)),
            ],
            &[-1.197395611092, -0.464284984916, -1.314361810144, -1.204940943316, -0.729513114503],
            &[20.0, 39.0, 101.0, 51.0, 89.0],
        ),
        tree(
            &[
                (0, Threshold(2.5), false, Leaf(0), Split(1)),
                (2, Threshold(2.5), false, Split(2), Split(3)),
                (0, Threshold(3.5), true, Leaf(1), Leaf(2)),
                (0, Threshold(4.5), true, Leaf(3), Leaf(4)),
            ],
            &[-0.869912543288, -0.553044133262, -1.569292179739, -1.563904321386, -0.886444808159],
            &[110.0, 40.0, 34.0, 91.0, 25.0],
        ),
        tree(
            &[
                (0, Threshold(1.5), false, Leaf(0), Split(1)),
                (2, Threshold(3.5), true, Leaf(1), Split(2)),
                (0, Threshold(3.5), false, Split(3), Leaf(4)),
                (0, Threshold(2.5), true, Leaf(2), Leaf(3)),
            ],
            &[-1.689079729618, -0.997751345619, -1.384788471796, -0.624060327242, -1.559550342843],
            &[59.0, 171.0, 21.0, 12.0, 37.0],
        ),
        tree(
            &[
                (0, Threshold(1.5), false, Split(1), Split(2)),
                (1, Categories(vec![2, 5]), false, Leaf(0), Leaf(1)),
                (1, Categories(vec![2, 5]), false, Split(3), Leaf(4)),
                (0, Threshold(2.5), false, Leaf(2), Leaf(3)),
            ],
            &[-0.200049771551, 0.38803043004, -0.452329061804, 0.379323977731, -0.184436658658],
            &[20.0, 39.0, 16.0, 67.0, 158.0],
        ),
        tree(
            &[
                (0, Threshold(2.5), true, Split(1), Leaf(4)),
                (0, Threshold(1.5), true, Split(2), Leaf(3)),
                (1, Categories(vec![2, 5]), false, Split(3), Leaf(2)),
                (0, Threshold(1.5), false, Leaf(0), Leaf(1)),
            ],
            &[0.720511396517, -0.363278495522, -0.146711873732, 0.342785159586, -0.139024487076],
            &[20.0, 17.0, 72.0, 51.0, 140.0],
        ),
        tree(
            &[
                (0, Threshold(2.5), false, Leaf(0), Split(1)),
                (1, Categories(vec![2, 5]), false, Split(2), Leaf(4)),
                (2, Threshold(2.5), false, Split(3), Leaf(3)),
                (0, Threshold(3.5), true, Leaf(1), Leaf(2)),
            ],
            &[-0.243806124448, 1.103161155676, -0.282209598095, -0.485998668156, 0.198828798642],
            &[110.0, 12.0, 14.0, 41.0, 123.0],
        ),
    ];
    let model = Ensemble { base: vec![0.0; 3], ..Ensemble::new(trees, 3) };
    let nan = f32::NAN;
    let rows = [1.0, 2.0, 3.0, 5.0, 1.0, nan, nan, 5.0, 2.0, 4.0, nan, 5.0, 2.0, 7.0, 1.0];
    let expected = [
        [
            -0.018169020207,
            -0.416302447997,
            0.040411365449,
            -1.003385279887,
            0.702124910725,
            0.33073425476,
            -0.049078181898,
            -1.133182130358,
            -0.560548921833,
            -0.095671145144,
            -0.018180767009,
            -1.25848502008,
        ],
        [
            0.071277251295,
            -0.108848893122,
            0.127007148554,
            -1.003385279887,
            0.046586864297,
            -0.022771388058,
            0.083897358884,
            -1.133182130358,
            0.198051702148,
            0.168211625173,
            0.093299145783,
            -1.25848502008,
        ],
        [
            0.19424471864,
            0.205163521571,
            -0.221639925908,
            -1.003385279887,
            -0.141437537452,
            -0.027214700409,
            0.385511739435,
            -1.133182130358,
            0.617660673596,
            0.149740512753,
            0.596493643788,
            -1.25848502008,
        ],
        [
            0.071277251295,
            -0.108848893122,
            0.127007148554,
            -1.003385279887,
            -0.49894632267,
            -0.022771388058,
            -0.048028967376,
            -1.133182130358,
            0.057334158981,
            0.168211625173,
            -0.327782308274,
            -1.25848502008,
        ],
        [
            -0.459252464424,
            0.034361070117,
            -0.070521794607,
            -1.003385279887,
            0.551892768495,
            -0.022771388058,
            0.076933366218,
            -1.133182130358,
            -0.139138053712,
            0.020728109452,
            0.135337494274,
            -1.25848502008,
        ],
    ];
    assert_near(&model.shap(&rows).unwrap(), &expected.concat(), 1e-11);

    let means = model.mean_abs_shap(&rows).unwrap();
    let by_hand = |feature: usize| {
        expected.iter().flat_map(|row| row.chunks(4)).map(|values: &[f64]| values[feature].abs()).sum::<f64>()
            / 5.0
    };
    assert_near(&means, &[by_hand(0), by_hand(1), by_hand(2)], 1e-11);
    assert_eq!(model.mean_abs_shap(&[]).unwrap(), [0.0; 3]);
}

#[test]
fn a_tree_of_any_depth_is_safe() {
    let depth = 100_000;
    let splits: Vec<Line> = (0..depth)
        .map(|node| {
            let below = if node + 1 < depth { Split(node + 1) } else { Leaf(depth) };
            (node % 3, Threshold((node / 3) as f32), false, Leaf(node), below)
        })
        .collect();
    let leaf_values: Vec<f64> = (0..=depth).map(|leaf| leaf as f64).collect();
    let model = Ensemble::new(vec![tree(&splits, &leaf_values, &vec![1.0; depth + 1])], 3);
    let values = model.shap(&[9e3, 1e4, 2e4]).unwrap();
    let mut score = [0.0];
    model.score(&[9e3, 1e4, 2e4], &mut score);
    assert!((values.iter().sum::<f64>() / score[0] - 1.0).abs() < 1e-9, "{values:?} {score:?}");
}

#[test]
fn refuses_what_it_cannot_walk() {
    let stump = tree(&[(1, Threshold(0.5), false, Leaf(0), Leaf(1))], &[0.0, 1.0], &[1.0, 1.0]);
    let error = |columns: usize, rows: &[f32]| {
        Ensemble::new(vec![stump.clone()], columns).shap(rows).err().unwrap().to_string()
    };
    assert_eq!(error(2, &[1.0; 3]), "3 values do not make rows of 2 columns");
    assert!(error(1, &[1.0]).contains("asks for feature 1 of 1"));
    assert!(Ensemble::new(vec![], 0).shap(&[]).unwrap().is_empty());
    assert!(Ensemble::new(vec![], 0).shap(&[1.0]).is_err());
}
