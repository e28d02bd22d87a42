//! Trees become steps: small ones whole, large ones in pieces, four side by side.

use std::collections::VecDeque;

use super::{Bitsliced, EVERYBODY, Exit, LANES, NOBODY, Step};
use crate::gbdt::tree::{Child, Tree};

/// What a row adds to in a tree, or a piece of one, that is not its: `x + -0.0` is `x` to the last bit, and
/// `-0.0 + 0.0` is not.
const NOTHING: f64 = -0.0;
/// What turning the sets of a tree and adding its values costs, in steps (measured at 50 rows).
const FIXED_COST: usize = 50;

/// Lays out `trees`, which add up to one output; `tests` has the number of each split's test.
///
/// `answers` counts the answers that there are, and on return those of pieces of trees too.
///
/// # Shapes
/// `tests`: for each tree, `[splits]`.
pub(in crate::gbdt) fn lay_out(trees: &[&Tree], tests: &[&[u32]], answers: &mut usize) -> Bitsliced {
    let leaves = room(trees);
    let laid = Bitsliced { leaves, steps: Vec::new(), values: Vec::new(), exits: Vec::new() };
    let mut layout = StepLayout { laid, group: Vec::new() };
    for (tree, tests) in trees.iter().zip(tests) {
        for piece in pieces(tree, tests, leaves, answers) {
            layout.push(piece);
        }
    }
    layout.close_group();
    layout.laid
}

/// How many leaves a piece should have room for: the cheapest of what there is code for.
pub(super) fn room(trees: &[&Tree]) -> usize {
    let cost = |leaves: usize| {
        let pieces = |tree: &&Tree| match tree.leaf_values.len() {
            few if few <= leaves => 1,
            many => many.div_ceil(leaves - 1),
        };
        trees.iter().map(pieces).sum::<usize>() * (leaves + FIXED_COST)
    };
    [16, 32, 64, 128].into_iter().min_by_key(|&leaves| cost(leaves)).unwrap_or(16)
}

/// A tree, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub steps: Vec<Step>,
    /// What its leaves are worth, by slot; nothing where rows leave for another piece.
    pub values: Vec<f64>,
    /// The answer that holds the rows which come here from another piece.
    entry: Option<u32>,
    /// Slots whose rows go on to another piece, and its `entry`.
    pub exits: Vec<(u8, u32)>,
}

impl Piece {
    /// Gives it exactly `leaves` leaves and `leaves - 1` steps: a tree has one split less than leaves, so for each
    /// leaf that is not there, a step is free to empty its slot.
    pub fn fill(&mut self, leaves: usize) {
        for unused in self.values.len()..leaves {
            let unused = unused as u8;
            self.steps.push(Step { test: 0, from: NOBODY, left: unused, right: unused });
        }
        self.values.resize(leaves, NOTHING);
    }
}

struct StepLayout {
    laid: Bitsliced,
    /// The pieces that will walk side by side.
    group: Vec<Piece>,
}

impl StepLayout {
    fn push(&mut self, piece: Piece) {
        // What a piece waits for must have been walked by an earlier group.
        let waits = |other: &Piece| other.exits.iter().any(|&(_, answer)| Some(answer) == piece.entry);
        if self.group.len() == LANES || self.group.iter().any(waits) {
            self.close_group();
        }
        self.group.push(piece);
    }

    /// Fills the group up and lays it out.
    fn close_group(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let leaves = self.laid.leaves;
        let group = self.laid.steps.len() / (leaves - 1);
        self.group.resize_with(LANES, || Piece { values: vec![NOTHING], ..Piece::default() });
        for (lane, piece) in self.group.iter_mut().enumerate() {
            piece.fill(leaves);
            self.laid.values.extend_from_slice(&piece.values);
            let exits = piece.exits.iter().map(|&(slot, answer)| Exit { group, lane, slot, answer });
            self.laid.exits.extend(exits);
        }
        for step in 0..leaves - 1 {
            self.laid.steps.push(std::array::from_fn(|lane| self.group[lane].steps[step]));
        }
        self.group.clear();
    }
}

/// The pieces of `tree`, each of at most `leaves` leaves, upper ones first. Every row is at home in one of them and
/// adds nothing in the others.
pub(super) fn pieces(tree: &Tree, tests: &[u32], leaves: usize, answers: &mut usize) -> Vec<Piece> {
    if tree.splits.is_empty() {
        return vec![Piece { values: tree.leaf_values.clone(), ..Piece::default() }];
    }
    let roots = roots_of_pieces(tree, leaves);
    let first_entry = *answers;
    *answers += roots.len() - 1;
    // The root of the tree is the first of them and needs no entry.
    let entry = |node: usize| match roots.binary_search(&node) {
        Ok(piece @ 1..) => Some((first_entry + piece - 1) as u32),
        _ => None,
    };
    roots.iter().map(|&root| piece(tree, root, tests, leaves, entry)).collect()
}

