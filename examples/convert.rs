//! Any log becomes foretap's own CSV or JSON Lines; a person's rows are taken out of one.
//!
//! ```text
//! cargo run --release --example convert -- --data phone.csv --out own.jsonl.gz
//!
//! wrote own.jsonl.gz
//!            1 users
//!           48 apps
//!        14559 events
//! ..
//!
//! cargo run --release --example convert -- --data people.csv --forget alice
//! ```

mod cli;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use foretap::data::{Event, Log, Signal, Vocabulary, forget, write_log};
use foretap::{Error, ErrorKind};

/// Convert app usage logs to foretap's own format, or take a person out of one
///
/// With neither --out nor --forget, only a summary of the log is printed.
#[derive(Debug, Parser)]
#[command(mut_args = cli::negative_numbers)]
struct Args {
    /// Write the log here: .csv or .jsonl, and .gz after it for gzip
    #[arg(long, value_name = "FILE", conflicts_with = "forget")]
    out: Option<PathBuf>,

    /// Take this person, by raw or hashed id, out of the --data files, which must be foretap's own and are written anew
    /// in place
    #[arg(long, value_name = "USER")]
    forget: Option<String>,

    /// Write the summary for machines
    #[arg(long, value_name = "FILE", conflicts_with = "forget")]
    json: Option<PathBuf>,

    #[command(flatten)]
    data: cli::DataArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::exit_on_error(|| match &args.forget {
        Some(user) => forget_person(&args, user),
        None => convert(&args),
    })
}

fn convert(args: &Args) -> foretap::Result<()> {
    let same =
        |a: &PathBuf, b: &PathBuf| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if let Some(out) = args.out.as_ref().filter(|out| args.data.data.iter().any(|file| same(file, out))) {
        let message = format!("{} is read and would be written over", out.display());
        return Err(Error::new(ErrorKind::Config, message).field("--out").next_step("name another file"));
    }
    cli::check_writable([&args.out, &args.json])?;
    let mut vocabulary = Vocabulary::new();
    let log = args.data.load(&mut vocabulary, &cli::Bar::new())?;
    if let Some(out) = &args.out {
        write_log(out, &log, &vocabulary)?;
        cli::say(&format!("wrote {}", out.display()));
    }
    let counts = counts(&log);
    cli::say(&summary(&log, &counts));
    if let Some(file) = &args.json {
        let named: serde_json::Map<_, _> =
            counts.iter().map(|(number, what)| (what.trim().replace(' ', "_"), (*number).into())).collect();
        cli::write_json(file, &named.into())?;
    }
    Ok(())
}

fn forget_person(args: &Args, user: &str) -> foretap::Result<()> {
    let key = args.data.key()?;
    let mut removed_rows = 0;
    for file in &args.data.data {
        let report = forget(file, user, &key)?;
        removed_rows += report.removed_rows;
        let (file, removed, kept) = (file.display(), report.removed_rows, report.kept_rows);
        cli::say(&format!("{file}: {removed} rows removed, {kept} kept"));
        if let Some(line) = report.first_unreadable_line {
            let rows = report.unreadable_rows;
            eprintln!(
                "warning: {file}, line {line}: {rows} rows cannot be read and were kept; see whose they are"
            );
        }
    }
    if removed_rows == 0 {
        return Err(Error::new(ErrorKind::Data, format!("no row of `{user}`"))
            .next_step("a raw id is found only with the --key under which the log was written"));
    }
    Ok(())
}

/// How many there are of what.
fn counts(log: &Log) -> [(usize, &'static str); 10] {
    let events = log.events();
    let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    let apps: HashSet<_> = events.iter().filter_map(|event| event.signal.app()).collect();
    [
        (log.users().count(), "users"),
        (apps.len(), "apps"),
        (events.len(), "events"),
        (count(|event| matches!(event.signal, Signal::Launch(_))), "  launches"),
        (count(|event| matches!(event.signal, Signal::Close(_))), "  closes"),
        (count(|event| matches!(event.signal, Signal::Notification(_))), "  notifications"),
        (count(|event| event.signal == Signal::Unlock), "  unlocks"),
        (count(|event| event.signal == Signal::ScreenOn), "  screen on"),
        (count(|event| event.signal == Signal::ScreenOff), "  screen off"),
        (count(|event| event.place.is_some()), "  with a place"),
    ]
}

/// The counts, one a line, and the days of the log.
fn summary(log: &Log, counts: &[(usize, &str)]) -> String {
    let events = log.events();
    let mut lines: Vec<String> = counts.iter().map(|(number, what)| format!("{number:>12} {what}")).collect();
    let first = events.iter().min_by_key(|event| event.at);
    let last = events.iter().max_by_key(|event| event.at);
    lines.extend(
        first
            .zip(last)
            .map(|(first, last)| format!("from {} to {}, local time", local_day(first), local_day(last))),
    );
    lines.join("\n")
}

/// The local date of an event.
fn local_day(event: &Event) -> String {
    let local_secs = event.at.0 + i64::from(event.utc_offset_secs);
    jiff::Timestamp::from_second(local_secs)
        .map_or_else(|_| "?".to_owned(), |at| at.strftime("%F").to_string())
}
