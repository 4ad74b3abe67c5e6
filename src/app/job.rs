//! One message from receive to delete, in the order that loses nothing: result, label object, response, delete.

use super::lease::Lease;
use super::{App, Tally};
use crate::edge::bucket::Put;
use crate::edge::engine::Failure;
use crate::edge::queue::Delivery;
use crate::edge::{self, Error, Kind};
use bellows_core::answer::{Answer, Classified, Reason, Timings};
use bellows_core::message::{self, Parsed, Request, Response};
use bellows_core::worker::JobId;
use bellows_core::{incoming, key};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A request in a version that this code does not know waits so long for somebody newer: ten receives are 2.5 hours.
const OTHER_VERSION_DELAY: Duration = Duration::from_mins(15);
/// What failed for reasons outside the image is tried again after so long, doubled with each receive.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(5);
const LONGEST_RETRY_DELAY: Duration = Duration::from_mins(15);

/// A job that is over.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) job: JobId,
    pub(super) ending: JobEnding,
    /// In the engine, with the configured pause.
    pub(super) service: Duration,
    /// Fetching, storing, answering. What it waited for a session counts nowhere: that grows with what is in hand.
    pub(super) elsewhere: Duration,
    /// Results that were there already.
    pub(super) duplicates: u64,
    pub(super) lease_lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobEnding {
    Answered,
    /// The message asked for nothing.
    Nothing,
    /// Somebody else shall have it.
    GivenBack,
    /// Past its deadline.
    Overdue,
}

impl Done {
    pub(super) fn count(&self, tally: &mut Tally) {
        match self.ending {
            JobEnding::Answered => {
                tally.jobs += 1;
                tally.busy += self.service;
            }
            JobEnding::GivenBack => tally.endings.given_back += 1,
            JobEnding::Nothing | JobEnding::Overdue => {}
        }
        tally.endings.duplicate += self.duplicates;
        tally.endings.lease_lost += u64::from(self.lease_lost);
    }
}

/// One delivery with what steers it.
pub(super) struct Job {
    pub(super) app: App,
    pub(super) id: JobId,
    pub(super) delivery: Delivery,
    /// Sent when the work may begin.
    pub(super) start: oneshot::Receiver<()>,
    /// Cancelled when the message shall be given back, as far as its work has not passed the engine.
    pub(super) abandon: CancellationToken,
}

/// Why a job ends without an answer.
enum Stop {
    Abandoned,
    /// Not the image's fault: later.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Where a job's time went.
#[derive(Default)]
struct Spent {
    fetch: Duration,
    /// A session was busy with it.
    engine: Duration,
    waiting: Duration,
    pause: Duration,
    /// Results that were there already.
    duplicates: u64,
}

impl Job {
    /// Works on the message while its lease is kept.
    pub(super) async fn run(self) -> Done {
        let Job { app, id, delivery, start, abandon } = self;
        let settings = app.settings.clone();
        let lease = Lease::new(app.edges.requests.clone(), delivery, settings.visibility, settings.heartbeat);
        let (mut service, mut elsewhere, mut duplicates) = (Duration::ZERO, Duration::ZERO, 0);
        let work = async {
            tokio::select! {
                biased;
                () = abandon.cancelled() => { lease.give_back(Duration::ZERO).await; return JobEnding::GivenBack; }
                // a dropped sender is a process that ends: what has not begun is given back
                begun = start => if begun.is_err() { lease.give_back(Duration::ZERO).await; return JobEnding::GivenBack; },
            }
            let began = Instant::now();
            let mut spent = Spent::default();
            let work = app.work(&lease, &abandon, &mut spent);
            let ending = tokio::time::timeout(settings.job_deadline, work).await.unwrap_or(JobEnding::Overdue);
            service = spent.engine + spent.pause;
            elsewhere = began.elapsed().saturating_sub(service + spent.waiting);
            duplicates = spent.duplicates;
            ending
        };
        let ending = tokio::select! {
            biased;
            ending = work => ending,
            () = lease.keep() => JobEnding::Overdue,
        };
        Done { job: id, ending, service, elsewhere, duplicates, lease_lost: lease.is_lost() }
    }
}

impl App {
    async fn work(&self, lease: &Lease, abandon: &CancellationToken, spent: &mut Spent) -> JobEnding {
        let requests = match incoming::requests(&lease.delivery.body, lease.delivery.sent_at) {
            Parsed::Ok(requests) => requests,
            Parsed::OtherVersion(v) => {
                tracing::warn!(message.version = v, "a request in another version is given back");
                lease.give_back(OTHER_VERSION_DELAY).await;
                return JobEnding::GivenBack;
            }
            Parsed::Unreadable(reason) => return self.dead_letter(lease, &reason).await,
        };
        // an event of S3 may name several objects; ours name one
        for request in &requests {
            if !self.work_on(request, lease, abandon, spent).await {
                return JobEnding::GivenBack;
            }
        }
        if tokio::time::timeout(self.settings.job_deadline / 4, lease.delete()).await.is_err() {
            tracing::warn!("an answered request was not deleted in time");
        }
        if requests.is_empty() { JobEnding::Nothing } else { JobEnding::Answered }
    }

