//! Object stores with the semantics of S3: whole objects, conditional writes, listing by prefix.

pub mod local;
pub mod memory;

use super::Result;
use bellows_core::time::Timestamp;
use bytes::Bytes;

/// Names one version of an object's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(pub String);

/// What is known of an object without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub key: String,
    pub size: u64,
    pub modified: Timestamp,
}

/// An object with its contents.
#[derive(Clone, Debug)]
pub struct Object {
    pub bytes: Bytes,
    pub etag: Etag,
    pub modified: Timestamp,
}

/// What a put-if-absent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Created,
    /// Somebody else was first; read theirs.
    Exists,
}

/// The contract of a bucket. `src/tests/contract/bucket.rs` holds every backend to it.
///
/// Keys are `/`-separated segments of `[A-Za-z0-9._%~-]`, none of them empty, `.` or `..`; anything else is `Invalid`.
/// A write is durable when it returns `Ok`, and readers see the old contents or the new, never a part.
pub(crate) trait Api {
    /// Writes, replacing what was there.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Writes only where nothing is: of many callers exactly one gets `Created`.
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put>;

    /// Writes only over the version `expected` (`None`: only where nothing is); `Conflict` otherwise.
    async fn compare_and_swap(&self, key: &str, expected: Option<&Etag>, bytes: Bytes) -> Result<Etag>;

    async fn get(&self, key: &str) -> Result<Option<Object>>;

    /// Objects whose key begins with `prefix` and comes after `after`, by key, at most `limit`.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>>;

    /// Deletes; no error where nothing is.
    async fn delete(&self, key: &str) -> Result<()>;
}

/// A bucket of whichever kind. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bucket {
    Local(local::Bucket),
    Memory(memory::Bucket),
}

macro_rules! dispatch {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match $self {
            Bucket::Local(bucket) => Api::$call(bucket, $($argument),*).await,
            Bucket::Memory(bucket) => Api::$call(bucket, $($argument),*).await,
        }
    };
}

impl Bucket {
    /// Writes, replacing what was there.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        dispatch!(self.put(key, bytes))
    }

    /// Writes only where nothing is.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put> {
        dispatch!(self.put_if_absent(key, bytes))
    }

    /// Writes only over the version `expected`; `Conflict` otherwise.
    pub async fn compare_and_swap(&self, key: &str, expected: Option<&Etag>, bytes: Bytes) -> Result<Etag> {
        dispatch!(self.compare_and_swap(key, expected, bytes))
    }

    pub async fn get(&self, key: &str) -> Result<Option<Object>> {
        dispatch!(self.get(key))
    }

    /// Objects whose key begins with `prefix` and comes after `after`, by key, at most `limit`.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>> {
        dispatch!(self.list(prefix, after, limit))
    }

    /// Deletes; no error where nothing is.
    pub async fn delete(&self, key: &str) -> Result<()> {
        dispatch!(self.delete(key))
    }
}
