//! `bellows check-config`: every effective value with its origin, or what is wrong.

use crate::config::{Config, ConfigArgs, DEFAULTS, Loaded};
use crate::exit::Exit;
use std::io::Write;

/// Show every setting that counts and where it came from; exit 78 where one is wrong.
///
/// The output is TOML: saved to a file and named with --config it gives the same settings again ("computed" ones are
/// then fixed).
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CheckConfig {
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Print the file of defaults with the explanation of each key instead
    #[arg(long)]
    pub defaults: bool,
}

pub fn run(args: &CheckConfig) -> Exit {
    if args.defaults {
        return print(DEFAULTS);
    }
    match Config::load(&super::sources(&args.config)) {
        Ok(loaded) => {
            for warning in loaded.config.warnings() {
                eprintln!("warning: {warning}");
            }
            print(&text(&loaded))
        }
        Err(error) => {
            eprintln!("{error}");
            Exit::Configuration
        }
    }
}

/// One line a value: `web.max_backlog = 1000  # default`.
pub fn text(loaded: &Loaded) -> String {
    let lines = loaded.lines();
    let lines = lines.iter().map(|line| format!("{} = {}  # {}", line.key, line.value, line.origin));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// A reader that has seen enough (`| head`) is no error.
pub(super) fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("standard output: {e}");
            Exit::Unavailable
        }
        _ => Exit::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what flags alone decide: the environment of the tests is not ours.
    #[test]
    fn a_wrong_setting_is_exit_78() {
        let args = ConfigArgs { set: vec!["web.wait=soon".into()], ..ConfigArgs::default() };
        let check = CheckConfig { config: args, defaults: false };
        assert_eq!(run(&check), Exit::Configuration);
        assert_eq!(Exit::Configuration.code(), 78);
    }
}
