//! What is answered: events in, questions, what was opened fed back. JSON over HTTP.

mod answers;
mod http;
mod live;
mod openapi;

pub use answers::{
    Answers, AppProbability, Failure, FeedbackRequest, PredictContext, PredictRequest, PredictResponse,
    Stages,
};
pub use http::{AcceptedEvents, Problem, RefusedEvent, Server, StatusBody};
pub use live::{LiveModel, Models};
pub use openapi::document;
