//! Logs that are SQLite databases: each is made here, with the tables of its source.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

mod samples;

use std::fs;
use std::path::PathBuf;

use foretap::data::log::WarningKind;
use foretap::data::{Battery, LogFormat, LogOptions, Network, PlaceGrid, Vocabulary, read_logs};
use foretap::{ErrorKind, Silent};
use rusqlite::Connection;
use samples::*;

/// A database of this name with what `sql` makes.
fn database(folder: &Folder, name: &str, sql: &str) -> PathBuf {
    let file = folder.0.path().join(name);
    Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    file
}

/// Columns as `providers/*_Provider.java` of aware-client has them.
const AWARE: &str = "
    CREATE TABLE applications_foreground (_id integer primary key autoincrement, timestamp real default 0,
        device_id text default '', package_name text default '', application_name text default '', is_system_app integer);
    CREATE TABLE applications_notifications (_id integer primary key autoincrement, timestamp real default 0,
        device_id text default '', package_name text default '', application_name text default '', text text default '',
        sound text default '', vibrate text default '', defaults integer default -1, flags integer default -1);
    CREATE TABLE applications_crashes (_id integer primary key autoincrement, timestamp real default 0,
        device_id text default '', package_name text default '', application_name text default '',
        application_version real default 0, error_short text default '');
    CREATE TABLE screen (_id integer primary key autoincrement, timestamp real default 0, device_id text default '',
        screen_status integer default 0);
    CREATE TABLE battery (_id integer primary key autoincrement, timestamp real default 0, device_id text default '',
        battery_status integer default 0, battery_level integer default 0, battery_scale integer default 0,
        battery_adaptor integer default 0);
    CREATE TABLE network (_id integer primary key autoincrement, timestamp real default 0, device_id text default '',
        network_type integer default 0, network_subtype text default '', network_state integer default 0);
    CREATE TABLE locations (_id integer primary key autoincrement, timestamp real default 0, device_id text default '',
        double_latitude real default 0, double_longitude real default 0, accuracy real default 0);
    CREATE TABLE accelerometer (_id integer primary key autoincrement, timestamp real, device_id text, double_values_0 real);
    INSERT INTO applications_foreground (timestamp, device_id, package_name, application_name) VALUES
        (1700000001000.0, 'dev', 'com.mail', 'Mail'), (1700000030000, 'dev', 'com.maps', 'Maps'),
        ('soon', 'dev', 'com.maps', 'Maps');
    INSERT INTO applications_notifications (timestamp, device_id, package_name, application_name, text) VALUES
        (1700000050000, 'dev', 'com.mail', 'Mail', 'two' || char(10) || 'lines');
    INSERT INTO applications_crashes (timestamp, device_id, application_name) VALUES (1700000055000, 'dev', 'Maps');
    INSERT INTO screen (timestamp, device_id, screen_status) VALUES (1700000000000.0, 'dev', 1), (1700000001000.0, 'dev', 3),
        (1700000060000.0, 'dev', 0), (1700000060100.0, 'dev', 2);
    INSERT INTO battery (timestamp, device_id, battery_status, battery_level, battery_scale) VALUES
        (1699999990000, 'dev', 3, 71, 100), (1700000020000, 'dev', 2, 36, 50);
    INSERT INTO network (timestamp, device_id, network_type, network_state) VALUES
        (1699999990000, 'dev', 1, 0), (1699999990000, 'dev', 4, 1), (1700000020000, 'dev', -1, 1), (1700000020000, 'dev', 3, 1);
    INSERT INTO locations (timestamp, device_id, double_latitude, double_longitude) VALUES
        (1699999990000, 'dev', 48.86, 2.35), (1700000000000, 'dev', 0, 0);
";

