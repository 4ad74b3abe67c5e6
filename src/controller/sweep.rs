//! Once an hour, or as often as objects come of age: what waited too long without an answer gets one, and what was kept long enough goes.

use super::{Context, Retention};
use crate::edge::bucket::{Bucket, Meta};
use crate::edge::{self};
use crate::metrics::Loop;
use bellows_core::answer::{Answer, Reason};
use bellows_core::key::{self, RequestId};
use bytes::Bytes;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest pause between two sweeps.
const EVERY: Duration = Duration::from_hours(1);
/// The first sweep comes when the start is over.
const FIRST: Duration = Duration::from_mins(1);
/// Objects of one listing.
const PAGE: usize = 10_000;
/// After so many deletions others have their turn at the disk.
const STEP: u64 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// An object that comes of age during a sweep is met by the next one.
const OVERLAP: Duration = Duration::from_hours(1);

impl Context {
    /// Runs until `stop`; sweeps while this process leads.
    pub(super) async fn sweep_on(&self, stop: &CancellationToken) {
        let (mut pause, mut last) = (FIRST, None);
        while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
            pause = every(self.settings.retention);
            self.metrics.loop_tick(Loop::Sweep);
            if !self.status.pool().leads {
                last = None;
                continue;
            }
            let began = self.now();
            // beyond this age an earlier sweep of ours has been here
            let seen = last.map(|at| self.settings.retention.request_ttl + began.saturating_sub(at) + OVERLAP);
            match self.sweep(seen).await {
                Ok((expired, deleted)) => {
                    last = Some(began);
                    tracing::info!(sweep.expired = expired, sweep.deleted = deleted, "swept");
                }
                Err(e) => tracing::warn!(error = %e, "the sweep was not finished: the next one goes on"),
            }
        }
        self.metrics.loop_ended(Loop::Sweep);
    }

    /// One sweep: how many requests were answered `expired`, and how many objects deleted. Inputs older than `seen` were
    /// looked at before.
    async fn sweep(&self, seen: Option<Duration>) -> edge::Result<(u64, u64)> {
        let (retention, now) = (self.settings.retention, self.edges.host.clock.now());
        let (mut expired, mut deleted) = (0, 0);
        let mut inputs = Pages::of(&self.edges.input);
        while let Some(page) = inputs.next().await? {
            for meta in page {
                let age = now.since(meta.modified);
                if retention.objects.is_some_and(|(inputs, _)| age > inputs) {
                    self.edges.input.delete(&meta.key).await?;
                    deleted = stepped(deleted).await;
                } else if age > retention.request_ttl && seen.is_none_or(|seen| age <= seen) {
                    expired += u64::from(self.expire(&meta.key).await?);
                }
            }
        }
        let Some((_, results)) = retention.objects else { return Ok((expired, deleted)) };
        let mut outputs = Pages::of(&self.edges.output);
        while let Some(page) = outputs.next().await? {
            for meta in page.iter().filter(|meta| meta.key != key::CONTROL && now.since(meta.modified) > results) {
                self.edges.output.delete(&meta.key).await?;
                deleted = stepped(deleted).await;
            }
        }
        Ok((expired, deleted))
    }

    /// Answers `expired` where an input has no result. Inputs that are not ours by name are left alone.
    async fn expire(&self, input: &str) -> edge::Result<bool> {
        let Some((Ok(id), name)) = input.split_once('/').map(|(id, name)| (id.parse::<RequestId>(), name)) else {
            return Ok(false);
        };
        let result = key::result(id);
        if self.edges.output.get(&result).await?.is_some() {
            return Ok(false);
        }
        let why = "the request waited longer than it may; send the image again";
        let answer = Answer::failed(Reason::Expired, why, id, name);
        let body = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
        self.edges.output.put_if_absent(&result, body).await?;
        Ok(true)
    }
}

/// An hour, or less where objects are kept for less: a folder holds at most twice what it is told to keep.
fn every(retention: Retention) -> Duration {
    let kept = retention.objects.map_or(EVERY, |(inputs, results)| inputs.min(results));
    kept.clamp(FIRST, EVERY)
}

/// Counts a deletion, and rests where it was the last of a step: uploads wait for the same disk.
async fn stepped(deleted: u64) -> u64 {
    let deleted = deleted + 1;
    if deleted.is_multiple_of(STEP) {
        tokio::time::sleep(PAUSE).await;
    }
    deleted
}

/// All objects of a bucket, page by page.
struct Pages<'a> {
    bucket: &'a Bucket,
    after: Option<String>,
    over: bool,
}

impl Pages<'_> {
    fn of(bucket: &Bucket) -> Pages<'_> {
        Pages { bucket, after: None, over: false }
    }

    async fn next(&mut self) -> edge::Result<Option<Vec<Meta>>> {
        if self.over {
            return Ok(None);
        }
        let page = self.bucket.list("", self.after.as_deref(), PAGE).await?;
        self.after = page.last().map(|meta| meta.key.clone());
        self.over = page.len() < PAGE;
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_less_than_an_hour_is_swept_more_often() {
        let keeping = |inputs, results| {
            let objects = Some((Duration::from_mins(inputs), Duration::from_mins(results)));
            every(Retention { request_ttl: Duration::from_mins(1), objects })
        };
        assert_eq!(keeping(60 * 24, 60 * 48), EVERY);
        assert_eq!(keeping(10, 60 * 48), Duration::from_mins(10));
        assert_eq!(keeping(60, 5), Duration::from_mins(5));
        assert_eq!(keeping(0, 0), FIRST, "not without a pause");
        assert_eq!(every(Retention { request_ttl: Duration::ZERO, objects: None }), EVERY);
    }
}
