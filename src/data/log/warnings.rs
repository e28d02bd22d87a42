//! What was odd about the files: counted by file and kind, each with the first line where it was seen.

use std::fmt;
use std::path::{Path, PathBuf};

/// What can be odd about a log that is still usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningKind {
    /// Rows that cannot be read. They were skipped.
    BadRow,
    /// A last line that ends in the middle. It was skipped.
    CutOff,
    /// Rows that repeat the row before them where a repeat has no meaning. They were dropped.
    Duplicate,
    /// Rows earlier than the row before them. They were sorted into place.
    OutOfOrder,
    /// Times outside 2000-2100, which were skipped, or more than a year after the row before, which stay.
    ClockJump,
    /// A clock that was set back within a file. The events are sorted by time, and nothing else is done.
    ClockSet,
    /// No row says that the screen was unlocked, so nothing can be asked after an unlock.
    NoUnlock,
    /// Names that look like a label in a language that the label table lacks. They count as apps.
    UnknownLabel,
    /// Dates that can be read both as month/day and as day/month.
    AmbiguousDates,
    /// A phone without a lock screen: the screen lighting up counts as its unlock.
    NoKeyguard,
    /// Positions are in UTC but the log's wall clock has no zone, so places may be hours late.
    PlacesWithoutZone,
    /// A time zone whose name is easily taken for another one.
    ZoneName,
    /// Events that another file of the same person has, too. They are there once.
    Repeat,
    /// A file that tells the same as another one of the same person at times that differ: its events are there twice.
    Offset,
    /// A file of which all times were shifted, because it was exported under another time zone than an overlapping one.
    Shifted,
    /// Two files of several people that tell the same: they may be one phone's.
    SamePhone,
    /// Launches of home screens, lock screens and system dialogs, which are left out.
    HomeScreen,
    /// A home screen that was named and that no app is.
    UnknownHome,
    /// A file of a folder that is no log. It was left out.
    LeftOut,
    /// Unlocks that were written after what they led to, or twice. They were put in order.
    UnlockOrder,
}

impl WarningKind {
    /// Whether it says what reading did, and nothing is wrong with the file.
    pub fn is_note(self) -> bool {
        use WarningKind::{HomeScreen, LeftOut, Repeat, Shifted, UnlockOrder, ZoneName};
        matches!(self, ZoneName | Repeat | Shifted | HomeScreen | LeftOut | UnlockOrder)
    }
}

/// One kind of warning in one file, how often it came, and where first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// What is odd.
    pub kind: WarningKind,
    /// How many rows (or files) it concerns.
    pub count: u64,
    /// The file.
    pub file: PathBuf,
    /// The field that rows were skipped for.
    pub field: Option<&'static str>,
    /// Its first line there, counted from 1, where one line is to blame.
    pub line: Option<u64>,
    /// What the first one looks like, in words.
    pub detail: String,
}

/// Everything odd that reading met, one entry for each kind in each file, and of skipped rows for each field, in the order in
/// which they came up.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Warnings {
    list: Vec<Warning>,
}

impl Warnings {
    /// Whether nothing was odd.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One entry for each kind in each file.
    pub fn iter(&self) -> impl Iterator<Item = &Warning> {
        self.list.iter()
    }

    /// How often `kind` came up in all files.
    pub fn count(&self, kind: WarningKind) -> u64 {
        self.list.iter().filter(|warning| warning.kind == kind).map(|warning| warning.count).sum()
    }

    pub(super) fn add(
        &mut self,
        kind: WarningKind,
        file: &Path,
        line: Option<u64>,
        detail: impl Into<String>,
    ) {
        self.add_many(kind, file, 1, line, detail);
    }

    /// The same for `count` rows at once.
    pub(super) fn add_many(
        &mut self,
        kind: WarningKind,
        file: &Path,
        count: u64,
        line: Option<u64>,
        detail: impl Into<String>,
    ) {
        let detail = detail.into();
        self.count_up(Warning { kind, count, file: file.to_path_buf(), field: None, line, detail });
    }

    /// A row that was skipped for one of its fields.
    pub(super) fn add_by_reason(
        &mut self,
        kind: WarningKind,
        file: &Path,
        field: &'static str,
        line: Option<u64>,
        detail: String,
    ) {
        let file = file.to_path_buf();
        self.count_up(Warning { kind, count: 1, file, field: Some(field), line, detail });
    }

    /// Adds `words` to a warning.
    pub(super) fn say_more(&mut self, kind: WarningKind, file: &Path, field: &'static str, words: &str) {
        let is_it =
            |known: &&mut Warning| known.kind == kind && known.file == file && known.field == Some(field);
        if let Some(warning) = self.list.iter_mut().find(is_it) {
            warning.detail.push_str(words);
        }
    }

    /// Takes `count` warnings back that turned out to be none.
    pub(super) fn take_back(&mut self, kind: WarningKind, file: &Path, count: u64) {
        for warning in self.list.iter_mut().filter(|warning| warning.kind == kind && warning.file == file) {
            warning.count = warning.count.saturating_sub(count);
        }
        self.list.retain(|warning| warning.count > 0);
    }

    fn count_up(&mut self, new: Warning) {
        let is_same =
            |known: &&mut Warning| (known.kind, &known.file, known.field) == (new.kind, &new.file, new.field);
        match self.list.iter_mut().find(is_same) {
            Some(known) => known.count += new.count,
            None => self.list.push(new),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        let detail = &self.detail;
        let rows = if self.count == 1 { "1 row".to_owned() } else { format!("{} rows", self.count) };
        match self.kind {
            WarningKind::BadRow => write!(f, ": {rows} skipped, the first because {detail}"),
            WarningKind::CutOff => write!(f, ": the last line is cut off and was skipped ({detail})"),
            WarningKind::Duplicate => write!(f, ": {rows} dropped, each repeating the row before it"),
            WarningKind::OutOfOrder => {
                write!(f, ": {rows} out of order, the first {detail}; sorted by time")
            }
            WarningKind::ClockJump => write!(f, ": {rows} where the clock jumps, the first {detail}"),
            WarningKind::ClockSet => {
                let times = if self.count == 1 { "once".to_owned() } else { format!("{} times", self.count) };
                write!(f, ": the clock was set back {times}, first {detail}")
            }
            WarningKind::Repeat => {
                write!(f, ": {} events that {detail} has, too, are taken once", self.count)
            }
            WarningKind::HomeScreen => {
                write!(
                    f,
                    ": {} launches of home screens are left out ({detail}); --keep-home keeps them",
                    self.count
                )
            }
            WarningKind::UnlockOrder => {
                write!(f, ": {} unlocks were written after what they led to, or twice: {detail}", self.count)
            }
            _ => write!(f, ": {detail}"),
        }
    }
}

impl fmt::Display for Warnings {
    /// One line an entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, warning) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{warning}")?;
        }
        Ok(())
    }
}
