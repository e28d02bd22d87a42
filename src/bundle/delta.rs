//! What changed between two bundles, so that a phone fetches a patch rather than the whole file.
//!
//! # Layout
//!
//! ```text
//! byte  size  what
//! 0     8     89 46 44 49 46 0D 0A 1A: "\x89FDIF\r\n\x1a"
//! 8     4     version: 1
//! 12    32    SHA-256 of all bytes after this
//! 44    8     the base's length in bytes
//! 52    32    the base's SHA-256
//! 84    8     the target's length in bytes, at most 2^30
//! 92    32    the target's SHA-256
//! 124   4     how many sections the target has
//! 128         the target's sections, in its order:
//!               4   tag
//!               1   1 if required, else 0
//!               1   how its bytes are encoded: 0 same, 1 difference, 2 literal
//!               and unless it is the same as the base's:
//!               4   its length in bytes
//!               4   bytes of the stream that follows
//!                   a raw DEFLATE stream (RFC 1951) of as many bytes as the section has
//! ```
//!
//! A *difference* is taken from the base's section of the same tag, byte by byte and modulo 256, as far as that one
//! reaches; what is longer is told literally. Where little changed, it is mostly zeros. Of difference and literal, the
//! smaller stands in the patch.
//!
//! Nothing else of the target needs telling: its sections make its bytes ([container](super::container)).

use std::borrow::Cow;
use std::fmt;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::container::{Section, Sections, Tag};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::codec::{Put as _, Reader};
use crate::storage::format::{MAKE_AGAIN, MAX_FILE_BYTES, PATCH, sha256};

const SAME: u8 = 0;
const DIFFERENCE: u8 = 1;
const LITERAL: u8 = 2;

/// Tag, whether required, and how the bytes are encoded: what every section takes in a patch.
const CHANGE_BYTES: usize = 6;

const FETCH_WHOLE: &str = "fetch the whole new bundle instead of a patch";

/// The patch that leads from the bundle `base` to the bundle `target`.
///
/// # Errors
/// One of them is no bundle that this build reads; the error says which.
pub fn diff(base: &[u8], target: &[u8]) -> Result<Vec<u8>> {
    let parse = |bytes, which: &str| {
        let named = |error| Error::new(ErrorKind::Model, format!("the {which} of the patch: {error}"));
        Sections::parse(bytes).map_err(named)
    };
    let (from, to) = (parse(base, "base")?, parse(target, "target")?);
    let mut body = Vec::new();
    Fingerprint::of(base).write(&mut body);
    Fingerprint::of(target).write(&mut body);
    body.put_count(to.iter().len())?;
    for section in to.iter() {
        write_change(&mut body, section, from.section(section.tag))?;
    }
    let mut patch = PATCH.preamble();
    patch.put(&sha256(&body));
    patch.put(&body);
    Ok(patch)
}

/// The bundle that `patch` makes of the bundle `base`: the target, to the byte.
///
/// What is allocated grows as the patch's data arrive, but never past the lengths that it tells, nor those past 1 GiB.
///
/// # Errors
/// [`ErrorKind::Model`]: the patch is damaged or of another version, or made for another base: the error says for
/// which.
pub fn apply(base: &[u8], patch: &[u8]) -> Result<Vec<u8>> {
    let mut reader = open(patch)?;
    let from = Fingerprint::read(&mut reader)?;
    let to = Fingerprint::read(&mut reader)?;
    check_base(Fingerprint::of(base), from, to)?;
    if to.length > MAX_FILE_BYTES as u64 {
        let message = format!("a bundle of {} bytes, but {MAX_FILE_BYTES} is the most", to.length);
        return Err(reader.wrong(message));
    }
    let base = Sections::parse(base)?;
    let contents = read_changes(reader, &base, to.length as usize)?;
    let target = assembled(&contents)?;
    if Fingerprint::of(&target) != to {
        let message = format!("the patch promises the bundle {to}, but makes {}", Fingerprint::of(&target));
        return Err(Error::new(ErrorKind::Model, message).field(PATCH.name).next_step(FETCH_WHOLE));
    }
    Ok(target)
}

/// A patch whose bits are all as they were written, behind its checksum.
fn open(patch: &[u8]) -> Result<Reader<'_>> {
    let mut reader = PATCH.open(patch)?;
    let checksum: [u8; 32] = reader.array()?;
    if checksum != sha256(reader.rest()) {
        return Err(reader.wrong("the checksum does not match: the patch is cut off or damaged"));
    }
    reader.advise(FETCH_WHOLE);
    Ok(reader)
}