#[test]
fn aware_s_tables_are_one_log_with_its_context() {
    let folder = Folder::new();
    let file = database(&folder, "aware.db", AWARE);
    let (log, warnings, vocabulary) = read_file(&file, &options()).unwrap();
    let expected = ["0 on", "1 unlock", "1 +Mail", "30 +Maps", "50 !Mail", "60 off"];
    assert_eq!(story(&log, &vocabulary), expected);
    assert_eq!(log.events()[0].user, options().key.user_id("dev"));
    let before = Battery { percent: Some(71), charging: Some(false) };
    let after = Battery { percent: Some(72), charging: Some(true) };
    let batteries: Vec<Battery> = log.events().iter().map(|event| event.battery).collect();
    assert_eq!(batteries, [before, before, before, after, after, after]);
    let networks: Vec<Network> = log.events().iter().map(|event| event.network).collect();
    use Network::{Cellular, Offline};
    assert_eq!(networks, [Cellular, Cellular, Cellular, Offline, Offline, Offline]);
    let here = PlaceGrid::default().place(48.86, 2.35);
    assert!(log.events().iter().all(|event| event.place == here));
    // A row that cannot be used is named by its table.
    let [warning] = &warnings.iter().collect::<Vec<_>>()[..] else { panic!("{warnings}") };
    assert_eq!((warning.kind, warning.count, warning.line), (WarningKind::BadRow, 1, None));
    assert!(warning.detail.contains("table `applications_foreground`, row 3: `soon`"), "{warnings}");
    let strict = LogOptions { strict: true, ..options() };
    let error = read_file(&file, &strict).unwrap_err().to_string();
    assert!(error.contains("aware.db") && error.contains("row 3") && error.contains("field `at`"), "{error}");
    // Packed, and one of several files of a phone: AWARE keeps a database for each sensor.
    let packed = folder.file("aware.db.gz", gzip(&fs::read(&file).unwrap()));
    assert_eq!(read_file(&packed, &options()).unwrap().0, log);
    let sensors = Folder::new();
    for (name, tables) in
        [("applications.db", "applications"), ("screen.db", "screen"), ("accelerometer.db", "accelerometer")]
    {
        let sql =
            AWARE.split_inclusive(';').filter(|sql| sql.contains(&format!(" {tables}"))).collect::<String>();
        database(&sensors, name, &sql);
    }
    let (of_sensors, warnings, vocabulary) = read_file(sensors.0.path(), &options()).unwrap();
    assert_eq!(story(&of_sensors, &vocabulary), expected);
    assert_eq!(warnings.count(WarningKind::LeftOut), 1, "{warnings}");
    assert!(warnings.to_string().contains("accelerometer.db: left out: no log that is known"), "{warnings}");
}

#[test]
fn any_table_of_a_database_by_its_columns() {
    let folder = Folder::new();
    let file = database(
        &folder,
        "study.sqlite",
        "CREATE TABLE visits (who text, begin text, app text, seconds real); CREATE TABLE notes (who text);
         INSERT INTO visits VALUES ('ann', '2023-11-14 22:13:20', 'Mail', 8.5), ('ann', '2023-11-14 22:14:20', 'Maps', NULL)",
    );
    let columns = |columns: &str| LogOptions { columns: Some(columns.parse().unwrap()), ..options() };
    let (log, warnings, vocabulary) =
        read_file(&file, &columns("user=who,at=begin,app=app,duration=seconds")).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 +Mail", "8 -Mail", "60 +Maps"]);
    assert!(warnings.is_empty(), "{warnings}");
    let error = read_file(&file, &columns("at=start,app=app")).unwrap_err().to_string();
    assert!(error.contains("no table has these columns") && error.contains("notes, visits"), "{error}");
    let error = read_file(&file, &options()).unwrap_err().to_string();
    assert!(error.contains("no log that is known") && error.contains("--columns"), "{error}");
}

/// The columns that `modules/knowledge_*.txt` of APOLLO names.
const KNOWLEDGE: &str = "
    CREATE TABLE ZSTRUCTUREDMETADATA (Z_PK INTEGER PRIMARY KEY, Z_DKNOTIFICATIONUSAGEMETADATAKEY__BUNDLEID VARCHAR);
    CREATE TABLE ZSOURCE (Z_PK INTEGER PRIMARY KEY, ZDEVICEID VARCHAR);
    CREATE TABLE ZOBJECT (Z_PK INTEGER PRIMARY KEY, ZSTREAMNAME VARCHAR, ZVALUESTRING VARCHAR, ZVALUEINTEGER INTEGER,
        ZSTARTDATE TIMESTAMP, ZENDDATE TIMESTAMP, ZSECONDSFROMGMT INTEGER, ZSTRUCTUREDMETADATA INTEGER, ZSOURCE INTEGER);
    INSERT INTO ZSTRUCTUREDMETADATA VALUES (1, 'com.apple.MobileSMS');
    INSERT INTO ZSOURCE VALUES (1, NULL), (2, 'A-MAC');
