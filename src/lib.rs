//! bellows: elastic image recognition. See docs/ARCHITECTURE.md for the map.
//!
//! core <- edge <- {web, controller, app, model} <- wiring <- cli

pub mod app;
pub mod batch;
pub mod cli;
pub mod client;
pub mod config;
pub mod controller;
pub mod edge;
pub mod exit;
pub mod load;
pub mod metrics;
pub mod model;
pub mod sim;
pub mod status;
pub mod telemetry;
pub mod web;
pub mod wiring;
