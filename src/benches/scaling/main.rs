//! The tables of docs/SCALING.md: `cargo bench --bench scaling [-- table|robust|scale|length] [flags]`, on standard
//! output; progress on standard error. `--help` says the flags.
//!
//! `table`: ours, by values of its one knob, beside every reference, a plan that knows the future, and a bound that
//! nobody can beat. `robust`: worlds that are not as assumed. `scale`: how far the role code goes. `length`: memory over
//! the length of a trace. Recorded traces are read from ../shared/traces (BELLOWS_DEBUG_SHARED names another folder) and
//! left out where they are not there; built-in shapes are always there.
//!
//! Exit code 1 where a reference lies below ours on both axes, where ours loses or interrupts something, or where it
//! thrashes or collapses.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench that panics has failed, and is timed in real time"
)]
#![expect(unused_imports, dead_code, reason = "cargo compiles tests into a bench, too; `cargo test` runs them")]

mod far;
mod jobs;
mod robust;
#[path = "mod.rs"]
mod scaling;
mod table;
mod traces;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Ours beside every reference, the plan and the bound
    Table(table::Table),
    /// Worlds that are not as assumed
    Robust(robust::Robust),
    /// One run of the role code with thousands of instances: wall time, memory, hours, p99
    Scale(far::Scale),
    /// Peak memory and time of our policy over a trace's first days
    Length(far::Length),
}

fn main() -> ExitCode {
    // cargo says that it is a bench
    let arguments = std::env::args().filter(|argument| argument != "--bench");
    let good = match Arguments::parse_from(arguments).what {
        None => table::run(&table::Table::default()),
        Some(What::Table(wanted)) => table::run(&wanted),
        Some(What::Robust(wanted)) => robust::run(&wanted),
        Some(What::Scale(wanted)) => far::scale(&wanted),
        Some(What::Length(wanted)) => far::length(&wanted),
    };
    ExitCode::from(u8::from(!good))
}
