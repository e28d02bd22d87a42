//! Log files through the public face of `foretap::data`: every format, writing and forgetting.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod phones;
mod samples;

use std::fs;
use std::path::PathBuf;

use foretap::Silent;
use foretap::data::log::WarningKind;
use foretap::data::{
    AppId, Battery, Event, Log, LogFormat, LogOptions, Network, PlaceGrid, Signal, Timestamp, UserId,
    Vocabulary, forget, read_logs, write_log,
};
use proptest::prelude::*;
use samples::*;

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
}

#[test]
fn what_is_read_is_written_and_read_again_whatever_it_came_from() {
    use WarningKind::*;
    let sorts = "user,at,signal\nx,1700000000,unlock\nx,1699999995,unlock\nx,1700000000,unlock\n";
    let lasts = format!(
        "{HEADER}\"Mail\",\"12/31/2099\",\"23:00:00\",\"9999:00:00\"\n\
        \"Screen on (unlocked)\",\"12/31/2099\",\"22:00:00\",\"0:00:00\"\n"
    );
    let cases: [(&str, String, &[WarningKind]); 2] = [
        ("a repeat that only sorting brings together", sorts.to_owned(), &[OutOfOrder, Duplicate]),
        ("a duration beyond what is believed", lasts, &[]),
    ];
    for (name, content, expected) in cases {
        let (log, warnings, vocabulary) = read(content, &options()).unwrap();
        assert_eq!(warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), expected, "{name}");
        let folder = Folder::new();
        let file = folder.0.path().join("again.csv");
        write_log(&file, &log, &vocabulary).unwrap();
        let (again, warnings, _) = read_file(&file, &options()).unwrap();
        assert_eq!(again, log, "{name}");
        assert!(warnings.is_empty(), "{name}: {warnings}");
    }
}

#[test]
fn a_person_is_forgotten_whose_rows_are_odd() {
    let folder = Folder::new();
    // Files put one after another bring their byte order marks along; the end of a file cuts a character in two.
    let content = b"user,at,signal,app\n\xef\xbb\xbfann,1700000000,launch,Mail\nbob,1700000001,unlock,\n\
        \xef\xbb\xbfann,1700000002,launch,Caf\xc3";
    let file = folder.file("a.csv", content);
    let (log, ..) = read_file(&file, &options()).unwrap();
    assert_eq!((log.users().count(), log.events().len()), (2, 3));
    let report = forget(&file, "ann", &options().key).unwrap();
    assert_eq!((report.removed_rows, report.kept_rows, report.unreadable_rows), (2, 1, 0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "user,at,signal,app\nbob,1700000001,unlock,\n");
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
    let Some(folder) = phones::folder() else { return };
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
