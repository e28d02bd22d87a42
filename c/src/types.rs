//! What crosses the border: plain data, laid out as C does. The comments are the header's, so they speak C.

use std::ffi::c_char;

/// Bytes of an app's name at most, its terminating zero included. Android's package names have 223.
pub const FORETAP_APP_BYTES: usize = 256;

/// Candidates that can be asked for at once: as many apps as a history remembers.
pub const FORETAP_MAX_CANDIDATES: usize = 4096;
const _: () = assert!(FORETAP_MAX_CANDIDATES == foretap::context::MAX_APPS);

/// Apps that a suggestion has at most.
pub const FORETAP_MAX_SHOWN: usize = 8;
const _: () = assert!(FORETAP_MAX_SHOWN == foretap::router::MAX_SHOWN);

/// Bytes of a key, for AES-256-GCM.
pub const FORETAP_KEY_BYTES: usize = 32;

/// What came of a call. After anything but `FORETAP_STATUS_OK`, foretap_last_error() tells more, and the call has
/// changed nothing, but for the results: `*handle` is NULL then, and `*count` and `*length` are 0 unless said otherwise.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All went well.
    Ok = 0,
    /// A pointer that must not be NULL is.
    Null = 1,
    /// A text is not UTF-8.
    NotUtf8 = 2,
    /// A number, or the length of a text, is beyond its limits; or a text is missing or cannot be read as what it should
    /// be.
    Invalid = 3,
    /// An event, or a question, is earlier than the last event.
    OutOfOrder = 4,
    /// There have been too many different apps for this handle: it takes no new ones, but goes on with those that it
    /// knows.
    TooManyApps = 5,
    /// The file cannot be read or written.
    Io = 6,
    /// The bytes are no bundle, or damaged, or of a version that this build does not read.
    Bundle = 7,
    /// A bug in foretap; the app goes on. The handle, where there was one, answers nothing more: close it.
    Broken = 8,
    /// The bytes are no saved person, or damaged, or of a version that this build does not read, or sealed under another
    /// key or none.
    Person = 9,
    /// foretap_learn() was stopped, or ran out of time.
    Cancelled = 10,
    /// This library was built without what the call needs.
    NotBuilt = 11,
    /// The machine has no room or no threads for it.
    Device = 12,
}

/// What became of foretap_learn().
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LearnOutcome {
    /// Fewer than 100 questions are kept, of which one may learn: nothing was learned.
    TooFewQuestions = 0,
    /// Nothing was better on the later questions than what the bundle knows: it answers as before.
    NoBetter = 1,
    /// What was learned before is better on the questions since: it stays.
    Kept = 2,
    /// What was learned now answers with the bundle from now on.
    Learned = 3,
}

/// What foretap_learn() found.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Learning {
    /// One of foretap_learn_outcome.
    pub outcome: i32,
    /// Questions that were learned from.
    pub questions: usize,
    /// Mean log loss, in nats, of the last fifth of them by the bundle and what it has adapted; NaN with too few questions.
    pub log_loss_before: f64,
    /// The same with what was learned from the questions before that fifth.
    pub log_loss_after: f64,
}

/// What happened.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// An app came to the foreground.
    Launch = 1,
    /// An app left the foreground.
    Close = 2,
    /// An app posted a notification.
    Notification = 3,
    /// The phone was unlocked.
    Unlock = 4,
    /// The screen lit up, locked; or was locked again while lit.
    ScreenOn = 5,
    /// The screen went dark.
    ScreenOff = 6,
}

/// Whether a charger is connected.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charging {
    /// It is not known.
    Unknown = 0,
    /// None is.
    No = 1,
    /// One is.
    Yes = 2,
}

/// How the phone is connected.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It is not known.
    Unknown = 0,
    /// Not connected.
    Offline = 1,
    /// A wireless local network.
    Wifi = 2,
    /// A mobile network.
    Cellular = 3,
}

/// One thing that the phone noticed. What is left zero is not known; time and signal must be.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// When, not earlier than the event before.
    pub at_utc_secs: i64,
    /// Local time minus UTC at that moment, in seconds: habits follow the clock on the wall.
    pub utc_offset_secs: i32,
    /// What: one of foretap_signal.
    pub signal: i32,
    /// Which app, of FORETAP_SIGNAL_LAUNCH, _CLOSE and _NOTIFICATION, by a name that stays the same, such as its package's.
    /// Of other signals it is not read.
    pub app: *const c_char,
    /// Where, or NULL: a geohash of one to five characters, thus no finer than a city; or `a` and seven characters of a
    /// geohash's alphabet, made up for a place that is not to be shared.
    pub place: *const c_char,
    /// Charge of the battery, 1 to 100; 0 where it is not known.
    pub battery_percent: i32,
    /// One of foretap_charging.
    pub charging: i32,
    /// One of foretap_network.
    pub network: i32,
}

/// An app that may be opened next.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its name, as events or the bundle gave it.
    pub app: [c_char; FORETAP_APP_BYTES],
    /// How probable it is that it is opened next, 0 to 1, calibrated where the bundle was.
    pub probability: f64,
}

/// What to show of an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Suggestion {
    /// Its number, for foretap_feedback(); UINT64_MAX where nothing is to be shown. Numbers begin at 0 when a bundle is opened
    /// and when a person is forgotten, and go on when one is restored.
    pub id: u64,
    /// How many apps to show. 0: none, because the answer is not sure enough; there is no feedback then.
    pub count: usize,
    /// The first `count` are the apps, in the order in which they are shown.
    pub apps: [Candidate; FORETAP_MAX_SHOWN],
    /// How probable it was that each of them was shown, given the answer; below 1 with exploration alone. Keep it with the
    /// feedback if models are to learn from it.
    pub propensities: [f32; FORETAP_MAX_SHOWN],
    /// Whether the last place went to an alternative, by exploration: 1 or 0.
    pub explores: i32,
    /// Probability that one of the most probable apps, as many as are to be shown, is opened: what was compared with
    /// `least_probability`.
    pub confidence: f64,
}

impl Candidate {
    /// No app.
    pub(crate) const NONE: Self = Self { app: [0; FORETAP_APP_BYTES], probability: 0.0 };

    /// `app` in at most [`FORETAP_APP_BYTES`] - 1 bytes; more are cut off.
    pub(crate) fn new(app: &str, probability: f64) -> Self {
        let mut room = [0; FORETAP_APP_BYTES];
        // All but the last, which stays zero.
        let (_, text) = room.split_last_mut().unwrap_or((&mut 0, &mut []));
        text.iter_mut().zip(app.bytes()).for_each(|(to, from)| *to = from as c_char);
        Self { app: room, probability }
    }
}
