//! Where settings are looked for, in order; reading and checking each layer by itself.

use super::error::{Origin, Problem};
use super::keys::{self, Variable};
use super::layers::{self, Document, Layer, Place};
use super::scalar::Scalar;
use super::values::FilePath;
use figment::Figment;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Larger documents are refused: a configuration has a few kilobytes.
const MAX_DOCUMENT: u64 = 1 << 20;

/// Everything the configuration is made from. Nothing else is looked at, so tests need no process environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Read where it exists: `/etc/bellows/bellows.toml`.
    pub system_file: Option<PathBuf>,
    /// Named by the user, so they must exist.
    pub files: Vec<PathBuf>,
    /// The TOML document in the instance's user data; where it is absent, `BELLOWS_USER_DATA_FILE` may name one.
    pub user_data: Option<String>,
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
    /// Cores of this machine; 0 asks it.
    pub cores: u32,
}

/// A setting on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// `--set`, `--role`, …
    pub flag: &'static str,
    pub key: String,
    pub value: String,
}

impl Sources {
    /// The value of an environment variable, where it is set and is text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().rev().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str())
    }

    /// A folder from an XDG variable (which counts only if it is absolute) or below the home folder. What is no path as
    /// a setting is none here either: it could be printed, and not be read again.
    pub(super) fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let path = |name: &str| self.variable(name).filter(|path| FilePath::parse(path).is_some());
        let named = path(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || path("HOME").filter(|h| !h.is_empty()).map(|home| Path::new(home).join(below_home));
        named.or_else(home)
    }
}

/// The layers put together.
pub(super) struct Stack {
    pub figment: Figment,
    places: Vec<Place>,
    pub problems: Vec<Problem>,
}

impl Stack {
    /// Reads every source. What is wrong with one is collected; the others still count.
    pub fn read(sources: &Sources) -> Stack {
        let mut stack = Stack { figment: Figment::new(), places: Vec::new(), problems: Vec::new() };
        stack.add_document(Origin::Default, keys::defaults().clone());
        // only what is certainly not there is passed over: a folder we may not look into is an error
        if let Some(path) = &sources.system_file
            && !matches!(path.try_exists(), Ok(false))
        {
            stack.add_file(path, "make it readable, or remove it: it is optional");
        }
        for path in sources.variable("BELLOWS_CONFIG").map(std::env::split_paths).into_iter().flatten() {
            stack.add_file(&path, "correct the list of files in BELLOWS_CONFIG, or unset it");
        }
        for path in &sources.files {
            stack.add_file(path, "correct the path after --config");
        }
        stack.add_user_data(sources);
        for (name, value) in &sources.environment {
            stack.add_variable(name, value);
        }
        for flag in &sources.flags {
            stack.add_flag(flag);
        }
        stack
    }

