//! Where something happened, as a city-level bucket.

use std::fmt;
use std::str::FromStr;

/// A city-level bucket: a geohash cell, up to eight characters packed big-endian.
///
/// A log that names its places instead of giving coordinates gets a *named* bucket
/// ([`PrivacyKey::place_id`](super::PrivacyKey::place_id)): `a` and seven characters. No geohash contains an `a`, so a
/// named bucket is never mistaken for a cell; it says that two events were in one place, not where on Earth.
///
/// Source: the public-domain geohash of Gustavo Niemeyer, 2008.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(u64);

impl fmt::Display for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_be_bytes();
        for &byte in bytes.iter().filter(|&&byte| byte != 0) {
            write!(f, "{}", byte as char)?;
        }
        Ok(())
    }
}

impl FromStr for PlaceId {
    type Err = ();

    /// Reads a geohash of one to eight characters, or a named bucket.
    fn from_str(text: &str) -> Result<Self, ()> {
        let cell = named_part(text).unwrap_or(text);
        if cell.is_empty() || cell.len() > 8 || !cell.bytes().all(|byte| GEOHASH_DIGITS.contains(&byte)) {
            return Err(());
        }
        Ok(Self::pack(text.as_bytes()))
    }
}

impl PlaceId {
    pub(super) fn pack(text: &[u8]) -> Self {
        Self(text.iter().fold(0, |packed, &byte| packed << 8 | u64::from(byte)))
    }
}

/// The 32 digits of a geohash: no `a`, `i`, `l` or `o`.
pub(super) const GEOHASH_DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// The seven characters after the `a` of a named bucket.
pub(super) fn named_part(text: &str) -> Option<&str> {
    text.strip_prefix('a').filter(|rest| rest.len() == 7)
}
