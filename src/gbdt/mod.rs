//! The fast expert: gradient-boosted decision trees, for questions with candidates and for tables in general.
//!
//! The order of the files is the algorithm: values become [`bins`], gradients of an [`objective`] are summed into a
//! histogram per leaf, the best split of a leaf is read off it, a tree grows leaf by leaf, and [`train()`] adds trees
//! until later questions stop improving. An [`ensemble`] of [`tree`]s is the result, a [`forest`] answers from it,
//! and [`explain`] tells why.
//!
//! Sources: Friedman, "Greedy function approximation", 2001; Ke et al., "LightGBM", 2017 (histograms, leaf-wise
//! growth); Chen and Guestrin, "XGBoost", 2016 (second-order gain, learned direction for missing values).

pub mod bins;
mod bitslice;
mod category;
pub mod config;
pub mod dataset;
pub mod ensemble;
pub mod explain;
pub mod forest;
mod grow;
mod histogram;
mod layout;
pub mod metric;
pub mod objective;
mod partition;
mod rounding;
mod sample;
mod split;
pub mod table;
pub mod train;
pub mod tree;

pub use bins::{Binner, ColumnKind};
pub use config::{GbdtConfig, Goss, Precision};
pub use dataset::{Dataset, DatasetBuilder};
pub use ensemble::Ensemble;
pub use forest::{Forest, ForestScratch};
pub use objective::{
    Batch, Binary, CandidateSoftmax, Gradient, Lambdarank, Multiclass, Objective, SquaredError, Xendcg,
};
pub use table::{Column, Table, TableOptions};
pub use train::{Trained, train};
pub use tree::{Child, SplitNode, Test, Tree};
