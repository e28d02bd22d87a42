//! Envelopes: a key a person, sealed under the master key.

use std::path::Path;

use foretap::storage::vault::{self, Key};
use foretap::{Error, ErrorKind, Result};

/// The key that seals each person's own.
#[derive(Debug, Clone)]
pub struct MasterKey(Key);

impl MasterKey {
    /// The key in `file`, 32 bytes as 64 hexadecimal digits, readable by its owner alone. It is made where `may_make` and there
    /// is no file.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load(file: &Path, may_make: bool) -> Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_make => {
                return Self::make(file);
            }
            Err(error) => {
                return Err(Error::io(file, "read the master key", error)
                    .next_step("bring the key's file back: without it nothing in the store can be read"));
            }
        };
        if text.starts_with('{') {
            return Err(Error::new(ErrorKind::Config, "the key in this file is sealed by KMS")
                .file(file)
                .next_step("name the KMS key by `kms_key` of [store]"));
        }
        let bytes = of_hex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| {
            Error::new(ErrorKind::Config, "no key of 64 hexadecimal digits")
                .file(file)
                .next_step("bring the key's file back, or name another by `key_file` of [store]")
        })?;
        Ok(Self(Key::new(bytes)))
    }

    fn make(file: &Path) -> Result<Self> {
        let key = Key::random()?;
        write_new(file, &hex(key.bytes()))?;
        Ok(Self(key))
    }

    /// A key that was unsealed.
    #[cfg(feature = "aws")]
    pub(super) fn of(bytes: [u8; 32]) -> Self {
        Self(Key::new(bytes))
    }

    /// A new key for one person, and the same sealed.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new_person(&self) -> Result<(Key, Vec<u8>)> {
        let key = Key::random()?;
        let sealed = vault::seal(key.bytes(), Some(&self.0))?;
        Ok((key, sealed))
    }

    /// The key in an envelope.
    ///
    /// # Errors
    /// It was sealed under another master key, or is damaged.
    pub fn open_person(&self, sealed: &[u8]) -> Result<Key> {
        let bytes = vault::open(sealed, Some(&self.0)).map_err(|error| {
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
        vault::seal(bytes, Some(&self.0))
    }

    /// What [`seal`](Self::seal) sealed.
    ///
    /// # Errors
    /// It was sealed under another key, or is damaged.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        vault::open(sealed, Some(&self.0))
    }
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
