//! Buckets.

mod model;

use super::{Backend, Hands, block_on, folder, for_every_backend};
use crate::support::emulator;
use bellows::edge::bucket::{Bucket, Etag, Put, aws, local, memory};
use bellows::edge::{Kind, Result};
use bytes::Bytes;
use std::time::Duration;
use tempfile::TempDir;

/// A place that holds a bucket, and what is needed to come to it a second time.
struct Place {
    folder: TempDir,
    hands: Hands,
    memory: memory::Bucket,
    /// With the bucket's name.
    aws: Option<(emulator::Place, String)>,
    backend: Backend,
}

impl Place {
    fn new(backend: Backend) -> Place {
        let hands = Hands::new();
        let aws = (backend == Backend::Aws).then(|| {
            let place = emulator::Place::new();
            hands.follow(place.clone());
            let bucket = place.bucket("bucket");
            (place, bucket)
        });
        Place { folder: folder(), memory: memory::Bucket::new(hands.clock()), hands, aws, backend }
    }

    /// A handle on the bucket, each with threads of its own as another process would have.
    fn open(&self) -> Bucket {
        match self.backend {
            Backend::Local => {
                Bucket::Local(local::Bucket::open(self.folder.path().join("bucket"), self.hands.clock()).unwrap())
            }
            Backend::Memory => Bucket::Memory(self.memory.clone()),
            Backend::Aws => {
                let (place, bucket) = self.aws.as_ref().unwrap();
                Bucket::Aws(aws::Bucket::open(&place.clients, bucket, 1 << 20))
            }
        }
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind
}

async fn contents(bucket: &Bucket, key: &str) -> Option<Bytes> {
    bucket.get(key).await.unwrap().map(|object| object.bytes)
}

async fn keys(bucket: &Bucket, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    bucket.list(prefix, after, limit).await.unwrap().into_iter().map(|meta| meta.key).collect()
}

for_every_backend!(
    what_is_put_is_got_by_everybody,
    writers_through_two_handles_do_not_disturb_each_other,
    of_many_who_put_if_absent_one_creates,
    of_many_who_swap_each_swaps_what_it_read,
    keys_come_in_order_and_in_pages,
    what_is_no_key_is_refused,
    an_object_is_no_folder,
);

async fn what_is_put_is_got_by_everybody(backend: Backend) {
    let place = Place::new(backend);
    let (bucket, other) = (place.open(), place.open());
    assert!(contents(&bucket, "a/b").await.is_none());
    bucket.put("a/b", Bytes::from_static(b"one")).await.unwrap();
    let modified = place.hands.now();
    place.hands.advance(Duration::from_secs(5));
    let object = other.get("a/b").await.unwrap().unwrap();
    assert_eq!((object.bytes, object.modified), (Bytes::from_static(b"one"), modified));
    other.put("a/b", Bytes::new()).await.unwrap();
    assert_eq!(contents(&bucket, "a/b").await.unwrap(), Bytes::new());
    let listed = bucket.list("a/", None, 10).await.unwrap();
    assert_eq!((listed[0].size, listed[0].modified), (0, place.hands.now()));
    assert_eq!(bucket.put_if_absent("a/b", Bytes::from_static(b"two")).await.unwrap(), Put::Exists);
    assert_eq!(contents(&bucket, "a/b").await.unwrap(), Bytes::new());
    for _ in 0..2 {
        bucket.delete("a/b").await.unwrap();
        assert!(contents(&other, "a/b").await.is_none());
    }
    assert_eq!(bucket.put_if_absent("a/b", Bytes::from_static(b"two")).await.unwrap(), Put::Created);
    assert_eq!(contents(&other, "a/b").await.unwrap(), Bytes::from_static(b"two"));
}

async fn writers_through_two_handles_do_not_disturb_each_other(backend: Backend) {
    let place = Place::new(backend);
    let handles = [place.open(), place.open()];
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..16usize {
        let bucket = handles[n % 2].clone();
        writers.spawn(async move {
            for round in 0..20 {
                let mine = Bytes::from(format!("{n} {round}"));
                bucket.put(&format!("results/{n}"), mine.clone()).await.unwrap();
                assert_eq!(contents(&bucket, &format!("results/{n}")).await.unwrap(), mine);
            }
        });
    }
    writers.join_all().await;
}

async fn of_many_who_put_if_absent_one_creates(backend: Backend) {
    let place = Place::new(backend);
    let handles = [place.open(), place.open()];
    for round in 0..20 {
        let mut racers = tokio::task::JoinSet::new();
        for n in 0..16usize {
            let bucket = handles[n % 2].clone();
            racers.spawn(async move {
                let (key, mine) = (format!("results/{round}.json"), Bytes::from(format!("racer {n}")));
                let put = bucket.put_if_absent(&key, mine.clone()).await.unwrap();
                // whoever lost reads the winner's, whole and at once
                let there = contents(&bucket, &key).await.unwrap();
                assert_eq!(put == Put::Created, there == mine);
                put
            });
        }
        let created = racers.join_all().await.into_iter().filter(|put| *put == Put::Created).count();
        assert_eq!(created, 1);
    }
}

async fn of_many_who_swap_each_swaps_what_it_read(backend: Backend) {
    const KEY: &str = "control/pool.json";
    let place = Place::new(backend);
    let handles = [place.open(), place.open()];
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..8usize {
        let bucket = handles[n % 2].clone();
        racers.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let (etag, count) = match bucket.get(KEY).await.unwrap() {
                    Some(object) => {
                        (Some(object.etag), std::str::from_utf8(&object.bytes).unwrap().parse::<u32>().unwrap())
                    }
                    None => (None, 0),
                };
                match bucket.compare_and_swap(KEY, etag.as_ref(), Bytes::from((count + 1).to_string())).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error.kind, Kind::Conflict),
                }
            }
        });
    }
    racers.join_all().await;
    assert_eq!(contents(&handles[0], KEY).await.unwrap(), Bytes::from_static(b"80"));
    let absent = handles[0].compare_and_swap(KEY, None, Bytes::new()).await;
    assert_eq!(kind(absent), Kind::Conflict);
    let wrong = handles[0].compare_and_swap(KEY, Some(&Etag("wrong".into())), Bytes::new()).await;
    assert_eq!(kind(wrong), Kind::Conflict);
}

