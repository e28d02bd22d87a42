//! Events from Kinesis where processes die, share shards and lose them, where shards are split and merged, records are removed by
//! their age, and answers are lost: on kinesalite, which each test starts for itself, with the leases in moto (`tests/peers/aws.sh`).
//! Skipped without `FORETAP_TEST_AWS=1`, except in CI. What every source promises is in `tests/source.rs`, also on moto's and
//! ministack's Kinesis; these two forget or move what a shard had when it is split.

#![allow(clippy::unwrap_used)]

#[path = "common/aws.rs"]
#[allow(dead_code)]
mod aws;
#[allow(dead_code)]
mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws::{Aws, Fate, Judge, proxy_of};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::StreamStatus;
use common::{Up, assert_kept, events, runtime};
use foretap_platform::config::{AwsConfig, BatchEncoding, KinesisConfig};
use foretap_platform::lake::Positions;
use foretap_platform::source::{EventSource as _, KinesisSource, Record, check_kinesis};
use foretap_platform::wire::{PhoneEvent, encode};
use md5::{Digest as _, Md5};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const STREAM: &str = "events";
const TABLE: &str = "foretap-leases";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Item = HashMap<String, AttributeValue>;

/// Kinesis from one server, DynamoDB from another.
struct Servers {
    kinesis: Aws,
    rest: Aws,
}

impl Servers {
    /// `None` where no such peer is wanted.
    fn start() -> Option<Self> {
        Some(Self { kinesis: Aws::start("kinesalite")?, rest: Aws::start("moto")? })
    }

    async fn client(&self) -> Client {
        Client::new(&self.kinesis.sdk().await)
    }

    async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.rest.sdk().await)
    }

    /// The URL of both together.
    async fn url(&self) -> String {
        self.url_by(Arc::new(|_, _| Fate::Answered)).await
    }

    async fn url_by(&self, judge: Judge) -> String {
        proxy_of(&self.kinesis, &self.rest, judge).await
    }

    /// Each shard's lease.
    async fn leases(&self) -> BTreeMap<String, Item> {
        let found = self.dynamodb().await.scan().table_name(TABLE).consistent_read(true).send().await;
        let items = found.ok().and_then(|found| found.items).unwrap_or_default();
        let named = items.into_iter().filter_map(|item| {
            let shard = item["sk"].as_s().unwrap().strip_prefix("shard/")?.to_owned();
            Some((shard, item))
        });
        named.collect()
    }

    /// The position up to which a shard is in store and lake, as its lease says.
    async fn ordinal(&self, shard: &str) -> u64 {
        self.leases().await.get(shard).map_or(0, |lease| number(lease, "last_ordinal"))
    }
}

fn number(item: &Item, name: &str) -> u64 {
    item.get(name).map_or(0, |value| value.as_n().unwrap().parse().unwrap())
}

