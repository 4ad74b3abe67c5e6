//! Acting on a decision: take terminate requests back, launch, ask to retire, end. Each effect counts what was really
//! done, and wants a permit: pause, dry run and a lapsed lease stop them all alike.

use super::lead::Lead;
use crate::edge::queue::Delivery;
use crate::edge::{Error, Kind};
use crate::metrics::{Action, LaunchFailure, Queue as Name};
use bellows_core::control::{Intent, MAX_IDS, Permit, Settlement};
use bellows_core::ledger::Happened;
use bellows_core::message::{self, Nonce, TerminateRequest};
use bellows_core::pool::{Backoff, Deadlines, InstanceId, LaunchToken};
use bellows_core::retire::{Cancel, Met};
use bellows_core::scale::{Actions, Decision};
use futures_util::future::join_all;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const OTHER_VERSION_DELAY: Duration = Duration::from_mins(15);

impl Lead {
    fn permit(&self) -> Option<Permit> {
        self.leader.permit(self.cx.settings.dry_run, self.cx.now()).ok()
    }

    /// Cancels first, then notes what is to be launched in the place of what could not be taken back; or asks workers to
    /// retire. Nothing is launched yet.
    pub(super) async fn act(&mut self, decision: &Decision) -> Actions {
        let mut done = Actions::default();
        let Some(permit) = self.permit() else { return done };
        if decision.act.cancel > 0 {
            let cancel = self.requests.cancel(&permit, decision.act.cancel, self.cx.now());
            done.cancel = self.run(cancel).await;
            self.cx.metrics.scaled(Action::Cancel, u64::from(done.cancel));
        }
        done.request = self.ask(&permit, decision.act.request).await;
        for ids in decision.launch_after(done.cancel).chunks(MAX_IDS) {
            let spec = match self.cx.edges.fleet.plan(ids, self.leader.epoch()).await {
                Ok(spec) => spec,
                Err(e) => {
                    self.refused_launch(&e, false);
                    break;
                }
            };
            let token = LaunchToken(self.cx.edges.host.entropy.uuid());
            if let Err(e) = self.leader.intend(&permit, token, ids, spec) {
                tracing::error!(error = %e, "a launch that was decided cannot be intended");
            }
        }
        done
    }

    /// Clears void terminate requests away. Allowed while paused: it ends nothing that works.
    pub(super) async fn sweep_requests(&mut self) {
        self.run(Cancel::sweep()).await;
    }

