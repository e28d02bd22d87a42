//! API keys: who has one is the role that it was made for. Only hashes are kept, in one JSON file.
//!
//! A key is `ft_`, an id that may be seen, `_`, and 32 random bytes as hexadecimal digits. So it has no need of a slow hash: nobody
//! guesses 256 bits. The file is read again when it changes: a key that is made or revoked counts within a second.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use foretap::data::UserId;
use foretap::storage::write_atomically;
use foretap::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Denied, Identity, Role};

const PREFIX: &str = "ft_";
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInfo {
    /// Its visible part.
    pub id: String,
    /// SHA-256 of the whole key, in hexadecimal digits.
    sha256: String,
    /// What whoever has it may do.
    pub role: Role,
    /// The person that a device speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Who has it, in words.
    pub note: String,
    /// When it was made, in seconds since 1970.
    pub made_at: i64,
    /// From when on it is worth nothing, in seconds since 1970.
    pub expires_at: i64,
}

/// A key that was just made: the only time that it can be seen.
#[derive(Debug)]
pub struct MadeKey {
    /// What is kept of it.
    pub info: KeyInfo,
    /// What `Authorization: Bearer` is followed by. It is kept nowhere.
    pub key: String,
}

/// The file, as it was read.
pub struct ApiKeys {
    file: PathBuf,
    read: Mutex<Read>,
}

struct Read {
    keys: Arc<Vec<KeyInfo>>,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl ApiKeys {
    /// The keys in `file`; none where it is not there.
    ///
    /// # Errors
    /// It cannot be read, or is no file of keys.
    pub fn open(file: &Path) -> Result<Self> {
        let changed = changed(file);
        let read = Read { keys: Arc::new(load(file)?), changed, looked: Instant::now() };
        Ok(Self { file: file.to_owned(), read: Mutex::new(read) })
    }

    /// Whether a credential is written as keys are.
    pub fn is_one(credential: &str) -> bool {
        credential.starts_with(PREFIX)
    }

    /// Whose key it is.
    ///
    /// # Errors
    /// Nobody's, or it has expired.
    pub fn identify(&self, credential: &str) -> std::result::Result<Identity, Denied> {
        let wrong = || Denied::unknown("no such API key");
        let id = credential.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or_else(wrong)?.0;
        let keys = self.current();
        let found = keys.iter().find(|info| info.id == id).ok_or_else(wrong)?;
        if !is_same(&found.sha256, &sha256(credential)) {
            return Err(wrong());
        }
        if found.expires_at <= now_secs() {
            return Err(Denied::unknown("this API key has expired"));
        }
        let user = found.user.as_deref().and_then(|user| user.parse().ok());
        Ok(Identity { name: format!("key {id}").into(), role: found.role, user })
    }

    /// As the file has them now. One that cannot be read any more leaves those of before.
    fn current(&self) -> Arc<Vec<KeyInfo>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.looked.elapsed() >= LOOK {
            read.looked = Instant::now();
            let changed = changed(&self.file);
            if changed != read.changed {
                match load(&self.file) {
                    Ok(keys) => {
                        read.keys = Arc::new(keys);
                        read.changed = changed;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the file of API keys cannot be read; those of before go on")
                    }
                }
            }
        }
        Arc::clone(&read.keys)
    }

    /// Makes a key in `file` for a role, and for one person where it is a device's; it is worth something for `days`.
    ///
    /// # Errors
    /// The file cannot be read or written, or a device's key has no person, or another one's has.
    pub fn make(file: &Path, (role, user): (Role, Option<UserId>), note: &str, days: u32) -> Result<MadeKey> {
        if (role == Role::Device) != user.is_some() {
            return Err(Error::new(
                ErrorKind::Config,
                "a device speaks for one person, and nobody else does",
            )
            .field("user")
            .next_step("give --user with --role device, and with no other role"));
        }
        let _lock = lock(file)?;
        let mut keys = load(file)?;
        let bytes = foretap::storage::vault::Key::random()?;
        let secret: String = bytes.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let id: String = sha256(&secret).chars().take(12).collect();
        let key = format!("{PREFIX}{id}_{secret}");
        let made_at = now_secs();
        let info = KeyInfo {
            id,
            sha256: sha256(&key),
            role,
            user: user.map(|user| user.to_string()),
            note: note.to_owned(),
            made_at,
            expires_at: made_at.saturating_add(i64::from(days) * 86_400),
        };
        keys.push(info.clone());
        save(file, &keys)?;
        Ok(MadeKey { info, key })
    }

    /// What is kept of every key in `file`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(file: &Path) -> Result<Vec<KeyInfo>> {
        load(file)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// There is none of this id, or the file cannot be read or written.
    pub fn revoke(file: &Path, id: &str) -> Result<()> {
        let _lock = lock(file)?;
        let mut keys = load(file)?;
        let before = keys.len();
        keys.retain(|info| info.id != id);
        if keys.len() == before {
            return Err(Error::new(ErrorKind::Config, format!("no API key `{}`", id.escape_debug()))
                .file(file)
                .next_step("see `foretap keys list`"));
        }
        save(file, &keys)
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// Of several who change the file, one at a time. Held until it is dropped.
fn lock(file: &Path) -> Result<std::fs::File> {
    let lock = file.with_extension("lock");
    let opened = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
    let locked = opened.and_then(|opened| opened.lock().map(|()| opened));
    locked.map_err(|error| Error::io(&lock, "lock the file of API keys", error))
}

fn load(file: &Path) -> Result<Vec<KeyInfo>> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(file, "read the API keys", error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(ErrorKind::Config, format!("no file of API keys: {error}"))
            .file(file)
            .next_step("bring the file back; keys that were in it are refused meanwhile")
    })
}

fn save(file: &Path, keys: &[KeyInfo]) -> Result<()> {
    let text = serde_json::to_vec_pretty(keys)
        .map_err(|error| Error::new(ErrorKind::Data, format!("cannot be written as JSON: {error}")))?;
    write_atomically(file, |out| std::io::Write::write_all(out, &text))
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In a time that does not depend on where they differ.
fn is_same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && differ == 0
}

fn now_secs() -> i64 {
    jiff::Timestamp::now().as_second()
}
