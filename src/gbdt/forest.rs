//! Inference: an ensemble ready to answer, one question or millions of rows.

use super::bitslice::{Bitsliced, Predicates, ROWS, RowSet, Slots, lay_out};
use super::ensemble::Ensemble;
use super::tree::Tree;
use crate::error::Result;

/// Working memory of [`Forest::score`]; it grows to what the largest forest needs, and then stays.
#[derive(Debug, Clone, Default)]
pub struct ForestScratch {
    answers: Vec<RowSet>,
    slots: Box<Slots>,
}

/// Trees ready to answer.
///
/// Rows are taken in blocks of 64, so one row costs half of what 50 do, and more: give all candidates of a question at
/// once.
#[derive(Debug, Clone)]
pub struct Forest {
    ensemble: Ensemble,
    predicates: Predicates,
    /// The trees of each output.
    outputs: Vec<Bitsliced>,
    /// Answers to all tests, and rows on their way between the pieces of large trees.
    answers: usize,
}

impl Forest {
    /// Checks `ensemble` and lays it out.
    ///
    /// # Errors
    /// A tree that refers to a feature or node that does not exist, or a value that is not finite.
    pub fn new(ensemble: Ensemble) -> Result<Self> {
        ensemble.check()?;
        let (predicates, tests) = Predicates::of(&ensemble.trees);
        let count = ensemble.outputs();
        // At least one, for steps that ask for nobody.
        let mut answers = predicates.answers().max(1);
        let of_output = |output: usize| {
            let trees: Vec<&Tree> = ensemble.trees.iter().skip(output).step_by(count).collect();
            let tests: Vec<&[u32]> = tests.iter().skip(output).step_by(count).map(Vec::as_slice).collect();
            lay_out(&trees, &tests, &mut answers)
        };
        let outputs = (0..count).map(of_output).collect();
        Ok(Self { ensemble, predicates, outputs, answers })
    }

