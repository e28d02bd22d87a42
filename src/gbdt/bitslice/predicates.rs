//! The tests of a forest, each answered once for all rows of a block, however many trees ask it.

use std::collections::BTreeMap;

use super::{ROWS, RowSet, bit_of};
use crate::gbdt::tree::{SplitCondition, SplitNode, Tree, category};

/// The different tests that trees ask, by column.
#[derive(Debug, Clone, Default)]
pub(in crate::gbdt) struct Predicates {
    numbers: Vec<Numbers>,
    categories: Vec<Categories>,
    answers: usize,
}

/// What is asked of a feature by thresholds, ascending.
#[derive(Debug, Clone)]
struct Numbers {
    feature: usize,
    /// Where the answers stand: one a test, and after them room for the values that pass none.
    first: usize,
    /// For each test, whether rows without a value go left: all rows or none.
    missing_left: Vec<RowSet>,
    /// The thresholds as a complete binary search tree from position 1, the children of `n` at `2 n` and `2 n + 1`
    /// (Eytzinger's layout), filled up with infinity.
    search: Vec<f32>,
    /// How deep it is.
    levels: u32,
}

/// What is asked of a feature by lists of categories.
#[derive(Debug, Clone)]
struct Categories {
    feature: usize,
    /// Where the answers stand.
    answers: std::ops::Range<usize>,
    /// For each test, whether rows without a value go left: all rows or none.
    missing_left: Vec<RowSet>,
    /// Every category that a test lists, ascending, with the tests that list it.
    listed: Vec<(u32, Vec<u32>)>,
}

/// A test in an order in which tests of a column stand together, thresholds ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    feature: usize,
    asked: Condition<'a>,
    missing_left: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition<'a> {
    UpTo(Threshold),
    OneOf(&'a [u32]),
}

/// Ordered by `total_cmp`.
#[derive(Debug, Clone, Copy)]
struct Threshold(f32);

