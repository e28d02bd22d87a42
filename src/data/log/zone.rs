//! Time zones as people write them.
//!
//! | written | means |
//! | --- | --- |
//! | `Europe/Paris` | a zone of the tz database, daylight saving included |
//! | `GMT+2`, `UTC+02:00`, `+0200`, `+2` | two hours east of Greenwich, all year: what everybody means by it |
//! | `UTC-05:30`, `-0530` | five and a half hours west |
//! | `Etc/GMT+2` | the tz database's own name, whose sign is POSIX's: two hours **west** |
//! | `CEST`, `IST`, `CST` | nothing: several zones use such a name, and the error lists them |

use jiff::tz::{Offset, TimeZone};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::edits;

/// The zone that `name` means.
///
/// # Errors
/// There is no such zone, or several go by this name.
pub(super) fn parse(name: &str) -> Result<TimeZone> {
    let name = name.trim();
    if let Some(secs) = fixed_offset_secs(name)? {
        let offset = Offset::from_seconds(secs).map_err(|_| beyond(name))?;
        return Ok(TimeZone::fixed(offset));
    }
    // `EST` and `MST` are in the tz database, too, as places without daylight saving: not what people mean by them.
    let is_upper = name.bytes().all(|b| b.is_ascii_uppercase());
    let is_abbreviation =
        (2..=5).contains(&name.len()) && (is_upper || name.bytes().all(|b| b.is_ascii_lowercase()));
    let upper = name.to_uppercase();
    if is_abbreviation && !["UTC", "GMT"].contains(&upper.as_str()) {
        let zones = zones_that_say(&upper);
        if let [first, ..] = &zones[..] {
            let message = format!("`{name}` is what the clocks of {} say", counted(zones.len()));
            let next_step = match zones.len() {
                1 => format!("name it: {first}"),
                _ => format!("name the one that is meant, such as {}", shown(&zones)),
            };
            return Err(Error::new(ErrorKind::Config, message).field("time zone").next_step(next_step));
        }
    }
    TimeZone::get(name).map_err(|_| unknown(name))
}

/// What to know about a zone whose name is easily taken for the opposite.
pub(super) fn note(name: &str) -> Option<String> {
    let name = name.trim();
    let is_etc = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("Etc/GMT"));
    let hours =
        name.get(7..).filter(|_| is_etc).filter(|hours| hours.trim_start_matches(['+', '-']) != "0")?;
    let (direction, opposite) = match hours.chars().next()? {
        '+' => ("west", '-'),
        '-' => ("east", '+'),
        _ => return None,
    };
    let digits = hours.trim_start_matches(['+', '-']);
    Some(format!(
        "Etc/GMT{hours} is {digits} hours {direction} of Greenwich, as the tz database has it; {digits} hours on the other \
         side are Etc/GMT{opposite}{digits}"
    ))
}

/// Seconds east of Greenwich of `GMT+2`, `UTC-05:30`, `+0530`, `+2`, `Z`; nothing where `name` is no offset.
pub(super) fn fixed_offset_secs(name: &str) -> Result<Option<i32>> {
    let start = name.get(..3).unwrap_or_default();
    let is_named = ["UTC", "GMT"].iter().any(|known| start.eq_ignore_ascii_case(known));
    let bare = if is_named { name.get(3..).unwrap_or_default() } else { name }.trim();
    if name == "Z" || (bare.is_empty() && !name.is_empty()) {
        return Ok(Some(0));
    }
    let Some(sign) = bare.chars().next().and_then(|c| match c {
        '+' => Some(1),
        '-' | '\u{2212}' => Some(-1),
        _ => None,
    }) else {
        return Ok(None);
    };
    let digits: String = bare.chars().skip(1).collect();
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return Err(beyond(name)),
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2).unwrap_or((&digits, "")),
        None => (&digits[..], "0"),
    };
    let number = |text: &str| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<i32>().ok())?
    };
    match (number(hours), number(minutes)) {
        (Some(hours), Some(minutes)) if hours * 60 + minutes <= 14 * 60 && minutes < 60 => {
            Ok(Some(sign * (hours * 3600 + minutes * 60)))
        }
        _ => Err(beyond(name)),
    }
}

