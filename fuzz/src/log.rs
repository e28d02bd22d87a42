//! Arbitrary bytes as a log file, and what reading, writing and forgetting must keep to.
//!
//! The bytes go through a file and [`read_logs`], as a user's do: gzip, byte order marks and the recognition of
//! formats are part of what is tried, and the crate needs no second entrance for it. `run` keeps the file in memory.
//!
//! Every check panics with what it found, which is how libFuzzer learns of it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::read::MultiGzDecoder;
use foretap::data::log::WarningKind;
use foretap::data::{
    AppId, Event, Log, LogFormat, LogOptions, PlaceId, PrivacyKey, Signal, Vocabulary, Warnings, forget,
    read_logs, write_log,
};
use foretap::{Error, ErrorKind, Result, Silent};

use crate::memory::peak_bytes;

/// Years 2000 to 2099.
const BELIEVABLE_SECS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// What reading may hold: buffers, tables of zones and labels, and so much for each byte of the file's text.
const FIXED_BYTES: i64 = 1 << 20;
const BYTES_A_BYTE: i64 = 64;
/// The longest message, path included: a line of a log may be a million bytes, and belongs on no terminal.
const LONGEST_MESSAGE: usize = 3000;

/// Reads `bytes` as a file of `format`, and asks of the outcome all that a user may rely on.
///
/// Files of an odd length are read on the wall clock of Paris, with its nights of daylight saving, others in UTC; of every
/// third file home screens are left out; every other table has columns that are named.
pub fn check(format: LogFormat, bytes: &[u8]) {
    let file = folder().join("phone.csv");
    fs::write(&file, bytes).unwrap();
    let case = Case {
        format,
        text: unpacked(bytes),
        options: LogOptions {
            format: Some(format),
            time_zone: (bytes.len() % 2 == 1).then(|| "Europe/Paris".to_owned()),
            keep_home: bytes.len() % 3 != 0,
            columns: (format == LogFormat::Table && bytes.len() % 2 == 0)
                .then(|| "user=u,at=t,signal=s,app=a,duration=d".parse().unwrap()),
            ..LogOptions::new(PrivacyKey::from_bytes([1; 32]))
        },
        file,
    };
    let (lenient, peak_bytes) = peak_bytes(|| case.read(&case.options));
    let most = FIXED_BYTES + BYTES_A_BYTE * case.text.len() as i64;
    assert!(peak_bytes <= most, "{peak_bytes} bytes for a text of {}", case.text.len());
    let strict = case.read(&LogOptions { strict: true, ..case.options.clone() });
    case.errors_say_where(&lenient, &strict);
    let Ok(found) = lenient else { return };
    case.warnings_say_where(&found);
    case.log_is_valid(&found);
    case.no_row_is_lost_in_silence(&found);
    case.a_bad_row_costs_only_itself(&found);
    for name in ["log.csv", "log.jsonl"] {
        written_is_read_again(name, &found);
    }
    if format == LogFormat::Native {
        case.a_forgotten_person_is_gone(&found);
    }
}

/// What reading gives.
#[derive(Debug)]
struct Found {
    log: Log,
    warnings: Warnings,
    vocabulary: Vocabulary,
}

fn read(file: &Path, options: &LogOptions, mut vocabulary: Vocabulary) -> Result<Found> {
    let (log, warnings) = read_logs(&[file.to_path_buf()], options, &mut vocabulary, &Silent)?;
    Ok(Found { log, warnings, vocabulary })
}

/// A file, and how it is read.
struct Case {
    format: LogFormat,
    file: PathBuf,
    /// Its content, unpacked as far as it can be.
    text: Vec<u8>,
    options: LogOptions,
}

impl Case {
    fn read(&self, options: &LogOptions) -> Result<Found> {
        read(&self.file, options, Vocabulary::new())
    }