async fn wait_until_active(client: &Client) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = client.describe_stream_summary().stream_name(STREAM).send().await;
        let status =
            found.ok().and_then(|found| Some(found.stream_description_summary?.stream_status().clone()));
        if status == Some(StreamStatus::Active) {
            return;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn make_stream(client: &Client, shards: i32) {
    client.create_stream().stream_name(STREAM).shard_count(shards).send().await.unwrap();
    wait_until_active(client).await;
}

/// First and last hash key of each shard that is open, in the order of the keys.
async fn open_shards(client: &Client) -> Vec<(String, u128, u128)> {
    let found = client.list_shards().stream_name(STREAM).send().await.unwrap();
    let mut open: Vec<(String, u128, u128)> = found
        .shards()
        .iter()
        .filter(|shard| shard.sequence_number_range().unwrap().ending_sequence_number().is_none())
        .map(|shard| {
            let range = shard.hash_key_range().unwrap();
            let key = |text: &str| text.parse().unwrap();
            (shard.shard_id().to_owned(), key(range.starting_hash_key()), key(range.ending_hash_key()))
        })
        .collect();
    open.sort_by_key(|(_, first, _)| *first);
    open
}

/// Adds a record to the shard of this hash key.
async fn put_at(client: &Client, key: u128, data: &[u8]) -> (String, String) {
    let request = client.put_record().stream_name(STREAM).partition_key("key");
    let put = request.explicit_hash_key(key.to_string()).data(Blob::new(data)).send().await.unwrap();
    (put.shard_id, put.sequence_number)
}

async fn put_all(client: &Client, key: u128, names: &[&str]) {
    for name in names {
        put_at(client, key, name.as_bytes()).await;
    }
}

async fn split(client: &Client, shard: &str) {
    let (_, first, last) = open_shards(client).await.into_iter().find(|(id, _, _)| id == shard).unwrap();
    let middle = first + (last - first) / 2;
    let request = client.split_shard().stream_name(STREAM).shard_to_split(shard);
    request.new_starting_hash_key(middle.to_string()).send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    wait_until_active(client).await;
}

async fn merge(client: &Client, shard: &str, next: &str) {
    let request = client.merge_shards().stream_name(STREAM).shard_to_merge(shard);
    request.adjacent_shard_to_merge(next).send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    wait_until_active(client).await;
}

/// As Amazon's producer library puts records together; `source/kinesis/content.rs` has two by a library.
fn aggregated(records: &[Vec<u8>]) -> Vec<u8> {
    let varint = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let mut message = vec![0x0A, 1, b'k'];
    for record in records {
        let part = [&[0x08, 0, 0x1A][..], &varint(record.len()), record].concat();
        message.extend([&[0x1A][..], &varint(part.len()), &part].concat());
    }
    [&[0xF3, 0x89, 0x9A, 0xC2][..], &message, &Md5::digest(&message)[..]].concat()
}

fn config(instance: Option<&str>) -> KinesisConfig {
    KinesisConfig {
        stream: STREAM.to_owned(),
        lease_table: TABLE.to_owned(),
        create_lease_table: true,
        instance: instance.map(str::to_owned),
        lease_secs: 2,
        poll_ms: 200,
        encoding: BatchEncoding::Json,
    }
}

/// What one process has read.
struct Member {
    source: KinesisSource,
    read: Vec<Record>,
}

impl Member {
    fn new(url: &str, instance: Option<&str>) -> Self {
        let (region, endpoint) = ("us-east-1".to_owned(), url.to_owned());
        let aws = AwsConfig { region, endpoint, attempt_secs: 2, attempts: 3 };
        Self { source: KinesisSource::open(&config(instance), &aws), read: Vec::new() }
    }

    /// Reads for a while, one record at a time.
    async fn read(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while let Ok(records) = tokio::time::timeout_at(until, self.source.next(1)).await {
            self.read.extend(records.unwrap());
        }
    }

    async fn read_until(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.read.len() < count {
            assert!(Instant::now() < deadline, "{} of {count}: {:?}", self.read.len(), self.texts());
            self.read(Duration::from_millis(50)).await;
        }
        assert_eq!(self.read.len(), count, "{:?}", self.texts());
    }

    fn texts(&self) -> Vec<String> {
        self.read.iter().map(|record| String::from_utf8_lossy(&record.bytes).into_owned()).collect()
    }

    fn positions(&self) -> Positions {
        positions(&self.read)
    }

    async fn acknowledge(&mut self) {
        let positions = self.positions();
        self.source.acknowledge(&positions).await.unwrap();
    }
}

fn positions(records: &[Record]) -> Positions {
    let mut positions = Positions::default();
    records.iter().for_each(|record| positions.add(&record.partition, record.position));
    positions
}

/// The shard of a record.
fn shard_of(record: &Record) -> &str {
    record.partition.rsplit('/').next().unwrap()
}

/// Each place with its bytes and time: read again by whomever, a record is the same.
fn places<'a>(members: impl IntoIterator<Item = &'a Member>) -> BTreeMap<(&'a str, u64), &'a [u8]> {
    let mut found: BTreeMap<(&str, u64), (&[u8], i64)> = BTreeMap::new();
    for record in members.into_iter().flat_map(|member| &member.read) {
        let place = (&*record.partition, record.position);
        let content = (&record.bytes[..], record.received_at_us);
        assert_eq!(*found.entry(place).or_insert(content), content, "{place:?}");
    }
    found.into_iter().map(|(place, (bytes, _))| (place, bytes)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_the_shards_and_take_over_from_one_that_dies() {
    let Some(servers) = Servers::start() else { return };
    let (client, url) = (servers.client().await, servers.url().await);
    make_stream(&client, 4).await;
    let shards = open_shards(&client).await;
    let mut sent = BTreeSet::new();
    let mut number = 0;
    let mut more = |count: usize| -> Vec<String> {
        let names = (0..count).map(|_| {
            number += 1;
            format!("{number:04}")
        });
        let names: Vec<String> = names.collect();
        sent.extend(names.clone());
        names
    };
    let put = async |names: &[String]| {
        for (name, (_, key, _)) in names.iter().zip(shards.iter().cycle()) {
            put_at(&client, *key, name.as_bytes()).await;
        }
    };
    put(&more(40)).await;
    let mut a = Member::new(&url, None);
    a.read_until(40).await;
    assert_eq!(a.source.shards().len(), 4);
    // Another one: two of the shards go to it, once what was handed out of them is in store and lake.
    let mut b = Member::new(&url, None);
    b.read(Duration::from_millis(1_500)).await;
    assert_eq!((b.source.shards().len(), b.read.len()), (0, 0), "nothing moves before");
    let deadline = Instant::now() + PATIENCE;
    while (a.source.shards().len(), b.source.shards().len()) != (2, 2) {
        assert!(Instant::now() < deadline, "two shards each");
        a.acknowledge().await;
        a.read(Duration::from_millis(100)).await;
        b.read(Duration::from_millis(100)).await;
    }
    assert_eq!(b.read.len(), 0, "what was acknowledged does not come again: {:?}", b.texts());
    put(&more(40)).await;
    while places([&a, &b]).len() < 80 {
        assert!(Instant::now() < deadline, "{} of 80", places([&a, &b]).len());
        a.read(Duration::from_millis(100)).await;
        b.read(Duration::from_millis(100)).await;
    }
    assert_eq!(a.read.len() + b.read.len(), 80, "each once");
    // One dies without a word, of what it has read nothing more is acknowledged: the other reads it again.
    b.acknowledge().await;
    put(&more(20)).await;
    while places([&a, &b]).len() < 100 {
        assert!(Instant::now() < deadline, "{} of 100", places([&a, &b]).len());
        a.read(Duration::from_millis(100)).await;
        b.read(Duration::from_millis(100)).await;
    }
    let Member { source, read } = a;
    drop(source);
    let of_a = read.iter().filter(|record| record.position > 10).count();
    assert!(of_a > 0);
    b.read_until(b.read.len() + of_a).await;
    assert_eq!(b.source.shards().len(), 4);
    b.read.extend(read);
    let found: BTreeSet<String> = b.texts().into_iter().collect();
    assert_eq!(found, sent);
    assert_eq!(places([&b]).len(), 100, "positions are the same, whoever reads");
    // One that is stopped gives its shards up at once.
    b.acknowledge().await;
    b.source.close().await;
    let leases = servers.leases().await;
    assert!(leases.values().all(|lease| !lease.contains_key("lease_owner")), "{leases:?}");
    let mut c = Member::new(&url, None);
    put(&["another".to_owned(), "and another".to_owned()]).await;
    c.read_until(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_and_merges_are_followed_in_order() {
    let Some(servers) = Servers::start() else { return };
    let (client, url) = (servers.client().await, servers.url().await);
    make_stream(&client, 2).await;
    let shards = open_shards(&client).await;
    let ((left, left_key, _), (right, right_key, _)) = (&shards[0], &shards[1]);
    put_all(&client, *left_key, &["left 1", "left 2", "left 3"]).await;
    put_all(&client, *right_key, &["right 1", "right 2"]).await;
    let mut member = Member::new(&url, Some("one"));
    member.read_until(5).await;
    split(&client, left).await;
    let shards = open_shards(&client).await;
    let (outer, inner) = (shards[0].clone(), shards[1].clone());
    put_all(&client, outer.1, &["outer 1", "outer 2"]).await;
    put_all(&client, inner.1, &["inner 1"]).await;
    merge(&client, &inner.0, right).await;
    let shards = open_shards(&client).await;
    assert_eq!(shards.len(), 2);
    let merged = shards[1].clone();
    put_all(&client, merged.1, &["merged 1", "merged 2"]).await;
    // The parents' records are not in store and lake yet.
    member.read(Duration::from_secs(3)).await;
    assert_eq!(member.read.len(), 5, "{:?}", member.texts());
    // A crash, and they come again: no child is read before they are acknowledged.
    drop(member);
    let mut member = Member::new(&url, Some("one"));
    member.read_until(5).await;
    member.read(Duration::from_secs(2)).await;
    assert_eq!(member.read.len(), 5, "{:?}", member.texts());
    let parents: BTreeMap<&str, Vec<(&str, usize)>> = [
        (&*outer.0, vec![(&**left, 3)]),
        (&*inner.0, vec![(&**left, 3)]),
        (&*merged.0, vec![(&*inner.0, 1), (&**right, 2)]),
    ]
    .into();
    let deadline = Instant::now() + PATIENCE;
    while member.read.len() < 10 {
        assert!(Instant::now() < deadline, "{:?}", member.texts());
        member.acknowledge().await;
        let before = member.read.len();
        member.read(Duration::from_millis(100)).await;
        let (known, new) = member.read.split_at(before);
        for record in new {
            for (parent, count) in parents.get(shard_of(record)).into_iter().flatten() {
                let in_lake = known.iter().filter(|record| shard_of(record) == *parent).count();
                assert_eq!(in_lake, *count, "{record:?} before its parent {parent}");
            }
        }
    }
    member.acknowledge().await;
    assert_eq!(member.texts().into_iter().collect::<BTreeSet<_>>().len(), 10);
    member.read(Duration::from_secs(1)).await;
    assert_eq!(member.read.len(), 10, "each once");
    let leases = servers.leases().await;
    for (shard, is_ended) in
        [(left, true), (right, true), (&inner.0, true), (&outer.0, false), (&merged.0, false)]
    {
        assert_eq!(leases[shard].contains_key("shard_ended"), is_ended, "{shard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_silent_too_long_sets_nothing_back() {
    let Some(servers) = Servers::start() else { return };
    let client = servers.client().await;
    make_stream(&client, 1).await;
    let shard = open_shards(&client).await[0].0.clone();
    put_all(&client, 0, &["1", "2", "3", "4", "5", "6"]).await;
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = Arc::clone(&is_silent);
    let judge = move |operation: &str, _: &str| match operation {
        // Its leases alone: as one that was stopped, and goes on with what it had read.
        "UpdateItem" | "Query" | "DeleteItem" if silent.load(Ordering::Relaxed) => Fate::Cut,
        _ => Fate::Answered,
    };
    let (spoiled, direct) = (servers.url_by(Arc::new(judge)).await, servers.url().await);
    let mut a = Member::new(&spoiled, None);
    a.read_until(6).await;
    a.source.acknowledge(&positions(&a.read[..2])).await.unwrap();
    assert_eq!(servers.ordinal(&shard).await, 2);
    is_silent.store(true, Ordering::Relaxed);
    // It does no harm that this cannot be written: it is later, or never.
    a.source.acknowledge(&positions(&a.read[..3])).await.unwrap();
    let mut b = Member::new(&direct, None);
    b.read_until(4).await;
    assert_eq!(b.texts(), ["3", "4", "5", "6"]);
    assert_eq!(places([&a, &b]).len(), 6);
    b.acknowledge().await;
    assert_eq!(servers.ordinal(&shard).await, 6);
    let epoch = number(&servers.leases().await[&shard], "lease_epoch");
    assert!(epoch > 1);
    is_silent.store(false, Ordering::Relaxed);
    a.source.acknowledge(&positions(&a.read[..4])).await.unwrap();
    assert_eq!(servers.ordinal(&shard).await, 6, "nothing was set back");
    a.acknowledge().await;
    assert_eq!(servers.ordinal(&shard).await, 6);
    // Whoever has the shard now reads on from there.
    put_all(&client, 0, &["7", "8"]).await;
    let deadline = Instant::now() + PATIENCE;
    while places([&a, &b]).len() < 8 {
        assert!(Instant::now() < deadline, "{:?} {:?}", a.texts(), b.texts());
        for member in [&mut a, &mut b] {
            member.read(Duration::from_millis(100)).await;
            member.acknowledge().await;
        }
        assert!(servers.ordinal(&shard).await >= 6);
    }
    assert_eq!(a.read.len() + b.read.len(), 12, "{:?} {:?}", a.texts(), b.texts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_is_another_one() {
    let Some(servers) = Servers::start() else { return };
    let (client, url) = (servers.client().await, servers.url().await);
    let mut member = Member::new(&url, None);
    // There is none yet.
    member.read(Duration::from_millis(500)).await;
    make_stream(&client, 1).await;
    put_all(&client, 0, &["1", "2", "3"]).await;
    member.read_until(3).await;
    client.delete_stream().stream_name(STREAM).send().await.unwrap();
    // Of one that is gone nothing can be said any more, and nothing is in the way.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    member.acknowledge().await;
    make_stream(&client, 1).await;
    put_all(&client, 0, &["1", "2", "3", "4"]).await;
    member.read_until(7).await;
    assert_eq!(member.texts(), ["1", "2", "3", "1", "2", "3", "4"]);
    let names: BTreeSet<&str> = member.read.iter().map(|record| &*record.partition).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let is_named = |name: &&str| name.starts_with("kinesis/arn:aws:kinesis:") && name.contains("/events@");
    assert!(names.iter().all(|name| is_named(name) && name.ends_with("/shardId-000000000000")), "{names:?}");
}

/// All that kinesalite has is 25 hours older.
fn a_day_passes(servers: &Servers) {
    let read = |name: &str| std::fs::read_to_string(servers.kinesis.folder().join(name)).unwrap();
    let days = || read("log").lines().filter(|line| *line == "a day later").count();
    let before = days();
    assert!(Command::new("kill").args(["-USR2", read("pid").trim()]).status().unwrap().success());
    // What is put before it has heard of it would be a day old.
    let deadline = Instant::now() + PATIENCE;
    while days() == before {
        assert!(Instant::now() < deadline, "the server's clock stands still");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_removed_before_they_were_read_are_noticed() {
    let Some(servers) = Servers::start() else { return };
    let (client, url) = (servers.client().await, servers.url().await);
    make_stream(&client, 1).await;
    let shard = open_shards(&client).await[0].0.clone();
    put_all(&client, 0, &["1", "2", "3", "4", "5"]).await;
    let mut member = Member::new(&url, Some("one"));
    member.read_until(5).await;
    assert_eq!(
        servers.ordinal(&shard).await,
        0,
        "the first record has its place before anything is acknowledged"
    );
    assert!(servers.leases().await[&shard].contains_key("last_sequence"));
    // In the lake are all; in the lease, after a crash, three. Since when nothing was read the lease does not say.
    member.source.acknowledge(&positions(&member.read[..3])).await.unwrap();
    drop(member);
    let client_of_leases = servers.dynamodb().await;
    let mut lease = servers.leases().await.remove(&shard).unwrap();
    lease.remove("read_until_us");
    client_of_leases.put_item().table_name(TABLE).set_item(Some(lease)).send().await.unwrap();
    a_day_passes(&servers);
    put_all(&client, 0, &["6", "7"]).await;
    let mut member = Member::new(&url, Some("one"));
    member.read_until(2).await;
    assert_eq!(member.texts(), ["6", "7"]);
    let first = member.read[0].position;
    assert!(first > 1 << 40, "behind all that may be in the lake under the same name: {first}");
    assert_eq!(member.read[1].position, first + 1);
    member.acknowledge().await;
    member.read(Duration::from_secs(2)).await;
    drop(member);
    // A quiet shard: its last record is removed, too, and it is known that there was nothing after it.
    let lease = servers.leases().await.remove(&shard).unwrap();
    assert!(number(&lease, "read_until_us") > 0, "{lease:?}");
    a_day_passes(&servers);
    let mut member = Member::new(&url, Some("one"));
    member.read(Duration::from_secs(1)).await;
    put_all(&client, 0, &["8"]).await;
    member.read_until(1).await;
    assert_eq!(
        (member.texts(), member.read[0].position),
        (vec!["8".to_owned()], first + 2),
        "the count goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_many_is_taken_in_part() {
    let Some(servers) = Servers::start() else { return };
    let (client, url) = (servers.client().await, servers.url().await);
    make_stream(&client, 1).await;
    let shard = open_shards(&client).await[0].0.clone();
    let many = ["a", "b", "c"].map(|name| name.as_bytes().to_vec());
    put_at(&client, 0, &aggregated(&many)).await;
    put_at(&client, 0, b"d").await;
    let mut member = Member::new(&url, Some("one"));
    let mut expected = vec!["a", "b", "c", "d"];
    let mut all: Option<Vec<Record>> = None;
    // Each time one is acknowledged, and a crash.
    while !expected.is_empty() {
        // One at a time, so that an acknowledgement falls behind each.
        let mut read = Vec::new();
        while read.len() < expected.len() {
            let next = tokio::time::timeout(PATIENCE, member.source.next(1)).await.unwrap().unwrap();
            assert_eq!(next.len(), 1);
            read.extend(next);
        }
        let of_before = all.get_or_insert_with(|| read.clone());
        assert_eq!(read, of_before[4 - expected.len()..], "the same positions and times");
        member.source.acknowledge(&positions(&read[..1])).await.unwrap();
        assert_eq!(servers.ordinal(&shard).await, read[0].position);
        expected.remove(0);
        drop(member);
        member = Member::new(&url, Some("one"));
    }
    member.read(Duration::from_secs(2)).await;
    assert_eq!(member.read.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_listed_page_by_page() {
    for (peer, shards) in [("moto", 5), ("ministack", 7)] {
        let Some(aws) = Aws::start(peer) else { return };
        let client = Client::new(&aws.sdk().await);
        client.create_stream().stream_name(STREAM).shard_count(shards).send().await.unwrap();
        let pages = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&pages);
        let judge = move |operation: &str, body: &str| {
            if operation != "ListShards" {
                return Fate::Answered;
            }
            count.fetch_add(1, Ordering::Relaxed);
            let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
            body["MaxResults"] = 2.into();
            // Amazon refuses the name beside a token; these two find no stream without.
            assert_ne!(body["NextToken"].is_string(), body["StreamName"].is_string(), "{body}");
            body["StreamName"] = STREAM.into();
            Fate::Changed(body.to_string(), |_, answer| answer.to_owned())
        };
        let url = proxy_of(&aws, &aws, Arc::new(judge)).await;
        let settings = AwsConfig { region: "us-east-1".to_owned(), endpoint: url, ..AwsConfig::default() };
        let found = check_kinesis(&config(None), &settings).await.unwrap();
        assert!(found.contains(&format!("of {shards} shards")), "{peer}: {found}");
        assert_eq!(pages.load(Ordering::Relaxed), (shards as usize).div_ceil(2), "{peer}");
    }
}

const THROTTLED: &str =
    r#"{"__type":"ProvisionedThroughputExceededException","message":"Rate exceeded for shard"}"#;
const EXPIRED: &str = r#"{"__type":"ExpiredIteratorException","message":"Iterator expired."}"#;

/// Batches of one person's events each, in about the order of time.
fn batches(events: &[PhoneEvent], size: usize) -> Vec<Vec<PhoneEvent>> {
    let mut open: BTreeMap<u64, Vec<PhoneEvent>> = BTreeMap::new();
    let mut done = Vec::new();
    for event in events {
        let batch = open.entry(event.user.0).or_default();
        batch.push(event.clone());
        if batch.len() == size {
            done.push(std::mem::take(batch));
        }
    }
    done.extend(open.into_values().filter(|batch| !batch.is_empty()));
    done
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_throttling_lost_answers_and_new_shards() {
    let Some(servers) = Servers::start() else { return };
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let random = Mutex::new(ChaCha8Rng::seed_from_u64(11));
    let spoiled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&spoiled);
    let judge = move |operation: &str, _: &str| {
        let throw = random.lock().unwrap().random_range(0.0..1.0);
        let fate = match (operation, throw) {
            ("GetRecords", 0.0..0.1) => Fate::Refused(THROTTLED.to_owned()),
            ("GetRecords", 0.1..0.2) => Fate::Refused(EXPIRED.to_owned()),
            ("GetRecords" | "UpdateItem" | "ListShards", 0.2..0.35) => Fate::Lost,
            ("UpdateItem" | "Query", 0.35..0.4) => Fate::Cut,
            _ => return Fate::Answered,
        };
        count.fetch_add(1, Ordering::Relaxed);
        fate
    };
    let url = runtime.block_on(servers.url_by(Arc::new(judge)));
    let client = runtime.block_on(servers.client());
    let settings = [
        ("FORETAP_AWS_ENDPOINT", &*url),
        ("FORETAP_AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("FORETAP_KINESIS_STREAM", STREAM),
        ("FORETAP_KINESIS_LEASE_TABLE", TABLE),
        ("FORETAP_KINESIS_CREATE_LEASE_TABLE", "true"),
        ("FORETAP_KINESIS_INSTANCE", "one"),
        ("FORETAP_KINESIS_LEASE_SECS", "3"),
        ("FORETAP_KINESIS_POLL_MS", "200"),
        // Commits all the time, so that kills fall into them.
        ("FORETAP_INGEST_COMMIT_SECS", "0"),
    ];
    let events = events(24, 1);
    let batches = batches(&events, 10);
    // It starts before there is a stream.
    let mut up = Up::start(folder.path(), &settings);
    runtime.block_on(make_stream(&client, 2));
    let parts: Vec<&[Vec<PhoneEvent>]> = batches.chunks(batches.len().div_ceil(24)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    // The last record of each shard, and how many it holds.
    let mut last: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for (number, part) in parts.iter().enumerate() {
        for group in part.chunks(3) {
            // Each batch by itself, or three together.
            let records: Vec<Vec<u8>> = group.iter().map(|batch| encode("k1", batch)).collect();
            let records = match number % 2 {
                0 => records.into_iter().map(|record| (record, 1)).collect(),
                _ => vec![(aggregated(&records), records.len() as u64)],
            };
            for (data, count) in records {
                let key = random.random::<u128>();
                let (shard, sequence) = runtime.block_on(put_at(&client, key, &data));
                last.insert(shard, (sequence, count));
            }
        }
        match number {
            2 | 4 | 6 | 9 | 10 | 13 | 16 | 18 | 20 | 22 => {
                std::thread::sleep(Duration::from_millis(random.random_range(0..1_500)));
                up.kill();
                up = Up::start(folder.path(), &settings);
            }
            5 | 15 => runtime.block_on(async { split(&client, &open_shards(&client).await[0].0).await }),
            8 | 19 => runtime.block_on(async {
                let open = open_shards(&client).await;
                merge(&client, &open[1].0, &open[2].0).await;
            }),
            _ => {}
        }
    }
    assert!(last.len() >= 6, "{last:?}");
    let started = Instant::now();
    loop {
        up.client.flush().unwrap();
        let leases = runtime.block_on(servers.leases());
        let is_at_end = |(shard, (sequence, count)): (&String, &(String, u64))| {
            leases.get(shard).is_some_and(|lease| {
                let found = lease.get("last_sequence").and_then(|value| value.as_s().ok());
                found == Some(sequence) && number(lease, "last_count") == *count
            })
        };
        if last.iter().all(is_at_end) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "not at the end: {last:?} {leases:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = up.client.status().unwrap();
    assert_eq!((status.dead, status.late), (0, 0));
    let metrics = ureq::get(format!("{}/metrics", up.client.url())).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    assert!(metrics.contains("foretap_kinesis_behind_ms{shard=\"shardId-"), "{metrics}");
    assert!(!metrics.contains("foretap_kinesis_missing_records_total"), "{metrics}");
    up.stop();
    let leases = runtime.block_on(servers.leases());
    assert!(leases.values().all(|lease| !lease.contains_key("lease_owner")), "given up: {leases:?}");
    assert_kept(folder.path(), &events);
    eprintln!("{} requests were spoiled", spoiled.load(Ordering::Relaxed));
    assert!(spoiled.load(Ordering::Relaxed) > 20);
}
