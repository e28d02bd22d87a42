//! The crate `perpetual`. It sizes its trees itself and has no settings for it, so only the number of trees is the
//! others', unless a minute is over first; and it bins inside its `fit`. Its figures are for information.

use perpetual::objective::Objective;
use perpetual::{Matrix, PerpetualBooster};

use super::{Engine, Loaded, Model};
use crate::Result;
use crate::task::{Goal, Rows, Settings};

/// After which it stops, though fewer trees have grown than were asked for: some of its trees are enormous.
const MOST_SECONDS: f32 = 60.0;

/// The crate `perpetual`.
pub struct Perpetual;

impl Engine for Perpetual {
    fn name(&self) -> &'static str {
        "perpetual"
    }

    fn load<'a>(&'a self, rows: &'a Rows, settings: &'a Settings) -> Result<Option<Box<dyn Loaded + 'a>>> {
        let objective = match settings.goal {
            Goal::Binary => Objective::LogLoss,
            Goal::Regression => Objective::SquaredLoss,
            // Its one ranking loss is another, and its many classes are many models.
            Goal::Lambdarank | Goal::Xendcg | Goal::Multiclass(_) => return Ok(None),
        };
        Ok(Some(Box::new(Table {
            values: by_column(rows),
            labels: rows.labels.iter().copied().map(f64::from).collect(),
            weights: rows.weights.iter().copied().map(f64::from).collect(),
            categories: rows.categories.clone(),
            columns: rows.columns,
            objective,
            settings,
        })))
    }
}

fn by_column(rows: &Rows) -> Vec<f64> {
    let column = |column: usize| rows.values.iter().skip(column).step_by(rows.columns);
    (0..rows.columns).flat_map(column).copied().map(f64::from).collect()
}

struct Table<'a> {
    values: Vec<f64>,
    labels: Vec<f64>,
    weights: Vec<f64>,
    categories: Vec<usize>,
    columns: usize,
    objective: Objective,
    settings: &'a Settings,
}

impl Loaded for Table<'_> {
    fn train(&self, threads: usize, seed: u64) -> Result<Box<dyn Model + '_>> {
        let mut booster = PerpetualBooster::default()
            .set_objective(self.objective.clone())
            .set_max_bin(self.settings.bins as u16)
            .set_num_threads(Some(threads))
            .set_categorical_features(
                (!self.categories.is_empty()).then(|| self.categories.iter().copied().collect()),
            )
            .set_iteration_limit(Some(self.settings.trees))
            .set_timeout(Some(MOST_SECONDS))
            .set_seed(seed);
        let data = Matrix::new(&self.values, self.labels.len(), self.columns);
        let weights = (!self.weights.is_empty()).then_some(&self.weights[..]);
        booster.fit(&data, &self.labels, weights, None)?;
        Ok(Box::new(Trained { booster }))
    }
}

struct Trained {
    booster: PerpetualBooster,
}

impl Model for Trained {
    fn trees(&self) -> usize {
        self.booster.trees.len()
    }

    fn score(&self, rows: &Rows) -> Result<Vec<f64>> {
        let values = by_column(rows);
        Ok(self.booster.predict(&Matrix::new(&values, rows.rows(), rows.columns), true))
    }
}
