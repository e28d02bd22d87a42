//! What is answered: events in, questions, what was opened fed back. JSON over HTTP, gRPC beside it, and what the clients
//! of other model servers speak (`protocols`).

mod admission;
mod answers;
mod http;
mod linger;
mod live;
mod openapi;
mod protocols;
mod question;
mod rpc;

pub use admission::{Admission, Overloaded, Place, Priority};
pub use answers::{Answers, AppProbability, Failure, FeedbackRequest, PredictResponse, Stages};
pub use http::{
    AcceptedEvents, BatchAnswer, BatchRequest, BatchResponse, Problem, RefusedEvent, Server, StatusBody,
};
pub use live::{LiveModel, Models};
pub use openapi::document;
pub use question::{PredictContext, PredictRequest};
