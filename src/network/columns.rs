//! A network's columns: which they are, and how they are brought to one scale.

use serde::{Deserialize, Serialize};

use super::columns_v1;
use super::config::TransformerConfig;
use crate::context::Context;
use crate::context::columns::find_all;
use crate::context::features::SharedFeatures;
use crate::context::pointer_features::{
    CANDIDATE_COLUMNS, CANDIDATE_NAMES, PointerRows, QUESTION_COLUMNS, QUESTION_NAMES,
};
use crate::error::{Error, ErrorKind, Result};

/// No column may shout: beyond so many deviations all are alike.
pub(crate) const FARTHEST: f32 = 5.0;

/// Names columns and brings them to mean 0 and deviation 1: `(value - mean) / scale`, within five deviations. What is
/// unknown, a NaN, is an average value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// `[candidate_columns]`: which they are, by their labels (see [`columns`](crate::context::columns)). Only files of the
    /// first version have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_names: Vec<String>,
    /// `[question_columns]`: as `candidate_names`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub question_names: Vec<String>,
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
    /// The first columns that this build computes, as many as `config` has, as they are. Beyond them it has none.
    pub fn none(config: &TransformerConfig) -> Self {
        let names = |known: &[&str], columns: usize| -> Vec<String> {
            let unknown = |number: usize| format!("column_{number}");
            let name = |number: usize| known.get(number).map_or_else(|| unknown(number), |n| (*n).to_owned());
            (0..columns).map(name).collect()
        };
        Self {
            candidate_names: names(&CANDIDATE_NAMES, config.candidate_columns),
            question_names: names(&QUESTION_NAMES, config.question_columns),
            candidate_mean: vec![0.0; config.candidate_columns],
            candidate_scale: vec![1.0; config.candidate_columns],
            question_mean: vec![0.0; config.question_columns],
            question_scale: vec![1.0; config.question_columns],
        }
    }

    /// These columns, as they come out of a file: one of the first version names none, and means those that were computed
    /// then.
    #[must_use]
    pub(crate) fn named(mut self) -> Self {
        let names =
            |known: &[&str], columns: usize| known.iter().take(columns).map(|&n| n.to_owned()).collect();
        if self.candidate_names.is_empty() && self.question_names.is_empty() {
            self.candidate_names = names(&columns_v1::CANDIDATES, self.candidate_mean.len());
            self.question_names = names(&columns_v1::QUESTIONS, self.question_mean.len());
        }
        self
    }

    /// Finds the columns among those that this build computes.
    ///
    /// # Errors
    /// [`ErrorKind::Model`], naming the column: this build does not compute it, or it means something else here.
    pub fn reader(&self) -> Result<ColumnReader> {
        self.reader_among(&CANDIDATE_NAMES, &QUESTION_NAMES)
    }

    fn reader_among(&self, candidates: &[&str], questions: &[&str]) -> Result<ColumnReader> {
        let places = |field, names: &[String], known: &[&str]| {
            let places = find_all("the transformer reads", names, known);
            places.map(Places::new).map_err(|error| error.field(format!("columns.{field}")))
        };
        Ok(ColumnReader {
            candidates: places("candidate_names", &self.candidate_names, candidates)?,
            questions: places("question_names", &self.question_names, questions)?,
            columns: self.clone(),
        })
    }

    /// These columns, and after them those that this build computes besides, standardised as in `fitted`.
    ///
    /// # Errors
    /// As [`reader`](Self::reader).
    #[cfg(feature = "train")]
    pub(crate) fn widened(&self, fitted: &Self) -> Result<Self> {
        self.reader()?;
        let mut widened = self.clone();
        for (number, name) in fitted.candidate_names.iter().enumerate() {
            if !self.candidate_names.contains(name) {
                widened.candidate_names.push(name.clone());
                widened.candidate_mean.push(fitted.candidate_mean[number]);
                widened.candidate_scale.push(fitted.candidate_scale[number]);
            }
        }
        for (number, name) in fitted.question_names.iter().enumerate() {
            if !self.question_names.contains(name) {
                widened.question_names.push(name.clone());
                widened.question_mean.push(fitted.question_mean[number]);
                widened.question_scale.push(fitted.question_scale[number]);
            }
        }
        Ok(widened)
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
        let [candidate_names, question_names] = [&CANDIDATE_NAMES[..], &QUESTION_NAMES]
            .map(|names| names.iter().map(|&n| n.to_owned()).collect());
        Self {
            candidate_names,
            question_names,
            candidate_mean,
            candidate_scale,
            question_mean,
            question_scale,
        }
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
        for (field, names, columns) in [
            ("candidate_names", &self.candidate_names, config.candidate_columns),
            ("question_names", &self.question_names, config.question_columns),
        ] {
            if names.len() != columns {
                let message = format!("{} names where the shape asks for {columns}", names.len());
                return Err(Error::new(ErrorKind::Model, message).field(format!("columns.{field}")));
            }
        }
        Ok(())
    }
}

