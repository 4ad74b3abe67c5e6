//! What can go wrong between a model's name and a running session. Each with what, where from, and the command that
//! repairs it.

use super::manifest::Invalid;
use std::path::{Path, PathBuf};

/// A failure, with its remedy in [`Error::remedy`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Manifest(#[from] Invalid),
    #[error("there is no model `{name}` in the catalogue: it has {}", known.join(", "))]
    UnknownModel { name: String, known: Vec<String> },
    #[error("model {model} is not installed in {} and model.pull is \"never\": {missing} is missing", dir.display())]
    NotInstalled { model: String, missing: String, dir: PathBuf },
    #[error("no ONNX Runtime library found, and model.pull is \"never\": looked at {looked}")]
    NoEngine { looked: String },
    #[error("{origin} names the ONNX Runtime library {}, which is no file", path.display())]
    EngineAbsent { origin: &'static str, path: PathBuf },
    #[error("no ONNX Runtime is pinned for {platform}")]
    NoPinnedEngine { platform: String },
    #[error("{what} comes as a Python package, and there is no python3 in PATH to fetch it")]
    NoPython { what: String },
    #[error("{what} comes as a Python package, and python3 has no pip to fetch it")]
    NoPip { what: String },
    #[error("fetched {what}, and its sha256 is {found}, not the pinned {expected}")]
    HashMismatch { what: String, expected: String, found: String },
    #[error("pip finds no {what}: no network, or an index or mirror without it{}", detail(said))]
    NotFound { what: String, said: String },
    #[error("pip could not fetch {what}{}", detail(said))]
    Pip { what: String, said: String },
    #[error("could not fetch {what}{}", detail(said))]
    Download { what: String, said: String },
    #[error("{what} is fetched over HTTPS, and there is neither curl nor python3 in PATH to do it")]
    NoDownloader { what: String },
    #[error("cannot write to {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error("no space left in {} for {what}", path.display())]
    NoSpace { path: PathBuf, what: String },
    #[error("{} has no member {member}", archive.display())]
    MissingMember { archive: PathBuf, member: String },
    #[error("{} is no file of {model} or its engine (sha256 {sha256}); it can use {}", path.display(), expected.join("; "))]
    NotOurs { path: PathBuf, model: String, sha256: String, expected: Vec<String> },
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("there is no data folder: neither XDG_DATA_HOME nor a home folder is set")]
    NoDataFolder,
    #[error("{} has the sha256 {found}, not the pinned {expected}", path.display())]
    Changed { path: PathBuf, expected: String, found: String },
    #[error("model {model} needs a CPU with {needs}: without it its answers are others")]
    Cpu { model: String, needs: &'static str },
    #[error("the ONNX Runtime library {} cannot be used: {message}", path.display())]
    Library { path: PathBuf, message: String },
    #[error("model {model} cannot be loaded: {message}")]
    Load { model: String, message: String },
    #[error("the engine failed: {0}")]
    Run(String),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

fn detail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

impl Error {
    /// From an I/O error on a path that is written to.
    pub(super) fn writing(path: &Path, what: &str, source: std::io::Error) -> Error {
        use std::io::ErrorKind as E;
        match source.kind() {
            E::StorageFull | E::QuotaExceeded => Error::NoSpace { path: path.to_owned(), what: what.to_owned() },
            _ => Error::Unwritable { path: path.to_owned(), source },
        }
    }

    pub(super) fn reading(path: &Path, source: std::io::Error) -> Error {
        Error::Unreadable { path: path.to_owned(), source }
    }

    /// What the person can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Error::Manifest(_) => "correct the manifest; models/README.md describes every key",
            Error::UnknownModel { .. } => {
                "`bellows model list` shows the catalogue; a manifest of your own is named by model.manifest"
            }
            Error::NotInstalled { .. } | Error::NoEngine { .. } => {
                "run `bellows model pull`, or without a network `bellows model pull --from FILE`"
            }
            Error::EngineAbsent { .. } => "correct it, or remove it and run `bellows model pull`",
            Error::NoPinnedEngine { .. } => {
                "install ONNX Runtime 1.17 or newer for this machine and name its library in ORT_DYLIB_PATH"
            }
            Error::NoPython { .. } => {
                "install Python 3 with pip, or fetch the file elsewhere and run `bellows model pull --from FILE`"
            }
            Error::NoPip { .. } => {
                "install pip for python3 (Debian: apt install python3-pip), or run `bellows model pull --from FILE`"
            }
            Error::HashMismatch { .. } => {
                "nothing was installed; try `bellows model pull` again, and if it stays so the index or mirror serves another file"
            }
            Error::NotFound { .. } | Error::Pip { .. } => {
                "check the network and pip's own configuration (python3 -m pip config list), then run `bellows model pull`, or without a network `bellows model pull --from FILE`"
            }
            Error::Download { .. } => {
                "check the network, then run `bellows model pull` (it resumes), or without a network `bellows model pull --from FILE`"
            }
            Error::NoDownloader { .. } => "install curl, or run `bellows model pull --from FILE`",
            Error::Unwritable { .. } => {
                "make the folder writable, or name another one with model.dir (BELLOWS_MODEL__DIR)"
            }
            Error::NoSpace { .. } => "make room, or name a folder elsewhere with model.dir (BELLOWS_MODEL__DIR)",
            Error::MissingMember { .. } => "the pin of the package is wrong: please report it",
            Error::NotOurs { .. } => "give one of the files named",
            Error::Unreadable { .. } => "check the path and its permissions",
            Error::NoDataFolder => "name a folder with model.dir (BELLOWS_MODEL__DIR)",
            Error::Changed { .. } => "remove the file and run `bellows model pull`",
            Error::Cpu { .. } => "use the model of that name without 8-bit weights; `bellows model list` shows it",
            Error::Library { .. } => {
                "name another library in ORT_DYLIB_PATH (1.17 or newer), or unset it and run `bellows model pull`"
            }
            Error::Load { .. } => "run `bellows model verify`",
            Error::Run(_) | Error::Thread(_) => "start it again; if it stays so, please report it",
        }
    }

    /// Who has to do something about it: what decides a command's exit code.
    pub fn blame(&self) -> Blame {
        match self {
            Error::NotOurs { .. } => Blame::Usage,
            Error::Manifest(_) | Error::UnknownModel { .. } | Error::EngineAbsent { .. } | Error::NoDataFolder => {
                Blame::Configuration
            }
            _ => Blame::Unavailable,
        }
    }
}

/// What is to be put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The command line.
    Usage,
    /// The configuration, or a manifest.
    Configuration,
    /// Something needed is not there.
    Unavailable,
}

pub type Result<T> = std::result::Result<T, Error>;
