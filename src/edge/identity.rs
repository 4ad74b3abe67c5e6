//! Who this machine is: its id, its place in the pool, what it was told at launch, and whether it is to be taken away.
//!
//! On one machine the parent process says all of it; on EC2 the instance's metadata service does.

#[cfg(feature = "aws")]
pub mod aws;

/// Why a machine is about to be taken away by whoever lends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It will be, in two minutes (EC2's spot/instance-action).
    Interruption,
    /// It is at elevated risk of it (EC2's rebalance recommendation).
    Rebalance,
}
