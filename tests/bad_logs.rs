//! Bad and odd log files: what the messages say, what is counted, and that nothing panics.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod samples;

use std::fs;
use std::path::Path;

use foretap::data::log::WarningKind;
use foretap::data::{LogFormat, LogOptions, Vocabulary, forget, write_log};
use proptest::prelude::*;
use samples::*;

#[test]
fn bad_files_say_what_to_do() {
    let latin1: Vec<u8> =
        APP_USAGE.replace("Maps", "Caf\u{1}").bytes().map(|b| if b == 1 { 0xe9 } else { b }).collect();
    // Without the byte order mark that says so.
    let utf16: Vec<u8> = APP_USAGE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1_rows = |good: usize, bad: usize| -> Vec<u8> {
        [b"x,1700000000,launch,Mail\n".repeat(good), b"x,1700000000,launch,Caf\xe9\n".repeat(bad)].concat()
    };
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
        (
            "declared, only a header",
            HEADER.into(),
            format(LogFormat::AppUsage),
            &["no usable row; the file has no row after its header", "export the log again"],
        ),
        (
            "our own header alone",
            "user,at,signal,app\n".into(),
            options(),
            &["no usable row; the file has no row after its header", "export the log again"],
        ),
        (
            "declared, another column",
            "app,date,time\n\"Mail\",\"12/15/19\",\"10:00:00\"\n".into(),
            format(LogFormat::AppUsage),
            &["no usable row", "line 1", "3 columns instead of 4"],
        ),
        ("clears the screen", b"\x1b[2J\thello\n".to_vec(), options(), &["begins with `\\u{1b}[2J\\thello`"]),
        ("noise", b"hello\nworld\n".to_vec(), options(), &["not recognised", "native", "tsinghua"]),
        ("a bad byte, strictly", latin1, strict.clone(), &["line 3", "field `row`", "not UTF-8"]),
        (
            "another encoding",
            [b"user,at,signal,app\n".to_vec(), latin1_rows(40, 11)].concat(),
            options(),
            &["11 of 51 rows are not UTF-8", "save the file as UTF-8", "line 42"],
        ),
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
        #[cfg(not(feature = "sqlite"))]
        (
            "a database",
            b"SQLite format 3\0".to_vec(),
            options(),
            &["SQLite database", "cargo run --release --features sqlite --example inspect"],
        ),
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
            app_usage(&[
                row("A", day, "25:00:00"),
                row("A", day, "x"),
                row("A", day, "08:00:01"),
                row(unlock, day, "08:00:00"),
            ]),
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
        (
            "disorder",
            native("x,1700000000,unlock,,,\nx,1699999995,unlock,,,\nx,1700000009,unlock,,,\n"),
            OutOfOrder,
            1,
            Some(3),
        ),
        ("1970", native("x,5,unlock,,,\nx,1699999995,unlock,,,\n"), ClockJump, 1, Some(2)),
        ("2150", native("x,1699999995,unlock,,,\nx,5680281600,unlock,,,\n"), ClockJump, 1, Some(3)),
        ("leap", native("x,1600000000,unlock,,,\nx,1699999995,unlock,,,\n"), ClockJump, 1, Some(3)),
        (
            "the last day of the calendar",
            app_usage(&[row("A", "12/31/9999", "23:59:59"), row(unlock, "12/15/2019", "09:00:00")]),
            ClockJump,
            1,
            Some(2),
        ),
        (
            "the last day of the calendar",
            format!("{LSAPP}0\t3\t9999-12-31 23:59:59\tMail\tOpened\n"),
            ClockJump,
            1,
            Some(12),
        ),
        (
            "ambiguous",
            app_usage(&[row("A", "5/6/19", "10:00:00"), row(unlock, "5/6/19", "09:00:00")]),
            AmbiguousDates,
            1,
            None,
        ),
        ("no unlock", app_usage(&[row("A", day, "10:00:00")]), NoUnlock, 1, None),
        // The language is known by another label, so the phone is at fault, and its apps can still be learned.
        (
            "no unlock in a long log",
            app_usage(
                &(10..60)
                    .map(|minute| row("Screen off", day, &format!("10:{minute}:00")))
                    .collect::<Vec<_>>(),
            ),
            NoUnlock,
            1,
            None,
        ),
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
        // A line of another kind in JSON Lines is a bad row, and not a header that comes late.
        ("no json", format!("{NATIVE_JSON}x,1700000001,unlock\n"), BadRow, 1, Some(2)),
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
fn a_time_that_cannot_be_says_what_it_likely_is() {
    let native = |at: &str| format!("user,at,signal,app\nx,1699999995,unlock,\nx,{at},unlock,\n");
    let table = |unit: Option<&str>| LogOptions {
        columns: Some("at=at,app=app".parse().unwrap()),
        unit: unit.map(|unit| unit.parse().unwrap()),
        ..options()
    };
    let rows = |at: &str| format!("at,app\n1699999995000,A\n{at},B\n");
    let cases = [
        (native("5"), options(), "at 1970-01-01T00:00:05Z, not between 2000 and 2100: the clock was not set"),
        (
            native("1699999995000"),
            options(),
            "likely in ms, where seconds are meant: name --columns, and --unit ms",
        ),
        (native("5680281600"), options(), "at 2150-01-01T00:00:00Z, not between 2000 and 2100 (skipped)"),
        (rows("1699999996"), table(Some("ms")), "read in ms, but likely in s: say --unit s"),
        (rows("12"), table(None), "`12` is not a time between 2000 and 2100 in s, ms or us; --unit says"),
        (rows("soon"), table(None), "`soon` is not a time as"),
    ];
    for (content, options, expected) in cases {
        let (_, warnings, _) = read(&content, &options).unwrap();
        assert!(warnings.to_string().contains(expected), "{expected}: {warnings}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

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