async fn keys_come_in_order_and_in_pages(backend: Backend) {
    let place = Place::new(backend);
    let bucket = place.open();
    // in the order of S3, which is that of the bytes: `-` and `.` come before `/`, digits after it
    let all = ["a-b/c", "a.b", "a/1", "a/2/x", "a/2/y", "a/3", "a0", "b", "b-/z"];
    for key in all.iter().rev() {
        bucket.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(keys(&bucket, "", None, 100).await, all);
    assert_eq!(keys(&bucket, "a/", None, 100).await, all[2..6]);
    assert_eq!(keys(&bucket, "a/2", None, 100).await, all[3..5]);
    assert_eq!(keys(&bucket, "a", None, 2).await, all[..2]);
    assert!(keys(&bucket, "c/", None, 100).await.is_empty());
    assert!(keys(&bucket, "b/", None, 100).await.is_empty());
    assert!(keys(&bucket, "", None, 0).await.is_empty());
    for page in 1..all.len() {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let next = keys(&bucket, "", after.as_deref(), page).await;
            assert!(next.len() <= page);
            let Some(last) = next.last() else { break };
            after = Some(last.clone());
            got.extend(next);
        }
        assert_eq!(got, all, "in pages of {page}");
    }
    assert_eq!(keys(&bucket, "", Some("a/2/xx"), 1).await, ["a/2/y"]);
    assert_eq!(keys(&bucket, "a/", Some("a"), 1).await, ["a/1"]);
}

async fn what_is_no_key_is_refused(backend: Backend) {
    let place = Place::new(backend);
    let bucket = place.open();
    let long = "x".repeat(256);
    for key in
        ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a b", "a\0", "\u{e4}", "a\\b", ".tmp+/1", &long]
    {
        assert_eq!(kind(bucket.put(key, Bytes::new()).await), Kind::Invalid, "{key:?}");
        assert_eq!(kind(bucket.get(key).await), Kind::Invalid, "{key:?}");
        assert_eq!(kind(bucket.delete(key).await), Kind::Invalid, "{key:?}");
    }
    for prefix in ["/", "../", "a//", "./x", "a b", ".tmp+/"] {
        assert_eq!(kind(bucket.list(prefix, None, 1).await), Kind::Invalid, "{prefix:?}");
    }
    for key in ["...", ".hidden", "a%2Fb", "~x", "-", &long[1..]] {
        bucket.put(key, Bytes::new()).await.unwrap();
    }
    assert_eq!(keys(&bucket, "", None, 10).await.len(), 6);
}