    /// One request of the message. False: it has no answer yet, and the message is given back.
    async fn work_on(&self, request: &Request, lease: &Lease, abandon: &CancellationToken, spent: &mut Spent) -> bool {
        let span = tracing::info_span!("request", request_id = %request.request_id);
        let work = async {
            match self.answer(request, lease, abandon, spent).await {
                Ok(answer) => self.deliver(request, answer, spent).await,
                Err(stop) => Err(stop),
            }
        };
        match tracing::Instrument::instrument(work, span.clone()).await {
            Ok(()) => true,
            Err(Stop::Abandoned) => {
                lease.give_back(Duration::ZERO).await;
                false
            }
            Err(Stop::Failed(e)) => {
                let delay = retry_delay(lease.delivery.receive_count);
                span.in_scope(
                    || tracing::warn!(error = %e, retry.seconds = delay.as_secs(), "a request failed for now"),
                );
                lease.give_back(delay).await;
                false
            }
        }
    }

    /// The answer to a request: the one that is stored already, or a new one.
    async fn answer(
        &self,
        request: &Request,
        lease: &Lease,
        abandon: &CancellationToken,
        spent: &mut Spent,
    ) -> Result<(Answer, bool), Stop> {
        let delivery = &lease.delivery;
        if delivery.receive_count > 1
            && let Some(stored) = self.stored(request).await?
        {
            return Ok((stored, true));
        }
        let expired =
            |why: &str| Ok((Answer::failed(Reason::Expired, why, request.request_id, &request.filename), false));
        if delivery.waited > self.settings.request_ttl {
            return expired("the request waited longer than it may; send the image again");
        }
        let began = Instant::now();
        let host = &self.edges.host;
        let object = edge::retry(host, || self.edges.input.get_foreign(&request.key)).await?;
        spent.fetch = began.elapsed();
        match object {
            None => expired("the image is no longer stored; send it again"),
            Some(object) => Ok((self.classify(request, lease, object.bytes, abandon, spent).await?, false)),
        }
    }

    async fn classify(
        &self,
        request: &Request,
        lease: &Lease,
        image: Bytes,
        abandon: &CancellationToken,
        spent: &mut Spent,
    ) -> Result<Answer, Stop> {
        let began = Instant::now();
        let outcome = tokio::select! {
            biased;
            outcome = self.edges.engine.classify(image) => outcome,
            () = abandon.cancelled() => return Err(Stop::Abandoned),
        };
        spent.engine = match &outcome {
            Ok(labelled) => labelled.busy(),
            Err(Failure::Image { busy, .. }) => *busy,
            Err(Failure::Engine(_)) => began.elapsed(),
        };
        spent.waiting = began.elapsed().saturating_sub(spent.engine);
        let labelled = match outcome {
            Ok(labelled) => labelled,
            Err(Failure::Engine(e)) => return Err(Stop::Failed(e)),
            Err(Failure::Image { reason, message, sha256, .. }) => {
                return Ok(Answer::failed(reason, message, request.request_id, &request.filename).of_bytes(sha256));
            }
        };
        tracing::debug!(
            label = labelled.predictions.first().map(|p| p.label.as_str()),
            decode.duration_ms = labelled.decode_ms,
            infer.duration_ms = labelled.infer_ms,
            "classified"
        );
        self.pause(abandon, spent).await?;
        let waited = lease.delivery.waited;
        Ok(Answer::Classified(Box::new(Classified {
            request_id: request.request_id,
            file: request.filename.clone(),
            sha256: labelled.sha256,
            label: labelled.predictions.first().map(|p| p.label.clone()).unwrap_or_default(),
            predictions: labelled.predictions,
            model: self.settings.model.clone(),
            worker: self.settings.identity.worker(),
            timings_ms: Timings {
                queue: ms(waited),
                fetch: ms(spent.fetch),
                decode: labelled.decode_ms,
                infer: labelled.infer_ms,
                total: ms(waited + spent.fetch + began.elapsed()),
            },
        })))
    }

