//! Looks for terminate requests beside the work, holds the one that was taken, and carries out what the worker's state
//! machine orders about it.

use super::App;
use super::lease::extend;
use crate::edge::Kind;
use crate::edge::host::WAKE;
use crate::edge::queue::Delivery;
use crate::edge::{self};
use bellows_core::control::Control;
use bellows_core::key;
use bellows_core::message::{self, Confirm, Notice, Parsed, TerminateRequest, VERSION};
use bellows_core::retire::{Looks, Unrenewed, Verdict, judge};
use bellows_core::worker::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// SQS's short poll asks only some of its servers: a look waits.
const WAIT: Duration = Duration::from_secs(1);
/// After a confirmation that could not be sent, and after a look that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often the control object is read only to see that somebody leads.
const LEADER_EVERY: Duration = Duration::from_mins(1);
const OTHER_VERSION_DELAY: Duration = Duration::from_mins(15);

/// What the worker wants done about the request in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    JudgeAgain,
    Confirm,
    Delete,
    GiveBack,
    /// It is somebody else's: nothing more is to be done about it.
    Forget,
}

/// The looking task.
pub(super) struct Looking {
    pub(super) app: App,
    /// Whether the worker would take a request now.
    pub(super) wanted: Arc<AtomicBool>,
    /// A receive of work was empty.
    pub(super) empty: Arc<Notify>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) orders: mpsc::Receiver<Order>,
}

/// The other side is gone: the process ends.
struct Over;

impl Looking {
    /// Runs until the intake ends.
    pub(super) async fn run(mut self) {
        let _ = self.look_on().await;
    }

    async fn look_on(&mut self) -> Result<(), Over> {
        let mut looks = Looks::new(self.app.settings.report_every, self.app.now());
        let mut leader = Unrenewed::new(self.app.now());
        let mut leader_due = Duration::ZERO;
        loop {
            let due = looks.due().saturating_sub(self.app.now());
            tokio::select! {
                biased;
                () = self.events.closed() => return Err(Over),
                () = self.empty.notified() => looks.empty_receive(self.app.now()),
                () = tokio::time::sleep(due.min(WAKE)) => if due > WAKE {
                    continue;
                },
            }
            looks.looked(self.app.now());
            if self.wanted.load(Ordering::Relaxed) {
                self.look().await?;
            }
            if self.app.now() >= leader_due {
                leader_due = self.app.now() + LEADER_EVERY;
                self.see_leader(&mut leader).await?;
                looks.follow(self.app.report_every(), self.app.now());
            }
        }
    }

    /// Takes in how often to report, and tells the worker when nobody has led the pool for long: a control object that
    /// was never to be read is no renewed one.
    async fn see_leader(&self, leader: &mut Unrenewed) -> Result<(), Over> {
        let now = self.app.now();
        if let Some(control) = self.app.control().await {
            leader.saw(&control, now);
            if control.report_every_ms > 0 {
                self.app.report_every_ms.store(control.report_every_ms, Ordering::Relaxed);
            }
        }
        if leader.ends(now) {
            tracing::warn!("nobody has led this pool for long: an instance without work ends");
            return self.tell(Event::Abandoned).await;
        }
        Ok(())
    }

    /// One look at the queue.
    async fn look(&mut self) -> Result<(), Over> {
        let queue = self.app.edges.terminate_requests.clone();
        let received = match queue.receive(1, WAIT, &self.app.edges.host.stop).await {
            Ok(received) => received,
            Err(e) => {
                tracing::warn!(error = %e, "terminate requests cannot be read");
                let stopped: &CancellationToken = &self.app.edges.host.stop;
                let _ = tokio::time::timeout(PAUSE_AFTER_ERROR, stopped.cancelled()).await;
                return Ok(());
            }
        };
        for delivery in received {
            match message::parse::<TerminateRequest>(&delivery.body) {
                Parsed::Ok(request) => self.keep(&request, &delivery).await?,
                Parsed::OtherVersion(_) => self.give_back(&delivery, OTHER_VERSION_DELAY).await,
                Parsed::Unreadable(reason) => {
                    tracing::warn!(reason, "an unreadable terminate request is deleted");
                    self.delete(&delivery).await;
                }
            }
        }
        Ok(())
    }

