//! What every online store promises, asked of each.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "aws")]
#[path = "common/aws.rs"]
#[allow(dead_code)]
mod aws;

use std::sync::Arc;

use foretap::data::UserId;
use foretap_platform::store::{MasterKey, OnlineStore, RedbStore, SnapshotWrite, Write, Written};

fn write(user: u64, expected: u64, chunk: &[u8]) -> Write {
    Write { user: UserId(user), expected, key: vec![7; 9], append: Some(chunk.to_vec()), snapshot: None }
}

/// Rows, versions, chunks, snapshots, forgetting, listing.
async fn keeps_rows(store: &dyn OnlineStore) {
    assert_eq!(store.proof(b"first".to_vec()).await.unwrap(), b"first");
    assert_eq!(store.proof(b"second".to_vec()).await.unwrap(), b"first");
    assert_eq!(store.row(UserId(1)).await.unwrap(), None);
    assert_eq!(store.person(UserId(1)).await.unwrap(), None);
    let written = store.write(vec![write(1, 0, b"a"), write(2, 0, b"z")]).await.unwrap();
    assert_eq!(written, [Written::Version(1), Written::Version(1)]);
    // A write that names an older version loses; the others of its batch are done.
    let written = store.write(vec![write(1, 0, b"lost"), write(2, 1, b"y")]).await.unwrap();
    assert_eq!(written, [Written::Conflict, Written::Version(2)]);
    // Two writes of one row in one batch: the second names what the first has passed.
    let written = store.write(vec![write(1, 1, b"b"), write(1, 1, b"lost")]).await.unwrap();
    assert_eq!(written, [Written::Version(2), Written::Conflict]);
    let row = store.row(UserId(1)).await.unwrap().unwrap();
    assert_eq!((row.version, row.key, row.summary), (2, vec![7; 9], Vec::new()));
    let chunks: Vec<&[u8]> = row.tail.iter().map(|(_, chunk)| chunk.as_slice()).collect();
    assert_eq!(chunks, [b"a", b"b"]);
    // A snapshot takes the place of all that is not named to stay.
    let snapshot =
        SnapshotWrite { summary: b"s".to_vec(), person: b"p".to_vec(), tail: Some(b"rest".to_vec()) };
    let renewed = Write { append: None, snapshot: Some(snapshot), ..write(1, 2, b"") };
    assert_eq!(store.write(vec![renewed]).await.unwrap(), [Written::Version(3)]);
    store.write(vec![write(1, 3, b"c")]).await.unwrap();
    let row = store.row(UserId(1)).await.unwrap().unwrap();
    let chunks: Vec<&[u8]> = row.tail.iter().map(|(_, chunk)| chunk.as_slice()).collect();
    assert_eq!((row.version, row.summary, chunks), (4, b"s".to_vec(), vec![b"rest".as_slice(), b"c"]));
    assert_eq!(store.person(UserId(1)).await.unwrap().unwrap(), b"p");
    // A neighbour's row is another's.
    assert_eq!(store.row(UserId(2)).await.unwrap().unwrap().tail.len(), 2);
    assert!(store.sizes().await.unwrap().people.is_none_or(|people| people == 2));
    let first = store.users(None, 1).await.unwrap();
    let mut both = store.users(Some(first[0]), 9).await.unwrap();
    both.extend(first);
    both.sort_unstable();
    assert_eq!(both, [UserId(1), UserId(2)]);
    assert!(store.forget(UserId(1), 50).await.unwrap());
    assert!(!store.forget(UserId(1), 51).await.unwrap());
    assert_eq!(store.forgotten().await.unwrap(), [(UserId(1), 51)]);
    assert_eq!((store.row(UserId(1)).await.unwrap(), store.person(UserId(1)).await.unwrap()), (None, None));
    assert_eq!(store.users(None, 9).await.unwrap(), [UserId(2)]);
    // Who comes back begins anew.
    assert_eq!(store.write(vec![write(1, 0, b"new")]).await.unwrap(), [Written::Version(1)]);
    assert_eq!(store.row(UserId(1)).await.unwrap().unwrap().tail.len(), 1);
}

/// Of many writers of one row with one version, one wins, and the others are told.
async fn has_one_writer(store: Arc<dyn OnlineStore>) {
    for version in 0..10 {
        let writers: Vec<_> = (0..8_u8)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.write(vec![write(77, version, &[writer])]).await.unwrap() })
            })
            .collect();
        let mut won = 0;
        for writer in writers {
            won += usize::from(writer.await.unwrap() == [Written::Version(version + 1)]);
        }
        assert_eq!(won, 1);
    }
    assert_eq!(store.row(UserId(77)).await.unwrap().unwrap().tail.len(), 10);
}

/// A snapshot that says of itself at which version it was made.
fn snapshot(user: u64, expected: u64, bytes: usize) -> Write {
    let version = (expected + 1).to_le_bytes();
    let snapshot = SnapshotWrite {
        summary: version.to_vec(),
        person: version.iter().copied().cycle().take(bytes).collect(),
        tail: None,
    };
    Write { append: None, snapshot: Some(snapshot), ..write(user, expected, b"") }
}

