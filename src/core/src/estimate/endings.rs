//! What is new in the endings that workers report.

use crate::message::{Endings, Report};
use crate::pool::InstanceId;
use std::collections::BTreeMap;

/// The totals each instance reported last.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    last: BTreeMap<InstanceId, Endings>,
}

impl Told {
    /// What was not told before. A worker's first report, which comes when it is ready, is where counting begins: what was
    /// before it, another leader has counted.
    pub fn reported(&mut self, report: &Report) -> Endings {
        let now = report.endings;
        let Some(last) = self.last.insert(report.instance_id.clone(), now) else { return Endings::default() };
        // less than before: a new process, or an older report that comes late
        Endings {
            given_back: now.given_back.saturating_sub(last.given_back),
            duplicate: now.duplicate.saturating_sub(last.duplicate),
            lease_lost: now.lease_lost.saturating_sub(last.lease_lost),
        }
    }

    pub fn forget(&mut self, instance_id: &InstanceId) {
        self.last.remove(instance_id);
    }
}
