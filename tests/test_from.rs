//! Nothing of the test is learned: the example `evaluate` writes the same models whatever comes after `--test-from`, and
//! whatever the person does who is left out.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside of test functions too: a failed step is a failed test

#[allow(dead_code)] // its `main`
#[path = "../examples/evaluate.rs"]
mod evaluate;
mod people;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Parser as _;
use foretap::context::{Task, questions};
use foretap::data::simulate::Simulation;
use foretap::data::{AppId, Event, Log, Signal, Timestamp, UserId, Vocabulary, write_log};
use people::people;

const DAY_SECS: i64 = 86_400;

/// The files of a folder by name, those of folders in it too.
type Files = BTreeMap<String, Vec<u8>>;

fn files_in(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files
                .extend(files_in(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// Runs the example on these logs; what it writes under `--save-models`, or its error as text.
fn evaluate(logs: &[(&Log, &Vocabulary)], arguments: &str) -> Result<Files, String> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut given = vec!["evaluate".to_owned()];
    for (number, (log, vocabulary)) in logs.iter().enumerate() {
        let file = at(&format!("log{number}.csv"));
        write_log(&file, log, vocabulary).unwrap();
        given.extend(["--data".to_owned(), file.display().to_string()]);
    }
    given.extend(arguments.split_whitespace().map(str::to_owned));
    // Ids are hashed under this key, so that people are in the same order each time.
    fs::write(at("key"), "07".repeat(32) + "\n").unwrap();
    given.extend(
        ["--key", "--save-models"]
            .into_iter()
            .zip(["key", "models"])
            .flat_map(|(flag, name)| [flag.to_owned(), at(name).display().to_string()]),
    );
    let args = evaluate::Args::try_parse_from(given).map_err(|error| error.to_string())?;
    evaluate::run(&args).map_err(|error| error.to_string())?;
    Ok(files_in(&at("models")))
}

/// Trees, both transformers learning a little, both in INT8, and the router between trees and student.
const MODELS: &str = "--models recent,gbdt,teacher,teacher-int8,student,student-int8,router --trees 20 --leaves 7 \
                      --epochs 0.2";

fn assert_same(first: &Files, second: &Files) {
    assert!(first.keys().eq(second.keys()), "{:?} and {:?}", first.keys(), second.keys());
    for (name, bytes) in first {
        assert!(bytes == &second[name], "{name} differs");
    }
}

/// The same events before `from`; after it, apps with other names, some that nobody had, and twice as many of them.
fn with_another_future(log: &Log, vocabulary: &mut Vocabulary, from: Timestamp) -> Log {
    let names: Vec<String> = vocabulary.names().to_vec();
    let mut other = |app: AppId| {
        let name = &names[app.0 as usize];
        vocabulary.intern(&if app.0.is_multiple_of(3) { format!("A new {name}") } else { names[0].clone() })
    };
    let mut events = Vec::new();
    for event in log.events() {
        if event.at < from {
            events.push(*event);
            continue;
        }
        let signal = match event.signal {
            Signal::Launch(app) => Signal::Launch(other(app)),
            Signal::Notification(app) => Signal::Notification(other(app)),
            signal => signal,
        };
        events.extend([
            Event { signal, ..*event },
            Event { at: Timestamp(event.at.0 + 1), signal: Signal::ScreenOff, ..*event },
        ]);
    }
    Log::from_events(events)
}

/// Someone who appears with the first event after `from`, and someone who had opened an app before it and never unlocked.
fn newcomers(from: Timestamp, vocabulary: &mut Vocabulary) -> Log {
    let mut events = Vec::new();
    for user in 10..13 {
        let at = |secs: i64, signal| Event::new(UserId(user), Timestamp(from.0 + secs), signal);
        if user == 10 {
            events.push(at(-DAY_SECS, Signal::Launch(vocabulary.intern("An app before all others"))));
        }
        for round in 0..200 {
            let app = vocabulary.intern(&format!("Newcomer {}", round % 7));
            let secs = 600 * round;
            events.extend([at(secs, Signal::Unlock), at(secs + 2, Signal::Launch(app))]);
            events.push(at(secs + 90, Signal::ScreenOff));
        }
    }
    Log::from_events(events)
}

fn at_night_of_day(log: &Log, day: i64) -> Timestamp {
    let first = log.events().iter().map(|event| event.at.0).min().unwrap();
    Timestamp((first / DAY_SECS + day) * DAY_SECS)
}

#[test]
fn what_comes_after_the_moment_changes_no_model() {
    let Simulation { log, vocabulary, .. } = people(4, 9);
    let from = at_night_of_day(&log, 6);
    let arguments = format!("{MODELS} --test-from {}", jiff::Timestamp::from_second(from.0).unwrap());
    let models = evaluate(&[(&log, &vocabulary)], &arguments).unwrap();
    for name in [
        "gbdt.json",
        "teacher.safetensors",
        "teacher.without-validation.safetensors",
        "teacher-int8.section",
        "student.safetensors",
        "student-int8.section",
        "router.section",
        "phone.foretap",
    ] {
        assert!(models.get(name).is_some_and(|bytes| bytes.len() > 500), "{name} of {:?}", models.keys());
    }

    let (mut names, mut others) = (vocabulary.clone(), Vocabulary::from_names(["Unused"]));
    let changed = with_another_future(&log, &mut names, from);
    let newcomers = newcomers(from, &mut others);
    assert_ne!(changed.events().len(), log.events().len());
    // Files that are read first hold the newcomers, whose apps so have the first ids, and what came later of the person
    // who stands last.
    let last = changed.events().last().unwrap().user;
    let is_apart = |event: &&Event| event.user == last && event.at >= from;
    let apart: Vec<Event> = changed.events().iter().filter(is_apart).copied().collect();
    let rest: Vec<Event> = changed.events().iter().filter(|event| !is_apart(event)).copied().collect();
    assert!(!apart.is_empty());
    let (apart, rest) = (Log::from_events(apart), Log::from_events(rest));
    let again = evaluate(&[(&newcomers, &others), (&apart, &names), (&rest, &names)], &arguments).unwrap();
    assert_same(&models, &again);

    // What comes before it does change them.
    let earlier = with_another_future(&log, &mut vocabulary.clone(), Timestamp(from.0 - DAY_SECS));
    let other = evaluate(&[(&earlier, &names)], &arguments).unwrap();
    let same: Vec<&String> = models.keys().filter(|name| models.get(*name) == other.get(*name)).collect();
    assert!(same.is_empty(), "{same:?} did not learn");
}

#[test]
fn who_is_left_out_changes_nothing_that_is_learned_without_them() {
    let Simulation { log, vocabulary, .. } = people(4, 6);
    let arguments = format!("{MODELS} --cold-start");
    let models = evaluate(&[(&log, &vocabulary)], &arguments).unwrap();
    let person = log.users().nth(1).unwrap()[0].user;
    let mut names = vocabulary.clone();
    let all = with_another_future(&log, &mut names, Timestamp(i64::MIN));
    let kept = log.events().iter().filter(|event| event.user != person);
    let changed = all.events().iter().filter(|event| event.user == person);
    let again = evaluate(&[(&Log::from_events(kept.chain(changed).copied().collect()), &names)], &arguments);
    let again = again.unwrap();
    let unchanged = |without: &str| {
        let part = |files: &Files| -> Files {
            let prefix = format!("cold-start/{without}/");
            files
                .iter()
                .filter(|(name, _)| name.starts_with(&prefix))
                .map(|(n, b)| (n.clone(), b.clone()))
                .collect()
        };
        let (first, second) = (part(&models), part(&again));
        assert!(first.len() > 6, "{without}: {:?}", models.keys());
        first == second
    };
    let folders: Vec<String> = models
        .keys()
        .filter_map(|name| Some(name.strip_prefix("cold-start/")?.split_once('/')?.0.to_owned()))
        .collect::<std::collections::BTreeSet<String>>()
        .into_iter()
        .collect();
    assert_eq!(folders.len(), 4);
    let same: Vec<&String> = folders.iter().filter(|without| unchanged(without)).collect();
    assert_eq!(same.len(), 1, "only what was learned without {person} is the same: {same:?}");
}

#[test]
fn moments_that_leave_nothing_to_learn_or_to_test_are_refused() {
    let Simulation { log, vocabulary, .. } = people(2, 4);
    let run = |from: &str| evaluate(&[(&log, &vocabulary)], &format!("--models gbdt --test-from {from}"));
    let asked: Vec<Timestamp> = log
        .users()
        .flat_map(|events| {
            let asked = questions(Task::FirstAfterUnlock, events);
            asked.into_iter().map(|question| events[question.asked_at].at).collect::<Vec<_>>()
        })
        .collect();
    let last = jiff::Timestamp::from_second(asked.iter().max().unwrap().0).unwrap();
    for (from, says) in [
        ("1999-01-01", "nothing was answered before it"),
        ("2050-01-01", "after the last question"),
        ("2050-01-01", &format!("the last question was asked at {last}")),
        ("tomorrow", "`tomorrow` is no moment; write a date such as 2019-12-05"),
        ("2026-01-05T08:00[Nowhere/Else]", "write 2019-12-05T08:00[Europe/Paris]"),
        ("2026-01-05 --test-days 3", "cannot be used with"),
        ("2026-01-05 --test-share 0.3", "cannot be used with"),
    ] {
        let error = run(from).unwrap_err();
        assert!(error.contains(says), "{from}: {error}");
    }
}

/// The same person under the same name, under another, and in part; results over what is read; flags that would not be heard.
#[test]
fn a_bundle_as_it_comes_refuses_what_it_would_leave_out() {
    let simulation = people(2, 5);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_log(Path::new(&at("log.csv")), &simulation.log, &simulation.vocabulary).unwrap();
    let first: Vec<Event> = simulation.log.users().next().unwrap().to_vec();
    let renamed = |events: &[Event]| {
        Log::from_events(events.iter().map(|event| Event { user: UserId(99), ..*event }).collect())
    };
    write_log(Path::new(&at("renamed.csv")), &renamed(&first), &simulation.vocabulary).unwrap();
    write_log(Path::new(&at("part.csv")), &renamed(&first[..first.len() / 3]), &simulation.vocabulary)
        .unwrap();
    fs::write(at("key"), "07".repeat(32) + "\n").unwrap();
    let before = fs::read(at("log.csv")).unwrap();
    let (log, renamed, part) = (at("log.csv"), at("renamed.csv"), at("part.csv"));
    let cases = [
        (format!("--others {log}"), "is in --data, too"),
        (format!("--others {renamed}"), "is in --data, too, as"),
        (format!("--others {part}"), "is in --data, too, as"),
        (format!("--json {log}"), "field `--json`: this file is what is read, too; name another file"),
        (format!("--json {0} --html {0}", at("new")), "field `--html`: this file is --json, too"),
        ("--test-days 3".to_owned(), "field `--test-days`: a bundle as it comes is tested over whole logs"),
        ("--test-share 1.5".to_owned(), "field `--test-share`: 1.5 is no share of the questions; choose"),
        ("--runs 3".to_owned(), "field `--runs`: nothing is trained, so all runs are the same"),
        ("--task next-launch".to_owned(), "field `--task`: the bundle answers first-after-unlock"),
        ("--cold-start".to_owned(), "field `--cold-start`"),
    ];
    for (arguments, says) in cases {
        let given = format!("evaluate --data {log} --as-is --key {} {arguments}", at("key"));
        let args = evaluate::Args::try_parse_from(given.split(' ')).unwrap();
        let error = evaluate::run(&args).unwrap_err().to_string();
        assert!(error.contains(says), "{arguments}: {error}");
    }
    assert_eq!(fs::read(at("log.csv")).unwrap(), before);
}

#[test]
fn a_negative_number_is_a_value_and_no_flag() {
    for (flag, says) in [
        ("--seed -1", "invalid value '-1' for '--seed <SEED>'"),
        ("--simulate -1", "invalid value '-1' for '--simulate <PEOPLE>'"),
        ("--test-share -0.5 --as-is --simulate 1", "field `--test-share`: -0.5 is no share of the questions"),
    ] {
        let given = format!("evaluate {flag}");
        let parsed = evaluate::Args::try_parse_from(given.split(' ')).map_err(|error| error.to_string());
        let error =
            parsed.and_then(|args| evaluate::run(&args).map_err(|error| error.to_string())).unwrap_err();
        assert!(error.contains(says), "{flag}: {error}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (flag, says) in [
        (format!("--json {}", at("")), "it is a folder or a device"),
        (format!("--html {}", at("nowhere/report.html")), "there is no folder"),
    ] {
        let given = format!("evaluate --data {} {flag}", at("missing.csv"));
        let args = evaluate::Args::try_parse_from(given.split(' ')).unwrap();
        let error = evaluate::run(&args).unwrap_err().to_string();
        assert!(error.contains(says), "{flag}: {error}");
    }
}
