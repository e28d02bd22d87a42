//! TorchServe's predictions: the body of `POST /predictions/{model}` is a question as `POST /v1/predict` takes it, or a
//! list of them, as JSON or as the part `data` of a form. Of the management calls those that look are answered
//! (`management`); workers and defaults are not set here.

use axum::extract::Path;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::super::http::{Sent, Shared};
use super::rows::Place;
use super::{Caller, Refused, Result, sagemaker};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/predictions/{model}", post(predict))
        .route("/predictions/{model}/{version}", post(predict_version))
}

async fn predict(
    caller: Caller,
    Path(model): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response> {
    answer(&caller, (&model, None), &headers, &sent).await
}

async fn predict_version(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response> {
    answer(&caller, (&model, Some(&version)), &headers, &sent).await
}

async fn answer(
    caller: &Caller,
    (model, version): (&str, Option<&str>),
    headers: &HeaderMap,
    Sent(body): &Sent,
) -> Result<Response> {
    caller.live(model, version)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let sent = match boundary(content_type) {
        Some(boundary) => part(body, boundary).ok_or_else(|| {
            Refused::field("data", "the form has no such part: send the question as `data`")
        })?,
        None => &body[..],
    };
    let text = std::str::from_utf8(sent).map_err(|error| Refused::field("body", error))?;
    let (questions, place) = sagemaker::json(text, caller.served.max_rows)?;
    let answers = caller.answer(&questions, version, place).await?;
    match (answers.first(), place) {
        (Some(answer), Place::Alone) => Ok(Json(answer).into_response()),
        _ => Ok(Json(&answers).into_response()),
    }
}

/// What parts the parts of a form from one another, if it is one.
fn boundary(content_type: &str) -> Option<&str> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("boundary");
        is_it.then(|| value.trim().trim_matches('"')).filter(|value| !value.is_empty())
    })
}

/// The content of a form's part `data` or `body`, as TorchServe's own handlers look for it.
fn part<'a>(form: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut rest = after(form, delimiter.as_bytes())?;
    loop {
        let head = &rest[..find(rest, b"\r\n\r\n")?];
        let content = after(rest, b"\r\n\r\n")?;
        let end = find(content, format!("\r\n{delimiter}").as_bytes())?;
        let head = String::from_utf8_lossy(head);
        if head.contains("name=\"data\"") || head.contains("name=\"body\"") {
            return Some(&content[..end]);
        }
        rest = after(&content[end..], delimiter.as_bytes())?;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn after<'a>(bytes: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    find(bytes, what).map(|at| &bytes[at + what.len()..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_found_in_a_form() {
        let form = b"--X\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
            --X\r\nContent-Disposition: form-data; name=\"data\"; filename=\"q.json\"\r\nContent-Type: text/plain\r\n\r\n\
            {\"user\": \"u\"}\r\n--X--\r\n";
        assert_eq!(boundary("multipart/form-data; boundary=\"X\""), Some("X"));
        assert_eq!(part(form, "X").unwrap(), b"{\"user\": \"u\"}");
        assert_eq!(boundary("application/json; boundary=X"), None);
        // Cut anywhere, it is no form, or has no such part.
        for end in 0..form.len() - 10 {
            assert_eq!(part(&form[..end], "X"), None, "{end}");
        }
        assert_eq!(part(b"--X\r\n\r\n\r\n--X--", "X"), None);
        assert_eq!(part(form, "Y"), None);
    }
}
