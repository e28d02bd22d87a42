//! Text files become tables, and tables become [`Dataset`]s.
//!
//! The files are those that LightGBM reads: columns apart by tabs, commas or spaces, with or without a header, or
//! LibSVM (LETOR) rows such as `2 qid:7 10:0.89 11:0.75`. What a file is, its first lines tell. Beside `FILE`, sizes
//! of groups are read from `FILE.query`, weights of rows from `FILE.weight` and the scores that training starts from from
//! `FILE.init`, a number a line (of several outputs, several); each of the files may be gzipped.
//!
//! ```no_run
//! use foretap::gbdt::table::{Table, TableOptions};
//! use foretap::gbdt::{CandidateSoftmax, GbdtConfig, train};
//! use foretap::Silent;
//!
//! # fn main() -> foretap::Result<()> {
//! let table = Table::read("rank.train".as_ref(), &TableOptions::default(), &Silent)?;
//! let data = table.dataset(table.binner(255)?)?;
//! let trained = train(&GbdtConfig::default(), &CandidateSoftmax, &data, None, &Silent)?;
//! # Ok(())
//! # }
//! ```

mod dense;
mod options;
mod roles;
mod sidecar;
mod sparse;
mod text;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

pub use options::{Column, TableOptions};

use super::bins::{Binner, ColumnKind};
use super::dataset::{Dataset, DatasetBuilder, MAX_CELLS};
use super::ensemble::absent_is_missing;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use text::Blocks;

/// Rows that boundaries of bins are learned from, at most: as many as LightGBM takes.
const BINNER_ROWS: usize = 200_000;
/// Columns of a table, at most: an index beyond is a mistake sooner than a feature.
const MAX_COLUMNS: usize = 100_000;

/// Rows of features with labels, as a file held them.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the features are called: by the header, or `Column_0`, `Column_1` and so on, as LightGBM calls them.
    pub names: Vec<String>,
    /// What the features hold.
    pub kinds: Vec<ColumnKind>,
    /// Features, NaN where missing: row-major `[labels.len(), names.len()]`.
    pub rows: Vec<f32>,
    /// What the rows are to be predicted as; finite, but NaN where [labels were not read](Self::read_features).
    pub labels: Vec<f32>,
    /// How often each row counts; `None` where all count once.
    pub weights: Option<Vec<f32>>,
    /// Rows of each group, in order; `None` where rows stand alone.
    pub group_sizes: Option<Vec<usize>>,
    /// Scores that the trees add to, row-major `[labels.len(), outputs]`; `None` where all start alike.
    pub initial_scores: Option<Vec<f64>>,
    layout: TableFormat,
    /// Names of all columns of the file, in its order; none where it has no header.
    header: Option<Vec<String>>,
    left_out: Vec<String>,
    unused_beside: Vec<PathBuf>,
}

/// How a file writes its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableFormat {
    /// Every value.
    Dense,
    /// `index:value`, where the value is not zero.
    Sparse,
}

/// The columns that a file is to have.
struct Wanted<'a> {
    /// What they are called, in the order in which rows are wanted.
    names: &'a [String],
    /// Whether the names come from a header; otherwise they are numbers, and columns are known by their place.
    is_named: bool,
    /// "the model reads", "training had".
    by_whom: &'static str,
    /// The table that it is to be like.
    training: Option<&'a Table>,
    /// Whether labels are read, and what stands beside the file.
    is_labelled: bool,
}

impl Table {
    /// Reads a file that models are trained on.
    ///
    /// An empty value, `NA`, `N/A`, `NaN` and `null`, however capitalised, are missing. Numbers too large for 32 bits
    /// become infinite. In a LibSVM file a feature's index is its column, be the first one 0 or 1, and what a row
    /// does not list is 0.
    ///
    /// # Errors
    /// A file that cannot be read, or a row that is not as the others: the error names file, line and column
    /// (counted from 0, as options count them) and says what to do. Nothing is skipped but blank lines and comments
    /// of LibSVM files. Labels must be finite, weights finite and not negative, groups not empty and in one piece.
    /// At most 2^32 values and 100,000 columns.
    pub fn read(file: &Path, options: &TableOptions, progress: &dyn Progress) -> Result<Self> {
        Self::read_file(file, options, None, progress)
    }

    /// Reads a file for a model that was trained on `training`: the table has the same columns in the same order.
    ///
    /// Where `training` had a header, columns are found by name, in any order, and further ones are
    /// [left out](Self::left_out); numbers in `options` are those of the columns of `training`. Without a header the
    /// columns are those of `training` one by one.
    ///
    /// LibSVM rows tell only what is not zero, so there the columns of `training` count: features that this file
    /// never lists are 0, and those that `training` never listed are left out, since no tree can ask for them.
    ///
    /// # Errors
    /// As [`Table::read`]; or a column of `training` is not there.
    pub fn read_like(
        training: &Table,
        file: &Path,
        options: &TableOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let options = match &training.header {
            Some(header) => roles::by_name(options, header),
            None => options.clone(),
        };
        let wanted = Wanted {
            names: &training.names,
            is_named: training.header.is_some(),
            by_whom: "training had",
            training: Some(training),
            is_labelled: true,
        };
        Self::read_file(file, &options, Some(&wanted), progress)
    }

