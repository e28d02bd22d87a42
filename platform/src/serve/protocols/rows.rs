//! The questions of one request.

use std::fmt;

use axum::http::StatusCode;
use foretap::data::UserId;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::admission::Priority;
use super::super::answers::{Failure, PredictResponse, Stages};
use super::super::question::PredictRequest;
use super::{Caller, Refused, Result, not_live};

/// Rows of one request that are worked on at once. The process has many callers, and a row that waits needs no core.
const AT_ONCE: usize = 4;
/// Rows that are begun together. A row that is worked on takes some kilobytes, one that waits or is done some hundred bytes.
const PART: usize = 64;
/// How often a request is answered anew because another model became live between its rows.
const ATTEMPTS: usize = 3;

/// How a row's field is named to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The request is one question.
    Alone,
    /// A list under this name, or the body itself.
    Listed(&'static str),
    /// A list for each field.
    Columns,
    /// A line each.
    Lines,
}

impl Place {
    /// The name of `field` in row `row`, which is counted from 0.
    pub fn of(self, row: usize, field: &str) -> String {
        match self {
            Self::Alone => field.to_owned(),
            Self::Listed(list) => format!("{list}[{row}].{field}"),
            Self::Columns => format!("{field}[{row}]"),
            Self::Lines => format!("line {}: {field}", row + 1),
        }
    }

    /// The name of row `row` itself.
    pub fn row(self, row: usize) -> String {
        match self {
            Self::Alone => "body".to_owned(),
            Self::Listed(list) => format!("{list}[{row}]"),
            Self::Columns => format!("[{row}]"),
            Self::Lines => format!("line {}", row + 1),
        }
    }
}

/// Reads a question: what `POST /v1/predict` takes, or the user alone as a string.
///
/// # Errors
/// It is neither.
pub(super) fn question(json: &str, (row, place): (usize, Place)) -> Result<PredictRequest> {
    let wrong = |error: serde_json::Error| Refused::json(&place.row(row), &error);
    match json.trim_ascii_start().as_bytes().first() {
        Some(b'"') => {
            let user = serde_json::from_str(json).map_err(wrong)?;
            Ok(PredictRequest { user, ..PredictRequest::default() })
        }
        Some(b'{') => serde_json::from_str(json).map_err(wrong),
        _ => {
            Err(Refused::field(&place.row(row), "a question is an object with `user`, or a user as a string"))
        }
    }
}

/// Refuses more rows than the settings allow.
///
/// # Errors
/// There are more.
pub(super) fn check_count(rows: usize, most: usize) -> Result<()> {
    match rows {
        0 => Err(Refused::new(StatusCode::BAD_REQUEST, Some("body"), "no row: send at least one")),
        rows if rows > most => {
            let reason = format!("more than {most} rows: send several smaller requests");
            Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, Some("body"), reason))
        }
        _ => Ok(()),
    }
}

/// Reads the questions of a JSON list, at most so many.
///
/// # Errors
/// It is no list, has no rows or too many, or a row is no question.
pub(super) fn questions(json: &str, most: usize, list: &'static str) -> Result<Vec<PredictRequest>> {
    let name = if list.is_empty() { "body" } else { list };
    let rows = items(json, most).map_err(|error| Refused::json(name, &error))?;
    check_count(rows.len(), most)?;
    let place = Place::Listed(list);
    rows.iter().enumerate().map(|(row, json)| question(json.get(), (row, place))).collect()
}

/// The items of a JSON list, and one more than `most` where there are more: memory is for so many, however long it is.
fn items(json: &str, most: usize) -> serde_json::Result<Vec<&RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let items = Items { most }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(items)
}

struct Items {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() <= self.most {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

/// Values of one kind that a list holds, flat or nested.
pub(super) trait Element: Sized {
    /// What is expected.
    const EXPECTED: &'static str;

    /// The value of a string.
    fn of_text(_text: &str) -> Option<Self> {
        None
    }

    /// The value of an integer.
    fn of_integer(_integer: i64) -> Option<Self> {
        None
    }
}

impl Element for String {
    const EXPECTED: &'static str = "strings";

