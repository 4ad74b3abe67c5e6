//! The exit codes, as sysexits.h has them where it has one.

use std::process::ExitCode;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success,
    /// Something the user asked for did not work out, such as one of several files.
    Failure,
    /// The command line makes no sense.
    Usage,
    /// Something needed is absent or does not answer: model, engine, disk, service.
    Unavailable,
    /// A job passed its deadline and cannot be cancelled: start me again.
    Stuck,
    /// The configuration makes no sense.
    Configuration,
    /// Told to end for good: on an instance this powers it off.
    Retired,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 64,
            Exit::Unavailable => 69,
            Exit::Stuck => 75,
            Exit::Configuration => 78,
            Exit::Retired => 80,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
