//! What the workers and the other web processes tell, read from terminate_confirm_queue until it is empty.

use super::lead::Lead;
use crate::edge::queue::{BATCH, Delivery};
use crate::metrics::{Outcome, Queue as Name};
use bellows_core::message::{self, Confirm, Notice, Parsed, Report};
use bellows_core::pool::{Heard, Stopped};
use bellows_core::retire::Nonced;
use futures_util::future::join_all;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest reading of a round: what is left is read in the next.
const LONGEST: Duration = Duration::from_secs(2);
const OTHER_VERSION_DELAY: Duration = Duration::from_mins(15);

impl Lead {
    pub(super) async fn hear(&mut self) {
        let (never, queue) = (CancellationToken::new(), self.cx.edges.notices.clone());
        let until = self.cx.now() + LONGEST;
        while self.cx.now() < until {
            let began = self.cx.now();
            let received = match queue.receive(BATCH, Duration::ZERO, &never).await {
                Ok(received) => received,
                Err(e) => return tracing::warn!(error = %e, "reports cannot be read"),
            };
            if received.is_empty() {
                // whoever has said nothing by now is silent
                return self.roster.drained(began);
            }
            let kept: Vec<bool> = received.iter().map(|delivery| self.take(delivery)).collect();
            join_all(received.iter().zip(kept).map(|(delivery, kept)| self.settle_notice(delivery, kept))).await;
        }
    }

    /// Takes a notice in; false: it is for somebody newer.
    fn take(&mut self, delivery: &Delivery) -> bool {
        match message::parse::<Notice>(&delivery.body) {
            Parsed::Ok(Notice::Report(report)) => self.reported(&report),
            Parsed::Ok(Notice::Confirm(confirm)) => self.confirmed(&confirm),
            Parsed::Ok(Notice::Web(report)) => self.meter.heard(&report, self.cx.now()),
            Parsed::OtherVersion(_) => return false,
            Parsed::Unreadable(reason) => {
                tracing::warn!(reason, "an unreadable report is dropped");
                self.cx.metrics.queue_unreadable(Name::TerminateConfirm);
            }
        }
        true
    }

    async fn settle_notice(&self, delivery: &Delivery, kept: bool) {
        let queue = &self.cx.edges.notices;
        let gone = if kept {
            queue.delete(&delivery.receipt).await
        } else {
            queue.give_back(&delivery.receipt, OTHER_VERSION_DELAY).await
        };
        match gone {
            Ok(()) => self.cx.metrics.queue_deleted(Name::TerminateConfirm, u64::from(kept)),
            Err(e) => tracing::debug!(error = %e, "a report comes again, which does no harm"),
        }
    }

    fn reported(&mut self, report: &Report) {
        let heard = self.roster.reported(report, self.cx.now());
        if heard == Heard::NotOurs {
            return tracing::debug!(instance.id = report.instance_id.0, "a report of an instance that is not ours");
        }
        let more = self.meter.reported(report);
        let endings = [
            (Outcome::GivenBack, more.given_back),
            (Outcome::Duplicate, more.duplicate),
            (Outcome::LeaseLost, more.lease_lost),
        ];
        for (outcome, count) in endings {
            self.cx.metrics.jobs_ended(outcome, count);
        }
        if let Heard::Registered { boot } = heard {
            if let Some(boot) = boot {
                self.backoff.succeeded(self.cx.now().saturating_sub(boot));
                self.meter.booted(boot);
            }
            let boot_ms = boot.unwrap_or_default().as_millis() as u64;
            tracing::info!(app_tier.id = report.app_tier_id.0, boot.ms = boot_ms, "a worker is ready");
        }
    }

    fn confirmed(&mut self, confirm: &Confirm) {
        let (nonced, stopped) = self.requests.confirm(confirm, &mut self.roster, self.cx.now());
        if nonced != Nonced::First || stopped == Stopped::NotOurs {
            tracing::warn!(instance.id = confirm.instance_id.0, ?nonced, ?stopped, "an odd confirmation");
        }
    }
}
