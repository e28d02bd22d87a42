//! Writing logs and forgetting people, so that a crash leaves either the old file or the new one.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Log;
use super::lines::{Quotes, text_of};
use super::native::{self, Header};
use crate::data::event::UserId;
use crate::data::privacy::PrivacyKey;
use crate::data::vocabulary::Vocabulary;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Access, replace};

/// Writes `log` in foretap's own format, by the extension of `file`: `.csv` or `.jsonl`, and `.gz` after it for
/// gzip. A new file is readable by its owner alone. [`read_logs`](super::read_logs) gives the same log back.
///
/// # Errors
/// The extension is another, the folder cannot be written to, or an app's name cannot be written in this form.
pub fn write_log(file: &Path, log: &Log, vocabulary: &Vocabulary) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (name, gzip) = match name.strip_suffix(".gz") {
        Some(name) => (name, true),
        None => (name.as_str(), false),
    };
    let as_json = match name.rsplit_once('.') {
        Some((_, "csv")) => false,
        Some((_, "jsonl")) => true,
        _ => {
            return Err(Error::new(ErrorKind::Config, "the extension does not say in which form to write")
                .file(file)
                .next_step("name it .csv or .jsonl, or .csv.gz or .jsonl.gz"));
        }
    };
    put(file, gzip, |out| native::write(out, log.events(), vocabulary, as_json))
}

/// What [`forget`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ForgetReport {
    /// Rows of the person, now gone.
    pub removed_rows: u64,
    /// Rows of others, byte for byte as they were.
    pub kept_rows: u64,
    /// Rows that cannot be read, so that nobody can say whose they are. They are kept.
    pub unreadable_rows: u64,
    /// The first of those, counted from 1.
    pub first_unreadable_line: Option<u64>,
}

/// Removes a person, by raw or hashed id, from a log in foretap's own format. The file is replaced in one step;
/// where it has no row of the person it stays untouched.
///
/// # Errors
/// The file cannot be read or replaced, or is not in foretap's own format.
pub fn forget(file: &Path, user: &str, key: &PrivacyKey) -> Result<ForgetReport> {
    let whose = |text: &str| -> UserId { text.parse().unwrap_or_else(|()| key.user_id(text)) };
    let person = whose(user);
    // The file behind a link is replaced, not the link.
    let file = fs::canonicalize(file).map_err(|error| Error::io(file, "read the log", error))?;
    let mut report = ForgetReport::default();
    let (gzip, kept) = {
        let (gzip, mut reader) = open(&file)?;
        (gzip, spool(&mut *reader, &file, &mut report, |text| whose(text) == person)?)
    };
    if report.removed_rows > 0 {
        let mut kept = BufReader::new(kept);
        put(&file, gzip, |out| std::io::copy(&mut kept, out).map(drop).map_err(native::cannot_write))?;
    }
    Ok(report)
}

fn open(file: &Path) -> Result<(bool, Box<dyn BufRead>)> {
    let failed = |error| Error::io(file, "read the log", error);
    let mut reader = BufReader::new(File::open(file).map_err(failed)?);
    let gzip = reader.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    Ok((gzip, if gzip { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) }))
}

/// Copies the rows to keep into a file without a name, and counts.
fn spool(
    reader: &mut dyn BufRead,
    file: &Path,
    report: &mut ForgetReport,
    is_person: impl Fn(&str) -> bool,
) -> Result<File> {
    let failed = |error| Error::io(file, "read or copy the log", error);
    // On the log's own disk, where there is room for it.
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut kept = BufWriter::new(tempfile::tempfile_in(folder).map_err(failed)?);
    let mut lines = RawLines { reader, ahead: VecDeque::new() };
    let mut number = 0;
    let mut header: Option<Header> = None;
    let mut is_first = true;
    while let Some((line, count)) = lines.next(header.as_ref().map(Header::quotes)).map_err(failed)? {
        let first = number + 1;
        number += count;
        let is_last = number > 1 && !line.ends_with(b"\n");
        let text = text_of(&line, is_last).map(|text| text.trim_end_matches(['\n', '\r']));
        if text.is_some_and(|text| text.trim().is_empty()) {
            kept.write_all(&line).map_err(failed)?;
            continue;
        }
        let is_json = text.is_some_and(|text| text.trim_start().starts_with('{'));
        if std::mem::take(&mut is_first) && !is_json {
            let parsed = text.and_then(|text| Header::parse(text).ok()).ok_or_else(|| {
                Error::new(ErrorKind::Data, "this is not a log in foretap's own format")
                    .file(file)
                    .line(first)
                    .next_step("convert it first, then forget the person")
            })?;
            header = Some(parsed);
            kept.write_all(&line).map_err(failed)?;
            continue;
        }
        let user = match &mut header {
            Some(header) => text.and_then(|text| header.user(text)).map(Cow::Borrowed),
            None => text.and_then(native::json_user),
        };
        match user {
            Some(user) if is_person(user.trim()) => {
                report.removed_rows += 1;
                continue;
            }
            Some(_) => report.kept_rows += 1,
            None => {
                report.unreadable_rows += 1;
                report.first_unreadable_line.get_or_insert(first);
            }
        }
        kept.write_all(&line).map_err(failed)?;
    }
    let mut kept = kept.into_inner().map_err(|error| failed(error.into_error()))?;
    std::io::Seek::rewind(&mut kept).map_err(failed)?;
    Ok(kept)
}

/// A file's lines with their line breaks, as many together as are one record.
struct RawLines<'a> {
    reader: &'a mut dyn BufRead,
    ahead: VecDeque<Vec<u8>>,
}

impl RawLines<'_> {
    /// The next record, and of how many lines it is.
    fn next(&mut self, quotes: Option<Quotes>) -> std::io::Result<Option<(Vec<u8>, u64)>> {
        if self.ahead.is_empty() && !self.put_aside()? {
            return Ok(None);
        }
        let Some(mut record) = self.ahead.pop_front() else { return Ok(None) };
        let text = |line: &[u8]| {
            let text = text_of(line, false)?.trim_end_matches('\n');
            Some(text.strip_suffix('\r').unwrap_or(text).to_owned())
        };
        let mut count = 0;
        if let Some((quotes, first)) =
            quotes.zip(text(&record)).filter(|(_, first)| Quotes::may_be_open(first))
        {
            count = quotes.lines_after(&first, |index| -> std::io::Result<_> {
                while self.ahead.len() <= index && self.put_aside()? {}
                Ok(self.ahead.get(index).and_then(|line| text(line)))
            })?;
        }
        record.extend(self.ahead.drain(..count).flatten());
        Ok(Some((record, 1 + count as u64)))
    }

    fn put_aside(&mut self) -> std::io::Result<bool> {
        let mut line = Vec::new();
        if (&mut self.reader).take(1 << 24).read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        self.ahead.push_back(line);
        Ok(true)
    }
}

/// Puts what `fill` writes in the place of `file`, readable by its owner alone unless it was there before.
fn put(file: &Path, gzip: bool, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    replace(file, Access::Private, |out| {
        if !gzip {
            return fill(out);
        }
        let mut packed = GzEncoder::new(out, Compression::default());
        fill(&mut packed)?;
        packed.finish().map(drop).map_err(native::cannot_write)
    })
}
