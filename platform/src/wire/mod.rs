//! What phones send: batches of events as JSON or Protobuf, checked once here and trusted afterwards.
//!
//! `proto/foretap/v1/events.proto` defines the fields; JSON has the same names, `at` as RFC 3339 instead of `at_us`, and
//! signals and networks in lower case. A batch is refused whole where it cannot be read; an event that cannot be used is
//! refused by itself, with the field and the reason, and the others go on.
//!
//! ```json
//! {"version": 1, "key_id": "2026-11", "events": [
//!   {"user": "u0123456789abcdef", "at": "2026-11-30T08:15:00.250+01:00", "utc_offset_secs": 3600, "signal": "unlock"},
//!   {"user": "u0123456789abcdef", "at": "2026-11-30T08:15:02+01:00", "utc_offset_secs": 3600, "signal": "launch",
//!    "app": "org.example.mail", "number": 0, "battery_percent": 71, "charging": false, "network": "wifi"}]}
//! ```
//!
//! Identity never travels: `user` is a keyed hash made on the phone, a place is a cell of 4.9 km or coarser, and there is no
//! field for a name, a position or a text. What looks like one is refused.

mod border;
mod json;

use bytes::Bytes;
use foretap::data::{AppId, Battery, Event, Network, PlaceId, Signal, Timestamp, UserId, Vocabulary};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use border::{Border, MAX_APP_BYTES, MAX_NUMBER};
pub(crate) use json::{JsonBatch, JsonEvent, network_name, network_named};

/// The messages of `events.proto`.
#[allow(missing_docs, unused_qualifications)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/foretap.v1.rs"));
}

/// The newest version of a batch that this build reads.
pub const VERSION: u32 = 1;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

impl Encoding {
    /// The one that a request's `Content-Type` names.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "application/x-protobuf" | "application/protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }

    /// Its name in the lake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }

    /// The encoding of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Json, Self::Protobuf].into_iter().find(|encoding| encoding.name() == name)
    }

    /// What a request's `Content-Type` says.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }
}

/// What kind of thing happened; the app is [`PhoneEvent::app`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SignalKind {
    /// An app came to the foreground.
    Launch = 1,
    /// An app left the foreground.
    Close = 2,
    /// An app posted a notification.
    Notification = 3,
    /// The phone was unlocked.
    Unlock = 4,
    /// The screen lit up, locked.
    ScreenOn = 5,
    /// The screen went dark.
    ScreenOff = 6,
}

impl SignalKind {
    /// All of them, by number.
    pub const ALL: [Self; 6] =
        [Self::Launch, Self::Close, Self::Notification, Self::Unlock, Self::ScreenOn, Self::ScreenOff];

    /// Its name in JSON and in the lake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Close => "close",
            Self::Notification => "notification",
            Self::Unlock => "unlock",
            Self::ScreenOn => "screen_on",
            Self::ScreenOff => "screen_off",
        }
    }

    /// The signal of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// Whether it concerns an app.
    pub fn has_app(self) -> bool {
        matches!(self, Self::Launch | Self::Close | Self::Notification)
    }
}

/// An event that was checked: everything behind the border trusts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneEvent {
    /// Whose phone, as the keyed hash that the phone made.
    pub user: UserId,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub at_us: i64,
    /// Number among this phone's events of the same second, from 0.
    pub number: u32,
    /// Local time minus UTC, in seconds.
    pub utc_offset_secs: i32,
    /// What happened.
    pub signal: SignalKind,
    /// To which app; `Some` exactly where the signal has one.
    pub app: Option<Box<str>>,
    /// Where, as a city-level bucket.
    pub place: Option<PlaceId>,
    /// What the battery said.
    pub battery: Battery,
    /// How the phone was connected.
    pub network: Network,
}

/// Tells an event from all others of the same person: the first eight bytes of SHA-256 over time, signal, app and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub u64);

