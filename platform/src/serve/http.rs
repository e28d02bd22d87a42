//! Routes, limits, errors as JSON.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use futures::{FutureExt as _, StreamExt as _};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::ToSchema;

use super::admission::Priority;
use super::answers::{Answers, Failure, FeedbackRequest, PredictResponse, Stages};
use super::linger::linger;
use super::question::PredictRequest;
use super::rpc;
use crate::config::HttpConfig;
use crate::guard::{Certificates, Connections, Denied, Guard, Identity, Peer, Role};
use crate::ingest::{IngestStatus, now_us};
use crate::rights::Rights;
use crate::source::{Journal, RecordKind};
use crate::store::People;
use crate::wire::{self, Border, Encoding, JsonBatch};

/// What a refused request gets: a problem as RFC 9457 has it, of the type `about:blank`, and the field at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, and what to do about it.
    pub detail: String,
    /// Of which field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What `POST /v1/events` gets once the events are on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedEvent {
    /// Its number in the batch, from 0.
    pub index: usize,
    /// The field at fault.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// Bytes of a question with its events.
pub(super) const MAX_QUESTION_BYTES: usize = 128 << 10;
/// And of a batch of questions.
const MAX_BATCH_BYTES: usize = 1 << 20;
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
    /// Who may ask for what.
    pub guard: Guard,
}

pub(super) type Shared = Arc<Server>;

impl Server {
    /// Answers until `stop` is done, then waits at most the settings' seconds for requests that are under way.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn listen(
        self: Arc<Self>,
        config: &HttpConfig,
        certificates: Option<Certificates>,
        started: impl FnOnce(&str),
        stop: impl Future<Output = ()>,
    ) -> Result<()> {
        let connections = Connections::bind(config, certificates).await?;
        let url = format!("{}://{}", connections.scheme(), connections.address()?);
        self.is_ready.store(true, Ordering::Release);
        let (events, batch) = (config.max_body_bytes, config.max_batch_bytes);
        let limits = [events, batch, MAX_QUESTION_BYTES, MAX_BATCH_BYTES];
        tracing::info!(
            ?limits,
            "bytes of events as they arrive and decompressed, of a question, of a batch of questions"
        );
        started(&url);
        let (server, unready) = (Arc::clone(&self), Duration::from_secs(config.unready_secs));
        let stop = async move {
            stop.await;
            server.is_ready.store(false, Ordering::Release);
            // Until balancers have seen it, requests still come, and are answered.
            tokio::time::sleep(unready).await;
        };
        connections.serve(routes(self, config), stop).await;
        Ok(())
    }
}

impl Server {
    /// Keeps what was opened after an answer: once it is on the disk. `false` where it is not theirs.
    pub(super) async fn take_feedback(
        &self,
        identity: &Identity,
        request: &FeedbackRequest,
    ) -> std::result::Result<bool, Failure> {
        let impression = self.answers.feedback(request)?;
        if impression.user.parse().is_ok_and(|user: UserId| !identity.speaks_for(user)) {
            self.answers.keep(impression);
            return Ok(false);
        }
        let bytes = serde_json::to_vec(&impression).map_err(|error| {
            Error::new(ErrorKind::Data, format!("an impression cannot be written: {error}"))
        })?;
        match self.journal.add(now_us(), RecordKind::Impression, bytes.into()).await {
            Ok(_) => Ok(true),
            Err(error) => {
                self.answers.keep(impression);
                Err(error.into())
            }
        }
    }
}

fn routes(server: Shared, config: &HttpConfig) -> Router {
    let limit = Duration::from_secs(config.request_secs);
    let events = Router::new()
        .route("/v1/events", post(events))
        // Innermost: what a body is after it was decompressed.
        .layer(DefaultBodyLimit::max(config.max_batch_bytes))
        .layer(RequestDecompressionLayer::new())
        .layer(axum::middleware::from_fn_with_state(config.max_body_bytes, announced))
        .layer(axum::middleware::from_fn_with_state(limit, in_time));
    let questions = Router::new()
        .route("/v1/predict", post(predict))
        .route("/v1/feedback", post(feedback))
        .layer(DefaultBodyLimit::max(MAX_QUESTION_BYTES));
    let batches = Router::new()
        .route("/v1/predict:batch", post(predict_batch))
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES));
    let questions = questions.merge(batches).layer(axum::middleware::from_fn_with_state(limit, in_time));
    let others = Router::new()
        .route("/v1/flush", post(flush))
        .route("/v1/status", get(status))
        .route("/v1/people/{user}/forget", post(forget))
        .route("/v1/people/{user}", get(export))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(16 << 10));
    Router::new()
        .merge(events)
        .merge(questions)
        .merge(others)
        .merge(rpc::routes(&server))
        // Who asks is known before anything is read of what they send.
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&server), admitted))
        .merge(super::protocols::routes(&server, config))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(async || Json(super::document())))
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
        .layer(axum::middleware::map_response(hardened))
        .layer(axum::middleware::from_fn(linger))
        .with_state(server)
}

