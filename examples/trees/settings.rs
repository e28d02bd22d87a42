//! What can be asked for on the command line, with LightGBM's defaults.

use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use foretap::gbdt::{Column, GbdtConfig, Goss, Precision, TableOptions};

/// Train boosted trees on a table and score them on another
///
/// Tables are text: apart by tabs, commas or spaces, or LibSVM (LETOR) rows; gzip too. Beside FILE, sizes of groups
/// are read from FILE.query, weights from FILE.weight and initial scores from FILE.init.
#[derive(Debug, Parser)]
#[command(name = "trees", args_override_self = true, mut_args = super::cli::negative_numbers)]
pub struct Args {
    /// Take settings from this LightGBM configuration file; what is given here goes first
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// Learn from this table
    #[arg(long, value_name = "FILE")]
    pub train: Option<PathBuf>,

    /// Score this table
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,

    /// Let this table tell when to stop [default: the test table]
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,

    /// Write predictions of this table, which needs no labels, to --out
    #[arg(long, value_name = "FILE")]
    pub predict: Option<PathBuf>,

    /// Write the predictions here, a row a line: probabilities, or scores where the objective has none
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Write scores as the trees add them up, not probabilities
    #[arg(
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub raw_scores: bool,

    /// Go on from this model: of ours, LightGBM's text, XGBoost's JSON or UBJSON. Without --train it is only scored and
    /// written
    #[arg(long, value_name = "FILE")]
    pub start: Option<PathBuf>,

    /// lambdarank, xendcg, candidate-softmax, binary, multiclass or squared-error, or LightGBM's name for one
    /// [default: that of --start, or squared-error]
    #[arg(long, value_name = "NAME", value_parser = objective)]
    pub objective: Option<String>,

    /// How many classes there are, for multiclass
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub classes: usize,

    /// Write the trees here, as JSON
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,

    /// Write the trees here, as a text model of LightGBM's
    #[arg(long, value_name = "FILE")]
    pub lightgbm: Option<PathBuf>,

    /// Write the trees here, as JSON of XGBoost's
    #[arg(long, value_name = "FILE.json")]
    pub xgboost: Option<PathBuf>,

    /// Write the report for machines
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Threads to work on, 0 for one a core; they change no result
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,

    /// The knobs of training.
    #[command(flatten)]
    pub training: TrainingArgs,

    /// How to read the tables.
    #[command(flatten)]
    pub tables: TableArgs,
}

/// The knobs of training.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    /// Most rounds: a tree each, or a tree a class
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub trees: usize,

    /// How much of each tree's step is taken
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    pub learning_rate: f64,

    /// Most leaves a tree
    #[arg(long, value_name = "N", default_value_t = 31)]
    pub leaves: usize,

    /// Most splits between root and leaf, 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_depth: i64,

    /// Fewest rows a leaf
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub min_rows: usize,

    /// Smallest sum of second derivatives a leaf
    #[arg(long, value_name = "SUM", default_value_t = 1e-3)]
    pub min_hessian: f64,

    /// Smallest gain of a split
    #[arg(long, value_name = "GAIN", default_value_t = 0.0)]
    pub min_gain: f64,

    /// L1 penalty on leaf values
    #[arg(long, value_name = "PENALTY", default_value_t = 0.0)]
    pub l1: f64,

    /// L2 penalty on leaf values
    #[arg(long, value_name = "PENALTY", default_value_t = 0.0)]
    pub l2: f64,

    /// Bins a feature, 2 to 255
    #[arg(long, value_name = "N", default_value_t = 255)]
    pub bins: usize,

    /// Share of the rows that each tree sees
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub row_fraction: f64,

    /// Share of the groups that each tree sees
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub group_fraction: f64,

    /// Share of the features that each tree sees
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub feature_fraction: f64,

    /// Draw rows by their gradients (GOSS): keep this share, of the largest; 0.2 where only the other is given
    #[arg(long, value_name = "SHARE")]
    pub goss_top: Option<f64>,

    /// And draw this share of all rows from the others; 0.1 where only the other is given
    #[arg(long, value_name = "SHARE")]
    pub goss_other: Option<f64>,

    /// Stop after this many rounds without a better loss, 0 for never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub early_stopping: usize,

    /// For each feature 1 if the score may only rise with it, -1 if only fall, else 0; such as 0,1,-1
    #[arg(
        long,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub monotone: Directions,

    /// Rows by which a category's average is pulled towards nothing
    #[arg(long, value_name = "ROWS", default_value_t = 10.0)]
    pub category_smoothing: f64,

    /// L2 penalty added on splits by category
    #[arg(long, value_name = "PENALTY", default_value_t = 10.0)]
    pub category_l2: f64,

    /// Most categories on the smaller side of a split
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub max_categories: usize,

    /// Sum gradients as they are, not rounded: slower, rarely better
    #[arg(long)]
    pub full_precision: bool,

    /// The same seed gives the same trees
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl TrainingArgs {
    /// The library's configuration.
    pub fn config(&self) -> GbdtConfig {
        let (top, other) = (self.goss_top, self.goss_other);
        let goss = Goss { top: top.unwrap_or(0.2), other: other.unwrap_or(0.1) };
        GbdtConfig {
            trees: self.trees,
            learning_rate: self.learning_rate,
            leaves: self.leaves,
            // A tree of n leaves is at most n - 1 splits deep: no limit.
            max_depth: usize::try_from(self.max_depth).ok().filter(|&depth| depth > 0).unwrap_or(self.leaves),
            min_rows: self.min_rows,
            min_hessian: self.min_hessian,
            min_gain: self.min_gain,
            l1: self.l1,
            l2: self.l2,
            max_bins: self.bins,
            row_fraction: self.row_fraction,
            group_fraction: self.group_fraction,
            feature_fraction: self.feature_fraction,
            goss: top.or(other).map(|_| goss),
            early_stopping: self.early_stopping,
            monotone: self.monotone.0.clone(),
            category_smoothing: self.category_smoothing,
            category_l2: self.category_l2,
            max_categories: self.max_categories,
            precision: if self.full_precision { Precision::Full } else { Precision::Quantized },
            seed: self.seed,
        }
    }
}

