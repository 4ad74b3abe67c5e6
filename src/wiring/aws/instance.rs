//! What an instance of EC2 is told by its metadata service, where settings do not say it.

use crate::app;
use crate::config::Config;
use crate::edge::host::Host;
use crate::edge::identity::aws::{Metadata, is_disabled};
use crate::wiring::Member;
use bellows_core::pool::{AppTierId, InstanceId};
use std::error::Error;
use tokio_util::sync::CancellationToken;

/// Set by hand where an instance is none of EC2's: another cloud's, or a container.
const BY_HAND: &str = "where there is no metadata service set app.instance_id, and for role \"app\" app.app_tier_id";

/// What this instance was handed at its launch; none where somebody says that nobody tells.
pub async fn user_data(patient: bool) -> Result<Option<String>, Box<dyn Error>> {
    if is_disabled() {
        return Ok(None);
    }
    Ok(Metadata::open(&Host::system()).user_data(patient).await?)
}

/// Our name in the control object: one daemon an instance, so whoever finds its own takes over at once.
pub(super) async fn owner(config: &Config, host: &Host) -> Result<String, Box<dyn Error>> {
    if let Some(given) = config.app.instance_id.get() {
        return Ok(given.to_owned());
    }
    let told = Metadata::open(host).instance_id().await;
    Ok(told.map_err(|e| format!("{e}; {BY_HAND}"))?.0)
}

/// Which member of the pool this process is, and whether its machine stays.
pub(super) async fn member(config: &Config, host: &Host) -> Result<Member, Box<dyn Error>> {
    let (metadata, instance_id) = (Metadata::open(host), InstanceId(owner(config, host).await?));
    let app_tier_id = match config.app.app_tier_id.set() {
        Some(given) => AppTierId(given),
        None => metadata.app_tier_id().await.map_err(|e| format!("{e}; {BY_HAND}"))?,
    };
    let evicted = CancellationToken::new();
    if !is_disabled() {
        host.spawn("notice", metadata.watch(evicted.clone()));
    }
    Ok(Member { identity: app::Identity { app_tier_id, instance_id }, evicted })
}
