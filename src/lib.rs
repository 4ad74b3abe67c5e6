//! Elastic image recognition.

pub mod cli;
pub mod edge;
pub mod model;
