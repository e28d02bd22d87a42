//! Columns on one scale, as a network wants them.

use serde::{Deserialize, Serialize};

use super::config::TransformerConfig;
use crate::context::pointer::{CANDIDATE_COLUMNS, PointerRows, QUESTION_COLUMNS};
use crate::error::{Error, ErrorKind, Result};

/// No column may shout: beyond so many deviations all are alike.
pub(crate) const FARTHEST: f32 = 5.0;

/// Brings columns to mean 0 and deviation 1: `(value - mean) / scale`, within five deviations. What is unknown, a NaN, is
/// an average value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// `[candidate_columns]`.
    pub candidate_mean: Vec<f32>,
    /// `[candidate_columns]`, positive.
    pub candidate_scale: Vec<f32>,
    /// `[question_columns]`.
    pub question_mean: Vec<f32>,
    /// `[question_columns]`, positive.
    pub question_scale: Vec<f32>,
}

impl Standardisation {
    /// Leaves the columns of `config` as they are.
    pub fn none(config: &TransformerConfig) -> Self {
        Self {
            candidate_mean: vec![0.0; config.candidate_columns],
            candidate_scale: vec![1.0; config.candidate_columns],
            question_mean: vec![0.0; config.question_columns],
            question_scale: vec![1.0; config.question_columns],
        }
    }

    /// Adds to `candidates` and `question` the columns of `rows` that a model of these columns reads, standardised: as many
    /// of the first as it knows.
    pub fn read(&self, rows: &PointerRows, candidates: &mut Vec<f32>, question: &mut Vec<f32>) {
        let (first, asked) = (candidates.len(), question.len());
        for row in rows.candidates.chunks_exact(rows.width().max(1)) {
            candidates.extend_from_slice(&row[..self.candidate_mean.len().min(row.len())]);
        }
        question.extend(rows.question.iter().take(self.question_mean.len()));
        self.candidates(&mut candidates[first..]);
        self.questions(&mut question[asked..]);
    }

    /// Standardises candidates' columns in place.
    ///
    /// # Shapes
    /// `rows`: `[candidates, candidate_columns]`.
    pub fn candidates(&self, rows: &mut [f32]) {
        standardise(rows, &self.candidate_mean, &self.candidate_scale);
    }

    /// Standardises questions' columns in place.
    ///
    /// # Shapes
    /// `rows`: `[questions, question_columns]`.
    pub fn questions(&self, rows: &mut [f32]) {
        standardise(rows, &self.question_mean, &self.question_scale);
    }

    /// Mean and deviation of rows that have all columns.
    ///
    /// # Shapes
    /// `candidates` of each: `[candidates, candidate_columns]`; `question`: `[question_columns]`.
    pub fn fit<'a>(rows: impl Iterator<Item = &'a PointerRows> + Clone) -> Self {
        let (candidate_mean, candidate_scale) = moments(
            rows.clone().flat_map(|rows| rows.candidates.chunks_exact(CANDIDATE_COLUMNS)),
            CANDIDATE_COLUMNS,
        );
        let (question_mean, question_scale) =
            moments(rows.map(|rows| rows.question.as_slice()), QUESTION_COLUMNS);
        Self { candidate_mean, candidate_scale, question_mean, question_scale }
    }

    /// Refuses lists that do not fit `config`, or that a value could not be divided by.
    ///
    /// # Errors
    /// [`ErrorKind::Model`], naming the list.
    pub(crate) fn check(&self, config: &TransformerConfig) -> Result<()> {
        let lists = [
            ("candidate_mean", &self.candidate_mean, config.candidate_columns, false),
            ("candidate_scale", &self.candidate_scale, config.candidate_columns, true),
            ("question_mean", &self.question_mean, config.question_columns, false),
            ("question_scale", &self.question_scale, config.question_columns, true),
        ];
        for (name, list, columns, is_scale) in lists {
            let wrong = |message| Err(Error::new(ErrorKind::Model, message).field(format!("columns.{name}")));
            if list.len() != columns {
                return wrong(format!("{} numbers where the shape asks for {columns}", list.len()));
            }
            if let Some(value) = list.iter().find(|v| !v.is_finite() || (is_scale && **v <= 0.0)) {
                return wrong(format!("{value} is not a {}number", if is_scale { "positive " } else { "" }));
            }
        }
        Ok(())
    }
}

/// Mean and deviation of each column, over the values that are known. A column that never varies keeps its scale, and one
/// that is mostly silent a larger one: where a value in a thousand lies beyond [`FARTHEST`] deviations, it must not be cut
/// off, for it is what the column is there for.
fn moments<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone, columns: usize) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![[0.0_f64; 3]; columns];
    for row in rows.clone() {
        for ([count, sum, squares], &value) in sums.iter_mut().zip(row).filter(|(_, value)| value.is_finite())
        {
            let value = f64::from(value);
            *count += 1.0;
            *sum += value;
            *squares += value * value;
        }
    }
    let of_column = |[count, sum, squares]: &[f64; 3]| {
        let mean = sum / count.max(1.0);
        let deviation = (squares / count.max(1.0) - mean * mean).max(0.0).sqrt();
        (mean as f32, if deviation > 1e-3 { deviation as f32 } else { 1.0 })
    };
    let (means, mut scales): (Vec<f32>, Vec<f32>) = sums.iter().map(of_column).unzip();
    let mut distances = Vec::new();
    for (column, (mean, scale)) in means.iter().zip(&mut scales).enumerate() {
        distances.clear();
        let values = rows.clone().map(|row| row[column]).filter(|value| value.is_finite());
        distances.extend(values.map(|value| (value - mean).abs()));
        if !distances.is_empty() {
            let rank = distances.len() * 999 / 1000;
            let (_, far, _) = distances.select_nth_unstable_by(rank, f32::total_cmp);
            *scale = scale.max(*far / FARTHEST);
        }
    }
    (means, scales)
}

fn standardise(rows: &mut [f32], mean: &[f32], scale: &[f32]) {
    for row in rows.chunks_exact_mut(mean.len().max(1)) {
        for ((value, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
            let standard = ((*value - mean) / scale).clamp(-FARTHEST, FARTHEST);
            *value = if standard.is_nan() { 0.0 } else { standard };
        }
    }
}
