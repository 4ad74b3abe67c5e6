//! The data folder: `engine/` and `models/<name>/`, where a file either is not or is whole.
//!
//! A file is written under `tmp/`, hashed on the way, fsynced and renamed into place; a receipt beside it remembers what
//! was checked, so that a start need not hash everything again. One lock admits one puller; whoever holds it sweeps
//! what a killed one has left.

use super::error::{Error, Result};
use super::manifest::Digest;
use super::progress::Progress;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A data folder. It need not exist yet.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// The lock of a data folder, held by the one process that fetches. Freed by the system when the process ends.
pub struct Lock {
    _file: File,
    tmp: PathBuf,
}

const RECEIPT: &str = "receipt.json";

/// What was installed in a folder: file name to what was checked.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Receipt(BTreeMap<String, Checked>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Checked {
    sha256: String,
    bytes: u64,
}

impl Store {
    pub fn at(root: PathBuf) -> Store {
        Store { root }
    }

    /// The folder of the setting, else `bellows` in the XDG data home.
    pub fn open(dir: Option<&Path>) -> Result<Store> {
        if let Some(dir) = dir {
            return Ok(Store::at(dir.to_owned()));
        }
        // Relative paths are to be ignored, says the XDG specification.
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
        Ok(Store::at(base.ok_or(Error::NoDataFolder)?.join("bellows")))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    pub fn model(&self, name: &str) -> PathBuf {
        self.root.join("models").join(name)
    }

    /// Where a download that may be resumed lies between two pulls.
    pub fn partial(&self, sha256: &Digest) -> PathBuf {
        self.root.join("partial").join(sha256.as_str())
    }

    /// The same file in another model's folder.
    pub fn twin(&self, name: &str, sha256: &Digest) -> Option<PathBuf> {
        let folders = fs::read_dir(self.root.join("models")).ok()?.flatten().map(|entry| entry.path());
        folders.into_iter().find(|dir| holds(dir, name, sha256)).map(|dir| dir.join(name))
    }

    /// Waits for the lock and sweeps what killed pulls have left.
    pub fn lock(&self, progress: Progress) -> Result<Lock> {
        let path = self.root.join("pull.lock");
        let failed = |e| Error::writing(&self.root, "the lock", e);
        fs::create_dir_all(&self.root).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.say("another bellows is fetching into the same folder: waiting for it");
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let tmp = self.root.join("tmp");
        // Under the lock nobody else writes here: whatever is left belongs to a puller that was killed.
        let _ = fs::remove_dir_all(&tmp);
        fs::create_dir_all(&tmp).map_err(|e| Error::writing(&tmp, "temporary files", e))?;
        Ok(Lock { _file: file, tmp })
    }
}

impl Lock {
    /// Folder for temporary files, on the same file system as the rest; gone when the lock is.
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// Installs what `source` gives as `dir/name`, whole or not at all, if it has the sha256 expected.
    pub fn install(&self, source: &mut dyn Read, dir: &Path, name: &str, expected: &Digest) -> Result<u64> {
        let failed = |path: &Path, e| Error::writing(path, name, e);
        fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        let temporary = self.tmp.join(format!("{name}.part"));
        let mut file = File::create(&temporary).map_err(|e| failed(&temporary, e))?;
        let (found, bytes) = copy_hashed(source, &mut file).map_err(|e| failed(&temporary, e))?;
        if found != expected.as_str() {
            let expected = expected.to_string();
            return Err(Error::HashMismatch { what: name.to_owned(), expected, found });
        }
        file.sync_all().map_err(|e| failed(&temporary, e))?;
        fs::rename(&temporary, dir.join(name)).map_err(|e| failed(dir, e))?;
        note(&self.tmp, dir, name, Checked { sha256: found, bytes }).map_err(|e| failed(dir, e))?;
        sync_folder(dir).map_err(|e| failed(dir, e))?;
        Ok(bytes)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.tmp);
    }
}

/// Whether `dir/name` is there and is what it should be: by its receipt where it has one, else by its sha256.
pub fn holds(dir: &Path, name: &str, expected: &Digest) -> bool {
    let Ok(meta) = fs::metadata(dir.join(name)) else { return false };
    match receipt(dir).0.get(name) {
        Some(checked) => checked.sha256 == expected.as_str() && checked.bytes == meta.len() && meta.is_file(),
        None => sha256_of(&dir.join(name)).is_ok_and(|found| found == expected.as_str()),
    }
}

/// The sha256 of a file, in lower-case hex.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::reading(path, e))?;
    copy_hashed(&mut file, &mut std::io::sink()).map(|(sha256, _)| sha256).map_err(|e| Error::reading(path, e))
}

/// The sha256 of bytes, in lower-case hex.
pub fn sha256_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn copy_hashed(source: &mut dyn Read, target: &mut dyn Write) -> std::io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
        total += read as u64;
    }
    Ok((hex(&hasher.finalize()), total))
}

fn receipt(dir: &Path) -> Receipt {
    fs::read(dir.join(RECEIPT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Notes in the folder's receipt what was checked.
fn note(tmp: &Path, dir: &Path, name: &str, checked: Checked) -> std::io::Result<()> {
    let mut receipt = receipt(dir);
    receipt.0.insert(name.to_owned(), checked);
    let temporary = tmp.join(RECEIPT);
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(&receipt)?)?;
    file.sync_all()?;
    fs::rename(temporary, dir.join(RECEIPT))
}

fn sync_folder(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
