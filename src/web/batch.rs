//! Uploads of several images: one id over all of them, and answers in the order sent.

use super::submit::{Image, Ticket, Waited};
use super::{Refusal, Web};
use crate::edge;
use bellows_core::answer::Answer;
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
}

impl Web {
    /// Submits all images of an upload at once, several of them under a batch id.
    pub(super) async fn submit_all(&self, images: Vec<Image>) -> Result<(Option<RequestId>, Vec<Submitted>), Refusal> {
        let named: Vec<(RequestId, Image)> = images.into_iter().map(|image| (self.new_id(), image)).collect();
        let batch = if named.len() > 1 { Some(self.record(&named).await?) } else { None };
        let submits = named.into_iter().map(|(id, image)| async move {
            let file = image.file.clone();
            Submitted { id, file, ticket: self.submit(id, image).await }
        });
        Ok((batch, join_all(submits).await))
    }

    /// Waits until `until` for the answers, in the order sent.
    pub(super) async fn wait_all(&self, submitted: Vec<Submitted>, until: Instant) -> Vec<Child> {
        join_all(submitted.into_iter().map(|one| self.child(one, until))).await
    }

    /// Writes the batch object, before any child is sent.
    async fn record(&self, named: &[(RequestId, Image)]) -> Result<RequestId, Refusal> {
        let id = self.new_id();
        let children =
            named.iter().map(|(request_id, image)| BatchChild { request_id: *request_id, file: image.file.clone() });
        let body = Bytes::from(serde_json::to_vec(&Batch { children: children.collect() }).unwrap_or_default());
        let edges = &self.0.edges;
        let name = key::batch(id);
        edge::retry(&edges.host, || edges.output.put(&name, body.clone())).await.map_err(|e| {
            tracing::warn!(error = %e, "a batch was not recorded");
            if e.kind == edge::Kind::Full { Refusal::DiskLow } else { Refusal::StorageUnavailable }
        })?;
        Ok(id)
    }

    async fn child(&self, Submitted { id, file, ticket }: Submitted, until: Instant) -> Child {
        match ticket {
            Err(refusal) => Child::Refused { id, file, refusal },
            Ok(ticket) => match self.wait(ticket, until).await {
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
