//! The protocols of the public benchmarks, on small files of the published form: what is asked, of whom, and what is learned.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // a failed step is a failed test

#[allow(dead_code)] // its `main`
#[path = "../examples/evaluate.rs"]
mod evaluate;
mod samples;

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use foretap::baseline::MostRecent;
use foretap::context::{Task, questions};
use foretap::data::Timestamp;
use foretap::experiment::{BenchmarkProtocol, Experiment, Learned, Learner, Method, RepeatedOpens, Training};
use foretap::{Progress, Result, Silent};
use samples::{Folder, gzip, options, read, story};
use serde_json::Value;

/// A row of LSApp, so many seconds after six in the morning.
fn lsapp_row(user: u32, secs: i64, app: char) -> String {
    let at = jiff::civil::date(2018, 1, 16).at(6, 0, 0, 0) + jiff::SignedDuration::from_secs(secs);
    format!("{user}\t1\t{}\t{app}\tOpened\n", at.strftime("%Y-%m-%d %H:%M:%S"))
}

/// A session an hour, each of the apps of these letters: a letter after itself is opened again 70 seconds later, any other
/// 20 seconds after the one before.
fn lsapp_sessions(user: u32, sessions: i64, apps: &str) -> String {
    let mut rows = String::new();
    for session in 0..sessions {
        let (mut secs, mut before) = (session * 3_600, None);
        for app in apps.chars() {
            secs += if before == Some(app) { 70 } else { 20 };
            before = Some(app);
            rows += &lsapp_row(user, secs, app);
        }
    }
    rows
}

const LSAPP_HEADER: &str = "user_id\tsession_id\ttimestamp\tapp_name\tevent_type\n";

/// Three users. Each session opens A B C D A A B C D A: 5 questions with five apps before them, one answer of which is the app
/// in front, and 4 where repeated opens are removed. Of 15, 25 and 11 sessions; the last has 55 questions with repeated opens,
/// 44 without.
fn lsapp() -> String {
    let users = [(0, 15), (1, 25), (2, 11)];
    let rows = users.map(|(user, sessions)| lsapp_sessions(user, sessions, "ABCDAABCDA"));
    LSAPP_HEADER.to_owned() + &rows.concat()
}

/// The published form of the Tsinghua trace. Two users, ten sessions of 14 launches of ten apps, each launch two requests a
/// second apart; app 99 is met four times, in the middle of the first sessions of user 1.
fn tsinghua() -> String {
    let start = jiff::civil::date(2016, 4, 20).at(0, 0, 0, 0);
    let mut rows = String::new();
    for user in 1..=2 {
        for session in 0..10 {
            for launch in 0..14 {
                for request in 0..2 {
                    let secs = session * 3_600 + launch * 30 + request;
                    let at = (start + jiff::SignedDuration::from_secs(secs)).strftime("%Y%m%d%H%M%S");
                    writeln!(rows, "{user} {at} 3142 {} 1024", launch % 10).unwrap();
                }
                if user == 1 && session < 4 && launch == 6 {
                    let secs = session * 3_600 + launch * 30 + 10;
                    let at = (start + jiff::SignedDuration::from_secs(secs)).strftime("%Y%m%d%H%M%S");
                    writeln!(rows, "{user} {at} 3142 99 5").unwrap();
                }
            }
        }
    }
    rows
}

/// Runs the example on a file of this content; its JSON, or its error as text.
fn run(content: impl AsRef<[u8]>, arguments: &str) -> std::result::Result<Value, String> {
    let folder = Folder::new();
    let (data, json) = (folder.file("data.txt", content), folder.0.path().join("out.json"));
    let key = folder.file("key", "07".repeat(32) + "\n");
    let mut given = vec!["evaluate".to_owned()];
    for (flag, file) in [("--data", &data), ("--json", &json), ("--key", &key)] {
        given.extend([flag.to_owned(), file.display().to_string()]);
    }
    given.extend(arguments.split_whitespace().map(str::to_owned));
    let args = evaluate::Args::try_parse_from(given).map_err(|error| error.to_string())?;
    evaluate::run(&args).map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&fs::read(json).unwrap()).unwrap())
}

