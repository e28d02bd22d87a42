//! LSApp, the public benchmark of app prediction: 292 people's app interactions.
//!
//! Tab-separated, local time of an unnamed zone, the header may be missing:
//!
//! ```text
//! user_id  session_id  timestamp            app_name                     event_type
//! 0        1           2018-01-16 06:01:05  Minesweeper Classic (Mines)  Opened
//! 0        1           2018-01-16 06:01:05  Minesweeper Classic (Mines)  Closed
//! 0        2           2018-01-16 06:25:54  Gmail                        User Interaction
//! ```
//!
//! `event_type` is `Opened`, `Closed`, `User Interaction` or `Broken`. Rows become launches and sessions as
//! [`runs`](super::runs) describes; the file's own `session_id` is not used, because it numbers the recorder's
//! sessions and not pauses. Without `--time-zone` the wall clock is taken as UTC.
//!
//! Source: Aliannejadi et al., "Context-aware target apps selection and recommendation", TOIS 2021.

use super::clock::{Clock, iso_date_time};
use super::draft::{Draft, Problem};
use super::lines::Lines;
use super::runs::{self, TouchKind, TouchRow};
use crate::error::Result;

pub(super) fn recognises(head: &[String]) -> bool {
    head.iter().take(20).any(|line| parse(line).is_ok() || is_header(line))
}

pub(super) fn read(lines: &mut Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
    let clock = Clock::new(draft.options.time_zone.as_deref())?;
    draft.note_wall_clock();
    runs::read(lines, &clock, draft, parse, is_header)
}

fn parse(line: &str) -> std::result::Result<TouchRow<'_>, Problem> {
    // Not csv: the format knows no quotes, and an app's name may hold some, so this is all there is to do
    // (csv with its quoting off: 0.38 instead of 0.29 seconds for 3.7 million rows, and no shorter).
    let mut fields = line.split('\t').map(str::trim);
    let mut next = |name| {
        fields
            .next()
            .ok_or_else(|| Problem::new(name, "missing: five columns, separated by tabs, are expected"))
    };
    let (user, _session, time) = (next("user_id")?, next("session_id")?, next("timestamp")?);
    let (app, kind) = (next("app_name")?, next("event_type")?);
    let kind = match kind {
        "Opened" => TouchKind::Opened,
        "Closed" => TouchKind::Closed,
        "User Interaction" | "Broken" => TouchKind::Used,
        _ => return Err(Problem::not("event_type", kind, "Opened, Closed, User Interaction or Broken")),
    };
    let local =
        iso_date_time(time).ok_or_else(|| Problem::not("timestamp", time, "like 2018-01-16 06:01:05"))?;
    if user.is_empty() || app.is_empty() {
        return Err(Problem::new(if user.is_empty() { "user_id" } else { "app_name" }, "empty"));
    }
    Ok(TouchRow { user, local, app, kind, station: None })
}

fn is_header(line: &str) -> bool {
    line.starts_with("user_id\t") && line.contains("event_type")
}
