//! A file at a URL, by curl, else by python3: both bring the user's proxy and certificates, and the build needs no TLS
//! of its own. What is there already of an interrupted download is kept and continued.

use super::super::error::{Error, Result};
use super::super::manifest::Digest;
use super::super::progress::Stage;
use super::super::store::{Lock, sha256_of};
use super::tools::{Ended, Tools, scrubbed};
use crate::edge::disk;
use std::fs::{self, File};
use std::path::Path;

/// What python3 runs: continues a file with a Range, and begins anew where the server knows none.
const PYTHON: &str = r#"
import os, sys, urllib.request
url, path = sys.argv[1:]
have = os.path.getsize(path) if os.path.exists(path) else 0
request = urllib.request.Request(url, headers={"Range": "bytes=%d-" % have} if have else {})
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        with open(path, "ab" if answer.status == 206 else "wb") as file:
            while chunk := answer.read(65536):
                file.write(chunk)
except Exception as e:
    sys.exit("%s: %s" % (type(e).__name__, e))
"#;

/// One file at a URL.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// For messages.
    pub what: &'a str,
    pub url: &'a str,
    pub sha256: &'a Digest,
}

/// Fetches into `partial` (continuing it) and installs it as `dir/name`; its size.
pub fn install(
    tools: &Tools,
    lock: &Lock,
    source: &Source<'_>,
    partial: &Path,
    (dir, name): (&Path, &str),
    stage: &mut Stage,
) -> Result<u64> {
    let failed = |path: &Path, e| Error::writing(path, source.what, e);
    let folder = partial.parent().unwrap_or(partial);
    fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    // Killed after the last byte: nothing is left to fetch, and servers answer a Range beyond the end with an error.
    let whole = |path: &Path| sha256_of(path).is_ok_and(|found| found == source.sha256.as_str());
    let continued = fs::metadata(partial).is_ok_and(|meta| meta.len() > 0);
    if !(continued && whole(partial)) {
        let first = fetch(tools, source, partial, lock.tmp(), stage);
        // What was continued may have been the beginning of another file: once more from its first byte.
        if continued && (first.is_err() || !whole(partial)) {
            fs::remove_file(partial).map_err(|e| failed(partial, e))?;
            fetch(tools, source, partial, lock.tmp(), stage)?;
        } else {
            first?;
        }
    }
    let mut file = File::open(partial).map_err(|e| Error::reading(partial, e))?;
    let installed = lock.install(&mut file, dir, name, source.sha256).map_err(|e| named(e, source.what));
    // Installed or wrong: either way not to be continued.
    let _ = fs::remove_file(partial);
    installed
}

fn named(error: Error, what: &str) -> Error {
    match error {
        Error::HashMismatch { expected, found, .. } => Error::HashMismatch { what: what.to_owned(), expected, found },
        other => other,
    }
}

fn fetch(tools: &Tools, source: &Source<'_>, partial: &Path, tmp: &Path, stage: &mut Stage) -> Result<()> {
    let here = || fs::metadata(partial).map_or(0, |meta| meta.len());
    let schemes = if tools.allows_http() { "=http,https" } else { "=https" };
    let mut curl = tools.command("curl");
    curl.args(["--fail", "--location", "--silent", "--show-error", "--proto", schemes])
        .args(["--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60", "--continue-at", "-", "--output"])
        .arg(partial)
        .arg("--")
        .arg(source.url);
    let mut ended = Tools::run(curl, tmp, stage, &here)?;
    if ended.is_none() {
        let mut python = tools.command("python3");
        python.args(["-c", PYTHON, source.url]).arg(partial);
        ended = Tools::run(python, tmp, stage, &here)?;
    }
    let ended = ended.ok_or_else(|| Error::NoDownloader { what: source.what.to_owned() })?;
    if ended.status.success() { Ok(()) } else { Err(failure(&ended, source, partial)) }
}

fn failure(ended: &Ended, source: &Source<'_>, partial: &Path) -> Error {
    // curl says no more than that a write failed.
    let full = disk::free_bytes(partial.parent().unwrap_or(partial)).is_ok_and(|free| free < 1 << 20);
    if full || ended.stderr.contains("No space left") || ended.stderr.contains("Errno 28") {
        return Error::NoSpace { path: partial.to_owned(), what: source.what.to_owned() };
    }
    Error::Download { what: source.what.to_owned(), said: scrubbed(&ended.stderr) }
}
