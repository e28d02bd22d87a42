//! A log file as numbered lines of text: plain or gzip, UTF-8 with or without a byte order mark; and a line as
//! fields.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{BufRead, Cursor, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::file::{broken_off, open_text};
use crate::progress::Progress;

/// No row of a log is this long: a longer line is another kind of file, and must not fill the memory.
const LONGEST_LINE: u64 = 1 << 20;

/// One line, without its line break.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    pub text: &'a str,
    /// Whether a line break ended it. The last line of a file may lack one, or may have been cut off.
    pub complete: bool,
}

/// The lines of one file, read as they are asked for.
pub(super) struct Lines<'a> {
    file: &'a Path,
    reader: Box<dyn BufRead + 'a>,
    number: u64,
    buffer: Vec<u8>,
    /// Lines that were looked at ahead of time, with `complete`.
    ahead: VecDeque<(String, bool)>,
    current: String,
}

impl<'a> Lines<'a> {
    /// Opens `file` and tells `progress` about every byte read from it.
    pub fn open(file: &'a Path, progress: &'a dyn Progress) -> Result<Self> {
        let reader = open_text(file, "read the log", progress)?;
        Ok(Self {
            file,
            reader,
            number: 0,
            buffer: Vec::new(),
            ahead: VecDeque::new(),
            current: String::new(),
        })
    }

    /// Up to `count` of the first lines that are not blank, which `next` will still return.
    pub fn look_ahead(&mut self, count: usize) -> Result<Vec<String>> {
        let mut seen = 0;
        while seen < count && self.ahead.len() < 10 * count {
            let Some(complete) = self.fill()? else { break };
            let text = self.text()?.into_owned();
            seen += usize::from(!text.trim().is_empty());
            self.ahead.push_back((text, complete));
        }
        self.number = 0;
        Ok(self.ahead.iter().map(|(text, _)| text.clone()).filter(|text| !text.trim().is_empty()).collect())
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// The file cannot be read, its gzip stream is damaged, or the line is not UTF-8.
    pub fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            let complete = match self.ahead.pop_front() {
                Some((text, complete)) => {
                    self.number += 1;
                    self.current = text;
                    complete
                }
                None => {
                    let Some(complete) = self.fill()? else { return Ok(None) };
                    let mut text = std::mem::take(&mut self.current);
                    text.clear();
                    text.push_str(&self.text()?);
                    self.current = text;
                    complete
                }
            };
            if !self.current.trim().is_empty() {
                return Ok(Some(Line { number: self.number, text: &self.current, complete }));
            }
        }
    }

    /// Reads one line into `buffer`, without its break; whether it had one, or `None` at the end.
    fn fill(&mut self) -> Result<Option<bool>> {
        self.buffer.clear();
        self.number += 1;
        let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.buffer);
        let count = read.map_err(|error| broken_off(error, self.file, self.number))?;
        if count == 0 {
            self.number -= 1;
            return Ok(None);
        }
        let complete = self.buffer.last() == Some(&b'\n');
        if !complete && count as u64 == LONGEST_LINE {
            return Err(
                self.wrong("this line is longer than a million bytes", "check that this is a log file")
            );
        }
        if complete {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        }
        if self.number == 1 {
            if self.buffer.starts_with(&[0xff, 0xfe])
                || self.buffer.starts_with(&[0xfe, 0xff])
                || self.buffer.contains(&0)
            {
                return Err(self.wrong("not UTF-8 but UTF-16, or not text at all", "save it as UTF-8"));
            }
            if self.buffer.starts_with(&[0xef, 0xbb, 0xbf]) {
                self.buffer.drain(..3);
            }
        }
        Ok(Some(complete))
    }

    /// `buffer` as text. A character cut off by the end of the file is left out.
    fn text(&self) -> Result<Cow<'_, str>> {
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) if error.error_len().is_none() && self.number > 1 => {
                Ok(String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => Err(self.wrong("not UTF-8", "save it as UTF-8")),
        }
    }

    fn wrong(&self, message: &str, next_step: &str) -> Error {
        Error::new(ErrorKind::Data, message).file(self.file).line(self.number).next_step(next_step)
    }
}

/// Takes lines apart at their commas and quotes (RFC 4180), one line at a time.
///
/// A reader of the whole file would take everything after a quote that is missing into one field; here such a
/// quote costs its own line, and a field cannot hold a line break. One reader serves all lines: making one takes
/// 19 microseconds, and a line 0.1 (8.4 million rows of the native format).
pub(super) struct Commas {
    reader: csv::Reader<Cursor<Vec<u8>>>,
    fields: csv::StringRecord,
}

impl Commas {
    pub fn new() -> Self {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Cursor::default());
        Self { reader, fields: csv::StringRecord::new() }
    }

    /// The fields of `line`, or `None` where a quote is not closed.
    pub fn split(&mut self, line: &str) -> Option<&csv::StringRecord> {
        let input = self.reader.get_mut();
        input.set_position(0);
        input.get_mut().clear();
        input.get_mut().extend_from_slice(line.as_bytes());
        // A quote that is still open takes the line break in, and the reader asks for more and comes to its end.
        input.get_mut().push(b'\n');
        let found = self.reader.read_record(&mut self.fields).unwrap_or(false);
        if !found || self.fields.as_slice().contains('\n') {
            *self = Self::new();
            return None;
        }
        Some(&self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_quotes() {
        let mut commas = Commas::new();
        let cases: [(&str, Option<&[&str]>); 9] = [
            ("a,b", Some(&["a", "b"])),
            ("a,", Some(&["a", ""])),
            ("\"a,b\",c", Some(&["a,b", "c"])),
            ("\"say \"\"hi\"\"\",c", Some(&["say \"hi\"", "c"])),
            ("\"\"\"\"", Some(&["\""])),
            ("\"open", None),
            // The line after an open quote, and a carriage return within a line.
            ("a\"b, \rc", Some(&["a\"b", " \rc"])),
            ("\"a\" ,b", Some(&["a ", "b"])),
            ("open,\"", None),
        ];
        for (line, expected) in cases {
            let fields: Option<Vec<&str>> = commas.split(line).map(|fields| fields.iter().collect());
            assert_eq!(fields.as_deref(), expected, "{line}");
        }
        let long = format!("{},\"{}\"", "x".repeat(100_000), "y".repeat(100_000));
        assert_eq!(commas.split(&long).unwrap().get(1), Some("y".repeat(100_000).as_str()));
    }
}