fn piece(
    tree: &Tree,
    root: usize,
    tests: &[u32],
    leaves: usize,
    entry: impl Fn(usize) -> Option<u32>,
) -> Piece {
    let mut piece = Piece { entry: entry(root), ..Piece::default() };
    // Slots for splits whose turn has not come, used in a ring: there are 126 or more, and fewer splits than half
    // the leaves ever wait.
    let mut free = (leaves as u8..NOBODY).cycle();
    let mut slot = || free.next().unwrap_or(NOBODY);
    // In the order in which they are met, so that steps which follow each other seldom wait for each other.
    let mut waiting = VecDeque::new();
    match piece.entry {
        None => waiting.push_back((root, EVERYBODY)),
        Some(test) => {
            // As though it were asked whether a row comes here; leaf 0 is for those that do not.
            let left = slot();
            piece.steps.push(Step { test, from: EVERYBODY, left, right: 0 });
            piece.values.push(NOTHING);
            waiting.push_back((root, left));
        }
    }
    while let Some((node, from)) = waiting.pop_front() {
        let split = &tree.splits[node];
        let [left, right] = [split.left, split.right].map(|child| {
            let value = match child {
                Child::Leaf(leaf) => tree.leaf_values[leaf],
                Child::Split(next) => match entry(next) {
                    Some(entry) => {
                        piece.exits.push((piece.values.len() as u8, entry));
                        NOTHING
                    }
                    None => {
                        let slot = slot();
                        waiting.push_back((next, slot));
                        return slot;
                    }
                },
            };
            piece.values.push(value);
            piece.values.len() as u8 - 1
        });
        piece.steps.push(Step { test: tests[node], from, left, right });
    }
    piece
}

/// Where to cut `tree` so that no piece has more than `leaves` leaves, ways in and out included: the topmost split of
/// each piece, ascending. From the bottom up, the larger side of what is too large becomes a piece.
fn roots_of_pieces(tree: &Tree, leaves: usize) -> Vec<usize> {
    // Where anything is cut, one leaf is for the rows that do not come in.
    let most = if tree.leaf_values.len() <= leaves { leaves } else { leaves - 1 };
    let mut sizes = vec![0; tree.splits.len()];
    let mut roots = vec![0];
    for (node, split) in tree.splits.iter().enumerate().rev() {
        let mut sides = [split.left, split.right].map(|child| match child {
            Child::Leaf(_) => (1, None),
            Child::Split(next) => (sizes[next], Some(next)),
        });
        sides.sort_unstable();
        let mut size: usize = sides.iter().map(|side| side.0).sum();
        for (side, root) in sides.into_iter().rev() {
            if size > most {
                size -= side - 1;
                roots.extend(root);
            }
        }
        sizes[node] = size;
    }
    roots.sort_unstable();
    roots
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gbdt::tree::{SplitCondition, SplitNode};

    /// A tree of as many splits, each hanging where `hang` says: which of the open ends it takes.
    pub fn tree(splits: usize, hang: impl Fn(usize) -> usize) -> Tree {
        let mut tree = Tree::constant(0.0, 1.0);
        let mut ends: Vec<Option<(usize, bool)>> = vec![None];
        for node in 0..splits {
            let end = ends.remove(hang(ends.len()));
            match end {
                Some((parent, true)) => tree.splits[parent].left = Child::Split(node),
                Some((parent, false)) => tree.splits[parent].right = Child::Split(node),
                None => {}
            }
            let [left, right] = [Child::Leaf(0); 2];
            let test = SplitCondition::Threshold(node as f32);
            tree.splits.push(SplitNode { feature: 0, test, missing_left: false, gain: 0.0, left, right });
            ends.extend([Some((node, true)), Some((node, false))]);
        }
        for (leaf, end) in ends.into_iter().flatten().enumerate() {
            let split = &mut tree.splits[end.0];
            *(if end.1 { &mut split.left } else { &mut split.right }) = Child::Leaf(leaf);
        }
        tree.leaf_values = (0..=splits).map(|leaf| leaf as f64).collect();
        tree.leaf_cover = vec![1.0; splits + 1];
        tree.check(1).unwrap();
        tree
    }

    #[test]
    fn pieces_fit_and_are_no_more_than_twice_what_is_needed() {
        let balanced = |splits| tree(splits, |_| 0);
        let chain = |splits| tree(splits, |ends| ends - 1);
        for (name, tree) in [
            ("one split", balanced(1)),
            ("whole", balanced(31)),
            ("one too many", balanced(32)),
            ("balanced", balanced(1_023)),
            ("chain", chain(1_000)),
            ("comb", tree(700, |ends| ends / 2)),
        ] {
            let tests: Vec<u32> = (0..tree.splits.len() as u32).collect();
            for leaves in [16, 32, 64, 128] {
                let mut answers = tests.len();
                let pieces = pieces(&tree, &tests, leaves, &mut answers);
                assert_eq!(answers, tests.len() + pieces.len() - 1, "{name}");
                let exits: usize = pieces.iter().map(|piece| piece.exits.len()).sum();
                assert_eq!(exits, pieces.len() - 1, "{name}: a way into each piece but the first");
                for piece in &pieces {
                    assert!(piece.values.len() <= leaves, "{name}");
                    assert_eq!(piece.steps.len(), piece.values.len() - 1, "{name}");
                }
                let needed = tree.leaf_values.len().div_ceil(leaves);
                assert!(pieces.len() <= 2 * needed + 1, "{name}, {leaves}: {} for {needed}", pieces.len());
            }
        }
    }

    #[test]
    fn room_is_chosen_by_cost() {
        let room_for = |splits: &[usize]| {
            let trees: Vec<Tree> = splits.iter().map(|&splits| tree(splits, |_| 0)).collect();
            room(&trees.iter().collect::<Vec<_>>())
        };
        assert_eq!(room_for(&[]), 16);
        assert_eq!(room_for(&[1, 15, 7]), 16);
        assert_eq!(room_for(&[30; 9]), 32);
        assert_eq!(room_for(&[63; 9]), 64);
        assert_eq!(room_for(&[254; 9]), 128);
        // One large tree among small ones is cut.
        assert_eq!(room_for(&[[7; 20].as_slice(), &[63]].concat()), 16);
    }
}
