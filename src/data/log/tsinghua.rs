//! The Tsinghua app usage trace: 1,000 people's mobile traffic in Shanghai, one week of April 2016.
//!
//! Parted by spaces, as published, or by tabs; local time of Shanghai unless `--time-zone` names another, no header (one is
//! tolerated):
//!
//! ```text
//! user  YYYYMMDDhhmmss  base station  app  bytes
//! 1     20160420003814  3142          57   10240
//! ```
//!
//! A row is a request that an app sent: it does not say that the app was opened, so the rows become launches
//! and sessions as [`runs`](super::runs) describes, none of them an `Opened`. The trace numbers its base stations
//! and gives no coordinates here, so a place is the named bucket that
//! [`PrivacyKey::place_id`](crate::data::PrivacyKey::place_id) makes of the number.
//!
//! Source: Yu et al., "Smartphone app usage prediction using points of interest", IMWUT 2018.

use super::clock::Clock;
use super::draft::{Draft, Problem};
use super::lines::Lines;
use super::runs::{self, TouchKind, TouchRow};
use crate::error::Result;

pub(super) fn recognises(head: &[String]) -> bool {
    head.iter().take(20).any(|line| parse(line).is_ok())
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let zone = draft.options.time_zone.as_deref().unwrap_or("Asia/Shanghai");
    let clock = Clock::new(Some(zone))?;
    runs::read(lines, &clock, draft, parse, |line| !line.bytes().any(|b| b.is_ascii_digit()))
}

fn parse(line: &str) -> std::result::Result<TouchRow<'_>, Problem> {
    // A station may be missing where tabs part the columns. Four public codes read the published file by its spaces.
    let parting = if line.contains('\t') { '\t' } else { ' ' };
    let mut fields = line.split(parting).map(str::trim).filter(|field| parting == '\t' || !field.is_empty());
    let mut next = |name| {
        fields.next().ok_or_else(|| {
            Problem::new(name, "missing: five columns, separated by spaces or tabs, are expected")
        })
    };
    let (user, time, station) = (next("user")?, next("timestamp")?, next("base station")?);
    let (app, bytes) = (next("app")?, next("bytes")?);
    let local =
        compact_date_time(time).ok_or_else(|| Problem::not("timestamp", time, "like 20160420003814"))?;
    if bytes.parse::<f64>().is_err() {
        return Err(Problem::not("bytes", bytes, "a number"));
    }
    if user.is_empty() || app.is_empty() {
        return Err(Problem::new(if user.is_empty() { "user" } else { "app" }, "empty"));
    }
    let station = Some(station).filter(|station| !station.is_empty());
    Ok(TouchRow { user, local, app, kind: TouchKind::Used, station })
}

/// `20160420003814`
fn compact_date_time(text: &str) -> Option<jiff::civil::DateTime> {
    if text.len() != 14 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    jiff::civil::DateTime::new(year, pair(4)?, pair(6)?, pair(8)?, pair(10)?, pair(12)?, 0).ok()
}
