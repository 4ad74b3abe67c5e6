//! A simulated world for the very role code of the daemon: queues, buckets, machines and engines in memory, many
//! processes in one thread, on tokio's paused clock.
//!
//! Each process reaches the world over a [`Wire`](crate::edge::wire::Wire) of its own, so that it can be cut off and
//! killed at any point of any call.

mod bill;
pub mod campaign;
mod chance;
pub mod chaos;
mod engine;
mod machines;
mod plot;
mod process;
mod report;
mod run;
pub mod story;
mod trace;
pub mod truth;
mod web;
mod world;

pub use crate::edge::queue::memory::Late;
pub use bill::{Bill, Lived};
pub use chance::{Chance, later};
pub use plot::svg;
pub use process::{Controller, Fault, Point};
pub use report::{Figures, csv, json, table};
pub use run::{Look, Outcome, Plan, run};
pub use trace::{Bin, SHAPES, Trace};
pub use web::WebTier;
pub use world::{BEGIN, Kind, Settings, World};
