//! What the local edges ask of the file system beyond reading and writing files.

use super::{Error, Kind, Result};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Bytes that an ordinary user may still write to the file system of `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|e| Error::io("disk.free", path.display(), e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes a new entry of `folder`, or the loss of one, survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` with all its parents, durably.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    create_folders(parent)?;
    match fs::create_dir(folder) {
        // somebody else made it, and may not have come to the fsync yet
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Refuses file systems whose locks and shared memory do not hold between machines, or not at all.
#[cfg(target_os = "linux")]
pub fn refuse_network(folder: &Path) -> Result<()> {
    /// Magic numbers of statfs(2), with the names people know.
    const NETWORK: [(u64, &str); 11] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x564c, "NCP"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
        (0x00c3_6400, "Ceph"),
        (0x0bd0_0bd0, "Lustre"),
        (0x0116_1970, "GFS2"),
        (0x0102_1997, "9P"),
    ];
    let stat = rustix::fs::statfs(folder).map_err(|e| Error::io("disk.open", folder.display(), e.into()))?;
    // the field is 32 bits of magic, sign-extended on some machines
    let magic = stat.f_type as u64 & 0xffff_ffff;
    match NETWORK.iter().find(|(known, _)| *known == magic) {
        Some((_, name)) => Err(Error::new(
            Kind::Invalid,
            "disk.open",
            format!(
                "{} lies on a network file system ({name}), where locks and shared memory cannot be relied upon: \
                 put the state folder on a local disk",
                folder.display()
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn refuse_network(_folder: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_folder_has_room_and_is_no_network_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folders(&deep).unwrap();
        create_folders(&deep).unwrap();
        assert!(free_bytes(&deep).unwrap() > 0);
        refuse_network(&deep).unwrap();
        assert_eq!(free_bytes(&deep.join("absent")).unwrap_err().kind, Kind::NotFound);
    }
}
