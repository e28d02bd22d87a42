//! The field's two public benchmarks, prepared, parted and scored as published code does it.
//!
//! ```text
//! log of one format -> rare apps out -> one question a launch that has a full window before it in its session
//!     -> users with few questions out -> Experiment, 70/10/20 of each user -> the published tables' columns
//! ```
//!
//! Published code has a window of the last apps for each question and asks nothing else: the answer comes at most five
//! minutes after the app before it. Whether the answer may be the app in front again differs from paper to paper and
//! moves every figure, so it is a choice of its own ([`RepeatedOpens`]).
//!
//! Source: `split_stand.py` of github.com/LongLee220/Atten-Transformer at a62f02e for windows, filters and split (Li, Qu,
//! Wang, arXiv 2502.16957); `data_prep.ipynb` of github.com/aliannejadi/LSApp at c001713 for what one opening of an app is.
//! `docs/benchmarks.md` tells what else is published, and what differs here.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use super::{Experiment, Failure};
use crate::context::Task;
use crate::data::{AppId, Event, Log, LogFormat, Signal, SplitPlan, Vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{ModelReport, Report};
use crate::progress::Progress;
use crate::storage::write_atomically;

/// Whether an app that is opened again right after itself is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatedOpens {
    /// It is, and the app in front is the likeliest one.
    Kept,
    /// Openings of one app in a row are one, so that each answer differs from the app before it.
    Removed,
}

impl fmt::Display for RepeatedOpens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "repeated opens kept",
            Self::Removed => "repeated opens removed",
        })
    }
}

/// How one of the field's public data sets is prepared and tested. The split is 70 % training, 10 % validation and 20 % test
/// of each user's questions, by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BenchmarkProtocol {
    /// The name on the command line.
    pub name: &'static str,
    /// What its file is read as.
    #[serde(skip)]
    pub format: LogFormat,
    /// How many launches come before an answer in its session; a question with fewer is not asked. A session ends after five
    /// quiet minutes.
    pub window: usize,
    /// An app of fewer launches, over all users, is left out.
    pub least_launches: usize,
    /// A user of fewer questions is left out.
    pub least_questions: usize,
    /// What is tested, one after the other.
    pub repeated_opens: &'static [RepeatedOpens],
}

impl BenchmarkProtocol {
    /// LSApp (Aliannejadi et al., TOIS 2021): no app is left out; repeated opens both ways.
    pub const LSAPP: Self = Self {
        name: "lsapp",
        format: LogFormat::Lsapp,
        window: 5,
        least_launches: 1,
        least_questions: 50,
        repeated_opens: &[RepeatedOpens::Kept, RepeatedOpens::Removed],
    };

    /// The Tsinghua trace (Yu et al., IMWUT 2018). Its rows are requests, not openings, and those of one app in a row are one
    /// launch when the file is read: repeated opens are removed.
    pub const TSINGHUA: Self = Self {
        name: "tsinghua",
        format: LogFormat::Tsinghua,
        window: 8,
        least_launches: 5,
        least_questions: 50,
        repeated_opens: &[RepeatedOpens::Removed],
    };

    /// What its published file looks like, in words.
    pub fn file_in_words(&self) -> &'static str {
        match self.format {
            LogFormat::Lsapp => {
                "lsapp.tsv, with the columns user_id, session_id, timestamp, app_name and event_type, tabs between them"
            }
            LogFormat::Tsinghua => {
                "App_usage_trace.txt, with rows of user, time (20160420003814), base station, app and bytes, spaces between them"
            }
            _ => "a log of the protocol's format",
        }
    }

    /// The split of each user's questions.
    pub fn split(&self) -> SplitPlan {
        SplitPlan::Shares { validation: 0.1, test: 0.2 }
    }

    /// The log with an `Unlock` for each question, in the second of the launch before the answer, and no other: all of them
    /// are questions of [`Task::FirstAfterUnlock`], whose answer may be the app in front.
    ///
    /// # Errors
    /// Nobody has enough questions.
    pub fn prepare(&self, log: &Log, repeated_opens: RepeatedOpens) -> Result<PreparedLog> {
        let mut launches: HashMap<AppId, usize> = HashMap::new();
        for event in log.events() {
            if let Signal::Launch(app) = event.signal {
                *launches.entry(app).or_default() += 1;
            }
        }
        launches.retain(|_, count| *count < self.least_launches);
        let (mut events, mut users, mut users_left_out) = (Vec::new(), 0, 0);
        for of_user in log.users() {
            let (prepared, questions) = self.ask(of_user, repeated_opens, |app| launches.contains_key(&app));
            if questions < self.least_questions.max(1) {
                users_left_out += 1;
            } else {
                users += 1;
                events.extend(prepared);
            }
        }
        if users == 0 {
            let message = format!(
                "of {users_left_out} users none has {} questions, each with {} launches before it in its session",
                self.least_questions, self.window
            );
            return Err(Error::new(ErrorKind::Data, message)
                .field("--protocol")
                .next_step(format!("give the whole published file of {}", self.name)));
        }
        Ok(PreparedLog { log: Log::from_events(events), users_left_out, apps_left_out: launches.len() })
    }

    /// One user's events with the questions asked, and how many those are.
    fn ask(
        &self,
        events: &[Event],
        repeated_opens: RepeatedOpens,
        is_rare: impl Fn(AppId) -> bool,
    ) -> (Vec<Event>, usize) {
        let mut prepared: Vec<Event> = Vec::with_capacity(events.len());
        // The session's latest launch, where it stands in `prepared`, and how many there were.
        let (mut latest, mut in_session, mut questions) = (None::<(AppId, usize)>, 0, 0);
        for event in events {
            match event.signal {
                // A new session begins.
                Signal::Unlock => (latest, in_session) = (None, 0),
                Signal::Launch(app) | Signal::Close(app) if is_rare(app) => {}
                Signal::Launch(app)
                    if repeated_opens == RepeatedOpens::Removed
                        && latest.is_some_and(|(before, _)| before == app) =>
                {
                    // The app goes on: what closed it did not.
                    prepared.pop_if(|last| last.signal == Signal::Close(app));
                }
                Signal::Launch(app) => {
                    if let Some((_, place)) = latest.filter(|_| in_session >= self.window) {
                        prepared.insert(place + 1, Event { signal: Signal::Unlock, ..prepared[place] });
                        questions += 1;
                    }
                    latest = Some((app, prepared.len()));
                    in_session += 1;
                    prepared.push(*event);
                }
                _ => prepared.push(*event),
            }
        }
        (prepared, questions)
    }

    /// Prepares `log`, and trains and compares the methods of `experiment` on it, once for each way to treat repeated opens.
    /// Task and split of the experiment do not count.
    ///
    /// # Errors
    /// As [`BenchmarkProtocol::prepare`] and [`Experiment::run`] have them.
    pub fn run(
        &self,
        experiment: &Experiment,
        log: &Log,
        vocabulary: &Vocabulary,
        progress: &dyn Progress,
    ) -> Result<BenchmarkReport> {
        let experiment =
            Experiment { task: Task::FirstAfterUnlock, split: self.split(), ..experiment.clone() };
        let (mut results, mut failures) = (Vec::new(), Vec::new());
        for &repeated_opens in self.repeated_opens {
            let prepared = self.prepare(log, repeated_opens)?;
            let found = experiment.run(&prepared.log, vocabulary, None, progress)?;
            failures.extend(found.failures);
            results.push(BenchmarkResult {
                repeated_opens,
                users_left_out: prepared.users_left_out,
                apps_left_out: prepared.apps_left_out,
                report: found.report,
            });
        }
        Ok(BenchmarkReport { protocol: *self, results, failures })
    }
}

