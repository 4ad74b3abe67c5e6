//! The layers as figment takes them: each a tree of values that remembers where it came from.

use super::error::Origin;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml::de::{DeTable, DeValue};

/// One value of a TOML document.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Dotted key.
    pub key: String,
    pub value: toml::Value,
    /// Line of the document, from 1.
    pub line: usize,
    /// Whether it is an empty table, which sets nothing.
    pub empty_table: bool,
}

/// A TOML document as a list of its values with their places.
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub leaves: Vec<Leaf>,
}

/// Why a document cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    pub line: usize,
    pub why: String,
}

impl Document {
    pub fn parse(text: &str) -> Result<Document, Unreadable> {
        let unreadable = |e: toml::de::Error| Unreadable {
            line: line_of(text, e.span().map_or(0, |span| span.start)),
            why: e.message().lines().next().unwrap_or_default().to_owned(),
        };
        let values: toml::Table = toml::from_str(text).map_err(unreadable)?;
        let places = DeTable::parse(text).map_err(unreadable)?;
        let mut leaves = Vec::new();
        collect(text, "", places.get_ref(), &values, &mut leaves);
        // tables come sorted by name; people read in the order of the file
        leaves.sort_by_key(|(start, _)| *start);
        Ok(Document { leaves: leaves.into_iter().map(|(_, leaf)| leaf).collect() })
    }
}

fn collect(text: &str, prefix: &str, places: &DeTable, values: &toml::Table, into: &mut Vec<(usize, Leaf)>) {
    for (name, place) in places {
        let (name_text, start) = (name.get_ref().as_ref(), name.span().start);
        let segment = segment(name_text);
        let key = if prefix.is_empty() { segment } else { format!("{prefix}.{segment}") };
        match (place.get_ref(), values.get(name_text)) {
            (DeValue::Table(table), Some(toml::Value::Table(inner))) if !inner.is_empty() => {
                collect(text, &key, table, inner, into);
            }
            (_, Some(value)) => {
                let empty_table = value.is_table();
                into.push((start, Leaf { key, value: value.clone(), line: line_of(text, start), empty_table }));
            }
            (_, None) => {}
        }
    }
}

/// A name as a dotted key shows it: in quotes where it could be taken for something else.
fn segment(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// What a variable or flag holds: a list, a quoted text, a number or a flag as TOML has them, else the text itself.
/// Numbers only where they print as they were written: `007` and `1.10` stay text.
pub fn from_text(text: &str) -> toml::Value {
    let text = text.trim();
    if text.starts_with(['[', '"', '\''])
        && let Ok(table) = toml::from_str::<toml::Table>(&format!("v = {text}"))
        && table.len() == 1
        && let Some(value) = table.get("v")
    {
        return value.clone();
    }
    match (text, text.parse::<i64>()) {
        ("true", _) => toml::Value::Boolean(true),
        ("false", _) => toml::Value::Boolean(false),
        (_, Ok(number)) if number.to_string() == text => toml::Value::Integer(number),
        _ => toml::Value::String(text.into()),
    }
}

/// A layer: values from one source. Its name in figment is its number, by which [`Origin`]s are found again.
pub struct Layer {
    pub number: usize,
    pub values: Vec<(String, toml::Value)>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.number.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for (key, value) in &self.values {
            insert(&mut root, key, to_figment(value));
        }
        Ok(Profile::Default.collect(root))
    }
}

fn insert(into: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            into.insert(key.into(), value);
        }
        Some((table, rest)) => {
            let entry = into.entry(table.into()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

fn to_figment(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(items) => Value::from(items.iter().map(to_figment).collect::<Vec<_>>()),
        toml::Value::Table(table) => {
            Value::from(table.iter().map(|(k, v)| (k.clone(), to_figment(v))).collect::<Dict>())
        }
    }
}

/// Where the values of a layer came from: one place for all, with the line of each where it is a document.
#[derive(Clone, Debug)]
pub struct Place {
    pub origin: Origin,
    pub lines: Vec<(String, usize)>,
}

impl Place {
    pub fn of(&self, key: &str) -> Origin {
        let line = self.lines.iter().find(|(k, _)| k == key).map(|(_, line)| *line);
        self.origin.clone().at(line)
    }
}
