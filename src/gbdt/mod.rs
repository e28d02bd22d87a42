//! The fast expert: gradient-boosted decision trees, for questions with candidates and for tables in general.
//!
//! Values become [`bins`] of a [`dataset`]; an [`objective`] says in which direction every score should move; the
//! gradients of a leaf's rows are summed bin by bin into a histogram, from which its best split is read; a tree grows
//! leaf by leaf, and [`train()`] adds trees until later questions stop improving. An [`ensemble`] of [`tree`]s is the
//! result, a [`forest`] answers from it, and [`explain`] tells why.
//!
//! ```text
//! config                     the knobs
//! tree, ensemble             a model as plain data, and the plain walk: the reference for all that is faster
//! explain/                   importance, SHAP values, a dump to read
//! bitslice/, forest, batch   answers: the rows of a question are the bits of a word, four trees side by side
//! bins, dataset, table/      from values to bytes; from text files to datasets
//! objective/, metric         what trees minimise, one file each; how good they are
//! rounding, block, layout,   gradients as small integers, bins row by row or column by column,
//!   histogram                and their exact sums: the same model at any number of threads
//! gain, split, category      the best way to part a leaf, by numbers and by categories
//! sample, partition, grow,   which rows and columns a tree sees, which rows are in which leaf, one tree,
//!   attach                   put together split by split
//! train                      many trees
//! ```
//!
//! Any table will do, as `examples/trees` shows; trees come from and go to LightGBM and XGBoost through
//! [`export`](crate::export).
//!
//! Sources: Friedman, "Greedy function approximation", 2001; Ke et al., "LightGBM", 2017 (histograms, leaf-wise
//! growth); Chen and Guestrin, "XGBoost", 2016 (second-order gain, learned direction for missing values); Shi et al.,
//! "Quantized Training of Gradient Boosting Decision Trees", 2022 (gradients as integers).

mod bitslice;
pub mod config;
pub mod ensemble;
pub mod forest;
pub mod tree;

#[cfg(feature = "learn")]
pub(crate) mod attach;
#[cfg(feature = "learn")]
mod batch;
#[cfg(feature = "learn")]
pub mod bins;
#[cfg(feature = "learn")]
mod block;
#[cfg(feature = "learn")]
mod category;
#[cfg(feature = "learn")]
pub mod dataset;
#[cfg(feature = "train")]
pub mod explain;
#[cfg(feature = "learn")]
mod gain;
#[cfg(feature = "learn")]
mod grow;
#[cfg(feature = "learn")]
mod histogram;
#[cfg(feature = "learn")]
mod layout;
#[cfg(feature = "train")]
pub mod metric;
#[cfg(feature = "learn")]
pub mod objective;
#[cfg(feature = "learn")]
mod partition;
#[cfg(feature = "learn")]
mod rounding;
#[cfg(feature = "learn")]
mod sample;
#[cfg(feature = "learn")]
mod split;
#[cfg(feature = "train")]
pub mod table;
#[cfg(feature = "learn")]
pub mod train;

pub use config::{GbdtConfig, Goss, Precision};
pub use ensemble::Ensemble;
pub use forest::{Forest, ForestScratch};
pub use tree::{Child, SplitCondition, SplitNode, Tree};

#[cfg(feature = "train")]
pub use self::table::{Column, Table, TableOptions};
#[cfg(feature = "learn")]
pub use self::{
    bins::{Binner, ColumnKind},
    dataset::{Dataset, DatasetBuilder},
    objective::{
        Batch, Binary, CandidateSoftmax, Gradient, Lambdarank, Multiclass, Objective, SquaredError, Xendcg,
    },
    train::{Trained, train},
};