impl FromStr for BenchmarkProtocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::LSAPP, Self::TSINGHUA].into_iter().find(|protocol| protocol.name == text).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{text}` is no protocol"))
                .next_step("choose lsapp or tsinghua; docs/benchmarks.md describes both")
        })
    }
}

/// A log whose questions are the protocol's.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedLog {
    /// The users and apps that are left.
    pub log: Log,
    /// How many users had too few questions.
    pub users_left_out: usize,
    /// How many apps had too few launches.
    pub apps_left_out: usize,
}

/// One way to treat repeated opens, and what its test showed.
#[derive(Debug, Clone, Serialize)]
pub struct BenchmarkResult {
    /// Which way.
    pub repeated_opens: RepeatedOpens,
    /// How many users had too few questions.
    pub users_left_out: usize,
    /// How many apps had too few launches.
    pub apps_left_out: usize,
    /// The test. Its task is `first-after-unlock`, where each unlock stands for a question. Where repeated opens are kept,
    /// those among the answers are `resumed`, and the different apps `chosen`.
    pub report: Report,
}

/// What a benchmark showed: printed in the columns of the published tables, or written as JSON.
#[derive(Debug, Serialize)]
pub struct BenchmarkReport {
    /// How it was tested.
    pub protocol: BenchmarkProtocol,
    /// One result for each way to treat repeated opens.
    pub results: Vec<BenchmarkResult>,
    /// Methods that dropped out, which no report has figures of.
    #[serde(skip)]
    pub failures: Vec<Failure>,
}

impl BenchmarkReport {
    /// Writes it as JSON, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_json(&self, file: &Path) -> Result<()> {
        write_atomically(file, |out| serde_json::to_writer_pretty(out, self).map_err(std::io::Error::from))
    }
}

impl fmt::Display for BenchmarkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, result) in self.results.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let BenchmarkResult { repeated_opens, users_left_out, apps_left_out, report } = result;
            let questions = report.models.first().map_or(0, |model| model.metrics.questions);
            writeln!(
                f,
                "protocol {}, {repeated_opens}: {questions} questions of {} users, runs {}; left out: users {users_left_out}, apps {apps_left_out}",
                self.protocol.name, report.users, report.runs
            )?;
            table(f, &report.models, *repeated_opens)?;
            if !report.cold_start.is_empty() {
                writeln!(f, "users that training never saw:")?;
                table(f, &report.cold_start, *repeated_opens)?;
            }
        }
        Ok(())
    }
}

/// The columns of the published tables, and, where an answer may be the app in front, the different apps alone.
fn table(f: &mut fmt::Formatter<'_>, models: &[ModelReport], repeated_opens: RepeatedOpens) -> fmt::Result {
    let is_kept = repeated_opens == RepeatedOpens::Kept;
    write!(f, "{:<13}", "model")?;
    for name in ["HR@1", "HR@3", "HR@5", "MRR@3", "MRR@5", "macro F1"] {
        write!(f, " {name:>8}")?;
    }
    let share = models.first().map_or(0.0, |model| 100.0 * model.chosen.share);
    match is_kept {
        true => writeln!(f, "   HR@1/3/5 of the {share:.1} % that are a different app")?,
        false => writeln!(f)?,
    }
    for model in models {
        let m = &model.metrics;
        write!(f, "{:<13}", model.name)?;
        for figure in [m.hr1, m.hr3, m.hr5, m.mrr3, m.mrr5, m.macro_f1] {
            write!(f, " {figure:>8.4}")?;
        }
        let chosen = &model.chosen;
        match is_kept {
            true => writeln!(f, "   {:.4} {:.4} {:.4}", chosen.hr1, chosen.hr3, chosen.hr5)?,
            false => writeln!(f)?,
        }
    }
    Ok(())
}
