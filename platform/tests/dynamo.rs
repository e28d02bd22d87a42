//! The store in DynamoDB where answers are lost, people are throttled, processes share a table and KMS refuses: on moto and
//! ministack, which each test starts for itself (`tests/peers/aws.sh`). Skipped without `FORETAP_TEST_AWS=1`, except in CI.
//! What every store promises is in `tests/store.rs`.

#![allow(clippy::unwrap_used)]

#[path = "common/aws.rs"]
#[allow(dead_code)]
mod aws;
#[allow(dead_code)]
mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws::{Aws, Fate, proxy, sdk};
use aws_sdk_dynamodb::types::AttributeValue;
use common::{Up, events, is_replay, runtime};
use foretap::bundle::Bundle;
use foretap::data::UserId;
use foretap_platform::client::{Client, Servers};
use foretap_platform::store::{
    DynamoStore, MasterKey, OnlineStore, People, SnapshotWrite, Units, Write, Written, master_key_by_kms,
    rotate_by_kms,
};
use foretap_platform::wire::PhoneEvent;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const PEERS: [&str; 2] = ["moto", "ministack"];
const TABLE: &str = "foretap";

fn write(user: u64, expected: u64, chunk: &[u8]) -> Write {
    Write { user: UserId(user), expected, key: vec![7; 61], append: Some(chunk.to_vec()), snapshot: None }
}

fn snapshot(user: u64, expected: u64, (person, summary, tail): (usize, usize, usize)) -> Write {
    let snapshot =
        SnapshotWrite { summary: vec![1; summary], person: vec![2; person], tail: Some(vec![3; tail]) };
    Write { append: None, snapshot: Some(snapshot), ..write(user, expected, b"") }
}

