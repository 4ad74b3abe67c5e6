//! Other processes on the same files, and what is left when they are killed in the middle of their work. A process is
//! this test binary again, running one of the ignored tests below.

use super::{files_below, folder};
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::Clock;
use bellows::edge::queue::{Queue, Settings, local};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Tells a child where to work.
const FOLDER: &str = "BELLOWS_TEST_FOLDER";
/// Begins a line on which a child says that something is done.
const DONE: &str = "done ";
const OBJECT: usize = 30_000;

fn queue(folder: &Path) -> Queue {
    let store = local::Store::open(folder.join("q.db"), Clock::System).unwrap();
    let (name, visibility) = ("q".into(), Duration::from_secs(30));
    let retention = Duration::from_hours(96);
    Queue::Local(store.queue(Settings { name, visibility, retention, dead_letters: None }, true).unwrap())
}

fn bucket(folder: &Path) -> bucket::local::Bucket {
    bucket::local::Bucket::open(folder.join("bucket"), Clock::System).unwrap()
}

/// Starts one of the ignored tests in a process of its own.
fn start(test: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("contract::crash::{test}"), "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a child after it has done so much; what it had done by then, as far as it could say.
fn kill_after(mut child: Child, count: usize) -> Vec<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut done = Vec::new();
    for line in output.lines() {
        // the line that the kill cut off counts as not said
        let Ok(line) = line else { break };
        done.extend(line.strip_prefix(DONE).and_then(|said| said.strip_suffix('.')).map(str::to_owned));
        if done.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(done.len() >= count, "the child ended by itself after {}", done.len());
    done
}

/// In a child: the folder to work in.
fn folder_of_child() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).unwrap())
}

fn say_done(what: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{DONE}{what}.\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

fn run_sixteen<F: Future<Output = ()> + Send + 'static>(work: impl Fn(u64) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        (0..16).for_each(|caller| drop(tasks.spawn(work(caller))));
        tasks.join_all().await;
    });
}

#[test]
#[ignore = "no test by itself: a process that the tests below start and kill; alone it would never end"]
fn child_that_sends() {
    let queue = queue(&folder_of_child());
    run_sixteen(|caller| {
        let queue = queue.clone();
        async move {
            for n in 0..u64::MAX {
                let body = format!("{}-{caller}-{n}", std::process::id());
                queue.send(body.clone()).await.unwrap();
                say_done(&body);
            }
        }
    });
}

#[test]
#[ignore = "no test by itself: a process that the tests below start and kill; alone it would never end"]
fn child_that_puts() {
    let bucket = Bucket::Local(bucket(&folder_of_child()));
    run_sixteen(|caller| {
        let bucket = bucket.clone();
        async move {
            for n in 0..u64::MAX {
                let (pid, contents) = (std::process::id(), Bytes::from(vec![caller as u8; OBJECT]));
                let keys =
                    [format!("{pid:08x}-0000-4000-8{caller:03x}-{n:012x}/x"), format!("results/{pid}-{caller}-{n}")];
                bucket.put(&keys[0], contents.clone()).await.unwrap();
                say_done(&keys[0]);
                bucket.put_if_absent(&keys[1], contents).await.unwrap();
                say_done(&keys[1]);
            }
        }
    });
}

#[test]
#[ignore = "no test by itself: a process that a test below starts and waits for"]
fn child_that_sends_one() {
    super::block_on(queue(&folder_of_child()).send("m".into())).unwrap();
}

#[test]
fn a_killed_sender_leaves_every_message_it_was_promised() {
    let folder = folder();
    let mut promised = BTreeSet::new();
    for round in 0..5 {
        promised.extend(kill_after(start("child_that_sends", folder.path()), 1 + round * 97));
    }
    let queue = queue(folder.path());
    let got = super::block_on(async {
        let mut got = Vec::new();
        loop {
            let batch = queue.receive(10, Duration::ZERO, &CancellationToken::new()).await.unwrap();
            if batch.is_empty() {
                return got;
            }
            got.extend(batch.into_iter().map(|delivery| delivery.body));
        }
    });
    let found: BTreeSet<String> = got.iter().cloned().collect();
    assert_eq!(found.len(), got.len(), "a message came twice");
    let lost: Vec<&String> = promised.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), promised.len());
}

