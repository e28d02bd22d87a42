//! The rows that engines are compared on.

pub mod conf;
pub mod folders;
pub mod made;
pub mod population;

use crate::task::{Rows, Settings};

/// A training to compare.
#[derive(Debug)]
pub struct Case {
    /// Its name in tables and keys.
    pub name: String,
    /// What to learn from.
    pub rows: Rows,
    /// What to learn, and how.
    pub settings: Settings,
    /// What to try the model on, where accuracy is compared too.
    pub test: Option<Rows>,
}