fn figure(report: &Value, model: &str, figure: &str) -> f64 {
    let found = figure.split('.').fold(&report["models"][model], |value, key| &value[key]);
    found.as_f64().unwrap_or(f64::NAN)
}

/// Small enough to read: a window of two, and nobody left out.
const TINY: BenchmarkProtocol =
    BenchmarkProtocol { window: 2, least_questions: 1, ..BenchmarkProtocol::LSAPP };

#[test]
fn questions_and_repeated_opens_by_hand() {
    // Two sessions, ten minutes between them. Before the second A, C alone has come in its session: it is not asked for.
    let opened = [(0, 'A'), (20, 'B'), (90, 'B'), (110, 'A'), (710, 'C'), (730, 'A')];
    let rows: String = opened.into_iter().map(|(secs, app)| lsapp_row(7, secs, app)).collect();
    let (log, _, vocabulary) = read(&rows, &options()).unwrap();
    let read_as =
        ["0 unlock", "0 +A", "0 -A", "20 +B", "20 -B", "90 +B", "90 -B", "110 +A", "110 -A", "110 off"];
    assert_eq!(story(&log, &vocabulary)[..10], read_as);

    let asked = |repeated_opens| {
        let prepared = TINY.prepare(&log, repeated_opens).unwrap();
        let events = prepared.log.events();
        let found: Vec<(i64, &str, i64)> = questions(Task::FirstAfterUnlock, events)
            .iter()
            .map(|asked| {
                let secs = |place: usize| events[place].at.secs_since(events[0].at);
                (secs(asked.asked_at), vocabulary.name(asked.answer), secs(asked.answered_at))
            })
            .collect();
        (found, story(&prepared.log, &vocabulary))
    };
    let (kept, events) = asked(RepeatedOpens::Kept);
    // Asked in the second in which the app before it came: what comes next, and when, is not known.
    assert_eq!(kept, [(20, "B", 90), (90, "A", 110)]);
    let expected = [
        "0 +A",
        "0 -A",
        "20 +B",
        "20 unlock",
        "20 -B",
        "90 +B",
        "90 unlock",
        "90 -B",
        "110 +A",
        "110 -A",
        "110 off",
    ];
    assert_eq!(events[..11], expected);
    let (removed, events) = asked(RepeatedOpens::Removed);
    assert_eq!(removed, [(20, "A", 110)]);
    let expected = ["0 +A", "0 -A", "20 +B", "20 unlock", "90 -B", "110 +A", "110 -A", "110 off"];
    assert_eq!(events[..8], expected);
}

