//! Routes, limits, errors as JSON.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;

use super::answers::{Answers, AskRequest, Failure, FeedbackRequest};
use crate::config::HttpConfig;
use crate::ingest::{IngestStatus, now_us};
use crate::rights::Rights;
use crate::source::{Journal, RecordKind};
use crate::store::People;
use crate::wire::{self, Border, Encoding};

/// What a refused request gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: String,
    /// Of which field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What `POST /v1/events` gets once the events are on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedEvents {
    /// Events that can be used.
    pub accepted: usize,
    /// Events that cannot: dead letters, each with the field and the reason; the first of them are named here.
    pub refused: usize,
    /// The first of the refused.
    pub reasons: Vec<RefusedEvent>,
    /// The record's place in the journal.
    pub position: u64,
}

/// An event that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    /// Its number in the batch, from 0.
    pub index: usize,
    /// The field at fault.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBody {
    /// The version that answers.
    pub model: String,
    /// Events since the start.
    pub received: u64,
    /// Of them: folded in and kept,
    pub applied: u64,
    /// known already,
    pub duplicate: u64,
    /// too old for the state: in the lake alone,
    pub late: u64,
    /// of people who were forgotten meanwhile: nowhere,
    pub forgotten: u64,
    /// and dead letters.
    pub dead: u64,
    /// People in the store, where it counts them.
    pub people: Option<u64>,
    /// Bytes of the store.
    pub store_bytes: u64,
}

/// Refused events that an answer names.
pub const NAMED: usize = 20;

/// What requests need.
pub struct Server {
    /// Answers questions.
    pub answers: Answers,
    /// Where events go.
    pub journal: Journal,
    /// Everybody's state.
    pub people: Arc<People>,
    /// What a person may ask of us.
    pub rights: Rights,
    /// What becomes of events.
    pub ingest: Arc<IngestStatus>,
    /// What is let in.
    pub border: Border,
    /// Whether requests are let in: set when everything is loaded, unset when it stops.
    pub is_ready: AtomicBool,
    /// Figures for Prometheus.
    pub metrics: PrometheusHandle,
}

type Shared = Arc<Server>;

impl Server {
    /// Answers until `stop` is done, then waits at most the settings' seconds for requests that are under way.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn listen(
        self: Arc<Self>,
        config: &HttpConfig,
        started: impl FnOnce(SocketAddr),
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let listener = tokio::net::TcpListener::bind(&config.listen).await.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot listen on {}: {error}", config.listen))
                .field("http.listen")
                .next_step("stop what listens there, or give another address and port")
        })?;
        let address = listener.local_addr().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        self.is_ready.store(true, Ordering::Release);
        started(address);
        let (stopped, is_stopped) = tokio::sync::oneshot::channel::<()>();
        let server = Arc::clone(&self);
        let graceful = async move {
            stop.await;
            server.is_ready.store(false, Ordering::Release);
            let _ = stopped.send(());
        };
        let serving = axum::serve(listener, routes(self, config)).with_graceful_shutdown(graceful);
        let drain = Duration::from_secs(config.drain_secs);
        tokio::select! {
            served = serving.into_future() => served.map_err(|error| Error::new(ErrorKind::Io, error.to_string())),
            // A client that is silent does not hold the stop up.
            () = async { let _ = is_stopped.await; tokio::time::sleep(drain).await } => Ok(()),
        }
    }
}

fn routes(server: Shared, config: &HttpConfig) -> Router {
    let events = Router::new()
        .route("/v1/events", post(events))
        // Innermost: what a body is after it was decompressed.
        .layer(DefaultBodyLimit::max(config.max_batch_bytes))
        .layer(RequestDecompressionLayer::new())
        .layer(axum::middleware::from_fn_with_state(config.max_body_bytes, announced));
    let small = Router::new()
        .route("/v1/ask", post(ask))
        .route("/v1/feedback", post(feedback))
        .route("/v1/flush", post(flush))
        .route("/v1/status", get(status))
        .route("/v1/people/{user}/forget", post(forget))
        .route("/v1/people/{user}", get(export))
        .layer(DefaultBodyLimit::max(16 << 10));
    Router::new()
        .merge(events)
        .merge(small)
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, None, "no such path: see platform/README.md") })
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, None, "not by this method: see platform/README.md")
        })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request ended in a panic");
            refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                "a fault of the server; the request was not done",
            )
        }))
        .with_state(server)
}