fn beyond(name: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{name}` is no offset from UTC"))
        .field("time zone")
        .next_step("write one of up to 14 hours, such as UTC+05:30, or name a zone such as Europe/Paris")
}

/// Zones whose clocks are called `abbreviation` in winter or in summer, the best known first.
fn zones_that_say(abbreviation: &str) -> Vec<String> {
    const WELL_KNOWN: [&str; 32] = [
        "Europe/London",
        "Europe/Dublin",
        "Europe/Paris",
        "Europe/Berlin",
        "Europe/Madrid",
        "Europe/Rome",
        "Europe/Warsaw",
        "Europe/Athens",
        "Europe/Kyiv",
        "Europe/Istanbul",
        "Europe/Moscow",
        "America/New_York",
        "America/Chicago",
        "America/Denver",
        "America/Los_Angeles",
        "America/Phoenix",
        "America/Mexico_City",
        "America/Havana",
        "America/Sao_Paulo",
        "America/Halifax",
        "Pacific/Honolulu",
        "Asia/Kolkata",
        "Asia/Jerusalem",
        "Asia/Shanghai",
        "Asia/Taipei",
        "Asia/Manila",
        "Asia/Tokyo",
        "Asia/Seoul",
        "Asia/Karachi",
        "Australia/Sydney",
        "Africa/Johannesburg",
        "Africa/Lagos",
    ];
    // A winter and a summer of 2025, whose rules hold today.
    const MOMENTS: [i64; 2] = [1_736_899_200, 1_752_537_600];
    let says = |name: &str| {
        let Ok(zone) = TimeZone::get(name) else { return false };
        MOMENTS.iter().any(|&at| {
            jiff::Timestamp::from_second(at)
                .is_ok_and(|moment| zone.to_offset_info(moment).abbreviation() == abbreviation)
        })
    };
    let is_place = |name: &str| name.contains('/') && !name.starts_with("Etc/");
    let mut zones: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    zones.retain(|name| is_place(name) && says(name));
    let rank = |name: &String| WELL_KNOWN.iter().position(|known| known == name).unwrap_or(WELL_KNOWN.len());
    zones.sort_by_key(|name| (rank(name), name.clone()));
    zones
}

fn counted(zones: usize) -> String {
    if zones == 1 { "one zone".to_owned() } else { format!("{zones} zones") }
}

fn shown(zones: &[String]) -> String {
    let first: Vec<&str> = zones.iter().take(5).map(String::as_str).collect();
    first.join(", ")
}

fn unknown(name: &str) -> Error {
    let wanted = name.to_lowercase().replace(' ', "_");
    let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_lowercase();
    let nearest = jiff::tz::db()
        .available()
        .map(|zone| zone.as_str().to_owned())
        .map(|zone| (edits(&zone.to_lowercase(), &wanted).min(edits(&city(&zone), &wanted)), zone))
        .min();
    let hint = match nearest {
        Some((edits, zone)) if edits * 4 <= wanted.chars().count() && edits <= 3 => {
            format!("did you mean `{zone}`?")
        }
        _ => "name it as the tz database does, for example Europe/Paris, America/New_York or UTC, or as UTC+05:30; \
              https://en.wikipedia.org/wiki/List_of_tz_database_time_zones lists them"
            .to_owned(),
    };
    Error::new(ErrorKind::Config, format!("there is no time zone `{name}`"))
        .field("time zone")
        .next_step(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_mean_what_people_mean() {
        let secs = |name: &str| {
            let zone = parse(name).unwrap_or_else(|error| panic!("{error}"));
            zone.to_offset(jiff::Timestamp::UNIX_EPOCH).seconds()
        };
        let cases = [
            ("GMT+2", 7200),
            ("UTC-05:30", -19_800),
            ("+0530", 19_800),
            ("+5", 18_000),
            ("\u{2212}03:00", -10_800),
            ("UTC +1", 3600),
            ("UTC", 0),
            ("GMT", 0),
            ("Z", 0),
            ("GMT+0", 0),
            ("gmt+2", 7200),
            ("+14:00", 50_400),
            // The tz database's own, whose sign is the other way round.
            ("Etc/GMT+2", -7200),
            ("Asia/Kolkata", 19_800),
        ];
        for (name, expected) in cases {
            assert_eq!(secs(name), expected, "{name}");
        }
        assert!(
            note("Etc/GMT+2").unwrap().contains("2 hours west")
                && note("Etc/GMT-9").unwrap().contains("east")
        );
        for name in ["GMT+2", "Europe/Paris", "Etc/GMT", "Etc/GMT+0", "Etc/UTC"] {
            assert_eq!(note(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_zone_gets_a_hint() {
        let cases: [(&str, &[&str]); 13] = [
            ("CEST", &["clocks of", "zones say", "Europe/Paris", "Europe/Berlin"]),
            ("IST", &["Europe/Dublin", "Asia/Kolkata", "Asia/Jerusalem"]),
            ("CST", &["America/Chicago", "America/Havana", "Asia/Shanghai"]),
            ("EST", &["America/New_York"]),
            ("cest", &["Europe/Paris"]),
            ("Europe/Pariss", &["did you mean `Europe/Paris`?"]),
            ("new york", &["`America/New_York`"]),
            ("x", &["tz database"]),
            ("Middle-earth/Shire", &["tz database"]),
            ("+25", &["no offset", "UTC+05:30"]),
            ("GMT+2:5", &["no offset"]),
            ("+05:75", &["no offset"]),
            ("", &["there is no time zone"]),
        ];
        for (name, says) in cases {
            let message = parse(name).map(|_| ()).unwrap_err().to_string();
            for part in says {
                assert!(message.contains(part), "`{name}`: `{part}` is missing in: {message}");
            }
        }
    }
}
