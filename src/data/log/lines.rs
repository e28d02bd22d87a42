//! A log file as numbered lines of text: plain or gzip, UTF-8 or, with a byte order mark, UTF-16; and a line as fields.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::storage::{broken_off, open_text};

/// Bytes of the start of a file that tell what it is.
const START_BYTES: usize = 4096;

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
    /// The file's first bytes.
    starts_with: Vec<u8>,
    number: u64,
    buffer: Vec<u8>,
    /// Lines that were looked at ahead of time, with `complete`.
    ahead: VecDeque<(String, bool)>,
    current: String,
}

impl<'a> Lines<'a> {
    /// Opens `file` and tells `progress` about every byte read from it.
    pub fn open(file: &'a Path, progress: &'a dyn Progress) -> Result<Self> {
        let mut reader = open_text(file, "read the log", progress)?;
        let start = reader.fill_buf().map_err(|error| broken_off(error, file, 1))?;
        let is_utf16 = start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]);
        if is_utf16 {
            let decoder = encoding_rs_io::DecodeReaderBytesBuilder::new().build(reader);
            reader = Box::new(BufReader::with_capacity(START_BYTES, decoder));
        }
        let start = reader.fill_buf().map_err(|error| broken_off(error, file, 1))?;
        let starts_with: Vec<u8> = start.iter().copied().take(START_BYTES).collect();
        Ok(Self {
            file,
            reader,
            starts_with,
            number: 0,
            buffer: Vec::new(),
            ahead: VecDeque::new(),
            current: String::new(),
        })
    }

    /// The file's first bytes, up to 4096: what a file is that has no lines.
    pub fn starts_with(&self) -> &[u8] {
        &self.starts_with
    }

    /// All that was not read yet, without lines.
    pub fn into_reader(self) -> Box<dyn BufRead + 'a> {
        self.reader
    }

    /// The lines that were looked at and not read yet.
    pub fn head(&self) -> impl Iterator<Item = &str> {
        self.ahead.iter().map(|(text, _)| text.as_str())
    }

    /// Up to `count` of the first lines that are not blank, which `next` will still return. Fewer where they are
    /// long: together they are hardly longer than one line may be.
    pub fn look_ahead(&mut self, count: usize) -> Result<Vec<String>> {
        let (mut seen, mut bytes) = (0, 0);
        while seen < count && self.ahead.len() < 10 * count && bytes < LONGEST_LINE {
            let Some(complete) = self.fill()? else { break };
            let text = self.text(complete)?.to_owned();
            seen += usize::from(!text.trim().is_empty());
            bytes += text.len() as u64;
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
                    text.push_str(self.text(complete)?);
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
        if self.number == 1
            && (self.buffer.starts_with(&[0xff, 0xfe])
                || self.buffer.starts_with(&[0xfe, 0xff])
                || self.buffer.contains(&0))
        {
            return Err(self.wrong("not UTF-8 but UTF-16, or not text at all", "save it as UTF-8"));
        }
        if self.buffer.contains(&0) {
            let message = "zero bytes: from here on the file is UTF-16, or not text";
            return Err(self.wrong(message, "make all of it UTF-8, as one shell writes it"));
        }
        Ok(Some(complete))
    }

    fn text(&self, complete: bool) -> Result<&str> {
        let is_last = !complete && self.number > 1;
        text_of(&self.buffer, is_last).ok_or_else(|| self.wrong("not UTF-8", "save it as UTF-8"))
    }

    fn wrong(&self, message: &str, next_step: &str) -> Error {
        Error::new(ErrorKind::Data, message).file(self.file).line(self.number).next_step(next_step)
    }
}

/// A line as text, or `None` where it is none. A character that the end of the file cut off is left out, and so is
/// a byte order mark, which may begin any line of files that were put one after another.
pub(super) fn text_of(line: &[u8], is_last: bool) -> Option<&str> {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) if is_last && error.error_len().is_none() => line.utf8_chunks().next()?.valid(),
        Err(_) => return None,
    };
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The beginning of what a file says, for a message. A line may be a million bytes long, and hold characters that
/// steer a terminal: those are written as escapes.
pub(super) fn excerpt(text: &str, characters: usize) -> String {
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

/// What parts fields, the usual first.
pub(super) const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Takes lines apart at their commas, or another delimiter, and quotes (RFC 4180), one line at a time.
///
/// A reader of the whole file would take everything after a quote that is missing into one field; here such a
/// quote costs its own line, and a field cannot hold a line break. One reader serves all lines: making one takes
/// 19 microseconds, and a line 0.1 (8.4 million rows of the native format).
pub(super) struct Commas {
    delimiter: u8,
    reader: csv::Reader<Cursor<Vec<u8>>>,
    fields: csv::StringRecord,
}

impl Commas {
    pub fn new(delimiter: u8) -> Self {
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Cursor::default());
        Self { delimiter, reader, fields: csv::StringRecord::new() }
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
            *self = Self::new(self.delimiter);
            return None;
        }
        Some(&self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_ahead_holds_no_more_than_a_line_may_have() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let blank = format!("{}\n", " ".repeat(400_000));
        std::io::Write::write_all(&mut file, format!("first\n{}last\n", blank.repeat(9)).as_bytes()).unwrap();
        let mut lines = Lines::open(file.path(), &crate::progress::Silent).unwrap();
        assert_eq!(lines.look_ahead(100).unwrap(), ["first"]);
        assert_eq!(lines.ahead.len(), 4);
        let mut next = || lines.next().unwrap().map(|line| (line.number, line.text.to_owned()));
        assert_eq!(next(), Some((1, "first".to_owned())));
        assert_eq!(next(), Some((11, "last".to_owned())));
        assert_eq!(next(), None);
    }

    #[test]
    fn excerpts_are_short_and_steer_nothing() {
        assert_eq!(excerpt("a\u{1b}[2J\u{9b}\tb", 60), "a\\u{1b}[2J\\u{9b}\\tb");
        assert_eq!(excerpt(&"é".repeat(1_000_000), 60), "é".repeat(60));
    }

    #[test]
    fn commas_and_quotes() {
        let mut commas = Commas::new(b',');
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
        let mut semicolons = Commas::new(b';');
        assert_eq!(semicolons.split("a,b;\"c;d\"").unwrap().iter().collect::<Vec<_>>(), ["a,b", "c;d"]);
        let long = format!("{},\"{}\"", "x".repeat(100_000), "y".repeat(100_000));
        assert_eq!(commas.split(&long).unwrap().get(1), Some("y".repeat(100_000).as_str()));
    }
}
