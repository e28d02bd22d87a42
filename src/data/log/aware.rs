//! The tables of AWARE, the framework of many studies: one for each kind of event, one person per `device_id`.
//!
//! They are recognised by their columns, under their own names and those of niimpy, and read by [`table`](super::table). The
//! tables of one person become one log, whether they are files, all files of a folder, or tables of one SQLite database
//! ([`sqlite`](super::sqlite)). `screen` (0 off, 1 on, 2 locked, 3 unlocked), `applications_foreground` and
//! `applications_notifications` have events. Three more say what an event's context was ([`readings`](super::readings)):
//!
//! - `battery`: `battery_level` of `battery_scale`, and Android's `battery_status` (2 charging, 3 discharging, 5 full). The
//!   oldest client for iPhones means a full battery by 3, which no column tells.
//! - `network`: what was switched on (`network_state` 1) or off of `network_type` -1 airplane mode, 1 Wi-Fi, 4 mobile, 5 WiMAX.
//! - `locations`: `double_latitude` and `double_longitude`, which become a cell of the [`PlaceGrid`](crate::data::PlaceGrid).
//!
//! Source: <https://awareframework.com> and `aware-core/src/main/java/com/aware` of denzilferreira/aware-client
//! (`providers/*_Provider.java`: columns; `Network.java`: types), carissalow/rapids (`battery_ios_unification.R`: iPhones),
//! niimpy's sample files (their names there).

use super::LogOptions;
use super::draft::Problem;
use super::readings::{Adapter, Reading};
use super::table::{Table, TableColumns, What};

/// A table whose columns are known, and what its rows are where no column says it.
struct Known {
    /// Columns of the user and of the time, under each of its names.
    keys: &'static [(&'static str, &'static str)],
    /// What else is in which column. `has` is only for knowing the table by.
    columns: &'static [(&'static str, &'static str)],
    rows: What,
    signals: &'static [(&'static str, What)],
}

const SCREEN: &[(&str, What)] =
    &[("0", What::ScreenOff), ("1", What::ScreenOn), ("2", What::Ignore), ("3", What::Unlock)];

const AWARE: (&str, &str) = ("device_id", "timestamp");
const NIIMPY: (&str, &str) = ("user", "time");

/// AWARE's tables, by its own names and by niimpy's. The first whose columns are all there is it.
const KNOWN: [Known; 8] = [
    Known {
        keys: &[AWARE, NIIMPY],
        columns: &[("signal", "screen_status")],
        rows: What::Ignore,
        signals: SCREEN,
    },
    // Notifications have a text or a sound; their tables are otherwise those of apps in the foreground.
    Known {
        keys: &[AWARE],
        columns: &[("app", "application_name"), ("has", "vibrate")],
        rows: What::Notification,
        signals: &[],
    },
    Known {
        keys: &[AWARE],
        columns: &[("app", "application_name"), ("has", "text")],
        rows: What::Notification,
        signals: &[],
    },
    Known { keys: &[AWARE], columns: &[("app", "application_name")], rows: What::Launch, signals: &[] },
    Known {
        keys: &[NIIMPY],
        columns: &[("app", "application_name"), ("has", "package_name")],
        rows: What::Launch,
        signals: &[],
    },
    Known {
        keys: &[AWARE, NIIMPY],
        columns: &[("level", "battery_level"), ("status", "battery_status")],
        rows: What::Battery,
        signals: &[],
    },
    Known {
        keys: &[AWARE, NIIMPY],
        columns: &[("type", "network_type"), ("state", "network_state")],
        rows: What::Network,
        signals: &[],
    },
    Known {
        keys: &[AWARE, NIIMPY],
        columns: &[("latitude", "double_latitude"), ("longitude", "double_longitude")],
        rows: What::Position,
        signals: &[],
    },
];

/// Columns of AWARE's tables of crashes, of processes in the background and of touches, which have apps, too.
const OTHERS: [&str; 5] =
    ["error_short", "error_condition", "process_importance", "application_version", "touch_action"];

