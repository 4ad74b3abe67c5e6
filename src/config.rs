//! The configuration: layers in order (figment, known only here), one typed [`Config`], and for each value its origin.
//!
//! `config.default.toml` is the reference documentation and the lowest layer.

mod args;
mod check;
mod computed;
mod error;
mod keys;
mod layers;
mod scalar;
mod schema;
mod sources;
#[cfg(test)]
mod tests;
mod token;
mod values;

pub use args::{ConfigArgs, SYSTEM_FILE};
pub use computed::MIN_BACKLOG;
pub use error::{ConfigError, Origin, Problem};
pub use keys::{DEFAULTS, OWN_VARIABLES};
pub use scalar::Auto;
pub use schema::{Config, Host};
pub use sources::{Flag, Sources};
pub use token::{Token, is_name};
pub use values::{
    Backend, Count, FilePath, Listen, LogFormat, Policy, Pull, ResponseFormat, Role, Size, Span, Text, Usd,
};

use figment::error::Kind;
use sources::Stack;
use std::collections::BTreeMap;

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Each value as it was given and where it came from, by dotted key.
    given: BTreeMap<&'static str, (toml::Value, Origin)>,
}

/// One effective value, as `check-config` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub key: String,
    /// As TOML writes it.
    pub value: String,
    pub origin: Origin,
}

impl Config {
    /// Puts the layers together and checks the whole. Everything that is wrong is reported at once.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let mut stack = Stack::read(sources);
        let mut config = extract(&mut stack).ok_or_else(|| ConfigError::from(std::mem::take(&mut stack.problems)))?;
        config.host = host(sources);
        let given = keys::all().map(|key| (key, (stack.value(key), stack.origin(key)))).collect();
        let loaded = Loaded { config, given };
        let mut problems = stack.problems;
        problems.extend(check::problems(&loaded));
        if problems.is_empty() { Ok(loaded) } else { Err(problems.into()) }
    }

    /// Role and backend without checking anything else: whether there may be user data to load with.
    pub fn peek(sources: &Sources) -> Option<(Role, Backend)> {
        let figment = Stack::read(sources).figment;
        Some((figment.extract_inner("role").ok()?, figment.extract_inner("backend").ok()?))
    }

    /// What is allowed and yet perhaps not meant, for the log at start.
    pub fn warnings(&self) -> Vec<String> {
        check::warnings(self)
    }
}

impl Loaded {
    /// Every effective value in the order of the default file, as it was given. Together they are a TOML document that
    /// loads to the same values.
    pub fn lines(&self) -> Vec<Line> {
        let (own, fixed) = (tree(&self.config), tree(&self.config.fixed()));
        let line = |key: &str| match find(&fixed, key) {
            Some(value) if find(&own, key) != Some(value) => {
                Line { key: key.into(), value: literal(value), origin: Origin::Computed }
            }
            _ => Line { key: key.into(), value: literal(&self.value(key)), origin: self.origin(key) },
        };
        keys::all().map(line).collect()
    }

    /// Where a key's value came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.given.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn value(&self, key: &str) -> toml::Value {
        self.given.get(key).map_or(toml::Value::Boolean(false), |(value, _)| value.clone())
    }

    /// A problem with one key's value.
    fn problem(&self, key: &str, mut expected: String) -> Problem {
        // a bound that is somebody's setting: the other value may be the one to change
        let others: Vec<&str> = keys::all().filter(|other| *other != key && names(&expected, other)).collect();
        for other in others {
            match self.origin(other) {
                Origin::Default => {}
                origin => expected = format!("{expected} ({other} is from {})", origin.with_line()),
            }
        }
        Problem { what: show(key, &self.value(key)), origin: self.origin(key).with_line(), expected, repair: None }
    }
}

/// Whether a text names this key, as a whole.
fn names(text: &str, key: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    text.split(|c| !is_part(c)).any(|word| word.trim_end_matches('.') == key)
}

/// The typed configuration. Each value of a wrong type is a problem of its own, and its default goes on in its place.
fn extract(stack: &mut Stack) -> Option<Config> {
    let mut figment = stack.figment.clone();
    for _ in keys::all() {
        let error = match figment.extract::<Config>() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let path = error.path.join(".");
        let leaf = keys::defaults().leaves.iter().find(|leaf| is_below(&path, &leaf.key));
        let problem = wrong_type(stack, &error, leaf.map_or(&path, |leaf| &leaf.key));
        stack.problems.push(problem);
        let leaf = leaf?;
        figment = figment.merge(layers::Layer { number: 0, values: vec![(leaf.key.clone(), leaf.value.clone())] });
    }
    None
}

/// Whether `path` is `key` or an element of it.
fn is_below(path: &str, key: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn wrong_type(stack: &Stack, error: &figment::Error, key: &str) -> Problem {
    let expected = match &error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => in_words(expected),
        other => other.to_string(),
    };
    Problem { what: show(key, &stack.value(key)), origin: stack.origin(key).with_line(), expected, repair: None }
}

/// What serde expected, in the reader's words.
fn in_words(expected: &str) -> String {
    match expected {
        "u32" => "a whole number from 0 to 4294967295".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list such as [\"a\", \"b\"]".into(),
        other => other.into(),
    }
}

fn host(sources: &Sources) -> Host {
    let cores = match sources.cores {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        given => given,
    };
    Host {
        cores,
        state_home: sources.xdg("XDG_STATE_HOME", ".local/state"),
        data_home: sources.xdg("XDG_DATA_HOME", ".local/share"),
    }
}

fn tree(config: &Config) -> toml::Value {
    // every field is a text, number, flag, list or table: nothing in it can fail to be TOML
    toml::Value::try_from(config).unwrap_or(toml::Value::Boolean(false))
}

fn find<'a>(tree: &'a toml::Value, key: &str) -> Option<&'a toml::Value> {
    key.split('.').try_fold(tree, |value, name| value.get(name))
}

/// `key = value` for an error. What may be a secret in the wrong place (a token where its hash should be) stays unseen.
fn show(key: &str, value: &toml::Value) -> String {
    let name = key.to_ascii_lowercase();
    let secret = ["token", "secret", "password", "credential"].iter().any(|word| name.contains(word));
    if secret { format!("{key} = (not shown)") } else { format!("{key} = {}", literal(value)) }
}

/// A value as TOML writes it, in one line.
fn literal(value: &toml::Value) -> String {
    match value {
        // JSON's escapes are TOML's, but for DEL, which TOML wants escaped too
        toml::Value::String(text) => serde_json::Value::from(text.as_str()).to_string().replace('\x7f', "\\u007F"),
        toml::Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        toml::Value::Table(_) => "{…}".into(),
        other => other.to_string(),
    }
}
