//! What needs an AWS account: an emulated one, on loopback.

pub mod app;
mod terraform;