/// Whoever reads meanwhile finds a whole row of some moment: a snapshot, and every chunk after it.
async fn is_read_whole(store: Arc<dyn OnlineStore>) {
    const LAST: u64 = 120;
    const USER: u64 = 78;
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for expected in 0..LAST {
            let write = match expected % 7 {
                6 => snapshot(USER, expected, 100),
                _ => write(USER, expected, &(expected + 1).to_le_bytes()),
            };
            assert_eq!(writing.write(vec![write]).await.unwrap(), [Written::Version(expected + 1)]);
        }
    });
    let (mut newest, mut reads) = (0, 0);
    while newest < LAST {
        let Some(row) = store.row(UserId(USER)).await.unwrap() else { continue };
        let made_at = row.summary.try_into().map_or(0, u64::from_le_bytes);
        let chunks: Vec<u64> =
            row.tail.into_iter().map(|(_, chunk)| u64::from_le_bytes(chunk.try_into().unwrap())).collect();
        let expected: Vec<u64> = (made_at + 1..=row.version).collect();
        assert_eq!(chunks, expected, "made at {made_at}");
        assert!(row.version >= newest);
        (newest, reads) = (row.version, reads + 1);
    }
    writer.await.unwrap();
    assert!(reads > 5, "{reads} reads");
}

/// What is larger than one item of some stores, growing and shrinking.
async fn keeps_what_is_large(store: &dyn OnlineStore) {
    let large = |byte: u8, bytes: usize| vec![byte; bytes];
    let user = UserId(79);
    let row = || async { store.row(user).await.unwrap().unwrap() };
    assert_eq!(store.write(vec![write(79, 0, &large(1, 1_000_000))]).await.unwrap(), [Written::Version(1)]);
    assert_eq!(store.write(vec![write(79, 1, &large(2, 900_000))]).await.unwrap(), [Written::Version(2)]);
    assert_eq!(store.write(vec![write(79, 1, &large(3, 900_000))]).await.unwrap(), [Written::Conflict]);
    assert_eq!(row().await.tail, [(1, large(1, 1_000_000)), (2, large(2, 900_000))]);
    for (version, bytes) in [(2, 1_000_000), (3, 0), (4, 700_001), (5, 350_000), (6, 40_000)] {
        let renewed = snapshot(79, version, bytes);
        let person = renewed.snapshot.clone().unwrap().person;
        assert_eq!(store.write(vec![renewed]).await.unwrap(), [Written::Version(version + 1)]);
        assert!(store.person(user).await.unwrap().unwrap() == person, "{bytes} bytes");
        assert_eq!(row().await.tail, []);
    }
    assert_eq!(store.write(vec![snapshot(79, 2, 10)]).await.unwrap(), [Written::Conflict]);
    assert!(store.forget(user, 1).await.unwrap());
    assert_eq!((store.row(user).await.unwrap(), store.person(user).await.unwrap()), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn redb() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = Arc::new(RedbStore::open(&file).unwrap());
    keeps_rows(&*store).await;
    has_one_writer(store.clone()).await;
    is_read_whole(store.clone()).await;
    keeps_what_is_large(&*store).await;
    let error = RedbStore::open(&file).unwrap_err().to_string();
    assert!(error.contains("another process has this file open") && error.contains("store.redb"), "{error}");
    drop(store);
    let again = RedbStore::open(&file).unwrap();
    assert_eq!(again.row(UserId(77)).await.unwrap().unwrap().version, 10, "durable");
    drop(again);
    std::fs::write(&file, b"no database").unwrap();
    let error = RedbStore::open(&file).unwrap_err().to_string();
    assert!(error.contains("store.redb"), "{error}");
}

#[cfg(feature = "aws")]
mod dynamodb {
    use foretap_platform::store::DynamoStore;

    use super::aws::Aws;
    use super::*;

    async fn passes(peer: &str) {
        let Some(aws) = Aws::start(peer) else { return };
        let sdk = aws.sdk().await;
        let error = DynamoStore::open(&sdk, "foretap", false, 3).await.unwrap_err().to_string();
        assert!(error.contains("there is no table `foretap`") && error.contains("create_table"), "{error}");
        let store = Arc::new(DynamoStore::open(&sdk, "foretap", true, 3).await.unwrap());
        keeps_rows(&*store).await;
        has_one_writer(store.clone()).await;
        is_read_whole(store.clone()).await;
        keeps_what_is_large(&*store).await;
        let again = DynamoStore::open(&sdk, "foretap", false, 3).await.unwrap();
        assert_eq!(again.row(UserId(77)).await.unwrap().unwrap().version, 10);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn moto() {
        passes("moto").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ministack() {
        passes("ministack").await;
    }
}

#[test]
fn an_older_master_key_opens_what_it_has_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.key");
    assert!(MasterKey::rotate(&file).unwrap_err().to_string().contains("bring the key's file back"));
    let first = MasterKey::load(&file, true).unwrap();
    let sealed = first.seal(b"letter").unwrap();
    let (person, envelope) = first.new_person().unwrap();
    let second = MasterKey::rotate(&file).unwrap();
    let third = MasterKey::rotate(&file).unwrap();
    let read = MasterKey::load(&file, false).unwrap();
    assert_eq!((second.count(), read.count()), (2, 3));
    for keys in [&second, &third, &read] {
        assert_eq!(keys.open(&sealed).unwrap(), b"letter");
        assert_eq!(keys.open_person(&envelope).unwrap().bytes(), person.bytes());
    }
    // The newest seals: those before do not open it.
    let sealed = read.seal(b"another").unwrap();
    assert_eq!(third.open(&sealed).unwrap(), b"another");
    assert!(first.open(&sealed).is_err() && second.open(&sealed).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A line that is no key is refused, and nothing is added to it.
    let text = std::fs::read_to_string(&file).unwrap();
    for damaged in [text.replace('\n', ""), format!("{text}zz"), String::new(), text[1..].to_owned()] {
        std::fs::write(&file, &damaged).unwrap();
        assert!(MasterKey::load(&file, true).unwrap_err().to_string().contains("64 hexadecimal digits"));
        assert!(MasterKey::rotate(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged);
    }
}
