//! The Open Inference Protocol, version 2, over HTTP, as the clients of KServe and Triton speak it, with the binary data
//! extension.
//!
//! | input | | |
//! | --- | --- | --- |
//! | `user` | `BYTES [n]` | the keyed hashes of users' ids |
//! | `at` | `BYTES [n]`, optional | when, as RFC 3339; an empty one is now |
//! | `apps` | `INT32 [n]` or `[1]`, optional | how many apps |
//!
//! A shape `[n, 1]` is taken, too. The outputs are those of [`OUTPUTS`], all of them or as the request names them. Of the
//! request's parameters `binary_data_output` is read, of an output's `binary_data`; no shared memory, no classification.

use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::http::{Sent, Shared};
use super::super::question::PredictRequest;
use super::rows::{Place, of_columns};
use super::tensors::{Input, Kind, OUTPUTS, Output, outputs, shown};
use super::{Caller, Refused, Result};

/// How long the JSON is where bytes follow it.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// The inputs, with their types.
const INPUTS: [(&str, &str); 3] =
    [("user", String::DATATYPE), ("at", String::DATATYPE), ("apps", i32::DATATYPE)];

/// Those that are for anybody.
pub(super) fn probes() -> Router<Shared> {
    Router::new().route("/v2/health/live", get(live)).route("/v2/health/ready", get(ready))
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}", get(version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer_version))
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(server): State<Shared>) -> Response {
    match server.is_ready.load(Ordering::Acquire) {
        true => Json(json!({ "ready": true })).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false }))).into_response(),
    }
}

