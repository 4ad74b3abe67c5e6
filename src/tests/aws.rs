//! What needs an AWS account: an emulated one, on loopback.

mod terraform;
