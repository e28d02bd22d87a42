//! One thing that a phone noticed, and its ids. Times are UTC seconds.

use std::fmt;
use std::str::FromStr;

use super::place::PlaceId;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds from `earlier` to `self`; negative when `earlier` is in fact later.
    pub fn secs_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// An app: its position in a [`Vocabulary`](super::Vocabulary).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct AppId(pub u32);

/// A person, as the keyed hash that [`PrivacyKey`](super::PrivacyKey) makes of a user or device id.
/// Written as `u` and 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{:016x}", self.0)
    }
}

impl FromStr for UserId {
    type Err = ();

    /// Reads what `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix('u').filter(|digits| digits.len() == 16).ok_or(())?;
        if !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(());
        }
        u64::from_str_radix(digits, 16).map(UserId).map_err(|_| ())
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// An app came to the foreground.
    Launch(AppId),
    /// An app left the foreground.
    Close(AppId),
    /// An app posted a notification.
    Notification(AppId),
    /// The phone was unlocked: the headline question is asked here.
    Unlock,
    /// The screen lit up, locked; or was locked again while lit.
    ScreenOn,
    /// The screen went dark.
    ScreenOff,
}

impl Signal {
    /// The app concerned, if any.
    pub fn app(self) -> Option<AppId> {
        match self {
            Signal::Launch(app) | Signal::Close(app) | Signal::Notification(app) => Some(app),
            Signal::Unlock | Signal::ScreenOn | Signal::ScreenOff => None,
        }
    }
}

/// What the battery said. A field that the log lacks is `None`, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Battery {
    /// Charge, 0 to 100 percent.
    pub percent: Option<u8>,
    /// Whether a charger was connected.
    pub charging: Option<bool>,
}

/// How the phone was connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Network {
    /// The log does not say.
    #[default]
    Unknown,
    /// Not connected.
    Offline,
    /// A wireless local network.
    Wifi,
    /// A mobile network.
    Cellular,
}

/// One row of a phone's log, checked: everything downstream trusts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    /// Whose phone.
    pub user: UserId,
    /// When, in UTC.
    pub at: Timestamp,
    /// Local time minus UTC at that moment, in seconds: habits follow the wall clock.
    pub utc_offset_secs: i32,
    /// What happened.
    pub signal: Signal,
    /// Where, as a city-level bucket.
    pub place: Option<PlaceId>,
    /// The battery at that moment.
    pub battery: Battery,
    /// The connection at that moment.
    pub network: Network,
}

impl Event {
    /// The day of the user's own clock, counted from 1970, where days begin at `hour` (0 to 23): 4 parts nights from nights.
    pub fn local_day(&self, hour: u8) -> i64 {
        let local = self.at.0.saturating_add(i64::from(self.utc_offset_secs));
        local.saturating_sub(3_600 * i64::from(hour)).div_euclid(86_400)
    }

    /// An event of which only user, time and signal are known, in UTC local time.
    pub fn new(user: UserId, at: Timestamp, signal: Signal) -> Self {
        Self {
            user,
            at,
            utc_offset_secs: 0,
            signal,
            place: None,
            battery: Battery::default(),
            network: Network::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_survive_text_and_raw_names_do_not_pass_for_one() {
        let user = UserId(0x00ff_1234_5678_9abc);
        assert_eq!(user.to_string().parse(), Ok(user));
        for text in ["", "u", "alice", "u00FF123456789ABC", "u00ff123456789ab", "u+0ff123456789abc"] {
            assert_eq!(text.parse::<UserId>(), Err(()), "{text}");
        }
    }
}
