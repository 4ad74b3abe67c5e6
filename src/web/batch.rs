//! Uploads of several images: one id over all of them, and answers in the order sent.

use super::access::Caller;
use super::submit::{Image, Ticket, Waited};
use super::{Refusal, Web};
use crate::edge;
use crate::status::Entering;
use bellows_core::answer::{Answer, Failed};
use bellows_core::image;
use bellows_core::key::{self, RequestId};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// One image of an upload, accepted or not.
#[derive(Debug)]
pub(super) struct Submitted {
    id: RequestId,
    file: String,
    ticket: Result<Ticket, Refusal>,
}

/// What became of one image of an upload.
#[derive(Debug)]
pub(super) enum Child {
    Answered(Box<Answer>),
    /// Accepted, and no answer yet.
    Pending {
        id: RequestId,
        file: String,
    },
    /// Not accepted.
    Refused {
        id: RequestId,
        file: String,
        refusal: Refusal,
    },
}

/// Contents of `batches/<batch_id>.json`: the children in the order sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) children: Vec<BatchChild>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BatchChild {
    pub(super) request_id: RequestId,
    pub(super) file: String,
    /// The answer to a child that was refused before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Failed>,
}

/// An image with its id, on its way in unless it is refused.
struct Judged {
    id: RequestId,
    entering: Result<Entering, Refusal>,
    image: Image,
}

fn not_read(image: &Image) -> Option<Refusal> {
    image::sniff(&image.bytes).refused().map(|(reason, message)| Refusal::NotRead(reason, message))
}

impl Web {
    /// Submits all images of an upload at once, several of them under a batch id; none where the backlog has filled
    /// while it was read. What is no image is neither stored nor sent. `client_id`: how the client knows this upload.
    pub(super) async fn submit_all(
        &self,
        images: Vec<Image>,
        caller: &Caller,
        client_id: &str,
    ) -> Result<(Option<RequestId>, Vec<Submitted>), Refusal> {
        let images: Vec<_> = images.into_iter().map(|image| (not_read(&image), image)).collect();
        // how many there are is known only now
        let readable = images.iter().filter(|(refusal, _)| refusal.is_none()).count();
        self.has_room(readable)?;
        let mut shares = self.shares(caller, readable)?.into_iter();
        let judge = |(refusal, image): (Option<Refusal>, Image)| {
            let id = self.new_id();
            let mut enter = || self.0.status.entering(id, shares.next().flatten());
            let entering = refusal.map_or_else(|| Ok(enter()), Err);
            Judged { id, entering, image }
        };
        let judged: Vec<Judged> = images.into_iter().map(judge).collect();
        let batch = if judged.len() > 1 { Some(self.record(&judged).await?) } else { None };
        let submits = judged.into_iter().map(|Judged { id, entering, image }| async move {
            let file = image.file.clone();
            let ticket = match entering {
                Err(refusal) => Err(refusal),
                Ok(entering) => self.submit(id, entering, image, client_id).await,
            };
            Submitted { id, file, ticket }
        });
        Ok((batch, join_all(submits).await))
    }

    /// Waits until `until` for the answers, not at all where that is none; in the order sent.
    pub(super) async fn wait_all(&self, submitted: Vec<Submitted>, until: Option<Instant>) -> Vec<Child> {
        join_all(submitted.into_iter().map(|one| self.child(one, until))).await
    }

    /// Writes the batch object, before any child is sent.
    async fn record(&self, judged: &[Judged]) -> Result<RequestId, Refusal> {
        let id = self.new_id();
        let children = judged.iter().map(|Judged { id, entering, image }| BatchChild {
            request_id: *id,
            file: image.file.clone(),
            refused: entering.as_ref().err().map(|refusal| refusal.failed(*id, &image.file)),
        });
        let body = Bytes::from(serde_json::to_vec(&Batch { children: children.collect() }).unwrap_or_default());
        let edges = &self.0.edges;
        let name = key::batch(id);
        edge::retry(&edges.host, || edges.output.put(&name, body.clone())).await.map_err(|e| {
            tracing::warn!(error = %e, "a batch was not recorded");
            if e.kind == edge::Kind::Full { Refusal::DiskLow } else { Refusal::StorageUnavailable }
        })?;
        Ok(id)
    }

    async fn child(&self, Submitted { id, file, ticket }: Submitted, until: Option<Instant>) -> Child {
        match (ticket, until) {
            (Err(refusal), _) => Child::Refused { id, file, refusal },
            (Ok(_), None) => Child::Pending { id, file },
            (Ok(ticket), Some(until)) => match self.wait(ticket, until).await {
                Waited::Answer(answer) => Child::Answered(answer),
                Waited::Pending(id) => Child::Pending { id, file },
            },
        }
    }

    /// The batch of this id, if it is one.
    pub(super) async fn batch(&self, id: RequestId) -> Result<Option<Batch>, edge::Error> {
        let object = self.0.edges.output.get(&key::batch(id)).await?;
        Ok(object.and_then(|object| serde_json::from_slice(&object.bytes).ok()))
    }
}
