//! Log files of several formats become one [`Log`].
//!
//! 1. A file opens as numbered lines (`lines`), or as a database (`sqlite`).
//! 2. Its format's loader takes each line apart and writes events into a `draft`, which joins positions and names the apps.
//! 3. The files of one person become one list of events in time order (`join`): what several files say is there once
//!    (`merge`), home screens are left out (`home`), and each unlock stands before what it led to (`unlock`). What the phone
//!    measured between the events is joined to them (`readings`).
//!
//! A row that cannot be used is counted in [`Warnings`], or an error where the options are strict.

mod activity_watch;
mod app_usage;
mod aware;
mod clock;
mod draft;
mod home;
mod inputs;
mod join;
mod jumps;
mod labels;
mod lines;
mod locale;
mod lsapp;
mod mapping;
mod merge;
mod native;
mod positions;
mod readings;
mod runs;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;
mod tsinghua;
mod unlock;
mod usagestats;
mod warnings;
mod windows;
mod write;
mod zone;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use clock::DateOrder;
pub use table::{SignalName, TableColumns, TimeUnit};
pub use warnings::{Warning, WarningKind, Warnings};
pub use write::{ForgetReport, forget, write_log};

use super::event::{AppId, Event, Signal, UserId};
use super::privacy::{PlaceGrid, PrivacyKey};
use super::vocabulary::Vocabulary;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use draft::{Draft, Part};
use inputs::{Input, inputs, owners};
use lines::{Lines, excerpt};
use positions::Positions;

/// Events of any number of users: each user's rows together, in time order; users in order of appearance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    events: Vec<Event>,
}

impl Log {
    /// Groups `events` by user (in order of first appearance) and sorts each user's by time.
    /// Rows of one second keep their order.
    pub fn from_events(mut events: Vec<Event>) -> Self {
        let mut order: HashMap<UserId, usize> = HashMap::new();
        for event in &events {
            let next = order.len();
            order.entry(event.user).or_insert(next);
        }
        events.sort_by_key(|event| (order[&event.user], event.at));
        Self { events }
    }

    /// All events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Each user's events, in time order.
    pub fn users(&self) -> impl Iterator<Item = &[Event]> {
        self.events.chunk_by(|a, b| a.user == b.user)
    }
}

/// Apps by how often they were launched, most first; of equals by name, because ids depend on whatever else was read.
pub(crate) fn most_launched<'a, 'b>(
    users: impl Iterator<Item = &'a [Event]>,
    name: impl Fn(AppId) -> &'b str,
) -> Vec<AppId> {
    let mut launches: HashMap<AppId, u64> = HashMap::new();
    for event in users.flatten() {
        if let Signal::Launch(app) = event.signal {
            *launches.entry(app).or_default() += 1;
        }
    }
    let mut apps: Vec<(AppId, u64)> = launches.into_iter().collect();
    apps.sort_by_key(|&(app, launches)| (std::cmp::Reverse(launches), name(app)));
    apps.into_iter().map(|(app, _)| app).collect()
}

/// The formats that can be read. Each one's module describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// foretap's own CSV or JSON Lines.
    Native,
    /// The Activity export of the Android app "App Usage".
    AppUsage,
    /// What `adb shell dumpsys usagestats` prints.
    UsageStats,
    /// LSApp, the public benchmark.
    Lsapp,
    /// The Tsinghua app usage trace.
    Tsinghua,
    /// What ActivityWatch exports, as JSON.
    ActivityWatch,
    /// A table whose columns [`LogOptions::columns`] names, or one of AWARE's.
    Table,
    /// An iPhone's `knowledgeC.db`, which needs the Cargo feature `sqlite`.
    KnowledgeC,
}

impl LogFormat {
    /// All formats. When a file is recognised, the first that fits wins.
    pub const ALL: [LogFormat; 8] = [
        LogFormat::Native,
        LogFormat::AppUsage,
        LogFormat::UsageStats,
        LogFormat::Lsapp,
        LogFormat::Tsinghua,
        LogFormat::ActivityWatch,
        LogFormat::Table,
        LogFormat::KnowledgeC,
    ];

    /// Whether the first lines of a file look like this format.
    fn recognises(self, head: &[String]) -> bool {
        match self {
            LogFormat::Native => native::recognises(head),
            LogFormat::AppUsage => app_usage::recognises(head),
            LogFormat::UsageStats => usagestats::recognises(head),
            LogFormat::Lsapp => lsapp::recognises(head),
            LogFormat::Tsinghua => tsinghua::recognises(head),
            // By its first bytes, in `format_of`: it may be one long line, or a database.
            LogFormat::ActivityWatch | LogFormat::KnowledgeC => false,
            LogFormat::Table => table::recognises(head),
        }
    }

