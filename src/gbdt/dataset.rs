//! A binned table with labels; its rows may come in groups, such as the candidates of one question.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::bins::Binner;
use super::ensemble::{Ensemble, are_numbers};
use super::forest::Forest;
use crate::error::{Error, ErrorKind, Result};

/// Rows are numbered in 32 bits, and so are the cells of a layout.
pub(super) const MAX_CELLS: u64 = 1 << 32;
/// Rows that are binned at once: large enough to share out, small enough to stay in cache.
const ROWS_AT_ONCE: usize = 4_096;

/// A binned table. One byte a cell; labels, and weights where rows differ in weight.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(super) binner: Binner,
    /// One byte a row, column by column.
    pub(super) columns: Vec<Vec<u8>>,
    pub(super) labels: Vec<f32>,
    /// Empty where all rows weigh the same.
    pub(super) weights: Vec<f32>,
    /// Where each group starts, and the end of the last; empty where rows stand alone.
    pub(super) group_starts: Vec<usize>,
    /// What training starts from: a model, and its scores of the rows, row-major `[rows, outputs]`.
    pub(super) start: Option<(Ensemble, Vec<f32>)>,
    /// What is added to the rows' scores from the start, row-major `[rows, outputs]`; empty where nothing is.
    pub(super) initial_scores: Vec<f64>,
}

impl Dataset {
    /// Bins a table whose rows stand alone.
    ///
    /// # Shapes
    /// `rows`: row-major `[labels.len(), binner.columns()]`.
    ///
    /// # Errors
    /// A matrix of another shape, more than 2^32 cells, or a label that is not finite.
    pub fn new(binner: Binner, rows: &[f32], labels: &[f32]) -> Result<Self> {
        let mut builder = DatasetBuilder::new(binner);
        builder.push_rows(rows, labels)?;
        Ok(builder.finish())
    }

