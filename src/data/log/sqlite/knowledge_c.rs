//! What an iPhone or iPad knows of its use: `knowledgeC.db`, table `ZOBJECT`, UTC seconds since 2001.
//!
//! A row is a state from `ZSTARTDATE` to `ZENDDATE`, in the stream `ZSTREAMNAME`:
//!
//! | stream | value | becomes |
//! | --- | --- | --- |
//! | `/app/inFocus` | `ZVALUESTRING`: the app's bundle | a launch and a close, as [`windows`] describes |
//! | `/device/isLocked` | `ZVALUEINTEGER` 0 | `Unlock`, where it was locked before |
//! | `/device/isLocked` | 1 | `ScreenOff`, where there is no `/display/isBacklit` |
//! | `/display/isBacklit` | 1, 0 | `ScreenOn`, `ScreenOff` |
//! | `/notification/usage` | `ZVALUESTRING` is `Receive`, the bundle in `Z_DKNOTIFICATIONUSAGEMETADATAKEY__BUNDLEID` | `Notification` |
//! | `/device/batteryPercentage`, `/device/isPluggedIn` | `ZVALUEINTEGER` | the battery of later events |
//!
//! - Two rows of one state, the later one beginning where the earlier ends, are one.
//! - `ZSECONDSFROMGMT` is the local time minus UTC of the row; without it the zone of the log.
//! - Rows of another device of the person, which `ZSOURCE.ZDEVICEID` names, are left out with a note.
//! - The user id is the hash of the file's name without extensions ([`read_logs`](crate::data::read_logs)).
//! - Newer systems keep some of these streams in files called Biome, which are not read.
//!
//! Source: `modules/knowledge_*.txt` of mac4n6/APOLLO (iOS 11 to 13), `scripts/artifacts/knowledgeC.py` of abrignoni/iLEAPP.

use std::collections::HashMap;

use rusqlite::types::ValueRef;

use super::Database;
use crate::data::log::draft::{Draft, Problem, RowPlace};
use crate::data::log::readings::Reading;
use crate::data::log::warnings::WarningKind;
use crate::data::log::windows::{self, Happening, What};
use crate::error::Result;

/// 2001-01-01 in seconds since 1970.
const APPLE_EPOCH_SECS: f64 = 978_307_200.0;
/// A state that begins so soon after the end of the same one goes on.
const SAME_STATE_MS: i64 = 1000;

const FOCUS: &str = "/app/inFocus";
const LOCKED: &str = "/device/isLocked";
const BACKLIT: &str = "/display/isBacklit";
const NOTIFIED: &str = "/notification/usage";
const PERCENT: &str = "/device/batteryPercentage";
const PLUGGED: &str = "/device/isPluggedIn";
const STREAMS: [&str; 6] = [FOCUS, LOCKED, BACKLIT, NOTIFIED, PERCENT, PLUGGED];

pub(super) fn read(database: &Database, draft: &mut Draft<'_>) -> Result<()> {
    let user = draft.user(&draft.owner.clone());
    let rows = rows(database)?;
    let has_backlit = rows.iter().any(|row| row.stream == BACKLIT);
    let mut happenings = Vec::new();
    let mut of_others = 0;
    // The last row of each state: its value, and when it ended.
    let mut states: HashMap<&'static str, (i64, i64)> = HashMap::new();
    for row in rows {
        let place = RowPlace::Row("ZOBJECT", row.key);
        if row.is_of_another_device {
            of_others += 1;
            continue;
        }
        match row.takes_place(&mut states, has_backlit) {
            Ok(Some(Taken::Happening(at_ms, what))) => {
                happenings.push(Happening { at_ms, what, offset_secs: row.offset_secs, place });
            }
            Ok(Some(Taken::Reading(at_ms, reading))) => {
                draft.read_off(user, at_ms.div_euclid(1000), reading);
            }
            Ok(None) => {}
            Err(problem) => draft.skip_at(place, problem)?,
        }
    }
    if of_others > 0 {
        let detail = format!("left out: {of_others} rows that another device of this person sent");
        draft.warn(WarningKind::LeftOut, None, detail);
    }
    let no_unlock =
        "no row of /device/isLocked says that it was unlocked: nothing can be asked after an unlock";
    windows::write(happenings, user, no_unlock, draft)
}

/// A row as the database has it.
struct Row {
    key: i64,
    stream: &'static str,
    text: Option<String>,
    number: Option<i64>,
    start_secs: Option<f64>,
    end_secs: Option<f64>,
    offset_secs: Option<i32>,
    /// Whose notification it is.
    bundle: Option<String>,
    is_of_another_device: bool,
}

/// What a row says.
enum Taken {
    Happening(i64, What),
    Reading(i64, Reading),
}

