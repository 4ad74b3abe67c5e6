//! The engine: bytes of an image in, classes out. A handle over a bounded channel; at the other end are threads that
//! own the sessions (`model::sessions`), or in the simulator a task that sleeps.

use super::{Error, Kind};
use bellows_core::answer::{Prediction, Reason};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// One image to classify.
#[derive(Debug)]
pub struct Work {
    pub image: Bytes,
    /// Work whose asker is gone (`reply.is_closed()`) need not be done.
    pub reply: oneshot::Sender<Result<Labelled, Failure>>,
}

/// What the engine says of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The most probable classes, at least one, the most probable first.
    pub predictions: Vec<Prediction>,
    /// Lower-case hex of the bytes classified.
    pub sha256: String,
    pub decode_ms: f64,
    pub infer_ms: f64,
}

impl Labelled {
    /// How long a session was busy with the image; waiting for one does not count.
    pub fn busy(&self) -> Duration {
        Duration::try_from_secs_f64((self.decode_ms + self.infer_ms) / 1e3).unwrap_or_default()
    }
}

/// Why there is no label.
#[derive(Debug)]
pub enum Failure {
    /// It is the image's fault: the same bytes fail again, so this is the answer.
    Image { reason: Reason, message: String, sha256: String, busy: Duration },
    /// It is not: another attempt may succeed.
    Engine(Error),
}

/// The end that takes work.
pub type Receiver = mpsc::Receiver<Work>;

/// A handle to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    work: mpsc::Sender<Work>,
}

impl Engine {
    /// A handle and the end that takes its work; at most `capacity` images wait in between.
    pub fn channel(capacity: usize) -> (Engine, Receiver) {
        let (work, receiver) = mpsc::channel(capacity.max(1));
        (Engine { work }, receiver)
    }

    /// Classifies one image; waits while the channel is full. Dropping the future abandons the work.
    pub async fn classify(&self, image: Bytes) -> Result<Labelled, Failure> {
        let gone = || Failure::Engine(Error::new(Kind::Unavailable, "engine.classify", "the engine has stopped"));
        self.submit(image).await.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Hands one image over, waiting while the channel is full, and gives what its answer will come through: a sender
    /// that is gone means that the engine has stopped. For callers that keep several in hand.
    pub async fn submit(&self, image: Bytes) -> oneshot::Receiver<Result<Labelled, Failure>> {
        let (reply, answer) = oneshot::channel();
        // Of a channel that is closed the work comes back, and its sender is dropped with it.
        let _ = self.work.send(Work { image, reply }).await;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stopped_engine_is_a_failure_that_may_pass() {
        let (engine, receiver) = Engine::channel(1);
        drop(receiver);
        let failure = engine.classify(Bytes::new()).await.unwrap_err();
        assert!(matches!(failure, Failure::Engine(error) if error.retryable()));
    }

    #[tokio::test]
    async fn work_that_is_dropped_is_a_failure_that_may_pass() {
        let (engine, mut receiver) = Engine::channel(1);
        let dropper =
            tokio::join!(engine.classify(Bytes::from_static(b"image")), async { drop(receiver.recv().await) });
        assert!(matches!(dropper.0.unwrap_err(), Failure::Engine(_)));
    }
}
