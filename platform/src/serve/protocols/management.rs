//! What SageMaker and TorchServe share: `/ping`, and looking at models. Both come from the same server, so that most
//! answers fit both. One does not: `GET /models/{model}` is a list where TorchServe's clients ask, and an object where
//! SageMaker alone does.
//!
//! Models are loaded by the registry and approved by people. So `POST /models` answers 409 about the model that is here, as
//! SageMaker has it, and 405 about any other, as a TorchServe whose model control is off; `DELETE` answers 405 and 404.

use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::http::{Sent, Shared};
use super::{Caller, Refused, Result};

/// Those that are for anybody.
pub(super) fn probes() -> Router<Shared> {
    Router::new().route("/ping", get(ping))
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/models", get(list).post(load))
        .route("/models/{model}", get(describe).delete(unload))
        .route("/models/{model}/{version}", get(describe_version))
}

async fn ping(State(server): State<Shared>) -> Response {
    match server.is_ready.load(Ordering::Acquire) {
        true => Json(json!({ "status": "Healthy" })).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "Unhealthy" }))).into_response(),
    }
}

/// Where the registry keeps a version, below the folder of the data.
fn url(version: &str) -> String {
    format!("models/{version:0>6}/bundle.foretap")
}

async fn list(caller: Caller) -> Result<Json<Value>> {
    let name = &caller.served.name;
    let live = caller.live(name, None)?;
    Ok(Json(json!({ "models": [{ "modelName": name, "modelUrl": url(&live) }] })))
}

async fn describe(caller: Caller, Path(model): Path<String>) -> Result<Json<Value>> {
    let live = caller.live(&model, None)?;
    match caller.served.is_torchserve {
        true => Ok(Json(description(&model, &live))),
        false => Ok(Json(json!({ "modelName": model, "modelUrl": url(&live) }))),
    }
}

async fn describe_version(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    // As TorchServe has it; there are no others.
    let version = (version != "all").then_some(version);
    let live = caller.live(&model, version.as_deref())?;
    Ok(Json(description(&model, &live)))
}

/// As TorchServe describes a version. One worker is this process; rows are not put together.
fn description(model: &str, live: &str) -> Value {
    json!([{
        "modelName": model,
        "modelVersion": live,
        "modelUrl": url(live),
        "engine": "foretap",
        "runtime": "rust",
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 1,
        "maxBatchDelay": 0,
        "loadedAtStartup": true,
        "workers": [{ "id": "0", "status": "READY", "gpu": false }],
    }])
}

/// What SageMaker asks to load; TorchServe's clients write more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Load {
    model_name: Option<String>,
}

async fn load(caller: Caller, Sent(body): Sent) -> Response {
    let load: Load = serde_json::from_slice(&body).unwrap_or_default();
    if load.model_name.as_deref() == Some(caller.served.name.as_str()) {
        let reason = "this model is here already; another version of it is made live by `foretap approve`";
        return Refused::new(StatusCode::CONFLICT, Some("model_name"), reason).into_response();
    }
    not_here(
        "models are not loaded by this call: `foretap train` makes one, and `foretap approve` makes it live",
    )
}

async fn unload(caller: Caller, Path(model): Path<String>) -> Response {
    match caller.live(&model, None) {
        Ok(_) => {
            not_here("the live model is not unloaded: `foretap approve` puts another version in its place")
        }
        Err(refused) => refused.into_response(),
    }
}

fn not_here(reason: &str) -> Response {
    let mut response = Refused::new(StatusCode::METHOD_NOT_ALLOWED, Some("model"), reason).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}