/// Reads a model's columns off the rows that this build computes.
#[derive(Debug, Clone)]
pub struct ColumnReader {
    columns: Standardisation,
    candidates: Places,
    questions: Places,
}

/// Where a model's columns are among those that are computed.
#[derive(Debug, Clone)]
enum Places {
    /// They are the first, in the same order.
    First(usize),
    Picked(Vec<usize>),
}

impl Places {
    fn new(places: Vec<usize>) -> Self {
        let is_first = places.iter().enumerate().all(|(number, &place)| number == place);
        if is_first { Self::First(places.len()) } else { Self::Picked(places) }
    }

    /// Adds the columns of `row`.
    fn pick(&self, row: &[f32], to: &mut Vec<f32>) {
        match self {
            Self::First(columns) => to.extend_from_slice(&row[..(*columns).min(row.len())]),
            Self::Picked(places) => to.extend(places.iter().map(|&place| row[place])),
        }
    }
}

impl ColumnReader {
    /// Computes the rows of `context` and adds the model's columns to `candidates` and `question`,
    /// standardised.
    pub fn read(
        &self,
        context: &Context<'_>,
        rows: &mut PointerRows,
        candidates: &mut Vec<f32>,
        question: &mut Vec<f32>,
    ) {
        rows.fill(context);
        self.pick(rows, candidates, question);
    }

    /// The same from `features` of this question, which others read, too.
    pub fn read_sharing(
        &self,
        context: &Context<'_>,
        features: &mut SharedFeatures,
        rows: &mut PointerRows,
        candidates: &mut Vec<f32>,
        question: &mut Vec<f32>,
    ) {
        rows.fill_sharing(context, features);
        self.pick(rows, candidates, question);
    }

