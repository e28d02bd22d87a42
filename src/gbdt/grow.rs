//! One tree, grown where it gains most: the leaf with the best split is parted next, until limits are reached.

use std::ops::Range;

use rayon::prelude::*;

use super::attach::{Side, attach};
use super::bitslice::binned::{BinnedTree, LeftBins};
use super::block::Block;
use super::config::GbdtConfig;
use super::dataset::Dataset;
use super::gain::{Bounds, Rule, Search, Split};
use super::histogram::{Histogram, Numbers, Rows, Sums, Tables};
use super::layout::BlockLayout;
use super::objective::Gradient;
use super::partition::partition;
use super::rounding::Scale;
use super::tree::{Child, SplitNode, Tree};

/// A tree with the bins that its splits send left, so that binned rows can be sent down it.
pub(super) struct GrownTree {
    pub tree: Tree,
    /// For each split, the bins that go left.
    left: Vec<LeftBins>,
    /// The rows it was grown on, leaf by leaf.
    rows: Vec<u32>,
    leaves: Vec<Range<usize>>,
}

impl GrownTree {
    /// Adds the values of the leaves that the rows of `data`, on which it was grown, fall in to `scores`.
    ///
    /// # Shapes
    /// `scores`: row-major `[rows, outputs]`.
    pub fn add_to_own(&self, data: &Dataset, scores: &mut [f32], output: usize, outputs: usize) {
        if self.rows.len() < data.rows() {
            return self.add_to(data, scores, output, outputs);
        }
        // Every row is in one of the lists: no need to ask again.
        for (leaf, &value) in self.leaves.iter().zip(&self.tree.leaf_values) {
            for &row in &self.rows[leaf.clone()] {
                scores[row as usize * outputs + output] += value as f32;
            }
        }
    }

    /// Adds the values of the leaves that the rows of `data` fall in to `scores`.
    ///
    /// # Shapes
    /// `scores`: row-major `[rows, outputs]`.
    pub fn add_to(&self, data: &Dataset, scores: &mut [f32], output: usize, outputs: usize) {
        let tree = BinnedTree::new(&self.tree, &self.left);
        scores.par_chunks_mut(ROWS_WALKING * outputs).enumerate().for_each(|(part, scores)| {
            let first = part * ROWS_WALKING;
            let rows = first..first + scores.len() / outputs;
            tree.visit(&data.columns, rows, |row, value| {
                scores[(row - first) * outputs + output] += value as f32;
            });
        });
    }
}

/// Rows that one thread sends down a tree at once.
const ROWS_WALKING: usize = 8_192;

/// What all trees of a training grow from.
pub(super) struct Ground<'a, N: Numbers> {
    pub data: &'a Dataset,
    pub layout: BlockLayout<'a>,
    pub config: &'a GbdtConfig,
    pub tables: Tables<N>,
}

/// The gradients of one tree: as they are summed, what the sums are worth, and as they were.
pub(super) struct TreeGradients<'a, N: Numbers> {
    pub summed: &'a [N::Row],
    pub scale: Scale,
    pub exact: &'a [Gradient],
}

/// A leaf that may still be parted.
struct Leaf<N: Numbers> {
    /// Its rows, as a range of the shared list.
    rows: Range<usize>,
    sums: Sums<N::Sum>,
    bounds: Bounds,
    depth: usize,
    /// One a block; none where it will not be parted.
    histograms: Vec<Histogram<N>>,
    best: Option<Split<N::Sum>>,
    /// The split it is attached to, and on which side.
    parent: Option<(usize, Side)>,
}

