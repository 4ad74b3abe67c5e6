//! Locks that processes hold for life, with the name of the holder inside.

use crate::edge::{Error, Kind, Result};
use bellows_core::pool::AppTierId;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

/// Who holds a lock. The start time tells a process from a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// In clock ticks since boot, as the kernel has it; 0 where it does not tell.
    pub started: u64,
    pub instance_id: String,
}

/// A lock of this process, released when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "open for as long as the lock is held")] File);

/// How often a taken lock is tried again: somebody who only looks holds it for an instant.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(10);

impl Lock {
    /// Takes the lock and writes into it who holds it; `Conflict` with the holder where it is taken.
    pub fn take(path: &Path, instance_id: &str) -> Result<Lock> {
        let failed = |e| Error::io("lock.take", path.display(), e);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        for attempt in 0.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(BETWEEN),
                Err(TryLockError::WouldBlock) => {
                    let holder = read(&mut file).map_or_else(
                        || "an unknown process".into(),
                        |h| format!("process {} ({})", h.pid, h.instance_id),
                    );
                    return Err(Error::new(
                        Kind::Conflict,
                        "lock.take",
                        format!("{} is held by {holder}", path.display()),
                    ));
                }
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
        }
        let pid = std::process::id();
        let holder = Holder { pid, started: started(pid), instance_id: instance_id.to_owned() };
        file.set_len(0).map_err(failed)?;
        file.write_all(&serde_json::to_vec(&holder).unwrap_or_default()).map_err(failed)?;
        Ok(Lock(file))
    }
}

impl Holder {
    /// Kills the holder, if it still is the process that took the lock.
    pub fn kill(&self) {
        if self.started != 0 && self.started == started(self.pid) {
            tracing::warn!(process.pid = self.pid, "killing an app process that should have ended");
            kill(self.pid);
        }
    }
}

/// kill -9, for a process known to be the right one.
pub fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Whether some process holds the lock.
pub fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Who holds the lock, if anybody does.
pub fn holder(path: &Path) -> Option<Holder> {
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            Some(read(&mut file).unwrap_or(Holder { pid: 0, started: 0, instance_id: "unknown".into() }))
        }
        _ => None,
    }
}

/// The app-tier ids that have a lock file.
pub fn ids(pool_dir: &Path) -> Result<Vec<AppTierId>> {
    let failed = |e| Error::io("fleet.list", pool_dir.display(), e);
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(pool_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(id) = name.to_str().and_then(|n| n.strip_suffix(".lock")).and_then(|n| n.parse().ok()) {
            ids.push(AppTierId(id));
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 where it cannot be told.
fn started(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // the second field is the program's name in parentheses and may hold anything: count from its end
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).and_then(|f| f.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder_and_refuses_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("7.lock");
        let lock = Lock::take(&path, "7-abc").unwrap();
        let found = holder(&path).unwrap();
        assert_eq!((found.pid, found.instance_id.as_str()), (std::process::id(), "7-abc"));
        assert_eq!(found.started, started(std::process::id()));
        let refused = Lock::take(&path, "other").unwrap_err();
        assert_eq!(refused.kind, Kind::Conflict);
        assert!(refused.detail.contains(&format!("process {} (7-abc)", std::process::id())), "{}", refused.detail);
        drop(lock);
        assert!(!is_held(&path) && holder(&path).is_none());
        assert_eq!(ids(dir.path()).unwrap(), [AppTierId(7)]);
    }
}
