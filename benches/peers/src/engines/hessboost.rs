//! The crate `hessboost`: XGBoost's algorithm in Rust.

use hessboost::config::TrainingParams;
use hessboost::data::{BinnedMatrix, DMatrix, FeatureType};
use hessboost::model::{BoostedModel, Iterations};
use serde_json::{Value, json};

use super::{Engine, Loaded, Model, xgboost};
use crate::Result;
use crate::task::{Goal, Rows, Settings};

/// The crate `hessboost`.
pub struct Hessboost;

impl Engine for Hessboost {
    fn name(&self) -> &'static str {
        "hessboost"
    }

    fn load<'a>(&'a self, rows: &'a Rows, settings: &'a Settings) -> Result<Option<Box<dyn Loaded + 'a>>> {
        // As in XGBoost, whose algorithm it is, groups have weights, not their rows.
        if settings.goal.is_ranking() && !rows.weights.is_empty() {
            return Ok(None);
        }
        let mut data =
            DMatrix::from_dense(&rows.values, rows.rows(), rows.columns)?.with_labels(&rows.labels)?;
        if !rows.weights.is_empty() {
            data = data.with_weights(&rows.weights)?;
        }
        if !rows.groups.is_empty() {
            data = data.with_group_sizes(&rows.groups)?;
        }
        if !rows.categories.is_empty() {
            let kind = |column| {
                if rows.categories.contains(&column) {
                    FeatureType::Categorical
                } else {
                    FeatureType::Numerical
                }
            };
            data = data.with_feature_types(&(0..rows.columns).map(kind).collect::<Vec<_>>())?;
        }
        Ok(Some(Box::new(Binned { data: BinnedMatrix::new(&data, settings.bins)?, settings })))
    }
}

struct Binned<'a> {
    data: BinnedMatrix,
    settings: &'a Settings,
}

impl Loaded for Binned<'_> {
    fn train(&self, threads: usize, seed: u64) -> Result<Box<dyn Model + '_>> {
        // It reads XGBoost's names, numbers as numbers.
        let typed = |(name, value): (&'static str, String)| {
            let value =
                value.parse::<u64>().map(Value::from).or_else(|_| value.parse::<f64>().map(Value::from));
            (name, value)
        };
        let mut parameters: Vec<(&str, Value)> = xgboost::parameters(self.settings)
            .into_iter()
            .map(|parameter| {
                let text = parameter.1.clone();
                let (name, number) = typed(parameter);
                (name, number.unwrap_or(Value::String(text)))
            })
            .collect();
        if self.settings.goal == Goal::Xendcg {
            parameters.retain(|(name, _)| *name != "objective");
            parameters.push(("objective", json!("rank:xendcg")));
        }
        parameters.push(("nthread", json!(threads)));
        parameters.push(("seed", json!(seed)));
        let parameters = TrainingParams::from_xgboost(parameters)?;
        let model = hessboost::training::train(&parameters, &self.data, self.settings.trees)?;
        Ok(Box::new(Trained { model, trees: self.settings.trees * self.settings.goal.outputs() }))
    }
}

struct Trained {
    model: BoostedModel,
    trees: usize,
}

impl Model for Trained {
    fn trees(&self) -> usize {
        self.trees
    }

    fn score(&self, rows: &Rows) -> Result<Vec<f64>> {
        let data = DMatrix::from_dense(&rows.values, rows.rows(), rows.columns)?;
        let scores = self.model.predict_margin(&data, Iterations::Best)?;
        Ok(scores.as_slice().iter().copied().map(f64::from).collect())
    }
}
