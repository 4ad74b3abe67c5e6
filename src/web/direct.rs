//! An upload of one image as those bring it who speak no HTTP: the simulator's clients. What `routes` does around a body.

use super::access::Caller;
use super::batch::Child;
use super::submit::Image;
use super::{Refusal, Web};
use bellows_core::answer::Answer;
use bellows_core::key::RequestId;
use bytes::Bytes;
use tokio::time::Instant;

/// What became of an upload.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Answered(Box<Answer>),
    /// Accepted, and no answer within the wait.
    Pending(RequestId),
    Refused(Refusal),
}

impl Web {
    /// Takes one image and waits for its answer as long as clients do. Where this process ends meanwhile it never
    /// returns, as a connection breaks.
    pub async fn classify_one(&self, file: &str, bytes: Bytes) -> Outcome {
        let caller = Caller::default();
        if let Err(refusal) = self.admit(&caller) {
            return Outcome::Refused(refusal);
        }
        let memory = match self.0.budget.reserve(bytes.len() as u64).await {
            Ok(memory) => memory,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let image = Image { file: file.into(), bytes, memory };
        let submitted = match self.submit_all(vec![image], &caller, "").await {
            Ok((_, submitted)) => submitted,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let until = Instant::now() + self.0.settings.wait;
        match self.wait_all(submitted, Some(until)).await.pop() {
            Some(Child::Answered(answer)) => Outcome::Answered(answer),
            Some(Child::Pending { id, .. }) => Outcome::Pending(id),
            Some(Child::Refused { refusal, .. }) => Outcome::Refused(refusal),
            None => Outcome::Refused(Refusal::Internal),
        }
    }

    /// Keeps nobody waiting any more: those who wait get what is there.
    pub fn dismiss(&self) {
        self.0.status.drain();
        self.0.dismissed.cancel();
    }
}