#[test]
fn lsapp_is_split_filtered_and_scored_as_published() {
    let report = run(lsapp(), "--protocol lsapp --models recent,frequent,markov --trees 3").unwrap();
    assert_eq!(report["protocol"]["name"], "lsapp");
    let [kept, removed] = [0, 1].map(|at| &report["results"][at]);
    assert_eq!((&kept["repeated_opens"], &removed["repeated_opens"]), (&"kept".into(), &"removed".into()));
    // A fifth of 75, 125 and 55; without repeated opens of 60 and 100: the third user has 44, fewer than 50.
    let counts = |result: &Value| {
        [&result["users_left_out"], &result["apps_left_out"], &result["report"]["users"]]
            .map(|count| count.as_u64().unwrap())
    };
    assert_eq!((counts(kept), counts(removed)), ([0, 0, 3], [1, 0, 2]));
    let (kept, removed) = (&kept["report"], &removed["report"]);
    assert_eq!(figure(kept, "recent", "questions"), 15.0 + 25.0 + 11.0);
    assert_eq!(figure(removed, "recent", "questions"), 12.0 + 20.0);

    // The most recent app is right where an app is opened again, one answer in five of every session; it is never right
    // without, and each answer is the fourth: HR@1 of the most recent app tells how a published table treats them.
    let of_recent = |report, name| (figure(report, "recent", name) * 1e6).round() / 1e6;
    let names = ["hr1", "hr3", "hr5", "mrr3", "mrr5"];
    assert_eq!(names.map(|name| of_recent(removed, name)), [0.0, 0.0, 1.0, 0.0, 0.25]);
    let share = of_recent(kept, "resumed.share");
    // 11 questions of the third user are two sessions and the last answer of a third.
    assert_eq!(share, (10.0_f64 / 51.0 * 1e6).round() / 1e6);
    assert_eq!([of_recent(kept, "hr1"), of_recent(kept, "hr3"), of_recent(kept, "hr5")], [share, share, 1.0]);
    assert_eq!([of_recent(kept, "chosen.hr1"), of_recent(kept, "resumed.hr1")], [0.0, 1.0]);
    // Each app is followed by one other.
    assert_eq!(figure(removed, "markov", "hr1"), 1.0);
}

/// Notes up to which moment each user's events are shown to training, and how many questions there are.
struct Spy(Arc<Mutex<Vec<(usize, usize, Timestamp)>>>);

impl Learner for Spy {
    fn learn(&self, training: &Training<'_>, _: &dyn Progress) -> Result<Learned> {
        let seen = training.view.people().iter().map(|person| {
            (person.train().len(), person.validation().len(), person.events().last().unwrap().at)
        });
        *self.0.lock().unwrap() = seen.collect();
        Ok(Learned::new(MostRecent))
    }
}

#[test]
fn the_later_never_trains_the_earlier() {
    let (log, _, vocabulary) = read(lsapp(), &options()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let experiment =
        Experiment { methods: vec![Method::new("spy", Spy(Arc::clone(&seen)))], ..Experiment::default() };
    let protocol =
        BenchmarkProtocol { repeated_opens: &[RepeatedOpens::Removed], ..BenchmarkProtocol::LSAPP };
    let report = protocol.run(&experiment, &log, &vocabulary, &Silent).unwrap();
    let text = report.to_string();
    assert!(
        text.starts_with("protocol lsapp, repeated opens removed: 32 questions of 2 users, runs 1;"),
        "{text}"
    );
    let mut seen = seen.lock().unwrap();
    seen.sort();
    let prepared = protocol.prepare(&log, RepeatedOpens::Removed).unwrap().log;
    let mut users: Vec<_> = prepared.users().collect();
    users.sort_by_key(|events| events.len());
    assert_eq!((users.len(), seen.len()), (2, 2));
    for ((user, counts), &(train, validation, last)) in
        users.into_iter().zip([[42, 6, 12], [70, 10, 20]]).zip(seen.iter())
    {
        let asked = questions(Task::FirstAfterUnlock, user);
        let known = train + validation;
        assert_eq!([train, validation, asked.len() - known], counts, "70, 10 and 20 of 100");
        // Training is shown the log up to the last answer that validates, and the first test question comes no earlier.
        assert_eq!(last, user[asked[known - 1].answered_at].at);
        assert!(last <= user[asked[known].asked_at].at);
    }
}

#[test]
fn tsinghua_is_read_by_its_spaces_and_loses_rare_apps() {
    let report = run(tsinghua(), "--protocol tsinghua --models recent,markov,gbdt --trees 3").unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["repeated_opens"]), (1, &"removed".into()));
    // 6 questions a session have eight apps before them: 60 a user, of which 12 are the test.
    assert_eq!((&results[0]["apps_left_out"], &results[0]["users_left_out"]), (&1.into(), &0.into()));
    let found = &results[0]["report"];
    assert_eq!(figure(found, "recent", "questions"), 24.0);
    assert_eq!((figure(found, "recent", "hr5"), figure(found, "markov", "hr1")), (0.0, 1.0));
    assert!(figure(found, "gbdt", "hr1").is_finite());
    // By tabs it is the same log; with a header, too.
    let of = |content: &str| read(content, &options()).unwrap().0;
    assert_eq!(of(&tsinghua()), of(&tsinghua().replace(' ', "\t")));
    assert_eq!(of(&tsinghua()), of(&format!("user time location app traffic\n{}", tsinghua())));
}