/// All rows of the streams, in order of time. Older systems lack some tables and columns.
fn rows(database: &Database) -> Result<Vec<Row>> {
    let tables = database.tables()?;
    let columns = |table: &str| -> Result<Vec<String>> {
        if tables.iter().any(|name| name == table) { database.columns(table) } else { Ok(Vec::new()) }
    };
    let (object, metadata, source) =
        (columns("ZOBJECT")?, columns("ZSTRUCTUREDMETADATA")?, columns("ZSOURCE")?);
    let has = |columns: &[String], name: &str| columns.iter().any(|column| column == name);
    let of_object = |name: &str| if has(&object, name) { format!("o.{name}") } else { "NULL".to_owned() };
    let (mut bundle, mut device, mut joins) = ("NULL", "NULL", String::new());
    if has(&metadata, "Z_DKNOTIFICATIONUSAGEMETADATAKEY__BUNDLEID") && has(&object, "ZSTRUCTUREDMETADATA") {
        bundle = "m.Z_DKNOTIFICATIONUSAGEMETADATAKEY__BUNDLEID";
        joins += " LEFT JOIN ZSTRUCTUREDMETADATA m ON o.ZSTRUCTUREDMETADATA = m.Z_PK";
    }
    if has(&source, "ZDEVICEID") && has(&object, "ZSOURCE") {
        device = "s.ZDEVICEID";
        joins += " LEFT JOIN ZSOURCE s ON o.ZSOURCE = s.Z_PK";
    }
    let streams = STREAMS.map(|stream| format!("'{stream}'")).join(", ");
    let [text, number, start, end, offset] =
        ["ZVALUESTRING", "ZVALUEINTEGER", "ZSTARTDATE", "ZENDDATE", "ZSECONDSFROMGMT"].map(of_object);
    let sql = format!(
        "SELECT o.rowid, o.ZSTREAMNAME, {text}, {number}, {start}, {end}, {offset}, {bundle}, {device} FROM ZOBJECT o{joins} \
         WHERE o.ZSTREAMNAME IN ({streams}) ORDER BY {start}, o.rowid"
    );
    let read = || -> rusqlite::Result<Vec<Row>> {
        let mut statement = database.connection.prepare(&sql)?;
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let name = row.get_ref(1)?;
            let stream = STREAMS
                .into_iter()
                .find(|stream| name.as_bytes().is_ok_and(|name| name == stream.as_bytes()));
            let Some(stream) = stream else { continue };
            let text = |index: usize| -> rusqlite::Result<Option<String>> {
                let value = row.get_ref(index)?;
                Ok(value.as_str().ok().filter(|text| !text.trim().is_empty()).map(str::to_owned))
            };
            let number = |index: usize| -> rusqlite::Result<Option<f64>> {
                Ok(match row.get_ref(index)? {
                    ValueRef::Integer(number) => Some(number as f64),
                    ValueRef::Real(number) => Some(number),
                    _ => None,
                })
            };
            rows.push(Row {
                key: row.get(0)?,
                stream,
                text: text(2)?,
                number: number(3)?.map(|number| number as i64),
                start_secs: number(4)?,
                end_secs: number(5)?,
                offset_secs: number(6)?.map(|offset| offset as i32),
                bundle: text(7)?,
                is_of_another_device: text(8)?.is_some(),
            });
        }
        Ok(rows)
    };
    read().map_err(|error| database.broken(&error))
}

impl Row {
    fn takes_place(
        &self,
        states: &mut HashMap<&'static str, (i64, i64)>,
        has_backlit: bool,
    ) -> std::result::Result<Option<Taken>, Problem> {
        let at_ms = millis(self.start_secs).ok_or_else(|| Problem::new("ZSTARTDATE", "no time"))?;
        if self.offset_secs.is_some_and(|secs| secs.unsigned_abs() > 18 * 3600) {
            return Err(Problem::new("ZSECONDSFROMGMT", "not within 18 hours"));
        }
        let until_ms = millis(self.end_secs).unwrap_or(at_ms).max(at_ms);
        let happens = |what| Ok(Some(Taken::Happening(at_ms, what)));
        if self.stream == FOCUS {
            let app = self.text.clone().ok_or_else(|| Problem::new("ZVALUESTRING", "no bundle"))?;
            return happens(What::Window { app, until_ms });
        }
        if self.stream == NOTIFIED {
            if self.text.as_deref() != Some("Receive") {
                return Ok(None);
            }
            let bundle = self.bundle.clone();
            return bundle.map_or(Ok(None), |bundle| happens(What::Notification(bundle)));
        }
        let value = self.number.ok_or_else(|| Problem::new("ZVALUEINTEGER", "empty"))?;
        let read_off = |reading| Ok(Some(Taken::Reading(at_ms, reading)));
        match self.stream {
            PERCENT => {
                let percent = u8::try_from(value).ok().filter(|percent| *percent <= 100);
                let percent = percent
                    .ok_or_else(|| Problem::not("ZVALUEINTEGER", &value.to_string(), "from 0 to 100"))?;
                return read_off(Reading::Percent(percent));
            }
            PLUGGED => return read_off(Reading::Charging(value == 1)),
            _ => {}
        }
        let before = states.insert(self.stream, (value, until_ms));
        if before.is_some_and(|(before, ended_ms)| before == value && at_ms - ended_ms <= SAME_STATE_MS) {
            return Ok(None);
        }
        match (self.stream, value) {
            (LOCKED, 0) => happens(What::Unlock),
            (LOCKED, 1) if !has_backlit => happens(What::ScreenOff),
            (BACKLIT, 1) => happens(What::ScreenOn),
            (BACKLIT, 0) => happens(What::ScreenOff),
            (LOCKED, 1) => Ok(None),
            _ => Err(Problem::not("ZVALUEINTEGER", &value.to_string(), "0 or 1")),
        }
    }
}

/// Milliseconds since 1970.
fn millis(apple_secs: Option<f64>) -> Option<i64> {
    let secs = apple_secs? + APPLE_EPOCH_SECS;
    (secs.abs() < 1e12).then_some((secs * 1000.0).floor() as i64)
}