/// Refuses every base but the one that the patch was made for.
fn check_base(base: Fingerprint, from: Fingerprint, to: Fingerprint) -> Result<()> {
    if base == from {
        return Ok(());
    }
    let wrong = |message: String, next_step: &str| {
        Err(Error::new(ErrorKind::Model, message).field(PATCH.name).next_step(next_step))
    };
    if base == to {
        return wrong(format!("this bundle is already {to}, which the patch leads to"), "keep it as it is");
    }
    wrong(
        format!("the patch is for the bundle {from}, but this one is {base}"),
        "apply it to that bundle, or fetch the whole new one",
    )
}

/// What tells a file from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    length: u64,
    sha256: [u8; 32],
}

impl Fingerprint {
    fn of(file: &[u8]) -> Self {
        Self { length: file.len() as u64, sha256: sha256(file) }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { length: reader.u64()?, sha256: reader.array()? })
    }

    fn write(self, out: &mut Vec<u8>) {
        out.put_u64(self.length);
        out.put(&self.sha256);
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.sha256;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x} ({} bytes)", self.length)
    }
}

/// Tells `section`, where the base has `old` under its tag.
fn write_change(body: &mut Vec<u8>, section: &Section<'_>, old: Option<&[u8]>) -> Result<()> {
    body.put(&section.tag.0);
    body.put_bool(section.required);
    if old == Some(section.bytes) {
        body.put_u8(SAME);
        return Ok(());
    }
    let literal = deflated(section.bytes)?;
    let difference = old.map(|old| deflated(&difference(section.bytes, old))).transpose()?;
    let (change, stream) = match difference {
        Some(difference) if difference.len() < literal.len() => (DIFFERENCE, difference),
        _ => (LITERAL, literal),
    };
    body.put_u8(change);
    body.put_count(section.bytes.len())?;
    body.put_count(stream.len())?;
    body.put(&stream);
    Ok(())
}

/// A section of the target: from the base, or from the patch.
type Content<'a> = (Tag, bool, Cow<'a, [u8]>);

/// The sections of a target of `length` bytes.
fn read_changes<'a>(mut reader: Reader<'_>, base: &Sections<'a>, length: usize) -> Result<Vec<Content<'a>>> {
    let mut contents = Vec::new();
    let mut left = length;
    for _ in 0..reader.count(CHANGE_BYTES)? {
        let content = read_change(&mut reader, base, left)?;
        left = left.saturating_sub(content.2.len());
        contents.push(content);
    }
    reader.finish()?;
    Ok(contents)
}

/// The bundle of these sections.
fn assembled(contents: &[Content<'_>]) -> Result<Vec<u8>> {
    let sections =
        contents.iter().map(|(tag, required, bytes)| Section { tag: *tag, required: *required, bytes });
    let sections = Sections::new(sections.collect()).map_err(|error| error.next_step(FETCH_WHOLE))?;
    Ok(sections.to_bytes())
}

/// The next section, of at most `left` bytes.
fn read_change<'a>(reader: &mut Reader<'_>, base: &Sections<'a>, left: usize) -> Result<Content<'a>> {
    let tag = Tag(reader.array()?);
    let required = reader.bool()?;
    let change = reader.u8()?;
    let old = base.section(tag);
    let unknown = || reader.wrong(format!("the base has no section `{tag}`"));
    let bytes = match change {
        SAME => Cow::Borrowed(old.ok_or_else(unknown)?),
        DIFFERENCE => {
            let old = old.ok_or_else(unknown)?;
            let mut bytes = read_stream(reader, left)?;
            add(&mut bytes, old);
            Cow::Owned(bytes)
        }
        LITERAL => Cow::Owned(read_stream(reader, left)?),
        other => return Err(reader.wrong(format!("section `{tag}` is encoded in an unknown way, {other}"))),
    };
    Ok((tag, required, bytes))
}

/// What a stream unpacks to, at most `left` bytes.
fn read_stream(reader: &mut Reader<'_>, left: usize) -> Result<Vec<u8>> {
    let length = reader.u32()? as usize;
    if length > left {
        return Err(reader.wrong(format!("a section of {length} bytes where the bundle has room for {left}")));
    }
    let stream_bytes = reader.count(1)?;
    let stream = reader.bytes(stream_bytes)?;
    inflated(stream, length)
        .ok_or_else(|| reader.wrong(format!("a stream that does not unpack to the promised {length} bytes")))
}

/// The `length` bytes that all of `stream` unpacks to, if it does. Memory grows with what comes out, and one byte more
/// than promised ends it: a small patch cannot fill the memory.
fn inflated(stream: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut decoder = DeflateDecoder::new(stream);
    let mut bytes = Vec::new();
    decoder.by_ref().take(length as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() == length && decoder.get_ref().is_empty()).then_some(bytes)
}

fn deflated(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| {
        Error::new(ErrorKind::Model, "a section cannot be deflated").next_step(MAKE_AGAIN).source(error)
    })
}