/// The published `lsapp.tsv.gz` is an archive: 512 bytes before the file, and zeros after it.
#[test]
fn an_archive_is_to_be_unpacked_first() {
    let mut archive = vec![0; 512];
    archive[..9].copy_from_slice(b"lsapp.tsv");
    archive[257..262].copy_from_slice(b"ustar");
    archive.extend_from_slice(lsapp().as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1_024, 0);
    for bytes in [gzip(&archive), archive] {
        let error = run(bytes, "--protocol lsapp").unwrap_err();
        assert!(
            error.contains("data.txt") && error.contains("archive") && error.contains("tar xf"),
            "{error}"
        );
    }
}

#[test]
fn what_contradicts_a_protocol_is_refused() {
    for flag in [
        "--test-share 0.3",
        "--validation-share 0.2",
        "--test-days 3",
        "--test-from 2018-01-20",
        "--rolling 3",
        "--task next-launch",
        "--format native",
        "--columns at=time,app=name",
        "--mapping study.toml",
        "--home A",
        "--keep-home",
        "--as-is",
        "--learn",
        "--bundle phone.foretap",
        "--others others.csv",
        "--save-models out",
        "--html out.html",
        "--plots out",
        "--person ann",
    ] {
        let error = run(lsapp(), &format!("--protocol lsapp {flag}")).unwrap_err();
        let name = flag.split(' ').next().unwrap();
        assert!(error.contains(name) && error.contains("cannot be used with"), "{flag}: {error}");
    }
    let error = run(lsapp(), "--protocol maple").unwrap_err();
    assert!(error.contains("`maple` is no protocol"), "{error}");
}

#[test]
fn files_that_are_no_benchmark_are_refused_with_the_next_step() {
    let broken = lsapp().replacen("2018-01-16 06:00:40", "yesterday", 1);
    let columns = lsapp().replace("\tOpened", "");
    let cases = [
        (
            "a trace as lsapp",
            tsinghua(),
            "lsapp",
            &["not in the format lsapp: it looks like tsinghua; --protocol lsapp takes lsapp.tsv"][..],
        ),
        (
            "a bad row",
            broken,
            "lsapp --strict",
            &["data.txt", "line 3", "field `timestamp`", "yesterday"][..],
        ),
        ("a column too few", columns, "lsapp", &["data.txt", "event_type"][..]),
        (
            "too short",
            LSAPP_HEADER.to_owned() + &lsapp_sessions(0, 9, "ABCDABCDAB"),
            "lsapp",
            &["of 1 users none has 50 questions", "5 launches before it", "whole published file of lsapp"][..],
        ),
    ];
    for (what, content, arguments, expected) in cases {
        let error = run(content, &format!("--protocol {arguments}")).unwrap_err();
        assert!(expected.iter().all(|part| error.contains(part)), "{what}: {error}");
    }
    let none = run(lsapp_sessions(0, 9, "ABCDABCDAB"), "--protocol tsinghua").unwrap_err();
    assert!(none.contains("looks like lsapp; --protocol tsinghua takes App_usage_trace.txt"), "{none}");
    assert!(!none.contains("--format"), "{none}");
    let empty = TINY.prepare(&read(lsapp_sessions(0, 1, "AB"), &options()).unwrap().0, RepeatedOpens::Kept);
    assert!(empty.unwrap_err().to_string().contains("none has 1 questions"));
}
