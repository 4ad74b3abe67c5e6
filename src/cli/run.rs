//! `bellows run`: the daemon. The role decides what is wired.

use super::loaded;
use crate::config::{Backend, Config, ConfigArgs, Role, Sources};
use crate::exit::Exit;
use crate::{telemetry, wiring};

/// The configuration. An instance that cannot read what it was handed at its launch does not run without it.
fn load(args: &ConfigArgs) -> Result<Config, Exit> {
    let sources = args.sources();
    match wiring::user_data(&sources, true) {
        Ok(user_data) => loaded(&Sources { user_data, ..sources }),
        Err(e) => {
            eprintln!(
                "bellows: backend = \"aws\", and EC2 user data cannot be read: {e}\n  where there is none: \
                AWS_EC2_METADATA_DISABLED=true, or BELLOWS_USER_DATA_FILE to name a file in its place"
            );
            Err(Exit::Unavailable)
        }
    }
}

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
