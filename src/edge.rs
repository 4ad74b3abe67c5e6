//! The edges: everything that is not ours to decide (queues, objects, processes, time, chance) behind one contract
//! per kind, with one [`Error`] for all of them.
//!
//! A kind of edge is a trait with native `async fn` that states the contract, and an enum that dispatches to the
//! backends. Roles hold the enum; only `wiring` names a backend.

#[cfg(feature = "aws")]
pub mod aws;
pub mod bucket;
pub mod disk;
pub mod engine;
pub mod fleet;
pub mod host;
pub mod identity;
pub mod nature;
pub mod queue;
pub mod wire;

use host::Host;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// What went wrong at an edge, as far as a caller has to tell cases apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Too many calls: later, and slower.
    Throttled,
    /// The service or the disk does not answer as it should: later.
    Unavailable,
    /// No answer within the deadline. The call may have taken effect.
    Timeout,
    /// A condition of the call does not hold: somebody else was first.
    Conflict,
    NotFound,
    /// The receipt is no longer ours: the message has been given to somebody else.
    Expired,
    Denied,
    /// The call itself is wrong; repeating it is pointless.
    Invalid,
    /// No room left where the data should go.
    Full,
}

/// A failed call at an edge.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    /// Dotted name of the call: `queue.send`.
    pub operation: &'static str,
    pub detail: String,
    /// The service's own word for it, where it has one: `InsufficientInstanceCapacity`.
    pub code: Option<String>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, operation: &'static str, detail: impl Into<String>) -> Error {
        Error { kind, operation, detail: detail.into(), code: None, source: None }
    }

    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// From an I/O error of `operation` on `what` (a path).
    pub fn io(operation: &'static str, what: impl fmt::Display, error: std::io::Error) -> Error {
        use std::io::ErrorKind as E;
        let kind = match error.kind() {
            E::NotFound => Kind::NotFound,
            E::AlreadyExists => Kind::Conflict,
            E::PermissionDenied | E::ReadOnlyFilesystem => Kind::Denied,
            E::StorageFull | E::QuotaExceeded => Kind::Full,
            E::TimedOut => Kind::Timeout,
            E::InvalidInput | E::InvalidFilename | E::IsADirectory | E::NotADirectory => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Error::new(kind, operation, format!("{what}: {error}")).caused_by(error)
    }

    /// Whether the same call may succeed later. The one place that decides it.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Unavailable | Kind::Timeout | Kind::Full)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({:?}): {}", self.operation, self.kind, self.detail)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// First pause between two tries of a call; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How often a call is tried in all.
const TRIES: u32 = 5;

/// Repeats a call that failed in a way that may pass, with growing pauses and jitter. Only for calls whose repetition
/// does no harm.
pub async fn retry<T, F>(host: &Host, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match call().await {
            Err(e) if e.retryable() => tracing::debug!(error = %e, "will be tried again"),
            other => return other,
        }
        tokio::time::sleep(pause.mul_f64(0.5 + host.entropy.fraction())).await;
        pause *= 2;
    }
    call().await
}
