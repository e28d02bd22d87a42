//! What was measured: tables for people, JSON for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::Result;

/// Everything that a run of `trees` measures.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where and with what.
    pub setting: BTreeMap<String, String>,
    /// By case, `<rows>_<threads>t`.
    pub train: BTreeMap<String, Training>,
    /// By rows: seconds to read and bin them on all cores, by engine.
    pub load: BTreeMap<String, BTreeMap<String, f64>>,
    /// By case, `<case>` or `<case>_<metric>`.
    pub accuracy: BTreeMap<String, Accuracy>,
    /// Metrics of which nothing is asked, by case and metric.
    pub for_information: BTreeMap<String, Accuracy>,
    /// Integer sums against full precision, by case: seconds of training, or a metric on the test rows.
    pub precision: BTreeMap<String, Precision>,
    /// Microseconds to answer one question, by engine.
    pub inference_us: BTreeMap<String, f64>,
    /// Our time over each peer's.
    pub inference_ratio: BTreeMap<String, f64>,
    /// Largest difference of raw scores after a model changed engines.
    pub format_max_difference: BTreeMap<String, f64>,
    /// What was left out, and why.
    pub skipped: BTreeMap<String, String>,
    /// What failed, and how.
    pub failed: BTreeMap<String, String>,
}

/// Training times of one case.
#[derive(Debug, Default, Serialize)]
pub struct Training {
    /// Rows that were learned from.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
    /// Threads of each engine.
    pub threads: usize,
    /// Trees that each engine grew: as many as were asked for, but for `perpetual`.
    pub trees: BTreeMap<String, usize>,
    /// Median seconds, as `<engine>_s`; null where an engine cannot do the task.
    #[serde(flatten)]
    pub seconds: BTreeMap<String, Option<f64>>,
    /// Median over the rounds of our time over LightGBM's.
    pub ratio: Option<f64>,
    /// That ratio, round by round.
    pub ratios: Vec<f64>,
}

/// A metric of our model and of LightGBM's, on the same test rows.
#[derive(Debug, Default, Serialize)]
pub struct Accuracy {
    /// What is compared.
    pub metric: String,
    /// Ours, mean over the seeds.
    pub ours: f64,
    /// LightGBM's, mean over the seeds.
    pub lightgbm: f64,
    /// By how much we fall short; negative where we are ahead.
    pub shortfall: f64,
    /// How much of it is allowed.
    pub allowed: Option<f64>,
    /// Standard deviation of ours over the seeds.
    pub ours_deviation: f64,
    /// Standard deviation of LightGBM's.
    pub lightgbm_deviation: f64,
}

/// The same in both precisions.
#[derive(Debug, Default, Serialize)]
pub struct Precision {
    /// What is compared.
    pub measure: String,
    /// With gradients summed as integers, the default.
    pub quantized: f64,
    /// With gradients as they are.
    pub full: f64,
}

impl Report {
    /// Notes a fact about where or with what was measured.
    pub fn setting(&mut self, name: &str, value: impl Into<String>) {
        self.setting.insert(name.to_owned(), value.into());
    }
}

/// Writes a report as JSON, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn save(report: &impl Serialize, file: &Path) -> Result<()> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    foretap::storage::write_atomically(file, |out| out.write_all(json.as_bytes()))?;
    Ok(())
}

/// Columns of text, aligned.
#[derive(Debug)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<T: Into<String>>(headings: impl IntoIterator<Item = T>) -> Self {
        Self { lines: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// Adds headings to the right.
    pub fn head<T: Into<String>>(&mut self, headings: impl IntoIterator<Item = T>) {
        self.lines[0].extend(headings.into_iter().map(Into::into));
    }

    /// Adds a line.
    pub fn line<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.lines.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints it under `title`.
    pub fn print(&self, title: &str) {
        print!("\n{title}\n{}", self.aligned());
    }

    /// The first column to the left, the others to the right.
    fn aligned(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for line in &self.lines {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Writing to a string cannot fail.
                let _ = match column {
                    0 => write!(text, "{cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.push('\n');
        }
        text
    }
}

/// `value` with `digits` decimals, or a dash.
pub fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_say_what_is_missing() {
        let mut table = Table::new(["case", "ours"]);
        table.line(["long name".to_owned(), cell(Some(1.256), 2)]);
        table.line(["b".to_owned(), cell(None, 2)]);
        assert_eq!(table.aligned(), "case       ours\nlong name  1.26\nb             -\n");
    }

    #[test]
    fn the_keys_that_machines_read() {
        let mut report = Report::default();
        let seconds = [("ours_s", Some(1.0)), ("lightgbm_s", Some(2.0)), ("xgboost_s", None)];
        let seconds = seconds.map(|(name, seconds)| (name.to_owned(), seconds)).into();
        report.train.insert("x_1t".into(), Training { seconds, ratio: Some(0.5), ..Training::default() });
        report.accuracy.insert("x".into(), Accuracy { allowed: Some(0.01), ..Accuracy::default() });
        let json = serde_json::to_value(&report).unwrap();
        for (pointer, expected) in [
            ("/train/x_1t/ours_s", serde_json::json!(1.0)),
            ("/train/x_1t/xgboost_s", serde_json::Value::Null),
            ("/train/x_1t/ratio", serde_json::json!(0.5)),
            ("/accuracy/x/allowed", serde_json::json!(0.01)),
            ("/accuracy/x/shortfall", serde_json::json!(0.0)),
        ] {
            assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
        }
    }
}
