//! The only receiver of an app-tier process. Owns the worker's state machine: deliveries and ended jobs go in, what to
//! start, give back or end comes out.

use super::job::{Done, Job, JobEnding};
use super::retire::{Looking, Order};
use super::{App, Edges, Settings, Tally};
use crate::edge::host::{Ending, WAKE};
use crate::edge::queue::{Delivery, MAX_WAIT};
use crate::edge::{self, Kind};
use bellows_core::message::WorkerState;
use bellows_core::worker::{Delivered, Effect, End, Event, JobId, MOST_A_SLOT, Worker};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After a failed receive.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long the terminate request in hand may take to be given back when the process ends.
const LAST_ORDER: Duration = Duration::from_secs(2);
/// An instance without work ends itself when its queue has not existed for so long.
const QUEUE_GONE: Duration = Duration::from_mins(1);
/// More than the state machine orders before the first is carried out.
const ORDERS: usize = 8;

/// A receive under way. It is never dropped half-way: `stop` ends it early.
struct Poll {
    call: Pin<Box<dyn Future<Output = edge::Result<Vec<Delivery>>> + Send>>,
    stop: CancellationToken,
}

/// What steers one job.
struct Handle {
    start: Option<oneshot::Sender<()>>,
    abandon: CancellationToken,
}

struct Intake {
    app: App,
    worker: Worker,
    jobs: BTreeMap<JobId, Handle>,
    next: JobId,
    tally: Tally,
    done: mpsc::Sender<Done>,
    looking: Looks,
    /// Since when every receive says that there is no such queue.
    gone: Option<Instant>,
}

/// What steers the task that looks for terminate requests.
struct Looks {
    /// Whether the worker would take a request now. Only ever looked at: nobody waits for its change.
    wanted: Arc<AtomicBool>,
    empty: Arc<Notify>,
    orders: mpsc::Sender<Order>,
}

/// Runs the app tier until it is stopped or must end. The engine is warm already. Ends the host's process.
pub async fn run(edges: Edges, settings: Settings) {
    let app = App::new(edges, settings);
    let boot = app.settings.started.elapsed();
    app.report(WorkerState::Ready, Tally::default(), 0, boot).await;
    // room for every job's end, and for what a poll brings beyond what was asked
    let (done, ended) = mpsc::channel(app.settings.sessions * MOST_A_SLOT + 16);
    let worker = Worker::new(app.settings.sessions);
    let (looking, told, over) = look(&app);
    let (jobs, tally, gone) = (BTreeMap::new(), Tally::default(), None);
    let mut intake = Intake { app, worker, jobs, next: 0, tally, done, looking, gone };
    let end = intake.serve(ended, told, boot).await;
    let Intake { app, tally, looking, .. } = intake;
    drop(looking);
    let _ = tokio::time::timeout(LAST_ORDER, over).await;
    app.report(WorkerState::Stopping, tally, 0, boot).await;
    app.end(match end {
        End::Drained => Ending::Drained,
        End::Stuck => Ending::Stuck,
        End::Retired => Ending::Retired,
    });
}

/// Starts looking for terminate requests: what steers that, what it tells, and its end.
fn look(app: &App) -> (Looks, mpsc::Receiver<Event>, oneshot::Receiver<()>) {
    let (wanted, empty) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
    let ((orders, order), (events, told)) = (mpsc::channel(ORDERS), mpsc::channel(1));
    let looking = Looking { app: app.clone(), wanted: wanted.clone(), empty: empty.clone(), events, orders: order };
    let (ended, over) = oneshot::channel();
    let looks = app.edges.host.turning.watch("terminate-look", looking.run());
    app.edges.host.spawn("terminate-look", async move {
        looks.await;
        let _ = ended.send(());
    });
    (Looks { wanted, empty, orders }, told, over)
}