/// Sort keys of all items of a person.
async fn sort_keys(aws: &Aws, user: u64) -> Vec<String> {
    let client = aws_sdk_dynamodb::Client::new(&aws.sdk().await);
    let request = client
        .query()
        .table_name(TABLE)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S(UserId(user).to_string()));
    let found = request.send().await.unwrap().items.unwrap();
    found.into_iter().map(|mut item| item.remove("sk").unwrap().as_s().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_done_and_done_once() {
    const USERS: u64 = 8;
    const WRITES: u64 = 60;
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let random = Mutex::new(ChaCha8Rng::seed_from_u64(7));
        let lost = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lost);
        let judge = move |operation: &str, _: &str| {
            let throw = random.lock().unwrap().random_range(0.0..1.0);
            match throw {
                _ if operation == "DescribeTable" => Fate::Answered,
                0.0..0.35 => {
                    count.fetch_add(1, Ordering::Relaxed);
                    Fate::Lost
                }
                0.35..0.4 => Fate::Cut,
                _ => Fate::Answered,
            }
        };
        DynamoStore::open(&aws.sdk().await, TABLE, true, 3).await.unwrap();
        let url = proxy(&aws, Arc::new(judge)).await;
        let store = Arc::new(DynamoStore::open(&sdk(&url).await, TABLE, false, 30).await.unwrap());
        let writers: Vec<_> = (0..USERS)
            .map(|user| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for expected in 0..WRITES {
                        let write = match expected % 20 {
                            19 => snapshot(user, expected, (400_000, 20_000, 3)),
                            _ => write(user, expected, &expected.to_le_bytes()),
                        };
                        let written = store.write(vec![write]).await.unwrap();
                        assert_eq!(written, [Written::Version(expected + 1)], "{user}");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let direct = DynamoStore::open(&aws.sdk().await, TABLE, false, 3).await.unwrap();
        for user in 0..USERS {
            let row = direct.row(UserId(user)).await.unwrap().unwrap();
            assert_eq!((row.version, &row.tail), (WRITES, &vec![(WRITES, vec![3; 3])]));
            assert_eq!(direct.person(UserId(user)).await.unwrap().unwrap(), vec![2; 400_000]);
        }
        let lost = lost.load(Ordering::Relaxed);
        assert!(lost >= 300, "{peer}: {lost} answers were lost");
    }
}

const THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too fast"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_throttled_holds_up_nobody_else() {
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let is_busy = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        let judge = move |_: &str, body: &str| match body.contains(&UserId(1).to_string()) {
            true if busy.load(Ordering::Relaxed) => Fate::Refused(THROTTLED.to_owned()),
            _ => Fate::Answered,
        };
        let url = proxy(&aws, Arc::new(judge)).await;
        let store = DynamoStore::open(&sdk(&url).await, TABLE, true, 6).await.unwrap();
        // Half of the traffic is one person's.
        let batch = |expected: u64| -> Vec<Write> {
            let of_one = (0..100).map(|more| write(1, expected + more, b"a"));
            of_one.chain((2..102).map(|user| write(user, expected / 100, b"a"))).collect()
        };
        let mut times = Vec::new();
        for (round, throttled) in [(0, false), (1, false), (2, true)] {
            is_busy.store(throttled, Ordering::Relaxed);
            let started = Instant::now();
            let written = store.write(batch(round * 100)).await.unwrap();
            times.push(started.elapsed());
            let (of_one, of_others) = written.split_at(100);
            let expected = if throttled { Written::Failed } else { Written::Version(round * 100 + 1) };
            assert_eq!(of_one[0], expected, "{peer}");
            assert!(of_others.iter().all(|written| *written == Written::Version(round + 1)), "{peer}");
        }
        is_busy.store(false, Ordering::Relaxed);
        assert_eq!(store.write(vec![write(1, 200, b"b")]).await.unwrap(), [Written::Version(201)]);
        assert_eq!(store.row(UserId(1)).await.unwrap().unwrap().tail.len(), 201);
        // Alone it is an error, with what the service said.
        is_busy.store(true, Ordering::Relaxed);
        let error = store.write(vec![write(1, 201, b"c")]).await.unwrap_err().to_string();
        assert!(error.contains("too fast") && error.contains("capacity"), "{error}");
        println!("{peer}: {times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_not_processed_is_sent_again() {
    fn without_rest(sent: &str, answer: &str) -> String {
        let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
        let mut answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        let all = sent["RequestItems"][TABLE].as_array().unwrap();
        answer["UnprocessedItems"] = serde_json::json!({ TABLE: all[all.len().div_ceil(2)..] });
        answer.to_string()
    }
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let sent: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let record = Arc::clone(&sent);
        // Of a batch, the second half is not done.
        let judge = move |operation: &str, body: &str| {
            if operation != "BatchWriteItem" {
                return Fate::Answered;
            }
            let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
            let all = body["RequestItems"][TABLE].as_array_mut().unwrap();
            if all.len() == 1 {
                let key = all[0]["DeleteRequest"]["Key"]["sk"]["S"].as_str().unwrap().to_owned();
                *record.lock().unwrap().entry(key).or_default() += 1;
                return Fate::Answered;
            }
            all.truncate(all.len().div_ceil(2));
            for request in all.iter() {
                let key = request["DeleteRequest"]["Key"]["sk"]["S"].as_str().unwrap().to_owned();
                *record.lock().unwrap().entry(key).or_default() += 1;
            }
            Fate::Changed(body.to_string(), without_rest)
        };
        let url = proxy(&aws, Arc::new(judge)).await;
        let store = DynamoStore::open(&sdk(&url).await, TABLE, true, 12).await.unwrap();
        for version in 0..60 {
            store.write(vec![write(1, version, b"a")]).await.unwrap();
        }
        store.write(vec![snapshot(1, 60, (10, 10, 10))]).await.unwrap();
        assert_eq!(sort_keys(&aws, 1).await.len(), 4, "head, person, summary, the newest of the tail");
        let sent = sent.lock().unwrap();
        assert_eq!(sent.len(), 60);
        assert!(sent.values().all(|times| *times == 1), "{sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_read_by_nobody_and_goes() {
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let is_dead = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let dead = Arc::clone(&is_dead);
        let judge = move |operation: &str, _: &str| match operation {
            "BatchWriteItem" if dead.load(Ordering::Relaxed) => Fate::Cut,
            _ => Fate::Answered,
        };
        let url = proxy(&aws, Arc::new(judge)).await;
        let store = DynamoStore::open(&sdk(&url).await, TABLE, true, 2).await.unwrap();
        for version in 0..5 {
            store.write(vec![write(1, version, b"a")]).await.unwrap();
        }
        // The snapshot is done, though nothing can be deleted.
        assert_eq!(store.write(vec![snapshot(1, 5, (9, 9, 9))]).await.unwrap(), [Written::Version(6)]);
        assert_eq!(sort_keys(&aws, 1).await.len(), 3 + 6);
        let row = store.row(UserId(1)).await.unwrap().unwrap();
        assert_eq!((row.version, row.tail), (6, vec![(6, vec![3; 9])]));
        store.write(vec![write(1, 6, b"b")]).await.unwrap();
        is_dead.store(false, Ordering::Relaxed);
        assert_eq!(store.write(vec![snapshot(1, 7, (9, 9, 9))]).await.unwrap(), [Written::Version(8)]);
        assert_eq!(sort_keys(&aws, 1).await.len(), 3 + 1);
        // Who comes so late that the item of its version was deleted has lost, and leaves nothing.
        for expected in [1, 5, 6, 7] {
            assert_eq!(store.write(vec![write(1, expected, b"late")]).await.unwrap(), [Written::Conflict]);
        }
        assert_eq!(sort_keys(&aws, 1).await.len(), 3 + 1);
        assert!(store.forget(UserId(1), 9).await.unwrap());
        assert_eq!(store.write(vec![write(1, 8, b"late")]).await.unwrap(), [Written::Conflict]);
        assert_eq!(store.write(vec![snapshot(1, 8, (9, 9, 9))]).await.unwrap(), [Written::Conflict]);
        assert_eq!(sort_keys(&aws, 1).await, [""; 0]);
        // Whoever has another key than the row's has read another row.
        store.write(vec![Write { key: vec![8; 61], ..write(1, 0, b"back") }]).await.unwrap();
        assert_eq!(store.write(vec![write(1, 1, b"late")]).await.unwrap(), [Written::Conflict]);
        assert_eq!(store.row(UserId(1)).await.unwrap().unwrap().tail, [(1, b"back".to_vec())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_day_costs() {
    // moto says 1 unit whatever a request does.
    let Some(aws) = Aws::start("ministack") else { return };
    let store = DynamoStore::open(&aws.sdk().await, TABLE, true, 3).await.unwrap();
    let cost = async |writes: Vec<Write>| {
        let before = store.units();
        store.write(writes).await.unwrap();
        let after = store.units();
        Units { read: after.read - before.read, write: after.write - before.write }
    };
    cost(vec![write(1, 0, &[1; 300])]).await;
    let append = cost(vec![write(1, 1, &[1; 300])]).await;
    assert_eq!(append, Units { read: 1.0, write: 1.0 }, "an item, and a look at the head");
    for version in 2..20 {
        cost(vec![write(1, version, &[1; 300])]).await;
    }
    let first = cost(vec![snapshot(1, 20, (40_000, 20_000, 6_000))]).await;
    for version in 21..101 {
        cost(vec![write(1, version, &[1; 300])]).await;
    }
    let daily = cost(vec![snapshot(1, 101, (40_000, 20_000, 6_000))]).await;
    // Twice 40, 20, 6 and the head's 1 in a transaction; then 20 items deleted, or 80 and the tail's rest of the day before.
    // ministack counts a query's reads too low.
    assert_eq!((first.write, daily.write), (134.0 + 20.0, 134.0 + 86.0));
}

/// People's states are folded, written and lost by two processes that share a table.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_has_written_another_folds_in() {
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::load(&folder.path().join("master.key"), true).unwrap();
    let bundle = Bundle::pretrained().unwrap();
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let mut processes = Vec::new();
        for _ in 0..2 {
            let store = Arc::new(DynamoStore::open(&aws.sdk().await, TABLE, true, 8).await.unwrap());
            processes.push(People::open(store, master.clone(), 100).await.unwrap());
        }
        let events = events(4, 1);
        for (number, part) in events.chunks(40).enumerate() {
            for (place, event) in part.iter().enumerate() {
                // Each event by one of them, some by both.
                processes[place % 2].fold(event.clone(), event.at_us).await.unwrap();
                if place % 5 == 0 {
                    processes[1 - place % 2].fold(event.clone(), event.at_us).await.unwrap();
                }
            }
            if number % 3 < 2 {
                processes[number % 2].write(&bundle).await.unwrap();
            }
        }
        // At the same time, both with something of everybody.
        let (one, other) = tokio::join!(processes[0].write(&bundle), processes[1].write(&bundle));
        one.and(other).unwrap();
        assert_union(&**processes[0].store(), &master, &events).await;
    }
}

async fn assert_union(store: &dyn OnlineStore, master: &MasterKey, events: &[PhoneEvent]) {
    let mut lived: BTreeMap<UserId, Vec<&PhoneEvent>> = BTreeMap::new();
    events.iter().for_each(|event| lived.entry(event.user).or_default().push(event));
    for (user, events) in &mut lived {
        events.sort_by_key(|event| event.key());
        assert!(is_replay(store, master, *user, events.iter().copied()).await, "the state of {user}");
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (&**key, &**value)).collect()
}

fn settings_of_store(aws: &Aws) -> Vec<(String, String)> {
    let mut settings = aws.settings();
    for (key, value) in [("KIND", "dynamodb"), ("CREATE_TABLE", "true")] {
        settings.push((format!("FORETAP_STORE_{key}"), value.to_owned()));
    }
    settings
}

#[test]
fn two_programs_with_one_table_end_in_the_union() {
    let runtime = runtime();
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("master.key");
        let mut settings = settings_of_store(&aws);
        settings.push(("FORETAP_STORE_KEY_FILE".to_owned(), key_file.to_str().unwrap().to_owned()));
        settings.push(("FORETAP_INGEST_COMMIT_SECS".to_owned(), "0".to_owned()));
        let settings = borrowed(&settings);
        let programs: Vec<Up> =
            ["a", "b"].iter().map(|name| Up::start(&folder.path().join(name), &settings)).collect();
        // A third one with a key of its own is refused, also while the store is empty.
        let refused = up_that_ends(&folder.path().join("c"), &settings[..settings.len() - 2]);
        assert!(refused.contains("give the master key under which the store was made"), "{refused}");
        let events = events(6, 1);
        for (number, part) in events.chunks(50).enumerate() {
            programs[number % 2].client.send(part, "k1", (10, None), |_| {}).unwrap();
        }
        for program in programs {
            program.client.flush().unwrap();
            program.stop();
        }
        let master = MasterKey::load(&key_file, false).unwrap();
        runtime.block_on(async {
            let store = DynamoStore::open(&aws.sdk().await, TABLE, false, 3).await.unwrap();
            assert_union(&store, &master, &events).await;
        });
    }
}

/// What a program says that does not start.
fn up_that_ends(folder: &Path, settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.arg("up").env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").env("FORETAP_DATA_FOLDER", folder);
    let ended = command.envs(settings.iter().copied()).output().unwrap();
    assert!(!ended.status.success());
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

/// Makes a key of KMS under an alias, and returns its id.
async fn make_key(aws: &Aws) -> String {
    let kms = aws_sdk_kms::Client::new(&aws.sdk().await);
    let id = kms.create_key().send().await.unwrap().key_metadata.unwrap().key_id;
    kms.create_alias().alias_name("alias/foretap").target_key_id(&id).send().await.unwrap();
    id
}

#[test]
fn the_whole_program_with_only_the_settings_changed() {
    let runtime = runtime();
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let id = runtime.block_on(make_key(&aws));
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings_of_store(&aws);
        settings.push(("FORETAP_STORE_KMS_KEY".to_owned(), "alias/foretap".to_owned()));
        settings.push(("FORETAP_INGEST_COMMIT_SECS".to_owned(), "0".to_owned()));
        let settings = borrowed(&settings);
        let events = events(6, 3);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut up = Up::start(folder.path(), &settings);
        for part in events.chunks(events.len().div_ceil(6)) {
            up.client.send(part, "k1", (50, None), |_| {}).unwrap();
            std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
            up.kill();
            up = Up::start(folder.path(), &settings);
        }
        up.client.flush().unwrap();
        let user = events[0].user.to_string();
        let request = foretap_platform::serve::PredictRequest {
            user,
            at: None,
            apps: None,
            after: None,
            ..Default::default()
        };
        assert!(up.client.predict(&request).unwrap().known, "{peer}");
        let key_file = folder.path().join("master.key");
        runtime.block_on(async {
            let sdk = aws.sdk().await;
            let store = DynamoStore::open(&sdk, TABLE, false, 3).await.unwrap();
            let master = master_key_by_kms(&sdk, &key_file, "alias/foretap", false).await.unwrap();
            assert_union(&store, &master, &events).await;
        });
        // A person is forgotten here, too.
        let forgotten = events[0].user;
        assert_eq!(up.client.forget(&forgotten.to_string()).unwrap()["was_in_store"], true);
        up.stop();
        assert_eq!(runtime.block_on(sort_keys(&aws, forgotten.0)), [""; 0]);
        assert!(!key_file_holds_key(&key_file), "no key in the clear");
        if peer == "moto" {
            // It opens with disabled keys.
            continue;
        }
        let disable = |is_enabled: bool| {
            runtime.block_on(async {
                let kms = aws_sdk_kms::Client::new(&aws.sdk().await);
                match is_enabled {
                    true => kms.enable_key().key_id(&id).send().await.map(drop).map_err(|e| format!("{e:?}")),
                    false => {
                        kms.disable_key().key_id(&id).send().await.map(drop).map_err(|e| format!("{e:?}"))
                    }
                }
            })
        };
        disable(false).unwrap();
        let error = up_that_ends(folder.path(), &settings);
        assert!(error.contains("Disabled") && error.contains("enable the KMS key"), "{error}");
        disable(true).unwrap();
        Up::start(folder.path(), &settings).stop();
    }
}

#[test]
fn one_of_two_programs_is_killed_under_load_and_no_question_fails() {
    let runtime = runtime();
    let Some(aws) = Aws::start("moto") else { return };
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("master.key");
    let mut settings = settings_of_store(&aws);
    settings.push(("FORETAP_STORE_KEY_FILE".to_owned(), key_file.to_str().unwrap().to_owned()));
    settings.push(("FORETAP_INGEST_COMMIT_SECS".to_owned(), "0".to_owned()));
    // moto takes its time.
    settings.push(("FORETAP_ANSWER_STATE_MS".to_owned(), "5000".to_owned()));
    let settings = borrowed(&settings);
    let mut programs: Vec<Up> =
        ["a", "b"].iter().map(|name| Up::start(&folder.path().join(name), &settings)).collect();
    let clients: Vec<_> = programs.iter().map(|program| program.client.clone()).collect();
    let servers = Servers::new(clients.clone()).unwrap();
    let events = events(12, 1);
    // Each person's events by their own server, where they are known at once.
    let mut of_users: BTreeMap<UserId, Vec<PhoneEvent>> = BTreeMap::new();
    for event in &events {
        of_users.entry(event.user).or_default().push(event.clone());
    }
    for (user, theirs) in &of_users {
        servers.of(&user.to_string())[0].send(theirs, "k1", (100, None), |_| {}).unwrap();
    }
    clients.iter().for_each(|client| client.flush().unwrap());
    let users: Vec<String> = of_users.keys().map(ToString::to_string).collect();
    let has_both = |name: &Client| users.iter().any(|user| servers.of(user)[0].url() == name.url());
    assert!(clients.iter().all(has_both), "each has some of the users");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let began = Instant::now();
    let (asked, failed, unknown) = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut asked, mut failed, mut unknown) = (0, Vec::new(), 0);
                    while !is_over.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(60) {
                        let user = users[asked % users.len()].clone();
                        let question = foretap_platform::serve::PredictRequest { user, ..Default::default() };
                        match servers.predict(&question) {
                            Ok(answer) => unknown += usize::from(!answer.known),
                            Err(error) => failed.push(error.to_string()),
                        }
                        asked += 1;
                    }
                    (asked, failed, unknown)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        programs[0].kill();
        std::thread::sleep(Duration::from_secs(3));
        is_over.store(true, Ordering::Relaxed);
        let mut all = (0, Vec::new(), 0);
        for asker in askers {
            let (asked, failed, unknown) = asker.join().unwrap();
            (all.0, all.2) = (all.0 + asked, all.2 + unknown);
            all.1.extend(failed);
        }
        all
    });
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), failed.first());
    assert!(asked > 200 && unknown == 0, "{unknown} of {asked}");
    programs.remove(1).stop();
    let master = MasterKey::load(&key_file, false).unwrap();
    runtime.block_on(async {
        let store = DynamoStore::open(&aws.sdk().await, TABLE, false, 3).await.unwrap();
        assert_union(&store, &master, &events).await;
    });
}

