//! A small log in every format, and the steps that tests of logs share.

#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use foretap::data::{Event, Log, LogOptions, PrivacyKey, Signal, Vocabulary, Warnings, read_logs};
use foretap::{Result, Silent};

pub fn options() -> LogOptions {
    LogOptions::new(PrivacyKey::from_bytes([1; 32]))
}

pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }
}

pub fn read(content: impl AsRef<[u8]>, options: &LogOptions) -> Result<(Log, Warnings, Vocabulary)> {
    let folder = Folder::new();
    read_file(&folder.file("log.txt", content), options)
}

pub fn read_file(file: &Path, options: &LogOptions) -> Result<(Log, Warnings, Vocabulary)> {
    let mut vocabulary = Vocabulary::new();
    let (log, warnings) = read_logs(&[file.to_path_buf()], options, &mut vocabulary, &Silent)?;
    Ok((log, warnings, vocabulary))
}

/// Seconds since the first event, and what happened: `0 unlock`, `1 +Mail` (launch), `5 -Mail` (close),
/// `6 !Mail` (notification), `7 on`, `8 off`.
pub fn story(log: &Log, vocabulary: &Vocabulary) -> Vec<String> {
    let first = log.events().first().map_or(0, |event| event.at.0);
    let words = |event: &Event| {
        let what = match event.signal {
            Signal::Launch(app) => format!("+{}", vocabulary.name(app)),
            Signal::Close(app) => format!("-{}", vocabulary.name(app)),
            Signal::Notification(app) => format!("!{}", vocabulary.name(app)),
            Signal::Unlock => "unlock".to_owned(),
            Signal::ScreenOn => "on".to_owned(),
            Signal::ScreenOff => "off".to_owned(),
        };
        format!("{} {what}", event.at.0 - first)
    };
    log.events().iter().map(words).collect()
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

pub const HEADER: &str = "\"App name\",\"Date\",\"Time\",\"Duration\"\n";
pub const APP_USAGE: &str = "\"App name\",\"Date\",\"Time\",\"Duration\"
\"Screen off\",\"12/15/19\",\"10:01:00\",\"0:10:00\"
\"Maps\",\"12/15/19\",\"10:00:30\",\"0:00:31\"
\"Notification posted (Mail)\",\"12/15/19\",\"10:00:10\",\"0:00:00\"
\"Notification posted (Mail)\",\"12/15/19\",\"10:00:10\",\"0:00:00\"
\"Mail\",\"12/15/19\",\"10:00:02\",\"0:00:20\"
\"Screen on (unlocked)\",\"12/15/19\",\"10:00:02\",\"0:00:00\"
\"Screen on (locked)\",\"12/15/19\",\"10:00:00\",\"0:00:02\"
";
pub const USAGESTATS: &str = "user=0
  Last 24 hour events (timeRange=\"2024/11/23 01:59 – 2024/11/24 01:59\" )
    time=\"2024-11-23 10:00:00\" type=SCREEN_INTERACTIVE package=android flags=0x0
    time=\"2024-11-23 10:00:02\" type=KEYGUARD_HIDDEN package=android flags=0x0
    time=\"2024-11-23 10:00:03\" type=ACTIVITY_RESUMED package=com.chat class=A instanceId=1 flags=0x0
    time=\"2024-11-23 10:00:09\" type=ACTIVITY_PAUSED package=com.chat class=A instanceId=1 flags=0x0
    time=\"2024-11-23 10:00:09\" type=ACTIVITY_RESUMED package=com.chat class=B instanceId=2 flags=0x0
    time=\"2024-11-23 10:00:10\" type=ACTIVITY_STOPPED package=com.chat class=A instanceId=1 flags=0x0
    time=\"2024-11-23 10:00:20\" type=ACTIVITY_PAUSED package=com.chat class=B instanceId=2 flags=0x0
    time=\"2024-11-23 10:00:20\" type=ACTIVITY_RESUMED package=com.maps class=M instanceId=3 flags=0x0
    time=\"2024-11-23 10:00:30\" type=NOTIFICATION_INTERRUPTION package=com.chat channelId=x flags=0x0
    time=\"2024-11-23 10:00:40\" type=SCREEN_NON_INTERACTIVE package=android flags=0x0
    time=\"2024-11-23 10:00:40\" type=KEYGUARD_SHOWN package=android flags=0x0
    time=\"2024-11-23 10:00:50\" type=STANDBY_BUCKET_CHANGED package=com.chat standbyBucket=10 flags=0x0
  In-memory daily stats
    events
    time=\"2024-11-23 09:59:50\" type=ACTIVITY_RESUMED package=com.chat class=A instanceId=1 flags=0x0
    time=\"2024-11-23 10:00:00\" type=SCREEN_INTERACTIVE package=android flags=0x0
    time=\"2024-11-23 10:00:02\" type=KEYGUARD_HIDDEN package=android flags=0x0
";
pub const LSAPP: &str = "user_id\tsession_id\ttimestamp\tapp_name\tevent_type
0\t1\t2018-01-16 06:00:00\tMail\tOpened
0\t1\t2018-01-16 06:00:10\tMail\tUser Interaction
0\t1\t2018-01-16 06:00:59\tMail\tOpened
0\t1\t2018-01-16 06:02:00\tMail\tOpened
0\t1\t2018-01-16 06:02:05\tMaps\tOpened
0\t1\t2018-01-16 06:04:30\tMaps\tUser Interaction
0\t1\t2018-01-16 06:09:30\tMaps\tUser Interaction
0\t2\t2018-01-16 06:14:31\tMaps\tUser Interaction
0\t2\t2018-01-16 06:24:31\tMaps\tClosed
0\t3\t2018-01-16 06:40:00\tMail\tBroken
";
pub const TSINGHUA: &str = "7\t20160420003814\t3142\t57\t10240\n7\t20160420003900\t3143\t9\t1\n";
pub const NATIVE: &str = "user,at,signal,app\nalice,1700000000,unlock,\nalice,1700000001,launch,Mail\n";
pub const NATIVE_JSON: &str = "{\"user\":\"bob\",\"at\":1700000000,\"signal\":\"unlock\"}\n";
