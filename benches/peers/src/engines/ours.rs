//! foretap.

use std::thread;

use foretap::Silent;
use foretap::gbdt::objective::named;
use foretap::gbdt::{
    Binner, ColumnKind, Dataset, Forest, ForestScratch, GbdtConfig, Objective, Precision, train,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPoolBuilder;

use super::{Engine, Loaded, Model};
use crate::Result;
use crate::task::{Goal, Rows, Settings};

/// foretap, with gradients summed as integers or as they are.
pub struct Foretap {
    precision: Precision,
}

impl Foretap {
    /// As it trains by default: quantized gradients, so that a model is the same on any number of threads.
    pub fn new() -> Self {
        Self { precision: Precision::Quantized }
    }

    /// With gradients as they are.
    pub fn full() -> Self {
        Self { precision: Precision::Full }
    }

    /// A model of `rows`, trained on all cores.
    ///
    /// # Errors
    /// What the engine says.
    pub fn forest(&self, rows: &Rows, settings: &Settings, seed: u64) -> Result<Forest> {
        self.bin(rows, settings)?.forest(thread::available_parallelism()?.get(), seed)
    }

    fn bin(&self, rows: &Rows, settings: &Settings) -> Result<Binned> {
        let kind = |column| {
            if rows.categories.contains(&column) { ColumnKind::Category } else { ColumnKind::Number }
        };
        let kinds: Vec<ColumnKind> = (0..rows.columns).map(kind).collect();
        let binner = Binner::fit_kinds(&sample(rows), &kinds, settings.bins);
        let mut data = Dataset::new(binner, &rows.values, &rows.labels)?;
        if !rows.weights.is_empty() {
            data = data.with_weights(rows.weights.clone())?;
        }
        if !rows.groups.is_empty() {
            data = data.with_groups(&rows.groups)?;
        }
        let (name, classes) = match settings.goal {
            Goal::Lambdarank => ("lambdarank", 1),
            Goal::Xendcg => ("xendcg", 1),
            Goal::Binary => ("binary", 1),
            Goal::Multiclass(classes) => ("multiclass", classes),
            Goal::Regression => ("squared-error", 1),
        };
        Ok(Binned { data, objective: named(name, classes)?, config: config(settings, self.precision) })
    }
}

impl Engine for Foretap {
    fn name(&self) -> &'static str {
        if self.precision == Precision::Quantized { "ours" } else { "ours_full" }
    }

    fn load<'a>(&'a self, rows: &'a Rows, settings: &'a Settings) -> Result<Option<Box<dyn Loaded + 'a>>> {
        Ok(Some(Box::new(self.bin(rows, settings)?)))
    }
}

/// Values that bin boundaries are learned from: of at most as many rows as LightGBM takes, drawn at random.
fn sample(rows: &Rows) -> Vec<f32> {
    const MOST: usize = 200_000;
    let share = MOST as f64 / rows.rows() as f64;
    if share >= 1.0 {
        return rows.values.clone();
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    rows.values.chunks_exact(rows.columns).filter(|_| random.random_bool(share)).flatten().copied().collect()
}

/// `settings` in our words.
fn config(settings: &Settings, precision: Precision) -> GbdtConfig {
    GbdtConfig {
        trees: settings.trees,
        learning_rate: settings.learning_rate,
        leaves: settings.leaves,
        // A tree of so many leaves cannot be deeper.
        max_depth: settings.max_depth.unwrap_or(settings.leaves),
        min_rows: settings.min_rows,
        min_hessian: settings.min_hessian,
        l1: settings.l1,
        l2: settings.l2,
        group_fraction: 1.0,
        row_fraction: settings.row_fraction,
        feature_fraction: settings.feature_fraction,
        max_bins: settings.bins,
        early_stopping: 0,
        precision,
        ..GbdtConfig::default()
    }
}

struct Binned {
    data: Dataset,
    objective: Box<dyn Objective>,
    config: GbdtConfig,
}

impl Binned {
    fn forest(&self, threads: usize, seed: u64) -> Result<Forest> {
        let config = GbdtConfig { seed, ..self.config.clone() };
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok(pool.install(|| train(&config, &*self.objective, &self.data, None, &Silent))?.forest)
    }
}

impl Loaded for Binned {
    fn train(&self, threads: usize, seed: u64) -> Result<Box<dyn Model + '_>> {
        Ok(Box::new(Trained { forest: self.forest(threads, seed)? }))
    }
}

struct Trained {
    forest: Forest,
}

impl Model for Trained {
    fn trees(&self) -> usize {
        self.forest.ensemble().trees.len()
    }

    fn score(&self, rows: &Rows) -> Result<Vec<f64>> {
        let mut scores = vec![0.0; rows.rows() * self.forest.outputs()];
        self.forest.score(&rows.values, &mut ForestScratch::default(), &mut scores);
        Ok(scores)
    }
}