/// What nobody gets wrong with these headers: an answer that is kept, or taken for a page.
async fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

/// Routes that are refused where too many questions wait.
const QUESTIONS: [&str; 3] = ["/v1/predict", "/v1/predict:batch", rpc::PREDICT];

/// Lets a request through if whoever sent it may do this, with their [`Identity`].
pub(super) async fn admitted(
    State(server): State<Shared>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    // Refusing must cost next to nothing: before the credential is looked at.
    let mut questions = QUESTIONS.iter().chain(&super::protocols::QUESTIONS);
    let is_question = request.method() == Method::POST && questions.any(|route| *route == path.as_str());
    if is_question && server.answers.admission().is_full() {
        return failure(Failure::Overloaded);
    }
    let nobody = Peer { address: SocketAddr::from(([0, 0, 0, 0], 0)), certificate: None };
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or(nobody);
    let (method, route) = (request.method().as_str().to_owned(), path.as_str().to_owned());
    let decided = server.guard.admit((&method, &route), request.headers(), &peer).await;
    let outcome = decided.as_ref().err().map_or("admitted", |denied| match denied.status {
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::TOO_MANY_REQUESTS => "too many",
        StatusCode::SERVICE_UNAVAILABLE => "undecided",
        _ => "unknown",
    });
    metrics::counter!("foretap_decisions_total", "route" => route.clone(), "outcome" => outcome).increment(1);
    match decided {
        Ok(identity) => {
            let who = &*identity.name;
            match identity.role {
                // Where nobody is authenticated there is nobody to tell of.
                _ if server.guard.is_open() => tracing::debug!(target: AUDIT, who, method, route, outcome),
                Role::Device | Role::Service => tracing::debug!(target: AUDIT, who, method, route, outcome),
                _ => tracing::info!(target: AUDIT, who, method, route, outcome),
            }
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(denied) => {
            let address = peer.address;
            tracing::info!(target: AUDIT, %address, method, route, outcome, reason = denied.reason);
            denial(denied)
        }
    }
}

/// The target of messages about who was let in and who was not.
const AUDIT: &str = "foretap::audit";

fn denial(denied: Denied) -> Response {
    let mut response = refusal(denied.status, None, denied.reason);
    let headers = response.headers_mut();
    if denied.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(secs) = denied.retry_after_secs {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// Of somebody who speaks for one person, about another.
fn not_theirs() -> Response {
    refusal(StatusCode::FORBIDDEN, Some("user"), "a device sends and asks for its own user alone")
}

/// Cuts a request that comes or is answered too slowly. What is under way goes on: events that are sent again are known.
pub(super) async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, None, "the request came too slowly, or took too long"),
    }
}

