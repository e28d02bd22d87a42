//! What happened: log files become [`Event`]s, in time order, without identities.

mod event;
#[cfg(feature = "train")]
pub mod log;
mod place;
#[cfg(feature = "train")]
mod privacy;
#[cfg(feature = "train")]
pub mod simulate;
#[cfg(feature = "train")]
pub mod split;
mod vocabulary;

pub use event::{AppId, Battery, Event, Network, Signal, Timestamp, UserId};
pub use place::PlaceId;
pub use vocabulary::Vocabulary;

#[cfg(feature = "train")]
pub use self::{
    log::{
        DateOrder, Log, LogFormat, LogOptions, Profiles, SignalName, TableColumns, TimeUnit, Warnings,
        forget, read_logs, write_log,
    },
    privacy::{PlaceGrid, PrivacyKey},
    split::{QuestionTime, Split, SplitPlan},
};
#[cfg(feature = "train")]
pub(crate) use log::most_launched;
