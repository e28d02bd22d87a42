//! What a phone measured between its events: battery, network, position. An event has what was measured last before it.
//!
//! Studies keep these in tables of their own, each row a change. A reading that is a day old says nothing any more.

use super::positions::MAX_AGE_SECS;
use crate::data::event::{Event, Network, UserId};
use crate::data::place::PlaceId;

/// One thing that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// Charge of the battery, 0 to 100.
    Percent(u8),
    /// Whether a charger is connected.
    Charging(bool),
    /// Whether a way to connect is switched on.
    Switch(Adapter, bool),
    Place(PlaceId),
}

/// What a phone connects by; airplane mode is the switch that turns off all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adapter {
    Airplane,
    Wifi,
    Mobile,
}

/// Readings of any number of users.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    rows: Vec<(UserId, i64, Reading)>,
}

impl Readings {
    pub fn push(&mut self, user: UserId, at: i64, reading: Reading) {
        self.rows.push((user, at, reading));
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All of several files, in order of users and times.
    pub fn together(files: impl Iterator<Item = Self>) -> Self {
        let mut rows: Vec<_> = files.flat_map(|readings| readings.rows).collect();
        rows.sort_by_key(|&(user, at, _)| (user.0, at));
        Self { rows }
    }

    /// Gives one user's events, in time order, what they do not say themselves.
    pub fn fill(&self, events: &mut [Event]) {
        let Some(user) = events.first().map(|event| event.user) else { return };
        let first = self.rows.partition_point(|&(of, ..)| of.0 < user.0);
        let mut rows = self.rows.iter().skip(first).take_while(|&&(of, ..)| of == user).peekable();
        let mut phone = Phone::default();
        for event in events {
            while let Some(&(_, at, reading)) = rows.next_if(|&&(_, at, _)| at <= event.at.0) {
                phone.take(at, reading);
            }
            let at = event.at.0;
            event.battery.percent = event.battery.percent.or(recent(phone.percent, at));
            event.battery.charging = event.battery.charging.or(recent(phone.charging, at));
            event.place = event.place.or(recent(phone.place, at));
            if event.network == Network::Unknown {
                event.network = phone.network(at);
            }
        }
    }
}

/// What was measured last, each with its time.
#[derive(Debug, Default)]
struct Phone {
    percent: Option<(i64, u8)>,
    charging: Option<(i64, bool)>,
    place: Option<(i64, PlaceId)>,
    airplane: Option<(i64, bool)>,
    wifi: Option<(i64, bool)>,
    mobile: Option<(i64, bool)>,
}

impl Phone {
    fn take(&mut self, at: i64, reading: Reading) {
        match reading {
            Reading::Percent(percent) => self.percent = Some((at, percent)),
            Reading::Charging(charging) => self.charging = Some((at, charging)),
            Reading::Place(place) => self.place = Some((at, place)),
            Reading::Switch(Adapter::Wifi, on) => self.wifi = Some((at, on)),
            Reading::Switch(Adapter::Mobile, on) => self.mobile = Some((at, on)),
            Reading::Switch(Adapter::Airplane, on) => {
                self.airplane = Some((at, on));
                // What comes on again in airplane mode says so in a row of its own; what comes back after it, too.
                let both = on.then_some((at, false));
                (self.wifi, self.mobile) = (both, both);
            }
        }
    }

    /// The connection as far as the switches tell it. Where Wi-Fi and mobile data are both on, they do not.
    fn network(&self, at: i64) -> Network {
        match (recent(self.wifi, at), recent(self.mobile, at)) {
            (Some(false), Some(false)) => Network::Offline,
            (Some(true), Some(false)) => Network::Wifi,
            (Some(false), Some(true)) => Network::Cellular,
            _ => Network::Unknown,
        }
    }
}

fn recent<T>(reading: Option<(i64, T)>, at: i64) -> Option<T> {
    reading.filter(|(then, _)| at - then <= MAX_AGE_SECS).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::event::{Battery, Signal, Timestamp};

    #[test]
    fn events_have_what_was_measured_last() {
        let (ann, bob) = (UserId(7), UserId(3));
        let place: PlaceId = "u05kq".parse().unwrap();
        let mut first = Readings::default();
        for (at, reading) in [
            (20, Reading::Percent(70)),
            (10, Reading::Percent(71)),
            (10, Reading::Charging(true)),
            (10, Reading::Place(place)),
            (30, Reading::Charging(false)),
        ] {
            first.push(ann, at, reading);
        }
        let mut second = Readings::default();
        second.push(bob, 0, Reading::Percent(5));
        let readings = Readings::together([first, second].into_iter());
        let day = 24 * 3600;
        let own = Battery { percent: Some(3), charging: None };
        let mut events: Vec<Event> = [5, 10, 25, 30, 20 + day, 31 + day]
            .map(|at| Event::new(ann, Timestamp(at), Signal::Unlock))
            .into_iter()
            .chain([Event { battery: own, ..Event::new(ann, Timestamp(40 + day), Signal::Unlock) }])
            .collect();
        readings.fill(&mut events);
        let found: Vec<_> =
            events.iter().map(|event| (event.battery.percent, event.battery.charging, event.place)).collect();
        let expected = [
            (None, None, None),
            (Some(71), Some(true), Some(place)),
            (Some(70), Some(true), Some(place)),
            (Some(70), Some(false), Some(place)),
            (Some(70), Some(false), None),
            (None, None, None),
            (Some(3), None, None),
        ];
        assert_eq!(found, expected);
        let mut of_bob = [Event::new(bob, Timestamp(1), Signal::Unlock)];
        readings.fill(&mut of_bob);
        assert_eq!(of_bob[0].battery.percent, Some(5));
    }

    #[test]
    fn switches_tell_the_connection_where_only_one_is_on() {
        use Adapter::{Airplane, Mobile, Wifi};
        let cases: [(&[(Adapter, bool)], Network); 8] = [
            (&[], Network::Unknown),
            (&[(Wifi, true)], Network::Unknown),
            (&[(Wifi, true), (Mobile, true)], Network::Unknown),
            (&[(Mobile, true), (Wifi, false)], Network::Cellular),
            (&[(Wifi, true), (Mobile, false)], Network::Wifi),
            (&[(Wifi, true), (Mobile, true), (Airplane, true)], Network::Offline),
            (&[(Airplane, true), (Wifi, true)], Network::Wifi),
            (&[(Airplane, true), (Airplane, false)], Network::Unknown),
        ];
        for (switches, expected) in cases {
            let mut phone = Phone::default();
            switches.iter().for_each(|&(adapter, on)| phone.take(0, Reading::Switch(adapter, on)));
            assert_eq!(phone.network(1), expected, "{switches:?}");
        }
    }
}
