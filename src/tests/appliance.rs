//! What the machine images are made of, held against the daemon: nixos/ is evaluated elsewhere, the outcome is here.

use super::support::root;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The evaluation of a tier's image, which the boot test boots.
fn evaluated(role: &str) -> Value {
    let file = root().join("nixos/tests/boot/evaluated").join(format!("{role}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The keys of a table, those of its sections with a dot.
fn keys(table: &toml::Table, path: &str, out: &mut BTreeSet<String>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => keys(section, &format!("{path}{name}."), out),
            _ => {
                out.insert(format!("{path}{name}"));
            }
        }
    }
}

#[test]
fn the_options_of_the_nixos_module_are_the_keys_of_the_daemon() {
    let defaults = std::fs::read_to_string(root().join("src/config.default.toml")).unwrap();
    let mut known = BTreeSet::new();
    keys(&defaults.parse().unwrap(), "", &mut known);
    for role in ["web", "app"] {
        let options = evaluated(role)["options"].as_array().unwrap().clone();
        let options: BTreeSet<String> = options.iter().map(|key| key.as_str().unwrap().to_owned()).collect();
        assert_eq!(options, known, "{role}: run nixos/tests/evaluate --write");
    }
}

#[test]
fn the_daemon_takes_the_configuration_of_the_images() {
    let dir = tempfile::tempdir().unwrap();
    for role in ["web", "app"] {
        let file = dir.path().join(role);
        std::fs::write(&file, toml::to_string(&evaluated(role)["settings"]).unwrap()).unwrap();
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_bellows"))
            .args(["check-config", "--config"])
            .arg(&file)
            .args(["--set=web.allow_anonymous=true", "--set=aws.launch_template=lt-1"])
            .args(
                ["request", "response", "terminate_request", "terminate_confirm", "dead"]
                    .map(|name| format!("--set=queue.urls.{name}=http://127.0.0.1/1/{name}")),
            )
            .args(["--set=bucket.input=in", "--set=bucket.output=out"])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}");
    }
}

/// Rust files below a folder of src/, those of tests, benches and fuzz targets not.
fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let apart = ["tests", "benches", "fuzz"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !apart {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn a_nix_build_is_given_each_file_that_the_code_includes() {
    let tree = std::fs::canonicalize(root()).unwrap();
    let package = std::fs::read_to_string(tree.join("nixos/package.nix")).unwrap();
    let list = package.split_once("fileset.unions [").unwrap().1.split_once("];").unwrap().0;
    let given = list.split([' ', '\n', ')']).filter_map(|word| word.strip_prefix("../"));
    let given: Vec<PathBuf> = given.map(|path| tree.join(path)).collect();
    let (mut files, mut included) = (Vec::new(), Vec::new());
    sources(&tree.join("src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for part in text.split("include_").skip(1) {
            let Some(inner) = part.strip_prefix("str!(").or_else(|| part.strip_prefix("bytes!(")) else { continue };
            // the name itself, or the folder at the front of one that is put together
            let name = inner.split('"').nth(1).unwrap();
            included.push(std::fs::canonicalize(file.parent().unwrap().join(name)).unwrap());
        }
    }
    assert!(included.contains(&tree.join("models")), "{included:?}");
    let missing: Vec<_> = included.iter().filter(|file| !given.iter().any(|given| file.starts_with(given))).collect();
    assert!(missing.is_empty(), "{missing:?}: not in nixos/package.nix");
}
