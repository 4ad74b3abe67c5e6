//! Who may use whom. The table is the one in docs/ARCHITECTURE.md; the paths in the code are read with syn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// Each top-level module, and the ones it may name. `core` is a crate of its own: cargo holds its rule.
const MAY_USE: &[(&str, &[&str])] = &[
    ("edge", &[]),
    ("status", &[]),
    ("exit", &[]),
    ("metrics", &[]),
    ("config", &["telemetry"]),
    ("telemetry", &["config"]),
    ("model", &["edge"]),
    ("app", &["edge"]),
    ("web", &["edge", "status", "metrics", "config", "telemetry"]),
    ("controller", &["edge", "status", "metrics"]),
    ("client", &["edge"]),
    ("load", &["client"]),
    ("batch", &["client", "edge"]),
    ("sim", &["app", "web", "controller", "config", "edge", "status", "metrics"]),
    ("wiring", &["app", "web", "controller", "model", "edge", "status", "metrics", "config", "exit"]),
    (
        "cli",
        &[
            "wiring",
            "model",
            "edge",
            "status",
            "metrics",
            "config",
            "exit",
            "telemetry",
            "client",
            "load",
            "batch",
            "sim",
        ],
    ),
];
/// Modules that name concrete backends of edges.
const NAME_BACKENDS: &[&str] = &["edge", "wiring", "sim"];
const BACKENDS: &[&str] = &["local", "memory", "aws"];
/// The only file that knows the engine's crate, and the only place that says `aws_`.
const ORT: &str = "model/engine.rs";

#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        fn walk(tree: &syn::UseTree, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
            match tree {
                syn::UseTree::Path(path) => {
                    prefix.push(path.ident.to_string());
                    walk(&path.tree, prefix, out);
                    prefix.pop();
                }
                syn::UseTree::Name(name) => out.push([prefix.as_slice(), &[name.ident.to_string()]].concat()),
                syn::UseTree::Rename(name) => out.push([prefix.as_slice(), &[name.ident.to_string()]].concat()),
                syn::UseTree::Glob(_) => out.push(prefix.clone()),
                syn::UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, prefix, out)),
            }
        }
        walk(&item.tree, &mut Vec::new(), &mut self.0);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|s| s.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }
}

/// `edge/aws.rs`, `edge/queue/aws.rs`, and what lies in the folders beside them.
fn is_aws(file: &str) -> bool {
    file.starts_with("edge/") && (file.ends_with("/aws.rs") || file.contains("/aws/"))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["core", "pixels", "tests", "benches", "fuzz"].contains(&name) {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") && !["lib.rs", "main.rs"].contains(&name) {
            out.push(path);
        }
    }
}

#[test]
fn modules_use_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    sources(&root, &mut files);
    assert!(files.len() > 20, "found only {} source files", files.len());
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let module = relative.split(['/', '.']).next().unwrap();
        let Some(allowed) = may.get(module) else {
            faults.push(format!("{relative}: the module `{module}` is not in the table"));
            continue;
        };
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(&std::fs::read_to_string(&file).unwrap()).unwrap());
        for path in paths.0 {
            let (first, second) = (path[0].as_str(), path.get(1).map_or("", String::as_str));
            let inside = first != "crate" || second == module || allowed.contains(&second);
            if !inside && may.contains_key(second) {
                faults.push(format!("{relative}: `{}`", path.join("::")));
            }
            let backend = first == "crate" && second == "edge" && path.iter().any(|s| BACKENDS.contains(&s.as_str()));
            if backend && !NAME_BACKENDS.contains(&module) {
                faults.push(format!("{relative}: names a backend, `{}`", path.join("::")));
            }
            if first == "ort" && relative != ORT || first.starts_with("aws_") && path.len() > 1 && !is_aws(&relative) {
                faults.push(format!("{relative}: `{}` has one room of its own", path.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "against the rule of dependence:\n{}", faults.join("\n"));
}

#[test]
fn the_table_is_the_one_in_the_architecture_page() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md")).unwrap();
    for (module, allowed) in MAY_USE {
        let row =
            format!("| `{module}` | {} |", allowed.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", "));
        assert!(page.contains(&row), "docs/ARCHITECTURE.md lacks the row\n{row}");
    }
}
