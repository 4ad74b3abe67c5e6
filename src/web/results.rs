//! GET /results/{id}: answers from the output bucket, so that they outlive the web process.

use super::Web;
use super::batch::{Batch, Child};
use super::routes::Reply;
use crate::edge;
use bellows_core::key::{self, RequestId};

impl Web {
    /// The stored answer of an image or a batch, `Reply::Unknown` where there is no such id.
    pub(super) async fn result(&self, id: RequestId) -> Reply {
        if let Some(answer) = self.stored(id).await {
            return Reply::One(Child::Answered(Box::new(answer)));
        }
        let found = async {
            if let Some(batch) = self.batch(id).await? {
                return Ok(self.children(id, batch).await);
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

    async fn children(&self, id: RequestId, batch: Batch) -> Reply {
        let mut children = Vec::with_capacity(batch.children.len());
        for child in batch.children {
            children.push(match self.stored(child.request_id).await {
                Some(answer) => Child::Answered(Box::new(answer)),
                None => Child::Pending { id: child.request_id, file: child.file },
            });
        }
        Reply::Several { batch: id, children }
    }

    /// The name under which an image was accepted that may still get its answer.
    async fn accepted_name(&self, id: RequestId) -> edge::Result<Option<String>> {
        let edges = &self.0.edges;
        let found = edges.input.list(&key::input_prefix(id), None, 1).await?;
        let now = edges.host.clock.now();
        let young = found.into_iter().find(|meta| now.since(meta.modified) < self.0.settings.request_ttl);
        Ok(young.map(|meta| meta.key.rsplit('/').next().unwrap_or_default().to_owned()))
    }
}
