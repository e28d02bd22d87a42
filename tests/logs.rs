//! Log files, good and bad, through the public face of `foretap::data`.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use foretap::data::log::WarningKind;
use foretap::data::{
    AppId, Battery, Event, Log, LogFormat, LogOptions, Network, PlaceGrid, PrivacyKey, Signal, Timestamp,
    UserId, Vocabulary, Warnings, forget, read_logs, write_log,
};
use foretap::{Result, Silent};
use proptest::prelude::*;

fn options() -> LogOptions {
    LogOptions::new(PrivacyKey::from_bytes([1; 32]))
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }
}

fn read(content: impl AsRef<[u8]>, options: &LogOptions) -> Result<(Log, Warnings, Vocabulary)> {
    let folder = Folder::new();
    read_file(&folder.file("log.txt", content), options)
}

fn read_file(file: &Path, options: &LogOptions) -> Result<(Log, Warnings, Vocabulary)> {
    let mut vocabulary = Vocabulary::new();
    let (log, warnings) = read_logs(&[file.to_path_buf()], options, &mut vocabulary, &Silent)?;
    Ok((log, warnings, vocabulary))
}

/// Seconds since the first event, and what happened: `0 unlock`, `1 +Mail` (launch), `5 -Mail` (close),
/// `6 !Mail` (notification), `7 on`, `8 off`.
fn story(log: &Log, vocabulary: &Vocabulary) -> Vec<String> {
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

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

const HEADER: &str = "\"App name\",\"Date\",\"Time\",\"Duration\"\n";
const APP_USAGE: &str = "\"App name\",\"Date\",\"Time\",\"Duration\"
\"Screen off\",\"12/15/19\",\"10:01:00\",\"0:10:00\"
\"Maps\",\"12/15/19\",\"10:00:30\",\"0:00:31\"
\"Notification posted (Mail)\",\"12/15/19\",\"10:00:10\",\"0:00:00\"
\"Notification posted (Mail)\",\"12/15/19\",\"10:00:10\",\"0:00:00\"
\"Mail\",\"12/15/19\",\"10:00:02\",\"0:00:20\"
\"Screen on (unlocked)\",\"12/15/19\",\"10:00:02\",\"0:00:00\"
\"Screen on (locked)\",\"12/15/19\",\"10:00:00\",\"0:00:02\"
";
const USAGESTATS: &str = "user=0
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
const LSAPP: &str = "user_id\tsession_id\ttimestamp\tapp_name\tevent_type
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
const TSINGHUA: &str = "7\t20160420003814\t3142\t57\t10240\n7\t20160420003900\t3143\t9\t1\n";
const NATIVE: &str = "user,at,signal,app\nalice,1700000000,unlock,\nalice,1700000001,launch,Mail\n";
const NATIVE_JSON: &str = "{\"user\":\"bob\",\"at\":1700000000,\"signal\":\"unlock\"}\n";

#[test]
fn app_usage_rows_in_true_order() {
    let (log, warnings, vocabulary) = read(APP_USAGE, &options()).unwrap();
    let expected =
        ["0 on", "2 unlock", "2 +Mail", "10 !Mail", "10 !Mail", "22 -Mail", "30 +Maps", "60 -Maps", "60 off"];
    assert_eq!(story(&log, &vocabulary), expected);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(vocabulary.names(), ["Mail", "Maps"]);
    assert_eq!(log.events()[0].at, Timestamp(1_576_404_000));
    let paris = LogOptions { time_zone: Some("Europe/Paris".to_owned()), ..options() };
    let event = read(APP_USAGE, &paris).unwrap().0.events()[0];
    assert_eq!((event.at, event.utc_offset_secs), (Timestamp(1_576_400_400), 3600));
}

#[test]
fn files_of_one_name_are_several_people() {
    let folder = Folder::new();
    let files = ["ann", "bob"].map(|owner| {
        fs::create_dir(folder.0.path().join(owner)).unwrap();
        folder.file(&format!("{owner}/phone.csv"), APP_USAGE)
    });
    let users = |files: &[PathBuf]| -> Vec<UserId> {
        let (log, _) = read_logs(files, &options(), &mut Vocabulary::new(), &Silent).unwrap();
        log.users().map(|events| events[0].user).collect()
    };
    let key = options().key;
    assert_eq!(users(&files), [key.user_id("ann/phone"), key.user_id("bob/phone")]);
    assert_eq!(users(&files[..1]), [key.user_id("phone")]);
}

#[test]
fn usagestats_sections_become_one_story() {
    let (log, warnings, vocabulary) = read(USAGESTATS, &options()).unwrap();
    let expected = [
        "0 +com.chat",
        "10 -com.chat",
        "10 on",
        "12 unlock",
        "13 +com.chat",
        "30 -com.chat",
        "30 +com.maps",
        "40 !com.chat",
        "50 -com.maps",
        "50 off",
    ];
    assert_eq!(story(&log, &vocabulary), expected);
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn usagestats_without_keyguard_old_names_and_two_users() {
    let dump = "user=0\n time=\"4/27/2019, 22:58\" type=SCREEN_INTERACTIVE package=android\n \
        time=\"4/27/2019, 22:59\" type=MOVE_TO_FOREGROUND package=com.mail class=A\n \
        time=\"4/27/2019, 23:01\" type=MOVE_TO_BACKGROUND package=com.mail class=A\n\
        user=10\n time=\"4/27/2019, 22:58\" type=MOVE_TO_FOREGROUND package=com.work class=A\n";
    let (log, warnings, vocabulary) = read(dump, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "60 +com.mail", "180 -com.mail", "0 +com.work"]);
    assert_eq!(log.users().count(), 2);
    assert_eq!((warnings.count(WarningKind::NoKeyguard), warnings.count(WarningKind::NoUnlock)), (1, 1));
}

#[test]
fn lsapp_runs_and_sessions_worked_by_hand() {
    let (log, warnings, vocabulary) = read(LSAPP, &options()).unwrap();
    let expected = [
        // 06:00:59 is an Opened 49 seconds after the row before: the same run. 06:02:00 comes 61 seconds later.
        "0 unlock",
        "0 +Mail",
        "59 -Mail",
        "120 +Mail",
        "120 -Mail",
        "125 +Maps",
        "570 -Maps",
        "570 off",
        // 301 quiet seconds end the session; the late Closed still belongs to its app.
        "871 unlock",
        "871 +Maps",
        "1471 -Maps",
        "1471 off",
        "2400 unlock",
        "2400 +Mail",
        "2400 -Mail",
        "2400 off",
    ];
    assert_eq!(story(&log, &vocabulary), expected);
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn lsapp_users_interleave_and_rows_need_no_order() {
    let mut lines: Vec<&str> = LSAPP.lines().skip(1).collect();
    let (log, ..) = read(LSAPP, &options()).unwrap();
    lines.reverse();
    let (turned, warnings, _) = read(lines.join("\n"), &options()).unwrap();
    assert_eq!(turned.events().len(), log.events().len());
    assert_eq!(warnings.count(WarningKind::OutOfOrder), 9);
    let two = "1\t1\t2018-01-16 06:00:00\tMail\tOpened\n2\t1\t2018-01-16 06:00:01\tMaps\tOpened\n1\t1\t2018-01-16 06:00:02\tMail\tClosed\n";
    let (log, _, vocabulary) = read(two, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary)[..4], ["0 unlock", "0 +Mail", "2 -Mail", "2 off"]);
    assert_eq!(log.users().count(), 2);
}

#[test]
fn tsinghua_is_in_shanghai_with_named_places() {
    let (log, warnings, vocabulary) = read(TSINGHUA, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "0 +57", "0 -57", "46 +9", "46 -9", "46 off"]);
    let first = log.events()[0];
    assert_eq!((first.at, first.utc_offset_secs), (Timestamp(1_461_083_894), 28_800));
    let places: Vec<String> = log.events().iter().map(|event| event.place.unwrap().to_string()).collect();
    assert!(places[0].starts_with('a') && places[0] != places[3]);
    assert!(warnings.is_empty());
}

