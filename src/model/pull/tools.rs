//! The programs of the user's that fetch for us, and how they are run: python3 and curl, found in PATH.

use super::super::error::{Error, Result};
use super::super::progress::Stage;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// How children are started. Tests give their own PATH and variables; the process's own are never changed.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    path: Option<OsString>,
    variables: Vec<(OsString, OsString)>,
    insecure: bool,
}

/// How a child ended, and what it said.
pub(super) struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Tools {
    /// With the environment of this process.
    pub fn inherited() -> Tools {
        Tools::default()
    }

    /// With another PATH, and these variables on top.
    pub fn with<K: AsRef<OsStr>>(path: impl AsRef<OsStr>, variables: &[(K, K)]) -> Tools {
        let own = |v: &K| v.as_ref().to_owned();
        Tools {
            path: Some(path.as_ref().to_owned()),
            variables: variables.iter().map(|(k, v)| (own(k), own(v))).collect(),
            insecure: false,
        }
    }

    /// Allows http:// too: for tests, whose server speaks no TLS.
    #[must_use]
    pub fn insecure(mut self) -> Tools {
        self.insecure = true;
        self
    }

    pub(super) fn allows_http(&self) -> bool {
        self.insecure
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(path) = &self.path {
            // std looks the program up in the child's PATH where one is given.
            command.env("PATH", path);
        }
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs a child to its end, telling `stage` what `fetched` says every tenth of a second. `None` where there is no
    /// such program.
    pub(super) fn run(
        mut command: Command,
        tmp: &Path,
        stage: &mut Stage,
        fetched: &dyn Fn() -> u64,
    ) -> Result<Option<Ended>> {
        // A file and not a pipe: nobody has to drain it.
        let said = tmp.join("stderr");
        let file = File::create(&said).map_err(|e| Error::writing(&said, "temporary files", e))?;
        let mut child = match command.stderr(file).spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::reading(Path::new(command.get_program()), e)),
        };
        let failed = |e| Error::reading(tmp, e);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break status;
            }
            stage.reached(fetched());
            std::thread::sleep(Duration::from_millis(50));
        };
        let stderr = fs::read(&said).map_err(failed)?;
        Ok(Some(Ended { status, stderr: String::from_utf8_lossy(&stderr).into_owned() }))
    }
}

/// How many bytes the files of a folder have, subfolders included.
pub(super) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The last thing that a program said, without addresses and host names: an index may carry a password in its
/// address, and which one it is concerns nobody.
pub(super) fn scrubbed(stderr: &str) -> String {
    let noise = |line: &&str| {
        let line = line.trim();
        !line.is_empty()
            && !line.starts_with("Looking in")
            && !line.starts_with("WARNING")
            && !line.starts_with("[notice]")
    };
    let mut errors = stderr.lines().filter(noise).filter(|line| line.contains("ERROR") || line.contains("rror:"));
    let last = errors.next_back().or_else(|| stderr.lines().rfind(noise)).unwrap_or_default();
    let words: Vec<&str> = last
        .split_whitespace()
        .map(
            |word| {
                if word.contains("://") || word.contains("host=") || word.contains('@') { "<address>" } else { word }
            },
        )
        .collect();
    let line = words.join(" ");
    line.trim_start_matches("ERROR: ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_never_get_through() {
        let said = "Looking in indexes: https://user:secret@mirror.example/simple\n\
                    WARNING: Retrying (Retry(total=0)) after connection broken by \
                    'NewConnectionError(host='mirror.example')': /simple/x/\n\
                    ERROR: Could not fetch https://user:secret@mirror.example/simple/x: refused\n";
        assert_eq!(scrubbed(said), "Could not fetch <address> refused");
        assert_eq!(scrubbed("ERROR: 404 for https://mirror.example/simple/x"), "404 for <address>");
        assert_eq!(scrubbed("Error: user@mirror.example refused"), "Error: <address> refused");
        assert_eq!(scrubbed(""), "");
    }
}