    /// Reads a file for a model that reads `features`, by the names that the model carries: the table has these columns in
    /// this order.
    ///
    /// Columns are found in the file's header by name, and further ones are [left out](Self::left_out). Of a model that
    /// was trained without names (`Column_0`, `feature_0`) they are the file's one by one, unless the header has such
    /// names.
    ///
    /// # Errors
    /// As [`Table::read`]; or a feature is not there, or the file has no header and the model has names.
    pub fn read_for(
        features: &[String],
        file: &Path,
        options: &TableOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Self::read_file(file, options, Some(&Wanted::of_model(features, true)), progress)
    }

    /// Reads a file to predict, whose rows need no labels: [`Table::read_for`] without them, and without what stands
    /// beside the file.
    ///
    /// Where columns have no names, the label's is skipped if it is there: a column more than the model reads and
    /// `options` name, or a number without an index before a LibSVM row.
    ///
    /// # Errors
    /// As [`Table::read_for`], but for labels.
    pub fn read_features(
        features: &[String],
        file: &Path,
        options: &TableOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Self::read_file(file, options, Some(&Wanted::of_model(features, false)), progress)
    }

    /// Names of columns that the file has, and that neither the model nor the options ask for.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Names of columns with a number beyond 2^24 = 16,777,216: from there on 32-bit floats no longer tell all integers
    /// apart.
    pub fn beyond_floats(&self) -> Vec<&str> {
        // Source: units: the bits of a 32-bit float's significand.
        const WHOLE: f32 = 16_777_216.0;
        let mut is_beyond = vec![false; self.names.len()];
        for row in self.rows.chunks_exact(self.names.len().max(1)) {
            let found = row.iter().map(|value| value.is_finite() && value.abs() > WHOLE);
            is_beyond.iter_mut().zip(found).for_each(|(is, found)| *is |= found);
        }
        self.names.iter().zip(is_beyond).filter(|(_, is)| *is).map(|(name, _)| name.as_str()).collect()
    }

    /// Files beside this one that LightGBM or XGBoost would read, and that were not.
    pub fn unused_beside(&self) -> &[PathBuf] {
        &self.unused_beside
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.names.len()
    }

    /// Boundaries of bins, learned from all rows, or from 200,000 drawn ones. They carry the columns' names and
    /// kinds.
    ///
    /// # Errors
    /// Fewer than 2 or more than 255 bins.
    pub fn binner(&self, max_bins: usize) -> Result<Binner> {
        if !(2..=super::bins::MAX_VALUE_BINS).contains(&max_bins) {
            return Err(Error::new(ErrorKind::Config, format!("{max_bins} bins a feature"))
                .field("max_bins")
                .next_step("choose a number from 2 to 255"));
        }
        let (rows, columns) = (self.labels.len(), self.columns());
        let binner = if rows <= BINNER_ROWS {
            Binner::fit_kinds(&self.rows, &self.kinds, max_bins)
        } else {
            // Always the same draw: the seed of training decides over trees, not over boundaries.
            let drawn = rand::seq::index::sample(&mut ChaCha8Rng::seed_from_u64(0), rows, BINNER_ROWS);
            let row = |row: usize| &self.rows[row * columns..(row + 1) * columns];
            let sample: Vec<f32> = drawn.iter().flat_map(row).copied().collect();
            Binner::fit_kinds(&sample, &self.kinds, max_bins)
        };
        binner.with_names(&self.names)
    }

    /// This table, binned, with its labels, weights and groups.
    ///
    /// # Errors
    /// A binner of another number of columns, or what [`Table::read`] would have refused, in a table edited since.
    pub fn dataset(&self, binner: Binner) -> Result<Dataset> {
        self.fill(DatasetBuilder::new(binner))
    }

    /// [`Table::dataset`] by way of a builder, which may be [`continuing`](DatasetBuilder::continuing) a model.
    ///
    /// # Errors
    /// As [`Table::dataset`].
    pub fn fill(&self, mut builder: DatasetBuilder) -> Result<Dataset> {
        builder.push_rows(&self.rows, &self.labels)?;
        let mut data = builder.finish();
        if let Some(sizes) = &self.group_sizes {
            data = data.with_groups(sizes)?;
        }
        if let Some(weights) = &self.weights {
            data = data.with_weights(weights.clone())?;
        }
        if let Some(scores) = &self.initial_scores {
            data = data.with_initial_scores(scores.clone())?;
        }
        Ok(data)
    }

