//! Becoming the leader, and staying it: the control object is written by compare-and-swap only, and a write whose
//! outcome is not known is settled by reading.

use super::Context;
use super::lead::Lead;
use crate::edge::bucket::Etag;
use crate::edge::host::WAKE;
use crate::edge::{self, Error, Kind};
use crate::metrics::Loop;
use bellows_core::control::{Claim, Control, Leader, Next, Standing, TTL, Watch, report_every};
use bellows_core::key;
use bellows_core::ledger::Happened;
use bytes::Bytes;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks at a control object that cannot be read or makes no sense.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Writes in a round: the second follows a conflict with somebody's pause.
const MOST_WRITES: u32 = 3;

impl Context {
    /// Waits until this process leads; none: it was stopped before.
    pub(super) async fn take_over(&self, stop: &CancellationToken) -> Option<Leader> {
        let mut watch = Watch::new(self.settings.owner.clone(), TTL);
        loop {
            if stop.is_cancelled() {
                return None;
            }
            self.metrics.loop_tick(Loop::Controller);
            let pause = match self.challenge(&mut watch).await {
                Ok(Some(leader)) => {
                    tracing::info!(pool.epoch = leader.epoch().0, "this process leads the pool");
                    return Some(leader);
                }
                Ok(None) => self.settings.tick,
                Err(e) => {
                    tracing::error!(error = %e, "nobody scales the pool: the lease cannot be taken");
                    PAUSE_AFTER_ERROR
                }
            };
            // a follower serves uploads, too, and is unready where its queue cannot be read
            let _ = self.read_depths().await;
            let _ = tokio::time::timeout(pause.min(WAKE), stop.cancelled()).await;
        }
    }

    /// One look at the lease, and an attempt to take it where it is free.
    async fn challenge(&self, watch: &mut Watch) -> edge::Result<Option<Leader>> {
        let found = self.read_control().await?;
        let now = self.now();
        let seen = found.as_ref().map(|(control, etag)| (control, etag.as_str()));
        if watch.saw(seen, self.settings.entitled, now) != Next::TakeOver {
            return Ok(None);
        }
        let claim = Claim::new(found, self.settings.owner.clone(), TTL, now, self.edges.host.clock.now());
        match self.write_control(claim.if_match(), claim.body()).await {
            Ok(etag) => Ok(Some(claim.won(etag.0))),
            Err(e) if happened_not(&e) => Err(e),
            Err(_) => Ok(claim.read_back(self.read_control().await?)),
        }
    }

    /// The control object with its etag; none where there is none. One that makes no sense is an error, and stays.
    async fn read_control(&self) -> edge::Result<Option<(Control, String)>> {
        let Some(object) = self.edges.output.get(key::CONTROL).await? else { return Ok(None) };
        let control = Control::parse(&object.bytes)
            .map_err(|e| Error::new(Kind::Invalid, "control.read", format!("{}: {e}", key::CONTROL)))?;
        Ok(Some((control, object.etag.0)))
    }

    async fn write_control(&self, if_match: Option<&str>, body: Vec<u8>) -> edge::Result<Etag> {
        let expected = if_match.map(|etag| Etag(etag.to_owned()));
        self.edges.output.compare_and_swap(key::CONTROL, expected.as_ref(), Bytes::from(body)).await
    }
}

/// Whether a failed write surely left no trace, and was not beaten by another one.
fn happened_not(e: &Error) -> bool {
    matches!(e.kind, Kind::Throttled | Kind::Denied | Kind::Invalid | Kind::NotFound | Kind::Full)
}

impl Lead {
    /// Looks whether somebody has set pause, or has taken over.
    pub(super) async fn look_at_lease(&mut self) -> Standing {
        match self.cx.read_control().await {
            Ok(found) => {
                let before = self.leader.control().pause.clone();
                let standing = self.leader.read(found);
                let pause = self.leader.control().pause.clone();
                match pause {
                    Some(pause) if before.is_none() => self.happened(Happened::Paused { by: pause.by }),
                    None if before.is_some() => self.happened(Happened::Resumed),
                    _ => {}
                }
                standing
            }
            Err(e) => {
                tracing::warn!(error = %e, "the control object cannot be read");
                Standing::Leading
            }
        }
    }

    /// Writes the control object where it is due.
    pub(super) async fn keep_lease(&mut self) -> Standing {
        self.leader.set_estimates(self.meter.estimates(self.cx.now()));
        let live = self.roster.members().count();
        let every = report_every(self.cx.settings.report_every, u32::try_from(live).unwrap_or(u32::MAX));
        self.leader.set_report_every(every);
        for _ in 0..MOST_WRITES {
            if self.leader.must_read() && self.look_at_lease().await == Standing::Lost {
                return Standing::Lost;
            }
            let now = self.cx.now();
            if !self.leader.must_write(now) {
                break;
            }
            let Some(attempt) = self.leader.write(now, self.cx.edges.host.clock.now()) else { break };
            match self.cx.write_control(Some(attempt.if_match()), attempt.body()).await {
                Ok(etag) => self.leader.wrote(attempt, etag.0),
                Err(e) => {
                    tracing::warn!(error = %e, "the control object was not written");
                    if happened_not(&e) { self.leader.refused(attempt) } else { self.leader.unsure(attempt) }
                }
            }
        }
        Standing::Leading
    }
}
