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
