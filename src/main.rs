//! Which command, and nothing else.

use bellows::cli::{self, Cli};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return cli::usage(&e),
    })
    .into()
}
