//! One file, several named sections, and not a bit of it unchecked.
//!
//! # Layout
//!
//! Numbers are little-endian and unsigned; byte 0 is the file's first. `n` is the number of sections.
//!
//! ```text
//! byte        size  what
//! 0           8     89 46 54 41 50 0D 0A 1A: "\x89FTAP\r\n\x1a"
//! 8           4     version: 1
//! 12          4     n, at most 64
//! 16          8     length of the whole file in bytes, at most 2^30
//! 24          56 n  the table, an entry for each section:
//!                     +0   4   tag: four printable ASCII characters, no blanks; no two sections have the same
//!                     +4   4   flags: bit 0 = required, all others 0
//!                     +8   8   where the section begins, in bytes from the file's start
//!                     +16  8   its length in bytes
//!                     +24  32  SHA-256 of its bytes
//! 24 + 56 n   32    SHA-256 of all bytes before this
//! 56 + 56 n         sections, in the table's order:
//!                     0-63 zeros, up to a multiple of 64
//!                     the section's bytes
//! ```
//!
//! Each section begins at the first multiple of 64 at or after the end of what stands before it, and the file ends with
//! the last one's last byte (without sections, with the header). So one list of sections makes one file, to the byte.
//!
//! # Reading
//!
//! Check in this order: magic bytes and version; the number of sections and the file's length; the header's checksum;
//! then, entry by entry, flags, place, zeros and checksum; at last tags and the file's end. Every bit of the file
//! belongs to one of these checks. They find damage, not forgery: against that, sign the whole file.
//!
//! A memory-mapped file begins where a page does, so a section in it begins with a cache line, and tables can be used
//! in place. A reader skips sections that it does not know, unless they are *required*: without those it would
//! understand the file wrongly.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::codec::{Put as _, Reader};
use crate::storage::format::{BUNDLE, COPY_AGAIN, MAKE_AGAIN, MAX_FILE_BYTES, UPDATE, sha256};

/// Sections of a file, at most.
pub const MAX_SECTIONS: usize = 64;

/// What a section's first byte is a multiple of: a cache line.
pub const ALIGNMENT: usize = 64;

const ENTRY_BYTES: usize = 56;
const REQUIRED: u32 = 1;

/// A section's name: four printable ASCII characters without blanks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub [u8; 4]);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// A named piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its name.
    pub tag: Tag,
    /// Whether a reader that does not know it must refuse the file.
    pub required: bool,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Section<'_> {
    /// The content's checksum.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.bytes)
    }
}

/// A file's sections, in its order: checked, and borrowed from its bytes, which may be memory-mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sections<'a> {
    sections: Vec<Section<'a>>,
}

impl<'a> Sections<'a> {
    /// Sections for a new file.
    ///
    /// # Errors
    /// More than 64, two of the same tag, a tag that is not printable, or more than 1 GiB in all.
    pub fn new(sections: Vec<Section<'a>>) -> Result<Self> {
        let sections = Self { sections };
        let wrong = |message: String| Error::new(ErrorKind::Model, message).next_step("leave some out");
        if sections.sections.len() > MAX_SECTIONS {
            return Err(wrong(too_many(sections.sections.len())));
        }
        sections.check_tags()?;
        match sections.file_bytes() {
            Some(bytes) if bytes <= MAX_FILE_BYTES => Ok(sections),
            _ => Err(wrong(format!("the sections are larger than {MAX_FILE_BYTES} bytes"))),
        }
    }