#[test]
fn every_format_is_recognised_plain_packed_and_with_a_byte_order_mark() {
    let files = [NATIVE, NATIVE_JSON, APP_USAGE, USAGESTATS, LSAPP, TSINGHUA];
    for content in files {
        let plain = read(content, &options()).unwrap().0;
        assert_eq!(read(gzip(content.as_bytes()), &options()).unwrap().0, plain);
        assert_eq!(read(format!("\u{feff}{content}"), &options()).unwrap().0, plain);
        assert_eq!(read(content.replace('\n', "\r\n"), &options()).unwrap().0, plain);
    }
    for format in LogFormat::ALL {
        assert_eq!(format.to_string().parse::<LogFormat>().unwrap(), format);
    }
}

#[test]
fn bad_files_say_what_to_do() {
    let latin1: Vec<u8> =
        APP_USAGE.replace("Maps", "Caf\u{1}").bytes().map(|b| if b == 1 { 0xe9 } else { b }).collect();
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(APP_USAGE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let half = |content: &[u8]| content[..content.len() * 2 / 3].to_vec();
    let german = APP_USAGE
        .replace("Screen on (unlocked)", "Bildschirm an (entsperrt)")
        .replace("Screen on (locked)", "Bildschirm an (gesperrt)");
    let zone = |name: &str| LogOptions { time_zone: Some(name.to_owned()), ..options() };
    let format = |format| LogOptions { format: Some(format), ..options() };
    let strict = LogOptions { strict: true, ..options() };
    let bad_date = format!("{APP_USAGE}\"Maps\",\"31/31/2019\",\"10:00:00\",\"0:00:01\"\n");
    let cases: Vec<(&str, Vec<u8>, LogOptions, &[&str])> = vec![
        ("empty", vec![], options(), &["log.txt", "empty"]),
        ("only a header", HEADER.into(), options(), &["not recognised", "app-usage", "lsapp"]),
        ("declared, only a header", HEADER.into(), format(LogFormat::AppUsage), &["no usable row"]),
        ("noise", b"hello\nworld\n".to_vec(), options(), &["not recognised", "native", "tsinghua"]),
        ("latin-1", latin1, options(), &["line 3", "not UTF-8", "save it as UTF-8"]),
        ("utf-16", utf16, options(), &["line 1", "UTF-16", "save it as UTF-8"]),
        (
            "cut gzip",
            half(&gzip(APP_USAGE.repeat(50).as_bytes())),
            options(),
            &["gzip", "line", "copy the file again"],
        ),
        (
            "misdeclared",
            LSAPP.into(),
            format(LogFormat::AppUsage),
            &["not in the format app-usage", "--format lsapp"],
        ),
        ("misdeclared", TSINGHUA.into(), format(LogFormat::Lsapp), &["--format tsinghua"]),
        ("misdeclared", APP_USAGE.into(), format(LogFormat::Native), &["--format app-usage"]),
        ("german", german.into(), options(), &["Bildschirm an (entsperrt)", "data/app_usage_labels.csv"]),
        (
            "no zone",
            APP_USAGE.into(),
            zone("Europe/Pariss"),
            &["`Europe/Pariss`", "did you mean `Europe/Paris`"],
        ),
        ("no zone", LSAPP.into(), zone("Nowhere"), &["`Nowhere`", "tz database"]),
        ("strict", bad_date.into(), strict.clone(), &["line 9", "field `Date`", "31/31/2019"]),
        (
            "strict",
            "user,at,signal\nx,soon,unlock\n".into(),
            strict.clone(),
            &["line 2", "field `at`", "`soon` is not whole seconds"],
        ),
        ("strict", half(LSAPP.as_bytes()), strict, &["line 8", "field `app_name`", "tabs"]),
        (
            "column",
            "user,at,signal,ap\nx,1,unlock,\n".into(),
            format(LogFormat::Native),
            &["line 1", "`ap`", "battery_percent"],
        ),
        ("column", "user,at\nx,1\n".into(), format(LogFormat::Native), &["`signal` is missing"]),
        ("long line", vec![b'x'; 2_000_000], options(), &["line 1", "longer"]),
    ];
    for (name, content, options, expected) in cases {
        let message = read(&content, &options).unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "{name}: `{part}` is not in: {message}");
        }
    }
    let missing = read_file(Path::new("no/such/file.csv"), &options()).unwrap_err().to_string();
    assert!(missing.contains("no/such/file.csv"), "{missing}");
    assert!("csv".parse::<LogFormat>().unwrap_err().to_string().contains("app-usage"));
}

