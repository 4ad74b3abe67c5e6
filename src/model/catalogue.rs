//! The models that are compiled in, and a person's own by path.

use super::ModelSettings;
use super::error::{Error, Result};
use super::manifest::{Graph, Invalid, Manifest};
use super::store::{Store, holds};
use bellows_core::label;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A model of the catalogue: its manifest and what lies beside it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    manifest: &'static str,
    labels: &'static str,
    /// None where the graph is fetched.
    graph: Option<&'static [u8]>,
}

const IMAGENET: &str = include_str!("../../models/imagenet-labels.txt");

macro_rules! entry {
    ($name:literal, graph) => {
        Entry {
            name: $name,
            manifest: include_str!(concat!("../../models/", $name, ".toml")),
            labels: IMAGENET,
            graph: Some(include_bytes!(concat!("../../models/", $name, ".onnx"))),
        }
    };
    ($name:literal) => {
        Entry {
            name: $name,
            manifest: include_str!(concat!("../../models/", $name, ".toml")),
            labels: IMAGENET,
            graph: None,
        }
    };
}

/// All models of the catalogue, the default first.
pub const CATALOGUE: &[Entry] = &[
    entry!("efficientnet-lite0", graph),
    entry!("efficientnet-lite0-int8", graph),
    entry!("efficientnet-lite0-fp32", graph),
    entry!("efficientnet-lite2", graph),
    entry!("efficientnet-lite2-fp32", graph),
    entry!("efficientnet-lite4-11"),
    entry!("mobilenetv2-12"),
    entry!("mobilenetv2-12-int8"),
    entry!("resnet18-v1-7"),
    entry!("resnet50-v1-12"),
    entry!("resnet50-v1-12-int8"),
    entry!("squeezenet1.1-7"),
];

/// A model whose manifest was read: what it needs, not yet whether that is there.
#[derive(Clone, Debug)]
pub struct Model {
    pub manifest: Manifest,
    /// First name of every class, in index order.
    pub labels: Vec<String>,
    /// The graph, where it is compiled in.
    pub(super) graph: Option<&'static [u8]>,
    /// The manifest's own folder, for a person's own model.
    pub(super) folder: Option<PathBuf>,
}

impl Model {
    /// The model that the settings name.
    pub fn of(settings: &ModelSettings) -> Result<Model> {
        match &settings.manifest {
            Some(path) => Model::read(path),
            None => Model::named(&settings.name),
        }
    }

    /// A model of the catalogue.
    pub fn named(name: &str) -> Result<Model> {
        let entry = CATALOGUE.iter().find(|entry| entry.name == name).ok_or_else(|| Error::UnknownModel {
            name: name.to_owned(),
            known: CATALOGUE.iter().map(|entry| entry.name.to_owned()).collect(),
        })?;
        Ok(Model {
            manifest: Manifest::parse(&format!("models/{name}.toml"), entry.manifest)?,
            labels: label::names(entry.labels),
            graph: entry.graph,
            folder: None,
        })
    }

