//! Who was forgotten, as the processes of one lake tell each other: by a hash of the id, since the id itself is not kept.

use std::collections::HashMap;

use foretap::data::UserId;
use sha2::Digest as _;

/// The first half of the SHA-256 of an id as it is written.
pub type UserHash = [u8; 16];

/// Characters of an id as it is written.
const ID_BYTES: usize = 17;

/// Everybody who was forgotten, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForgottenPeople {
    version: i64,
    at_us: HashMap<UserHash, i64>,
}

impl ForgottenPeople {
    /// People and when they were forgotten, in microseconds since 1970. `version` rises with each further one.
    pub fn new(version: i64, people: impl IntoIterator<Item = (UserHash, i64)>) -> Self {
        let mut forgotten = Self { version, ..Self::default() };
        for (hash, at_us) in people {
            let known = forgotten.at_us.entry(hash).or_insert(at_us);
            *known = at_us.max(*known);
        }
        forgotten
    }

    /// What stands for an id.
    pub fn hash(user: UserId) -> UserHash {
        let digest: [u8; 32] = sha2::Sha256::digest(user.to_string()).into();
        std::array::from_fn(|index| digest[index])
    }

    /// Which of two lists is the newer one.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// When they were forgotten last.
    pub fn at_us(&self, user: UserId) -> Option<i64> {
        // Nearly always nobody was.
        if self.at_us.is_empty() { None } else { self.at_us.get(&Self::hash(user)).copied() }
    }

    /// Whether something of theirs, of `of_us`, is to be forgotten: it happened or arrived before.
    pub fn has(&self, user: UserId, of_us: i64) -> bool {
        self.at_us(user).is_some_and(|at_us| of_us <= at_us)
    }

    /// Whether bytes that arrived at `received_at_us` name somebody who was forgotten after that.
    pub fn is_named_in(&self, bytes: &[u8], received_at_us: i64) -> bool {
        if self.at_us.is_empty() {
            return false;
        }
        let id = |window: &[u8]| -> Option<UserId> { std::str::from_utf8(window).ok()?.parse().ok() };
        bytes.windows(ID_BYTES).filter_map(id).any(|user| self.has(user, received_at_us))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (UserHash, i64)> {
        self.at_us.iter().map(|(hash, at_us)| (*hash, *at_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_somebody_who_was_forgotten() {
        let (one, other) = (UserId(1), UserId(2));
        let list =
            ForgottenPeople::new(3, [(ForgottenPeople::hash(one), 50), (ForgottenPeople::hash(one), 20)]);
        for (user, of_us, expected) in [(one, 50, true), (one, 51, false), (other, 50, false)] {
            assert_eq!(list.has(user, of_us), expected, "{user} {of_us}");
        }
        for (text, received_at_us, expected) in [
            ("{\"user\": \"u0000000000000001\", \"at\": 7}", 50, true),
            ("{\"user\": \"u0000000000000001\", \"at\": 7}", 51, false),
            ("{\"user\": \"u0000000000000002\", \"at\": 7}", 50, false),
            ("uu0000000000000001", 50, true),
            ("u000000000000001", 50, false),
            ("", 50, false),
        ] {
            assert_eq!(list.is_named_in(text.as_bytes(), received_at_us), expected, "{text}");
        }
        assert!(!ForgottenPeople::default().has(one, i64::MIN));
    }
}
