//! Ten thousand damaged bundles: each is refused with a next step, none panics, and none fills the memory.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod counting;

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::LazyLock;

use counting::peak_bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use foretap::ErrorKind;
use foretap::bundle::{Bundle, BundleContents, Put as _, Section, Sections, Tag, apply, diff};
use foretap::context::Task;
use foretap::context::features::SCHEMA;
use foretap::gbdt::{Child, Ensemble, SplitCondition, SplitNode, Tree};
use foretap::quantize::{QuantizedTrees, quantize};
use foretap::router::RouterModel;
use foretap::transformer::{Standardisation, TransformerConfig, TransformerModel, Weights};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// The loader under test: all that is done to a file before it is believed.
fn load(bytes: &[u8]) -> foretap::Result<()> {
    Bundle::from_bytes(bytes).map(drop)
}

/// As what goes to a phone: a student, 300 trees, names, golden questions, and sections that are optional, unknown or
/// empty.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| bundle(1));

fn bundle(seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let apps: Vec<String> = (0..100).map(|app| format!("app.number.{app}")).collect();
    let config = TransformerConfig::student(Task::FirstAfterUnlock, apps.len());
    let columns = Standardisation::none(&config);
    let weights = Weights::random(config, &mut rng).unwrap();
    let student = TransformerModel { weights, apps: apps.clone(), temperature: 1.07, columns };
    let trees = (0..300).map(|_| tree(&mut rng)).collect();
    let features = SCHEMA.iter().map(|feature| feature.name.to_owned()).collect();
    let trees = Ensemble { features, ..Ensemble::new(trees, SCHEMA.len()) };
    let bundle = Bundle::new(BundleContents {
        task: Task::FirstAfterUnlock,
        apps,
        student: Some(quantize(&student).unwrap()),
        trees: Some((QuantizedTrees::new(&trees).unwrap(), 0.9)),
        router: Some(RouterModel::unfitted([0.9, 1.07]).unwrap()),
        card: serde_json::Map::new(),
    });
    let bytes = bundle.unwrap().to_bytes().unwrap();
    let sections = Sections::parse(&bytes).unwrap();
    let mut all: Vec<Section<'_>> = sections.iter().copied().collect();
    let mut more = vec![0; 1_000];
    rng.fill_bytes(&mut more);
    all.insert(4, Section { tag: Tag(*b"MORE"), required: false, bytes: &more });
    all.push(Section { tag: Tag(*b"NONE"), required: false, bytes: b"" });
    all.push(Section { tag: Tag(*b"NOTE"), required: false, bytes: b"trained in May" });
    Sections::new(all).unwrap().to_bytes()
}

/// 31 leaves in a row.
fn tree(rng: &mut ChaCha8Rng) -> Tree {
    let split = |node: usize, rng: &mut ChaCha8Rng| SplitNode {
        feature: rng.random_range(0..SCHEMA.len()),
        test: SplitCondition::Threshold((rng.random_range(0..100) as f32 - 50.0) / 10.0),
        missing_left: rng.random(),
        gain: 1.0,
        left: Child::Leaf(node),
        right: if node < 29 { Child::Split(node + 1) } else { Child::Leaf(30) },
    };
    Tree {
        splits: (0..30).map(|node| split(node, rng)).collect(),
        leaf_values: (0..31).map(|_| rng.random_range(-0.3..0.3)).collect(),
        leaf_cover: vec![1.0; 31],
    }
}

#[test]
fn a_whole_bundle_is_small() {
    let bytes = GOOD.len();
    println!("a student of 100 apps, 300 trees of 31 leaves and golden questions: {bytes} bytes");
    assert!(bytes < 500_000, "{bytes}");
}

// Where things stand in a bundle, as `src/bundle/container.rs` tells, and in an entry of its table.
const VERSION: usize = 8;
const COUNT: usize = 12;
const FILE_LENGTH: usize = 16;
const TABLE: usize = 24;
const ENTRY_BYTES: usize = 56;
const FLAGS: usize = 4;
const OFFSET: usize = 8;
const LENGTH: usize = 16;
const CHECKSUM: usize = 24;

/// What an error takes, however small the file is.
const ERROR_BYTES: i64 = 4_096;

