//! LightGBM's text model, version 4, as LightGBM 4.7 writes and loads it.
//!
//! The format is defined by LightGBM's `src/boosting/gbdt_model_text.cpp` and `src/io/tree.cpp`: lines of
//! `key=value` about the model, the same for each tree, `end of trees`, then notes that no prediction depends on.
//!
//! Where the two engines differ, and what is done about it:
//!
//! - **Thresholds** there are 64-bit. Read, one becomes the largest 32-bit float that is not above it, so that every
//!   32-bit value falls on the same side. A threshold next to a decimal of a table (1.7100000000000002 between 1.709 and
//!   1.711) is placed so that the decimal, which 32 bits round, falls on its own side; the float that it is rounded to,
//!   given as such, falls there with it. Below the smallest of them are thresholds that part negative infinity from all
//!   else; the smallest float itself then goes where negative infinity goes.
//! - **Zero** there is whatever lies within 1e-35 of it. A threshold in that range moves to its end, and values in
//!   that range other than zero itself go where zero goes, here too.
//! - **Missing values**: a split there goes one way for NaN (`NaN`), takes NaN for zero (`None`), or takes zero for
//!   NaN (`Zero`, from `zero_as_missing`). The last is read where zero goes the way of its neighbours on one side,
//!   and refused elsewhere: one of our splits cannot cut zero out of the middle.
//! - **Infinity** is a threshold there, where the split is between missing values and all others. Here that is a split
//!   by category that lists none.
//! - **Categories**: missing values go right there, always. A split of ours that sends them left is written as two,
//!   the first of which looks for missing values only and has the left side once more.
//! - **Gains** that are infinite become the largest 32-bit float.
//! - **`dart`** needs nothing: the leaves of its files are multiplied already.
//! - **Linear leaves** and **averaged trees** (random forests) are refused.
//! - **The base score** there is part of the first trees.

mod read;
mod write;

pub(super) use read::import;
pub use read::read;
pub use write::{check_names, write};

use std::path::Path;

use super::{BINARY, MULTICLASS, SQUARED_ERROR};
use crate::error::Result;
use crate::gbdt::Ensemble;

/// Values up to this far from zero are zero: `kZeroThreshold` of LightGBM's `meta.h`, which is a 32-bit float.
const ZERO: f32 = 1e-35;
/// The next value below those.
const BELOW_ZERO: f32 = (-ZERO).next_down();

/// Bits of a `decision_type`: by category, missing values left, and from the third on which values are missing.
const BY_CATEGORY: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING_IS_NAN: u8 = 2 << 2;

/// Objectives without parameters, ours and theirs.
const OBJECTIVES: [(&str, &str); 3] =
    [("lambdarank", "lambdarank"), ("xendcg", "rank_xendcg"), (SQUARED_ERROR, "regression")];

/// Reads a model from a file that LightGBM saved.
///
/// # Errors
/// The file cannot be read, is no LightGBM text model, is damaged or cut off, or holds what our trees cannot say.
pub fn read_file(file: &Path) -> Result<Ensemble> {
    super::read_file(file, |bytes| import(super::text(bytes)?)).map(|import| import.ensemble)
}

/// Writes a model to a file that LightGBM loads.
///
/// # Errors
/// Those of [`write()`], or the file cannot be written; it is then as it was.
pub fn write_file(ensemble: &Ensemble, file: &Path) -> Result<()> {
    super::write_file(ensemble, file, write)
}

/// Their name for an objective, with its parameters; none where they have no such objective.
fn objective_there(name: &str, outputs: usize) -> Option<String> {
    match name {
        BINARY => Some("binary sigmoid:1".to_owned()),
        MULTICLASS => Some(format!("multiclass num_class:{outputs}")),
        "candidate-softmax" => Some("lambdarank".to_owned()),
        _ => OBJECTIVES.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| (*theirs).to_owned()),
    }
}

/// Our name for an objective of theirs, given with its parameters. One that turns scores into predictions otherwise
/// than ours does (a steeper sigmoid, squared scores) is another objective.
fn objective_here(text: &str, outputs: usize) -> &'static str {
    match text.trim() {
        "binary sigmoid:1" => BINARY,
        text if text == format!("multiclass num_class:{outputs}") => MULTICLASS,
        text => {
            OBJECTIVES.iter().find(|(_, theirs)| *theirs == text).map_or(super::CUSTOM, |(ours, _)| *ours)
        }
    }
}

/// `threshold` where it parts what LightGBM tells apart: values within [`ZERO`] of zero go with zero.
fn beside_zero(threshold: f32, zero_left: bool) -> f32 {
    match threshold {
        _ if !(-ZERO..ZERO).contains(&threshold) => threshold,
        _ if zero_left => ZERO,
        _ => BELOW_ZERO,
    }
}
