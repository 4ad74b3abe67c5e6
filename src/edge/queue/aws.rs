//! Queues on SQS, by URL. Whole seconds: a shorter visibility or delay is rounded up, and so is a wait.
//!
//! Where SQS is less exact than the contract: counters are approximate and late; a standard queue hands out in any order
//! and now and then twice; deleting with a receipt whose lease has run out succeeds, and may or may not delete.

mod batch;

use super::{Api, Delivery, Depth, Receipt};
use crate::edge::aws::{ANSWER, Clients, DEADLINE, error, kind_of_entry, once, timeouts};
use crate::edge::host::Host;
use crate::edge::{Error, Kind, Result};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName as Attribute, QueueAttributeName, SendMessageBatchRequestEntry,
};
use batch::{Batches, Carry};
use bellows_core::time::Timestamp;
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The longest single poll: one that shall stop is waited for, so that no message is handed out to nobody. At four polls
/// in 20 s a worker without work costs less than a cent a day.
const POLL: i32 = 5;
/// Counters are read each tick, a queue after the other: late ones are worth less than the next.
const COUNT_ANSWER: Duration = Duration::from_secs(3);
const COUNT_DEADLINE: Duration = Duration::from_secs(8);
/// What an entry of a batch weighs beside its body.
const ENTRY: usize = 128;

/// A queue on SQS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    way: Way,
    polls: Client,
    counts: Client,
    /// Lease of what is received, in seconds.
    visibility: i32,
    host: Host,
    sends: Batches<Sends>,
    deletes: Batches<Deletes>,
    extends: Batches<Extends>,
    /// Milliseconds by which the queue's clock is ahead of ours, as far as deliveries have told.
    ahead: Arc<AtomicI64>,
}

/// The queue's URL, and a client that tries a call once.
#[derive(Clone, Debug)]
struct Way {
    client: Client,
    url: Arc<str>,
}

impl Queue {
    /// A handle on the queue at `url`; what it receives is leased for `visibility`. Calls nothing. To be called where
    /// tasks can be spawned: calls are gathered into batches by tasks of `host`.
    pub fn open(clients: &Clients, url: &str, visibility: Duration, host: &Host) -> Queue {
        let poll = Duration::from_secs(POLL as u64);
        let deadlines = timeouts(poll + ANSWER, poll + DEADLINE);
        let config = clients.sqs.config();
        let polls = Client::from_conf(config.to_builder().timeout_config(deadlines).build());
        let counted = timeouts(COUNT_ANSWER, COUNT_DEADLINE);
        let counts = Client::from_conf(config.to_builder().timeout_config(counted).build());
        let client = Client::from_conf(config.to_builder().retry_config(once()).build());
        let way = Way { client, url: url.into() };
        Queue {
            polls,
            counts,
            visibility: seconds(visibility),
            host: host.clone(),
            sends: Batches::new(host, Sends(way.clone())),
            deletes: Batches::new(host, Deletes(way.clone())),
            extends: Batches::new(host, Extends(way.clone())),
            ahead: Arc::default(),
            way,
        }
    }

    /// One poll, at most `wait` seconds long.
    async fn poll(&self, max: i32, wait: i32) -> Result<Vec<Delivery>> {
        let received = self
            .polls
            .receive_message()
            .queue_url(&*self.way.url)
            .max_number_of_messages(max)
            .wait_time_seconds(wait)
            .visibility_timeout(self.visibility)
            .message_system_attribute_names(Attribute::SentTimestamp)
            .message_system_attribute_names(Attribute::ApproximateReceiveCount)
            .message_system_attribute_names(Attribute::ApproximateFirstReceiveTimestamp)
            .send()
            .await
            .map_err(|e| error("queue.receive", &self.way.url, e))?;
        let messages = received.messages.unwrap_or_default();
        Ok(messages.into_iter().filter_map(|message| self.delivery(message)).collect())
    }

