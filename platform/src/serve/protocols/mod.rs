//! The protocols of other model servers: their clients can be pointed here. Every question is answered as `POST
//! /v1/predict` answers it.
//!
//! ```text
//! rows         the questions of one request: read, answered in their order, refused by row and field
//! management   /ping and /models, which SageMaker and TorchServe share
//! sagemaker    /invocations, as Amazon SageMaker asks a container: CSV, JSON, a line each
//! torchserve   /predictions
//! tensorflow   TensorFlow Serving: /v1/models/..:predict by rows or by columns
//! tensors      a tensor as JSON and as bytes
//! inference    Open Inference Protocol 2, of KServe and Triton: /v2
//! ```
//!
//! There is one model, the registry's live one, under the settings' name; its version is the registry's number. Another
//! name or version is refused with 404: nothing is loaded or unloaded by these protocols.

mod inference;
mod management;
mod rows;
mod sagemaker;
mod tensorflow;
mod tensors;
mod torchserve;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::ExtensionRejection;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use serde_json::{Value, json};
use tower_http::decompression::RequestDecompressionLayer;

use super::admission::Priority;
use super::answers::Failure;
use super::http::{Problem, Shared, admitted, announced, failure, in_time, refusal};
use crate::config::{HttpConfig, Protocol};
use crate::guard::Identity;

/// Routes of questions: they are refused where too many wait.
pub(super) const QUESTIONS: [&str; 8] = [
    "/invocations",
    "/models/{model}/invoke",
    "/predictions/{model}",
    "/predictions/{model}/{version}",
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{version}",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
];

/// What the settings say of these protocols.
struct Served {
    /// The model's name.
    name: String,
    /// Rows of one request, at most.
    max_rows: usize,
    /// Whether TorchServe's clients ask, too.
    is_torchserve: bool,
}

/// Routes of the protocols that the settings name, with who may ask and the limits: those of `/v1/events` on bytes,
/// `max_rows` on rows, quotas as everywhere.
pub(super) fn routes(server: &Shared, config: &HttpConfig) -> Router<Shared> {
    // The settings were checked when they were read.
    let protocols = config.answered().unwrap_or_default();
    let has = |protocol: Protocol| protocols.contains(&protocol);
    let served = Arc::new(Served {
        name: config.model_name.clone(),
        max_rows: config.max_rows,
        is_torchserve: has(Protocol::TorchServe),
    });
    let limited = |routes: Router<Shared>, probes: Router<Shared>, shape: ErrorShape| {
        routes
            .layer(Extension(Arc::clone(&served)))
            // Innermost: what a body is after it was decompressed.
            .layer(DefaultBodyLimit::max(config.max_batch_bytes))
            .layer(RequestDecompressionLayer::new())
            .layer(middleware::from_fn_with_state(config.max_body_bytes, announced))
            .layer(middleware::from_fn_with_state(Duration::from_secs(config.request_secs), in_time))
            .route_layer(middleware::from_fn_with_state(Arc::clone(server), admitted))
            .merge(probes)
            .method_not_allowed_fallback(async || {
                refusal(StatusCode::METHOD_NOT_ALLOWED, None, "not by this method")
            })
            .layer(middleware::map_response_with_state(shape, shaped))
    };
    let mut all = Router::new();
    if has(Protocol::SageMaker) || has(Protocol::TorchServe) {
        let mut routes = management::routes();
        if has(Protocol::SageMaker) {
            routes = routes.merge(sagemaker::routes());
        }
        if has(Protocol::TorchServe) {
            routes = routes.merge(torchserve::routes());
        }
        all = all.merge(limited(routes, management::probes(), ErrorShape::Exception));
    }
    if has(Protocol::TensorFlowServing) {
        all = all.merge(limited(tensorflow::routes(), Router::new(), ErrorShape::Sentence));
    }
    if has(Protocol::OpenInference) {
        all = all.merge(limited(inference::routes(), inference::probes(), ErrorShape::Sentence));
    }
    all
}

/// How a protocol writes errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorShape {
    /// `{"error": ".."}`: TensorFlow Serving, KServe, Triton.
    Sentence,
    /// `{"code": 404, "type": "ModelNotFoundException", "message": ".."}`: TorchServe. SageMaker prescribes nothing, and
    /// hands on whatever it is.
    Exception,
}

impl ErrorShape {
    fn of(self, problem: &Problem) -> Value {
        match self {
            Self::Sentence => json!({ "error": problem.detail }),
            Self::Exception => {
                let kind = match (problem.status, problem.field.as_deref()) {
                    (404, Some("version")) => "ModelVersionNotFound".to_owned(),
                    (404, _) => "ModelNotFound".to_owned(),
                    (409, _) => "ConflictStatus".to_owned(),
                    _ => problem.title.replace(' ', ""),
                };
                json!({
                    "code": problem.status,
                    "type": format!("{kind}Exception"),
                    "message": problem.detail,
                })
            }
        }
    }
}

