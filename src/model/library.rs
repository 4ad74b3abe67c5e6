//! Which ONNX Runtime runs: an explicit setting, ORT_DYLIB_PATH, our own data folder, beside the executable, the
//! system's library folders, in this order; and the pinned one that is fetched where none is found.

use super::error::{Error, Result};
use super::manifest::{Digest, Invalid};
use super::store::{Store, holds};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub path: PathBuf,
    /// "1.32.0", as its file name or else the library itself says it.
    pub version: String,
    pub origin: Origin,
}

/// Why this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Setting,
    Environment,
    DataFolder,
    BesideExecutable,
    System,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::Setting => "model.engine",
            Origin::Environment => "ORT_DYLIB_PATH",
            Origin::DataFolder => "data folder",
            Origin::BesideExecutable => "beside the executable",
            Origin::System => "system",
        }
    }
}

/// The ONNX Runtime that is fetched, from models/engine.toml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pub name: String,
    pub package: String,
    pub version: String,
    pub licence: String,
    platforms: Vec<Platform>,
}

/// The pinned wheel of one platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    os: String,
    arch: String,
    /// pip's options that choose the wheel whatever the running Python is.
    pub pip: Vec<String>,
    pub wheel_sha256: Digest,
    pub wheel_bytes: Option<u64>,
    pub member: String,
    pub member_sha256: Digest,
    pub member_bytes: Option<u64>,
}

impl Pin {
    pub fn read() -> Result<Pin> {
        let invalid = |e: toml::de::Error| Invalid { source_name: "models/engine.toml".into(), problem: e.to_string() };
        Ok(toml::from_str(include_str!("../../models/engine.toml")).map_err(invalid)?)
    }

    /// "ONNX Runtime 1.32.0".
    pub fn what(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The wheel for this machine.
    pub fn here(&self) -> Result<&Platform> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        // musl has no wheel of its own here, and glibc's library cannot be loaded into it.
        let usable = !cfg!(target_env = "musl");
        let found = self.platforms.iter().find(|p| usable && p.os == os && p.arch == arch);
        let libc = if usable { "" } else { " with musl" };
        found.ok_or_else(|| Error::NoPinnedEngine { platform: format!("{os} {arch}{libc}") })
    }
}

impl Platform {
    /// Name of the library as it is installed in the data folder.
    pub fn file_name(&self) -> &str {
        self.member.rsplit('/').next().unwrap_or(&self.member)
    }
}

/// Where to look; tests give their own.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub setting: Option<PathBuf>,
    pub environment: Option<PathBuf>,
    pub executable: Option<PathBuf>,
    pub system: Vec<PathBuf>,
}

impl Places {
    /// Of this process.
    pub fn here(setting: Option<&Path>) -> Places {
        let folders = [
            "/usr/local/lib",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/opt/homebrew/lib",
            "/run/current-system/sw/lib",
        ];
        Places {
            setting: setting.map(Path::to_owned),
            environment: std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()).map(PathBuf::from),
            executable: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)),
            system: folders.iter().map(PathBuf::from).collect(),
        }
    }

    /// The error for a search that found nothing.
    pub(super) fn nothing_in(&self, store: &Store) -> Error {
        let folders = std::iter::once(store.engine()).chain(self.executable.clone()).chain(self.system.clone());
        let looked = folders.map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
        Error::NoEngine { looked }
    }
}

/// The library to run, `None` where there is none.
pub fn find(places: &Places, store: &Store, pin: &Pin) -> Result<Option<Library>> {
    for (path, origin) in [(&places.setting, Origin::Setting), (&places.environment, Origin::Environment)] {
        if let Some(path) = path {
            // Named by a person: used or refused, never passed over.
            let found = if path.is_dir() { newest(path) } else { path.is_file().then(|| path.clone()) };
            let path = found.ok_or_else(|| Error::EngineAbsent { origin: origin.name(), path: path.clone() })?;
            return Ok(Some(library(path, origin)));
        }
    }
    let ours = pin.here().ok().filter(|p| holds(&store.engine(), p.file_name(), &p.member_sha256));
    if let Some(platform) = ours {
        return Ok(Some(library(store.engine().join(platform.file_name()), Origin::DataFolder)));
    }
    let beside = places.executable.iter().map(|dir| (dir, Origin::BesideExecutable));
    let system = places.system.iter().map(|dir| (dir, Origin::System));
    let found = beside.chain(system).find_map(|(dir, origin)| newest(dir).map(|path| library(path, origin)));
    Ok(found)
}

fn library(path: PathBuf, origin: Origin) -> Library {
    let version = version(&path).or_else(|| super::engine::asked(&path)).unwrap_or_else(|| "unknown".into());
    Library { path, version, origin }
}

/// The newest library of a folder that is new enough for us.
fn newest(dir: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| {
        name.starts_with("libonnxruntime.") && (name.contains(".so") || name.strip_suffix(".dylib").is_some())
    };
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let paths = entries.filter(|e| e.file_name().to_str().is_some_and(is_library)).map(|e| e.path());
    let with_version = paths.filter_map(|path| version(&path).and_then(|v| numbers(&v)).map(|v| (v, path)));
    with_version.filter(|(version, _)| *version >= OLDEST).max().map(|(_, path)| path)
}

/// The oldest ONNX Runtime whose interface has what we call (the cargo feature `api-17` of ort).
const OLDEST: [u32; 3] = [1, 17, 0];

/// "1.32.0" of `libonnxruntime.so.1.32.0` or `libonnxruntime.1.32.0.dylib`, links followed.
pub fn version(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let name = real.file_name()?.to_str()?.strip_prefix("libonnxruntime.")?;
    let version = name.strip_prefix("so.").or_else(|| name.strip_suffix(".dylib"))?;
    numbers(version).map(|_| version.to_owned())
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn the_order_is_kept_and_what_is_too_old_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("data"));
        let pin = Pin::read().unwrap();
        let (beside, system) = (dir.path().join("bin"), dir.path().join("lib"));
        let mut places = Places { executable: Some(beside.clone()), system: vec![system.clone()], ..Places::default() };
        let find = |places: &Places| find(places, &store, &pin);

        assert_eq!(find(&places).unwrap(), None);
        touch(&system, "libonnxruntime.so.1.16.3");
        touch(&system, "libonnxruntime_providers_shared.so");
        assert_eq!(find(&places).unwrap(), None);
        touch(&system, "libonnxruntime.so.1.21.0");
        let newest = touch(&system, "libonnxruntime.so.1.100.0");
        let found = find(&places).unwrap().unwrap();
        assert_eq!(found, Library { path: newest, version: "1.100.0".into(), origin: Origin::System });
        touch(&beside, "libonnxruntime.so.1.20.0");
        assert_eq!(find(&places).unwrap().unwrap().origin, Origin::BesideExecutable);

        places.environment = Some(touch(dir.path(), "my-engine.so"));
        let found = find(&places).unwrap().unwrap();
        assert_eq!((found.origin, found.version.as_str()), (Origin::Environment, "unknown"));
        places.setting = Some(dir.path().join("absent.so"));
        assert!(matches!(find(&places), Err(Error::EngineAbsent { origin: "model.engine", .. })));
    }

    #[test]
    fn the_pin_names_wheels_of_several_platforms() {
        let pin = Pin::read().unwrap();
        assert!(!pin.platforms.is_empty());
        assert!(pin.platforms.iter().all(|p| p.file_name().contains(&pin.version)), "{pin:?}");
    }
}