    /// None where SQS left out what it always gives: the message comes again when its lease has run out.
    fn delivery(&self, message: Message) -> Option<Delivery> {
        let number = |name| message.attributes.as_ref()?.get(&name)?.parse::<u64>().ok();
        let receive_count = u32::try_from(number(Attribute::ApproximateReceiveCount)?).ok()?;
        let sent_at = Timestamp(number(Attribute::SentTimestamp)?);
        let first = Timestamp(number(Attribute::ApproximateFirstReceiveTimestamp)?);
        let ours = self.host.clock.now();
        // the queue says when a message was first received: on the first receive that is now, by its clock
        let now = if receive_count == 1 {
            self.ahead.store(first.0.cast_signed().saturating_sub(ours.0.cast_signed()), Ordering::Relaxed);
            first
        } else {
            Timestamp(ours.0.saturating_add_signed(self.ahead.load(Ordering::Relaxed))).max(first)
        };
        Some(Delivery {
            message_id: message.message_id?,
            body: message.body.unwrap_or_default(),
            receipt: Receipt(message.receipt_handle?),
            receive_count,
            sent_at,
            waited: now.since(sent_at),
        })
    }

    /// A poll in a task of its own: it ends by itself even where nobody waits for it any more, and what it brings then
    /// is given back.
    async fn poll_to_the_end(&self, max: i32, wait: i32) -> Result<Vec<Delivery>> {
        let (reply, answer) = oneshot::channel();
        let queue = self.clone();
        self.host.spawn("queue.receive", async move {
            let polled = queue.poll(max, wait).await;
            let Err(Ok(unwanted)) = reply.send(polled) else { return };
            let back = unwanted.iter().map(|delivery| queue.extend(&delivery.receipt, Duration::ZERO));
            for given_back in join_all(back).await {
                if let Err(e) = given_back {
                    tracing::debug!(error = %e, "a message comes back when its lease has run out");
                }
            }
        });
        let ending = || Error::new(Kind::Unavailable, "queue.receive", "the process is ending");
        answer.await.unwrap_or_else(|_| Err(ending()))
    }
}

impl Api for Queue {
    async fn send(&self, body: String, delay: Duration) -> Result<()> {
        self.sends.carry((body, seconds(delay))).await
    }

    /// On `stop` the poll under way is waited for, at most 5 s, and what it brings is returned: SQS may have handed out
    /// a message already.
    async fn receive(&self, max: usize, wait: Duration, stop: &CancellationToken) -> Result<Vec<Delivery>> {
        // no more than ten
        let max = i32::try_from(max).unwrap_or(1);
        let mut left = seconds(wait);
        while !stop.is_cancelled() {
            let now = left.min(POLL);
            left -= now;
            let received = self.poll_to_the_end(max, now).await?;
            if !received.is_empty() || left == 0 {
                return Ok(received);
            }
        }
        Ok(Vec::new())
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        self.deletes.carry(given("queue.delete", receipt)?).await
    }

    async fn extend(&self, receipt: &Receipt, visibility: Duration) -> Result<()> {
        self.extends.carry((given("queue.extend", receipt)?, seconds(visibility))).await
    }

    async fn depth(&self) -> Result<Depth> {
        const OPERATION: &str = "queue.depth";
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let call = self.counts.get_queue_attributes().queue_url(&*self.way.url);
        let answer = call.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|e| error(OPERATION, &self.way.url, e))?;
        let [visible, in_flight, delayed] =
            names.map(|name| answer.attributes.as_ref().and_then(|all| all.get(&name)?.parse().ok()));
        match (visible, in_flight, delayed) {
            (Some(visible), Some(in_flight), Some(delayed)) => Ok(Depth { visible, in_flight, delayed }),
            _ => Err(Error::new(Kind::Unavailable, OPERATION, "an answer without the three counters")),
        }
    }
}

/// Whole seconds, rounded up. What comes here is at most 15 minutes.
fn seconds(span: Duration) -> i32 {
    span.as_millis().div_ceil(1000).try_into().unwrap_or(i32::MAX)
}

