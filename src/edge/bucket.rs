//! Object stores with the semantics of S3: whole objects, conditional writes, listing by prefix.

#[cfg(feature = "aws")]
pub mod aws;
pub mod local;
pub mod memory;

use super::{Error, Kind, Result};
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
/// Keys are `/`-separated segments of `[A-Za-z0-9._%~-]`, none of them empty, `.`, `..` or longer than 255 bytes, all of
/// them 1,024 at most; anything else is `Invalid`. No key may be a folder of another (`a` and `a/b`): files cannot hold
/// both. A key that is written by compare-and-swap is written by nothing else.
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

/// Longest key in bytes, as S3 has it.
const MAX_KEY: usize = 1024;
/// Longest segment of a key in bytes: it is a file name on one machine.
const MAX_SEGMENT: usize = 255;

/// Refuses what is no key anywhere.
fn check_key(operation: &'static str, key: &str) -> Result<()> {
    if key.len() <= MAX_KEY && key.split('/').all(is_segment) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, operation, format!("no object key: `{}`", key.escape_debug())))
}

/// Refuses a prefix that begins no key: whole segments as in a key, the last one as far as it goes.
fn check_prefix(operation: &'static str, prefix: &str) -> Result<()> {
    let (folders, last) = prefix.rsplit_once('/').map_or((None, prefix), |(folders, last)| (Some(folders), last));
    let whole = folders.is_none_or(|folders| folders.split('/').all(is_segment));
    if prefix.len() <= MAX_KEY && whole && last.bytes().all(is_key_byte) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, operation, format!("no prefix of a key: `{}`", prefix.escape_debug())))
}

fn is_segment(segment: &str) -> bool {
    (1..=MAX_SEGMENT).contains(&segment.len()) && segment != "." && segment != ".." && segment.bytes().all(is_key_byte)
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%~-".contains(&byte)
}

/// A bucket of whichever kind. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bucket {
    Local(local::Bucket),
    #[cfg(feature = "aws")]
    Aws(aws::Bucket),
    Memory(memory::Bucket),
}

macro_rules! dispatch {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match $self {
            Bucket::Local(bucket) => Api::$call(bucket, $($argument),*).await,
            #[cfg(feature = "aws")]
            // the SDK's futures are large, and callers hold one a request
            Bucket::Aws(bucket) => Box::pin(Api::$call(bucket, $($argument),*)).await,
            Bucket::Memory(bucket) => {
                bucket.wire.carry(concat!("bucket.", stringify!($call)), Api::$call(bucket, $($argument),*)).await
            }
        }
    };
}

impl Bucket {
    /// Writes, replacing what was there.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        check_key("bucket.put", key)?;
        dispatch!(self.put(key, bytes))
    }

    /// Writes only where nothing is.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put> {
        check_key("bucket.put_if_absent", key)?;
        dispatch!(self.put_if_absent(key, bytes))
    }

    /// Writes only over the version `expected`; `Conflict` otherwise.
    pub async fn compare_and_swap(&self, key: &str, expected: Option<&Etag>, bytes: Bytes) -> Result<Etag> {
        check_key("bucket.compare_and_swap", key)?;
        dispatch!(self.compare_and_swap(key, expected, bytes))
    }

    pub async fn get(&self, key: &str) -> Result<Option<Object>> {
        check_key("bucket.get", key)?;
        dispatch!(self.get(key))
    }

    /// The same for an object that somebody else has put there, where keys may be whatever S3 takes. Files keep to the
    /// keys of the contract.
    pub async fn get_foreign(&self, key: &str) -> Result<Option<Object>> {
        match self {
            #[cfg(feature = "aws")]
            Bucket::Aws(bucket) if (1..=MAX_KEY).contains(&key.len()) => Box::pin(Api::get(bucket, key)).await,
            _ => self.get(key).await,
        }
    }

    /// Objects whose key begins with `prefix` and comes after `after`, by key, at most `limit`.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>> {
        check_prefix("bucket.list", prefix)?;
        dispatch!(self.list(prefix, after, limit))
    }

    /// The same of keys and prefixes that are whatever S3 takes.
    pub async fn list_foreign(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>> {
        match self {
            #[cfg(feature = "aws")]
            Bucket::Aws(bucket) if prefix.len() <= MAX_KEY => Box::pin(Api::list(bucket, prefix, after, limit)).await,
            _ => self.list(prefix, after, limit).await,
        }
    }

    /// Deletes; no error where nothing is.
    pub async fn delete(&self, key: &str) -> Result<()> {
        check_key("bucket.delete", key)?;
        dispatch!(self.delete(key))
    }
}
