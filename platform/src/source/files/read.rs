//! A file's records: what its name says, decompressed, cut into batches. A file of any size takes the memory of one batch.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::super::RecordKind;

/// The largest window of a zstd file that is decompressed: 128 MiB, which is zstd's own limit, too.
const WINDOW_LOG: u32 = 27;

/// What a name says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    layout: Layout,
    compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// One batch as JSON.
    Json,
    /// A batch as JSON a line.
    JsonLines,
    /// One batch as Protobuf.
    Protobuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Format {
    /// `None` where the name says none.
    pub fn of_name(name: &str) -> Option<Self> {
        let (rest, compression) = match name {
            name if name.ends_with(".gz") => (&name[..name.len() - 3], Compression::Gzip),
            name if name.ends_with(".zst") => (&name[..name.len() - 4], Compression::Zstd),
            name => (name, Compression::None),
        };
        let layout = match rest.rsplit_once('.')?.1 {
            "json" => Layout::Json,
            "jsonl" | "ndjson" => Layout::JsonLines,
            "pb" => Layout::Protobuf,
            _ => return None,
        };
        Some(Self { layout, compression })
    }
}

/// Why a file is not read on.
#[derive(Debug)]
pub(super) enum Stop {
    /// Its bytes are not what its name says: it stays so.
    Damaged(String),
    /// It could not be read now.
    Later(std::io::Error),
}

/// A file that is being read.
pub(super) struct FileRecords {
    input: Box<dyn BufRead + Send>,
    layout: Layout,
    max_bytes: usize,
    has_failed: Arc<AtomicBool>,
    is_ended: bool,
}

impl FileRecords {
    /// Of the bytes in `input`; a record of more than `max_bytes` is cut there, and so is known to be too long.
    pub fn new(input: Box<dyn Read + Send>, format: Format, max_bytes: usize) -> Result<Self, Stop> {
        let has_failed = Arc::new(AtomicBool::new(false));
        let input = BufReader::new(Marked { input, has_failed: Arc::clone(&has_failed) });
        let input: Box<dyn BufRead + Send> = match format.compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(Stop::Later)?;
                decoder.window_log_max(WINDOW_LOG).map_err(Stop::Later)?;
                Box::new(BufReader::new(decoder))
            }
        };
        Ok(Self { input, layout: format.layout, max_bytes, has_failed, is_ended: false })
    }

    /// The next batch; `None` at the file's end.
    pub fn next(&mut self) -> Result<Option<(RecordKind, Bytes)>, Stop> {
        if self.is_ended {
            return Ok(None);
        }
        let found = match self.layout {
            Layout::JsonLines => self.line(),
            Layout::Json | Layout::Protobuf => self.whole().map(Some),
        };
        let kind = match self.layout {
            Layout::Json | Layout::JsonLines => RecordKind::JsonBatch,
            Layout::Protobuf => RecordKind::ProtobufBatch,
        };
        match found {
            Ok(found) => {
                self.is_ended = found.is_none() || self.layout != Layout::JsonLines;
                Ok(found.map(|bytes| (kind, bytes.into())))
            }
            // Where reading went well, what was read cannot be decompressed.
            Err(error) if self.has_failed.load(Ordering::Acquire) => Err(Stop::Later(error)),
            Err(error) => Err(Stop::Damaged(error.to_string())),
        }
    }

    fn whole(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(self.max_bytes as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The next line that is not empty.
    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            // The rest of a line that is too long is passed over.
            let room = (self.max_bytes + 1).saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
                line.clear();
            }
        }
        Ok((!line.trim_ascii().is_empty()).then_some(line))
    }
}

/// Tells errors of reading from those of decompressing.
struct Marked {
    input: Box<dyn Read + Send>,
    has_failed: Arc<AtomicBool>,
}

impl Read for Marked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::Interrupted) {
            self.has_failed.store(true, Ordering::Release);
        }
        read
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(name: &str, bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let format = Format::of_name(name).unwrap();
        let mut records =
            FileRecords::new(Box::new(std::io::Cursor::new(bytes.to_vec())), format, 8).unwrap();
        let mut found = Vec::new();
        loop {
            match records.next() {
                Ok(Some((_, bytes))) => found.push(String::from_utf8_lossy(&bytes).into_owned()),
                Ok(None) => return (found, None),
                Err(Stop::Damaged(why)) => return (found, Some(why)),
                Err(Stop::Later(error)) => panic!("{error}"),
            }
        }
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_file_is_cut_into_batches_as_its_name_says() {
        let zstd = |text: &str| zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
        let two = [gzip("a\nb"), gzip("c\n")].concat();
        for (name, bytes, expected) in [
            ("a.json", b"{\n}".to_vec(), vec!["{\n}"]),
            ("a.json", b"".to_vec(), vec![""]),
            ("a.b.jsonl", b"a\n\n \r\nb\r\nc".to_vec(), vec!["a", "b\r", "c"]),
            ("a.ndjson", b"123456789abcdef\nb".to_vec(), vec!["123456789", "b"]),
            ("a.json", b"123456789abcdef".to_vec(), vec!["123456789"]),
            ("a.pb", b"xyz".to_vec(), vec!["xyz"]),
            ("a.jsonl.gz", two, vec!["a", "bc"]),
            ("a.jsonl.zst", zstd("a\nb\n"), vec!["a", "b"]),
            ("a.jsonl", b"".to_vec(), vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(read(name, &bytes), (expected, None), "{name}");
        }
        for name in ["a", "a.csv", "a.gz", "a.json.bz2", "json"] {
            assert_eq!(Format::of_name(name), None, "{name}");
        }
    }

    #[test]
    fn damage_is_told_behind_what_could_be_read() {
        let text: String = (0..20_000).map(|line| format!("{line}\n")).collect();
        // With its sum, as the `zstd` program writes it: without one, other bytes are other text.
        let mut zst = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        zst.include_checksum(true).unwrap();
        zst.write_all(text.as_bytes()).unwrap();
        let (gz, zst) = (gzip(&text), zst.finish().unwrap());
        for (name, whole) in [("a.jsonl.gz", gz), ("a.jsonl.zst", zst)] {
            let (lines, why) = read(name, &whole[..whole.len() / 2]);
            assert!(why.is_some() && lines.len() < 20_000, "{name} is cut");
            let mut bad = whole.clone();
            bad[whole.len() / 2..].iter_mut().take(64).for_each(|byte| *byte = 0xff);
            assert!(read(name, &bad).1.is_some(), "{name} has other bytes");
            assert!(read(name, b"no such thing").1.is_some(), "{name} is something else");
        }
    }
}