fn given(operation: &'static str, receipt: &Receipt) -> Result<String> {
    if receipt.0.is_empty() {
        return Err(Error::new(Kind::Invalid, operation, "no receipt"));
    }
    Ok(receipt.0.clone())
}

/// The outcome of each of `count` entries, whose ids are their numbers.
fn outcomes(operation: &'static str, count: usize, failed: Vec<BatchResultErrorEntry>) -> Vec<Result<()>> {
    let mut outcomes: Vec<Result<()>> = (0..count).map(|_| Ok(())).collect();
    for entry in failed {
        let kind = kind_of_entry(&entry.code, entry.message.as_deref(), entry.sender_fault);
        let detail = format!("{}: {}", entry.code, entry.message.unwrap_or_default());
        if let Some(outcome) = entry.id.parse().ok().and_then(|n: usize| outcomes.get_mut(n)) {
            *outcome = Err(Error::new(kind, operation, detail));
        }
    }
    outcomes
}

/// An entry that lacks what SQS requires: never, as all of it is set.
fn unbuilt(operation: &'static str) -> impl Fn(aws_sdk_sqs::error::BuildError) -> Error {
    move |e| Error::new(Kind::Invalid, operation, e.to_string())
}

#[derive(Clone, Debug)]
struct Sends(Way);

impl Carry for Sends {
    /// Body, and delay in seconds.
    type Entry = (String, i32);
    const OPERATION: &'static str = "queue.send";

    fn size((body, _): &Self::Entry) -> usize {
        body.len()
    }

    async fn carry(&self, entries: &[&Self::Entry]) -> Result<Vec<Result<()>>> {
        let mut call = self.0.client.send_message_batch().queue_url(&*self.0.url);
        for (n, (body, delay)) in entries.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body);
            let entry = entry.set_delay_seconds((*delay > 0).then_some(*delay)).build();
            call = call.entries(entry.map_err(unbuilt(Self::OPERATION))?);
        }
        let answer = call.send().await.map_err(|e| error(Self::OPERATION, &self.0.url, e))?;
        Ok(outcomes(Self::OPERATION, entries.len(), answer.failed))
    }
}

#[derive(Clone, Debug)]
struct Deletes(Way);

impl Carry for Deletes {
    type Entry = String;
    const OPERATION: &'static str = "queue.delete";

    fn size(receipt: &Self::Entry) -> usize {
        receipt.len() + ENTRY
    }

    async fn carry(&self, entries: &[&Self::Entry]) -> Result<Vec<Result<()>>> {
        let mut call = self.0.client.delete_message_batch().queue_url(&*self.0.url);
        for (n, receipt) in entries.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(*receipt).build();
            call = call.entries(entry.map_err(unbuilt(Self::OPERATION))?);
        }
        let answer = call.send().await.map_err(|e| error(Self::OPERATION, &self.0.url, e))?;
        Ok(outcomes(Self::OPERATION, entries.len(), answer.failed))
    }
}

#[derive(Clone, Debug)]
struct Extends(Way);

impl Carry for Extends {
    /// Receipt, and visibility in seconds.
    type Entry = (String, i32);
    const OPERATION: &'static str = "queue.extend";

    fn size((receipt, _): &Self::Entry) -> usize {
        receipt.len() + ENTRY
    }

    async fn carry(&self, entries: &[&Self::Entry]) -> Result<Vec<Result<()>>> {
        let mut call = self.0.client.change_message_visibility_batch().queue_url(&*self.0.url);
        for (n, (receipt, visibility)) in entries.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt);
            let entry = entry.visibility_timeout(*visibility).build();
            call = call.entries(entry.map_err(unbuilt(Self::OPERATION))?);
        }
        let answer = call.send().await.map_err(|e| error(Self::OPERATION, &self.0.url, e))?;
        Ok(outcomes(Self::OPERATION, entries.len(), answer.failed))
    }
}