    /// This dataset, its rows in groups of `sizes`, in their order.
    ///
    /// # Errors
    /// An empty group, or sizes that do not add up to the number of rows.
    pub fn with_groups(mut self, sizes: &[usize]) -> Result<Self> {
        if let Some(group) = sizes.iter().position(|&size| size == 0) {
            return Err(Error::new(ErrorKind::Data, format!("group {group} is empty"))
                .next_step("leave groups without rows out"));
        }
        let total: usize = sizes.iter().sum();
        if total != self.rows() {
            let message = format!("groups of {total} rows in all, but there are {} rows", self.rows());
            return Err(Error::new(ErrorKind::Data, message).next_step("give one size a group, in rows"));
        }
        self.group_starts = vec![0];
        self.group_starts.extend(sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        }));
        Ok(self)
    }

    /// This dataset with one weight a row.
    ///
    /// # Errors
    /// A weight that is negative or not finite, only weights of zero, or another number of weights than rows.
    pub fn with_weights(mut self, weights: Vec<f32>) -> Result<Self> {
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Data, message).next_step("give each row a weight of zero or more"))
        };
        if weights.len() != self.rows() {
            return wrong(format!("{} weights for {} rows", weights.len(), self.rows()));
        }
        if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return wrong(format!("the weight of row {row} is {}", weights[row]));
        }
        if !weights.is_empty() && weights.iter().all(|&weight| weight == 0.0) {
            return wrong("every weight is zero".to_owned());
        }
        self.weights = weights;
        Ok(self)
    }

    /// This dataset with scores that its rows have before the first tree, as by another model. Trees learn what those leave
    /// over, and know nothing of them: add them to what the trees say of a row. There is no base score then.
    ///
    /// # Shapes
    /// `scores`: row-major `[rows, outputs]`.
    ///
    /// # Errors
    /// A score that is not finite, or no whole number of scores a row.
    pub fn with_initial_scores(mut self, scores: Vec<f64>) -> Result<Self> {
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Data, message)
                .next_step("give each row an initial score for each output"))
        };
        if self.rows() == 0 || !scores.len().is_multiple_of(self.rows()) || scores.is_empty() {
            return wrong(format!("{} initial scores for {} rows", scores.len(), self.rows()));
        }
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            return wrong(format!("initial score {at} is {}", scores[at]));
        }
        self.initial_scores = scores;
        Ok(self)
    }

    /// Rows in all groups.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// How many groups; none where rows stand alone.
    pub fn groups(&self) -> usize {
        self.group_starts.len().saturating_sub(1)
    }

    /// How its values became bins.
    pub fn binner(&self) -> &Binner {
        &self.binner
    }

    /// What the rows are to be predicted as.
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// The rows of each group, or nothing where rows stand alone.
    pub fn group_ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.group_starts.windows(2).map(|ends| ends[0]..ends[1])
    }

    /// This dataset with the rows of `other` after its own.
    ///
    /// # Errors
    /// `other` was binned under other boundaries, or only one of the two has groups, weights or a model to start
    /// from; more than 2^32 cells together.
    pub fn append(mut self, other: Dataset) -> Result<Self> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Data, format!("two datasets {what}")));
        if self.binner != other.binner {
            return wrong("were binned differently");
        }
        if other.rows() == 0 {
            return Ok(self);
        }
        if self.rows() == 0 {
            return Ok(other);
        }
        if (self.groups() == 0) != (other.groups() == 0) {
            return wrong("of which one has groups");
        }
        if self.weights.is_empty() != other.weights.is_empty() {
            return wrong("of which one has weights");
        }
        if self.initial_scores.len() * other.rows() != other.initial_scores.len() * self.rows() {
            return wrong("of which one has initial scores, or for more outputs");
        }
        let rows = self.rows();
        check_cells(rows + other.rows(), self.columns.len())?;
        match (&mut self.start, other.start) {
            (None, None) => {}
            (Some((mine, scores)), Some((theirs, more))) if *mine == theirs => scores.extend(more),
            _ => return wrong("start from different models"),
        }
        self.columns.iter_mut().zip(&other.columns).for_each(|(mine, theirs)| mine.extend_from_slice(theirs));
        self.labels.extend_from_slice(&other.labels);
        self.weights.extend_from_slice(&other.weights);
        self.initial_scores.extend_from_slice(&other.initial_scores);
        self.group_starts.extend(other.group_starts.iter().skip(1).map(|start| start + rows));
        Ok(self)
    }
}

fn check_cells(rows: usize, columns: usize) -> Result<()> {
    if rows as u64 * columns.max(1) as u64 > MAX_CELLS {
        let message = format!("{rows} rows of {columns} columns are more than 2^32 cells");
        return Err(Error::new(ErrorKind::Data, message).next_step("draw a share of the rows"));
    }
    Ok(())
}

/// Bins rows as they come, so that the float table is never held whole.
#[derive(Debug)]
pub struct DatasetBuilder {
    data: Dataset,
    start: Option<Forest>,
}

impl DatasetBuilder {
    /// An empty dataset under the boundaries of `binner`.
    pub fn new(binner: Binner) -> Self {
        let columns = vec![Vec::new(); binner.columns()];
        let data = Dataset {
            binner,
            columns,
            labels: Vec::new(),
            weights: Vec::new(),
            group_starts: Vec::new(),
            start: None,
            initial_scores: Vec::new(),
        };
        Self { data, start: None }
    }

    /// Training on this dataset will go on from `model` (a warm start): its trees come first, and the new ones learn
    /// what it leaves over. It finds its columns among this dataset's by name; where either has numbers for names, column
    /// by column.
    ///
    /// # Errors
    /// Rows were pushed already, or the model reads a column that is not there, or another number of columns.
    pub fn continuing(mut self, model: Forest) -> Result<Self> {
        if self.data.rows() > 0 {
            return Err(Error::new(ErrorKind::Config, "the model to go on from comes after rows")
                .next_step("name it before the first row"));
        }
        let model = over_columns(model, self.data.binner.names())?;
        self.data.start = Some((model.ensemble().clone(), Vec::new()));
        self.start = Some(model);
        Ok(self)
    }

