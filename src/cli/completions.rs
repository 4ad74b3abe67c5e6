//! `bellows completions SHELL` and `bellows man DIR`: made of the very command line that is parsed.

use super::{Cli, check_config::print};
use crate::exit::Exit;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;

/// Arguments of `bellows completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `bellows man`.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The folder; created where absent
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn completions(args: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bellows", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub fn man(args: &Man) -> Exit {
    let made = std::fs::create_dir_all(&args.folder);
    match made.and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder)) {
        Ok(()) => Exit::Success,
        Err(e) => {
            eprintln!("bellows: {}: {e}", args.folder.display());
            Exit::Unavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_a_command() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("share/man1");
        assert_eq!(man(&Man { folder: folder.clone() }), Exit::Success);
        for (page, word) in
            [("bellows.1", "check-config"), ("bellows-load.1", "all-at-once"), ("bellows-batch.1", "CSV")]
        {
            let text = std::fs::read_to_string(folder.join(page)).unwrap();
            assert!(text.contains(".TH") && text.replace("\\-", "-").contains(word), "{page}: {text}");
        }
        Cli::command().debug_assert();
    }
}
