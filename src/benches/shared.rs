//! What the benches share.

use super::support::client::{Answer, Client, answer};
use std::path::{Path, PathBuf};

/// POSTs a form that was made before.
pub fn post_form(client: &Client, url: &str, form: &[u8]) -> Answer {
    let request = client.0.post(url).header("content-type", "multipart/form-data; boundary=XyZ42");
    answer(request.send(form).unwrap()).unwrap()
}

/// POSTs bytes as they are.
pub fn post_raw(client: &Client, url: &str, body: &[u8]) -> Answer {
    answer(client.0.post(url).send(body).unwrap()).unwrap()
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
