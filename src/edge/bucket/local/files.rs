//! The blocking half of a local bucket: objects as files, written so that neither a kill nor a power cut leaves a part
//! of one where a reader looks.

use super::super::{Etag, Meta, Object, Put};
use super::durable::Durable;
use super::journal::{self, Journal, Left, Promise, Record};
use super::list::{Query, list};
use super::sync::SharedFolders;
use super::temporary::Temporary;
use crate::edge::host::Clock;
use crate::edge::{Error, Kind, Result, disk};
use bellows_core::key::RequestId;
use bellows_core::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

/// Where unfinished files lie. The plus keeps it out of the alphabet of keys.
pub(super) const PRIVATE: &str = ".tmp+";
/// Where objects are durable that are not yet so as files.
const JOURNAL: &str = ".journal+";
/// Guards every compare-and-swap of a bucket.
const LOCK: &str = ".lock+";
/// A folder that a delete removes between our making and our using it is made again so many times.
const ATTEMPTS: u32 = 16;
/// A lock that is held for longer than this is held by a process that was stopped.
const LOCK_TRIES: u32 = 5000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    clock: Clock,
    written: AtomicU64,
    folders: SharedFolders,
    /// Folders that stay, and whose entry in their parent is durable.
    settled: Mutex<BTreeSet<PathBuf>>,
    durable: Durable,
    journal: Journal,
}

/// Whether there is a process of this number. A later one with the same number only delays a sweep.
fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Objects up to this size are compared with what is there before they are written again.
const SMALL: usize = 4096;

/// How a finished file comes to its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placing {
    Replace,
    IfAbsent,
}

/// What makes a file durable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// An fsync of its own, and of the folders that lead to it.
    Itself,
    /// A record in the journal, which is there already.
    Journal,
}

/// A file to be written.
#[derive(Clone, Copy)]
struct Contents<'c> {
    bytes: &'c [u8],
    modified: Timestamp,
    durability: Durability,
}

impl Files {
    pub(super) fn open(root: PathBuf, clock: Clock) -> Result<Files> {
        let failed = |e| Error::io("bucket.open", root.display(), e);
        disk::create_folders(&root.join(PRIVATE)).map_err(failed)?;
        disk::create_folders(&root.join(JOURNAL)).map_err(failed)?;
        disk::refuse_network(&root)?;
        // a read-only disk shows itself at the start, not at the first upload
        OpenOptions::new().create(true).append(true).open(root.join(LOCK)).map_err(failed)?;
        let (folders, settled, durable) = (SharedFolders::default(), Mutex::default(), Durable::default());
        let journal = Journal::new(root.join(JOURNAL)).map_err(failed)?;
        let files = Files { root, clock, written: AtomicU64::new(0), folders, settled, durable, journal };
        files.recover().map_err(|e| Error::io("bucket.recover", files.root.display(), e))?;
        Ok(files)
    }