    fn of_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Element for i32 {
    const EXPECTED: &'static str = "integers of 32 bits";

    fn of_integer(integer: i64) -> Option<Self> {
        Self::try_from(integer).ok()
    }
}

/// The values of a JSON list in their order, however it is nested, and one more than `most` where there are more.
pub(super) fn values<T: Element>(json: &str, most: usize) -> serde_json::Result<Vec<T>> {
    let mut values = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Values { values: &mut values, most }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(values)
}

struct Values<'v, T> {
    values: &'v mut Vec<T>,
    most: usize,
}

impl<T: Element> Values<'_, T> {
    fn push<E: serde::de::Error>(self, value: Option<T>) -> std::result::Result<(), E> {
        let value = value.ok_or_else(|| E::custom(format_args!("expected {}", T::EXPECTED)))?;
        if self.values.len() <= self.most {
            self.values.push(value);
        }
        Ok(())
    }
}

impl<'de, T: Element> DeserializeSeed<'de> for Values<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for Values<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let Self { values, most } = self;
        while list.next_element_seed(Values { values: &mut *values, most })?.is_some() {}
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        self.push(T::of_text(text))
    }

    fn visit_i64<E: serde::de::Error>(self, integer: i64) -> std::result::Result<(), E> {
        self.push(T::of_integer(integer))
    }

    fn visit_u64<E: serde::de::Error>(self, integer: u64) -> std::result::Result<(), E> {
        self.push(i64::try_from(integer).ok().and_then(T::of_integer))
    }
}

/// The questions of columns of equal length. An empty time is now; one number of apps is for all rows.
///
/// # Errors
/// The columns have no rows or too many, or not as many as `users`.
pub(super) fn of_columns(
    users: Vec<String>,
    times: Option<Vec<String>>,
    apps: Option<Vec<i32>>,
    most: usize,
) -> Result<Vec<PredictRequest>> {
    let rows = users.len();
    check_count(rows, most)?;
    let fits = |field: &str, found: Option<usize>, one_is_enough: bool| match found {
        Some(found) if found != rows && !(one_is_enough && found == 1) => {
            Err(Refused::field(field, format_args!("{found} values, where `user` has {rows}")))
        }
        _ => Ok(()),
    };
    fits("at", times.as_ref().map(Vec::len), false)?;
    fits("apps", apps.as_ref().map(Vec::len), true)?;
    let mut times = times.into_iter().flatten();
    let questions = users.into_iter().enumerate().map(|(row, user)| {
        let apps = apps.as_ref().and_then(|apps| apps.get(row).or_else(|| apps.first()));
        let apps = apps.map(|apps| usize::try_from(*apps).unwrap_or(0));
        let at = times.next().filter(|at| !at.is_empty());
        PredictRequest { user, at, apps, ..PredictRequest::default() }
    });
    Ok(questions.collect())
}

impl Caller {
    /// The answers of a request's rows, in their order and all by one version: `version`, where there is one. Several rows
    /// are done in the background, if the request's header `Priority` says nothing else.
    ///
    /// # Errors
    /// A row is refused: then no row is answered. Or the version is not live.
    pub(super) async fn answer(
        &self,
        questions: &[PredictRequest],
        version: Option<&str>,
        place: Place,
    ) -> Result<Vec<PredictResponse>> {
        check_count(questions.len(), self.served.max_rows)?;
        let is_theirs = |question: &PredictRequest| {
            question.user.parse().map_or(true, |user: UserId| self.identity.speaks_for(user))
        };
        if let Some(row) = questions.iter().position(|question| !is_theirs(question)) {
            let reason = "a device asks for its own user alone";
            return Err(Refused::new(StatusCode::FORBIDDEN, Some(&place.of(row, "user")), reason));
        }
        let priority = self.priority.unwrap_or(match questions.len() {
            1 => Priority::Interactive,
            _ => Priority::Background,
        });
        for _ in 0..ATTEMPTS {
            let answers = self.attempt(questions, place, priority).await?;
            let Some(model) = answers.first().map(|answer| answer.model.clone()) else { break };
            match version {
                Some(version) if version != model => return Err(not_live(&model)),
                _ if answers.iter().all(|answer| answer.model == model) => return Ok(answers),
                _ => {}
            }
        }
        let reason = "another model became live meanwhile: send it again";
        Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, None, reason))
    }

    async fn attempt(
        &self,
        questions: &[PredictRequest],
        place: Place,
        priority: Priority,
    ) -> Result<Vec<PredictResponse>> {
        let mut answers = Vec::with_capacity(questions.len());
        for part in questions.chunks(PART) {
            let first = answers.len();
            let rows = part.iter().enumerate();
            let asked: Vec<_> =
                rows.map(|(row, question)| self.ask(question, (first + row, place), priority)).collect();
            let part: Vec<PredictResponse> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            answers.extend(part);
        }
        Ok(answers)
    }

    async fn ask(
        &self,
        question: &PredictRequest,
        (row, place): (usize, Place),
        priority: Priority,
    ) -> Result<PredictResponse> {
        // Nobody in memory is waited for: without this a large request would keep its core from all others.
        tokio::task::yield_now().await;
        match self.server.answers.predict(question, priority).await {
            Ok((answer, stages)) => {
                record(stages);
                Ok(answer)
            }
            Err(Failure::Request(error)) => {
                let field = place.of(row, error.field_name().unwrap_or("question"));
                Err(Refused::Answer(Failure::Request(error.field(field))))
            }
            Err(failure) => Err(Refused::Answer(failure)),
        }
    }
}

