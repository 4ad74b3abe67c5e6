//! The commands. One file a subcommand, wiring only.

pub mod check_config;
pub mod classify;
pub mod health;
pub mod model;