    /// Holds a request until the worker orders its end.
    async fn keep(&mut self, request: &TerminateRequest, delivery: &Delivery) -> Result<(), Over> {
        let verdict = self.judge(request).await;
        if self.tell(Event::Asked(verdict)).await.is_err() {
            self.give_back(delivery, Duration::ZERO).await;
            return Err(Over);
        }
        let mut lost = false;
        loop {
            let order = tokio::select! {
                biased;
                order = self.orders.recv() => order,
                () = tokio::time::sleep(self.app.settings.heartbeat.min(WAKE)) => {
                    if !lost && self.is_lost(delivery).await {
                        lost = true;
                        self.tell(Event::RequestLost).await?;
                    }
                    continue;
                }
            };
            match order {
                Some(Order::JudgeAgain) => {
                    let verdict = self.judge(request).await;
                    self.tell(Event::JudgedAgain(verdict)).await?;
                }
                Some(Order::Confirm) => {
                    let sent = self.confirm(request).await;
                    self.tell(Event::Confirmed { sent }).await?;
                }
                Some(Order::Delete) => {
                    self.delete(delivery).await;
                    return self.tell(Event::RequestDeleted).await;
                }
                Some(Order::GiveBack) => {
                    self.give_back(delivery, Duration::ZERO).await;
                    return Ok(());
                }
                Some(Order::Forget) => return Ok(()),
                None => {
                    self.give_back(delivery, Duration::ZERO).await;
                    return Err(Over);
                }
            }
        }
    }

    async fn tell(&self, event: Event) -> Result<(), Over> {
        self.events.send(event).await.map_err(|_| Over)
    }

    async fn judge(&self, request: &TerminateRequest) -> Verdict {
        judge(request, self.app.control().await.as_ref())
    }

    /// Extends the lease; whether it was lost. The next try comes before it ends.
    async fn is_lost(&self, delivery: &Delivery) -> bool {
        let settings = &self.app.settings;
        let (visibility, limit) = (settings.visibility, settings.heartbeat);
        match extend(&self.app.edges.terminate_requests, delivery, visibility, limit).await {
            Ok(()) => false,
            Err(e) => {
                tracing::warn!(error = %e, "the lease of a terminate request was not extended");
                e.kind == Kind::Expired
            }
        }
    }

    async fn confirm(&self, request: &TerminateRequest) -> bool {
        let identity = &self.app.settings.identity;
        let confirm = Notice::Confirm(Confirm {
            v: VERSION,
            nonce: request.nonce,
            epoch: request.epoch,
            app_tier_id: identity.app_tier_id,
            instance_id: identity.instance_id.clone(),
        });
        let Ok(body) = message::encode(&confirm) else { return false };
        match self.app.edges.notices.send(body).await {
            Ok(()) => true,
            Err(e) => {
                tracing::warn!(error = %e, "a confirmation was not sent");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                false
            }
        }
    }

    async fn delete(&self, delivery: &Delivery) {
        if let Err(e) = self.app.edges.terminate_requests.delete(&delivery.receipt).await {
            tracing::warn!(error = %e, "a terminate request was not deleted");
        }
    }

    async fn give_back(&self, delivery: &Delivery, delay: Duration) {
        if let Err(e) = self.app.edges.terminate_requests.give_back(&delivery.receipt, delay).await {
            tracing::debug!(error = %e, "a terminate request was not given back: its lease runs out by itself");
        }
    }
}

impl App {
    /// Since this process started.
    fn now(&self) -> Duration {
        self.settings.started.elapsed()
    }

    /// The control object as it is now; none where it is missing or does not read.
    async fn control(&self) -> Option<Control> {
        let object = edge::retry(&self.edges.host, || self.edges.output.get(key::CONTROL)).await;
        let read = object.inspect_err(|e| tracing::warn!(error = %e, "the control object cannot be read"));
        let control = Control::glance(&read.ok()??.bytes);
        control.inspect_err(|e| tracing::warn!(error = %e, "the control object makes no sense")).ok()
    }
}