impl Ord for Threshold {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Threshold {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Threshold {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Threshold {}

impl<'a> Key<'a> {
    fn of(split: &'a SplitNode) -> Self {
        let asked = match &split.test {
            SplitCondition::Threshold(threshold) => Condition::UpTo(Threshold(*threshold)),
            SplitCondition::Categories(left) => Condition::OneOf(left),
        };
        Self { feature: split.feature, asked, missing_left: split.missing_left }
    }
}

impl Predicates {
    /// The tests of `trees`, and for each tree the numbers of its splits' answers.
    pub fn of(trees: &[Tree]) -> (Self, Vec<Vec<u32>>) {
        let splits = trees.iter().flat_map(|tree| &tree.splits);
        let mut keys: BTreeMap<Key<'_>, u32> = splits.map(|split| (Key::of(split), 0)).collect();
        let mut all = Self::default();
        let mut tests: Vec<(&Key<'_>, &mut u32)> = keys.iter_mut().collect();
        let same_column = |a: &(&Key<'_>, &mut u32), b: &(&Key<'_>, &mut u32)| {
            let kind = |key: &Key<'_>| matches!(key.asked, Condition::UpTo(_));
            a.0.feature == b.0.feature && kind(a.0) == kind(b.0)
        };
        for column in tests.chunk_by_mut(same_column) {
            for (test, number) in (all.answers..).zip(&mut *column) {
                *number.1 = test as u32;
            }
            let keys: Vec<Key<'_>> = column.iter().map(|(key, _)| **key).collect();
            all.push_column(&keys);
        }
        let number = |split: &SplitNode| keys.get(&Key::of(split)).copied().unwrap_or_default();
        let numbers = trees.iter().map(|tree| tree.splits.iter().map(number).collect()).collect();
        (all, numbers)
    }

    fn push_column(&mut self, keys: &[Key<'_>]) {
        let feature = keys[0].feature;
        let first = self.answers;
        let missing_left = keys.iter().map(|key| if key.missing_left { !0 } else { 0 }).collect();
        let mut thresholds = Vec::new();
        let mut listed: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (test, key) in keys.iter().enumerate() {
            match key.asked {
                Condition::UpTo(Threshold(threshold)) => thresholds.push(threshold),
                Condition::OneOf(left) => {
                    left.iter().for_each(|&code| listed.entry(code).or_default().push(test as u32));
                }
            }
        }
        if thresholds.is_empty() {
            self.answers += keys.len();
            let answers = first..self.answers;
            let listed = listed.into_iter().collect();
            self.categories.push(Categories { feature, answers, missing_left, listed });
        } else {
            self.answers += keys.len() + 1;
            let levels = (thresholds.len() + 1).next_power_of_two().trailing_zeros();
            let mut search = vec![f32::INFINITY; 1 << levels];
            fill_search(&mut search, &mut thresholds.into_iter(), 1);
            self.numbers.push(Numbers { feature, first, missing_left, search, levels });
        }
    }

    /// How many answers there are.
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// Answers all tests: each answer is the rows that go left. Of bits that are no row's, an answer says nothing.
    ///
    /// # Shapes
    /// `rows`: row-major `[n, columns]`, `n` at most [`ROWS`]; `answers`: at least [`Predicates::answers`].
    pub fn answer(&self, rows: &[f32], columns: usize, answers: &mut [RowSet]) {
        let mut column = Column { values: [0.0; ROWS], count: (rows.len() / columns).min(ROWS) };
        for numbers in &self.numbers {
            column.read(rows, columns, numbers.feature);
            numbers.answer(&column, answers);
        }
        for categories in &self.categories {
            column.read(rows, columns, categories.feature);
            categories.answer(&column, answers);
        }
    }
}

/// Lays `sorted` out in `search` so that a walk down from `node` is a binary search.
fn fill_search(search: &mut [f32], sorted: &mut impl Iterator<Item = f32>, node: usize) {
    if node < search.len() {
        fill_search(search, sorted, 2 * node);
        search[node] = sorted.next().unwrap_or(f32::INFINITY);
        fill_search(search, sorted, 2 * node + 1);
    }
}

/// One feature of the rows of a block.
struct Column {
    values: [f32; ROWS],
    /// How many of them are rows.
    count: usize,
}

impl Column {
    fn read(&mut self, rows: &[f32], columns: usize, feature: usize) {
        for (value, row) in self.values.iter_mut().zip(rows.chunks_exact(columns)) {
            *value = row[feature];
        }
    }

    /// The value that all rows have, to the bit: a feature of the question, not of its candidates.
    fn common(&self) -> Option<f32> {
        let first = self.values[0];
        let difference = |sum: u32, value: &f32| sum | (value.to_bits() ^ first.to_bits());
        (self.values[..self.count].iter().fold(0, difference) == 0).then_some(first)
    }

    /// The rows without a value.
    fn missing(&self) -> RowSet {
        // First whether there is any, which costs next to nothing.
        if !self.values.iter().fold(false, |any, value| any | value.is_nan()) {
            return 0;
        }
        let bit = |(row, value): (usize, &f32)| RowSet::from(value.is_nan()) << bit_of(row);
        self.values.iter().enumerate().map(bit).fold(0, |set, bit| set | bit)
    }
}

impl Numbers {
    /// Each row is entered at the first threshold that its value passes, and so passes all later ones too.
    fn answer(&self, column: &Column, answers: &mut [RowSet]) {
        let answers = &mut answers[self.first..][..=self.missing_left.len()];
        answers.fill(0);
        let missing;
        if let Some(value) = column.common() {
            missing = if value.is_nan() { !0 } else { 0 };
            let [passed] = self.first_passed([value]);
            answers[passed] |= !missing;
        } else {
            missing = column.missing();
            let (fours, _) = column.values.as_chunks();
            for (four, values) in fours.iter().enumerate().take(column.count.div_ceil(4)) {
                for (row, passed) in (4 * four..).zip(self.first_passed::<4>(*values)) {
                    answers[passed] |= 1 << bit_of(row) & !missing;
                }
            }
        }
        let mut left = 0;
        for (answer, missing_left) in answers.iter_mut().zip(&self.missing_left) {
            left |= *answer;
            *answer = left | missing & missing_left;
        }
    }

    /// For each value, how many thresholds are below it: as many searches at once as fit in registers.
    #[inline(always)]
    fn first_passed<const N: usize>(&self, values: [f32; N]) -> [usize; N] {
        let mut nodes = [1; N];
        for _ in 0..self.levels {
            for (node, value) in nodes.iter_mut().zip(values) {
                *node = 2 * *node + usize::from(self.search[*node] < value);
            }
        }
        nodes.map(|node| node - self.search.len())
    }
}

impl Categories {
    fn answer(&self, column: &Column, answers: &mut [RowSet]) {
        let answers = &mut answers[self.answers.clone()];
        answers.fill(0);
        let mut missing = 0;
        let mut enter = |value: f32, rows: RowSet| {
            if value.is_nan() {
                missing |= rows;
            }
            let found = category(value)
                .and_then(|code| self.listed.binary_search_by_key(&code, |listed| listed.0).ok());
            if let Some(found) = found {
                self.listed[found].1.iter().for_each(|&test| answers[test as usize] |= rows);
            }
        };
        match column.common() {
            Some(value) => enter(value, !0),
            None => {
                let rows = column.values[..column.count].iter().enumerate();
                rows.for_each(|(row, &value)| enter(value, 1 << bit_of(row)));
            }
        }
        for (answer, missing_left) in answers.iter_mut().zip(&self.missing_left) {
            *answer |= missing & missing_left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gbdt::tree::Child;

    fn tree(feature: usize, test: SplitCondition, missing_left: bool) -> Tree {
        let [left, right] = [Child::Leaf(0), Child::Leaf(1)];
        Tree {
            splits: vec![SplitNode { feature, test, missing_left, gain: 0.0, left, right }],
            leaf_values: vec![0.0; 2],
            leaf_cover: vec![0.0; 2],
        }
    }

    #[test]
    fn equal_tests_share_an_answer() {
        let trees = [
            tree(1, SplitCondition::Threshold(2.0), false),
            tree(0, SplitCondition::Threshold(2.0), false),
            tree(1, SplitCondition::Threshold(-1.0), false),
            tree(1, SplitCondition::Threshold(2.0), true),
            tree(1, SplitCondition::Categories(vec![2, 3]), false),
            tree(1, SplitCondition::Threshold(2.0), false),
            tree(1, SplitCondition::Categories(vec![2, 3]), false),
        ];
        let (predicates, numbers) = Predicates::of(&trees);
        let numbers: Vec<u32> = numbers.concat();
        // Feature 0 has a threshold and room for larger values; feature 1 has three of them, and room.
        assert_eq!(numbers, [3, 0, 2, 4, 6, 3, 6]);
        assert_eq!(predicates.answers(), 7);
    }

    #[test]
    fn answers_are_those_of_the_splits() {
        let limits = [-f32::MAX, -2.5, -1.0, -0.0, 0.0, 1e-40, 0.3, 1.0, 7.0, f32::MAX];
        let lists = [vec![], vec![0], vec![1, 7], vec![7, 300, u32::MAX]];
        let mut trees = Vec::new();
        for missing_left in [false, true] {
            trees.extend(limits.map(|limit| tree(0, SplitCondition::Threshold(limit), missing_left)));
            trees.extend(lists.clone().map(|list| tree(0, SplitCondition::Categories(list), missing_left)));
        }
        let (predicates, numbers) = Predicates::of(&trees);
        let mut values =
            vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 7.9, 300.5, -0.5, 4.294_967e9];
        values.extend(limits.into_iter().flat_map(|limit| [limit, limit.next_up(), limit.next_down()]));
        let check = |values: &[f32]| {
            let mut answers = vec![0; predicates.answers()];
            predicates.answer(values, 1, &mut answers);
            for (tree, number) in trees.iter().zip(numbers.iter().flatten()) {
                for (row, &value) in values.iter().enumerate() {
                    let left = answers[*number as usize] >> bit_of(row) & 1 == 1;
                    assert_eq!(left, tree.splits[0].goes_left(value), "{value:e}: {:?}", tree.splits[0]);
                }
            }
        };
        assert!(values.len() < ROWS && values.len() > ROWS / 2);
        check(&values);
        // As a feature that all rows share, and in blocks of every length.
        for (count, &value) in (1..=ROWS).zip(values.iter().cycle()) {
            check(&vec![value; count]);
            check(&values[..count.min(values.len())]);
        }
        check(&[]);
    }
}
