//! The configuration as its users meet it. No test here touches the environment of the process.

mod agreement;
mod errors;
mod layers;

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

/// Sources of a machine with two cores and a home folder, with some variables.
fn sources(environment: &[(&str, &str)]) -> Sources {
    let mut all = vec![("HOME".into(), "/home/u".into())];
    all.extend(environment.iter().map(|(name, value)| (name.into(), value.into())));
    Sources { environment: all, cores: 2, ..Sources::default() }
}

/// The same with a configuration file.
fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bellows.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Sources { files: vec![path], ..sources(&[]) })
}

fn flag(key: &str, value: &str) -> Flag {
    Flag { flag: "--set", key: key.into(), value: value.into() }
}

fn set(settings: &[(&str, &str)]) -> Sources {
    Sources { flags: settings.iter().map(|(key, value)| flag(key, value)).collect(), ..sources(&[]) }
}

fn load(sources: &Sources) -> Loaded {
    Config::load(sources).unwrap_or_else(|e| panic!("{e}"))
}

/// All that is wrong, with the test's own folder taken out.
fn refused(sources: &Sources) -> String {
    let text = Config::load(sources).expect_err("it should be refused").to_string();
    match sources.files.first().and_then(|file| file.parent()) {
        Some(folder) => text.replace(&folder.display().to_string(), "/folder"),
        None => text,
    }
}

fn printed(loaded: &Loaded, key: &str) -> String {
    let line = loaded.lines().into_iter().find(|line| line.key == key).unwrap();
    format!("{} = {}  # {}", line.key, line.value, line.origin)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_document_panics(text in "([a-z_.\\[\\]\"=0-9 ,#-]|\\n|\\PC){0,120}") {
        let _ = Config::load(&Sources { user_data: Some(text), ..sources(&[]) });
    }

    #[test]
    fn no_value_panics(n in 0usize..70, value in prop_oneof![
        "\\PC{0,20}", "-?[0-9]{1,25}(ms|s|m|h|d| MiB)?", "\\[(\"[a-z]{0,3}\",?){0,3}\\]", "true|false|auto|[0-9.]{1,6}",
    ]) {
        let key = keys::all().nth(n % keys::all().count()).unwrap();
        let _ = Config::load(&set(&[(key, &value)]));
        if let Err(error) = Config::load(&sources(&[(&keys::variable(key), &value)])) {
            // its own error, or that of a value which no longer fits to it
            prop_assert!(error.to_string().contains(&keys::variable(key)), "{error}");
        }
        let _ = Config::load(&Sources { user_data: Some(format!("{key} = {value}")), ..sources(&[]) });
    }

    #[test]
    fn no_name_panics(name in "[A-Z_a-z.]{0,24}|\\PC{0,12}") {
        let _ = Config::load(&set(&[(&name, "1")]));
        let _ = Config::load(&sources(&[(&format!("BELLOWS_{name}"), "1")]));
    }
}