";

/// Rows of `stream|text|number|start|end`, seconds after 2023-11-14 22:13:20 UTC.
fn knowledge(rows: &[&str]) -> String {
    let row = |row: &&str| {
        let [stream, text, number, start, end] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let second = |text: &str| match text.parse::<f64>() {
            Ok(second) => (721_692_800.0 + second).to_string(),
            Err(_) => "NULL".to_owned(),
        };
        let (number, source) =
            (if number.is_empty() { "NULL" } else { number }, if text == "mac" { 2 } else { 1 });
        let (start, end) = (second(start), second(end));
        format!(
            "INSERT INTO ZOBJECT (ZSTREAMNAME, ZVALUESTRING, ZVALUEINTEGER, ZSTARTDATE, ZENDDATE, ZSECONDSFROMGMT,
             ZSTRUCTUREDMETADATA, ZSOURCE) VALUES ('{stream}', '{text}', {number}, {start}, {end}, 3600, 1, {source});"
        )
    };
    KNOWLEDGE.to_owned() + &rows.iter().map(row).collect::<String>()
}

#[test]
fn an_iphone_s_day() {
    let rows = [
        "/display/isBacklit||0|-600|0",
        "/device/isLocked||1|-600|2.5",
        "/display/isBacklit||1|0.2|60",
        // One state in two rows.
        "/device/isLocked||0|2.5|30",
        "/device/isLocked||0|30|61",
        "/app/inFocus|com.apple.springboard.home-screen||2.6|4",
        "/app/inFocus|com.apple.MobileSMS||4|20.5",
        "/app/inFocus|com.apple.MobileSMS||20.9|25",
        "/app/inFocus|com.apple.Maps||25|70",
        "/notification/usage|Receive||27|27",
        "/notification/usage|Dismiss||28|28",
        "/display/isBacklit||0|60|90",
        "/device/isLocked||1|61|90",
        "/device/batteryPercentage||81|-100|10",
        "/device/batteryPercentage||80|10|90",
        "/device/isPluggedIn||0|-100|90",
        "/app/inFocus|mac||30|40",
        "/app/inFocus|||31|40",
        "/app/webUsage|com.apple.Safari||31|40",
    ];
    let folder = Folder::new();
    let file = database(&folder, "knowledgeC.db", &knowledge(&rows));
    let (log, warnings, vocabulary) = read_file(&file, &options()).unwrap();
    let expected = [
        "0 off",
        "600 on",
        "602 unlock",
        "604 +com.apple.MobileSMS",
        "625 -com.apple.MobileSMS",
        "625 +com.apple.Maps",
        "627 !com.apple.MobileSMS",
        "660 -com.apple.Maps",
        "660 off",
    ];
    assert_eq!(story(&log, &vocabulary), expected);
    assert_eq!(log.events()[2].at.0, 1_700_000_002);
    assert!(log.events().iter().all(|event| event.utc_offset_secs == 3600));
    let battery = |percent| Battery { percent: Some(percent), charging: Some(false) };
    assert_eq!((log.events()[2].battery, log.events()[8].battery), (battery(81), battery(80)));
    assert_eq!(log.events()[0].user, options().key.user_id("knowledgeC"));
    let found: Vec<_> = warnings.iter().map(|warning| (warning.kind, warning.count)).collect();
    let odd = [(WarningKind::BadRow, 1), (WarningKind::LeftOut, 1), (WarningKind::HomeScreen, 1)];
    assert_eq!(found, odd, "{warnings}");
    assert!(warnings.to_string().contains("table `ZOBJECT`, row 18: no bundle"), "{warnings}");
    assert!(warnings.to_string().contains("1 rows that another device"), "{warnings}");
    let declared = |format| LogOptions { format: Some(format), ..options() };
    assert_eq!(read_file(&file, &declared(LogFormat::KnowledgeC)).unwrap().0, log);
    let error = read_file(&file, &declared(LogFormat::Table)).unwrap_err().to_string();
    assert!(error.contains("not in the format table") && error.contains("--format knowledge-c"), "{error}");
}