#[test]
fn a_killed_writer_leaves_whole_objects_and_litter_that_can_be_swept() {
    let folder = folder();
    let mut promised = BTreeSet::new();
    let mut pids = Vec::new();
    for round in 0..4 {
        let child = start("child_that_puts", folder.path());
        pids.push(child.id());
        promised.extend(kill_after(child, 1 + round * 61));
    }
    let local = bucket(folder.path());
    let bucket = Bucket::Local(local.clone());
    super::block_on(async {
        let all = bucket.list("", None, usize::MAX).await.unwrap();
        for meta in &all {
            let bytes = bucket.get(&meta.key).await.unwrap().unwrap().bytes;
            assert!(bytes.len() == OBJECT && bytes.iter().all(|b| *b == bytes[0]), "{} is not whole", meta.key);
        }
        let found: BTreeSet<String> = all.into_iter().map(|meta| meta.key).collect();
        assert!(promised.is_subset(&found), "lost: {:?}", promised.difference(&found).collect::<Vec<_>>());
        // what one process left goes with it, what another has under way stays
        let litter = |of: &str| {
            let names = fs::read_dir(folder.path().join("bucket/.tmp+")).unwrap();
            names.filter(|name| name.as_ref().unwrap().file_name().to_str().unwrap().starts_with(of)).count()
        };
        fs::write(folder.path().join(format!("bucket/.tmp+/{}0-1", pids[0])), "of another process").unwrap();
        let (all, first) = (litter(""), litter(&format!("{}-", pids[0])));
        assert_eq!(local.sweep_temporary(Some(pids[0])).await.unwrap(), first);
        assert_eq!((litter(""), litter(&format!("{}-", pids[0]))), (all - first, 0));
        // a process that runs is in the middle of a write, as we might be
        let ours = format!("{}-1", std::process::id());
        fs::write(folder.path().join("bucket/.tmp+").join(&ours), "under way").unwrap();
        assert_eq!(local.sweep_temporary(None).await.unwrap(), all - first);
        assert_eq!((litter(""), litter(&ours)), (1, 1));
    });
}

/// What a power cut leaves of a bucket whose writers have waited for the journal only: its records, and of the files
/// nothing, or their beginning, or their length.
fn cut_the_power(root: &Path) {
    for (n, path) in files_below(root).into_iter().enumerate() {
        if path.parent().unwrap().ends_with(".journal+") {
            continue;
        }
        match n % 3 {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::File::options().write(true).open(&path).unwrap().set_len(OBJECT as u64 / 2).unwrap(),
            _ => fs::write(&path, vec![0; OBJECT]).unwrap(),
        }
    }
}

#[test]
fn a_power_cut_takes_no_object_that_was_promised() {
    let folder = folder();
    let promised = kill_after(start("child_that_puts", folder.path()), 90);
    let root = folder.path().join("bucket");
    cut_the_power(&root);
    let bucket = Bucket::Local(bucket(folder.path()));
    super::block_on(async {
        for key in &promised {
            let object = bucket.get(key).await.unwrap().unwrap_or_else(|| panic!("{key} is lost"));
            let whole = object.bytes.len() == OBJECT && object.bytes.iter().all(|b| *b == object.bytes[0]);
            assert!(whole && object.bytes[0] < 16, "{key} is not whole");
        }
        let all = bucket.list("", None, usize::MAX).await.unwrap();
        assert!(all.len() >= promised.len() && all.iter().all(|meta| meta.size == OBJECT as u64));
    });
    assert!(files_below(&root.join(".journal+")).is_empty(), "the journals have done their work");
}

#[test]
fn a_long_poll_wakes_for_a_send_of_another_process() {
    let folder = folder();
    let queue = queue(folder.path());
    let mut child = start("child_that_sends_one", folder.path());
    let got = super::block_on(queue.receive(1, Duration::from_secs(15), &CancellationToken::new())).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(got[0].waited < Duration::from_secs(5), "{:?}", got[0].waited);
}
