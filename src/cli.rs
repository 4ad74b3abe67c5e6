//! The commands. One file a subcommand, wiring only.

pub mod batch;
pub mod check_config;
pub mod classify;
pub mod completions;
pub mod health;
mod http;
pub mod load;
pub mod model;
pub mod pause;
pub mod remote;
pub mod run;
pub mod simulate;
pub mod token;
pub mod why;

use crate::config::{Config, ConfigArgs, Pull, Sources};
use crate::exit::Exit;
use crate::model::error::Blame;
use crate::model::{ModelSettings, PullPolicy};
use crate::{telemetry, wiring};
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Elastic image recognition: photographs in, labels out.
///
/// Without a command: run the service.
#[derive(Debug, Parser)]
#[command(name = "bellows", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the role comes from the configuration)
    Run(ConfigArgs),
    /// Classify images, without a server
    Classify(Configured<classify::Args>),
    /// Put a whole folder through a service, into a table; exit 1 where a file is left without an answer
    Batch(batch::Batch),
    /// Drive a service with images in a pattern, and check every answer; exit 1 where one is wrong or lost
    Load(load::Load),
    /// List, fetch and check models
    Model(Configured<model::Args>),
    /// Print every effective setting with its origin
    CheckConfig(check_config::CheckConfig),
    /// Ask whether the service here is ready: exit 0, or 69 with the reason
    Health(health::Health),
    /// Try policies on a trace before anything is paid for: cost, latency, launches
    Simulate(simulate::Simulate),
    /// Say in plain words what the pool did and why, or draw it
    Why(why::Why),
    /// Make tokens for those who may use the service
    Token(token::Args),
    /// Let the pool stand still: nothing is launched or ended until `bellows resume`
    Pause(pause::Pause),
    /// Let the pool follow the queue again
    Resume(pause::Resume),
    /// Print what a shell needs to complete this command line
    Completions(completions::Completions),
    /// Write the man pages into a folder
    Man(completions::Man),
}

/// A command's own arguments, and where its settings come from.
#[derive(Debug, Args)]
struct Configured<A: Args> {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    args: A,
}

/// Everything the configuration is made from, with what this instance was handed at its launch where it is one and tells.
fn sources(config: &ConfigArgs) -> Sources {
    let sources = config.sources();
    // what is missing then is told as missing
    let user_data = wiring::user_data(&sources, false).unwrap_or_default();
    Sources { user_data, ..sources }
}

/// The configuration; where it makes no sense that is said.
fn load(config: &ConfigArgs) -> Result<Config, Exit> {
    loaded(&sources(config))
}

fn loaded(sources: &Sources) -> Result<Config, Exit> {
    Config::load(sources).map(|loaded| loaded.config).map_err(|e| {
        eprintln!("{e}");
        Exit::Configuration
    })
}

/// Runs a command that needs the model only; which says how it went.
fn with_model(config: &ConfigArgs, run: impl FnOnce(&ModelSettings) -> crate::model::Result<Exit>) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    telemetry::init(config.log.format, &config.log.level);
    let pull = if config.model.pull == Pull::Never { PullPolicy::Never } else { PullPolicy::Missing };
    match run(&wiring::model_settings(&config, pull)) {
        Ok(exit) => exit,
        Err(e) => {
            eprintln!("bellows: {e}\n{}", e.remedy());
            match e.blame() {
                Blame::Usage => Exit::Usage,
                Blame::Configuration => Exit::Configuration,
                Blame::Unavailable => Exit::Unavailable,
            }
        }
    }
}

/// Runs the command.
pub fn run(cli: Cli) -> Exit {
    match cli.command {
        None => run::run(&cli.config),
        Some(Command::Run(config)) => run::run(&config),
        Some(Command::Classify(Configured { config, args })) => with_model(&config, |m| classify::run(&args, m)),
        Some(Command::Batch(args)) => batch::run(&args),
        Some(Command::Load(args)) => load::run(&args),
        Some(Command::Model(Configured { config, args })) => with_model(&config, |m| model::run(&args, m)),
        Some(Command::CheckConfig(args)) => check_config::run(&args),
        Some(Command::Health(args)) => health::run(&args),
        Some(Command::Simulate(args)) => simulate::run(&args),
        Some(Command::Why(args)) => why::run(&args),
        Some(Command::Token(args)) => token::run(&args),
        Some(Command::Pause(args)) => pause::pause(&args),
        Some(Command::Resume(args)) => pause::resume(&args),
        Some(Command::Completions(args)) => completions::completions(&args),
        Some(Command::Man(args)) => completions::man(&args),
    }
}

/// Prints what clap has to say. Help and version are no mistakes.
pub fn usage(error: &clap::Error) -> ExitCode {
    let code = if error.use_stderr() { Exit::Usage } else { Exit::Success };
    // nobody to tell where standard output is gone
    let _ = error.print();
    code.into()
}
