//! The controller: one actor that sees the queues and the fleet, keeps the pool at its size, hears the workers'
//! reports and answers dead letters.

mod dead_letters;
mod notices;

use crate::edge::bucket::Bucket;
use crate::edge::fleet::Fleet;
use crate::edge::host::Host;
use crate::edge::queue::{self, Queue};
use crate::metrics::{self, Action, LaunchFailure, Loop, Metrics};
use crate::status::{Member, Pool, Status};
use bellows_core::pool::{AppTierId, Backoff, Instance, InstanceId, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// What the controller reaches of the world.
#[derive(Clone, Debug)]
pub struct Edges {
    pub requests: Queue,
    pub responses: Queue,
    pub terminate_requests: Queue,
    pub notices: Queue,
    pub dead: Queue,
    pub output: Bucket,
    pub fleet: Fleet,
    pub host: Host,
}

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub max_instances: u32,
    pub tick: Duration,
}

struct Controller {
    edges: Edges,
    settings: Settings,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    /// Who has said that its engine is warm.
    ready: BTreeSet<InstanceId>,
    backoff: Backoff,
    /// No launch before this.
    not_before: Instant,
}

/// Runs until `stop`, then lets every instance finish what it holds and end, and waits for that, at most `finish`.
pub async fn run(
    edges: Edges,
    settings: Settings,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    stop: CancellationToken,
    finish: Duration,
) {
    let changed = edges.fleet.changed();
    let mut ticks = tokio::time::interval(settings.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (ready, backoff, not_before) = (BTreeSet::new(), Backoff::default(), Instant::now());
    let mut controller = Controller { edges, settings, metrics, status, ready, backoff, not_before };
    loop {
        let until_launch = controller.not_before;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = changed.notified() => {}
            _ = ticks.tick() => {}
            () = tokio::time::sleep_until(until_launch), if until_launch > Instant::now() => {}
        }
        controller.metrics.loop_tick(Loop::Controller);
        controller.round().await;
    }
    controller.end_all(finish).await;
}

impl Controller {
    /// One round: observe, decide, act.
    async fn round(&mut self) {
        self.read_depths().await;
        self.read_notices().await;
        match self.edges.fleet.list().await {
            Ok(listed) => {
                self.keep_up(&listed).await;
                self.publish(&listed);
            }
            // an unread list is not an empty list: nothing is launched on its account
            Err(e) => tracing::warn!(error = %e, "the pool cannot be listed"),
        }
    }

    /// Reads how deep the queues are, for the metrics, for readiness, and to know whether there are dead letters.
    async fn read_depths(&mut self) {
        use metrics::Queue as Name;
        let edges = &self.edges;
        let queues = [
            (Name::Request, &edges.requests),
            (Name::Response, &edges.responses),
            (Name::TerminateRequest, &edges.terminate_requests),
            (Name::TerminateConfirm, &edges.notices),
            (Name::Dead, &edges.dead),
        ];
        let mut dead = 0;
        for (name, queue) in queues {
            match queue.depth().await {
                Ok(queue::Depth { visible, in_flight, delayed }) => {
                    self.metrics.set_queue_depth(name, metrics::Depth { visible, in_flight, delayed });
                    match name {
                        Name::Request => self.status.queue_was_read(),
                        Name::Dead => dead = visible,
                        _ => {}
                    }
                }
                Err(e) => tracing::warn!(queue = ?name, error = %e, "a queue's depth cannot be read"),
            }
        }
        if dead > 0 {
            self.answer_dead_letters().await;
        }
    }

    /// Launches what is missing from the fixed size.
    async fn keep_up(&mut self, listed: &[Instance]) {
        let gone: Vec<&Instance> = listed.iter().filter(|i| i.state == State::Terminated).collect();
        for instance in gone {
            // one that never got ready would fail again at once
            if !self.ready.remove(&instance.instance_id) {
                self.not_before = Instant::now() + self.backoff.failed();
            }
        }
        let live: BTreeSet<AppTierId> =
            listed.iter().filter(|i| i.state != State::Terminated).map(|i| i.app_tier_id).collect();
        let missing: Vec<AppTierId> =
            (1..=self.settings.max_instances).map(AppTierId).filter(|id| !live.contains(id)).collect();
        if missing.is_empty() || self.status.model_is_loading() || Instant::now() < self.not_before {
            return;
        }
        match self.edges.fleet.launch(&missing).await {
            Ok(launched) => {
                tracing::info!(pool.launched = launched.len(), pool.max = self.settings.max_instances, "launched");
                self.metrics.scaled(Action::Launch, launched.len() as u64);
            }
            Err(e) => {
                self.not_before = Instant::now() + self.backoff.failed();
                self.metrics.launch_failed(LaunchFailure::Spawn);
                tracing::error!(error = %e, "nothing was launched; it is tried again");
            }
        }
    }

    /// Shows the pool to everybody else in this process.
    fn publish(&self, listed: &[Instance]) {
        let live: Vec<&Instance> = listed.iter().filter(|i| i.state != State::Terminated).collect();
        let mut counts = metrics::Instances::default();
        for instance in &live {
            match instance.state {
                State::ShuttingDown | State::Terminated => counts.terminating += 1,
                State::Running if self.ready.contains(&instance.instance_id) => counts.running += 1,
                State::Running | State::Pending => counts.pending += 1,
            }
        }
        let max = self.settings.max_instances;
        self.metrics.set_pool(counts);
        self.metrics.set_pool_bounds(u64::from(max), u64::from(max));
        let members = live.iter().map(|i| Member::new(i, self.ready.contains(&i.instance_id))).collect();
        self.status.set_pool(Pool { max_instances: max, instances: members });
    }

    async fn end_all(&mut self, finish: Duration) {
        let all = async {
            loop {
                let listed = match self.edges.fleet.list().await {
                    Ok(listed) => listed,
                    Err(e) => return tracing::warn!(error = %e, "the pool cannot be listed"),
                };
                let live: Vec<InstanceId> =
                    listed.into_iter().filter(|i| i.state != State::Terminated).map(|i| i.instance_id).collect();
                if live.is_empty() {
                    return;
                }
                let _ = self.edges.fleet.terminate(&live).await;
                let changed = self.edges.fleet.changed();
                let _ = tokio::time::timeout(Duration::from_millis(100), changed.notified()).await;
            }
        };
        if tokio::time::timeout(finish, all).await.is_err() {
            tracing::warn!("some app processes have not ended; they finish by themselves");
        }
    }
}
