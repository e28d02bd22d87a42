//! Text files, plain or gzipped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

/// Opens `file`, unpacks it where it is gzipped, and tells `progress` about every byte that is read from it. `doing`
/// is what an error says could not be done: "read the log".
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open_text<'a>(
    file: &Path,
    doing: &str,
    progress: &'a dyn Progress,
) -> Result<Box<dyn BufRead + 'a>> {
    let failed = |error| Error::io(file, doing, error);
    let input = fs::File::open(file).map_err(failed)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Counted { input, progress });
    let is_gzip = reader.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    })
}

const BUFFER_BYTES: usize = 1 << 16;

/// Reading what [`open_text`] opened failed in `line`.
pub(crate) fn broken_off(error: std::io::Error, file: &Path, line: u64) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let message = if matches!(error.kind(), UnexpectedEof | InvalidInput | InvalidData) {
        format!("the gzip data is cut off or damaged here: {error}")
    } else {
        format!("cannot read on: {error}")
    };
    Error::new(ErrorKind::Io, message).file(file).line(line).next_step("copy the file again").source(error)
}

/// The beginning of what a file says, for a message. A line may be a million bytes long, and hold characters that
/// steer a terminal: those are written as escapes.
pub(crate) fn excerpt(text: &str, characters: usize) -> String {
    let mut words = String::new();
    for character in text.chars().take(characters) {
        if character.is_control() {
            words.extend(character.escape_default());
        } else {
            words.push(character);
        }
    }
    words
}

/// How many characters to insert, remove or replace to make `a` into `b` (Levenshtein's distance).
pub(crate) fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let replaced = row.get(j).copied().unwrap_or_default() + usize::from(from != to);
            let removed = row.get(j + 1).copied().unwrap_or_default() + 1;
            let inserted = next.last().copied().unwrap_or_default() + 1;
            next.push(replaced.min(removed).min(inserted));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Tells `progress` how many bytes went by.
struct Counted<'a> {
    input: fs::File,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_steer_nothing() {
        assert_eq!(excerpt("a\u{1b}[2J\u{9b}\tb", 60), "a\\u{1b}[2J\\u{9b}\\tb");
        assert_eq!(excerpt(&"é".repeat(1_000_000), 60), "é".repeat(60));
    }
}
