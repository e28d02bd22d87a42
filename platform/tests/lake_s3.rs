//! The lake on S3, by moto and by ministack: nobody lives on in an older version of an object; a bad network, and kills. Skipped
//! without `FORETAP_TEST_AWS=1`, except in CI.

#![allow(clippy::unwrap_used)]

#[path = "common/s3.rs"]
mod s3;
// Each test uses a part of it.
#[allow(dead_code)]
mod common;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{ALL_KEPT, Up, events, kept_in, runtime};
use foretap::data::{Battery, Network, UserId};
use foretap_platform::config::AwsConfig;
use foretap_platform::lake::{Commit, Lake, LakeEvent, Positions, TableName, people, row_count};
use foretap_platform::s3::S3Location;
use foretap_platform::wire::{PhoneEvent, SignalKind};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use s3::{Faults, Peer, Proxy};

const BUCKET: &str = "lakes";
/// 2026-11-01.
const START_US: i64 = 1_793_491_200_000_000;

fn location() -> S3Location {
    S3Location::parse("lake.location", "s3://lakes/one").unwrap().unwrap()
}

/// Five people's events, one each.
fn commit(position: u64) -> Commit {
    let mut positions = Positions::default();
    positions.add("p/0", position);
    let row = |user: u64| LakeEvent {
        event: PhoneEvent {
            user: UserId(0xfeed_0000_0000_0000 + user),
            at_us: START_US + position as i64 * 1_000_000,
            number: 0,
            utc_offset_secs: 0,
            signal: SignalKind::Unlock,
            app: None,
            place: None,
            battery: Battery { percent: None, charging: None },
            network: Network::Wifi,
        },
        key_id: "k1".into(),
        received_at_us: START_US,
        partition: "p/0".into(),
        position,
    };
    Commit { events: (0..5).map(row).collect(), positions, ..Commit::default() }
}

async fn open(folder: &Path, aws: &AwsConfig) -> Lake {
    Lake::open_on_s3(folder, location(), aws, 2).await.unwrap()
}

