//! What happened: log files become [`Event`]s, in time order, without identities.

mod event;
pub mod log;
mod place;
pub mod simulate;
pub mod split;
mod vocabulary;

pub(crate) use event::most_launched;
pub use event::{AppId, Battery, Event, Network, Signal, Timestamp, UserId};
pub use log::{Log, LogFormat, LogOptions, Warnings, forget, read_logs, write_log};
pub use place::{PlaceGrid, PlaceId, PrivacyKey};
pub use split::{Split, SplitPlan};
pub use vocabulary::Vocabulary;