/// Where an event stands among a person's events, whatever order they arrive in: by time, number, identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// Microseconds since 1970.
    pub at_us: i64,
    /// [`PhoneEvent::number`].
    pub number: u32,
    /// Parts events of the same time and number.
    pub identity: Identity,
}

impl PhoneEvent {
    /// See [`Identity`].
    pub fn identity(&self) -> Identity {
        let mut hash = Sha256::new();
        hash.update(self.at_us.to_le_bytes());
        hash.update(self.number.to_le_bytes());
        hash.update([self.signal as u8]);
        hash.update(self.app.as_deref().unwrap_or("").as_bytes());
        let digest = hash.finalize();
        Identity(digest.iter().take(8).fold(0, |id, &byte| id << 8 | u64::from(byte)))
    }

    /// See [`EventKey`].
    pub fn key(&self) -> EventKey {
        EventKey { at_us: self.at_us, number: self.number, identity: self.identity() }
    }

    /// The crate's event: seconds instead of microseconds, the app by its id in `vocabulary`, which learns it where it is new.
    pub fn to_event(&self, vocabulary: &mut Vocabulary) -> Event {
        let app =
            |vocabulary: &mut Vocabulary| -> AppId { vocabulary.intern(self.app.as_deref().unwrap_or("")) };
        let signal = match self.signal {
            SignalKind::Launch => Signal::Launch(app(vocabulary)),
            SignalKind::Close => Signal::Close(app(vocabulary)),
            SignalKind::Notification => Signal::Notification(app(vocabulary)),
            SignalKind::Unlock => Signal::Unlock,
            SignalKind::ScreenOn => Signal::ScreenOn,
            SignalKind::ScreenOff => Signal::ScreenOff,
        };
        Event {
            user: self.user,
            at: Timestamp(self.at_us.div_euclid(1_000_000)),
            utc_offset_secs: self.utc_offset_secs,
            signal,
            place: self.place,
            battery: self.battery,
            network: self.network,
        }
    }

    /// An event of the crate as a phone would send it, the `number`th of its second.
    pub fn of_event(event: &Event, number: u32, vocabulary: &Vocabulary) -> Self {
        let signal = match event.signal {
            Signal::Launch(_) => SignalKind::Launch,
            Signal::Close(_) => SignalKind::Close,
            Signal::Notification(_) => SignalKind::Notification,
            Signal::Unlock => SignalKind::Unlock,
            Signal::ScreenOn => SignalKind::ScreenOn,
            Signal::ScreenOff => SignalKind::ScreenOff,
        };
        Self {
            user: event.user,
            at_us: event.at.0.saturating_mul(1_000_000),
            number,
            utc_offset_secs: event.utc_offset_secs,
            signal,
            app: event.signal.app().map(|app| vocabulary.name(app).into()),
            place: event.place,
            battery: event.battery,
            network: event.network,
        }
    }

    /// The message of `events.proto`.
    pub fn to_proto(&self) -> proto::Event {
        let network = match self.network {
            Network::Unknown => proto::Network::Unspecified,
            Network::Offline => proto::Network::Offline,
            Network::Wifi => proto::Network::Wifi,
            Network::Cellular => proto::Network::Cellular,
        };
        proto::Event {
            user: self.user.to_string(),
            at_us: self.at_us,
            utc_offset_secs: self.utc_offset_secs,
            signal: self.signal as i32,
            app: self.app.as_deref().unwrap_or("").to_owned(),
            number: self.number,
            place: self.place.map_or_else(String::new, |place| place.to_string()),
            battery_percent: self.battery.percent.map(u32::from),
            charging: self.battery.charging,
            network: network as i32,
        }
    }
}

/// Why something is not used: the field, where it is one field's fault, and the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The field of the batch or the event.
    pub field: &'static str,
    /// What is wrong, and what would be right. Never the value itself: it may be what must not travel.
    pub reason: String,
}

impl Refusal {
    fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

/// An event that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadEvent {
    /// Its number in the batch, from 0.
    pub index: usize,
    /// Why.
    pub refusal: Refusal,
    /// The event as it came.
    pub raw: Bytes,
}

