//! Which small objects are known to be durable, so that writing the same once more need not wait for the disk.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Most objects remembered; then all are forgotten, and each costs one fsync to be known again.
const MOST: usize = 4096;

/// A file for all time: the number alone goes to the next new file.
type Identity = (u64, SystemTime);

/// Objects by their path, each as the file that was under it when its folder was fsynced.
#[derive(Debug, Default)]
pub(super) struct Durable(Mutex<BTreeMap<PathBuf, Identity>>);

impl Durable {
    /// Whether the file under this path is the one that was made durable there: what another process has put in its
    /// place since then may not be.
    pub(super) fn holds(&self, path: &Path, file: &Metadata) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        identity(file).is_some_and(|identity| known.get(path) == Some(&identity))
    }

    /// Remembers a file whose folder has been fsynced since the file was seen under its path.
    pub(super) fn add(&self, path: PathBuf, file: &Metadata) {
        let Some(identity) = identity(file) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(path, identity);
    }
}

/// None where the file system does not know when a file was made.
fn identity(file: &Metadata) -> Option<Identity> {
    Some((file.ino(), file.created().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_very_file_that_was_seen_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("label"), folder.path().join("other"));
        let write = |path: &Path| {
            fs::write(path, "same").unwrap();
            fs::metadata(path).unwrap()
        };
        let (durable, first) = (Durable::default(), write(&path));
        assert!(!durable.holds(&path, &first));
        durable.add(path.clone(), &first);
        assert!(durable.holds(&path, &fs::metadata(&path).unwrap()));
        assert!(!durable.holds(&other, &first));
        write(&other);
        fs::rename(&other, &path).unwrap();
        assert!(!durable.holds(&path, &fs::metadata(&path).unwrap()));
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let (durable, file) = (Durable::default(), fs::metadata(folder.path()).unwrap());
        for n in 0..=MOST {
            durable.add(PathBuf::from(n.to_string()), &file);
        }
        assert_eq!(durable.0.lock().unwrap().len(), 1);
    }
}
