//! Checks all files again, byte by byte: wrong contents of the right length would load and answer wrongly.

use super::catalogue::Model;
use super::error::{Error, Result};
use super::library::{self, Origin, Pin, Places};
use super::store::{Store, sha256_of};
use super::{ModelSettings, manifest::Digest};
use std::path::{Path, PathBuf};

/// What was checked, and how it ended.
#[derive(Debug)]
pub struct Check {
    pub what: String,
    pub path: PathBuf,
    pub outcome: Result<Verdict>,
}

/// A file that is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its sha256 is the pinned one.
    Right,
    /// Another library than the pinned one runs here: there is nothing to compare it with.
    NotPinned,
}

/// Checks the engine that would run, the graph and the weights.
pub fn verify(settings: &ModelSettings) -> Result<Vec<Check>> {
    verify_with(settings, &Places::here(settings.engine.as_deref()))
}

/// The same with other places: for tests.
pub fn verify_with(settings: &ModelSettings, places: &Places) -> Result<Vec<Check>> {
    let (store, pin, model) = (Store::open(settings.dir.as_deref())?, Pin::read()?, Model::of(settings)?);
    let mut checks = vec![engine(places, &store, &pin)?];
    let beside = model.beside();
    let home = beside.filter(|home| model.files().iter().all(|file| home.join(file.name).is_file()));
    let dir = home.unwrap_or_else(|| store.model(model.name()));
    for file in model.files() {
        let path = dir.join(file.name);
        let outcome = compare(&path, file.sha256).map(|()| Verdict::Right);
        checks.push(Check { what: file.what.into_owned(), path, outcome });
    }
    Ok(checks)
}

fn engine(places: &Places, store: &Store, pin: &Pin) -> Result<Check> {
    let what = pin.what();
    // Ours by its place, not by its receipt, which is what is in doubt.
    let ours = pin.here().ok().map(|platform| (store.engine().join(platform.file_name()), &platform.member_sha256));
    let found = library::find(places, store, pin)?;
    match (found, ours) {
        (Some(library), _) if library.origin != Origin::DataFolder => {
            let what = format!("ONNX Runtime {} ({})", library.version, library.origin.name());
            Ok(Check { what, path: library.path, outcome: Ok(Verdict::NotPinned) })
        }
        (_, Some((path, sha256))) => {
            let outcome = compare(&path, sha256).map(|()| Verdict::Right);
            Ok(Check { what, path, outcome })
        }
        _ => Err(places.nothing_in(store)),
    }
}

fn compare(path: &Path, expected: &Digest) -> Result<()> {
    let found = sha256_of(path)?;
    if found == expected.as_str() {
        return Ok(());
    }
    Err(Error::Changed { path: path.to_owned(), expected: expected.to_string(), found })
}