/// Grows a tree on `rows`, with the columns that are `used`.
pub(super) fn grow<N: Numbers>(
    ground: &Ground<'_, N>,
    rows: Vec<u32>,
    used: &[bool],
    gradients: &TreeGradients<'_, N>,
) -> GrownTree {
    let &Ground { data, config, .. } = ground;
    let search = Search { config, data, used, scale: gradients.scale };
    let mut grower = Grower { ground, search, gradients, spare: vec![0; rows.len()], rows };
    let mut leaves = vec![grower.root()];
    let mut splits: Vec<SplitNode> = Vec::new();
    let mut left_bins = Vec::new();
    while leaves.len() < config.leaves {
        let Some(index) = most_promising(&leaves) else { break };
        let mut leaf = leaves.swap_remove(index);
        let Some(split) = leaf.best.take() else { break };
        let node = splits.len();
        attach(&mut splits, leaf.parent, Child::Split(node));
        splits.push(SplitNode {
            feature: split.column,
            test: match &split.rule {
                Rule::UpTo(bin) => data.binner.threshold(split.column, *bin),
                Rule::Among(bins) => data.binner.categories(split.column, bins),
            },
            missing_left: split.missing_left,
            gain: split.gain as f32,
            left: Child::Leaf(0),
            right: Child::Leaf(0),
        });
        left_bins.push(split.left_bins());
        let is_last = leaves.len() + 2 >= config.leaves;
        leaves.extend(grower.part(leaf, node, &split, is_last));
    }
    for (index, leaf) in leaves.iter().enumerate() {
        attach(&mut splits, leaf.parent, Child::Leaf(index));
    }
    let leaf_values = leaves.par_iter().map(|leaf| grower.value(leaf)).collect();
    let leaf_cover = leaves.iter().map(|leaf| leaf.rows.len() as f64).collect();
    let leaves = leaves.into_iter().map(|leaf| leaf.rows).collect();
    GrownTree { tree: Tree { splits, leaf_values, leaf_cover }, left: left_bins, rows: grower.rows, leaves }
}

struct Grower<'a, N: Numbers> {
    ground: &'a Ground<'a, N>,
    search: Search<'a>,
    gradients: &'a TreeGradients<'a, N>,
    rows: Vec<u32>,
    spare: Vec<u32>,
}

/// What is known of a leaf in one block.
type InBlock<N> = (Histogram<N>, Option<Split<<N as Numbers>::Sum>>);

