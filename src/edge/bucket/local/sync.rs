//! Fsyncs that many writers share (group commit): those who come while one is under way are all served by the next.

use crate::edge::disk;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The shared folders of a bucket: its root, and those that stay.
#[derive(Debug, Default)]
pub(super) struct SharedFolders {
    folders: Mutex<BTreeMap<PathBuf, Arc<GroupCommit>>>,
}

/// One folder's, or one file's.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

/// Fsyncs, counted. A change is durable after a round that began later than the change.
#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    running: bool,
    /// The last round that failed, and how.
    failed: Option<(u64, io::ErrorKind)>,
}

impl SharedFolders {
    /// Returns once all that was done to `folder` before this call is durable.
    pub(super) fn sync(&self, folder: &Path) -> io::Result<()> {
        let shared = {
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            match folders.get(folder) {
                Some(known) => Arc::clone(known),
                None => Arc::clone(folders.entry(folder.to_owned()).or_default()),
            }
        };
        shared.sync(|| disk::sync_folder(folder))
    }
}

impl GroupCommit {
    /// Returns once all that was written before this call is durable; `fsync` makes it so.
    pub(super) fn sync(&self, fsync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // a round that runs already may have begun before our change
        let ours = rounds.begun + 1;
        while rounds.ended < ours {
            if rounds.running {
                rounds = self.ended.wait(rounds).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.running = true;
            rounds.begun += 1;
            drop(rounds);
            let done = fsync();
            rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.running = false;
            rounds.ended = rounds.begun;
            if let Err(error) = done {
                rounds.failed = Some((rounds.ended, error.kind()));
            }
            self.ended.notify_all();
        }
        match rounds.failed {
            // a later success says nothing: the kernel reports a failed write-back only once
            Some((round, kind)) if round >= ours => Err(io::Error::new(kind, "the fsync failed")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn many_callers_share_few_rounds_and_each_is_covered() {
        let (folder, rounds) = (GroupCommit::default(), AtomicU64::new(0));
        let (changes, durable) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let mine = changes.fetch_add(1, Ordering::SeqCst) + 1;
                    let fsync = || {
                        let seen = changes.load(Ordering::SeqCst);
                        // a busy machine starts the threads one by one: the first round lasts until all are there
                        while changes.load(Ordering::SeqCst) < 32 {
                            thread::yield_now();
                        }
                        thread::sleep(Duration::from_millis(5));
                        rounds.fetch_add(1, Ordering::SeqCst);
                        durable.fetch_max(seen, Ordering::SeqCst);
                        Ok(())
                    };
                    folder.sync(fsync).unwrap();
                    assert!(durable.load(Ordering::SeqCst) >= mine);
                });
            }
        });
        assert!(rounds.load(Ordering::SeqCst) <= 16, "{rounds:?} rounds for 32 callers");
    }

    #[test]
    fn a_failure_reaches_those_it_concerns_only() {
        let folder = GroupCommit::default();
        let failing = || Err(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(folder.sync(failing).unwrap_err().kind(), io::ErrorKind::StorageFull);
        folder.sync(|| Ok(())).unwrap();
    }
}
