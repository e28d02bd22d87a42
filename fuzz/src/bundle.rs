//! What every bundle's loading must keep to.

use foretap::bundle::{Bundle, apply};
use sha2::{Digest as _, Sha256};

use crate::memory::peak_bytes;

/// The base that patches are tried on.
const BASE: &[u8] = include_bytes!("../seeds/bundle/both");

/// Bytes that a refused file may take, however small it is: an error.
const ERROR_BYTES: i64 = 4_096;

/// Bytes that may live at once for each byte of a file whose checksums fit: trees and students are laid out for speed.
const BYTES_EACH: i64 = 64;

/// What a whole bundle takes, however small it is: tables, and a history for the golden questions.
const BUNDLE_BYTES: i64 = 8 << 20;

/// Loads `bytes` as a bundle, as one whose checksums are made to fit, and as a patch.
///
/// # Panics
/// An error has no next step, a refused file takes more than four times its size, or a bundle is not itself again when
/// written.
pub fn check(bytes: &[u8]) {
    let (outcome, peak) = peak_bytes(|| Bundle::from_bytes(bytes));
    match outcome {
        Ok(bundle) => same_again(&bundle),
        Err(error) => {
            assert!(error.to_string().contains("; "), "no next step: {error}");
            // Behind checksums that fit by chance or by a seed, more is read before it is refused.
            let each = if sealed(bytes) == bytes { BYTES_EACH } else { 4 };
            let most = each * bytes.len() as i64 + if each == 4 { ERROR_BYTES } else { BUNDLE_BYTES };
            assert!(peak <= most, "{peak} bytes for a file of {}", bytes.len());
        }
    }
    let fitting = sealed(bytes);
    let (outcome, peak) = peak_bytes(|| Bundle::from_bytes(&fitting));
    assert!(peak <= BYTES_EACH * fitting.len() as i64 + BUNDLE_BYTES, "{peak} bytes for {}", fitting.len());
    match outcome {
        Ok(bundle) => same_again(&bundle),
        Err(error) => assert!(error.to_string().contains("; "), "no next step: {error}"),
    }
    if let Err(error) = apply(BASE, bytes) {
        assert!(error.to_string().contains("; "), "no next step: {error}");
    }
}

fn same_again(bundle: &Bundle) {
    let Ok(bytes) = bundle.to_bytes() else { panic!("a bundle that was read cannot be written") };
    assert!(Bundle::from_bytes(&bytes).is_ok(), "what was written cannot be read");
}

/// The same file with every checksum made to fit, as far as its table goes.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    const TABLE: usize = 24;
    const ENTRY: usize = 56;
    let mut file = bytes.to_vec();
    let number = |file: &[u8], at: usize| -> usize {
        file.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes) as usize
    };
    let count = (number(&file, 12) & 0xff).min(64);
    for at in (0..count).map(|entry| TABLE + ENTRY * entry) {
        let (offset, length) = (number(&file, at + 8), number(&file, at + 16));
        let Some(content) = offset.checked_add(length).and_then(|end| file.get(offset..end)) else {
            continue;
        };
        let checksum = Sha256::digest(content);
        if let Some(place) = file.get_mut(at + 24..at + 56) {
            place.copy_from_slice(&checksum);
        }
    }
    let end = TABLE + ENTRY * count;
    if file.len() >= end + 32 {
        let checksum = Sha256::digest(&file[..end]);
        file[end..end + 32].copy_from_slice(&checksum);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_sound() {
        for seed in ["both", "student", "trees", "patch"] {
            let file = format!("{}/seeds/bundle/{seed}", env!("CARGO_MANIFEST_DIR"));
            check(&std::fs::read(file).unwrap());
        }
        assert_eq!(sealed(BASE), BASE);
    }
}
