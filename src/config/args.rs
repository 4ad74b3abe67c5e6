//! The flags that every command with a configuration takes.

use super::sources::{Flag, Sources};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where optional settings of the whole machine are.
pub const SYSTEM_FILE: &str = "/etc/bellows/bellows.toml";

#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Read settings from this TOML file; of several the later one wins
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,

    /// Set one setting: `--set web.wait=2m`
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,

    /// What this process does: `web` or `app` (`--set role=…`)
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,

    /// Where this machine keeps queue, images and results (`--set local.state_dir=…`)
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,

    /// Address and port of the service (`--set web.listen=…`)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
}

fn assignment(text: &str) -> Result<String, String> {
    let (key, _) = text.split_once('=').ok_or("expected KEY=VALUE, such as web.wait=2m")?;
    if key.trim().is_empty() { Err("expected a key before `=`".into()) } else { Ok(text.into()) }
}

impl ConfigArgs {
    /// These flags, the environment of this process, and the files of this machine.
    pub fn sources(&self) -> Sources {
        Sources {
            system_file: Some(SYSTEM_FILE.into()),
            files: self.config.clone(),
            user_data: None,
            environment: std::env::vars_os().collect(),
            flags: self.flags(),
            cores: 0,
        }
    }

    /// The same flags as arguments, for a process that shall have this one's configuration.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let files = self.config.iter().flat_map(|file| ["--config".into(), file.clone().into_os_string()]);
        let flags = self.flags().into_iter().map(|Flag { key, value, .. }| format!("--set={key}={value}").into());
        files.chain(flags).collect()
    }

    /// The settings among the flags, the later the stronger.
    fn flags(&self) -> Vec<Flag> {
        let set = self.set.iter().map(|text| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            Flag { flag: "--set", key: key.trim().into(), value: value.into() }
        });
        let short = [
            ("--role", "role", &self.role),
            ("--state-dir", "local.state_dir", &self.state_dir),
            ("--listen", "web.listen", &self.listen),
        ];
        let short = short.into_iter().filter_map(|(flag, key, value)| {
            value.as_ref().map(|value| Flag { flag, key: key.into(), value: value.clone() })
        });
        set.chain(short).collect()
    }
}