async fn server() -> Json<Value> {
    Json(json!({
        "name": "foretap",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

async fn metadata(caller: Caller, Path(model): Path<String>) -> Result<Json<Value>> {
    caller.live(&model, None).map(|live| Json(described(&model, &live)))
}

async fn version_metadata(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    caller.live(&model, Some(&version)).map(|live| Json(described(&model, &live)))
}

fn described(model: &str, live: &str) -> Value {
    let inputs = INPUTS.map(|(name, datatype)| json!({ "name": name, "datatype": datatype, "shape": [-1] }));
    let outputs = OUTPUTS.map(|(name, datatype, dimensions)| {
        json!({ "name": name, "datatype": datatype, "shape": vec![-1; dimensions] })
    });
    json!({
        "name": model,
        "versions": [live],
        "platform": "foretap",
        "inputs": inputs,
        "outputs": outputs,
    })
}

async fn model_ready(caller: Caller, Path(model): Path<String>) -> Result<Json<Value>> {
    caller.live(&model, None).map(|_| Json(json!({ "name": model, "ready": true })))
}

async fn version_ready(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    caller.live(&model, Some(&version)).map(|_| Json(json!({ "name": model, "ready": true })))
}

async fn infer(
    caller: Caller,
    Path(model): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response> {
    answer(&caller, (&model, None), &headers, &sent).await
}

async fn infer_version(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response> {
    answer(&caller, (&model, Some(&version)), &headers, &sent).await
}

/// What `infer` takes. Fields that are not here are other servers', and change nothing.
#[derive(Debug, Deserialize)]
struct InferRequest<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(default)]
    outputs: Option<Vec<Wanted>>,
}

/// An output that the request names.
#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

async fn answer(
    caller: &Caller,
    (model, version): (&str, Option<&str>),
    headers: &HeaderMap,
    Sent(body): &Sent,
) -> Result<Response> {
    caller.live(model, version)?;
    let (json, bytes) = split(headers, body)?;
    let request: InferRequest<'_> =
        serde_json::from_slice(json).map_err(|error| Refused::json("body", &error))?;
    let wanted = wanted(&request)?;
    let questions = questions(&request.inputs, bytes, caller.served.max_rows)?;
    let answers = caller.answer(&questions, version, Place::Columns).await?;
    let version = answers.first().map_or("", |answer| &answer.model);
    let found = outputs(&answers);
    let mut bytes = Vec::new();
    let outputs: Vec<Value> = wanted
        .iter()
        .filter_map(|(at, is_binary)| Some(written(found.get(*at)?, *is_binary, &mut bytes)))
        .collect();
    let mut answer = json!({ "model_name": model, "model_version": version, "outputs": outputs });
    if let Some(id) = request.id {
        answer["id"] = id.into();
    }
    if !wanted.iter().any(|(_, is_binary)| *is_binary) {
        return Ok(Json(answer).into_response());
    }
    let json = answer.to_string();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (HeaderName::from_static(HEADER_LENGTH), HeaderValue::from(json.len())),
    ];
    Ok((headers, [json.as_bytes(), &bytes].concat()).into_response())
}

/// The JSON of a request, and the bytes behind it.
fn split<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<(&'b [u8], &'b [u8])> {
    let Some(length) = headers.get(HEADER_LENGTH) else { return Ok((body, &[])) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length.and_then(|length| body.split_at_checked(length)).ok_or_else(|| {
        let reason = format!("no length of the JSON within the {} bytes of the body", body.len());
        Refused::new(StatusCode::BAD_REQUEST, Some("Inference-Header-Content-Length"), reason)
    })
}

/// Which outputs are wanted, by their places in [`OUTPUTS`], and whether as bytes.
fn wanted(request: &InferRequest<'_>) -> Result<Vec<(usize, bool)>> {
    let is_true = |parameters: &Option<Map<String, Value>>, name: &str| {
        let value = parameters.as_ref().and_then(|parameters| parameters.get(name));
        value.and_then(Value::as_bool)
    };
    let all_binary = is_true(&request.parameters, "binary_data_output").unwrap_or(false);
    let named = request.outputs.as_deref().unwrap_or_default();
    if named.is_empty() {
        return Ok((0..OUTPUTS.len()).map(|at| (at, all_binary)).collect());
    }
    let mut found: Vec<(usize, bool)> = Vec::new();
    for output in named {
        let wrong = |reason: &str| {
            let name = shown(&output.name);
            Refused::new(StatusCode::BAD_REQUEST, Some(&name), format!("output `{name}`: {reason}"))
        };
        let Some(at) = OUTPUTS.iter().position(|(name, ..)| *name == output.name) else {
            let names = OUTPUTS.map(|(name, ..)| name).join(", ");
            return Err(wrong(&format!("no such output: there are {names}")));
        };
        if found.iter().any(|(known, _)| *known == at) {
            return Err(wrong("it is named twice"));
        }
        let has = |name: &str| output.parameters.as_ref().is_some_and(|all| all.contains_key(name));
        if has("classification") || has("shared_memory_region") {
            return Err(wrong("neither `classification` nor shared memory is done here"));
        }
        found.push((at, is_true(&output.parameters, "binary_data").unwrap_or(all_binary)));
    }
    Ok(found)
}

/// The questions of the inputs, whose bytes stand in their order.
fn questions(inputs: &[Input<'_>], mut bytes: &[u8], most: usize) -> Result<Vec<PredictRequest>> {
    let (mut users, mut times, mut apps) = (None, None, None);
    for input in inputs {
        let own = match input.binary_size()? {
            None => None,
            Some(size) => {
                let Some((own, rest)) = bytes.split_at_checked(size) else {
                    let left = bytes.len();
                    return Err(input.wrong(format_args!("{size} bytes, where {left} are left in the body")));
                };
                bytes = rest;
                Some(own)
            }
        };
        let is_again = match &*input.name {
            "user" => users.replace(input.column(own, most)?).is_some(),
            "at" => times.replace(input.column(own, most)?).is_some(),
            "apps" => apps.replace(input.column(own, most)?).is_some(),
            _ => return Err(input.wrong("no such input: there are user, at, apps")),
        };
        if is_again {
            return Err(input.wrong("it is there twice"));
        }
    }
    if !bytes.is_empty() {
        return Err(Refused::field("body", format_args!("{} bytes belong to no input", bytes.len())));
    }
    let users = users.ok_or_else(|| Refused::field("inputs", "the input `user` is missing"))?;
    of_columns(users, times, apps, most)
}

fn written(output: &Output<'_>, is_binary: bool, bytes: &mut Vec<u8>) -> Value {
    let mut written = json!({
        "name": output.name,
        "datatype": output.values.datatype(),
        "shape": output.shape,
    });
    match is_binary {
        true => written["parameters"] = json!({ "binary_data_size": output.values.add_to(bytes) }),
        false => written["data"] = json!(output.values),
    }
    written
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
    fn the_json_ends_where_the_header_says() {
        let headers = |length: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER_LENGTH, length.parse().unwrap());
            headers
        };
        assert_eq!(split(&HeaderMap::new(), b"{}").unwrap(), (&b"{}"[..], &[][..]));
        assert_eq!(split(&headers("2"), b"{}ab").unwrap(), (&b"{}"[..], &b"ab"[..]));
        for length in ["5", "-1", "two", "99999999999999999999"] {
            assert!(said(split(&headers(length), b"{}ab")).contains("4 bytes"), "{length}");
        }
    }

    #[test]
    fn inputs_and_outputs_are_known_ones_once() {
        let user = r#"{"name": "user", "shape": [1], "datatype": "BYTES", "data": ["u"]}"#;
        let bytes =
            r#"{"name": "at", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}"#;
        let of = |inputs: &str, outputs: &str| format!(r#"{{"inputs": [{inputs}], "outputs": [{outputs}]}}"#);
        let try_it = |json: &str, bytes: &[u8]| {
            let request: InferRequest<'_> = serde_json::from_str(json).unwrap();
            wanted(&request).and_then(|_| questions(&request.inputs, bytes, 3))
        };
        let read = try_it(&of(&format!("{user}, {bytes}"), ""), &[1, 0, 0, 0, b't']).unwrap();
        assert_eq!(read[0].at.as_deref(), Some("t"));
        for (json, bytes, expected) in [
            (of(user, ""), &[0; 3][..], "3 bytes belong to no input"),
            (of(bytes, ""), &[0; 4], "5 bytes, where 4 are left"),
            (of("", ""), &[], "`user` is missing"),
            (of(&format!("{user}, {user}"), ""), &[], "there twice"),
            (of(&user.replace("user", "usr"), ""), &[], "no such input"),
            (of(user, r#"{"name": "label"}"#), &[], "no such output"),
            (of(user, r#"{"name": "app"}, {"name": "app"}"#), &[], "named twice"),
            (of(user, r#"{"name": "app", "parameters": {"classification": 3}}"#), &[], "classification"),
        ] {
            let found = said(try_it(&json, bytes));
            assert!(found.starts_with("400") && found.contains(expected), "{json}: {found}");
        }
        let some =
            of(user, r#"{"name": "confidence", "parameters": {"binary_data": true}}, {"name": "app"}"#);
        assert_eq!(wanted(&serde_json::from_str(&some).unwrap()).unwrap(), [(2, true), (0, false)]);
    }
}
