//! Questions over gRPC, as `proto/foretap/v1/predict.proto` has them: on the connections, behind the guard and with the answers of
//! the HTTP interface.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use foretap::data::UserId;
use futures::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};

use super::admission::Priority;
use super::answers::{Failure, FeedbackRequest, PredictResponse};
use super::http::{MAX_QUESTION_BYTES, Problem, Shared};
use crate::guard::Identity;
use crate::wire::proto;
use crate::wire::proto::predict_outcome::Outcome;
use crate::wire::proto::predictions_server::{Predictions, PredictionsServer};

/// The path of a single question.
pub(super) const PREDICT: &str = "/foretap.v1.Predictions/Predict";
const OTHERS: [&str; 2] = ["/foretap.v1.Predictions/PredictEach", "/foretap.v1.Predictions/Feedback"];

/// The calls of the service, each a route of its own: who may do what is one table.
pub(super) fn routes(server: &Shared) -> Router<Shared> {
    let service = PredictionsServer::new(Service { server: Arc::clone(server) })
        .max_decoding_message_size(MAX_QUESTION_BYTES);
    let routes = Router::new().route_service(PREDICT, service.clone());
    OTHERS.into_iter().fold(routes, |routes, path| routes.route_service(path, service.clone()))
}

/// Of a call's deadline, what an answer may wait.
const SHARE_OF_DEADLINE: f64 = 0.8;

struct Service {
    server: Shared,
}

/// What a call says beside its message.
struct Caller {
    identity: Identity,
    priority: Priority,
    within: Option<Duration>,
}

impl Caller {
    fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let identity = request.extensions().get::<Identity>().cloned();
        let identity = identity.ok_or_else(|| Status::unauthenticated("nobody was identified"))?;
        let headers: HeaderMap = request.metadata().clone().into_headers();
        let deadline = headers.get("grpc-timeout").and_then(|value| deadline(value.to_str().ok()?));
        // The answer has a way to go, and after the deadline nobody hears it.
        let deadline = deadline.map(|deadline| deadline.mul_f64(SHARE_OF_DEADLINE));
        Ok(Self { identity, priority: Priority::of(&headers).unwrap_or_default(), within: deadline })
    }

    /// Whether they may ask about this user. One that is none is refused later, with its reason.
    fn speaks_for(&self, user: &str) -> Result<(), Status> {
        let is_theirs = user.parse().map_or(true, |user: UserId| self.identity.speaks_for(user));
        is_theirs.then_some(()).ok_or_else(not_theirs)
    }
}

fn not_theirs() -> Status {
    Status::permission_denied("user: a device sends and asks for its own user alone")
}

/// The time of the header `grpc-timeout`: at most eight digits and a unit.
fn deadline(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let count: u64 = (digits.len() <= 8).then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

impl Service {
    async fn answered(
        &self,
        caller: &Caller,
        request: &proto::PredictRequest,
    ) -> Result<proto::PredictResponse, Failure> {
        let question = self.server.answers.questions().proto(request, caller.within)?;
        let (answer, _) = self.server.answers.answer(&question, caller.priority).await?;
        Ok(answer.into())
    }
}

#[tonic::async_trait]
impl Predictions for Service {
    async fn predict(
        &self,
        request: Request<proto::PredictRequest>,
    ) -> Result<Response<proto::PredictResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.speaks_for(&request.get_ref().user)?;
        let answered = self.answered(&caller, request.get_ref()).await;
        answered.map(Response::new).map_err(|failure| status(&failure.into()))
    }

    type PredictEachStream = Pin<Box<dyn Stream<Item = Result<proto::PredictOutcome, Status>> + Send>>;

    async fn predict_each(
        &self,
        request: Request<Streaming<proto::PredictRequest>>,
    ) -> Result<Response<Self::PredictEachStream>, Status> {
        // The call's deadline is the stream's: it says nothing of a single answer.
        let caller = Arc::new(Caller { within: None, ..Caller::of(&request)? });
        let service = Self { server: Arc::clone(&self.server) };
        let service = Arc::new(service);
        let outcomes = request.into_inner().then(move |asked| {
            let (service, caller) = (Arc::clone(&service), Arc::clone(&caller));
            async move {
                let asked = asked?;
                caller.speaks_for(&asked.user)?;
                let outcome = match service.answered(&caller, &asked).await {
                    Ok(answer) => Outcome::Answer(answer),
                    Err(failure) => Outcome::Problem(Problem::from(failure).into()),
                };
                Ok(proto::PredictOutcome { outcome: Some(outcome) })
            }
        });
        Ok(Response::new(Box::pin(outcomes)))
    }

    async fn feedback(
        &self,
        request: Request<proto::FeedbackRequest>,
    ) -> Result<Response<proto::FeedbackResponse>, Status> {
        let caller = Caller::of(&request)?;
        let proto::FeedbackRequest { answer_id, opened } = request.into_inner();
        let feedback = FeedbackRequest { answer_id, opened };
        match self.server.take_feedback(&caller.identity, &feedback).await {
            Ok(true) => Ok(Response::new(proto::FeedbackResponse {})),
            Ok(false) => Err(not_theirs()),
            Err(failure) => Err(status(&failure.into())),
        }
    }
}

/// A problem as gRPC has it.
fn status(problem: &Problem) -> Status {
    let code = match StatusCode::from_u16(problem.status) {
        Ok(StatusCode::BAD_REQUEST) => Code::InvalidArgument,
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, &*problem.detail)
}

impl From<Problem> for proto::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            status: u32::from(problem.status),
            title: problem.title,
            detail: problem.detail,
            field: problem.field.unwrap_or_default(),
        }
    }
}

impl From<PredictResponse> for proto::PredictResponse {
    fn from(answer: PredictResponse) -> Self {
        let apps = answer.apps.into_iter();
        Self {
            answer_id: answer.answer_id,
            model: answer.model,
            route: answer.route,
            known: answer.known,
            behind: answer.behind,
            degraded: answer.degraded,
            apps: apps
                .map(|app| proto::AppProbability { app: app.app, probability: app.probability })
                .collect(),
            confidence: answer.confidence,
            abstains: answer.abstains,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("20m", Some(Duration::from_millis(20))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("1n", Some(Duration::from_nanos(1))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("5x", None),
            ("-1S", None),
            ("1é", None),
        ] {
            assert_eq!(deadline(value), expected, "{value}");
        }
    }
}
