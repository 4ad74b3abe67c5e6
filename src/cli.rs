//! The commands. One file a subcommand, wiring only.

pub mod classify;
pub mod model;
