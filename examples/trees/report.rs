//! What came of it: for people a small table, for machines the same as JSON.

use std::fmt;
use std::path::Path;

use foretap::gbdt::metric::{
    auc, log_loss, mean_ndcg, mean_squared_error, multiclass_error, multiclass_log_loss,
};
use foretap::gbdt::{Ensemble, Forest, GbdtConfig, Table};
use foretap::{Error, ErrorKind};
use serde::Serialize;

/// Features that are listed.
const FEATURES: usize = 10;

/// A training, from its tables to its figures.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    pub objective: &'a str,
    pub training: Option<Size>,
    pub test: Option<Size>,
    pub trees: usize,
    pub seconds: Seconds,
    /// Figures of the test table.
    #[serde(serialize_with = "as_map")]
    pub figures: Vec<(String, f64)>,
    /// Features of most gain, with the number of their splits.
    pub features: Vec<Feature>,
    /// Loss of the table that tells when to stop, after each round.
    pub losses: &'a [f64],
    pub config: Option<&'a GbdtConfig>,
}

/// How large a table is.
#[derive(Debug, Serialize)]
pub struct Size {
    pub file: String,
    pub rows: usize,
    pub columns: usize,
    pub groups: Option<usize>,
}

impl Size {
    /// Of `table`, which was read from `file`.
    pub fn new(file: Option<&Path>, table: &Table) -> Self {
        Self {
            file: file.map(|file| file.display().to_string()).unwrap_or_default(),
            rows: table.labels.len(),
            columns: table.columns(),
            groups: table.group_sizes.as_ref().map(Vec::len),
        }
    }
}

/// How long each step took.
#[derive(Debug, Serialize)]
pub struct Seconds {
    /// All tables from text.
    pub read: f64,
    /// The training table to bins.
    pub bin: f64,
    /// The trees.
    pub train: f64,
}

/// How much a feature mattered.
#[derive(Debug, Serialize)]
pub struct Feature {
    pub name: String,
    pub gain: f64,
    pub splits: u32,
}

/// The features of most gain.
pub fn features(ensemble: &Ensemble) -> Vec<Feature> {
    let importance = ensemble.importance().into_iter().zip(&ensemble.features);
    let mut features: Vec<Feature> = importance
        .filter(|(importance, _)| importance.splits > 0)
        .map(|(importance, name)| Feature {
            name: name.clone(),
            gain: importance.gain,
            splits: importance.splits,
        })
        .collect();
    features.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    features.truncate(FEATURES);
    features
}

/// The figures by which models of this `objective` are compared, on `test`.
pub fn figures(objective: &str, forest: &Forest, test: &Table) -> foretap::Result<Vec<(String, f64)>> {
    let scores = scores(forest, test)?;
    let (labels, weights) = (&test.labels, test.weights.as_deref().unwrap_or_default());
    let outputs = forest.outputs();
    let found = match (objective, &test.group_sizes) {
        ("binary", _) => {
            vec![("log loss", log_loss(labels, &scores, weights)), ("AUC", auc(labels, &scores, weights))]
        }
        ("multiclass", _) => vec![
            ("log loss", multiclass_log_loss(labels, &scores, outputs, weights)),
            ("error", multiclass_error(labels, &scores, outputs, weights)),
        ],
        ("squared-error", _) => vec![("MSE", mean_squared_error(labels, &scores, weights))],
        (_, Some(sizes)) => [("NDCG@1", 1), ("NDCG@3", 3), ("NDCG@5", 5)]
            .map(|(name, k)| (name, mean_ndcg(labels, &scores, sizes, k)))
            .into(),
        _ => {
            return Err(Error::new(ErrorKind::Data, format!("no figure for {objective} without groups"))
                .next_step("name what the scores are for with --objective"));
        }
    };
    // A table of one class has no AUC.
    Ok(found.into_iter().filter_map(|(name, figure)| Some((name.to_owned(), figure?))).collect())
}

/// Scores of all rows, initial ones included: row-major `[rows, outputs]`.
fn scores(forest: &Forest, table: &Table) -> foretap::Result<Vec<f64>> {
    let outputs = forest.outputs();
    let mut scores = vec![0.0; table.labels.len() * outputs];
    forest.score_batch(&table.rows, &mut scores);
    let initial = table.initial_scores.as_deref().unwrap_or_default();
    if ![0, scores.len()].contains(&initial.len()) {
        let message = format!("{} initial scores for {} scores", initial.len(), scores.len());
        return Err(Error::new(ErrorKind::Data, message).next_step("give each row one for each output"));
    }
    scores.iter_mut().zip(initial).for_each(|(score, initial)| *score += initial);
    Ok(scores)
}

fn as_map<S: serde::Serializer>(pairs: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, figure)| (name, figure)))
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {:>12} {:>8} {:>8}  file", "table", "rows", "columns", "groups")?;
        for (name, size) in [("training", self.training.as_ref()), ("test", self.test.as_ref())] {
            let Some(size) = size else { continue };
            let groups = size.groups.map_or_else(|| "-".to_owned(), |groups| groups.to_string());
            writeln!(f, "{name:<10} {:>12} {:>8} {groups:>8}  {}", size.rows, size.columns, size.file)?;
        }
        let Seconds { read, bin, train } = self.seconds;
        let (objective, trees) = (self.objective, self.trees);
        writeln!(
            f,
            "\n{trees} trees for {objective}: read in {read:.2} s, bins {bin:.2} s, training {train:.2} s"
        )?;
        if !self.figures.is_empty() {
            writeln!(f, "\non the test table")?;
        }
        for (name, figure) in &self.figures {
            writeln!(f, "  {name:<10} {figure:.5}")?;
        }
        write!(f, "\nfeatures of most gain")?;
        let width = self.features.iter().map(|feature| feature.name.chars().count()).max().unwrap_or(0);
        for Feature { name, gain, splits } in &self.features {
            write!(f, "\n  {name:<width$} {gain:>12.2} in {splits} splits")?;
        }
        Ok(())
    }
}
