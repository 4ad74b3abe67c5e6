//! Wheels by the user's own pip: index, mirror, proxy and certificates are the user's, and none is named here. What
//! may come is pinned by sha256.

use super::super::error::{Error, Result};
use super::super::manifest::Digest;
use super::super::progress::Stage;
use super::tools::{Ended, Tools, bytes_below, scrubbed};
use std::fs;
use std::path::{Path, PathBuf};

/// One wheel, and the member that is wanted of it.
#[derive(Clone, Copy, Debug)]
pub struct Wheel<'a> {
    /// For messages: "ONNX Runtime 1.32.0".
    pub what: &'a str,
    pub package: &'a str,
    pub version: &'a str,
    pub sha256: &'a Digest,
    pub bytes: Option<u64>,
    /// pip's options that choose a platform other than the running Python's.
    pub options: &'a [String],
    pub member: &'a str,
    pub member_sha256: &'a Digest,
}

/// Fetches a wheel into a folder below `tmp`; pip has checked its sha256 then.
pub fn download(tools: &Tools, wheel: &Wheel<'_>, tmp: &Path, stage: &mut Stage) -> Result<PathBuf> {
    let failed = |e| Error::writing(tmp, wheel.what, e);
    let (dest, requirement) = (tmp.join("wheel"), tmp.join("requirement.txt"));
    let _ = fs::remove_dir_all(&dest);
    fs::create_dir_all(&dest).map_err(failed)?;
    fs::write(&requirement, format!("{}=={} --hash=sha256:{}\n", wheel.package, wheel.version, wheel.sha256))
        .map_err(failed)?;
    let mut command = tools.command("python3");
    command
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"])
        .args(["--only-binary=:all:", "--require-hashes"])
        .args(wheel.options)
        .arg("--requirement")
        .arg(&requirement)
        .arg("--dest")
        .arg(&dest)
        // What pip writes on the way lies on the same disk and is swept with the rest.
        .env("TMPDIR", tmp)
        // We install nothing into a Python: that some users forbid it outside a virtual environment is no obstacle.
        .env_remove("PIP_REQUIRE_VIRTUALENV");
    let ended = Tools::run(command, tmp, stage, &|| bytes_below(tmp))?;
    let Some(ended) = ended else { return Err(Error::NoPython { what: wheel.what.to_owned() }) };
    if !ended.status.success() {
        return Err(failure(&ended, wheel, tmp));
    }
    let found = fs::read_dir(&dest).map_err(failed)?.flatten().map(|entry| entry.path());
    found
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| Error::Pip { what: wheel.what.to_owned(), said: "it ended well and left no wheel".into() })
}

/// What a failed pip means, by what it says: its exit code tells no cases apart.
fn failure(ended: &Ended, wheel: &Wheel<'_>, tmp: &Path) -> Error {
    let what = wheel.what.to_owned();
    let said = |texts: &[&str]| texts.iter().any(|text| ended.stderr.contains(text));
    if said(&["No module named pip", "No module named 'pip'"]) {
        Error::NoPip { what }
    } else if said(&["DO NOT MATCH THE HASHES"]) {
        let expected = wheel.sha256.to_string();
        Error::HashMismatch { what, expected, found: got(&ended.stderr).unwrap_or_else(|| "another".into()) }
    } else if said(&["No space left on device", "Errno 28", "Disk quota exceeded"]) {
        Error::NoSpace { path: tmp.to_owned(), what }
    } else if said(&["Permission denied", "Read-only file system"]) {
        Error::Unwritable { path: tmp.to_owned(), source: std::io::ErrorKind::PermissionDenied.into() }
    } else if said(&["No matching distribution found", "Could not find a version"]) {
        Error::NotFound { what, said: reason(&ended.stderr) }
    } else {
        Error::Pip { what, said: scrubbed(&ended.stderr) }
    }
}

/// The hash that pip got: "Got        <64 hex digits>".
fn got(stderr: &str) -> Option<String> {
    stderr.split_whitespace().skip_while(|word| *word != "Got").nth(1).map(str::to_owned)
}

/// Why nothing was found, where pip tried to connect and says so in its warnings.
fn reason(stderr: &str) -> String {
    let known = ["Connection refused", "Name or service not known", "Temporary failure in name resolution"];
    let more = ["timed out", "certificate verify failed", "Network is unreachable", "ProxyError"];
    let found = known.iter().chain(&more).find(|text| stderr.contains(**text));
    found.map(|text| (*text).to_owned()).unwrap_or_default()
}
