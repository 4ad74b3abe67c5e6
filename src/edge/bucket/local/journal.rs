//! Makes small new objects durable before they are files (group commit): their bytes are appended to a file that all
//! writers of this process fsync together, and the files themselves are left to the kernel. A file made durable by
//! itself costs three waits for the disk and some ten block requests; a place in the journal one of each, shared.
//!
//! Two segments are filled in turns. A full one is free again once `syncfs` has made durable all files that it stands
//! for. Whoever opens the bucket compares what the records of ended processes say with the files, writes anew what a power
//! cut has taken, and removes them. A writer holds a lock on its segments for as long as it lives.

use super::sync::GroupCommit;
use crate::edge::disk;
use bellows_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of a segment: what is read again after a power cut, and how much waits for one `syncfs`.
const SEGMENT: u64 = 16 << 20;
/// Larger objects are written once, as files.
const LARGEST: usize = 1 << 20;
/// Records begin at multiples of this, so that no write touches a block that holds what was promised before.
const BLOCK: usize = 4096;
/// A segment grows by so many zeros at a time: overwriting is durable without a word about the file's size.
const GROWTH: u64 = 1 << 20;
/// It grows only where so much of the disk is free: the last room is for the objects themselves.
const ROOM: u64 = 4 * SEGMENT;
/// Generation, checksum, length of the key, length of the contents, milliseconds since 1970; all little-endian.
const HEADER: usize = 8 + 4 + 4 + 4 + 8;
/// As the length of contents: the record takes back an earlier one of the same key.
const VOID: u32 = u32::MAX;

/// What a record says of an object. None: what an earlier record of this segment says did not come to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record<'r> {
    pub key: &'r str,
    pub modified: Timestamp,
    pub contents: Option<&'r [u8]>,
}

#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    /// Begins the names of its segments.
    writer: String,
    disk: Arc<Disk>,
    shared: Arc<Shared>,
}

/// The file system of a folder. Opened before anything is written that `sync` answers for: what went wrong earlier it
/// does not tell.
#[derive(Debug)]
struct Disk(File);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Somebody has placed a file.
    placed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    segments: [Option<Segment>; 2],
    filling: usize,
    /// How often a segment has been begun.
    rounds: u64,
    /// An fsync failed: nothing here can be relied upon any more.
    broken: bool,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    log: Arc<Log>,
    /// Which round this is; told in every record, so that those of an earlier round here count no more, and that both
    /// segments have an order.
    generation: u64,
    end: u64,
    length: u64,
    /// Records whose files are not in their places yet.
    unplaced: usize,
    emptying: bool,
}

/// What writers share while they wait for the disk.
#[derive(Debug)]
struct Log {
    file: File,
    commit: GroupCommit,
}

/// A durable record. Its segment stays until this is dropped: when the file is in its place.
#[derive(Debug)]
pub(super) struct Promise {
    shared: Arc<Shared>,
    segment: usize,
}

impl Journal {
    /// A journal in `folder`, which exists. Makes no file before it is needed.
    pub(super) fn new(folder: PathBuf) -> io::Result<Journal> {
        /// Journals of this process.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let writer = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let disk = Arc::new(Disk(File::open(&folder)?));
        Ok(Journal { folder, writer, disk, shared: Arc::default() })
    }

    /// Returns once the record would survive a power cut. None where there is no room for it: then the file itself has
    /// to be made durable.
    pub(super) fn append(&self, record: &Record<'_>) -> io::Result<Option<Promise>> {
        if record.contents.map_or(0, <[u8]>::len) > LARGEST {
            return Ok(None);
        }
        let (mut head, check) = record.encode();
        let contents = record.contents.unwrap_or_default();
        let size = (head.len() + contents.len()).next_multiple_of(BLOCK) as u64;
        let (promise, log) = {
            let mut state = self.shared.lock();
            let Some(place) = self.room(&mut state, size) else { return Ok(None) };
            let Some(segment) = &mut state.segments[place] else { return Ok(None) };
            let grows = segment.end + size > segment.length;
            if grows && !disk::free_bytes(&self.folder).is_ok_and(|free| free > ROOM) {
                return Ok(None);
            }
            // written under the lock: what is durable has no gap before it
            if let Err(error) = segment.write(&mut head, contents, check) {
                // the file's own error counts
                tracing::debug!(%error, "nothing can be appended to the journal");
                return Ok(None);
            }
            segment.unplaced += 1;
            (Promise { shared: Arc::clone(&self.shared), segment: place }, Arc::clone(&segment.log))
        };
        log.commit.sync(|| log.file.sync_data()).inspect_err(|_| self.shared.lock().broken = true)?;
        Ok(Some(promise))
    }

