//! The worlds that policies meet: `bellows simulate` and its flags make them, so that ours is run as people run it.

use bellows::cli::simulate::{Simulate, plans};
use bellows::sim::{Plan, Trace};
use clap::Parser;

/// Flags of `bellows simulate`.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    simulate: Simulate,
}

/// What `bellows simulate` with these flags (without a trace) runs on this trace, seed by seed.
///
/// # Errors
/// Where the flags or the configuration make no sense.
pub fn planned(flags: &[String], trace: &Trace) -> Result<Vec<Plan>, String> {
    let line = std::iter::once("simulate").chain(flags.iter().map(String::as_str));
    let Line { simulate } = Line::try_parse_from(line).map_err(|e| e.to_string())?;
    let loaded = simulate.load().map_err(|e| e.to_string())?;
    Ok(plans(&simulate, &loaded, std::slice::from_ref(trace)).into_iter().map(|(plan, _)| plan).collect())
}
