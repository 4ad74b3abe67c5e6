//! GET /results/{id}: answers from the output bucket, so that they outlive the web process.

use super::batch::{Batch, BatchChild, Child};
use super::reply::Reply;
use super::{Refusal, Web};
use crate::edge;
use bellows_core::answer::Answer;
use bellows_core::key::{self, RequestId};
use futures_util::future::join_all;
use percent_encoding::percent_decode_str;

impl Web {
    /// The stored answer of an image or a batch, `Reply::Unknown` where there is no such id.
    pub(super) async fn result(&self, id: RequestId) -> Reply {
        if let Some(answer) = self.stored(id).await {
            self.0.status.answer_was_seen(id);
            return Reply::One(Child::Answered(Box::new(answer)));
        }
        let found = async {
            if let Some(batch) = self.batch(id).await? {
                return self.children(id, batch).await;
            }
            Ok::<_, edge::Error>(match self.accepted_name(id).await? {
                Some(file) => Reply::One(Child::Pending { id, file }),
                None => Reply::Unknown,
            })
        };
        found.await.unwrap_or_else(|e| {
            tracing::warn!(request_id = %id, error = %e, "a result cannot be looked up");
            Reply::Unavailable
        })
    }

    async fn children(&self, id: RequestId, batch: Batch) -> edge::Result<Reply> {
        let children = join_all(batch.children.into_iter().map(|child| self.stored_child(child))).await;
        Ok(Reply::Several { batch: id, children: children.into_iter().collect::<edge::Result<_>>()? })
    }

    /// What is known of one image of a batch.
    async fn stored_child(&self, BatchChild { request_id: id, file, refused }: BatchChild) -> edge::Result<Child> {
        if let Some(failed) = refused {
            return Ok(Child::Answered(Box::new(Answer::Failed(failed))));
        }
        if let Some(answer) = self.stored(id).await {
            return Ok(Child::Answered(Box::new(answer)));
        }
        // children are sent before anybody learns the batch's id: one that is not there was not accepted
        Ok(match self.accepted_name(id).await? {
            Some(_) => Child::Pending { id, file },
            None => Child::Refused { id, file, refusal: Refusal::NotFound },
        })
    }

    /// The name under which an image was accepted that may still get its answer.
    async fn accepted_name(&self, id: RequestId) -> edge::Result<Option<String>> {
        let edges = &self.0.edges;
        let found = edges.input.list(&key::input_prefix(id), None, 1).await?;
        let now = edges.host.clock.now();
        let young = found.into_iter().find(|meta| now.since(meta.modified) < self.0.settings.request_ttl);
        let name = young.map(|meta| meta.key.rsplit('/').next().unwrap_or_default().to_owned());
        // the key's name is the client's, encoded and perhaps cut: good enough to know it by
        Ok(name.map(|name| percent_decode_str(&name).decode_utf8_lossy().into_owned()))
    }
}
