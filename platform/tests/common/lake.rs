//! Rows for the lake, and what is looked for in its files.

// Each test uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use foretap::data::{Battery, Network, UserId};
use foretap_platform::lake::{Commit, Lake, LakeEvent, Positions};
use foretap_platform::wire::{PhoneEvent, SignalKind};

/// A day, in microseconds.
pub const DAY_US: i64 = 86_400_000_000;
/// 2026-11-01.
pub const START_US: i64 = 1_793_491_200_000_000;

/// A row of the events: launches at even positions.
pub fn event(user: u64, at_us: i64, position: u64, partition: &str) -> LakeEvent {
    let event = PhoneEvent {
        user: UserId(user),
        at_us,
        number: 0,
        utc_offset_secs: 3_600,
        signal: if position.is_multiple_of(2) { SignalKind::Launch } else { SignalKind::Unlock },
        app: position.is_multiple_of(2).then(|| "org.example.mail".into()),
        place: "u05kq".parse().ok(),
        battery: Battery { percent: Some(50), charging: None },
        network: Network::Wifi,
    };
    LakeEvent { event, key_id: "k1".into(), received_at_us: at_us, partition: partition.into(), position }
}

/// Rows, and the positions that they came from.
pub fn commit(rows: Vec<LakeEvent>) -> Commit {
    let mut positions = Positions::default();
    rows.iter().for_each(|row| positions.add(&row.partition, row.position));
    Commit { events: rows, positions, ..Commit::default() }
}

/// One of these for each of five people, on one of two days.
pub fn five(position: u64) -> Commit {
    let at =
        |user: u64| START_US + (position as i64 % 2) * DAY_US + position as i64 * 1_000_000 + user as i64;
    commit((0..5).map(|user| event(user, at(user), position, "p/0")).collect())
}

/// A lake in a folder, with so many commits of [`five`].
pub async fn filled(folder: &Path, commits: u64) -> Lake {
    let lake = Lake::open(folder, 4).await.unwrap();
    for position in 1..=commits {
        lake.commit(&five(position)).await.unwrap();
    }
    lake
}

/// The files under a folder that have these bytes.
pub fn files_with(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(path);
        }
    }
    found
}

/// Runs a script of `tests/peers` that writes JSON; `None` where no Python for it is named, and this is not CI.
pub fn by_python(script: &str, arguments: &[&str]) -> Option<serde_json::Value> {
    let output = python(script, arguments)?.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The command that runs such a script.
pub fn python(script: &str, arguments: &[&str]) -> Option<Command> {
    let Some(python) = std::env::var_os("FORETAP_PYICEBERG_PYTHON") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_PYICEBERG_PYTHON");
        eprintln!(
            "skipped: set FORETAP_PYICEBERG_PYTHON to a Python with platform/tests/peers/requirements-lake.txt"
        );
        return None;
    };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script)).args(arguments);
    Some(command)
}