    /// Reads a file and checks all of it.
    ///
    /// # Errors
    /// [`ErrorKind::Model`]: it is something else, of another version, cut off or damaged.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let entries = read_header(bytes)?;
        let mut end = header_bytes(entries.len());
        let mut sections = Vec::with_capacity(entries.len());
        for entry in entries {
            let section = entry.section(bytes, end)?;
            end = aligned(end) + section.bytes.len();
            sections.push(section);
        }
        if end != bytes.len() {
            let message = format!("the sections end at byte {end}, but the file at {}", bytes.len());
            return Err(Error::new(ErrorKind::Model, message).field(BUNDLE.name).next_step(MAKE_AGAIN));
        }
        Self::new(sections).map_err(|error| error.next_step(MAKE_AGAIN))
    }

    /// The file: the same sections in the same order give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // What `new` made sure of.
        let length = self.file_bytes().unwrap_or_default();
        let mut file = Vec::with_capacity(length);
        file.put(&BUNDLE.preamble());
        file.put_u32(self.sections.len() as u32);
        file.put_u64(length as u64);
        let mut end = header_bytes(self.sections.len());
        for section in &self.sections {
            file.put(&section.tag.0);
            file.put_u32(if section.required { REQUIRED } else { 0 });
            file.put_u64(aligned(end) as u64);
            file.put_u64(section.bytes.len() as u64);
            file.put(&section.sha256());
            end = aligned(end) + section.bytes.len();
        }
        let checksum = sha256(&file);
        file.put(&checksum);
        for section in &self.sections {
            file.resize(aligned(file.len()), 0);
            file.put(section.bytes);
        }
        file
    }

    /// The sections in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Section<'a>> {
        self.sections.iter()
    }

    /// The content of the section `tag`, if there is one.
    pub fn section(&self, tag: Tag) -> Option<&'a [u8]> {
        self.iter().find(|section| section.tag == tag).map(|section| section.bytes)
    }

    /// The content of the section `tag`.
    ///
    /// # Errors
    /// There is none.
    pub fn require(&self, tag: Tag) -> Result<&'a [u8]> {
        self.section(tag).ok_or_else(|| {
            Error::new(ErrorKind::Model, "this section is missing")
                .field(tag.to_string())
                .next_step(MAKE_AGAIN)
        })
    }

    /// A reader of the section `tag`.
    ///
    /// # Errors
    /// There is none.
    pub fn reader(&self, tag: Tag) -> Result<Reader<'a>> {
        Ok(Reader::new(tag.to_string(), self.require(tag)?, MAKE_AGAIN))
    }

    /// Refuses a file with a required section that is not among `known`.
    ///
    /// # Errors
    /// There is one: the file asks for a later version of this crate.
    pub fn check_known(&self, known: &[Tag]) -> Result<()> {
        match self.iter().find(|section| section.required && !known.contains(&section.tag)) {
            Some(Section { tag, .. }) => {
                let message = "the file cannot be used without this section, which this build does not know";
                Err(Error::new(ErrorKind::Model, message).field(tag.to_string()).next_step(UPDATE))
            }
            None => Ok(()),
        }
    }

    fn check_tags(&self) -> Result<()> {
        for (index, Section { tag, .. }) in self.iter().enumerate() {
            let wrong = |message: &str| {
                Error::new(ErrorKind::Model, message)
                    .field(tag.to_string())
                    .next_step("name each section by four printable characters of its own")
            };
            if !tag.0.iter().all(u8::is_ascii_graphic) {
                return Err(wrong("a tag that is not printable"));
            }
            if self.sections[..index].iter().any(|earlier| earlier.tag == *tag) {
                return Err(wrong("two sections have this tag"));
            }
        }
        Ok(())
    }

    /// Length of the file, if it is known.
    fn file_bytes(&self) -> Option<usize> {
        self.iter().try_fold(header_bytes(self.sections.len()), |end, section| {
            end.checked_next_multiple_of(ALIGNMENT)?.checked_add(section.bytes.len())
        })
    }
}

