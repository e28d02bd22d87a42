//! LightGBM's configuration files: `name = value` lines with `#` comments, of which the settings are read that
//! change what is learned. How to run, what to print and when to stop early are left out, for all engines alike.

use std::collections::BTreeMap;

use crate::Result;
use crate::task::{Goal, Settings};

/// A configuration file.
#[derive(Debug, Default)]
pub struct Conf(BTreeMap<String, String>);

/// The names that LightGBM's examples use for one setting, its own name first.
const NAMES: [&[&str]; 14] = [
    &["objective", "application", "app", "objective_type", "loss"],
    &["data", "train", "train_data", "train_data_file"],
    &["valid", "valid_data", "test", "test_data", "valid_data_file"],
    &["num_iterations", "num_trees", "num_tree", "num_iteration", "num_round", "num_rounds", "n_estimators"],
    &["learning_rate", "shrinkage_rate", "eta"],
    &["num_leaves", "num_leaf", "max_leaves", "max_leaf"],
    &["max_bin", "max_bins"],
    &["min_data_in_leaf", "min_data_per_leaf", "min_data", "min_child_samples"],
    &[
        "min_sum_hessian_in_leaf",
        "min_sum_hessian",
        "min_sum_hessian_per_leaf",
        "min_hessian",
        "min_child_weight",
    ],
    &["bagging_fraction", "sub_row", "subsample", "bagging"],
    &["bagging_freq", "subsample_freq"],
    &["feature_fraction", "sub_feature", "colsample_bytree"],
    &["lambda_l1", "reg_alpha", "l1_regularization"],
    &["lambda_l2", "reg_lambda", "lambda", "l2_regularization"],
];

impl Conf {
    /// Reads a configuration file's text.
    pub fn parse(text: &str) -> Self {
        let settings = text.lines().filter_map(|line| {
            let (name, value) = line.split('#').next()?.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        });
        Self(settings.collect())
    }

    /// The value of `name`, which may be written in another of its forms.
    pub fn text(&self, name: &str) -> Option<&str> {
        let names = NAMES.iter().find(|names| names[0] == name).copied();
        let mut forms = names.unwrap_or_default().iter().copied().chain([name]);
        forms.find_map(|form| self.0.get(form)).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("`{name}` is `{text}`, not a number").into())
    }

    /// What is to be learned, and how.
    ///
    /// # Errors
    /// A number that is none, or an objective that is not compared here.
    pub fn settings(&self) -> Result<Settings> {
        let goal = match self.text("objective").unwrap_or("regression") {
            "lambdarank" => Goal::Lambdarank,
            "rank_xendcg" | "xendcg" | "xe_ndcg" => Goal::Xendcg,
            "binary" => Goal::Binary,
            "multiclass" | "softmax" => Goal::Multiclass(self.number("num_class", 1)?),
            "regression" | "regression_l2" | "l2" | "mse" | "mean_squared_error" => Goal::Regression,
            other => return Err(format!("the objective `{other}` is not compared here").into()),
        };
        let base = Settings::new(goal);
        let depth: i64 = self.number("max_depth", -1)?;
        let row_draws = self.number("bagging_freq", 0)?;
        Ok(Settings {
            goal,
            trees: self.number("num_iterations", base.trees)?,
            learning_rate: self.number("learning_rate", base.learning_rate)?,
            leaves: self.number("num_leaves", base.leaves)?,
            max_depth: usize::try_from(depth).ok().filter(|&depth| depth > 0),
            bins: self.number("max_bin", base.bins)?,
            min_rows: self.number("min_data_in_leaf", base.min_rows)?,
            min_hessian: self.number("min_sum_hessian_in_leaf", base.min_hessian)?,
            l1: self.number("lambda_l1", base.l1)?,
            l2: self.number("lambda_l2", base.l2)?,
            // LightGBM draws no rows unless it is told how often.
            row_fraction: if row_draws > 0 { self.number("bagging_fraction", 1.0)? } else { 1.0 },
            row_draws,
            feature_fraction: self.number("feature_fraction", 1.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_by_any_name() {
        let text = "# objective = binary\nobjective = multiclass\nnum_class=5\n num_trees = 7 # rounds\n\
            bagging_fraction = 0.8\nmin_sum_hessian_in_leaf = 5.0\nmax_depth = 0\ntest = a.test\n";
        let conf = Conf::parse(text);
        let expected =
            Settings { trees: 7, min_hessian: 5.0, row_draws: 0, ..Settings::new(Goal::Multiclass(5)) };
        assert_eq!(conf.settings().unwrap(), expected);
        assert_eq!(conf.text("valid"), Some("a.test"));
        for (text, why) in
            [("num_leaves = many", "`num_leaves` is `many`"), ("objective = tweedie", "tweedie")]
        {
            assert!(Conf::parse(text).settings().unwrap_err().to_string().contains(why));
        }
    }
}
