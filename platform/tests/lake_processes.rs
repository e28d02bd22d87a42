//! Several processes on one lake: whoever was forgotten by one of them is not written again by another, whatever that one holds in
//! memory, in its journal or in its store.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;
#[path = "common/lake.rs"]
mod rows;

use std::path::Path;
use std::sync::Arc;

use common::{Up, events, runtime};
use foretap::data::UserId;
use foretap_platform::lake::{Commit, Lake, TableName, people, row_count};
use foretap_platform::serve::{FeedbackRequest, PredictRequest};
use foretap_platform::wire::{Encoding, PhoneEvent};
use rows::{DAY_US, START_US, files_with, filled, five};

/// After everything that these rows say.
const LATER_US: i64 = START_US + 30 * DAY_US;

/// Goes through waiting rows as a process does.
async fn go_through(lake: &Lake, waiting: &mut Commit) {
    let list = lake.forgotten().await.unwrap();
    waiting.events.retain(|row| !list.has(row.event.user, row.event.at_us));
    waiting.forgotten = list.version();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_rows_of_a_forgotten_person_are_refused_until_they_are_gone_through() {
    let folder = tempfile::tempdir().unwrap();
    let one = filled(folder.path(), 2).await;
    let other = Lake::open(folder.path(), 4).await.unwrap();
    let (forgotten, mut waiting) = (UserId(2), five(3));
    assert!(!other.forgotten().await.unwrap().has(forgotten, START_US));
    // Twice, as after an error.
    for at_us in [LATER_US - 1, LATER_US] {
        one.keep_forgotten(forgotten, at_us).await.unwrap();
    }
    one.forget(TableName::Events, forgotten).await.unwrap();

    assert!(!other.commit(&waiting).await.unwrap(), "its rows were gone through before");
    assert_eq!(row_count(&one, TableName::Events).await.unwrap(), 8);
    go_through(&other, &mut waiting).await;
    let list = other.forgotten().await.unwrap();
    assert!(list.has(forgotten, LATER_US) && !list.has(forgotten, LATER_US + 1) && !list.has(UserId(1), 0));
    assert!(other.commit(&waiting).await.unwrap());
    assert_eq!(row_count(&one, TableName::Events).await.unwrap(), 12);
    assert!(Arc::ptr_eq(&list, &other.forgotten().await.unwrap()), "nobody was forgotten since");
    assert!(files_with(folder.path(), forgotten.to_string().as_bytes()).is_empty());

    // Retention and compaction leave the list; a process that starts anew has it.
    for name in TableName::ALL {
        one.compact(name).await.unwrap();
        one.retain(name, i64::MAX / 2, false).await.unwrap();
    }
    assert_eq!(row_count(&one, TableName::Events).await.unwrap(), 0);
    let list = Lake::open(folder.path(), 4).await.unwrap().forgotten().await.unwrap();
    assert!(list.has(forgotten, LATER_US));
}

/// Forgetting falls into every part of the other process's commits.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_written_again_by_commits_that_are_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let one = filled(folder.path(), 1).await;
    let other = Lake::open(folder.path(), 4).await.unwrap();
    let (mut refused, commits) = (0, 60);
    let writer = tokio::spawn(async move {
        let mut version = 0;
        for position in 2..=commits {
            let mut waiting = five(position);
            // It learns of others only when it is refused.
            let known = other.forgotten().await.unwrap();
            if known.version() == version {
                go_through(&other, &mut waiting).await;
            }
            while !other.commit(&waiting).await.unwrap() {
                refused += 1;
                go_through(&other, &mut waiting).await;
            }
            version = waiting.forgotten;
        }
        refused
    });
    for user in [1, 3, 4] {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        one.keep_forgotten(UserId(user), LATER_US).await.unwrap();
        one.forget(TableName::Events, UserId(user)).await.unwrap();
    }
    eprintln!("{} commits were refused", writer.await.unwrap());
    let left = people(&one, None).await.unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), [&UserId(0), &UserId(2)]);
    assert_eq!(row_count(&one, TableName::Events).await.unwrap(), 2 * commits);
    one.expire(TableName::Events, i64::MAX).await.unwrap();
    for user in [1, 3, 4] {
        assert_eq!(
            files_with(folder.path(), UserId(user).to_string().as_bytes()),
            Vec::<std::path::PathBuf>::new()
        );
    }
}

