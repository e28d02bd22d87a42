//! LightGBM: the bar.

use super::{Engine, Loaded, Model};
use crate::Result;
use crate::ffi::lightgbm::{Booster, Dataset, LightGbm as Library};
use crate::task::{Goal, Rows, Settings};

/// LightGBM, in its usual or its quantized form.
pub struct LightGbm {
    library: Library,
    quantized: bool,
}

impl LightGbm {
    /// With gradients as they are, which is its default.
    pub fn new(library: Library) -> Self {
        Self { library, quantized: false }
    }

    /// With `use_quantized_grad`.
    pub fn quantized(library: Library) -> Self {
        Self { library, quantized: true }
    }
}

impl Engine for LightGbm {
    fn name(&self) -> &'static str {
        if self.quantized { "lightgbm_quantized" } else { "lightgbm" }
    }

    fn load<'a>(&'a self, rows: &'a Rows, settings: &'a Settings) -> Result<Option<Box<dyn Loaded + 'a>>> {
        let mut parameters = parameters(settings, rows);
        if self.quantized {
            // As its documentation advises for accuracy.
            parameters.push_str(" use_quantized_grad=true quant_train_renew_leaf=true");
        }
        let data = self.library.dataset(rows, &parameters, None)?;
        Ok(Some(Box::new(Binned { data, parameters, settings })))
    }
}

/// `settings` in LightGBM's words, and which columns of `rows` hold categories.
pub fn parameters(settings: &Settings, rows: &Rows) -> String {
    let Settings { goal, learning_rate, leaves, max_depth, bins, min_rows, min_hessian, l1, l2, .. } =
        settings;
    let Settings { row_fraction, row_draws, feature_fraction, .. } = settings;
    let objective = match goal {
        Goal::Lambdarank => "lambdarank".to_owned(),
        Goal::Xendcg => "rank_xendcg".to_owned(),
        Goal::Binary => "binary".to_owned(),
        Goal::Multiclass(classes) => format!("multiclass num_class={classes}"),
        Goal::Regression => "regression".to_owned(),
    };
    let depth = max_depth.map_or(-1, |depth| depth as i64);
    let row_draws = if *row_fraction < 1.0 { *row_draws } else { 0 };
    let mut parameters = format!(
        "objective={objective} learning_rate={learning_rate} num_leaves={leaves} max_depth={depth} max_bin={bins} \
         min_data_in_leaf={min_rows} min_sum_hessian_in_leaf={min_hessian} lambda_l1={l1} lambda_l2={l2} \
         bagging_fraction={row_fraction} bagging_freq={row_draws} feature_fraction={feature_fraction} verbosity=-1"
    );
    if !rows.categories.is_empty() {
        let columns: Vec<String> = rows.categories.iter().map(usize::to_string).collect();
        parameters.push_str(&format!(" categorical_feature={}", columns.join(",")));
    }
    parameters
}

struct Binned<'a> {
    data: Dataset,
    parameters: String,
    settings: &'a Settings,
}

impl Loaded for Binned<'_> {
    fn train(&self, threads: usize, seed: u64) -> Result<Box<dyn Model + '_>> {
        // Its choice between row-wise and column-wise histograms falls in here, as ours falls into `train`.
        let parameters = format!("{} num_threads={threads} seed={seed}", self.parameters);
        let mut booster = self.data.booster(&parameters)?;
        let mut rounds = 0;
        while rounds < self.settings.trees && booster.update()? {
            rounds += 1;
        }
        Ok(Box::new(Trained { booster, trees: rounds * self.settings.goal.outputs() }))
    }
}

struct Trained<'a> {
    booster: Booster<'a>,
    trees: usize,
}

impl Model for Trained<'_> {
    fn trees(&self) -> usize {
        self.trees
    }

    fn score(&self, rows: &Rows) -> Result<Vec<f64>> {
        self.booster.score(&rows.values, rows.columns, c"")
    }
}
