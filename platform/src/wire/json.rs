//! Batches as JSON.

use foretap::data::Network;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Batch, Border, DeadEvent, Refusal, SignalKind, proto};

/// A batch of events; they are read one by one, so that a bad one leaves the others whole.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonBatch<'a> {
    /// 1.
    #[schema(minimum = 1, maximum = 1)]
    pub(super) version: u32,
    /// Which key hashed the ids.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,32}$", example = "2026-11")]
    pub(super) key_id: String,
    /// In any order.
    #[serde(borrow)]
    #[schema(value_type = Vec<JsonEvent>)]
    pub(super) events: Vec<&'a RawValue>,
}

/// An event: the fields of version 1. Another is a misspelt one, or one that must not travel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonEvent<'a> {
    /// The keyed hash of the user's id, made on the phone.
    #[schema(pattern = "^u[0-9a-f]{16}$", example = "u0123456789abcdef")]
    user: String,
    /// When, as RFC 3339.
    #[serde(borrow)]
    #[schema(value_type = String, format = DateTime)]
    at: std::borrow::Cow<'a, str>,
    /// Local time minus UTC.
    #[serde(default)]
    #[schema(minimum = -43200, maximum = 50400)]
    utc_offset_secs: i32,
    /// `launch`, `close`, `notification`, `unlock`, `screen_on` or `screen_off`.
    #[schema(pattern = "^(launch|close|notification|unlock|screen_on|screen_off)$", example = "launch")]
    signal: String,
    /// Of the first three signals, and of no other.
    #[serde(default)]
    #[schema(example = "org.example.mail")]
    app: String,
    /// Among this phone's events of the same second, from 0.
    #[serde(default)]
    #[schema(maximum = 9999)]
    number: u32,
    /// A geohash of at most five characters.
    #[serde(default)]
    #[schema(example = "u33db")]
    place: String,
    /// 0 to 100.
    #[schema(maximum = 100)]
    battery_percent: Option<u32>,
    /// Whether the battery is charged.
    charging: Option<bool>,
    /// `offline`, `wifi` or `cellular`.
    #[schema(pattern = "^(offline|wifi|cellular)$", example = "wifi")]
    network: Option<String>,
}

pub(super) fn decode(bytes: &[u8], border: &Border, now_us: i64) -> Result<Batch, Refusal> {
    // serde_json stops at 128 levels, so a deep nest costs nothing.
    let batch: JsonBatch<'_> =
        serde_json::from_slice(bytes).map_err(|error| Refusal::new("batch", format!("no batch: {error}")))?;
    border.check_batch(batch.version, &batch.key_id, batch.events.len())?;
    let mut read = Batch { key_id: batch.key_id, ..Batch::default() };
    for (index, raw) in batch.events.into_iter().enumerate() {
        match event(raw.get()).and_then(|event| border.check(&event, now_us)) {
            Ok(event) => read.events.push(event),
            Err(refusal) => {
                let raw = bytes::Bytes::copy_from_slice(raw.get().as_bytes());
                read.dead.push(DeadEvent { index, refusal, raw });
            }
        }
    }
    Ok(read)
}

pub(super) fn event(text: &str) -> Result<proto::Event, Refusal> {
    // serde_json's message may quote a value, which may be what must not travel: the place is enough to find it.
    let event: JsonEvent<'_> = serde_json::from_str(text).map_err(|error| {
        let unknown = error.to_string();
        let reason = match unknown.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) if field.len() <= 32 => format!("version 1 has no field `{field}`"),
            _ => match unknown.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
                Some((field, _)) => format!("the field `{field}` is missing"),
                None => format!("a value of a wrong kind at column {} of the event", error.column()),
            },
        };
        Refusal::new("event", reason)
    })?;
    let at: jiff::Timestamp = event.at.parse().map_err(|_| {
        Refusal::new(
            "at",
            "no RFC 3339 time with its offset, such as 2026-11-30T08:15:00.250+01:00 or ..T07:15:00Z",
        )
    })?;
    let signal = SignalKind::from_name(&event.signal).ok_or_else(|| {
        Refusal::new("signal", format!("not one of {}", SignalKind::ALL.map(SignalKind::name).join(", ")))
    })?;
    let network = network_named(event.network.as_deref())?;
    Ok(proto::Event {
        user: event.user,
        // Whole microseconds: what is finer is cut, towards the past.
        at_us: at.as_nanosecond().div_euclid(1_000) as i64,
        utc_offset_secs: event.utc_offset_secs,
        signal: signal as i32,
        app: event.app,
        number: event.number,
        place: event.place,
        battery_percent: event.battery_percent,
        charging: event.charging,
        network: network as i32,
    })
}

/// The network of a name; of none, that nothing is known of it.
pub(crate) fn network_named(name: Option<&str>) -> Result<proto::Network, Refusal> {
    match name {
        None => Ok(proto::Network::Unspecified),
        Some("offline") => Ok(proto::Network::Offline),
        Some("wifi") => Ok(proto::Network::Wifi),
        Some("cellular") => Ok(proto::Network::Cellular),
        Some(_) => Err(Refusal::new("network", "not one of offline, wifi, cellular")),
    }
}

/// A network's name in JSON and in the lake.
pub(crate) fn network_name(network: Network) -> Option<&'static str> {
    match network {
        Network::Unknown => None,
        Network::Offline => Some("offline"),
        Network::Wifi => Some("wifi"),
        Network::Cellular => Some("cellular"),
    }
}