/// Its name, and what it does to the good bundle.
type Mutation = (&'static str, fn(&mut ChaCha8Rng, &mut Vec<u8>));

/// Damage as it happens to files.
const DAMAGE: [Mutation; 10] = [
    ("bits flipped", |rng, file| flip_bits(rng, file)),
    ("bits of the header flipped", |rng, file| flip_bits(rng, &mut file[..header_end()])),
    ("cut off", cut),
    ("extended", extend),
    ("a run of one byte", |rng, file| {
        let (run, byte) = (piece(rng, file.len()), rng.random());
        file[run].fill(byte);
    }),
    ("a piece lost", |rng, file| drop(file.drain(piece(rng, file.len())))),
    ("a piece twice", |rng, file| {
        let piece = piece(rng, file.len());
        let again = file[piece.clone()].to_vec();
        drop(file.splice(piece.start..piece.start, again));
    }),
    ("sections swapped", swap_sections),
    ("entries swapped", |rng, file| swap_entries(rng, file)),
    ("a lie in the table", |rng, file| {
        let field = [OFFSET, LENGTH][rng.random_range(0..2)];
        lie(rng, file, field);
    }),
];

/// Lies of whoever writes such files: the header's checksum is made to fit. No section's bytes are changed with its own
/// checksum, because that is simply another bundle.
const LIES: [Mutation; 17] = [
    ("a section begins elsewhere", |rng, file| lie(rng, file, OFFSET)),
    ("a section is of another length", |rng, file| lie(rng, file, LENGTH)),
    ("a section has another checksum", |rng, file| {
        let at = entry(rng) + CHECKSUM;
        flip_bits(rng, &mut file[at..at + 32]);
    }),
    ("entries swapped", |rng, file| swap_entries(rng, file)),
    ("sections swapped", swap_sections),
    ("places swapped", |rng, file| swap_fields(rng, file, OFFSET, 16)),
    ("checksums swapped", |rng, file| swap_fields(rng, file, CHECKSUM, 32)),
    ("a tag twice", |rng, file| {
        let (from, to) = (entry(rng), entry(rng));
        file.copy_within(from..from + 4, to);
    }),
    ("a tag that is not printable", |rng, file| {
        file[entry(rng) + rng.random_range(0..4)] = rng.random_range(0x7f..=0xff);
    }),
    ("a required section that is unknown", |rng, file| {
        let at = entry(rng);
        file[at..at + 4].copy_from_slice(b"ELSE");
        file[at + FLAGS] = 1;
    }),
    ("an unknown flag", |rng, file| file[entry(rng) + FLAGS] |= 1 << rng.random_range(1..8)),
    ("another count of sections", |rng, file| {
        let count = [0, 1, sections() as u32 - 1, sections() as u32 + 1, 64, 65, rng.random(), u32::MAX];
        put(file, COUNT, &count[rng.random_range(0..count.len())].to_le_bytes());
    }),
    ("another length of the file", |rng, file| {
        let told = number(rng, file.len() as u64);
        put(file, FILE_LENGTH, &told.to_le_bytes());
    }),
    ("cut off, and told so", |rng, file| {
        cut(rng, file);
        tell_length(file);
    }),
    ("extended, and told so", |rng, file| {
        extend(rng, file);
        tell_length(file);
    }),
    ("noise between sections", |rng, file| {
        let gaps: Vec<usize> = gaps(file).collect();
        file[gaps[rng.random_range(0..gaps.len())]] = rng.random();
    }),
    ("another version", |rng, file| put(file, VERSION, &rng.random_range(2..=u32::MAX).to_le_bytes())),
];

#[test]
fn ten_thousand_damaged_bundles_are_refused() {
    load(&GOOD).unwrap();
    let mut reasons = BTreeSet::new();
    for index in 0..10_000 {
        let lies = index % 2 == 1;
        let mutations: &[Mutation] = if lies { &LIES } else { &DAMAGE };
        let (name, mutate) = mutations[index / 2 % mutations.len()];
        let what = format!("mutation {index}, {name}{}", if lies { ", checksum made to fit" } else { "" });
        let file = edited(&GOOD, index as u64, |rng, file| {
            mutate(rng, file);
            if lies {
                seal(file);
            }
        });
        let (outcome, bytes) =
            catch_unwind(|| peak_bytes(|| load(&file))).unwrap_or_else(|_| panic!("{what}: a panic"));
        let error = outcome.expect_err(&what);
        assert_eq!(error.kind(), ErrorKind::Model, "{what}: {error}");
        assert!(error.to_string().contains("; "), "{what}: no next step in: {error}");
        assert!(bytes < 4 * file.len() as i64 + ERROR_BYTES, "{what}: {bytes} bytes for {}", file.len());
        reasons.insert(error.to_string());
    }
    // The mutations reach every check.
    for reason in [
        "not a foretap bundle",
        "first bytes of this bundle are damaged",
        "but this build reads 1; update foretap",
        "but 64 is the most",
        "the file is cut off",
        "the file is damaged; copy",
        "bytes are asked for",
        "the header's checksum does not match",
        "this build knows bit 0 alone; update foretap",
        "but its place is byte",
        "but the file ends at byte",
        "are not all zero",
        ": the checksum does not match",
        "the sections end at byte",
        "not printable",
        "two sections have this tag",
        "which this build does not know; update foretap",
    ] {
        assert!(reasons.iter().any(|error| error.contains(reason)), "nothing was refused because `{reason}`");
    }
}

/// Patches come from elsewhere too. Behind a checksum that fits, a patch makes the right bundle or none.
#[test]
fn two_thousand_damaged_patches_make_no_wrong_bundle() {
    let base = &*GOOD;
    let target = bundle(2);
    let patch = diff(base, &target).unwrap();
    let room = 4 * (base.len() + target.len()) as i64;
    for index in 0..2_000 {
        let lies = index % 2 == 1;
        let file = edited(&patch, index, |rng, file| {
            // Most of a patch is streams, and most checks are before them.
            let start = if lies { 44 } else { 0 };
            let reach = if rng.random_bool(0.5) { 300 } else { file.len() };
            flip_bits(rng, &mut file[start..reach]);
            if lies {
                let checksum = Sha256::digest(&file[44..]);
                put(file, 12, &checksum);
            }
        });
        let outcome = catch_unwind(|| peak_bytes(|| apply(base, &file)));
        let (outcome, bytes) = outcome.unwrap_or_else(|_| panic!("patch {index}: a panic"));
        match outcome {
            Ok(made) => assert!(lies && made == target, "patch {index} made something else"),
            Err(error) => {
                assert!(error.to_string().contains("; "), "patch {index}: no next step in: {error}")
            }
        }
        assert!(bytes < room, "patch {index}: {bytes} bytes");
    }
}

/// A stream of 64 MiB that is told as 1,000 bytes, and one of 1,000 bytes that is told as 1 GiB.
#[test]
fn a_small_patch_cannot_fill_the_memory() {
    let base = bundle(1);
    let deflated = |bytes: &[u8]| {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    for (stream, told) in [(deflated(&vec![0; 64 << 20]), 1_000), (deflated(&[0; 1_000]), 1 << 30)] {
        let mut body = Vec::new();
        body.put_u64(base.len() as u64);
        body.put(&Sha256::digest(&base));
        body.put_u64(1 << 30);
        body.put(&[7; 32]);
        body.put_count(1).unwrap();
        body.put(b"TREE");
        body.put_bool(true);
        body.put_u8(2);
        body.put_u32(told);
        body.put_count(stream.len()).unwrap();
        body.put(&stream);
        let patch = [&b"\x89FDIF\r\n\x1a\x01\0\0\0"[..], &Sha256::digest(&body), &body].concat();
        let (outcome, bytes) = peak_bytes(|| apply(&base, &patch));
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(&format!("does not unpack to the promised {told} bytes")), "{message}");
        assert!(bytes < 200_000, "{bytes} bytes for a stream of {}, told as {told}", stream.len());
    }
}

/// `good` edited, and again if nothing came of it: bits may be flipped twice, zeros overwritten by zeros.
fn edited(good: &[u8], seed: u64, mut edit: impl FnMut(&mut ChaCha8Rng, &mut Vec<u8>)) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let mut file = good.to_vec();
        edit(&mut rng, &mut file);
        if file != good {
            return file;
        }
    }
}

