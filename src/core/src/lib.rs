//! What bellows decides, without I/O, clock, randomness or runtime: `now` is an argument.
//!
//! Nothing here may be `async`, read a clock or touch the world; the crate's dependency list is the guard. Two kinds of
//! time are told apart by their types: a `Duration` called `now` is since the start of this process and is what
//! deadlines are made of; a [`time::Timestamp`] is some machine's wall clock, for people and for the leader's own expiries.
//!
//! A controller's round: hear ([`pool::Roster::reported`], [`retire::Requests::confirm`], [`estimate::Meter`]), list
//! ([`pool::Roster::listed`]), forget ([`retire::Requests::expire`], [`control::Leader::prune`]), decide
//! ([`scale::decide`]), and with a [`control::Permit`] cancel, ask to retire and intend; write
//! ([`control::Leader::write`]), then launch what is written ([`control::Leader::launches`]) and end whom
//! [`pool::Roster::ends`] names. The tests' `world` runs it against all faults.

pub mod admission;
pub mod answer;
pub mod control;
pub mod estimate;
pub mod image;
pub mod incoming;
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
