use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::gbdt::forest::tests::{Shape, bits, ensemble, rows};
use crate::gbdt::{Child, ForestScratch, SplitCondition, SplitNode, Tree};

/// Forests of bushes and chains, of numbers, categories and both.
fn shapes() -> impl Strategy<Value = Shape> {
    let leaves = prop_oneof![3 => 1_usize..40, 1 => 40_usize..300];
    let of_trees = (0_usize..6, leaves, prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)]);
    // Room for the special thresholds beside.
    (1_usize..6, 1_usize..4, of_trees, prop_oneof![Just(0.0), 0.0..1.0], 1_usize..235, any::<u64>()).prop_map(
        |(columns, outputs, (rounds, leaves, chain), categories, thresholds, seed)| Shape {
            columns,
            outputs,
            rounds,
            leaves,
            chain,
            categories,
            thresholds,
            seed,
        },
    )
}

/// Scores by the plain walk and by the forest, which must be the same to the bit.
fn scores(trees: &QuantizedTrees, rows: &[f32]) -> Vec<f64> {
    let count = rows.len() / trees.columns().max(1) * trees.outputs();
    let (mut plain, mut fast) = (vec![9.0; count], vec![7.0; count]);
    trees.score(rows, &mut plain);
    let forest = Forest::new(trees.to_ensemble()).unwrap();
    forest.score(rows, &mut ForestScratch::default(), &mut fast);
    assert_eq!(bits(&plain), bits(&fast), "the walk and the forest");
    plain
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The integer walk, the forest over plain trees, and both after a journey as bytes; all within the bound of
    /// what they were made of, missing values and categories included.
    #[test]
    fn random_forests_answer_alike(shape in shapes(), count in 0_usize..130) {
        let mut random = ChaCha8Rng::seed_from_u64(shape.seed);
        let ensemble = ensemble(&shape, &mut random);
        let trees = QuantizedTrees::new(&ensemble).unwrap();
        let bytes = trees.write().unwrap();
        prop_assert_eq!(&QuantizedTrees::read(&bytes).unwrap(), &trees);

        let rows = rows(&shape, count, &mut random);
        let found = scores(&trees, &rows);
        let mut expected = vec![0.0; found.len()];
        ensemble.score(&rows, &mut expected);
        let report = TreesReport::new(&ensemble, &trees, [&*rows]);
        prop_assert!(report.largest_leaf_error <= trees.step() / 2.0);
        prop_assert_eq!(report.rows, count);
        for (found, expected) in found.iter().zip(&expected) {
            // Beside it, the last bits of sums of plain values.
            prop_assert!((found - expected).abs() <= report.largest_score_error + 1e-12);
        }
        // Integers are quantized already.
        let again = QuantizedTrees::new(&trees.to_ensemble()).unwrap();
        prop_assert_eq!(bits(&scores(&again, &rows)), bits(&found));
        prop_assert_eq!(TreesReport::new(&trees.to_ensemble(), &again, [&*rows]).rows_moved, 0);
    }
}

fn split(feature: usize, test: SplitCondition, missing_left: bool, left: Child, right: Child) -> SplitNode {
    SplitNode { feature, test, missing_left, gain: 1.0, left, right }
}

/// Two trees, small enough to be quantized by hand. The splits of the first stand in another order than level by level.
fn by_hand() -> Ensemble {
    let first = Tree {
        splits: vec![
            split(0, SplitCondition::Threshold(2.5), true, Child::Split(2), Child::Split(1)),
            split(1, SplitCondition::Categories(vec![3, 70_000]), false, Child::Leaf(0), Child::Leaf(1)),
            split(0, SplitCondition::Threshold(-1.0), false, Child::Leaf(3), Child::Leaf(2)),
        ],
        leaf_values: vec![1.0, -0.5, 0.25, 1e-9],
        leaf_cover: vec![1.0; 4],
    };
    let trees = vec![first, Tree::constant(-0.75, 7.0)];
    let features = vec!["x".to_owned(), "class".to_owned()];
    Ensemble { objective: "binary".to_owned(), features, base: vec![0.5], trees }
}

