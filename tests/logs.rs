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
    AppId, Battery, Event, Log, LogFormat, LogOptions, Network, PlaceGrid, Profiles, Signal, Timestamp,
    UserId, Vocabulary, forget, read_logs, write_log,
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
    let people = LogOptions { profiles: Profiles::People, ..options() };
    let (log, warnings, vocabulary) = read(dump, &people).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "60 +com.mail", "180 -com.mail", "0 +com.work"]);
    assert_eq!(log.users().count(), 2);
    assert_eq!((warnings.count(WarningKind::NoKeyguard), warnings.count(WarningKind::NoUnlock)), (1, 1));
    let (log, warnings, vocabulary) = read(dump, &options()).unwrap();
    let expected = ["0 unlock", "0 +com.work@10", "60 -com.work@10", "60 +com.mail", "180 -com.mail"];
    assert_eq!(story(&log, &vocabulary), expected);
    assert_eq!((warnings.count(WarningKind::NoKeyguard), warnings.count(WarningKind::NoUnlock)), (1, 0));
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
        // What reading puts right (repeats, the order around an unlock) is right then.
        let log = Log::from_events(events);
        let file = folder.0.path().join("first.csv");
        write_log(&file, &log, &vocabulary).unwrap();
        let (log, _) = read_logs(&[file], &options(), &mut vocabulary.clone(), &Silent).unwrap();
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
    for (phone, expected) in [(1, 2002), (2, 2088), (3, 1388)] {
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
        let is_expected = |kind: WarningKind| kind == WarningKind::Duplicate || kind.is_note();
        assert!(warnings.iter().all(|w| is_expected(w.kind)), "phone {phone}: {warnings}");
        assert!(log.events().iter().any(|event| event.place.is_some()));
    }
}

/// A dump of `lines`, each `second type package class`.
fn dump(user: u32, lines: &[&str]) -> String {
    let line = |line: &&str| {
        let [second, kind, package, class] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (minute, second) = (second.parse::<u32>().unwrap() / 60, second.parse::<u32>().unwrap() % 60);
        format!(
            "    time=\"2024-11-23 10:{minute:02}:{second:02}\" type={kind} package={package} class={class} instanceId=1 flags=0x0\n"
        )
    };
    format!(
        "user={user}\n  Last 24 hour events (timeRange=\"x\" )\n{}",
        lines.iter().map(line).collect::<String>()
    )
}

