//! Trees as bytes, the section of a bundle: three bytes a split, two a leaf.
//!
//! In the fields of [`crate::bundle`], one after the other:
//!
//! ```text
//! field                                    bytes
//! what the trees were trained for          text
//! features: a list, and of each
//!   its name                               text
//!   its thresholds: count, then f32        1 + 4 each      ascending, at most 254
//! exponent of the step                     1               signed
//! bases: a list of i32                     4 each          in steps
//! trees: a list, and of each
//!   how many splits it has                 2
//!   its splits, each
//!     feature and flags                    2
//!       bits 0 to 11                                       the feature
//!       bit 12                                             a missing value goes left
//!       bit 13                                             the left branch leads to a split, not to a leaf
//!       bit 14                                             the right branch does
//!       bit 15                                             asks for categories
//!     bin, of a number                     1               it and bins below go left
//!     or a list of u32, of categories      4 + 4 each      these go left, ascending
//!   its leaves, one more than splits       2 each          signed, in steps
//! ```
//!
//! Where branches lead is not written: the first split is the root, and the branches of one split after the other, left
//! before right, lead to the next split or leaf that none led to yet.
//!
//! 300 trees of 31 leaves are 27,000 bytes of splits, 18,600 of leaves and 600 of counts. The ranker's 61 features, of 64
//! bins at most in training, are another 10,000.

use super::QuantizedTrees;
use super::column::{Column, check_count};
use super::leaf_scale::{LeafScale, MOST_STEPS};
use super::tree::{BinTest, Branch, QuantizedSplit, QuantizedTree};
use crate::error::Result;
use crate::storage::codec::{Put as _, Reader};

const FEATURE: u16 = 0x0fff;
const MISSING_LEFT: u16 = 1 << 12;
const LEFT_IS_SPLIT: u16 = 1 << 13;
const RIGHT_IS_SPLIT: u16 = 1 << 14;
const CATEGORIES: u16 = 1 << 15;

/// What to do about bytes that are none of ours.
const NEXT_STEP: &str = "quantize the trees again with this version of foretap";

impl QuantizedTrees {
    /// The trees as bytes; equal trees give equal bytes.
    ///
    /// # Errors
    /// A name is longer than 65,535 bytes.
    pub fn write(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        out.put_text(&self.objective)?;
        out.put_count(self.columns.len())?;
        for column in &self.columns {
            out.put_text(&column.name)?;
            out.put_u8(column.thresholds().len() as u8);
            column.thresholds().iter().for_each(|&threshold| out.put_f32(threshold));
        }
        out.put(&self.step.exponent().to_le_bytes());
        out.put_count(self.base.len())?;
        self.base.iter().for_each(|&base| out.put_i32(base));
        out.put_count(self.trees.len())?;
        for tree in &self.trees {
            out.put_u16(tree.splits.len() as u16);
            tree.splits.iter().try_for_each(|split| write_split(split, &mut out))?;
            tree.leaves.iter().for_each(|&leaf| out.put_i16(leaf));
        }
        Ok(out)
    }

    /// Reads trees and checks all of them: whatever the bytes are, what is allocated is in proportion to them, and every
    /// walk over what is returned ends.
    ///
    /// # Errors
    /// [`ErrorKind::Model`](crate::ErrorKind::Model): the bytes are cut off, too many, or no trees.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("trees", bytes, NEXT_STEP);
        let objective = reader.text()?.to_owned();
        let columns = read_list(&mut reader, 3, read_column)?;
        let step = read_step(&mut reader)?;
        let base = read_list(&mut reader, 4, Reader::i32)?;
        let trees = read_list(&mut reader, 4, |reader| read_tree(reader, &columns))?;
        let end = reader.clone();
        reader.finish()?;
        let trees = Self { objective, columns, step, base, trees };
        trees.check().map_err(|message| end.wrong(message))?;
        Ok(trees)
    }

    /// Why a walk might not end, or a sum not be exact.
    fn check(&self) -> std::result::Result<(), String> {
        check_count(self.columns())?;
        self.to_ensemble().check().map_err(|error| error.to_string())?;
        let largest =
            |tree: &QuantizedTree| tree.leaves.iter().map(|leaf| leaf.unsigned_abs()).max().unwrap_or(0);
        for (output, base) in self.base.iter().enumerate() {
            let trees = self.trees.iter().skip(output).step_by(self.outputs());
            let steps =
                u64::from(base.unsigned_abs()) + trees.map(|tree| u64::from(largest(tree))).sum::<u64>();
            if steps > MOST_STEPS.into() {
                return Err(format!("scores of up to {steps} steps, but {MOST_STEPS} is the most"));
            }
        }
        Ok(())
    }
}

