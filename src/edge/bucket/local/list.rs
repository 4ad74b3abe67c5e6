//! Listing keys in order out of folders.
//!
//! Cost: the names of every folder that is entered are read and sorted, and only the objects that are given back are
//! looked at. A prefix that ends in `/` enters that folder alone; a small limit enters no more folders than it needs.
//! So `<id>/` is one small folder, whatever the bucket holds, while the empty prefix reads all names of the root on
//! every call: who walks a large bucket asks for thousands at a time.

use super::super::{Meta, is_segment};
use super::files::{PRIVATE, modified};
use std::fs;
use std::io;
use std::path::Path;

pub(super) struct Query<'q> {
    pub prefix: &'q str,
    pub after: Option<&'q str>,
    pub limit: usize,
}

pub(super) fn list(root: &Path, query: &Query<'_>) -> io::Result<Vec<Meta>> {
    let base = query.prefix.rfind('/').map_or("", |slash| &query.prefix[..=slash]);
    let mut found = Vec::new();
    query.walk(&root.join(base), base, &mut found)?;
    Ok(found)
}

impl Query<'_> {
    /// Appends what `folder` holds, whose keys all begin with `base`.
    fn walk(&self, folder: &Path, base: &str, found: &mut Vec<Meta>) -> io::Result<()> {
        let mut keys = self.keys(folder, base)?;
        keys.sort_unstable();
        for key in keys {
            if found.len() >= self.limit {
                break;
            }
            let path = folder.join(&key[base.len()..]);
            if key.ends_with('/') {
                self.walk(&path, &key, found)?;
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(file) => found.push(Meta { size: file.len(), modified: modified(&file), key }),
                // deleted since we read the folder
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The keys in one folder that may belong to the answer. Subfolders end in `/`, which sorts them where their
    /// objects belong.
    fn keys(&self, folder: &Path, base: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            // what is no segment is not ours: our own private files, and what people leave in folders
            let Some(name) = name.to_str().filter(|name| is_segment(name) && *name != PRIVATE) else { continue };
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let key = format!("{base}{name}{}", if kind.is_dir() { "/" } else { "" });
            if (kind.is_file() && self.wants(&key)) || (kind.is_dir() && self.may_hold(&key)) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    fn wants(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// Whether a folder (its keys' common beginning) may hold a wanted object.
    fn may_hold(&self, folder: &str) -> bool {
        (folder.starts_with(self.prefix) || self.prefix.starts_with(folder))
            && self.after.is_none_or(|after| folder > after || after.starts_with(folder))
    }
}
