//! What is let in.

use foretap::data::{Battery, Network, UserId};

use super::{PhoneEvent, Refusal, SignalKind, VERSION, proto};

/// Bytes of an app's name, at most. Package names of Android have at most 127 characters in Google's store.
pub const MAX_APP_BYTES: usize = 128;

const MICROS: i64 = 1_000_000;
/// 2007-01-01: no phone of this kind is older, so an earlier time comes from a clock that was never set or from another unit.
const EARLIEST_US: i64 = 1_167_609_600 * MICROS;
/// Local time is between 12 hours behind UTC and 14 ahead: the time zones on Earth.
const OFFSETS_SECS: std::ops::RangeInclusive<i32> = -43_200..=50_400;
/// Events within one second that a phone may have.
pub const MAX_NUMBER: u32 = 9_999;
/// Characters of a geohash: a cell of 4.9 km.
const MAX_PLACE: usize = 5;

/// The limits at the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// Bytes of a batch, at most.
    pub max_batch_bytes: usize,
    /// Events in a batch, at most.
    pub max_events: usize,
    /// Microseconds that an event may be ahead of our clock.
    pub max_ahead_us: i64,
}

impl Border {
    /// Whether a batch of `events` may be read at all.
    ///
    /// # Errors
    /// Its version is newer than this build's, its key's label is none, or it is too large.
    pub fn check_batch(&self, version: u32, key_id: &str, events: usize) -> Result<(), Refusal> {
        if version == 0 || version > VERSION {
            let reason = format!("version {version}, where this server reads 1 to {VERSION}");
            return Err(Refusal::new("version", reason));
        }
        let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key_id.is_empty() || key_id.len() > 32 || !key_id.bytes().all(is_label) {
            let reason = "no label of the key that hashed the ids: 1 to 32 letters, digits, `-`, `_`";
            return Err(Refusal::new("key_id", reason));
        }
        self.check_count(events)
    }

    /// Whether a batch may have so many events.
    ///
    /// # Errors
    /// It may not.
    pub fn check_count(&self, events: usize) -> Result<(), Refusal> {
        if events > self.max_events {
            let reason =
                format!("{events} events, where a batch has at most {}: send several", self.max_events);
            return Err(Refusal::new("events", reason));
        }
        Ok(())
    }

    /// The event, if it may come in at `now_us`.
    ///
    /// # Errors
    /// A field is missing, impossible, or finer than what may leave a phone.
    pub fn check(&self, event: &proto::Event, now_us: i64) -> Result<PhoneEvent, Refusal> {
        let user: UserId = event.user.parse().map_err(|()| {
            Refusal::new(
                "user",
                "no keyed hash: `u` and 16 hexadecimal digits, made on the phone; raw ids are refused",
            )
        })?;
        let signal = proto::Signal::try_from(event.signal)
            .ok()
            .and_then(|signal| SignalKind::ALL.into_iter().find(|kind| *kind as i32 == signal as i32))
            .ok_or_else(|| Refusal::new("signal", "not one of the six signals"))?;
        if event.at_us < EARLIEST_US {
            let reason = "before 2007: the clock was not set, or the time is not in the unit of its field";
            return Err(Refusal::new("at", reason));
        }
        if event.at_us > now_us.saturating_add(self.max_ahead_us) {
            let ahead = (event.at_us - now_us) / MICROS;
            let reason =
                format!("{ahead} seconds in the future, where {} are allowed", self.max_ahead_us / MICROS);
            return Err(Refusal::new("at", reason));
        }
        if !OFFSETS_SECS.contains(&event.utc_offset_secs) {
            return Err(Refusal::new("utc_offset_secs", "not between -43200 and 50400 seconds"));
        }
        if event.number > MAX_NUMBER {
            return Err(Refusal::new("number", format!("above {MAX_NUMBER}: it counts within one second")));
        }
        let app = match (signal.has_app(), event.app.is_empty()) {
            (true, false) => Some(app_name(&event.app)?),
            (true, true) => {
                return Err(Refusal::new("app", format!("missing, where the signal is {}", signal.name())));
            }
            (false, true) => None,
            (false, false) => {
                return Err(Refusal::new("app", format!("given, where the signal is {}", signal.name())));
            }
        };
        let place = match event.place.as_str() {
            "" => None,
            place => {
                let is_named = place.len() == 8 && place.starts_with('a');
                let read = place.parse().ok().filter(|_| is_named || place.len() <= MAX_PLACE);
                Some(read.ok_or_else(|| {
                    Refusal::new(
                        "place",
                        "no geohash of at most five characters; finer positions are refused",
                    )
                })?)
            }
        };
        let percent = match event.battery_percent {
            None => None,
            Some(percent) => match u8::try_from(percent) {
                Ok(percent) if percent <= 100 => Some(percent),
                _ => return Err(Refusal::new("battery_percent", "above 100")),
            },
        };
        let network = match proto::Network::try_from(event.network) {
            Ok(proto::Network::Unspecified) => Network::Unknown,
            Ok(proto::Network::Offline) => Network::Offline,
            Ok(proto::Network::Wifi) => Network::Wifi,
            Ok(proto::Network::Cellular) => Network::Cellular,
            Err(_) => return Err(Refusal::new("network", "not one of offline, wifi, cellular")),
        };
        Ok(PhoneEvent {
            user,
            at_us: event.at_us,
            number: event.number,
            utc_offset_secs: event.utc_offset_secs,
            signal,
            app,
            place,
            battery: Battery { percent, charging: event.charging },
            network,
        })
    }
}

/// Characters that are not seen and turn what is seen around: Unicode's marks of direction, joiners and the byte order mark.
const INVISIBLE: [std::ops::RangeInclusive<char>; 4] =
    ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{feff}'..='\u{feff}'];

/// An app's name, not a text, an address or a person's name that somebody put there.
fn app_name(app: &str) -> Result<Box<str>, Refusal> {
    let wrong = |reason: String| Err(Refusal::new("app", reason));
    if app.len() > MAX_APP_BYTES {
        return wrong(format!("{} bytes, where an app's name has at most {MAX_APP_BYTES}", app.len()));
    }
    if app.chars().any(|c| c.is_control() || INVISIBLE.iter().any(|range| range.contains(&c))) {
        return wrong("control characters in an app's name".to_owned());
    }
    if app.trim().is_empty() {
        return wrong("nothing but spaces".to_owned());
    }
    if app.len() >= 7 && app.chars().all(|c| c.is_ascii_digit() || "+ -()/".contains(c)) {
        return wrong("looks like a telephone number".to_owned());
    }
    // A second profile's app is `org.example.chat@999`; an address has letters behind the sign.
    if app.split_once('@').is_some_and(|(_, behind)| !behind.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong("looks like an address: only a profile's number may stand behind `@`".to_owned());
    }
    if app.contains("://") {
        return wrong("looks like a link, not like an app's name".to_owned());
    }
    Ok(app.into())
}