/// Makes the header's checksum fit, if the file still has room for the table that it tells of.
fn seal(file: &mut [u8]) {
    let count = file.get(COUNT..COUNT + 4).map_or(0, |count| u32::from_le_bytes(count.try_into().unwrap()));
    let end = TABLE + ENTRY_BYTES * count as usize;
    if file.len() >= end + 32 {
        let checksum = Sha256::digest(&file[..end]);
        put(file, end, &checksum);
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn get(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

fn tell_length(file: &mut [u8]) {
    let length = file.len() as u64;
    if file.len() >= FILE_LENGTH + 8 {
        put(file, FILE_LENGTH, &length.to_le_bytes());
    }
}

/// How many sections the good bundle has.
fn sections() -> usize {
    usize::from(GOOD[COUNT])
}

fn header_end() -> usize {
    TABLE + ENTRY_BYTES * sections() + 32
}

/// Where the entry of some section stands.
fn entry(rng: &mut ChaCha8Rng) -> usize {
    TABLE + ENTRY_BYTES * rng.random_range(0..sections())
}

/// Where some piece of a file of `length` bytes is.
fn piece(rng: &mut ChaCha8Rng, length: usize) -> Range<usize> {
    let start = rng.random_range(0..length);
    start..length.min(start + rng.random_range(1..2_000))
}

/// A number other than `truth`, near to it or far from anything.
fn number(rng: &mut ChaCha8Rng, truth: u64) -> u64 {
    let step = [1, 2, 63, 64, 128][rng.random_range(0..5)];
    let numbers =
        [truth.wrapping_sub(step), truth + step, 0, 1 << rng.random_range(0..64), rng.random(), u64::MAX];
    numbers[rng.random_range(0..numbers.len())]
}

/// Another number in some entry's `field`: any, or what it is in another entry.
fn lie(rng: &mut ChaCha8Rng, file: &mut [u8], field: usize) {
    let (at, other) = (entry(rng) + field, entry(rng) + field);
    let told = if rng.random_bool(0.3) { get(file, other) } else { number(rng, get(file, at)) };
    put(file, at, &told.to_le_bytes());
}

fn flip_bits(rng: &mut ChaCha8Rng, bytes: &mut [u8]) {
    for _ in 0..rng.random_range(1..=8) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
}

fn cut(rng: &mut ChaCha8Rng, file: &mut Vec<u8>) {
    // Half of the cuts near an end: in the header, or in the last sections.
    let near = rng.random_range(0..header_end());
    let keep =
        [near, file.len() - 1 - near, rng.random_range(0..file.len()), rng.random_range(0..file.len())];
    file.truncate(keep[rng.random_range(0..keep.len())]);
}

fn extend(rng: &mut ChaCha8Rng, file: &mut Vec<u8>) {
    let byte = if rng.random_bool(0.5) { 0 } else { rng.random() };
    file.resize(file.len() + rng.random_range(1..=1_000), byte);
}

/// The bytes of two sections in each other's place, however many there are; the table stays.
fn swap_sections(rng: &mut ChaCha8Rng, file: &mut Vec<u8>) {
    let [one, other] = [entry(rng), entry(rng)].map(|entry| {
        let start = get(file, entry + OFFSET) as usize;
        start..start + get(file, entry + LENGTH) as usize
    });
    let (first, second) = if one.start < other.start { (one, other) } else { (other, one) };
    if first.end <= second.start {
        let (early, late) = (file[first.clone()].to_vec(), file[second.clone()].to_vec());
        drop(file.splice(second, early));
        drop(file.splice(first, late));
    }
}

fn swap_entries(rng: &mut ChaCha8Rng, file: &mut [u8]) {
    swap_fields(rng, file, 0, ENTRY_BYTES);
}

/// What two entries hold at `field`, swapped.
fn swap_fields(rng: &mut ChaCha8Rng, file: &mut [u8], field: usize, length: usize) {
    let (one, other) = (entry(rng) + field, entry(rng) + field);
    (0..length).for_each(|byte| file.swap(one + byte, other + byte));
}

/// The bytes of the good bundle that belong to no section.
fn gaps(file: &[u8]) -> impl Iterator<Item = usize> {
    let entries = (0..sections()).map(|index| TABLE + ENTRY_BYTES * index);
    let places = entries.map(|at| (get(file, at + OFFSET) as usize, get(file, at + LENGTH) as usize));
    places
        .scan(header_end(), |end, (start, length)| {
            let gap = *end..start;
            *end = start + length;
            Some(gap)
        })
        .flatten()
}