/// `new` minus `old` as far as both reach, then the rest of `new`.
fn difference(new: &[u8], old: &[u8]) -> Vec<u8> {
    let mut bytes = new.to_vec();
    bytes.iter_mut().zip(old).for_each(|(byte, old)| *byte = byte.wrapping_sub(*old));
    bytes
}

/// Undoes [`difference`].
fn add(difference: &mut [u8], old: &[u8]) {
    difference.iter_mut().zip(old).for_each(|(byte, old)| *byte = byte.wrapping_add(*old));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREES: Tag = Tag(*b"TREE");
    const APPS: Tag = Tag(*b"APPS");
    const NOTE: Tag = Tag(*b"NOTE");

    /// A bundle of these sections, all required but the note.
    fn bundle(sections: &[(Tag, &[u8])]) -> Vec<u8> {
        let section = |&(tag, bytes)| Section { tag, required: tag != NOTE, bytes };
        Sections::new(sections.iter().map(section).collect()).unwrap().to_bytes()
    }

    /// Bytes that DEFLATE makes nothing of.
    fn noise(seed: u8, length: usize) -> Vec<u8> {
        (0_u32..)
            .flat_map(|block| sha256(&[&[seed], &block.to_le_bytes()[..]].concat()))
            .take(length)
            .collect()
    }

    /// `patch` with its body edited, and a checksum that fits again.
    fn edited(patch: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut body = patch[44..].to_vec();
        edit(&mut body);
        [&patch[..12], &sha256(&body), &body].concat()
    }

    #[test]
    fn patches_lead_from_any_bundle_to_any_other() {
        let (trees, moved) = (noise(1, 9_000), {
            let mut trees = noise(1, 9_000);
            trees.iter_mut().step_by(10).for_each(|byte| *byte = byte.wrapping_add(1));
            trees
        });
        let bundles = [
            bundle(&[]),
            bundle(&[(TREES, &trees)]),
            bundle(&[(TREES, &moved)]),
            bundle(&[(TREES, &[])]),
            bundle(&[(TREES, &trees[..4_000])]),
            bundle(&[(TREES, &[&trees[..], &noise(2, 500)].concat())]),
            bundle(&[(TREES, &trees), (APPS, b"Mail Maps"), (NOTE, b"")]),
            bundle(&[(NOTE, b"May"), (APPS, b"Mail Maps Tides"), (TREES, &moved)]),
            bundle(&[(APPS, &trees)]),
        ];
        for (from, base) in bundles.iter().enumerate() {
            for (to, target) in bundles.iter().enumerate() {
                let patch = diff(base, target).unwrap();
                assert_eq!(&apply(base, &patch).unwrap(), target, "{from} -> {to}");
                assert_eq!(diff(base, target).unwrap(), patch, "the same again");
                assert!(patch.len() < target.len() + 150, "{from} -> {to}: {} bytes", patch.len());
                for (other, wrong) in bundles.iter().enumerate().filter(|(other, _)| *other != from) {
                    let message = apply(wrong, &patch).unwrap_err().to_string();
                    let expected = if other == to { "already" } else { &Fingerprint::of(base).to_string() };
                    assert!(message.contains(expected), "{from} -> {to}, on {other}: {message}");
                }
            }
        }
    }

    #[test]
    fn whether_a_section_is_required_may_change() {
        let with = |required| {
            let section = Section { tag: APPS, required, bytes: b"Mail" };
            Sections::new(vec![section]).unwrap().to_bytes()
        };
        let (base, target) = (with(true), with(false));
        assert_eq!(apply(&base, &diff(&base, &target).unwrap()).unwrap(), target);
    }

    #[test]
    fn what_stays_costs_little() {
        let trees = noise(1, 200_000);
        let mut one_changed = trees.clone();
        one_changed[123_456] ^= 1;
        let longer = [&trees[..], &noise(2, 1_000)].concat();
        let base = bundle(&[(TREES, &trees), (APPS, b"Mail")]);
        for (what, target, most_bytes) in [
            ("itself", bundle(&[(TREES, &trees), (APPS, b"Mail")]), 150),
            ("one byte changed", bundle(&[(TREES, &one_changed), (APPS, b"Mail")]), 500),
            ("another order", bundle(&[(APPS, b"Mail"), (TREES, &trees)]), 150),
            ("a section less", bundle(&[(APPS, b"Mail")]), 150),
            ("cut", bundle(&[(TREES, &trees[..199_000]), (APPS, b"Mail")]), 500),
            ("a thousand bytes longer", bundle(&[(TREES, &longer), (APPS, b"Mail")]), 1_600),
        ] {
            let patch = diff(&base, &target).unwrap();
            assert!(patch.len() < most_bytes, "{what}: {} bytes", patch.len());
            assert_eq!(apply(&base, &patch).unwrap(), target, "{what}");
        }
    }

    #[test]
    fn the_smaller_of_difference_and_literal_is_told() {
        let encoded_as = |old: &[u8], new: &[u8]| {
            let patch = diff(&bundle(&[(TREES, old)]), &bundle(&[(TREES, new)])).unwrap();
            patch[128 + 5]
        };
        let weights = noise(1, 1_000);
        let nudged: Vec<u8> = weights.iter().map(|byte| byte.wrapping_add(3)).collect();
        assert_eq!(encoded_as(&weights, &weights), SAME);
        assert_eq!(encoded_as(&weights, &nudged), DIFFERENCE);
        assert_eq!(encoded_as(&weights, &[0; 1_000]), LITERAL);
        assert_eq!(encoded_as(&weights, &noise(2, 1_000)), LITERAL);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let base = bundle(&[(TREES, &noise(1, 300)), (APPS, b"Mail")]);
        let target = bundle(&[(TREES, &noise(1, 290)), (APPS, b"Maps"), (NOTE, b"May")]);
        let patch = diff(&base, &target).unwrap();
        let refused = |patch: &[u8], what: &str| {
            let message = apply(&base, patch).expect_err(what).to_string();
            assert!(message.starts_with("field `") && message.contains("; "), "{what}: {message}");
        };
        for bit in 0..8 * patch.len() {
            let mut flipped = patch.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped, &format!("bit {bit}"));
            // Deeper checks, behind a checksum that fits again: one finds it, or the flip makes no difference, as in
            // the bits that DEFLATE leaves unused behind its last block.
            if bit >= 8 * 44 {
                let flipped = edited(&flipped, |_| ());
                assert!(
                    apply(&base, &flipped).is_ok_and(|made| made == target)
                        || apply(&base, &flipped).is_err()
                );
            }
        }
        for length in 0..patch.len() {
            refused(&patch[..length], &format!("{length} bytes"));
            if length >= 44 {
                refused(&edited(&patch[..length], |_| ()), &format!("{length} bytes, the checksum fits"));
            }
        }
        refused(&[&patch[..], &[0]].concat(), "one byte more");
        refused(&edited(&patch, |body| body.push(0)), "one byte more, the checksum fits");
    }

    #[test]
    fn patches_that_lie_are_refused() {
        struct Case {
            what: &'static str,
            /// Edits the patch behind its checksum: byte 44 of the file is byte 0 here.
            edit: fn(&mut Vec<u8>),
            says: &'static str,
        }
        // Where the first section's fields are.
        const TAG: usize = 84;
        const REQUIRED: usize = 88;
        const CHANGE: usize = 89;
        const LENGTH: usize = 90;
        const STREAM: usize = 94;
        fn put(body: &mut [u8], at: usize, bytes: &[u8]) {
            body[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let case = |what, edit, says| Case { what, edit, says };
        let cases = [
            case("another base", |b| b[0] ^= 1, "the patch is for the bundle"),
            case("a huge target", |b| put(b, 40, &[0xff; 8]), "a bundle of 18446744073709551615 bytes"),
            case(
                "a target just too large",
                |b| put(b, 40, &((1_u64 << 30) + 1).to_le_bytes()),
                "is the most",
            ),
            case("a larger target", |b| b[40] ^= 1, "the patch promises the bundle"),
            case("a smaller target", |b| put(b, 40, &[9, 0, 0]), "where the bundle has room for 9"),
            case("another target", |b| b[48] ^= 1, "the patch promises the bundle"),
            case("endless sections", |b| put(b, 80, &[0xff; 4]), "4294967295 elements"),
            case("a section more", |b| b[80] += 1, "4 bytes are asked for, but 0 are left"),
            case("a section less", |b| b[80] -= 1, "bytes too many"),
            case("an unknown tag", |b| b[TAG] = b'?', "the base has no section `?REE`"),
            case("a tag twice", |b| put(b, TAG, b"APPS"), "two sections have this tag"),
            case("neither required nor not", |b| b[REQUIRED] = 2, "2 where 0 or 1"),
            case("optional now", |b| b[REQUIRED] = 0, "the patch promises the bundle"),
            case("encoded in a new way", |b| b[CHANGE] = 3, "encoded in an unknown way, 3"),
            case("literal for difference", |b| b[CHANGE] = LITERAL, "the patch promises the bundle"),
            case("same for difference", |b| b[CHANGE] = SAME, "at byte "),
            case("a huge section", |b| put(b, LENGTH, &[0xff; 4]), "a section of 4294967295 bytes"),
            case("a longer section", |b| b[LENGTH] += 1, "does not unpack to the promised"),
            case("a shorter section", |b| b[LENGTH] -= 1, "does not unpack to the promised"),
            case("an endless stream", |b| put(b, STREAM, &[0xff; 4]), "4294967295 elements"),
            case("a shorter stream", |b| b[STREAM] -= 1, "does not unpack to the promised"),
            case("a longer stream", |b| b[STREAM] += 1, "does not unpack to the promised"),
            case("no DEFLATE", |b| b[STREAM + 4] = 0xff, "does not unpack to the promised"),
        ];
        let base = bundle(&[(TREES, &noise(1, 1_000)), (APPS, b"Mail")]);
        let mut trees = noise(1, 1_000);
        trees[500] += 1;
        let patch = diff(&base, &bundle(&[(TREES, &trees), (APPS, b"Maps")])).unwrap();
        assert_eq!(patch[44 + CHANGE], DIFFERENCE);
        for Case { what, edit, says } in cases {
            let message = apply(&base, &edited(&patch, edit)).expect_err(what).to_string();
            assert!(message.contains(says) && message.contains("; "), "{what}: {message}");
        }
    }

    #[test]
    fn what_is_no_bundle_or_no_patch_is_refused() {
        let base = bundle(&[(TREES, b"trees")]);
        let patch = diff(&base, &base).unwrap();
        let mut newer = patch.clone();
        newer[8] = 2;
        for (what, result, says) in [
            (
                "no base",
                diff(b"", &base),
                "the base of the patch: field `bundle`: this is not a foretap bundle",
            ),
            (
                "no target",
                diff(&base, &base[1..]),
                "the target of the patch: field `bundle`: the first bytes of this bundle are damaged",
            ),
            ("a patch as target", diff(&base, &patch), "this is a patch; name a bundle"),
            ("a bundle as patch", apply(&base, &base), "this is a bundle; name a patch"),
            ("no patch", apply(&base, b""), "this is not a foretap patch"),
            (
                "a later patch",
                apply(&base, &newer),
                "patch version 2, but this build reads 1; update foretap",
            ),
        ] {
            let message = result.expect_err(what).to_string();
            assert!(message.contains(says), "{what}: {message}");
        }
    }

    /// 64 MiB of zeros are 64 kB in a patch. What is promised is the most that comes out, however much there is.
    #[test]
    fn streams_unpack_to_no_more_than_promised() {
        let bomb = deflated(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 70_000);
        for promised in [0, 1, 1_000, (64 << 20) - 1] {
            assert_eq!(inflated(&bomb, promised), None, "{promised}");
        }
        assert_eq!(inflated(&bomb, 64 << 20).map(|bytes| bytes.len()), Some(64 << 20));
        assert_eq!(inflated(&bomb, (64 << 20) + 1), None);
        assert_eq!(inflated(&bomb[..bomb.len() / 2], 64 << 20), None);
        assert_eq!(inflated(&[&bomb[..], &[0]].concat(), 64 << 20), None);
    }

    #[test]
    fn differences_are_undone() {
        for (new, old, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[5, 0, 7], &[3, 1, 7], &[2, 255, 0]),
            (&[5, 6, 7], &[5], &[0, 6, 7]),
            (&[5], &[4, 9, 9], &[1]),
        ] {
            let mut bytes = difference(new, old);
            assert_eq!(bytes, expected);
            add(&mut bytes, old);
            assert_eq!(bytes, new);
        }
    }
}
