//! `foretap dead`: what could not be used.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use foretap::{Error, ErrorKind, Result};
use foretap_platform::client::Client;
use foretap_platform::config::Config;
use foretap_platform::lake::{DeadLetter, dead_letters};
use foretap_platform::say;
use foretap_platform::up::{open_key, open_lake};
use foretap_platform::wire::{self, Encoding};

use super::runtime;
use crate::ServerArguments;

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// By field and reason, how many and since when; `--each` names them
    List {
        /// One line a dead letter
        #[arg(long)]
        each: bool,
    },
    /// One dead letter as it came: it may hold what must not travel
    Show(DeadLetterId),
    /// Send one again, after the limits that refused it were changed; with --all, every one
    Replay {
        #[command(flatten)]
        letter: Option<DeadLetterId>,
        /// All of them
        #[arg(long, conflicts_with = "position", required_unless_present = "position")]
        all: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
}

#[derive(Debug, Args)]
pub struct DeadLetterId {
    /// The record's position, as `dead list --each` has it
    #[arg(long)]
    position: u64,
    /// The event's number in the record
    #[arg(long, default_value_t = 0)]
    index: u32,
    /// The record's partition, where several have one at this position
    #[arg(long)]
    partition: Option<String>,
}

pub fn dead(
    config: &Config,
    command: &DeadCommand,
    client: impl FnOnce(&ServerArguments) -> Result<Client>,
) -> Result<()> {
    let letters = runtime()?.block_on(async {
        let lake = open_lake(config).await?;
        dead_letters(&lake).await
    })?;
    let of = |wanted: &DeadLetterId| {
        let is_it = |letter: &&DeadLetter| {
            (letter.position, letter.index) == (wanted.position, wanted.index)
                && wanted.partition.as_ref().is_none_or(|partition| **partition == *letter.partition)
        };
        let mut found = letters.iter().filter(is_it);
        let place = format!("at position {}, index {}", wanted.position, wanted.index);
        match (found.next(), found.next()) {
            (Some(letter), None) => Ok(letter),
            (Some(one), Some(other)) => {
                let message = format!("{} and {} have dead letters {place}", one.partition, other.partition);
                Err(Error::new(ErrorKind::Config, message).next_step("say which by --partition"))
            }
            (None, _) => Err(Error::new(ErrorKind::Config, format!("no dead letter {place}"))
                .next_step("see `foretap dead list --each`")),
        }
    };
    // Opened once, and only where a letter is to be read.
    let master = std::cell::OnceCell::new();
    let raw = |letter: &DeadLetter| {
        let master = match master.get() {
            Some(master) => master,
            None => {
                let opened = runtime()?.block_on(open_key(config, false))?;
                master.get_or_init(|| opened)
            }
        };
        master.open(&letter.raw_sealed)
    };
    match command {
        DeadCommand::List { each: true } => {
            for letter in &letters {
                let DeadLetter { position, index, partition, field, reason, .. } = letter;
                say(&format!("position {position} index {index} of {partition}: {field}: {reason}"));
            }
            Ok(())
        }
        DeadCommand::List { each: false } => {
            let mut counts: BTreeMap<(&str, &str), (u64, i64)> = BTreeMap::new();
            for letter in &letters {
                let entry =
                    counts.entry((&letter.field, &letter.reason)).or_insert((0, letter.received_at_us));
                entry.0 += 1;
            }
            say(&format!("{} dead letters", letters.len()));
            for ((field, reason), (count, since_us)) in counts {
                let since =
                    jiff::Timestamp::from_microsecond(since_us).map(|at| at.to_string()).unwrap_or_default();
                say(&format!("{count:>9}  {field}: {reason} (first {since})"));
            }
            Ok(())
        }
        DeadCommand::Show(wanted) => {
            let letter = of(wanted)?;
            let raw = raw(letter)?;
            say(&match letter.encoding.as_str() {
                "json" => String::from_utf8_lossy(&raw).into_owned(),
                _ => raw.iter().map(|byte| format!("{byte:02x}")).collect(),
            });
            Ok(())
        }
        DeadCommand::Replay { letter, all: _, server } => {
            let client = client(server)?;
            let wanted = match letter {
                Some(wanted) => vec![of(wanted)?],
                None => letters.iter().collect(),
            };
            let (mut accepted, mut refused) = (0, 0);
            for letter in &wanted {
                let encoding = Encoding::from_name(&letter.encoding).unwrap_or(Encoding::Json);
                let raw = raw(letter)?;
                // Of a batch that was refused whole nothing was read, not the key's label either.
                let batch = match letter.key_id.as_str() {
                    "" => Ok(raw),
                    key_id => wire::batch_of_raw(&raw, encoding, key_id),
                };
                let sent = batch
                    .map_err(|refusal| Error::new(ErrorKind::Data, refusal.reason).field(refusal.field))
                    .and_then(|batch| client.send_batch(&batch, encoding));
                match sent {
                    Ok(sent) => {
                        accepted += sent.accepted;
                        refused += sent.refused;
                        for again in sent.reasons {
                            say(&format!(
                                "position {} index {}: {}: {}",
                                letter.position, letter.index, again.field, again.reason
                            ));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Io => return Err(error),
                    Err(error) => {
                        refused += 1;
                        say(&format!("position {} index {}: {error}", letter.position, letter.index));
                    }
                }
            }
            say(&format!("{accepted} accepted now, {refused} refused again"));
            Ok(())
        }
    }
}
