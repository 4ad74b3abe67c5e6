//! What lies in nixos/monitoring, as far as the tests read it.

use crate::support::root;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub fn path(name: &str) -> PathBuf {
    root().join("nixos/monitoring").join(name)
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn yaml<T: DeserializeOwned>(name: &str) -> T {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A recording rule, or an alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Rule {
    pub record: Option<String>,
    pub alert: Option<String>,
    pub expr: String,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Rule {
    pub fn name(&self) -> &str {
        self.record.as_deref().or(self.alert.as_deref()).unwrap()
    }
}

pub fn rules() -> Vec<Rule> {
    #[derive(Deserialize)]
    struct Group {
        rules: Vec<Rule>,
    }
    #[derive(Deserialize)]
    struct Rules {
        groups: Vec<Group>,
    }
    yaml::<Rules>("rules.yml").groups.into_iter().flat_map(|group| group.rules).collect()
}

pub fn recorded(rules: &[Rule]) -> Vec<&Rule> {
    rules.iter().filter(|rule| rule.record.is_some()).collect()
}

/// What a rule works out; of an alert 0 or 1 for all that it compares, in the place of what holds only.
pub fn compared(rule: &Rule) -> String {
    if rule.record.is_some() {
        return rule.expr.clone();
    }
    let mut expr = rule.expr.clone();
    for comparison in ["==", ">=", "<=", ">", "<"] {
        expr = expr.replace(&format!(" {comparison} "), &format!(" {comparison} bool "));
    }
    assert_ne!(expr, rule.expr, "{} compares nothing", rule.name());
    expr
}

/// The names of our metrics in an expression, recorded ones included.
pub fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("bellows_") || word.starts_with("bellows:"))
}

/// Of each test of this alert, whether it is to fire.
pub fn tested(alert: &str) -> Vec<bool> {
    #[derive(Deserialize)]
    struct Case {
        alertname: String,
        exp_alerts: Vec<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Test {
        alert_rule_test: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Tests {
        tests: Vec<Test>,
    }
    let cases = yaml::<Tests>("rules.test.yml").tests.into_iter().flat_map(|test| test.alert_rule_test);
    cases.filter(|case| case.alertname == alert).map(|case| !case.exp_alerts.is_empty()).collect()
}

/// A query of a panel, and how each of its series is called.
#[derive(Clone, Debug, Deserialize)]
pub struct Query {
    pub expr: String,
    #[serde(rename = "legendFormat")]
    pub legend: String,
}

/// A panel of the dashboard.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its row's title.
    pub row: String,
    pub kind: String,
    pub title: String,
    pub unit: String,
    pub stacked: bool,
    pub queries: Vec<Query>,
}

/// All panels in their order, headings of rows aside.
pub fn dashboard() -> Vec<Panel> {
    let dashboard: serde_json::Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let (mut row, mut panels) = (String::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let (title, kind) = (panel["title"].as_str().unwrap().to_owned(), panel["type"].as_str().unwrap().to_owned());
        if kind == "row" {
            row = title;
            continue;
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        panels.push(Panel {
            row: row.clone(),
            kind,
            title,
            unit: defaults["unit"].as_str().unwrap().to_owned(),
            stacked: defaults["custom"]["stacking"]["mode"] == "normal",
            queries: serde_json::from_value(panel["targets"].clone()).unwrap(),
        });
    }
    panels
}
