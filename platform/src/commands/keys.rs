//! `foretap keys`: who may ask, and what they may do; and another master key.

use clap::{Subcommand, ValueEnum};
use foretap::data::UserId;
use foretap::{Error, ErrorKind, Result};
use foretap_platform::config::Config;
use foretap_platform::guard::{ApiKeys, Role};
use foretap_platform::say;
use foretap_platform::up::rotate_key;

use super::runtime;

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, and print it: it cannot be seen again
    Make {
        /// What whoever has it may do
        #[arg(long)]
        role: RoleName,
        /// With `--role device`, the keyed hash of the one user that it is for
        #[arg(long)]
        user: Option<String>,
        /// Who has it
        #[arg(long)]
        note: String,
        /// From then on it is worth nothing
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
        days: u32,
    },
    /// Add a new master key, which seals from the next start on; older ones open what they have sealed
    Rotate,
    /// Who has one, and until when it is worth something
    List,
    /// Make a key worth nothing, from the next second on
    Revoke {
        /// Its id, as `keys list` has it
        id: String,
    },
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// Sends events of one user, and asks for that user
    Device,
    /// Sends and asks for anybody
    Service,
    /// Reads figures
    Analyst,
    /// Runs the system
    Operator,
    /// Does all, people's rights included
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Device => Self::Device,
            RoleName::Service => Self::Service,
            RoleName::Analyst => Self::Analyst,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub fn keys(config: &Config, command: &KeysCommand) -> Result<()> {
    let file = &config.api_keys_file();
    match command {
        KeysCommand::Rotate => {
            let keys = runtime()?.block_on(rotate_key(config))?;
            let file = config.key_file();
            say(&format!("{} has {} master keys, the newest of them new", file.display(), keys.count()));
            eprintln!(
                "keep a copy of it; start each process that has it again, with the same file: then the new key seals"
            );
            Ok(())
        }
        KeysCommand::Make { role, user, note, days } => {
            let user = user.as_deref().map(user_of).transpose()?;
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|error| Error::io(folder, "make the folder", error))?;
            }
            let made = ApiKeys::make(file, ((*role).into(), user), note, *days)?;
            say(&made.key);
            eprintln!("key {} for {} days; send it as `Authorization: Bearer`", made.info.id, days);
            Ok(())
        }
        KeysCommand::List => {
            for info in ApiKeys::list(file)? {
                let until = jiff::Timestamp::from_second(info.expires_at)
                    .map_or_else(|_| info.expires_at.to_string(), |at| at.to_string());
                let user = info.user.map(|user| format!(" of {user}")).unwrap_or_default();
                say(&format!("{}  {}{user}  until {until}  {}", info.id, info.role.name(), info.note));
            }
            Ok(())
        }
        KeysCommand::Revoke { id } => ApiKeys::revoke(file, id),
    }
}

fn user_of(text: &str) -> Result<UserId> {
    text.parse().map_err(|()| {
        Error::new(ErrorKind::Config, "no keyed hash")
            .field("user")
            .next_step("give `u` and 16 hexadecimal digits, as events have it")
    })
}