    /// The segment that takes so many bytes more.
    fn room(&self, state: &mut State, size: u64) -> Option<usize> {
        if state.broken {
            return None;
        }
        for _ in 0..state.segments.len() {
            let place = state.filling;
            let segment = match &mut state.segments[place] {
                Some(segment) => segment,
                none => {
                    state.rounds += 1;
                    // whatever is wrong there, the file's own error counts
                    none.insert(Segment::create(&self.folder, &self.writer, state.rounds).ok()?)
                }
            };
            if !segment.emptying && segment.end + size <= SEGMENT {
                return Some(place);
            }
            if !segment.emptying {
                self.empty(place).ok()?;
                segment.emptying = true;
            }
            state.filling = (place + 1) % state.segments.len();
        }
        None
    }

    /// Starts to make durable what a segment stands for. It ends by itself.
    fn empty(&self, place: usize) -> io::Result<()> {
        let (shared, disk) = (Arc::clone(&self.shared), Arc::clone(&self.disk));
        let run = move || shared.empty(place, &disk);
        std::thread::Builder::new().name("journal".into()).spawn(run).map(drop)
    }
}

impl Drop for Journal {
    /// Leaves nothing behind where all could be made durable; else the next start does it.
    fn drop(&mut self) {
        let state = self.shared.lock();
        let segments: Vec<&Segment> = state.segments.iter().flatten().collect();
        if segments.is_empty() || segments.iter().any(|segment| segment.unplaced > 0) {
            return;
        }
        if self.disk.sync().is_ok() {
            for segment in segments {
                let _ = fs::remove_file(&segment.path);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn empty(&self, place: usize, disk: &Disk) {
        let mut state = self.lock();
        // each of them ends: placing a file waits for nobody
        while state.segments[place].as_ref().is_some_and(|segment| segment.unplaced > 0) {
            state = self.placed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let synced = disk.sync();
        let mut state = self.lock();
        match synced {
            Ok(()) => {
                state.rounds += 1;
                let generation = state.rounds;
                if let Some(segment) = &mut state.segments[place] {
                    segment.generation = generation;
                    segment.end = 0;
                    segment.emptying = false;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the journal cannot be emptied: objects are made durable one by one");
                state.broken = true;
            }
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(segment) = &mut self.shared.lock().segments[self.segment] {
            segment.unplaced -= 1;
        }
        self.shared.placed.notify_all();
    }
}

impl Segment {
    fn create(folder: &Path, writer: &str, generation: u64) -> io::Result<Segment> {
        for number in 0.. {
            let path = folder.join(format!("{writer}-{number}"));
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                // the other one, or that of a killed process that had our number
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            // somebody may have found it before it was locked, and taken it for one that was left
            if own(&file)? {
                disk::sync_folder(folder)?;
                let log = Arc::new(Log { file, commit: GroupCommit::default() });
                return Ok(Segment { path, log, generation, end: 0, length: 0, unplaced: 0, emptying: false });
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Nothing is copied together: what many threads allocate for a moment the allocator keeps for each of them.
    fn write(&mut self, head: &mut [u8], contents: &[u8], mut check: crc32fast::Hasher) -> io::Result<()> {
        static ZEROS: [u8; 16 * BLOCK] = [0; 16 * BLOCK];
        let generation = self.generation.to_le_bytes();
        check.update(&generation);
        head[..8].copy_from_slice(&generation);
        head[8..12].copy_from_slice(&check.finalize().to_le_bytes());
        let end = self.end + ((head.len() + contents.len()) as u64).next_multiple_of(BLOCK as u64);
        while self.length < end.next_multiple_of(GROWTH) {
            self.log.file.write_all_at(&ZEROS, self.length)?;
            self.length += ZEROS.len() as u64;
        }
        self.log.file.write_all_at(head, self.end)?;
        self.log.file.write_all_at(contents, self.end + head.len() as u64)?;
        self.end = end;
        Ok(())
    }
}

impl Record<'_> {
    /// What stands before the contents, without generation and checksum; and the checksum of the rest.
    fn encode(&self) -> (Vec<u8>, crc32fast::Hasher) {
        let mut bytes = Vec::with_capacity(HEADER + self.key.len());
        bytes.extend([0; 12]);
        bytes.extend((self.key.len() as u32).to_le_bytes());
        bytes.extend(self.contents.map_or(VOID, |contents| contents.len() as u32).to_le_bytes());
        bytes.extend(self.modified.0.to_le_bytes());
        bytes.extend(self.key.as_bytes());
        let mut check = crc32fast::Hasher::new();
        check.update(&bytes[12..]);
        check.update(self.contents.unwrap_or_default());
        (bytes, check)
    }

    /// The first record of `bytes`, its generation, and how many bytes it takes. None where there is no whole one.
    fn decode(bytes: &[u8]) -> Option<(Record<'_>, u64, usize)> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let word = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let long = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let (key_length, length) = (word(12)? as usize, word(16)?);
        let contents_length = if length == VOID { 0 } else { length as usize };
        let used = key_length.checked_add(contents_length)?;
        let body = rest.get(..used)?;
        let mut check = crc32fast::Hasher::new();
        check.update(&header[12..]);
        check.update(body);
        check.update(&header[..8]);
        if check.finalize() != word(8)? {
            return None;
        }
        let (key, contents) = body.split_at(key_length);
        let (key, contents) = (std::str::from_utf8(key).ok()?, (length != VOID).then_some(contents));
        let record = Record { key, modified: Timestamp(long(20)?), contents };
        Some((record, long(0)?, (HEADER + used).next_multiple_of(BLOCK)))
    }
}

/// Segments whose writers have ended, locked: nobody else cares for them meanwhile.
#[derive(Debug)]
pub(super) struct Left {
    disk: Disk,
    segments: Vec<(PathBuf, File)>,
    /// What is in them, by writer.
    pub writers: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Left {
    pub(super) fn find(folder: &Path) -> io::Result<Left> {
        let mut left = Left { disk: Disk(File::open(folder)?), segments: Vec::new(), writers: BTreeMap::new() };
        for entry in fs::read_dir(folder)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let Some((writer, _number)) = name.to_str().and_then(|name| name.rsplit_once('-')) else { continue };
            let mut file = match File::open(&path) {
                // somebody else has just done it
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if !own(&file)? {
                continue;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            left.writers.entry(writer.to_owned()).or_default().push(bytes);
            left.segments.push((path, file));
        }
        Ok(left)
    }

    /// Once all that they stand for is in its place: makes it durable, and removes them.
    pub(super) fn settle(self) -> io::Result<()> {
        if self.segments.is_empty() {
            return Ok(());
        }
        self.disk.sync()?;
        self.segments.iter().try_for_each(|(path, _locked)| fs::remove_file(path))
    }
}

/// Whether this segment is ours now: nobody holds it, and nobody has removed it before we did. Until the file is closed.
fn own(segment: &File) -> io::Result<bool> {
    match segment.try_lock() {
        Ok(()) => Ok(segment.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What the segments of one writer promise, by key: the last word on each counts.
pub(super) fn records(segments: &[Vec<u8>]) -> BTreeMap<&str, Record<'_>> {
    let mut rounds: BTreeMap<u64, Vec<Record<'_>>> = BTreeMap::new();
    for segment in segments {
        let (mut at, mut current) = (0, None);
        while let Some((record, generation, size)) = segment.get(at..).and_then(Record::decode) {
            if *current.get_or_insert(generation) != generation {
                break;
            }
            rounds.entry(generation).or_default().push(record);
            at += size;
        }
    }
    let mut found = BTreeMap::new();
    for record in rounds.into_values().flatten() {
        found.insert(record.key, record);
    }
    found
}

impl Disk {
    /// Makes durable whatever has been written to it.
    fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.0)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }
}

#[cfg(test)]
#[path = "journal/tests.rs"]
mod tests;