/// Refuses what a request's headers say already: a body too large, an encoding that is not read. A body of no announced length is
/// cut where it is read.
pub(super) async fn announced(State(most): State<usize>, request: Request, next: Next) -> Response {
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

pub(super) fn refusal(status: StatusCode, field: Option<&str>, error: impl Into<String>) -> Response {
    metrics::counter!("foretap_requests_refused_total", "status" => status.as_str().to_owned()).increment(1);
    problem(status, field, error.into()).into_response()
}

fn problem(status: StatusCode, field: Option<&str>, detail: String) -> Problem {
    Problem {
        title: status.canonical_reason().unwrap_or("Refused").to_owned(),
        status: status.as_u16(),
        detail,
        field: field.map(str::to_owned),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A request's fault is told to whoever sent it; ours is logged, and told without its details.
pub(super) fn failure(failure: Failure) -> Response {
    let problem = Problem::from(failure);
    let status = problem.status.to_string();
    metrics::counter!("foretap_requests_refused_total", "status" => status).increment(1);
    problem.into_response()
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Request(error) => {
                problem(StatusCode::BAD_REQUEST, error.field_name(), error.to_string())
            }
            Failure::Server(error) => {
                tracing::error!(%error, "a request failed");
                let message =
                    "the server cannot do this at the moment; the request was not done: send it again later";
                problem(StatusCode::SERVICE_UNAVAILABLE, None, message.to_owned())
            }
            Failure::Overloaded => {
                let message = "more questions than this server answers: ask again later, or ask less often";
                problem(StatusCode::SERVICE_UNAVAILABLE, None, message.to_owned())
            }
        }
    }
}

/// Takes events in: answered once they are on the disk.
#[utoipa::path(
    post,
    path = "/v1/events",
    request_body(content(
        (JsonBatch = "application/json"),
        (Vec<u8> = "application/x-protobuf")
    ), description = "A batch, plain or compressed by gzip or zstd"),
    responses(
        (status = 202, body = AcceptedEvents, description = "On the disk"),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "Neither JSON nor Protobuf")
    ),
    security(("bearer" = []))
)]
pub(super) async fn events(
    State(server): State<Shared>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Sent(bytes): Sent,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(encoding) = Encoding::of_content_type(content_type) else {
        let message = "send `Content-Type: application/json` or `application/x-protobuf`";
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("Content-Type"), message);
    };
    let received_at_us = now_us();
    let batch = match wire::decode(&bytes, encoding, &server.border, received_at_us) {
        Ok(batch) => batch,
        Err(refused) => return refusal(StatusCode::BAD_REQUEST, Some(refused.field), refused.reason),
    };
    // Also a batch whose events cannot be read: a device has no dead letters of others.
    let is_theirs = batch.events.iter().all(|event| identity.speaks_for(event.user));
    if !is_theirs || (identity.role == Role::Device && batch.events.is_empty()) {
        return not_theirs();
    }
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

/// A body that was read whole.
pub(super) struct Sent(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> std::result::Result<Self, Response> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let message = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    "the body is larger than this path takes: send less at once".to_owned()
                }
                _ => format!("the body cannot be read: {}", rejection.body_text()),
            };
            refusal(rejection.status(), Some("body"), message)
        })
    }
}

/// A small JSON body, with an error that says what is wrong with it.
fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> std::result::Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("not what this path takes: {error}");
        Failure::Request(Error::new(ErrorKind::Data, message).field("body"))
    })
}

/// What is opened next.
#[utoipa::path(
    post,
    path = "/v1/predict",
    request_body = PredictRequest,
    responses(
        (status = 200, body = PredictResponse, description = "The apps, most probable first")
    ),
    security(("bearer" = []))
)]
pub(super) async fn predict(
    State(server): State<Shared>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    let priority = Priority::of(&headers).unwrap_or_default();
    let answered = match parse::<PredictRequest>(&body) {
        Ok(request) if !asks_for_theirs(&identity, &request) => return not_theirs(),
        Ok(request) => server.answers.predict(&request, priority).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok((answer, stages)) => timed(Json(answer).into_response(), stages),
        Err(error) => failure(error),
    }
}

/// Whether somebody may ask this. A user that is none is refused later, with its reason.
fn asks_for_theirs(identity: &Identity, request: &PredictRequest) -> bool {
    request.user.parse().map_or(true, |user: UserId| identity.speaks_for(user))
}

/// `POST /v1/predict:batch`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// Each as in `POST /v1/predict`.
    #[schema(min_items = 1, max_items = 100)]
    pub questions: Vec<PredictRequest>,
}

/// What comes of the questions, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchResponse {
    /// One of each question.
    pub answers: Vec<BatchAnswer>,
}

/// What comes of one question of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum BatchAnswer {
    /// Its answer.
    Answer(PredictResponse),
    /// Why there is none.
    Problem(Problem),
}

/// Questions in a batch, at most, and of one batch that are worked on at once.
const MAX_BATCH: usize = 100;
const BATCH_AT_ONCE: usize = 8;

/// What is opened next by each of several people. Without the header `Priority` it is done in the background.
#[utoipa::path(
    post,
    path = "/v1/predict:batch",
    request_body = BatchRequest,
    responses((status = 200, body = BatchResponse, description = "An answer or a problem of each question")),
    security(("bearer" = []))
)]
pub(super) async fn predict_batch(
    State(server): State<Shared>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    let priority = Priority::of(&headers).unwrap_or(Priority::Background);
    let questions = match parse::<BatchRequest>(&body) {
        Ok(batch) => batch.questions,
        Err(error) => return failure(error),
    };
    if !(1..=MAX_BATCH).contains(&questions.len()) {
        let message = format!("{} questions, where a batch has 1 to {MAX_BATCH}", questions.len());
        return refusal(StatusCode::BAD_REQUEST, Some("questions"), message);
    }
    if !questions.iter().all(|question| asks_for_theirs(&identity, question)) {
        return not_theirs();
    }
    let answered = questions.iter().map(|question| {
        let answered = server.answers.predict(question, priority);
        answered.map(|answered| match answered {
            Ok((answer, _)) => BatchAnswer::Answer(answer),
            Err(error) => BatchAnswer::Problem(error.into()),
        })
    });
    let answered: Vec<_> = answered.map(|answered| answered.boxed()).collect();
    let answers = futures::stream::iter(answered).buffered(BATCH_AT_ONCE).collect().await;
    Json(BatchResponse { answers }).into_response()
}