#[test]
fn an_iphone_without_screens_and_metadata() {
    let old = "CREATE TABLE ZOBJECT (Z_PK INTEGER PRIMARY KEY, ZSTREAMNAME VARCHAR, ZVALUESTRING VARCHAR, ZVALUEINTEGER INTEGER,
        ZSTARTDATE TIMESTAMP, ZENDDATE TIMESTAMP);
        INSERT INTO ZOBJECT VALUES (1, '/device/isLocked', NULL, 0, 721692800, 721692830),
            (2, '/app/inFocus', 'com.apple.Maps', NULL, 721692801, 721692820), (3, '/device/isLocked', NULL, 1, 721692830, 721692900)";
    let folder = Folder::new();
    let file = database(&folder, "old.db", old);
    let zone = LogOptions { time_zone: Some("Europe/Paris".to_owned()), ..options() };
    let (log, warnings, vocabulary) = read_file(&file, &zone).unwrap();
    assert_eq!(story(&log, &vocabulary), ["0 unlock", "1 +com.apple.Maps", "20 -com.apple.Maps", "30 off"]);
    assert!(warnings.is_empty() && log.events()[0].utc_offset_secs == 3600, "{warnings}");
}

/// The same events as an export and as both databases.
#[test]
fn activity_watch_s_databases_are_its_export() {
    let export = r#"{"buckets":{
        "aw-watcher-android-test":{"type":"currentwindow","hostname":"unknown","events":[
            {"id":3,"timestamp":"2023-11-14T22:13:30Z","duration":5.5,"data":{"app":"Maps","package":"com.maps"}},
            {"id":2,"timestamp":"2023-11-14T22:13:21.5Z","duration":8.25,"data":{"app":"Mail","package":"com.mail"}}]},
        "aw-watcher-android-unlock":{"type":"os.lockscreen.unlocks","hostname":"unknown","events":[
            {"id":1,"timestamp":"2023-11-14T22:13:20Z","duration":0,"data":{}}]}}}"#;
    let (expected, _, names) = read(export, &options()).unwrap();
    assert_eq!(story(&expected, &names), ["0 unlock", "1 +Mail", "9 -Mail", "10 +Maps", "15 -Maps"]);
    let rust = "
        CREATE TABLE buckets (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, type TEXT NOT NULL,
            client TEXT NOT NULL, hostname TEXT NOT NULL, created TEXT NOT NULL, data TEXT NOT NULL DEFAULT '{}');
        CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, bucketrow INTEGER NOT NULL, starttime INTEGER NOT NULL,
            endtime INTEGER NOT NULL, data TEXT NOT NULL, FOREIGN KEY (bucketrow) REFERENCES buckets(id));
        INSERT INTO buckets (id, name, type, client, hostname, created) VALUES
            (7, 'aw-watcher-android-test', 'currentwindow', 'aw-android', 'unknown', ''),
            (8, 'aw-watcher-android-unlock', 'os.lockscreen.unlocks', 'aw-android', 'unknown', '');
        INSERT INTO events (id, bucketrow, starttime, endtime, data) VALUES (1, 8, 1700000000000000000, 1700000000000000000, '{}'),
            (2, 7, 1700000001500000000, 1700000009750000000, '{\"app\":\"Mail\",\"package\":\"com.mail\"}'),
            (3, 7, 1700000010000000000, 1700000015500000000, '{\"app\":\"Maps\",\"package\":\"com.maps\"}');";
    let peewee = "
        CREATE TABLE bucketmodel (\"key\" INTEGER NOT NULL PRIMARY KEY, id VARCHAR(255) NOT NULL, created DATETIME NOT NULL,
            name VARCHAR(255), type VARCHAR(255) NOT NULL, client VARCHAR(255) NOT NULL, hostname VARCHAR(255) NOT NULL);
        CREATE TABLE eventmodel (id INTEGER NOT NULL PRIMARY KEY, bucket_id INTEGER NOT NULL, timestamp DATETIME NOT NULL,
            duration DECIMAL(10, 5) NOT NULL, datastr VARCHAR(255) NOT NULL);
        INSERT INTO bucketmodel VALUES (7, 'aw-watcher-android-test', '', NULL, 'currentwindow', 'aw-android', 'unknown'),
            (8, 'aw-watcher-android-unlock', '', NULL, 'os.lockscreen.unlocks', 'aw-android', 'unknown');
        INSERT INTO eventmodel VALUES (1, 8, '2023-11-14 22:13:20+00:00', 0, '{}'),
            (2, 7, '2023-11-14 22:13:21.500000+00:00', 8.25, '{\"app\":\"Mail\",\"package\":\"com.mail\"}'),
            (3, 7, '2023-11-14 22:13:30+00:00', 5.5, '{\"app\":\"Maps\",\"package\":\"com.maps\"}');";
    let folder = Folder::new();
    for (name, sql) in [("rust", rust), ("peewee", peewee)] {
        // Of the same name, and so of the same person, as the sample.
        let place = Folder::new();
        let file = database(&place, "log.db", sql);
        let (log, warnings, vocabulary) = read_file(&file, &options()).unwrap();
        assert_eq!((&log, vocabulary.names()), (&expected, names.names()), "{name}: {warnings}");
        assert!(warnings.is_empty(), "{name}: {warnings}");
        let bad = if name == "rust" { ("events", "starttime") } else { ("eventmodel", "timestamp") };
        let sql = format!("{sql} UPDATE {} SET {} = 'soon' WHERE id = 2;", bad.0, bad.1);
        let (_, warnings, _) =
            read_file(&database(&folder, &format!("{name}.db"), &sql), &options()).unwrap();
        let expected = format!("table `{}`, row 2: bucket of type `currentwindow`: `soon`", bad.0);
        assert!(warnings.to_string().contains(&expected), "{name}: {warnings}");
    }
}

