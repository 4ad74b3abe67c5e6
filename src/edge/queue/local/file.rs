//! The SQLite file behind a store: opened, checked and laid out; and what its errors mean to a caller.

use crate::edge::{Error, Kind, Result, disk};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Older versions can corrupt a WAL that several processes write when it is reset.
const OLDEST_SQLITE: i32 = 3_051_003;
/// The layout below; a file of a newer one is refused.
const LAYOUT: i64 = 1;
/// Everybody retries equally often and equally soon: with SQLite's own growing pauses one writer starves the others.
const RETRY: Duration = Duration::from_micros(200);
/// About ten seconds of retries; then the caller hears of it.
const RETRIES: i32 = 40_000;
/// Attempts at the first statements of a file, some of which SQLite refuses without asking the busy handler.
const SETUP_ATTEMPTS: u32 = 500;

const SCHEMA: &str = "
    CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    -- Times are milliseconds since 1970. A sequence number is never used again: it is half of a receipt.
    CREATE TABLE message (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        queue      INTEGER NOT NULL,
        sent_at    INTEGER NOT NULL,
        visible_at INTEGER NOT NULL,
        receives   INTEGER NOT NULL,
        lease      INTEGER NOT NULL,
        body       TEXT NOT NULL
    ) STRICT;
    -- One index for all questions: the oldest visible messages, the counts, and what is past its retention.
    CREATE INDEX message_by_age ON message (queue, sent_at, seq, visible_at, receives);
";

/// What a statement's failure means, to be told to every caller whose work was in the same transaction.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub kind: Kind,
    pub detail: String,
}

impl Failure {
    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Failure {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Kind::Denied,
            Some(ErrorCode::CannotOpen) => cannot_open(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Throttled,
            Some(ErrorCode::SystemIoFailure) => io_failure(path),
            _ => Kind::Unavailable,
        };
        Failure { kind, detail: format!("{}: {error}", path.display()) }
    }

    pub(super) fn at(&self, operation: &'static str) -> Error {
        Error::new(self.kind, operation, self.detail.clone())
    }
}

/// SQLite says "unable to open" whatever the reason: ask the folder.
fn cannot_open(path: &Path) -> Kind {
    use rustix::io::Errno;
    match rustix::fs::access(path.parent().unwrap_or(path), rustix::fs::Access::WRITE_OK) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Kind::Denied,
        _ => io_failure(path),
    }
}

/// Growing the shared memory of the WAL on a full disk is an I/O error to SQLite, not a full disk.
fn io_failure(path: &Path) -> Kind {
    /// SQLite grows that file by 32 KiB.
    const SMALLEST_GROWTH: u64 = 64 * 1024;
    match disk::free_bytes(path.parent().unwrap_or(path)) {
        Ok(free) if free < SMALLEST_GROWTH => Kind::Full,
        _ => Kind::Unavailable,
    }
}

/// Opens the file, creating it and its folder durably where they are not.
pub(super) fn open(path: &Path) -> Result<Connection> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let detail = format!("SQLite {} has a bug that can corrupt the queue, 3.51.3 is needed", rusqlite::version());
        return Err(Error::new(Kind::Unavailable, "queue.open", detail));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    disk::create_folders(folder).map_err(|e| Error::io("queue.open", folder.display(), e))?;
    disk::refuse_network(folder)?;
    let failed = |error: rusqlite::Error| Failure::of(path, &error).at("queue.open").caused_by(error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_handler(Some(retry)).map_err(failed)?;
    let mut attempt = 0;
    loop {
        match set_up(&connection) {
            Ok(LAYOUT) => return Ok(connection),
            Ok(layout) => {
                let detail = format!("{}: layout {layout} of a newer version, expected {LAYOUT}", path.display());
                return Err(Error::new(Kind::Invalid, "queue.open", detail));
            }
            Err(error) if busy(&error) && attempt < SETUP_ATTEMPTS => {
                attempt += 1;
                thread::sleep(10 * RETRY);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

fn retry(attempts: i32) -> bool {
    thread::sleep(RETRY);
    attempts < RETRIES
}

fn busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Brings the file into shape and gives its layout.
fn set_up(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // a WAL that a burst has blown up gives the space back
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    let layout = |c: &Connection| c.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if layout(connection)? == 0 {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        // somebody else may have been faster
        let made = match layout(connection)? {
            0 => connection.execute_batch(&format!("{SCHEMA} PRAGMA user_version = {LAYOUT};")),
            _ => Ok(()),
        };
        if let Err(error) = made.and_then(|()| connection.execute_batch("COMMIT")) {
            let _ = connection.execute_batch("ROLLBACK");
            return Err(error);
        }
    }
    layout(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn what_a_caller_can_do_about_it_decides_the_kind() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            (ffi::SQLITE_FULL, Kind::Full),
            (ffi::SQLITE_READONLY, Kind::Denied),
            (ffi::SQLITE_PERM, Kind::Denied),
            (ffi::SQLITE_BUSY, Kind::Throttled),
            (ffi::SQLITE_IOERR, Kind::Unavailable),
            (ffi::SQLITE_CORRUPT, Kind::Unavailable),
            (ffi::SQLITE_NOTADB, Kind::Unavailable),
        ];
        for (code, kind) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(Failure::of(&folder.path().join("q.db"), &error).kind, kind, "{error}");
        }
    }
}
