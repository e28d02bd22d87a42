//! A log file as numbered lines of text: plain or gzip, UTF-8 with or without a byte order mark.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, ErrorKind, Result};
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
        let failed = |error| Error::io(file, "read the log", error);
        let input = File::open(file).map_err(failed)?;
        let mut reader = BufReader::with_capacity(1 << 16, Counted { input, progress });
        let is_gzip = reader.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + 'a> = if is_gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
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
        let count = read.map_err(|error| {
            let damaged = matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof
                    | std::io::ErrorKind::InvalidInput
                    | std::io::ErrorKind::InvalidData
            );
            let message = if damaged {
                format!("the gzip data is cut off or damaged here: {error}")
            } else {
                format!("cannot read on: {error}")
            };
            Error::new(ErrorKind::Io, message)
                .file(self.file)
                .line(self.number)
                .next_step("copy the file again")
                .source(error)
        })?;
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

/// Tells `progress` how many bytes went by.
struct Counted<'a> {
    input: File,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

/// The fields of one line of comma-separated text (RFC 4180, a record never spanning lines), or `None` where
/// a quote is not closed or text follows a closing quote.
pub(super) fn split_commas(line: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut fields = Vec::with_capacity(10);
    let mut rest = line;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = unquote(quoted)?;
            fields.push(field);
            if after.is_empty() {
                return Some(fields);
            }
            rest = after.strip_prefix(',')?;
        } else if let Some((field, after)) = rest.split_once(',') {
            fields.push(Cow::Borrowed(field));
            rest = after;
        } else {
            fields.push(Cow::Borrowed(rest));
            return Some(fields);
        }
    }
}

/// The text up to the closing quote, and what follows it. Two quotes stand for one.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let (field, mut after) = quoted.split_once('"')?;
    if !after.starts_with('"') {
        return Some((Cow::Borrowed(field), after));
    }
    let mut field = field.to_owned();
    while let Some(more) = after.strip_prefix('"') {
        let (part, rest) = more.split_once('"')?;
        field.push('"');
        field.push_str(part);
        after = rest;
    }
    Some((Cow::Owned(field), after))
}

/// `field` as it is written between commas: in quotes where it needs them.
pub(super) fn quote_comma(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"']) || field.trim() != field {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_quotes() {
        let cases: [(&str, Option<Vec<&str>>); 8] = [
            ("a,b", Some(vec!["a", "b"])),
            ("a,", Some(vec!["a", ""])),
            ("\"a,b\",c", Some(vec!["a,b", "c"])),
            ("\"say \"\"hi\"\"\",c", Some(vec!["say \"hi\"", "c"])),
            ("\"\"\"\"", Some(vec!["\""])),
            ("\"open", None),
            ("\"a\"b,c", None),
            ("", Some(vec![""])),
        ];
        for (line, expected) in cases {
            let fields = split_commas(line);
            assert_eq!(
                fields.map(|f| f.iter().map(|x| x.to_string()).collect::<Vec<_>>()),
                expected.map(|f| f.iter().map(|x| x.to_string()).collect()),
                "{line}"
            );
        }
        for name in ["plain", "a,b", "\"", "say \"hi\", twice", " padded ", ""] {
            assert_eq!(split_commas(&quote_comma(name)), Some(vec![Cow::Borrowed(name)]), "{name}");
        }
    }
}