/// A table of AWARE, if these are the columns of one.
pub(super) fn known(names: &[String]) -> Option<Table> {
    let has = |column: &str| names.iter().any(|name| name == column);
    if OTHERS.into_iter().any(has) {
        return None;
    }
    KNOWN.iter().find_map(|known| {
        let &(user, at) = known.keys.iter().find(|(user, at)| has(user) && has(at))?;
        if !known.columns.iter().all(|(_, column)| has(column)) {
            return None;
        }
        let named = |what: &str| {
            known.columns.iter().find(|(of, _)| *of == what).map(|(_, column)| (*column).to_owned())
        };
        let columns = TableColumns {
            user: Some(user.to_owned()),
            at: at.to_owned(),
            signal: named("signal"),
            app: named("app"),
            duration: None,
        };
        let signals = known.signals.iter().map(|(value, what)| ((*value).to_owned(), *what)).collect();
        let mut table = Table::new(names, &columns, known.rows, signals).ok()?;
        let optional = [("scale", "battery_scale"), ("adaptor", "battery_adaptor")];
        let measured = known.columns.iter().chain(&optional);
        table.measured = measured
            .filter_map(|&(what, column)| Some((what, names.iter().position(|name| name == column)?)))
            .collect();
        Some(table)
    })
}

/// Where tables with such rows come among the tables of a database.
#[cfg(feature = "sqlite")]
pub(super) fn rank(rows: What) -> usize {
    KNOWN.iter().position(|known| known.rows == rows).unwrap_or_default()
}

/// What a row of a table of readings measured: `field` gives its texts, and `parse` makes a number of one.
pub(super) fn readings<'a>(
    rows: What,
    field: impl Fn(&str) -> Option<&'a str>,
    parse: impl Fn(&str) -> Option<f64>,
    options: &LogOptions,
) -> Result<Vec<Reading>, Problem> {
    let number = |what: &str, column: &'static str| {
        let number = field(what).filter(|text| !text.is_empty()).map(|text| {
            let number = parse(text).filter(|number| number.is_finite());
            number.ok_or_else(|| Problem::not(column, text, "a number"))
        });
        number.transpose()
    };
    let required = |what, column| number(what, column)?.ok_or_else(|| Problem::new(column, "empty"));
    match rows {
        What::Battery => {
            let level = required("level", "battery_level")?;
            let scale = number("scale", "battery_scale")?.filter(|&scale| scale > 0.0).unwrap_or(100.0);
            let percent = 100.0 * level / scale;
            if !(0.0..=100.0).contains(&percent) {
                let message = format!("{level} of {scale} is no share of a battery");
                return Err(Problem::new("battery_level", message));
            }
            let is_plugged = number("adaptor", "battery_adaptor")?.is_some_and(|adaptor| adaptor > 0.0);
            let charging = match number("status", "battery_status")?.map(|status| status as i64) {
                Some(2 | 5) => Some(true),
                _ if is_plugged => Some(true),
                Some(3) => Some(false),
                _ => None,
            };
            let percent = Reading::Percent(percent.round() as u8);
            Ok([Some(percent), charging.map(Reading::Charging)].into_iter().flatten().collect())
        }
        What::Network => {
            let on = required("state", "network_state")? > 0.0;
            let adapter = match required("type", "network_type")? as i64 {
                -1 => Adapter::Airplane,
                1 => Adapter::Wifi,
                4 | 5 => Adapter::Mobile,
                _ => return Ok(Vec::new()),
            };
            Ok(vec![Reading::Switch(adapter, on)])
        }
        _ => {
            let latitude = required("latitude", "double_latitude")?;
            let longitude = required("longitude", "double_longitude")?;
            // What a phone without a fix writes.
            if (latitude, longitude) == (0.0, 0.0) {
                return Ok(Vec::new());
            }
            let place = options.grid.place(latitude, longitude).ok_or_else(|| {
                Problem::new("double_latitude", format!("{latitude}, {longitude} is not on Earth"))
            })?;
            Ok(vec![Reading::Place(place)])
        }
    }
}
