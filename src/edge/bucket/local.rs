//! A bucket of one machine: a folder, in which every object is a file under its key. Users may browse it.
//!
//! [`files`] does the work on a few threads of its own ([`pool`]); here is only how a call gets there.

mod durable;
mod files;
mod journal;
mod list;
mod pool;
mod sync;
mod temporary;

use super::{Api, Etag, Meta, Object, Put};
use crate::edge::host::Clock;
use crate::edge::{Error, Result};
use bytes::Bytes;
use files::Files;
use list::Query;
use pool::Pool;
use std::path::PathBuf;
use std::sync::Arc;

/// Cheap to clone. Its threads end with the last clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    files: Arc<Files>,
    pool: Arc<Pool>,
}

impl Bucket {
    /// Opens the bucket in `root`, or makes it, durably. Blocks for a millisecond: for start-up.
    ///
    /// `Denied` where it cannot be written, `Invalid` on a network file system.
    pub fn open(root: impl Into<PathBuf>, clock: Clock) -> Result<Bucket> {
        let root = root.into();
        let name = format!("files-{}", root.file_name().unwrap_or_default().to_string_lossy());
        Ok(Bucket { files: Arc::new(Files::open(root, clock)?), pool: Arc::new(Pool::new(name)) })
    }

    /// Removes what unfinished writes have left behind: those of one process that has ended, or of all
    /// that have. How many there were.
    pub async fn sweep_temporary(&self, pid: Option<u32>) -> Result<usize> {
        const OPERATION: &str = "bucket.sweep_temporary";
        self.run(OPERATION, move |files| files.sweep_temporary(pid).map_err(|e| Error::io(OPERATION, "the bucket", e)))
            .await
    }

    async fn run<T, F>(&self, operation: &'static str, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Files) -> Result<T> + Send + 'static,
    {
        let files = Arc::clone(&self.files);
        self.pool.run(operation, move || job(&files)).await
    }
}

impl Api for Bucket {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        const OPERATION: &str = "bucket.put";
        let key = key.to_owned();
        self.run(OPERATION, move |files| files.put(OPERATION, &key, &bytes)).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put> {
        const OPERATION: &str = "bucket.put_if_absent";
        let key = key.to_owned();
        self.run(OPERATION, move |files| files.put_if_absent(OPERATION, &key, &bytes)).await
    }

    async fn compare_and_swap(&self, key: &str, expected: Option<&Etag>, bytes: Bytes) -> Result<Etag> {
        const OPERATION: &str = "bucket.compare_and_swap";
        let (key, expected) = (key.to_owned(), expected.cloned());
        self.run(OPERATION, move |files| files.compare_and_swap(OPERATION, &key, expected.as_ref(), &bytes)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Object>> {
        const OPERATION: &str = "bucket.get";
        let key = key.to_owned();
        self.run(OPERATION, move |files| files.get(OPERATION, &key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>> {
        const OPERATION: &str = "bucket.list";
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run(OPERATION, move |files| {
            files.list(OPERATION, &Query { prefix: &prefix, after: after.as_deref(), limit })
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        const OPERATION: &str = "bucket.delete";
        let key = key.to_owned();
        self.run(OPERATION, move |files| files.delete(OPERATION, &key)).await
    }
}
