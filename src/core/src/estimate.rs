//! What was measured: service time, boot time, rates.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What rides along in the control object, for whoever leads next. Whole numbers, so that they are written and read
/// back exactly; zero where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimates {
    /// Microseconds of one slot for one image.
    pub service_us: u64,
    /// Images that was measured on.
    pub jobs: u64,
    /// Milliseconds from launch to ready.
    pub boot_p50_ms: u64,
    pub boot_p90_ms: u64,
    /// Boots that was measured on.
    pub boots: u64,
    /// Arrivals in a thousand seconds.
    pub arrivals_ks: u64,
}

/// Windows of [`Arrivals`].
pub const FAST: Duration = Duration::from_secs(8);
pub const RECENT: Duration = Duration::from_secs(30);
pub const SLOW: Duration = Duration::from_mins(2);

/// How many requests arrived of late: what the policies see of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// In the last 8 s.
    pub fast: u64,
    /// In the last 30 s.
    pub recent: u64,
    /// In the last 120 s.
    pub slow: u64,
}
