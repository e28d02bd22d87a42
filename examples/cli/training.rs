//! Arguments of the examples that train, and small things that several of them write.

use std::path::{Path, PathBuf};

use foretap::context::Task;
use foretap::data::Timestamp;
use foretap::ranker::RankerConfig;
use foretap::storage::write_atomically;
use foretap::{Error, ErrorKind};

/// What to learn, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    /// first-after-unlock (asked when the phone is unlocked) or next-launch (asked when the app in use changes)
    #[arg(long, default_value_t)]
    pub task: Task,

    /// Most trees
    #[arg(long, value_name = "N", default_value_t = RankerConfig::default().gbdt.trees)]
    pub trees: usize,

    /// Most leaves a tree
    #[arg(long, value_name = "N", default_value_t = RankerConfig::default().gbdt.leaves)]
    pub leaves: usize,

    /// How much of each tree's step is taken
    #[arg(long, value_name = "RATE", default_value_t = RankerConfig::default().gbdt.learning_rate)]
    pub learning_rate: f64,

    /// Most rows (candidates over all questions) to train on, 0 for all; beyond them, questions are drawn
    #[arg(long, value_name = "N", default_value_t = RankerConfig::default().max_rows)]
    pub max_rows: usize,

    /// The same seed gives the same trees
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl TrainingArgs {
    /// The ranker's configuration: the defaults, with what was given in their place.
    pub fn ranker(&self) -> RankerConfig {
        let mut config = RankerConfig { max_rows: self.max_rows, ..RankerConfig::default() };
        config.gbdt.trees = self.trees;
        config.gbdt.leaves = self.leaves;
        config.gbdt.learning_rate = self.learning_rate;
        config.gbdt.seed = self.seed;
        config
    }
}

/// Finds out before the work begins that a result cannot be written.
pub fn check_writable<'a>(files: impl IntoIterator<Item = &'a Option<PathBuf>>) -> foretap::Result<()> {
    files.into_iter().flatten().try_for_each(|file| foretap::storage::check_writable(file))
}

/// Refuses one file for two results, and a result that would take the place of what is read.
pub fn check_outputs<'a>(
    outputs: impl IntoIterator<Item = (&'static str, Option<&'a PathBuf>)>,
    inputs: impl IntoIterator<Item = &'a PathBuf>,
) -> foretap::Result<()> {
    // One that is not there yet is known by its folder.
    let same = |file: &PathBuf| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = std::fs::canonicalize(folder.unwrap_or(Path::new(".")));
        let beside = || Some(folder.ok()?.join(file.file_name()?));
        std::fs::canonicalize(file).ok().or_else(beside).unwrap_or_else(|| file.clone())
    };
    let mut taken: Vec<(&str, PathBuf)> =
        inputs.into_iter().map(|file| ("what is read", same(file))).collect();
    for (flag, file) in outputs {
        let Some(file) = file else { continue };
        if let Some((by, _)) = taken.iter().find(|(_, other)| *other == same(file)) {
            let error =
                Error::new(ErrorKind::Config, format!("this file is {by}, too")).file(file).field(flag);
            return Err(error.next_step("name another file"));
        }
        taken.push((flag, same(file)));
    }
    Ok(())
}

pub fn make_folder(folder: &Path) -> foretap::Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::io(folder, "make this folder", error).next_step("name another"))
}

/// Writes `value` as JSON, whole or not at all.
pub fn write_json(file: &Path, value: &serde_json::Value) -> foretap::Result<()> {
    write_atomically(file, |out| serde_json::to_writer_pretty(out, value).map_err(std::io::Error::from))
}

/// The moment of a `text` that names its zone, in brackets or as RFC 3339 does; `None` where it names none.
pub fn zoned_moment(flag: &str, text: &str) -> foretap::Result<Option<Timestamp>> {
    // A zone in brackets means itself, and has to be one.
    if text.contains('[') {
        let zoned = text.parse::<jiff::Zoned>().map_err(|error| {
            Error::new(ErrorKind::Config, error.to_string())
                .field(flag)
                .next_step("write 2019-12-05T08:00[Europe/Paris]")
        })?;
        return Ok(Some(Timestamp(zoned.timestamp().as_second())));
    }
    Ok(text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_second())))
}

/// The moment that a person means by `text`: with its own zone, or a date or wall clock time in `zone`, else in UTC.
pub fn moment(flag: &str, text: &str, zone: Option<&str>) -> foretap::Result<Timestamp> {
    if let Some(at) = zoned_moment(flag, text)? {
        return Ok(at);
    }
    let wrong = |message: String, next_step: &str| {
        Error::new(ErrorKind::Config, message).field(flag).next_step(next_step.to_owned())
    };
    let zone = foretap::data::log::time_zone(zone.unwrap_or("UTC"))?;
    let at = text.parse::<jiff::civil::DateTime>().ok().and_then(|at| at.to_zoned(zone).ok());
    at.map(|at| Timestamp(at.timestamp().as_second())).ok_or_else(|| {
        wrong(
            format!("`{text}` is no moment"),
            "write a date such as 2019-12-05, or a moment such as 2019-12-05T08:00:00+01:00",
        )
    })
}

/// A moment on the user's clock, as a person would say it.
pub fn local_time(at: Timestamp, utc_offset_secs: i32) -> String {
    jiff::Timestamp::from_second(at.0.saturating_add(i64::from(utc_offset_secs)))
        .map_or_else(|_| "an unknown day".to_owned(), |at| at.strftime("%A %-d %B %Y, %H:%M").to_string())
}
