//! The formats of binary files, recognised by their first twelve bytes, which are the same in every version:
//!
//! ```text
//! byte  size
//! 0     8     89, four letters, 0D 0A 1A: "FTAP" for a bundle, "FDIF" for a patch, "FHIS" for a history
//! 8     4     version, little-endian
//! ```
//!
//! The bytes around the letters are PNG's idea: 89 is no ASCII, so no text begins so; 0D 0A is a line end, which a copy
//! made as text changes; 1A ends a text on Windows.

use sha2::{Digest as _, Sha256};

use super::codec::Reader;
use crate::error::{Error, ErrorKind, Result};

/// What to do when bits changed on the way.
pub(crate) const COPY_AGAIN: &str = "copy the file again";
/// What to do when the file is as it was written, but was written wrongly.
pub(crate) const MAKE_AGAIN: &str = "make the file again with this version of foretap";
/// What to do when the file is ahead of this build.
pub(crate) const UPDATE: &str = "update foretap";

/// Bytes of a bundle or a patch, at most: 1 GiB, two thousand times what is meant for a phone.
pub(crate) const MAX_FILE_BYTES: usize = 1 << 30;

/// A file's magic bytes.
const MAGIC_BYTES: usize = 8;

/// A format of binary files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileFormat {
    /// "bundle", for errors.
    pub(crate) name: &'static str,
    /// The four letters in the magic bytes.
    letters: [u8; 4],
    /// The only version that this build reads.
    pub(crate) version: u32,
}

pub(crate) const BUNDLE: FileFormat = FileFormat { name: "bundle", letters: *b"FTAP", version: 1 };
pub(crate) const PATCH: FileFormat = FileFormat { name: "patch", letters: *b"FDIF", version: 1 };
pub(crate) const HISTORY: FileFormat = FileFormat { name: "history", letters: *b"FHIS", version: 1 };

impl FileFormat {
    fn magic(self) -> [u8; MAGIC_BYTES] {
        let [a, b, c, d] = self.letters;
        [0x89, a, b, c, d, b'\r', b'\n', 0x1a]
    }

    /// How every file of this format begins.
    pub(crate) fn preamble(self) -> Vec<u8> {
        [&self.magic()[..], &self.version.to_le_bytes()].concat()
    }

    /// A reader of `bytes` that stands behind the version.
    ///
    /// # Errors
    /// They are something else, or of another version.
    pub(crate) fn open(self, bytes: &[u8]) -> Result<Reader<'_>> {
        let mut reader = Reader::new(self.name, bytes, COPY_AGAIN);
        if !bytes.starts_with(&self.magic()) {
            return Err(self.something_else(bytes));
        }
        reader.bytes(MAGIC_BYTES)?;
        let version = reader.u32()?;
        if version == self.version {
            return Ok(reader);
        }
        let message = format!("{} version {version}, but this build reads {}", self.name, self.version);
        let next_step = if version > self.version { UPDATE } else { MAKE_AGAIN };
        Err(Error::new(ErrorKind::Model, message).field("version").next_step(next_step))
    }

    fn something_else(self, bytes: &[u8]) -> Error {
        let start = bytes.get(..MAGIC_BYTES).unwrap_or(bytes);
        let wrong = |message: String, next_step: String| {
            Error::new(ErrorKind::Model, message).field(self.name).next_step(next_step)
        };
        if let Some(other) = [BUNDLE, PATCH, HISTORY].iter().find(|format| start == format.magic()) {
            return wrong(format!("this is a {}", other.name), format!("name a {} instead", self.name));
        }
        // The letters are there, perhaps behind more bytes than they should be.
        if start.windows(4).any(|letters| letters == self.letters) {
            let message = format!("the first bytes of this {} are damaged", self.name);
            return wrong(message, "copy the file again, as binary and not as text".to_owned());
        }
        wrong(format!("this is not a foretap {}", self.name), format!("name a {} instead", self.name))
    }
}

/// The checksum that all files use.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The same as text.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_by_their_first_bytes() {
        let good: &[u8] = b"\x89FTAP\r\n\x1a\x01\0\0\0";
        assert_eq!(BUNDLE.preamble(), good);
        assert_eq!(BUNDLE.open(good).unwrap().position(), good.len());
        assert_eq!(PATCH.preamble(), b"\x89FDIF\r\n\x1a\x01\0\0\0");
        assert_eq!(HISTORY.preamble(), b"\x89FHIS\r\n\x1a\x01\0\0\0");

        let damaged: &[&str] = &["the first bytes of this bundle are damaged", "as binary and not as text"];
        let another: &[&str] = &["this is not a foretap bundle", "name a bundle instead"];
        let cases: [(&str, &[u8], &[&str]); 13] = [
            ("empty", b"", another),
            ("a letter", b"\x89", another),
            ("JSON", b"{\"foretap\":\"model\"}", another),
            ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\x0d", another),
            ("cut within the magic bytes", b"\x89FTAP\r\n", damaged),
            ("cut within the version", b"\x89FTAP\r\n\x1a\x01\0", &["4 bytes are asked for", COPY_AGAIN]),
            ("seven bits", b"\x09FTAP\r\n\x1a\x01\0\0\0", damaged),
            ("Windows to Unix", b"\x89FTAP\n\x1a\x01\0\0\0\0", damaged),
            ("Latin-1 to UTF-8", b"\xc2\x89FTAP\r\n\x1a\x01\0\0\0", damaged),
            ("a patch", b"\x89FDIF\r\n\x1a\x01\0\0\0", &["this is a patch", "name a bundle instead"]),
            ("a history", b"\x89FHIS\r\n\x1a\x01\0\0\0", &["this is a history", "name a bundle instead"]),
            (
                "a later version",
                b"\x89FTAP\r\n\x1a\x07\0\0\0",
                &["field `version`", "bundle version 7, but this build reads 1", UPDATE],
            ),
            (
                "no version",
                b"\x89FTAP\r\n\x1a\0\0\0\0",
                &["bundle version 0, but this build reads 1", MAKE_AGAIN],
            ),
        ];
        for (what, bytes, says) in cases {
            let message = BUNDLE.open(bytes).unwrap_err().to_string();
            for part in says {
                assert!(message.contains(part), "{what}: `{part}` is missing in: {message}");
            }
        }
    }
}