/// Bytes of an error's body, at most.
const MAX_PROBLEM_BYTES: usize = 64 << 10;

/// Whatever was refused, by whom it may be, in the protocol's own shape.
async fn shaped(State(shape): State<ErrorShape>, response: Response) -> Response {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_written = content_type.is_some_and(|value| value.as_bytes() == b"application/json");
    if !(status.is_client_error() || status.is_server_error()) || is_written {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MAX_PROBLEM_BYTES).await.unwrap_or_default();
    let title = || status.canonical_reason().unwrap_or("Refused").to_owned();
    let problem = serde_json::from_slice(&bytes).unwrap_or_else(|_| Problem {
        title: title(),
        status: status.as_u16(),
        detail: match bytes.is_empty() {
            true => title(),
            false => String::from_utf8_lossy(&bytes).into_owned(),
        },
        field: None,
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(shape.of(&problem).to_string()))
}

/// Why a request is not answered.
#[derive(Debug)]
enum Refused {
    /// It is at fault.
    Request {
        /// The answer's status.
        status: StatusCode,
        /// What is at fault.
        field: Option<String>,
        /// Why.
        reason: String,
    },
    /// There is no answer.
    Answer(Failure),
}

impl Refused {
    fn new(status: StatusCode, field: Option<&str>, reason: impl Into<String>) -> Self {
        Self::Request { status, field: field.map(str::to_owned), reason: reason.into() }
    }

    /// A 400 that names the field in its sentence, since not every protocol has a place for it.
    fn field(field: &str, reason: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(field), format!("field `{field}`: {reason}"))
    }

    /// JSON that is not what is taken here.
    fn json(field: &str, error: &serde_json::Error) -> Self {
        Self::field(field, format_args!("not what this path takes: {error}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Request { status, field, reason } => refusal(status, field.as_deref(), reason),
            Self::Answer(reason) => failure(reason),
        }
    }
}

type Result<T> = std::result::Result<T, Refused>;

/// Whoever asks, and whom.
struct Caller {
    server: Shared,
    identity: Identity,
    served: Arc<Served>,
    priority: Option<Priority>,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        server: &Shared,
    ) -> std::result::Result<Self, ExtensionRejection> {
        let Extension(identity) = Extension::<Identity>::from_request_parts(parts, server).await?;
        let Extension(served) = Extension::<Arc<Served>>::from_request_parts(parts, server).await?;
        let priority = Priority::of(&parts.headers);
        Ok(Self { server: Arc::clone(server), identity, served, priority })
    }
}

impl Caller {
    /// The live version, if the model's name is the settings', and `version` is the live one where there is one.
    fn live(&self, name: &str, version: Option<&str>) -> Result<Arc<str>> {
        if name != self.served.name {
            let reason = format!("no such model is here: the one that answers is `{}`", self.served.name);
            return Err(Refused::new(StatusCode::NOT_FOUND, Some("model"), reason));
        }
        let live = Arc::clone(&self.server.answers.models().live().name);
        match version {
            Some(version) if version != &*live => Err(not_live(&live)),
            _ => Ok(live),
        }
    }
}

fn not_live(live: &str) -> Refused {
    let reason = format!("this version does not answer: version {live} is live");
    Refused::new(StatusCode::NOT_FOUND, Some("version"), reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_have_the_protocol_s_shape_whoever_made_them() {
        let problem = || refusal(StatusCode::NOT_FOUND, Some("version"), "not this one");
        let plain = || (StatusCode::UNSUPPORTED_MEDIA_TYPE, "what is this?").into_response();
        let empty = || StatusCode::METHOD_NOT_ALLOWED.into_response();
        for (shape, response, expected) in [
            (ErrorShape::Sentence, problem(), json!({ "error": "not this one" })),
            (
                ErrorShape::Exception,
                problem(),
                json!({ "code": 404, "type": "ModelVersionNotFoundException", "message": "not this one" }),
            ),
            (ErrorShape::Sentence, plain(), json!({ "error": "what is this?" })),
            (
                ErrorShape::Exception,
                empty(),
                json!({
                    "code": 405, "type": "MethodNotAllowedException", "message": "Method Not Allowed"
                }),
            ),
        ] {
            let response = shaped(State(shape), response).await;
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 10).await.unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expected);
        }
        let fine = shaped(State(ErrorShape::Sentence), (StatusCode::OK, "as it is").into_response()).await;
        let bytes = axum::body::to_bytes(fine.into_body(), 1 << 10).await.unwrap();
        assert_eq!(&*bytes, b"as it is");
    }
}
