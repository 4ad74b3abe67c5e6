//! Elastic image recognition.

pub mod cli;
pub mod config;
pub mod edge;
pub mod exit;
pub mod metrics;
pub mod model;
pub mod telemetry;
