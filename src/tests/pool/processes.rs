//! Real processes, the fixture model.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, Options};
use crate::support::{eventually, images};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The original's own test: the pool of twenty, a delay after each image, no hold.
fn original(state: &std::path::Path) -> Options {
    let settings = ["pool.policy=per-request", "pool.hold=0", "pool.max_instances=20", "app.pause=2s"];
    settings.into_iter().fold(Options::new(state), Options::set)
}

/// Uploads numbered images, each by a client of its own, all at once, and checks every answer.
fn upload_all(daemon: &Daemon, numbers: std::ops::Range<u32>) {
    std::thread::scope(|scope| {
        for n in numbers {
            let url = &daemon.url;
            scope.spawn(move || {
                let (image, label) = images::numbered(n);
                let answer = Client::new().post(url, &[("myfile", &format!("{n}.png"), &image)], &[]).unwrap();
                assert_eq!((answer.status, answer.body.as_str()), (200, label), "{n}");
            });
        }
    });
}

/// Watches the pool beside what is done: the largest number of live instances seen, and no more than `max` ever.
fn watched(daemon: &Daemon, max: u32, what: impl FnOnce()) -> u32 {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let processes = daemon.tree().len().saturating_sub(1) as u32;
                assert!(processes <= max, "{processes} processes, {max} allowed");
                most = most.max(daemon.pool().iter().sum());
                assert!(most <= max, "{most} instances, {max} allowed");
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        });
        what();
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

#[test]
fn a_burst_of_150_grows_the_pool_to_twenty_and_back_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = original(dir.path()).start();
    eventually("somebody leads", Duration::from_secs(10), || daemon.pool_field("leads") == true);
    assert!(daemon.is_at_rest());
    let most = watched(&daemon, 20, || upload_all(&daemon, 0..150));
    assert_eq!(most, 20);
    let answered = Instant::now();
    eventually("the pool is at zero", Duration::from_secs(60), || daemon.is_at_rest());
    println!("at rest {:.1} s after the last answer", answered.elapsed().as_secs_f64());
    assert!(daemon.stop().success());
}
