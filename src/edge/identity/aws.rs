//! An instance of EC2 by its metadata service, IMDSv2 only.
//!
//! `AWS_EC2_METADATA_DISABLED=true` says that there is none, and `AWS_EC2_METADATA_SERVICE_ENDPOINT` where it is
//! elsewhere, as in all of AWS's SDKs.

use super::Notice;
use crate::edge::aws::http;
use crate::edge::host::Host;
use crate::edge::{Error, Kind, Result, retry};
use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_types::error::display::DisplayErrorContext;
use bellows_core::pool::{AppTierId, InstanceId, tag};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// An answer of a service on this very machine.
const ANSWER: Duration = Duration::from_secs(1);
/// A question with its token and all tries.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a notice is looked for, as AWS advises.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Advice to go is not followed before this age: a new instance from the same capacity gets the same advice at once, and
/// so on for ever.
const SETTLED: Duration = Duration::from_mins(10);

/// The metadata service of this instance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metadata {
    client: Client,
    host: Host,
}

/// Whether somebody has said that there is no metadata service.
pub fn is_disabled() -> bool {
    std::env::var_os("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

impl Metadata {
    /// Asks nothing yet.
    pub fn open(host: &Host) -> Metadata {
        let config = ProviderConfig::without_region().with_http_client(http());
        let client = Client::builder().configure(&config).connect_timeout(ANSWER).read_timeout(ANSWER);
        let client = client.operation_attempt_timeout(ANSWER * 2).operation_timeout(DEADLINE).build();
        Metadata { client, host: host.clone() }
    }

    /// One value; none where the service knows no such thing.
    async fn ask(&self, path: &str) -> Result<Option<String>> {
        if is_disabled() {
            return Err(Error::new(Kind::NotFound, "identity.ask", "AWS_EC2_METADATA_DISABLED says there is none"));
        }
        match self.client.get(format!("/latest/{path}")).await {
            Ok(value) => Ok(Some(value.into())),
            Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => Ok(None),
            Err(e) => {
                let detail = format!("the metadata service has not told {path}: {}", DisplayErrorContext(&e));
                Err(Error::new(Kind::Unavailable, "identity.ask", detail).caused_by(e))
            }
        }
    }

    async fn must_tell(&self, path: &str) -> Result<String> {
        let told = retry(&self.host, || self.ask(path)).await?;
        told.ok_or_else(|| Error::new(Kind::NotFound, "identity.ask", format!("the metadata service has no {path}")))
    }

    /// What was handed to this instance at its launch. `patient`: a service that does not answer is asked again, as it
    /// may be while an instance boots.
    pub async fn user_data(&self, patient: bool) -> Result<Option<String>> {
        let path = "user-data";
        if patient { retry(&self.host, || self.ask(path)).await } else { self.ask(path).await }
    }

    pub async fn instance_id(&self) -> Result<InstanceId> {
        self.must_tell("meta-data/instance-id").await.map(InstanceId)
    }

    /// Its place in the pool: the launch's ids are in a tag, and its number in the launch says which is its own.
    pub async fn app_tier_id(&self) -> Result<AppTierId> {
        let index = self.must_tell("meta-data/ami-launch-index").await?;
        let ids = self.must_tell(&format!("meta-data/tags/instance/{}", tag::IDS)).await?;
        let id = index.trim().parse().ok().and_then(|index| tag::id(ids.trim(), index));
        id.ok_or_else(|| {
            let detail = format!("tag {} is {ids:?}, which has no id for launch index {index:?}", tag::IDS);
            Error::new(Kind::Invalid, "identity.app_tier_id", detail)
        })
    }

    /// Whether this instance is to be taken away; none: it is not.
    async fn notice(&self) -> Result<Option<Notice>> {
        if self.ask("meta-data/spot/instance-action").await?.is_some() {
            return Ok(Some(Notice::Interruption));
        }
        let advised = self.ask("meta-data/events/recommendations/rebalance").await?.is_some();
        Ok(advised.then_some(Notice::Rebalance))
    }

    /// Cancels `evicted` once this instance is to be taken away; ends at once where that cannot happen to it.
    pub async fn watch(self, evicted: CancellationToken) {
        let lasts = self.must_tell("meta-data/instance-life-cycle").await.is_ok_and(|cycle| cycle.trim() != "spot");
        if lasts {
            return;
        }
        let begun = tokio::time::Instant::now();
        while !self.host.stop.is_cancelled() {
            match self.notice().await {
                Ok(Some(notice)) if notice == Notice::Interruption || begun.elapsed() >= SETTLED => {
                    tracing::warn!(
                        ?notice,
                        "this instance is to be taken away: what is in hand is finished, no more is taken"
                    );
                    return evicted.cancel();
                }
                Ok(_) => {}
                // what is asked again in a moment
                Err(e) => tracing::debug!(error = %e, "no word of whether this instance stays"),
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.host.stop.cancelled()).await;
        }
    }
}