/// Versions of objects that have these bytes in them.
fn versions_with(peer: &Peer, wanted: &str) -> Vec<String> {
    let versions = peer.versions(BUCKET).into_iter();
    let with = versions.filter(|(key, version)| {
        let version = if version == "null" { String::new() } else { format!("?versionId={version}") };
        let path = format!("{BUCKET}/{}{version}", key.replace('=', "%3D"));
        // A mark of deletion has no bytes.
        let bytes = peer.try_get(&path).unwrap_or_default();
        bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
    });
    with.map(|(key, version)| format!("{key} {version}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_person_is_in_no_version_of_any_object() {
    if !s3::is_wanted() {
        return;
    }
    for (name, is_versioned) in [("moto", true), ("ministack", true), ("moto", false)] {
        let peer = Peer::start(name);
        peer.make_bucket(BUCKET, is_versioned);
        let folder = tempfile::tempdir().unwrap();
        let lake = open(folder.path(), &peer.config()).await;
        for position in 1..=4 {
            lake.commit(&commit(position)).await.unwrap();
        }
        lake.tag("v1", "").await.unwrap();
        lake.compact(TableName::Events).await.unwrap();
        lake.commit(&commit(5)).await.unwrap();
        // The greatest: bounds name the least and the greatest of a file.
        let user = UserId(0xfeed_0000_0000_0004);
        assert!(!versions_with(&peer, &user.to_string()).is_empty(), "bounds and dictionaries name them");
        // What other engines delete keeps its versions: those have to go, too.
        lake.compact(TableName::Events).await.unwrap();
        lake.expire(TableName::Events, i64::MAX).await.unwrap();
        assert!(!versions_with(&peer, &user.to_string()).is_empty());
        let forgotten = lake.forget(TableName::Events, user).await.unwrap();
        assert_eq!((forgotten.rows, forgotten.tagged_rows), (5, 4), "{name}");
        assert_eq!(forgotten.versions > 0, is_versioned, "{name}: {forgotten:?}");
        assert_eq!(versions_with(&peer, &user.to_string()), Vec::<String>::new(), "{name}");
        let (versions, mut keys) = (peer.versions(BUCKET), peer.keys(BUCKET));
        let mut versions: Vec<String> = versions.into_iter().map(|(key, _)| key).collect();
        versions.sort();
        keys.sort();
        let lies_in = |key: &&String| key.contains("foretap/events/");
        let only_current: Vec<_> = versions.iter().filter(lies_in).collect();
        assert_eq!(
            only_current,
            keys.iter().filter(lies_in).collect::<Vec<_>>(),
            "{name}: no older versions"
        );
        let left = people(&lake, None).await.unwrap();
        assert_eq!((left.len(), left.contains_key(&user)), (4, false));
        assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_has_another_lake_is_refused() {
    if !s3::is_wanted() {
        return;
    }
    for name in ["moto", "ministack"] {
        let peer = Peer::start(name);
        peer.make_bucket(BUCKET, false);
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        open(one.path(), &peer.config()).await.commit(&commit(1)).await.unwrap();
        open(one.path(), &peer.config()).await.commit(&commit(2)).await.unwrap();
        let error =
            Lake::open_on_s3(other.path(), location(), &peer.config(), 2).await.unwrap_err().to_string();
        assert!(error.contains("another lake") && error.contains("catalog.sqlite"), "{name}: {error}");
        let moved = S3Location::parse("lake.location", "s3://lakes/two").unwrap().unwrap();
        let error = Lake::open_on_s3(one.path(), moved, &peer.config(), 2).await.unwrap_err().to_string();
        assert!(error.contains("another folder or bucket"), "{name}: {error}");
    }
}

/// Busy answers, lost answers, cut and slow connections: commits are tried again by whoever makes them, as the loop does.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_loses_and_doubles_nothing() {
    if !s3::is_wanted() {
        return;
    }
    let peer = Peer::start("moto");
    peer.make_bucket(BUCKET, true);
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), &peer.config()).await;
    let faults = Faults { busy: 5, lost: 5, cut: 3, late: 1 };
    let proxy = Proxy::start(peer.port, faults, 7).await;
    let endpoint = format!("http://127.0.0.1:{}", proxy.port);
    // Where these attempts do not suffice, the call fails, and is made again.
    let aws = AwsConfig { endpoint, attempt_secs: 1, attempts: 4, ..peer.config() };
    let lake = open_again(folder.path(), &aws).await;
    let mut failed = 0;
    for position in 1..=15 {
        while let Err(error) = lake.commit(&commit(position)).await {
            failed += 1;
            assert!(error.to_string().contains("in the lake"), "{error}");
        }
    }
    let user = UserId(0xfeed_0000_0000_0001);
    while lake.forget(TableName::Events, user).await.is_err() {
        failed += 1;
    }
    let spoiled = proxy.spoiled.load(Ordering::Relaxed);
    eprintln!("{spoiled} connections were spoiled, {failed} calls failed");
    assert!(spoiled > 30, "{spoiled} spoiled");
    let lake = open(folder.path(), &peer.config()).await;
    assert_eq!(row_count(&lake, TableName::Events).await.unwrap(), 4 * 15);
    let found = people(&lake, None).await.unwrap();
    assert_eq!(found.values().map(std::collections::BTreeMap::len).collect::<Vec<_>>(), [15; 4]);
    // What attempts that failed have left goes, and only that.
    let later = jiff::Timestamp::now().as_millisecond() + 3_600_000;
    let orphans = lake.orphans(TableName::Events, later, false).await.unwrap();
    eprintln!("{} files were left by calls that failed", orphans.files.len());
    assert_eq!(people(&lake, None).await.unwrap(), found);
    assert_eq!(versions_with(&peer, &user.to_string()), Vec::<String>::new());
}

async fn open_again(folder: &Path, aws: &AwsConfig) -> Lake {
    loop {
        if let Ok(lake) = Lake::open_on_s3(folder, location(), aws, 2).await {
            return lake;
        }
    }
}

/// A server that takes a connection and never answers: an error in time, and not a process that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_an_error_in_time() {
    if !s3::is_wanted() {
        return;
    }
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let aws = AwsConfig { endpoint, region: s3::REGION.to_owned(), attempt_secs: 1, attempts: 2 };
    let folder = tempfile::tempdir().unwrap();
    let opened = Lake::open_on_s3(folder.path(), location(), &aws, 2);
    let error = tokio::time::timeout(Duration::from_secs(10), opened).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("[aws]"), "{error}");
}

fn settings(peer: &Peer) -> Vec<(&'static str, String)> {
    vec![
        ("FORETAP_LAKE_LOCATION", location().to_string()),
        ("FORETAP_AWS_ENDPOINT", peer.endpoint()),
        ("FORETAP_AWS_REGION", s3::REGION.to_owned()),
        // Commits all the time, so that kills fall into them.
        ("FORETAP_INGEST_COMMIT_SECS", "0".to_owned()),
    ]
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_while_s3_is_written() {
    if !s3::is_wanted() {
        return;
    }
    for name in ["moto", "ministack"] {
        let peer = Peer::start(name);
        peer.make_bucket(BUCKET, true);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&peer);
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let events = events(4, 4);
        let mut up = Up::start(folder.path(), &settings);
        let mut kills = 0;
        for part in events.chunks(250) {
            if random.random_ratio(1, 4) {
                std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
                up.kill();
                kills += 1;
                up = Up::start(folder.path(), &settings);
            }
            up.client.send(part, "k1", (50, None), |_| {}).unwrap();
        }
        assert!(kills > 3, "{kills} kills over {} events", events.len());
        up.client.flush().unwrap();
        up.stop();
        runtime().block_on(async {
            let lake =
                Lake::open_on_s3(&folder.path().join("lake"), location(), &peer.config(), 16).await.unwrap();
            assert_eq!(kept_in(&lake, folder.path(), &events).await, ALL_KEPT);
        });
        eprintln!("{name}: {kills} kills over {} events", events.len());
    }
}
