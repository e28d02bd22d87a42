//! A log file as numbered lines of text: plain or gzip, UTF-8 or, with a byte order mark, UTF-16; and a line as fields.
//!
//! In a table, a quoted field may hold line breaks: its lines are one record then, numbered by the first. A quote that is
//! missing must not take the rows after it along, so lines are one record only where the quote is closed as it should be,
//! all columns are there, and none of the lines is a row by itself.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
pub(super) use crate::storage::excerpt;
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
    /// Lines that were read from the file, and lines that were handed out.
    read: u64,
    taken: u64,
    buffer: Vec<u8>,
    /// Lines that were looked at ahead of time.
    ahead: VecDeque<OwnedLine>,
    current: OwnedLine,
    /// The number of the current line.
    number: u64,
    quotes: Option<Quotes>,
}

#[derive(Debug, Default)]
struct OwnedLine {
    text: String,
    complete: bool,
    /// Otherwise `text` has marks where bytes were no UTF-8.
    is_text: bool,
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
        // LSApp's `lsapp.tsv.gz` is one, whatever its name says.
        if starts_with.get(257..262) == Some(b"ustar") {
            return Err(Error::new(ErrorKind::Data, "this is an archive of files (tar)")
                .file(file)
                .next_step("unpack it with tar xf, and give the file that was in it"));
        }
        Ok(Self {
            file,
            reader,
            starts_with,
            read: 0,
            taken: 0,
            buffer: Vec::new(),
            ahead: VecDeque::new(),
            current: OwnedLine::default(),
            number: 0,
            quotes: None,
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
        self.ahead.iter().map(|line| line.text.as_str())
    }

    /// From now on, a quoted field of a row of so many `columns` may hold line breaks.
    pub fn join_quoted(&mut self, delimiter: u8, columns: usize) {
        self.quotes = Some(Quotes { delimiter, columns });
    }

    /// Up to `count` of the first lines that are not blank, which `next` will still return. Fewer where they are
    /// long: together they are hardly longer than one line may be.
    pub fn look_ahead(&mut self, count: usize) -> Result<Vec<String>> {
        let (mut seen, mut bytes) = (0, 0);
        while seen < count && self.ahead.len() < 10 * count && bytes < LONGEST_LINE && self.put_aside()? {
            let text = self.ahead.back().map_or("", |line| line.text.as_str());
            seen += usize::from(!text.trim().is_empty());
            bytes += text.len() as u64;
        }
        Ok(self.head().filter(|text| !text.trim().is_empty()).map(str::to_owned).collect())
    }

    /// The next line that is not blank, with marks where it is not UTF-8.
    ///
    /// # Errors
    /// The file cannot be read, or its gzip stream is damaged.
    pub fn next(&mut self) -> Result<Option<Line<'_>>> {
        Ok(if self.advance()? { Some(self.line()) } else { None })
    }

