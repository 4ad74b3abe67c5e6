//! One file out of a wheel, which is a zip archive.

use super::super::error::{Error, Result};
use super::super::store::Lock;
use super::pip::Wheel;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

/// Installs the member wanted of the wheel at `path` as `dir/name`; its size.
pub fn install(lock: &Lock, wheel: &Wheel<'_>, path: &Path, (dir, name): (&Path, &str)) -> Result<u64> {
    let file = File::open(path).map_err(|e| Error::reading(path, e))?;
    let broken = |e: ZipError| match e {
        ZipError::FileNotFound => Error::MissingMember { archive: path.to_owned(), member: wheel.member.to_owned() },
        ZipError::Io(source) => Error::reading(path, source),
        other => Error::reading(path, std::io::Error::other(other)),
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let mut source = archive.by_name(wheel.member).map_err(broken)?;
    lock.install(&mut source, dir, name, wheel.member_sha256)
}
