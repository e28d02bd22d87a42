//! Tensors as the Open Inference Protocol has them: JSON, or bytes behind the JSON (the binary data extension). An input is
//! a column: its shape is `[n]` or `[n, 1]`.
//!
//! `BYTES` are strings of UTF-8; in bytes each has its length before it, as 4 bytes, the lowest first. Numbers are written
//! in the same order, `BOOL` as one byte.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::answers::PredictResponse;
use super::rows::{Element, check_count, longest, values};
use super::{Refused, Result};

/// Characters of a name or a type that an error repeats, at most.
const SHOWN: usize = 32;

/// An input as the request's JSON says it.
#[derive(Debug, Deserialize)]
pub(super) struct Input<'a> {
    pub name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// A kind of values that an input may have.
pub(super) trait Kind: Element {
    /// The protocol's name of it.
    const DATATYPE: &'static str;

    /// The values of a tensor's bytes; an error where there are more than `most`.
    fn of_bytes(bytes: &[u8], most: usize) -> std::result::Result<Vec<Self>, String>;
}

impl Kind for String {
    const DATATYPE: &'static str = "BYTES";

    fn of_bytes(mut bytes: &[u8], most: usize) -> std::result::Result<Vec<Self>, String> {
        let mut texts = Vec::new();
        while !bytes.is_empty() {
            if texts.len() == most {
                return Err(format!("more than {most} values"));
            }
            let (length, rest) =
                bytes.split_first_chunk::<4>().ok_or("the bytes end within a value's length")?;
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (text, rest) = rest
                .split_at_checked(length)
                .ok_or_else(|| format!("a value of {length} bytes, where {} are left", rest.len()))?;
            let text = std::str::from_utf8(text).map_err(|error| format!("a value is no UTF-8: {error}"))?;
            texts.push(text.to_owned());
            bytes = rest;
        }
        Ok(texts)
    }
}

impl Kind for i32 {
    const DATATYPE: &'static str = "INT32";

    fn of_bytes(bytes: &[u8], most: usize) -> std::result::Result<Vec<Self>, String> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() || numbers.len() > most {
            return Err(format!("{} bytes, where {most} values have {}", bytes.len(), 4 * most));
        }
        Ok(numbers.iter().map(|number| Self::from_le_bytes(*number)).collect())
    }
}

impl Input<'_> {
    /// How many bytes behind the JSON are its values, if they are there.
    ///
    /// # Errors
    /// The parameter is no number of bytes.
    pub fn binary_size(&self) -> Result<Option<usize>> {
        let size = self.parameters.as_ref().and_then(|parameters| parameters.get("binary_data_size"));
        let Some(size) = size else { return Ok(None) };
        match size.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => Ok(Some(size)),
            None => Err(self.wrong("`binary_data_size` is no number of bytes")),
        }
    }

    /// The values of a column, at most `most`. `bytes` are those that belong to it behind the JSON.
    ///
    /// # Errors
    /// Type, shape or values are not what is expected.
    pub fn column<T: Kind>(&self, bytes: Option<&[u8]>, most: usize) -> Result<Vec<T>> {
        if self.datatype != T::DATATYPE {
            let found = shown(&self.datatype);
            return Err(self.wrong(format_args!("datatype {found}, where {} is expected", T::DATATYPE)));
        }
        let rows = match self.shape[..] {
            [rows] | [rows, 1] => usize::try_from(rows).ok(),
            _ => None,
        };
        let Some(rows) = rows else {
            let found = &self.shape[..self.shape.len().min(8)];
            return Err(self.wrong(format_args!("shape {found:?}, where [n] or [n, 1] is expected")));
        };
        check_count(rows, most)?;
        let found = match (self.data, bytes) {
            (Some(data), None) => values(data.get(), rows).map_err(|error| self.wrong(error))?,
            (None, Some(bytes)) => T::of_bytes(bytes, rows).map_err(|error| self.wrong(error))?,
            (None, None) => return Err(self.wrong("neither `data` nor `binary_data_size`")),
            (Some(_), Some(_)) => return Err(self.wrong("both `data` and `binary_data_size`")),
        };
        if found.len() != rows {
            return Err(self.wrong(format_args!("{} values, where the shape has {rows}", found.len())));
        }
        Ok(found)
    }

    /// A refusal that names this input.
    pub fn wrong(&self, reason: impl std::fmt::Display) -> Refused {
        let name = shown(&self.name);
        Refused::new(StatusCode::BAD_REQUEST, Some(&name), format!("input `{name}`: {reason}"))
    }
}