    /// Adds one group.
    ///
    /// # Shapes
    /// `rows`: row-major `[labels.len(), columns]`.
    ///
    /// # Errors
    /// No rows, a label that is not finite, a matrix of another shape, or rows without a group before it.
    pub fn push_group(&mut self, rows: &[f32], labels: &[f32]) -> Result<()> {
        let named =
            |group: usize, what: &str| Err(Error::new(ErrorKind::Data, format!("group {group}: {what}")));
        let group = self.data.groups();
        if labels.is_empty() {
            return named(group, "it is empty");
        }
        if group == 0 && self.data.rows() > 0 {
            return named(group, "rows without a group came before it");
        }
        self.push(rows, labels)
            .map_err(|error| Error::new(ErrorKind::Data, format!("group {group}: {error}")))?;
        if group == 0 {
            self.data.group_starts.push(0);
        }
        self.data.group_starts.push(self.data.rows());
        Ok(())
    }

    /// Adds rows that stand alone.
    ///
    /// # Shapes
    /// `rows`: row-major `[labels.len(), columns]`.
    ///
    /// # Errors
    /// A label that is not finite, a matrix of another shape, more than 2^32 cells, or groups before them.
    pub fn push_rows(&mut self, rows: &[f32], labels: &[f32]) -> Result<()> {
        if self.data.groups() > 0 {
            return Err(Error::new(ErrorKind::Data, "rows without a group after rows with one"));
        }
        self.push(rows, labels)
    }

    fn push(&mut self, rows: &[f32], labels: &[f32]) -> Result<()> {
        let data = &mut self.data;
        let columns = data.binner.columns();
        let wrong = |message: String| Err(Error::new(ErrorKind::Data, message));
        if rows.len() != labels.len() * columns {
            return wrong(format!(
                "{} values do not make {} rows of {columns} columns",
                rows.len(),
                labels.len()
            ));
        }
        if let Some(row) = labels.iter().position(|label| !label.is_finite()) {
            return wrong(format!("the label of its row {row} is {}, not a finite number", labels[row]));
        }
        check_cells(data.rows() + labels.len(), columns)?;
        let bin_rows = |rows: &[f32]| -> Vec<Vec<u8>> {
            let column = |c: usize| rows.iter().skip(c).step_by(columns).map(move |&value| (c, value));
            (0..columns).map(|c| column(c).map(|(c, value)| data.binner.bin(c, value)).collect()).collect()
        };
        let parts: Vec<Vec<Vec<u8>>> = if labels.len() <= ROWS_AT_ONCE {
            vec![bin_rows(rows)]
        } else {
            rows.par_chunks(ROWS_AT_ONCE * columns.max(1)).map(bin_rows).collect()
        };
        for part in parts {
            data.columns.iter_mut().zip(part).for_each(|(column, bins)| column.extend_from_slice(&bins));
        }
        if let (Some(model), Some((_, scores))) = (&self.start, &mut data.start) {
            let mut of_rows = vec![0.0; labels.len() * model.outputs()];
            model.score_batch(rows, &mut of_rows);
            scores.extend(of_rows.iter().map(|&score| score as f32));
        }
        data.labels.extend_from_slice(labels);
        Ok(())
    }

    /// The finished dataset.
    pub fn finish(self) -> Dataset {
        self.data
    }
}

