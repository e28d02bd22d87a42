//! `foretap lake`.

use clap::Subcommand;
use foretap::Result;
use foretap_platform::config::Config;
use foretap_platform::lake::TableName;
use foretap_platform::say;
use foretap_platform::up::open_lake;

use super::runtime;

#[derive(Debug, Subcommand)]
pub enum LakeCommand {
    /// Versions of the events, oldest first
    Snapshots,
    /// Name the newest version of the events for good
    Tag {
        /// The name, such as v1.0
        name: String,
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
                for snapshot in lake.snapshots(TableName::Events).await? {
                    let at = jiff::Timestamp::from_millisecond(snapshot.at_ms)
                        .map_or_else(|_| snapshot.at_ms.to_string(), |at| at.to_string());
                    let (id, rows, tags) = (snapshot.id, snapshot.rows, snapshot.tags.join(", "));
                    say(&format!("{id:>20}  {at:<24}{rows:>12}  {tags}"));
                }
                Ok(())
            }
            LakeCommand::Tag { name } => {
                let snapshot = lake.tag(name).await?;
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