#[test]
fn a_small_forest_by_hand() {
    let ensemble = by_hand();
    let trees = QuantizedTrees::new(&ensemble).unwrap();
    // 1.0 is 16384 steps; at half that step it would be 32768, one too many.
    assert_eq!(trees.step(), 2.0_f64.powi(-14));
    for (row, score) in [
        ([-1.0, 0.0], -0.25),
        ([-0.9, 0.0], 0.0),
        ([2.5, f32::NAN], 0.0),
        ([f32::NAN, 3.0], 0.0),
        ([2.6, 3.9], 0.75),
        ([2.6, 70_000.0], 0.75),
        ([2.6, 4.0], -0.75),
        ([2.6, f32::NAN], -0.75),
        ([f32::INFINITY, -3.0], -0.75),
    ] {
        assert_eq!(scores(&trees, &row), [score], "{row:?}");
    }
    let report = TreesReport::new(&ensemble, &trees, [&[-1.0, 0.0, -0.9, 0.0, 2.6, 3.0][..]]);
    assert_eq!(
        report,
        TreesReport { largest_leaf_error: 1e-9, largest_score_error: 1e-9, rows: 3, rows_moved: 0 }
    );
}

#[test]
fn the_bytes_of_a_small_forest() {
    let expected: &[&[u8]] = &[
        b"\x06\0binary",
        &2_u32.to_le_bytes(),
        b"\x01\0x\x02",
        &(-1.0_f32).to_le_bytes(),
        &2.5_f32.to_le_bytes(),
        b"\x05\0class\0",
        // Steps of 2^-14.
        &[0xf2],
        &1_u32.to_le_bytes(),
        &8_192_i32.to_le_bytes(),
        &2_u32.to_le_bytes(),
        // The first tree: three splits, the root with two splits below.
        &3_u16.to_le_bytes(),
        &[0x00, 0x70, 2],
        &[0x00, 0x00, 1],
        &[0x01, 0x80, 2, 0, 0, 0, 3, 0, 0, 0, 0x70, 0x11, 1, 0],
        &[0x00, 0x00, 0x00, 0x10, 0x00, 0x40, 0x00, 0xe0],
        // The second: a leaf of -12288.
        &[0, 0, 0x00, 0xd0],
    ];
    let bytes = QuantizedTrees::new(&by_hand()).unwrap().write().unwrap();
    assert_eq!(bytes, expected.concat());
}