/// Two of the whole program. What the second one holds of the person when the first one forgets them is in its memory, its journal
/// and its store; then it commits, or is killed and started again.
#[test]
fn a_person_who_is_forgotten_by_one_process_is_out_of_the_other() {
    for is_killed in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        let settings = [
            ("FORETAP_LAKE_FOLDER", path("lake")),
            ("FORETAP_STORE_KEY_FILE", path("master.key")),
            ("FORETAP_INGEST_COMMIT_SECS", "3600".to_owned()),
        ];
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let start = |name: &str| Up::start(Path::new(&path(name)), &settings);
        let (one, mut other) = (start("one"), start("other"));

        let all = events(3, 4);
        let user = all[0].user;
        let id = user.to_string();
        let thirds: Vec<&[PhoneEvent]> = all.chunks(all.len().div_ceil(3)).collect();
        let send = |up: &Up, events: &[PhoneEvent]| {
            up.client.send(events, "k1", (300, None), |_| {}).map(drop).unwrap()
        };
        send(&one, thirds[0]);
        one.client.flush().unwrap();
        send(&other, thirds[1]);
        other.client.flush().unwrap();
        // What waits in the other one.
        send(&other, thirds[2]);
        let bad = format!(
            "{{\"version\":1,\"key_id\":\"k1\",\"events\":[{{\"user\":\"{id}\",\"at\":\"1970-01-01T00:00:00Z\",\"signal\":\"unlock\"}}]}}"
        );
        let answer = other.client.send_batch(bad.as_bytes(), Encoding::Json).unwrap();
        assert_eq!((answer.accepted, answer.refused), (0, 1));
        let at = jiff::Timestamp::from_microsecond(all.last().unwrap().at_us).unwrap().to_string();
        let question = PredictRequest { user: id.clone(), at: Some(at), ..Default::default() };
        let answer = other.client.predict(&question).unwrap();
        assert!(answer.known);
        other.client.feedback(&FeedbackRequest { answer_id: answer.answer_id, opened: None }).unwrap();

        let report = one.client.forget(&id).unwrap();
        let theirs = |events: &[PhoneEvent]| events.iter().filter(|event| event.user == user).count() as u64;
        assert_eq!(report["events"]["rows"], theirs(thirds[0]) + theirs(thirds[1]));
        if is_killed {
            other.kill();
            other = start("other");
        }
        other.client.flush().unwrap();
        assert!(!other.client.predict(&question).unwrap().known);
        for up in [&one, &other] {
            let export = up.client.export(&id).unwrap();
            for part in ["events", "impressions", "dead_letters"] {
                assert_eq!(export[part].as_array().unwrap().len(), 0, "{part}");
            }
            assert_eq!(export["in_store"], 0);
        }
        let lake = Path::new(&path("lake")).to_owned();
        assert_eq!(files_with(place.path(), id.as_bytes()), Vec::<std::path::PathBuf>::new());
        // Neither takes the past in again, nor when it starts anew.
        let past: Vec<PhoneEvent> = thirds[2].iter().filter(|event| event.user == user).cloned().collect();
        for round in 0..2 {
            for up in [&one, &other] {
                let before = up.client.status().unwrap().forgotten;
                send(up, &past);
                up.client.flush().unwrap();
                let after = up.client.status().unwrap().forgotten;
                assert_eq!(after - before, past.len() as u64, "round {round}");
            }
            if round == 0 {
                other.kill();
                other = start("other");
            }
        }
        one.stop();
        other.stop();
        runtime().block_on(async {
            let lake = Lake::open(&lake, 16).await.unwrap();
            let left = people(&lake, None).await.unwrap();
            let expected = all.iter().filter(|event| event.user != user).count();
            assert_eq!(left.values().map(std::collections::BTreeMap::len).sum::<usize>(), expected);
            assert!(!left.contains_key(&user));
        });
        assert_eq!(files_with(place.path(), id.as_bytes()), Vec::<std::path::PathBuf>::new());
    }
}