/// A number for each feature, apart by commas.
// No list to clap, which would append the command line's to the configuration file's.
#[derive(Debug, Clone)]
pub struct Directions(Vec<i8>);

impl FromStr for Directions {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty());
        numbers.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// How to read the tables.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tables: columns by number, from 0, or by name")]
pub struct TableArgs {
    /// Whether the first line holds names [default: if it holds words and no number]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub header: Option<bool>,

    /// The column of labels
    #[arg(long, value_name = "COLUMN", default_value = "0")]
    pub label: Column,

    /// The column of weights; numbers of this and the following do not count the label
    #[arg(long, value_name = "COLUMN")]
    pub weight: Option<Column>,

    /// The column of group numbers
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<Column>,

    /// Columns to leave out, such as 3,4 or name:id,day
    #[arg(long, value_name = "COLUMNS", default_value = "", hide_default_value = true)]
    pub ignore: String,

    /// Columns of categories, numbered from 0, such as 3,4 or name:town,trade
    #[arg(long, value_name = "COLUMNS", default_value = "", hide_default_value = true)]
    pub categories: String,

    /// Whether what a LibSVM row leaves out is missing, not 0 [default: true for models of XGBoost's without names]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub absent_is_missing: Option<bool>,
}

impl TableArgs {
    /// The library's options.
    pub fn options(&self) -> TableOptions {
        TableOptions {
            header: self.header,
            label: self.label.clone(),
            weight: self.weight.clone(),
            group: self.group.clone(),
            ignored: columns(&self.ignore),
            categories: columns(&self.categories),
            absent_is_missing: self.absent_is_missing,
        }
    }
}

/// Columns apart by commas. After `name:` all are names, as in LightGBM's files.
fn columns(text: &str) -> Vec<Column> {
    let (names, list) = match text.strip_prefix("name:") {
        Some(list) => (true, list),
        None => (false, text),
    };
    let column = |text: &str| match text.parse() {
        Ok(column) if !names => column,
        _ => Column::Name(text.to_owned()),
    };
    list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(column).collect()
}

/// An objective's name here, by any of the names that LightGBM has for it.
fn objective(name: &str) -> Result<String, String> {
    let known = match name {
        "regression" | "regression_l2" | "l2" | "mean_squared_error" | "mse" => "squared-error",
        "softmax" => "multiclass",
        "rank_xendcg" | "xe_ndcg" | "xe_ndcg_mart" | "xendcg_mart" => "xendcg",
        other => other,
    };
    if foretap::gbdt::objective::NAMES.contains(&known) {
        return Ok(known.to_owned());
    }
    Err(format!("choose one of {}", foretap::gbdt::objective::NAMES.join(", ")))
}