/// A batch that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Which key hashed the ids.
    pub key_id: String,
    /// The events that can be used, in the order of the batch.
    pub events: Vec<PhoneEvent>,
    /// Those that cannot.
    pub dead: Vec<DeadEvent>,
}

/// Reads a batch and checks each of its events against `border`, at `now_us` by our clock.
///
/// # Errors
/// The bytes are no batch, of a newer version, or of more events than are allowed: none of it is used.
pub fn decode(bytes: &[u8], encoding: Encoding, border: &Border, now_us: i64) -> Result<Batch, Refusal> {
    if bytes.len() > border.max_batch_bytes {
        let reason = format!("{} bytes, where a batch has at most {}", bytes.len(), border.max_batch_bytes);
        return Err(Refusal::new("batch", reason));
    }
    match encoding {
        Encoding::Json => json::decode(bytes, border, now_us),
        Encoding::Protobuf => {
            // Before a struct is made of each: an empty event is two bytes on the wire, and a hundred times that in memory.
            let count = count_events(bytes)
                .map_err(|error| Refusal::new("batch", format!("no EventBatch: {error}")))?;
            border.check_count(count)?;
            let message = proto::EventBatch::decode(bytes)
                .map_err(|error| Refusal::new("batch", format!("no EventBatch: {error}")))?;
            border.check_batch(message.version, &message.key_id, message.events.len())?;
            let mut batch = Batch { key_id: message.key_id, ..Batch::default() };
            for (index, event) in message.events.into_iter().enumerate() {
                match border.check(&event, now_us) {
                    Ok(event) => batch.events.push(event),
                    Err(refusal) => {
                        batch.dead.push(DeadEvent { index, refusal, raw: event.encode_to_vec().into() });
                    }
                }
            }
            Ok(batch)
        }
    }
}

/// Reads one event as JSON, and checks it against `border` at `now_us` by our clock.
///
/// # Errors
/// It is no event, or cannot be used.
pub fn decode_event(json: &str, border: &Border, now_us: i64) -> Result<PhoneEvent, Refusal> {
    border.check(&json::event(json)?, now_us)
}

/// How many events a batch in Protobuf has.
fn count_events(mut bytes: &[u8]) -> Result<usize, prost::DecodeError> {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    /// Of `events` in events.proto.
    const EVENTS: u32 = 3;
    let mut count = 0;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        count += usize::from(tag == EVENTS);
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
    }
    Ok(count)
}

/// A batch of the one event that a dead letter holds, as it came.
///
/// # Errors
/// The bytes are not of that encoding.
pub fn batch_of_raw(raw: &[u8], encoding: Encoding, key_id: &str) -> Result<Vec<u8>, Refusal> {
    match encoding {
        Encoding::Json => {
            let event: &serde_json::value::RawValue = serde_json::from_slice(raw)
                .map_err(|error| Refusal::new("event", format!("no JSON: {error}")))?;
            let batch = JsonBatch { version: VERSION, key_id: key_id.to_owned(), events: vec![event] };
            serde_json::to_vec(&batch).map_err(|error| Refusal::new("batch", error.to_string()))
        }
        Encoding::Protobuf => {
            let event = proto::Event::decode(raw)
                .map_err(|error| Refusal::new("event", format!("no Event: {error}")))?;
            let batch =
                proto::EventBatch { version: VERSION, key_id: key_id.to_owned(), events: vec![event] };
            Ok(batch.encode_to_vec())
        }
    }
}

/// A batch as Protobuf.
pub fn encode<'a>(key_id: &str, events: impl IntoIterator<Item = &'a PhoneEvent>) -> Vec<u8> {
    let events = events.into_iter().map(PhoneEvent::to_proto).collect();
    proto::EventBatch { version: VERSION, key_id: key_id.to_owned(), events }.encode_to_vec()
}

#[cfg(test)]
mod tests;
