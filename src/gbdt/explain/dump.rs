//! An ensemble in words: one line a split or leaf, indented by depth.

use std::fmt;

use super::split_covers;
use crate::gbdt::Ensemble;
use crate::gbdt::tree::{Child, SplitCondition, SplitNode, Tree};

/// Shows an ensemble as text: what [`Ensemble::dump`] returns. Of one that fails [`Ensemble::check`], shows why.
#[derive(Debug, Clone, Copy)]
pub struct Dump<'a>(&'a Ensemble);

impl Ensemble {
    /// The trees in words, for people; programs read model files.
    ///
    /// ```
    /// use foretap::gbdt::{Child, Ensemble, SplitNode, SplitCondition, Tree};
    /// let split = SplitNode {
    ///     feature: 0,
    ///     test: SplitCondition::Threshold(0.5),
    ///     missing_left: true,
    ///     gain: 8.0,
    ///     left: Child::Leaf(0),
    ///     right: Child::Leaf(1),
    /// };
    /// let tree = Tree { splits: vec![split], leaf_values: vec![-0.1, 0.2], leaf_cover: vec![30.0, 10.0] };
    /// assert_eq!(
    ///     Ensemble::new(vec![tree], 1).dump().to_string(),
    ///     "custom: 1 tree, 1 feature\n\
    ///      base 0\n\
    ///      \n\
    ///      tree 0: 2 leaves, depth 1\n\
    ///      feature_0 <= 0.5 or missing? (gain 8, cover 40)\n  \
    ///        yes: leaf 0: -0.1 (cover 30)\n  \
    ///        no: leaf 1: 0.2 (cover 10)\n"
    /// );
    /// ```
    pub fn dump(&self) -> Dump<'_> {
        Dump(self)
    }
}

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Err(error) = self.0.check() {
            return writeln!(f, "no model: {error}");
        }
        let Ensemble { objective, features, base, trees } = self.0;
        let trees_are = counted(trees.len(), "tree", "trees");
        writeln!(f, "{objective}: {trees_are}, {}", counted(features.len(), "feature", "features"))?;
        let base: Vec<String> = base.iter().map(f64::to_string).collect();
        writeln!(f, "base {}", base.join(", "))?;
        for (index, tree) in trees.iter().enumerate() {
            write!(f, "\ntree {index}")?;
            if base.len() > 1 {
                write!(f, ", output {}", index % base.len())?;
            }
            let leaves = counted(tree.leaf_values.len(), "leaf", "leaves");
            writeln!(f, ": {leaves}, depth {}", tree.depth())?;
            write_tree(f, tree, features)?;
        }
        Ok(())
    }
}

/// Depth first, with a stack of its own: a deep tree must not exhaust the thread's.
fn write_tree(f: &mut fmt::Formatter<'_>, tree: &Tree, features: &[String]) -> fmt::Result {
    let covers = split_covers(tree);
    let mut waiting = vec![(tree.root(), 0, "")];
    while let Some((child, depth, answer)) = waiting.pop() {
        write!(f, "{:indent$}{answer}", "", indent = 2 * depth)?;
        match child {
            Child::Leaf(leaf) => {
                writeln!(f, "leaf {leaf}: {} (cover {})", tree.leaf_values[leaf], tree.leaf_cover[leaf])?;
            }
            Child::Split(node) => {
                let split = &tree.splits[node];
                write_question(f, split, features)?;
                writeln!(f, " (gain {}, cover {})", split.gain, covers[node])?;
                waiting.push((split.right, depth + 1, "no: "));
                waiting.push((split.left, depth + 1, "yes: "));
            }
        }
    }
    Ok(())
}

fn write_question(f: &mut fmt::Formatter<'_>, split: &SplitNode, features: &[String]) -> fmt::Result {
    write!(f, "{} ", features[split.feature])?;
    match &split.test {
        SplitCondition::Threshold(threshold) => write!(f, "<= {threshold}")?,
        SplitCondition::Categories(left) => {
            let left: Vec<String> = left.iter().map(u32::to_string).collect();
            write!(f, "in {{{}}}", left.join(", "))?;
        }
    }
    f.write_str(if split.missing_left { " or missing?" } else { "?" })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_questionnaire() {
        let split = |feature, test, missing_left, gain, left, right| SplitNode {
            feature,
            test,
            missing_left,
            gain,
            left,
            right,
        };
        let tree = Tree {
            splits: vec![
                split(0, SplitCondition::Threshold(0.1), false, 9.5, Child::Split(1), Child::Leaf(2)),
                split(1, SplitCondition::Categories(vec![2, 5]), true, 2.0, Child::Leaf(0), Child::Split(2)),
                split(0, SplitCondition::Threshold(-3e9), true, 0.25, Child::Leaf(1), Child::Leaf(3)),
            ],
            leaf_values: vec![0.5, -1e-9, 3.0, 0.0],
            leaf_cover: vec![4.0, 2.5, 10.0, 1.0],
        };
        let features = vec!["gap_secs".to_owned(), "weekday".to_owned()];
        let objective = "binary".to_owned();
        let model = Ensemble {
            objective,
            features,
            base: vec![-1.5, 0.0],
            trees: vec![tree, Tree::constant(2.0, 17.5)],
        };
        let expected = "\
binary: 2 trees, 2 features
base -1.5, 0

tree 0, output 0: 4 leaves, depth 3
gap_secs <= 0.1? (gain 9.5, cover 17.5)
  yes: weekday in {2, 5} or missing? (gain 2, cover 7.5)
    yes: leaf 0: 0.5 (cover 4)
    no: gap_secs <= -3000000000 or missing? (gain 0.25, cover 3.5)
      yes: leaf 1: -0.000000001 (cover 2.5)
      no: leaf 3: 0 (cover 1)
  no: leaf 2: 3 (cover 10)

tree 1, output 1: 1 leaf, depth 0
leaf 0: 2 (cover 17.5)
";
        assert_eq!(model.dump().to_string(), expected);
        let broken = Ensemble { features: Vec::new(), ..model };
        assert_eq!(broken.dump().to_string(), "no model: tree 0: split 0 asks for feature 0 of 0\n");
    }
}