    /// The trees as trained.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.ensemble.columns()
    }

    /// Scores a row: one, or one a class.
    pub fn outputs(&self) -> usize {
        self.ensemble.outputs()
    }

    /// Scores rows, equal to [`Ensemble::score`] bit for bit.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`; `scores`: row-major `[n, outputs]`.
    pub fn score(&self, rows: &[f32], scratch: &mut ForestScratch, scores: &mut [f64]) {
        let (columns, outputs) = (self.columns().max(1), self.outputs());
        let ForestScratch { answers, slots } = scratch;
        answers.resize(self.answers, 0);
        for (rows, scores) in rows.chunks(ROWS * columns).zip(scores.chunks_mut(ROWS * outputs)) {
            self.predicates.answer(rows, columns, answers);
            let mut totals = [0.0; ROWS];
            let totals = &mut totals[..(rows.len() / columns).min(scores.len() / outputs)];
            for (output, trees) in self.outputs.iter().enumerate() {
                totals.fill(self.ensemble.base[output]);
                trees.add(answers, slots, totals);
                scores
                    .iter_mut()
                    .skip(output)
                    .step_by(outputs)
                    .zip(&*totals)
                    .for_each(|(s, &total)| *s = total);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::seq::IndexedRandom as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::gbdt::tree::{Child, SplitCondition, SplitNode};

    const SPECIAL: [f32; 16] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        0.0,
        -0.0,
        1e-45,
        -1e-45,
        1.0,
        2.0,
        2.5,
        -1.0,
        -0.5,
        4_294_967_040.0,
        4_294_967_296.0,
    ];

    /// How random ensembles differ.
    #[derive(Debug, Clone)]
    pub struct Shape {
        pub columns: usize,
        pub outputs: usize,
        pub rounds: usize,
        /// Most leaves of a tree.
        pub leaves: usize,
        /// Share of the splits that part the leaf made last: from bushes to chains.
        pub chain: f64,
        /// Share of the splits by category.
        pub categories: f64,
        /// How many thresholds a column has, at most.
        pub thresholds: usize,
        pub seed: u64,
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        let leaves = prop_oneof![3 => 1_usize..40, 2 => 40_usize..150, 1 => 150_usize..600];
        let of_trees = (1_usize..6, leaves, prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)]);
        (1_usize..6, 1_usize..4, of_trees, prop_oneof![Just(0.0), 0.0..1.0], 1_usize..700, any::<u64>())
            .prop_map(|(columns, outputs, (rounds, leaves, chain), categories, thresholds, seed)| Shape {
                columns,
                outputs,
                rounds,
                leaves,
                chain,
                categories,
                thresholds,
                seed,
            })
    }

    pub fn ensemble(shape: &Shape, random: &mut ChaCha8Rng) -> Ensemble {
        let trees = (0..shape.rounds * shape.outputs).map(|_| tree(shape, random)).collect();
        let base = (0..shape.outputs).map(|_| [0.0, -0.0, 0.1][random.random_range(0..3)]).collect();
        Ensemble { base, ..Ensemble::new(trees, shape.columns) }
    }

    fn tree(shape: &Shape, random: &mut ChaCha8Rng) -> Tree {
        let leaves = random.random_range(1..=shape.leaves);
        let mut splits: Vec<SplitNode> = Vec::new();
        // Ends that are leaves so far.
        let mut ends: Vec<Option<(usize, bool)>> = vec![None];
        let attach = |splits: &mut Vec<SplitNode>, end: Option<(usize, bool)>, child: Child| match end {
            Some((parent, true)) => splits[parent].left = child,
            Some((parent, false)) => splits[parent].right = child,
            None => {}
        };
        for node in 0..leaves - 1 {
            let last = random.random_bool(shape.chain);
            let end =
                ends.swap_remove(if last { ends.len() - 1 } else { random.random_range(0..ends.len()) });
            attach(&mut splits, end, Child::Split(node));
            let test = if random.random_bool(shape.categories) {
                let mut left: Vec<u32> = (0..random.random_range(0..5))
                    .map(|_| [0, 1, 2, 5, 4_294_967_040, u32::MAX][random.random_range(0..6)])
                    .collect();
                left.sort_unstable();
                left.dedup();
                SplitCondition::Categories(left)
            } else {
                SplitCondition::Threshold(threshold(shape, random))
            };
            let feature = random.random_range(0..shape.columns);
            let missing_left = random.random();
            let [left, right] = [Child::Leaf(0); 2];
            splits.push(SplitNode { feature, test, missing_left, gain: 0.0, left, right });
            ends.extend([Some((node, true)), Some((node, false))]);
        }
        for (leaf, end) in ends.into_iter().enumerate() {
            attach(&mut splits, end, Child::Leaf(leaf));
        }
        let leaf_values = (0..leaves)
            .map(|_| if random.random_bool(0.1) { -0.0 } else { random.random_range(-1.0..1.0) })
            .collect();
        Tree { splits, leaf_values, leaf_cover: vec![1.0; leaves] }
    }

    fn threshold(shape: &Shape, random: &mut ChaCha8Rng) -> f32 {
        match SPECIAL.choose(random) {
            Some(special) if special.is_finite() => *special,
            _ => random.random_range(0..shape.thresholds) as f32 / 7.0 - 3.0,
        }
    }

    pub fn rows(shape: &Shape, count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
        let mut rows = Vec::new();
        let shared: Vec<f32> = (0..shape.columns).map(|_| value(shape, random)).collect();
        let is_shared: Vec<bool> = (0..shape.columns).map(|_| random.random()).collect();
        for _ in 0..count {
            for column in 0..shape.columns {
                rows.push(if is_shared[column] { shared[column] } else { value(shape, random) });
            }
        }
        rows
    }

    fn value(shape: &Shape, random: &mut ChaCha8Rng) -> f32 {
        let near = threshold(shape, random);
        match random.random_range(0..5) {
            0 => *SPECIAL.choose(random).unwrap(),
            1 => near.next_up(),
            2 => near.next_down(),
            3 => near,
            _ => random.random_range(-5.0..5.0),
        }
    }

    pub fn bits(scores: &[f64]) -> Vec<u64> {
        scores.iter().map(|score| score.to_bits()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// A used scratch, or all at once: always what the plain walk says.
        #[test]
        fn equals_the_plain_walk_bit_for_bit(shape in shapes(), count in 0_usize..201) {
            let mut random = ChaCha8Rng::seed_from_u64(shape.seed);
            let ensemble = ensemble(&shape, &mut random);
            let forest = Forest::new(ensemble.clone()).unwrap();
            let mut scratch = ForestScratch { answers: vec![!0; 9], ..ForestScratch::default() };
            for count in [count, random.random_range(0..70), 1] {
                let rows = rows(&shape, count, &mut random);
                let (mut plain, mut fast) = (vec![9.0; count * shape.outputs], vec![7.0; count * shape.outputs]);
                ensemble.score(&rows, &mut plain);
                forest.score(&rows, &mut scratch, &mut fast);
                prop_assert_eq!(bits(&plain), bits(&fast));
            }
        }
    }

    #[test]
    fn odd_shapes() {
        struct Case {
            name: &'static str,
            ensemble: Ensemble,
            rows: Vec<f32>,
            scores: Vec<f64>,
        }
        let constants = |values: &[f64]| values.iter().map(|&value| Tree::constant(value, 1.0)).collect();
        let cases = [
            Case {
                name: "no trees",
                ensemble: Ensemble::new(vec![], 2),
                rows: vec![1.0; 4],
                scores: vec![0.0; 2],
            },
            Case {
                name: "minus nothing",
                ensemble: Ensemble { base: vec![-0.0], ..Ensemble::new(constants(&[-0.0]), 1) },
                rows: vec![f32::NAN],
                scores: vec![-0.0],
            },
            Case {
                name: "two outputs",
                ensemble: Ensemble { base: vec![1.0, 2.0], ..Ensemble::new(constants(&[0.5, 0.25]), 1) },
                rows: vec![0.0, 0.0],
                scores: vec![1.5, 2.25, 1.5, 2.25],
            },
            Case {
                name: "no rows",
                ensemble: Ensemble::new(constants(&[1.0]), 3),
                rows: vec![],
                scores: vec![],
            },
        ];
        for Case { name, ensemble, rows, scores } in cases {
            let mut found = vec![9.0; scores.len()];
            Forest::new(ensemble).unwrap().score(&rows, &mut ForestScratch::default(), &mut found);
            assert_eq!(bits(&found), bits(&scores), "{name}");
        }
    }
}
