//! What happened: log files become [`Event`]s, in time order, without identities.

mod event;
pub mod log;
mod place;
mod privacy;
pub mod simulate;
pub mod split;
mod vocabulary;

pub use event::{AppId, Battery, Event, Network, Signal, Timestamp, UserId};
pub use place::PlaceId;
pub use vocabulary::Vocabulary;

pub use self::{
    log::{Log, LogFormat, LogOptions, Warnings, forget, read_logs, write_log},
    privacy::{PlaceGrid, PrivacyKey},
    split::{Split, SplitPlan},
};
pub(crate) use log::most_launched;
