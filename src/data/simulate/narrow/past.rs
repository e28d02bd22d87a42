//! What has been observed of one person so far: the only thing, besides the person, that a launch depends on.

use super::person::{SimulatedPerson, Slot};
use crate::data::{Battery, Event, Network, PlaceId, Signal, Timestamp};

/// A rest of this long ends a day.
const REST_SECS: i64 = 4 * 3600;

/// How many different launches back [`Past::recent`] reaches.
pub(super) const REACH: usize = 8;

/// A fold of emitted events, of constant size. It never sees the simulator's plans.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Past {
    /// Time of the last event.
    pub now: Timestamp,
    pub utc_offset_secs: i32,
    pub place: Option<PlaceId>,
    pub battery: Battery,
    pub network: Network,
    /// By slot: the last launch.
    pub launched: Vec<Option<Timestamp>>,
    /// By slot: the newest notification since the last launch.
    pub unseen: Vec<Option<Timestamp>>,
    /// The app in the foreground.
    pub in_front: Option<Slot>,
    /// The last launches, newest last; relaunching the newest adds nothing.
    pub recent: Vec<Slot>,
    /// How many times in a row the newest was launched.
    pub run: usize,
    /// Seconds between the end of the last session and the last unlock.
    pub off_secs: Option<i64>,
    /// The first unlock after a rest, and how many different launches followed.
    pub rested: Option<(Timestamp, usize)>,
    /// The last sign of a meeting: when, and how many different launches ago if it was one.
    pub meeting: Option<(Timestamp, Option<usize>)>,
    unlocked: bool,
    session_ended: Option<Timestamp>,
}

impl Past {
    /// Nothing has happened yet.
    pub(super) fn new(person: &SimulatedPerson) -> Self {
        Self {
            now: Timestamp::default(),
            utc_offset_secs: person.utc_offset_secs,
            place: None,
            battery: Battery::default(),
            network: Network::Unknown,
            launched: vec![None; person.apps.len()],
            unseen: vec![None; person.apps.len()],
            in_front: None,
            recent: Vec::with_capacity(REACH),
            run: 0,
            off_secs: None,
            rested: None,
            meeting: None,
            unlocked: false,
            session_ended: None,
        }
    }

    /// Folds one emitted event in.
    pub(super) fn observe(&mut self, person: &SimulatedPerson, event: &Event) {
        self.now = event.at;
        self.utc_offset_secs = event.utc_offset_secs;
        self.place = event.place;
        self.battery = event.battery;
        self.network = event.network;
        let slot = event.signal.app().and_then(|app| person.slot(app));
        match (event.signal, slot) {
            (Signal::Launch(_), Some(slot)) => self.launch(person, slot),
            (Signal::Notification(_), Some(slot)) => {
                self.unseen[slot] = Some(self.now);
                if slot == person.habits.calendar {
                    self.meeting = Some((self.now, None));
                }
            }
            (Signal::Close(_), _) => self.in_front = None,
            (Signal::Unlock, _) => self.unlock(),
            (Signal::ScreenOff, _) if self.unlocked => {
                self.unlocked = false;
                self.in_front = None;
                self.session_ended = Some(self.now);
            }
            _ => {}
        }
    }

    /// The app launched last.
    pub(super) fn last(&self) -> Option<Slot> {
        self.recent.last().copied()
    }

    /// Local hour, 0 to 24 with its fraction.
    pub(super) fn hour(&self) -> f64 {
        self.local_secs().rem_euclid(86_400) as f64 / 3600.0
    }

    /// Local day, counted from 1970-01-01.
    pub(super) fn day_of(&self, at: Timestamp) -> i64 {
        (at.0 + i64::from(self.utc_offset_secs)).div_euclid(86_400)
    }

    fn local_secs(&self) -> i64 {
        self.now.0 + i64::from(self.utc_offset_secs)
    }

    fn launch(&mut self, person: &SimulatedPerson, slot: Slot) {
        self.launched[slot] = Some(self.now);
        self.unseen[slot] = None;
        self.in_front = Some(slot);
        self.run += 1;
        if self.last() != Some(slot) {
            self.run = 1;
            if self.recent.len() == REACH {
                self.recent.remove(0);
            }
            self.recent.push(slot);
            if let Some((_, launches)) = &mut self.rested {
                *launches += 1;
            }
            if let Some((_, Some(launches))) = &mut self.meeting {
                *launches += 1;
            }
        }
        if slot == person.habits.calendar {
            self.meeting = Some((self.now, Some(1)));
        }
        if slot == person.habits.maps {
            self.meeting = None;
        }
    }

    fn unlock(&mut self) {
        self.unlocked = true;
        self.off_secs = self.session_ended.map(|ended| self.now.secs_since(ended));
        if self.off_secs.is_none_or(|off| off >= REST_SECS) {
            self.rested = Some((self.now, 0));
        }
    }
}