impl<N: Numbers> Grower<'_, N> {
    fn root(&self) -> Leaf<N> {
        let blocks = &self.ground.layout.blocks;
        let histograms: Vec<Histogram<N>> =
            blocks.par_iter().map(|block| self.histogram(block, self.rows_of(0..self.rows.len()))).collect();
        let sums = self.total(&histograms);
        let search = |(block, histogram): (&Block<'_>, &Histogram<N>)| {
            self.search.best_in_block(block, histogram, sums, Bounds::NONE)
        };
        let best = match self.search.may_part(sums) {
            true => first_best(blocks.par_iter().zip(&histograms).map(search).collect()),
            false => None,
        };
        Leaf {
            rows: 0..self.rows.len(),
            sums,
            bounds: Bounds::NONE,
            depth: 0,
            histograms,
            best,
            parent: None,
        }
    }

    /// The sums of all rows: those of any column's bins.
    fn total(&self, histograms: &[Histogram<N>]) -> Sums<N::Sum> {
        let used = |column: &usize| self.search.used[*column];
        for (block, histogram) in self.ground.layout.blocks.iter().zip(histograms) {
            if let Some(lane) = block.columns.iter().position(used) {
                return block.range(lane).fold(Sums::default(), |sums, bin| {
                    sums.plus(Sums { g: histogram.g[bin], h: histogram.h[bin], rows: histogram.rows[bin] })
                });
            }
        }
        Sums::default()
    }

    /// Parts `leaf` into two. The `last` split of a tree needs no look at what could follow.
    fn part(&mut self, leaf: Leaf<N>, node: usize, split: &Split<N::Sum>, is_last: bool) -> [Leaf<N>; 2] {
        let bins = &self.ground.data.columns[split.column];
        let (rows, spare) = (&mut self.rows[leaf.rows.clone()], &mut self.spare[leaf.rows.clone()]);
        let middle = leaf.rows.start + partition(rows, spare, bins, &split.sides());
        let (low, high) = leaf.bounds.of_children(split, &self.search);
        let depth = leaf.depth + 1;
        let child = |rows, sums, bounds, side| Leaf {
            rows,
            sums,
            bounds,
            depth,
            histograms: Vec::new(),
            best: None,
            parent: Some((node, side)),
        };
        let mut children = [
            child(leaf.rows.start..middle, split.left, low, Side::Left),
            child(middle..leaf.rows.end, split.right, high, Side::Right),
        ];
        let may_part = |child: &Leaf<N>| {
            !is_last && depth < self.ground.config.max_depth && self.search.may_part(child.sums)
        };
        let open = [may_part(&children[0]), may_part(&children[1])];
        if open == [false; 2] {
            return children;
        }
        let smaller = usize::from(children[1].rows.len() < children[0].rows.len());
        let rows = self.rows_of(children[smaller].rows.clone());
        let look = |block: &Block<'_>, child: usize, histogram: Histogram<N>| -> InBlock<N> {
            let Leaf { sums, bounds, .. } = children[child];
            let best =
                open[child].then(|| self.search.best_in_block(block, &histogram, sums, bounds)).flatten();
            (histogram, best)
        };
        let look_at_both = |(block, mut parent): (&Block<'_>, Histogram<N>)| -> [InBlock<N>; 2] {
            let of_smaller = self.histogram(block, rows);
            parent.subtract(&of_smaller);
            let (a, b) = join(
                block.cells() >= CELLS_WORTH_A_THREAD,
                || look(block, smaller, of_smaller),
                || look(block, 1 - smaller, parent),
            );
            if smaller == 0 { [a, b] } else { [b, a] }
        };
        let blocks = &self.ground.layout.blocks;
        let work = blocks.iter().map(|block| block.cells() + rows.len() * block.columns.len()).sum::<usize>();
        let found: Vec<[InBlock<N>; 2]> = if blocks.len() > 1 && work > CELLS_WORTH_A_THREAD {
            blocks.par_iter().zip(leaf.histograms).map(look_at_both).collect()
        } else {
            blocks.iter().zip(leaf.histograms).map(look_at_both).collect()
        };
        let mut bests = [Vec::new(), Vec::new()];
        for in_block in found {
            for ((child, (histogram, best)), bests) in children.iter_mut().zip(in_block).zip(&mut bests) {
                child.histograms.push(histogram);
                bests.push(best);
            }
        }
        for ((child, bests), open) in children.iter_mut().zip(bests).zip(open) {
            child.best = first_best(bests);
            if !open {
                child.histograms = Vec::new();
            }
        }
        children
    }

    fn rows_of(&self, range: Range<usize>) -> Rows<'_> {
        // A list of as many rows as there are is the list of all rows.
        match range.len() == self.ground.data.rows() {
            true => Rows::Range(0, range.len()),
            false => Rows::Listed(&self.rows[range]),
        }
    }

    /// Large leaves are summed in parts, by several threads. How many depends on the rows alone, and parts are put
    /// together in their order, so that sums in floats are the same at any number of threads, too.
    fn histogram(&self, block: &Block<'_>, rows: Rows<'_>) -> Histogram<N> {
        let part_rows = rows.len().div_ceil(MOST_PARTS).max(ROWS_A_PART);
        let parts = rows.len().div_ceil(part_rows).max(1);
        let build = |part: usize| {
            let rows = rows.part(part * part_rows, ((part + 1) * part_rows).min(rows.len()));
            Histogram::build(block, self.search.used, rows, self.gradients.summed, &self.ground.tables)
        };
        if parts == 1 {
            return build(0);
        }
        let mut parts = (0..parts).into_par_iter().map(build).collect::<Vec<Histogram<N>>>().into_iter();
        let first = parts.next().unwrap_or_else(|| build(0));
        parts.fold(first, |mut sum, part| {
            sum.merge(&part);
            sum
        })
    }

    /// What a leaf adds to the score: the best allowed constant, shrunk, from gradients that were not rounded.
    fn value(&self, leaf: &Leaf<N>) -> f64 {
        let (mut g, mut h) = (0.0, 0.0);
        for &row in &self.rows[leaf.rows.clone()] {
            let gradient = self.gradients.exact[row as usize];
            g += f64::from(gradient.g);
            h += f64::from(gradient.h);
        }
        let config = self.ground.config;
        let step = self.search.step(g, h, config.l2, leaf.bounds) * config.learning_rate;
        // As an f32, so that engines that calculate in f32 read the same number.
        f64::from(step as f32)
    }
}

/// Sums that are worth handing to another thread: about ten microseconds of work.
const CELLS_WORTH_A_THREAD: usize = 4_096;
/// Fewest rows of a part of a leaf.
const ROWS_A_PART: usize = 4_096;
/// Most parts of a leaf.
const MOST_PARTS: usize = 16;

fn join<A: Send, B: Send>(
    on_threads: bool,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if on_threads { rayon::join(a, b) } else { (a(), b()) }
}

/// The split of largest gain, the first of equals.
fn first_best<S>(splits: Vec<Option<Split<S>>>) -> Option<Split<S>> {
    splits.into_iter().flatten().reduce(|best, next| if next.gain > best.gain { next } else { best })
}

fn most_promising<N: Numbers>(leaves: &[Leaf<N>]) -> Option<usize> {
    let gain = |&index: &usize| leaves[index].best.as_ref().map(|best| best.gain);
    let open = (0..leaves.len()).filter(|index| gain(index).is_some());
    open.reduce(|best, next| if gain(&next) > gain(&best) { next } else { best })
}