#[test]
fn rows_that_change_places_are_counted() {
    // Steps of 2^-14 beside a leaf of 1: the first two rows tie, and the order of the rows puts the first before.
    let tree = Tree {
        splits: vec![
            split(0, SplitCondition::Threshold(0.0), true, Child::Leaf(0), Child::Split(1)),
            split(0, SplitCondition::Threshold(1.0), true, Child::Leaf(1), Child::Leaf(2)),
        ],
        leaf_values: vec![1e-9, 2e-9, 1.0],
        leaf_cover: vec![1.0; 3],
    };
    let ensemble = Ensemble::new(vec![tree], 1);
    let trees = QuantizedTrees::new(&ensemble).unwrap();
    let question: &[f32] = &[0.0, 1.0, 2.0];
    let report = TreesReport::new(&ensemble, &trees, [question, question]);
    assert_eq!((report.rows, report.rows_moved, report.largest_score_error), (6, 4, 2e-9));
    assert!((report.moved_share() - 2.0 / 3.0).abs() < 1e-15);
    assert_eq!(TreesReport::new(&ensemble, &trees, []).moved_share(), 0.0);
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let stump = |feature: usize, threshold: f32| Tree {
        splits: vec![split(
            feature,
            SplitCondition::Threshold(threshold),
            true,
            Child::Leaf(0),
            Child::Leaf(1),
        )],
        leaf_values: vec![0.0; 2],
        leaf_cover: vec![0.0; 2],
    };
    let stumps = |count: usize| (0..count).map(|bound| stump(0, bound as f32)).collect();
    let chain = |splits: usize| {
        let node = |node: usize| match node + 1 < splits {
            true => split(0, SplitCondition::Threshold(0.0), true, Child::Leaf(node), Child::Split(node + 1)),
            false => split(0, SplitCondition::Threshold(0.0), true, Child::Leaf(node), Child::Leaf(splits)),
        };
        let leaf_values = vec![0.0; splits + 1];
        vec![Tree { splits: (0..splits).map(node).collect(), leaf_cover: leaf_values.clone(), leaf_values }]
    };
    for (ensemble, says) in [
        (Ensemble::new(stumps(254), 1), None),
        (
            Ensemble::new(stumps(255), 1),
            Some("field `feature_0`: 255 thresholds, but 254 is the most; train again"),
        ),
        (Ensemble::new(vec![stump(4_095, 1.0)], 4_096), None),
        (Ensemble::new(vec![], 4_097), Some("trees over 4097 features, but 4096 is the most; leave out")),
        (Ensemble::new(chain(65_535), 1), None),
        (Ensemble::new(chain(65_536), 1), Some("a tree of 65536 splits, but 65535 is the most")),
        (Ensemble::new(vec![Tree::constant(1e40, 0.0)], 1), Some("could not be represented; train on")),
        (Ensemble::new(vec![Tree::constant(f64::NAN, 0.0)], 1), Some("tree 0: a leaf value is not finite")),
        (Ensemble { base: vec![], ..Ensemble::new(vec![], 1) }, Some("0 outputs")),
    ] {
        match (QuantizedTrees::new(&ensemble), says) {
            (Ok(trees), None) => assert_eq!(QuantizedTrees::read(&trees.write().unwrap()).unwrap(), trees),
            (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{error}"),
            (found, _) => panic!("{says:?}: {found:?}"),
        }
    }
    let error = QuantizedTrees::new(&by_hand()).unwrap().ranker().unwrap_err().to_string();
    assert!(error.contains(", which this build does not compute; take"), "{error}");
}

#[test]
fn bytes_that_are_no_trees_are_refused() {
    let good = QuantizedTrees::new(&by_hand()).unwrap().write().unwrap();
    let edited = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    // Where things stand: see `the_bytes_of_a_small_forest`.
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("nothing", vec![], "at byte 0: 2 bytes are asked for"),
        ("one byte too many", [&good[..], &[0]].concat(), "1 bytes too many"),
        ("endless features", edited(8, &[0xff; 4]), "at byte 8: 4294967295 elements"),
        ("thresholds that fall", edited(20, &(-1.0_f32).to_le_bytes()), "not in ascending order"),
        ("a threshold that is none", edited(20, &f32::NAN.to_le_bytes()), "a threshold is not finite"),
        ("steps beyond f32", edited(32, &[104]), "at byte 32: steps of two to the power of 104"),
        ("no output", edited(33, &[0; 4]), ""),
        ("a base too large", edited(37, &i32::MIN.to_le_bytes()), "scores of up to 2147512320 steps"),
        ("endless trees", edited(41, &[0xff; 4]), "at byte 41: 4294967295 elements"),
        ("a tree of too many splits", edited(45, &[0xff; 2]), ""),
        ("a feature that is not there", edited(47, &[2]), "at byte 47: a split asks for feature 2 of 2"),
        (
            "a bin that is not there",
            edited(49, &[3]),
            "at byte 49: bin 3 of `x`, whose last bound is that of bin 2",
        ),
        ("a root of leaves", edited(48, &[0x10, 2, 0, 0x60]), "tree 0: split 1 leads nowhere"),
        (
            "branches to splits alone",
            edited(51, &[0x60]),
            "at byte 50: 3 splits whose branches do not make a tree",
        ),
    ];
    for (what, bytes, says) in cases {
        let error = QuantizedTrees::read(&bytes).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Model, "{what}");
        let message = error.to_string();
        assert!(
            message.starts_with("field `trees`: at byte ") && message.contains(says),
            "{what}: {message}"
        );
        assert!(
            message.ends_with("; quantize the trees again with this version of foretap"),
            "{what}: {message}"
        );
    }
}

/// Refused, or trees that answer.
#[test]
fn damaged_bytes_do_no_harm() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut refused, mut read) = (0, 0);
    for seed in 0..30 {
        let shape = Shape {
            columns: 1 + seed as usize % 4,
            outputs: 1 + seed as usize % 2,
            rounds: 3,
            leaves: 12,
            chain: 0.3,
            categories: 0.2,
            thresholds: 20,
            seed,
        };
        let good = QuantizedTrees::new(&ensemble(&shape, &mut random)).unwrap().write().unwrap();
        for cut in 0..good.len() {
            assert!(QuantizedTrees::read(&good[..cut]).is_err(), "cut at {cut}");
        }
        for _ in 0..1_000 {
            let mut bytes = good.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = if random.random() {
                    random.random()
                } else {
                    bytes[at] ^ 1 << random.random_range(0..8)
                };
            }
            let Ok(trees) = QuantizedTrees::read(&bytes) else {
                refused += 1;
                continue;
            };
            read += 1;
            // A name may have lost its column a letter; what is read is written as it was.
            assert_eq!(trees.write().unwrap(), bytes);
            scores(&trees, &rows(&Shape { columns: trees.columns(), ..shape.clone() }, 5, &mut random));
        }
    }
    println!("{refused} refused, {read} read");
    assert!(refused > 5_000 && read > 5_000, "{refused} refused, {read} read");
}
