//! Arbitrary bytes as a mapping file: it is read or refused in words, and what it says is no trap for a reader.

use std::fs;

use foretap::data::{LogOptions, PrivacyKey, Vocabulary, read_logs};
use foretap::{ErrorKind, Silent};

/// The longest message, path included.
const LONGEST_MESSAGE: usize = 3000;

/// Reads `bytes` as a mapping, and a table with it.
pub fn check(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let (file, table) = (folder.path().join("study.toml"), folder.path().join("study.csv"));
    fs::write(&file, bytes).unwrap();
    fs::write(&table, "u;t;s;a;d\nann;1700000000;3;;\nann;1700000001;launch;Mail;2,5\n").unwrap();
    let options = LogOptions::new(PrivacyKey::from_bytes([1; 32]));
    match options.with_mapping(&file) {
        Ok(options) => drop(read_logs(&[table], &options, &mut Vocabulary::new(), &Silent)),
        Err(error) => {
            let message = error.to_string();
            assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Io), "{message}");
            assert!(message.contains("study.toml") && message.len() <= LONGEST_MESSAGE, "{message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_mappings() {
        let mut seeds = 0;
        for entry in fs::read_dir("seeds/mapping").unwrap() {
            let seed = entry.unwrap().path();
            let options = LogOptions::new(PrivacyKey::from_bytes([1; 32]));
            options.with_mapping(&seed).unwrap();
            check(&fs::read(&seed).unwrap());
            seeds += 1;
        }
        assert!(seeds > 1, "{seeds} seeds");
        for refused in
            [&b"colums = 3"[..], b"\xff", b"unit = \"\x1b[2J\"", b"[signals]\n\"\\n\" = \"x\"", b"\0"]
        {
            check(refused);
        }
    }
}
