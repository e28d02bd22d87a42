//! Amazon SageMaker's calls to a container, for endpoints and for batch transform: a row a line, an object, or a list.
//!
//! | `Content-Type` | a request | its answer |
//! | --- | --- | --- |
//! | `text/csv` | `user[,at[,apps]]` a line, no head | `abstains,confidence,app,probability,app,probability,..` a line |
//! | `application/jsonlines` | a question of `POST /v1/predict`, or the user as a string, a line | an answer a line |
//! | `application/json` | a question, or a list of them | an answer, or a list |
//!
//! `Accept` chooses another form of the answer. A request is answered whole, or refused with the row at fault. SageMaker
//! hands through `X-Amzn-SageMaker-Custom-Attributes`; nothing is done with it here.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::super::answers::PredictResponse;
use super::super::http::{Sent, Shared};
use super::super::question::PredictRequest;
use super::rows::{Place, check_count, question, questions};
use super::{Caller, Refused, Result};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/invocations", post(invocations)).route("/models/{model}/invoke", post(invoke))
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    JsonLines,
    Json,
}

impl Form {
    const ALL: [(&str, Self); 5] = [
        ("text/csv", Self::Csv),
        ("application/jsonlines", Self::JsonLines),
        ("application/x-jsonlines", Self::JsonLines),
        ("application/x-ndjson", Self::JsonLines),
        ("application/json", Self::Json),
    ];

    fn named(media_type: &str) -> Option<Self> {
        let name = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, form)| *form)
    }

    /// Of the request: JSON where it does not say.
    fn sent(headers: &HeaderMap) -> Result<Self> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        value.to_str().ok().and_then(Self::named).ok_or_else(|| {
            let reason = "send `Content-Type: text/csv`, `application/jsonlines` or `application/json`";
            Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("Content-Type"), reason)
        })
    }

    /// Of the answer: the first that is known here, and the request's where any will do.
    fn accepted(headers: &HeaderMap, sent: Self) -> Result<Self> {
        let mut wanted = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            wanted
                .extend(value.to_str().unwrap_or("").split(',').map(str::trim).filter(|one| !one.is_empty()));
        }
        let known = wanted.iter().find_map(|one| match one.split(';').next().unwrap_or("").trim() {
            "*/*" | "application/*" if sent != Self::Csv => Some(sent),
            "*/*" | "text/*" if sent == Self::Csv => Some(sent),
            _ => Self::named(one),
        });
        match known {
            Some(form) => Ok(form),
            None if wanted.is_empty() => Ok(sent),
            None => {
                let reason = "accept `text/csv`, `application/jsonlines` or `application/json`";
                Err(Refused::new(StatusCode::NOT_ACCEPTABLE, Some("Accept"), reason))
            }
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::JsonLines => "application/jsonlines",
            Self::Json => "application/json",
        }
    }
}

async fn invoke(
    caller: Caller,
    Path(model): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response> {
    caller.live(&model, None)?;
    invocations(caller, headers, sent).await
}

async fn invocations(caller: Caller, headers: HeaderMap, Sent(body): Sent) -> Result<Response> {
    let sent = Form::sent(&headers)?;
    let form = Form::accepted(&headers, sent)?;
    let (questions, place) = read(&body, sent, caller.served.max_rows)?;
    let answers = caller.answer(&questions, None, place).await?;
    let body = write(&answers, form, place)?;
    let content_type = HeaderValue::from_static(form.content_type());
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// The rows of a body.
fn read(body: &[u8], form: Form, most: usize) -> Result<(Vec<PredictRequest>, Place)> {
    let text = std::str::from_utf8(body).map_err(|error| Refused::field("body", error))?;
    match form {
        Form::Json => json(text, most),
        Form::Csv | Form::JsonLines => {
            check_count(text.lines().take(most.saturating_add(1)).count(), most)?;
            let of_line = |(row, line): (usize, &str)| match form {
                Form::Csv => of_csv(line, row),
                _ => question(line, (row, Place::Lines)),
            };
            Ok((text.lines().enumerate().map(of_line).collect::<Result<_>>()?, Place::Lines))
        }
    }
}

/// A question, or a list of them.
pub(super) fn json(text: &str, most: usize) -> Result<(Vec<PredictRequest>, Place)> {
    if text.trim_ascii_start().starts_with('[') {
        return Ok((questions(text, most, "")?, Place::Listed("")));
    }
    Ok((vec![question(text, (0, Place::Alone))?], Place::Alone))
}

/// `user[,at[,apps]]`: none of them has a comma, or needs quotes.
fn of_csv(line: &str, row: usize) -> Result<PredictRequest> {
    let unquoted = |field: &str| -> String {
        let field = field.trim();
        field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field).to_owned()
    };
    let mut fields = line.split(',').map(unquoted);
    let user = fields.next().unwrap_or_default();
    let at = fields.next().filter(|at| !at.is_empty());
    let apps = fields.next().filter(|apps| !apps.is_empty()).map(|apps| apps.parse::<usize>()).transpose();
    let apps = apps.map_err(|_| Refused::field(&Place::Lines.of(row, "apps"), "no whole number"))?;
    match fields.next() {
        Some(_) => Err(Refused::field(&Place::Lines.row(row), "more than `user,at,apps`")),
        None => Ok(PredictRequest { user, at, apps, ..PredictRequest::default() }),
    }
}

fn write(answers: &[PredictResponse], form: Form, place: Place) -> Result<Vec<u8>> {
    let unwritten = |error: serde_json::Error| {
        let reason = format!("the answer cannot be written: {error}");
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, None, reason)
    };
    let mut out = Vec::new();
    match form {
        Form::Json if place == Place::Alone => {
            for answer in answers {
                serde_json::to_writer(&mut out, answer).map_err(unwritten)?;
            }
        }
        Form::Json => serde_json::to_writer(&mut out, answers).map_err(unwritten)?,
        Form::JsonLines => {
            for answer in answers {
                serde_json::to_writer(&mut out, answer).map_err(unwritten)?;
                out.push(b'\n');
            }
        }
        Form::Csv => {
            for answer in answers {
                out.extend_from_slice(to_csv(answer).as_bytes());
                out.push(b'\n');
            }
        }
    }
    Ok(out)
}

