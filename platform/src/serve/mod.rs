//! What is answered: events in, questions, what was opened fed back. JSON over HTTP, and gRPC beside it.

mod admission;
mod answers;
mod http;
mod live;
mod openapi;
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