    /// One run through terminate_request_queue: how many requests were really taken back.
    async fn run(&mut self, mut cancel: Cancel) -> u32 {
        let (never, queue) = (CancellationToken::new(), self.cx.edges.terminate_requests.clone());
        while let Some(most) = cancel.ask() {
            let ours_until = self.cx.now().saturating_add(self.cx.settings.visibility);
            let received = queue.receive(most as usize, self.cx.settings.cancel_wait, &never).await;
            let received = received.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "terminate requests cannot be read");
                Vec::new()
            });
            let bodies: Vec<_> = received.iter().map(|d| message::parse::<TerminateRequest>(&d.body)).collect();
            let wall = self.cx.edges.host.clock.now();
            let met = cancel.met(&mut self.requests, &bodies, self.cx.now(), wall);
            for (delivery, met) in received.iter().zip(met) {
                let succeeded = self.settle_request(delivery, met).await;
                if let Met::TakeBack(nonce) = met {
                    // SQS says that it deleted what somebody else has meanwhile, and does not
                    let succeeded = succeeded && self.cx.now() < ours_until;
                    cancel.deleted(&mut self.requests, nonce, succeeded, self.cx.now());
                }
            }
        }
        cancel.count()
    }

    async fn settle_request(&self, delivery: &Delivery, met: Met) -> bool {
        let queue = &self.cx.edges.terminate_requests;
        let settled = match met {
            Met::TakeBack(_) | Met::DeleteVoid => queue.delete(&delivery.receipt).await,
            Met::DeleteUnreadable => {
                self.cx.metrics.queue_unreadable(Name::TerminateRequest);
                queue.delete(&delivery.receipt).await
            }
            Met::GiveBack => return queue.give_back(&delivery.receipt, Duration::ZERO).await.is_ok(),
            Met::GiveBackLong => return queue.give_back(&delivery.receipt, OTHER_VERSION_DELAY).await.is_ok(),
        };
        match settled {
            Ok(()) => self.cx.metrics.queue_deleted(Name::TerminateRequest, 1),
            Err(ref e) => tracing::warn!(error = %e, "a terminate request was not deleted"),
        }
        settled.is_ok()
    }

    /// Asks so many workers to retire: how many requests were sent.
    async fn ask(&mut self, permit: &Permit, count: u32) -> u32 {
        let host = &self.cx.edges.host;
        let nonces: Vec<Nonce> = (0..count).map(|_| Nonce(host.entropy.uuid())).collect();
        let issued = self.requests.issue(permit, &nonces, self.cx.now(), host.clock.now());
        let queue = &self.cx.edges.terminate_requests;
        let sending = issued.iter().map(|request| async move {
            // a few numbers fit into a message
            queue.send(message::encode(request).unwrap_or_default()).await
        });
        let mut sent = 0;
        for (request, outcome) in issued.iter().zip(join_all(sending).await) {
            match outcome {
                Ok(()) => sent += 1,
                Err(e) => {
                    tracing::warn!(error = %e, "a terminate request was not sent");
                    // one that may be out stays counted until it expires
                    if !matches!(e.kind, Kind::Timeout | Kind::Unavailable) {
                        self.requests.unsent(request.nonce);
                    }
                }
            }
        }
        self.cx.metrics.queue_sent(Name::TerminateRequest, u64::from(sent));
        self.cx.metrics.scaled(Action::Request, u64::from(sent));
        sent
    }

    /// Launches what is written down and not settled: how many instances came of it.
    pub(super) async fn launch(&mut self) -> u32 {
        let Some(permit) = self.permit() else { return 0 };
        if self.cx.now() < self.not_before {
            return 0;
        }
        let open: Vec<Intent> = self.leader.launches(&permit, self.cx.now()).into_iter().cloned().collect();
        let mut launched = 0;
        for intent in open {
            if permit.holds(self.cx.now()) {
                launched += self.launch_one(&intent).await;
            }
        }
        self.cx.metrics.scaled(Action::Launch, u64::from(launched));
        launched
    }

    async fn launch_one(&mut self, intent: &Intent) -> u32 {
        // an earlier call, ours or a predecessor's, may have launched it
        let again = intent.epoch < self.leader.epoch() || self.unsure.contains(&intent.token);
        let outcome = self.cx.edges.fleet.launch(intent).await;
        let settlement = match &outcome {
            Ok(named) => Settlement::Answered(named.clone()),
            Err(e) if is_no_answer(e.kind, again) => {
                self.unsure.insert(intent.token);
                self.failed_launch(LaunchFailure::Timeout);
                tracing::warn!(error = %e, "a launch may have happened: it is repeated unchanged");
                return 0;
            }
            // it would have been answered with what it launched before
            Err(e) if !again || e.kind == Kind::Full => Settlement::Answered(Vec::new()),
            // a refusal of this call says nothing of the one before: a list has the time of grace to show what that did
            Err(_) => Settlement::Listed(Vec::new()),
        };
        self.unsure.remove(&intent.token);
        self.leader.settle(intent.token, &settlement, &mut self.roster, self.cx.now());
        match outcome {
            Ok(named) => named.len() as u32,
            Err(e) => {
                self.refused_launch(&e, e.kind == Kind::Full && intent.spec.names_place());
                0
            }
        }
    }

    /// A launch, or the plan for one, was refused: the next one waits, but hardly where it may go elsewhere.
    fn refused_launch(&mut self, e: &Error, elsewhere: bool) {
        let waited = self.not_before;
        self.failed_launch(e.code.as_deref().map_or(LaunchFailure::Spawn, LaunchFailure::of_code));
        if elsewhere {
            self.not_before = waited.max(self.cx.now() + Backoff::elsewhere());
        }
        self.happened(Happened::LaunchFailed { detail: e.to_string() });
    }

    /// Ends whoever has confirmed, never became ready, or is hung.
    pub(super) async fn end(&mut self) {
        let Some(permit) = self.permit() else { return };
        let deadlines = Deadlines::new(self.meter.boot_p90(), self.leader.control().report_every());
        let due = self.roster.ends(&permit, deadlines, self.cx.now());
        if due.is_empty() {
            return;
        }
        let ids: Vec<InstanceId> = due.iter().map(|(id, _)| id.clone()).collect();
        if let Err(e) = self.cx.edges.fleet.terminate(&ids).await {
            return tracing::warn!(error = %e, "instances were not ended: it is tried again");
        }
        self.cx.metrics.scaled(Action::Terminate, ids.len() as u64);
        for (instance_id, cause) in due {
            self.roster.asked(&instance_id, self.cx.now());
            self.happened(Happened::Ended { instance_id, cause });
        }
    }
}

/// Whether a failed call leaves open what became of a launch; `again`: it was called before, with an outcome that is not
/// known, and a call that was not let in says nothing of that.
fn is_no_answer(kind: Kind, again: bool) -> bool {
    kind == Kind::Timeout || again && matches!(kind, Kind::Throttled | Kind::Unavailable)
}
