//! bellows: elastic image recognition. See docs/ARCHITECTURE.md for the map.
//!
//! core <- edge <- {web, controller, app, model} <- wiring <- cli

pub mod cli;
pub mod config;
pub mod edge;
pub mod exit;
pub mod metrics;
pub mod telemetry;
