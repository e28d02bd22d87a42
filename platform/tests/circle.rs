//! The program itself: events sent, kept, answered from, trained on; killed in between.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Up, assert_kept, events, json_event, runtime};
use foretap::data::{Battery, Network};
use foretap_platform::lake::{Lake, TableName, people, row_count};
use foretap_platform::serve::{AppProbability, FeedbackRequest, PredictContext, PredictRequest};
use foretap_platform::wire::{PhoneEvent, SignalKind};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::value::RawValue;

#[test]
fn events_are_kept_answered_from_and_fed_back() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let events = events(4, 4);
    let sent = up.client.send(&events, "k1", (500, None), |_| {}).unwrap();
    assert_eq!((sent.accepted, sent.refused), (events.len() as u64, 0));
    up.client.flush().unwrap();
    // The same once more: known.
    up.client.send(&events, "k1", (700, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let status = up.client.status().unwrap();
    assert_eq!(
        (status.applied, status.duplicate, status.dead),
        (events.len() as u64, events.len() as u64, 0)
    );
    assert_eq!(status.people, Some(4));
    let last = events.last().unwrap();
    let at = jiff::Timestamp::from_microsecond(last.at_us + 1_000_000).unwrap().to_string();
    let ask = |user: String| PredictRequest {
        user,
        at: Some(at.clone()),
        apps: Some(5),
        after: Some(sent.position),
        ..Default::default()
    };
    let answer = up.client.predict(&ask(last.user.to_string())).unwrap();
    assert!(
        answer.known && !answer.behind && !answer.apps.is_empty() && answer.confidence > 0.3,
        "{answer:?}"
    );
    let nobody = up.client.predict(&ask("u00000000000000aa".to_owned())).unwrap();
    assert!(!nobody.known);
    for (request, expected) in [
        (PredictRequest { user: "me@example.org".to_owned(), ..ask(String::new()) }, "user"),
        (PredictRequest { apps: Some(0), ..ask(last.user.to_string()) }, "apps"),
        (PredictRequest { at: Some("yesterday".to_owned()), ..ask(last.user.to_string()) }, "at"),
        (
            PredictRequest { at: Some("2020-01-01T00:00:00Z".to_owned()), ..ask(last.user.to_string()) },
            "newest event",
        ),
    ] {
        let error = up.client.predict(&request).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("me@example"), "{error}");
    }
    let feedback = FeedbackRequest { answer_id: answer.answer_id, opened: Some(answer.apps[0].app.clone()) };
    up.client.feedback(&feedback).unwrap();
    assert!(up.client.feedback(&feedback).unwrap_err().to_string().contains("waits for feedback"), "once");
    up.stop();
    assert_kept(folder.path(), &events);
    runtime().block_on(async {
        let lake = Lake::open(&folder.path().join("lake"), 16).await.unwrap();
        assert_eq!(row_count(&lake, TableName::Impressions).await.unwrap(), 1);
        assert_eq!(row_count(&lake, TableName::DeadLetters).await.unwrap(), 0);
    });
}

