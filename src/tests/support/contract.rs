//! openapi.yaml, and answers held against it.

use super::client::Answer;
use serde_json::{Value, json};

pub const TEXT: &str = include_str!("../../web/openapi.yaml");

pub struct Contract(pub Value);

impl Contract {
    pub fn load() -> Contract {
        Contract(serde_saphyr::from_str(TEXT).unwrap())
    }

    /// Panics where `instance` is none of the schema's that is called so.
    pub fn holds(&self, name: &str, instance: &Value) {
        self.valid(&json!({ "$ref": format!("#/components/schemas/{name}") }), instance, name);
    }

    fn valid(&self, schema: &Value, instance: &Value, what: &str) {
        // references in it are resolved from its root
        let whole = json!({ "allOf": [schema], "components": { "schemas": self.0["components"]["schemas"] } });
        let validator = jsonschema::validator_for(&whole).unwrap_or_else(|e| panic!("{what}: {e}"));
        let wrong: Vec<String> =
            validator.iter_errors(instance).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(wrong.is_empty(), "{what}: {wrong:?} in {instance}");
    }

    /// What it refers to, if it does.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"))
            }
            None => value,
        }
    }

    /// The path as the contract spells it.
    pub fn template(&self, path: &str) -> Option<String> {
        let paths = self.0["paths"].as_object().unwrap();
        let fits = |template: &&String| match template.split_once('{') {
            Some((before, _)) => path.len() > before.len() && path.starts_with(before),
            None => *template == path,
        };
        // the exact ones before those with a parameter
        let exact = paths.keys().find(|template| *template == path);
        exact.or_else(|| paths.keys().find(fits)).cloned()
    }

    /// Panics where this is no answer to `method path`.
    pub fn allows(&self, method: &str, path: &str, answer: &Answer) {
        let what = format!("{method} {path}: {}", answer.status);
        let responses = &self.0["components"]["responses"];
        let method = if method == "HEAD" { "GET" } else { method };
        let operation = self.template(path).map(|template| &self.0["paths"][template][method.to_lowercase()]);
        let response = match operation {
            None => &responses["NotFound"],
            Some(Value::Null) => &responses["MethodNotAllowed"],
            Some(operation) => self.resolved(&operation["responses"][answer.status.to_string()]),
        };
        assert!(response.is_object(), "{what} is not in the contract: {answer:?}");
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let value = answer.header(name).unwrap_or_else(|| panic!("{what} is without {name}"));
            let schema = &self.resolved(header)["schema"];
            let value = if schema["type"] == "integer" { json!(value.parse::<i64>().unwrap()) } else { json!(value) };
            self.valid(schema, &value, &what);
        }
        let kind = answer.header("content-type").unwrap().split(';').next().unwrap();
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{what} as {kind} is not in the contract");
        let body = if kind == "application/json" { answer.json() } else { json!(answer.body) };
        self.valid(schema, &body, &what);
    }
}