    /// A person's own.
    pub fn read(path: &Path) -> Result<Model> {
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| Error::reading(path, e));
        let manifest = Manifest::parse(&path.display().to_string(), &read(path)?)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let labels = label::names(&read(&folder.join(&manifest.labels))?);
        if labels.is_empty() {
            let problem = "`labels`: expected a file with a line a class, it is empty".into();
            return Err(Invalid { source_name: path.display().to_string(), problem }.into());
        }
        Ok(Model { manifest, labels, graph: None, folder: Some(folder) })
    }

    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Names and digests of the files that the engine reads: the graph, and the weights that it names.
    pub(super) fn files(&self) -> Vec<File<'_>> {
        let Graph { file, sha256, url, bytes } = &self.manifest.graph;
        let name = file.rsplit('/').next().unwrap_or(file);
        let origin = match (self.graph, &self.folder, url) {
            (Some(graph), _, _) => Origin::Memory(graph),
            (None, Some(folder), _) if folder.join(file).exists() => Origin::File(folder.join(file)),
            (None, _, Some(url)) => Origin::Url(url),
            (None, folder, None) => Origin::File(folder.clone().unwrap_or_default().join(file)),
        };
        let bytes = bytes.or(self.graph.map(|graph| graph.len() as u64));
        let graph = File { what: Cow::from(format!("graph of {}", self.name())), name, sha256, bytes, origin };
        let weights = self.manifest.weights.as_ref().map(|weights| {
            let beside = self.folder.as_ref().map(|folder| folder.join(weights.file_name()));
            let origin = match (beside, weights) {
                (Some(beside), _) if beside.exists() => Origin::File(beside),
                (_, super::manifest::Weights::Package(package)) => Origin::Wheel(package),
                (_, super::manifest::Weights::Url(remote)) => Origin::Url(&remote.url),
            };
            let what = Cow::from(format!("weights of {}", self.name()));
            File { what, name: weights.file_name(), sha256: weights.sha256(), bytes: weights.bytes(), origin }
        });
        std::iter::once(graph).chain(weights).collect()
    }

    /// The graph's folder below the manifest's, for a person's own model.
    pub(super) fn beside(&self) -> Option<PathBuf> {
        self.folder.as_ref()?.join(&self.manifest.graph.file).parent().map(Path::to_owned)
    }

    /// The folder that holds everything: the manifest's own, where it can be used as it is, else the data folder's.
    pub(super) fn complete_in(&self, store: &Store) -> Option<PathBuf> {
        let complete = |dir: &PathBuf| self.files().iter().all(|file| holds(dir, file.name, file.sha256));
        self.beside().filter(complete).or_else(|| Some(store.model(self.name())).filter(complete))
    }

    /// Bytes of all files, where all are known.
    pub fn bytes(&self) -> Option<u64> {
        self.files().iter().map(|file| file.bytes).sum()
    }

    /// Whether nothing is left to fetch.
    pub fn is_installed(&self, store: &Store) -> bool {
        self.complete_in(store).is_some()
    }
}

/// One file of a model, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct File<'a> {
    pub what: Cow<'a, str>,
    pub name: &'a str,
    pub sha256: &'a super::manifest::Digest,
    pub bytes: Option<u64>,
    pub origin: Origin<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Origin<'a> {
    Memory(&'static [u8]),
    File(PathBuf),
    Wheel(&'a super::manifest::Package),
    Url(&'a str),
}

#[cfg(test)]
mod tests {
    use super::super::store::sha256_of_bytes;
    use super::*;

    #[test]
    fn every_manifest_is_sound_and_fits_its_graph() {
        for entry in CATALOGUE {
            let model = Model::named(entry.name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(model.name(), entry.name);
            assert_eq!(model.labels.len(), 1000, "{}", entry.name);
            assert!(model.bytes().is_some(), "{}", entry.name);
            match entry.graph {
                Some(graph) => assert_eq!(sha256_of_bytes(graph), model.manifest.graph.sha256.as_str()),
                None => assert!(model.manifest.graph.url.is_some(), "{}", entry.name),
            }
        }
    }

    #[test]
    fn nothing_in_the_folder_is_forgotten() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let names = files.filter_map(|file| file.strip_suffix(".toml").map(str::to_owned));
        // The engine's pin, the tests' fixture, and a template whose graph people bring.
        let others = ["engine", "fixture-colours", "resnet18-raw"];
        let mut expected: Vec<String> = names.filter(|name| !others.contains(&name.as_str())).collect();
        expected.sort();
        let mut known: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
        known.sort_unstable();
        assert_eq!(known, expected);
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let error = Model::named("resnet-9000").unwrap_err().to_string();
        assert!(error.contains("resnet-9000") && error.contains("efficientnet-lite0"), "{error}");
    }
}