    /// Where the value of a key came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.figment
            .find_metadata(key)
            .and_then(|metadata| metadata.name.parse::<usize>().ok())
            .and_then(|number| self.places.get(number))
            .map_or(Origin::Default, |place| place.of(key))
    }

    /// The value of a key as it was given.
    pub fn value(&self, key: &str) -> toml::Value {
        let value = self.figment.find_value(key).ok().and_then(|value| toml::Value::try_from(value).ok());
        // there is a default for every key
        value.unwrap_or(toml::Value::String(String::new()))
    }

    fn add_file(&mut self, path: &Path, repair: &str) {
        let origin = Origin::File { path: path.to_owned(), line: None };
        match read_limited(path) {
            Ok(text) => self.add_text(origin, &text),
            Err(why) => self.problems.push(Problem {
                what: format!("the file cannot be read: {why}"),
                origin: origin.to_string(),
                expected: "a readable TOML file".into(),
                repair: Some(repair.into()),
            }),
        }
    }

    fn add_user_data(&mut self, sources: &Sources) {
        let origin = Origin::UserData { line: None };
        if let Some(text) = &sources.user_data {
            self.add_text(origin, text);
        } else if let Some(path) = sources.variable("BELLOWS_USER_DATA_FILE").filter(|path| !path.is_empty()) {
            match read_limited(Path::new(path)) {
                Ok(text) => self.add_text(origin, &text),
                Err(why) => self.problems.push(Problem {
                    what: format!("BELLOWS_USER_DATA_FILE = {path:?} cannot be read: {why}"),
                    origin: "BELLOWS_USER_DATA_FILE".into(),
                    expected: "a readable TOML file".into(),
                    repair: Some("correct the path, or unset the variable".into()),
                }),
            }
        }
    }

    fn add_text(&mut self, origin: Origin, text: &str) {
        match Document::parse(text) {
            Ok(document) => self.add_document(origin, document),
            Err(unreadable) => self.problems.push(Problem {
                what: format!("no TOML: {}", unreadable.why),
                origin: origin.at(Some(unreadable.line)).with_line(),
                expected: "lines such as `web.listen = \"127.0.0.1:3000\"`, texts in quotes".into(),
                repair: None,
            }),
        }
    }

    fn add_document(&mut self, origin: Origin, document: Document) {
        let mut values = Vec::new();
        let mut lines = Vec::new();
        let is_default = origin == Origin::Default;
        for leaf in document.leaves {
            // the default file is what the list of keys is made from
            if is_default || keys::is_known(&leaf.key) {
                lines.push((leaf.key.clone(), leaf.line));
                values.push((leaf.key, leaf.value));
            } else if !(leaf.empty_table && keys::is_table(&leaf.key)) {
                self.problems.push(unknown_key(&leaf.key, &leaf.value, &origin.clone().at(Some(leaf.line))));
            }
        }
        self.push(Place { origin, lines }, values);
    }

    fn add_variable(&mut self, name: &OsString, value: &OsString) {
        let name = name.to_string_lossy();
        let (key, value) = match (keys::of_variable(&name, &value.to_string_lossy()), value.to_str()) {
            (Variable::Foreign, _) => return,
            (Variable::Unknown, _) => return self.problems.push(unknown_variable(&name, &value.to_string_lossy())),
            (Variable::Key(key), Some(value)) => (key, value),
            (Variable::Key(_), None) => {
                return self.problems.push(Problem {
                    what: format!("{name} = {:?}", value.to_string_lossy()),
                    origin: name.into_owned(),
                    expected: "text in UTF-8".into(),
                    repair: None,
                });
            }
        };
        let place = Place { origin: Origin::Environment(name.into_owned()), lines: Vec::new() };
        self.push(place, vec![(key.to_owned(), layers::from_text(value))]);
    }

    fn add_flag(&mut self, flag: &Flag) {
        let origin = Origin::Flag(flag.flag);
        let value = layers::from_text(&flag.value);
        if keys::is_known(&flag.key) {
            self.push(Place { origin, lines: Vec::new() }, vec![(flag.key.clone(), value)]);
        } else {
            self.problems.push(unknown_key(&flag.key, &value, &origin));
        }
    }

    fn push(&mut self, place: Place, values: Vec<(String, toml::Value)>) {
        let layer = Layer { number: self.places.len(), values };
        self.places.push(place);
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }
}

fn read_limited(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let read = file.take(MAX_DOCUMENT + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if read as u64 > MAX_DOCUMENT { Err(format!("it is larger than {MAX_DOCUMENT} bytes")) } else { Ok(text) }
}

fn unknown_key(key: &str, value: &toml::Value, origin: &Origin) -> Problem {
    let near = keys::near(key);
    let (expected, repair) = if keys::is_table(key) {
        (format!("`{key}` to be a table of keys"), format!("write a line `[{key}]`, and its keys below"))
    } else if near.is_empty() {
        ("a key that bellows knows".to_owned(), "`bellows check-config --defaults` lists them all".to_owned())
    } else {
        (
            format!("a key that bellows knows; did you mean {}?", listed(near.into_iter().map(str::to_owned))),
            String::new(),
        )
    };
    Problem {
        what: format!("unknown key {}", super::show(key, value)),
        origin: origin.with_line(),
        expected,
        repair: (!repair.is_empty()).then_some(repair),
    }
}

fn unknown_variable(name: &str, value: &str) -> Problem {
    let near = keys::near(name.strip_prefix(keys::PREFIX).unwrap_or(name));
    let (expected, repair) = if near.is_empty() {
        (
            "a variable that bellows knows (BELLOWS_ is kept for its settings)".to_owned(),
            Some("`bellows check-config --defaults` lists all keys; web.listen is BELLOWS_WEB__LISTEN".to_owned()),
        )
    } else {
        (format!("a variable that bellows knows; did you mean {}?", listed(near.into_iter().map(keys::variable))), None)
    };
    let value = toml::Value::String(value.into());
    Problem {
        what: format!("unknown variable {}", super::show(name, &value)),
        origin: "the environment".into(),
        expected,
        repair,
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}