/// Refuses what a request's headers say already: a body too large, an encoding that is not read. A body of no announced length is
/// cut where it is read.
async fn announced(State(most): State<usize>, request: Request, next: Next) -> Response {
    match refused_by_headers(request.headers(), most) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

fn refused_by_headers(headers: &HeaderMap, most: usize) -> Option<Response> {
    let header = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        let message = format!("the body is larger than {most} bytes: send several smaller batches");
        return Some(refusal(StatusCode::PAYLOAD_TOO_LARGE, Some("body"), message));
    }
    if !matches!(header(header::CONTENT_ENCODING), None | Some("gzip" | "zstd" | "identity")) {
        let message = "send it plain, or as `Content-Encoding: gzip` or `zstd`";
        return Some(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("Content-Encoding"), message));
    }
    None
}

fn refusal(status: StatusCode, field: Option<&str>, error: impl Into<String>) -> Response {
    metrics::counter!("foretap_requests_refused_total", "status" => status.as_str().to_owned()).increment(1);
    (status, Json(ErrorBody { error: error.into(), field: field.map(str::to_owned) })).into_response()
}

/// A request's fault is told to whoever sent it; ours is logged, and told without its details.
fn failure(failure: Failure) -> Response {
    match failure {
        Failure::Request(error) => refusal(StatusCode::BAD_REQUEST, error.field_name(), error.to_string()),
        Failure::Server(error) => {
            tracing::error!(%error, "a request failed");
            let message =
                "the server cannot do this at the moment; the request was not done: send it again later";
            refusal(StatusCode::SERVICE_UNAVAILABLE, None, message)
        }
    }
}

async fn events(
    State(server): State<Shared>,
    headers: HeaderMap,
    body: std::result::Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let bytes = match body {
        Ok(bytes) => bytes,
        Err(rejection) => {
            let message = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    "the batch is larger than the server takes: send several smaller ones".to_owned()
                }
                _ => format!("the body cannot be read: {}", rejection.body_text()),
            };
            return refusal(rejection.status(), Some("body"), message);
        }
    };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(encoding) = Encoding::of_content_type(content_type) else {
        let message = "send `Content-Type: application/json` or `application/x-protobuf`";
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("Content-Type"), message);
    };
    if !server.is_ready.load(Ordering::Acquire) {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "the server is stopping: send the batch again",
        );
    }
    let received_at_us = now_us();
    let batch = match wire::decode(&bytes, encoding, &server.border, received_at_us) {
        Ok(batch) => batch,
        Err(refused) => return refusal(StatusCode::BAD_REQUEST, Some(refused.field), refused.reason),
    };
    let kind = match encoding {
        Encoding::Json => RecordKind::JsonBatch,
        Encoding::Protobuf => RecordKind::ProtobufBatch,
    };
    match server.journal.add(received_at_us, kind, bytes).await {
        Ok(position) => {
            let reasons = batch.dead.iter().take(NAMED).map(|dead| RefusedEvent {
                index: dead.index,
                field: dead.refusal.field.to_owned(),
                reason: dead.refusal.reason.clone(),
            });
            let accepted = AcceptedEvents {
                accepted: batch.events.len(),
                refused: batch.dead.len(),
                reasons: reasons.collect(),
                position,
            };
            (StatusCode::ACCEPTED, Json(accepted)).into_response()
        }
        Err(error) => failure(error.into()),
    }
}

/// A small JSON body, with an error that says what is wrong with it.
fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> std::result::Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("not what this path takes: {error}");
        Failure::Request(Error::new(ErrorKind::Data, message).field("body"))
    })
}