    fn errors_say_where(&self, lenient: &Result<Found>, strict: &Result<Found>) {
        for error in [lenient.as_ref().err(), strict.as_ref().err()].into_iter().flatten() {
            self.is_well_said(&error.to_string(), error.line_number());
            assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Io), "{:?}: {error}", error.kind());
            assert!(error.line_number().is_some() || is_about_the_whole_file(error), "no line: {error}");
        }
        match (lenient, strict) {
            (Ok(lenient), Ok(strict)) => {
                assert_eq!((&lenient.log, &lenient.warnings), (&strict.log, &strict.warnings));
                assert_eq!(lenient.vocabulary, strict.vocabulary);
                for kind in [WarningKind::BadRow, WarningKind::CutOff] {
                    assert_eq!(lenient.warnings.count(kind), 0, "a strict reader took a lost row");
                }
            }
            (Ok(lenient), Err(strict)) => {
                assert!(strict.line_number().is_some(), "only strict, but no row is to blame: {strict}");
                assert!(!lenient.warnings.is_empty(), "not a warning, but strictly: {strict}");
            }
            (Err(lenient), Ok(_)) => panic!("only strictly readable: {lenient}"),
            (Err(_), Err(_)) => {}
        }
    }

    fn warnings_say_where(&self, found: &Found) {
        for warning in found.warnings.iter() {
            self.is_well_said(&warning.to_string(), warning.line);
            assert_eq!(warning.file, self.file);
            assert!(warning.count > 0);
            use WarningKind::{BadRow, ClockJump, CutOff, OutOfOrder};
            let is_of_a_row = matches!(warning.kind, BadRow | CutOff | OutOfOrder | ClockJump);
            assert!(warning.line.is_some() || !is_of_a_row, "no line: {warning}");
        }
        // A cut-off last character is the one thing that may be left out; of JSON, what nobody asks for may be anything.
        let is_text =
            std::str::from_utf8(&self.text).map_or_else(|error| error.error_len().is_none(), |_| true);
        let is_counted =
            found.warnings.count(WarningKind::BadRow) + found.warnings.count(WarningKind::CutOff) > 0;
        let is_json = self.format == LogFormat::ActivityWatch;
        assert!(is_text || is_counted || is_json, "read, and is not UTF-8");
    }

    /// One line for a terminal, with the file's name and a line that the file has.
    fn is_well_said(&self, message: &str, line: Option<u64>) {
        assert!(message.contains(&self.file.display().to_string()), "no file: {message}");
        assert!(message.len() <= LONGEST_MESSAGE, "{} bytes of message: {message:.200}", message.len());
        assert!(!message.contains(char::is_control), "control characters: {message:?}");
        if let Some(line) = line {
            // Reading on may fail at the beginning of a line that never came. Where gzip is damaged, how much comes out
            // hangs on how much is asked for.
            let is_damaged = message.contains("gzip data is cut off or damaged");
            let lines = self.text.split(|&byte| byte == b'\n').count() as u64;
            assert!(is_damaged || (1..=lines).contains(&line), "line {line} of {lines}: {message}");
        }
    }

    fn log_is_valid(&self, found: &Found) {
        let Found { log, vocabulary, .. } = found;
        let mut users = HashSet::new();
        let mut used = vec![false; vocabulary.len()];
        for events in log.users() {
            assert!(users.insert(events[0].user), "a user's events stand apart");
            assert!(events.is_sorted_by_key(|event| event.at), "not in time order");
            assert!(self.may_close_first(found) || !closes_first(events), "a close before its launch");
            for event in events {
                assert!(BELIEVABLE_SECS.contains(&event.at.0), "{event:?}");
                assert!(event.utc_offset_secs.abs() <= 18 * 3600, "{event:?}");
                assert!(event.battery.percent.is_none_or(|percent| percent <= 100), "{event:?}");
                if let Some(place) = event.place {
                    assert_eq!(place.to_string().parse::<PlaceId>(), Ok(place));
                }
                if let Some(app) = event.signal.app() {
                    used[app.0 as usize] = true;
                }
            }
        }
        let all_used = used.iter().all(|&used| used);
        assert!(all_used || !self.options.keep_home, "an app without an event: {vocabulary:?}");
        assert!(vocabulary.names().iter().all(|name| !name.is_empty()), "an app without a name");
    }

    /// Our own format holds closes without launches if it was written so; where rows were sorted or dropped, some may
    /// come of it.
    fn may_close_first(&self, found: &Found) -> bool {
        let has = |kind| found.warnings.count(kind) > 0;
        self.format == LogFormat::Native || has(WarningKind::OutOfOrder) || has(WarningKind::Duplicate)
    }

    /// Where a row is one event at least, what is no event is a warning.
    fn no_row_is_lost_in_silence(&self, found: &Found) {
        if !self.options.keep_home {
            return;
        }
        let is_row: fn(&&Event) -> bool = match self.format {
            LogFormat::Native => |_| true,
            LogFormat::AppUsage => |event| !matches!(event.signal, Signal::Close(_)),
            _ => return,
        };
        let count = |kind| found.warnings.count(kind);
        let rows = self.lines().filter(|line| !line.trim().is_empty()).count() as u64;
        let events = found.log.events().iter().filter(is_row).count() as u64;
        let seen = events + count(WarningKind::BadRow) + count(WarningKind::CutOff);
        // A jump may have cost its row; a close may be the duplicate.
        let dropped = [WarningKind::Duplicate, WarningKind::ClockJump, WarningKind::UnlockOrder];
        let counted = seen + dropped.into_iter().map(count).sum::<u64>();
        // A quoted field may hold line breaks: then a row is several lines.
        let may_join = self.lines().any(|line| line.matches('"').count() % 2 == 1);
        // A header is no row.
        let is_enough = may_join || rows <= counted + 1;
        assert!(is_enough && seen <= rows, "{rows} rows, {seen} to {counted} counted");
    }

    /// Without byte order marks and a last character that is cut off: a line of nothing else is blank.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.split(|&byte| byte == b'\n');
        let texts = lines.map(|line| line.utf8_chunks().next().map_or("", |chunk| chunk.valid()));
        texts.map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    fn a_bad_row_costs_only_itself(&self, found: &Found) {
        // Lines of other kinds belong to a dump, JSON has no rows, and a line without its end would become another one.
        let has_rows = !matches!(self.format, LogFormat::UsageStats | LogFormat::ActivityWatch);
        if !has_rows || !self.text.ends_with(b"\n") {
            return;
        }
        let file = folder().join("phone.txt");
        fs::write(&file, [&self.text, &b"?\n"[..]].concat()).unwrap();
        let longer = match read(&file, &self.options, Vocabulary::new()) {
            Err(error) if is_about_the_whole_file(&error) => return,
            longer => longer.unwrap(),
        };
        assert_eq!((&longer.log, &longer.vocabulary), (&found.log, &found.vocabulary));
        let bad_rows = |found: &Found| found.warnings.count(WarningKind::BadRow);
        assert_eq!(bad_rows(&longer), bad_rows(found) + 1);
    }

    /// Without a person's rows the others' log is what it was.
    fn a_forgotten_person_is_gone(&self, found: &Found) {
        let Some(person) = found.log.events().first().map(|event| event.user) else { return };
        let file = folder().join("phone.csv");
        let report = forget(&file, &person.to_string(), &self.options.key).unwrap();
        assert!(report.removed_rows > 0, "nothing of {person} was found");
        let others: Vec<_> =
            found.log.events().iter().filter(|event| event.user != person).copied().collect();
        if report.unreadable_rows > 0 {
            // It stays, and where it is now the first line it tells what the rest is read as.
            return;
        }
        let left = read(&file, &self.options, found.vocabulary.clone());
        if others.is_empty() {
            left.unwrap_err();
        } else {
            assert_eq!(left.unwrap().log.events(), others);
        }
    }
}