/// The beginning of what somebody sent.
pub(super) fn shown(sent: &str) -> String {
    sent.chars().take(SHOWN).collect()
}

/// An output, its values in the order of the rows.
#[derive(Debug, PartialEq)]
pub(super) struct Output<'a> {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub values: OutputValues<'a>,
}

/// See [`Output::values`].
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum OutputValues<'a> {
    Bytes(Vec<&'a str>),
    Fp64(Vec<f64>),
    Bool(Vec<bool>),
}

/// The names of the outputs, with their types and how many dimensions they have. `app` and `probability` have a row for
/// each question, as long as the longest answer: shorter ones are filled up with an empty name and 0.
pub(super) const OUTPUTS: [(&str, &str, usize); 7] = [
    ("app", "BYTES", 2),
    ("probability", "FP64", 2),
    ("confidence", "FP64", 1),
    ("abstains", "BOOL", 1),
    ("known", "BOOL", 1),
    ("degraded", "BOOL", 1),
    ("answer_id", "BYTES", 1),
];

/// The outputs of a request's answers, in the order of [`OUTPUTS`].
pub(super) fn outputs(answers: &[PredictResponse]) -> [Output<'_>; 7] {
    let (rows, apps) = (answers.len(), longest(answers));
    let names = answers.iter().flat_map(|answer| {
        let names = answer.apps.iter().map(|app| &*app.app);
        names.chain(std::iter::repeat("")).take(apps)
    });
    let probabilities = answers.iter().flat_map(|answer| {
        let probabilities = answer.apps.iter().map(|app| app.probability);
        probabilities.chain(std::iter::repeat(0.0)).take(apps)
    });
    let confidences = answers.iter().map(|answer| answer.confidence);
    let ids = answers.iter().map(|answer| &*answer.answer_id);
    let flags = |of: fn(&PredictResponse) -> bool| OutputValues::Bool(answers.iter().map(of).collect());
    let [matrix, column] = [vec![rows, apps], vec![rows]];
    [
        Output { name: "app", shape: matrix.clone(), values: OutputValues::Bytes(names.collect()) },
        Output { name: "probability", shape: matrix, values: OutputValues::Fp64(probabilities.collect()) },
        Output {
            name: "confidence",
            shape: column.clone(),
            values: OutputValues::Fp64(confidences.collect()),
        },
        Output { name: "abstains", shape: column.clone(), values: flags(|answer| answer.abstains) },
        Output { name: "known", shape: column.clone(), values: flags(|answer| answer.known) },
        Output { name: "degraded", shape: column.clone(), values: flags(|answer| answer.degraded) },
        Output { name: "answer_id", shape: column, values: OutputValues::Bytes(ids.collect()) },
    ]
}