#[test]
fn a_store_that_hangs_or_fails_leaves_answers_for_anybody() {
    let runtime = runtime();
    let Some(aws) = Aws::start("moto") else { return };
    let fate = Arc::new(Mutex::new(Fate::Answered));
    let current = Arc::clone(&fate);
    let judge = move |operation: &str, _: &str| match operation {
        "GetItem" | "Query" => current.lock().unwrap().clone(),
        _ => Fate::Answered,
    };
    let url = runtime.block_on(proxy(&aws, Arc::new(judge)));
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings_of_store(&aws);
    settings.retain(|(name, _)| name != "FORETAP_AWS_ENDPOINT");
    settings.push(("FORETAP_AWS_ENDPOINT".to_owned(), url));
    settings.push(("FORETAP_STORE_CACHED_PEOPLE".to_owned(), "0".to_owned()));
    settings.push(("FORETAP_ANSWER_STATE_MS".to_owned(), "150".to_owned()));
    let up = Up::start(folder.path(), &borrowed(&settings));
    let events = events(2, 2);
    up.client.send(&events, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let question =
        foretap_platform::serve::PredictRequest { user: events[0].user.to_string(), ..Default::default() };
    let ask = |within_ms: Option<u64>| {
        let question = foretap_platform::serve::PredictRequest { within_ms, ..question.clone() };
        let asked = Instant::now();
        let answer = up.client.predict(&question).unwrap();
        // The model that ships names no apps: for anybody it has none.
        assert_eq!(answer.apps.is_empty(), !answer.known);
        (answer, asked.elapsed())
    };
    let knows = || {
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            ask(None).0.known
        })
    };
    assert!(knows());

    // Each waits as long as the settings say, or the caller; then the store is left alone, and nobody waits.
    *fate.lock().unwrap() = Fate::Held(Duration::from_secs(3));
    let (answer, took) = ask(None);
    assert!(answer.degraded && !answer.known && took >= Duration::from_millis(150), "{took:?}");
    let (answer, took) = ask(Some(20));
    assert!(answer.degraded && took < Duration::from_millis(150), "{took:?}");
    let asked: Vec<Duration> = (0..40).map(|_| ask(None).1).collect();
    assert!(asked.last().unwrap() < &Duration::from_millis(100), "{asked:?}");
    *fate.lock().unwrap() = Fate::Answered;
    assert!(knows(), "it is asked again after a while");

    // Errors, which come at once.
    *fate.lock().unwrap() =
        Fate::Refused(r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.to_owned());
    for _ in 0..40 {
        assert!(ask(None).0.degraded);
    }
    *fate.lock().unwrap() = Fate::Answered;
    assert!(knows());
    up.stop();
}