/// Numbers are written so that they are read back to the last bit.
fn to_csv(answer: &PredictResponse) -> String {
    let mut line = format!("{},{}", answer.abstains, answer.confidence);
    for app in &answer.apps {
        let is_plain = !app.app.contains([',', '"', '\n', '\r']);
        let name = match is_plain {
            true => app.app.clone(),
            false => format!("\"{}\"", app.app.replace('"', "\"\"")),
        };
        line.push_str(&format!(",{name},{}", app.probability));
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::answers::AppProbability;
    use super::*;

    fn headers(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn forms_are_chosen_by_the_headers() {
        let sent = |value| Form::sent(&headers(&[(header::CONTENT_TYPE, value)])).ok();
        assert_eq!(sent("text/csv; charset=utf-8"), Some(Form::Csv));
        assert_eq!(sent("Application/JSONLines"), Some(Form::JsonLines));
        assert_eq!(sent("image/png"), None);
        assert_eq!(Form::sent(&HeaderMap::new()).ok(), Some(Form::Json));
        let accepted = |value, sent| Form::accepted(&headers(&[(header::ACCEPT, value)]), sent).ok();
        assert_eq!(Form::accepted(&HeaderMap::new(), Form::Csv).ok(), Some(Form::Csv));
        for (value, sent, expected) in [
            ("*/*", Form::Csv, Some(Form::Csv)),
            ("*/*", Form::JsonLines, Some(Form::JsonLines)),
            ("application/json", Form::Csv, Some(Form::Json)),
            ("image/png, text/csv;q=0.5", Form::Json, Some(Form::Csv)),
            ("text/*", Form::Json, None),
            ("image/png", Form::Json, None),
            ("", Form::Json, Some(Form::Json)),
        ] {
            assert_eq!(accepted(value, sent), expected, "{value}");
        }
    }

    #[test]
    fn csv_is_read_by_line_and_refused_by_line() {
        let (read, place) = read(b"u1\r\nu2,2026-11-30T08:15:00Z\n\"u3\",,5\n", Form::Csv, 3).unwrap();
        let fields: Vec<_> = read.iter().map(|q| (q.user.as_str(), q.at.as_deref(), q.apps)).collect();
        let at = Some("2026-11-30T08:15:00Z");
        assert_eq!(fields, [("u1", None, None), ("u2", at, None), ("u3", None, Some(5))]);
        assert_eq!(place, Place::Lines);
        for (body, expected) in [
            (&b"u1,,five"[..], "line 1: apps"),
            (b"u1\nu2,,1,7", "line 2"),
            (b"u1\nu2\nu3\nu4", "more than 3 rows"),
            (b"", "no row"),
            (b"\xff\xfe", "utf-8"),
        ] {
            let Err(Refused::Request { reason, .. }) = super::read(body, Form::Csv, 3) else {
                unreachable!("{expected}")
            };
            assert!(reason.contains(expected), "{expected}: {reason}");
        }
    }

    #[test]
    fn csv_is_written_so_that_it_can_be_read_back() {
        let app = |app: &str, probability| AppProbability { app: app.to_owned(), probability };
        let answer = PredictResponse {
            answer_id: String::new(),
            model: "1".to_owned(),
            route: "trees".to_owned(),
            known: true,
            behind: false,
            degraded: false,
            apps: vec![app("org.example.mail", 0.1 + 0.2), app("a,\"b\"", 1e-7)],
            confidence: 0.5,
            abstains: false,
        };
        assert_eq!(
            to_csv(&answer),
            "false,0.5,org.example.mail,0.30000000000000004,\"a,\"\"b\"\"\",0.0000001"
        );
    }
}
