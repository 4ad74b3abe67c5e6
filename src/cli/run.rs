//! `bellows run`: the daemon. The role decides what is wired.

use super::load;
use crate::config::{Backend, ConfigArgs, Role};
use crate::exit::Exit;
use crate::{telemetry, wiring};

/// Loads the configuration and runs the role until it ends.
pub fn run(args: &ConfigArgs) -> Exit {
    let config = match load(args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    telemetry::init(config.log.format, &config.log.level);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if config.backend == Backend::Aws && !cfg!(feature = "aws") {
        eprintln!("bellows: {}", wiring::NO_AWS);
        return Exit::Configuration;
    }
    let ended = match config.role {
        Role::Web => wiring::web(&config, args),
        Role::App => wiring::app(&config),
    };
    ended.unwrap_or_else(|e| {
        eprintln!("bellows: {e}");
        Exit::Unavailable
    })
}