/// `model` over the columns called `names`.
fn over_columns(model: Forest, names: &[String]) -> Result<Forest> {
    let wrong = |message: String| {
        let message = format!("the model to go on from reads {message}");
        Err(Error::new(ErrorKind::Config, message)
            .next_step("give rows of the columns that it was trained on, or begin without it"))
    };
    let ensemble = model.ensemble();
    if ensemble.features == names {
        return Ok(model);
    }
    let (theirs, ours) = (model.columns(), names.len());
    if are_numbers(&ensemble.features) || are_numbers(names) {
        return match theirs == ours {
            true if are_numbers(names) => Ok(model),
            true => Forest::new(Ensemble { features: names.to_vec(), ..ensemble.clone() }),
            false => wrong(format!("{theirs} columns, but there are {ours}")),
        };
    }
    let mut places = BTreeMap::new();
    for column in ensemble.asked_for() {
        let feature = &ensemble.features[column];
        let Some(place) = names.iter().position(|name| name == feature) else {
            return wrong(format!("the column `{feature}`, which is not there"));
        };
        places.insert(column, place);
    }
    Forest::new(ensemble.moved(names.to_vec(), &places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binner() -> Binner {
        Binner::fit(&[0.0, 1.0, 1.0, 0.0], 2, 255)
    }

    fn error<T>(result: Result<T>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn wrong_groups_are_named() {
        let mut builder = DatasetBuilder::new(binner());
        assert!(builder.push_group(&[1.0, 2.0], &[1.0]).is_ok());
        let nan = error(builder.push_group(&[1.0, 2.0], &[f32::NAN]));
        assert_eq!(nan, "group 1: the label of its row 0 is NaN, not a finite number");
        assert!(
            error(builder.push_group(&[1.0], &[1.0])).contains("1 values do not make 1 rows of 2 columns")
        );
        assert!(error(builder.push_group(&[], &[])).contains("group 1: it is empty"));
        assert!(error(builder.push_rows(&[1.0, 2.0], &[1.0])).contains("without a group"));
        assert_eq!(builder.finish().rows(), 1);
    }

    #[test]
    fn sizes_and_weights_must_fit_the_rows() {
        let data = Dataset::new(binner(), &[0.0; 6], &[1.0, 0.0, 1.0]).unwrap();
        let sizes = |sizes: &[usize]| error(data.clone().with_groups(sizes));
        assert_eq!(sizes(&[2, 1]), "");
        assert!(sizes(&[2, 2]).contains("groups of 4 rows in all, but there are 3 rows"));
        assert!(sizes(&[3, 0]).contains("group 1 is empty"));
        let initial = |scores: &[f64]| error(data.clone().with_initial_scores(scores.to_vec()));
        assert_eq!((initial(&[1.0; 3]), initial(&[0.0; 6])), (String::new(), String::new()));
        assert!(initial(&[1.0; 4]).contains("4 initial scores for 3 rows"));
        assert!(initial(&[]).contains("0 initial scores for 3 rows"));
        assert!(initial(&[0.0, f64::NAN, 0.0]).contains("initial score 1 is NaN"));
        let weights = |weights: &[f32]| error(data.clone().with_weights(weights.to_vec()));
        assert_eq!(weights(&[1.0, 0.0, 2.0]), "");
        assert!(weights(&[1.0, -1.0, 2.0]).contains("the weight of row 1 is -1"));
        assert!(weights(&[1.0, f32::NAN, 2.0]).contains("the weight of row 1 is NaN"));
        assert!(weights(&[1.0]).contains("1 weights for 3 rows"));
        assert!(weights(&[0.0; 3]).contains("every weight is zero"));
    }

    #[test]
    fn parts_are_put_together() {
        let part = || Dataset::new(binner(), &[0.0, 1.0, 1.0, 0.0], &[1.0, 0.0]).unwrap();
        let grouped = || part().with_groups(&[1, 1]).unwrap();
        let both = grouped().append(grouped()).unwrap();
        assert_eq!(both.group_starts, [0, 1, 2, 3, 4]);
        assert_eq!(both.columns, [[1, 2, 1, 2], [2, 1, 2, 1]]);
        assert!(error(part().append(grouped())).contains("groups"));
        assert!(error(part().with_weights(vec![1.0; 2]).unwrap().append(part())).contains("weights"));
        let from = |scores: &[f64]| part().with_initial_scores(scores.to_vec()).unwrap();
        let both = from(&[1.0, 2.0]).append(from(&[3.0, 4.0])).unwrap();
        assert_eq!(both.initial_scores, [1.0, 2.0, 3.0, 4.0]);
        assert!(error(part().append(from(&[1.0, 2.0]))).contains("initial scores"));
        assert!(error(from(&[1.0, 2.0]).append(from(&[0.0; 4]))).contains("initial scores"));
        assert!(error(check_cells(1 << 31, 3)).contains("more than 2^32 cells"));
    }
}
