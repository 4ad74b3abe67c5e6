//! Elastic image recognition.
