//! Any text as a configuration: a document, with lines `$NAME=VALUE` taken out of it for the environment and lines
//! `--KEY=VALUE` for the command line.

#![no_main]

use bellows::config::{Config, ConfigError, Flag, Loaded, Origin, Sources};
use bellows::model::manifest::Manifest;
use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;

/// Variables that name files: none is read here.
const FILES: [&str; 2] = ["BELLOWS_CONFIG", "BELLOWS_USER_DATA_FILE"];

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let sources = sources(&text);
    let _ = Config::peek(&sources);
    match Config::load(&sources) {
        Ok(loaded) => accepted(&sources, &loaded),
        Err(error) => refused(&sources, &error),
    }
    if let Err(invalid) = Manifest::parse("theirs.toml", &text) {
        assert!(invalid.to_string().starts_with("theirs.toml: "), "{invalid}");
    }
});

fn sources(text: &str) -> Sources {
    let mut sources = Sources { cores: 2, ..Sources::default() };
    sources.environment.push(("HOME".into(), "/home/u".into()));
    let mut document = String::new();
    for line in text.lines() {
        let setting = |prefix: &str| line.strip_prefix(prefix).and_then(|rest| rest.split_once('='));
        if let Some((name, value)) = setting("$") {
            if !FILES.contains(&name) {
                sources.environment.push((OsString::from(name), OsString::from(value)));
            }
        } else if let Some((key, value)) = setting("--") {
            sources.flags.push(Flag { flag: "--set", key: key.into(), value: value.into() });
        } else {
            document.push_str(line);
            document.push('\n');
        }
    }
    sources.user_data = Some(document);
    sources
}

/// What is printed loads to the same values.
fn accepted(sources: &Sources, loaded: &Loaded) {
    let _ = loaded.config.warnings();
    let lines = loaded.lines();
    let printed: String = lines.iter().map(|line| format!("{} = {}\n", line.key, line.value)).collect();
    let environment = sources.environment.iter().filter(|(name, _)| !name.to_string_lossy().starts_with("BELLOWS_"));
    let again = Sources {
        user_data: Some(printed.clone()),
        environment: environment.cloned().collect(),
        flags: Vec::new(),
        ..sources.clone()
    };
    let again = Config::load(&again).unwrap_or_else(|error| panic!("{error}\nin what was printed:\n{printed}"));
    let values = |loaded: &Loaded| loaded.lines().into_iter().map(|line| (line.key, line.value)).collect::<Vec<_>>();
    assert_eq!(values(loaded), values(&again));
    assert!(lines.iter().all(|line| known(sources, &line.origin.with_line())), "{lines:?}");
    assert!(lines.iter().all(|line| !matches!(line.origin, Origin::File { .. })));
}

/// Every problem says what is wrong, and where it is.
fn refused(sources: &Sources, error: &ConfigError) {
    assert!(!error.problems.is_empty(), "refused for no reason");
    for problem in &error.problems {
        assert!(!problem.what.is_empty() && !problem.expected.is_empty(), "{problem:?}");
        assert!(known(sources, &problem.origin), "{problem:?}");
    }
}

/// Whether there is such a source.
fn known(sources: &Sources, origin: &str) -> bool {
    let lines = sources.user_data.iter().flat_map(|text| text.lines()).count();
    match origin.strip_prefix("EC2 user data, line ") {
        Some(line) => line.parse().is_ok_and(|line: usize| (1..=lines.max(1) + 1).contains(&line)),
        None if origin == "--set" => !sources.flags.is_empty(),
        None => {
            let variable = || sources.environment.iter().any(|(name, _)| name.to_string_lossy() == origin);
            ["default", "computed", "the environment"].contains(&origin) || variable()
        }
    }
}
