//! What the leader sees: the fleet and the queues. A call that failed says nothing; it is never an empty answer.

use super::Context;
use super::lead::Lead;
use crate::edge;
use crate::edge::queue::Depth;
use crate::metrics::{self, LaunchFailure, Queue as Name};
use bellows_core::control::{Intent, Settlement};
use bellows_core::ledger::Happened;
use bellows_core::pool::{Ended, Instance, Life};
use bellows_core::scale::Counters;

/// What the queues held when they were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Depths {
    pub requests: Option<Depth>,
    pub terminate_requests: u64,
    pub dead: u64,
}

impl Context {
    /// Reads how deep the queues are, for the metrics, for readiness, and to know whether there are dead letters.
    pub(super) async fn read_depths(&self) -> Depths {
        let edges = &self.edges;
        let mut depths = Depths::default();
        let queues = [
            (Name::Request, &edges.requests),
            (Name::Response, &edges.responses),
            (Name::TerminateRequest, &edges.terminate_requests),
            (Name::TerminateConfirm, &edges.notices),
            (Name::Dead, &edges.dead),
        ];
        for (name, queue) in queues {
            let depth = match queue.depth().await {
                Ok(depth) => depth,
                Err(e) => {
                    tracing::warn!(queue = ?name, error = %e, "a queue's depth cannot be read");
                    continue;
                }
            };
            let Depth { visible, in_flight, delayed } = depth;
            self.metrics.set_queue_depth(name, metrics::Depth { visible, in_flight, delayed });
            match name {
                Name::Request => {
                    self.status.queue_was_read();
                    depths.requests = Some(depth);
                }
                Name::TerminateRequest => depths.terminate_requests = visible,
                Name::Dead => depths.dead = visible,
                _ => {}
            }
        }
        depths
    }
}

impl Lead {
    pub(super) async fn read_queues(&mut self) {
        let started = self.cx.now();
        let depths = self.cx.read_depths().await;
        if let Some(depth) = depths.requests {
            let Depth { visible, in_flight, delayed } = depth;
            self.counters = Some((Counters { visible, in_flight, delayed }, started));
            if depth == Depth::default() {
                // as the queue was this long ago, at the latest
                let counted = started.checked_sub(self.cx.settings.policy.counter_lag);
                if let Some(counted) = counted {
                    self.cx.status.queue_was_empty(self.cx.started + counted);
                }
            }
            self.note_backlog(visible.saturating_add(in_flight).saturating_add(delayed));
        }
        self.requests.counted(depths.terminate_requests);
        if depths.dead > 0 {
            self.cx.answer_dead_letters().await;
        }
    }

    /// Lists the fleet, and learns who is gone and what became of launches.
    pub(super) async fn list(&mut self) {
        let started = self.cx.now();
        let listed = match self.cx.edges.fleet.list().await {
            Ok(listed) => listed,
            Err(e) => return self.unlisted(&e),
        };
        self.list_failed = false;
        let now = self.cx.now();
        for ended in self.roster.listed(&listed, started, now) {
            self.ended(&ended);
        }
        let open: Vec<Intent> = self.leader.control().intents_unsettled().cloned().collect();
        for intent in open {
            if let Some(settlement) = self.settled(&intent, &listed) {
                self.leader.settle(intent.token, &settlement, &mut self.roster, now);
                self.unsure.remove(&intent.token);
            }
        }
    }

    fn unlisted(&mut self, e: &edge::Error) {
        self.list_failed = true;
        tracing::warn!(error = %e, "the pool cannot be listed: nothing is launched or ended on its account");
    }

    /// What a list says of a launch. Where lists are exact a launch of ours is carried out in its own round, and one of
    /// a predecessor never more.
    fn settled(&self, intent: &Intent, listed: &[Instance]) -> Option<Settlement> {
        if !self.cx.settings.unlisted_grace.is_zero() {
            return Settlement::from_list(intent.token, listed);
        }
        (intent.epoch < self.leader.epoch()).then(|| Settlement::from_exact_list(intent, listed))
    }

    fn ended(&mut self, ended: &Ended) {
        self.meter.gone(&ended.instance_id);
        let instance_id = ended.instance_id.clone();
        match ended.life {
            Life::Booting if !ended.registered => {
                // it would fail again at once
                self.failed_launch(LaunchFailure::NeverReady);
                let detail = format!("instance {} ended before it was ready", instance_id.0);
                self.happened(Happened::LaunchFailed { detail });
            }
            Life::Booting | Life::Ready => self.happened(Happened::Gone { instance_id }),
            Life::Retiring | Life::Terminating | Life::Gone => {}
        }
    }

    /// The next launch waits.
    pub(super) fn failed_launch(&mut self, code: LaunchFailure) {
        self.cx.metrics.launch_failed(code);
        let now = self.cx.now();
        self.not_before = now + self.backoff.failed(now);
    }
}
