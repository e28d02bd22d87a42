//! A question as it comes, and as it is answered once it was checked: over HTTP and over gRPC the same.

use std::time::Duration;

use foretap::data::UserId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answers::{Failure, wrong};
use crate::wire::{self, Border, PhoneEvent, Refusal, SignalKind, proto};

/// `POST /v1/predict`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictRequest {
    /// The keyed hash of the user's id.
    #[schema(pattern = "^u[0-9a-f]{16}$", example = "u0123456789abcdef")]
    pub user: String,
    /// When it is asked, as RFC 3339; now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub at: Option<String>,
    /// How many apps, 1 to 20; without it as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 20)]
    pub apps: Option<usize>,
    /// The `position` that `POST /v1/events` answered: the answer waits until those events are known to it, a
    /// second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// What the phone says of the moment; without it what its newest event said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<PredictContext>,
    /// The phone's last events, written as in batches, which the server may not have yet: for this answer alone. Those that it
    /// has count once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<wire::JsonEvent>, max_items = 256)]
    pub events: Vec<Box<RawValue>>,
    /// Milliseconds that whoever asks waits. What is not known by then is left out: the answer may be for anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 60000)]
    pub within_ms: Option<u64>,
}

/// What a phone says of a moment: an unlock, as events have it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictContext {
    /// Local time minus UTC.
    #[serde(default)]
    #[schema(minimum = -43200, maximum = 50400)]
    pub utc_offset_secs: i32,
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 100)]
    pub battery_percent: Option<u32>,
    /// Whether the battery is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charging: Option<bool>,
    /// `offline`, `wifi` or `cellular`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A cell, as events have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Apps in one answer, at most, and events in one question.
const MAX_APPS: usize = 20;
const MAX_EVENTS: usize = 256;
/// Milliseconds that a caller may say to wait, at most; and where it says nothing.
const MAX_WITHIN_MS: u64 = 60_000;

/// A question whose every field is possible.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub user: UserId,
    /// Microseconds since 1970.
    pub asked_at_us: i64,
    /// Whether the question says when; if not, it is now.
    pub is_dated: bool,
    /// Apps of the answer.
    pub count: usize,
    /// The position of events that it waits for.
    pub after: Option<u64>,
    /// What the state may not know, in the order of time, each once.
    pub events: Vec<PhoneEvent>,
    /// How long whoever asks waits.
    pub within: Duration,
}

/// How questions are checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Questions<'a> {
    pub border: &'a Border,
    /// Apps where a question asks for no other number.
    pub apps: usize,
    pub now_us: i64,
}

/// What both ways of asking have in common, before it is checked.
struct Parts<'a> {
    user: &'a str,
    at_us: Option<i64>,
    apps: Option<usize>,
    after: Option<u64>,
    context: Option<proto::Context>,
    within_ms: Option<u64>,
}

