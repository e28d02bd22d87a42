//! Predictions of a table whose labels nobody knows yet, a row a line.

use std::fmt::Write as _;
use std::path::Path;

use foretap::gbdt::{Forest, Table};
use foretap::storage::write_atomically;

/// Writes what `forest` makes of the rows of `table` to `file`: a number a row, of several outputs several by tabs apart.
///
/// # Errors
/// The file cannot be written; it is then as it was.
pub fn write(file: &Path, forest: &Forest, table: &Table, raw_scores: bool) -> foretap::Result<()> {
    let outputs = forest.outputs();
    let mut predictions = vec![0.0; table.labels.len() * outputs];
    forest.score_batch(&table.rows, &mut predictions);
    let mut text = String::new();
    for row in predictions.chunks_exact_mut(outputs) {
        match forest.ensemble().objective.as_str() {
            _ if raw_scores => {}
            "binary" => row[0] = 1.0 / (1.0 + (-row[0]).exp()),
            "multiclass" => softmax(row),
            _ => {}
        }
        for (output, prediction) in row.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{prediction}", if output > 0 { "\t" } else { "" });
        }
        text.push('\n');
    }
    write_atomically(file, |out| out.write_all(text.as_bytes()))
}

/// Scores as probabilities.
fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}