    /// Whether a phone wrote its unlocks: elsewhere they stand for sessions.
    fn has_unlocks(self) -> bool {
        !matches!(self, LogFormat::Lsapp | LogFormat::Tsinghua)
    }

    /// Whether a phone's own export of its wall clock, whatever zone was set then.
    fn is_of_wall_clock(self) -> bool {
        matches!(self, LogFormat::AppUsage | LogFormat::UsageStats)
    }

    fn read(self, mut lines: Lines<'_>, draft: &mut Draft<'_>) -> Result<()> {
        match self {
            LogFormat::Native => native::read(&mut lines, draft),
            LogFormat::AppUsage => app_usage::read(&mut lines, draft),
            LogFormat::UsageStats => usagestats::read(&mut lines, draft),
            LogFormat::Lsapp => lsapp::read(&mut lines, draft),
            LogFormat::Tsinghua => tsinghua::read(&mut lines, draft),
            LogFormat::ActivityWatch => activity_watch::read(lines, draft),
            LogFormat::Table => table::read(&mut lines, draft),
            LogFormat::KnowledgeC => {
                Err(Error::new(ErrorKind::Data, "knowledgeC is a SQLite database, and this is none")
                    .file(draft.file)
                    .next_step("leave out --format"))
            }
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Native => "native",
            LogFormat::AppUsage => "app-usage",
            LogFormat::UsageStats => "usagestats",
            LogFormat::Lsapp => "lsapp",
            LogFormat::Tsinghua => "tsinghua",
            LogFormat::ActivityWatch => "activity-watch",
            LogFormat::Table => "table",
            LogFormat::KnowledgeC => "knowledge-c",
        })
    }
}

impl FromStr for LogFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.to_string() == text).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("there is no log format `{text}`"))
                .next_step(format!("the formats are {}", all_names()))
        })
    }
}

fn all_names() -> String {
    LogFormat::ALL.map(|format| format.to_string()).join(", ")
}

/// Whose the apps of a phone's further profiles are: a work profile, a clone of an app ("dual app"), a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profiles {
    /// The same person's, as apps of their own: `com.chat@999`.
    #[default]
    Apps,
    /// Another person's for each profile.
    People,
}

impl FromStr for Profiles {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "apps" => Ok(Self::Apps),
            "people" => Ok(Self::People),
            _ => Err(Error::new(ErrorKind::Config, format!("`{text}` is no way to read profiles"))
                .next_step("say apps or people")),
        }
    }
}

/// How to read log files. A file can say most of it: [`LogOptions::with_mapping`].
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The format, or `None` to recognise it from each file's content.
    pub format: Option<LogFormat>,
    /// The zone of the logs' wall clocks, such as `Europe/Paris` or `UTC+05:30`. Without one the wall clock is taken as UTC.
    pub time_zone: Option<String>,
    /// The order of day, month and year in dates, or `None` to decide it over each whole file.
    pub date_order: Option<DateOrder>,
    /// Whose all files are, where their format names no person. Without it, files of other names are other people.
    pub person: Option<String>,
    /// Apps that are home screens, beside those that are known as such: package names, or labels where the log has those.
    pub home: Vec<String>,
    /// Whether home screens, lock screens and system dialogs stay apps like others.
    pub keep_home: bool,
    /// Whose the apps of further profiles are.
    pub profiles: Profiles,
    /// Which column of a table is what, for tables of no known format.
    pub columns: Option<TableColumns>,
    /// What the values of the column `signal` of such a table say, beside the native format's.
    pub signals: Vec<SignalName>,
    /// The unit of such a table's times, or `None` to infer it from their size.
    pub unit: Option<TimeUnit>,
    /// Files of positions (`unix_seconds,lat,lon`): none, one for all data files, or one for each.
    pub places: Vec<PathBuf>,
    /// How coarse places become.
    pub grid: PlaceGrid,
    /// The secret under which ids are hashed.
    pub key: PrivacyKey,
    /// Whether a row that cannot be used is an error instead of a warning.
    pub strict: bool,
}

impl LogOptions {
    /// Every format recognised, UTC, no positions, city-level places, bad rows skipped with a warning.
    pub fn new(key: PrivacyKey) -> Self {
        Self {
            format: None,
            time_zone: None,
            date_order: None,
            person: None,
            home: Vec::new(),
            keep_home: false,
            profiles: Profiles::default(),
            columns: None,
            signals: Vec::new(),
            unit: None,
            places: Vec::new(),
            grid: PlaceGrid::default(),
            key,
            strict: false,
        }
    }
}