fn key_file_holds_key(file: &Path) -> bool {
    MasterKey::load(file, false).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_kms_does_not_open_is_refused_with_the_reason() {
    for peer in PEERS {
        let Some(aws) = Aws::start(peer) else { return };
        let sdk = aws.sdk().await;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let error = master_key_by_kms(&sdk, &file("a"), "alias/foretap", true).await.unwrap_err().to_string();
        assert!(error.contains("NotFound") && error.contains("`kms_key`"), "{error}");
        assert!(!file("a").exists());
        make_key(&aws).await;
        let made = master_key_by_kms(&sdk, &file("a"), "alias/foretap", true).await.unwrap();
        let sealed = made.seal(b"letter").unwrap();
        let opened = master_key_by_kms(&sdk, &file("a"), "alias/foretap", false).await.unwrap();
        assert_eq!(opened.open(&sealed).unwrap(), b"letter");
        // Another key, the older one still opening what it has sealed.
        let rotated = rotate_by_kms(&sdk, &file("a"), "alias/foretap").await.unwrap();
        assert_eq!((rotated.count(), rotated.open(&sealed).unwrap()), (2, b"letter".to_vec()));
        let later = rotated.seal(b"later").unwrap();
        let opened = master_key_by_kms(&sdk, &file("a"), "alias/foretap", false).await.unwrap();
        assert_eq!(opened.open(&later).unwrap(), b"later");
        assert!(made.open(&later).is_err());
        let text = std::fs::read_to_string(file("a")).unwrap();
        MasterKey::load(&file("plain"), true).unwrap();
        std::fs::write(file("cut"), text.replace("\"sealed\":\"", "\"sealed\":\"00")).unwrap();
        for (name, expected) in
            [("plain", "leave `kms_key` out"), ("cut", "cut"), ("none", "bring the key's file back")]
        {
            let error = master_key_by_kms(&sdk, &file(name), "alias/foretap", false).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{peer}, {name}: {error}");
        }
        let error = MasterKey::load(&file("a"), false).unwrap_err().to_string();
        assert!(error.contains("sealed by KMS") && error.contains("`kms_key`"), "{error}");
    }
}
