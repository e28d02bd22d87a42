//! XGBoost, by histograms and leaf by leaf, as the others grow.

use std::thread;

use super::{Engine, Loaded, Model};
use crate::Result;
use crate::ffi::xgboost::{Booster, Matrix, XgBoost as Library};
use crate::task::{Goal, Rows, Settings};

/// XGBoost.
pub struct XgBoost {
    library: Library,
}

impl XgBoost {
    /// XGBoost in `library`.
    pub fn new(library: Library) -> Self {
        Self { library }
    }
}

impl Engine for XgBoost {
    fn name(&self) -> &'static str {
        "xgboost"
    }

    fn load<'a>(&'a self, rows: &'a Rows, settings: &'a Settings) -> Result<Option<Box<dyn Loaded + 'a>>> {
        // XGBoost weighs groups, not their rows.
        if settings.goal == Goal::Xendcg || (settings.goal.is_ranking() && !rows.weights.is_empty()) {
            return Ok(None);
        }
        let threads = thread::available_parallelism()?.get();
        let matrix = self.library.matrix(rows, settings.bins, threads)?;
        Ok(Some(Box::new(Binned { matrix, settings })))
    }
}

/// `settings` in XGBoost's words. It knows no smallest number of rows in a leaf.
pub fn parameters(settings: &Settings) -> Vec<(&'static str, String)> {
    let objective = match settings.goal {
        Goal::Lambdarank | Goal::Xendcg => "rank:ndcg",
        Goal::Binary => "binary:logistic",
        Goal::Multiclass(_) => "multi:softprob",
        Goal::Regression => "reg:squarederror",
    };
    let mut parameters = vec![
        ("objective", objective.to_owned()),
        ("tree_method", "hist".to_owned()),
        ("grow_policy", "lossguide".to_owned()),
        ("eta", settings.learning_rate.to_string()),
        ("max_leaves", settings.leaves.to_string()),
        ("max_depth", settings.max_depth.unwrap_or(0).to_string()),
        ("max_bin", settings.bins.to_string()),
        ("min_child_weight", settings.min_hessian.to_string()),
        ("alpha", settings.l1.to_string()),
        ("lambda", settings.l2.to_string()),
        ("subsample", settings.row_fraction.to_string()),
        ("colsample_bytree", settings.feature_fraction.to_string()),
    ];
    if let Goal::Multiclass(classes) = settings.goal {
        parameters.push(("num_class", classes.to_string()));
    }
    parameters
}

struct Binned<'a> {
    matrix: Matrix,
    settings: &'a Settings,
}

impl Loaded for Binned<'_> {
    fn train(&self, threads: usize, seed: u64) -> Result<Box<dyn Model + '_>> {
        let mut parameters = parameters(self.settings);
        parameters.push(("nthread", threads.to_string()));
        parameters.push(("seed", seed.to_string()));
        let mut booster = self.matrix.booster(&parameters)?;
        for round in 0..self.settings.trees {
            booster.update(round, &self.matrix)?;
        }
        Ok(Box::new(Trained { booster, trees: self.settings.trees * self.settings.goal.outputs() }))
    }
}

struct Trained {
    booster: Booster,
    trees: usize,
}

impl Model for Trained {
    fn trees(&self) -> usize {
        self.trees
    }

    fn score(&self, rows: &Rows) -> Result<Vec<f64>> {
        let mut scores = Vec::new();
        self.booster.score(&rows.values, rows.columns, &mut scores)?;
        Ok(scores.into_iter().map(f64::from).collect())
    }
}
