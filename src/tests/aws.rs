//! What needs an AWS account: an emulated one, on loopback.

pub mod app;
pub mod bridge;
mod calls;
pub mod end_to_end;
pub mod fleet;
mod identity;
pub mod metadata;
mod original;
pub mod proxy;
pub mod stage;
mod steps;
mod terraform;