fn write_split(split: &QuantizedSplit, out: &mut Vec<u8>) -> Result<()> {
    let flags = [
        (MISSING_LEFT, split.missing_left),
        (LEFT_IS_SPLIT, matches!(split.left, Branch::Split(_))),
        (RIGHT_IS_SPLIT, matches!(split.right, Branch::Split(_))),
        (CATEGORIES, matches!(split.test, BinTest::OneOf(_))),
    ];
    out.put_u16(
        flags.iter().filter(|(_, is_set)| *is_set).fold(split.feature, |word, (flag, _)| word | flag),
    );
    match &split.test {
        BinTest::UpTo(bin) => out.put_u8(*bin),
        BinTest::OneOf(left) => {
            out.put_count(left.len())?;
            left.iter().for_each(|&code| out.put_u32(code));
        }
    }
    Ok(())
}

/// A count, and as many elements of at least `bytes_each` bytes.
fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    bytes_each: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.count(bytes_each)?;
    (0..count).map(|_| read(reader)).collect()
}

fn read_column(reader: &mut Reader<'_>) -> Result<Column> {
    let name = reader.text()?.to_owned();
    let count = reader.u8()?;
    let thresholds = (0..count).map(|_| reader.f32()).collect::<Result<_>>()?;
    Column::new(name, thresholds).map_err(|message| reader.wrong(message))
}

fn read_step(reader: &mut Reader<'_>) -> Result<LeafScale> {
    let [exponent] = reader.array()?.map(|byte| byte as i8);
    LeafScale::new(exponent).ok_or_else(|| reader.wrong(format!("steps of two to the power of {exponent}")))
}

fn read_tree(reader: &mut Reader<'_>, columns: &[Column]) -> Result<QuantizedTree> {
    let splits = reader.u16()?;
    // What no branch led to yet. All of them are led to in the end: two branches a split, as many as there are splits
    // but for the root, and leaves.
    let (mut next_splits, mut next_leaves) = (1..splits, 0..=splits);
    let mut branch = |reader: &Reader<'_>, is_split: bool| {
        let branch = if is_split {
            next_splits.next().map(Branch::Split)
        } else {
            next_leaves.next().map(Branch::Leaf)
        };
        branch.ok_or_else(|| reader.wrong(format!("{splits} splits whose branches do not make a tree")))
    };
    let mut read_split = || {
        let word = reader.u16()?;
        let left = branch(reader, word & LEFT_IS_SPLIT != 0)?;
        let right = branch(reader, word & RIGHT_IS_SPLIT != 0)?;
        let feature = word & FEATURE;
        let Some(column) = columns.get(usize::from(feature)) else {
            return Err(reader.wrong(format!("a split asks for feature {feature} of {}", columns.len())));
        };
        let test = read_test(reader, word & CATEGORIES != 0, column)?;
        Ok(QuantizedSplit { feature, test, missing_left: word & MISSING_LEFT != 0, left, right })
    };
    let splits = (0..splits).map(|_| read_split()).collect::<Result<Vec<_>>>()?;
    let leaves = (0..=splits.len()).map(|_| reader.i16()).collect::<Result<_>>()?;
    Ok(QuantizedTree { splits, leaves })
}

fn read_test(reader: &mut Reader<'_>, of_categories: bool, column: &Column) -> Result<BinTest> {
    if of_categories {
        return Ok(BinTest::OneOf(read_list(reader, 4, Reader::u32)?.into()));
    }
    let bin = reader.u8()?;
    match column.threshold(bin) {
        Some(_) => Ok(BinTest::UpTo(bin)),
        None => {
            let message = format!(
                "bin {bin} of `{}`, whose last bound is that of bin {}",
                column.name,
                column.thresholds().len()
            );
            Err(reader.wrong(message))
        }
    }
}
