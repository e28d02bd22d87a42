//! Configuration in TOML, with errors that name the line.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::text::{edits, excerpt};
use crate::error::{Error, ErrorKind, Result};

/// A file's text, to say where something is wrong in it.
pub(crate) struct TomlFile<'a> {
    pub(crate) file: &'a Path,
    pub(crate) text: &'a str,
}

impl TomlFile<'_> {
    /// The number of the line with the byte `at`.
    pub(crate) fn line_of(&self, at: usize) -> u64 {
        1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() as u64
    }

    /// What the file says. `keys` is the next step where a key is unknown and resembles no other.
    ///
    /// # Errors
    /// The text is no TOML, or a key or a value means nothing: with its line, and the key that may have been meant.
    pub(crate) fn parse<T: DeserializeOwned>(&self, keys: &str) -> Result<T> {
        toml::from_str(self.text).map_err(|error| self.unreadable(&error, keys))
    }

    fn unreadable(&self, error: &toml::de::Error, keys: &str) -> Error {
        let line = self.line_of(error.span().map_or(0, |span| span.start));
        let message = excerpt(error.message(), 500);
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = quoted
            .next()
            .filter(|_| message.starts_with("unknown field") || message.starts_with("unknown variant"));
        let near =
            unknown.and_then(|unknown| quoted.min_by_key(|known| edits(known, unknown)).map(str::to_owned));
        let next_step = near.map_or_else(|| keys.to_owned(), |near| format!("did you mean `{near}`?"));
        Error::new(ErrorKind::Config, message).file(self.file).line(line).next_step(next_step)
    }
}