    fn read_file(
        file: &Path,
        options: &TableOptions,
        wanted: Option<&Wanted<'_>>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let bytes = std::fs::metadata(file).map_or(0, |about| about.len());
        progress.start(&format!("reading {}", file.display()), bytes);
        let mut blocks = Blocks::open(file, progress)?;
        let first = loop {
            let Some(block) = blocks.next()? else {
                return Err(Error::new(ErrorKind::Data, "the file is empty")
                    .file(file)
                    .next_step("give a table with a row a line"));
            };
            if block.lines().next().is_some() {
                break block;
            }
        };
        // A row without features looks like a table of one column.
        let was_sparse =
            wanted.and_then(|wanted| wanted.training).map(|training| training.layout == TableFormat::Sparse);
        let is_labelled = wanted.is_none_or(|wanted| wanted.is_labelled);
        let is_sparse = was_sparse == Some(true) || sparse::is_sparse(&first, is_labelled);
        let refused = |message: String| {
            let next_step = "give both files in the same layout";
            Err(Error::new(ErrorKind::Data, message).file(file).next_step(next_step))
        };
        let mut table = match (is_sparse, wanted) {
            // Whether its indices begin with 0 or 1, and what its zeros were there, nothing tells.
            (true, Some(_)) if was_sparse == Some(false) => {
                return refused("a LibSVM file, where training had a table of all values".to_owned());
            }
            (true, Some(Wanted { is_named: true, by_whom, names, .. })) => {
                let first = shortened(names.first().map_or("", String::as_str));
                return refused(format!(
                    "a LibSVM file, whose columns have numbers, but {by_whom} names: `{first}` and so on"
                ));
            }
            (true, _) => {
                blocks.put_back(first);
                sparse::read(file, blocks, options, wanted)?
            }
            (false, _) => dense::read(file, blocks, first, options, wanted)?,
        };
        if let Some(Wanted { names, by_whom, is_labelled, .. }) = wanted {
            if table.columns() != names.len() {
                let message = format!("it has {} features, but {by_whom} {}", table.columns(), names.len());
                let has_no_label = *is_labelled && table.columns() + 1 == names.len();
                return Err(Error::new(ErrorKind::Data, message).file(file).next_step(if has_no_label {
                    "if it has no label, only predict it; else give it the columns that the model was trained on"
                } else {
                    "give this table the columns of the one that the model was trained on"
                }));
            }
            table.names = names.to_vec();
        }
        progress.finish();
        sidecar::attach(&mut table, file, is_labelled)?;
        Ok(table)
    }
}

/// Sizes of groups, from the number that each row has of its group.
#[derive(Debug, Default)]
struct GroupSizes {
    sizes: Vec<usize>,
    current: Option<u64>,
    seen: HashSet<u64>,
}

impl GroupSizes {
    /// Adds a row of the group `id`; false where that group was over already.
    fn push(&mut self, id: u64) -> bool {
        match self.sizes.last_mut() {
            Some(size) if self.current == Some(id) => *size += 1,
            _ => {
                self.current = Some(id);
                self.sizes.push(1);
                return self.seen.insert(id);
            }
        }
        true
    }
}

/// What a piece of text stands for, or why for nothing: an error that lacks its place.
type Parsed<T> = std::result::Result<T, String>;

/// A number; NaN for what stands for a missing one; `None` for what is neither.
fn number(text: &str) -> Option<f32> {
    let text = text.trim();
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            let missing = ["", "na", "n/a", "null"];
            missing.iter().any(|word| text.eq_ignore_ascii_case(word)).then_some(f32::NAN)
        }
    }
}

/// `text` as a label: a finite number.
fn label(text: &str) -> Parsed<f32> {
    match number(text) {
        Some(label) if label.is_finite() => Ok(label),
        Some(label) if label.is_nan() => Err("the label is missing".to_owned()),
        _ => Err(format!("the label `{}` is not a finite number", shortened(text))),
    }
}

/// `text` as a weight: a finite number, zero or more.
fn weight(text: &str) -> Parsed<f32> {
    let weight = number(text).filter(|weight| weight.is_finite() && *weight >= 0.0);
    weight.ok_or_else(|| format!("the weight `{}` is not a number of zero or more", shortened(text)))
}

/// The number of a category: whole, and one that floats tell from its neighbours. A negative one is missing.
fn check_category(value: f32) -> Parsed<()> {
    // 2^24: integers beyond are no longer distinguished in 32-bit floats.
    if value.is_nan() || value.abs() < 16_777_216.0 && value.fract() == 0.0 {
        return Ok(());
    }
    Err(format!("{value} is not the number of a category: whole, below 2^24"))
}

fn check_cells(file: &Path, rows: usize, columns: usize) -> Result<()> {
    let next_step = "draw a share of the rows, or leave features out";
    if columns > MAX_COLUMNS {
        let message = format!("{columns} columns are more than the {MAX_COLUMNS} that a table may have");
        return Err(Error::new(ErrorKind::Data, message).file(file).next_step(next_step));
    }
    if rows as u64 * columns as u64 > MAX_CELLS {
        let message = format!("{rows} rows or more of {columns} features are more than 2^32 values");
        return Err(Error::new(ErrorKind::Data, message).file(file).next_step(next_step));
    }
    Ok(())
}

/// The names of features without a header.
fn numbered(columns: usize) -> Vec<String> {
    (0..columns).map(|column| format!("Column_{column}")).collect()
}

/// What a message quotes of a field.
fn shortened(text: &str) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(40).map(|(end, _)| end);
    end.map_or_else(|| text.to_owned(), |end| format!("{}…", &text[..end])).replace('\n', "⏎")
}