impl Intake {
    async fn serve(&mut self, mut ended: mpsc::Receiver<Done>, mut told: mpsc::Receiver<Event>, boot: Duration) -> End {
        let stop = self.app.edges.host.stop.clone();
        let mut poll: Option<Poll> = None;
        let (evicted, mut leaving) = (self.app.settings.evicted.clone(), false);
        let mut stopping = false;
        let mut reported = Instant::now();
        loop {
            self.keep_polling(&mut poll);
            let end = tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.settle_poll(&mut poll).await.or_else(|| self.on(Event::Stop))
                }
                () = evicted.cancelled(), if !leaving => {
                    leaving = true;
                    self.on(Event::Evicted)
                }
                Some(done) = ended.recv() => self.finished(&done),
                Some(event) = told.recv() => self.told(event),
                received = receive(&mut poll), if poll.is_some() => self.received(received),
                () = tokio::time::sleep_until((reported + self.app.report_every()).min(Instant::now() + WAKE)) => {
                    if reported.elapsed() >= self.app.report_every() {
                        reported = Instant::now();
                        self.app.report(WorkerState::Ready, self.tally, self.worker.in_hand(), boot).await;
                    }
                    None
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Starts a receive where there is room and none is under way; ends one that asks for more than there is room for.
    fn keep_polling(&mut self, poll: &mut Option<Poll>) {
        if let Some(poll) = poll {
            if self.worker.must_end_poll() {
                poll.stop.cancel();
            }
            return;
        }
        let Some(room) = self.worker.ask() else { return };
        let (queue, stop) = (self.app.edges.requests.clone(), CancellationToken::new());
        let token = stop.clone();
        let call = Box::pin(async move {
            let received = queue.receive(room, MAX_WAIT, &token).await;
            if received.is_err() {
                let _ = tokio::time::timeout(PAUSE_AFTER_ERROR, token.cancelled()).await;
            }
            received
        });
        *poll = Some(Poll { call, stop });
    }

    /// Ends a receive under way and takes what it still brings.
    async fn settle_poll(&mut self, poll: &mut Option<Poll>) -> Option<End> {
        if poll.is_none() {
            return None;
        }
        if let Some(poll) = poll {
            poll.stop.cancel();
        }
        let received = receive(poll).await;
        self.received(received)
    }

    fn received(&mut self, received: edge::Result<Vec<Delivery>>) -> Option<End> {
        let lost = self.is_queue_lost(&received);
        let deliveries = received.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "receiving failed");
            Vec::new()
        });
        if deliveries.is_empty() {
            self.looking.empty.notify_one();
        }
        let delivered = deliveries.into_iter().map(|delivery| self.take(delivery)).collect();
        let end = self.on(Event::Polled(delivered));
        if lost && end.is_none() { self.on(Event::Abandoned) } else { end }
    }

    /// Whether the queue has not existed for [`QUEUE_GONE`]. What says neither that it does nor that it does not leaves
    /// the question open.
    fn is_queue_lost(&mut self, received: &edge::Result<Vec<Delivery>>) -> bool {
        match received {
            Ok(_) => self.gone = None,
            Err(e) if e.kind == Kind::NotFound => {
                let since = *self.gone.get_or_insert_with(Instant::now);
                if since.elapsed() >= QUEUE_GONE {
                    tracing::warn!("the queue is gone: an instance without work ends");
                    return true;
                }
            }
            Err(_) => {}
        }
        false
    }

    /// What the task that looks for terminate requests has to tell.
    fn told(&mut self, event: Event) -> Option<End> {
        let lost = event == Event::RequestLost && self.worker.holds_request();
        let end = self.on(event);
        if lost && !self.worker.holds_request() {
            self.order(Order::Forget);
        }
        end
    }

    fn order(&self, order: Order) {
        if self.looking.orders.try_send(order).is_err() {
            tracing::error!(?order, "an order about a terminate request is lost");
        }
    }

    /// Gives a delivery its task, which keeps the lease from now on.
    fn take(&mut self, delivery: Delivery) -> Delivered {
        self.next += 1;
        let (job, redelivered) = (self.next, delivery.receive_count > 1);
        let ((start, started), abandon) = (oneshot::channel(), CancellationToken::new());
        self.jobs.insert(job, Handle { start: Some(start), abandon: abandon.clone() });
        let work = Job { app: self.app.clone(), id: job, delivery, start: started, abandon };
        let done = self.done.clone();
        self.app.edges.host.spawn("job", async move {
            let over = work.run().await;
            // fails only where the intake is gone, and then nobody needs to know
            let _ = done.send(over).await;
        });
        Delivered { job, redelivered }
    }

    fn finished(&mut self, done: &Done) -> Option<End> {
        self.jobs.remove(&done.job);
        done.count(&mut self.tally);
        self.on(match done.ending {
            JobEnding::Overdue => {
                tracing::error!("a job passed its deadline: this process ends and is started anew");
                Event::Overdue { job: done.job }
            }
            _ => Event::Finished { job: done.job, service: done.service, elsewhere: done.elsewhere },
        })
    }

    fn on(&mut self, event: Event) -> Option<End> {
        let mut end = None;
        for effect in self.worker.on(event) {
            match effect {
                Effect::Start(job) => {
                    if let Some(start) = self.jobs.get_mut(&job).and_then(|handle| handle.start.take()) {
                        let _ = start.send(());
                    }
                }
                Effect::GiveBack(job) => {
                    if let Some(handle) = self.jobs.get(&job) {
                        handle.abandon.cancel();
                    }
                }
                Effect::End(reason) => end = Some(reason),
                Effect::JudgeAgain => self.order(Order::JudgeAgain),
                Effect::Confirm => self.order(Order::Confirm),
                Effect::DeleteRequest => self.order(Order::Delete),
                Effect::GiveRequestBack => self.order(Order::GiveBack),
            }
        }
        self.looking.wanted.store(self.worker.looks(), Ordering::Relaxed);
        end
    }
}

/// The result of the receive under way; leaves none.
async fn receive(poll: &mut Option<Poll>) -> edge::Result<Vec<Delivery>> {
    let Some(current) = poll else { return std::future::pending().await };
    let received = current.call.as_mut().await;
    *poll = None;
    received
}
