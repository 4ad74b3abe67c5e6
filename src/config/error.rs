//! What is wrong with a configuration, said so that it can be repaired: what, where from, what was expected, how.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// Worked out at start.
    Computed,
    File {
        path: PathBuf,
        line: Option<usize>,
    },
    UserData {
        line: Option<usize>,
    },
    /// A variable, by its whole name.
    Environment(String),
    /// A flag: `--set`.
    Flag(&'static str),
}

impl Origin {
    pub(super) fn at(self, at: Option<usize>) -> Origin {
        match self {
            Origin::File { path, .. } => Origin::File { path, line: at },
            Origin::UserData { .. } => Origin::UserData { line: at },
            other => other,
        }
    }

    /// The origin with the line, where it has one.
    pub fn with_line(&self) -> String {
        match self {
            Origin::File { line: Some(line), .. } | Origin::UserData { line: Some(line) } => {
                format!("{self}, line {line}")
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Computed => f.write_str("computed"),
            // a path may hold anything; here it stands in one line
            Origin::File { path, .. } => {
                path.display().to_string().chars().try_for_each(|c| {
                    if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }
                })
            }
            Origin::UserData { .. } => f.write_str("EC2 user data"),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key with its value, as `web.wait = "-5s"`, or the file.
    pub what: String,
    /// Where it came from, with the line.
    pub origin: String,
    pub expected: String,
    /// What to do, where that is not the same as `expected`.
    pub repair: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {}): expected {}", self.what, self.origin, self.expected)?;
        match &self.repair {
            Some(repair) => write!(f, "\n  repair: {repair}"),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot be used, with all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "configuration: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Vec<Problem>> for ConfigError {
    fn from(problems: Vec<Problem>) -> ConfigError {
        ConfigError { problems }
    }
}