#[test]
fn a_question_brings_what_the_server_lacks_and_it_is_kept_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let all = events(2, 3);
    let events: Vec<PhoneEvent> = all.iter().filter(|event| event.user == all[0].user).cloned().collect();
    let (known, last) = events.split_at(events.len() - 40);
    let send = |events: &[PhoneEvent]| up.client.send(events, "k1", (500, None), |_| {}).unwrap().position;
    let position = send(known);
    let at_us = events.last().unwrap().at_us + 60_000_000;
    let question = PredictRequest {
        user: all[0].user.to_string(),
        at: Some(jiff::Timestamp::from_microsecond(at_us).unwrap().to_string()),
        apps: Some(10),
        after: Some(position),
        ..PredictRequest::default()
    };
    let ask = |request: &PredictRequest| {
        let answer = up.client.predict(request).unwrap();
        let bits = |app: &AppProbability| (app.app.clone(), app.probability.to_bits());
        (answer.apps.iter().map(bits).collect::<Vec<_>>(), answer.confidence.to_bits())
    };
    // In another order, and with some that the server has.
    let brought = last.iter().rev().chain(&known[known.len() - 10..]).map(json_event).collect();
    let with_events = PredictRequest { events: brought, ..question.clone() };
    let at_night = PredictContext {
        battery_percent: Some(12),
        charging: Some(true),
        network: Some("wifi".to_owned()),
        ..PredictContext::default()
    };
    let with_both = PredictRequest { context: Some(at_night.clone()), ..with_events.clone() };
    let (before, expected, in_context) = (ask(&question), ask(&with_events), ask(&with_both));
    assert!(before != expected && expected != in_context, "both change the answer");
    assert_eq!(ask(&question), before, "and nothing of it is kept");
    let position = send(last);
    let question = PredictRequest { after: Some(position), ..question };
    assert_eq!(ask(&question), expected, "as if they had been sent");
    let unlock = PhoneEvent {
        at_us,
        number: 0,
        utc_offset_secs: 0,
        signal: SignalKind::Unlock,
        app: None,
        place: None,
        battery: Battery { percent: Some(12), charging: Some(true) },
        network: Network::Wifi,
        user: all[0].user,
    };
    let position = send(&[unlock]);
    assert_eq!(ask(&PredictRequest { after: Some(position), ..question.clone() }), in_context);
    let other = all.iter().find(|event| event.user != all[0].user).unwrap();
    let later = PhoneEvent { at_us: at_us + 1, ..last[0].clone() };
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let context = |context: PredictContext| PredictRequest { context: Some(context), ..question.clone() };
    for (request, expected) in [
        (context(PredictContext { network: Some("5g".to_owned()), ..at_night.clone() }), "context.network"),
        (
            context(PredictContext { battery_percent: Some(101), ..at_night.clone() }),
            "context.battery_percent",
        ),
        (
            context(PredictContext { place: Some("52.52,13.40".to_owned()), ..at_night.clone() }),
            "context.place",
        ),
        (context(PredictContext { utc_offset_secs: 99_999, ..at_night }), "context.utc_offset_secs"),
        (PredictRequest { events: vec![json_event(other)], ..question.clone() }, "events[0].user"),
        (
            PredictRequest { events: vec![json_event(&last[0]), json_event(&later)], ..question.clone() },
            "events[1].at",
        ),
        (PredictRequest { events: vec![raw("{}")], ..question.clone() }, "events[0].event"),
        (PredictRequest { events: vec![raw("7"); 257], ..question.clone() }, "at most 256"),
    ] {
        let error = up.client.predict(&request).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("52.52"), "{expected}: {error}");
    }
    up.stop();
}

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let events = events(5, 5);
    // Commits all the time, so that kills fall into them.
    let settings = [("FORETAP_INGEST_COMMIT_SECS", "0")];
    let mut up = Up::start(folder.path(), &settings);
    let mut kills = 0;
    for part in events.chunks(250) {
        if random.random_ratio(1, 5) {
            std::thread::sleep(Duration::from_millis(random.random_range(0..120)));
            up.kill();
            kills += 1;
            up = Up::start(folder.path(), &settings);
        }
        up.client.send(part, "k1", (50, None), |_| {}).unwrap();
        // A sender that got no answer sends again.
        if random.random_ratio(1, 6) {
            up.client.send(part, "k1", (90, None), |_| {}).unwrap();
        }
    }
    assert!(kills > 3, "{kills} kills over {} events", events.len());
    up.client.flush().unwrap();
    up.stop();
    assert_kept(folder.path(), &events);
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_what_is_accepted_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    Up::start(folder.path(), &[]).stop();
    // No file grows any further, as on a full disk: the write fails, and the signal is ignored. The journal grows, since nothing
    // is committed.
    let largest = std::fs::metadata(folder.path().join("journal.redb")).unwrap().len() / 1_024 + 500;
    let mut limited = std::process::Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f $1; exec \"$0\" up", env!("CARGO_BIN_EXE_foretap")]);
    limited.arg(largest.to_string());
    let settings = [("FORETAP_INGEST_COMMIT_SECS", "600"), ("FORETAP_LOG", "off")];
    let mut up = Up::start_by(limited, folder.path(), &settings);
    let events = events(8, 8);
    let mut parts = events.chunks(200);
    let mut accepted = 0;
    let refused = parts.find_map(|part| {
        let sent = up.client.send(part, "k1", (200, None), |_| {});
        accepted += u64::from(sent.is_ok()) * part.len() as u64;
        sent.err()
    });
    let error = refused.expect("a part is refused").to_string();
    assert!(accepted > 0 && error.contains("503") && error.contains("later"), "{accepted}: {error}");
    let health = up.client.health().unwrap_err().to_string();
    assert!(health.contains("journal"), "{health}");
    up.kill();
    // With room again, what was accepted is there, and the sender sends the rest.
    let up = Up::start(folder.path(), &[]);
    up.client.flush().unwrap();
    assert_eq!(up.client.status().unwrap().applied, accepted);
    up.client.health().unwrap();
    up.client.send(&events[accepted as usize..], "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    up.stop();
    assert_kept(folder.path(), &events);
}

