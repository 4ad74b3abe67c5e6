//! All keys by name, taken from the default file, and which of them somebody meant who wrote another.

use super::layers::Document;
use std::sync::LazyLock;

/// Prefix of the environment variables that are settings.
pub const PREFIX: &str = "BELLOWS_";

/// Variables with that prefix that are no settings: they say where settings are, serve commands that talk to a
/// service, or were baked in when the program was built.
pub const OWN_VARIABLES: [&str; 5] =
    ["BELLOWS_CONFIG", "BELLOWS_USER_DATA_FILE", "BELLOWS_TOKEN", "BELLOWS_URL", "BELLOWS_REVISION"];

/// Variables for debugging and tests begin with this and are no settings either.
const DEBUG_PREFIX: &str = "BELLOWS_DEBUG_";

/// The file that documents every key.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// What people try first, and what it is called here.
const ALIASES: [(&str, &str); 6] = [
    ("port", "web.listen"),
    ("host", "web.listen"),
    ("address", "web.listen"),
    ("workers", "pool.max_instances"),
    ("threads", "app.sessions"),
    ("data_dir", "local.state_dir"),
];

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the file is part of the program; a test reads it")]
    Document::parse(DEFAULTS).expect("config.default.toml is TOML")
});

/// The parsed default file.
pub fn defaults() -> &'static Document {
    &DOCUMENT
}

/// Every key, dotted, in the order of the default file.
pub fn all() -> impl Iterator<Item = &'static str> {
    DOCUMENT.leaves.iter().map(|leaf| leaf.key.as_str())
}

pub fn is_known(key: &str) -> bool {
    all().any(|known| known == key)
}

/// Whether `key` is a table that holds keys.
pub fn is_table(key: &str) -> bool {
    all().any(|known| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The variable that sets a key: `web.listen` is `BELLOWS_WEB__LISTEN`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// What a variable sets.
#[derive(Debug, PartialEq, Eq)]
pub enum Variable {
    /// No business of ours.
    Foreign,
    Key(&'static str),
    Unknown,
}

/// Which key a variable sets. Kubernetes puts `BELLOWS_PORT=tcp://…` and the like beside a service named bellows.
pub fn of_variable(name: &str, value: &str) -> Variable {
    if !name.starts_with(PREFIX) || OWN_VARIABLES.contains(&name) || name.starts_with(DEBUG_PREFIX) {
        return Variable::Foreign;
    }
    if let Some(key) = all().find(|key| variable(key) == name) {
        return Variable::Key(key);
    }
    let of_kubernetes = name.starts_with("BELLOWS_SERVICE_")
        || name.starts_with("BELLOWS_PORT_")
        || name == "BELLOWS_PORT" && value.contains("://");
    if of_kubernetes { Variable::Foreign } else { Variable::Unknown }
}

/// The keys that an unknown one may have meant, best first, at most three.
pub fn near(unknown: &str) -> Vec<&'static str> {
    let unknown = unknown.to_ascii_lowercase().replace("__", ".").replace('-', "_").replace('"', "");
    let last = unknown.rsplit('.').next().unwrap_or_default();
    if let Some((_, key)) = ALIASES.iter().find(|(alias, _)| *alias == last) {
        return vec![key];
    }
    let cost = |key: &str| {
        let name = key.rsplit('.').next().unwrap_or_default();
        strsim::osa_distance(&unknown, key).min(strsim::osa_distance(last, name) + 1)
    };
    let limit = (last.len() / 3).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = all().map(|key| (cost(key), key)).filter(|(c, _)| *c <= limit).collect();
    found.sort_by_key(|(cost, _)| *cost);
    let best = found.first().map_or(0, |(cost, _)| *cost);
    found.into_iter().take_while(|(cost, _)| *cost == best).take(3).map(|(_, key)| key).collect()
}