    pub(super) fn put(&self, operation: &'static str, key: &str, bytes: &Bytes) -> Result<()> {
        let failed = |e| Error::io(operation, key, e);
        let path = self.root.join(key);
        let same = if bytes.len() <= SMALL { self.renew(&path, bytes) } else { None };
        match same {
            Some(metadata) if self.durable.holds(&path, &metadata) => {}
            Some(metadata) => {
                // whoever wrote it may not have come to its fsync yet
                self.settle(path.parent().unwrap_or(&self.root)).map_err(failed)?;
                self.durable.add(path, &metadata);
            }
            None if path.parent().is_some_and(is_of_request) => {
                self.write_new(key, bytes, Placing::Replace).map_err(failed)?;
            }
            None => {
                self.write(key, self.durable(bytes), Placing::Replace).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The object, where it has these very contents already; it counts as written now. Replacing it would cost three
    /// waits for the disk, and on an ext4 without a journal it frees an inode that the next new files pay for: it
    /// steps over those freed in the last minutes, one by one.
    fn renew(&self, path: &Path, bytes: &[u8]) -> Option<Metadata> {
        let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let metadata = file.metadata().ok().filter(|m| m.is_file() && m.len() == bytes.len() as u64)?;
        let mut found = Vec::with_capacity(bytes.len() + 1);
        file.read_to_end(&mut found).ok().filter(|_| found == bytes)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(self.clock.now().0)).ok()?;
        Some(metadata)
    }

    pub(super) fn put_if_absent(&self, operation: &'static str, key: &str, bytes: &Bytes) -> Result<Put> {
        let failed = |e| Error::io(operation, key, e);
        let path = self.root.join(key);
        if !path.is_file() && self.write_new(key, bytes, Placing::IfAbsent).map_err(failed)? {
            return Ok(Put::Created);
        }
        // the winner may not have come to its fsync yet, and our caller will rely on what is there
        self.settle(path.parent().unwrap_or(&self.root)).map_err(failed)?;
        Ok(Put::Exists)
    }

    pub(super) fn compare_and_swap(
        &self,
        operation: &'static str,
        key: &str,
        expected: Option<&Etag>,
        bytes: &Bytes,
    ) -> Result<Etag> {
        let failed = |e| Error::io(operation, key, e);
        let conflict = || Error::new(Kind::Conflict, operation, format!("`{key}` is not in the expected version"));
        // held until the new version is durable
        let _lock = self.lock(operation)?;
        let present = self.get(operation, key)?.map(|object| object.etag);
        if present.as_ref() != expected {
            return Err(conflict());
        }
        let placing = if present.is_some() { Placing::Replace } else { Placing::IfAbsent };
        if !self.write(key, self.durable(bytes), placing).map_err(failed)? {
            return Err(conflict());
        }
        Ok(etag(bytes))
    }

    pub(super) fn get(&self, operation: &'static str, key: &str) -> Result<Option<Object>> {
        match read(&self.root.join(key)) {
            Ok(object) => Ok(Some(object)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
                Ok(None)
            }
            Err(error) => Err(Error::io(operation, key, error)),
        }
    }

    pub(super) fn list(&self, operation: &'static str, query: &Query<'_>) -> Result<Vec<Meta>> {
        list(&self.root, query).map_err(|e| Error::io(operation, query.prefix, e))
    }

    /// Not fsynced: a power cut may bring a deleted object back, and who deletes by age deletes it again.
    pub(super) fn delete(&self, operation: &'static str, key: &str) -> Result<()> {
        let path = self.root.join(key);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(_) if path.is_dir() => return Ok(()),
            Err(error) => return Err(Error::io(operation, key, error)),
        }
        for folder in path.ancestors().skip(1).take_while(|folder| self.is_passing(folder)) {
            // fails where something is in it, also where that came this very moment
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes what unfinished writes have left: those of one process that is gone, or of all that are.
    pub(super) fn sweep_temporary(&self, pid: Option<u32>) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(self.root.join(PRIVATE))? {
            let entry = entry?;
            let name = entry.file_name();
            let writer = name.to_string_lossy().split('-').next().and_then(|pid| pid.parse::<u32>().ok());
            // an orphan of a killed parent, and we ourselves, may be in the middle of a write
            let left = pid.map_or_else(|| !writer.is_some_and(is_running), |pid| writer == Some(pid));
            if left {
                let path = entry.path();
                match if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) } {
                    Ok(()) => removed += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(removed)
    }

    fn durable<'c>(&self, bytes: &'c [u8]) -> Contents<'c> {
        Contents { bytes, modified: self.clock.now(), durability: Durability::Itself }
    }

    /// Writes an object that is written once, mostly: where nothing is yet, the journal makes it durable before anybody
    /// sees it. False where `IfAbsent` found one.
    fn write_new(&self, key: &str, bytes: &[u8], placing: Placing) -> io::Result<bool> {
        let contents = self.durable(bytes);
        let new = !self.root.join(key).exists();
        let promise = if new { self.promise(key, contents.modified, Some(bytes))? } else { None };
        let durability = if promise.is_some() { Durability::Journal } else { Durability::Itself };
        let placed = self.write(key, Contents { durability, ..contents }, placing);
        if !new || (promise.is_some() && !matches!(placed, Ok(true))) {
            // a record of this key must not come true after a power cut
            drop(self.promise(key, contents.modified, None)?);
        }
        placed
    }

    fn promise(&self, key: &str, modified: Timestamp, contents: Option<&[u8]>) -> io::Result<Option<Promise>> {
        let record = Record { key, modified, contents };
        self.journal.append(&record)
    }

    /// Puts into their places what processes that have ended had promised, and the disk may have lost since.
    fn recover(&self) -> io::Result<()> {
        let folder = self.root.join(JOURNAL);
        let left = Left::find(&folder)?;
        for segments in left.writers.values() {
            for (key, record) in journal::records(segments) {
                let Some(bytes) = record.contents else { continue };
                if read(&self.root.join(key)).is_ok_and(|object| *object.bytes == *bytes) {
                    continue;
                }
                tracing::warn!(key, "an object that a power cut has taken is put back");
                let contents = Contents { bytes, modified: record.modified, durability: Durability::Journal };
                self.write(key, contents, Placing::Replace)?;
            }
        }
        left.settle()
    }

    /// Writes an object; false where `IfAbsent` found one.
    fn write(&self, key: &str, contents: Contents<'_>, placing: Placing) -> io::Result<bool> {
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root);
        let durable = contents.durability == Durability::Itself;
        let mut temporary = self.temporary(&path, contents)?;
        if self.place_folder(&mut temporary, folder, durable)? {
            return Ok(true);
        }
        for _ in 0..ATTEMPTS {
            self.make(folder)?;
            let placed = match placing {
                Placing::Replace => fs::rename(&temporary.file, &path),
                Placing::IfAbsent => fs::hard_link(&temporary.file, &path),
            };
            match placed {
                Ok(()) => {
                    temporary.placed |= matches!(placing, Placing::Replace) && temporary.folder.is_none();
                    drop(temporary);
                    if durable {
                        self.settle(folder)?;
                    }
                    return Ok(true);
                }
                // a folder that others have left empty is no object
                Err(_) if path.is_dir() => {
                    fs::remove_dir(&path).map_err(|_| ErrorKind::IsADirectory)?;
                    self.unsettle(&path);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
                // somebody has just removed the folder as empty
                Err(error) if error.kind() == ErrorKind::NotFound => self.unsettle(folder),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("others remove its folder again and again"))
    }

    /// Gives a finished folder its name, if nobody has one of that name with something in it. The folder of a request
    /// mostly comes with its one object: in one piece it waits for the disk twice, else three times.
    fn place_folder(&self, temporary: &mut Temporary, folder: &Path, durable: bool) -> io::Result<bool> {
        let Some(unfinished) = &temporary.folder else { return Ok(false) };
        if durable {
            disk::sync_folder(unfinished)?;
        }
        if fs::rename(unfinished, folder).is_err() {
            // the long way finds out what is there, or what is not
            return Ok(false);
        }
        temporary.placed = true;
        if durable {
            self.settle(folder.parent().unwrap_or(&self.root))?;
        }
        Ok(true)
    }

    /// A file with these contents, in a folder of its own where that is to become the object's.
    fn temporary(&self, path: &Path, contents: Contents<'_>) -> io::Result<Temporary> {
        let in_folder = path.parent().is_some_and(is_of_request);
        let (temporary, mut file) = loop {
            let number = self.written.fetch_add(1, Ordering::Relaxed);
            let own = self.root.join(PRIVATE).join(format!("{}-{number}", std::process::id()));
            match Temporary::create(own, path.file_name().filter(|_| in_folder)) {
                // of another bucket on the same folder, or left by a killed process that had our pid
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => break created?,
            }
        };
        file.write_all(contents.bytes)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(contents.modified.0))?;
        if contents.durability == Durability::Itself {
            file.sync_all()?;
        }
        Ok(temporary)
    }

    /// Makes the folders of a key where they are not.
    fn make(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.is_settled(folder) {
            return Ok(());
        }
        let made = match fs::create_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make(folder.parent().unwrap_or(&self.root))?;
                fs::create_dir(folder)
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Makes the newest entry of `folder` durable, and those entries above it that lead there.
    fn settle(&self, folder: &Path) -> io::Result<()> {
        match if self.is_passing(folder) { disk::sync_folder(folder) } else { self.folders.sync(folder) } {
            // somebody has seen the object and deleted it, and its folder with it
            Err(error) if error.kind() == ErrorKind::NotFound && self.is_passing(folder) => {}
            synced => synced?,
        }
        if folder == self.root || self.is_settled(folder) {
            return Ok(());
        }
        self.settle(folder.parent().unwrap_or(&self.root))?;
        if !self.is_passing(folder) {
            self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        }
        Ok(())
    }

    /// Whether a folder goes with its last object. Those directly below the root stay once they are made, so that their
    /// own entry need not be made durable again with every object; except for the many that belong to one request.
    fn is_passing(&self, folder: &Path) -> bool {
        folder != self.root && (folder.parent() != Some(&self.root) || is_of_request(folder))
    }

    fn unsettle(&self, folder: &Path) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
    }

    fn is_settled(&self, folder: &Path) -> bool {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    /// The lock is given back when the file is dropped, or its process dies.
    fn lock(&self, operation: &'static str) -> Result<File> {
        let path = self.root.join(LOCK);
        let failed = |e| Error::io(operation, path.display(), e);
        // a file description of our own: threads exclude each other as processes do
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(Error::new(Kind::Throttled, operation, format!("{} is held by another process", path.display())))
    }
}

/// Whether a folder is named by a request id.
fn is_of_request(folder: &Path) -> bool {
    folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<RequestId>().is_ok())
}

fn read(path: &Path) -> io::Result<Object> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.read_to_end(&mut bytes)?;
    Ok(Object { etag: etag(&bytes), modified: modified(&metadata), bytes: bytes.into() })
}

pub(super) fn modified(metadata: &Metadata) -> Timestamp {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Timestamp(since.as_millis() as u64)
}

/// Of the contents. Compared only within the process that made it, so it need not be the same in another version.
fn etag(bytes: &[u8]) -> Etag {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    Etag(format!("{:016x}-{}", hasher.finish(), bytes.len()))
}