/// Reads `files` in turn, and of a folder all files in it. App names go into `vocabulary`, each file's in order of first
/// appearance in time. `progress` counts bytes, one stage a file.
///
/// Where a format names no person, [`LogOptions::person`] is the raw id, or the file's name without extensions. Files of
/// one name in several folders are several people: their raw ids have as many folders before the name as tell them apart,
/// such as `ann/phone` and `bob/phone`.
///
/// Files of one person are merged: what several of them say is there once. Home screens are left out
/// ([`LogOptions::keep_home`]), and an unlock that was written a few seconds after the app that it led to is put before it.
/// Files of a folder that are in no known format are left out, with a note.
///
/// # Errors
/// A file cannot be read, is in an unknown or another format, or has no usable row, or more rows that cannot be used than
/// others, or many that are not UTF-8; no file has an event; the person has no name; the time zone is unknown; the positions
/// do not pair up; or a row cannot be used and the options are strict.
pub fn read_logs(
    files: &[PathBuf],
    options: &LogOptions,
    vocabulary: &mut Vocabulary,
    progress: &dyn Progress,
) -> Result<(Log, Warnings)> {
    if options.person.as_ref().is_some_and(|person| person.trim().is_empty()) {
        return Err(Error::new(ErrorKind::Config, "the person has no name")
            .field("--person")
            .next_step("name the person, or leave it out"));
    }
    table::check_signals(&options.signals)?;
    let mut warnings = Warnings::default();
    let positions = read_positions(files, options, &mut warnings)?;
    if let (Some(note), Some(file)) = (options.time_zone.as_deref().and_then(zone::note), files.first()) {
        warnings.add(WarningKind::ZoneName, file, None, note);
    }
    let inputs = inputs(files)?;
    let owners = owners(&inputs.iter().map(|input| input.file.clone()).collect::<Vec<_>>());
    let (mut kept, mut parts, mut formats) = (Vec::new(), Vec::new(), Vec::new());
    for (input, owner) in inputs.into_iter().zip(owners) {
        let owner = options.person.clone().unwrap_or(owner);
        let positions = positions.get(input.argument).or(positions.first());
        let whose = (owner, positions);
        if let Some((format, part)) = read_file(&input, whose, options, vocabulary, &mut warnings, progress)?
        {
            kept.push(input.file);
            parts.push(part);
            formats.push(format);
        }
        progress.finish();
    }
    if let Some(file) = files.first().filter(|_| parts.iter().all(|part| part.events.is_empty())) {
        let (message, next_step) = if parts.is_empty() {
            let left_out = warnings.iter().find(|warning| warning.kind == WarningKind::LeftOut);
            let first = left_out.map_or(String::new(), |warning| format!("; {warning}"));
            (format!("no file in this folder is a log{first}"), format!("the formats are {}", all_names()))
        } else {
            let next_step = "give the tables of apps and of the screen with them: all files, or their folder";
            ("readings of battery, network or position, and no event".to_owned(), next_step.to_owned())
        };
        return Err(Error::new(ErrorKind::Data, message).file(file).next_step(next_step));
    }
    let log = join::join(&kept, &formats, parts, options, vocabulary, &mut warnings);
    Ok((log, warnings))
}

/// What one file gives, and its format; nothing where it is one of a folder and no log.
fn read_file(
    input: &Input,
    (owner, positions): (String, Option<&Positions>),
    options: &LogOptions,
    vocabulary: &mut Vocabulary,
    warnings: &mut Warnings,
    progress: &dyn Progress,
) -> Result<Option<(LogFormat, Part)>> {
    let file = &input.file;
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    progress.start(&format!("reading {}", file.file_name().unwrap_or_default().to_string_lossy()), bytes);
    let mut lines = Lines::open(file, progress)?;
    let leave_out = |warnings: &mut Warnings, why: String| {
        warnings.add(WarningKind::LeftOut, file, None, why);
        Ok(None)
    };
    let source = match Source::of(file, &mut lines, options) {
        Err(error) if input.is_in_folder && error.kind() == ErrorKind::Data => {
            return leave_out(warnings, format!("left out: {}", error.bare()));
        }
        source => source?,
    };
    let mut draft = Draft::new(file, owner, options, warnings);
    let format = match source.read(lines, &mut draft) {
        // A file beside the data, whose columns are others: the mapping itself, say.
        Err(error)
            if input.is_in_folder
                && options.columns.is_some()
                && error.kind() == ErrorKind::Data
                && draft.is_blank() =>
        {
            return leave_out(warnings, format!("left out: {}", error.bare()));
        }
        format => format?,
    };
    if input.is_in_folder && draft.is_blank() {
        return leave_out(warnings, "left out: no row in it".to_owned());
    }
    if positions.is_some() && draft.is_off_utc() {
        let detail = "positions are in UTC, but this log's time zone is not given; name it with --time-zone";
        draft.warn(WarningKind::PlacesWithoutZone, None, detail);
    }
    Ok(Some((format, draft.finish(positions, vocabulary)?)))
}