/// Whether any file below `folder` has these bytes in it, Parquet's compressed pages aside: those are read as rows.
fn files_with(folder: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap().windows(wanted.len()).any(|window| window == wanted) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_person_is_forgotten_everywhere_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let events = events(5, 3);
    let (half, rest) = events.split_at(events.len() / 2);
    up.client.send(half, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let user = events[0].user;
    // A tagged version has them, too; so has a dead letter, and an impression.
    runtime().block_on(async {
        Lake::open(&folder.path().join("lake"), 16).await.unwrap().tag("v1", "").await.unwrap()
    });
    let bad = format!(
        "{{\"version\":1,\"key_id\":\"k1\",\"events\":[{{\"user\":\"{user}\",\"at\":\"1970-01-01T00:00:00Z\",\"signal\":\"unlock\"}}]}}"
    );
    let answer = up.client.send_batch(bad.as_bytes(), foretap_platform::wire::Encoding::Json).unwrap();
    assert_eq!((answer.accepted, answer.refused), (0, 1));
    let at = jiff::Timestamp::from_microsecond(rest.last().unwrap().at_us).unwrap().to_string();
    let question = PredictRequest {
        user: user.to_string(),
        at: Some(at),
        apps: None,
        after: None,
        ..Default::default()
    };
    let answer = up.client.predict(&question).unwrap();
    up.client.feedback(&FeedbackRequest { answer_id: answer.answer_id, opened: None }).unwrap();
    up.client.send(rest, "k1", (500, None), |_| {}).unwrap();

    let theirs = events.iter().filter(|event| event.user == user).count();
    let export = up.client.export(&user.to_string()).unwrap();
    assert_eq!(export["events"].as_array().unwrap().len(), theirs);
    assert_eq!(export["impressions"].as_array().unwrap().len(), 1);
    assert_eq!(export["dead_letters"].as_array().unwrap().len(), 1);
    assert!(
        !files_with(folder.path(), user.to_string().as_bytes()).is_empty(),
        "bounds and dictionaries name them"
    );

    let report = up.client.forget(&user.to_string()).unwrap();
    assert_eq!(report["events"]["rows"], theirs);
    assert_eq!((&report["events"]["tags"], &report["impressions"]["rows"]), (&1.into(), &1.into()));
    assert_eq!(report["dead_letters"]["rows"], 1);
    assert_eq!(files_with(folder.path(), user.to_string().as_bytes()), Vec::<String>::new());
    assert!(!up.client.predict(&question).unwrap().known);
    let export = up.client.export(&user.to_string()).unwrap();
    assert_eq!((export["events"].as_array().unwrap().len(), &export["in_store"]), (0, &0.into()));
    // A phone that sends the past once more does not bring them back.
    up.client.send(&rest[rest.len() - 400..], "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let again = rest[rest.len() - 400..].iter().filter(|event| event.user == user).count() as u64;
    assert_eq!(up.client.status().unwrap().forgotten, again);
    up.stop();
    let others: Vec<PhoneEvent> = events.iter().filter(|event| event.user != user).cloned().collect();
    assert_kept(folder.path(), &others);
    runtime().block_on(async {
        let lake = Lake::open(&folder.path().join("lake"), 16).await.unwrap();
        let tagged = lake.snapshots(TableName::Events).await.unwrap();
        let tagged = tagged.iter().find(|snapshot| snapshot.tags == ["v1"]).unwrap();
        let in_tag = people(&lake, Some(tagged.id)).await.unwrap();
        let rows: usize = in_tag.values().map(std::collections::BTreeMap::len).sum();
        assert_eq!(rows, half.iter().filter(|event| event.user != user).count());
        assert!(!in_tag.contains_key(&user));
    });
}

#[test]
fn old_events_that_are_sent_again_are_there_once_and_a_lost_store_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    // Two weeks: their first days are older than what a state remembers.
    let events = events(2, 14);
    for _ in 0..3 {
        up.client.send(&events, "k1", (700, None), |_| {}).unwrap();
        up.client.flush().unwrap();
    }
    let status = up.client.status().unwrap();
    assert_eq!(
        (status.applied, status.duplicate, status.late),
        (events.len() as u64, 2 * events.len() as u64, 0)
    );
    up.stop();
    assert_kept(folder.path(), &events);
    std::fs::remove_file(folder.path().join("store.redb")).unwrap();
    let rebuild = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_foretap"));
        command.arg("rebuild").env("FORETAP_DATA_FOLDER", folder.path()).output().unwrap()
    };
    let output = rebuild();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("2 people from {} events", events.len())), "{text}");
    assert_kept(folder.path(), &events);
    let error = String::from_utf8_lossy(&rebuild().stderr).into_owned();
    assert!(error.contains("the store has people"), "{error}");
}

#[test]
fn folders_and_keys_that_do_not_belong_together_are_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = |data: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_foretap"));
        command.arg("up").env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_DATA_FOLDER", data);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let up = Up::start(&data, &[]);
    up.client.send(&events(1, 1), "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let second = start(&data);
    assert!(second.contains("another process has this file open"), "{second}");
    up.stop();
    let key = std::fs::read_to_string(data.join("master.key")).unwrap();
    std::fs::write(data.join("master.key"), "0".repeat(64)).unwrap();
    let error = start(&data);
    assert!(error.contains("key_file"), "{error}");
    std::fs::remove_file(data.join("master.key")).unwrap();
    let error = start(&data);
    assert!(error.contains("bring the key's file back"), "{error}");
    std::fs::write(data.join("master.key"), key).unwrap();
    // A lake in another place would write into the one that it was copied from.
    let moved = folder.path().join("moved");
    std::fs::rename(&data, &moved).unwrap();
    let error = start(&moved);
    assert!(error.contains("made in another folder"), "{error}");
    std::fs::rename(&moved, &data).unwrap();
    std::fs::rename(data.join("lake"), data.join("lake.old")).unwrap();
    let error = start(&data);
    assert!(error.contains("there is no lake here"), "{error}");
    std::fs::rename(data.join("lake.old"), data.join("lake")).unwrap();
    Up::start(&data, &[]).stop();
}