    fn pick(&self, rows: &PointerRows, candidates: &mut Vec<f32>, question: &mut Vec<f32>) {
        let (first, asked) = (candidates.len(), question.len());
        for row in rows.candidates.chunks_exact(CANDIDATE_COLUMNS) {
            self.candidates.pick(row, candidates);
        }
        self.questions.pick(&rows.question, question);
        self.columns.candidates(&mut candidates[first..]);
        self.columns.questions(&mut question[asked..]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::columns::{REMOVED, name_and_version};
    use crate::context::{History, Task};
    use crate::data::{AppId, Event, Signal, Timestamp, UserId};

    /// Rows of all columns at some questions.
    fn rows() -> Vec<PointerRows> {
        let mut history = History::default();
        let mut all = Vec::new();
        for n in 0..60 {
            let signal = match n % 5 {
                0 => Signal::Unlock,
                3 => Signal::Notification(AppId(n % 7)),
                4 => Signal::ScreenOff,
                _ => Signal::Launch(AppId(n % 6)),
            };
            history.observe(&Event::new(UserId(1), Timestamp(700 * i64::from(n)), signal));
            let mut rows = PointerRows::default();
            let context = history.context_at(Timestamp(700 * i64::from(n) + 5), Task::FirstAfterUnlock);
            rows.fill(&context);
            all.push(rows);
        }
        all
    }

    fn bits(reader: &ColumnReader, rows: &PointerRows) -> [Vec<u32>; 2] {
        let (mut candidates, mut question) = (vec![0.5], vec![0.5]);
        reader.pick(rows, &mut candidates, &mut question);
        [candidates, question].map(|list| list.into_iter().map(f32::to_bits).collect())
    }

    /// Each list in an order of its own: the element `k` goes to `(a k) mod n`, `a` and `n` having no common divisor.
    fn shuffled<T: Clone>(list: &[T]) -> Vec<T> {
        let places = (0..list.len()).map(|k| list[11 * k % list.len()].clone());
        places.collect()
    }

    /// A row of a build with all columns elsewhere and a new one in front.
    fn row_elsewhere(row: &[f32]) -> Vec<f32> {
        [vec![f32::MAX], shuffled(row)].concat()
    }

    #[test]
    fn a_build_may_compute_columns_in_another_order_and_others_besides() {
        let rows = rows();
        let columns = Standardisation::fit(rows.iter());
        let as_is = columns.reader().unwrap();
        // This build, with all columns elsewhere and a new one in front.
        let elsewhere = |names: &[&'static str]| [vec!["new"], shuffled(names)].concat();
        let (candidates, questions) = (elsewhere(&CANDIDATE_NAMES), elsewhere(&QUESTION_NAMES));
        let other = columns.reader_among(&candidates, &questions).unwrap();
        assert!(matches!((&as_is.candidates, &other.candidates), (Places::First(_), Places::Picked(_))));
        for rows in &rows {
            let mut moved = rows.clone();
            moved.question = row_elsewhere(&rows.question);
            let all = rows.candidates.chunks_exact(CANDIDATE_COLUMNS);
            moved.candidates = all.flat_map(row_elsewhere).collect();
            let width = CANDIDATE_COLUMNS + 1;
            let (mut candidates, mut question) = (vec![0.5], vec![0.5]);
            for row in moved.candidates.chunks_exact(width) {
                other.candidates.pick(row, &mut candidates);
            }
            other.questions.pick(&moved.question, &mut question);
            columns.candidates(&mut candidates[1..]);
            columns.questions(&mut question[1..]);
            let found =
                [candidates, question].map(|list| list.into_iter().map(f32::to_bits).collect::<Vec<_>>());
            assert_eq!(found, bits(&as_is, rows));
        }
    }

    #[cfg(feature = "train")] // for what widens it
    #[test]
    fn a_model_may_read_columns_in_another_order_and_fewer() {
        let rows = rows();
        let all = Standardisation::fit(rows.iter());
        let picked = Standardisation {
            candidate_names: vec!["choice_share".into(), "hour_affinity".into(), "since_launch".into()],
            question_names: vec!["resume_rate_mean@2".into(), "hour".into()],
            ..Standardisation::none(&TransformerConfig {
                candidate_columns: 3,
                question_columns: 2,
                ..TransformerConfig::student(Task::FirstAfterUnlock, 1)
            })
        };
        let reader = picked.reader().unwrap();
        let place = |names: &[&str], name: &String| names.iter().position(|other| other == name).unwrap();
        for rows in &rows {
            let (mut candidates, mut question) = (Vec::new(), Vec::new());
            reader.pick(rows, &mut candidates, &mut question);
            let mut expected = Vec::new();
            for row in rows.candidates.chunks_exact(CANDIDATE_COLUMNS) {
                expected.extend(picked.candidate_names.iter().map(|name| row[place(&CANDIDATE_NAMES, name)]));
            }
            picked.candidates(&mut expected);
            assert_eq!(candidates, expected);
            let mut expected: Vec<f32> = picked
                .question_names
                .iter()
                .map(|name| rows.question[place(&QUESTION_NAMES, name)])
                .collect();
            picked.questions(&mut expected);
            assert_eq!(question, expected);
        }
        let widened = picked.widened(&all).unwrap();
        assert_eq!(widened.candidate_names[..3], picked.candidate_names);
        let known = |names: &[String]| names.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(
            [known(&widened.candidate_names), known(&widened.question_names)],
            [CANDIDATE_COLUMNS, QUESTION_COLUMNS]
        );
        for (name, mean) in widened.candidate_names.iter().zip(&widened.candidate_mean).skip(3) {
            assert_eq!(*mean, all.candidate_mean[place(&CANDIDATE_NAMES, name)], "{name}");
        }
    }

    fn without_names(
        candidate_columns: usize,
        question_columns: usize,
    ) -> (TransformerConfig, Standardisation) {
        let config = TransformerConfig {
            candidate_columns,
            question_columns,
            ..TransformerConfig::student(Task::FirstAfterUnlock, 1)
        };
        let mut columns = Standardisation::none(&config);
        (columns.candidate_names, columns.question_names) = (Vec::new(), Vec::new());
        (config, columns.named())
    }

    /// Without names a model means the first columns of the time of the first version.
    #[test]
    fn columns_without_names_are_those_of_their_time() {
        let (config, named) = without_names(57, 37);
        assert!(named.check(&config).is_ok());
        let reader = named.reader().unwrap();
        for rows in rows() {
            // Wherever this build has the columns of that time.
            let of_then = |row: &[f32], names: &[&str], then: &[&str]| -> Vec<f32> {
                let place = |name| names.iter().position(|now| *now == name).unwrap();
                then.iter().map(|&name| row[place(name)]).collect()
            };
            let mut expected = [vec![0.5], vec![0.5]];
            for row in rows.candidates.chunks_exact(CANDIDATE_COLUMNS) {
                expected[0].extend(of_then(row, &CANDIDATE_NAMES, &columns_v1::CANDIDATES[..57]));
            }
            expected[1].extend(of_then(&rows.question, &QUESTION_NAMES, &columns_v1::QUESTIONS[..37]));
            named.candidates(&mut expected[0][1..]);
            named.questions(&mut expected[1][1..]);
            let expected = expected.map(|list| list.into_iter().map(f32::to_bits).collect::<Vec<_>>());
            assert_eq!(bits(&reader, &rows), expected);
        }
        // The widths that builds of that time wrote: all read a column that is gone.
        for (candidate_columns, question_columns) in [(70, 37), (76, 42), (83, 42)] {
            let (config, named) = without_names(candidate_columns, question_columns);
            assert!(named.check(&config).is_ok());
            let error = named.reader().unwrap_err().to_string();
            let says =
                "the column `first_use_180_to_90_min_before`, which was removed; train the model again";
            assert!(error.contains(says), "{error}");
        }
        // A column of that time is computed, or the error says that it was removed.
        let v1 = columns_v1::CANDIDATES.iter().chain(&columns_v1::QUESTIONS);
        let mut gone: Vec<&str> = v1
            .filter(|name| {
                let is_computed = |here: &&str| name_and_version(here).0 == **name;
                !CANDIDATE_NAMES.iter().chain(&QUESTION_NAMES).any(is_computed)
            })
            .copied()
            .collect();
        let mut removed = REMOVED.to_vec();
        gone.sort_unstable();
        removed.sort_unstable();
        assert_eq!(gone, removed);
        let (config, beyond) = without_names(84, 42);
        let error = beyond.check(&config).unwrap_err().to_string();
        assert!(error.contains("`columns.candidate_names`: 83 names where the shape asks for 84"), "{error}");
    }

    #[test]
    fn columns_that_are_gone_or_mean_something_else_are_refused_by_name() {
        let config = TransformerConfig::student(Task::FirstAfterUnlock, 1);
        let good = Standardisation::none(&config);
        type Edit = fn(&mut Standardisation);
        let cases: [(Edit, &str); 4] = [
            (
                |columns| columns.candidate_names[3] = "magic".into(),
                "field `columns.candidate_names`: the transformer reads the column `magic`, which this build does not \
                 compute; take the version of foretap",
            ),
            (
                |columns| columns.question_names[0] = "hour@2".into(),
                "field `columns.question_names`: the transformer reads the column `hour` in version 2 of its meaning, \
                 but this build computes version 1; take",
            ),
            (|columns| columns.candidate_names[3] = "trend".into(), "the column `trend` twice; "),
            (|columns| columns.question_names[1] = "since_launch".into(), "the column `since_launch`, which"),
        ];
        for (edit, says) in cases {
            let mut columns = good.clone();
            edit(&mut columns);
            let error = columns.reader().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
