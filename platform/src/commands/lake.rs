//! `foretap lake`.

use clap::Subcommand;
use foretap::Result;
use foretap_platform::config::{Config, StoreKind};
use foretap_platform::lake::{RolledBack, SnapshotInfo, TableName};
use foretap_platform::say;
use foretap_platform::up::{Folders, Stopped, open_lake};

use super::runtime;

#[derive(Debug, Subcommand)]
pub enum LakeCommand {
    /// Versions of the events, oldest first
    Snapshots,
    /// Name the newest version of the events for good
    Tag {
        /// The name, such as v1.0
        name: String,
        /// What to note of it
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Go back to an older version of the events, while nothing runs. Later ones stay until `retain`
    Rollback {
        /// Its tag, or its number as `snapshots` prints it
        #[arg(long, value_name = "SNAPSHOT_OR_TAG")]
        to: String,
    },
    /// Put small files together, in every table
    Compact,
    /// Remove older days from every table; tagged versions stay
    Retain {
        /// Days to keep
        #[arg(long)]
        days: u32,
        /// Do it; otherwise it is only counted what would go
        #[arg(long)]
        yes: bool,
    },
    /// Delete files that nothing refers to, such as a killed process leaves
    Orphans {
        /// Only files that are older: longer than any commit takes
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        days: u32,
        /// Do it; otherwise they are only named
        #[arg(long)]
        yes: bool,
    },
}

pub fn lake(config: &Config, command: &LakeCommand) -> Result<()> {
    runtime()?.block_on(async {
        let lake = open_lake(config).await?;
        match command {
            LakeCommand::Snapshots => {
                say(&format!("{:>20}  {:<24}{:>12}  tags", "snapshot", "committed", "rows"));
                lake.snapshots(TableName::Events).await?.iter().for_each(|snapshot| say(&line(snapshot)));
                Ok(())
            }
            LakeCommand::Rollback { to } => {
                let _stopped = Stopped::check(config)?;
                let done = lake.rollback(to).await?;
                in_words(config, &done).iter().for_each(|line| say(line));
                Ok(())
            }
            LakeCommand::Tag { name, note } => {
                let snapshot = lake.tag(name, note).await?;
                say(&format!("{name} is snapshot {snapshot}"));
                Ok(())
            }
            LakeCommand::Compact => {
                for name in TableName::ALL {
                    let cleaned = lake.compact(name).await?;
                    say(&format!("{}: {} files less", name.name(), cleaned.files_less));
                }
                Ok(())
            }
            LakeCommand::Retain { days, yes } => {
                let until_us = jiff::Timestamp::now().as_microsecond() - i64::from(*days) * 86_400_000_000;
                for name in TableName::ALL {
                    let cleaned = lake.retain(name, until_us, !*yes).await?;
                    say(&format!(
                        "{}: {} rows less, {} older snapshots dropped, {} files deleted",
                        name.name(),
                        cleaned.rows,
                        cleaned.snapshots,
                        cleaned.files_deleted
                    ));
                }
                if !*yes {
                    say("nothing was removed: say --yes to do it");
                }
                Ok(())
            }
            LakeCommand::Orphans { days, yes } => {
                let before_ms = jiff::Timestamp::now().as_millisecond() - i64::from(*days) * 86_400_000;
                for name in TableName::ALL {
                    let orphans = lake.orphans(name, before_ms, !*yes).await?;
                    orphans.files.iter().for_each(|file| say(file));
                    say(&format!(
                        "{}: {} files that nothing refers to, {} bytes; {} more are younger than {days} days",
                        name.name(),
                        orphans.files.len(),
                        orphans.bytes,
                        orphans.young
                    ));
                }
                if !*yes {
                    say("nothing was deleted: say --yes to do it");
                }
                Ok(())
            }
        }
    })
}

/// A version in one line.
fn line(snapshot: &SnapshotInfo) -> String {
    let at = jiff::Timestamp::from_millisecond(snapshot.at_ms)
        .map_or_else(|_| snapshot.at_ms.to_string(), |at| at.to_string());
    let named = |tag: &String| match snapshot.notes.get(tag) {
        Some(note) => format!("{tag} ({note})"),
        None => tag.clone(),
    };
    let mut tags: Vec<String> = snapshot.tags.iter().map(named).collect();
    if snapshot.is_current {
        tags.insert(0, "<- now".to_owned());
    }
    format!("{:>20}  {at:<24}{:>12}  {}", snapshot.id, snapshot.rows, tags.join(", "))
}

/// What going back did, and what is left to do.
fn in_words(config: &Config, done: &RolledBack) -> Vec<String> {
    let RolledBack { snapshot, rows, rows_before, .. } = done;
    let mut lines =
        vec![format!("the events are snapshot {snapshot} again: {rows} rows in place of {rows_before}")];
    if let Some(from) = done.from {
        lines.push(format!(
            "`foretap lake rollback --to {from}` takes this back, until `lake retain` or `person forget` drops what came later"
        ));
    }
    lines.push("the last record of each partition that the events have now:".to_owned());
    for (partition, before) in done.positions_before.iter() {
        let now = done.positions.last(partition).map_or_else(|| "none".to_owned(), |last| last.to_string());
        lines.push(format!("  {partition}: {now}; it was {before}"));
    }
    let store = match config.store.kind {
        StoreKind::Redb => format!("move {} away", Folders::of(config).store().display()),
        StoreKind::Dynamodb => format!("delete the table `{}`, or name another one", config.store.table),
    };
    lines.extend([
        "the store has what the lake lacks now, and `foretap up` does not start until it is made anew:".to_owned(),
        format!("  1. {store}, and run `foretap rebuild`"),
        "  2. bring back what is to be taken in again. What came by HTTP is not in the journal any more once it was committed: \
         have it sent again. Kafka: set the group's offsets to one behind those above. Files: deliver them under other names"
            .to_owned(),
        "  3. start `foretap up`".to_owned(),
    ]);
    lines
}
