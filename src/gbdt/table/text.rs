//! A text file as blocks of whole lines, parsed on all cores and handed on in order: plain or gzip, UTF-8 with or
//! without a byte order mark.

use std::io::{BufRead, Read};
use std::path::Path;

use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::storage::{broken_off, open_text};

/// Bytes of text that are parsed at once: enough to be worth a thread's while.
const BLOCK_BYTES: u64 = 1 << 20;
/// No row of a table that may be read is this long: a longer line is another kind of file, and must not fill the
/// memory.
const LONGEST_LINE: usize = 1 << 24;

/// Some lines, whole ones.
#[derive(Debug)]
pub(super) struct Block {
    /// The number of its first line, counted from 1.
    pub first_line: u64,
    pub text: String,
}

impl Block {
    /// The lines that are not blank, with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &str)> {
        (self.first_line..).zip(self.text.lines()).filter(|(_, line)| !line.trim().is_empty())
    }
}

/// The blocks of one file, read as they are asked for.
pub(super) struct Blocks<'a> {
    file: &'a Path,
    reader: Box<dyn BufRead + 'a>,
    next_line: u64,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    put_back: Option<Block>,
}

impl<'a> Blocks<'a> {
    /// Opens `file` and tells `progress` about every byte read from it.
    pub fn open(file: &'a Path, progress: &'a dyn Progress) -> Result<Self> {
        let reader = open_text(file, "read this file", progress)?;
        Ok(Self { file, reader, next_line: 1, rest: Vec::new(), put_back: None })
    }

    /// The next lines; nothing at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read, its gzip stream is damaged, it is not UTF-8, or a line is longer than 16 million
    /// bytes.
    pub fn next(&mut self) -> Result<Option<Block>> {
        if let Some(block) = self.put_back.take() {
            return Ok(Some(block));
        }
        let mut bytes = std::mem::take(&mut self.rest);
        loop {
            let read = self.reader.by_ref().take(BLOCK_BYTES).read_to_end(&mut bytes);
            let count =
                read.map_err(|error| broken_off(error, self.file, self.next_line + line_breaks(&bytes)))?;
            let end = bytes.iter().rposition(|&byte| byte == b'\n');
            if count == 0 {
                break;
            }
            if let Some(end) = end {
                self.rest = bytes.split_off(end + 1);
                break;
            }
            if bytes.len() > LONGEST_LINE {
                return Err(self.wrong(self.next_line, "this line is longer than 16 million bytes"));
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let first_line = self.next_line;
        let text = self.text(bytes)?;
        self.next_line += text.matches('\n').count() as u64;
        Ok(Some(Block { first_line, text }))
    }

    /// Has `next` return `block` again.
    pub fn put_back(&mut self, block: Block) {
        self.put_back = Some(block);
    }

    /// Parses all blocks that are left, several at once, and gives what came of them to `take` in order. Of several
    /// errors, the first in the file is returned.
    pub fn parse<T: Send>(
        mut self,
        parse: impl Fn(&Block) -> Result<T> + Sync,
        mut take: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        loop {
            let mut blocks = Vec::new();
            while blocks.len() < 2 * rayon::current_num_threads() {
                let Some(block) = self.next()? else { break };
                blocks.push(block);
            }
            if blocks.is_empty() {
                return Ok(());
            }
            let parsed: Vec<Result<T>> = blocks.par_iter().map(&parse).collect();
            for part in parsed {
                take(part?)?;
            }
        }
    }

    fn text(&self, mut bytes: Vec<u8>) -> Result<String> {
        if self.next_line == 1 {
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            if utf16 || bytes.contains(&0) {
                return Err(self.wrong(1, "not UTF-8 but UTF-16, or not text at all"));
            }
            if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
                bytes.drain(..3);
            }
        }
        String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            self.wrong(self.next_line + line_breaks(before), "not UTF-8")
        })
    }

    fn wrong(&self, line: u64, message: &str) -> Error {
        Error::new(ErrorKind::Data, message)
            .file(self.file)
            .line(line)
            .next_step("save the table as UTF-8 text, one row a line")
    }
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::progress::Silent;

    #[test]
    fn blocks_hold_whole_lines_in_order() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        // More than three blocks; the last line has no break.
        let lines: Vec<String> = (1..=400_000).map(|line| format!("{line:>8}")).collect();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let (mut seen, mut blocks_seen) = (Vec::new(), 0);
        let blocks = Blocks::open(file.path(), &Silent).unwrap();
        let numbers = |block: &Block| -> Result<Vec<(u64, u64)>> {
            Ok(block.lines().map(|(number, line)| (number, line.trim().parse().unwrap())).collect())
        };
        let take = |part: Vec<(u64, u64)>| {
            seen.extend(part);
            blocks_seen += 1;
            Ok(())
        };
        blocks.parse(numbers, take).unwrap();
        assert!(blocks_seen > 3, "{blocks_seen}");
        assert!(seen.iter().enumerate().all(|(i, &pair)| pair == (i as u64 + 1, i as u64 + 1)));
        assert_eq!(seen.len(), 400_000);
    }

    #[test]
    fn the_first_error_in_the_file_is_returned() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all("12345678\n".repeat(400_000).as_bytes()).unwrap();
        let blocks = Blocks::open(file.path(), &Silent).unwrap();
        let fail =
            |block: &Block| -> Result<()> { Err(Error::new(ErrorKind::Data, "bad").line(block.first_line)) };
        assert_eq!(blocks.parse(fail, |()| Ok(())).unwrap_err().line_number(), Some(1));
    }
}
