//! Small file systems in memory, which can be full, or read-only, without harm to the machine's own.

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A file system of its own, gone with the guard.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Mounts one with these options (`size=1m`). `None`, and a word about it, where mounting is not permitted; root's
    /// tests in CI do not pass by without it.
    pub fn mount(options: &str) -> Option<Disk> {
        let disk = Disk { folder: tempfile::Builder::new().prefix("bellows-disk-").tempdir().unwrap() };
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "bellows-test"]).arg(disk.path()).output();
        let failed = match output {
            Ok(output) if output.status.success() => return Some(disk),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(e) => e.to_string(),
        };
        let must = std::env::var_os("CI").is_some() && rustix::process::getuid().is_root();
        assert!(!must, "no small file system for this test: {failed}");
        println!("skipped: a small file system cannot be mounted here: {failed}");
        None
    }

    pub fn remount(&self, options: &str) {
        let output = Command::new("mount").arg("-o").arg(format!("remount,{options}")).arg(self.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).output();
    }
}