#[test]
fn odd_rows_are_counted_with_their_first_place() {
    use WarningKind::*;
    let row = |label: &str, day: &str, time: &str| format!("\"{label}\",\"{day}\",\"{time}\",\"0:00:01\"\n");
    let app_usage = |rows: &[String]| format!("{HEADER}{}", rows.concat());
    let (unlock, day) = ("Screen on (unlocked)", "12/15/19");
    let native = |rows: &str| format!("user,at,signal,app,place,battery_percent\n{rows}");
    let cases = [
        (
            "bad date",
            app_usage(&[
                row("A", day, "10:00:00"),
                row("A", "99/99/99", "09:00:00"),
                row(unlock, day, "08:00:00"),
            ]),
            BadRow,
            1,
            Some(3),
        ),
        (
            "bad time",
            app_usage(&[row("A", day, "25:00:00"), row("A", day, "x"), row(unlock, day, "08:00:00")]),
            BadRow,
            2,
            Some(2),
        ),
        ("cut off", APP_USAGE[..APP_USAGE.len() - 12].to_owned(), CutOff, 1, Some(8)),
        ("cut off", LSAPP[..LSAPP.len() - 5].to_owned(), CutOff, 1, Some(11)),
        ("cut off", native("x,1700000000,unlock,,,\nx,1700000001,lau"), CutOff, 1, Some(3)),
        (
            "repeated",
            app_usage(&[row("A", day, "10:00:00"), row("A", day, "10:00:00"), row(unlock, day, "09:59:59")]),
            Duplicate,
            1,
            Some(2),
        ),
        ("repeated", native("x,1700000000,unlock,,,\nx,1700000000,unlock,,,\n"), Duplicate, 1, Some(3)),
        (
            "disorder",
            app_usage(&[
                row("A", day, "10:00:00"),
                row("B", day, "09:00:00"),
                row("C", day, "09:30:00"),
                row(unlock, day, "08:00:00"),
            ]),
            OutOfOrder,
            1,
            Some(3),
        ),
        ("disorder", native("x,1700000000,unlock,,,\nx,1699999995,unlock,,,\n"), OutOfOrder, 1, Some(3)),
        ("1970", native("x,5,unlock,,,\nx,1699999995,unlock,,,\n"), ClockJump, 1, Some(2)),
        ("2150", native("x,1699999995,unlock,,,\nx,5680281600,unlock,,,\n"), ClockJump, 1, Some(3)),
        ("leap", native("x,1600000000,unlock,,,\nx,1699999995,unlock,,,\n"), ClockJump, 1, Some(3)),
        (
            "ambiguous",
            app_usage(&[row("A", "5/6/19", "10:00:00"), row(unlock, "5/6/19", "09:00:00")]),
            AmbiguousDates,
            1,
            None,
        ),
        ("no unlock", app_usage(&[row("A", day, "10:00:00")]), NoUnlock, 1, None),
        (
            "wording",
            app_usage(&[
                "\"Posted (A)\",\"12/15/19\",\"10:00:05\",\"0:00:00\"\n".to_owned(),
                row("A", day, "10:00:00"),
                row(unlock, day, "09:00:00"),
            ]),
            UnknownLabel,
            1,
            Some(2),
        ),
        ("signal", native("x,1700000000,unlock,,,\nx,1700000001,tap,,,\n"), BadRow, 1, Some(3)),
        // A quote that is not closed costs its own line, and not those after it.
        (
            "open quote",
            native("x,1700000000,launch,\"Mail,,\nx,1700000001,unlock,,,\nx,1700000002,launch,\"Mail\",,\n"),
            BadRow,
            1,
            Some(2),
        ),
        ("no app", native("x,1700000000,unlock,,,\nx,1700000001,launch,,,\n"), BadRow, 1, Some(3)),
        ("place", native("x,1700000000,unlock,,,\nx,1700000001,unlock,,Paris,\n"), BadRow, 1, Some(3)),
        ("battery", native("x,1700000000,unlock,,,\nx,1700000001,unlock,,,101\n"), BadRow, 1, Some(3)),
        ("user", native("x,1700000000,unlock,,,\n,1700000001,unlock,,,\n"), BadRow, 1, Some(3)),
    ];
    for (name, content, kind, count, line) in cases {
        let (log, warnings, _) = read(&content, &options()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found: Vec<_> = warnings.iter().map(|w| (w.kind, w.count, w.line)).collect();
        assert_eq!(found, [(kind, count, line)], "{name}: {warnings}");
        assert!(warnings.to_string().contains("log.txt"), "{name}");
        assert!(log.events().windows(2).all(|pair| pair[0].at <= pair[1].at), "{name}");
    }
}

#[test]
fn one_event_is_a_log() {
    let (log, warnings, _) = read("user,at,signal\nx,1700000000,unlock\n", &options()).unwrap();
    assert_eq!((log.events().len(), warnings.is_empty()), (1, true));
}

#[test]
fn two_thousand_apps_get_ids_in_order_of_time() {
    let rows =
        (0..2000).rev().map(|n| format!("x,{},launch,app {n}\n", 1_700_000_000 + n)).collect::<String>();
    let (_, _, vocabulary) = read(format!("user,at,signal,app\n{rows}"), &options()).unwrap();
    assert_eq!(vocabulary.len(), 2000);
    assert!((0..2000).all(|n| vocabulary.name(AppId(n)) == format!("app {n}")));
}

#[test]
fn nights_of_daylight_saving() {
    let paris = LogOptions { time_zone: Some("Europe/Paris".to_owned()), ..options() };
    let rows = |day: &str, times: &[&str]| {
        let row = |time: &&str| format!("\"Screen on (unlocked)\",\"{day}\",\"{time}\",\"0:00:01\"\n");
        format!("{HEADER}{}", times.iter().rev().map(row).collect::<String>())
    };
    // 2019-10-27: after 02:59:59 it is 02:00:00 again.
    let autumn = rows("10/27/19", &["01:30:00", "02:10:00", "02:50:00", "02:05:00", "02:55:00", "03:10:00"]);
    let (log, warnings, _) = read(autumn, &paris).unwrap();
    let minutes: Vec<i64> = log.events().iter().map(|e| (e.at.0 - log.events()[0].at.0) / 60).collect();
    assert_eq!(minutes, [0, 40, 80, 95, 145, 160]);
    assert_eq!(
        log.events().iter().map(|e| e.utc_offset_secs).collect::<Vec<_>>(),
        [7200, 7200, 7200, 3600, 3600, 3600]
    );
    assert!(warnings.is_empty(), "{warnings}");
    // 2019-03-31: after 01:59:59 it is 03:00:00, and 02:30 is read as 03:30.
    let spring = rows("3/31/19", &["01:30:00", "02:30:00", "03:40:00"]);
    let (log, ..) = read(spring, &paris).unwrap();
    let minutes: Vec<i64> = log.events().iter().map(|e| (e.at.0 - log.events()[0].at.0) / 60).collect();
    assert_eq!(minutes, [0, 60, 70]);
}

#[test]
fn positions_join_by_time_and_pair_up() {
    let folder = Folder::new();
    let log = folder
        .file("log.csv", "user,at,signal\nx,1575500000,unlock\nx,1575500100,unlock\nx,1575600000,unlock\n");
    let places = folder.file("p.csv", "unix_seconds,lat,lon\n1575500050,48.86,2.35\nrubbish\n");
    let with = LogOptions { places: vec![places.clone()], ..options() };
    let (read_log, warnings, _) = read_file(&log, &with).unwrap();
    let here = PlaceGrid::default().place(48.86, 2.35);
    // Before the first position, just after it, and more than a day later.
    assert_eq!(read_log.events().iter().map(|event| event.place).collect::<Vec<_>>(), [None, here, None]);
    assert_eq!(warnings.count(WarningKind::BadRow), 1);
    let uneven = LogOptions { places: vec![places.clone(), places], ..options() };
    assert!(
        read_file(&log, &uneven).unwrap_err().to_string().contains("2 files of positions for 1 data files")
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let signal = (0..6, 0..3_u32).prop_map(|(kind, app)| match kind {
        0 => Signal::Launch(AppId(app)),
        1 => Signal::Close(AppId(app)),
        2 => Signal::Notification(AppId(app)),
        3 => Signal::Unlock,
        4 => Signal::ScreenOn,
        _ => Signal::ScreenOff,
    });
    let network = prop_oneof![
        Just(Network::Unknown),
        Just(Network::Offline),
        Just(Network::Wifi),
        Just(Network::Cellular)
    ];
    let place = proptest::option::of(Just("u05kq".parse().unwrap()));
    let battery = (proptest::option::of(0..=100_u8), proptest::option::of(any::<bool>()));
    let when = (any::<bool>(), 0..5000_i64, -50_000..50_000_i32);
    (when, signal, place, battery, network).prop_map(
        |((user, at, utc_offset_secs), signal, place, battery, network)| {
            let (percent, charging) = battery;
            let battery = Battery { percent, charging };
            let (user, at) = (UserId(u64::from(user)), Timestamp(1_575_000_000 + 7 * at));
            Event { user, at, utc_offset_secs, signal, place, battery, network }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(events in proptest::collection::vec(any_event(), 1..60)) {
        let folder = Folder::new();
        let vocabulary = Vocabulary::from_names(["Mail, \"new\"", " Karten ", "\u{00e9}\u{1f600}"]);
        let mut log = Log::from_events(events).events().to_vec();
        // A row that repeats its user's last is dropped on reading, unless it is a notification.
        log.dedup();
        let log = Log::from_events(log);
        for name in ["a.csv", "a.jsonl", "a.csv.gz", "a.jsonl.gz"] {
            let file = folder.0.path().join(name);
            write_log(&file, &log, &vocabulary).unwrap();
            let mut again = vocabulary.clone();
            let (read, warnings) = read_logs(&[file], &options(), &mut again, &Silent).unwrap();
            prop_assert_eq!(&read, &log);
            prop_assert_eq!(&again, &vocabulary);
            prop_assert!(warnings.is_empty(), "{}", warnings);
        }
    }

    #[test]
    fn no_input_makes_a_loader_panic(
        which in 0..6_usize,
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        at in any::<prop::sample::Index>(),
    ) {
        let valid = [NATIVE, NATIVE_JSON, APP_USAGE, USAGESTATS, LSAPP, TSINGHUA][which].as_bytes();
        let mut changed = valid.to_vec();
        for (index, byte) in &cuts {
            let index = index.index(changed.len());
            changed[index] = *byte;
        }
        let at = at.index(changed.len());
        changed.splice(at..at, noise.iter().copied());
        let folder = Folder::new();
        for content in [&noise, &changed, &gzip(&changed)] {
            let file = folder.file("log.csv", content);
            for format in [None, Some(LogFormat::Native), Some(LogFormat::AppUsage), Some(LogFormat::UsageStats), Some(LogFormat::Lsapp), Some(LogFormat::Tsinghua)] {
                for time_zone in [None, Some("America/New_York".to_owned())] {
                    let _ = read_file(&file, &LogOptions { format, time_zone, places: vec![], ..options() });
                }
            }
            let _ = read_file(&file, &LogOptions { places: vec![file.clone()], ..options() });
            let _ = forget(&file, "alice", &options().key);
        }
    }
}

#[test]
fn unwritable_output_is_an_error_that_leaves_nothing_behind() {
    let (log, _, vocabulary) = read(APP_USAGE, &options()).unwrap();
    let folder = Folder::new();
    let cases = [
        ("no/such/folder/a.csv", "folder that you may write to"),
        ("a.parquet", ".jsonl"),
        ("plain", ".csv"),
    ];
    for (name, expected) in cases {
        let message = write_log(&folder.0.path().join(name), &log, &vocabulary).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains(name), "{message}");
    }
    let broken = Vocabulary::from_names(["two\nlines", "Maps"]);
    let message = write_log(&folder.0.path().join("a.csv"), &log, &broken).unwrap_err().to_string();
    assert!(message.contains("line break") && message.contains(".jsonl"), "{message}");
    assert!(write_log(&folder.0.path().join("b.csv"), &log, &Vocabulary::new()).is_err());
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
}

#[test]
fn a_forgotten_person_is_gone_and_others_are_as_they_were() {
    let folder = Folder::new();
    let key = options().key;
    let hashed = key.user_id("alice").to_string();
    let csv = format!(
        "\u{feff}at, user,signal\r\n1700000000,bob,unlock\r\n1,alice,unlock\n2,{hashed},unlock\n\
        3,\"alice\" ,unlock\n3,\"bob,unlock\n4, bob,unlock"
    );
    let file = folder.file("a.csv", &csv);
    let report = forget(&file, "alice", &key).unwrap();
    assert_eq!((report.removed_rows, report.kept_rows, report.first_unreadable_line), (3, 2, Some(6)));
    let expected = csv
        .replace("1,alice,unlock\n", "")
        .replace(&format!("2,{hashed},unlock\n"), "")
        .replace("3,\"alice\" ,unlock\n", "");
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(forget(&file, &hashed, &key).unwrap().removed_rows, 0);
    let json = format!("{NATIVE_JSON}{}{NATIVE_JSON}", NATIVE_JSON.replace("bob", "alice"));
    let file = folder.file("a.jsonl.gz", gzip(json.as_bytes()));
    assert_eq!(forget(&file, "alice", &key).unwrap().removed_rows, 1);
    assert_eq!(read_file(&file, &options()).unwrap().0.events().len(), 1);
    let other = folder.file("lsapp.tsv", LSAPP);
    assert!(forget(&other, "0", &key).unwrap_err().to_string().contains("convert it first"));
    assert_eq!(fs::read_to_string(&other).unwrap(), LSAPP);
}

#[test]
fn real_phones_have_the_known_number_of_questions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/phones");
    if !folder.exists() {
        println!("skipped: {} is not here", folder.display());
        return;
    }
    for (phone, expected) in [(1, 1995), (2, 2087), (3, 1337)] {
        let zone = LogOptions { time_zone: Some("Europe/Paris".to_owned()), ..options() };
        let places = vec![folder.join(format!("phone{phone}_places.csv"))];
        let file = folder.join(format!("phone{phone}_app_usage.csv"));
        let (log, warnings, _) = read_file(&file, &LogOptions { places, ..zone }).unwrap();
        let (mut unlocked, mut questions) = (false, 0);
        for event in log.events() {
            match event.signal {
                Signal::Unlock => unlocked = true,
                Signal::ScreenOn | Signal::ScreenOff => unlocked = false,
                Signal::Launch(_) if std::mem::take(&mut unlocked) => questions += 1,
                _ => {}
            }
        }
        assert_eq!(questions, expected, "phone {phone}");
        assert!(warnings.iter().all(|w| w.kind == WarningKind::Duplicate), "phone {phone}: {warnings}");
        assert!(log.events().iter().any(|event| event.place.is_some()));
    }
}
