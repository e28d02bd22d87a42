//! The door: events in, questions answered, what was opened fed back. JSON over HTTP/1.1 on the loopback interface.

mod answers;
mod http;
mod live;

pub use answers::{Answers, AppProbability, AskRequest, AskResponse, Failure, FeedbackRequest};
pub use http::{AcceptedEvents, ErrorBody, RefusedEvent, Server, StatusBody};
pub use live::{LiveModel, Models};
