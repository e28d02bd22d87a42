//! What every engine is given: the same rows, the same goal, the same settings.

/// A table in memory.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// How many values a row has.
    pub columns: usize,
    /// Row-major `[rows, columns]`; NaN where a value is missing.
    pub values: Vec<f32>,
    /// What the rows are to be predicted as.
    pub labels: Vec<f32>,
    /// One a row; empty where all rows weigh the same.
    pub weights: Vec<f32>,
    /// How many rows belong to each question, in their order; empty where rows stand alone.
    pub groups: Vec<usize>,
    /// Columns that hold numbers of categories, ascending.
    pub categories: Vec<usize>,
}

impl Rows {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }
}

/// What is to be minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// LambdaMART on graded groups.
    Lambdarank,
    /// The cross entropy for learning to rank of Bruch et al.
    Xendcg,
    /// The log loss of labels 0 and 1.
    Binary,
    /// The log loss of so many classes.
    Multiclass(usize),
    /// The squared error.
    Regression,
}

impl Goal {
    /// Scores a row.
    pub fn outputs(self) -> usize {
        if let Self::Multiclass(classes) = self { classes } else { 1 }
    }

    /// Whether rows are compared within groups.
    pub fn is_ranking(self) -> bool {
        matches!(self, Self::Lambdarank | Self::Xendcg)
    }
}

/// How trees are grown; the defaults are LightGBM's.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is to be minimised.
    pub goal: Goal,
    /// Rounds: a tree each, or a tree a class.
    pub trees: usize,
    /// How much of each tree's step is taken.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub leaves: usize,
    /// Most splits between the root and a leaf, where there is a limit.
    pub max_depth: Option<usize>,
    /// Most bins a column.
    pub bins: usize,
    /// Fewest rows in a leaf.
    pub min_rows: usize,
    /// Smallest sum of second derivatives in a leaf.
    pub min_hessian: f64,
    /// L1 penalty on leaf values.
    pub l1: f64,
    /// L2 penalty on leaf values.
    pub l2: f64,
    /// Share of the rows that a tree sees.
    pub row_fraction: f64,
    /// For how many trees drawn rows are kept: every how many LightGBM draws anew.
    pub row_draws: usize,
    /// Share of the columns that a tree sees.
    pub feature_fraction: f64,
}

impl Settings {
    /// LightGBM's defaults for `goal`.
    pub fn new(goal: Goal) -> Self {
        Self {
            goal,
            trees: 100,
            learning_rate: 0.1,
            leaves: 31,
            max_depth: None,
            bins: 255,
            min_rows: 20,
            min_hessian: 1e-3,
            l1: 0.0,
            l2: 0.0,
            row_fraction: 1.0,
            row_draws: 1,
            feature_fraction: 1.0,
        }
    }
}
