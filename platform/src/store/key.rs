//! Envelopes: a key a person, sealed under the master key.
//!
//! The file of the master key has a line a key, the newest first: the newest seals, and all of them open. So what older ones have
//! sealed stays readable after another was made.

use std::path::Path;
use std::sync::Arc;

use foretap::storage::vault::{self, Key};
use foretap::{Error, ErrorKind, Result};

/// The key that seals each person's own, and those before it, which still open what they have sealed.
#[derive(Debug, Clone)]
pub struct MasterKey {
    newest: Key,
    older: Arc<[Key]>,
}

impl MasterKey {
    /// The keys in `file`, each 32 bytes as 64 hexadecimal digits on a line, readable by their owner alone. It is made with one where
    /// `may_make` and there is no file.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load(file: &Path, may_make: bool) -> Result<Self> {
        let text = match read(file) {
            Ok(text) => text,
            Err(_) if may_make && !file.exists() => {
                let key = Key::random()?;
                write_new(file, &hex(key.bytes()))?;
                return Self::of(vec![key]);
            }
            Err(error) => return Err(error),
        };
        if text.starts_with('{') {
            return Err(Error::new(ErrorKind::Config, "the key in this file is sealed by KMS")
                .file(file)
                .next_step("name the KMS key by `kms_key` of [store]"));
        }
        let key = |line: &str| Some(Key::new(of_hex(line.trim())?.try_into().ok()?));
        let keys: Option<Vec<Key>> = text.lines().map(key).collect();
        keys.and_then(|keys| Self::of(keys).ok()).ok_or_else(|| {
            Error::new(ErrorKind::Config, "no key of 64 hexadecimal digits")
                .file(file)
                .next_step("bring the key's file back, or name another by `key_file` of [store]")
        })
    }

    /// Adds a new key to `file`, by which everything is sealed that is sealed from then on. Processes that run have the one before
    /// until they are started again.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn rotate(file: &Path) -> Result<Self> {
        let before = Self::load(file, false)?;
        let key = Key::random()?;
        add_line(file, &hex(key.bytes()))?;
        let older = std::iter::once(before.newest).chain(before.older.iter().cloned());
        Ok(Self { newest: key, older: older.collect() })
    }

    /// Of keys that were opened, the newest first.
    pub(super) fn of(mut keys: Vec<Key>) -> Result<Self> {
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Config, "there is no key"));
        }
        let older = keys.split_off(1).into();
        keys.pop()
            .map(|newest| Self { newest, older })
            .ok_or_else(|| Error::new(ErrorKind::Config, "there is no key"))
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        1 + self.older.len()
    }

    /// A new key for one person, and the same sealed.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new_person(&self) -> Result<(Key, Vec<u8>)> {
        let key = Key::random()?;
        let sealed = self.seal(key.bytes())?;
        Ok((key, sealed))
    }

    /// The key in an envelope.
    ///
    /// # Errors
    /// It was sealed under another master key, or is damaged.
    pub fn open_person(&self, sealed: &[u8]) -> Result<Key> {
        let bytes = self.open(sealed).map_err(|error| {
            error.next_step("give the master key under which the store was made (`key_file` of [store])")
        })?;
        let bytes: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| Error::new(ErrorKind::Data, "a person's key is not of 32 bytes"))?;
        Ok(Key::new(bytes))
    }

    /// Bytes that only whoever has the master key reads: what a dead letter holds.
    ///
    /// # Errors
    /// The system has no random numbers, or the bytes are too many.
    pub fn seal(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        vault::seal(bytes, Some(&self.newest))
    }

    /// What [`seal`](Self::seal) sealed.
    ///
    /// # Errors
    /// It was sealed under another key, or is damaged.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let newest = vault::open(sealed, Some(&self.newest));
        let older = || self.older.iter().find_map(|key| vault::open(sealed, Some(key)).ok());
        newest.or_else(|error| older().ok_or(error))
    }
}

/// What is in the master key's file.
pub(super) fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        Error::io(file, "read the master key", error)
            .next_step("bring the key's file back: without it nothing in the store can be read")
    })
}

/// Puts a line before those of a file: whole or not at all, and readable by its owner alone throughout.
pub(super) fn add_line(file: &Path, line: &str) -> Result<()> {
    let text = format!("{line}\n{}", read(file)?);
    let new = file.with_extension("new");
    // Of an attempt that was cut short.
    let _ = std::fs::remove_file(&new);
    write_new(&new, &text)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::rename(&new, file)
        .and_then(|()| std::fs::File::open(folder)?.sync_all())
        .map_err(|error| Error::io(file, "write the master key", error))
}

/// Writes a file that only its owner reads, and that is not there yet.
pub(super) fn write_new(file: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut opened| {
        std::io::Write::write_all(&mut opened, text.as_bytes())?;
        opened.sync_all()
    });
    written.map_err(|error| Error::io(file, "write the master key", error))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits; `None` where there is something else.
pub(super) fn of_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2))
        .collect()
}