/// Whether an app closes more often than it was launched before.
fn closes_first(events: &[Event]) -> bool {
    let mut open: HashMap<AppId, u64> = HashMap::new();
    for event in events {
        match event.signal {
            Signal::Launch(app) => *open.entry(app).or_default() += 1,
            Signal::Close(app) => match open.get_mut(&app).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => return true,
            },
            _ => {}
        }
    }
    false
}

/// Whether an error is one of those that no single row is to blame for.
fn is_about_the_whole_file(error: &Error) -> bool {
    let message = error.to_string();
    [
        "the file is empty",
        "is not recognised",
        "this is not in the format",
        "no usable row",
        "cannot be used: more than half",
        "rows are not UTF-8",
        "and no event",
        "SQLite database",
        "no row says that the screen was unlocked",
    ]
    .iter()
    .any(|whole| message.contains(whole))
}

/// Our own format gives the same log back, whatever it came from, without a word.
fn written_is_read_again(name: &str, found: &Found) {
    let file = folder().join(name);
    if let Err(error) = write_log(&file, &found.log, &found.vocabulary) {
        let has_break = found.vocabulary.names().iter().any(|app| app.contains(['\n', '\r']));
        assert!(name == "log.csv" && has_break, "cannot be written: {error}");
        return;
    }
    let options =
        LogOptions { strict: true, keep_home: true, ..LogOptions::new(PrivacyKey::from_bytes([2; 32])) };
    let again = read(&file, &options, found.vocabulary.clone()).unwrap();
    assert_eq!(again.log, found.log);
    assert_eq!(again.vocabulary, found.vocabulary);
    let is_expected = |kind: WarningKind| kind == WarningKind::ClockJump;
    assert!(again.warnings.iter().all(|warning| is_expected(warning.kind)), "{}", again.warnings);
}

/// Where the files of this process are.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

/// What gzip holds, up to where it is damaged, and UTF-16 as UTF-8; anything else as it is.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        // Damaged data is for the loader to report; what came before it is in `text`.
        let _ = MultiGzDecoder::new(bytes).read_to_end(&mut text);
    } else {
        text.extend_from_slice(bytes);
    }
    let unit: fn([u8; 2]) -> u16 = match text.get(..2) {
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        _ => return text,
    };
    let units = text.as_chunks::<2>().0.iter().map(|&pair| unit(pair));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect::<String>()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every seed is a log that can be read: a target that begins with refused files learns little.
    #[test]
    fn seeds_are_logs_and_keep_to_it_all() {
        let targets = [
            ("native", LogFormat::Native),
            ("app_usage", LogFormat::AppUsage),
            ("usagestats", LogFormat::UsageStats),
            ("lsapp", LogFormat::Lsapp),
            ("tsinghua", LogFormat::Tsinghua),
            ("activity_watch", LogFormat::ActivityWatch),
            ("table", LogFormat::Table),
        ];
        for (target, format) in targets {
            let mut seeds = 0;
            for entry in fs::read_dir(Path::new("seeds").join(target)).unwrap() {
                let seed = entry.unwrap().path();
                let options = LogOptions::new(PrivacyKey::from_bytes([1; 32]));
                let named = target == "table" && seed.to_string_lossy().contains("columns");
                let columns = named.then(|| "user=u,at=t,signal=s,app=a,duration=d".parse().unwrap());
                let options = LogOptions { columns, ..options };
                read(&seed, &options, Vocabulary::new()).unwrap();
                check(format, &fs::read(&seed).unwrap());
                seeds += 1;
            }
            assert!(seeds > 1, "{target} has {seeds} seeds");
        }
    }
}
