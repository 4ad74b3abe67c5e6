//! The same photographs through the Python pipeline (Pillow, numpy, ONNX Runtime, the same graph).

use super::real::installed;
use crate::support::python::{python, run};
use crate::support::{data_dir, root, shared};
use bellows::model::{ModelSettings, Sessions};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// A photograph, with what the Python pipeline says of it and what is on it.
pub struct Photograph {
    pub file: String,
    pub bytes: Vec<u8>,
    pub sha256: String,
    top1: u32,
    probability: f64,
    truth: u32,
}

/// The shared photographs with the default model; `None` where they are not here.
pub static PHOTOGRAPHS: LazyLock<Option<Vec<Photograph>>> =
    LazyLock::new(|| shared().map(|models| photographs(&models.join("images"))));

fn photographs(folder: &Path) -> Vec<Photograph> {
    let installed = installed(ModelSettings::default());
    let out = tempfile::NamedTempFile::new().unwrap();
    let script = root().join("src/tests/reference/pipeline.py");
    run(Command::new(python()).arg(script).args([&*installed.graph, folder]).arg(out.path()));
    let truth = truth(&std::fs::read_to_string(folder.join("labels.tsv")).unwrap());
    let lines = std::fs::read_to_string(out.path()).unwrap();
    let described = lines.lines().map(|line| {
        let theirs: Value = serde_json::from_str(line).unwrap();
        let file = theirs["file"].as_str().unwrap().to_owned();
        Photograph {
            bytes: std::fs::read(folder.join(&file)).unwrap(),
            sha256: theirs["sha256"].as_str().unwrap().to_owned(),
            top1: theirs["top1"].as_u64().unwrap() as u32,
            probability: theirs["probability"].as_f64().unwrap(),
            truth: truth[&file],
            file,
        }
    });
    described.collect()
}

/// Class of each photograph, as its label file has it.
fn truth(labels: &str) -> BTreeMap<String, u32> {
    let mut lines = labels.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| head.iter().position(|h| *h == name).unwrap();
    let (file, class) = (column("file"), column("class_index"));
    let rows = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|row| (row[file].to_owned(), row[class].parse().unwrap())).collect()
}

/// How our answers to all photographs stand beside Python's and the truth.
#[derive(Default)]
pub struct Agreement {
    equal: u32,
    right: u32,
    all: u32,
}

impl Agreement {
    /// Our answer to one: the hash of the bytes it is about, and the best class.
    pub fn saw(&mut self, photograph: &Photograph, sha256: &str, top1: u32) {
        let Photograph { file, probability, .. } = photograph;
        assert_eq!(sha256, photograph.sha256, "{file}");
        let same = photograph.top1 == top1;
        assert!(same || *probability < 0.5, "{file}: {top1}, in Python {} ({probability})", photograph.top1);
        self.equal += u32::from(same);
        self.right += u32::from(photograph.truth == top1);
        self.all += 1;
    }

    pub fn check(&self) {
        let Agreement { equal, right, all } = *self;
        println!("of {all}: {equal} as the Python pipeline, {right} right ({})", data_dir().display());
        assert!(all == 100 && equal >= 95 && right >= 85, "{equal} equal, {right} right of {all}");
    }
}

#[tokio::test]
async fn top_1_is_that_of_the_python_pipeline() {
    let Some(photographs) = &*PHOTOGRAPHS else { return };
    let engine = Sessions::new(installed(ModelSettings::default())).unwrap().start(2).unwrap();
    let mut agreement = Agreement::default();
    for photograph in photographs {
        let ours = engine.classify(Bytes::from(photograph.bytes.clone())).await.unwrap();
        agreement.saw(photograph, &ours.sha256, ours.predictions[0].index);
    }
    agreement.check();
}