    /// The original's added delay: after the engine, before the result is stored, so that the message stays in flight.
    async fn pause(&self, abandon: &CancellationToken, spent: &mut Spent) -> Result<(), Stop> {
        if self.settings.pause.is_zero() {
            return Ok(());
        }
        let began = Instant::now();
        tokio::select! {
            biased;
            () = abandon.cancelled() => return Err(Stop::Abandoned),
            () = tokio::time::sleep(self.settings.pause) => {}
        }
        spent.pause = began.elapsed();
        Ok(())
    }

    /// Stores the answer (the first one stored counts), and tells whoever waits.
    async fn deliver(&self, request: &Request, found: (Answer, bool), spent: &mut Spent) -> Result<(), Stop> {
        let began = Instant::now();
        let (answer, stored) = if found.1 { found } else { self.store(request, found.0).await? };
        spent.duplicates += u64::from(stored);
        let store_ms = ms(began.elapsed());
        if self.settings.label_objects
            && let Answer::Classified(c) = &answer
        {
            let (name, stem) = (key::label(&request.filename), key::stem(&request.filename));
            let value = Bytes::from(format!("({stem}, {})", c.label));
            edge::retry(&self.edges.host, || self.edges.output.put(&name, value.clone())).await?;
        }
        if !request.reply_to.is_empty() {
            self.respond(answer, store_ms).await;
        }
        Ok(())
    }

    async fn stored(&self, request: &Request) -> Result<Option<Answer>, Error> {
        let name = key::result(request.request_id);
        let Some(object) = edge::retry(&self.edges.host, || self.edges.output.get(&name)).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&object.bytes)
            .map(Some)
            .map_err(|e| Error::new(Kind::Invalid, "result.read", format!("{name}: {e}")).caused_by(e))
    }

    /// The answer that is stored now, and whether another was there before it.
    async fn store(&self, request: &Request, answer: Answer) -> Result<(Answer, bool), Stop> {
        let name = key::result(request.request_id);
        let body = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
        match edge::retry(&self.edges.host, || self.edges.output.put_if_absent(&name, body.clone())).await? {
            Put::Created => Ok((answer, false)),
            // somebody was faster, or our own first try took effect: what is stored is the answer
            Put::Exists => Ok((self.stored(request).await?.unwrap_or(answer), true)),
        }
    }

    /// A hint for whoever waits. May be lost: the result object decides.
    async fn respond(&self, answer: Answer, store_ms: f64) {
        let body = match message::encode(&Response::new(answer, store_ms)) {
            Ok(body) => body,
            Err(e) => return tracing::warn!(error = %e, "a response does not fit into a message"),
        };
        let send = edge::retry(&self.edges.host, || self.edges.responses.send(body.clone()));
        // all is done: a queue that stalls is no reason to take the job for stuck
        let late = |_| Err(Error::new(Kind::Timeout, "response.send", "no answer in time"));
        match tokio::time::timeout(self.settings.job_deadline / 4, send).await.unwrap_or_else(late) {
            Ok(()) => {}
            Err(e) if e.kind == Kind::NotFound => {}
            Err(e) => tracing::warn!(error = %e, "a response was not sent: the waiter finds the result object"),
        }
    }

    /// Puts an unreadable message where the controller counts it.
    async fn dead_letter(&self, lease: &Lease, reason: &str) -> JobEnding {
        tracing::warn!(reason, "an unreadable request goes to the dead letters");
        match edge::retry(&self.edges.host, || self.edges.dead.send(lease.delivery.body.clone())).await {
            Ok(()) => {
                lease.delete().await;
                JobEnding::Answered
            }
            Err(e) => {
                tracing::warn!(error = %e, "a dead letter was not sent");
                lease.give_back(retry_delay(lease.delivery.receive_count)).await;
                JobEnding::GivenBack
            }
        }
    }
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn retry_delay(receive_count: u32) -> Duration {
    (FIRST_RETRY_DELAY * 2u32.saturating_pow(receive_count.saturating_sub(1).min(16))).min(LONGEST_RETRY_DELAY)
}
