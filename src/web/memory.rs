//! Memory for request bodies: so many bytes at once for the whole process, and no more.
//!
//! Whoever says how much is coming waits for room before any of it is read. Whoever does not gets room as it comes, and
//! is refused where there is none left: one that waited with what it holds could wait for another that does the same.

use super::Refusal;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyDataStream, Limited};
use hyper::body::Incoming;
use memmap2::{MmapMut, MmapOptions};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an upload may wait for memory before it is told to come back.
const LONGEST_RESERVE: Duration = Duration::from_secs(10);

/// Bytes of bodies that may be in memory at once. Counted in KiB.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// What one upload has of it. Goes back with the last who holds it.
#[derive(Debug)]
pub(super) struct Memory(Mutex<Held>);

#[derive(Debug)]
struct Held {
    permit: OwnedSemaphorePermit,
    used: u64,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Budget {
        Budget(Arc::new(Semaphore::new(kib(bytes) as usize)))
    }

    /// Bytes that are free.
    pub(super) fn room(&self) -> u64 {
        self.0.available_permits() as u64 * 1024
    }

    /// Waits until there is room for `bytes`.
    pub(super) async fn reserve(&self, bytes: u64) -> Result<Arc<Memory>, Refusal> {
        let permits = self.0.clone().acquire_many_owned(kib(bytes.max(1)));
        match tokio::time::timeout(LONGEST_RESERVE, permits).await {
            Ok(Ok(permit)) => Ok(Arc::new(Memory(Mutex::new(Held { permit, used: 0 })))),
            _ => Err(Refusal::Busy),
        }
    }
}

impl Memory {
    /// Bytes that have come.
    pub(super) fn used(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).used
    }

    /// Takes so many bytes more into use; false where there is no room for them.
    fn grow(&self, bytes: usize) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.used += bytes as u64;
        let lacking = kib(held.used).saturating_sub(u32::try_from(held.permit.num_permits()).unwrap_or(u32::MAX));
        if lacking == 0 {
            return true;
        }
        let more = held.permit.semaphore().clone().try_acquire_many_owned(lacking);
        more.map(|more| held.permit.merge(more)).is_ok()
    }
}

/// Size in KiB, rounded up, as permits are counted.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// No room for a body, or for one that did not say how long it is.
#[derive(Debug, thiserror::Error)]
#[error("too many uploads at once")]
pub(super) struct Exhausted;

pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A body as it comes, counted.
pub(super) struct Reading {
    body: BodyDataStream<Limited<Incoming>>,
    memory: Arc<Memory>,
    /// A piece was given out just now.
    full: bool,
}

impl Reading {
    pub(super) fn new(body: Limited<Incoming>, memory: Arc<Memory>) -> Reading {
        Reading { body: BodyDataStream::new(body), memory, full: false }
    }

    /// All of it, in one piece. `most`: no more bytes than these come.
    pub(super) async fn whole(mut self, most: u64) -> Result<Bytes, Failed> {
        let mut whole = Whole::new(most);
        while let Some(piece) = self.next().await {
            whole.push(&piece?)?;
        }
        Ok(whole.freeze())
    }
}

/// Pieces that become one.
///
/// Large ones are mapped: memory that the allocator gets back it keeps for itself, in the pieces it happens to have, and
/// a crowd of large uploads would cost half as much again and never give it back. What nothing was written to takes no
/// memory, so the map is as large as it may ever have to be.
#[derive(Debug)]
pub(super) struct Whole {
    small: BytesMut,
    large: Option<Mapped>,
    most: usize,
}

#[derive(Debug)]
struct Mapped {
    map: MmapMut,
    filled: usize,
}

/// From here on it is a large one.
const LARGE: usize = 32 * 1024;
/// What one begins with that may become large.
const UNKNOWN: usize = 8 * 1024;

impl Whole {
    pub(super) fn new(most: u64) -> Whole {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // growing by doubling holds up to twice the bytes, and leaves pieces behind that fit nothing
        let capacity = if most <= LARGE { most } else { UNKNOWN };
        Whole { small: BytesMut::with_capacity(capacity), large: None, most }
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Exhausted> {
        if self.large.is_none() && self.small.len() + piece.len() <= LARGE {
            self.small.extend_from_slice(piece);
            return Ok(());
        }
        if let Some(mapped) = &mut self.large {
            return mapped.push(piece);
        }
        let map = MmapOptions::new().len(self.most).no_reserve_swap().map_anon().map_err(|_| Exhausted)?;
        let mapped = self.large.insert(Mapped { map, filled: 0 });
        mapped.push(&std::mem::take(&mut self.small))?;
        mapped.push(piece)
    }

    pub(super) fn freeze(self) -> Bytes {
        match self.large {
            Some(mapped) => Bytes::from_owner(mapped),
            None => self.small.freeze(),
        }
    }
}

impl Mapped {
    fn push(&mut self, piece: &[u8]) -> Result<(), Exhausted> {
        let end = self.filled + piece.len();
        self.map.get_mut(self.filled..end).ok_or(Exhausted)?.copy_from_slice(piece);
        self.filled = end;
        Ok(())
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map[..self.filled]
    }
}

impl Stream for Reading {
    type Item = Result<Bytes, Failed>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // multer takes all that is ready into a buffer before it looks at any of it: a fast client's body would be in
        // memory twice, there and where it is put together
        if std::mem::take(&mut self.full) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = ready!(Pin::new(&mut self.body).poll_next(cx));
        self.full = true;
        Poll::Ready(match next {
            Some(Ok(piece)) if !self.memory.grow(piece.len()) => Some(Err(Exhausted.into())),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one() {
        for (pieces, size) in [(0, 1), (1, 1), (3, 1000), (1, LARGE), (1, LARGE + 1), (70, 16 * 1024)] {
            let all: Vec<u8> = (0..pieces * size).map(|n| (n % 251) as u8).collect();
            let mut whole = Whole::new(all.len() as u64);
            all.chunks(size).for_each(|piece| whole.push(piece).unwrap());
            assert_eq!(whole.freeze(), all, "{pieces} of {size}");
        }
        assert!(Whole::new(LARGE as u64).push(&vec![0; LARGE + 1]).is_err(), "more than was said");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_said_how_much_waits_and_whoever_grows_is_refused() {
        let budget = Budget::new(10 * 1024);
        let declared = budget.reserve(6 * 1024).await.unwrap();
        let growing = budget.reserve(1).await.unwrap();
        assert!(growing.grow(1024) && growing.grow(3 * 1024 - 1) && growing.grow(1));
        assert!(!growing.grow(1), "all is taken");
        assert!(declared.grow(6 * 1024), "what was reserved is there");
        assert_eq!(budget.reserve(2048).await.unwrap_err(), Refusal::Busy);
        drop(growing);
        let next = budget.reserve(4 * 1024).await.unwrap();
        drop((next, declared));
        assert_eq!(budget.room(), 10 * 1024);
    }
}