    /// Goes to the next line that is not blank, if there is one.
    ///
    /// # Errors
    /// As [`Lines::next`] has them.
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some(line) = self.ahead.pop_front() {
                self.current = line;
            } else {
                let Some(complete) = self.fill()? else { return Ok(false) };
                let mut line = std::mem::take(&mut self.current);
                self.decode(&mut line, complete);
                self.current = line;
            }
            self.taken += 1;
            self.number = self.taken;
            if !self.current.text.trim().is_empty() {
                self.join_lines()?;
                return Ok(true);
            }
        }
    }

    /// The line that was gone to.
    pub fn line(&self) -> Line<'_> {
        Line { number: self.number, text: &self.current.text, complete: self.current.complete }
    }

    /// Whether all of it is UTF-8.
    pub fn is_text(&self) -> bool {
        self.current.is_text
    }

    /// Takes the lines that belong to the current one into it.
    fn join_lines(&mut self) -> Result<()> {
        let Some(quotes) = self.quotes.filter(|_| Quotes::may_be_open(&self.current.text)) else {
            return Ok(());
        };
        let mut text = std::mem::take(&mut self.current.text);
        let count = quotes.lines_after(&text, |index| {
            while self.ahead.len() <= index && self.put_aside()? {}
            Ok(self.ahead.get(index).filter(|line| line.is_text).map(|line| line.text.clone()))
        })?;
        for line in self.ahead.drain(..count) {
            text.push('\n');
            text.push_str(&line.text);
            self.current.complete = line.complete;
            self.taken += 1;
        }
        self.current.text = text;
        Ok(())
    }

    /// Puts one more line aside, if there is one.
    fn put_aside(&mut self) -> Result<bool> {
        let Some(complete) = self.fill()? else { return Ok(false) };
        let mut line = OwnedLine::default();
        self.decode(&mut line, complete);
        self.ahead.push_back(line);
        Ok(true)
    }

    /// Reads one line into `buffer`, without its break; whether it had one, or `None` at the end.
    fn fill(&mut self) -> Result<Option<bool>> {
        self.buffer.clear();
        self.read += 1;
        let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.buffer);
        let count = read.map_err(|error| broken_off(error, self.file, self.read))?;
        if count == 0 {
            self.read -= 1;
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
        if self.read == 1
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

    /// What `buffer` holds, as a line.
    fn decode(&self, line: &mut OwnedLine, complete: bool) {
        let is_last = !complete && self.read > 1;
        let text = text_of(&self.buffer, is_last);
        line.text.clear();
        (line.complete, line.is_text) = (complete, text.is_some());
        match text {
            Some(text) => line.text.push_str(text),
            None => line.text.push_str(&String::from_utf8_lossy(&self.buffer)),
        }
    }

    fn wrong(&self, message: &str, next_step: &str) -> Error {
        Error::new(ErrorKind::Data, message).file(self.file).line(self.read).next_step(next_step)
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

/// How a table's rows are quoted (RFC 4180).
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotes {
    pub delimiter: u8,
    pub columns: usize,
}

/// Lines of a record beyond the first, at most.
const MOST_JOINED: usize = 100;

/// A record so far.
#[derive(Debug, Default)]
struct Record {
    fields: usize,
    state: FieldState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FieldState {
    #[default]
    Start,
    Plain,
    Quoted,
    /// After the quote that closes a field, or is the first of a doubled one.
    Quote,
}

/// How a record stands at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Within a quoted field.
    Open,
    /// With all columns.
    Row,
    /// Otherwise.
    NoRow,
}

impl Quotes {
    /// Whether a line may end within quotes; cheap, because it is asked of every line.
    pub fn may_be_open(line: &str) -> bool {
        line.bytes().filter(|&byte| byte == b'"').count() % 2 == 1
    }

    /// How many of the lines after `first` belong to its record; `line` gives them by their index, up to the last one.
    ///
    /// # Errors
    /// Those of `line`.
    pub fn lines_after<E>(
        self,
        first: &str,
        mut line: impl FnMut(usize) -> std::result::Result<Option<String>, E>,
    ) -> std::result::Result<usize, E> {
        let mut record = Record::default();
        let (mut end, mut bytes, mut count) = (self.take(&mut record, first), first.len() as u64, 0);
        while end == End::Open && count < MOST_JOINED && bytes < LONGEST_LINE {
            let Some(next) = line(count)? else { return Ok(0) };
            // A row by itself: the quote before it is missing.
            if self.take(&mut Record::default(), &next) == End::Row {
                return Ok(0);
            }
            end = self.take(&mut record, &next);
            (bytes, count) = (bytes + next.len() as u64 + 1, count + 1);
        }
        Ok(if end == End::Row { count } else { 0 })
    }

    /// Takes the next line of a record.
    fn take(self, record: &mut Record, line: &str) -> End {
        for &byte in line.as_bytes() {
            record.state = match (record.state, byte) {
                (FieldState::Start, b'"') => FieldState::Quoted,
                (FieldState::Quoted, b'"') => FieldState::Quote,
                (FieldState::Quote, b'"') | (FieldState::Quoted, _) => FieldState::Quoted,
                (_, byte) if byte == self.delimiter => {
                    record.fields += 1;
                    FieldState::Start
                }
                // Neither opens a field nor closes one.
                (FieldState::Plain, b'"') => return End::NoRow,
                (FieldState::Quote, b' ') => FieldState::Quote,
                (FieldState::Quote, _) => return End::NoRow,
                (FieldState::Start | FieldState::Plain, _) => FieldState::Plain,
            };
        }
        match record.state {
            FieldState::Quoted => End::Open,
            _ if record.fields + 1 == self.columns => End::Row,
            _ => End::NoRow,
        }
    }
}

/// What parts fields, the usual first.
pub(super) const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Takes lines apart at their commas, or another delimiter, and quotes (RFC 4180), one line at a time.
///
/// A reader of the whole file would take everything after a quote that is missing into one field; here such a
/// quote costs its own line. One reader serves all lines: making one takes 19 microseconds, and a line 0.1 (8.4 million
/// rows of the native format).
pub(super) struct Commas {
    delimiter: u8,
    reader: csv::Reader<Cursor<Vec<u8>>>,
    fields: csv::StringRecord,
}

impl Commas {
    /// What parts the fields.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

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
        // Several lines are a record whose quotes are closed (`Lines::join_quoted`).
        let is_open = || self.fields.as_slice().contains('\n') && !line.contains('\n');
        if !found || is_open() {
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
    fn a_quoted_field_may_hold_line_breaks() {
        let records = |text: &str, columns: usize| -> Vec<(u64, String)> {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            let mut lines = Lines::open(file.path(), &crate::progress::Silent).unwrap();
            lines.join_quoted(b',', columns);
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push((line.number, line.text.to_owned()));
            }
            found
        };
        struct Case {
            what: &'static str,
            text: &'static str,
            columns: usize,
            expected: &'static [(u64, &'static str)],
        }
        let cases = [
            Case { what: "plain", text: "a,b\nc,d\n", columns: 2, expected: &[(1, "a,b"), (2, "c,d")] },
            Case {
                what: "one break",
                text: "a,\"b\nc\"\r\nd,e",
                columns: 2,
                expected: &[(1, "a,\"b\nc\""), (3, "d,e")],
            },
            Case {
                what: "in the first column, with blank lines and doubled quotes",
                text: "\"a \"\"x\n\n y\"\"\",b\nc,d\n",
                columns: 2,
                expected: &[(1, "\"a \"\"x\n\n y\"\"\",b"), (4, "c,d")],
            },
            Case {
                what: "a quote that is missing: the next line is a row",
                text: "a,\"b\nc,d\ne,\"f\"\n",
                columns: 2,
                expected: &[(1, "a,\"b"), (2, "c,d"), (3, "e,\"f\"")],
            },
            Case {
                what: "a quote that is closed in the middle of a field",
                text: "a,\"b\nx\"y\nc,d\n",
                columns: 2,
                expected: &[(1, "a,\"b"), (2, "x\"y"), (3, "c,d")],
            },
            Case {
                what: "too few columns",
                text: "a,\"b\nx\"\nc,d,e\n",
                columns: 3,
                expected: &[(1, "a,\"b"), (2, "x\""), (3, "c,d,e")],
            },
            Case {
                what: "never closed",
                text: "a,\"b\nx\n",
                columns: 2,
                expected: &[(1, "a,\"b"), (2, "x")],
            },
            Case {
                what: "an inch is no quote",
                text: "a,5\"\nb,6\"\n",
                columns: 2,
                expected: &[(1, "a,5\""), (2, "b,6\"")],
            },
        ];
        for Case { what, text, columns, expected } in cases {
            let found = records(text, columns);
            let found: Vec<(u64, &str)> =
                found.iter().map(|(number, text)| (*number, text.as_str())).collect();
            assert_eq!(found, expected, "{what}");
        }
        let long = format!("a,\"{}\"\nb,c\n", "x\n".repeat(MOST_JOINED + 1));
        assert_eq!(records(&long, 2).len(), MOST_JOINED + 3);
        let mut commas = Commas::new(b',');
        assert_eq!(commas.split("a,\"b\nc\"").unwrap().get(1), Some("b\nc"));
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