async fn ask(State(server): State<Shared>, body: Bytes) -> Response {
    let started = std::time::Instant::now();
    let answered = match parse::<AskRequest>(&body) {
        Ok(request) => server.answers.ask(&request).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(answer) => {
            metrics::histogram!("foretap_answer_seconds").record(started.elapsed().as_secs_f64());
            Json(answer).into_response()
        }
        Err(error) => failure(error),
    }
}

async fn feedback(State(server): State<Shared>, body: Bytes) -> Response {
    let impression = parse::<FeedbackRequest>(&body).and_then(|request| server.answers.feedback(&request));
    let impression = match impression {
        Ok(impression) => impression,
        Err(error) => return failure(error),
    };
    let bytes = match serde_json::to_vec(&impression) {
        Ok(bytes) => bytes,
        Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()),
    };
    match server.journal.add(now_us(), RecordKind::Impression, bytes.into()).await {
        Ok(_) => StatusCode::ACCEPTED.into_response(),
        Err(error) => {
            server.answers.keep(impression);
            failure(error.into())
        }
    }
}

async fn flush(State(server): State<Shared>) -> Response {
    match tokio::time::timeout(FLUSH, server.ingest.flush()).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => failure(error.into()),
        Err(_) => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "the commit takes longer; see /metrics and the log",
        ),
    }
}

async fn forget(State(server): State<Shared>, Path(user): Path<String>) -> Response {
    match parse_user(&user) {
        Ok(user) => match server.rights.forget(user).await {
            Ok(report) => Json(report).into_response(),
            Err(error) => failure(error.into()),
        },
        Err(refused) => failure(refused),
    }
}

async fn export(State(server): State<Shared>, Path(user): Path<String>) -> Response {
    match parse_user(&user) {
        Ok(user) => match server.rights.export(user).await {
            Ok(all) => Json(all).into_response(),
            Err(error) => failure(error.into()),
        },
        Err(refused) => failure(refused),
    }
}

fn parse_user(user: &str) -> std::result::Result<UserId, Failure> {
    user.parse().map_err(|()| {
        let error = Error::new(ErrorKind::Data, "no keyed hash").field("user");
        Failure::Request(error.next_step("give `u` and 16 hexadecimal digits, as in events"))
    })
}

/// How long a request waits for a commit that it asked for.
const FLUSH: Duration = Duration::from_secs(120);

async fn status(State(server): State<Shared>) -> Response {
    let counts = &server.ingest.counts;
    let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    match server.people.store().sizes().await {
        Ok(sizes) => Json(StatusBody {
            model: server.answers.models().live().name.to_string(),
            received: load(&counts.received),
            applied: load(&counts.applied),
            duplicate: load(&counts.duplicate),
            late: load(&counts.late),
            forgotten: load(&counts.forgotten),
            dead: load(&counts.dead),
            people: sizes.people,
            store_bytes: sizes.bytes,
        })
        .into_response(),
        Err(error) => failure(error.into()),
    }
}

/// Whether the process does its work: it fails while commits fail.
async fn health(State(server): State<Shared>) -> Response {
    let wrong = if server.journal.is_failing() {
        "the journal cannot be written, and nothing is accepted: look for a full disk, then start again"
    } else if server.ingest.is_failing.load(Ordering::Acquire) {
        "the last commit of store and lake failed: see the log"
    } else {
        return (StatusCode::OK, "ok\n").into_response();
    };
    refusal(StatusCode::SERVICE_UNAVAILABLE, None, wrong)
}

/// Whether requests should come here: a model is loaded, which answered its golden questions, and nothing is stopping.
async fn ready(State(server): State<Shared>) -> Response {
    match server.is_ready.load(Ordering::Acquire) {
        true => (StatusCode::OK, "ready\n").into_response(),
        false => refusal(StatusCode::SERVICE_UNAVAILABLE, None, "stopping"),
    }
}

async fn metrics(State(server): State<Shared>) -> String {
    if let Ok(sizes) = server.people.store().sizes().await {
        if let Some(people) = sizes.people {
            metrics::gauge!("foretap_store_people").set(people as f64);
        }
        metrics::gauge!("foretap_store_bytes").set(sizes.bytes as f64);
    }
    server.metrics.render()
}