#[test]
fn rows_that_are_still_in_the_wal_are_read_and_nothing_is_written_beside() {
    let folder = Folder::new();
    let file = folder.0.path().join("aware.db");
    let writer = Connection::open(&file).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute_batch(AWARE).unwrap();
    // As a backup has them, without the index of the ahead-log, in a folder of their own.
    let copy = Folder::new();
    for name in ["aware.db", "aware.db-wal"] {
        fs::copy(folder.0.path().join(name), copy.0.path().join(name)).unwrap();
    }
    assert!(fs::metadata(copy.0.path().join("aware.db-wal")).unwrap().len() > 0);
    let (log, ..) = read_file(&copy.0.path().join("aware.db"), &options()).unwrap();
    assert_eq!(log.events().len(), 6);
    assert_eq!(fs::read_dir(copy.0.path()).unwrap().count(), 2);
    // The folder: files that belong to the database are no logs of their own.
    let (of_folder, warnings) =
        read_logs(&[copy.0.path().to_path_buf()], &options(), &mut Vocabulary::new(), &Silent).unwrap();
    assert_eq!((of_folder, warnings.count(WarningKind::LeftOut)), (log, 0), "{warnings}");
}

#[test]
fn damaged_databases_are_errors() {
    let folder = Folder::new();
    let file = database(&folder, "aware.db", AWARE);
    let whole = fs::read(&file).unwrap();
    let mut cases: Vec<(String, Vec<u8>)> = [16, 100, 4096, whole.len() / 2, whole.len() - 1]
        .map(|bytes| (format!("cut to {bytes}"), whole[..bytes].to_vec()))
        .into();
    for step in 0..200 {
        let mut damaged = whole.clone();
        let at = (step * 7919) % damaged.len();
        damaged[at..].iter_mut().take(1 + step % 40).for_each(|byte| *byte ^= 0x5a);
        // What begins otherwise is no database.
        if damaged.starts_with(b"SQLite format 3\0") {
            cases.push((format!("damaged at {at}"), damaged));
        }
    }
    let mut refused = 0;
    for (what, content) in cases {
        let Err(error) = read_file(&folder.file("damaged.db", content), &options()) else { continue };
        refused += 1;
        assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Io), "{what}: {error}");
        assert!(error.to_string().contains("damaged.db"), "{what}: {error}");
    }
    assert!(refused > 10, "{refused}");
    let empty = database(&folder, "empty.db", "CREATE TABLE x (a text)");
    assert!(read_file(&empty, &options()).unwrap_err().to_string().contains("its tables are x"));
    let only_battery = database(
        &folder,
        "battery.db",
        "CREATE TABLE battery (timestamp real, device_id text, battery_status integer, battery_level integer);
         INSERT INTO battery VALUES (1700000000000, 'dev', 3, 71)",
    );
    let error = read_file(&only_battery, &options()).unwrap_err().to_string();
    assert!(error.contains("no event") && error.contains("tables of apps and of the screen"), "{error}");
}