async fn an_object_is_no_folder(backend: Backend) {
    let place = Place::new(backend);
    let bucket = place.open();
    bucket.put("a/b", Bytes::from_static(b"x")).await.unwrap();
    if backend == Backend::Aws {
        // S3 has no folders; who keeps to the contract never notices
        bucket.put("a/b/c", Bytes::new()).await.unwrap();
        return assert_eq!(keys(&bucket, "", None, 10).await, ["a/b", "a/b/c"]);
    }
    for key in ["a", "a/b/c"] {
        assert!(contents(&bucket, key).await.is_none());
        assert_eq!(kind(bucket.put(key, Bytes::new()).await), Kind::Invalid, "{key}");
        assert_eq!(kind(bucket.put_if_absent(key, Bytes::new()).await), Kind::Invalid, "{key}");
        assert_eq!(kind(bucket.compare_and_swap(key, None, Bytes::new()).await), Kind::Invalid, "{key}");
        bucket.delete(key).await.unwrap();
    }
    assert_eq!(keys(&bucket, "", None, 10).await, ["a/b"]);
}

/// The folder of a request.
fn request(n: usize) -> String {
    format!("0190b5a4-7c3e-4d6f-8a21-{n:012x}")
}

#[test]
fn the_folder_of_a_request_goes_with_its_last_object() {
    block_on(async {
        let place = Place::new(Backend::Local);
        let bucket = place.open();
        let folder = place.folder.path().join("bucket").join(request(1));
        for name in ["x", "y"] {
            bucket.put(&format!("{}/{name}", request(1)), Bytes::from_static(b"bytes")).await.unwrap();
        }
        assert_eq!(std::fs::read(folder.join("y")).unwrap(), b"bytes", "users find the file under its key");
        bucket.delete(&format!("{}/x", request(1))).await.unwrap();
        assert!(folder.is_dir());
        bucket.delete(&format!("{}/y", request(1))).await.unwrap();
        assert!(!folder.exists());
        bucket.put("results/x", Bytes::new()).await.unwrap();
        bucket.delete("results/x").await.unwrap();
        assert!(place.folder.path().join("bucket/results").is_dir(), "others stay");
    });
}

#[test]
fn a_delete_takes_no_folder_away_from_under_a_put() {
    block_on(async {
        let place = Place::new(Backend::Local);
        let (bucket, other) = (place.open(), place.open());
        for n in 0..100 {
            let (old, new) = (format!("{}/old", request(n)), format!("{}/new", request(n)));
            bucket.put(&old, Bytes::new()).await.unwrap();
            let (put, deleted) = tokio::join!(bucket.put_if_absent(&new, Bytes::new()), other.delete(&old));
            deleted.unwrap();
            assert_eq!(put.unwrap(), Put::Created);
            assert_eq!(keys(&bucket, &request(n), None, 10).await, std::slice::from_ref(&new));
            // nor is one that is deleted at once an error
            let newest = format!("{}/newest", request(n));
            let others = async {
                other.delete(&new).await.unwrap();
                for _ in 0..5 {
                    other.delete(&newest).await.unwrap();
                }
            };
            let (put, ()) = tokio::join!(bucket.put(&newest, Bytes::new()), others);
            put.unwrap();
        }
    });
}

#[test]
fn a_folder_that_was_removed_by_hand_is_made_again() {
    block_on(async {
        let place = Place::new(Backend::Local);
        let bucket = place.open();
        for _ in 0..2 {
            bucket.put("results/x", Bytes::new()).await.unwrap();
            std::fs::remove_dir_all(place.folder.path().join("bucket/results")).unwrap();
        }
        assert!(keys(&bucket, "", None, 10).await.is_empty());
    });
}