/// An answer with how long its parts took, in milliseconds: `Server-Timing`, and histograms.
fn timed(mut response: Response, stages: Stages) -> Response {
    let parts =
        [("queue", stages.queue), ("state", stages.state), ("model", stages.model), ("total", stages.total)];
    let timing = parts.map(|(name, took)| {
        metrics::histogram!("foretap_answer_seconds", "stage" => name).record(took.as_secs_f64());
        format!("{name};dur={:.3}", took.as_secs_f64() * 1e3)
    });
    if let Ok(value) = HeaderValue::from_str(&timing.join(", ")) {
        response.headers_mut().insert("server-timing", value);
    }
    response
}

/// Says what was opened after an answer.
#[utoipa::path(
    post,
    path = "/v1/feedback",
    request_body = FeedbackRequest,
    responses(
        (status = 202, description = "On the disk")
    ),
    security(("bearer" = []))
)]
pub(super) async fn feedback(
    State(server): State<Shared>,
    Extension(identity): Extension<Identity>,
    Sent(body): Sent,
) -> Response {
    let kept = match parse::<FeedbackRequest>(&body) {
        Ok(request) => server.take_feedback(&identity, &request).await,
        Err(error) => return failure(error),
    };
    match kept {
        Ok(true) => StatusCode::ACCEPTED.into_response(),
        Ok(false) => not_theirs(),
        Err(error) => failure(error),
    }
}

/// Has lake and store commit what was sent before.
#[utoipa::path(
    post,
    path = "/v1/flush",
    responses(
        (status = 204, description = "Committed")
    ),
    security(("bearer" = []))
)]
pub(super) async fn flush(State(server): State<Shared>) -> Response {
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

/// Forgets a person everywhere.
#[utoipa::path(
    post,
    path = "/v1/people/{user}/forget",
    params(("user" = String, Path, description = "The keyed hash of the user's id")),
    responses(
        (status = 200, description = "What was done, and which models had learned from them", content_type = "application/json")
    ),
    security(("bearer" = []))
)]
pub(super) async fn forget(State(server): State<Shared>, Path(user): Path<String>) -> Response {
    match parse_user(&user) {
        Ok(user) => match server.rights.forget(user).await {
            Ok(report) => Json(report).into_response(),
            Err(error) => failure(error.into()),
        },
        Err(refused) => failure(refused),
    }
}

/// All that is held of a person.
#[utoipa::path(
    get,
    path = "/v1/people/{user}",
    params(("user" = String, Path, description = "The keyed hash of the user's id")),
    responses(
        (status = 200, description = "Events, impressions, dead letters", content_type = "application/json")
    ),
    security(("bearer" = []))
)]
pub(super) async fn export(State(server): State<Shared>, Path(user): Path<String>) -> Response {
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

/// Figures of the system.
#[utoipa::path(
    get,
    path = "/v1/status",
    responses(
        (status = 200, body = StatusBody, description = "Since the start")
    ),
    security(("bearer" = []))
)]
pub(super) async fn status(State(server): State<Shared>) -> Response {
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
#[utoipa::path(
    get,
    path = "/healthz",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Commits and journal work"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "What is wrong")
    )
)]
pub(super) async fn health(State(server): State<Shared>) -> Response {
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
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "A model is loaded, and nothing stops"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "What is wrong")
    )
)]
pub(super) async fn ready(State(server): State<Shared>) -> Response {
    match server.is_ready.load(Ordering::Acquire) {
        true => (StatusCode::OK, "ready\n").into_response(),
        false => refusal(StatusCode::SERVICE_UNAVAILABLE, None, "stopping"),
    }
}

/// Figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Prometheus' text format")
    ),
    security(("bearer" = []))
)]
pub(super) async fn metrics(State(server): State<Shared>) -> String {
    if let Ok(sizes) = server.people.store().sizes().await {
        if let Some(people) = sizes.people {
            metrics::gauge!("foretap_store_people").set(people as f64);
        }
        metrics::gauge!("foretap_store_bytes").set(sizes.bytes as f64);
    }
    server.metrics.render()
}