#[test]
fn an_unlock_is_one_happening_in_every_order_of_its_rows() {
    const ON: &str = "SCREEN_INTERACTIVE android -";
    const HIDDEN: &str = "KEYGUARD_HIDDEN android -";
    const OFF: &str = "SCREEN_NON_INTERACTIVE android -";
    const SHOWN: &str = "KEYGUARD_SHOWN android -";
    const CHAT: &str = "ACTIVITY_RESUMED com.chat A";
    const CAMERA: &str = "ACTIVITY_RESUMED com.camera A";
    struct Case {
        what: &'static str,
        rows: Vec<(u32, &'static str)>,
        story: &'static [&'static str],
        notes: u64,
    }
    let asleep = [(0, OFF), (1, SHOWN)];
    let case = |what, rows: &[(u32, &'static str)], story, notes| Case {
        what,
        rows: asleep.iter().chain(rows).copied().collect(),
        story,
        notes,
    };
    let cases = [
        case(
            "as documented",
            &[(60, ON), (62, HIDDEN), (63, CHAT), (70, OFF)],
            &["0 off", "60 on", "62 unlock", "63 +com.chat", "70 -com.chat", "70 off"],
            0,
        ),
        case(
            "the app resumes while the lock goes",
            &[(60, ON), (61, CHAT), (62, HIDDEN), (70, OFF)],
            &["0 off", "60 on", "61 unlock", "61 +com.chat", "70 -com.chat", "70 off"],
            1,
        ),
        case(
            "before the screen lights up",
            &[(60, CHAT), (61, ON), (62, HIDDEN), (70, OFF)],
            &["0 off", "60 on", "60 unlock", "60 +com.chat", "70 -com.chat", "70 off"],
            1,
        ),
        case(
            "hidden twice",
            &[(60, ON), (61, CHAT), (62, HIDDEN), (62, HIDDEN), (70, OFF)],
            &["0 off", "60 on", "61 unlock", "61 +com.chat", "70 -com.chat", "70 off"],
            1,
        ),
        case(
            "a face unlocks before the screen lights up",
            &[(60, HIDDEN), (61, ON), (62, CHAT), (70, OFF)],
            &["0 off", "60 unlock", "62 +com.chat", "70 -com.chat", "70 off"],
            1,
        ),
        case(
            "the camera over the lock",
            &[(60, ON), (61, CAMERA), (90, HIDDEN), (95, CHAT), (99, OFF)],
            &[
                "0 off",
                "60 on",
                "61 +com.camera",
                "90 unlock",
                "95 -com.camera",
                "95 +com.chat",
                "99 -com.chat",
                "99 off",
            ],
            0,
        ),
        case(
            "the home screen comes first",
            &[(60, ON), (61, "ACTIVITY_RESUMED com.miui.home H"), (62, HIDDEN), (66, CHAT), (70, OFF)],
            &["0 off", "60 on", "62 unlock", "66 +com.chat", "70 -com.chat", "70 off"],
            1,
        ),
    ];
    for Case { what, rows, story: expected, notes } in cases {
        let lines: Vec<String> = rows.iter().map(|(at, row)| format!("{at} {row}")).collect();
        let text = dump(0, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let (log, warnings, vocabulary) =
            read(&text, &options()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(story(&log, &vocabulary), expected, "{what}");
        assert_eq!(
            warnings.iter().filter(|warning| warning.kind.is_note()).count() as u64,
            notes,
            "{what}: {warnings}"
        );
    }
}

#[test]
fn a_clone_is_an_app_of_its_own_and_screens_are_the_phone_s() {
    let screens = ["0 SCREEN_INTERACTIVE android -", "1 KEYGUARD_HIDDEN android -"];
    let main =
        dump(0, &[screens[0], screens[1], "2 ACTIVITY_RESUMED com.chat A", "9 ACTIVITY_PAUSED com.chat A"]);
    let clone = dump(
        999,
        &[screens[0], screens[1], "9 ACTIVITY_RESUMED com.chat A", "20 ACTIVITY_PAUSED com.chat A"],
    );
    let (log, warnings, vocabulary) = read(main.clone() + &clone, &options()).unwrap();
    let expected = ["0 on", "1 unlock", "2 +com.chat", "9 -com.chat", "9 +com.chat@999", "20 -com.chat@999"];
    assert_eq!(story(&log, &vocabulary), expected);
    assert!(warnings.is_empty(), "{warnings}");
    let people = LogOptions { profiles: Profiles::People, ..options() };
    assert_eq!(read(main + &clone, &people).unwrap().0.users().count(), 2);
}

#[test]
fn files_of_one_person_that_overlap_are_merged_event_by_event() {
    let folder = Folder::new();
    let rows: Vec<String> = APP_USAGE.lines().skip(1).map(|line| format!("{line}\n")).collect();
    // Newest first: the second file lacks the first rows, the first one the last.
    let first = folder.file("week1.csv", HEADER.to_owned() + &rows[2..].concat());
    let second = folder.file("week2.csv", HEADER.to_owned() + &rows[..5].concat());
    let whole = folder.file("whole.csv", APP_USAGE);
    let ann = LogOptions { person: Some("ann".to_owned()), ..options() };
    let expected = read_file(&whole, &ann).unwrap().0;
    let read = |files: &[&PathBuf], options: &LogOptions| {
        let files: Vec<PathBuf> = files.iter().map(|&file| file.clone()).collect();
        read_logs(&files, options, &mut Vocabulary::new(), &Silent).unwrap()
    };
    for (files, repeats) in
        [(vec![&first, &second], 4), (vec![&whole, &whole], 9), (vec![&whole, &second], 7)]
    {
        let (log, warnings) = read(&files, &ann);
        assert_eq!(log.events().len(), expected.events().len(), "{files:?}: {warnings}");
        assert_eq!(warnings.count(WarningKind::Repeat), repeats, "{files:?}: {warnings}");
    }
    assert_eq!(read(&[&first, &second], &options()).0.users().count(), 2);
}

#[test]
fn files_that_tell_the_same_may_be_one_phone_s() {
    let folder = Folder::new();
    let row = |index: i64| {
        format!(
            "phone,{},{}\n",
            1_700_000_000 + 97 * index * index % 86_400,
            if index % 2 == 0 { "unlock," } else { "launch,Mail" }
        )
    };
    let rows =
        |range: std::ops::Range<i64>| "user,at,signal,app\n".to_owned() + &range.map(row).collect::<String>();
    let native = |name: &str, text: String| folder.file(name, text.replace("phone,", &format!("{name},")));
    let files =
        [native("a.csv", rows(0..80)), native("b.csv", rows(40..120)), native("c.csv", rows(500..600))];
    let (_, warnings) = read_logs(&files, &options(), &mut Vocabulary::new(), &Silent).unwrap();
    let found: Vec<_> = warnings.iter().filter(|warning| warning.kind == WarningKind::SamePhone).collect();
    assert_eq!(found.len(), 1, "{warnings}");
    assert!(found[0].file == files[1] && found[0].detail.contains("--person NAME"), "{warnings}");
}

#[test]
fn home_screens_are_left_out_unless_they_are_to_stay() {
    let label = APP_USAGE.replace("\"Maps\"", "\"One UI Home\"");
    let (log, warnings, vocabulary) = read(&label, &options()).unwrap();
    assert!(story(&log, &vocabulary).iter().all(|line| !line.contains("Home")));
    assert_eq!(warnings.count(WarningKind::HomeScreen), 1);
    assert!(
        warnings.to_string().contains("1 launches of home screens are left out (One UI Home 1)"),
        "{warnings}"
    );
    let keep = LogOptions { keep_home: true, ..options() };
    let (log, warnings, vocabulary) = read(&label, &keep).unwrap();
    assert!(story(&log, &vocabulary).iter().any(|line| line.contains("+One UI Home")) && warnings.is_empty());
    let mail = LogOptions { home: vec!["Mail".to_owned()], ..options() };
    assert_eq!(read(APP_USAGE, &mail).unwrap().1.count(WarningKind::HomeScreen), 1);
}

#[test]
fn more_than_half_of_the_rows_must_be_usable() {
    let rows = |good: usize, bad: usize| {
        let good: String =
            (0..good).map(|index| format!("x,{},unlock\n", 1_700_000_000 + 60 * index)).collect();
        "user,at,signal\n".to_owned() + &good + &"x,soon,unlock\n".repeat(bad)
    };
    let (log, warnings, _) = read(rows(5, 5), &options()).unwrap();
    assert_eq!((log.events().len(), warnings.count(WarningKind::BadRow)), (5, 5));
    let error = read(rows(5, 6), &options()).unwrap_err().to_string();
    assert!(error.contains("6 of 11 rows cannot be used") && error.contains("line 7: field `at`"), "{error}");
}

#[test]
fn rows_are_counted_by_what_is_wrong_with_them() {
    let good = "x,1700000000,unlock,\n".repeat(2) + "x,1700000009,launch,Mail\nx,1700000019,launch,Mail\n";
    let text = format!("user,at,signal,app\n{good}x,1,tap,\nx,soon,unlock,\n,1700000000,unlock,\nx,2,tap,\n");
    let (_, warnings, _) = read(text, &options()).unwrap();
    let found: Vec<_> = warnings
        .iter()
        .filter(|warning| warning.kind == WarningKind::BadRow)
        .map(|warning| (warning.field.unwrap(), warning.count, warning.line.unwrap()))
        .collect();
    assert_eq!(found, [("signal", 2, 6), ("at", 1, 7), ("user", 1, 8)]);
}

#[test]
fn zones_are_what_people_mean() {
    let at = |zone: &str| {
        let options = LogOptions { time_zone: Some(zone.to_owned()), ..options() };
        read(APP_USAGE, &options).map(|(log, warnings, _)| {
            (1_576_404_000 - log.events()[0].at.0, warnings.count(WarningKind::ZoneName))
        })
    };
    for (zone, expected) in [("GMT+2", (7200, 0)), ("Etc/GMT+2", (-7200, 1)), ("+0530", (19_800, 0))] {
        assert_eq!(at(zone).unwrap(), expected, "{zone}");
    }
    assert!(at("IST").unwrap_err().to_string().contains("Asia/Kolkata"));
}

/// What ActivityWatch would have exported of a log of unlocks and launches, newest first.
fn as_activity_watch(log: &Log, vocabulary: &Vocabulary) -> String {
    let (mut windows, mut unlocks) = (Vec::new(), Vec::new());
    for (id, event) in log.events().iter().enumerate().rev() {
        let at = utc_words(event.at.0);
        match event.signal {
            Signal::Unlock => {
                unlocks.push(format!("{{\"id\":{id},\"timestamp\":\"{at}\",\"duration\":0.0,\"data\":{{}}}}"));
            }
            Signal::Launch(app) => windows.push(format!(
                "{{\"id\":{id},\"timestamp\":\"{at}\",\"duration\":0.0,\"data\":{{\"app\":\"{}\",\"package\":\"p\",\"classname\":\"c\"}}}}",
                vocabulary.name(app)
            )),
            _ => {}
        }
    }
    format!(
        "{{\"buckets\":{{\"aw-watcher-android-test\":{{\"id\":\"x\",\"type\":\"currentwindow\",\"events\":[{}]}},\
         \"aw-watcher-android-unlock\":{{\"id\":\"y\",\"type\":\"os.lockscreen.unlocks\",\"events\":[{}]}}}}}}",
        windows.join(","),
        unlocks.join(",")
    )
}

/// `2023-11-14T22:13:20Z`
fn utc_words(at: i64) -> String {
    let (days, secs) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    // Civil from days: Howard Hinnant's algorithm.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.500Z", secs / 3600, secs / 60 % 60, secs % 60)
}

#[test]
fn activity_watch_gives_the_log_that_it_was_made_from() {
    let native = "user,at,signal,app\nlog,1700000000,unlock,\nlog,1700000000,launch,Mail\nlog,1700000100,launch,Maps\n\
        log,1700000200,launch,Mail\nlog,1700000900,unlock,\nlog,1700000903,launch,Mail\nlog,1700000990,launch,Mail\n";
    let (expected, _, vocabulary) = read(native, &options()).unwrap();
    let json = as_activity_watch(&expected, &vocabulary);
    let (log, warnings, names) = read(&json, &options()).unwrap();
    assert_eq!((log, names), (expected.clone(), vocabulary));
    assert!(warnings.is_empty(), "{warnings}");
    // Real phones, where they are.
    if let Some(folder) = phones::folder() {
        for phone in [5, 6] {
            let file = folder.join(format!("phone{phone}_native.csv"));
            let (expected, _, vocabulary) = read_file(&file, &options()).unwrap();
            let (log, _, names) = read(as_activity_watch(&expected, &vocabulary), &options()).unwrap();
            // A window without a duration does not say when its app closed.
            let opened = |log: &Log, names: &Vocabulary| -> Vec<String> {
                story(log, names).into_iter().filter(|line| !line.contains(" -")).collect()
            };
            assert_eq!(opened(&log, &names), opened(&expected, &vocabulary), "phone {phone}");
        }
    }
    // Cut off in an event: those before it are there.
    let (log, warnings, _) = read(&json[..json.len() - 30], &options()).unwrap();
    assert_eq!(log.events().len(), expected.events().len() - 1);
    assert_eq!(warnings.count(WarningKind::CutOff), 1, "{warnings}");
    for damaged in ["{\"buckets\":{}}", "{\"buckets\":{\"a\":3}}", "{\"buckets\":{", &json[..40]] {
        assert!(read(damaged, &options()).is_err(), "{damaged}");
    }
    let odd = json.replacen("\"duration\":0.0", "\"duration\":\"long\"", 1);
    assert_eq!(read(&odd, &options()).unwrap().1.count(WarningKind::BadRow), 1);
}

#[test]
fn windows_of_one_app_are_one_launch_and_close_when_they_end() {
    let window = |at: &str, duration: f64, app: &str, package: &str| {
        format!(
            "{{\"timestamp\":\"2023-11-14T22:{at}Z\",\"duration\":{duration},\"data\":{{\"app\":\"{app}\",\"package\":\"{package}\"}}}}"
        )
    };
    let json = format!(
        "{{\"buckets\":{{\"w\":{{\"type\":\"currentwindow\",\"events\":[{}]}},\"u\":{{\"type\":\"os.lockscreen.unlocks\",\"events\":[{}]}},\
         \"pc\":{{\"type\":\"currentwindow\",\"events\":[{{\"timestamp\":\"2023-11-14T22:13:22Z\",\"duration\":9,\"data\":{{\"app\":\"vim\"}}}}]}},\
         \"afk\":{{\"type\":\"afkstatus\",\"events\":[]}}}}}}",
        [
            window("13:20.400", 1.2, "System launcher", "com.miui.home"),
            window("13:21.600", 3.0, "Mail", "com.mail"),
            window("13:24.700", 5.3, "Mail", "com.mail"),
            window("13:30.000", 0.0, "Maps", "com.maps"),
        ]
        .join(","),
        "{\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"duration\":0,\"data\":{}}"
    );
    let (log, warnings, vocabulary) = read(&json, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "1 +Mail", "10 -Mail", "10 +Maps"]);
    assert_eq!(warnings.count(WarningKind::HomeScreen), 1, "{warnings}");
}

#[test]
fn any_table_by_its_columns() {
    let columns = |columns: &str, signals: &[&str]| LogOptions {
        columns: Some(columns.parse().unwrap()),
        signals: signals.iter().map(|signal| signal.parse().unwrap()).collect(),
        ..options()
    };
    let expected = ["0 unlock", "1 +Mail", "9 -Mail", "9 +Maps"];
    let study = "who;when;what;name;note\nann;1700000000000;u;;x\nann;1700000001500;open;Mail;\nann;1700000009000;shut;Mail;\nann;1700000009000;open;Maps;y\nann;1700000010000;battery;;\n";
    let of_study = columns(
        "user=who,at=when,signal=what,app=name",
        &["u=unlock", "open=launch", "shut=close", "battery=ignore"],
    );
    let (log, warnings, vocabulary) = read(study, &of_study).unwrap();
    assert_eq!(story(&log, &vocabulary), expected);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(log.events()[0].user, options().key.user_id("ann"));
    // Durations instead of closes, times as text, newest first.
    let visits = "start\tapp\tseconds\n2023-11-14 22:13:29\tMaps\t\n2023-11-14 22:13:21\tMail\t8\n";
    let (log, _, vocabulary) = read(visits, &columns("at=start,app=app,duration=seconds", &[])).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 +Mail", "8 -Mail", "8 +Maps"]);
    let zoned = visits.replace(' ', "T").replace("\tMa", "+01:00\tMa");
    let (log, ..) = read(zoned, &columns("at=start,app=app,duration=seconds", &[])).unwrap();
    assert_eq!(log.events()[0].at, Timestamp(1_699_996_401));
    // An unknown signal is counted, a column that is not there an error that lists the others.
    let (_, warnings, _) = read(
        study,
        &columns("user=who,at=when,signal=what,app=name", &["u=unlock", "open=launch", "shut=close"]),
    )
    .unwrap();
    let [warning] = &warnings.iter().collect::<Vec<_>>()[..] else { panic!("{warnings}") };
    assert_eq!((warning.field, warning.line), (Some("signal"), Some(6)));
    assert!(warning.detail.contains("`battery`") && warning.detail.contains("--signals"), "{warnings}");
    let error = read(study, &columns("at=time,app=name", &[])).unwrap_err().to_string();
    assert!(error.contains("no column `time`") && error.contains("who, when, what, name, note"), "{error}");
    for wrong in ["at", "when=at", "user=x,app=y", "at=x"] {
        assert!(wrong.parse::<foretap::data::TableColumns>().is_err(), "{wrong}");
    }
}

#[test]
fn aware_tables_of_one_person_become_one_log() {
    let folder = Folder::new();
    let screen = "_id,timestamp,device_id,screen_status\n1,1700000000000.0,dev,1\n2,1700000001000.0,dev,3\n3,1700000060000.0,dev,0\n4,1700000060100.0,dev,2\n";
    let apps = "_id,timestamp,device_id,package_name,application_name,is_system_app\n1,1700000002000,dev,com.mail,Mail,0\n2,1700000030000,dev,com.maps,Maps,0\n";
    let notices = "_id,timestamp,device_id,package_name,application_name,text,sound,vibrate,defaults,flags\n1,1700000050000,dev,com.mail,Mail,,,,,\n";
    let files = [
        ("screen.csv", screen),
        ("applications_foreground.csv", apps),
        ("applications_notifications.csv", notices),
    ];
    let files = files.map(|(name, text)| folder.file(name, text));
    let mut vocabulary = Vocabulary::new();
    let (log, warnings) = read_logs(&files, &options(), &mut vocabulary, &Silent).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 on", "1 unlock", "2 +Mail", "30 +Maps", "50 !Mail", "60 off"]);
    assert_eq!(log.users().count(), 1);
    assert!(warnings.is_empty(), "{warnings}");
    let niimpy = "user,device,time,screen_status\nu1,d1,1700000000.791,3\nu1,d1,1700000060.1,0\n";
    let (log, _, vocabulary) = read(niimpy, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "60 off"]);
}

#[test]
fn spreadsheets_and_languages() {
    let expected = read(APP_USAGE, &options()).unwrap().0;
    let utf16 = |text: &str, little: bool| -> Vec<u8> {
        let unit = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect()
    };
    for little in [true, false] {
        assert_eq!(read(utf16(APP_USAGE, little), &options()).unwrap().0, expected);
        assert_eq!(read(gzip(&utf16(APP_USAGE, little)), &options()).unwrap().0, expected);
    }
    for delimiter in [";", "\t"] {
        assert_eq!(
            read(APP_USAGE.replace("\",\"", &format!("\"{delimiter}\"")), &options()).unwrap().0,
            expected
        );
        let native = read(NATIVE, &options()).unwrap().0;
        assert_eq!(read(NATIVE.replace(',', delimiter), &options()).unwrap().0, native);
    }
    let twelve = [("10:0", "10:0", "\u{202f}AM"), ("10:0", "오전 10:0", ""), ("10:0", "上午10:0", "")];
    for (from, to, after) in twelve {
        let rows: String = APP_USAGE
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split("\",\"").collect();
                match fields[..] {
                    [label, date, time, duration] if time.starts_with(from) => {
                        format!("{label}\",\"{date}\",\"{}{after}\",\"{duration}\n", time.replace(from, to))
                    }
                    _ => format!("{line}\n"),
                }
            })
            .collect();
        assert_eq!(read(&rows, &options()).unwrap().0, expected, "{rows}");
    }
    let korean = APP_USAGE.replace("12/15/19", "19. 12. 15.");
    assert_eq!(read(korean, &options()).unwrap().0, expected);
    let persian: String = APP_USAGE
        .lines()
        .map(|line| match line.split_once("\",\"") {
            Some((label, rest)) if !line.contains("App name") => {
                let digits =
                    |c: char| c.to_digit(10).map_or(c, |digit| char::from_u32(0x6f0 + digit).unwrap());
                format!("{label}\",\"{}\n", rest.chars().map(digits).collect::<String>())
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(read(persian, &options()).unwrap().0, expected);
    let newest_first: String = "user,at,signal,app\n".to_owned()
        + "x,1700000009,screen_off,\nx,1700000005,launch,Mail\nx,1700000005,unlock,\nx,1700000004,screen_on,\n";
    let (log, warnings, vocabulary) = read(newest_first, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 on", "1 unlock", "1 +Mail", "5 off"]);
    assert!(warnings.is_empty(), "{warnings}");
    let swapped = LogOptions { date_order: Some(foretap::data::DateOrder::Dmy), ..options() };
    assert!(read(APP_USAGE, &swapped).is_err(), "12/15/19 is no day/month");
}

#[test]
fn times_without_seconds_and_made_up_unlocks_tell_no_home_screen() {
    // Mail is liked, and left for Chat after 20 seconds.
    let visits = |round: i64| -> String {
        let visit = |number: i64| {
            let at = (1_700_000_000 + 3600 * number + 37 * number % 3000) / round * round;
            let next = (at + 23) / round * round;
            format!("x,{at},unlock,\nx,{at},launch,Mail\nx,{next},launch,Chat\n")
        };
        "user,at,signal,app\n".to_owned() + &(0..60).map(visit).collect::<String>()
    };
    for round in [1, 60, 3600] {
        let (_, warnings, _) = read(visits(round), &options()).unwrap();
        assert_eq!(warnings.count(WarningKind::HomeScreen), 0, "{round}: {warnings}");
    }
    // Requests of a trace: the session begins with one app and goes on with another at once.
    let request = |session: u32| {
        let (day, hour) = (1 + session % 28, 10 + session / 28);
        let row = |second: u32, app: &str| format!("7\t201604{day:02}{hour}00{second:02}\t1\t{app}\t1\n");
        row(0, "WeChat") + &row(1, "Other")
    };
    let trace: String = (0..60).map(request).collect();
    let (log, warnings, _) = read(trace, &options()).unwrap();
    let unlocks = log.events().iter().filter(|event| event.signal == Signal::Unlock).count();
    assert_eq!((unlocks, warnings.count(WarningKind::HomeScreen)), (60, 0), "{warnings}");
    let named = LogOptions { home: vec!["mail".to_owned()], ..options() };
    let (_, warnings, _) = read(APP_USAGE, &named).unwrap();
    assert!(
        warnings.to_string().contains("no app is called `mail`, which --home names; did you mean `Mail`?"),
        "{warnings}"
    );
}

#[test]
fn times_of_a_table_are_what_they_say() {
    let at = |text: &str| {
        let columns = Some("at=t,app=a".parse().unwrap());
        let options = LogOptions { columns, time_zone: Some("America/New_York".to_owned()), ..options() };
        read(format!("t;a\n{text};Mail\n"), &options)
            .map(|(log, ..)| (log.events()[0].at.0, log.events()[0].utc_offset_secs))
    };
    let noon = 1_709_294_400; // 2024-03-01 12:00 UTC
    let cases = [
        ("2024-03-01 07:00:00", (noon, -18_000)),
        ("2024-03-01 07:00:00.123", (noon, -18_000)),
        ("2024-03-01 07:00:00.123 PM", (noon + 43_200, -18_000)),
        ("2024-03-01 14:00:00.123 +0200", (noon, 7200)),
        ("2024-03-01T14:00:00+02:00", (noon, 7200)),
        ("2024-03-01 12:00:00.123000 UTC", (noon, -18_000)),
        ("2024-03-01T12:00:00.5Z", (noon, -18_000)),
        ("1709294400", (noon, -18_000)),
        ("1709294400,5", (noon, -18_000)),
    ];
    for (text, expected) in cases {
        assert_eq!(at(text).unwrap_or_else(|error| panic!("{text}: {error}")), expected, "{text}");
    }
    for text in ["2024-03-01 07:00:00.hello", "2024-03-01", "soon", "2024-13-01 07:00:00"] {
        assert!(at(text).is_err(), "{text}");
    }
    // The order of day and month is that of the whole file.
    let days: String = (8..30).map(|day| format!("{day:02}-03-24 07:0{}:00;Mail\n", day % 10)).collect();
    let columns = Some("at=t,app=a".parse().unwrap());
    let (log, warnings, _) = read(format!("t;a\n{days}"), &LogOptions { columns, ..options() }).unwrap();
    let (first, last) = (log.events()[0].at.0, log.events()[log.events().len() - 1].at.0);
    assert_eq!((first, last - first), (1_709_881_680, 21 * 86_400 + 60), "{warnings}");
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn stays_of_a_table_end_in_time() {
    let read = |rows: &str, unit: Option<&str>| {
        let columns = Some("at=t,app=a,duration=d".parse().unwrap());
        let unit = unit.map(|unit| unit.parse().unwrap());
        let (log, _, vocabulary) =
            read(format!("t,a,d\n{rows}"), &LogOptions { columns, unit, ..options() }).unwrap();
        story(&log, &vocabulary)
    };
    // Seconds, unless a unit is named; no longer than until the next launch; a short one closes after its launch.
    assert_eq!(read("1709276599000,Mail,12\n", None), ["0 +Mail", "12 -Mail"]);
    assert_eq!(read("1709276599000,Mail,12000\n", Some("ms")), ["0 +Mail", "12 -Mail"]);
    assert_eq!(
        read("1709276599,Mail,50\n1709276609,Maps,0.4\n", None),
        ["0 +Mail", "10 -Mail", "10 +Maps", "10 -Maps"]
    );
    let long = read("1709276599,Mail,1000000000000000\n", None);
    assert!(long.len() == 2 && long[1].ends_with("-Mail"), "{long:?}");
}

#[test]
fn what_is_no_launch_and_who_is_another_person() {
    let crashes = "_id,timestamp,device_id,package_name,application_name,application_version,error_short,error_long,error_condition,is_system_app\n1,1700000000000,dev,p,Mail,1,x,y,1,0\n";
    assert!(read(crashes, &options()).unwrap_err().to_string().contains("not recognised"));
    let window = |host: &str| {
        format!(
            "\"w-{host}\":{{\"type\":\"currentwindow\",\"hostname\":\"{host}\",\"events\":[{{\"timestamp\":\"2023-11-14T22:13:20Z\",\"duration\":1,\"data\":{{\"app\":\"Mail\",\"package\":\"m\"}}}}]}}"
        )
    };
    let two = format!("{{\"buckets\":{{{},{}}}}}", window("red"), window("blue"));
    let key = options().key;
    let (log, ..) = read(&two, &options()).unwrap();
    let users: Vec<UserId> = log.users().map(|events| events[0].user).collect();
    assert_eq!(users, [key.user_id("log/blue"), key.user_id("log/red")]);
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(two.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(utf16, &options()).unwrap().0, log);
    // A dump that another shell went on with in UTF-16.
    let mixed =
        [USAGESTATS.as_bytes(), &USAGESTATS.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()]
            .concat();
    let error = read(mixed, &options()).unwrap_err().to_string();
    assert!(error.contains("line 20") && error.contains("zero bytes"), "{error}");
    let damaged = USAGESTATS.replacen("    time=\"2024-11-23 10:00:03\"", "10:00:03\"", 1);
    assert_eq!(read(damaged, &options()).unwrap().1.count(WarningKind::BadRow), 1);
}

#[test]
fn regular_days_are_not_another_time_zone() {
    let folder = Folder::new();
    let day = |day: i64| -> String {
        (0..40)
            .map(|hour| format!("p,{},launch,Tracker\n", 1_700_000_000 + 86_400 * day + 1800 * hour))
            .collect()
    };
    let file = |name: &str, days: std::ops::Range<i64>| {
        folder.file(name, "user,at,signal,app\n".to_owned() + &days.map(day).collect::<String>())
    };
    let files = [file("a.csv", 0..10), file("b.csv", 10..20)];
    let (log, warnings) = read_logs(&files, &options(), &mut Vocabulary::new(), &Silent).unwrap();
    assert_eq!((log.events().len(), warnings.count(WarningKind::Shifted)), (800, 0), "{warnings}");
}

#[test]
fn a_folder_is_all_its_files() {
    let folder = Folder::new();
    let study = |name: &str, text: &str| folder.file(name, text);
    study(
        "applications_foreground.csv",
        "_id,timestamp,device_id,package_name,application_name\n1,1700000002000,dev,com.mail,Mail\n",
    );
    study(
        "screen.csv",
        "_id;timestamp;device_id;screen_status\n1;1700000001000,5;dev;3\n2;1700000060000;dev;0\n",
    );
    study(
        "battery.csv",
        "_id,timestamp,device_id,battery_status,battery_level\n1,1700000000000,dev,5,100\n2,1700000050000,dev,3,101\n",
    );
    study(
        "network.csv",
        "_id,timestamp,device_id,network_type,network_state\n1,1700000000000,dev,4,0\n2,1700000000000,dev,1,1\n",
    );
    study(
        "gps.csv",
        "time,double_latitude,double_longitude,user\n1700000000,48.86,2.35,dev\n1700000001,95,2.35,dev\n",
    );
    // What is no log, and what has no rows.
    study("accelerometer.csv", "_id,timestamp,device_id,double_values_0\n1,1700000002000,dev,0.1\n");
    study("applications_notifications.csv", "_id,timestamp,device_id,package_name,application_name,text\n");
    study("notes.txt", "hello\n");
    study("photo.png", "\u{0}PNG");
    study(".hidden.csv", "x");
    fs::create_dir(folder.0.path().join("deeper")).unwrap();
    let (log, warnings, vocabulary) = read_file(folder.0.path(), &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "1 +Mail", "59 off"]);
    let here = PlaceGrid::default().place(48.86, 2.35);
    let battery = Battery { percent: Some(100), charging: Some(true) };
    for event in log.events() {
        assert_eq!((event.battery, event.network, event.place), (battery, Network::Wifi, here));
    }
    let left_out: Vec<String> =
        warnings.iter().filter(|w| w.kind == WarningKind::LeftOut).map(ToString::to_string).collect();
    assert_eq!(left_out.len(), 4, "{warnings}");
    assert!(left_out[0].contains("accelerometer.csv: left out: the format of"), "{warnings}");
    assert!(left_out[1].contains("applications_notifications.csv: left out: no row in it"), "{warnings}");
    let bad: Vec<String> =
        warnings.iter().filter(|w| w.kind == WarningKind::BadRow).map(|w| w.detail.clone()).collect();
    assert_eq!(bad.len(), 2, "{warnings}");
    assert!(bad[0].contains("field `battery_level`") && bad[1].contains("not on Earth"), "{warnings}");
    // A folder is one argument: its positions pair with it.
    let empty = Folder::new();
    assert!(
        read_file(empty.0.path(), &options()).unwrap_err().to_string().contains("no file in this folder")
    );
    empty.file("notes.txt", "hello\n");
    let error = read_file(empty.0.path(), &options()).unwrap_err().to_string();
    assert!(
        error.contains("no file in this folder is a log; ") && error.contains("notes.txt: left out"),
        "{error}"
    );
    // A study's own columns, with what else lies there: the mapping, say.
    let study = Folder::new();
    study.file("study.csv", "t,a\n1700000000,Mail\n1700000060,Maps\n");
    study.file("study.toml", "unit = \"s\"\n[columns]\nat = \"t\"\napp = \"a\"\n");
    study.file("README.txt", "What this is.\n");
    let columns = Some("at=t,app=a".parse().unwrap());
    let (log, warnings, vocabulary) =
        read_file(study.0.path(), &LogOptions { columns, ..options() }).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 +Mail", "60 +Maps"]);
    assert_eq!(warnings.count(WarningKind::LeftOut), 2, "{warnings}");
    let only_battery = folder.0.path().join("battery.csv");
    let error = read_file(&only_battery, &options()).unwrap_err().to_string();
    assert!(error.contains("no event") && error.contains("their folder"), "{error}");
}

#[test]
fn quoted_fields_hold_line_breaks_in_every_table() {
    let columns = Some("at=t,app=a".parse().unwrap());
    let table = "t,note,a\n1700000000,\"one\ntwo, \"\"three\"\"\r\n\n\",Mail\n1700000009,\"x,Mail\n1700000010,,Maps\n";
    let (log, warnings, vocabulary) = read(table, &LogOptions { columns, ..options() }).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 +Mail", "10 +Maps"]);
    // The quote that is missing costs its own row, which is named by its own line.
    let found: Vec<_> = warnings.iter().map(|warning| (warning.kind, warning.count, warning.line)).collect();
    assert_eq!(found, [(WarningKind::BadRow, 1, Some(6))], "{warnings}");
    let usage = APP_USAGE.replace("(Mail)", "(Two\nlines)").replacen("\"Maps\"", "\"Maps\nof old\"", 1);
    let (log, warnings, vocabulary) = read(usage, &options()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(vocabulary.names(), ["Mail", "Two\nlines", "Maps\nof old"]);
    assert_eq!(log.events().len(), 9);
    let native = "user,at,signal,app\nann,1700000000,launch,\"a\nann,b\"\nbob,1700000001,unlock,\n\"ann\",1700000002,launch,\"c\r\nd\"\n";
    let folder = Folder::new();
    let file = folder.file("a.csv", native);
    let (log, warnings, vocabulary) = read_file(&file, &options()).unwrap();
    assert_eq!((log.events().len(), vocabulary.names()[0].as_str()), (3, "a\nann,b"), "{warnings}");
    // Whoever is forgotten is so with all lines of a row.
    let report = forget(&file, "ann", &options().key).unwrap();
    assert_eq!((report.removed_rows, report.kept_rows, report.unreadable_rows), (2, 1, 0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "user,at,signal,app\nbob,1700000001,unlock,\n");
}

#[test]
fn decimal_commas_where_commas_part_no_columns() {
    let read = |text: &str| {
        let columns = Some("at=t,app=a,duration=d".parse().unwrap());
        read(text, &LogOptions { columns, ..options() })
    };
    let (log, _, vocabulary) = read("t;a;d\n1700000000,7;Mail;2,9\n1700000060,2;Maps;\n").unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 +Mail", "2 -Mail", "60 +Maps"]);
    // Between commas it may as well part thousands.
    let (_, warnings, _) = read("t,a,d\n1700000000,Mail,\"1,500\"\n1700000060,Maps,2\n").unwrap();
    assert!(warnings.to_string().contains("field `duration`: `1,500` is not a number"), "{warnings}");
}

#[test]
fn a_bad_byte_costs_its_row() {
    let line = |text: &str, at: u8| [text.as_bytes(), &[at], b"\n"].concat();
    let native = [
        b"user,at,signal,app\nx,1700000000,unlock,\n".to_vec(),
        line("x,1700000001,launch,Caf", 0xe9),
        b"x,1700000002,launch,Mail\n".to_vec(),
    ]
    .concat();
    let dump = USAGESTATS.replacen("com.maps class=M", "com.m\u{1}ps class=M", 1);
    let dump: Vec<u8> = dump.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    let lsapp = [LSAPP.as_bytes(), &line("0\t3\t2018-01-16 06:40:01\tCaf", 0xe9)].concat();
    let usage = APP_USAGE.replacen("(Mail)", "(\u{1})", 1).into_bytes();
    let usage: Vec<u8> = usage.into_iter().map(|byte| if byte == 1 { 0xfe } else { byte }).collect();
    for (content, row, events) in [(native, 3, 2), (dump, 10, 8), (lsapp, 12, 16), (usage, 4, 8)] {
        let (log, warnings, _) = read(&content, &options()).unwrap();
        let found: Vec<_> =
            warnings.iter().map(|warning| (warning.kind, warning.count, warning.line)).collect();
        assert_eq!(found, [(WarningKind::BadRow, 1, Some(row))], "{warnings}");
        assert!(warnings.to_string().contains("not UTF-8 (save the file as UTF-8)"), "{warnings}");
        assert_eq!(log.events().len(), events, "{warnings}");
    }
}

#[test]
fn activity_watch_in_any_order_of_keys() {
    let json = "{\"version\":1,\"buckets\":{\"w\":{\"events\":[\
        {\"data\":{\"package\":\"com.maps\",\"app\":\"Maps\"},\"timestamp\":\"2023-11-14T22:13:40Z\",\"id\":3},\
        {\"data\":{\"app\":\"Mail\",\"package\":\"com.mail\",\"title\":\"}}\\\"\"},\"duration\":8,\"timestamp\":\"2023-11-14T22:13:21Z\"}],\
        \"type\":\"currentwindow\"},\"u\":{\"type\":\"os.lockscreen.unlocks\",\"events\":[\
        {\"timestamp\":\"2023-11-14T22:13:20Z\"},{\"duration\":null,\"timestamp\":\"2023-11-14T22:14:20Z\"}]}}}";
    let expected = ["0 unlock", "1 +Mail", "9 -Mail", "20 +Maps", "60 unlock"];
    let (log, warnings, vocabulary) = read(json, &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), expected);
    assert!(warnings.is_empty(), "{warnings}");
    // Cut off in the last event, and in one whose bucket says its type only after it.
    let (log, warnings, vocabulary) = read(&json[..json.len() - 20], &options()).unwrap();
    assert_eq!(story(&log, &vocabulary), expected[..4]);
    assert_eq!(warnings.count(WarningKind::CutOff), 1, "{warnings}");
    let cut = json.find("\"duration\":8").unwrap();
    let error = read(&json[..cut], &options()).unwrap_err().to_string();
    assert!(error.contains("no usable row"), "{error}");
    let untyped = json.replace("\"type\":\"currentwindow\"", "\"kind\":1");
    let (log, warnings, _) = read(&untyped, &options()).unwrap();
    assert_eq!((log.events().len(), warnings.count(WarningKind::BadRow)), (2, 2), "{warnings}");
    assert!(warnings.to_string().contains("field `type`"), "{warnings}");
    let damaged: Vec<u8> =
        json.replacen("Maps", "M\u{1}ps", 1).bytes().map(|b| if b == 1 { 0xe9 } else { b }).collect();
    let (log, warnings, _) = read(damaged, &options()).unwrap();
    assert_eq!((log.events().len(), warnings.count(WarningKind::BadRow)), (4, 1), "{warnings}");
    assert!(warnings.to_string().contains("not UTF-8"), "{warnings}");
}

#[test]
fn positions_lack_a_zone_only_beside_a_wall_clock() {
    let folder = Folder::new();
    let places = vec![folder.file("p.csv", "1575500050,48.86,2.35\n")];
    let read = |text: &str, zone: Option<&str>| {
        let columns = Some("at=t,app=a".parse().unwrap());
        let time_zone = zone.map(str::to_owned);
        let options = LogOptions { columns, places: places.clone(), time_zone, ..options() };
        read(text, &options).unwrap().1.count(WarningKind::PlacesWithoutZone)
    };
    assert_eq!(read("t,a\n1575500060,Mail\n", None), 0);
    assert_eq!(read("t,a\n2019-12-05T08:00:00+01:00,Mail\n", None), 0);
    assert_eq!(read("t,a\n2019-12-05 08:00:00,Mail\n", None), 1);
    assert_eq!(read("t,a\n2019-12-05 08:00:00,Mail\n", Some("UTC")), 0);
}

#[test]
fn a_person_has_a_name() {
    for person in ["", "  "] {
        let options = LogOptions { person: Some(person.to_owned()), ..options() };
        let error = read(NATIVE, &options).unwrap_err().to_string();
        assert!(error.contains("`--person`") && error.contains("no name"), "{error}");
    }
}

/// The export of a phone of nine days, newest first; from day `turn` on the labels are those of `then`.
fn export_in(first: [&str; 4], turn: i64, then: [&str; 4]) -> String {
    let mut rows = Vec::new();
    for visit in 0..9 * 14 {
        let day = visit / 14;
        let [off, locked, unlock, notified] = if day < turn { first } else { then };
        let mut row = |label: &str, second: i64, duration: i64| {
            let at = 8 * 3600 + (visit % 14) * 4000 + second;
            let clock = |secs: i64| format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60);
            let (time, duration) = (clock(at), clock(duration));
            rows.push(format!("\"{label}\",\"12/{}/19\",\"{time}\",\"{duration}\"\n", 13 + day));
        };
        let app = |index: i64| ["Mail", "Maps", "Chat"][(index % 3) as usize];
        row(locked, 0, 2);
        row(unlock, 2, 1);
        row(app(visit), 3, 40);
        row(&notified.replace("{}", app(visit + 1)), 20, 0);
        row(&notified.replace("{}", app(visit + 1)), 20, 0);
        row(app(visit * 2 + 1), 43, 60);
        row(off, 103, 3897);
    }
    rows.reverse();
    HEADER.to_owned() + &rows.concat()
}

const ENGLISH: [&str; 4] =
    ["Screen off", "Screen on (locked)", "Screen on (unlocked)", "Notification posted ({})"];
const INVENTED: [&str; 4] = ["Zora fel", "Zora lum (krat)", "Zora lum (ekrat)", "Vesti ({})"];

#[test]
fn an_unknown_language_is_told_by_how_its_labels_behave() {
    let (expected, warnings, names) = read(export_in(ENGLISH, 9, ENGLISH), &options()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    // The whole export, the part after the phone's language was changed, or the part before.
    for (first, turn, then) in [(INVENTED, 9, INVENTED), (ENGLISH, 4, INVENTED), (INVENTED, 5, ENGLISH)] {
        let (log, warnings, vocabulary) = read(export_in(first, turn, then), &options()).unwrap();
        assert!(log == expected && vocabulary.names() == names.names(), "{turn}: {warnings}");
        let [warning] = &warnings.iter().collect::<Vec<_>>()[..] else { panic!("{turn}: {warnings}") };
        assert_eq!(warning.kind, WarningKind::UnknownLabel);
        for part in [
            "`Zora fel` is the screen going dark",
            "`Zora lum (ekrat)` is the unlock",
            "`Zora lum (krat)` is the locked screen coming on",
            "`Vesti ({})` is a notification",
            "data/app_usage_labels.csv",
        ] {
            assert!(warning.detail.contains(part), "{turn}: `{part}` is not in: {warnings}");
        }
    }
    // Two languages that are both known need no inference.
    let french = [
        "\u{c9}cran \u{e9}teint",
        "\u{c9}cran allum\u{e9} (verrouill\u{e9})",
        "\u{c9}cran allum\u{e9} (d\u{e9}verrouill\u{e9})",
        "Notifications envoy\u{e9}es ({})",
    ];
    let (log, warnings, _) = read(export_in(ENGLISH, 4, french), &options()).unwrap();
    assert!(log == expected && warnings.is_empty(), "{warnings}");
    // Where no label is clear, the part is named.
    let no_screen = |export: String| -> String {
        export.split_inclusive('\n').filter(|line| !line.contains("Zora")).collect()
    };
    let (_, warnings, _) = read(no_screen(export_in(ENGLISH, 4, INVENTED)), &options()).unwrap();
    assert!(warnings.to_string().contains("from 2019-12-17T08:00:03 to 2019-12-21T22:27:23"), "{warnings}");
    assert!(read(no_screen(export_in(INVENTED, 9, INVENTED)), &options()).is_err());
}

#[test]
fn labels_of_real_phones_are_inferred_as_the_table_has_them() {
    let Some(folder) = phones::folder() else { return };
    let invented = [
        ("\"Screen on (unlocked)\"", "\"A1\""),
        ("\"Screen on (locked)\"", "\"A2\""),
        ("\"Screen off\"", "\"A3\""),
        ("\"Screen off (locked)\"", "\"A4\""),
        ("\"\u{c9}cran allum\u{e9} (d\u{e9}verrouill\u{e9})\"", "\"A1\""),
        ("\"\u{c9}cran allum\u{e9} (verrouill\u{e9})\"", "\"A2\""),
        ("\"\u{c9}cran \u{e9}teint\"", "\"A3\""),
        ("\"\u{c9}cran \u{e9}teint (verrouill\u{e9})\"", "\"A4\""),
        ("\"Notification posted (", "\"Neu ("),
        ("\"Notifications envoy\u{e9}es (", "\"Neu ("),
    ];
    for phone in 1..=3 {
        let text = fs::read_to_string(folder.join(format!("phone{phone}_app_usage.csv"))).unwrap();
        let (expected, ..) = read(&text, &options()).unwrap();
        let changed = invented.iter().fold(text, |text, (from, to)| text.replace(from, to));
        let (log, warnings, _) = read(changed, &options()).unwrap();
        assert_eq!(warnings.count(WarningKind::UnknownLabel), 1, "{warnings}");
        assert!(log == expected, "phone {phone}: {warnings}");
    }
}

#[test]
fn clocks_that_were_set_back_are_named_in_every_format() {
    // An hour of launches, then the clock goes back by two hours, and an hour more.
    let minutes = |from: i64| (0..60).map(move |minute| from + 60 * minute);
    let times: Vec<i64> = minutes(0).chain(minutes(-3600)).collect();
    let wall = |at: i64| {
        let second = 80_000 + at; // of 2023-11-14, UTC
        format!("2023-11-14 {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    };
    let of = |header: &str, row: &dyn Fn(i64) -> String| {
        header.to_owned() + &times.iter().map(|&at| row(at)).collect::<String>()
    };
    let native = |times: &mut dyn Iterator<Item = &i64>| {
        let rows: String = times.map(|at| format!("x,{},launch,Mail\n", 1_700_000_000 + at)).collect();
        "user,at,signal,app\n".to_owned() + &rows
    };
    let usage: String = times
        .iter()
        .rev()
        .map(|&at| wall(at).replace(' ', "\",\""))
        .map(|at| format!("\"Screen on (unlocked)\",\"{at}\",\"0:00:01\"\n"))
        .collect();
    let dump = of("user=0\n  Last 24 hour events (timeRange=\"x\" )\n", &|at| {
        format!("    time=\"{}\" type=ACTIVITY_RESUMED package=com.a class=A\n", wall(at))
    });
    let mut numbered: Vec<(i64, usize)> = times.iter().copied().zip(0..).collect();
    numbered.sort_unstable_by_key(|&(at, id)| (-at, id));
    let event = |(at, id): &(i64, usize)| {
        let at = wall(*at).replace(' ', "T");
        format!("{{\"id\":{id},\"timestamp\":\"{at}Z\",\"data\":{{\"app\":\"Mail\",\"package\":\"m\"}}}}")
    };
    let events: Vec<String> = numbered.iter().map(event).collect();
    let json =
        format!("{{\"buckets\":{{\"w\":{{\"type\":\"currentwindow\",\"events\":[{}]}}}}}}", events.join(","));
    let cases = [
        ("native", native(&mut times.iter()), Some(62)),
        ("newest first", native(&mut times.iter().rev()), Some(62)),
        ("app usage", HEADER.to_owned() + &usage, Some(61)),
        ("dump", dump, Some(63)),
        ("activity watch", json, None),
        ("lsapp", of("", &|at| format!("0\t1\t{}\tMail\tOpened\n", wall(at))), Some(61)),
    ];
    for (what, content, line) in cases {
        let (log, warnings, _) = read(content, &options()).unwrap();
        let found: Vec<_> = warnings.iter().filter(|w| w.kind == WarningKind::ClockSet).collect();
        assert_eq!(found.len(), 1, "{what}: {warnings}");
        assert_eq!((found[0].count, found[0].line), (1, line), "{what}: {warnings}");
        let text = found[0].to_string();
        let words = "by 119 min from 2023-11-14T23:12:20Z to 2023-11-14T21:13:20Z";
        assert!(text.contains(words), "{what}: {text}");
        assert!(log.events().windows(2).all(|pair| pair[0].at <= pair[1].at), "{what}");
    }
}

#[test]
fn files_that_tell_the_same_at_another_time_are_named() {
    let folder = Folder::new();
    let file = |name: &str, seconds: i64| {
        let row = |index: i64| {
            let at = 1_700_000_000 + 97 * index * index % 86_400 + seconds;
            format!("ann,{at},{}\n", if index % 2 == 0 { "unlock," } else { "launch,Mail" })
        };
        let mut rows: Vec<String> = (0..120).map(row).collect();
        rows.sort();
        folder.file(name, format!("user,at,signal,app\n{}", rows.concat()))
    };
    let read = |second: i64| {
        let files = [file("a.csv", 0), file("b.csv", second)];
        read_logs(&files, &options(), &mut Vocabulary::new(), &Silent).unwrap()
    };
    for (seconds, words) in [(47, "47 s later"), (-3600, "3600 s earlier")] {
        let (log, warnings) = read(seconds);
        let found: Vec<_> = warnings.iter().filter(|w| w.kind == WarningKind::Offset).collect();
        assert_eq!((found.len(), log.events().len() > 200), (1, true), "{warnings}");
        assert!(found[0].file.ends_with("b.csv") && found[0].to_string().contains(words), "{warnings}");
    }
    let (log, warnings) = read(1);
    assert_eq!((log.events().len() < 125, warnings.count(WarningKind::Offset)), (true, 0), "{warnings}");
}

#[test]
fn a_mapping_says_what_flags_say() {
    let folder = Folder::new();
    let study = "who;when;what;name\nann;01-03-2024 07:00:00;3;\nann;01-03-2024 07:00:05;app opened;Mail\n\
        ann;01-03-2024 07:00:09;x;\nann;01-03-2024 07:00:10;app opened;Kiosk\n";
    let mapping = r#"
unit = "s"
zone = "America/New_York"
date_order = "dmy"
person = "ann"
home = ["Kiosk"]
keep_home = false
profiles = "people"

[columns]
user = "who"
at = "when"
signal = "what"
app = "name"

[signals]
3 = "unlock"
"app opened" = "launch"
x = "ignore"
"#;
    let with = |text: &str| options().with_mapping(&folder.file("study.toml", text));
    let (log, warnings, vocabulary) = read(study, &with(mapping).unwrap()).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "5 +Mail", "10 -Mail"]);
    assert_eq!(log.events()[0].at, Timestamp(1_709_294_400));
    assert_eq!((log.events()[0].utc_offset_secs, warnings.count(WarningKind::HomeScreen)), (-18_000, 1));
    assert_eq!(with(mapping).unwrap().profiles, Profiles::People);
    let cases: [(&str, &[&str]); 13] = [
        ("colums = 3", &["line 1", "unknown field `colums`", "did you mean `columns`?"]),
        (
            "[columns]\nat = \"t\"\napp = \"a\"\nwhen = \"x\"",
            &["line 4", "unknown field `when`", "did you mean"],
        ),
        ("[columns]\napp = \"a\"", &["missing field `at`"]),
        ("[columns]\nat = \"t\"", &["field `columns`", "neither `app` nor `signal`"]),
        ("[columns]\nat = \"\"\napp = \"a\"", &["field `columns`", "no column is named for `at`"]),
        ("[signals]\nx = \"launch\"", &["signals are named, but no columns", "[columns]"]),
        (
            "[columns]\nat = \"t\"\napp = \"a\"\n[signals]\n3 = \"lunch\"",
            &["line 5", "field `signals`", "`lunch`, which `3` shall mean"],
        ),
        ("unit = \"hours\"", &["line 1", "field `unit`", "`hours` is no unit", "s, ms or us"]),
        ("person = \"ann\"\nzone = \"Europe/Pariss\"", &["line 2", "field `zone`", "`Europe/Paris`"]),
        ("date_order = \"xyz\"", &["field `date_order`", "`xyz`", "ymd"]),
        ("home = \"Mail\"", &["line 1", "expected a sequence"]),
        ("unit = ", &["line 1", "the keys are columns, signals"]),
        ("unit = \"s\"\nunit = \"s\"", &["line 2", "duplicate key"]),
    ];
    for (text, expected) in cases {
        let error = with(text).unwrap_err();
        assert_eq!(error.kind(), foretap::ErrorKind::Config, "{text}: {error}");
        let error = error.to_string();
        for part in expected.iter().chain(&["study.toml"]) {
            assert!(error.contains(part), "{text}: `{part}` is not in: {error}");
        }
    }
    let missing = options().with_mapping(&folder.0.path().join("no.toml")).unwrap_err().to_string();
    assert!(missing.contains("no.toml"), "{missing}");
    let latin1 = options().with_mapping(&folder.file("latin1.toml", b"zone = \"\xe9\"")).unwrap_err();
    assert!(latin1.to_string().contains("latin1.toml"), "{latin1}");
}

#[test]
fn refused_columns_and_values_are_named() {
    let cases = [
        ("at", "`at` does not say"),
        ("when=at", "`when` in a log, as `when=at` has it"),
        ("user=x,app=y", "no column is named for `at`"),
        ("at=x", "neither `app` nor `signal`"),
        ("at=x,app=y,at=z", "`at` is named twice: `x` and `z`"),
        ("at=x,app=y,user=", "the column of `user` has no name"),
    ];
    for (wrong, expected) in cases {
        let error = wrong.parse::<foretap::data::TableColumns>().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("duration=seconds"), "{wrong}: {error}");
    }
    let error = "open=lunch".parse::<foretap::data::SignalName>().unwrap_err().to_string();
    assert!(error.contains("`lunch`, which `open` shall mean") && error.contains("screen_on"), "{error}");
    let both = ["open=launch", "off=screen_off", "open=close"].map(|pair| pair.parse().unwrap()).to_vec();
    let error =
        read("t,s,a\n1700000000,open,Mail\n", &LogOptions { signals: both, ..options() }).unwrap_err();
    assert!(
        error.to_string().contains("field `signals`: `open` means two signals; name each value once"),
        "{error}"
    );
    let rows: String = ["launch", "tap", "launch", "battery", "tap", "launch"]
        .iter()
        .enumerate()
        .map(|(second, what)| format!("{},{what},Mail\n", 1_700_000_000 + second))
        .collect();
    let columns = Some("at=t,signal=s,app=a".parse().unwrap());
    let (_, warnings, _) = read("t,s,a\n".to_owned() + &rows, &LogOptions { columns, ..options() }).unwrap();
    assert!(warnings.to_string().ends_with("all such values: `battery` 1, `tap` 2"), "{warnings}");
}
