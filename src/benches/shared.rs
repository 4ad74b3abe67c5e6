//! What the benches share.

use super::support::client::{Answer, Client, answer};
use super::support::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// POSTs a form that was made before.
pub fn post_form(client: &Client, url: &str, form: &[u8]) -> Answer {
    let request = client.0.post(url).header("content-type", "multipart/form-data; boundary=XyZ42");
    answer(request.send(form).unwrap()).unwrap()
}

/// POSTs bytes as they are.
pub fn post_raw(client: &Client, url: &str, body: &[u8]) -> Answer {
    answer(client.0.post(url).send(body).unwrap()).unwrap()
}

/// A Python environment below target/ with the packages of `requirements`, made once: the path of its interpreter.
pub fn venv(name: &str, requirements: &str) -> PathBuf {
    let python = root().join("target").join(name).join("bin/python");
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(root().join("target").join(name)));
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(install).arg(root().join(requirements)));
    python
}

/// The photographs of a folder with their names, in the order of their names.
pub fn photographs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "JPEG"));
    files.sort();
    let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), std::fs::read(file).unwrap())).collect()
}

pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
