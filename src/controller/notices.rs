//! What the workers tell: read from terminate_confirm_queue, until it is empty.

use super::Controller;
use crate::edge::queue::{BATCH, Delivery};
use crate::metrics::Queue as Name;
use bellows_core::message::{self, Notice, Parsed, WorkerState};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Receives a round: what is left is read in the next.
const MOST_RECEIVES: usize = 50;
const OTHER_VERSION_DELAY: Duration = Duration::from_mins(15);

impl Controller {
    pub(super) async fn read_notices(&mut self) {
        let never = CancellationToken::new();
        for _ in 0..MOST_RECEIVES {
            match self.edges.notices.receive(BATCH, Duration::ZERO, &never).await {
                Ok(deliveries) if deliveries.is_empty() => return,
                Ok(deliveries) => {
                    for delivery in deliveries {
                        self.hear(&delivery).await;
                    }
                }
                Err(e) => return tracing::warn!(error = %e, "reports cannot be read"),
            }
        }
    }

    async fn hear(&mut self, delivery: &Delivery) {
        let queue = &self.edges.notices;
        let gone = match message::parse::<Notice>(&delivery.body) {
            Parsed::Ok(Notice::Report(report)) => {
                if report.state == WorkerState::Ready && self.ready.insert(report.instance_id.clone()) {
                    self.backoff.succeeded();
                    tracing::info!(app_tier.id = report.app_tier_id.0, boot.ms = report.boot_ms, "a worker is ready");
                }
                queue.delete(&delivery.receipt).await
            }
            // this pool asks nobody to end, and its web process is this one
            Parsed::Ok(Notice::Confirm(_) | Notice::Web(_)) => queue.delete(&delivery.receipt).await,
            Parsed::OtherVersion(_) => queue.give_back(&delivery.receipt, OTHER_VERSION_DELAY).await,
            Parsed::Unreadable(reason) => {
                tracing::warn!(reason, "an unreadable report is dropped");
                self.metrics.queue_unreadable(Name::TerminateConfirm);
                queue.delete(&delivery.receipt).await
            }
        };
        if let Err(e) = gone {
            tracing::debug!(error = %e, "a report comes again, which does no harm");
        }
    }
}
