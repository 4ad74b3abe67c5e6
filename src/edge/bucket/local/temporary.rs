//! Files that are not finished yet, and what becomes of them.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file, perhaps in a folder of its own, that is removed unless it has been placed.
pub(super) struct Temporary {
    pub file: PathBuf,
    pub folder: Option<PathBuf>,
    /// Under its final name: what has the old one by now is somebody else's.
    pub placed: bool,
}

impl Temporary {
    /// A new file called `own`, or in a new folder of that name.
    pub(super) fn create(own: PathBuf, in_folder: Option<&OsStr>) -> io::Result<(Temporary, File)> {
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let Some(name) = in_folder else {
            let file = create(&own)?;
            return Ok((Temporary { file: own, folder: None, placed: false }, file));
        };
        fs::create_dir(&own)?;
        let temporary = Temporary { file: own.join(name), folder: Some(own), placed: false };
        let file = create(&temporary.file)?;
        Ok((temporary, file))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        // what cannot be removed a sweep finds
        let _ = fs::remove_file(&self.file);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}