impl Questions<'_> {
    /// A question written in JSON.
    pub fn json(&self, request: &PredictRequest) -> Result<Question, Failure> {
        let at = |text: &String| -> Result<i64, Failure> {
            let at: jiff::Timestamp = text.parse().map_err(|_| {
                let message = "no RFC 3339 time with its offset".to_owned();
                wrong("at", message, "write it as 2026-11-30T08:15:00+01:00, or leave it out for now")
            })?;
            Ok::<i64, Failure>(at.as_microsecond())
        };
        let parts = Parts {
            user: &request.user,
            at_us: request.at.as_ref().map(at).transpose()?,
            apps: request.apps,
            after: request.after,
            context: request.context.as_ref().map(PredictContext::to_proto).transpose()?,
            within_ms: request.within_ms,
        };
        self.checked(parts, request.events.iter(), |event| {
            wire::decode_event(event.get(), self.border, self.now_us)
        })
    }

    /// A question written in Protobuf; `within` is the call's deadline.
    pub fn proto(
        &self,
        request: &proto::PredictRequest,
        within: Option<Duration>,
    ) -> Result<Question, Failure> {
        let within_ms = within.map(|within| u64::try_from(within.as_millis()).unwrap_or(MAX_WITHIN_MS));
        let parts = Parts {
            user: &request.user,
            at_us: request.at_us,
            apps: request.apps.map(|apps| apps as usize),
            after: request.after,
            context: request.context.clone(),
            // Deadlines are set by libraries: one that is far away is none.
            within_ms: within_ms.map(|within_ms| within_ms.clamp(1, MAX_WITHIN_MS)),
        };
        self.checked(parts, request.events.iter(), |event| self.border.check(event, self.now_us))
    }

    fn checked<T>(
        &self,
        parts: Parts<'_>,
        events: impl ExactSizeIterator<Item = T>,
        read: impl Fn(T) -> Result<PhoneEvent, Refusal>,
    ) -> Result<Question, Failure> {
        let user: UserId = parts.user.parse().map_err(|()| {
            wrong("user", "no keyed hash".to_owned(), "send `u` and 16 hexadecimal digits, as in events")
        })?;
        let count = parts.apps.unwrap_or(self.apps);
        if !(1..=MAX_APPS).contains(&count) {
            let message = format!("{count}, where an answer has 1 to {MAX_APPS}");
            return Err(wrong("apps", message, "ask for a number in between"));
        }
        let within_ms = parts.within_ms.unwrap_or(MAX_WITHIN_MS);
        if !(1..=MAX_WITHIN_MS).contains(&within_ms) {
            let message = format!("{within_ms}, where 1 to {MAX_WITHIN_MS} milliseconds can be waited");
            return Err(wrong("within_ms", message, "give a number in between, or leave it out"));
        }
        let asked_at_us = parts.at_us.unwrap_or(self.now_us);
        let mut known = Vec::with_capacity(events.len().min(MAX_EVENTS) + 1);
        if events.len() > MAX_EVENTS {
            let message = format!("{} events, where a question has at most {MAX_EVENTS}", events.len());
            return Err(wrong("events", message, "send them as a batch to /v1/events"));
        }
        for (index, event) in events.enumerate() {
            let event = read(event).map_err(|refusal| {
                let field = format!("events[{index}].{}", refusal.field);
                wrong(&field, refusal.reason, "write it as in a batch")
            })?;
            if event.user != user {
                let message = "another user's".to_owned();
                return Err(wrong(&format!("events[{index}].user"), message, "send events of `user` alone"));
            }
            if event.at_us > asked_at_us {
                let message = "after the moment that is asked about".to_owned();
                return Err(wrong(&format!("events[{index}].at"), message, "leave out what comes later"));
            }
            known.push(event);
        }
        if let Some(context) = parts.context {
            known.push(self.moment(user, asked_at_us, context)?);
        }
        known.sort_by_key(PhoneEvent::key);
        known.dedup_by_key(|event| event.key());
        Ok(Question {
            user,
            asked_at_us,
            is_dated: parts.at_us.is_some(),
            count,
            after: parts.after,
            events: known,
            within: Duration::from_millis(within_ms),
        })
    }

    /// The moment that is asked about, as the unlock that it is.
    fn moment(&self, user: UserId, asked_at_us: i64, context: proto::Context) -> Result<PhoneEvent, Failure> {
        let event = proto::Event {
            user: user.to_string(),
            at_us: asked_at_us,
            utc_offset_secs: context.utc_offset_secs,
            signal: SignalKind::Unlock as i32,
            app: String::new(),
            // Behind what happened in the same moment.
            number: wire::MAX_NUMBER,
            place: context.place,
            battery_percent: context.battery_percent,
            charging: context.charging,
            network: context.network,
        };
        self.border.check(&event, i64::MAX).map_err(|refusal| {
            wrong(&format!("context.{}", refusal.field), refusal.reason, "write it as in events")
        })
    }
}

impl PredictContext {
    fn to_proto(&self) -> Result<proto::Context, Failure> {
        let network = wire::network_named(self.network.as_deref()).map_err(|refusal| {
            wrong("context.network", refusal.reason, "leave it out where it is not known")
        })?;
        Ok(proto::Context {
            utc_offset_secs: self.utc_offset_secs,
            battery_percent: self.battery_percent,
            charging: self.charging,
            network: network as i32,
            place: self.place.clone().unwrap_or_default(),
        })
    }
}
