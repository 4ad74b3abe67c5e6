//! Integration tests.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and runs in real time"
)]

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
mod page;
mod pool;
mod retire;
mod simulate;
mod support;
