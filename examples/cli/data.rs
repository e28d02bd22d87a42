//! Arguments that name log files and say how to read them. The examples and the platform's program share them.

use std::path::PathBuf;

use foretap::data::{
    DateOrder, Log, LogFormat, LogOptions, PlaceGrid, PrivacyKey, Profiles, SignalName, TableColumns,
    TimeUnit, Vocabulary, Warnings, read_logs,
};
use foretap::{Error, ErrorKind, Progress};

/// Which log files to read, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Log files, plain or gzip, or folders of them. Without any, quickstart, quantize and phone simulate people; the others want one, or
    /// --simulate
    #[arg(long, alias = "log", value_name = "FILE", num_args = 1..)]
    pub data: Vec<PathBuf>,

    /// native, app-usage, usagestats, activity-watch, lsapp, tsinghua, table or knowledge-c; recognised from the content unless given
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<LogFormat>,

    /// Which column is what in any other table: user=device_id,at=timestamp,signal=event,app=name,duration=seconds
    #[arg(long, value_name = "WHAT=COLUMN,..")]
    pub columns: Option<TableColumns>,

    /// What values of its signal column mean: launch, close, notification, unlock, screen_on, screen_off or ignore
    #[arg(long, value_name = "VALUE=SIGNAL,..", value_delimiter = ',', requires = "columns")]
    pub signals: Vec<SignalName>,

    /// Unit of its times where they are numbers: s, ms or us; inferred from their size unless given
    #[arg(long, value_name = "UNIT", requires = "columns")]
    pub unit: Option<TimeUnit>,

    /// A file in TOML that says the same and more: columns, signals, unit, zone, date_order; flags win, but --columns, --signals and --unit
    /// are not given beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["columns", "signals", "unit"])]
    pub mapping: Option<PathBuf>,

    /// Zone of the log's wall clock, such as Europe/Paris or UTC+05:30; without it the wall clock is taken as UTC
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub time_zone: Option<String>,

    /// Order of day, month and year in dates: ymd, mdy or dmy; decided over the whole file unless given
    #[arg(long, value_name = "ORDER")]
    pub date_order: Option<DateOrder>,

    /// All files are of one person, of this name; otherwise files of other names are other people
    #[arg(long, value_name = "NAME")]
    pub person: Option<String>,

    /// An app that is a home screen and no answer, beside those that are known as such; may be given several times
    #[arg(long, value_name = "APP")]
    pub home: Vec<String>,

    /// Keep home screens, lock screens and system dialogs as apps like others
    #[arg(long)]
    pub keep_home: bool,

    /// Apps of a work profile or clones: apps (the same person's, as package@10) or people (another person's)
    /// [default: apps]
    #[arg(long, value_name = "WHOSE")]
    pub profiles: Option<Profiles>,

    /// Positions as unix_seconds,lat,lon: one file for all data files, or one for each in the same order
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub places: Vec<PathBuf>,

    /// How coarse places become: 5, 39, 156, 1250 or 5000 km
    #[arg(long, value_name = "KM", default_value_t = 5.0)]
    pub place_km: f64,

    /// Key under which user ids are hashed, made on first use [default: foretap/key in the configuration folder]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Stop at a row that cannot be used instead of skipping it with a warning
    #[arg(long)]
    pub strict: bool,
}

impl DataArgs {
    /// Reads the log and prints warnings to stderr. App names go into `vocabulary`.
    pub fn load(&self, vocabulary: &mut Vocabulary, progress: &dyn Progress) -> foretap::Result<Log> {
        Ok(self.read(vocabulary, progress)?.0)
    }

    /// The same with the warnings.
    pub fn read(
        &self,
        vocabulary: &mut Vocabulary,
        progress: &dyn Progress,
    ) -> foretap::Result<(Log, Warnings)> {
        if self.data.is_empty() {
            return Err(
                Error::new(ErrorKind::Config, "no log is given").next_step("name its files with --data")
            );
        }
        let mut options = LogOptions {
            format: self.format,
            home: self.home.clone(),
            columns: self.columns.clone(),
            signals: self.signals.clone(),
            unit: self.unit,
            places: self.places.clone(),
            grid: PlaceGrid::at_least_km(self.place_km)?,
            strict: self.strict,
            ..LogOptions::new(self.key()?)
        };
        if let Some(file) = &self.mapping {
            options = options.with_mapping(file)?;
        }
        options.time_zone = self.time_zone.clone().or(options.time_zone);
        options.date_order = self.date_order.or(options.date_order);
        options.person = self.person.clone().or(options.person);
        options.keep_home |= self.keep_home;
        options.profiles = self.profiles.unwrap_or(options.profiles);
        let (log, warnings) = read_logs(&self.data, &options, vocabulary, progress)?;
        for warning in warnings.iter() {
            eprintln!("{}: {warning}", if warning.kind.is_note() { "note" } else { "warning" });
        }
        Ok((log, warnings))
    }

    /// The key that `--key` names, or the one in the user's configuration folder.
    pub fn key(&self) -> foretap::Result<PrivacyKey> {
        let folder = || {
            let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))
        };
        let file = self.key.clone().or_else(|| Some(folder()?.join("foretap/key")));
        let file = file.ok_or_else(|| {
            Error::new(ErrorKind::Config, "there is no home folder to keep the key in")
                .next_step("name a file with --key")
        })?;
        PrivacyKey::load_or_create(&file)
    }
}
