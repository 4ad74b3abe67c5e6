//! One file a subcommand, wiring only.

pub mod check_config;
pub mod health;
