//! Pictures on the disk, and in somebody's bucket.

use crate::edge;
use crate::edge::bucket::Bucket;
use bellows_core::image::{Kind, sniff};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What images are called.
const EXTENSIONS: [&str; 10] = ["jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "avif"];
/// Bytes that tell an image by itself.
const HEAD: u64 = 80;
/// Objects of one listing.
const PAGE: usize = 1000;

/// Where pictures lie.
#[derive(Clone, Debug)]
pub enum Source {
    Disk,
    /// Their paths are keys.
    Bucket(Bucket),
}

/// A file that was found, not read yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// How it is called in tables: below the folder that was named, with `/` between levels; a file that was named
    /// itself by its name alone.
    pub file: String,
    pub path: PathBuf,
}

/// A file as it is sent.
#[derive(Clone, Debug)]
pub struct Picture {
    pub file: String,
    pub bytes: Bytes,
    /// Lower-case hex.
    pub sha256: String,
}

/// All files named, and the images below the folders named, each folder's in the order of their names. An image is what
/// begins like one or is called like one: a broken one is asked for, a table beside them is not. What begins with a dot
/// is left out, and links to folders are not followed.
pub fn find(paths: &[PathBuf]) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in paths {
        let told = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if std::fs::metadata(path).map_err(told)?.is_dir() {
            let from = found.len();
            walk(path, "", &mut found).map_err(told)?;
            found[from..].sort();
        } else {
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            found.push(Found { file, path: path.clone() });
        }
    }
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<Found>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let (file, path) = (format!("{prefix}{name}"), entry.path());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&path, &format!("{file}/"), found)?;
        } else if (kind.is_file() || kind.is_symlink() && path.is_file()) && is_image(&path)? {
            found.push(Found { file, path });
        }
    }
    Ok(())
}

/// The objects of a bucket whose key begins with `prefix` and is called like an image, in the order of their keys.
pub async fn find_objects(bucket: &Bucket, prefix: &str) -> edge::Result<Vec<Found>> {
    let folder = prefix.rfind('/').map_or(0, |end| end + 1);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = bucket.list_foreign(prefix, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.key.clone());
        let images = page.into_iter().map(|object| object.key).filter(|key| is_called_like_one(Path::new(key)));
        found.extend(images.map(|key| Found { file: key[folder..].to_owned(), path: key.into() }));
    }
}

fn is_called_like_one(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

fn is_image(path: &Path) -> io::Result<bool> {
    if is_called_like_one(path) {
        return Ok(true);
    }
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(sniff(&head) != Kind::Unknown)
}

/// Reads one.
pub fn read(found: &Found) -> io::Result<Picture> {
    let bytes =
        std::fs::read(&found.path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", found.path.display())))?;
    Ok(Picture::new(found, bytes.into()))
}

impl Source {
    /// Reads one.
    pub async fn read(&self, found: &Found) -> io::Result<Picture> {
        let Source::Bucket(bucket) = self else { return read(found) };
        let key = found.path.to_string_lossy();
        let object = bucket.get_foreign(&key).await.map_err(io::Error::other)?;
        let object = object.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{key}: it is gone")))?;
        Ok(Picture::new(found, object.bytes))
    }
}

impl Picture {
    fn new(found: &Found, bytes: Bytes) -> Picture {
        let sha256 = Sha256::digest(&bytes).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Picture { file: found.file.clone(), bytes, sha256 }
    }

    /// Its name without folders.
    pub fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_walked_in_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("b/.git")).unwrap();
        for file in ["c.png", "b/z.png", "b/a.png", "b/.git/x", ".hidden"] {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        std::fs::write(dir.path().join("b/table.csv"), "file,label").unwrap();
        std::fs::write(dir.path().join("photo"), [0xff, 0xd8, 0xff, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let files = |paths: &[PathBuf]| find(paths).unwrap().into_iter().map(|f| f.file).collect::<Vec<_>>();
        assert_eq!(files(&[dir.path().to_owned()]), ["b/a.png", "b/z.png", "c.png", "photo"]);
        assert_eq!(files(&[dir.path().join("b/z.png"), dir.path().join("b")]), ["z.png", "a.png", "z.png"]);
        let error = find(&[dir.path().join("absent")]).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }

    #[test]
    fn a_picture_knows_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b.png"), "abc").unwrap();
        let picture = read(&find(&[dir.path().to_owned()]).unwrap()[0]).unwrap();
        assert_eq!((picture.file.as_str(), picture.name(), &picture.bytes[..]), ("a/b.png", "b.png", &b"abc"[..]));
        assert_eq!(picture.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
