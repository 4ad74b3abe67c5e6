//! Elastic image recognition.

pub mod edge;
