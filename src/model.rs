//! The model and its engine: from a name in the configuration to sessions that classify.
//!
//! [`ensure`] makes sure that everything is there (fetching it where that is allowed), [`Sessions::start`] loads it
//! and gives the handle that the app tier uses.

pub mod catalogue;
pub mod engine;
pub mod error;
pub mod library;
pub mod manifest;
pub mod progress;
pub mod pull;
pub mod sessions;
pub mod store;
pub mod verify;

pub use error::{Error, Result};
pub use progress::Progress;
pub use sessions::Sessions;

use catalogue::Model;
use library::{Library, Pin, Places};
use pull::Pull;
use pull::tools::Tools;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::Store;

/// Which model, from where: the section `model` of the configuration.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// A model of the catalogue; unused where `manifest` is set.
    pub name: String,
    /// A manifest of one's own.
    pub manifest: Option<PathBuf>,
    pub pull: PullPolicy,
    /// The data folder; the XDG one where unset.
    pub dir: Option<PathBuf>,
    /// The ONNX Runtime library, or a folder with it.
    pub engine: Option<PathBuf>,
    /// Images with more pixels are refused before they are decoded.
    pub max_pixels: u64,
}

/// The most pixels of an image, unless the configuration says otherwise: 64 M.
pub const MAX_PIXELS: u64 = 64 << 20;

impl Default for ModelSettings {
    fn default() -> ModelSettings {
        ModelSettings {
            name: catalogue::CATALOGUE.first().map(|entry| entry.name).unwrap_or_default().to_owned(),
            manifest: None,
            pull: PullPolicy::Missing,
            dir: None,
            engine: None,
            max_pixels: MAX_PIXELS,
        }
    }
}

/// Whether what is missing may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    Missing,
    Never,
}

/// A model with all its files, and the engine that will run it.
#[derive(Clone, Debug)]
pub struct Installed {
    pub model: Model,
    /// The graph; its weights lie beside it.
    pub graph: PathBuf,
    pub library: Library,
    pub max_pixels: u64,
}

/// Makes sure that the model and an engine are there, and says where. Blocks while it fetches.
pub fn ensure(settings: &ModelSettings, progress: Progress) -> Result<Installed> {
    ensure_with(settings, progress, &Tools::inherited(), &Places::here(settings.engine.as_deref()))
}

/// The same with other tools and places: for tests.
pub fn ensure_with(settings: &ModelSettings, progress: Progress, tools: &Tools, places: &Places) -> Result<Installed> {
    let (store, pin, model) = (Store::open(settings.dir.as_deref())?, Pin::read()?, Model::of(settings)?);
    let pull = Pull { store: &store, tools, progress };
    // Both are looked for before the first byte is fetched: a wrong setting is told at once.
    let found = library::find(places, &store, &pin)?;
    let library = match (found, settings.pull) {
        (Some(library), _) => library,
        (None, PullPolicy::Missing) => {
            pull.engine(&pin)?;
            library::find(places, &store, &pin)?.ok_or_else(|| places.nothing_in(&store))?
        }
        (None, PullPolicy::Never) => return Err(places.nothing_in(&store)),
    };
    let graph = model_files(settings, &model, &store, &pull)?;
    Ok(Installed { model, graph, library, max_pixels: settings.max_pixels })
}

/// Path of the graph, with its weights beside it.
fn model_files(settings: &ModelSettings, model: &Model, store: &Store, pull: &Pull<'_>) -> Result<PathBuf> {
    let graph = model.files().first().map(|file| file.name).unwrap_or_default().to_owned();
    if let Some(dir) = model.complete_in(store) {
        return Ok(dir.join(graph));
    }
    if settings.pull == PullPolicy::Missing {
        pull.model(model)?;
        return Ok(store.model(model.name()).join(graph));
    }
    let dir = store.model(model.name());
    let files = model.files();
    let missing = files.iter().find(|file| !store::holds(&dir, file.name, file.sha256)).map(|file| file.name);
    let missing = missing.unwrap_or(model.name()).to_owned();
    Err(Error::NotInstalled { model: model.name().to_owned(), missing, dir })
}
