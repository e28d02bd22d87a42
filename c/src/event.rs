//! An event of C's, checked: what leaves here is within its limits, and only its app is still a name.

use foretap::data::{AppId, Battery, Network, PlaceId, Signal, Timestamp};

use crate::border::{Failure, text};
use crate::types::{self, FORETAP_APP_BYTES};

/// A signal that names an app.
type OfApp = fn(AppId) -> Signal;

/// What happened, with its app still by name.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// Something that an app did.
    App(OfApp, &'a str),
    /// Something that the phone did.
    Phone(Signal),
}

/// An event as C gave it, in range.
#[derive(Debug, Clone, Copy)]
pub struct CheckedEvent<'a> {
    pub at: Timestamp,
    pub utc_offset_secs: i32,
    pub what: What<'a>,
    pub place: Option<PlaceId>,
    pub battery: Battery,
    pub network: Network,
}

impl<'a> CheckedEvent<'a> {
    /// Reads what C tells.
    ///
    /// # Safety
    /// `app`, where the signal has one, and `place` are as [`text`] wants them.
    pub unsafe fn read(event: &'a types::Event) -> Result<Self, Failure> {
        Ok(Self {
            at: moment(event.at_utc_secs)?,
            utc_offset_secs: utc_offset(event.utc_offset_secs)?,
            // SAFETY: the caller's promise.
            what: unsafe { what(event) }?,
            // SAFETY: the caller's promise.
            place: unsafe { place(event) }?,
            battery: Battery {
                percent: percent(event.battery_percent)?,
                charging: charging(event.charging)?,
            },
            network: network(event.network)?,
        })
    }
}

/// A moment from 1970 to the year 9999.
pub fn moment(utc_secs: i64) -> Result<Timestamp, Failure> {
    const LAST: i64 = 253_402_300_799;
    if (0..=LAST).contains(&utc_secs) {
        return Ok(Timestamp(utc_secs));
    }
    Err(Failure::invalid(format!(
        "{utc_secs} is no second from 1970 to the year 9999; divide milliseconds by 1,000"
    )))
}

fn utc_offset(secs: i32) -> Result<i32, Failure> {
    // No place on Earth is further from Greenwich than 14 hours; 18 is what clocks take.
    if secs.unsigned_abs() <= 18 * 3_600 {
        return Ok(secs);
    }
    Err(Failure::invalid(format!(
        "a local time {secs} s from UTC is beyond 18 hours; divide milliseconds by 1,000"
    )))
}

/// # Safety
/// `event.app` is as [`text`] wants it, where the signal has an app.
unsafe fn what(event: &types::Event) -> Result<What<'_>, Failure> {
    use types::Signal as C;
    let of_apps: [(i32, OfApp); 3] = [
        (C::Launch as i32, Signal::Launch),
        (C::Close as i32, Signal::Close),
        (C::Notification as i32, Signal::Notification),
    ];
    let of_phone = [
        (C::Unlock as i32, Signal::Unlock),
        (C::ScreenOn as i32, Signal::ScreenOn),
        (C::ScreenOff as i32, Signal::ScreenOff),
    ];
    if let Some(signal) = find(event.signal, &of_phone) {
        return Ok(What::Phone(signal));
    }
    let signal = find(event.signal, &of_apps).ok_or_else(|| unknown("signal", event.signal))?;
    // SAFETY: the caller's promise.
    let app = unsafe { text(event.app, FORETAP_APP_BYTES, "app") }?;
    if app.is_empty() {
        return Err(Failure::invalid("`app` is empty; name it as its package is named"));
    }
    Ok(What::App(signal, app))
}

/// # Safety
/// `event.place` is null, or as [`text`] wants it.
unsafe fn place(event: &types::Event) -> Result<Option<PlaceId>, Failure> {
    /// Of a geohash that names a city; a made-up place begins with a letter that no geohash has.
    const CITY: usize = 5;
    const MADE_UP: char = 'a';
    if event.place.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let place = unsafe { text(event.place, "a1234567".len() + 1, "place") }?;
    if place.len() > CITY && !place.starts_with(MADE_UP) {
        return Err(Failure::invalid(format!(
            "`{place}` would tell where a person lives; cut `place` to {CITY} characters"
        )));
    }
    let read = place.parse().map_err(|()| {
        Failure::invalid(format!(
            "`{place}` is no place; give a geohash of at most {CITY} characters, or NULL"
        ))
    });
    read.map(Some)
}

fn percent(percent: i32) -> Result<Option<u8>, Failure> {
    match u8::try_from(percent) {
        Ok(0) => Ok(None),
        Ok(percent @ 1..=100) => Ok(Some(percent)),
        _ => {
            Err(Failure::invalid(format!("a battery of {percent} %; give 1 to 100, or 0 if it is not known")))
        }
    }
}

fn charging(value: i32) -> Result<Option<bool>, Failure> {
    use types::Charging as C;
    let all = [(C::Unknown as i32, None), (C::No as i32, Some(false)), (C::Yes as i32, Some(true))];
    find(value, &all).ok_or_else(|| unknown("charging", value))
}

fn network(value: i32) -> Result<Network, Failure> {
    use types::Network as C;
    let all = [
        (C::Unknown as i32, Network::Unknown),
        (C::Offline as i32, Network::Offline),
        (C::Wifi as i32, Network::Wifi),
        (C::Cellular as i32, Network::Cellular),
    ];
    find(value, &all).ok_or_else(|| unknown("network", value))
}

fn find<T: Copy>(value: i32, all: &[(i32, T)]) -> Option<T> {
    all.iter().find(|(number, _)| *number == value).map(|(_, meaning)| *meaning)
}

fn unknown(field: &str, value: i32) -> Failure {
    Failure::invalid(format!("{value} is no {field}; give one of foretap_{field}"))
}