/// What the table tells of a section, before it is believed.
struct Entry {
    tag: Tag,
    flags: u32,
    offset: u64,
    length: u64,
    sha256: [u8; 32],
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            tag: Tag(reader.array()?),
            flags: reader.u32()?,
            offset: reader.u64()?,
            length: reader.u64()?,
            sha256: reader.array()?,
        })
    }

    /// The section in the file `bytes`, behind what ends at byte `before`.
    fn section<'a>(&self, bytes: &'a [u8], before: usize) -> Result<Section<'a>> {
        if self.flags & !REQUIRED != 0 {
            let message = format!("flags {:#x}, but this build knows bit 0 alone", self.flags);
            return Err(self.wrong(message, UPDATE));
        }
        let (padding, content) = self.cut(bytes, before)?;
        if padding.iter().any(|&byte| byte != 0) {
            let message =
                format!("the {} bytes from byte {before}, before it, are not all zero", padding.len());
            return Err(self.wrong(message, COPY_AGAIN));
        }
        if sha256(content) != self.sha256 {
            return Err(self.wrong("the checksum does not match: the file is damaged", COPY_AGAIN));
        }
        Ok(Section { tag: self.tag, required: self.flags & REQUIRED != 0, bytes: content })
    }

    /// The zeros before the section, and its content.
    fn cut<'a>(&self, bytes: &'a [u8], before: usize) -> Result<(&'a [u8], &'a [u8])> {
        let start = aligned(before);
        if self.offset != start as u64 {
            let message = format!("it begins at byte {}, but its place is byte {start}", self.offset);
            return Err(self.wrong(message, MAKE_AGAIN));
        }
        let end = usize::try_from(self.length).ok().and_then(|length| start.checked_add(length));
        let content = end.and_then(|end| bytes.get(start..end));
        bytes.get(before..start).zip(content).ok_or_else(|| {
            let (length, file) = (self.length, bytes.len());
            let message = format!("{length} bytes from byte {start}, but the file ends at byte {file}");
            self.wrong(message, MAKE_AGAIN)
        })
    }

    fn wrong(&self, message: impl Into<String>, next_step: &str) -> Error {
        Error::new(ErrorKind::Model, message).field(self.tag.to_string()).next_step(next_step)
    }
}

/// The table of a file whose header is whole.
fn read_header(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut reader = BUNDLE.open(bytes)?;
    let count = reader.u32()? as usize;
    if count > MAX_SECTIONS {
        return Err(reader.wrong(too_many(count)));
    }
    let (length, declared) = (bytes.len(), reader.u64()?);
    if length as u64 != declared {
        let what = if (length as u64) < declared { "cut off" } else { "damaged" };
        let message =
            format!("the header declares {declared} bytes, but {length} are there: the file is {what}");
        return Err(reader.wrong(message));
    }
    if length > MAX_FILE_BYTES {
        return Err(reader.wrong(format!("a file of {length} bytes, but {MAX_FILE_BYTES} is the most")));
    }
    let entries: Vec<Entry> = (0..count).map(|_| Entry::read(&mut reader)).collect::<Result<_>>()?;
    let expected = sha256(reader.passed());
    if reader.array()? != expected {
        return Err(reader.wrong("the header's checksum does not match: the file is damaged"));
    }
    Ok(entries)
}

fn too_many(count: usize) -> String {
    format!("{count} sections, but {MAX_SECTIONS} is the most")
}

/// Bytes before the first section's zeros.
fn header_bytes(sections: usize) -> usize {
    24 + ENTRY_BYTES * sections + 32
}

