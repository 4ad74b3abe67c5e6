//! Disks that are full, read-only or damaged.

use super::{block_on, files_below, folder};
use crate::support::disk::Disk;
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::Clock;
use bellows::edge::queue::{Queue, Settings, local};
use bellows::edge::{Error, Kind, Result, disk};
use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn open_queue(folder: &Path) -> Result<Queue> {
    let settings = Settings {
        name: "q".into(),
        visibility: Duration::from_secs(30),
        retention: Duration::from_hours(96),
        dead_letters: None,
    };
    Ok(Queue::Local(local::Store::open(folder.join("q.db"), Clock::System)?.queue(settings, true)?))
}

fn open_bucket(folder: &Path) -> Result<Bucket> {
    Ok(Bucket::Local(bucket::local::Bucket::open(folder.join("bucket"), Clock::System)?))
}

#[test]
fn a_full_disk_loses_no_message_it_has_accepted() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    block_on(async {
        let queue = open_queue(disk.path()).unwrap();
        let mut accepted = Vec::new();
        let refused = loop {
            let body = format!("{} {}", accepted.len(), "x".repeat(2000));
            match queue.send(body.clone()).await {
                Ok(()) => accepted.push(body),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind, Kind::Full, "{refused}");
        assert!(accepted.len() > 50, "{} messages", accepted.len());
        for _ in 0..5 {
            assert_eq!(queue.send("x".repeat(100_000)).await.unwrap_err().kind, Kind::Full);
        }
        // reads go on, and with some room everything does
        assert_eq!(queue.depth().await.unwrap().visible, accepted.len() as u64);
        disk.remount("size=8m");
        let mut got = Vec::new();
        loop {
            let batch = queue.receive(10, Duration::ZERO, &CancellationToken::new()).await.unwrap();
            if batch.is_empty() {
                break;
            }
            for delivery in batch {
                queue.delete(&delivery.receipt).await.unwrap();
                got.push(delivery.body);
            }
        }
        assert_eq!(got, accepted);
    });
}

#[test]
fn a_full_disk_keeps_whole_objects_and_no_litter() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    block_on(async {
        let bucket = open_bucket(disk.path()).unwrap();
        let contents = Bytes::from(vec![7; 100_000]);
        let mut keys = Vec::new();
        let refused = loop {
            let key = format!("0190b5a4-7c3e-4d6f-8a21-{:012x}/x", keys.len());
            match bucket.put(&key, contents.clone()).await {
                Ok(()) => keys.push(key),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind, Kind::Full, "{refused}");
        assert!(disk::free_bytes(disk.path()).unwrap() < 100_000);
        for _ in 0..3 {
            assert_eq!(bucket.put_if_absent("results/x", contents.clone()).await.unwrap_err().kind, Kind::Full);
        }
        for key in &keys {
            assert_eq!(bucket.get(key).await.unwrap().unwrap().bytes, contents);
        }
        let mut files = files_below(&disk.path().join("bucket"));
        files.retain(|path| !path.parent().unwrap().ends_with(".journal+") || path.metadata().unwrap().len() > 0);
        assert_eq!(files.len(), keys.len() + 1, "the objects and the lock file: {files:?}");
        bucket.delete(&keys[0]).await.unwrap();
        bucket.put("results/x", contents).await.unwrap();
    });
}

#[test]
fn a_read_only_disk_is_denied() {
    let Some(disk) = Disk::mount("size=4m") else { return };
    let (used, unused) = (disk.path().join("used"), disk.path().join("unused"));
    block_on(async {
        open_queue(&used).unwrap().send("m".into()).await.unwrap();
        open_bucket(&used).unwrap().put("k", Bytes::new()).await.unwrap();
        // the queue's thread closes its files a moment after its last handle
        for _ in 0..100 {
            if !used.join("q.db-wal").exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    disk.remount("ro");
    let kind = |error: Error| error.kind;
    for folder in [&used, &unused] {
        assert_eq!(open_queue(folder).map(drop).map_err(kind), Err(Kind::Denied), "{}", folder.display());
        assert_eq!(open_bucket(folder).map(drop).map_err(kind), Err(Kind::Denied), "{}", folder.display());
    }
}

#[test]
fn what_is_no_queue_or_one_of_a_newer_version_is_refused_with_its_path() {
    let folder = folder();
    let file = folder.path().join("q.db");
    fs::write(&file, "this is not a database, and long enough to be sure that it is none".repeat(20)).unwrap();
    let error = open_queue(folder.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    fs::remove_file(&file).unwrap();
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = open_queue(folder.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.to_string().contains("99"), "{error}");
}