impl OutputValues<'_> {
    /// The protocol's name of their type.
    pub fn datatype(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "BYTES",
            Self::Fp64(_) => "FP64",
            Self::Bool(_) => "BOOL",
        }
    }

    /// Adds them to what stands behind the JSON, and returns how many bytes they take there.
    pub fn add_to(&self, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        match self {
            Self::Bytes(texts) => {
                for text in texts {
                    // Names of apps and ids of answers: far below 4 GB.
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
            Self::Fp64(numbers) => numbers.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes())),
            Self::Bool(truths) => out.extend(truths.iter().map(|truth| u8::from(*truth))),
        }
        out.len() - before
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::answers::AppProbability;
    use super::*;

    fn read<T: Kind>(json: &str, bytes: Option<&[u8]>) -> std::result::Result<Vec<T>, String> {
        let input: Input<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        input.column(bytes, 3).map_err(|refused| match refused {
            Refused::Request { status, reason, .. } => format!("{} {reason}", status.as_u16()),
            Refused::Answer(failure) => format!("{failure:?}"),
        })
    }

    #[test]
    fn columns_are_read_from_json_and_bytes() {
        let json = |shape: &str, datatype: &str, data: &str| {
            format!(r#"{{"name": "x", "shape": {shape}, "datatype": "{datatype}"{data}}}"#)
        };
        let texts = [2_u32.to_le_bytes().as_slice(), b"ab", &0_u32.to_le_bytes()].concat();
        assert_eq!(
            read::<String>(&json("[2]", "BYTES", r#", "data": ["ab", ""]"#), None).unwrap(),
            ["ab", ""]
        );
        assert_eq!(
            read::<String>(&json("[2, 1]", "BYTES", r#", "data": [["ab"], [""]]"#), None).unwrap(),
            ["ab", ""]
        );
        assert_eq!(read::<String>(&json("[2]", "BYTES", ""), Some(&texts)).unwrap(), ["ab", ""]);
        assert_eq!(
            read::<i32>(&json("[2]", "INT32", ""), Some(&[5, 0, 0, 0, 255, 255, 255, 255])).unwrap(),
            [5, -1]
        );
        let cut = &texts[..texts.len() - 1];
        let long = 4_000_000_000_u32.to_le_bytes();
        for (shape, datatype, data, bytes, expected) in [
            ("[2]", "INT32", "", Some(&texts[..]), "datatype INT32, where BYTES"),
            ("[2, 2]", "BYTES", "", Some(&texts[..]), "shape [2, 2], where [n]"),
            ("[]", "BYTES", "", Some(&texts[..]), "shape []"),
            ("[-2]", "BYTES", "", Some(&texts[..]), "shape [-2]"),
            ("[0]", "BYTES", "", Some(&[][..]), "400 no row"),
            ("[4]", "BYTES", "", Some(&texts[..]), "413 more than 3"),
            ("[9223372036854775807]", "BYTES", "", Some(&texts[..]), "413"),
            ("[1]", "BYTES", "", Some(&texts[..]), "more than 1 values"),
            ("[3]", "BYTES", "", Some(&texts[..]), "2 values, where the shape has 3"),
            ("[2]", "BYTES", "", Some(cut), "within a value's length"),
            ("[1]", "BYTES", "", Some(&long[..]), "a value of 4000000000 bytes, where 0 are left"),
            ("[1]", "BYTES", "", Some(&[1, 0, 0, 0, 255][..]), "no UTF-8"),
            ("[2]", "BYTES", "", None, "neither"),
            ("[1]", "BYTES", r#", "data": ["a"]"#, Some(&texts[..]), "both"),
            ("[1]", "BYTES", r#", "data": ["a", "b"]"#, None, "2 values, where the shape has 1"),
            ("[2]", "BYTES", r#", "data": ["a"]"#, None, "1 values, where the shape has 2"),
            ("[1]", "BYTES", r#", "data": [1]"#, None, "expected strings"),
            ("[1]", "BYTES", r#", "data": [NaN]"#, None, "expected"),
            ("[1e9]", "BYTES", "", None, "i64"),
        ] {
            let error = read::<String>(&json(shape, datatype, data), bytes).unwrap_err();
            assert!(error.contains(expected), "{shape} {data}: {error}");
        }
        let error = read::<i32>(&json("[2]", "INT32", ""), Some(&[0; 7])).unwrap_err();
        assert!(error.contains("7 bytes, where 2 values have 8"), "{error}");
    }

    #[test]
    fn shorter_answers_are_filled_up() {
        let answer = |apps: &[(&str, f64)]| PredictResponse {
            answer_id: "a".to_owned(),
            model: "1".to_owned(),
            route: "trees".to_owned(),
            known: true,
            behind: false,
            degraded: false,
            apps: apps
                .iter()
                .map(|(app, probability)| AppProbability {
                    app: (*app).to_owned(),
                    probability: *probability,
                })
                .collect(),
            confidence: 0.75,
            abstains: apps.is_empty(),
        };
        let answers = [answer(&[("m", 0.5), ("n", 0.25)]), answer(&[("o", 0.125)])];
        let outputs = outputs(&answers);
        assert_eq!(outputs[0].shape, [2, 2]);
        assert_eq!(outputs[0].values, OutputValues::Bytes(vec!["m", "n", "o", ""]));
        assert_eq!(outputs[1].values, OutputValues::Fp64(vec![0.5, 0.25, 0.125, 0.0]));
        let described = outputs.iter().map(|o| (o.name, o.values.datatype(), o.shape.len()));
        assert_eq!(described.collect::<Vec<_>>(), OUTPUTS);
        let mut bytes = Vec::new();
        assert_eq!(outputs[0].values.add_to(&mut bytes), 19);
        assert_eq!(bytes[..5], [1, 0, 0, 0, b'm']);
        assert_eq!(outputs[3].values.add_to(&mut bytes), 2);
    }
}
