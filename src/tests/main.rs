//! Integration tests.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and runs in real time"
)]

mod appliance;
mod aws;
mod contract;
mod crash;
mod dead_letters;
mod dependence;
mod documents;
mod explain;
mod http;
mod load;
mod model;
mod monitoring;
mod page;
mod pool;
mod retire;
#[path = "../benches/scaling/mod.rs"]
mod scaling;
mod simulate;
mod supervised;
mod support;
