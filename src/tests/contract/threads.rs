//! What the local backends do with their threads: none is left over, none turns in vain, none is flooded.

use super::{block_on, folder};
use bellows::edge::Kind;
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::Clock;
use bellows::edge::queue::{Queue, Settings, local};
use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn open(file: &Path) -> Queue {
    let store = local::Store::open(file, Clock::System).unwrap();
    let (name, visibility) = ("q".into(), Duration::from_secs(30));
    let retention = Duration::from_hours(96);
    Queue::Local(store.queue(Settings { name, visibility, retention, dead_letters: None }, true).unwrap())
}

/// How often the threads of this name have gone to sleep; none where there is no such thread.
fn sleeps(name: &str) -> Option<u64> {
    let mut found = None;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let value = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default().trim().to_owned();
        if value("Name:") == name {
            *found.get_or_insert(0) += value("voluntary_ctxt_switches:").parse::<u64>().unwrap();
        }
    }
    found
}

async fn until_gone(name: &str) {
    for _ in 0..200 {
        if sleeps(name).is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("thread {name} is still there");
}

#[test]
fn threads_end_with_the_last_handle() {
    block_on(async {
        let folder = folder();
        let queue = open(&folder.path().join("ending.db"));
        let bucket = Bucket::Local(bucket::local::Bucket::open(folder.path().join("ending"), Clock::System).unwrap());
        let (another_queue, another_bucket) = (queue.clone(), bucket.clone());
        drop((queue, bucket));
        another_queue.send("m".into()).await.unwrap();
        another_bucket.put("k", Bytes::new()).await.unwrap();
        assert!(sleeps("queue-ending").is_some() && sleeps("files-ending").is_some());
        drop((another_queue, another_bucket));
        until_gone("queue-ending").await;
        until_gone("files-ending").await;
    });
}

#[test]
fn a_queue_looks_at_its_file_only_while_somebody_waits() {
    block_on(async {
        const WATCH: Duration = Duration::from_millis(400);
        let folder = folder();
        let queue = open(&folder.path().join("idle.db"));
        queue.send("m".into()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = sleeps("queue-idle").unwrap();
        tokio::time::sleep(WATCH).await;
        assert_eq!(sleeps("queue-idle").unwrap(), before, "nobody waits");
        let stop = CancellationToken::new();
        let _held = queue.receive(1, Duration::ZERO, &stop).await.unwrap();
        let waiting = sleeps("queue-idle").unwrap();
        assert!(queue.receive(1, WATCH, &stop).await.unwrap().is_empty());
        let looks = sleeps("queue-idle").unwrap() - waiting;
        assert!((10..=250).contains(&looks), "{looks} looks in {WATCH:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let after = sleeps("queue-idle").unwrap();
        tokio::time::sleep(WATCH).await;
        assert_eq!(sleeps("queue-idle").unwrap(), after, "nobody waits any more");
    });
}

#[test]
fn more_calls_than_the_disk_can_take_are_told_to_come_later() {
    block_on(async {
        let folder = folder();
        let file = folder.path().join("q.db");
        let queue = open(&file);
        // somebody holds the file
        let holder = rusqlite::Connection::open(&file).unwrap();
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut sends = tokio::task::JoinSet::new();
        for n in 0..1500 {
            let queue = queue.clone();
            sends.spawn(async move { queue.send(n.to_string()).await.map_err(|error| error.kind) });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        holder.execute_batch("COMMIT").unwrap();
        let results = sends.join_all().await;
        let sent = results.iter().filter(|result| result.is_ok()).count();
        assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Kind::Throttled))));
        assert!((1000..1500).contains(&sent), "{sent} of 1500");
        assert_eq!(queue.depth().await.unwrap().visible, sent as u64);
    });
}