/// Where a section begins that follows what ends at `end`.
fn aligned(end: usize) -> usize {
    end.next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREES: Tag = Tag(*b"TREE");
    const APPS: Tag = Tag(*b"APPS");
    const NOTE: Tag = Tag(*b"NOTE");

    fn section(tag: Tag, bytes: &[u8]) -> Section<'_> {
        Section { tag, required: tag != NOTE, bytes }
    }

    fn file(sections: &[Section<'_>]) -> Vec<u8> {
        Sections::new(sections.to_vec()).unwrap().to_bytes()
    }

    /// Three sections: a full line of cache and a byte, nothing, and four letters.
    fn good() -> Vec<u8> {
        file(&[section(TREES, &[7; 65]), section(NOTE, b""), section(APPS, b"Mail")])
    }

    /// Where the good file's header ends, and where its sections begin.
    const HEADER_END: usize = 24 + 3 * 56 + 32;
    const STARTS: [usize; 3] = [256, 384, 384];

    /// The header's checksum made to fit again.
    fn resealed(mut file: Vec<u8>) -> Vec<u8> {
        let checksum = sha256(&file[..HEADER_END - 32]);
        file[HEADER_END - 32..HEADER_END].copy_from_slice(&checksum);
        file
    }

    /// The error that refuses `file`, which must advise something.
    fn refusal(file: &[u8], what: &str) -> String {
        let error = Sections::parse(file).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Model, "{what}");
        let message = error.to_string();
        assert!(message.starts_with("field `") && message.contains("; "), "{what}: {message}");
        message
    }

    #[test]
    fn sections_come_back_aligned_and_in_order() {
        let cases: [&[usize]; 9] =
            [&[], &[0], &[1], &[64], &[0, 0, 0], &[63, 64, 65], &[1, 0, 128, 0], &[100_000, 3], &[5; 64]];
        for lengths in cases {
            let contents: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![0xa5; length]).collect();
            let tag = |index: usize| Tag([b'S', b'0' + (index / 10) as u8, b'0' + (index % 10) as u8, b'!']);
            let sections: Vec<Section<'_>> = (0..)
                .zip(&contents)
                .map(|(index, bytes)| Section { tag: tag(index), required: index % 2 == 0, bytes })
                .collect();
            let file = file(&sections);
            let again = Sections::parse(&file).unwrap();
            assert!(again.iter().eq(&sections), "{lengths:?}");
            assert_eq!(again.to_bytes(), file, "{lengths:?}: the same sections, the same bytes");
            for read in again.iter() {
                let start = read.bytes.as_ptr().addr() - file.as_ptr().addr();
                assert_eq!(start % ALIGNMENT, 0, "{lengths:?}");
                assert_eq!(read.sha256(), sha256(read.bytes));
            }
            let last = lengths.len().checked_sub(1);
            assert_eq!(last.map(|last| again.section(tag(last)).unwrap().len()), lengths.last().copied());
        }
    }

    /// The layout above, written once by hand.
    #[test]
    fn the_layout_is_as_documented() {
        let file = file(&[section(APPS, b"Mail"), section(NOTE, b"")]);
        let (mail, nothing) = (sha256(b"Mail"), sha256(b""));
        let header = [
            &b"\x89FTAP\r\n\x1a\x01\0\0\0\x02\0\0\0\0\x01\0\0\0\0\0\0"[..],
            &b"APPS\x01\0\0\0\xc0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0"[..],
            &mail,
            &b"NOTE\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            &nothing,
        ]
        .concat();
        let expected = [&header[..], &sha256(&header), &[0; 24], &b"Mail"[..], &[0; 60]].concat();
        assert_eq!(file, expected);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let good = good();
        for bit in 0..8 * good.len() {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refusal(&flipped, &format!("bit {bit}"));
        }
    }

    #[test]
    fn every_cut_and_every_extension_is_refused() {
        let good = good();
        for length in 0..good.len() {
            let message = refusal(&good[..length], &format!("{length} bytes"));
            assert!(length < 24 || message.contains("cut off"), "{length} bytes: {message}");
            // And with a header that tells the new length.
            if length >= HEADER_END {
                let mut cut = good[..length].to_vec();
                cut[16..24].copy_from_slice(&(length as u64).to_le_bytes());
                refusal(&resealed(cut), &format!("{length} bytes, as the header tells"));
            }
        }
        for more in [1, 63, 64, 1_000] {
            let mut longer = good.clone();
            longer.resize(good.len() + more, 0);
            assert!(refusal(&longer, "longer").contains("damaged"));
            longer[16..24].copy_from_slice(&((good.len() + more) as u64).to_le_bytes());
            let message = refusal(&resealed(longer), "longer, as the header tells");
            assert!(message.contains("the sections end at byte 388"), "{message}");
        }
    }

    #[test]
    fn lies_in_the_header_are_refused() {
        struct Case {
            what: &'static str,
            edit: fn(&mut Vec<u8>),
            says: &'static [&'static str],
        }
        const FIRST: usize = 24;
        const SECOND: usize = 24 + 56;
        const THIRD: usize = 24 + 2 * 56;
        const FLAGS: usize = 4;
        const OFFSET: usize = 8;
        const LENGTH: usize = 16;
        const CHECKSUM: usize = 24;
        fn put(file: &mut [u8], at: usize, number: u64) {
            file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        fn swap(file: &mut [u8], one: usize, other: usize, length: usize) {
            (0..length).for_each(|byte| file.swap(one + byte, other + byte));
        }
        let case = |what, edit, says| Case { what, edit, says };
        let cases = [
            case(
                "a later version",
                |f| f[8] = 2,
                &["bundle version 2", "this build reads 1", "update foretap"],
            ),
            case("version 0", |f| f[8] = 0, &["bundle version 0", "make the file again"]),
            case("65 sections", |f| f[12] = 65, &["65 sections, but 64 is the most"]),
            case("endless sections", |f| f[12..16].fill(0xff), &["4294967295 sections"]),
            case("a section more", |f| f[12] = 4, &["checksum"]),
            case("a section less", |f| f[12] = 2, &["checksum"]),
            case("no section", |f| f[12] = 0, &["checksum"]),
            case("a longer file", |f| put(f, 16, 389), &["389 bytes, but 388 are there", "cut off"]),
            case("a shorter file", |f| put(f, 16, 387), &["387 bytes, but 388 are there", "damaged"]),
            case("an endless file", |f| put(f, 16, u64::MAX), &["cut off", "copy the file again"]),
            case("a tag that is not printable", |f| f[FIRST] = 7, &["field `\\x07REE`", "not printable"]),
            case("a tag with a blank", |f| f[FIRST] = b' ', &["not printable"]),
            case("a tag twice", |f| f.copy_within(FIRST..FIRST + 4, THIRD), &["`TREE`", "two sections"]),
            case("an unknown flag", |f| f[FIRST + FLAGS] = 3, &["`TREE`", "flags 0x3", "update foretap"]),
            case("the highest flag", |f| f[FIRST + FLAGS + 3] = 0x80, &["flags 0x80000001"]),
            case("a byte later", |f| put(f, FIRST + OFFSET, 257), &["begins at byte 257", "byte 256"]),
            case("a line later", |f| put(f, FIRST + OFFSET, 320), &["begins at byte 320"]),
            case("in the header", |f| put(f, FIRST + OFFSET, 0), &["begins at byte 0"]),
            case(
                "overlapping",
                |f| put(f, THIRD + OFFSET, 256),
                &["`APPS`", "begins at byte 256", "byte 384"],
            ),
            case(
                "beyond everything",
                |f| put(f, SECOND + OFFSET, u64::MAX),
                &["`NOTE`", "18446744073709551615"],
            ),
            case("a byte longer", |f| put(f, FIRST + LENGTH, 66), &["`TREE`", "checksum", "copy the file"]),
            case("a line longer", |f| put(f, FIRST + LENGTH, 129), &["`TREE`", "checksum"]),
            case("a byte shorter", |f| put(f, FIRST + LENGTH, 64), &["`TREE`", "checksum"]),
            case(
                "longer than the file",
                |f| put(f, THIRD + LENGTH, 5),
                &["5 bytes from byte 384", "ends at byte 388"],
            ),
            case("endless", |f| put(f, THIRD + LENGTH, u64::MAX), &["`APPS`", "ends at byte 388"]),
            case("wrapping around", |f| put(f, THIRD + LENGTH, u64::MAX - 383), &["ends at byte 388"]),
            case("the last one shorter", |f| put(f, THIRD + LENGTH, 3), &["`APPS`", "checksum"]),
            case("another checksum", |f| f[SECOND + CHECKSUM] ^= 1, &["`NOTE`", "checksum"]),
            case("entries swapped", |f| swap(f, FIRST, THIRD, 56), &["`APPS`", "begins at byte 384"]),
            case("places swapped", |f| swap(f, FIRST + OFFSET, THIRD + OFFSET, 16), &["begins at byte 384"]),
            case(
                "checksums swapped",
                |f| swap(f, FIRST + CHECKSUM, THIRD + CHECKSUM, 32),
                &["`TREE`", "checksum"],
            ),
            case("contents swapped", |f| swap(f, STARTS[0], STARTS[2], 4), &["`TREE`", "checksum"]),
            case(
                "padding before the first",
                |f| f[HEADER_END] = 1,
                &["the 32 bytes from byte 224", "not all zero"],
            ),
            case("padding before the second", |f| f[383] = 0x80, &["`NOTE`", "the 63 bytes from byte 321"]),
        ];
        for Case { what, edit, says } in cases {
            let mut file = good();
            edit(&mut file);
            let message = refusal(&resealed(file), what);
            for part in says {
                assert!(message.contains(part), "{what}: `{part}` is missing in: {message}");
            }
        }
        assert!(Sections::parse(&resealed(good())).is_ok(), "the helper seals as the writer does");
    }

    #[test]
    fn what_makes_no_file_is_refused() {
        let numbered: Vec<[u8; 4]> =
            (0..65).map(|index| [b'S', b'0' + index / 10, b'0' + index % 10, b'!']).collect();
        let many = numbered.iter().map(|&tag| section(Tag(tag), b"")).collect();
        for (what, sections, says) in [
            ("65 sections", many, "65 sections, but 64 is the most; leave some out"),
            (
                "a tag twice",
                vec![section(APPS, b""), section(APPS, b"")],
                "field `APPS`: two sections have this tag",
            ),
            ("a blank", vec![section(Tag(*b"A PP"), b"")], "field `A PP`: a tag that is not printable"),
            ("zeros", vec![section(Tag([0; 4]), b"")], "field `\\x00\\x00\\x00\\x00`: a tag that is not"),
            ("no ASCII", vec![section(Tag([0xc3, 0xa4, b'a', b'a']), b"")], "a tag that is not printable"),
        ] {
            let message = Sections::new(sections).expect_err(what).to_string();
            assert!(message.contains(says) && message.contains("; "), "{what}: {message}");
        }
    }

    /// As many references to the same bytes as it takes.
    #[test]
    fn what_is_too_large_is_refused() {
        let bytes = vec![0; 512 << 20];
        let sections = |lengths: [usize; 2]| {
            let [trees, apps] = lengths.map(|length| &bytes[..length]);
            Sections::new(vec![section(TREES, trees), section(APPS, apps)])
        };
        assert!(sections([512 << 20, 511 << 20]).is_ok());
        let message = sections([512 << 20, 512 << 20]).unwrap_err().to_string();
        assert!(message.contains("larger than 1073741824 bytes; leave"), "{message}");
    }

    #[test]
    fn sections_are_known_or_skipped_or_refused() {
        let file = good();
        let sections = Sections::parse(&file).unwrap();
        assert_eq!(sections.require(APPS).unwrap(), b"Mail");
        assert_eq!(sections.reader(APPS).unwrap().bytes(4).unwrap(), b"Mail");
        assert_eq!(sections.section(Tag(*b"none")), None);
        let message = sections.require(Tag(*b"none")).unwrap_err().to_string();
        assert!(message.starts_with("field `none`: this section is missing; make"), "{message}");
        for (known, refused) in [
            (&[TREES, APPS, NOTE][..], None),
            (&[APPS, TREES, Tag(*b"MORE")], None), // the note is not required
            (&[TREES], Some("`APPS`")),
            (&[], Some("`TREE`")),
        ] {
            match (sections.check_known(known), refused) {
                (Ok(()), None) => {}
                (Err(error), Some(tag)) => {
                    let message = error.to_string();
                    assert!(message.contains(tag) && message.ends_with("; update foretap"), "{message}");
                }
                (result, _) => panic!("{known:?}: {result:?}"),
            }
        }
    }
}
