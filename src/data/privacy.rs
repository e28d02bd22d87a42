//! Privacy at the door: ids become keyed hashes, coordinates become city-level buckets.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng as _;
use sha2::Sha256;

use super::event::UserId;
use super::place::{GEOHASH_DIGITS, PlaceId, named_part};
use crate::error::{Error, ErrorKind, Result};

/// How coarse a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceGrid {
    characters: usize,
}

impl Default for PlaceGrid {
    /// Cells of 4.9 km by 4.9 km.
    fn default() -> Self {
        Self { characters: 5 }
    }
}

impl PlaceGrid {
    /// The finest grid whose cells are at least `km` wide at the equator: 5,000, 1,250, 156, 39 or 4.9 km.
    ///
    /// # Errors
    /// `km` below 4.9: a finer bucket would no longer be city-level.
    pub fn at_least_km(km: f64) -> Result<Self> {
        // Widths of geohash cells of one to five characters.
        const WIDTH_KM: [f64; 5] = [5000.0, 1250.0, 156.0, 39.1, 4.89];
        let cells = WIDTH_KM.iter().rposition(|&width| width >= km * 0.97);
        match cells {
            Some(index) if km >= 4.0 => Ok(Self { characters: index + 1 }),
            _ => Err(Error::new(ErrorKind::Config, format!("places of {km} km")).next_step(
                "choose 5, 39, 156, 1250 or 5000 km: finer places would tell where a person lives",
            )),
        }
    }

    /// The cell of a position in degrees, or `None` where it is not on Earth.
    pub fn place(&self, latitude: f64, longitude: f64) -> Option<PlaceId> {
        let position = geohash::Coord { x: longitude, y: latitude };
        let on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        let cell = on_earth.then(|| geohash::encode(position, self.characters).ok())??;
        cell.parse().ok()
    }

    /// A geohash from a file, cut to this grid, or `None` if it is none. A named bucket stays whole.
    pub fn coarsen(&self, geohash: &str) -> Option<PlaceId> {
        if named_part(geohash).is_some() {
            return geohash.parse().ok();
        }
        let cell = geohash.get(..self.characters.min(geohash.len()))?;
        cell.parse().ok()
    }
}

/// The secret under which user and device ids are hashed. It never enters a log or a model.
#[derive(Clone)]
pub struct PrivacyKey([u8; 32]);

impl fmt::Debug for PrivacyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivacyKey(..)")
    }
}

impl PrivacyKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the key from `file` (64 hexadecimal digits), or makes one there from the system's randomness,
    /// readable by its owner alone.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load_or_create(file: &Path) -> Result<Self> {
        match fs::read_to_string(file) {
            Ok(text) => Self::from_hex(text.trim()).ok_or_else(|| {
                Error::new(ErrorKind::Config, "this is not a key of 64 hexadecimal digits")
                    .file(file)
                    .next_step("name another key file, or one that does not exist yet and it will be made")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(file),
            Err(error) => Err(Error::io(file, "read the key", error)),
        }
    }

    /// The hash of a raw id: the first eight bytes of HMAC-SHA-256 (RFC 2104).
    pub fn user_id(&self, raw: &str) -> UserId {
        UserId(self.hash(raw))
    }

    /// The named bucket of a place that a log knows only by a name, such as a base station's id.
    pub fn place_id(&self, raw: &str) -> PlaceId {
        // The prefix keeps a place's hash apart from that of a user of the same name.
        let hash = self.hash(&format!("place:{raw}"));
        let mut text = *b"a0000000";
        for (index, character) in text.iter_mut().skip(1).enumerate() {
            *character = GEOHASH_DIGITS[(hash >> (5 * index)) as usize % GEOHASH_DIGITS.len()];
        }
        PlaceId::pack(&text)
    }

    fn hash(&self, raw: &str) -> u64 {
        // HMAC accepts a key of any length, so this cannot fail; zero is never reached.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return 0 };
        mac.update(raw.as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.iter().take(8).fold(0, |id, &byte| id << 8 | u64::from(byte))
    }

    fn from_hex(text: &str) -> Option<Self> {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let bytes: Vec<u8> = digits?.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
        let bytes = if text.len() == 64 { bytes.try_into().ok()? } else { return None };
        Some(Self(bytes))
    }

    fn create(file: &Path) -> Result<Self> {
        let mut bytes = [0; 32];
        rand::rngs::SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|e| Error::new(ErrorKind::Io, format!("the system gives no randomness: {e}")))?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let failed =
            |error| Error::io(file, "make a key here", error).next_step("name another place with --key FILE");
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = options.open(file).map_err(failed)?;
        writeln!(out, "{hex}").map_err(failed)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_hmac_sha_256() {
        // python3 -c "import hmac; print(hmac.new(bytes(32), b'alice', 'sha256').hexdigest()[:16])"
        assert_eq!(PrivacyKey::from_bytes([0; 32]).user_id("alice").to_string(), "uce3837f76a54a635");
    }

    #[test]
    fn places_are_geohash_cells() {
        // Lyon, the worked example of the geohash library's own documentation style: u05kq is its 5-character cell.
        let grid = PlaceGrid::default();
        let here = grid.place(45.78, 4.87).unwrap();
        assert_eq!(here.to_string().len(), 5);
        assert_eq!(here.to_string().parse(), Ok(here));
        assert_eq!(grid.place(45.781, 4.871), Some(here));
        assert_eq!(grid.coarsen(&format!("{here}xyz")), Some(here));
        assert_eq!(grid.place(f64::NAN, 0.0), None);
        assert_eq!(grid.place(91.0, 0.0), None);
        assert!(PlaceGrid::at_least_km(0.1).is_err());
        assert_eq!(PlaceGrid::at_least_km(5.0).unwrap(), grid);
    }

    #[test]
    fn named_places_are_never_cells() {
        let place = PrivacyKey::from_bytes([7; 32]).place_id("station 42");
        let text = place.to_string();
        assert!(text.starts_with('a') && text.len() == 8, "{text}");
        assert_eq!(text.parse(), Ok(place));
        assert_eq!(PlaceGrid::default().coarsen(&text), Some(place));
        assert_ne!(PrivacyKey::from_bytes([8; 32]).place_id("station 42"), place);
        for bad in ["a", "a012345", "a01234567", "aaaaaaaa", "u0a", "é"] {
            assert_eq!(bad.parse::<PlaceId>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/key");
        let first = PrivacyKey::load_or_create(&file).unwrap().user_id("x");
        assert_eq!(PrivacyKey::load_or_create(&file).unwrap().user_id("x"), first);
        fs::write(&file, "too short").unwrap();
        assert!(PrivacyKey::load_or_create(&file).unwrap_err().to_string().contains("64 hexadecimal"));
    }
}
