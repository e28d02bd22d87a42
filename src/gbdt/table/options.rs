//! What a file does not tell of itself: which column is the label, and which ones are no numbers.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// How to read a table. What is not set, the file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether the first line holds names. By default it does if it holds words and no number.
    pub header: Option<bool>,
    /// The column of labels, all columns counted from 0. LibSVM files have it first.
    pub label: Column,
    /// The column of weights. This and the following are counted from 0 without the label, as LightGBM counts them.
    pub weight: Option<Column>,
    /// The column of group numbers. LibSVM rows name theirs as `qid:7`.
    pub group: Option<Column>,
    /// Columns to leave out.
    pub ignored: Vec<Column>,
    /// Columns that hold numbers of categories: whole, from 0; negative ones are missing.
    pub categories: Vec<Column>,
    /// Whether what a LibSVM row leaves out is missing, not 0. By default it is where
    /// [the model takes it so](crate::gbdt::Ensemble::takes_absent_for_missing).
    pub absent_is_missing: Option<bool>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            header: None,
            label: Column::Index(0),
            weight: None,
            group: None,
            ignored: Vec::new(),
            categories: Vec::new(),
            absent_is_missing: None,
        }
    }
}

/// A column of a file. As text, a whole number is an index and anything else a name; `name:7` is the column called
/// `7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// By its place, from 0.
    Index(usize),
    /// By its name in the header.
    Name(String),
}

impl FromStr for Column {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = text.trim();
        Ok(match (text.strip_prefix("name:"), text.parse()) {
            (Some(name), _) => Self::Name(name.to_owned()),
            (None, Ok(index)) => Self::Index(index),
            (None, Err(_)) => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "column {index}"),
            Self::Name(name) => write!(f, "column `{name}`"),
        }
    }
}