/// What a file is read as.
enum Source {
    Text(LogFormat),
    #[cfg(feature = "sqlite")]
    Database(sqlite::Database, LogFormat),
}

impl Source {
    #[cfg(feature = "sqlite")]
    fn of(file: &Path, lines: &mut Lines<'_>, options: &LogOptions) -> Result<Self> {
        if !lines.starts_with().starts_with(SQLITE) {
            return Ok(Self::Text(format_of(file, lines, options)?));
        }
        let database = sqlite::Database::open(file, lines)?;
        let format = database.format(options)?;
        Ok(Self::Database(database, format))
    }

    #[cfg(not(feature = "sqlite"))]
    fn of(file: &Path, lines: &mut Lines<'_>, options: &LogOptions) -> Result<Self> {
        if !lines.starts_with().starts_with(SQLITE) {
            return Ok(Self::Text(format_of(file, lines, options)?));
        }
        Err(Error::new(ErrorKind::Data, "this is a SQLite database, which needs the Cargo feature `sqlite`").file(file).next_step(
            "build with it, as in cargo run --release --features sqlite --example inspect -- --data ..; or export the tables as CSV",
        ))
    }

    fn read(self, lines: Lines<'_>, draft: &mut Draft<'_>) -> Result<LogFormat> {
        match self {
            Self::Text(format) => format.read(lines, draft).map(|()| format),
            #[cfg(feature = "sqlite")]
            Self::Database(database, format) => database.read(format, draft).map(|()| format),
        }
    }
}

/// What a SQLite database begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// The time zone that a name or an offset means, as [`LogOptions::time_zone`] has it.
///
/// # Errors
/// There is no such zone, or several go by this name.
pub fn time_zone(name: &str) -> Result<jiff::tz::TimeZone> {
    zone::parse(name)
}

/// The format of a file by how it begins, checked against the declared one.
fn format_of(file: &Path, lines: &mut Lines<'_>, options: &LogOptions) -> Result<LogFormat> {
    // Named columns are those of a table, whatever it looks like.
    let declared = options.format.or(options.columns.as_ref().map(|_| LogFormat::Table));
    if options.columns.is_some() && declared != Some(LogFormat::Table) {
        return Err(Error::new(ErrorKind::Config, "columns are named, but the format is not `table`")
            .next_step("leave out --format, or --columns"));
    }
    if activity_watch::recognises(lines.starts_with())
        && declared.is_none_or(|it| it == LogFormat::ActivityWatch)
    {
        return Ok(LogFormat::ActivityWatch);
    }
    let head = &lines.look_ahead(100)?;
    if head.is_empty() {
        return Err(Error::new(ErrorKind::Data, "the file is empty")
            .file(file)
            .next_step("export the log again"));
    }
    let recognised = LogFormat::ALL.into_iter().find(|format| format.recognises(head));
    match (declared, recognised) {
        (Some(declared), Some(recognised))
            if declared != recognised && !declared.recognises(head) && options.columns.is_none() =>
        {
            let message = format!("this is not in the format {declared}: it looks like {recognised}");
            Err(Error::new(ErrorKind::Data, message)
                .file(file)
                .next_step(format!("name that with --format {recognised}")))
        }
        (Some(declared), _) => Ok(declared),
        (None, Some(recognised)) => Ok(recognised),
        (None, None) => {
            let begins = excerpt(head.first().map_or("", String::as_str), 60);
            let message = format!("the format of a file that begins with `{begins}` is not recognised");
            Err(Error::new(ErrorKind::Data, message).file(file).next_step(format!(
                "say which column is what with --columns, or name it with --format; the formats are {}",
                all_names()
            )))
        }
    }
}

fn read_positions(
    files: &[PathBuf],
    options: &LogOptions,
    warnings: &mut Warnings,
) -> Result<Vec<Positions>> {
    let (places, data) = (options.places.len(), files.len());
    if places > 1 && places != data {
        return Err(Error::new(
            ErrorKind::Config,
            format!("{places} files of positions for {data} data files"),
        )
        .next_step("give one for all of them, or one for each in the same order"));
    }
    let read = |file: &PathBuf| Positions::read(file, options.grid, options.strict, warnings);
    options.places.iter().map(read).collect()
}
