//! Elastic image recognition.

pub mod cli;
pub mod config;
pub mod exit;
pub mod metrics;
pub mod telemetry;
