//! What bellows decides, without I/O, clock, randomness or runtime: `now` is an argument.
//!
//! Nothing here may be `async`, read a clock or touch the world; the crate's dependency list is the guard.

pub mod admission;
pub mod answer;
pub mod control;
pub mod estimate;
pub mod key;
pub mod label;
pub mod ledger;
pub mod message;
pub mod pool;
pub mod retire;
pub mod scale;
pub mod time;
pub mod worker;

#[cfg(test)]
mod world;
