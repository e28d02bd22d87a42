//! What every online store promises, asked of each.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use foretap::data::UserId;
use foretap_platform::store::{OnlineStore, RedbStore, SnapshotWrite, Write, Written};

fn write(user: u64, expected: u64, chunk: &[u8]) -> Write {
    Write { user: UserId(user), expected, key: vec![7; 9], append: Some(chunk.to_vec()), snapshot: None }
}

/// Rows, versions, chunks, snapshots, forgetting, listing.
async fn keeps_rows(store: &dyn OnlineStore) {
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
    assert_eq!(store.sizes().await.unwrap().people, 2);
    assert_eq!(store.users(None, 1).await.unwrap(), [UserId(1)]);
    assert_eq!(store.users(Some(UserId(1)), 9).await.unwrap(), [UserId(2)]);
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

#[tokio::test(flavor = "multi_thread")]
async fn redb() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = Arc::new(RedbStore::open(&file).unwrap());
    keeps_rows(&*store).await;
    has_one_writer(store.clone()).await;
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