/// As `POST /v1/predict` does.
fn record(stages: Stages) {
    let parts =
        [("queue", stages.queue), ("state", stages.state), ("model", stages.model), ("total", stages.total)];
    for (name, took) in parts {
        metrics::histogram!("foretap_answer_seconds", "stage" => name).record(took.as_secs_f64());
    }
}

/// The number of apps in the longest answer: the shorter ones are filled up where all must be of one length.
pub(super) fn longest(answers: &[PredictResponse]) -> usize {
    answers.iter().map(|answer| answer.apps.len()).max().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said<T>(result: Result<T>) -> String {
        match result {
            Err(Refused::Request { status, reason, .. }) => format!("{} {reason}", status.as_u16()),
            Err(Refused::Answer(failure)) => format!("{failure:?}"),
            Ok(_) => "nothing is wrong".to_owned(),
        }
    }

    #[test]
    fn lists_are_read_up_to_the_limit() {
        let user = r#""u00000000000000aa""#;
        let list = |rows: usize| format!("[{}]", vec![user; rows].join(","));
        for (rows, expected) in [(0, "400 no row"), (1, "nothing"), (3, "nothing"), (4, "413 more than 3")] {
            let found = said(questions(&list(rows), 3, "instances"));
            assert!(found.starts_with(expected), "{rows}: {found}");
        }
        assert_eq!(items(&list(5_000), 3).unwrap().len(), 4);
        for (json, expected) in [
            (r#"[{"user": "x"}, 7]"#, "instances[1]"),
            (r#"[{"user": "x"}, {"usr": "x"}]"#, "instances[1]"),
            (r#"[{"user": "x", "apps": NaN}]"#, "instances"),
            (r#"{"user": "x"}"#, "instances"),
            ("[\"x\"", "instances"),
            ("[\"x\"] 7", "instances"),
        ] {
            let found = said(questions(json, 3, "instances"));
            assert!(found.starts_with("400") && found.contains(expected), "{json}: {found}");
        }
    }

    #[test]
    fn values_are_flat_or_nested_and_of_one_kind() {
        let texts = |json: &str| values::<String>(json, 3);
        assert_eq!(texts(r#"["a", "b"]"#).unwrap(), ["a", "b"]);
        assert_eq!(texts(r#"[["a"], ["b", "c"]]"#).unwrap(), ["a", "b", "c"]);
        assert_eq!(values::<i32>("[[[5]], 7]", 3).unwrap(), [5, 7]);
        assert_eq!(texts(r#"["a", "b", "c", "d", "e", "f"]"#).unwrap().len(), 4);
        for (json, expected) in
            [(r#"["a", 1]"#, "expected strings"), (r#"["a", null]"#, "null"), (r#"{"a": 1}"#, "map")]
        {
            let error = texts(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        for (json, expected) in [
            ("[1.5]", "floating point"),
            ("[3000000000]", "32 bits"),
            ("[NaN]", "expected"),
            ("[true]", "boolean"),
        ] {
            let error = values::<i32>(json, 3).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(values::<i32>(&deep, 3).unwrap_err().to_string().contains("recursion"));
    }

    #[test]
    fn columns_are_of_one_length() {
        let texts = |count: usize| vec!["x".to_owned(); count];
        let read = of_columns(texts(2), Some(vec![String::new(), "t".to_owned()]), Some(vec![4]), 3).unwrap();
        let fields = read.iter().map(|question| (question.at.as_deref(), question.apps));
        assert_eq!(fields.collect::<Vec<_>>(), [(None, Some(4)), (Some("t"), Some(4))]);
        let each = of_columns(texts(2), None, Some(vec![4, -1]), 3).unwrap();
        assert_eq!([each[0].apps, each[1].apps], [Some(4), Some(0)]);
        for (found, expected) in [
            (of_columns(texts(4), None, None, 3), "413"),
            (of_columns(texts(0), None, None, 3), "400 no row"),
            (of_columns(texts(2), Some(texts(1)), None, 3), "field `at`: 1 values, where `user` has 2"),
            (of_columns(texts(2), None, Some(vec![1, 2, 3]), 3), "field `apps`: 3 values"),
        ] {
            let found = said(found);
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }
}
